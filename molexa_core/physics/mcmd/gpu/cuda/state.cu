// Trajectories of one molecule in the X-ray pulse, one thread each: cascades, electron transfer,
// motion. The same as compiled.py and motion.py, name by name, with the same random numbers.
//
// What every step needs (positions, momenta, charges, hazards) lies in registers: loops over atoms
// have a length that the compiler knows and are unrolled. What only events need lies in shared
// memory, one column per thread, and is indexed freely. Events are rare, so that a warp seldom
// waits for one of its threads.
//
// Sets of atoms (ions, those that can give or take an electron) are bits of a word, and loops run
// over the bits that are set: threads of a warp whose sets differ then still work side by side.
//
// Whoever compiles defines ATOMS, THREADS (of a block), BLOCKS (of a multiprocessor), the limits of
// motion.py and state.py, and OWN: whether every geometry has a setting of its own; see kernel.py. With MOLEXA_HOST the source is plain C++ for one thread:
// tests compare it with compiled.py where there is no GPU.

#ifdef MOLEXA_HOST
#include <cmath>
#define DEVICE static inline
#define UNROLL
#define ROLL
#define LANE 0
#define LOWEST_BIT(set) __builtin_ctz(set)
#define OPAQUE(value) (void)(value)
static float rsqrtf(float x) { return 1.0f / sqrtf(x); }
struct int2 { int x, y; };
struct int4 { int x, y, z, w; };
struct float2 { float x, y; };
struct float4 { float x, y, z, w; };
#else
#define DEVICE static __device__ __forceinline__
#if ATOMS <= 16
#define UNROLL _Pragma("unroll")
#else  // more would not fit into registers anyhow, and take long to compile
#define UNROLL _Pragma("unroll 1")
#endif
#define ROLL _Pragma("unroll 1")
#define LANE threadIdx.x
#define LOWEST_BIT(set) (__ffs(set) - 1)
#define OPAQUE(value) asm volatile("" : "+f"(value))
#endif

typedef unsigned int word;

// Kinds of transitions, places in `counts` and `energies`: see state.py.
enum { PHOTO = 0, AUGER = 1, FLUORESCENCE = 2, KIND_MASK = 3, INNER = 4 };
enum { PHOTONS, AUGERS, FLUORESCENCES, TRANSFERS, SECONDS, SLOW, RECAPTURED, FORCED, CLOSE,
       COUNTS };
enum { ABSORBED, ELECTRONS, RADIATED, BOUND, COULOMB, EXCESS, ENERGIES };
const float NEAREST2 = 1e-20f;  // keeps the inverse distance finite
const word MOLECULE = 0xFFFFFFFFu;

// Pulse and switches of the model; `Setting` in kernel.py is the same, field by field.
struct Setting {
    int first_step, steps;     // place in the grid
    int recapture, highest_donor, pair;
    float fluence, lowest, photon, shake_off, double_auger, transfer_time;
};

// The argument of the kernel; `Launch` in kernel.py is the same, field by field.
struct Launch {
    const int4* config_int;    // first transition, charge, row after removal, row after capture
    const float4* config_real; // photo sum, decay sum, binding, capture
    const int2* move_int;      // target, kind
    const float2* move_real;   // value, released energy
    const int* start;          // [ATOMS], or with OWN [geometries, ATOMS]
    const float* mass;         // likewise
    const float2* grid;        // [all steps] length, share of the photons
    const float* positions;    // [geometries, ATOMS, 3]
    const float* velocities;   // [geometries, ATOMS, 3]
    signed char* charges;      // [total, ATOMS]
    float* momenta;            // [total, ATOMS, 3]
    float* factors;            // [total]
    short* counts;             // [total, COUNTS]
    float* energies;           // [total, ENERGIES]
    int* rows;                 // [total, ATOMS] last configurations, or null
    const long long* places;   // [total] which trajectories of all geometries, or null
    const Setting* settings;   // with OWN [geometries]
    unsigned long long first;  // number of the first trajectory of all, for the random numbers
    long long begin, total;    // without places: trajectories before this launch; and in it
    long long trajectories;    // of each geometry
    word key0, key1;
    Setting common;            // without OWN
    float accuracy;
};

// The argument as a trajectory sees it.
struct View {
    const Launch& all;
    const Setting& own;
    const int* start;          // [ATOMS]
    const float* mass;         // [ATOMS]
};

// Shared memory of a thread: cells per atom, then cells of the trajectory.
enum { X, Y, Z, CHARGE, HAZARD, PATIENCE, PHOTO_SUM, DECAY_SUM, BINDING, CAPTURE, INVERSE_MASS,
       FIELD, ROW, DRAW, CELLS };
enum { DONORS = ENERGIES + COUNTS, TAKERS, IONS, MORE_CELLS };
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
#define SET(name) cells[(CELLS * ATOMS + (name)) * THREADS + LANE].integer

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

struct Number { word low, high; };  // of the trajectory

DEVICE Words draw(const View& m, Number number, int a) {
    const word count = (word)AT_INT(DRAW, a)++;
    return philox(number.low, number.high, count, (word)a, m.all.key0, m.all.key1);
}

DEVICE float inverse_between(int i, int j) {
    const float dx = AT(X, i) - AT(X, j), dy = AT(Y, i) - AT(Y, j), dz = AT(Z, i) - AT(Z, j);
    return rsqrtf(dx * dx + dy * dy + dz * dz + NEAREST2);
}

DEVICE float potential(int a) {
    float total = 0.0f;
    ROLL for (int set = SET(IONS) & ~(1 << a); set != 0; set &= set - 1) {
        const int k = LOWEST_BIT(set);
        total += AT(CHARGE, k) * inverse_between(a, k);
    }
    return total;
}

// Call after the charge of atom a has changed.
DEVICE void watch(int a) {
    if ((SET(IONS) >> a & 1) == 0) return;
    ROLL for (int set = SET(IONS) & ~(1 << a); set != 0; set &= set - 1)
        if (inverse_between(a, LOWEST_BIT(set)) * CORE_BOHR > 1.0f) {
            ++COUNT(CLOSE);
            return;
        }
}

DEVICE void put(int& set, int a, bool in) { set = in ? set | 1 << a : set & ~(1 << a); }

DEVICE void set_row(const View& m, int a, int row) {
    const int4 whole = m.all.config_int[row];
    const float4 real = m.all.config_real[row];
    const float charge = (float)whole.y;
    AT_INT(ROW, a) = row;
    AT(CHARGE, a) = charge;
    AT(INVERSE_MASS, a) = 1.0f / (m.mass[a] - charge);
    AT(PHOTO_SUM, a) = real.x;
    AT(DECAY_SUM, a) = real.y;
    AT(BINDING, a) = real.z;
    AT(CAPTURE, a) = real.w;
    put(SET(DONORS), a, whole.y <= m.own.highest_donor && whole.z >= 0);
    put(SET(TAKERS), a, whole.y > 0 && whole.w >= 0);
    put(SET(IONS), a, whole.y > 0);
}
