// The explosion of point charges, one molecule in each thread: the method of ../kernel.py, function
// by function, where a vector is one number and a molecule ends by itself.
//
// Everything lies in registers: loops over atoms have a length that the compiler knows. Whoever
// compiles defines ATOMS, THREADS (of a block), BLOCKS (of a multiprocessor), KIND (of the build-up)
// and DOUBLE; see explosion_kernel.py. With MOLEXA_HOST the source is plain C++ for one
// thread, which tests compare with the compiled path.

#ifdef MOLEXA_HOST
#include <cmath>
#define DEVICE static inline
#define UNROLL
static float rsqrtf(float x) { return 1.0f / sqrtf(x); }
static double rsqrt(double x) { return 1.0 / sqrt(x); }
#else
#define DEVICE static __device__ __forceinline__
#if ATOMS <= 12
#define UNROLL _Pragma("unroll")
#else  // more would not fit into registers anyhow, and take long to compile
#define UNROLL _Pragma("unroll 1")
#endif
#endif

#if DOUBLE
typedef double real;
#define TINY 2.2250738585072014e-308
DEVICE real inverse_root(real x) { return rsqrt(x); }
DEVICE real error_complement(real x) { return erfc(x); }
DEVICE real larger(real a, real b) { return fmax(a, b); }
#else
typedef float real;
#define TINY 1.17549435e-38f
DEVICE real inverse_root(real x) { return rsqrtf(x); }
DEVICE real error_complement(real x) { return erfcf(x); }
DEVICE real larger(real a, real b) { return fmaxf(a, b); }
#endif
#define R(number) ((real)(number))

enum { INSTANT = 0, COMMON = 1, PER_ATOM = 2 };

// The argument of the kernel; `Launch` in explosion_kernel.py is the same, field by field.
struct Launch {
    const real* positions;  // [total, ATOMS, 3]
    const real* charges;    // [total, ATOMS], or [ATOMS] with charge_step 0
    const real* masses;     // likewise with mass_step
    const real* tau;        // [total, ATOMS] windows of the rises, or [ATOMS] with rise_step 0;
    const real* onset;      // their beginnings; only the first of a molecule if KIND is COMMON
    real* momenta;          // [total, ATOMS, 3]
    long long total, charge_step, mass_step, rise_step;
    double fraction, left;
    int steps;
};

struct Rise { real tau[ATOMS], onset[ATOMS]; };

struct Atoms {
    real x[ATOMS][3], v[ATOMS][3];
    real q[ATOMS], c[ATOMS];  // charges at the end, and now
    real inverse_mass[ATOMS];
    Rise rise;
};

DEVICE real end_of_rise(const Rise& rise) {
    real found = R(-1.0);
    if (KIND == INSTANT) return found;
    UNROLL for (int i = 0; i < (KIND == PER_ATOM ? ATOMS : 1); ++i)
        found = larger(found, rise.onset[i] + R(0.5 + PASSED / STEEPNESS) * rise.tau[i]);
    return found;
}

// The charges at a time.
DEVICE void build_up(const Atoms& s, real time, bool whole, real c[ATOMS]) {
    real factor = R(1.0);
    UNROLL for (int i = 0; i < ATOMS; ++i) {
        if (!whole && (KIND == PER_ATOM || (KIND == COMMON && i == 0))) {
            const real z =
                R(STEEPNESS) * (R(0.5) - (time - s.rise.onset[i]) / s.rise.tau[i]);
            factor = z < R(-PASSED) ? R(1.0) : R(0.5) * error_complement(z);
        }
        c[i] = s.q[i] * factor;
    }
}

// Square of how fast the charges change, the fastest.
DEVICE real rise_rate2(const Rise& rise, real time) {
    real found = R(0.0);
    if (KIND == INSTANT) return found;
    UNROLL for (int i = 0; i < (KIND == PER_ATOM ? ATOMS : 1); ++i) {
        const real tau = rise.tau[i], since = time - rise.onset[i];
        const real behind = R(STEEPNESS) * (since / tau - R(0.5)) - R(2.5);
        const real ahead = larger(R(0.0), -since);
        const real over = larger(R(0.0), -larger(R(-1.0), R(FADES) * behind - R(0.5)));
        const real rate = R(STEEPNESS) * over / (tau + R(STEEPNESS) * ahead);
        found = larger(found, rate * rate);
    }
    return found;
}

// Accelerations at positions y with charges c.
DEVICE void forces(const Atoms& s, const real y[ATOMS][3], const real c[ATOMS],
                   real k[ATOMS][3]) {
    UNROLL for (int i = 0; i < ATOMS; ++i)
        UNROLL for (int axis = 0; axis < 3; ++axis) k[i][axis] = R(0.0);
    UNROLL for (int i = 1; i < ATOMS; ++i)
        UNROLL for (int j = 0; j < i; ++j) {
            const real dx = y[i][0] - y[j][0], dy = y[i][1] - y[j][1], dz = y[i][2] - y[j][2];
            const real inverse = inverse_root(dz * dz + (dy * dy + dx * dx));
            const real strength = (c[i] * c[j]) * inverse * (inverse * inverse);
            k[i][0] += strength * dx;
            k[i][1] += strength * dy;
            k[i][2] += strength * dz;
            k[j][0] -= strength * dx;
            k[j][1] -= strength * dy;
            k[j][2] -= strength * dz;
        }
    UNROLL for (int i = 0; i < ATOMS; ++i)
        UNROLL for (int axis = 0; axis < 3; ++axis) k[i][axis] *= s.inverse_mass[i];
}

