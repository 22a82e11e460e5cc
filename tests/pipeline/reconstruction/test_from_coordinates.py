"""Half-widths of distances and angles from those of coordinates, against many random draws."""

from __future__ import annotations

import numpy as np
import pytest

from molexa_core.base.matter.ions import parse_ion
from molexa_core.geometry.measures import pair_distances, triplet_angles
from molexa_core.pipeline.reconstruction.from_coordinates import propagated_lengths

IONS = [parse_ion(text) for text in ("O+", "H+", "H+")]
WATER = np.array([[0.0, 0.0, 0.1], [1.4, 0.1, 1.1], [-1.4, 0.0, 1.2]])


def test_small_errors_of_coordinates_are_propagated() -> None:
    random = np.random.default_rng(1)
    half = np.array([[0.01, 0.03, 0.02], [0.02, 0.01, 0.03], [0.03, 0.02, 0.01]])
    distances, angles = propagated_lengths(WATER, half, IONS)
    moved = WATER + half * random.standard_normal((20_000, 3, 3))
    for rows, measure in ((distances, pair_distances), (angles, triplet_angles)):
        spread = measure(moved).std(axis=0)
        np.testing.assert_allclose([one["half_width"] for one in rows], spread, rtol=0.03)
        np.testing.assert_allclose([one["median"] for one in rows], measure(WATER[None])[0])
        for one in rows:
            assert one["high"] - one["low"] == pytest.approx(2.0 * one["half_width"])
    assert len(distances) == len(angles) == 3


def test_a_straight_angle_has_a_width_too() -> None:
    line = np.array([[0.0, 0.0, 0.0], [-2.0, 0.0, 0.0], [2.0, 0.0, 0.0]])
    _, angles = propagated_lengths(line, np.full((3, 3), 0.02), IONS)
    widths = {one["of"]: one["half_width"] for one in angles}
    assert max(widths.values()) > np.degrees(0.02 / 2.0)


def test_without_error_bars_there_are_values_alone() -> None:
    distances, _ = propagated_lengths(WATER, None, IONS)
    assert [one["half_width"] for one in distances] == [None] * 3
    assert all(one["median"] > 0.0 for one in distances)
