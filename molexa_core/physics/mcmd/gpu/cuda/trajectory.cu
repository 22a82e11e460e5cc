// One trajectory from begin to end: see `follow` in compiled.py.

DEVICE void begin(const View& m, Number number, long long geometry, Atoms& s) {
    ROLL for (int c = 0; c < ENERGIES; ++c) ENERGY(c) = 0.0f;
    ROLL for (int c = 0; c < COUNTS; ++c) COUNT(c) = 0;
    SET(DONORS) = SET(TAKERS) = SET(IONS) = 0;
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
            s.x[i][axis] = m.all.positions[place];
            s.p[i][axis] = m.all.velocities[place] * m.mass[i];
            s.force[i][axis] = 0.0f;
        }
}

DEVICE void run_one(const Launch& all, long long index) {
    const long long place = all.places ? all.places[index] : all.begin + index;
    const long long geometry = place / all.trajectories;
#if OWN
    const View m = {all, all.settings[geometry], all.start + geometry * ATOMS,
                    all.mass + geometry * ATOMS};
#else
    const View m = {all, all.common, all.start, all.mass};
#endif
    const unsigned long long full = all.first + (unsigned long long)place;
    const Number number = {(word)full, (word)(full >> 32)};
    Atoms s;
    begin(m, number, geometry, s);
    const Words words = philox(number.low, number.high, 0, MOLECULE, all.key0, all.key1);
    const float factor = powf(m.own.lowest, uniform(words.w[0]));
    advance(m, number, m.own.fluence * factor, s);
    show_positions(s);
    forget_pairs(s);
    decay_all(m, number);
    fetch(s);
    fly_out(m, s);
    forget_pairs(s);
    remaining_impulse(s);
    all.factors[index] = factor;
    UNROLL for (int i = 0; i < ATOMS; ++i) {
        all.charges[index * ATOMS + i] = (signed char)s.charge[i];
        if (all.rows) all.rows[index * ATOMS + i] = AT_INT(ROW, i);
        UNROLL for (int axis = 0; axis < 3; ++axis)
            all.momenta[(index * ATOMS + i) * 3 + axis] = s.p[i][axis];
    }
    ROLL for (int c = 0; c < COUNTS; ++c) all.counts[index * COUNTS + c] = (short)COUNT(c);
    ROLL for (int c = 0; c < ENERGIES; ++c) all.energies[index * ENERGIES + c] = ENERGY(c);
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
