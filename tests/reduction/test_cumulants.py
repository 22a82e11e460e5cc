from __future__ import annotations

import numpy as np
import pytest

from molexa_core.base.errors import UsageError
from molexa_core.base.tables import offsets_of
from molexa_core.reduction.cumulants.cumulant_maps import CumulantMap
from molexa_core.reduction.cumulants.kstatistics import (
    factorial_cumulant,
    k_statistic,
    over_slices,
    residuals,
)
from molexa_core.reduction.cumulants.windows import cumulants, require_separate, rise


def molecules(rng: np.random.Generator, shots: int, rate: np.ndarray | float) -> np.ndarray:
    """(2, shots) detected A and B of molecules A B B; efficiency a half; and unrelated B."""
    number = rng.poisson(rate, shots)
    a, b = rng.binomial(number, 0.5), rng.binomial(2 * number, 0.5)
    return np.array([a, b + rng.poisson(0.4, shots)], np.float64)


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_k_statistics_are_unbiased_for_few_shots(order: int) -> None:
    """All cumulants of a Poisson distribution are its mean; 12 shots are enough for the mean."""
    rng = np.random.default_rng(order)
    values = [
        k_statistic(np.repeat(rng.poisson(0.8, (1, 12)).astype(float), order, axis=0)).value
        for _ in range(6000)
    ]
    assert abs(np.mean(values) - 0.8) < 3.5 * np.std(values) / np.sqrt(6000)


def test_factorial_cumulants_count_combinations_of_one_molecule() -> None:
    rng = np.random.default_rng(1)
    counts = molecules(rng, 300_000, 1.5)
    for block, expected in {
        (1, 1): 1.5 * 0.5 * 1.0,
        (0, 2): 1.5 * 0.5,
        (1, 2): 1.5 * 0.25,
        (1, 3): 0.0,
        (2, 2): 0.0,
        (2, 0): 0.0,
    }.items():
        found = factorial_cumulant(counts, block)
        assert abs(found.value - expected) < 3.5 * found.error
        assert found.error < 0.08


@pytest.mark.parametrize("block", [(1, 1), (0, 2), (1, 2), (2, 2)])
def test_stated_errors_are_the_scatter(block: tuple[int, int]) -> None:
    rng = np.random.default_rng(2)
    found = [factorial_cumulant(molecules(rng, 4000, 0.8), block) for _ in range(300)]
    values = np.array([one.value for one in found])
    assert np.mean([one.error**2 for one in found]) / values.var() == pytest.approx(1.0, abs=0.3)


def test_a_varying_rate_is_taken_off_by_control_and_slices() -> None:
    rng = np.random.default_rng(3)
    energy = rng.uniform(0.2, 1.8, 200_000)
    counts = molecules(rng, 200_000, 1.5 * energy)
    block, expected = (1, 2), 1.5 * 0.25
    blind = factorial_cumulant(counts, block)
    assert blind.value > expected + 10.0 * blind.error
    partial = factorial_cumulant(residuals(counts, energy), block)
    assert abs(partial.value - expected) < 3.5 * partial.error
    place = np.minimum((energy - 0.2) / 1.6 * 20, 19).astype(int)
    parts = [
        (int((place == s).sum()), factorial_cumulant(counts[:, place == s], block))
        for s in range(20)
    ]
    value, error = over_slices(parts)
    assert abs(value - expected) < 3.5 * error + 0.01


def test_a_false_cumulant_is_told_by_its_rise_with_the_rate() -> None:
    """Slices of rate 0.5 to 2; in the second data set the rate flickers within every slice."""
    rng = np.random.default_rng(4)
    shots, slices = 160_000, np.arange(160_000) * 8 // 160_000
    rate = 0.5 + 1.5 * slices / 7.0
    steady = molecules(rng, shots, rate).astype(int)
    flicker = rate * rng.choice([0.2, 1.8], shots)
    unrelated = rng.poisson(0.7 * flicker, (2, shots))
    for counts, exponent in ((steady, 1.0), (unrelated, 2.0)):
        row = cumulants(counts, ["A", "B"], (1, 1), slices=slices)[0]
        assert row.exponent is not None
        assert row.exponent_error is not None
        assert abs(row.exponent - exponent) < 4.0 * row.exponent_error
        assert row.false is (exponent == 2.0)


