from __future__ import annotations

import math
from collections import Counter
from itertools import permutations

import numpy as np
import pytest

from molexa_core.base.errors import ComputationError
from molexa_core.base.fields import TAG_DELAY, TAG_PULSE_ENERGY
from molexa_core.base.subtraction import Subtracted
from molexa_core.base.tables import Hits
from molexa_core.pipeline.chain.reduce import reduce
from molexa_core.reduction.coincidences import Search, SumGate
from molexa_core.reduction.laboratory import calibrate
from molexa_core.reduction.mixing.alike import alike_shots
from molexa_core.reduction.mixing.closed_form import distinct_mean, true_number
from molexa_core.reduction.mixing.mixer import Mixer
from molexa_core.reduction.mixing.partitions import partitions
from molexa_core.reduction.mixing.shot_candidates import Candidates
from tests.fakes.root_runs import FakeRun, make_channel, make_run, make_setup
from tests.reduction.test_reduce_stage import complete_molecules, true_molecules

SETUP = make_setup(detector={"dead_time_ns": 0})
WATER = make_channel(("O+", 1), ("H+", 2))
RECOIL = (8.0, 6.0, 4.0)


def crowded_run(seed: int, shots: int = 20_000, per_shot: float = 3.0) -> FakeRun:
    return make_run(
        ("O+", "H+", "H+"), SETUP, shots=shots, per_shot=per_shot, efficiency=0.35,
        noise_per_shot=2.0, recoil=RECOIL, seed=seed,
    )  # fmt: skip


@pytest.mark.parametrize("wanted", [(1, 1), (2,), (1, 2), (4,), (1, 4), (1, 1, 1), (2, 1, 2)])
def test_of_unrelated_ions_all_combinations_are_false(wanted: tuple[int, ...]) -> None:
    """A block of Poisson counts has prod 1/n! combinations; the partitions add up to the whole."""

    def number(block: tuple[int, ...]) -> float:
        return 1.0 / math.prod(math.factorial(count) for count in block)

    total = sum(
        part.coefficient * math.prod(number(block) for block in part.blocks)
        for part in partitions(wanted)
    )
    assert total == pytest.approx(number(wanted))


def test_three_ions_can_come_from_several_explosions_in_four_ways() -> None:
    found = {tuple(sorted(part.blocks)): part.coefficient for part in partitions((1, 1, 1))}
    a, b, c = (1, 0, 0), (0, 1, 0), (0, 0, 1)
    pairs = ((1, 1, 0), c), ((1, 0, 1), b), ((0, 1, 1), a)
    assert found == {tuple(sorted(pair)): 1.0 for pair in pairs} | {tuple(sorted((a, b, c))): -2.0}


def test_mean_over_different_shots_is_that_of_all_of_them() -> None:
    numbers = np.random.default_rng(1).integers(0, 4, (3, 7)).astype(np.float64)
    everyone = [
        numbers[0, i] * numbers[1, j] * numbers[2, k] for i, j, k in permutations(range(7), 3)
    ]
    assert distinct_mean(numbers) == pytest.approx(np.mean(everyone))


def test_subtracted_number_is_that_of_the_true_coincidences() -> None:
    """Three explosions per shot: more than a third of the coincidences in the gate are false."""
    pulls = []
    for seed in (1, 2):
        run = crowded_run(seed)
        result = reduce(run.chunks(7000), WATER, SETUP)
        false = result.summary.false
        assert false is not None
        assert false.found == len(result.table) == result.summary.coincidences
        assert result.table.false is not None
        assert false.false == pytest.approx(result.table.false.weight.sum())
        true = int((true_molecules(run, result.table) >= 0).sum())
        assert true < 0.8 * false.found
        pulls.append((false.true - true) / false.true_error)
        assert false.side_band is not None
        assert false.side_band_error is not None
        assert abs(false.side_band - 1.0) < 4.0 * false.side_band_error
        assert abs(false.purity - true / false.found) < 4.0 * false.purity_error
        for efficiency in false.efficiencies:
            assert abs(efficiency.efficiency - 0.35) < 4.0 * efficiency.error
            assert efficiency.error < 0.06
    assert np.abs(pulls).max() < 3.0


def test_draws_do_not_depend_on_how_the_run_is_cut() -> None:
    run = crowded_run(5, shots=3000)
    one, other = (reduce(run.chunks(n), WATER, SETUP).table for n in (3000, 700))
    assert one.false is not None
    assert other.false is not None
    np.testing.assert_array_equal(one.false.momentum, other.false.momentum)
    np.testing.assert_array_equal(one.false.weight, other.false.weight)
    assert one.false.source is not None
    different = [len(set(row)) for row in one.false.source.tolist()]
    assert min(different) >= 2


