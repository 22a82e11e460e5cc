"""Ranges of shots that are added one by one give what a reduction of the whole run gives."""

from __future__ import annotations

import json

import numpy as np
import pytest

from molexa_core.base.tables import Hits
from molexa_core.pipeline.chain.reduce import reduce
from molexa_core.pipeline.watching.alarms import NEWEST_SHOTS, alarms
from molexa_core.reduction import first_pass
from molexa_core.reduction.growing import GrowingReduction, Sample
from molexa_core.reduction.history import FOUND, SHOTS, History
from tests.fakes.root_runs import make_channel, make_run, make_setup

SETUP = make_setup()
WATER = make_channel(("O+", 1), ("H+", 2))


@pytest.fixture(scope="module")
def hits() -> Hits:
    return make_run(["O+", "H+", "H+"], SETUP, shots=6000, recoil=(1.5, 1.0, 0.5)).hits


def grown(hits: Hits, shots: int) -> GrowingReduction:
    reduction = GrowingReduction(WATER, SETUP)
    for number, chunk in enumerate(hits.in_chunks(shots)):
        reduction.add(chunk, float(number))
    return reduction


def same(one: GrowingReduction, other: GrowingReduction) -> None:
    assert one.coincidences == other.coincidences
    assert one.gate is not None
    assert other.gate is not None
    np.testing.assert_array_equal(one.gate.centre, other.gate.centre)
    np.testing.assert_array_equal(one.gate.half_width, other.gate.half_width)
    np.testing.assert_array_equal(one.tally.elsewhere, other.tally.elsewhere)
    np.testing.assert_array_equal(one.sample.momentum, other.sample.momentum)
    assert one.release == other.release


@pytest.mark.parametrize("shots", [70, 1500])
def test_it_ends_with_gate_and_coincidences_of_a_reduction(hits: Hits, shots: int) -> None:
    reduction = grown(hits, shots)
    assert reduction.find_gate()
    whole = reduce([hits], WATER, SETUP, mixing=False)
    assert reduction.coincidences == whole.summary.coincidences
    assert reduction.shots == whole.summary.shots
    for axis, found in enumerate(whole.summary.momentum_sums):
        assert reduction.gate is not None
        assert reduction.gate.centre[axis] == found.gate_centre
        assert reduction.gate.half_width[axis] == found.gate_half_width
    assert reduction.purity == whole.summary.purity
    assert reduction.release is not None
    assert reduction.release.mean == whole.summary.ker.mean
    np.testing.assert_array_equal(
        np.sort(reduction.sample.momentum, axis=0), np.sort(whole.table.momentum, axis=0)
    )


def test_the_gate_becomes_final_and_nothing_is_kept_then(
    hits: Hits, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(first_pass, "MOST_SUMS", 1500)
    reduction = grown(hits, 300)
    assert reduction.final
    assert not [name for name in reduction.stored()[1] if name.startswith("kept")]
    whole = reduce([hits], WATER, SETUP, mixing=False)
    assert reduction.coincidences == whole.summary.coincidences


@pytest.mark.parametrize("until", [3, 14])
def test_what_is_stored_goes_on_as_if_nothing_had_happened(hits: Hits, until: int) -> None:
    straight = GrowingReduction(WATER, SETUP)
    stopped = GrowingReduction(WATER, SETUP)
    for number, chunk in enumerate(hits.in_chunks(400)):
        straight.add(chunk, float(number))
        stopped.add(chunk, float(number))
        if number == until:
            values, arrays = stopped.stored()
            values = json.loads(json.dumps(values))
            stopped = GrowingReduction(WATER, SETUP)
            stopped.restore(values, {name: one.copy() for name, one in arrays.items()})
    straight.find_gate()
    stopped.find_gate()
    same(straight, stopped)
    np.testing.assert_array_equal(straight.history.rows, stopped.history.rows)
    for name, spectrum in straight.spectra().items():
        np.testing.assert_array_equal(spectrum.counts, stopped.spectra()[name].counts)


def test_too_few_coincidences_are_said_and_no_gate_is_made(hits: Hits) -> None:
    reduction = GrowingReduction(WATER, SETUP)
    reduction.add(hits.shots(0, 20), 0.0)
    assert reduction.gate is None
    assert reduction.coincidences == 0
    assert "too few" in reduction.trouble


def test_a_sample_is_evenly_spaced_whatever_the_blocks() -> None:
    momentum = np.arange(5000.0)[:, None, None] * np.ones((1, 2, 3))
    for size in (1, 7, 900):
        sample = Sample(1000, 2)
        for start in range(0, 5000, size):
            sample.add(momentum[start : start + size])
        assert sample.step == 8
        np.testing.assert_array_equal(sample.momentum, momentum[::8])


def test_history_keeps_sums_when_intervals_are_joined(rng: np.random.Generator) -> None:
    history = History(["a", "b"], 16)
    every = [rng.normal(5.0, 1.0, (int(rng.integers(2, 9)), 2)) for _ in range(100)]
    for number, values in enumerate(every):
        interval = history.add(float(number), 10, 20)
        history.add_values(interval, values)
    assert len(history) <= 16
    assert history.intervals[:, SHOTS].sum() == 1000
    assert history.intervals[:, FOUND].sum() == sum(map(len, every))
    means = history.means_of(history.intervals)
    flat = np.concatenate(every)
    np.testing.assert_allclose(
        (means.mean * means.count[:, None]).sum(axis=0) / len(flat), flat.mean(axis=0)
    )
    whole = history.means_of(history.intervals.sum(axis=0, keepdims=True))
    np.testing.assert_allclose(
        whole.error[0], flat.std(axis=0, ddof=1) / np.sqrt(len(flat)), rtol=1e-6
    )


def moved(hits: Hits, **by: float) -> Hits:
    columns = {name: getattr(hits, name) + shift for name, shift in by.items()}
    return Hits(**{**{f: getattr(hits, f) for f in hits.__dataclass_fields__}, **columns})


def test_alarms_tell_a_shift_and_a_lost_rate_and_nothing_of_a_steady_run(hits: Hits) -> None:
    steady = grown(hits, 300)
    assert alarms(steady, silent_s=1.0, quiet_s=60.0) == []
    assert alarms(steady, silent_s=90.0, quiet_s=60.0)[0].about == "data"

    shifted = grown(hits, 300)
    for number, chunk in enumerate(hits.in_chunks(300)):
        shifted.add(moved(chunk, y_mm=0.25), 100.0 + number)
    assert {one.about for one in alarms(shifted, silent_s=1.0, quiet_s=60.0)} == {"sums"}

    lost = grown(hits, 300)
    rest = hits.shots(0, 600)
    empty = rest.empty(6000, 2 * NEWEST_SHOTS)
    lost.add(empty, 100.0)
    told = alarms(lost, silent_s=1.0, quiet_s=60.0)
    assert {one.about for one in told} == {"rate"}
