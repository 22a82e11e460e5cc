"""The fit of a hit: against scipy, against closed forms, and for every set of signals."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.optimize import least_squares

from molexa_core.base.compiled import compiled
from molexa_core.base.settings.anode import Anode
from molexa_core.base.tables import Edges, FloatArray, IntArray
from molexa_core.detector import fit
from molexa_core.detector.anode_arrays import model_of
from molexa_core.detector.fit import MCP_WEIGHT
from molexa_core.detector.methods import method_table, quad_method_table
from molexa_core.detector.sorter import Sorter
from molexa_core.physics.virtual.wires import end_times
from tests.fakes.anodes import HEXANODE, PERFECT, QUAD, anode, run_of, with_signals

PLACE = (12.0, -7.0, 900.0)
SQRT3 = np.sqrt(3.0)


@compiled
def refine(model: FloatArray, time: FloatArray, chosen: IntArray, hit: FloatArray) -> float:
    """That of the sorter, for Python."""
    return fit.refine(model, time, chosen, hit)


@compiled
def solve(a: FloatArray, b: FloatArray) -> tuple[bool, float, float, float]:
    """That of the sorter, for Python."""
    return fit.solve(a[0, 0], a[0, 1], a[0, 2], a[1, 1], a[1, 2], a[2, 2], b[0], b[1], b[2])


def one_hit(known: Anode, present: tuple[int, ...]) -> Edges:
    """A shot with these signals of one exact hit."""
    x, y, t = (np.array([value]) for value in PLACE)
    times = end_times(known, PERFECT, x, y, t)[0]
    channel = np.array([known.signal_channels[s] for s in present], np.int16)
    return Edges(0, np.array([0, len(present)]), channel, times[list(present)])


def tables() -> Anode:
    """A hexanode with corrections of time sums and positions."""
    place = np.linspace(-40.0, 40.0, 9)
    values = {name: dict(HEXANODE[name]) for name in "uvw"}
    for k, name in enumerate("uvw"):
        values[name]["time_sum_correction"] = [[p, 0.002 * (k + 1) * p] for p in place]
        values[name]["position_correction"] = [[p, 0.3 * np.sin(p / 12.0 + k)] for p in place]
    return anode(HEXANODE | values)


@pytest.mark.parametrize("known", [anode(), anode(QUAD), tables()], ids=["hex", "quad", "tables"])
def test_every_set_of_signals_that_determines_a_hit_gives_it(known: Anode) -> None:
    signals = [s for s in range(7) if known.signal_channels[s] >= 0]
    methods = quad_method_table() if known.kind == "quad" else method_table()
    seen = set()
    for size in range(len(signals) + 1):
        for present in itertools.combinations(signals, size):
            ends = [sum(s // 2 == layer for s in present if s < 6) for layer in range(3)]
            method = methods[*ends, int(6 in present)]
            unexplained = len(signals) - size
            found = Sorter(known).sort(one_hit(known, present))
            if method < 0 or (size == 3 and unexplained > 2) or (size == 4 and unexplained > 3):
                assert found.n_hits == 0, present
                continue
            seen.add(int(method))
            assert found.n_hits == 1, present
            assert found.method[0] == method
            np.testing.assert_allclose(
                [found.x_mm[0], found.y_mm[0], found.t_ns[0]], PLACE, atol=2e-3
            )
    assert {0, 1, 2, 8, 14} <= seen or known.kind == "quad"


def test_signals_that_others_hide_do_not_count_as_missing() -> None:
    """Three signals are a hit where edges of the hit before can have hidden the other four."""
    known = anode()
    x, y, t = np.array([0.0, 10.0]), np.zeros(2), np.array([900.0, 910.0])
    run = run_of(known, PERFECT, np.zeros(2, np.int64), x, y, t, shots=1)
    lost = run.recorded.lost
    assert lost[1, 6]
    assert lost[1].sum() >= 3
    found = Sorter(known).sort(run.edges)
    assert found.n_hits == 2
    np.testing.assert_allclose(found.x_mm, x, atol=1e-5)
    np.testing.assert_allclose(found.t_ns, t, atol=1e-5)
    alone = run_of(known, PERFECT, np.zeros(1, np.int64), x[1:], y[1:], t[1:], shots=1)
    recorded = [known.signal_channels[s] for s in np.flatnonzero(~lost[1])]
    kept = np.isin(alone.edges.channel, recorded)
    offsets = np.array([0, kept.sum()])
    edges = Edges(0, offsets, alone.edges.channel[kept], alone.edges.t_ns[kept])
    assert Sorter(known).sort(edges).n_hits == (1 if kept.sum() > 3 else 0)


@pytest.mark.parametrize("layer", [0, 1, 2])
def test_a_missing_end_follows_from_the_time_sum(layer: int) -> None:
    """t2 = S - t1 + 2 t_mcp: the same hit comes out without the end, within the table's grid."""
    known = anode()
    whole = Sorter(known).sort(one_hit(known, (0, 1, 2, 3, 4, 5, 6)))
    present = tuple(s for s in range(7) if s != 2 * layer + 1)
    found = Sorter(known).sort(one_hit(known, present))
    assert found.method[0] == 2 + layer
    np.testing.assert_allclose([found.x_mm, found.y_mm], [whole.x_mm, whole.y_mm], atol=1e-6)


