"""Signals at the wire ends: run times, time sums, dead time and losses as stated."""

from __future__ import annotations

import numpy as np
import pytest

from molexa_core.physics.virtual.wires import (
    bend,
    end_times,
    layer_positions,
    pass_electronics,
    record,
)
from tests.fakes.anodes import PERFECT, QUAD, anode, random_run, with_signals


def test_layers_lie_as_stated() -> None:
    x, y = np.array([3.0]), np.array([4.0])
    u, v, w = layer_positions(anode(), x, y)
    assert u[0] == pytest.approx(3.0)
    assert v[0] == pytest.approx((3.0 - np.sqrt(3.0) * 4.0) / 2)
    assert w[0] == pytest.approx((3.0 + np.sqrt(3.0) * 4.0) / 2)
    assert u[0] - v[0] - w[0] == pytest.approx(0.0)
    plain = layer_positions(anode(QUAD), x, y)
    assert np.allclose(plain, [[3.0], [4.0]])


def test_time_sums_and_differences_are_those_of_the_anode() -> None:
    known = anode()
    random = np.random.default_rng(1)
    x, y = random.uniform(-25, 25, size=(2, 50))
    t = random.uniform(100, 2000, size=50)
    times = end_times(known, PERFECT, x, y, t)
    for k, (layer, place) in enumerate(
        zip(known.layers, layer_positions(known, x, y), strict=True)
    ):
        np.testing.assert_allclose(
            times[:, 2 * k] + times[:, 2 * k + 1] - 2 * t, layer.time_sum_ns, rtol=1e-12
        )
        difference = times[:, 2 * k] - times[:, 2 * k + 1]
        measured = layer.scale_mm_per_ns * difference + layer.offset_mm
        np.testing.assert_allclose(measured, place, atol=1e-9)
    assert np.array_equal(times[:, 6], t)


def test_walk_and_bend_are_as_large_as_stated() -> None:
    known = anode()
    place = np.linspace(-39.0, 39.0, 400)
    zero, t = np.zeros(400), np.full(400, 500.0)
    times = end_times(known, with_signals(walk_ns=0.4, bend_mm=0.2), place, zero, t)
    sums = times[:, 0] + times[:, 1] - 2 * t - known.u.time_sum_ns
    assert sums.min() == pytest.approx(0.0, abs=1e-3)
    assert sums.max() == pytest.approx(0.4 * (39 / 40) ** 2, rel=0.02)
    off = place - known.u.scale_mm_per_ns * (times[:, 0] - times[:, 1])
    assert np.abs(off).max() == pytest.approx(0.2, rel=0.2)


def test_a_bend_is_no_stretch_on_an_evenly_lit_plate() -> None:
    angle = np.linspace(0, np.pi, 4001)
    part = np.cos(angle)  # a disc projected on an axis: density sqrt(1 - part^2)
    weight = np.sin(angle) ** 2
    assert np.trapezoid(weight * part * bend(part, 1.0), angle) == pytest.approx(0.0, abs=1e-9)
    assert np.abs(bend(part, 1.0)).max() == pytest.approx(1.0)


def test_dead_time_and_pile_up_against_a_plain_loop() -> None:
    random = np.random.default_rng(2)
    line = np.sort(random.integers(0, 20, size=400))
    time = random.uniform(0, 200, size=400)
    order = np.lexsort((time, line))
    line, time = line[order], time[order]
    dead = np.full(400, 15.0)
    kept = np.ones(400, np.bool_)
    shifted = time.copy()
    pass_electronics(line, shifted, dead, 0.2, 10.0, kept)
    last = {}
    pulse = {}
    for k in range(400):
        before, edge = pulse.get(line[k]), last.get(line[k])
        pulse[line[k]] = time[k]
        if edge is not None and time[k] - edge < 15.0:
            assert not kept[k]
            continue
        assert kept[k]
        last[line[k]] = time[k]
        late = 0.0
        if before is not None:
            late = 0.2 * np.exp(-max(time[k] - before - 15.0, 0.0) / 10.0)
        assert shifted[k] == pytest.approx(time[k] + late)


def test_signals_go_missing_at_the_rate_set_and_noise_comes_at_its_own() -> None:
    run = random_run(anode(), with_signals(missing=0.1), shots=4000, per_shot=1)
    assert run.recorded.lost.mean() == pytest.approx(0.1, abs=0.005)
    noisy = random_run(anode(), with_signals(noise_per_shot=0.5), shots=2000, per_shot=1)
    assert np.sum(noisy.recorded.hit < 0) == pytest.approx(0.5 * 7 * 2000, rel=0.05)


def test_edges_are_in_bins_and_in_order() -> None:
    run = random_run(anode(), with_signals(bin_ns=0.025, anode_jitter_ns=0.1), shots=100)
    recorded = run.recorded
    key = recorded.shot * 100 + recorded.channel
    assert (np.diff(key) >= 0).all()
    assert (np.diff(recorded.bins)[np.diff(key) == 0] >= 0).all()
    np.testing.assert_allclose(run.edges.t_ns, recorded.bins * 0.025)


def test_a_quad_has_no_third_layer() -> None:
    run = random_run(anode(QUAD), PERFECT, shots=20)
    assert set(run.edges.channel.tolist()) == {0, 1, 2, 3, 6}
    assert run.recorded.lost[:, 4:6].all()


def test_the_same_seed_gives_the_same_signals() -> None:
    known, signals = anode(), with_signals(missing=0.1, anode_jitter_ns=0.1, noise_per_shot=0.1)
    place = np.array([1.0]), np.array([2.0]), np.array([300.0])
    shot = np.zeros(1, np.int64)
    one, other = (
        record(known, signals, shot, place, 1, 1000.0, np.random.default_rng(4)) for _ in range(2)
    )
    assert np.array_equal(one.bins, other.bins)
