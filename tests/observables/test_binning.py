"""Series: the signal is what subtraction leaves, its errors are its scatter, shots scale it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from molexa_core.base.errors import InputFileError, NoEventsError, UsageError
from molexa_core.base.options.gate_options import SeriesOptions
from molexa_core.base.tables import Coincidences
from molexa_core.observables.binning import (
    Binned,
    Signal,
    binned,
    remarks_of,
    remarks_on_signal,
    signal_of,
)
from molexa_core.observables.syntax import ExpressionError

DELAYS = np.array([0.0, 50.0, 100.0])
SHOTS = 4000
"""Of each delay with the pump; half as many without it."""
STATIC, PUMPED = 0.06, 0.04
"""Molecules per shot."""


def pump_probe(seed: int) -> tuple[Coincidences, dict[str, np.ndarray]]:
    """Events whose x momentum tells where they come from: 10 static, 20 to 40 with the delay."""
    rng = np.random.default_rng(seed)
    delay = np.concatenate([np.repeat(DELAYS, SHOTS), np.resize(DELAYS, len(DELAYS) * SHOTS // 2)])
    pump = np.arange(len(delay)) < len(DELAYS) * SHOTS
    static = np.repeat(np.arange(len(delay)), rng.poisson(STATIC, len(delay)))
    pumped = np.repeat(np.arange(len(delay)), rng.poisson(PUMPED * pump))
    shot = np.concatenate([static, pumped])
    value = np.concatenate([np.full(len(static), 10.0), 20.0 + 0.2 * delay[pumped]]) + rng.normal(
        0.0, 3.0, len(shot)
    )
    momentum = np.zeros((len(shot), 2, 3))
    momentum[:, 0, 0], momentum[:, 1, 0] = value, -value
    tags = {"delay_fs": delay[shot], "pump_laser": pump[shot].astype(float)}
    return Coincidences.of(["O+", "C+"], momentum, tags=tags), {
        "delay_fs": delay,
        "pump_laser": pump.astype(float),
    }


OPTIONS = SeriesOptions(by="delay_fs", background=["pump_laser == 0"])


def signals(table: Coincidences, shots: dict[str, np.ndarray], **changes: Any) -> list[Signal]:
    series = binned(table, replace(OPTIONS, **changes), shots)
    values = table.momentum[:, :1, 0]
    return [
        signal_of(values, series.coefficients(number, table.weight), table.event_id)
        for number in range(len(series.bins))
    ]


def test_the_signal_is_free_of_static_background_and_its_errors_are_its_scatter() -> None:
    pulls, counts = [], []
    for seed in range(120):
        found = signals(*pump_probe(seed))
        pulls.append(
            [float((s.value[0] - t) / s.error[0]) for s, t in zip(found, (20, 30, 40), strict=True)]
        )
        counts.append([(s.number - PUMPED * SHOTS) / s.number_error for s in found])
    for each in (np.array(pulls), np.array(counts)):
        assert np.abs(each.mean(axis=0)).max() < 4.0 / np.sqrt(120)
        # 360 numbers, those of one run correlated by the common background
        assert each.std() == pytest.approx(1.0, abs=0.12)


def test_shots_of_every_condition_scale_the_background() -> None:
    table, shots = pump_probe(1)
    series = binned(table, OPTIONS, shots)
    np.testing.assert_array_equal(series.scales, [[SHOTS / (len(DELAYS) * SHOTS // 2)]] * 3)
    np.testing.assert_array_equal(series.shots, [SHOTS] * 3)
    gated = table.with_meta({"gates": [{"gate": "delay_fs < 60 and ker > 0"}]})
    np.testing.assert_allclose(binned(gated, OPTIONS, shots).shots, [SHOTS, SHOTS, 0])
    given = binned(table, replace(OPTIONS, background_scale=0.25), {})
    assert (given.scales == 0.25).all()
    with pytest.raises(InputFileError, match="how many shots"):
        binned(table, OPTIONS, {})
    with pytest.raises(InputFileError, match="how many shots"):
        binned(table, replace(OPTIONS, background=["ker < 0.1"]), shots)


def test_without_background_means_and_errors_are_the_usual_ones() -> None:
    table, shots = pump_probe(2)
    (first, *_) = signals(table, shots, background=None)
    rows = table.momentum[table.tags["delay_fs"] == 0.0, 0, 0]
    assert first.value[0] == pytest.approx(rows.mean())
    assert first.error[0] == pytest.approx(rows.std(ddof=1) / np.sqrt(len(rows)))
    assert (first.number, first.number_error) == (len(rows), pytest.approx(np.sqrt(len(rows))))


def test_rows_of_one_event_count_once() -> None:
    rng = np.random.default_rng(3)
    values, ones = rng.normal(5.0, 1.0, (200, 1)), np.ones(200)
    once = signal_of(values, ones, np.arange(200))
    twice = signal_of(np.repeat(values, 2, axis=0), np.full(400, 0.5), np.repeat(np.arange(200), 2))
    assert twice.value[0] == pytest.approx(once.value[0])
    assert twice.error[0] == pytest.approx(once.error[0])
    assert twice.number_error == pytest.approx(once.number_error)


def test_no_signal_is_said_and_not_invented() -> None:
    table, shots = pump_probe(4)
    only = table.select((table.tags["pump_laser"] == 0) | (np.arange(len(table)) % 17 == 0))
    found = signals(only, shots)
    assert all(not one.clear and np.isnan(one.value).all() for one in found)
    for options, words in (
        (OPTIONS, "no signal above the background in 2 of 3"),
        (replace(OPTIONS, background=None), "too few true coincidences in 2 of 3"),
    ):
        series = binned(table, options, shots)
        (said,) = remarks_on_signal(series, np.array([True, False, True]))
        assert said == f"{words} bins of delay_fs"
        assert remarks_on_signal(series, np.zeros(3, np.bool_)) == []


@pytest.mark.parametrize(
    ("bins", "edges"),
    [
        ("4", [0, 25, 50, 75, 100]),
        ("0, 60 ,100", [0, 60, 100]),
        ("-50:100:50", [-50, 0, 50, 100]),
        ("0:90:40", [0, 40, 80, 120]),
    ],
)
def test_bins_as_written(bins: str, edges: list[float]) -> None:
    table, shots = pump_probe(5)
    series = binned(table, replace(OPTIONS, bins=bins), shots)
    assert [one.low for one in series.bins] == pytest.approx(edges[:-1])
    assert [one.high for one in series.bins] == pytest.approx(edges[1:])
    delay = table.tags["delay_fs"][table.tags["pump_laser"] > 0]
    np.testing.assert_array_equal(series.counts, np.histogram(delay, edges)[0])
    empty = sum(series.counts == 0)
    assert bool(empty) == any("hold no coincidence" in text for text in remarks_of(series))


def test_values_that_differ_by_rounding_are_one_bin_and_unknown_ones_are_counted() -> None:
    table, shots = pump_probe(6)
    delay = table.tags["delay_fs"] * (1.0 + 1e-10 * np.arange(len(table)))
    delay[:7] = np.nan
    rough = replace(table, tags={**table.tags, "delay_fs": delay})
    series: Binned = binned(rough, replace(OPTIONS, background=None), shots)
    assert [one.value for one in series.bins] == pytest.approx([0.0, 50.0, 100.0], rel=1e-6)
    assert series.counts.sum() == len(table) - 7
    assert "not a number in 7 coincidences" in remarks_of(series)[0]


def test_what_does_not_fit_is_refused() -> None:
    table, shots = pump_probe(7)
    for changes, kind, words in (
        ({"by": None}, UsageError, "runs over"),
        ({"by": "dely_fs"}, ExpressionError, "Did you mean delay_fs"),
        ({"by": "px(O+)"}, UsageError, "values. Divide them"),
        ({"bins": "a"}, UsageError, "cannot be read. Write"),
        ({"bins": "5,3"}, UsageError, "ascend"),
        ({"bins": "0:1e9:1"}, UsageError, "more than 500"),
        ({"bins": "200,300"}, NoEventsError, "which is from 0 to 100"),
        ({"background": ["pump_laser == 2"]}, NoEventsError, "holds for none"),
        ({"background": ["pump_laser == 0", "delay_fs == 0"]}, UsageError, "two backgrounds"),
        ({"background": None, "background_scale": 0.5}, UsageError, "no background to be scaled"),
    ):
        with pytest.raises(kind, match=words):
            binned(table, replace(OPTIONS, **changes), shots)
