"""Bootstrap intervals: of the right width, and wider where values belong together."""

from __future__ import annotations

import numpy as np
import pytest

from molexa_core.base.mathematics.statistics import bootstrap_mean


def test_interval_of_a_normal_mean() -> None:
    values = np.random.default_rng(1).normal(3.0, 2.0, 4000)
    found = bootstrap_mean(values)
    half = 1.96 * 2.0 / np.sqrt(4000)
    assert found.mean == pytest.approx(values.mean())
    assert (found.high - found.low) / 2 == pytest.approx(half, rel=0.12)
    assert found.low < 3.0 < found.high


def test_values_that_belong_together_count_once() -> None:
    values = np.repeat(np.random.default_rng(2).normal(size=100), 25)
    alone = bootstrap_mean(values)
    together = bootstrap_mean(values, np.repeat(np.arange(100), 25))
    ratio = (together.high - together.low) / (alone.high - alone.low)
    assert ratio == pytest.approx(5.0, rel=0.2)


def test_the_same_seed_gives_the_same_interval_and_gaps_are_left_out() -> None:
    values = np.array([1.0, np.nan, 2.0, 4.0])
    assert bootstrap_mean(values) == bootstrap_mean(values)
    assert bootstrap_mean(values).mean == pytest.approx(7.0 / 3.0)
    assert np.isnan(bootstrap_mean(np.array([np.nan])).mean)
