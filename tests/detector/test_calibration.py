"""Calibration from the signals alone, against the anode that made them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from molexa_core.base.errors import ComputationError, InputFileError
from molexa_core.base.settings.anode import LAYERS, Anode
from molexa_core.base.settings.virtual import WireSignals
from molexa_core.base.tables import Edges
from molexa_core.detector.anode_arrays import position, time_sum
from molexa_core.detector.anode_calibration import calibrate
from molexa_core.detector.clean import clean_hits, count_sums
from molexa_core.detector.sorter import Sorter
from molexa_core.physics.virtual.wires import bend
from tests.fakes.anodes import HEXANODE, PERFECT, QUAD, Run, anode, random_run, run_of, score

SIGNALS = WireSignals(missing=0.03, walk_ns=0.4, bend_mm=0.3)


def uncalibrated(base: dict[str, Any] = HEXANODE) -> Anode:
    """What a user knows before: the channels, one scale for all, a run time."""
    rough = {"scale_mm_per_ns": 0.34, "run_time_ns": 150.0, "time_sum_ns": 100.0}
    return anode(base | {name: rough for name in LAYERS if name in base})


def chunks(edges: Edges) -> Callable[[], list[Edges]]:
    """The edges in two chunks, as often as asked."""
    half = edges.n_shots // 2
    parts = [edges.shots(0, half), edges.shots(half, edges.n_shots)]
    return lambda: parts


def check_against_truth(found: Anode, true: Anode, signals: WireSignals, part: float) -> None:
    """Scale ratios to 0.1 %, offset to 0.05 mm, time sums to 0.05 ns, positions to 0.05 mm."""
    for name in LAYERS:
        mine, theirs = getattr(found, name), getattr(true, name)
        ratio = mine.scale_mm_per_ns / found.u.scale_mm_per_ns
        expected = theirs.scale_mm_per_ns / true.u.scale_mm_per_ns
        assert ratio == pytest.approx(expected, rel=1e-3), name
        assert mine.offset_mm == pytest.approx(theirs.offset_mm, abs=0.05), name
        assert mine.time_sum_ns == pytest.approx(theirs.time_sum_ns, abs=0.05), name
        z = np.linspace(-part, part, 21)
        plain = z * true.mcp_radius_mm
        difference = plain / theirs.scale_mm_per_ns
        place = plain + theirs.offset_mm + bend(z, signals.bend_mm)
        np.testing.assert_allclose(position(found, mine, difference), place, atol=0.05)
        sums = theirs.time_sum_ns + signals.walk_ns * z**2
        np.testing.assert_allclose(time_sum(found, mine, difference), sums, atol=0.05)


def test_an_uncalibrated_hexanode_calibrates_itself() -> None:
    run = random_run(anode(), SIGNALS, shots=10_000)
    found = calibrate(chunks(run.edges), uncalibrated())
    check_against_truth(found.anode, anode(), SIGNALS, 0.85)
    for when, after, _ in found.quality.values():
        assert after < when
    sorted_hits = Sorter(found.anode).sort(run.edges)
    result = score(run.hits, sorted_hits)
    assert result.found >= 0.99
    assert result.position_rms_mm < 0.1


def test_the_stated_errors_are_those_seen_in_repetitions() -> None:
    pulls = []
    true = anode()
    truths = {
        "scale v / scale u": true.v.scale_mm_per_ns / true.u.scale_mm_per_ns,
        "scale w / scale u": true.w.scale_mm_per_ns / true.u.scale_mm_per_ns,
        "offset w": 1.3,
        **{f"time sum {name}": getattr(true, name).time_sum_ns for name in LAYERS},
    }
    for seed in range(8):
        run = random_run(true, SIGNALS, shots=3000, seed=100 + 2 * seed)
        for item in calibrate(chunks(run.edges), uncalibrated()).findings:
            if item.name in truths:
                assert item.error > 0
                pulls.append((item.after - truths[item.name]) / item.error)
    assert 0.6 < np.sqrt(np.mean(np.square(pulls))) < 1.8


def test_an_uneven_image_hardly_changes_the_scales() -> None:
    """A bent layer lit in the middle mostly: scales are defined as far as it is lit at all."""
    random = np.random.default_rng(8)
    n = 60_000
    x, y = random.normal(size=(2, n)) * np.array([[9.0], [14.0]]) + np.array([[4.0], [-3.0]])
    on = np.hypot(x, y) < 39.0
    x, y = x[on], y[on]
    shot = np.arange(len(x))
    t = np.full(len(x), 700.0)
    run = run_of(anode(), SIGNALS, shot, x, y, t, shots=len(x))
    found = calibrate(chunks(run.edges), uncalibrated()).anode
    for name in ("v", "w"):
        ratio = getattr(found, name).scale_mm_per_ns / found.u.scale_mm_per_ns
        true = HEXANODE[name]["scale_mm_per_ns"] / HEXANODE["u"]["scale_mm_per_ns"]
        assert ratio == pytest.approx(true, rel=2e-3)


def test_a_quad_gets_its_time_sums_and_keeps_its_scales() -> None:
    run = random_run(anode(QUAD), SIGNALS, shots=5000)
    found = calibrate(chunks(run.edges), uncalibrated(QUAD))
    for name in ("u", "v"):
        mine = getattr(found.anode, name)
        assert mine.time_sum_ns == pytest.approx(QUAD[name]["time_sum_ns"], abs=0.05)
        assert mine.scale_mm_per_ns == 0.34
    assert "scales stay" in found.remarks[0]


def test_a_perfect_anode_stays_as_it_is() -> None:
    run = random_run(anode(), PERFECT, shots=4000)
    found = calibrate(chunks(run.edges), anode()).anode
    for name in LAYERS:
        mine, known = getattr(found, name), getattr(anode(), name)
        assert mine.scale_mm_per_ns == pytest.approx(known.scale_mm_per_ns, rel=1e-5)
        assert mine.time_sum_ns == pytest.approx(known.time_sum_ns, abs=1e-4)
        assert max(abs(c) for _, c in mine.position_correction) < 2e-3


def test_a_wrong_channel_is_named() -> None:
    run = random_run(anode(), SIGNALS, shots=2000)
    swapped = uncalibrated(HEXANODE | {"channels": HEXANODE["channels"] | {"u2": 2, "v1": 1}})
    with pytest.raises(ComputationError, match="layer u: no peak in the time sums") as caught:
        calibrate(chunks(run.edges), swapped)
    assert "Check the channels of u1, u2 and mcp" in str(caught.value)


def test_a_channel_without_signals_is_named() -> None:
    run = random_run(anode(), SIGNALS, shots=500)
    missing = uncalibrated(HEXANODE | {"channels": HEXANODE["channels"] | {"w2": 11}})
    with pytest.raises(InputFileError, match=r"channel 11 \(w2\) has no signals") as caught:
        calibrate(chunks(run.edges), missing)
    assert "[0, 1, 2, 3, 4, 5, 6]" in str(caught.value)


def test_too_few_hits_are_an_error() -> None:
    run = random_run(anode(), SIGNALS, shots=300)
    with pytest.raises(ComputationError, match="too few"):
        calibrate(chunks(run.edges), uncalibrated())


def plain_pairs(run: Run, known: Anode, layer: int) -> list[float]:
    """The plain twin: all combinations of a layer's edges with each edge of the MCP."""
    sums = []
    for shot in range(run.edges.n_shots):
        part = slice(run.edges.offsets[shot], run.edges.offsets[shot + 1])
        channel, times = run.edges.channel[part], run.edges.t_ns[part]
        sums += [
            one + other - 2 * start
            for start in times[channel == 6]
            for one in times[channel == 2 * layer]
            for other in times[channel == 2 * layer + 1]
            if abs(one - other) <= known.layers[layer].run_time_ns
        ]
    return sums


