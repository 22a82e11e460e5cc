"""Several channels in the same shots: each hit in one explosion."""

from __future__ import annotations

import numpy as np
import pytest

from molexa_core.base.errors import ComputationError, UsageError
from molexa_core.base.tables import Hits
from molexa_core.pipeline.chain.reduce import reduce
from molexa_core.reduction.coincidences import Search, SumGate, Tally
from molexa_core.reduction.competition import Contest, compete
from tests.fakes.root_runs import make_channel, make_run, make_setup

SETUP = make_setup()
WATER = make_channel(("O+", 1), ("H+", 2), max_momentum=200.0)
HYDROXYL = make_channel(("OH+", 1), ("H+", 1), max_momentum=200.0)
SULPHUR = make_channel(("S2+", 1), ("C+", 1), max_momentum=200.0)
OXYGEN = make_channel(("O+", 1), ("C+", 1), max_momentum=200.0)
"""Two channels whose O+ and S2+ have one m/q: only the momentum sum tells which it was."""
SIGMA = np.array([2.0, 3.0, 2.5])


def together(one: Hits, other: Hits) -> tuple[Hits, np.ndarray]:
    """The hits of two runs of as many shots in the same shots; from which run each hit came."""
    shot = np.concatenate([one.shot, other.shot])
    order = np.argsort(shot, kind="stable")
    values = [
        np.concatenate([getattr(one, name), getattr(other, name)])[order] for name in one.VALUES
    ]
    source = np.repeat([0, 1], [one.n_hits, other.n_hits])[order]
    return Hits(0, one.offsets + other.offsets, *values), source


def overlapping(shots: int = 4000) -> tuple[Hits, np.ndarray]:
    recoil = tuple(SIGMA)
    runs = [
        make_run(ions, SETUP, shots=shots, per_shot=0.3, momentum=40.0, recoil=recoil, seed=seed)
        for ions, seed in ((["O+", "C+"], 1), (["S2+", "C+"], 2))
    ]
    return together(runs[0].hits, runs[1].hits)


def compare(hits: Hits, *, every: bool = False, odds: float = 20.0):
    searches = [Search(OXYGEN, SETUP), Search(SULPHUR, SETUP)]
    gates = [SumGate(np.zeros(3), 3.0 * SIGMA, SIGMA, odds=odds)] * 2
    contest, tallies = Contest(2), [Tally(), Tally()]
    return compete(hits, searches, gates, tallies, contest, every=every), contest, tallies


def test_no_hit_is_in_two_explosions() -> None:
    hits, _ = overlapping()
    (oxygen, sulphur), contest, tallies = compare(hits)
    used = np.concatenate([oxygen.rows.ravel(), sulphur.rows.ravel()])
    assert len(np.unique(used)) == len(used)
    assert contest.accepted.tolist() == [len(oxygen), len(sulphur)]
    assert [tally.found for tally in tallies] == [len(oxygen), len(sulphur)]
    every, _, _ = compare(hits, every=True)
    both = np.intersect1d(every[0].rows, every[1].rows)
    assert contest.claimed[0, 1] == contest.claimed[1, 0] == len(both) > 0
    assert "also claimed by channel b" in contest.remark(["a", "b"])


def test_ions_of_one_m_over_q_go_to_the_channel_they_came_from() -> None:
    hits, source = overlapping()
    (oxygen, sulphur), contest, _ = compare(hits)
    for number, found in enumerate((oxygen, sulphur)):
        right = (source[found.rows] == number).all(axis=1)
        assert right.mean() > 0.97
        assert len(found) > 800
        alone = Search((OXYGEN, SULPHUR)[number], SETUP).find(
            hits, Tally(), SumGate(np.zeros(3), 3.0 * SIGMA, SIGMA)
        )[1]
        wrong = (source[alone] != number).any(axis=1).sum()
        assert (~right).sum() < wrong  # fewer wrong ones than each channel by itself
    assert contest.lost.sum() > 0


def test_the_order_of_the_channels_changes_nothing() -> None:
    hits, _ = overlapping(1500)
    gates = [SumGate(np.zeros(3), 3.0 * SIGMA, SIGMA)] * 2
    searches = [Search(OXYGEN, SETUP), Search(SULPHUR, SETUP)]
    one = compete(hits, searches, gates, [Tally(), Tally()], Contest(2))
    two = compete(hits, searches[::-1], gates, [Tally(), Tally()], Contest(2))[::-1]
    for first, second in zip(one, two, strict=True):
        np.testing.assert_array_equal(first.rows, second.rows)
        np.testing.assert_allclose(first.probability, second.probability, rtol=1e-12)


