"""Edges to hits: what is found, what is not, and that nothing depends on how it is asked."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from molexa_core.base.settings.anode import Anode
from molexa_core.base.settings.virtual import WireSignals
from molexa_core.base.tables import Edges, Hits, offsets_of
from molexa_core.detector.sorter import Sorter
from tests.fakes.anodes import (
    HEXANODE,
    PERFECT,
    QUAD,
    Run,
    anode,
    random_run,
    run_of,
    score,
    shuffled,
    with_signals,
)

DIFFICULT = WireSignals(missing=0.1)
"""10 % of the signals missing, and everything else as it usually is."""


def sort(known: Anode, edges: Edges) -> Hits:
    return Sorter(known).sort(edges)


def same(one: Hits, other: Hits) -> bool:
    return all(
        np.array_equal(getattr(one, name), getattr(other, name))
        for name in ("offsets", "x_mm", "y_mm", "t_ns", "method")
    )


def pair_run(distance: float, delay: float, signals: WireSignals, *, pairs: int = 1500) -> Run:
    """Two hits per shot, so far apart, anywhere on the plate and in any direction."""
    known = anode()
    random = np.random.default_rng(17)
    radius = 0.97 * known.mcp_radius_mm
    centre = random.uniform(-radius, radius, size=(8 * pairs, 2))
    angle = random.uniform(0.0, 2.0 * np.pi, size=8 * pairs)
    step = 0.5 * distance * np.column_stack([np.cos(angle), np.sin(angle)])
    both = np.stack([centre - step, centre + step], axis=1)
    both = both[(np.hypot(both[..., 0], both[..., 1]) < radius).all(axis=1)][:pairs]
    start = random.uniform(300.0, 4000.0, size=pairs)
    times = np.stack([start, start + delay], axis=1)
    shot = np.repeat(np.arange(pairs), 2)
    x, y = both[..., 0].ravel(), both[..., 1].ravel()
    return run_of(known, signals, shot, x, y, times.ravel(), shots=pairs)


def resolved(run: Run) -> float:
    """Share of shots in which both hits were found."""
    rows = score(run.hits, sort(anode(), run.edges)).pairs[:, 0]
    return float(np.mean(np.bincount(rows // 2, minlength=run.hits.n_shots) == 2))


@pytest.mark.parametrize("window_ns", [5000.0, 1000.0])
def test_three_hits_per_shot_with_a_tenth_of_the_signals_missing(window_ns: float) -> None:
    run = random_run(anode(), DIFFICULT, shots=3000, window_ns=window_ns)
    result = score(run.hits, sort(anode(), run.edges))
    assert result.found >= 0.98
    assert result.false <= 0.01
    assert result.position_rms_mm <= 0.2
    assert result.time_rms_ns <= 0.3


def test_two_hits_at_10_mm_and_10_ns_are_resolved_with_15_ns_of_dead_time() -> None:
    assert resolved(pair_run(10.0, 10.0, WireSignals(missing=0.0))) >= 0.99
    assert resolved(pair_run(10.0, 10.0, DIFFICULT)) >= 0.90


def test_hits_that_share_all_their_signals_are_one() -> None:
    run = pair_run(0.5, 1.0, with_signals(anode_jitter_ns=0.1), pairs=300)
    assert sort(anode(), run.edges).n_hits <= 1.02 * 300


def test_a_quad_finds_its_hits() -> None:
    known = anode(QUAD)
    run = random_run(known, WireSignals(missing=0.02), shots=2000)
    result = score(run.hits, sort(known, run.edges))
    assert result.found >= 0.98
    assert result.false <= 0.01
    assert result.position_rms_mm <= 0.2


def test_perfect_signals_give_the_hits_themselves() -> None:
    run = random_run(anode(), PERFECT, shots=500, per_shot=1)
    found = sort(anode(), run.edges)
    assert (found.method == 0).all()
    for name in ("x_mm", "y_mm", "t_ns"):
        np.testing.assert_allclose(getattr(found, name), getattr(run.hits, name), atol=2e-6)


def test_hits_do_not_depend_on_the_order_of_edges_or_on_chunks() -> None:
    run = random_run(anode(), DIFFICULT, shots=400, window_ns=600.0)
    whole = sort(anode(), run.edges)
    assert same(whole, sort(anode(), shuffled(run.edges, 5)))
    sorter = Sorter(anode())
    joined = Hits.concatenate([sorter.sort(chunk) for chunk in run.edges.in_chunks(37)])
    for name in ("x_mm", "y_mm", "t_ns", "method"):
        assert np.array_equal(getattr(joined, name), getattr(whole, name))
    counted = Sorter(anode())
    counted.sort(run.edges)
    assert sorter.counts.as_dict() == counted.counts.as_dict()


def test_a_shift_in_time_shifts_the_hits() -> None:
    run = random_run(anode(), DIFFICULT, shots=300, window_ns=900.0)
    moved = replace(run.edges, t_ns=run.edges.t_ns + 1024.0)
    one, other = sort(anode(), run.edges), sort(anode(), moved)
    assert np.array_equal(one.method, other.method)
    np.testing.assert_allclose(other.t_ns, one.t_ns + 1024.0, atol=1e-6)
    np.testing.assert_allclose(other.x_mm, one.x_mm, atol=1e-6)


def test_every_signal_is_used_once_and_counted() -> None:
    run = random_run(anode(), DIFFICULT, shots=800, window_ns=500.0)
    sorter = Sorter(anode())
    found = sorter.sort(run.edges)
    counts = sorter.counts
    assert counts.hits == found.n_hits
    assert counts.edges.sum() == run.edges.n_edges
    assert (counts.used <= counts.edges).all()
    assert (counts.used <= found.n_hits).all()
    assert np.array_equal(np.bincount(found.method, minlength=18), counts.methods)
    signals = counts.as_dict()["signals"]
    assert signals["u1"]["missing_fraction"] == pytest.approx(0.1, abs=0.08)
    shots = found.shot
    assert (np.diff(found.t_ns)[np.diff(shots) == 0] >= 0).all()


def test_hits_beyond_the_radius_are_not_accepted() -> None:
    run = random_run(anode(), PERFECT, shots=300, per_shot=1)
    small = anode(mcp_radius_mm=20.0)
    found = sort(small, run.edges)
    assert (np.hypot(found.x_mm, found.y_mm) <= 20.0).all()
    inside = np.hypot(run.hits.x_mm, run.hits.y_mm) < 19.9
    assert found.n_hits >= inside.sum()


def test_the_highest_accepted_method_cuts() -> None:
    run = random_run(anode(), DIFFICULT, shots=1500)
    everything = sort(anode(), run.edges)
    checked = sort(anode(max_method=10), run.edges)
    assert everything.method.max() > 10
    assert checked.method.max() <= 10
    assert checked.n_hits < everything.n_hits
    true = score(run.hits, checked)
    assert true.false <= 0.001


def test_swapped_ends_turn_a_layer_round() -> None:
    """A cable in the wrong place is a mirror image of that layer, and does not fit the others."""
    run = random_run(anode(), PERFECT, shots=300, per_shot=1)
    channels = HEXANODE["channels"] | {"u1": 1, "u2": 0}
    quad = anode(QUAD, channels={**QUAD["channels"], "u1": 1, "u2": 0})
    plain = random_run(anode(QUAD), PERFECT, shots=300, per_shot=1)
    found = sort(quad, plain.edges)
    np.testing.assert_allclose(found.x_mm, -plain.hits.x_mm, atol=1e-5)
    np.testing.assert_allclose(found.y_mm, plain.hits.y_mm, atol=1e-5)
    assert np.mean(sort(anode(channels=channels), run.edges).method == 0) < 0.1


def test_times_count_from_the_trigger_where_there_is_one() -> None:
    known = anode(channels=HEXANODE["channels"] | {"trigger": 7})
    run = random_run(anode(), PERFECT, shots=50, per_shot=1)
    n = run.edges.n_shots
    counts = run.edges.counts
    shot = np.concatenate([np.repeat(np.arange(n), counts), np.arange(n - 1)])
    channel = np.concatenate([run.edges.channel, np.full(n - 1, 7)])
    times = np.concatenate([run.edges.t_ns, 5.0 + np.arange(n - 1)])
    order = np.argsort(shot, kind="stable")
    offsets = offsets_of(np.bincount(shot, minlength=n))
    edges = Edges(0, offsets, channel[order].astype(np.int16), times[order])
    sorter = Sorter(known)
    found = sorter.sort(edges)
    np.testing.assert_allclose(found.t_ns, (run.hits.t_ns - 5.0 - np.arange(n))[: n - 1], atol=1e-6)
    assert sorter.counts.no_trigger == 1
    assert sorter.counts.other_edges == 0


def test_empty_runs_and_foreign_channels() -> None:
    sorter = Sorter(anode())
    nothing = sorter.sort(Edges(4, np.zeros(4, np.int64), np.empty(0, np.int16), np.empty(0)))
    assert (nothing.n_hits, nothing.n_shots, nothing.first_shot) == (0, 3, 4)
    foreign = Edges(0, np.array([0, 3]), np.array([9, 200, -3], np.int16), np.arange(3.0))
    assert sorter.sort(foreign).n_hits == 0
    assert sorter.counts.other_edges == 3


def test_a_flood_of_edges_ends_and_is_counted() -> None:
    """Noise on all channels: limits stop the search, and the shot is counted."""
    random = np.random.default_rng(2)
    channel = np.repeat(np.arange(7), 120).astype(np.int16)
    edges = Edges(0, np.array([0, 840]), channel, random.uniform(0.0, 600.0, size=840))
    sorter = Sorter(anode())
    sorter.sort(edges)
    assert sorter.counts.limited_shots == 1
    assert sorter.counts.as_dict()["shots_over_limit"] == 1


def test_tags_stay_with_their_shots() -> None:
    run = random_run(anode(), PERFECT, shots=5, per_shot=1)
    edges = replace(run.edges, first_shot=7, tags={"delay": np.arange(5.0)})
    found = sort(anode(), edges)
    assert found.first_shot == 7
    assert np.array_equal(found.tags["delay"], np.arange(5.0))


@pytest.mark.slow
def test_many_hits_per_shot() -> None:
    """As at a free-electron laser: 8 hits within 5 microseconds."""
    run = random_run(anode(), DIFFICULT, shots=4000, per_shot=8)
    result = score(run.hits, sort(anode(), run.edges))
    assert result.found >= 0.98
    assert result.false <= 0.01


@pytest.mark.parametrize("seed", range(5))
def test_whatever_the_edges_are_the_sorter_ends_with_numbers(seed: int) -> None:
    """Times of any size, repeated, not numbers; channels of any number."""
    random = np.random.default_rng(seed)
    n = 60
    t = random.choice([0.0, 1.0, 100.0, 1e3, 5e7, -5e7, 1e300, np.inf, -np.inf, np.nan], size=n)
    t += random.uniform(0.0, 200.0, size=n)
    channel = random.integers(-2, 9, size=n).astype(np.int16)
    edges = Edges(0, np.array([0, 20, 20, n]), channel, t)
    for known in (anode(), anode(QUAD)):
        found = sort(known, edges)
        assert found.n_shots == 3
        assert found.n_hits <= n // 3
        assert np.isfinite(found.x_mm).all()
        assert (np.hypot(found.x_mm, found.y_mm) <= known.mcp_radius_mm).all()
