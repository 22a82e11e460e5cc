"""The posterior of geometry and explosion against integrals, linear limits and known truths."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from molexa_core.base.belief import Belief
from molexa_core.base.errors import UsageError
from molexa_core.base.mathematics.rotations import rotations_of
from molexa_core.base.matter.ions import parse_ion
from molexa_core.base.tables import FloatArray
from molexa_core.geometry.measures import pair_distances
from molexa_core.physics.family.build_up_family import BUILD_UP_PRIOR, BuildUpFamily
from molexa_core.physics.family.family import (
    ExplosionKnowledge,
    Family,
    Fragments,
    Hypothesis,
)
from molexa_core.pipeline.inversion import posterior
from molexa_core.pipeline.inversion.geometry_prior import GeometryPrior
from molexa_core.pipeline.inversion.misspecification import misfit_at
from molexa_core.pipeline.inversion.posterior import MeasuredChannel, Posterior, infer
from molexa_core.pipeline.inversion.problem import Problem, search
from molexa_core.pipeline.inversion.residuals import ChannelData
from molexa_core.pipeline.inversion.sampling import Draws, anchor_at, root_of_square
from tests.fakes.scaled_rise import TAU_FS, ScaledRise

OCS = np.array([[-2.2, 0.3, 0.0], [0.0, -0.2, 0.0], [2.95, 0.0, 0.0]])


def fragments(*names: str) -> Fragments:
    return Fragments.of([parse_ion(name) for name in names])


def measured(
    family: Family,
    ions: Fragments,
    x: FloatArray,
    tau_fs: float,
    *,
    error: float = 0.0,
    seed: int = 0,
    turned: bool = False,
) -> MeasuredChannel:
    """Momenta of a geometry with errors of this share of their rms."""
    random = np.random.default_rng(seed)
    parameters = np.zeros((1, len(family.coordinates)))
    parameters[0, 0] = np.log(tau_fs)
    p = family.explode(ions, x[None], parameters)[0]
    sigma = error * float(np.sqrt((p**2).mean()))
    p = p + sigma * random.standard_normal(p.shape)
    if turned:
        p = p @ rotations_of(random.standard_normal((4, 1)))[0].T
    return MeasuredChannel(ions, p, sigma**2 * np.eye(p.size))


def knowing(tau_fs: float, width: float, family: Family | None = None) -> ExplosionKnowledge:
    belief = Belief.independent(["tau_fs"], [np.log(tau_fs)], [width])
    return ExplosionKnowledge((Hypothesis(family or ScaledRise(), belief),), "a rise", "told")


def pair_integral(
    channels: Sequence[MeasuredChannel], tau_fs: float, width: float, prior: GeometryPrior
) -> tuple[float, float, float]:
    """Mean, standard deviation and evidence of a diatomic by integration over r and tau."""
    family = ScaledRise()
    r, u = np.linspace(0.8, 8.0, 721), np.linspace(-4.5, 4.5, 91)
    x = np.zeros((len(r), 2, 3))
    x[:, 1, 0] = r
    log_like = np.zeros((len(u), len(r)))
    for row, value in enumerate(u):
        parameters = np.full((len(r), 1), np.log(tau_fs) + width * value)
        for channel in channels:
            p = np.linalg.norm(family.explode(channel.fragments, x, parameters)[:, 1], axis=1)
            relative = channel.momenta[1] - channel.momenta[0]
            size = np.linalg.norm(relative) / 2.0
            variance = channel.covariance[0, 0] / 2.0
            log_like[row] -= (p - size) ** 2 / (2.0 * variance) + 0.5 * np.log(
                2.0 * np.pi * 2.0 * variance
            )
    log_prior = prior.log_density(x) + np.log(4.0 * np.pi * r**2)
    density = np.exp(log_like + log_prior - 0.5 * u[:, None] ** 2 - 0.5 * np.log(2.0 * np.pi))
    over_r = density.sum(axis=0)
    total = over_r.sum() * (r[1] - r[0]) * (u[1] - u[0])
    mean = (over_r * r).sum() / over_r.sum()
    spread = np.sqrt((over_r * (r - mean) ** 2).sum() / over_r.sum())
    return float(mean), float(spread), float(total)


def test_two_atoms_with_a_broad_rise_are_as_the_integral_says() -> None:
    """Long and curved: r follows tau along a line that the momenta make thin."""
    ions, prior = fragments("C2+", "O2+"), GeometryPrior.of(("C", "O"))
    x = np.array([[0.0, 0.0, 0.0], [2.3, 0.0, 0.0]])
    channel = measured(ScaledRise(), ions, x, 60.0, error=0.02, seed=1)
    for width in (0.5, 1.0):
        found = infer([channel], knowing(TAU_FS, width), geometry=prior, draws=2000)
        mean, spread, _ = pair_integral([channel], TAU_FS, width, prior)
        r = pair_distances(found.positions)[:, 0]
        error = spread / np.sqrt(found.effective_samples)
        assert found.effective_samples > 500
        assert found.weights @ r == pytest.approx(mean, abs=4.0 * error)
        there = np.sqrt(found.weights @ (r - found.weights @ r) ** 2)
        assert there == pytest.approx(spread, rel=0.1)


def test_hypotheses_are_weighed_by_their_evidence() -> None:
    ions, prior = fragments("C2+", "O2+"), GeometryPrior.of(("C", "O"))
    x = np.array([[0.0, 0.0, 0.0], [2.1, 0.0, 0.0]])
    channel = measured(ScaledRise(), ions, x, 20.0, error=0.02, seed=2)
    slow, fast = 40.0, 20.0
    both = ExplosionKnowledge(
        (
            Hypothesis(ScaledRise(), Belief.independent(["tau_fs"], [np.log(slow)], [0.2]), 0.25),
            Hypothesis(ScaledRise(), Belief.independent(["tau_fs"], [np.log(fast)], [0.4]), 0.75),
        ),
        "slow or fast",
        "told",
    )
    found = infer([channel], both, geometry=prior, draws=3000)
    expected = np.array(
        [
            0.25 * pair_integral([channel], slow, 0.2, prior)[2],
            0.75 * pair_integral([channel], fast, 0.4, prior)[2],
        ]
    )
    shares = np.bincount(found.hypothesis, weights=found.weights, minlength=2)
    assert shares == pytest.approx(expected / expected.sum(), abs=0.03)
    assert sum(mode.share for mode in found.modes) == pytest.approx(1.0)
    difference = found.log_evidences[0] - found.log_evidences[1]
    assert difference == pytest.approx(np.log(expected[0] / 0.25 / (expected[1] / 0.75)), abs=0.1)


def test_small_errors_with_everything_known_give_the_linear_covariance() -> None:
    ions, family = fragments("O2+", "C2+", "S2+"), ScaledRise()
    x = OCS - OCS.mean(axis=0)
    channel = measured(family, ions, x, TAU_FS, error=1e-4)
    wide = GeometryPrior.of(ions.symbols, width=3.0)
    found = infer([channel], knowing(TAU_FS, 0.0), geometry=wide, starts=x[None], draws=2000)
    change = family.linearise(ions, x[None], np.full((1, 1), np.log(TAU_FS))).by_positions[0]
    i, j = np.triu_indices(3, k=1)
    direction = np.zeros((3, 9))
    for row, (one, two) in enumerate(zip(i, j, strict=True)):
        way = (x[one] - x[two]) / np.linalg.norm(x[one] - x[two])
        direction[row, 3 * one : 3 * one + 3], direction[row, 3 * two : 3 * two + 3] = way, -way
    by_momenta = direction @ np.linalg.pinv(change, rcond=1e-8)
    expected = np.sqrt(np.diag(by_momenta @ by_momenta.T) * channel.covariance[0, 0])
    near = found.mode == int(np.argmin([np.abs(m.positions - x).max() for m in found.modes]))
    share = found.weights[near] / found.weights[near].sum()
    r = pair_distances(found.positions[near])
    spread = np.sqrt(share @ (r - share @ r) ** 2)
    assert spread == pytest.approx(expected, rel=0.1)


def test_exact_momenta_give_the_structure_and_its_twins_exactly() -> None:
    """Every mode explains the momenta, and the structure that exploded is among them."""
    family, ions = ScaledRise(), fragments("O2+", "C2+", "S2+")
    x = np.array([[-2.09, 0.14, 2.01], [0.24, 0.52, 0.07], [1.85, -0.66, -2.08]])
    channel = measured(family, ions, x, TAU_FS)
    found = infer([channel], knowing(TAU_FS, 0.0), geometry=GeometryPrior.of(ions.symbols))
    truth = pair_distances(x)
    nearest = min(found.modes, key=lambda m: np.abs(pair_distances(m.positions) - truth).max())
    assert pair_distances(nearest.positions) == pytest.approx(truth, abs=1e-4)
    assert nearest.positions == pytest.approx(x, abs=1e-3)
    assert len(found.modes) > 1
    parameters = np.full((len(found.modes), 1), np.log(TAU_FS))
    p = family.explode(ions, np.stack([m.positions for m in found.modes]), parameters)
    assert np.abs(p - channel.momenta).max() < 1e-4 * np.abs(channel.momenta).max()
    assert max(m.closure for m in found.modes) < 1e-4


def test_the_frames_of_the_channels_do_not_matter() -> None:
    family = ScaledRise()
    x = np.array([[0.1, 0.2, 0.0], [2.1, 0.0, 0.4], [-0.8, 1.6, 0.3], [-0.7, -1.5, -0.9]])
    prior = GeometryPrior.of(("C", "O", "H", "H"))
    every = [fragments("C2+", "O2+", "H+", "H+"), fragments("C3+", "O2+", "H+", "H+")]
    plain = [measured(family, one, x, 40.0, error=0.003, seed=n) for n, one in enumerate(every)]
    turned = [
        measured(family, one, x, 40.0, error=0.003, seed=n, turned=n == 1)
        for n, one in enumerate(every)
    ]
    results = [
        infer(one, knowing(TAU_FS, 0.3), geometry=prior, draws=1500).distances()
        for one in (plain, turned)
    ]
    scatter = 0.15 * results[0].half_width
    assert (np.abs(results[0].mean - results[1].mean) < 2.0 * scatter).all()
    assert results[0].half_width == pytest.approx(results[1].half_width, rel=0.2)


def test_several_channels_fix_what_one_leaves_open() -> None:
    family = ScaledRise()
    x = np.array([[0.0, 0.0, 0.0], [2.2, 0.0, 0.0]])
    prior = GeometryPrior.of(("C", "O"))
    channels = [
        measured(family, fragments(*ions), x, 60.0, error=0.003, seed=n, turned=True)
        for n, ions in enumerate((("C+", "O+"), ("C2+", "O2+"), ("C2+", "O4+")))
    ]
    widths = [
        infer(channels[:n], knowing(TAU_FS, 0.5), geometry=prior).distances().half_width[0]
        for n in (1, 3)
    ]
    assert widths[1] < 0.7 * widths[0]
    joint = infer(channels, knowing(TAU_FS, 0.5), geometry=prior)
    assert abs(joint.distances().mean[0] - 2.2) < 3.0 * widths[1]
    assert joint.p_value > 0.001
    assert [one.shape for one in joint.residuals] == [(2, 3)] * 3


def test_a_wrong_explosion_is_noticed() -> None:
    family = ScaledRise()
    x = np.array([[0.0, 0.0, 0.0], [2.2, 0.0, 0.0]])
    channels = [
        measured(family, fragments(*ions), x, 120.0, error=0.003, seed=n)
        for n, ions in enumerate((("C+", "O+"), ("C2+", "O2+"), ("C3+", "O4+")))
    ]
    wrong = infer(channels, knowing(30.0, 0.05), geometry=GeometryPrior.of(("C", "O")))
    assert wrong.p_value < 1e-4
    assert wrong.misfit.pulls[0] > 2.0


def test_the_ion_that_does_not_fit_is_named() -> None:
    family = ScaledRise()
    x = np.array([[0.1, 0.2, 0.0], [2.1, 0.0, 0.4], [-0.8, 1.6, 0.3], [-0.7, -1.5, -0.9]])
    channels = [
        measured(family, fragments(*ions), x, 45.0, error=0.003, seed=n)
        for n, ions in enumerate(
            (("C2+", "O2+", "H+", "H+"), ("C3+", "O2+", "H+", "H+"), ("C3+", "O3+", "H+", "H+"))
        )
    ]
    push = np.array([0.0, 0.0, 12.0])
    p = channels[1].momenta.copy()
    p[1] += push
    spoiled = MeasuredChannel(channels[1].fragments, p, channels[1].covariance)
    known = knowing(TAU_FS, 0.3)
    prior = GeometryPrior.of(("C", "O", "H", "H"))
    fine = infer(channels, known, geometry=prior, draws=300)
    bad = infer([channels[0], spoiled, channels[2]], known, geometry=prior, draws=300)
    assert fine.p_value > 0.01 > bad.p_value
    assert (bad.misfit.channel, bad.misfit.ion) == (1, 1)
    assert bad.misfit.offset @ push > 0.8 * np.linalg.norm(bad.misfit.offset) * 12.0


def test_channels_that_contradict_each_other_have_an_answer_without_draws() -> None:
    """Two momenta of an exact explosion 20 % off: no structure gives both channels."""
    family, ions = ScaledRise(), (("O+", "C+", "S+"), ("O2+", "C2+", "S2+"))
    channels = [
        measured(family, fragments(*names), OCS, 45.0, error=0.001, seed=n)
        for n, names in enumerate(ions)
    ]
    p = channels[1].momenta.copy()
    p[:2] *= 1.2
    spoiled = MeasuredChannel(channels[1].fragments, p - p.mean(axis=0), channels[1].covariance)
    prior = GeometryPrior.of(("O", "C", "S"))
    found = infer([channels[0], spoiled], knowing(TAU_FS, 0.0), geometry=prior)
    assert found.p_value < 1e-12
    assert found.effective_samples == 0.0
    assert found.weights.sum() == pytest.approx(1.0)
    assert np.isfinite(found.positions).all()
    assert found.misfit.significance <= np.sqrt(found.chi_square) * (1.0 + 1e-9)
    assert found.misfit.significance > 0.8 * np.sqrt(found.chi_square)
    assert found.modes[0].closure < 0.2  # as near as two that differ by so much allow


def test_no_draw_that_counts_leaves_the_maxima(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(problem: Problem, *_: object, **__: object) -> Draws:
        return Draws(np.empty((0, problem.size)), np.empty(0), np.empty(0, dtype=np.int64))

    monkeypatch.setattr(posterior, "draw", nothing)
    monkeypatch.setattr(posterior, "adapt", nothing)
    ions, prior = fragments("O2+", "C2+", "S2+"), GeometryPrior.of(("O", "C", "S"))
    channel = measured(ScaledRise(), ions, OCS, 45.0, error=0.001)
    found = infer([channel], knowing(TAU_FS, 0.1), geometry=prior)
    assert found.effective_samples == 0.0
    assert found.p_value > 0.01
    best = found.positions[int(np.argmax(found.weights))]
    np.testing.assert_allclose(pair_distances(best[None]), pair_distances(OCS[None]), rtol=0.05)


@pytest.mark.parametrize("size", [2, 9])
def test_a_root_of_any_scale_is_lower_triangular_and_positive(size: int) -> None:
    """Also where eigenvalues of the square span more than 16 digits, as at a fold."""
    random = np.random.default_rng(size)
    for span in (0.0, 12.0):
        turn = np.linalg.qr(random.standard_normal((size, size)))[0]
        matrix = turn @ np.diag(10.0 ** np.linspace(0.0, -span, size))
        root = root_of_square(matrix)
        assert (np.diag(root) > 0.0).all()
        assert np.abs(np.triu(root, 1)).max() == 0.0
        np.testing.assert_allclose(root @ root.T, matrix @ matrix.T, atol=1e-12)


def test_the_disagreement_of_one_ion_is_never_more_than_all_of_it() -> None:
    """Also of a family that leaves open different things in different geometries."""
    ions, prior = fragments("O2+", "C2+", "S2+"), GeometryPrior.of(("O", "C", "S"))
    family = BuildUpFamily()
    belief = BUILD_UP_PRIOR
    start = np.array(belief.mean)[None]
    p = family.explode(ions, OCS[None], start)[0]
    p[0] *= 1.3
    data = ChannelData(
        MeasuredChannel(ions, p - p.mean(axis=0), 1e-4 * np.eye(9)), gives_frame=True
    )
    problem = Problem(family, belief, [data], prior)
    z = problem.join(OCS[None], np.zeros((1, problem.free)))[0]
    found = misfit_at(problem, z)
    assert 0.0 < found.significance <= np.sqrt(found.chi_square) * (1.0 + 1e-9)


def test_no_ion_is_said_to_be_off_by_more_than_its_momentum() -> None:
    """Also where the geometry follows: there any change of a momentum removes little or nothing."""
    ions, prior = fragments("O2+", "C2+", "S2+"), GeometryPrior.of(("O", "C", "S"))
    family = ScaledRise()
    p = 1.5 * family.explode(ions, OCS[None], np.full((1, 1), np.log(45.0)))[0]
    data = ChannelData(MeasuredChannel(ions, p, 1e-2 * np.eye(9)), gives_frame=True)
    problem = Problem(family, knowing(45.0, 0.05).hypotheses[0].belief, [data], prior)
    found = misfit_at(problem, problem.join(OCS[None], np.zeros((1, problem.free)))[0])
    assert found.p_value < 0.5
    size = np.linalg.norm(data.measured[found.ion])
    # Momenta across the plane of the atoms are as they must be.
    assert abs(found.offset[2]) < 1e-3 * np.linalg.norm(found.offset)
    assert 0.0 < np.linalg.norm(found.offset) <= max(size, 0.1 * np.sqrt(3.0) * data.scale) * 1.001


def test_where_a_search_did_not_settle_little_is_promised() -> None:
    """The evidence of a point is about its posterior, not about what squares seem to promise."""
    ions, prior = fragments("O2+", "C2+", "S2+"), GeometryPrior.of(("O", "C", "S"))
    family = ScaledRise()
    channel = measured(family, ions, OCS, 45.0, error=0.003)
    known = knowing(45.0, 0.0).hypotheses[0].belief
    problem = Problem(family, known, [ChannelData(channel, gives_frame=True)], prior)
    none = np.zeros((1, problem.free))
    right = search(problem, problem.join(OCS[None], none))[0][0]
    best = anchor_at(problem, right)
    beside = anchor_at(problem, right + 0.1)
    assert best is not None
    assert beside is not None
    assert beside.log_posterior < best.log_posterior - 30.0
    assert beside.log_evidence < best.log_evidence - 20.0


def test_a_model_error_widens_the_answer() -> None:
    ions, prior = fragments("O2+", "C2+", "S2+"), GeometryPrior.of(("O", "C", "S"))
    channel = measured(ScaledRise(), ions, OCS, 45.0, error=0.001, seed=5)
    widths = [
        infer(
            [channel],
            knowing(TAU_FS, 0.05, ScaledRise(model_error=share)),
            geometry=prior,
            starts=OCS[None],
        )
        .distances()
        .half_width
        for share in (0.0, 0.1)
    ]
    assert (widths[1] > 1.3 * widths[0]).all()


def test_derivatives_of_a_turned_channel_are_those_of_differences() -> None:
    family, ions = ScaledRise(strength=True), fragments("C2+", "O2+", "H+", "H+")
    x = np.array([[[0.1, 0.2, 0.0], [2.1, 0.0, 0.4], [-0.8, 1.6, 0.3], [-0.7, -1.5, -0.9]]])
    channel = measured(family, ions, x[0], 50.0, error=0.05, seed=7, turned=True)
    data = ChannelData(channel, gives_frame=False)
    assert data.count == 3 * 4 - 6
    parameters = np.array([[np.log(40.0), 0.05]])
    found = data.linearise(family, x, parameters)
    for column in range(12):
        step = np.zeros(12)
        step[column] = 1e-4
        there, here = (
            data.compare(family, x + sign * step.reshape(1, 4, 3), parameters).values
            for sign in (1.0, -1.0)
        )
        difference = (there - here) / 2e-4
        assert found.by_positions[:, :, column] == pytest.approx(difference, rel=2e-3, abs=2e-3)
    for column in range(2):
        step = np.zeros(2)
        step[column] = 1e-4
        there, here = (
            data.compare(family, x, parameters + sign * step).values for sign in (1.0, -1.0)
        )
        difference = (there - here) / 2e-4
        assert found.by_parameters[:, :, column] == pytest.approx(difference, rel=2e-3, abs=2e-3)


def test_the_same_seed_gives_the_same_draws() -> None:
    ions, prior = fragments("C+", "O+"), GeometryPrior.of(("C", "O"))
    x = np.array([[0.0, 0.0, 0.0], [2.2, 0.0, 0.0]])
    channel = measured(ScaledRise(), ions, x, 45.0, error=0.01)

    def once(seed: int) -> Posterior:
        return infer([channel], knowing(TAU_FS, 0.3), geometry=prior, draws=200, seed=seed)

    assert np.array_equal(once(3).positions, once(3).positions)
    assert not np.array_equal(once(3).positions, once(4).positions)


def test_what_does_not_fit_together_is_an_error() -> None:
    ions, x = fragments("C+", "O+"), np.array([[0.0, 0.0, 0.0], [2.2, 0.0, 0.0]])
    channel = measured(ScaledRise(), ions, x, 45.0, error=0.01)
    known = knowing(TAU_FS, 0.3)
    with pytest.raises(UsageError, match="no channel"):
        infer([], known, geometry=GeometryPrior.of(("C", "O")))
    with pytest.raises(UsageError, match="prior is for"):
        infer([channel], known, geometry=GeometryPrior.of(("C", "N")))
    other = measured(ScaledRise(), fragments("C+", "N+"), x, 45.0, error=0.01)
    with pytest.raises(UsageError, match="different molecules"):
        infer([channel, other], known, geometry=GeometryPrior.of(("C", "O")))
    with pytest.raises(UsageError, match="starts"):
        infer([channel], known, geometry=GeometryPrior.of(("C", "O")), starts=np.zeros((2, 3, 3)))
    with pytest.raises(UsageError, match="momenta"):
        MeasuredChannel(ions, np.zeros((3, 3)), np.eye(6))
