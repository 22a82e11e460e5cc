from __future__ import annotations

from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from molexa_core.base.compiled import compiled
from molexa_core.base.errors import UsageError
from molexa_core.base.matter.ions import parse_ion
from molexa_core.base.settings import Channel, Setup
from molexa_core.base.tables import FloatArray, Hits, IntArray, offsets_of
from molexa_core.reduction import coincidences
from molexa_core.reduction.coincidences import Search, SumGate, Tally
from molexa_core.reduction.combinations.selection import ranked
from molexa_core.reduction.laboratory import calibrate
from molexa_core.reduction.momentum import hit_momenta
from tests.fakes.root_runs import FakeRun, make_channel, make_run, make_setup

SETUP = make_setup()
WATER = make_channel(("O+", 1), ("H+", 2))
SAME_RATIO = make_channel(("N+", 1), ("(N2)2+", 1), max_momentum=100.0)
"""Both ions arrive in the same window: every hit can be either."""
CHANNELS = {"water": WATER, "same m/q": SAME_RATIO, "pairs": make_channel(("N+", 2), ("C+", 2))}
GATE = SumGate(centre=np.array([1.0, -2.0, 0.0]), half_width=np.array([60.0, 50.0, 40.0]))


def shots(*per_shot: list[tuple[float, float, float]]) -> Hits:
    hits = np.array([hit for shot in per_shot for hit in shot]).reshape(-1, 3)
    counts = [len(shot) for shot in per_shot]
    return Hits(
        first_shot=0,
        offsets=offsets_of(counts),
        x_mm=hits[:, 0],
        y_mm=hits[:, 1],
        t_ns=hits[:, 2],
        method=np.zeros(len(hits), np.int16),
    )


def possible(hits: Hits, channel: Channel, setup: Setup) -> dict[str, np.ndarray]:
    """Momentum of each hit as each ion, NaN where window or limit forbid it."""
    windows = Search(channel, setup).windows
    found = {}
    for entry in channel.ions:
        momenta = hit_momenta(
            hits.x_mm,
            hits.y_mm,
            hits.t_ns,
            parse_ion(entry.ion),
            setup.spectrometer.regions,
            jet_velocity_m_per_s=setup.jet.velocity_m_per_s,
        )
        first, last = windows[entry.ion]
        outside = (hits.t_ns < first) | (hits.t_ns > last)
        outside |= ~(np.linalg.norm(momenta, axis=1) <= channel.gates.max_momentum)
        momenta[outside] = np.nan
        found[entry.ion] = momenta
    return found


def brute_force(hits: Hits, channel: Channel, setup: Setup) -> list[tuple[int, frozenset[object]]]:
    """Every combination in plain Python: shot, and the hits of each kind of ion."""
    momenta = possible(hits, channel, setup)
    result = []
    for shot in range(hits.n_shots):
        members = range(hits.offsets[shot], hits.offsets[shot + 1])
        choices = [
            combinations(
                [hit for hit in members if np.isfinite(momenta[entry.ion][hit, 0])], entry.wanted
            )
            for entry in channel.ions
        ]
        for chosen in product(*choices):
            flat = [hit for group in chosen for hit in group]
            if len(set(flat)) == len(flat):
                kinds = zip(channel.ions, chosen, strict=True)
                result.append((shot, frozenset((e.ion, frozenset(group)) for e, group in kinds)))
    return result


def as_sets(
    channel: Channel, places: np.ndarray, rows: np.ndarray
) -> list[tuple[int, frozenset[object]]]:
    names = [str(ion) for ion in channel.wanted_ions]
    result = []
    for shot, row in zip(places, rows, strict=True):
        groups: dict[str, set[int]] = {}
        for name, hit in zip(names, row, strict=True):
            groups.setdefault(name, set()).add(int(hit))
        result.append((int(shot), frozenset((k, frozenset(v)) for k, v in groups.items())))
    return result


times = st.sampled_from([255.0, 300.0, 320.0, 1020.0, 1060.0, 1120.0, 1160.0, 1200.0, 1250.0])
hit = st.tuples(st.floats(-20, 20), st.floats(-20, 20), times)


