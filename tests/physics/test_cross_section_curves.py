"""Photoionization of neutral atoms at any photon energy."""

from __future__ import annotations

import numpy as np
import pytest

from molexa_core.base.errors import UnknownIonError
from molexa_core.base.units import HARTREE_EV
from molexa_core.physics.atomic.configuration import compute_configuration
from molexa_core.physics.atomic.cross_section_curves import neutral_cross_sections
from molexa_core.physics.atomic.shells import ground_occupation


@pytest.mark.parametrize(("symbol", "number"), [("H", 1), ("C", 6), ("F", 9), ("S", 16)])
def test_curves_are_what_the_tables_are_made_of(symbol: str, number: int) -> None:
    for photon_ev in (300.0, 413.7, 2477.0, 2600.0, 9999.0):
        row = compute_configuration(number, ground_occupation(number), photon_ev / HARTREE_EV)
        found = neutral_cross_sections(symbol, photon_ev)
        total = row.cross_section.sum()
        assert found.sum() == pytest.approx(total, rel=1e-3)
        np.testing.assert_allclose(found, row.cross_section, atol=1e-3 * total)


def test_edges_and_shapes() -> None:
    photon_ev = np.array([[289.0, 293.0], [2000.0, 8000.0]])
    found = neutral_cross_sections("C", photon_ev)
    assert found.shape == (2, 2, 5)
    inner = found[..., 0]
    assert inner[0, 0] == 0.0 < inner[0, 1]  # the K edge of this model is 290.9 eV
    assert inner[0, 1] > 15 * found[0, 1, 1:].sum()
    assert (found[..., 3:] == 0.0).all()  # no electron in the third shell
    # Well above the edge s shells fall off as E^-7/2 or somewhat slower.
    slope = np.log(inner[1, 1] / inner[1, 0]) / np.log(8000.0 / 2000.0)
    assert -3.5 < slope < -2.8


def test_an_atom_without_a_model_is_named() -> None:
    with pytest.raises(UnknownIonError, match="'Fe'"):
        neutral_cross_sections("Fe", 2000.0)
