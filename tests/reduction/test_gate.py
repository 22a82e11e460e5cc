from __future__ import annotations

import numpy as np
import pytest

from molexa_core.base.errors import ComputationError
from molexa_core.reduction.coincidences import BOXES, SumGate
from molexa_core.reduction.gate import find_peak, gate_around
from molexa_core.reduction.peak import fit_peak
from molexa_core.reduction.purity import purity

WIDTHS = np.array([1.5, 0.8, 2.4])
CENTRE = np.array([3.0, -4.0, 0.5])
HALF_RANGE = 120.0
FALSE_WIDTH = 60.0


def momentum_sums(n: int, share: float, seed: int, *, half_range: float = HALF_RANGE) -> np.ndarray:
    """Momentum sums, a share of them true, with the squared momenta of independent ions."""
    rng = np.random.default_rng(seed)
    true = rng.normal(CENTRE, WIDTHS, (round(n * share), 3))
    false = rng.normal(0.0, FALSE_WIDTH, (4 * n, 3))
    false = false[(np.abs(false) < half_range).all(axis=1)][: n - len(true)]
    sums = np.vstack([true, false])
    return np.hstack([sums, np.full(sums.shape, FALSE_WIDTH**2)])


@pytest.mark.parametrize("share", [0.02, 0.05, 0.5, 0.95, 1.0])
@pytest.mark.parametrize("n", [6_000, 60_000])
def test_the_peak_is_found_whatever_the_background(n: int, share: float) -> None:
    peaks = find_peak(momentum_sums(n, share, 11), HALF_RANGE)
    for axis, peak in enumerate(peaks):
        assert abs(peak.centre - CENTRE[axis]) < 5 * peak.centre_error
        assert abs(peak.sigma - WIDTHS[axis]) < 5 * peak.sigma_error + 0.02 * WIDTHS[axis]
        assert peak.sigma_error < 3 * WIDTHS[axis] / np.sqrt(n * share)


def test_few_true_ones_are_enough() -> None:
    peaks = find_peak(momentum_sums(60, 0.9, 2), HALF_RANGE)
    for axis, peak in enumerate(peaks):
        assert abs(peak.sigma / WIDTHS[axis] - 1) < 0.5


@pytest.mark.parametrize("n", [100, 20_000])
@pytest.mark.parametrize("half_range", [120.0, 400.0])
def test_false_ones_alone_have_no_peak(n: int, half_range: float) -> None:
    """Neither a fluctuation nor their broad hump is taken for one."""
    with pytest.raises(ComputationError, match="no peak in the momentum sums"):
        find_peak(momentum_sums(n, 0.0, 3, half_range=half_range), half_range)


def test_too_few_to_look_at() -> None:
    with pytest.raises(ComputationError, match="only 12 combinations"):
        find_peak(momentum_sums(12, 0.5, 1), HALF_RANGE)


def test_errors_of_the_fit_are_what_they_say() -> None:
    """The pulls of many fits have a mean near 0 and a spread near 1."""
    rng = np.random.default_rng(8)
    pulls = []
    for _ in range(60):
        values = np.concatenate([rng.normal(2.0, 3.0, 400), rng.uniform(-30, 30, 300)])
        peak = fit_peak(values, -30.0, 30.0, 0.0, 4.0)
        pulls.append(
            [(peak.centre - 2.0) / peak.centre_error, (peak.sigma - 3.0) / peak.sigma_error]
        )
    assert np.abs(np.mean(pulls, axis=0)).max() < 0.5
    assert np.abs(np.std(pulls, axis=0) - 1).max() < 0.35


def test_the_gate_is_what_is_given_completed_by_the_data() -> None:
    peaks = find_peak(momentum_sums(20_000, 0.5, 4), HALF_RANGE)
    found = gate_around(peaks, sigmas=2.5, centre=None, half_width=None)
    np.testing.assert_allclose(found.half_width, [2.5 * peak.sigma for peak in peaks])
    np.testing.assert_allclose(found.centre, [peak.centre for peak in peaks])
    given = gate_around(peaks, sigmas=2.5, centre=(1.0, 2.0, 3.0), half_width=(7.0, 8.0, 9.0))
    assert given.centre.tolist() == [1.0, 2.0, 3.0]
    assert given.half_width.tolist() == [7.0, 8.0, 9.0]
    with pytest.raises(ComputationError, match="not known"):
        gate_around(None, sigmas=3.0, centre=None, half_width=None)


def test_displaced_boxes_keep_clear_of_the_peak() -> None:
    peaks = find_peak(momentum_sums(20_000, 0.5, 4), HALF_RANGE)
    gate = gate_around(peaks, sigmas=3.0, centre=None, half_width=None)
    assert gate.shifts.shape == (BOXES, 3)
    assert not gate.shifts[0].any()
    np.testing.assert_allclose(gate.shifts.sum(axis=0), 0.0, atol=1e-12)
    for shift in gate.shifts[1:]:
        axis = int(np.argmax(np.abs(shift)))
        assert abs(shift[axis]) - gate.half_width[axis] >= 3.99 * peaks[axis].sigma


GATE = SumGate(
    np.zeros(3), np.array([6.0, 3.0, 2.0]), np.array([2.0, 1.0, 2 / 3]), np.full(3, 50.0)
)


def boxes_of(sums: np.ndarray) -> np.ndarray:
    """(boxes) how many sums lie in the gate and in each displaced box."""
    apart = np.abs(sums[None] - GATE.shifts[:, None]) <= GATE.half_width
    return apart.all(axis=2).sum(axis=1)


def test_purity_with_both_kinds_of_false_coincidences() -> None:
    """Sums of unrelated ions, and differences of two momenta of the same size."""
    rng = np.random.default_rng(4)
    unrelated = rng.normal(0.0, 50.0, (1_500_000, 3))
    pair = rng.normal(size=(2, 1_500_000, 3))
    pair *= 55.0 / np.linalg.norm(pair, axis=2, keepdims=True)
    for sums in (unrelated, pair[0] - pair[1], np.vstack([unrelated, pair[0] - pair[1]])):
        counts = boxes_of(sums)
        false, counts[0] = counts[0], 100 * counts[0]
        result = purity(counts, GATE)
        assert result.false == pytest.approx(false, abs=4 * result.false_error + 0.15 * false)
        assert result.purity == pytest.approx(1 - result.false / counts[0])
        assert result.purity_error * counts[0] > 0.25 * result.false


def test_error_of_the_extrapolation_is_that_of_the_counts() -> None:
    rng = np.random.default_rng(3)
    near = 1.0 / np.array([3.0, *[12.0] * 6, *[18.0] * 6])
    expected = 60.0 + 1500.0 * near  # away from the limit where one kind is absent
    results = [purity(rng.poisson(expected), GATE) for _ in range(200)]
    spread = np.std([result.false for result in results])
    assert np.mean([result.false_error for result in results]) == pytest.approx(spread, rel=0.5)


def test_purity_without_anything_beside_the_peak() -> None:
    result = purity(np.array([50, *[0] * 12]), SumGate(np.zeros(3), np.ones(3)))
    assert result.purity == pytest.approx(1.0)
    assert 0.0 < result.purity_error < 0.1
