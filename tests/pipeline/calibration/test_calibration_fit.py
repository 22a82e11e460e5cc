"""Calibration with a family in closed form: instant explosions, scaled by two parameters.

What is checked: unbiased means over vibrating molecules, the posterior where the family is right,
the misfit where it is wrong, the choice between families, and what is said to be open.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest

from molexa_core.base.belief import Belief, Coordinate
from molexa_core.base.matter.ions import parse_ion
from molexa_core.base.settings import Frame
from molexa_core.base.tables import Coincidences, FloatArray
from molexa_core.frame.align import align_events
from molexa_core.frame.centroid import centroids
from molexa_core.physics.coulomb.batches import explode_many
from molexa_core.physics.family.calibrated import relative_error
from molexa_core.physics.family.family import (
    ExplosionKnowledge,
    Fragments,
    Hypothesis,
    Linearised,
)
from molexa_core.physics.molecules.library import molecule
from molexa_core.physics.molecules.vibrations import sample_ground_state
from molexa_core.physics.virtual.experiment import target_of_ions
from molexa_core.pipeline.calibration.aligned_means import observe
from molexa_core.pipeline.calibration.calibration import Calibration, calibrate_on
from molexa_core.pipeline.calibration.references import Reference, ground_state


@dataclass(frozen=True)
class Scaled:
    """Momenta of an instant explosion: slower the slower the pulse, those of hydrogens apart.

    Attributes:
        own_error: relative error of the momenta that the family admits.
    """

    own_error: float = 0.005
    name: str = "scaled"

    @property
    def coordinates(self) -> tuple[Coordinate, ...]:
        return (
            Coordinate("duration_fs", "duration", "fs"),
            Coordinate("hydrogen", "factor of hydrogens"),
            Coordinate("idle", "something that changes nothing"),
        )

    def explode(
        self, fragments: Fragments, positions: FloatArray, parameters: FloatArray
    ) -> FloatArray:
        momenta = explode_many(positions, fragments.charges, fragments.masses, strict=False)
        light = np.array([symbol == "H" for symbol in fragments.symbols])
        scale = np.exp(-np.exp(parameters[:, :1]) / 50.0)
        of_atoms = np.where(light, np.exp(parameters[:, 1:2]), 1.0)
        return momenta * (scale * of_atoms)[:, :, None]

    def linearise(
        self, fragments: Fragments, positions: FloatArray, parameters: FloatArray
    ) -> Linearised:
        raise NotImplementedError

    def error(
        self, fragments: Fragments, positions: FloatArray, parameters: FloatArray
    ) -> FloatArray:
        momenta = self.explode(fragments, positions, parameters)
        return self.own_error**2 * relative_error(fragments, momenta)


@dataclass(frozen=True)
class Reversed(Scaled):
    """Hydrogens and heavy atoms the other way round."""

    name: str = "reversed"

    def explode(
        self, fragments: Fragments, positions: FloatArray, parameters: FloatArray
    ) -> FloatArray:
        turned = parameters * np.array([1.0, -1.0, 1.0])
        return super().explode(fragments, positions, turned)


PRIOR = Belief.independent(
    ("duration_fs", "hydrogen", "idle"), [np.log(15.0), 0.0, 0.0], [0.5, 0.1, 1.0]
)
CHANNELS = (("nitrogen", "N2+ N2+"), ("carbon monoxide", "C2+ O2+"), ("water", "O2+ H+ H+"))


def moved(*by: float) -> FloatArray:
    return np.asarray(PRIOR.mean + np.array(by))


def knowing(*families: Scaled, prior: Belief = PRIOR) -> ExplosionKnowledge:
    return ExplosionKnowledge(tuple(Hypothesis(one, prior) for one in families), "told", "told")


def reference(
    name: str,
    ions: str,
    family: Scaled,
    at: FloatArray,
    random: np.random.Generator,
    *,
    events: int = 2000,
    error: float = 0.0,
    condition: int = 0,
) -> Reference:
    """A measured channel; the momenta of all its events are off by one draw of a relative error."""
    parsed = tuple(parse_ion(text) for text in ions.split())
    target = target_of_ions(parsed, molecule(name), where=name)
    assert target.modes is not None
    structures = sample_ground_state(target.positions, target.modes.stiffened(), events, random)
    fragments = Fragments.of(parsed)
    momenta = family.explode(fragments, structures, np.tile(at, (events, 1)))
    if error:
        rest = family.explode(fragments, target.positions[None], at[None])
        covariance = error**2 * relative_error(fragments, rest)[0]
        values, vectors = np.linalg.eigh(covariance)
        drawn = vectors @ (np.sqrt(np.maximum(values, 0)) * random.normal(size=len(values)))
        momenta = momenta + drawn.reshape(-1, 3)
    observed = observe(Coincidences.of(parsed, momenta), target)
    return Reference(name, molecule(name).name, parsed, target, observed, None, condition)


def references(family: Scaled, at: FloatArray, seed: int, *, error: float = 0.0) -> list[Reference]:
    random = np.random.default_rng(seed)
    return [reference(*channel, family, at, random, error=error) for channel in CHANNELS]


def calibrated(
    found: Sequence[Reference], *families: Scaled, advise: bool = False, seed: int = 0
) -> Calibration:
    return calibrate_on(found, [knowing(*families)], advise=advise, seed=seed)


def test_drawn_structures_have_the_moments_of_the_ground_state() -> None:
    ions = tuple(parse_ion(text) for text in ("O2+", "H+", "H+"))
    target = target_of_ions(ions, molecule("water"), where="water")
    assert target.modes is not None
    drawn = ground_state(target, 24)
    assert np.allclose(drawn.mean(axis=0), target.positions)
    away = (drawn - target.positions).reshape(len(drawn), -1)
    modes = target.modes.displacement.reshape(3, -1)
    expected = (modes.T * target.modes.variance) @ modes
    assert np.allclose(away.T @ away / len(drawn), expected)


def test_the_mean_over_vibrating_molecules_is_predicted() -> None:
    at = PRIOR.mean
    for channel in CHANNELS:
        made = reference(*channel, Scaled(), at, np.random.default_rng(4), events=100_000)
        predicted = made.evaluate(Scaled(0.0), at[None])[0][0] + made.correction(Scaled(), at)[0]
        error = np.sqrt(np.diag(made.observed.covariance))
        assert np.abs(predicted - made.observed.values).max() < 3.0 * error.max()
        # The equilibrium alone would be off by several errors where hydrogens vibrate.
        rest = made.pairs.sizes(
            Scaled().explode(made.fragments, made.target.positions[None], at[None])
        )[0]
        if channel[0] == "water":
            assert np.abs(rest - made.observed.values).max() > 3.0 * error.max()


def test_means_in_a_molecular_frame_are_predicted_in_that_frame() -> None:
    at = PRIOR.mean
    made = reference("water", "O2+ H+ H+", Scaled(), at, np.random.default_rng(5), events=20_000)
    frame = Frame(reference="O2+", second="H+")
    target = made.target
    assert target.modes is not None
    random = np.random.default_rng(6)
    structures = sample_ground_state(target.positions, target.modes, 20_000, random)
    momenta = Scaled().explode(made.fragments, structures, np.tile(at, (20_000, 1)))
    rows = centroids(align_events(Coincidences.of(made.ions, momenta), frame).table)
    mean = rows[["px", "py", "pz"]].to_numpy()
    errors = rows[["px_err", "py_err", "pz_err"]].to_numpy()
    observed = made.pairs.of_means(mean, errors)
    framed = Reference("water", "water", made.ions, target, observed, frame)
    off = np.log(1.1) * np.array([0.0, 1.0, 0.0])
    predicted, _, _ = framed.evaluate(Scaled(0.0), np.stack([at, at + off, at]))
    right = predicted + framed.correction(Scaled(), at)[0]
    assert np.allclose(right[[0, 2]], observed.values, rtol=2e-3)
    assert np.allclose(right[1], 1.1 * observed.values, rtol=0.02)


def test_parameters_are_found_and_what_stays_open_is_said() -> None:
    at = moved(0.4, -0.1, 0.5)
    found = calibrated(references(Scaled(), at, 1), Scaled(), advise=True)
    best = found.best
    assert np.all(np.abs(best.here.mean - at)[:2] < 4.0 * best.here.width[:2])
    assert np.all(best.here.width[:2] < 0.2 * PRIOR.width[:2])
    assert best.here.width[2] == pytest.approx(1.0, rel=0.15)
    assert found.p_value > 0.01
    assert not found.warnings
    assert any("something that changes nothing" in note for note in found.notes)
    told = best.information.told()
    assert told[0, 0] > 0.9
    assert told[0, 1] == pytest.approx(0.0, abs=1e-6)  # nitrogen knows nothing of hydrogens
    assert told[2, 1] > 0.5


def test_a_further_reference_is_named_that_would_tell_what_is_open() -> None:
    made = references(Scaled(), PRIOR.mean, 2)[:2]
    found = calibrated(made, Scaled(), advise=True)
    assert found.best.here.width[1] == pytest.approx(0.1, rel=0.15)
    advice = [note for note in found.notes if note.startswith("2000 coincidences")]
    assert advice
    assert "factor of hydrogens" in advice[0]


@pytest.mark.slow
def test_a_wrong_family_is_rejected_and_its_misfit_is_carried_on() -> None:
    """Momenta that are off by 4 per cent, each reference by itself, where 0.5 are admitted."""
    rejected, sizes = 0, []
    for seed in range(4):
        found = calibrated(
            references(Scaled(), PRIOR.mean, 10 + seed, error=0.04), Scaled(own_error=0.001)
        )
        rejected += found.p_value < 0.01
        sizes.append(found.misfit)
    assert rejected >= 3
    assert 0.01 < np.median(sizes) < 0.08


def test_the_family_that_explains_the_references_wins() -> None:
    at = moved(0.0, 0.15, 0.0)
    tight = Belief.independent(PRIOR.names, moved(0.0, 0.15, 0.0), [0.5, 0.02, 1.0])
    made = references(Scaled(), at, 3)
    knowledge = knowing(Reversed(), Scaled(), prior=tight)
    found = calibrate_on(made, [knowledge], advise=False)
    assert found.best.family.name == "scaled"
    assert found.best.weight[1] > 0.99
    assert sum(fit.weight[1] for fit in found.fits) == pytest.approx(1.0)


def test_a_reference_of_another_duration_tells_less_the_further_it_is() -> None:
    widths = []
    for distance in (0.0, 1.0, 3.0):
        there = Belief(PRIOR.names, moved(distance, 0.0, 0.0), PRIOR.covariance)
        at = there.mean
        made = reference("nitrogen", "N2+ N2+", Scaled(), at, np.random.default_rng(7), condition=1)
        found = calibrate_on(
            [made],
            [knowing(Scaled()), knowing(Scaled(), prior=there)],
            distances=np.array([[0.0, distance], [distance, 0.0]]),
            advise=False,
        )
        widths.append(float(found.best.here.width[0]))
    assert np.all(np.diff(widths) > 0)
    assert widths[-1] < 0.51


@pytest.mark.slow
def test_values_scatter_about_their_prediction_as_is_said() -> None:
    """Chi-square of each reference at the truth, the family off by what it admits."""
    family = Scaled(own_error=0.005)
    found: dict[str, list[float]] = {}
    seeds = range(7000, 7100)
    for seed in seeds:
        random = np.random.default_rng([seed, 1])
        at = PRIOR.draw(random, 1)[0]
        for made in references(family, at, seed, error=0.005):
            values, own, _ = made.evaluate(family, at[None])
            away = made.observed.values - values[0] - made.correction(family, at)[0]
            covariance = own[0] + made.observed.covariance
            found.setdefault(made.label, []).append(float(away @ np.linalg.solve(covariance, away)))
    for label, expected in (("nitrogen", 1.0), ("carbon monoxide", 1.0), ("water", 2.0)):
        assert abs(np.mean(found[label]) - expected) < 4.0 * np.sqrt(2.0 * expected / len(seeds))


@pytest.mark.slow
def test_the_posterior_covers_the_truth_where_the_family_is_right() -> None:
    """Truths drawn from the prior, families off by what they admit: pulls have width one."""
    pulls, p_values = [], []
    for seed in range(7000, 7040):
        random = np.random.default_rng([seed, 1])
        at = PRIOR.draw(random, 1)[0]
        family = Scaled(own_error=0.005)
        found = calibrated(references(family, at, seed, error=0.005), family, seed=seed)
        pulls.append((found.best.here.mean - at) / found.best.here.width)
        p_values.append(found.p_value)
    width = np.sqrt(np.mean(np.square(pulls), axis=0))
    assert np.all((width > 0.7) & (width < 1.3)), width
    assert np.mean(np.array(p_values) < 0.01) <= 0.05
    assert np.mean(np.array(p_values) < 0.5) > 0.15
