"""Truths drawn from what is believed lie where the posterior says, as often as it says."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import chisquare

from molexa_core.base.belief import Belief
from molexa_core.base.matter.ions import parse_ion
from molexa_core.geometry.measures import pair_distances
from molexa_core.physics.family.build_up_family import BUILD_UP_PRIOR, BuildUpFamily
from molexa_core.physics.family.family import ExplosionKnowledge, Fragments, Hypothesis
from molexa_core.pipeline.inversion.geometry_prior import GeometryPrior
from molexa_core.pipeline.inversion.posterior import MeasuredChannel, infer
from tests.fakes.scaled_rise import TAU_FS, ScaledRise


def test_a_branch_with_two_maxima_is_covered() -> None:
    """Two ions, slow and near or fast and far, on one curve: the far end holds most."""
    family = BuildUpFamily(window_spread=0.0, onset_spread=0.0, smallest_error=0.0, single=False)
    ions = Fragments.of([parse_ion(name) for name in ("C+", "O+")])
    prior, belief = GeometryPrior.of(ions.symbols), BUILD_UP_PRIOR
    parameters = belief.mean + belief.width * np.array([-1.06, 0.68, 2.11, -0.53])
    x = np.array([[[0.0, 0.0, 0.0], [4.8756, 0.0, 0.0]]])
    p = family.explode(ions, x, parameters[None])[0]
    sigma = 0.003 * float(np.sqrt((p**2).mean()))
    channel = MeasuredChannel(ions, p, sigma**2 * np.eye(6))
    known = ExplosionKnowledge((Hypothesis(family, belief),), "not known", "unknown")
    # The same by integration over window and screening, which are all that matters to two ions:
    # the distance that gives the momentum, and the slope of the momentum there.
    r = np.linspace(0.8, 6.5, 571)
    along = np.zeros((len(r), 2, 3))
    along[:, 1, 0] = r
    log_prior = prior.log_density(along) + 2.0 * np.log(r)
    size, density = np.linalg.norm(p[1] - p[0]) / 2.0, np.zeros(len(r))
    for first in np.linspace(-4.0, 4.0, 49):
        for last in np.linspace(-3.5, 3.5, 15):
            moved = belief.mean + belief.width * np.array([first, 0.0, 0.0, last])
            found = family.explode(ions, along, np.repeat(moved[None], len(r), axis=0))
            there = np.linalg.norm(found[:, 1] - found[:, 0], axis=1) / 2.0
            slope = np.abs(np.gradient(there, r))
            usable = np.isfinite(slope[:-1]) & (slope[:-1] > 0.0)
            cross = np.flatnonzero(usable & ((there[:-1] < size) != (there[1:] < size)))
            weight = np.exp(log_prior[cross] - 0.5 * first**2 - 0.5 * last**2) / slope[cross]
            np.add.at(density, cross, weight)
    held = np.cumsum(density) / density.sum()
    expected = np.interp([0.16, 0.5, 0.84], held, r)
    for seed in (0, 8):
        drawn = infer([channel], known, geometry=prior, seed=seed, draws=2000).distances()
        assert drawn.median[0] == pytest.approx(expected[1], abs=0.1)
        assert drawn.low[0] == pytest.approx(expected[0], abs=0.3)
        assert drawn.high[0] == pytest.approx(expected[2], abs=0.1)


CASES = 100
"""Enough for a slow test; `benchmarks/inversion_coverage.py` takes as many as are asked for."""


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("width", [0.0, 0.5])
def test_intervals_hold_what_they_say(width: float) -> None:
    """Molecules of two and three atoms, a rise that is known or hardly known."""
    family = ScaledRise()
    belief = Belief.independent(["tau_fs"], [np.log(TAU_FS)], [width])
    known = ExplosionKnowledge((Hypothesis(family, belief),), "a rise", "told")
    inside, ranks, p_values = [], [], []
    for seed in range(CASES):
        random = np.random.default_rng([seed, 3])
        names = ("C2+", "O2+") if seed % 2 else ("O2+", "C2+", "S2+")
        ions = Fragments.of([parse_ion(name) for name in names])
        prior = GeometryPrior.of(ions.symbols)
        x = prior.draw(random, 1)
        p = family.explode(ions, x, belief.draw(random, 1))[0]
        sigma = 0.003 * float(np.sqrt((p**2).mean()))
        p = p + sigma * random.standard_normal(p.shape)
        channel = MeasuredChannel(ions, p, sigma**2 * np.eye(p.size))
        found = infer([channel], known, geometry=prior, seed=seed, draws=400)
        truth, said = pair_distances(x)[0], found.distances()
        inside.append(((said.low < truth) & (truth < said.high)).mean())
        ranks.append(found.weights @ (pair_distances(found.positions)[:, 0] < truth[0]))
        p_values.append(found.p_value)
    # Three standard errors of as many independent shares.
    assert np.mean(inside) == pytest.approx(0.68, abs=3.0 * np.sqrt(0.68 * 0.32 / CASES))
    assert chisquare(np.histogram(ranks, np.linspace(0.0, 1.0, 11))[0]).pvalue > 0.001
    # One per cent of 100 is 1; 6 would be by chance in one of a thousand.
    assert np.sum(np.array(p_values) < 0.01) < 6


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_intervals_and_p_values_hold_with_errors_of_unknown_size() -> None:
    """Two ions in two channels; all momenta of a channel are off by more or less than claimed."""
    family = ScaledRise(model_error=0.03, freedom=2.75)
    cases, inside, p_values = 80, [], []
    for seed in range(cases):
        random = np.random.default_rng([seed, 4])
        channels = []
        prior = GeometryPrior.of(("C", "O"))
        x, at = prior.draw(random, 1), np.array([[np.log(TAU_FS)]])
        for names in (("C2+", "O2+"), ("C+", "O3+")):
            ions = Fragments.of([parse_ion(name) for name in names])
            p = family.explode(ions, x, at)[0]
            size = family.error_size.of_uniform(random.random(1))[0]
            off = np.sqrt(size * family.error(ions, x, at)[0, 0, 0])
            p = p + off * random.standard_normal(p.shape)
            sigma = 0.003 * float(np.sqrt((p**2).mean()))
            p = p + sigma * random.standard_normal(p.shape)
            channels.append(MeasuredChannel(ions, p, sigma**2 * np.eye(6)))
        belief = Belief.independent(["tau_fs"], [np.log(TAU_FS)], [0.0])
        known = ExplosionKnowledge((Hypothesis(family, belief),), "a rise", "told")
        found = infer(channels, known, geometry=prior, seed=seed, draws=400)
        said = found.distances()
        inside.append(said.low[0] < pair_distances(x)[0, 0] < said.high[0])
        p_values.append(found.p_value)
    assert np.mean(inside) == pytest.approx(0.68, abs=3.0 * np.sqrt(0.68 * 0.32 / cases))
    assert np.sum(np.array(p_values) < 0.01) < 5
    assert 0.2 < np.mean(np.array(p_values) < 0.5) < 0.8
