"""Draws of families that take long from few broad distributions, and starts that are dropped."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from molexa_core.base.belief import Belief
from molexa_core.base.matter.ions import parse_ion
from molexa_core.base.tables import FloatArray, IntArray
from molexa_core.geometry.measures import pair_distances
from molexa_core.physics.family.family import Fragments
from molexa_core.pipeline.inversion.adaptive import adapt
from molexa_core.pipeline.inversion.broad import broaden
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


@pytest.mark.slow
def test_broad_draws_are_where_chains_settle() -> None:
    problem = bent()
    random = np.random.default_rng(5)
    begin = problem.join(PLACES, np.zeros((1, problem.free)))
    points, _ = search(problem, begin, stages=1)
    none: IntArray = np.zeros(len(points), dtype=np.int64)
    given = adapt(problem, points, none, random, enough=1e9, rounds=2)
    draws, effective = broaden(problem, given, random, 1e9)
    assert effective > 300.0
    # The evidence is that of the first draws.
    assert np.logaddexp.reduce(draws.log_weights) == pytest.approx(
        float(np.logaddexp.reduce(given.log_weights)), abs=0.3
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
