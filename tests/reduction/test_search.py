"""The search against exhaustive enumeration in plain Python, symmetries, known truths."""

from __future__ import annotations

from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from molexa_core.base.compiled import compiled
from molexa_core.base.matter.ions import parse_ion
from molexa_core.base.settings import Channel
from molexa_core.base.tables import BoolArray, FloatArray, Hits, IntArray, offsets_of
from molexa_core.reduction import coincidences
from molexa_core.reduction.coincidences import Found, Search, SumGate, Tally
from molexa_core.reduction.combinations.selection import assign, masks_of
from molexa_core.reduction.combinations.shot import LEFT
from tests.fakes.root_runs import break_ups, fly, make_channel, make_setup

SETUP = make_setup()
ETHANOL = make_channel(("O+", 1), ("C+", 2), ("H+", 6), max_momentum=200.0)
CHANNELS = {
    "one kind": make_channel(("H+", 4)),
    "first half larger": make_channel(("H+", 4), ("O+", 1)),
    "windows that overlap": make_channel(("O+", 2), ("C+", 2), ("H+", 3), max_momentum=300.0),
    "same m/q": make_channel(("O+", 2), ("S2+", 2), max_momentum=150.0),
    "three kinds": make_channel(("C+", 2), ("H+", 4), ("O+", 1), max_momentum=200.0),
}


def gate_of(half: float, sigmas: float = 3.0) -> SumGate:
    """A gate of different half widths about a centre off zero."""
    width = half * np.array([1.0, 0.8, 1.3])
    return SumGate(np.array([1.0, -2.0, 0.5]), width, width / sigmas)


def shot_of(channel: Channel, others: list[int], rng: np.random.Generator) -> np.ndarray:
    """(3, hits) x, y, t of one molecule and of so many unrelated ions of each kind."""
    ions = channel.wanted_ions
    kinds = [parse_ion(entry.ion) for entry in channel.ions]
    more = tuple(ion for ion, n in zip(kinds, others, strict=True) for _ in range(n))
    momenta = [break_ups(ions, 1, rng, 30.0), rng.normal(0.0, 35.0, (1, len(more), 3))]
    return np.concatenate(
        [np.concatenate(fly(p, i, SETUP)) for p, i in zip(momenta, (ions, more), strict=True)],
        axis=1,
    )


def hits_of(shots: list[np.ndarray]) -> Hits:
    counts = np.array([shot.shape[1] for shot in shots])
    x, y, t = np.concatenate(shots, axis=1)
    return Hits(0, offsets_of(counts), x, y, t, np.zeros(len(t), np.int16))


def random_shots(channel: Channel, shots: int, hits: int, seed: int) -> Hits:
    """Shots of one molecule of the channel and unrelated ions of its kinds."""
    rng = np.random.default_rng(seed)
    entries = [entry.wanted for entry in channel.ions]
    extra = hits - sum(entries)
    share = np.array(entries) / sum(entries)
    return hits_of(
        [shot_of(channel, rng.multinomial(extra, share).tolist(), rng) for _ in range(shots)]
    )


def enumerated(hits: Hits, channel: Channel, gate: SumGate) -> dict[tuple[int, ...], float]:
    """Chi-square of every combination in the gate: one column for each ion, sorted like ions."""
    search = Search(channel, SETUP)
    every = np.arange(hits.n_hits)[:, None].repeat(len(search.ions), axis=1)
    momenta = search.momenta(hits, every)  # (hits, ions, 3): each hit as each ion
    names = [str(ion) for ion in search.ions]
    found = {}
    for shot in range(hits.n_shots):
        members = np.arange(hits.offsets[shot], hits.offsets[shot + 1])
        lists, columns = [], []
        for entry in channel.ions:
            column = names.index(str(parse_ion(entry.ion)))
            first, last = search.windows[entry.ion]
            good = (hits.t_ns[members] >= first) & (hits.t_ns[members] <= last)
            size = np.linalg.norm(momenta[members, column], axis=1)
            good &= size <= channel.gates.max_momentum
            able = members[good]
            able = able[np.argsort(hits.t_ns[able], kind="stable")]
            lists.append(list(combinations(able.tolist(), entry.wanted)))
            columns.append(column)
        for groups in product(*lists):
            flat = tuple(hit for group in groups for hit in group)
            if len(set(flat)) < len(flat):
                continue
            total = sum(
                momenta[list(group), column].sum(axis=0)
                for group, column in zip(groups, columns, strict=True)
            )
            apart = total - gate.centre
            if (np.abs(apart) <= gate.half_width).all():
                found[flat] = float(((apart / gate.deviation) ** 2).sum())
    return found


