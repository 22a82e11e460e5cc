"""Dihedrals with error bars: against random draws, across the cut at 180 degrees, with twins."""

from __future__ import annotations

import numpy as np
import pytest

from molexa_core.base.mathematics.circular import UNDETERMINED, around, wrapped
from molexa_core.base.matter.ions import parse_ion
from molexa_core.base.units import BOHR_ANGSTROM
from molexa_core.geometry.measures import dihedral_angles
from molexa_core.pipeline.reconstruction.dihedrals import drawn_dihedrals, propagated_dihedrals
from molexa_core.pipeline.reconstruction.event_means import direction, statistics

IONS = [parse_ion(text) for text in ("H+", "O+", "O+", "H+")]
CHAIN = [(0, 1, 2, 3)]


def peroxide(degrees: np.ndarray | float) -> np.ndarray:
    """(..., 4, 3) bohr: H-O-O-H with these dihedrals."""
    angle = np.radians(np.asarray(degrees, dtype=float))
    up, out = 0.97 * np.cos(np.radians(80.0)), 0.97 * np.sin(np.radians(80.0))
    atoms = np.zeros((*angle.shape, 4, 3))
    atoms[..., 0, :] = [out, 0.0, 1.46 + up]
    atoms[..., 1, :] = [0.0, 0.0, 1.46]
    atoms[..., 3, 0], atoms[..., 3, 1] = out * np.cos(angle), -out * np.sin(angle)
    atoms[..., 3, 2] = -up
    return atoms / BOHR_ANGSTROM


@pytest.mark.parametrize("degrees", [111.5, 180.0, -179.5, 0.0])
def test_small_errors_of_coordinates_are_propagated(degrees: float) -> None:
    half = np.array(
        [[0.02, 0.03, 0.01], [0.01, 0.02, 0.02], [0.02, 0.01, 0.03], [0.03, 0.02, 0.01]]
    )
    (row,) = propagated_dihedrals(peroxide(degrees), half, IONS)
    moved = peroxide(degrees) + half * np.random.default_rng(1).standard_normal((20_000, 4, 3))
    spread = around(degrees, dihedral_angles(moved, CHAIN)).std()
    assert row["half_width"] == pytest.approx(spread, rel=0.03)
    assert wrapped(row["median"] - degrees) == pytest.approx(0.0, abs=1e-9)
    assert row["high"] - row["low"] == pytest.approx(2.0 * row["half_width"])
    assert row["of"] == "H+-O+-O+#2-H+#2"


def test_nothing_is_less_certain_than_any_direction() -> None:
    (row,) = propagated_dihedrals(peroxide(90.0), np.full((4, 3), 30.0), IONS)
    assert row["half_width"] == pytest.approx(UNDETERMINED)
    (bare,) = propagated_dihedrals(peroxide(90.0), None, IONS)
    assert bare["half_width"] is None


@pytest.mark.parametrize("centre", [180.0, -176.0, 111.0, 0.0])
def test_draws_around_a_direction_do_not_jump(centre: float) -> None:
    random = np.random.default_rng(2)
    draws = peroxide(centre + 8.0 * random.standard_normal(4000))
    (row,) = drawn_dihedrals(draws, np.ones(4000), peroxide(centre), IONS, reliable=True)
    assert wrapped(row["median"] - centre) == pytest.approx(0.0, abs=0.5)
    assert row["half_width"] == pytest.approx(8.0, rel=0.06)
    assert row["low"] < row["median"] < row["high"]
    ((low, high),) = row["region"]
    assert high - low == pytest.approx(16.0, rel=0.15)
    assert -180.0 < low <= 180.0


def test_mirror_twins_are_two_parts_of_a_region() -> None:
    random = np.random.default_rng(3)
    sign = random.choice([-1.0, 1.0], size=4000)
    draws = peroxide(sign * (111.5 + 6.0 * random.standard_normal(4000)))
    (row,) = drawn_dihedrals(draws, np.ones(4000), peroxide(111.5), IONS, reliable=True)
    assert len(row["region"]) == 2
    middles = sorted(float(wrapped(0.5 * (low + high))) for low, high in row["region"])
    assert middles == pytest.approx([-111.5, 111.5], abs=2.0)


def test_weights_count() -> None:
    draws = peroxide(np.array([170.0, -170.0, 60.0]))
    (row,) = drawn_dihedrals(draws, np.array([1.0, 5.0, 1.0]), draws[0], IONS, reliable=False)
    assert row["median"] == pytest.approx(-170.0)
    assert row["half_width"] is None


def test_events_across_the_cut_have_a_mean_and_quantiles_there() -> None:
    values = around(180.0, 182.0 + 5.0 * np.random.default_rng(4).standard_normal(5000))
    row = direction(statistics("H-O-O-H", [0, 1, 2, 3], values, np.ones(5000)))
    assert row["mean"] == pytest.approx(-178.0, abs=0.3)
    assert row["median"] == pytest.approx(-178.0, abs=0.3)
    assert row["standard_deviation"] == pytest.approx(5.0, rel=0.05)
    assert row["quantile_16"] == pytest.approx(-183.0, abs=0.5)
    assert row["quantile_84"] == pytest.approx(-173.0, abs=0.5)
