"""Models of the posterior from draws: their integral, and that weights correct their draws."""

import numpy as np
import pytest

from molexa_core.base.belief import Belief, Coordinate
from molexa_core.physics.family.family import Fragments, Linearised
from molexa_core.pipeline.inversion.adaptive import adapt
from molexa_core.pipeline.inversion.emulated import Emulated, emulate
from molexa_core.pipeline.inversion.geometry_prior import GeometryPrior
from molexa_core.pipeline.inversion.problem import Problem, search
from molexa_core.pipeline.inversion.residuals import ChannelData, MeasuredChannel
from molexa_core.pipeline.inversion.weighted_draws import quantiles

FRAGMENTS = Fragments(("C", "O"), np.array([1.0, 1.0]), np.array([21874.0, 29156.0]))


class Springs:
    """Momenta along the bond that fall with its length, and an error that grows with it."""

    name = "springs"
    coordinates = (Coordinate("strength", "strength"),)

    def explode(self, fragments, positions, parameters):
        """(n, N, 3) momenta."""
        del fragments
        bond = positions[:, 0] - positions[:, 1]
        length = np.linalg.norm(bond, axis=1, keepdims=True)
        one = 100.0 * np.exp(parameters[:, :1]) * bond / length**1.5
        return np.stack([one, -one], axis=1)

    def linearise(self, fragments, positions, parameters):
        """The same with derivatives, by differences."""
        n, step = len(positions), 1e-6
        slopes = []
        for k in range(6):
            moved = positions.reshape(n, 6) + step * np.eye(6)[k]
            slopes.append(self.explode(fragments, moved.reshape(n, 2, 3), parameters))
        middle = self.explode(fragments, positions, parameters)
        by = np.stack([(one - middle).reshape(n, 6) / step for one in slopes], axis=2)
        return Linearised(middle, by, middle.reshape(n, 6, 1).copy())

    def error(self, fragments, positions, parameters):
        """(n, 3 N, 3 N) covariance."""
        momenta = self.explode(fragments, positions, parameters)
        length = np.linalg.norm(positions[:, 0] - positions[:, 1], axis=1)
        still = np.kron(np.eye(2) - 0.5, np.eye(3))
        size = (0.02 * length) ** 2 * np.square(momenta).mean(axis=(1, 2))
        return size[:, None, None] * still


@pytest.fixture
def problem():
    """One bond of about 2.1 bohr whose momenta are known to 5 per cent."""
    family = Springs()
    belief = Belief.independent(("strength",), (0.0,), (0.1,))
    p = family.explode(FRAGMENTS, np.array([[[2.1, 0, 0], [0, 0, 0]]]), np.zeros((1, 1)))[0]
    channel = MeasuredChannel(FRAGMENTS, p, np.eye(6) * 2.0)
    return Problem(
        family, belief, [ChannelData(channel, gives_frame=True)], GeometryPrior.of(("C", "O"))
    )


def maximum(problem):
    """(size) the maximum, from a start."""
    x = np.array([[[1.0, 0.1, 0.0], [-1.1, 0.0, 0.1]]])
    z, _ = search(problem, problem.join(x, np.zeros((1, 1))), stages=1)
    return z[0]


def evidence_on_a_grid(problem, z):
    """ln of the integral of the posterior, by many draws of a broad normal distribution."""
    random = np.random.default_rng(3)
    size = problem.size
    width = np.array([0.4, 0.08, 0.08, 1.1])
    # Along the bond, across it twice, and the strength.
    z = z + width * random.standard_normal((40_000, size))
    log = problem.log_posterior(z, problem.compare(z))[0]
    log -= -0.5 * np.square((z - z.mean(axis=0)) / width).sum(axis=1)
    log += np.log(width).sum() + 0.5 * size * np.log(2.0 * np.pi)
    return np.logaddexp.reduce(log) - np.log(len(z))


def first_draws(problem, z, count=2000):
    """Draws about the maximum, wider than the posterior, with their weights."""
    random = np.random.default_rng(1)
    width = np.array([0.4, 0.08, 0.08, 1.1])
    near = z + width * random.standard_normal((count, problem.size))
    height, parts = problem.in_parts(near, problem.compare(near))
    drawn = -0.5 * np.square((near - z) / width).sum(axis=1)
    return near, parts, height, height - drawn


def test_a_maximum_is_one_of_the_posterior_with_its_changing_error(problem) -> None:
    z = maximum(problem)
    best = problem.log_posterior(z[None], problem.compare(z[None]))[0][0]
    near = z + 0.02 * np.random.default_rng(0).standard_normal((300, problem.size))
    around = problem.log_posterior(near, problem.compare(near))[0]
    # Bonds count without their volume in the search, see `bond_residuals`: 3 ln d and no more.
    assert around.max() < best + 0.1


def test_model_gives_the_integral_and_draws_of_the_posterior(problem) -> None:
    z = maximum(problem)
    near, parts, height, weights = first_draws(problem, z)
    random = np.random.default_rng(2)
    origin = np.zeros(len(near), dtype=np.int64)
    found = emulate(problem, near, parts, height, weights, origin, np.ones(1), random, 2000)
    assert isinstance(found, Emulated)
    draws = found.draw(random, 2000)
    log = problem.log_posterior(draws, problem.compare(draws))[0]
    log = log - found.by_mode(draws, 1)[0]
    share = np.exp(log - log.max())
    assert share.sum() ** 2 / np.square(share).sum() > 0.5 * len(draws)
    total = np.logaddexp.reduce(log) - np.log(len(log))
    assert total == pytest.approx(evidence_on_a_grid(problem, z), abs=0.06)


def test_too_few_points_make_no_model(problem) -> None:
    z = maximum(problem)
    near, parts, height, weights = first_draws(problem, z, 10)
    origin = np.zeros(10, dtype=np.int64)
    random = np.random.default_rng(2)
    assert emulate(problem, near, parts, height, weights, origin, np.ones(1), random, 100) is None


def test_adaptive_draws_agree_with_a_plain_integral(problem) -> None:
    z = maximum(problem)
    random = np.random.default_rng(5)
    drawn = adapt(problem, z[None], np.zeros(1, dtype=np.int64), random, enough=600, rounds=8)
    total = np.logaddexp.reduce(drawn.log_weights)
    assert total == pytest.approx(evidence_on_a_grid(problem, z), abs=0.06)
    weights = np.exp(drawn.log_weights - total)
    x, _ = problem.split(drawn.z)
    length = np.linalg.norm(x[:, 0] - x[:, 1], axis=1)
    low, high = quantiles(length[:, None], weights, (0.16, 0.84))[:, 0]
    near, _, _, plain = first_draws(problem, z, 20_000)
    x, _ = problem.split(near)
    expected = quantiles(
        np.linalg.norm(x[:, 0] - x[:, 1], axis=1)[:, None],
        np.exp(plain - plain.max()),
        (0.16, 0.84),
    )[:, 0]
    assert (low, high) == pytest.approx(tuple(expected), abs=0.06)