def test_like_ions_of_false_coincidences_are_in_order_of_time_of_flight() -> None:
    false = reduce(crowded_run(6, shots=4000).chunks(4000), WATER, SETUP).table.false
    assert false is not None
    assert false.detector is not None
    assert (np.diff(false.detector.tof_ns[:, 1:], axis=1) >= 0).all()


def test_mixing_agrees_with_the_closed_form_where_there_is_no_gate() -> None:
    run = crowded_run(7, shots=12_000, per_shot=1.0)
    hits = calibrate(run.hits, SETUP)[0]
    search = Search(WATER, SETUP)
    mixer = Mixer(search, SETUP, None)
    mixed = mixer.stretch(hits)
    true, variance = true_number(Candidates.of(hits, search), (1, 2))
    ones = np.ones(len(mixed.rows))
    found = Subtracted.of(mixed.shots, ones, mixed.false_shots, mixed.weight, hits.n_shots)
    sampling = float(np.square(mixed.weight).sum())
    assert found.variance[0] == pytest.approx(variance + sampling, rel=0.3)
    assert abs(found.total[0] - true) < 3.0 * math.sqrt(sampling)
    complete = complete_molecules(run, 120.0).sum()
    assert abs(true - complete) < 3.0 * math.sqrt(variance)


def test_a_varying_rate_is_seen_beside_the_gate_and_cured_by_a_tag() -> None:
    """Half of the shots have no light: explosions come together twice as often as in mixed ones."""
    runs = [
        crowded_run(seed, shots=12_000, per_shot=rate).hits for seed, rate in ((1, 2.0), (2, 0.0))
    ]
    parts = [[run.shots(i, i + 1) for run in runs] for i in range(12_000)]
    joined = Hits.concatenate([one for pair in parts for one in pair])
    blind = reduce(list(joined.in_chunks(6000)), WATER, SETUP)
    assert blind.summary.false is not None
    assert blind.summary.false.scale > 1.2
    assert any("rate varies" in text for text in blind.summary.warnings)
    energy = np.tile([100.0, 0.0], 12_000)
    told = Hits(
        0, joined.offsets, joined.x_mm, joined.y_mm, joined.t_ns, joined.method,
        {TAG_PULSE_ENERGY: energy},
    )  # fmt: skip
    seeing = reduce(list(told.in_chunks(6000)), WATER, SETUP)
    assert seeing.summary.false is not None
    assert seeing.summary.false.scale == 1.0


def test_shots_are_alike_in_delay_and_pulse_energy() -> None:
    energy = np.linspace(0.0, 1.0, 4096)
    delay = np.tile([0.0, 100.0, np.nan, 100.0], 1024)
    classes = alike_shots({TAG_PULSE_ENERGY: energy, TAG_DELAY: delay}, 4096)
    for number in np.unique(classes):
        inside = classes == number
        assert inside.sum() >= 200
        assert np.ptp(energy[inside]) < 0.6
        assert len(np.unique(delay[inside])) == 1


def test_dead_time_is_taken_into_account_only_if_the_run_has_it() -> None:
    stated = make_setup()
    assert stated.detector.dead_time_ns > 0
    run = crowded_run(8, shots=6000)
    result = reduce(run.chunks(6000), WATER, stated)
    assert result.summary.false is not None
    assert result.summary.false.dead_time_off
    assert any("dead time" in text for text in result.summary.remarks)


def test_without_alike_shots_it_is_said_or_refused() -> None:
    run = crowded_run(9, shots=2, per_shot=30.0)
    gated = make_channel(("O+", 1), ("H+", 2), sum_half_width=[40, 40, 40])
    result = reduce(run.chunks(2), gated, SETUP)
    assert result.summary.false is None
    assert any("nothing is subtracted" in text for text in result.summary.warnings)
    with pytest.raises(ComputationError, match="cannot be built by mixing"):
        reduce(run.chunks(2), gated, SETUP, mixing=True)