def as_dict(found: Found) -> dict[tuple[int, ...], float]:
    rows = [tuple(int(hit) for hit in row) for row in found.rows]
    assert len(set(rows)) == len(rows)
    return dict(zip(rows, found.chi_square.tolist(), strict=True))


@pytest.mark.parametrize("name", CHANNELS)
@pytest.mark.parametrize("hits", [8, 13])
def test_every_combination_in_the_gate_is_found_with_its_chi_square(name: str, hits: int) -> None:
    channel, gate = CHANNELS[name], gate_of(45.0)
    shots = random_shots(channel, 4, hits, seed=hits)
    found = as_dict(Search(channel, SETUP).solve(shots, Tally(), gate, every=True))
    expected = enumerated(shots, channel, gate)
    assert found.keys() == expected.keys()
    assert len(expected) > 3
    for row, chi_square in expected.items():
        assert found[row] == pytest.approx(chi_square, rel=1e-9, abs=1e-9)


def test_so_are_those_that_are_looked_up_in_a_grid() -> None:
    channel, gate = make_channel(("C+", 2), ("H+", 5), max_momentum=200.0), gate_of(6.0)
    shots = random_shots(channel, 3, 19, seed=3)
    found = as_dict(Search(channel, SETUP).solve(shots, Tally(), gate, every=True))
    expected = enumerated(shots, channel, gate)
    assert found.keys() == expected.keys()
    assert len(expected) >= 3
    assert all(found[row] == pytest.approx(expected[row], rel=1e-8, abs=1e-8) for row in found)


def test_so_are_those_whose_like_ions_stand_in_both_halves() -> None:
    channel, gate = make_channel(("H+", 8)), gate_of(4.0)
    shots = random_shots(channel, 2, 18, seed=4)
    found = as_dict(Search(channel, SETUP).solve(shots, Tally(), gate, every=True))
    expected = enumerated(shots, channel, gate)
    assert found.keys() == expected.keys()
    assert len(expected) >= 2


