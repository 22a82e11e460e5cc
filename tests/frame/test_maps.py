from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from molexa_core.base.errors import NoEventsError, UsageError
from molexa_core.base.tables import Coincidences
from molexa_core.base.units import HARTREE_EV
from molexa_core.frame.maps import kinetic_energy_release, newton_map
from tests.fakes.momenta import WATER

TABLE = Coincidences.of(["O+", "H+", "H+"], np.repeat(WATER[None], 10, axis=0))


def test_every_ion_is_in_its_bin_with_its_weight() -> None:
    table = dataclasses.replace(TABLE, weight=np.full(10, 0.5))
    spectrum = newton_map(table, plane="xz", bins=20, limit=100.0)
    assert spectrum.total == pytest.approx(15.0)
    filled = {
        (round(spectrum.centres[0][i]), round(spectrum.centres[1][j])): spectrum.counts[i, j]
        for i, j in np.argwhere(spectrum.counts)
    }
    assert filled == {(-55, 5): 5.0, (25, 45): 5.0, (25, -45): 5.0}
    assert spectrum.labels == ("px", "pz")


def test_a_part_of_the_ions_and_the_automatic_limit() -> None:
    spectrum = newton_map(TABLE, plane="xz", ions=[1, 2])
    assert spectrum.total == pytest.approx(20.0)
    assert spectrum.edges[0][-1] == pytest.approx(1.1 * 41.0)


def test_kinetic_energy_release_is_the_sum_of_p2_over_2m() -> None:
    masses = [ion.mass for ion in TABLE.ions]
    expected = sum((WATER[i] ** 2).sum() / 2 / masses[i] for i in range(3)) * HARTREE_EV
    spectrum = kinetic_energy_release(TABLE)
    assert spectrum.marks["mean"] == pytest.approx(expected)
    width = spectrum.edges[0][1] - spectrum.edges[0][0]
    assert spectrum.centres[0][np.argmax(spectrum.counts)] == pytest.approx(expected, abs=width)
    assert spectrum.total == pytest.approx(10.0)


def test_no_events_and_no_plane() -> None:
    empty = TABLE.select(np.zeros(10, dtype=bool))
    for function in (newton_map, kinetic_energy_release):
        with pytest.raises(NoEventsError):
            function(empty)
    with pytest.raises(UsageError, match="'xw' is not a plane"):
        newton_map(TABLE, plane="xw")
