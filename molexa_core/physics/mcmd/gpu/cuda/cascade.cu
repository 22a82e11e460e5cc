// What happens inside one atom, in shared memory: see cascade.py.

DEVICE int lowest_place(int a, float below) {
    int best = -1;
    ROLL for (int set = SET(TAKERS) & ~(1 << a); set != 0; set &= set - 1) {
        const int k = LOWEST_BIT(set);
        const float level = -AT(CAPTURE, k) - potential(k);
        if (level < below) {
            best = k;
            below = level;
        }
    }
    return best;
}

// Returns the bit of the atom that captured the electron, 0 if none did.
DEVICE int release(const View& m, int a, int row, float energy) {
    set_row(m, a, row);
    watch(a);
    const float climb = potential(a), left = energy - climb;
    ENERGY(COULOMB) += climb;
    if (left < 0.0f) {
        ++COUNT(SLOW);
        const int k = m.own.recapture ? lowest_place(a, left) : -1;
        if (k >= 0) {
            const float bound = AT(CAPTURE, k), fall = potential(k);
            set_row(m, k, m.all.config_int[AT_INT(ROW, k)].w);
            watch(k);
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

DEVICE int choose(const View& m, int a, float photo, float decay, float u) {
    const int row = AT_INT(ROW, a), last = m.all.config_int[row + 1].x;
    float left = u * (AT(PHOTO_SUM, a) * photo + AT(DECAY_SUM, a) * decay);
    int chosen = -1;
    ROLL for (int t = m.all.config_int[row].x; t < last; ++t) {
        const bool is_photo = (m.all.move_int[t].y & KIND_MASK) == PHOTO;
        const float weight = m.all.move_real[t].x * (is_photo ? photo : decay);
        if (weight > 0.0f) {
            chosen = t;
            left -= weight;
            if (left < 0.0f) break;
        }
    }
    return chosen;
}

// Returns the bits of atoms that captured electrons.
DEVICE int fire(const View& m, Number number, int a, float photo, float decay) {
    const Words words = draw(m, number, a);
    const int t = choose(m, a, photo, decay, uniform(words.w[0]));
    AT(HAZARD, a) = waiting(words.w[1]);
    const int2 move = m.all.move_int[t];
    const int kind = move.y & KIND_MASK;
    float energy = m.all.move_real[t].y, second = 0.0f;
    if (kind == PHOTO) {
        ++COUNT(PHOTONS);
        ENERGY(ABSORBED) += m.own.photon;
        ENERGY(BOUND) += m.own.photon - energy;
        second = m.own.shake_off;
    } else {
        ENERGY(BOUND) -= energy;
        if (kind == FLUORESCENCE) {
            set_row(m, a, move.x);
            ++COUNT(FLUORESCENCES);
            ENERGY(RADIATED) += energy;
            return 0;
        }
        ++COUNT(AUGERS);
        second = m.own.double_auger;
    }
    int rows[2] = {move.x, -1};
    if (second > 0.0f && (move.y & INNER) && uniform(words.w[2]) < second) {
        const int further = m.all.config_int[move.x].z;
        const float bound = m.all.config_real[move.x].z;
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
DEVICE void cascade(const View& m, Number number, int fired, float photo, float length) {
    ROLL while (fired != 0) {
        const int a = LOWEST_BIT(fired);
        fired &= fired - 1;
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
            if (m.own.recapture)
                ROLL for (int k = a + 1; k < ATOMS; ++k)
                    before[k] = AT(PHOTO_SUM, k) * photo + AT(DECAY_SUM, k) * length;
            const int captured = fire(m, number, a, photo, length);
            if (m.own.recapture)
                ROLL for (int k = a + 1; k < ATOMS; ++k)
                    if (captured >> k & ~(fired >> k) & 1) {
                        AT(HAZARD, k) += before[k];
                        fired |= 1 << k;
                    }
        }
    }
}

DEVICE void decay_all(const View& m, Number number) {
    ROLL for (int a = 0; a < ATOMS; ++a)
        ROLL while (AT(DECAY_SUM, a) > 0.0f) {
            fire(m, number, a, 0.0f, 1.0f);
            ++COUNT(FORCED);
        }
}