def test_combinations_and_clean_hits_against_plain_loops() -> None:
    known = anode()
    run = random_run(known, SIGNALS, shots=150, window_ns=900.0)
    signal = np.arange(256)
    signal[7:] = -1
    longest = np.array([layer.run_time_ns for layer in known.layers])
    counts = np.zeros((3, 400), np.int64)
    edges = run.edges
    starts = count_sums(
        signal, edges.offsets, edges.channel, edges.t_ns, longest, 50.0, 0.5, counts
    )
    assert starts == np.sum(edges.channel == 6)
    for layer in range(3):
        sums = np.array(plain_pairs(run, known, layer))
        expected = np.histogram(np.floor((sums - 50.0) / 0.5), np.arange(402))[0][:400]
        assert np.array_equal(counts[layer], expected)
    total, difference = np.empty((500, 3)), np.empty((500, 3))
    expected_sums = np.array([layer.time_sum_ns for layer in known.layers])
    n = clean_hits(
        signal, edges.offsets, edges.channel, edges.t_ns, expected_sums, 4.0, longest, total,
        difference,
    )  # fmt: skip
    assert n > 200
    assert (np.abs(total[:n] - expected_sums) <= 4.0).all()
    assert (np.abs(difference[:n]) <= longest).all()
    room, more = np.empty((20, 3)), np.empty((20, 3))
    arguments = (signal, edges.offsets, edges.channel, edges.t_ns, expected_sums, 4.0, longest)
    assert clean_hits(*arguments, room, more) == 20
    assert np.array_equal(room, total[:20])


@pytest.mark.slow
def test_a_million_hits() -> None:
    run = random_run(anode(), SIGNALS, shots=333_334)
    found = calibrate(chunks(run.edges), uncalibrated())
    check_against_truth(found.anode, anode(), SIGNALS, 0.95)
    for item in found.findings:
        if item.name.startswith("scale"):
            assert item.error < 1e-3 * item.after