@pytest.mark.parametrize("name", ["windows that overlap", "three kinds"])
def test_tables_and_halves_give_the_same(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """To the last bit: the sums are added up in the same order."""
    channel, gate = CHANNELS[name], gate_of(10.0)
    shots = random_shots(channel, 10, 17, seed=8)
    search = Search(channel, SETUP)
    tallies = Tally(), Tally()
    by_tables = search.solve(shots, tallies[0], gate, every=True)

    def leaving(order: np.ndarray, *given: object) -> tuple[int, int]:
        counted, left = given[4], given[6]
        left[: len(order)] = order  # type: ignore[index]
        counted.counters[LEFT] = len(order)  # type: ignore[attr-defined]
        return len(order), 0

    monkeypatch.setattr(coincidences, "search_masked", leaving)
    by_halves = search.solve(shots, tallies[1], gate, every=True)
    assert len(by_tables) > 20
    for field in ("shot", "rows", "chi_square", "probability"):
        assert np.array_equal(getattr(by_tables, field), getattr(by_halves, field))
    for one, other in zip(*(tally.as_arrays().values() for tally in tallies), strict=True):
        assert np.array_equal(one, other)


@pytest.mark.parametrize("name", CHANNELS)
def test_combinations_beside_the_gate_are_those_of_displaced_gates(name: str) -> None:
    """Where nothing competes, a displaced box holds what a gate at its place would find."""
    channel, gate = CHANNELS[name], gate_of(12.0)
    shots = random_shots(channel, 12, 9, seed=2)
    search = Search(channel, SETUP)
    tally = Tally()
    search.find(shots, tally, gate)
    for box, shift in enumerate(gate.shifts):
        moved = SumGate(gate.centre + shift, gate.half_width, gate.sigma)
        there = search.solve(shots, Tally(), moved, every=True)
        assert tally.elsewhere[box] <= len(there)
        if np.unique(there.shot).size == len(there) and not tally.elsewhere[0]:
            assert tally.elsewhere[box] == len(there)


def relabelled(hits: Hits, seed: int) -> Hits:
    rng = np.random.default_rng(seed)
    order = np.lexsort((rng.random(hits.n_hits), hits.shot))
    return Hits(0, hits.offsets, hits.x_mm[order], hits.y_mm[order], hits.t_ns[order], hits.method)


@pytest.mark.parametrize("every", [False, True])
def test_the_order_of_the_hits_changes_nothing(every: bool) -> None:
    search, gate = Search(ETHANOL, SETUP), gate_of(9.0)
    shots = random_shots(ETHANOL, 40, 17, seed=5)
    moved = relabelled(shots, 6)
    one, two = (search.solve(run, Tally(), gate, every=every) for run in (shots, moved))
    assert len(one) >= 40
    np.testing.assert_array_equal(shots.t_ns[one.rows], moved.t_ns[two.rows])
    np.testing.assert_array_equal(one.chi_square, two.chi_square)
    np.testing.assert_array_equal(one.probability, two.probability)


def test_hits_that_are_no_candidates_change_nothing() -> None:
    search, gate = Search(ETHANOL, SETUP), gate_of(9.0)
    shots = random_shots(ETHANOL, 40, 17, seed=5)
    last = max(last for _, last in search.windows.values())
    per_shot, added = 17, 50
    columns = [values.reshape(-1, per_shot) for values in (shots.x_mm, shots.y_mm, shots.t_ns)]
    others = [np.full((40, added), value) for value in (1.0, 2.0, last + 10.0)]
    joined = [np.concatenate(pair, axis=1) for pair in zip(others, columns, strict=True)]
    more = Hits(
        0,
        offsets_of(np.full(40, per_shot + added)),
        *(values.ravel() for values in joined),
        np.zeros(40 * (per_shot + added), np.int16),
    )
    one, two = (search.solve(run, Tally(), gate) for run in (shots, more))
    np.testing.assert_array_equal(shots.t_ns[one.rows], more.t_ns[two.rows])
    np.testing.assert_array_equal(one.chi_square, two.chi_square)
    np.testing.assert_allclose(one.probability, two.probability, rtol=1e-12)


def test_eleven_ions_among_sixty_hits() -> None:
    """Pyridine: the true molecule is found in bounded time, whatever else is in the shot."""
    channel = make_channel(("N+", 1), ("C+", 5), ("H+", 5), max_momentum=150.0)
    shot = shot_of(channel, [3, 12, 18], np.random.default_rng(7))
    elsewhere = np.stack([np.linspace(-30, 30, 16), np.zeros(16), np.linspace(2e3, 4e3, 16)])
    hits = hits_of([np.concatenate([shot, elsewhere], axis=1)])
    assert hits.n_hits == 60
    tally = Tally()
    gate = SumGate(np.zeros(3), np.full(3, 0.3))
    found = Search(channel, SETUP).solve(hits, tally, gate, every=True)
    assert tally.combinations > 1e8
    assert (tally.crowded, tally.truncated) == (0, 0)
    assert set(range(11)) in [set(row) for row in found.rows.tolist()]
    best = found.rows[np.argmin(found.chi_square)]
    assert set(best.tolist()) == set(range(11))


def test_shots_that_would_take_too_long_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coincidences, "MOST_WORK", 2000.0)
    shots = random_shots(ETHANOL, 5, 19, seed=1)
    tally = Tally()
    assert len(Search(ETHANOL, SETUP).find(shots, tally, gate_of(9.0))[0]) == 0
    assert tally.crowded == 5


def test_with_more_candidates_than_room_the_best_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    shots = random_shots(ETHANOL, 3, 19, seed=8)
    search, gate = Search(ETHANOL, SETUP), gate_of(40.0)
    every = search.solve(shots, Tally(), gate, every=True)
    monkeypatch.setattr(coincidences, "MOST_CANDIDATES", 300)
    tally = Tally()
    few = search.solve(shots, tally, gate, every=True)
    assert tally.truncated == 3
    for shot in range(3):
        kept = np.sort(few.chi_square[few.shot == shot])
        assert 3 < len(kept) < 200
        best = np.sort(every.chi_square[every.shot == shot])[: len(kept)]
        np.testing.assert_array_equal(kept, best)


def best_set(rows: np.ndarray, odds: np.ndarray) -> float:
    """Largest sum of log(1 + odds) over sets of candidates without a common hit, exhaustively."""
    sets = [set(row) for row in rows.tolist()]
    best = 0.0
    for size in range(1, len(sets) + 1):
        for chosen in combinations(range(len(sets)), size):
            hits = [hit for one in chosen for hit in sets[one]]
            if len(hits) == len(set(hits)):
                best = max(best, float(np.log1p(np.exp(odds[list(chosen)])).sum()))
    return best


