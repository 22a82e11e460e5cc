"""Draws of families that take long: a quadratic model proposes, the true posterior decides."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from molexa_core.base.belief import Belief
from molexa_core.base.matter.ions import parse_ion
from molexa_core.base.tables import FloatArray
from molexa_core.geometry.measures import pair_distances
from molexa_core.physics.family.family import Fragments
from molexa_core.pipeline.inversion.adaptive import adapt
from molexa_core.pipeline.inversion.emulated import Quadratic, settle_emulated
from molexa_core.pipeline.inversion.ensemble import settle
from molexa_core.pipeline.inversion.geometry_prior import GeometryPrior
from molexa_core.pipeline.inversion.problem import Problem, best_of, search
from molexa_core.pipeline.inversion.residuals import ChannelData, MeasuredChannel
from molexa_core.pipeline.inversion.weighted_draws import summary
from tests.fakes.scaled_rise import TAU_FS, ScaledRise


@dataclass(frozen=True)
class Slow(ScaledRise):
    """A family that says that it takes long."""

    @property
    def costly(self) -> bool:
        return True


IONS = Fragments.of([parse_ion(name) for name in ("O2+", "C2+", "S2+")])
PLACES: FloatArray = np.array([[[-2.2, 0.3, 0.0], [0.0, 0.0, 0.0], [2.9, 0.2, 0.1]]])


def bent() -> Problem:
    """Two channels of OCS; the rise is known to 20 per cent, momenta to 2 per cent."""
    family = Slow(model_error=0.02)
    belief = Belief.independent(["tau_fs"], [np.log(TAU_FS)], [0.2])
    channels = []
    for number, scale in enumerate((1.0, 1.5)):
        ions = Fragments(IONS.symbols, scale * IONS.charges, IONS.masses)
        p = family.explode(ions, PLACES, belief.mean[None])[0]
        error = 0.01 * float(np.sqrt((p**2).mean()))
        channel = MeasuredChannel(ions, p, error**2 * np.eye(9))
        channels.append(ChannelData(channel, gives_frame=number == 0))
    return Problem(family, belief, channels, GeometryPrior.of(IONS.symbols))


def test_a_quadratic_is_found_exactly() -> None:
    random = np.random.default_rng(2)
    z = random.standard_normal((400, 5)) @ random.standard_normal((5, 5)) + 3.0
    square = random.standard_normal((5, 5))
    values = np.stack([1.0 + z @ square[0], np.einsum("ni,ij,nj->n", z, square, z)], axis=1)
    model = Quadratic.fitted(z, values, random.random(400))
    away = 2.0 * random.standard_normal((20, 5))
    expected = np.stack(
        [1.0 + away @ square[0], np.einsum("ni,ij,nj->n", away, square, away)], axis=1
    )
    assert np.allclose(model(away), expected, atol=0.02 * np.abs(expected).max())


def test_terms_and_priors_are_the_posterior() -> None:
    problem = bent()
    random = np.random.default_rng(3)
    z = problem.join(PLACES + 0.1 * random.standard_normal((30, 3, 3)), np.zeros((30, 1)))
    found = problem.compare(z)
    height, chi_square = problem.log_posterior(z, found)
    terms = problem.terms(z, found)
    assert np.allclose(problem.height_of(z, terms), height)
    assert np.allclose(np.square(terms[:, :-1]).sum(axis=1), chi_square)


@pytest.mark.slow
def test_it_settles_where_chains_on_the_true_posterior_do() -> None:
    problem = bent()
    random = np.random.default_rng(5)
    begin = problem.join(PLACES, np.zeros((1, problem.free)))
    points, _ = search(problem, begin, stages=1)
    none: np.ndarray = np.zeros(len(points), dtype=np.int64)
    given, terms = adapt(problem, points, none, random, enough=1e9, rounds=2)
    moved = settle_emulated(problem, given, terms, random, 400.0)
    assert moved is not None
    draws, effective = moved
    assert effective > 200.0
    assert np.logaddexp.reduce(draws.log_weights) == pytest.approx(
        float(np.logaddexp.reduce(given.log_weights)), abs=1e-6
    )
    exact = settle(problem, given, random).draws
    both = []
    for one in (draws, exact):
        weights = np.exp(one.log_weights - one.log_weights.max())
        both.append(summary(pair_distances(problem.split(one.z)[0]), weights))
    width = both[1].half_width
    assert np.abs((both[0].median - both[1].median) / width).max() < 0.25
    assert np.allclose(both[0].half_width, width, rtol=0.2)


def test_of_starts_those_are_kept_that_explain_all_channels() -> None:
    problem = bent()
    random = np.random.default_rng(4)
    far = PLACES * (1.0 + random.random((12, 1, 1))) + random.standard_normal((12, 3, 3))
    every = np.concatenate([far, PLACES, PLACES + 0.001])
    kept = best_of(problem, problem.join(every, np.zeros((14, problem.free))), 3)
    assert len(kept) == 3
    assert np.allclose(problem.split(kept)[0][0], PLACES[0] - PLACES[0].mean(axis=0), atol=0.01)
    assert np.abs(kept[1] - kept[0]).max() > 0.05  # the same point is not kept twice