def test_the_rise_of_known_values() -> None:
    rates = np.linspace(1.0, 3.0, 6)
    found = rise(rates, 0.2 * rates**2, np.full(6, 0.01))
    assert found is not None
    assert found[0] == pytest.approx(2.0, abs=0.02)
    with_background = rise(rates + 0.7, 0.2 * rates, np.full(6, 0.01))
    assert with_background is not None
    assert with_background[0] == pytest.approx(1.0, abs=0.02)
    assert rise(np.ones(6), np.ones(6), np.full(6, 0.01)) is None


@pytest.mark.parametrize("kind", ["plain", "partial", "three", "four"])
def test_maps_agree_with_the_cumulants_of_each_pair_of_bins(kind: str) -> None:
    rng = np.random.default_rng(5)
    shots, bins = 500, 4
    number = rng.poisson(1.0, shots)
    shot = np.repeat(np.arange(shots), number)
    first = rng.integers(0, bins, len(shot))
    second = (first + rng.integers(0, 2, len(shot))) % bins
    seen = rng.random((4, len(shot))) < 0.5
    of = np.concatenate([shot[seen[0]], shot[seen[1]]])
    place = np.concatenate([first[seen[0]], second[seen[1]]])
    order = np.argsort(of, kind="stable")
    of, place = of[order], place[order]
    further = np.array([np.bincount(shot[seen[k]], minlength=shots) for k in (2, 3)], float)
    counts = np.zeros((bins, shots))
    np.add.at(counts, (place, of), 1.0)
    control = rng.random(shots)
    values = {"plain": further[:0], "partial": control[None], "three": further[:1]}.get(
        kind, further
    )
    centred = (values - values.mean(axis=1, keepdims=True)).T
    one = CumulantMap((bins, bins), kind)  # type: ignore[arg-type]
    offsets = offsets_of(np.bincount(of, minlength=shots))
    half = 200
    for part in (slice(0, half), slice(half, shots)):  # in two chunks
        inside = slice(offsets[part.start], offsets[part.stop])
        chunk = offsets[part.start : part.stop + 1] - offsets[part.start]
        one.add(chunk, place[inside], place[inside], centred[part])
    found, errors = one.result()
    for a in range(bins):
        for b in range(bins):
            own = counts[[a]] if a == b else counts[[a, b]]
            if kind == "partial":
                left = residuals(own, control)
                both = k_statistic(left[[0, -1]])
                same = own[0].mean() if a == b else 0.0
                expected = both.value * (shots - 1) / (shots - 2) - same
                influence = both.influence - (own[0] if a == b else 0.0)
                error = influence.std() / np.sqrt(shots)
            else:
                extra = values if kind in {"three", "four"} else values[:0]
                block = ((2,) if a == b else (1, 1)) + (1,) * len(extra)
                whole = factorial_cumulant(np.vstack([own, extra]), block)
                expected, error = whole.value, whole.error
            assert found[a, b] == pytest.approx(expected, abs=1e-9)
            assert errors[a, b] == pytest.approx(error, rel=5e-3)


def test_overlapping_windows_and_hopeless_orders_are_refused() -> None:
    with pytest.raises(UsageError, match="overlap"):
        require_separate({"C+": (1000.0, 1100.0), "O+": (1090.0, 1200.0)})
    require_separate({"C+": (1000.0, 1100.0), "O+": (1110.0, 1200.0)})
    with pytest.raises(UsageError, match="order"):
        k_statistic(np.zeros((5, 100)))
    with pytest.raises(UsageError, match="too few"):
        k_statistic(np.zeros((4, 4)))
