"""Inputs unlike the training: false alarms at the stated rate, whatever the distribution."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest

from molexa_core.base.errors import UsageError, WeightsError
from molexa_core.base.tables import FloatArray, IntArray
from molexa_core.network.inference.conformity import (
    FEATURES,
    PATTERNS,
    SUSPECT,
    TOLD,
    Conformity,
    features,
    fit_conformity,
    fit_mixture,
    told_in,
)

WIDTH = len(FEATURES)
FLATNESS = FEATURES.index("flatness of the momenta")


def _entries(random: np.random.Generator, count: int) -> tuple[FloatArray, IntArray]:
    """Features that no mixture of normal distributions fits, missing in small molecules."""
    hidden = random.standard_gamma(2.0, (count, 3))
    mixing = np.random.default_rng(99).normal(size=(3, WIDTH))
    values = hidden @ mixing + 0.2 * random.standard_t(3.0, (count, WIDTH))
    atoms = random.choice([2, 3, 5, 9], count)
    values[atoms < 4, FLATNESS] = np.nan
    return values, atoms


def _p_values(test: Conformity, values: FloatArray, atoms: IntArray) -> FloatArray:
    p = np.empty(len(values))
    for count in np.unique(atoms):
        rows = atoms == count
        p[rows] = test.p_values(values[rows], int(count))
    return p


def _rates(seeds: int) -> FloatArray:
    """(seeds, patterns) false alarms of tests made anew."""
    rates = np.empty((seeds, 3))
    for seed in range(seeds):
        random = np.random.default_rng(seed)
        values, atoms = _entries(random, 1600)
        test = fit_conformity(values, atoms, np.arange(1600), seed=seed)
        fresh, sizes = _entries(random, 1200)
        for column, pattern in enumerate(("111", "001", "000")):
            p = _p_values(test, told_in(fresh, pattern), sizes)
            rates[seed, column] = (p < SUSPECT).mean()
    return rates


def test_false_alarms_are_about_as_rare_as_stated() -> None:
    # 200 entries of each size are compared with: the rate of one test scatters by a point.
    assert (np.abs(_rates(1) - SUSPECT) < 0.03).all()


@pytest.mark.slow
def test_false_alarms_come_at_the_stated_rate() -> None:
    assert _rates(8).mean(axis=0) == pytest.approx([SUSPECT] * 3, abs=0.007)


def test_what_is_far_from_the_training_is_recognised_by_what_is_told() -> None:
    random = np.random.default_rng(7)
    values, atoms = _entries(random, 2000)
    test = fit_conformity(values, atoms, np.arange(2000))
    fresh, sizes = _entries(random, 300)
    fresh[:, TOLD[2]] += 12.0 * np.nanstd(values[:, TOLD[2]])
    assert (_p_values(test, fresh, sizes) < SUSPECT).mean() > 0.95
    assert test.strangest(fresh[0])[0] == FEATURES[TOLD[2]]
    # A little beyond all of the training is enough, where it is told.
    fresh[:, TOLD[2]] = values[:, TOLD[2]].max() + 0.1
    assert test.beyond(fresh)[:, 2].all()
    assert (_p_values(test, fresh, sizes) < SUSPECT).all()
    assert not test.beyond(told_in(fresh, "110"))[:, 2].any()
    # Where it is not told, nothing is strange.
    assert (_p_values(test, told_in(fresh, "110"), sizes) < SUSPECT).mean() < 0.06


def test_a_combination_that_never_occurs_is_recognised_though_each_number_does() -> None:
    random = np.random.default_rng(8)
    values, atoms = _entries(random, 2000)
    values[:, 1] = values[:, 0] + 0.05 * random.normal(size=2000)
    test = fit_conformity(values, atoms, np.arange(2000))
    fresh, sizes = _entries(random, 200)
    fresh[:, 1] = np.median(values[:, 0]) - (fresh[:, 0] - np.median(values[:, 0]))
    apart = np.abs(fresh[:, 1] - fresh[:, 0]) > 1.0
    # Each number alone is one of the training.
    assert (_p_values(test, fresh, sizes)[apart] < SUSPECT).mean() > 20.0 * SUSPECT


def test_missing_features_are_integrated_out() -> None:
    random = np.random.default_rng(9)
    values = random.normal(size=(2500, WIDTH))
    values[:, 1] = 0.9 * values[:, 0] + np.sqrt(1.0 - 0.81) * values[:, 1]
    values[random.random(2500) < 0.5, 1] = np.nan
    mixture = fit_mixture(values, components=1)
    covariance = mixture.covariances[0][0, 1] * mixture.scale[0] * mixture.scale[1]
    assert covariance == pytest.approx(0.9, abs=0.06)


def test_a_feature_that_no_entry_has_does_not_count() -> None:
    values, atoms = _entries(np.random.default_rng(13), 900)
    values[:, FLATNESS] = np.nan
    test = fit_conformity(values, atoms, np.arange(900))
    stored = json.loads(json.dumps(test.to_dict(), allow_nan=False))
    again = Conformity.from_dict(stored)
    assert np.isfinite(_p_values(again, values, atoms)).all()


def test_the_test_is_the_same_after_it_was_stored() -> None:
    values, atoms = _entries(np.random.default_rng(10), 900)
    test = fit_conformity(values, atoms, np.arange(900))
    stored = json.loads(json.dumps(test.to_dict()))
    again = Conformity.from_dict(stored)
    assert {told for told, _ in again.scores} == set(PATTERNS)
    first, second = (_p_values(one, values, atoms) for one in (test, again))
    assert np.abs(first - second).max() < 0.01
    for damage in ("features", "scores", "mixture"):
        broken = copy.deepcopy(stored)
        del broken[damage]
        with pytest.raises(WeightsError, match="damaged"):
            Conformity.from_dict(broken)


def test_too_few_geometries_are_refused() -> None:
    values, atoms = _entries(np.random.default_rng(11), 900)
    with pytest.raises(UsageError, match="too few"):
        fit_conformity(values, atoms, np.zeros(900, dtype=np.int64))


def test_features_do_not_depend_on_frame_and_order_and_size_is_relative_to_atoms() -> None:
    random = np.random.default_rng(12)
    numbers = np.array([[6, 8, 1, 1]])
    charges = np.array([[2.0, 2.0, 1.0, 1.0]])
    masses = 1823.0 * np.array([[12.0, 16.0, 1.0, 1.0]])
    momenta = random.normal(size=(1, 4, 3)) * np.sqrt(masses)[..., None]
    pulse, photons = np.full((1, 3), np.nan), np.full(1, np.nan)
    found = features(numbers, charges, masses, momenta, pulse, photons)
    turn = np.linalg.qr(random.normal(size=(3, 3)))[0]
    order = np.array([1, 3, 0, 2])
    other = features(
        numbers[:, order],
        charges[:, order],
        masses[:, order],
        (momenta @ turn)[:, order],
        pulse,
        photons,
    )
    known = np.isfinite(found)
    assert found[known] == pytest.approx(other[known])
    # Twice the momenta are four times the energy: a size of a quarter.
    fast = features(numbers, charges, masses, 2.0 * momenta, pulse, photons)
    assert (fast - found)[0, :2] == pytest.approx([-np.log(4.0)] * 2)
    assert (fast - found)[0, 2:4] == pytest.approx([0.0, 0.0])
