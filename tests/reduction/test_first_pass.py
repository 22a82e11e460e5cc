"""The gate of channels of many ions among many hits, found in the first pass."""

from __future__ import annotations

import numpy as np
import pytest

from molexa_core.base.errors import ComputationError
from molexa_core.base.tables import Hits, offsets_of
from molexa_core.reduction.coincidences import Search, SumGate, Tally
from molexa_core.reduction.first_pass import FirstPass, with_odds
from molexa_core.reduction.gate import gate_around
from tests.fakes.root_runs import break_ups, fly, make_channel, make_setup

SETUP = make_setup()
ETHANOL = make_channel(("O+", 1), ("C+", 2), ("H+", 6), max_momentum=200.0)
CENTRE, SIGMA = np.array([3.0, -6.0, 12.0]), np.array([2.0, 3.0, 1.5])


def crowded(shots: int, share: float, seed: int) -> Hits:
    """Twenty ions of ethanol in each shot, of which a share holds a molecule's nine."""
    rng = np.random.default_rng(seed)
    ions = ETHANOL.wanted_ions * 3
    mass = np.array([ion.mass for ion in ions[:9]])
    p = rng.normal(0.0, 38.0, (shots, 27, 3))
    whole = rng.random(shots) < share
    molecule = break_ups(ions[:9], shots, rng, 38.0)
    total = CENTRE + rng.normal(0.0, 1.0, (shots, 1, 3)) * SIGMA
    molecule += total * (mass / mass.sum())[:, None]
    p[whole, :9] = molecule[whole]
    x, y, t = fly(p, ions, SETUP)
    kept = np.concatenate([np.arange(9), 9 + rng.permutation(18)[:11]])  # kinds of the other eleven
    x, y, t = (values[:, kept].ravel() for values in (x, y, t))
    return Hits(0, offsets_of(np.full(shots, 20)), x, y, t, np.zeros(len(t), np.int16))


def test_the_gate_of_nine_ions_among_twenty_hits() -> None:
    hits = crowded(1500, 0.4, seed=2)
    search = Search(ETHANOL, SETUP)
    assert np.median(search.combinations(hits)) > 5000
    first = FirstPass(search, np.zeros(3))
    first.add(hits)
    peaks = first.find(())
    assert "fewest combinations" in first.remark
    for axis, peak in enumerate(peaks):
        assert abs(peak.centre - CENTRE[axis]) < 5.0 * peak.centre_error + 0.1
        assert peak.sigma == pytest.approx(SIGMA[axis], rel=0.25)
    gate = with_odds(
        gate_around(peaks, sigmas=3.0, centre=None, half_width=None), peaks, first.sums
    )
    assert 0.02 < gate.odds < 5.0


def test_without_a_molecule_there_is_no_gate() -> None:
    first = FirstPass(Search(ETHANOL, SETUP), np.zeros(3))
    first.add(crowded(200, 0.0, seed=3))
    with pytest.raises(ComputationError, match="no peak|only"):
        first.find(())


def test_combinations_of_a_shot_are_counted_before_the_search() -> None:
    hits, search = crowded(5, 1.0, seed=1), Search(ETHANOL, SETUP)
    tally = Tally()
    search.find(hits, tally, SumGate(CENTRE, 3.0 * SIGMA))
    assert search.combinations(hits).sum() == tally.combinations