// Accelerations at the positions x into k, square of the rate that limits the step, and twice the
// potential energy less `left` times the kinetic energy.
DEVICE real first_stage(const Atoms& s, real left, real k[ATOMS][3], real& energy) {
    real potential[ATOMS], stiffness[ATOMS];
    UNROLL for (int i = 0; i < ATOMS; ++i) {
        potential[i] = stiffness[i] = R(0.0);
        UNROLL for (int axis = 0; axis < 3; ++axis) k[i][axis] = R(0.0);
    }
    UNROLL for (int i = 1; i < ATOMS; ++i)
        UNROLL for (int j = 0; j < i; ++j) {
            const real dx = s.x[i][0] - s.x[j][0], dy = s.x[i][1] - s.x[j][1],
                       dz = s.x[i][2] - s.x[j][2];
            const real inverse = inverse_root(dz * dz + (dy * dy + dx * dx));
            const real cubed = inverse * (inverse * inverse);
            const real strength = s.c[i] * s.c[j] * cubed;
            k[i][0] += strength * dx;
            k[i][1] += strength * dy;
            k[i][2] += strength * dz;
            k[j][0] -= strength * dx;
            k[j][1] -= strength * dy;
            k[j][2] -= strength * dz;
            potential[i] += s.c[j] * inverse;
            potential[j] += s.c[i] * inverse;
            stiffness[i] += s.c[j] * cubed;
            stiffness[j] += s.c[i] * cubed;
        }
    real stiff = R(0.0), flight = R(0.0);
    energy = R(0.0);
    UNROLL for (int i = 0; i < ATOMS; ++i) {
        // Field over potential before squaring: far out the square would be 0.
        const real level = R(1.0) / larger(s.c[i] * potential[i], TINY);
        real speed2 = R(0.0), near2 = R(0.0);
        UNROLL for (int axis = 0; axis < 3; ++axis) {
            const real near = k[i][axis] * level;
            near2 += near * near;
            speed2 += s.v[i][axis] * s.v[i][axis];
            k[i][axis] *= s.inverse_mass[i];
        }
        stiff = larger(stiff, s.c[i] * s.inverse_mass[i] * stiffness[i]);
        flight = larger(flight, near2 * speed2);
        energy += s.c[i] * potential[i] - left * speed2 / s.inverse_mass[i];
    }
    return stiff + flight;
}

// Square of the rate of flight past atoms that are not charged yet, the fastest.
DEVICE real approach2(const Atoms& s) {
    real found = R(0.0);
    UNROLL for (int i = 0; i < ATOMS; ++i) {
        real f[3] = {R(0.0), R(0.0), R(0.0)}, potential = R(0.0);
        UNROLL for (int j = 0; j < ATOMS; ++j) {
            if (j == i) continue;
            real d[3], r2 = R(0.0);
            UNROLL for (int axis = 0; axis < 3; ++axis) {
                d[axis] = s.x[i][axis] - s.x[j][axis];
                r2 += d[axis] * d[axis];
            }
            const real inverse = inverse_root(r2);
            real level = s.q[j] * inverse;
            potential += level;
            level *= inverse * inverse;
            UNROLL for (int axis = 0; axis < 3; ++axis) f[axis] += level * d[axis];
        }
        const real scale = R(1.0) / larger(potential, TINY);
        real near2 = R(0.0), speed2 = R(0.0);
        UNROLL for (int axis = 0; axis < 3; ++axis) {
            near2 += f[axis] * scale * (f[axis] * scale);
            speed2 += s.v[i][axis] * s.v[i][axis];
        }
        found = larger(found, near2 * speed2);
    }
    return found;
}

