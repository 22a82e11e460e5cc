// Point charges in motion, in registers: see motion.py and `advance` in compiled.py.

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

DEVICE void advance(const View& m, Number number, float fluence, Atoms& s) {
    float stiffness = push(s), h = 0.0f, photo = 0.0f, due = 0.0f;
    int k = -1, parts = 0, givers = SET(DONORS), takers = SET(TAKERS);
    const float2* grid = m.all.grid + m.own.first_step;
    const int steps = m.own.steps;
    ROLL while (true) {
        if (parts == 0) {
            if (++k == steps) break;
            const float2 step = grid[k];
            const float ratio = step.x * sqrtf(stiffness) / m.all.accuracy;
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
            givers = SET(DONORS);
            takers = SET(TAKERS);
            changed = true;
        }
        if (givers != 0 && takers != 0) {
            show_positions(s);
            measure_field(s);
            forget_pairs(s);
            if (transfer(m, number, k, h)) {
                fetch(s);
                givers = SET(DONORS);
                takers = SET(TAKERS);
                changed = true;
            }
        }
        stiffness = push(s);
        due = 0.5f * h;
        if (changed && stiffness > 0.0f) due = 0.5f * fminf(h, m.all.accuracy * rsqrtf(stiffness));
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

DEVICE void fly_out(const View& m, Atoms& s) {
    float h = 1e30f;
    ROLL for (int step = 0; step < LATE_STEPS; ++step) {
        if (coulomb_energy(s) <= LATE * kinetic_energy(s)) return;
        forget_pairs(s);
        h = fminf(LATE_GROWTH * h, m.all.accuracy * rsqrtf(push(s)));
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
