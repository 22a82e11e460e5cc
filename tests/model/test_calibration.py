"""Conformal calibration: intervals contain what they promise, whatever the errors look like."""

from __future__ import annotations

import numpy as np
import pytest

from molexa_core.base.tables import FloatArray
from molexa_core.model.calibration import LEVELS, Calibration, fit_calibration


def heavy_tailed(generator: np.random.Generator, atoms: int, count: int) -> tuple[FloatArray, ...]:
    """Predicted errors that are wrong by a factor that depends on their size, and true errors."""
    expected = np.exp(generator.normal(-2.0, 1.0, (count, atoms, 3)))
    scale = expected * np.where(expected > 0.13, 3.0, 0.5)
    return expected, np.abs(scale * generator.standard_t(2.5, (count, atoms, 3)))


@pytest.fixture
def calibration() -> Calibration:
    generator = np.random.default_rng(1)
    pairs = {atoms: heavy_tailed(generator, atoms, 3000 // atoms) for atoms in (2, 5)}
    return fit_calibration(
        {atoms: pair[1] for atoms, pair in pairs.items()},
        {atoms: pair[0] for atoms, pair in pairs.items()},
        bin_width=0.05,
        data="a test",
    )


@pytest.mark.parametrize("atoms", [2, 5])
def test_coverage_of_new_molecules(calibration: Calibration, atoms: int) -> None:
    expected, errors = heavy_tailed(np.random.default_rng(2), atoms, 20_000 // atoms)
    for level in LEVELS:
        inside = errors <= calibration.half_widths(expected, level)
        assert inside.mean() == pytest.approx(level, abs=0.015)
        # Also among the uncertain and the certain ones apart.
        for part in (expected > 0.13, expected < 0.05):
            assert inside[part].mean() == pytest.approx(level, abs=0.06)


def test_it_survives_being_written(calibration: Calibration) -> None:
    again = Calibration.from_dict(calibration.to_dict())
    expected = np.linspace(0.0, 2.0, 15).reshape(5, 3)
    assert (again.half_widths(expected) == calibration.half_widths(expected)).all()


def test_sizes_that_were_not_calibrated_take_the_nearest(calibration: Calibration) -> None:
    expected = np.full((9, 3), 0.2)
    assert (calibration.half_widths(expected) == calibration.half_widths(expected[:5])[0, 0]).all()


def test_all_predictions_at_the_floor() -> None:
    zeros, errors = np.zeros((400, 2, 3)), np.random.default_rng(3).random((400, 2, 3)) * 1e-3
    one = fit_calibration({2: errors}, {2: zeros}, bin_width=0.05, data="a test")
    assert one.half_widths(zeros, 0.95).max() == pytest.approx(0.95e-3, rel=0.05)
