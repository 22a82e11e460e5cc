// Trajectories of one molecule in the X-ray pulse, one thread each: cascades, electron transfer,
// motion. The same as compiled.py and motion.py, name by name, with the same random numbers.
//
// What every step needs (positions, momenta, charges, hazards) lies in registers: loops over atoms
// have a length that the compiler knows and are unrolled. What only events need lies in shared
// memory, one column per thread, and is indexed freely. Events are rare, so that a warp seldom
// waits for one of its threads.
//
// Whoever compiles defines ATOMS, THREADS (of a block) and BLOCKS (of a multiprocessor). With MOLEXA_HOST the source is plain C++
// for one thread: tests compare it with compiled.py where there is no GPU.

#ifdef MOLEXA_HOST
#include <cmath>
#define DEVICE static inline
#define UNROLL
#define ROLL
#define LANE 0
#define OPAQUE(value) (void)(value)
static float rsqrtf(float x) { return 1.0f / sqrtf(x); }
struct int2 { int x, y; };
struct int4 { int x, y, z, w; };
struct float2 { float x, y; };
struct float4 { float x, y, z, w; };
#else
#define DEVICE static __device__ __forceinline__
#define UNROLL _Pragma("unroll")
#define ROLL _Pragma("unroll 1")
#define LANE threadIdx.x
#define OPAQUE(value) asm volatile("" : "+f"(value))
#endif

typedef unsigned int word;

// Kinds of transitions, places in `counts` and `energies`: see state.py.
enum { PHOTO = 0, AUGER = 1, FLUORESCENCE = 2, KIND_MASK = 3, INNER = 4 };
enum { PHOTONS, AUGERS, FLUORESCENCES, TRANSFERS, SECONDS, SLOW, RECAPTURED, FORCED, COUNTS };
enum { ABSORBED, ELECTRONS, RADIATED, BOUND, COULOMB, EXCESS, ENERGIES };
const int MOST_PARTS = 1000, LATE_STEPS = 5000;
const float LATE = 0.02f, LATE_GROWTH = 1.05f;
const float NEAREST2 = 1e-20f;  // keeps the inverse distance finite
const word MOLECULE = 0xFFFFFFFFu;

// The argument of the kernel; `Launch` in gpu.py is the same, field by field.
struct Launch {
    const int4* config_int;    // first transition, charge, row after removal, row after capture
    const float4* config_real; // photo sum, decay sum, binding, capture
    const int2* move_int;      // target, kind
    const float2* move_real;   // value, released energy
    const int* start;          // [ATOMS]
    const float* mass;         // [ATOMS]
    const float2* grid;        // [steps] length, share of the photons
    const float* positions;    // [geometries, ATOMS, 3]
    const float* velocities;   // [geometries, ATOMS, 3]
    signed char* charges;      // [total, ATOMS]
    float* momenta;            // [total, ATOMS, 3]
    float* factors;            // [total]
    short* counts;             // [total, COUNTS]
    float* energies;           // [total, ENERGIES]
    int* rows;                 // [total, ATOMS] last configurations, or null
    const long long* places;   // [total] which trajectories of all geometries, or null
    unsigned long long first;  // number of the first trajectory of all, for the random numbers
    long long begin, total;    // without places: trajectories before this launch; and in it
    long long trajectories;    // of each geometry
    word key0, key1;
    int steps, recapture, highest_donor, pair;
    float fluence, lowest, photon, shake_off, double_auger, transfer_time, accuracy;
};

// Shared memory of a thread: cells per atom, then cells of the trajectory.
enum { X, Y, Z, CHARGE, HAZARD, PATIENCE, PHOTO_SUM, DECAY_SUM, BINDING, CAPTURE, INVERSE_MASS,
       FIELD, ROW, DRAW, CELLS };