def expected_false(shots: Candidates, box: np.ndarray) -> tuple[float, float]:
    """Mean number of false combinations in the gate, from all choices of different shots.

    Also the sum of the sizes of its terms.
    """
    terms = []
    for part in partitions(shots.wanted):
        sums, used = np.zeros((1, 3)), np.empty((1, 0), np.int64)
        for block in part.blocks:
            found = shots.combinations(block, np.empty((0, 3)))
            new = shots.momentum[found.rows].sum(axis=1)
            one, other = np.nonzero((used[:, None, :] != found.shots[None, :, None]).all(axis=2))
            sums = sums[one] + new[other]
            used = np.column_stack([used[one], found.shots[other]])
        inside = (np.abs(sums - box[0]) <= box[1]).all(axis=1).sum()
        n, m = shots.n_shots, len(part.blocks)
        terms.append(part.coefficient * n / math.perm(n, m) * inside)
    return float(np.sum(terms)), float(np.abs(terms).sum())


@pytest.mark.parametrize("all_listed", [True, False])
@pytest.mark.parametrize(
    ("ions", "shots"), [("S+ H+ H+", 40), ("S+ H+ H+ H+", 16), ("S+ C+ H+ H+ H+", 7)]
)
def test_mixed_rows_stand_for_all_choices_of_shots(
    ions: str, shots: int, all_listed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is drawn and whatever is looked up, the mean is that of all choices."""
    if not all_listed:
        monkeypatch.setattr("molexa_core.reduction.mixing.closing_blocks._MOST_LISTED", 1)
        monkeypatch.setattr("molexa_core.reduction.mixing.closing_blocks._MOST_LOOKED_AT", 1)
    run = make_run(
        ions.split(), SETUP, shots=shots, per_shot=1.2, efficiency=0.8, noise_per_shot=0.5,
        recoil=RECOIL, seed=3,
    )  # fmt: skip
    hits = calibrate(run.hits, SETUP)[0]
    wanted = Counter(ions.split())
    search = Search(make_channel(*wanted.items()), SETUP)
    gate = SumGate(np.zeros(3), np.full(3, 50.0))
    box = np.array([gate.centre, gate.half_width])
    exact, size = expected_false(Candidates.of(hits, search), box)
    number, squares = [], []
    for seed in range(25):
        mixer = Mixer(search, SETUP, gate, seed)
        mixer.begin_at(100, None, dead_time_off=True)
        weight = mixer.stretch(hits).weight
        number.append(weight.sum())
        squares.append(np.square(weight).sum())
    error = math.sqrt(np.mean(squares) / len(number))
    assert error < 0.02 * size
    assert abs(np.mean(number) - exact) < 4.0 * error


def test_one_hit_that_can_be_two_ions_makes_no_combination_of_both() -> None:
    """Shots with a single heavy ion, at the m/q of two of the channel."""
    run = make_run(("O+", *4 * ("H+",)), SETUP, shots=60, per_shot=0.8, seed=2)
    single = [run.hits.shots(i, i + 1) for i in np.flatnonzero(run.hits.counts == 5)]
    hits = calibrate(Hits.concatenate(single), SETUP)[0]
    search = Search(make_channel(("O+", 1), ("S2+", 1), ("H+", 4)), SETUP)
    mixed = Mixer(search, SETUP, SumGate(np.zeros(3), np.full(3, 60.0))).stretch(hits)
    assert len(mixed.rows) == 0
    assert len(mixed.weight) > 0


@pytest.mark.slow
def test_rows_are_independent_draws() -> None:
    """The number of false ones scatters from seed to seed by the squares of the weights alone."""
    run = crowded_run(5, shots=1500)
    hits = calibrate(run.hits, SETUP)[0]
    search, gate = Search(WATER, SETUP), SumGate(np.zeros(3), np.array([12.0, 9.0, 6.0]))
    number, expected = [], []
    for seed in range(60):
        mixer = Mixer(search, SETUP, gate, seed)
        mixer.begin_at(100, None, dead_time_off=True)  # efficiencies are of the first stretches
        weight = mixer.stretch(hits).weight
        number.append(weight.sum())
        expected.append(np.square(weight).sum())
    assert np.var(number, ddof=1) / np.mean(expected) == pytest.approx(1.0, abs=0.5)


def test_too_many_ways_are_refused() -> None:
    many = make_channel(("O+", 2), ("N+", 2), ("C+", 2), ("H+", 6))
    with pytest.raises(ComputationError, match="different explosions"):
        Mixer(Search(many, SETUP), SETUP, None)


def test_variance_of_a_subtracted_number_is_that_of_repeated_runs() -> None:
    """Pairs of two unrelated Poisson counts, all mixed pairs: the number of true ones is zero."""
    rng = np.random.default_rng(3)
    shots, numbers, variances = 150, [], []
    for _ in range(120):
        a, b = rng.poisson(0.7, shots), rng.poisson(0.9, shots)
        real = np.repeat(np.arange(shots), a * b)
        i, j = np.nonzero((a[:, None] * b[None, :] > 0) & ~np.eye(shots, dtype=bool))
        chosen = rng.random(len(i)) < 0.2
        i, j = i[chosen], j[chosen]
        weight = a[i] * b[j] / (shots - 1) / 0.2
        found = Subtracted.of(real, np.ones(len(real)), np.stack([i, j], axis=1), weight, shots)
        numbers.append(found.total[0])
        variances.append(found.variance[0])
    assert abs(np.mean(numbers)) < 3.0 * np.std(numbers) / math.sqrt(120)
    assert np.mean(variances) / np.var(numbers) == pytest.approx(1.0, abs=0.4)


def test_events_of_a_single_ion_have_no_false_coincidences() -> None:
    run = make_run(("O+", "H+", "H+"), SETUP, shots=2000, per_shot=0.5, recoil=RECOIL)
    alone = make_channel(("O+", 1), sum_half_width=[50, 50, 50])
    assert reduce(run.chunks(2000), alone, SETUP, mixing=True).table.false is None


def test_exchanged_ions_of_one_molecule_are_no_excess_beside_the_gate() -> None:
    """Where windows overlap, hits in each other's roles lie beside the gate; rates are alike."""
    ions = ("O2+", "C2+", "S2+")
    run = make_run(
        ions, SETUP, shots=20_000, per_shot=0.4, efficiency=0.6, noise_per_shot=0.3,
        recoil=RECOIL, seed=5,
    )  # fmt: skip
    channel = make_channel(*((ion, 1) for ion in ions))
    gates = channel.gates.model_copy(update={"max_momentum": 450.0})
    reduction = reduce([run.hits], channel.model_copy(update={"gates": gates}), SETUP)
    found = reduction.summary
    hits = reduction.table.detector
    assert hits is not None
    sets = np.sort(hits.tof_ns + 1e-3 * hits.x_mm, axis=1)
    assert len(np.unique(sets, axis=0)) == len(sets), "the same hits in two roles"
    first, second = (found.windows_ns[ion] for ion in ("O2+", "C2+"))
    assert first[0] < second[1], "the windows overlap"
    assert found.false is not None
    assert found.false.scale == 1.0
    assert not any("rate varies" in text for text in found.warnings)


def test_hits_in_several_roles_count_once_in_shots_and_in_mixed_shots() -> None:
    """Of all ways in which three hits are in the gate, that with the best sum is the only one."""
    ions = ("O+", "N+", "H+")
    run = make_run(
        ions, SETUP, shots=2000, per_shot=1.5, efficiency=0.6, noise_per_shot=1.0,
        recoil=RECOIL, seed=8,
    )  # fmt: skip
    hits = calibrate(run.hits, SETUP)[0]
    search = Search(make_channel(*((ion, 1) for ion in ions)), SETUP)
    gate = SumGate(np.zeros(3), np.full(3, 60.0))
    momentum = [
        dict(zip(rows.tolist(), momenta, strict=True)) for rows, momenta in search.candidates(hits)
    ]
    mixed = Mixer(search, SETUP, gate).stretch(hits)
    ways = 0
    for rows in (mixed.rows, mixed.false_rows):
        assert len(rows) > 500
        for row in rows.tolist():
            off = {
                way: np.sum([momentum[kind][hit] for kind, hit in enumerate(way)], axis=0) / 60.0
                for way in permutations(row)
                if all(hit in momentum[kind] for kind, hit in enumerate(way))
            }
            inside = {way: np.square(one).sum() for way, one in off.items() if abs(one).max() <= 1}
            ways += len(inside) - 1
            assert min(inside, key=lambda way: inside[way]) == tuple(row)
    assert ways > 50, "no hit was in two roles"


def test_true_coincidences_beside_a_narrow_gate_are_no_excess() -> None:
    """A gate of less than one standard deviation: most of the peak lies beside it."""
    run = make_run(
        ("O+", "H+", "H+"), SETUP, shots=20_000, per_shot=2.0, efficiency=0.6, noise_per_shot=2.0,
        recoil=RECOIL, seed=4,
    )  # fmt: skip
    narrow = make_channel(
        ("O+", 1), ("H+", 2), sum_half_width=[6.0, 4.0, 3.0], sum_centre=[0.0, 0.0, 0.0]
    )
    false = reduce(run.chunks(20_000), narrow, SETUP).summary.false
    assert false is not None
    assert false.side_band is not None
    assert false.side_band_error is not None
    assert abs(false.side_band - 1.0) < 4.0 * false.side_band_error
    assert false.side_band_error < 0.2
    assert false.scale == 1.0