def test_a_channel_without_rivals_in_the_data_is_left_as_it_is() -> None:
    run = make_run(
        ["O+", "H+", "H+"], SETUP, shots=800, per_shot=0.5, momentum=40.0, recoil=tuple(SIGMA)
    )
    gate = SumGate(np.zeros(3), 3.0 * SIGMA, SIGMA, odds=50.0)
    search = Search(WATER, SETUP)
    alone = search.find(run.hits, Tally(), gate)[1]
    rival = Search(make_channel(("N+", 2), ("C+", 1), max_momentum=60.0), SETUP)
    found, _ = compete(run.hits, [search, rival], [gate, gate], [Tally(), Tally()], Contest(2))
    np.testing.assert_array_equal(np.sort(found.rows, axis=0), np.sort(alone, axis=0))


def test_molecular_fragments_compete_as_well() -> None:
    """OH+ H+ beside O+ H+ H+: a proton goes to one of the two."""
    recoil = tuple(SIGMA)
    runs = [
        make_run(ions, SETUP, shots=1500, per_shot=0.3, momentum=40.0, recoil=recoil, seed=seed)
        for ions, seed in ((["O+", "H+", "H+"], 5), (["OH+", "H+"], 6))
    ]
    hits, source = together(runs[0].hits, runs[1].hits)
    gate = SumGate(np.zeros(3), 3.0 * SIGMA, SIGMA, odds=20.0)
    searches = [Search(WATER, SETUP), Search(HYDROXYL, SETUP)]
    water, hydroxyl = compete(hits, searches, [gate] * 2, [Tally(), Tally()], Contest(2))
    for number, found in enumerate((water, hydroxyl)):
        assert (source[found.rows] == number).all(axis=1).mean() > 0.97
        assert len(found) > 250
    assert not np.intersect1d(water.rows, hydroxyl.rows).size


def test_channels_without_a_gate_cannot_compete() -> None:
    hits, _ = overlapping(10)
    search = Search(OXYGEN, SETUP)
    with pytest.raises(UsageError, match="cannot compete"):
        compete(hits, [search], [None], [Tally()], Contest(1))


def test_reduce_gives_each_hit_to_one_channel_and_says_what_was_claimed_twice() -> None:
    hits, source = overlapping()
    result = reduce([hits], OXYGEN, SETUP, rivals=[SULPHUR])
    shot = result.table.tags["shot"]
    assert 1000 < len(shot) < 1400
    assert "also claimed by channel" in " ".join(result.summary.remarks)
    assert result.table.false is None
    probability = result.table.tags["probability"]
    assert ((probability > 0.0) & (probability <= 1.0)).all()
    own = np.bincount(hits.shot[source == 0], minlength=hits.n_shots)
    assert (own[shot] >= 2).mean() > 0.97
    ions = [SULPHUR.ions[0], SULPHUR.ions[1].model_copy(update={"detected": 0})]
    with pytest.raises(UsageError, match="cannot compete for hits"):
        reduce([hits], OXYGEN, SETUP, rivals=[SULPHUR.model_copy(update={"ions": tuple(ions)})])
    with pytest.raises(UsageError, match="no rival of itself"):
        reduce([hits], OXYGEN, SETUP, rivals=[OXYGEN.model_copy(update={"name": "again"})])
    with pytest.raises(UsageError, match="do not compete"):
        reduce([hits], OXYGEN, SETUP, rivals=[SULPHUR], mixing=True)


def test_all_solutions_have_their_probabilities_as_weights() -> None:
    channel = make_channel(("O+", 1), ("S2+", 1), max_momentum=200.0)
    run = make_run(
        ["O+", "S2+"], SETUP, shots=3000, per_shot=0.5, momentum=6.0, recoil=tuple(SIGMA)
    )
    best = reduce([run.hits], channel, SETUP, mixing=False)
    every = reduce([run.hits], channel, SETUP, solutions="all")
    assert len(every.table) > len(best.table)
    np.testing.assert_array_equal(every.table.weight, every.table.tags["probability"])
    assert "windows of O+ and S2+ overlap" in " ".join(best.summary.remarks)
    # two roles of the same two hits: one of them is true
    shots, count = np.unique(every.table.tags["shot"], return_counts=True)
    two = shots[(count == 2) & (np.bincount(run.hits.shot, minlength=3000)[shots] == 2)]
    weights = np.bincount(every.table.tags["shot"], every.table.weight, minlength=3000)
    assert len(two) > 50
    np.testing.assert_allclose(weights[two], 1.0, rtol=1e-9)


def test_a_single_ion_cannot_conserve_momentum() -> None:
    run = make_run(["O+", "H+", "H+"], SETUP, shots=50)
    with pytest.raises(ComputationError, match="whose momentum nothing balances"):
        reduce([run.hits], make_channel(("O+", 1)), SETUP)
