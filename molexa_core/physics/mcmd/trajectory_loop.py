"""The trajectory of one molecule in the pulse, compiled: the loop over time.

This is scalar code on small arrays, which can be translated line by line for a GPU. `plain.py` is
the same in plain numpy; both use the same random numbers and give the same trajectories up to
rounding.

The cache of the compiler notices changes only in the file of the called function: after a change of
`state.py`, `philox.py`, `cascade.py`, `transfer.py` or `motion.py` this file must be touched.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from molexa_core.base.compiled import compiled
from molexa_core.base.tables import FloatArray
from molexa_core.physics.mcmd.cascade import (
    cascade,
    fire,
)
from molexa_core.physics.mcmd.motion import (
    drift,
    fly_out,
    kick,
    measure_distances,
    push,
    remaining_impulse,
)
from molexa_core.physics.mcmd.philox import (
    MOLECULE,
    WORD,
    WORD_BITS,
    philox,
    uniform,
)
from molexa_core.physics.mcmd.state import (
    ACCURACY,
    COUNTS,
    DECAY_SUM,
    ENERGIES,
    FORCED,
    HIGHEST_DONOR,
    MOST_PARTS,
    PHOTO_SUM,
    Model,
    State,
    draw,
    set_row,
)
from molexa_core.physics.mcmd.transfer import (
    transfer,
)


@compiled
def spend(
    row: NDArray[np.int64],
    hazard: FloatArray,
    config: NDArray[np.float32],
    photo: float,
    length: float,
    first: int,
) -> int:
    """The next atom, from `first` on, with an event in this step; reduces the hazard of others."""
    for a in range(first, len(row)):
        rate = config[row[a], PHOTO_SUM] * photo + config[row[a], DECAY_SUM] * length
        if hazard[a] < rate:
            return a
        hazard[a] -= rate
    return len(row)


@compiled
def any_below(charge: FloatArray, highest: float) -> bool:
    """Whether any atom has a charge of at most `highest`."""
    lowest = charge[0]
    for value in charge:
        lowest = min(lowest, value)
    return bool(lowest <= highest)


@compiled
def advance(s: Any, m: Any, length: FloatArray, fraction: FloatArray, fluence: float) -> None:
    """Integrate the trajectory over all steps of the grid (velocity Verlet).

    A step is divided into equal parts if the motion requires shorter ones. Charges change between
    drift and second kick: the old charges act in the first half of a step, the new ones in the
    second half. Functions called in every step take single arrays: passing the whole state costs as
    much as the forces of a small molecule.
    """
    n, steps = len(s.charge), len(length)
    row, hazard, charge, accuracy = s.row, s.hazard, s.charge, m.rules[ACCURACY]
    x, p, force, inverse, inverse_mass = s.x, s.p, s.force, s.inverse, s.inverse_mass
    parts, k, h, photo = 0, -1, 0.0, 0.0
    measure_distances(x, inverse)
    squared = push(x, inverse, charge, inverse_mass, force, s.stiffness)
    charged = charge.sum() > 0.0
    while True:
        if parts == 0:
            k += 1
            if k == steps:
                return
            ratio = length[k] * math.sqrt(squared) / accuracy
            parts = int(max(math.ceil(min(ratio, MOST_PARTS)), 1))
            h = length[k] / parts
            photo = fluence * fraction[k] / parts
        parts -= 1
        if squared > 0.0:
            kick(p, force, 0.5 * h)
        drift(x, p, inverse_mass, h)
        if charged:
            measure_distances(x, inverse)
        changed = False
        a = spend(row, hazard, m.config_real, photo, h, 0)
        while a < n:
            if not charged:
                measure_distances(x, inverse)
            cascade(s, m, a, photo, h)
            charged = changed = True
            a = spend(row, hazard, m.config_real, photo, h, a + 1)
        if not charged:
            continue
        if any_below(charge, m.rules[HIGHEST_DONOR]):
            changed = transfer(s, m, k, h) or changed
        squared = push(x, inverse, charge, inverse_mass, force, s.stiffness)
        if squared > 0.0:
            last = h
            if changed:  # the new charges may require a shorter step than this one
                last = min(h, accuracy / math.sqrt(squared))
            kick(p, force, 0.5 * last)


@compiled
def decay_all(s: Any, m: Any) -> None:
    """Perform all remaining decays: the flight to the detector takes microseconds."""
    measure_distances(s.x, s.inverse)
    for a in range(len(s.charge)):
        while m.config_real[s.row[a], DECAY_SUM] > 0.0:
            fire(s, m, a, 0.0, 1.0)
            s.counts[FORCED] += 1


@compiled
def begin(s: Any, m: Any, positions: FloatArray, velocities: FloatArray) -> None:
    """Start with neutral atoms; draw the times of first event (word 0) and transfer (word 1)."""
    s.counts[:] = 0
    s.energy[:] = 0.0
    s.force[:] = 0.0
    s.draw[:] = 0
    for a in range(len(s.charge)):
        set_row(s, m, a, np.int64(m.start[a]))
        for axis in range(3):
            s.x[a, axis] = positions[a, axis]
            s.p[a, axis] = velocities[a, axis] * m.mass[a]
        draw(s, a)
        s.hazard[a] = -math.log(uniform(s.word[0]))
        s.patience[a] = -math.log(uniform(s.word[1]))


@compiled
def follow(
    first: int,
    positions: FloatArray,
    velocities: FloatArray,
    model: Model,
    length: FloatArray,
    fraction: FloatArray,
    fluence: float,
    lowest: float,
    key: NDArray[np.uint64],
    charges: NDArray[np.int8],
    momenta: NDArray[np.float32],
    factors: NDArray[np.float32],
    counts: NDArray[np.int16],
    energies: NDArray[np.float32],
    rows: NDArray[np.int32],
) -> None:
    """Compute trajectories of one geometry, one after the other.

    Args:
        first: number of the first trajectory, which determines its random numbers.
        positions: (n, 3) bohr.
        velocities: (n, 3) atomic units.
        model: tables and switches.
        length: (s) steps of the grid.
        fraction: (s) share of the photons in each step.
        fluence: photons per bohr^2 on the axis.
        lowest: lowest fluence relative to that on the axis; 1 if all molecules are on the axis.
        key: (2) key of the random numbers.
        charges: output, (t, n) final charges.
        momenta: output, (t, n, 3) asymptotic momenta, a.u.
        factors: output, (t) fluence relative to that on the axis.
        counts: output, (t, COUNTS), see `state`.
        energies: output, (t, ENERGIES) hartree, see `state`.
        rows: output, (t, n) final configurations.
    """
    n = len(positions)
    s = State(
        row=np.zeros(n, np.int64),
        draw=np.zeros(n, np.int64),
        charge=np.zeros(n),
        hazard=np.zeros(n),
        patience=np.zeros(n),
        inverse_mass=np.zeros(n),
        x=np.zeros((n, 3)),
        p=np.zeros((n, 3)),
        force=np.zeros((n, 3)),
        stiffness=np.zeros(n),
        inverse=np.zeros((n, n)),
        counts=np.zeros(COUNTS, np.int64),
        energy=np.zeros(ENERGIES),
        key=key,
        counter=np.zeros(2, np.int64),
        word=np.zeros(4, np.uint64),
    )
    for t in range(len(charges)):
        number = first + t
        s.counter[0], s.counter[1] = number & WORD, number >> WORD_BITS
        begin(s, model, positions, velocities)
        philox(s.key, s.counter[0], s.counter[1], 0, MOLECULE, s.word)
        factor = lowest ** uniform(s.word[0])
        advance(s, model, length, fraction, fluence * factor)
        decay_all(s, model)
        fly_out(s, model.rules[ACCURACY])
        remaining_impulse(s)
        factors[t] = factor
        for a in range(n):
            charges[t, a] = int(s.charge[a])
            rows[t, a] = s.row[a]
            for axis in range(3):
                momenta[t, a, axis] = s.p[a, axis]
        for c in range(COUNTS):
            counts[t, c] = s.counts[c]
        for e in range(ENERGIES):
            energies[t, e] = s.energy[e]