def test_a_missing_mcp_is_half_of_what_exceeds_the_time_sum() -> None:
    """t_mcp = (t1 + t2 - S) / 2 with S itself, not half the width of its window."""
    known = anode(QUAD)
    x, y, t = (np.array([value]) for value in PLACE)
    times = end_times(known, PERFECT, x, y, t)[0]
    by_hand = [
        0.5 * (times[2 * k] + times[2 * k + 1] - known.layers[k].time_sum_ns) for k in range(2)
    ]
    found = Sorter(known).sort(one_hit(known, (0, 1, 2, 3)))
    assert found.method[0] == 14
    assert found.t_ns[0] == pytest.approx(np.mean(by_hand), abs=1e-9)
    assert found.t_ns[0] == pytest.approx(PLACE[2], abs=1e-6)


def test_positions_of_pairs_of_layers() -> None:
    """(u, v), (u, w), (v, w) give x and y by the usual formulas; w with its offset."""
    known = anode()
    x, y, t = (np.array([value]) for value in PLACE)
    times = end_times(known, PERFECT, x, y, t)[0]
    u, v, w = (
        layer.scale_mm_per_ns * (times[2 * k] - times[2 * k + 1]) + layer.offset_mm
        for k, layer in enumerate(known.layers)
    )
    pairs = [(u, (u - 2 * v) / SQRT3), (u, (2 * w - u) / SQRT3), (v + w, (w - v) / SQRT3)]
    np.testing.assert_allclose(pairs, [PLACE[:2]] * 3, atol=1e-9)
    for missing in range(3):
        present = tuple(s for s in range(7) if s // 2 != missing)
        found = Sorter(known).sort(one_hit(known, present))
        assert found.method[0] == 5 + missing
        np.testing.assert_allclose([found.x_mm[0], found.y_mm[0]], PLACE[:2], atol=1e-6)


def test_half_differences_are_the_same_anode_with_twice_the_scales() -> None:
    values = {name: dict(HEXANODE[name]) for name in "uvw"}
    for layer in values.values():
        layer["scale_mm_per_ns"] *= 2.0
    half = anode(HEXANODE | values, scale_of="half_difference")
    np.testing.assert_allclose(model_of(half), model_of(anode()))


def test_the_fit_is_the_least_squares_solution() -> None:
    known = anode()
    m = model_of(known)
    random = np.random.default_rng(3)
    first_guess = np.array([10.0, -5.0, 899.0])
    for _ in range(20):
        x, y, t = (np.array([value]) for value in PLACE)
        signals = with_signals(anode_jitter_ns=0.3, mcp_jitter_ns=0.2)
        times = end_times(known, signals, x, y, t)[0] + 0.3 * random.normal(size=7)
        chosen = np.where(random.uniform(size=7) < 0.8, np.arange(7), -1)
        ends = [int((chosen[2 * k : 2 * k + 2] >= 0).sum()) for k in range(3)]
        if method_table()[*ends, int(chosen[6] >= 0)] < 0:
            continue
        present = chosen[chosen >= 0]
        weight = np.where(present == 6, np.sqrt(MCP_WEIGHT), 1.0)

        def residuals(hit: np.ndarray, present=present, weight=weight, times=times) -> np.ndarray:
            place = (np.array([value]) for value in hit)
            return weight * (times - end_times(known, PERFECT, *place)[0])[present]

        plain = least_squares(residuals, first_guess)
        hit = first_guess.copy()
        for _ in range(3):
            chi2 = refine(m, times, chosen, hit)
        np.testing.assert_allclose(hit, plain.x, atol=1e-5)
        assert chi2 == pytest.approx(2.0 * plain.cost / m[1] ** 2, rel=1e-6, abs=1e-9)


def test_the_small_solver_is_that_of_numpy() -> None:
    random = np.random.default_rng(1)
    for _ in range(20):
        root = random.normal(size=(3, 3))
        a = root @ root.T
        b = random.normal(size=3)
        expected = np.linalg.solve(a, b)
        regular, *found = solve(a, b)
        assert regular
        np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert not solve(np.zeros((3, 3)), np.ones(3))[0]