@pytest.mark.parametrize("name", CHANNELS)
@settings(max_examples=40, deadline=None)
@given(data=st.lists(st.lists(hit, max_size=7), min_size=1, max_size=4))
def test_all_combinations_are_found_and_each_once(
    name: str, data: list[list[tuple[float, float, float]]]
) -> None:
    hits, channel = shots(*data), CHANNELS[name]
    tally = Tally()
    found = as_sets(channel, *Search(channel, SETUP).find(hits, tally, None))
    expected = brute_force(hits, channel, SETUP)
    assert len(found) == len(expected) == tally.combinations
    assert sorted(map(repr_of, found)) == sorted(map(repr_of, expected))


def repr_of(item: tuple[int, frozenset[object]]) -> str:
    return f"{item[0]} {sorted(map(str, item[1]))}"


@pytest.mark.parametrize("name", CHANNELS)
@settings(max_examples=30, deadline=None)
@given(data=st.lists(st.lists(hit, max_size=7), min_size=1, max_size=4))
def test_the_gate_keeps_the_nearest_of_those_that_share_hits(
    name: str, data: list[list[tuple[float, float, float]]]
) -> None:
    hits, channel = shots(*data), CHANNELS[name]
    search = Search(channel, SETUP)
    places, rows = search.find(hits, Tally(), None)
    sums = search.momenta(hits, rows).sum(axis=1)
    apart = ((sums - GATE.centre) / GATE.half_width) ** 2
    inside = np.flatnonzero((apart <= 1.0).all(axis=1))
    expected: list[tuple[int, tuple[int, ...]]] = []
    for row in sorted(inside, key=lambda row: apart[row].sum()):
        if not any(set(rows[row]) & set(taken) for _, taken in expected):
            expected.append((places[row], tuple(rows[row])))
    got_places, got_rows = search.find(hits, Tally(), GATE)
    got = [(place, tuple(row)) for place, row in zip(got_places, got_rows, strict=True)]
    assert sorted(got) == sorted(expected)


def test_every_molecule_of_a_shot_is_found() -> None:
    run = make_run(["O+", "H+", "H+"], SETUP, shots=400, per_shot=2.0, momentum=30.0)
    gate = SumGate(np.zeros(3), np.full(3, 1e-6))
    search = Search(WATER, SETUP)
    places, rows = search.find(run.hits, Tally(), gate)
    assert len(places) == len(run.shot) > 700
    assert (run.molecule[rows] == run.molecule[rows[:, :1]]).all()
    assert (run.ion[rows[:, 0]] == 0).all()
    np.testing.assert_allclose(
        search.momenta(run.hits, rows)[:, 0], run.momenta[run.molecule[rows[:, 0]], 0], atol=1e-8
    )


def test_like_ions_stand_in_order_of_time() -> None:
    run = make_run(["C+", *["F+"] * 4], SETUP, shots=300, momentum=40.0)
    search = Search(make_channel(("C+", 1), ("F+", 4)), SETUP)
    rows = search.find(run.hits, Tally(), SumGate(np.zeros(3), np.full(3, 1e-6)))[1]
    assert len(rows) > 50
    assert (np.diff(run.hits.t_ns[rows[:, 1:]], axis=1) > 0).all()


def shuffled_within_shots(run: FakeRun, seed: int) -> tuple[Hits, np.ndarray]:
    rng = np.random.default_rng(seed)
    order = np.lexsort((rng.random(run.hits.n_hits), run.hits.shot))
    h = run.hits
    moved = Hits(0, h.offsets, h.x_mm[order], h.y_mm[order], h.t_ns[order], h.method)
    return moved, order


def test_the_order_of_hits_in_the_file_does_not_matter() -> None:
    run = make_run(["O+", "H+", "H+"], SETUP, shots=300, per_shot=2.0, noise_per_shot=3.0)
    search, gate = Search(WATER, SETUP), SumGate(np.zeros(3), np.full(3, 40.0))
    first = search.momenta(run.hits, search.find(run.hits, Tally(), gate)[1])
    moved, _ = shuffled_within_shots(run, 5)
    second = search.momenta(moved, search.find(moved, Tally(), gate)[1])
    np.testing.assert_array_equal(first, second)


