// Electrons that go over the barrier from one atom to another, in shared memory: see transfer.py.

DEVICE bool over_barrier(const View& m, int d, int a, float inverse, float level) {
    const float s1 = sqrtf(AT(CHARGE, d) + 1.0f), s2 = sqrtf(AT(CHARGE, a));
    float barrier = -(s1 + s2) * (s1 + s2) * inverse;
    if (!m.own.pair) {
        const float share = s1 / (s1 + s2);
        const float x = AT(X, d) + share * (AT(X, a) - AT(X, d));
        const float y = AT(Y, d) + share * (AT(Y, a) - AT(Y, d));
        const float z = AT(Z, d) + share * (AT(Z, a) - AT(Z, d));
        ROLL for (int set = SET(IONS) & ~(1 << a | 1 << d); set != 0; set &= set - 1) {
            const int k = LOWEST_BIT(set);
            const float dx = AT(X, k) - x, dy = AT(Y, k) - y, dz = AT(Z, k) - z;
            barrier -= AT(CHARGE, k) * rsqrtf(dx * dx + dy * dy + dz * dz + NEAREST2);
        }
    }
    return level >= barrier;
}

DEVICE int acceptor(const View& m, int d) {
    const float bound = AT(BINDING, d);
    int best = -1;
    float lowest = 0.0f;
    ROLL for (int set = SET(TAKERS) & ~(1 << d); set != 0; set &= set - 1) {
        const int a = LOWEST_BIT(set);
        const float inverse = inverse_between(d, a);
        const float field = -bound - AT(FIELD, d);
        const float after = -AT(CAPTURE, a) - AT(FIELD, a) - inverse;
        if (after >= field || (best >= 0 && after >= lowest)) continue;
        const float level = m.own.pair ? -bound - AT(CHARGE, a) * inverse : field;
        if (over_barrier(m, d, a, inverse, level)) {
            best = a;
            lowest = after;
        }
    }
    return best;
}

DEVICE void move_electron(const View& m, Number number, int d, int a) {
    const float leaving = potential(d), given = AT(BINDING, d) + leaving;
    ENERGY(BOUND) += AT(BINDING, d) - AT(CAPTURE, a);
    set_row(m, d, m.all.config_int[AT_INT(ROW, d)].z);
    const float arriving = potential(a), taken = AT(CAPTURE, a) + arriving;
    ENERGY(COULOMB) += leaving - arriving;
    set_row(m, a, m.all.config_int[AT_INT(ROW, a)].w);
    watch(d);
    watch(a);
    ENERGY(EXCESS) += taken - given;
    ++COUNT(TRANSFERS);
    AT(PATIENCE, d) = waiting(draw(m, number, d).w[0]);
    ROLL for (int k = 0; k < ATOMS; ++k) AT(FIELD, k) = potential(k);
}

// The set with atom `first` at the lowest bit, the atoms before it behind the last.
DEVICE int turned(int set, int first) {
    const word all = (word)set;
    return (int)((all >> first | all << (ATOMS - first)) & ((1u << ATOMS) - 1));
}

// FIELD must hold the potentials of the other ions.
DEVICE bool transfer(const View& m, Number number, int step, float length) {
    bool moved = false;
    const float wait = m.own.transfer_time > 0.0f ? length / m.own.transfer_time : 0.0f;
    ROLL for (int pass = m.own.transfer_time > 0.0f ? 1 : 8 * ATOMS; pass > 0; --pass) {
        bool again = false;
        const int first = step % ATOMS;
        ROLL for (int set = turned(SET(DONORS), first); set != 0;) {
            const int turn = LOWEST_BIT(set), d = (first + turn) % ATOMS;
            set &= set - 1;
            const int a = acceptor(m, d);
            if (a < 0) continue;
            if (wait > 0.0f && (AT(PATIENCE, d) -= wait) > 0.0f) continue;
            move_electron(m, number, d, a);
            again = true;
            set = turned(SET(DONORS), first) & ~((2 << turn) - 1);  // the acceptor may give now
        }
        moved = moved || again;
        if (!again) break;
    }
    return moved;
}
