"""How long do atomic tables take? The nine elements complete, and configurations of iodine.

The nine elements that molecules are made of, at 2 keV, all configurations that a pulse reaches; and
configurations of iodine that random walks in a strong pulse reach, each with cross sections, decays
and the binding of a captured electron. The baseline is ten full diagonalizations of the same
Hamiltonian per configuration, with numpy: about the cost of a straightforward implementation of the
self-consistent fields alone.
"""

from __future__ import annotations

import os

os.environ.update(OMP_NUM_THREADS="1", NUMBA_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")

import numpy as np
from _record import store, time_runs

from molexa_core.physics.atomic.element_tables import build_tables
from molexa_core.physics.atomic.grid import radial_grid
from molexa_core.physics.atomic.on_demand import growing_tables
from molexa_core.physics.atomic.shells import Occupation
from molexa_core.physics.atomic.walks import Exposure

ELEMENTS = ("H", "C", "N", "O", "F", "Si", "P", "S", "Cl")
PHOTON_EV = 2000.0
WALKS = 6
STRONG = Exposure(fluence=7.7e3, sigma=263.0)
SEED = 5
DIAGONALIZATIONS = 10
REPEATS = 3


def diagonalize(configurations: int, symmetries: int) -> None:
    """As many full diagonalizations as fields of so many configurations could take."""
    matrix = radial_grid().kinetic
    for _ in range(configurations * symmetries * DIAGONALIZATIONS):
        np.linalg.eigh(matrix)


def iodine() -> list[Occupation]:
    """Configurations of iodine that walks reach."""
    growing = growing_tables("I", PHOTON_EV, use_cache=False)
    growing.prefetch(STRONG, walks=WALKS, seed=SEED)
    return [tuple(map(int, row)) for row in growing.tables.occupation[1:]]


def compute(occupations: list[Occupation]) -> None:
    """Compute them anew."""
    growing_tables("I", PHOTON_EV, use_cache=False).add(occupations)


if __name__ == "__main__":
    count = sum(len(build_tables(symbol, PHOTON_EV)) for symbol in ELEMENTS)
    what = f"{DIAGONALIZATIONS} full diagonalizations for each l of each configuration"
    store(
        "atomic_tables",
        "How long do the tables of nine elements at 2 keV take on one core?",
        time_runs(lambda: [build_tables(s, PHOTON_EV) for s in ELEMENTS], repeats=REPEATS),
        amount=count,
        unit="configurations",
        sizes={"elements": list(ELEMENTS), "photon_ev": PHOTON_EV, "configurations": count},
        baseline=(what, time_runs(lambda: diagonalize(count, 2), repeats=REPEATS)),
        notes="one core; the bar is 60 s on two; machine shared with other work",
    )
    some = iodine()
    store(
        "atomic_tables_iodine",
        "How many configurations of iodine does one core compute per second?",
        time_runs(lambda: compute(some), repeats=REPEATS),
        amount=len(some),
        unit="configurations",
        sizes={"walks": WALKS, "photon_ev": PHOTON_EV, "configurations": len(some)},
        baseline=(what, time_runs(lambda: diagonalize(len(some), 3), repeats=REPEATS)),
        notes="one core; machine shared with other work",
    )