def test_crowded_shots_are_counted_and_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coincidences, "MOST_COMBINATIONS", 5)
    run = make_run(["O+", "H+", "H+"], SETUP, shots=200, per_shot=2.0, momentum=30.0)
    tally = Tally()
    places, _ = Search(WATER, SETUP).find(run.hits, tally, None)
    per_shot = np.bincount([shot for shot, _ in brute_force(run.hits, WATER, SETUP)], minlength=200)
    assert tally.crowded == (per_shot > 5).sum() > 0
    np.testing.assert_array_equal(
        np.bincount(places, minlength=200), np.where(per_shot > 5, 0, per_shot)
    )


def test_given_windows_are_used() -> None:
    values = WATER.model_dump()
    values["ions"][0]["window_ns"] = (1190.0, 1300.0)
    run = make_run(["O+", "H+", "H+"], SETUP, shots=500, momentum=25.0)
    search = Search(Channel.model_validate(values), SETUP)
    rows = search.find(run.hits, Tally(), SumGate(np.zeros(3), np.full(3, 1e-6)))[1]
    late = run.hits.t_ns[run.ion == 0] >= 1190.0
    assert search.windows["O+"] == (1190.0, 1300.0)
    assert len(rows) == late.sum() < len(run.shot)


def test_a_channel_that_asks_for_nothing_is_refused() -> None:
    values = {"name": "none", "ions": [{"ion": "H+", "detected": 0}]}
    with pytest.raises(UsageError, match="asks for no ion"):
        Search(Channel.model_validate(values), SETUP)


@compiled
def in_order(distances: FloatArray) -> IntArray:
    """`ranked` for Python."""
    return ranked(len(distances), distances)


@settings(deadline=None)  # the first call compiles
@given(st.lists(st.sampled_from([0.0, 0.5, 1.0, 1.5, 2.0, 7.0]), max_size=40))
def test_ranking_is_a_stable_sort(values: list[float]) -> None:
    distances = np.array(values, np.float64)
    np.testing.assert_array_equal(in_order(distances), np.argsort(distances, kind="stable"))


def test_calibration_undoes_what_the_detector_did(rng: np.random.Generator) -> None:
    run = make_run(["O+", "H+", "H+"], SETUP, shots=100)
    block = {
        "time_zero_ns": 37.5,
        "centre_x_mm": 2.0,
        "centre_y_mm": -3.0,
        "rotation_deg": 30.0,
        "scale_x": 1.25,
        "scale_y": -0.8,
    }
    setup = make_setup(calibration=block)
    x, y = run.hits.x_mm / 1.25, run.hits.y_mm / -0.8
    cos, sin = np.cos(np.deg2rad(30.0)), np.sin(np.deg2rad(30.0))
    written = Hits(
        0,
        run.hits.offsets,
        cos * x + sin * y + 2.0,
        -sin * x + cos * y - 3.0,
        run.hits.t_ns + 37.5,
        run.hits.method,
    )
    back, dropped = calibrate(written, setup)
    assert dropped.total == 0
    np.testing.assert_allclose(back.x_mm, run.hits.x_mm, atol=1e-12)
    np.testing.assert_allclose(back.y_mm, run.hits.y_mm, atol=1e-12)
    np.testing.assert_allclose(back.t_ns, run.hits.t_ns, atol=1e-12)


def test_hits_that_cannot_be_ions_are_counted_by_reason() -> None:
    setup = make_setup(calibration={"time_zero_ns": 10.0}, detector={"radius_mm": 40.0})
    nan, inf = float("nan"), float("inf")
    hits = shots(
        [(0, 0, 500), (nan, 0, 500), (0, inf, 500)],
        [],
        [(0, 0, nan), (0, 0, -1), (0, 0, 5), (30, 30, 500), (1, 2, 600)],
    )
    kept, dropped = calibrate(hits, setup)
    assert (dropped.not_a_number, dropped.negative_time) == (3, 1)
    assert (dropped.before_light, dropped.off_detector) == (1, 1)
    assert kept.offsets.tolist() == [0, 1, 1, 2]
    assert kept.t_ns.tolist() == [490.0, 590.0]