// One step of Nystrom's method from the accelerations k1 at its beginning.
DEVICE void step(Atoms& s, real time, real h, bool whole, const real k1[ATOMS][3]) {
    real y[ATOMS][3], k2[ATOMS][3], k3[ATOMS][3];
    UNROLL for (int i = 0; i < ATOMS; ++i)
        UNROLL for (int a = 0; a < 3; ++a)
            y[i][a] = s.x[i][a] + h * (R(N1) * s.v[i][a] + h * (R(A21) * k1[i][a]));
    build_up(s, time + R(N1) * h, whole, s.c);
    forces(s, y, s.c, k2);
    UNROLL for (int i = 0; i < ATOMS; ++i)
        UNROLL for (int a = 0; a < 3; ++a)
            y[i][a] = s.x[i][a] + h * (R(N2) * s.v[i][a] +
                                       h * (R(A31) * k1[i][a] + R(A32) * k2[i][a]));
    build_up(s, time + R(N2) * h, whole, s.c);
    forces(s, y, s.c, k3);
    UNROLL for (int i = 0; i < ATOMS; ++i)
        UNROLL for (int a = 0; a < 3; ++a) {
            y[i][a] = s.x[i][a] + h * (R(N3) * s.v[i][a] +
                                       h * (R(A41) * k1[i][a] + R(A42) * k2[i][a] +
                                            R(A43) * k3[i][a]));
            s.x[i][a] += h * (s.v[i][a] + h * (R(X1) * k1[i][a] + R(X2) * k2[i][a] +
                                               R(X3) * k3[i][a]));
            s.v[i][a] += h * (R(V1) * k1[i][a] + R(V2) * k2[i][a] + R(V3) * k3[i][a]);
        }
    build_up(s, time + h, whole, s.c);  // also the charges before the next step
    forces(s, y, s.c, k2);
    UNROLL for (int i = 0; i < ATOMS; ++i)
        UNROLL for (int a = 0; a < 3; ++a) s.v[i][a] += h * (R(V4) * k2[i][a]);
}

// Velocities that are gained on straight lines behind the last step.
DEVICE void add_remaining(Atoms& s) {
    real gain[ATOMS][3];
    UNROLL for (int i = 0; i < ATOMS; ++i)
        UNROLL for (int a = 0; a < 3; ++a) gain[i][a] = R(0.0);
    UNROLL for (int i = 1; i < ATOMS; ++i)
        UNROLL for (int j = 0; j < i; ++j) {
            real d[3], w[3], r2 = R(0.0), speed2 = R(0.0), along = R(0.0);
            UNROLL for (int a = 0; a < 3; ++a) {
                d[a] = s.x[i][a] - s.x[j][a];
                w[a] = s.v[i][a] - s.v[j][a];
                r2 += d[a] * d[a];
                speed2 += w[a] * w[a];
                along += d[a] * w[a];
            }
            const real product = s.q[i] * s.q[j];
            // A pair without relative motion has no impulse that is finite.
            if (!(speed2 > TINY)) speed2 = R(1.0);
            const real inverse = inverse_root(r2), slow = inverse_root(speed2);
            real closing = (speed2 * slow) * (r2 * inverse) + along;
            // An uncharged atom is not where it was set aside.
            if (product == R(0.0)) closing = R(1.0);
            const real strength = product / closing;
            UNROLL for (int a = 0; a < 3; ++a) {
                const real more = strength * (d[a] * inverse + w[a] * slow);
                gain[i][a] += more;
                gain[j][a] -= more;
            }
        }
    UNROLL for (int i = 0; i < ATOMS; ++i)
        UNROLL for (int a = 0; a < 3; ++a) s.v[i][a] += gain[i][a] * s.inverse_mass[i];
}

DEVICE void fly(const Launch& m, Atoms& s) {
    const real end = end_of_rise(s.rise);
    real time = R(0.0);
    bool whole = KIND == INSTANT;
    build_up(s, time, whole, s.c);
    for (int n = 0; n < m.steps; ++n) {
        if (!whole && time > end) {
            whole = true;
            build_up(s, time, whole, s.c);
        }
        real k1[ATOMS][3], energy;
        real rate2 = first_stage(s, (real)m.left, k1, energy);
        if (!whole) {
            if (KIND == PER_ATOM) rate2 = larger(rate2, approach2(s));
            rate2 += rise_rate2(s.rise, time);
        }
        if (time > end && !(energy > TINY)) return;  // also where a number is none
        const real h = (real)m.fraction * inverse_root(larger(rate2, TINY));
        step(s, time, h, whole, k1);
        time += h;
    }
}

DEVICE void explode_one(const Launch& m, long long index) {
    Atoms s;
    UNROLL for (int i = 0; i < ATOMS; ++i) {
        s.q[i] = m.charges[index * m.charge_step + i];
        s.inverse_mass[i] = R(1.0) / m.masses[index * m.mass_step + i];
        if (KIND != INSTANT) {
            s.rise.tau[i] = m.tau[index * m.rise_step + i];
            s.rise.onset[i] = m.onset[index * m.rise_step + i];
        }
        UNROLL for (int a = 0; a < 3; ++a) {
            s.v[i][a] = R(0.0);
            s.x[i][a] = s.q[i] == R(0.0) ? R(ASIDE) * (i + 1)
                                         : m.positions[(index * ATOMS + i) * 3 + a];
        }
    }
    fly(m, s);
    add_remaining(s);
    UNROLL for (int i = 0; i < ATOMS; ++i)
        UNROLL for (int a = 0; a < 3; ++a)
            m.momenta[(index * ATOMS + i) * 3 + a] =
                s.v[i][a] * m.masses[index * m.mass_step + i];
}

#ifdef MOLEXA_HOST
extern "C" void explode_on_host(const Launch* m) {
    for (long long index = 0; index < m->total; ++index) explode_one(*m, index);
}
#else
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS) explode(const Launch m) {
    const long long index = (long long)blockIdx.x * THREADS + threadIdx.x;
    if (index < m.total) explode_one(m, index);
}
#endif
