"""Events in one atom, compiled: photoabsorption, Auger decay, fluorescence, second electrons."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from molexa_core.base.compiled import compiled
from molexa_core.physics.mcmd.philox import (
    uniform,
)
from molexa_core.physics.mcmd.state import (
    ABSORBED,
    ADDED,
    ATOMS,
    AUGERS,
    BINDING,
    CAPTURE,
    COULOMB,
    DECAY_SUM,
    DOUBLE_AUGER,
    ELECTRONS,
    EXCESS,
    FIRST,
    FLUORESCENCE,
    FLUORESCENCES,
    INNER,
    KIND,
    KIND_MASK,
    PHOTO,
    PHOTO_SUM,
    PHOTON,
    PHOTONS,
    RADIATED,
    RECAPTURE,
    RECAPTURED,
    RELEASED,
    REMOVED,
    SECONDS,
    SHAKE_OFF,
    SLOW,
    TARGET,
    VALUE,
    draw,
    potential,
    set_row,
    watch,
)


@compiled
def lowest_place(s: Any, m: Any, a: int, below: float) -> int:
    """The ion other than a with the lowest level for an electron, if below `below`; else -1."""
    best = -1
    for k in range(len(s.charge)):
        if k != a and s.charge[k] > 0.0 and m.config_int[s.row[k], ADDED] >= 0:
            level = -m.config_real[s.row[k], CAPTURE] - potential(s, k)
            if level < below:
                best, below = k, level
    return best


@compiled
def release(s: Any, m: Any, a: int, row: np.integer[Any] | int, energy: float) -> None:
    """Atom a emits an electron of this energy (without the field of the others) and gets `row`.

    The electron loses energy in the potential of the other ions, equal to the increase of the
    Coulomb energy between the ions. An electron that is too slow is captured by another ion, if
    recapture is switched on.
    """
    set_row(s, m, a, row)
    watch(s, a)
    climb = potential(s, a)
    left = energy - climb
    s.energy[COULOMB] += climb
    if left < 0.0:
        s.counts[SLOW] += 1
        if m.rules[RECAPTURE] > 0.0:
            k = lowest_place(s, m, a, left)
            if k >= 0:
                bound = m.config_real[s.row[k], CAPTURE]
                fall = potential(s, k)
                set_row(s, m, k, np.int64(m.config_int[s.row[k], ADDED]))
                watch(s, k)
                s.counts[RECAPTURED] += 1
                s.energy[ATOMS] -= bound
                s.energy[COULOMB] -= fall
                s.energy[EXCESS] += left + bound + fall
                return
    s.energy[ELECTRONS] += left


@compiled
def choose(m: Any, row: int, photo: float, decay: float, u: float) -> int:
    """The transition of a configuration that the uniform number u selects by weight.

    The weight of a transition is its value times `photo` or `decay`.
    """
    first, last = m.config_int[row, FIRST], m.config_int[row + 1, FIRST]
    left = u * (m.config_real[row, PHOTO_SUM] * photo + m.config_real[row, DECAY_SUM] * decay)
    chosen = -1
    for t in range(first, last):
        weight = m.move_real[t, VALUE] * (
            photo if (m.move_int[t, KIND] & KIND_MASK) == PHOTO else decay
        )
        if weight > 0.0:
            chosen = t
            left -= weight
            if left < 0.0:
                break
    return chosen


@compiled
def fire(s: Any, m: Any, a: int, photo: float, decay: float) -> None:
    """One event of atom a: choose the transition, change the configuration, book the energy.

    Draws: word 0 chooses the transition, word 1 the time of the next event, word 2 a second
    electron.
    """
    draw(s, a)
    t = choose(m, s.row[a], photo, decay, uniform(s.word[0]))
    s.hazard[a] = -math.log(uniform(s.word[1]))
    kind = m.move_int[t, KIND] & KIND_MASK
    target = np.int64(m.move_int[t, TARGET])
    energy = float(m.move_real[t, RELEASED])
    if kind == FLUORESCENCE:
        set_row(s, m, a, target)
        s.counts[FLUORESCENCES] += 1
        s.energy[RADIATED] += energy
        s.energy[ATOMS] -= energy
        return
    if kind == PHOTO:
        s.counts[PHOTONS] += 1
        s.energy[ABSORBED] += m.rules[PHOTON]
        s.energy[ATOMS] += m.rules[PHOTON] - energy
        second = m.rules[SHAKE_OFF]
    else:
        s.counts[AUGERS] += 1
        s.energy[ATOMS] -= energy
        second = m.rules[DOUBLE_AUGER]
    if second > 0.0 and (m.move_int[t, KIND] & INNER) and uniform(s.word[2]) < second:
        further = np.int64(m.config_int[target, REMOVED])
        bound = float(m.config_real[target, BINDING])
        if further >= 0 and energy > bound:
            s.counts[SECONDS] += 1
            s.energy[ATOMS] += bound
            release(s, m, a, target, 0.5 * (energy - bound))
            # If the first electron is recaptured, the row of a is unchanged.
            release(s, m, a, further, 0.5 * (energy - bound))
            return
    release(s, m, a, target, energy)


@compiled
def cascade(s: Any, m: Any, a: int, photo: float, length: float) -> None:
    """All events of atom a within a step of this length, with `photo` photons per area."""
    left = 1.0
    while True:
        row = s.row[a]
        rate = m.config_real[row, PHOTO_SUM] * photo + m.config_real[row, DECAY_SUM] * length
        if s.hazard[a] >= rate * left:
            s.hazard[a] -= rate * left
            return
        left -= s.hazard[a] / rate
        fire(s, m, a, photo, length)
        left = max(left, 0.0)
