"""Conformal calibration: intervals contain what they promise, whatever the errors look like."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from molexa_core.base.tables import FloatArray
from molexa_core.network.config import SamplerSettings
from molexa_core.network.inference.interval_calibration import (
    LEVELS,
    Calibration,
    Calibrations,
    formula_of,
)
from molexa_core.network.inference.interval_fit import (
    FOLDS,
    Judged,
    cross_fitted_coverage,
    fit_calibration,
    judged,
    open_coordinates,
)


def heavy_tailed(generator: np.random.Generator, atoms: int, count: int) -> tuple[FloatArray, ...]:
    """Predicted errors that are wrong by a factor that depends on their size, and true errors."""
    expected = np.exp(generator.normal(-2.0, 1.0, (count, atoms, 3)))
    scale = expected * np.where(expected > 0.13, 3.0, 0.5)
    return expected, np.abs(scale * generator.standard_t(2.5, (count, atoms, 3)))


def as_judged(expected: FloatArray, errors: FloatArray) -> Judged:
    cluster = np.broadcast_to(np.arange(len(errors))[:, None, None], errors.shape)
    return Judged(errors.ravel(), expected.ravel(), cluster.ravel())


@pytest.fixture
def calibration() -> Calibration:
    generator = np.random.default_rng(1)
    sizes = {atoms: as_judged(*heavy_tailed(generator, atoms, 3000 // atoms)) for atoms in (2, 5)}
    return fit_calibration(sizes, bin_width=0.05, data="a test")


@pytest.mark.parametrize("atoms", [2, 5])
def test_coverage_of_new_molecules(calibration: Calibration, atoms: int) -> None:
    expected, errors = heavy_tailed(np.random.default_rng(2), atoms, 20_000 // atoms)
    for level in LEVELS:
        inside = errors <= calibration.half_widths(expected, level)
        assert inside.mean() == pytest.approx(level, abs=0.015)
        # Also among the uncertain and the certain ones apart.
        for part in (expected > 0.13, expected < 0.05):
            assert inside[part].mean() == pytest.approx(level, abs=0.06)


def test_known_and_new_molecules_take_their_own_calibration(calibration: Calibration) -> None:
    wide = replace(calibration, factors={n: 3.0 * one for n, one in calibration.factors.items()})
    both = Calibrations({"known": calibration, "new": wide}, frozenset({"H2O", "CO"}))
    water, fluoride = np.array([8, 1, 1]), np.array([1, 9, 1])
    expected = np.full((2, 3, 3), 0.2)
    assert (both.kind("H2O"), both.kind("HF")) == ("known", "new")
    widths = both.half_widths(expected, np.stack([water, fluoride]))
    assert widths[1] == pytest.approx(3.0 * widths[0])
    assert (widths[0] == both.half_widths(expected[0], water)).all()
    # The order of the atoms says nothing.
    assert (both.half_widths(expected[:1], np.array([[1, 8, 1]])) == widths[:1]).all()
    assert Calibrations({"all": wide}).kind("H2O") == "all"
    assert formula_of(np.array([1, 8, 6, 1, 1, 1])) == "CH4O"


def test_they_survive_being_written(calibration: Calibration) -> None:
    sampler = SamplerSettings(steps=8, multistep=True)
    both = Calibrations({"known": calibration, "new": calibration}, frozenset({"CO"}), sampler)
    again = Calibrations.from_dict(both.to_dict())
    expected = np.linspace(0.0, 2.0, 15).reshape(5, 3)
    numbers = np.array([6, 1, 1, 1, 1])
    assert (again.half_widths(expected, numbers) == both.half_widths(expected, numbers)).all()
    assert (again.formulas, again.sampler) == (both.formulas, sampler)


def test_a_card_of_format_1_has_one_calibration_for_all(calibration: Calibration) -> None:
    old = Calibrations.from_dict({"levels": list(LEVELS), **calibration.to_dict()})
    assert (old.kind("H2O"), old.sampler) == ("all", None)
    expected = np.full((3, 3), 0.2)
    assert (old.half_widths(expected, np.ones(3)) == calibration.half_widths(expected)).all()


@pytest.mark.parametrize(
    "change",
    [
        {"edges_bohr": {}},
        {"factors": {"2": [[1.0, 2.0]]}},
        {"factors": {"2": [[1.0]], "5": [[1.0]]}},
        {"floor_bohr": None},
    ],
)
def test_a_damaged_calibration_is_refused(
    calibration: Calibration, change: dict[str, object]
) -> None:
    values = {"levels": list(LEVELS), **calibration.to_dict(), **change}
    with pytest.raises((KeyError, TypeError, ValueError)):
        Calibrations.from_dict(values)


def test_sizes_that_were_not_calibrated_take_the_nearest(calibration: Calibration) -> None:
    expected = np.full((9, 3), 0.2)
    assert (calibration.half_widths(expected) == calibration.half_widths(expected[:5])[0, 0]).all()


def test_all_predictions_at_the_floor() -> None:
    zeros, errors = np.zeros((400, 2, 3)), np.random.default_rng(3).random((400, 2, 3)) * 1e-3
    one = fit_calibration({2: as_judged(zeros, errors)}, bin_width=0.05, data="a test")
    assert one.half_widths(zeros, 0.95).max() == pytest.approx(0.95e-3, rel=0.05)


def test_coordinates_that_symmetry_gives_do_not_count() -> None:
    """Two ions: along the line; three: in the plane; four in general: all."""
    generator = np.random.default_rng(4)
    line = np.zeros((5, 2, 3))
    line[:, 0, 0] = generator.uniform(1.0, 9.0, 5)
    line[:, 1] = -line[:, 0] + 1e-6
    assert open_coordinates(line)[:, :, 0].all()
    assert not open_coordinates(line)[:, :, 1:].any()
    plane = generator.normal(size=(5, 3, 3)) * [1.0, 1.0, 0.0]
    assert (open_coordinates(plane) == [True, True, False]).all()
    momenta = generator.normal(size=(5, 4, 3))
    errors = generator.random((5, 4, 3))
    assert open_coordinates(momenta).all()
    assert judged(errors, errors, momenta, np.arange(5)).cluster.tolist() == [
        number for number in range(5) for _ in range(12)
    ]


def clustered(generator: np.random.Generator, clusters: int, rows: int) -> Judged:
    """Errors whose size differs from molecule to molecule, unknown to the prediction."""
    cluster = np.repeat(np.arange(clusters), rows)
    size = np.exp(generator.normal(0.0, 0.8, clusters))[cluster]
    return Judged(
        size * np.abs(generator.normal(size=len(cluster))), np.ones(len(cluster)), cluster
    )


def test_coverage_is_that_of_molecules_left_out() -> None:
    """The share claimed for molecules left out is what molecules drawn later get."""
    generator = np.random.default_rng(5)
    claimed, later = [], []
    for _ in range(40):
        sizes = {5: clustered(generator, 20, 60)}
        claimed.append(cross_fitted_coverage(sizes, bin_width=0.05)["5"][0].mean)
        fitted, fresh = (
            fit_calibration(sizes, bin_width=0.05, data=""),
            clustered(generator, 50, 60),
        )
        later.append((fresh.errors <= fitted.scaled(fresh.expected, 5, 0.68)).mean())
    assert np.mean(claimed) == pytest.approx(np.mean(later), abs=0.03)


def test_the_interval_of_a_coverage_knows_how_few_molecules_there_are() -> None:
    generator = np.random.default_rng(6)
    few = cross_fitted_coverage({5: clustered(generator, 15, 400)}, bin_width=0.05)["5"][0]
    many = cross_fitted_coverage({5: clustered(generator, 1500, 4)}, bin_width=0.05)["5"][0]
    assert few.high - few.low > 3.0 * (many.high - many.low)
    assert many.low < 0.68 < many.high


def test_few_molecules_of_a_size_are_fitted_with_the_next_sizes() -> None:
    generator = np.random.default_rng(7)
    few, many = clustered(generator, 2, 100), clustered(generator, 30, 100)
    alone = fit_calibration({2: few}, bin_width=0.05, data="a test")
    pooled = fit_calibration({2: few, 3: many}, bin_width=0.05, data="a test")
    assert (alone.factors[2] != pooled.factors[2]).any()
    both = Judged(
        *(
            np.concatenate([getattr(one, name) for one in (few, many)])
            for name in ("errors", "expected", "cluster")
        )
    )
    index = math.ceil((len(both.errors) + 1) * 0.95) - 1
    assert pooled.factors[2][0, 1] == np.sort(both.errors)[index]
    # Left out of its own test in turn, even a size of one molecule has a coverage.
    assert FOLDS > 2
    found = cross_fitted_coverage({2: clustered(generator, 1, 50), 3: many}, bin_width=0.05)
    assert 0.0 <= found["2"][0].mean <= 1.0
    # One molecule in all leaves nothing to test with.
    assert cross_fitted_coverage({2: clustered(generator, 1, 50)}, bin_width=0.05) == {}
