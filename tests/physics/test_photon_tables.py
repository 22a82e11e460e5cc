"""Atomic tables of several photon energies in one: the right rows, shells that open and close."""

from __future__ import annotations

import numpy as np
import pytest

from molexa_core.base.errors import UsageError
from molexa_core.base.matter.elements import ELEMENTS
from molexa_core.base.units import HARTREE_EV
from molexa_core.physics.atomic.cache import atomic_tables
from molexa_core.physics.atomic.element_tables import PHOTO
from molexa_core.physics.atomic.scf import solve_orbitals
from molexa_core.physics.atomic.shells import ground_occupation
from molexa_core.physics.mcmd.molecule_tables import pack_molecule
from molexa_core.physics.mcmd.photon_tables import (
    ELEMENTS_OF_TABLES,
    PHOTON_GRID_EV,
    pack_photon_tables,
)
from molexa_core.physics.mcmd.state import FIRST, TARGET

LIGHT = ("H", "C", "N", "O", "F")
HEAVY = ("Si", "P", "S", "Cl")


def test_an_energy_lies_between_any_two_edges() -> None:
    """So that no neighbours of the grid differ in the open K shells of two elements."""
    edges = []
    for symbol in ELEMENTS_OF_TABLES:
        number = ELEMENTS[symbol].number
        edges.append(-solve_orbitals(number, ground_occupation(number)).energy[0] * HARTREE_EV)
    between = np.histogram(PHOTON_GRID_EV, bins=[0.0, *sorted(edges), np.inf])[0]
    assert (between[2:] >= 1).all()  # below C and H lies nothing of the family
    assert between[0] == between[1] == 0
    assert max(np.diff(np.log(PHOTON_GRID_EV))) < np.log(1.6)


def test_rows_of_each_energy_are_those_of_its_own_tables() -> None:
    both = pack_photon_tables([700.0, 600.0], ["H", "N", "O"], workers=1)
    assert both.photon_ev.tolist() == [600.0, 700.0]
    numbers = np.array([[7, 8], [8, 1]])
    starts = both.starts(numbers, np.array([700.0, 600.0]))
    for row, (symbols, energy) in enumerate(((("N", "O"), 700.0), (("O", "H"), 600.0))):
        alone = pack_molecule(symbols, energy)
        for atom, start in enumerate(alone.start):
            here, there = _walk(both, int(starts[row, atom])), _walk(alone, int(start))
            assert here == there
    np.testing.assert_allclose(both.nearest(np.array([1.0, 645.0, 655.0])), [600, 600, 700])
    found = both.cross_section()
    assert found.shape[0] == 2
    assert found[0, 8] > found[1, 8] > 0.0 == found[0, 6]
    with pytest.raises(UsageError, match=r"no tables for photons of 650 eV.*600, 700 eV"):
        both.starts(numbers, np.array([700.0, 650.0]))


def _walk(tables, row: int) -> list[tuple[object, ...]]:  # type: ignore[no-untyped-def]
    """All that can be reached from a row, without the numbers of rows."""
    order, todo, found = {row: 0}, [row], []
    while todo:
        at = todo.pop(0)
        config = tables.config_int[at]
        moves = range(config[FIRST], tables.config_int[at + 1, FIRST])
        targets = [int(tables.move_int[m, TARGET]) for m in moves]
        for target in (*targets, *(int(t) for t in config[2:] if t >= 0)):
            if target not in order:
                order[target] = len(order)
                todo.append(target)
        found.append(
            (
                int(config[1]),
                [order.get(int(t)) if t >= 0 else None for t in config[2:]],
                tables.config_real[at].tolist(),
                [order[t] for t in targets],
                [tables.move_real[m].tolist() for m in moves],
            )
        )
    return found


@pytest.mark.parametrize("photon_ev", [300.0, 10_000.0])
@pytest.mark.parametrize(
    "symbol", [*LIGHT, *(pytest.param(symbol, marks=pytest.mark.slow) for symbol in HEAVY)]
)
def test_photons_ionize_just_the_shells_that_they_can(symbol: str, photon_ev: float) -> None:
    """In every ion by itself: an inner shell that opens in the atom closes in its ions."""
    tables = atomic_tables(symbol, photon_ev)
    start = np.repeat(np.arange(len(tables)), np.diff(tables.first))
    photo = tables.kind == PHOTO
    done = np.zeros(tables.occupation.shape, dtype=bool)
    done[start[photo], tables.shells[photo, 0]] = True
    can = (tables.occupation > 0) & (-tables.energy * HARTREE_EV < photon_ev)
    np.testing.assert_array_equal(done, can)
    assert (tables.value[photo] > 0.0).all()
    # The electron takes what the photon leaves.
    bound = -tables.energy[start[photo], tables.shells[photo, 0]]
    np.testing.assert_allclose(
        tables.released[photo], photon_ev / HARTREE_EV - bound, rtol=1e-6, atol=1e-9
    )
    number = ELEMENTS[symbol].number
    if photon_ev > 5000.0:
        assert tables.charge.max() == number  # nothing holds the last electron
    elif symbol in {"N", "O", "F"}:
        assert tables.charge.max() == number - 2  # the K shell stays


def test_the_k_shell_of_carbon_closes_in_its_ions_just_above_the_edge() -> None:
    tables = atomic_tables("C", 300.0)
    opened = {
        int(tables.charge[row])
        for row in range(len(tables))
        for t in range(tables.first[row], tables.first[row + 1])
        if tables.kind[t] == PHOTO and tables.shells[t, 0] == 0
    }
    assert opened == {0}