@compiled
def accept(
    order: IntArray, rows: IntArray, odds: FloatArray, masks: IntArray, accepted: BoolArray,
    probability: FloatArray,
) -> None:  # fmt: skip
    """`assign` for Python, with probabilities, where every hit has its own bit."""
    assign(order, rows, odds, masks, True, True, accepted, probability)


@compiled
def hits_as_bits(rows: IntArray) -> IntArray:
    """`masks_of` for Python, hits numbered from 0."""
    return masks_of(len(rows), rows, 0)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(4, 7)), min_size=1, max_size=9, unique=True),
    st.integers(0, 2**30),
)
def test_the_accepted_set_is_the_best_of_all(pairs: list[tuple[int, int]], seed: int) -> None:
    n = len(pairs)
    odds = np.sort(np.random.default_rng(seed).normal(0.0, 3.0, n))[::-1].copy()
    rows = np.column_stack([np.zeros(n, np.int64), np.array(pairs)])
    accepted, probability = np.zeros(n, np.bool_), np.zeros(n)
    order, masks = np.arange(n), hits_as_bits(rows)
    accept(order, rows, odds, masks, accepted, probability)
    taken = rows[accepted, 1:].ravel()
    assert len(taken) == len(set(taken.tolist()))
    value = np.log1p(np.exp(odds[accepted])).sum()
    assert value == pytest.approx(best_set(rows[:, 1:], odds), rel=1e-12)
    # probability: the sum over all sets that contain a candidate, over those that contain it or a
    # candidate that shares a hit with it
    weights: list[tuple[frozenset[int], float]] = []
    for size in range(n + 1):
        for chosen in combinations(range(n), size):
            hits = rows[list(chosen), 1:].ravel().tolist()
            if len(hits) == len(set(hits)):
                weights.append((frozenset(chosen), float(np.exp(odds[list(chosen)].sum()))))
    for one in range(n):
        near = {i for i in range(n) if set(rows[i, 1:]) & set(rows[one, 1:])}
        true = sum(weight for chosen, weight in weights if one in chosen)
        any_of = sum(weight for chosen, weight in weights if chosen & near)
        assert probability[one] == pytest.approx(true / any_of, rel=1e-9)


def test_one_candidate_does_not_take_the_hits_of_two() -> None:
    """The best one shares its hits with two others that are hardly worse."""
    rows = np.array([[0, 1, 11], [0, 1, 12], [0, 2, 11]])
    odds = np.array([3.0, 2.5, 2.4])
    accepted, probability = np.zeros(3, np.bool_), np.zeros(3)
    accept(np.arange(3), rows, odds, hits_as_bits(rows), accepted, probability)
    assert accepted.tolist() == [False, True, True]
    odds = np.array([3.0, -6.0, -6.0])  # two that are hardly credible do not outweigh it
    accept(np.arange(3), rows, odds, hits_as_bits(rows), accepted, probability)
    assert accepted.tolist() == [True, False, False]


def test_probabilities_are_those_of_the_truth() -> None:
    """Two ions of one m/q: of the coincidences of probability p, a share p has the true roles.

    The momenta fill a ball evenly, so that only their sum tells the roles.
    """
    channel = make_channel(("N+", 1), ("(N2)2+", 1), max_momentum=300.0)
    rng = np.random.default_rng(9)
    n, sigma = 60_000, np.array([6.0, 5.0, 7.0])
    size = 55.0 * np.cbrt(rng.random(n))
    direction = rng.normal(size=(n, 3))
    relative = size[:, None] * direction / np.linalg.norm(direction, axis=1, keepdims=True)
    total = rng.normal(0.0, 1.0, (n, 3)) * sigma
    momenta = np.stack([total / 3 + relative, 2 * total / 3 - relative], axis=1)
    hits = hits_of(list(np.stack(fly(momenta, channel.wanted_ions, SETUP)).transpose(1, 0, 2)))
    tally = Tally()
    gate = SumGate(np.zeros(3), 4.0 * sigma, sigma, odds=100.0)
    found = Search(channel, SETUP).solve(hits, tally, gate)
    right = found.rows[:, 0] % 2 == 0
    assert 300 < tally.ambiguous < 3000
    for low, high in ((0.0, 0.6), (0.6, 0.75), (0.75, 0.95)):
        these = (found.probability > low) & (found.probability <= high)
        expected = found.probability[these]
        error = np.sqrt((expected * (1.0 - expected)).sum())
        assert abs(right[these].sum() - expected.sum()) < 3.0 * error
    assert right[found.probability > 0.95].mean() > 0.99
