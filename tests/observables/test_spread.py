"""Spectra: false coincidences subtracted with errors; stated errors are the scatter of runs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from molexa_core.base.errors import NoEventsError
from molexa_core.base.tables import Coincidences
from molexa_core.observables.expression import parse_number
from molexa_core.observables.spread import histogram, position_of, rows_of

WIDTH, CENTRE, TRUE, FALSE, SHARE = 3.0, 50.0, 400, 150, 0.1


def run(seed: int) -> Coincidences:
    """A normal peak on false coincidences, which mixed rows of a tenth of the weight describe."""
    rng = np.random.default_rng(seed)
    peak = rng.normal(CENTRE, WIDTH, rng.poisson(TRUE))
    ground = rng.uniform(20.0, 110.0, rng.poisson(FALSE))
    mixed = rng.uniform(20.0, 110.0, rng.poisson(FALSE / SHARE))
    real, false = (table(np.concatenate(one)) for one in ([peak, ground], [mixed]))
    false = replace(false, weight=np.full(len(false), SHARE))
    return replace(real, false=false)


def table(x: np.ndarray) -> Coincidences:
    momentum = np.zeros((len(x), 1, 3))
    momentum[:, 0, 0] = x
    return Coincidences.of(["O+"], momentum)


PX = (parse_number("px(O+)"),)


def test_stated_errors_are_the_scatter_of_runs() -> None:
    truth = np.array([TRUE, CENTRE, CENTRE, WIDTH])
    values, errors = [], []
    for seed in range(150):
        rows = rows_of(run(seed), PX)
        inside = np.abs(rows.values[0] - CENTRE) < 12.0  # a gate around the peak, on both alike
        found = position_of(rows.values[0][inside], rows.weight[inside])
        assert found is not None
        pairs = (found.events, found.mean, found.median, found.width)
        values.append([pair[0] for pair in pairs])
        errors.append([pair[1] for pair in pairs])
    pulls = (np.array(values) - truth) / np.array(errors)
    assert np.abs(pulls.mean(axis=0)).max() < 4.0 / np.sqrt(150)
    np.testing.assert_allclose(pulls.std(axis=0), 1.0, atol=0.2)


def test_bins_are_free_of_false_coincidences_on_average() -> None:
    edges = (np.linspace(20.0, 110.0, 10),)
    found = [histogram(rows_of(run(seed), PX), edges) for seed in range(60)]
    counts = np.array([one[0] for one in found])
    errors = np.array([one[1] for one in found])
    far = np.abs(0.5 * (edges[0][1:] + edges[0][:-1]) - CENTRE) > 20.0
    mean = counts[:, far].mean(axis=0) / (errors[:, far].mean(axis=0) / np.sqrt(60))
    assert np.abs(mean).max() < 4.0
    assert counts.sum(axis=1).mean() == pytest.approx(TRUE, abs=4.0 * np.sqrt(700 / 60))
    np.testing.assert_allclose(counts[:, far].std() / errors[:, far].mean(), 1.0, atol=0.15)


def test_few_events_have_no_width_and_no_values_are_an_error() -> None:
    assert position_of(np.arange(5.0), np.ones(5)) is None
    assert position_of(np.arange(500.0), np.full(500, -1.0)) is None
    with pytest.raises(NoEventsError, match=r"px\(O\+\)"):
        rows_of(table(np.full(3, np.nan)), PX)
