"""Charge combinations: exact sums, merging in any order, and combinations that did not occur."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from molexa_core.base.errors import ComputationError, NoEventsError, UsageError
from molexa_core.physics.mcmd import combinations
from molexa_core.physics.mcmd.combinations import UNIT, Combinations, combine, merge
from molexa_core.physics.mcmd.state import CLOSE, COUNTS, ENERGIES
from molexa_core.physics.mcmd.trajectories import Trajectories

SYMBOLS = ("O", "H", "H")


def random_trajectories(count: int, seed: int = 3, *, scale: float = 40.0) -> Trajectories:
    generator = np.random.default_rng(seed)
    charges = generator.integers(0, 3, size=(2, count, 3)).astype(np.int8)
    charges[..., 1:] = np.minimum(charges[..., 1:], 1)
    momenta = generator.normal(size=(2, count, 3, 3)) * scale + charges[..., None] * 20.0
    counts = generator.integers(0, 9, size=(2, count, COUNTS)).astype(np.int16)
    counts[..., CLOSE] = 0
    return Trajectories(
        symbols=SYMBOLS,
        mass=np.array([29000.0, 1837.0, 1837.0]),
        charges=charges,
        momenta=momenta.astype(np.float32),
        fluence_factor=np.ones((2, count), np.float32),
        counts=counts,
        energies=np.zeros((2, count, ENERGIES), np.float32),
    )


def part(whole: Trajectories, some: slice) -> Trajectories:
    return Trajectories(
        whole.symbols,
        whole.mass,
        *(
            getattr(whole, name)[:, some]
            for name in ("charges", "momenta", "fluence_factor", "counts", "energies")
        ),
    )


def same(one: Combinations, other: Combinations) -> bool:
    names = ("charges", "count", "sums", "squares", "charge_states", "ker", "photons")
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in names)


def test_means_and_covariances_are_those_of_the_trajectories() -> None:
    found = random_trajectories(3000)
    for geometry in (None, 1):
        some = slice(None) if geometry is None else slice(geometry, geometry + 1)
        charges = found.charges[some].reshape(-1, 3)
        momenta = found.momenta[some].reshape(-1, 3, 3).astype(float)
        result = combine(found, geometry)
        assert result.total == len(charges)
        for row in range(len(result)):
            mine = momenta[(charges == result.charges[row]).all(axis=1)]
            assert result.count[row] == len(mine)
            assert result.mean[row] == pytest.approx(mine.mean(axis=0), abs=UNIT)
            for ion in range(3):
                expected = np.cov(mine[:, ion].T, bias=True)
                assert result.covariance[row, ion] == pytest.approx(expected, abs=0.2)
            assert result.spread[row] == pytest.approx(mine.std(axis=0), abs=0.01)
        for atom, number in ((0, 8), (1, 1)):
            states = np.bincount(charges[:, atom], minlength=number + 1)
            assert result.charge_states[atom, : number + 1].tolist() == states.tolist()
        release = (momenta**2).sum(-1) / (2 * (found.mass - charges))
        histogram = np.histogram(release.sum(axis=1), bins=result.ker_edges)[0]
        assert np.abs(histogram - result.ker).sum() <= 2
        assert result.ker.sum() == result.photons.sum() == len(charges)


def test_the_most_frequent_comes_first_then_by_charges() -> None:
    result = combine(random_trajectories(500))
    keys = [(-int(n), tuple(q)) for n, q in zip(result.count, result.charges.tolist(), strict=True)]
    assert keys == sorted(keys)
    frequent = result.at_least(int(result.count[3]))
    assert len(frequent) >= 4
    assert frequent.count.min() >= result.count[3]
    assert frequent.charge_states is result.charge_states


def test_chunks_merge_exactly_in_any_order() -> None:
    found = random_trajectories(1000)
    whole = combine(found)
    cuts = [0, 1, 137, 600, 1000]
    parts = [combine(part(found, slice(a, b))) for a, b in pairwise(cuts)]
    assert same(whole, merge(parts))
    assert same(whole, merge(parts[::-1]))
    assert same(whole, merge([merge(parts[1:3]), parts[3], parts[0]]))
    assert same(merge([combine(found, 0), combine(found, 1)]), whole)


def test_a_combination_that_occurred_is_found() -> None:
    result = combine(random_trajectories(400))
    for row in range(len(result)):
        assert result.find(result.charges[row].tolist()) == row
    assert result.names(result.find([2, 1, 0])) == "O2+,H+,H"


def test_combinations_that_did_not_occur_name_the_nearest() -> None:
    result = combine(random_trajectories(400))
    row = result.find([2, 1, 1])
    with pytest.raises(NoEventsError) as caught:
        result.find([3, 1, 1])
    message = str(caught.value)
    assert "O3+,H+,H+ did not occur in 800 trajectories" in message
    assert f"the nearest: O2+,H+,H+ ({result.count[row]} times)" in message


@pytest.mark.parametrize(
    ("charges", "message"),
    [
        ([9, 1, 1], "O cannot have the charge 9. It has 8 electrons"),
        ([1, -1, 1], "H cannot have the charge -1"),
        ([1, 1], "2 charges for 3 atoms. Give one for each of O,H,H"),
    ],
)
def test_combinations_that_cannot_occur(charges: list[int], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        combine(random_trajectories(10)).find(charges)


def test_trajectories_that_mean_nothing_are_counted_and_left_out() -> None:
    found = random_trajectories(200)
    clean = part(found, slice(5, None))
    found.counts[:, 0, CLOSE] = 2
    found.momenta[0, 1, 2, 0] = np.nan
    found.momenta[:, 1:4, 1, 1] = -np.inf
    found.momenta[:, 4, 0, 2] = 371209.0
    assert found.lost.sum() == 10
    result = combine(found)
    assert same(result, combine(clean))
    assert (result.total, result.lost) == (390, 10)
    assert merge([result, combine(clean)]).lost == 10
    nothing = combine(part(found, slice(0, 5)))
    assert (nothing.total, nothing.lost, len(nothing)) == (0, 10, 0)
    assert same(merge([nothing, combine(clean)]), combine(clean))


def test_a_single_large_momentum_is_summed_exactly() -> None:
    found = random_trajectories(100_000)
    found.momenta[0, 7, 0, 0] = 16000.0
    result = combine(found, 0)
    assert result.lost == 0
    assert result.largest == 16000 * 1024
    row = result.find(found.charges[0, 7].tolist())
    mine = (found.charges[0] == result.charges[row]).all(axis=1)
    exact = sum(int(p) ** 2 for p in np.rint(found.momenta[0, mine, 0, 0] * 1024.0))
    assert result.squares[row, 0, 0] == exact


def test_different_molecules_and_sums_that_do_not_fit_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one = combine(random_trajectories(10))
    with pytest.raises(UsageError, match="at least one chunk"):
        merge([])
    other = random_trajectories(10)
    foreign = Trajectories(("S", "H", "H"), *list(vars(other).values())[1:])
    with pytest.raises(UsageError, match="different molecules"):
        merge([one, combine(foreign)])
    monkeypatch.setattr(combinations, "_LARGEST_SUM", 2.0**39)
    with pytest.raises(ComputationError, match="squared momenta of 20000 .* be summed exactly"):
        combine(random_trajectories(10_000))
    with pytest.raises(ComputationError, match="squared momenta of 2000 .* be summed exactly"):
        merge([combine(part(random_trajectories(1000), slice(a, a + 1))) for a in range(1000)])
