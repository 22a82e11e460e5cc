"""What the atoms of a reference do is carried on to the same molecule, and to no other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import yaml

from molexa_core.base.belief import Belief
from molexa_core.base.known_explosion import LaserExplosion
from molexa_core.base.matter.ions import Ion, parse_ion
from molexa_core.base.settings import Explosion, parse_settings
from molexa_core.base.settings.explosion_block import Calibrated
from molexa_core.base.settings.explosion_block import Reference as ReferenceBlock
from molexa_core.base.tables import Coincidences, FloatArray
from molexa_core.base.uncertain import Uncertain
from molexa_core.physics.family.atom_deviations import (
    SameMolecule,
    charge_alikeness,
    charges_of_kinds,
    moved_by_kinds,
)
from molexa_core.physics.family.calibrated import CalibratedFamily
from molexa_core.physics.family.family import Fragments, Hypothesis
from molexa_core.physics.family.laser_family import LaserFamily, laser_prior
from molexa_core.physics.molecules.library import molecule
from molexa_core.physics.molecules.vibrations import sample_ground_state
from molexa_core.physics.virtual.experiment import target_of_ions
from molexa_core.pipeline.calibration.aligned_means import observe
from molexa_core.pipeline.calibration.calibrate_explosion import (
    calibrate_explosion,
    calibrated_block,
    conditions_of,
)
from molexa_core.pipeline.calibration.deviations import pulse_alikeness
from molexa_core.pipeline.calibration.prior import joint_prior
from molexa_core.pipeline.calibration.references import Reference
from molexa_core.pipeline.explosions.knowledge import knowledge_of

FAMILY = LaserFamily()
CHANNELS = (
    (30.0, "O2+ C2+ S2+"),
    (200.0, "O2+ C2+ S2+"),
    (90.0, "O2+ C2+ S2+"),
    (200.0, "O3+ C3+ S3+"),
)
REFERENCES = (0, 1)
COUNT = 1000


def ions_of(number: int) -> tuple[Ion, ...]:
    return tuple(parse_ion(name) for name in CHANNELS[number][1].split())


def at_rest(number: int) -> FloatArray:
    return np.asarray(target_of_ions(ions_of(number), molecule("ocs"), where="ocs").positions[None])


def nature(random: np.random.Generator) -> tuple[FloatArray, FloatArray, list[FloatArray]]:
    """Parameters, deviations of the elements, and momenta that are off, of all channels."""
    durations = np.log([one for one, _ in CHANNELS])
    different, which = np.unique(durations, return_inverse=True)
    beliefs: list[Belief] = [laser_prior(float(np.exp(one))) for one in different]
    prior = joint_prior(beliefs, np.abs(different[:, None] - different[None]))
    parameters = prior.coordinates(random.standard_normal((1, prior.size)))[0][which]
    fragments = [Fragments.of(ions_of(number)) for number in range(4)]
    alike = pulse_alikeness(FAMILY, np.abs(durations[:, None] - durations[None]))
    alike = alike * charge_alikeness(np.stack([charges_of_kinds(one) for one in fragments]))
    values, vectors = np.linalg.eigh(alike)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    deviations = root @ random.standard_normal((4, 6))
    off = []
    for number, one in enumerate(fragments):
        x, at = at_rest(number), parameters[number][None]
        by = moved_by_kinds(FAMILY, one, x, at)[0]
        size, ways = np.linalg.eigh(FAMILY.error(one, x, at)[0] - by @ by.T)
        other = ways @ (np.sqrt(np.maximum(size, 0.0)) * random.standard_normal(len(size)))
        off.append((by @ deviations[number] + other).reshape(-1, 3))
    return parameters, deviations, off


def calibrated_on(
    parameters: FloatArray, off: list[FloatArray], random: np.random.Generator, duration: float
) -> Explosion:
    """What OCS in its two reference pulses says about an explosion in another."""
    told = LaserExplosion(duration_fs=Uncertain(duration))
    conditions = conditions_of(told, [{"duration_fs": CHANNELS[n][0]} for n in REFERENCES])
    points = [one["duration_fs"] for one in conditions.numbers]
    references = []
    for number in REFERENCES:
        ions = ions_of(number)
        target = target_of_ions(ions, molecule("ocs"), where="ocs")
        assert target.modes is not None
        x = sample_ground_state(target.positions, target.modes.stiffened(), COUNT, random)
        at = np.tile(parameters[number], (COUNT, 1))
        momenta = FAMILY.explode(Fragments.of(ions), x, at) + off[number]
        observed = observe(Coincidences.of(ions, momenta), target)
        condition = points.index(CHANNELS[number][0])
        references.append(Reference("a", "ocs", ions, target, observed, None, condition))
    found = calibrate_explosion(references, conditions, advise=False)
    blocks = [ReferenceBlock(file="ocs.csv", molecule="ocs") for _ in references]
    return Explosion.of(told, calibrated_block(found, conditions, blocks, {}))


def along(number: int) -> FloatArray:
    """(2, 9) the momenta of oxygen and sulphur along the axis of OCS at rest.

    Across it a straight molecule is so soft that nothing there is linear; carbon follows from them.
    """
    axis = at_rest(number)[0, 2] - at_rest(number)[0, 0]
    axis /= np.linalg.norm(axis)
    found = np.zeros((2, 3, 3))
    found[0, 0], found[1, 2] = axis, axis
    return found.reshape(2, 9)


def expected_at_rest(
    hypothesis: Hypothesis, number: int, random: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    """Expected values of `along`, and their covariance."""
    fragments, rows = Fragments.of(ions_of(number)), along(number)
    at = hypothesis.belief.draw(random, 300)
    x = np.repeat(at_rest(number), len(at), axis=0)
    found = hypothesis.family.explode(fragments, x, at).reshape(len(at), 9) @ rows.T
    own = rows @ hypothesis.family.error(fragments, x, at) @ rows.T
    return found.mean(axis=0), np.cov(found.T) + own.mean(axis=0)


def measured_at_rest(number: int, parameters: FloatArray, off: list[FloatArray]) -> FloatArray:
    plain = FAMILY.explode(Fragments.of(ions_of(number)), at_rest(number), parameters[number][None])
    return np.asarray(along(number) @ (plain[0] + off[number]).reshape(-1))


def test_known_atoms_survive_the_file_and_serve_the_same_molecule_alone() -> None:
    random = np.random.default_rng(3)
    parameters, _, off = nature(random)
    explosion = calibrated_on(parameters, off, random, CHANNELS[1][0])
    assert explosion.calibrated is not None
    text = yaml.safe_dump(explosion.plain()["calibrated"])
    read = parse_settings(Calibrated, yaml.safe_load(text), where="here")
    again = replace_calibration(explosion, read)
    same, other = (
        knowledge_of(again, symbols).hypotheses[0].family
        for symbols in (("S", "C", "O"), ("O", "C", "O"))
    )
    assert isinstance(same, CalibratedFamily)
    assert isinstance(other, CalibratedFamily)
    assert isinstance(same.family, SameMolecule)
    assert not isinstance(other.family, SameMolecule)
    assert "as those of ocs do" in knowledge_of(again, ("O", "C", "S")).statement
    assert "as those of" not in knowledge_of(again).statement
    # In the pulse and the channel of a reference momenta are known as well as is said, and better.
    hypothesis = knowledge_of(again, ("O", "C", "S")).hypotheses[0]
    expected, covariance = expected_at_rest(hypothesis, 1, random)
    error = expected - measured_at_rest(1, parameters, off)
    assert error @ np.linalg.solve(covariance, error) < 14.0  # of 2 values; more is 1 in 1000
    plain = expected_at_rest(knowledge_of(again).hypotheses[0], 1, random)[1]
    assert np.trace(covariance) < 0.6 * np.trace(plain)


def replace_calibration(explosion: Explosion, read: Calibrated) -> Explosion:
    assert explosion.told is not None
    return Explosion.of(replace(explosion.told), read)


def test_files_that_contradict_themselves_are_refused() -> None:
    random = np.random.default_rng(3)
    parameters, _, off = nature(random)
    explosion = calibrated_on(parameters, off, random, CHANNELS[1][0])
    plain = explosion.plain()["calibrated"]
    for key, value in (("points", [7, 1]), ("mean", [0.0] * 7), ("charges", [[2.0, 2.0, 2.0]])):
        broken = yaml.safe_load(yaml.safe_dump(plain))
        broken["hypotheses"][0]["atoms"][0][key] = value
        with pytest.raises(Exception, match=r"atoms|numbers|charges"):
            parse_settings(Calibrated, broken, where="here")


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_momenta_of_the_same_molecule_are_known_better_and_as_well_as_is_said() -> None:
    """In another pulse, and in other charges, of natures whose atoms deviate."""
    squares, errors, claims = [], {True: 0.0, False: 0.0}, {True: 0.0, False: 0.0}
    for seed in range(10):
        random = np.random.default_rng([seed, 7])
        parameters, _, off = nature(random)
        here = calibrated_on(parameters, off, random, CHANNELS[2][0])
        for number in (2, 3):
            told = LaserExplosion(duration_fs=Uncertain(CHANNELS[number][0]))
            explosion = Explosion.of(told, here.calibrated)
            measured = measured_at_rest(number, parameters, off)
            for known in (True, False):
                knowledge = knowledge_of(explosion, ("O", "C", "S") if known else None)
                expected, covariance = expected_at_rest(knowledge.hypotheses[0], number, random)
                left = (measured - expected) / measured
                errors[known] += float((left**2).sum())
                claims[known] += float((np.diag(covariance) / measured**2).sum())
                if known:
                    away = measured - expected
                    squares.append(float(away @ np.linalg.solve(covariance, away)))
    assert errors[True] < errors[False]
    assert claims[True] < 0.8 * claims[False]
    # Chi-square of 2 values in 20 cases: 2 +- 0.45, three of which are allowed.
    assert 0.65 < float(np.mean(squares)) < 3.35
