"""Tables, switches and state of the atoms that the compiled trajectory works on."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from molexa_core.base.compiled import compiled
from molexa_core.physics.mcmd.philox import philox

FIRST, CHARGE, REMOVED, ADDED = 0, 1, 2, 3
"""Columns of `config_int`: first transition, charge, row without the outermost electron, row with
one electron more in the valence shell (-1: there is none)."""
PHOTO_SUM, DECAY_SUM, BINDING, CAPTURE = 0, 1, 2, 3
"""Columns of `config_real`: sum of the cross sections (bohr^2), sum of the decay rates (1/a.u.),
binding energy of the outermost electron, binding energy of the electron that `ADDED` adds (Eh)."""
TARGET, KIND = 0, 1
"""Columns of `move_int`: row after the transition; kind, plus `INNER` where an inner hole is made
or filled."""
VALUE, RELEASED = 0, 1
"""Columns of `move_real`: cross section or rate; energy of the electron or photon (hartree)."""
PHOTO, AUGER, FLUORESCENCE = 0, 1, 2
INNER, KIND_MASK = 4, 3
"""Kinds of transitions, and the bit that says that a subshell below the valence shell is ionized
or filled."""
PHOTON, SHAKE_OFF, DOUBLE_AUGER, RECAPTURE = 0, 1, 2, 3
HIGHEST_DONOR, PAIR, TRANSFER_TIME, ACCURACY = 4, 5, 6, 7
RULES: Final = 8
"""Places in `rules`: photon energy; probabilities; recapture (0 or 1); highest charge of a donor
(-1: no transfer); isolated pairs (0 or 1); mean time of a transfer (0: at once); longest step."""
PHOTONS, AUGERS, FLUORESCENCES, TRANSFERS = 0, 1, 2, 3
SECONDS, SLOW, RECAPTURED, FORCED, CLOSE = 4, 5, 6, 7, 8
COUNTS: Final = 9
"""Places in `counts`: photons absorbed; Auger and radiative decays; transfers; second electrons of
shake-off and double Auger; electrons too slow to leave the field of the other ions; those of them
that were recaptured; decays forced at the end; changes of charge within `CORE_BOHR` of an ion."""
CORE_BOHR: Final = 0.3
"""Distance, bohr, below which ions are not point charges: the 1s shells of C to F and the L shells
of Si to Cl would overlap. If an ion changes its charge so close to another, the gained energy is
wrong, and the trajectory is excluded."""
NEAREST2: Final = 1e-20
"""Added to squared distances, bohr^2: keeps the inverse of a distance finite. Without effect on
the digits of distances above 0.01 bohr."""
ABSORBED, ELECTRONS, RADIATED, ATOMS, COULOMB, EXCESS = 0, 1, 2, 3, 4, 5
ENERGIES: Final = 6
"""Places in `energy`, hartree: photon energy absorbed; carried away by electrons (far out) and by
fluorescence; spent in the atoms (binding); gained as Coulomb energy between the ions when charges
changed; released when electrons moved between atoms. The first is the sum of the others."""
MOST_PARTS: Final = 1000
"""Largest number of parts of a step of the grid."""


class Model(NamedTuple):
    """The tables of a molecule and the switches, see `molecule_tables.MoleculeTables`."""

    config_int: NDArray[np.int32]
    config_real: NDArray[np.float32]
    move_int: NDArray[np.int32]
    move_real: NDArray[np.float32]
    start: NDArray[np.int32]
    mass: NDArray[np.float64]
    rules: NDArray[np.float64]


class State(NamedTuple):
    """The state of one trajectory. n atoms.

    Attributes:
        row: (n) configuration.
        draw: (n) number of the next random draw.
        charge: (n) charge, as a float.
        hazard: (n) remainder of -ln U until the next event.
        patience: (n) remainder of -ln U until the next transfer of an electron.
        inverse_mass: (n) 1 / (mass of the neutral atom - charge).
        x, p, force: (n, 3) position, momentum, force.
        stiffness: (n) force constants, which determine the length of steps.
        inverse: (n, n) inverse distances; 0 on the diagonal.
        counts: (COUNTS); energy: (ENERGIES).
        key: (2) key of the random numbers; counter: (2) number of the trajectory; word: (4).
    """

    row: NDArray[np.int64]
    draw: NDArray[np.int64]
    charge: NDArray[np.float64]
    hazard: NDArray[np.float64]
    patience: NDArray[np.float64]
    inverse_mass: NDArray[np.float64]
    x: NDArray[np.float64]
    p: NDArray[np.float64]
    force: NDArray[np.float64]
    stiffness: NDArray[np.float64]
    inverse: NDArray[np.float64]
    counts: NDArray[np.int64]
    energy: NDArray[np.float64]
    key: NDArray[np.uint64]
    counter: NDArray[np.int64]
    word: NDArray[np.uint64]


@compiled
def draw(s: Any, a: int) -> None:
    """Draw the next four random words of atom a."""
    philox(s.key, s.counter[0], s.counter[1], s.draw[a], a, s.word)
    s.draw[a] += 1


@compiled
def set_row(s: Any, m: Any, a: int, row: np.integer[Any] | int) -> None:
    """Put atom a into a configuration."""
    s.row[a] = row
    charge = float(m.config_int[row, CHARGE])
    s.charge[a] = charge
    s.inverse_mass[a] = 1.0 / (m.mass[a] - charge)


@compiled
def potential(s: Any, a: int) -> float:
    """Potential of the other ions at atom a."""
    total = 0.0
    for k in range(len(s.charge)):
        total += s.charge[k] * s.inverse[a, k]
    return total


@compiled
def watch(s: Any, a: int) -> None:
    """Atom a has changed its charge: count it if it is an ion within the core of another."""
    if s.charge[a] > 0.0:
        for k in range(len(s.charge)):
            if s.charge[k] > 0.0 and s.inverse[a, k] * CORE_BOHR > 1.0:
                s.counts[CLOSE] += 1
                return
