"""Electron transfer over the barrier between two atoms, compiled.

Donor d (charge q_d, outermost binding energy I_d) and acceptor a (q_a > 0) at distance R: the
electron sees the charges s1^2 = q_d + 1 and s2^2 = q_a, the saddle between them lies at
R s1 / (s1 + s2) from d and is -(s1 + s2)^2 / R high, plus the field of all others there (Ryufuku,
Sasaki and Watanabe, Phys. Rev. A 21, 745 (1980); Niehaus, J. Phys. B 19, 2925 (1986)). The electron
is captured into the valence shell of the acceptor; core holes are filled by Auger decay.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from molexa_core.base.compiled import compiled
from molexa_core.physics.mcmd.philox import (
    uniform,
)
from molexa_core.physics.mcmd.state import (
    ADDED,
    ATOMS,
    BINDING,
    CAPTURE,
    COULOMB,
    EXCESS,
    HIGHEST_DONOR,
    NEAREST2,
    PAIR,
    REMOVED,
    TRANSFER_TIME,
    TRANSFERS,
    draw,
    potential,
    set_row,
    watch,
)


@compiled
def over_barrier(s: Any, d: int, a: int, level: float, pair: bool) -> bool:
    """Whether an electron of d with this energy can pass the saddle between d and a."""
    s1, s2 = math.sqrt(s.charge[d] + 1.0), math.sqrt(s.charge[a])
    barrier = -((s1 + s2) ** 2) * s.inverse[d, a]
    if not pair:
        share = s1 / (s1 + s2)
        x = s.x[d, 0] + share * (s.x[a, 0] - s.x[d, 0])
        y = s.x[d, 1] + share * (s.x[a, 1] - s.x[d, 1])
        z = s.x[d, 2] + share * (s.x[a, 2] - s.x[d, 2])
        for k in range(len(s.charge)):
            if k not in (a, d) and s.charge[k] > 0.0:
                dx, dy, dz = s.x[k, 0] - x, s.x[k, 1] - y, s.x[k, 2] - z
                barrier -= s.charge[k] / math.sqrt(dx * dx + dy * dy + dz * dz + NEAREST2)
    return bool(level >= barrier)


@compiled
def acceptor(s: Any, m: Any, d: int) -> int:
    """The ion that captures an electron of d, that with the lowest final level; or -1."""
    row = s.row[d]
    if s.charge[d] > m.rules[HIGHEST_DONOR] or m.config_int[row, REMOVED] < 0:
        return -1
    pair = m.rules[PAIR] > 0.0
    bound = float(m.config_real[row, BINDING])
    best, lowest = -1, 0.0
    field = -bound - potential(s, d)
    for a in range(len(s.charge)):
        if a == d or s.charge[a] <= 0.0 or m.config_int[s.row[a], ADDED] < 0:
            continue
        capture = float(m.config_real[s.row[a], CAPTURE])
        # Where it may pass the barrier of the isolated pair, it still must go down in the field of
        # all: otherwise electrons would run in circles among three ions.
        after = -capture - potential(s, a) - s.inverse[d, a]
        if after >= field or (best >= 0 and after >= lowest):
            continue
        level = -bound - s.charge[a] * s.inverse[d, a] if pair else field
        if over_barrier(s, d, a, level, pair):
            best, lowest = a, after
    return best


@compiled
def move_electron(s: Any, m: Any, d: int, a: int) -> None:
    """Move an electron from d to a; draws the waiting time of d for the next one (word 0)."""
    given = m.config_real[s.row[d], BINDING] + potential(s, d)
    s.energy[ATOMS] += m.config_real[s.row[d], BINDING] - m.config_real[s.row[a], CAPTURE]
    s.energy[COULOMB] += potential(s, d)
    set_row(s, m, d, np.int64(m.config_int[s.row[d], REMOVED]))
    taken = m.config_real[s.row[a], CAPTURE] + potential(s, a)
    s.energy[COULOMB] -= potential(s, a)
    set_row(s, m, a, np.int64(m.config_int[s.row[a], ADDED]))
    watch(s, d)
    watch(s, a)
    s.energy[EXCESS] += taken - given
    s.counts[TRANSFERS] += 1
    draw(s, d)
    s.patience[d] = -math.log(uniform(s.word[0]))


@compiled
def transfer(s: Any, m: Any, step: int, length: float) -> bool:
    """Electron transfers within a step; the donor that comes first changes with `step`."""
    n = len(s.charge)
    time = m.rules[TRANSFER_TIME]
    moved = False
    for _ in range(1 if time > 0.0 else 8 * n):
        again = False
        for turn in range(n):
            d = (turn + step) % n
            a = acceptor(s, m, d)
            if a < 0:
                continue
            if time > 0.0:
                s.patience[d] -= length / time
                if s.patience[d] > 0.0:
                    continue
            move_electron(s, m, d, a)
            again = True
        moved = moved or again
        if not again:
            break
    return moved