enum { DONORS = ENERGIES + COUNTS, TAKERS, MORE_CELLS };
union Cell { float real; int integer; };
#ifdef MOLEXA_HOST
static Cell cells[CELLS * ATOMS + MORE_CELLS];
#else
extern __shared__ Cell cells[];
#endif
#define AT(name, a) cells[((name) * ATOMS + (a)) * THREADS + LANE].real
#define AT_INT(name, a) cells[((name) * ATOMS + (a)) * THREADS + LANE].integer
#define ENERGY(name) cells[(CELLS * ATOMS + (name)) * THREADS + LANE].real
#define COUNT(name) cells[(CELLS * ATOMS + ENERGIES + (name)) * THREADS + LANE].integer
#define MASK(name) cells[(CELLS * ATOMS + (name)) * THREADS + LANE].integer

struct Words { word w[4]; };

// Philox4x32-10, see philox.py.
DEVICE Words philox(word c0, word c1, word c2, word c3, word k0, word k1) {
    UNROLL for (int round = 0; round < 10; ++round) {
        const unsigned long long high = 0xD2511F53ull * c0, low = 0xCD9E8D57ull * c2;
        c0 = (word)(low >> 32) ^ c1 ^ k0;
        c1 = (word)low;
        c2 = (word)(high >> 32) ^ c3 ^ k1;
        c3 = (word)high;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return {{c0, c1, c2, c3}};
}

DEVICE float uniform(word w) { return ((float)(w >> 9) + 0.5f) * 0x1p-23f; }

DEVICE float waiting(word w) { return -logf(uniform(w)); }

// ------------------------------------------------------------------ events, in shared memory

struct Number { word low, high; };  // of the trajectory

DEVICE Words draw(const Launch& m, Number number, int a) {
    const word count = (word)AT_INT(DRAW, a)++;
    return philox(number.low, number.high, count, (word)a, m.key0, m.key1);
}

DEVICE float inverse_between(int i, int j) {
    const float dx = AT(X, i) - AT(X, j), dy = AT(Y, i) - AT(Y, j), dz = AT(Z, i) - AT(Z, j);
    return rsqrtf(dx * dx + dy * dy + dz * dz + NEAREST2);
}

DEVICE float potential(int a) {
    float total = 0.0f;
    ROLL for (int k = 0; k < ATOMS; ++k)
        if (k != a && AT(CHARGE, k) != 0.0f) total += AT(CHARGE, k) * inverse_between(a, k);
    return total;
}

DEVICE void set_row(const Launch& m, int a, int row) {
    const int4 whole = m.config_int[row];
    const float4 real = m.config_real[row];
    const float charge = (float)whole.y;
    AT_INT(ROW, a) = row;
    AT(CHARGE, a) = charge;
    AT(INVERSE_MASS, a) = 1.0f / (m.mass[a] - charge);
    AT(PHOTO_SUM, a) = real.x;
    AT(DECAY_SUM, a) = real.y;
    AT(BINDING, a) = real.z;
    AT(CAPTURE, a) = real.w;
    const int bit = 1 << a;
    const bool gives = whole.y <= m.highest_donor && whole.z >= 0;
    const bool takes = whole.y > 0 && whole.w >= 0;
    MASK(DONORS) = gives ? MASK(DONORS) | bit : MASK(DONORS) & ~bit;
    MASK(TAKERS) = takes ? MASK(TAKERS) | bit : MASK(TAKERS) & ~bit;
}

DEVICE int lowest_place(int a, float below) {
    int best = -1;
    ROLL for (int k = 0; k < ATOMS; ++k)
        if (k != a && (MASK(TAKERS) >> k & 1)) {
            const float level = -AT(CAPTURE, k) - potential(k);
            if (level < below) {
                best = k;
                below = level;
            }
        }
    return best;
}

// Returns the bit of the atom that captured the electron, 0 if none did.
DEVICE int release(const Launch& m, int a, int row, float energy) {
    set_row(m, a, row);
    const float climb = potential(a), left = energy - climb;
    ENERGY(COULOMB) += climb;
    if (left < 0.0f) {
        ++COUNT(SLOW);
        const int k = m.recapture ? lowest_place(a, left) : -1;
        if (k >= 0) {
            const float bound = AT(CAPTURE, k), fall = potential(k);
            set_row(m, k, m.config_int[AT_INT(ROW, k)].w);
            ++COUNT(RECAPTURED);
            ENERGY(BOUND) -= bound;
            ENERGY(COULOMB) -= fall;
            ENERGY(EXCESS) += left + bound + fall;
            return 1 << k;
        }
    }
    ENERGY(ELECTRONS) += left;
    return 0;
}

DEVICE int choose(const Launch& m, int a, float photo, float decay, float u) {
    const int row = AT_INT(ROW, a), last = m.config_int[row + 1].x;
    float left = u * (AT(PHOTO_SUM, a) * photo + AT(DECAY_SUM, a) * decay);
    int chosen = -1;
    ROLL for (int t = m.config_int[row].x; t < last; ++t) {
        const bool is_photo = (m.move_int[t].y & KIND_MASK) == PHOTO;
        const float weight = m.move_real[t].x * (is_photo ? photo : decay);
        if (weight > 0.0f) {
            chosen = t;
            left -= weight;
            if (left < 0.0f) break;
        }
    }
    return chosen;
}

// Returns the bits of atoms that captured electrons.
DEVICE int fire(const Launch& m, Number number, int a, float photo, float decay) {
    const Words words = draw(m, number, a);
    const int t = choose(m, a, photo, decay, uniform(words.w[0]));
    AT(HAZARD, a) = waiting(words.w[1]);
    const int2 move = m.move_int[t];
    const int kind = move.y & KIND_MASK;
    float energy = m.move_real[t].y, second = 0.0f;
    if (kind == PHOTO) {
        ++COUNT(PHOTONS);
        ENERGY(ABSORBED) += m.photon;
        ENERGY(BOUND) += m.photon - energy;
        second = m.shake_off;
    } else {
        ENERGY(BOUND) -= energy;
        if (kind == FLUORESCENCE) {
            set_row(m, a, move.x);
            ++COUNT(FLUORESCENCES);
            ENERGY(RADIATED) += energy;
            return 0;
        }
        ++COUNT(AUGERS);
        second = m.double_auger;
    }
    int rows[2] = {move.x, -1};
    if (second > 0.0f && (move.y & INNER) && uniform(words.w[2]) < second) {
        const int further = m.config_int[move.x].z;
        const float bound = m.config_real[move.x].z;
        if (further >= 0 && energy > bound) {
            ++COUNT(SECONDS);
            ENERGY(BOUND) += bound;
            energy = 0.5f * (energy - bound);
            rows[1] = further;
        }
    }
    const int bits = release(m, a, rows[0], energy);
    return rows[1] < 0 ? bits : bits | release(m, a, rows[1], energy);
}

// Events of the atoms in `fired` within a step; the hazards of the others have been lowered already.
DEVICE void cascade(const Launch& m, Number number, int fired, float photo, float length) {
    ROLL for (int a = 0; a < ATOMS; ++a) {
        if (!(fired >> a & 1)) continue;
        float left = 1.0f;
        ROLL while (true) {
            const float rate = AT(PHOTO_SUM, a) * photo + AT(DECAY_SUM, a) * length;
            if (AT(HAZARD, a) >= rate * left) {
                AT(HAZARD, a) -= rate * left;
                break;
            }
            left = fmaxf(left - AT(HAZARD, a) / rate, 0.0f);
            // Later atoms that capture electrons have other rates in this step than was thought.
            float before[ATOMS];
            if (m.recapture)
                ROLL for (int k = a + 1; k < ATOMS; ++k)
                    before[k] = AT(PHOTO_SUM, k) * photo + AT(DECAY_SUM, k) * length;
            const int captured = fire(m, number, a, photo, length);
            if (m.recapture)
                ROLL for (int k = a + 1; k < ATOMS; ++k)
                    if (captured >> k & ~(fired >> k) & 1) {
                        AT(HAZARD, k) += before[k];
                        fired |= 1 << k;
                    }
        }
    }
}

DEVICE void decay_all(const Launch& m, Number number) {
    ROLL for (int a = 0; a < ATOMS; ++a)
        ROLL while (AT(DECAY_SUM, a) > 0.0f) {
            fire(m, number, a, 0.0f, 1.0f);
            ++COUNT(FORCED);
        }
}

// ------------------------------------------------------------------ transfer, in shared memory

DEVICE bool over_barrier(const Launch& m, int d, int a, float inverse, float level) {
    const float s1 = sqrtf(AT(CHARGE, d) + 1.0f), s2 = sqrtf(AT(CHARGE, a));
    float barrier = -(s1 + s2) * (s1 + s2) * inverse;
    if (!m.pair) {
        const float share = s1 / (s1 + s2);
        const float x = AT(X, d) + share * (AT(X, a) - AT(X, d));
        const float y = AT(Y, d) + share * (AT(Y, a) - AT(Y, d));
        const float z = AT(Z, d) + share * (AT(Z, a) - AT(Z, d));
        ROLL for (int k = 0; k < ATOMS; ++k) {
            if (k == a || k == d || AT(CHARGE, k) <= 0.0f) continue;
            const float dx = AT(X, k) - x, dy = AT(Y, k) - y, dz = AT(Z, k) - z;
            barrier -= AT(CHARGE, k) * rsqrtf(dx * dx + dy * dy + dz * dz + NEAREST2);
        }
    }
    return level >= barrier;
}

DEVICE int acceptor(const Launch& m, int d) {
    const float bound = AT(BINDING, d);
    int best = -1;
    float lowest = 0.0f;
    ROLL for (int a = 0; a < ATOMS; ++a) {
        if (a == d || !(MASK(TAKERS) >> a & 1)) continue;
        const float inverse = inverse_between(d, a);
        float level = -bound - AT(FIELD, d), after = -AT(CAPTURE, a) - AT(FIELD, a) - inverse;
        if (m.pair) {
            level = -bound - AT(CHARGE, a) * inverse;
            after = -AT(CAPTURE, a) - (AT(CHARGE, d) + 1.0f) * inverse;
        }
        if (after >= level || (best >= 0 && after >= lowest)) continue;
        if (over_barrier(m, d, a, inverse, level)) {
            best = a;
            lowest = after;
        }
    }
    return best;
}

DEVICE void move_electron(const Launch& m, Number number, int d, int a) {
    const float leaving = potential(d), given = AT(BINDING, d) + leaving;
    ENERGY(BOUND) += AT(BINDING, d) - AT(CAPTURE, a);
    set_row(m, d, m.config_int[AT_INT(ROW, d)].z);
    const float arriving = potential(a), taken = AT(CAPTURE, a) + arriving;
    ENERGY(COULOMB) += leaving - arriving;
    set_row(m, a, m.config_int[AT_INT(ROW, a)].w);
    ENERGY(EXCESS) += taken - given;
    ++COUNT(TRANSFERS);
    AT(PATIENCE, d) = waiting(draw(m, number, d).w[0]);
    ROLL for (int k = 0; k < ATOMS; ++k) AT(FIELD, k) = potential(k);
}

// FIELD must hold the potentials of the other ions.
DEVICE bool transfer(const Launch& m, Number number, int step, float length) {
    bool moved = false;
    const float wait = m.transfer_time > 0.0f ? length / m.transfer_time : 0.0f;
    ROLL for (int pass = m.transfer_time > 0.0f ? 1 : 8 * ATOMS; pass > 0; --pass) {
        bool again = false;
        int d = step % ATOMS;
        ROLL for (int turn = 0; turn < ATOMS; ++turn, d = d + 1 < ATOMS ? d + 1 : 0) {
            if (!(MASK(DONORS) >> d & 1)) continue;
            const int a = acceptor(m, d);
            if (a < 0) continue;
            if (wait > 0.0f && (AT(PATIENCE, d) -= wait) > 0.0f) continue;
            move_electron(m, number, d, a);
            again = true;
        }
        moved = moved || again;
        if (!again) break;
    }
    return moved;
}

// ------------------------------------------------------------------ motion, in registers

struct Atoms {
    float x[ATOMS][3], p[ATOMS][3], force[ATOMS][3];
    float charge[ATOMS], inverse_mass[ATOMS];
};

// Hides from the compiler that positions and charges are those of before: it would keep what it has
// computed of all pairs in registers until it is needed again, and there are not enough of them.
DEVICE void forget_pairs(Atoms& s) {
    UNROLL for (int i = 0; i < ATOMS; ++i) {
        OPAQUE(s.charge[i]);
        UNROLL for (int axis = 0; axis < 3; ++axis) OPAQUE(s.x[i][axis]);
    }
}

DEVICE void kick(Atoms& s, float time) {
    UNROLL for (int i = 0; i < ATOMS; ++i)
        UNROLL for (int axis = 0; axis < 3; ++axis) s.p[i][axis] += s.force[i][axis] * time;
}

DEVICE void drift(Atoms& s, float time) {
    UNROLL for (int i = 0; i < ATOMS; ++i) {
        const float scale = s.inverse_mass[i] * time;
        UNROLL for (int axis = 0; axis < 3; ++axis) s.x[i][axis] += s.p[i][axis] * scale;
    }
}

DEVICE float push(Atoms& s) {
    float stiffness[ATOMS], largest = 0.0f;
    UNROLL for (int i = 0; i < ATOMS; ++i) {
        stiffness[i] = 0.0f;
        UNROLL for (int axis = 0; axis < 3; ++axis) s.force[i][axis] = 0.0f;
    }
    UNROLL for (int i = 1; i < ATOMS; ++i)
        UNROLL for (int j = 0; j < i; ++j) {
            const float dx = s.x[i][0] - s.x[j][0], dy = s.x[i][1] - s.x[j][1],
                        dz = s.x[i][2] - s.x[j][2];
            const float inverse = rsqrtf(dx * dx + dy * dy + dz * dz + NEAREST2);
            const float strength = s.charge[i] * s.charge[j] * (inverse * inverse * inverse);
            stiffness[i] += strength;
            stiffness[j] += strength;
            s.force[i][0] += strength * dx;
            s.force[i][1] += strength * dy;
            s.force[i][2] += strength * dz;
            s.force[j][0] -= strength * dx;
            s.force[j][1] -= strength * dy;
            s.force[j][2] -= strength * dz;
        }
    UNROLL for (int i = 0; i < ATOMS; ++i)
        largest = fmaxf(largest, stiffness[i] * s.inverse_mass[i]);
    return largest;
}

// Potentials of the other ions, from registers into FIELD.
DEVICE void measure_field(const Atoms& s) {
    float field[ATOMS];
    UNROLL for (int i = 0; i < ATOMS; ++i) field[i] = 0.0f;
    UNROLL for (int i = 1; i < ATOMS; ++i)
        UNROLL for (int j = 0; j < i; ++j) {
            const float dx = s.x[i][0] - s.x[j][0], dy = s.x[i][1] - s.x[j][1],
                        dz = s.x[i][2] - s.x[j][2];
            const float inverse = rsqrtf(dx * dx + dy * dy + dz * dz + NEAREST2);
            field[i] += s.charge[j] * inverse;
            field[j] += s.charge[i] * inverse;
        }
    UNROLL for (int i = 0; i < ATOMS; ++i) AT(FIELD, i) = field[i];
}

DEVICE void show_positions(const Atoms& s) {
    UNROLL for (int i = 0; i < ATOMS; ++i) {
        AT(X, i) = s.x[i][0];
        AT(Y, i) = s.x[i][1];
        AT(Z, i) = s.x[i][2];
    }
}

// What events have changed, back into registers.
DEVICE void fetch(Atoms& s) {
    UNROLL for (int i = 0; i < ATOMS; ++i) {
        s.charge[i] = AT(CHARGE, i);
        s.inverse_mass[i] = AT(INVERSE_MASS, i);
    }
}

DEVICE void advance(const Launch& m, Number number, float fluence, Atoms& s) {
    float stiffness = 0.0f, h = 0.0f, photo = 0.0f, due = 0.0f;
    int k = -1, parts = 0, givers = 0, takers = 0;
    ROLL while (true) {
        if (parts == 0) {
            if (++k == m.steps) break;
            const float2 step = m.grid[k];
            const float ratio = step.x * sqrtf(stiffness) / m.accuracy;
            parts = (int)fminf(fmaxf(ceilf(ratio), 1.0f), (float)MOST_PARTS);
            const float share = 1.0f / (float)parts;
            h = step.x * share;
            photo = fluence * step.y * share;
        }
        --parts;
        kick(s, due + 0.5f * h);  // the second half of the last part, the first of this one
        drift(s, h);
        int fired = 0;
        UNROLL for (int i = 0; i < ATOMS; ++i) {
            const float left = AT(HAZARD, i) - (AT(PHOTO_SUM, i) * photo + AT(DECAY_SUM, i) * h);
            if (left < 0.0f) fired |= 1 << i;
            else AT(HAZARD, i) = left;
        }
        bool changed = false;
        if (fired) {
            show_positions(s);
            cascade(m, number, fired, photo, h);
            fetch(s);
            givers = MASK(DONORS);
            takers = MASK(TAKERS);
            changed = true;
        }
        if (givers != 0 && takers != 0) {
            show_positions(s);
            measure_field(s);
            forget_pairs(s);
            if (transfer(m, number, k, h)) {
                fetch(s);
                givers = MASK(DONORS);
                takers = MASK(TAKERS);
                changed = true;
            }
        }
        stiffness = push(s);
        due = 0.5f * h;
        if (changed && stiffness > 0.0f) due = 0.5f * fminf(h, m.accuracy * rsqrtf(stiffness));
    }
    kick(s, due);
}

DEVICE float coulomb_energy(const Atoms& s) {
    float total = 0.0f;
    UNROLL for (int i = 1; i < ATOMS; ++i)
        UNROLL for (int j = 0; j < i; ++j) {
            const float dx = s.x[i][0] - s.x[j][0], dy = s.x[i][1] - s.x[j][1],
                        dz = s.x[i][2] - s.x[j][2];
            total += s.charge[i] * s.charge[j] * rsqrtf(dx * dx + dy * dy + dz * dz + NEAREST2);
        }
    return total;
}

DEVICE float kinetic_energy(const Atoms& s) {
    float total = 0.0f;
    UNROLL for (int i = 0; i < ATOMS; ++i)
        UNROLL for (int axis = 0; axis < 3; ++axis)
            total += 0.5f * s.p[i][axis] * s.p[i][axis] * s.inverse_mass[i];
    return total;
}

DEVICE void fly_out(const Launch& m, Atoms& s) {
    float h = 1e30f;
    ROLL for (int step = 0; step < LATE_STEPS; ++step) {
        if (coulomb_energy(s) <= LATE * kinetic_energy(s)) return;
        forget_pairs(s);
        h = fminf(LATE_GROWTH * h, m.accuracy * rsqrtf(push(s)));
        kick(s, 0.5f * h);
        drift(s, h);
        push(s);
        kick(s, 0.5f * h);
        forget_pairs(s);
    }
}

DEVICE void remaining_impulse(Atoms& s) {
    UNROLL for (int i = 0; i < ATOMS; ++i)
        UNROLL for (int axis = 0; axis < 3; ++axis) s.force[i][axis] = 0.0f;
    UNROLL for (int i = 1; i < ATOMS; ++i)
        UNROLL for (int j = 0; j < i; ++j) {
            float d[3], v[3], product = 0.0f, r2 = 0.0f, v2 = 0.0f;
            UNROLL for (int axis = 0; axis < 3; ++axis) {
                d[axis] = s.x[i][axis] - s.x[j][axis];
                v[axis] = s.p[i][axis] * s.inverse_mass[i] - s.p[j][axis] * s.inverse_mass[j];
                product += d[axis] * v[axis];
                r2 += d[axis] * d[axis];
                v2 += v[axis] * v[axis];
            }
            const float r = sqrtf(r2), speed = sqrtf(v2), charges = s.charge[i] * s.charge[j];
            if (charges > 0.0f && speed * r + product > 1e-3f * speed * r) {
                const float strength = charges / (speed * r + product);
                UNROLL for (int axis = 0; axis < 3; ++axis) {
                    const float gain = strength * (d[axis] / r + v[axis] / speed);
                    s.force[i][axis] += gain;
                    s.force[j][axis] -= gain;
                }
            }
        }
    kick(s, 1.0f);
}

// ------------------------------------------------------------------ one trajectory

DEVICE void begin(const Launch& m, Number number, long long geometry, Atoms& s) {
    ROLL for (int c = 0; c < ENERGIES; ++c) ENERGY(c) = 0.0f;
    ROLL for (int c = 0; c < COUNTS; ++c) COUNT(c) = 0;
    MASK(DONORS) = MASK(TAKERS) = 0;
    ROLL for (int a = 0; a < ATOMS; ++a) {
        set_row(m, a, m.start[a]);
        AT_INT(DRAW, a) = 0;
        const Words words = draw(m, number, a);
        AT(HAZARD, a) = waiting(words.w[0]);
        AT(PATIENCE, a) = waiting(words.w[1]);
    }
    fetch(s);
    UNROLL for (int i = 0; i < ATOMS; ++i)
        UNROLL for (int axis = 0; axis < 3; ++axis) {
            const long long place = (geometry * ATOMS + i) * 3 + axis;
            s.x[i][axis] = m.positions[place];
            s.p[i][axis] = m.velocities[place] * m.mass[i];
            s.force[i][axis] = 0.0f;
        }
}

DEVICE void run_one(const Launch& m, long long index) {
    const long long place = m.places ? m.places[index] : m.begin + index;
    const unsigned long long full = m.first + (unsigned long long)place;
    const Number number = {(word)full, (word)(full >> 32)};
    Atoms s;
    begin(m, number, place / m.trajectories, s);
    const Words words = philox(number.low, number.high, 0, MOLECULE, m.key0, m.key1);
    const float factor = powf(m.lowest, uniform(words.w[0]));
    advance(m, number, m.fluence * factor, s);
    show_positions(s);
    forget_pairs(s);
    decay_all(m, number);
    fetch(s);
    fly_out(m, s);
    forget_pairs(s);
    remaining_impulse(s);
    m.factors[index] = factor;
    UNROLL for (int i = 0; i < ATOMS; ++i) {
        m.charges[index * ATOMS + i] = (signed char)s.charge[i];
        if (m.rows) m.rows[index * ATOMS + i] = AT_INT(ROW, i);
        UNROLL for (int axis = 0; axis < 3; ++axis)
            m.momenta[(index * ATOMS + i) * 3 + axis] = s.p[i][axis];
    }
    ROLL for (int c = 0; c < COUNTS; ++c) m.counts[index * COUNTS + c] = (short)COUNT(c);
    ROLL for (int c = 0; c < ENERGIES; ++c) m.energies[index * ENERGIES + c] = ENERGY(c);
}

#ifdef MOLEXA_HOST
extern "C" void run_on_host(const Launch* m) {
    ROLL for (long long index = 0; index < m->total; ++index) run_one(*m, index);
}
extern "C" void philox_on_host(const word* counter, const word* key, word* out) {
    const Words words = philox(counter[0], counter[1], counter[2], counter[3], key[0], key[1]);
    ROLL for (int i = 0; i < 4; ++i) out[i] = words.w[i];
}
#else
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS) run(const Launch m) {
    const long long index = (long long)blockIdx.x * THREADS + LANE;
    if (index < m.total) run_one(m, index);
}
#endif
