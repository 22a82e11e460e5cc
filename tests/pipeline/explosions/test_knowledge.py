"""From what is told of an explosion to distributions of the parameters of families."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from molexa_core.base.belief import Belief
from molexa_core.base.errors import UsageError
from molexa_core.base.known_explosion import (
    BuildUpExplosion,
    ClassicalExplosion,
    InstantExplosion,
    IonExplosion,
    Kind,
    LaserExplosion,
    XrayExplosion,
    simulated,
)
from molexa_core.base.matter.ions import parse_ion
from molexa_core.base.settings import Calibrated, Explosion, parse_settings
from molexa_core.base.tables import FloatArray
from molexa_core.base.uncertain import Uncertain
from molexa_core.physics.coulomb.batches import explode_many
from molexa_core.physics.coulomb.build_up import ErrorFunctionRise, Instant
from molexa_core.physics.family.build_up_family import BUILD_UP_PRIOR, BuildUpFamily
from molexa_core.physics.family.family import Fragments, Hypothesis
from molexa_core.physics.family.laser_family import LaserFamily, laser_prior
from molexa_core.physics.surrogate.xray_family import XrayFamily
from molexa_core.pipeline.explosions.knowledge import knowledge_of, told_in_words

IONS = [parse_ion(text) for text in ("O2+", "C2+", "H+")]
POSITIONS = np.array([[2.3, 0.0, 0.0], [0.0, 0.3, 0.0], [-1.5, 1.6, 0.4]])


def one(told: Kind | None) -> Hypothesis:
    (found,) = knowledge_of(Explosion.of(told)).hypotheses
    return found


def value(belief: Belief, name: str) -> tuple[float, float]:
    row = belief.names.index(name)
    return float(belief.mean[row]), float(belief.width[row])


def exploded(hypothesis: Hypothesis) -> FloatArray:
    parameters = hypothesis.belief.mean[None]
    momenta = hypothesis.family.explode(Fragments.of(IONS), POSITIONS[None], parameters)
    return np.asarray(momenta[0])


@pytest.mark.parametrize(
    ("told", "rise"),
    [
        (ClassicalExplosion(), ErrorFunctionRise(45.0)),
        (ClassicalExplosion(tau_fs=Uncertain(80)), ErrorFunctionRise(80.0)),
        (InstantExplosion(), Instant()),
    ],
)
def test_a_simulated_explosion_is_exploded_as_it_was(told: Kind, rise: Any) -> None:
    charges = np.array([float(ion.charge) for ion in IONS])
    masses = np.array([ion.mass for ion in IONS])
    expected = explode_many(POSITIONS[None], charges, masses, build_up=rise)[0]
    found = one(told)
    np.testing.assert_allclose(exploded(found), expected, rtol=2e-5, atol=1e-3)
    assert found.belief.factor().shape[1] == 0
    error = found.family.error(Fragments.of(IONS), POSITIONS[None], found.belief.mean[None])
    assert np.abs(error).max() < 1e-12


def test_hydrogens_apart_of_a_simulated_explosion() -> None:
    told = ClassicalExplosion(
        tau_fs=Uncertain(60), hydrogen_tau_fs=Uncertain(20), hydrogen_onset_fs=Uncertain(6)
    )
    belief = one(told).belief
    assert value(belief, "hydrogen_window") == pytest.approx((math.log(20 / 60), 0.0))
    assert value(belief, "hydrogen_onset") == pytest.approx((0.1, 0.0))
    assert belief.factor().shape[1] == 0


def test_an_uncertainty_is_the_width_of_the_logarithm() -> None:
    for told in (
        BuildUpExplosion(tau_fs=Uncertain(60, 12)),
        BuildUpExplosion(tau_fs=Uncertain(60), tau_width=0.2),
    ):
        belief = one(told).belief
        assert value(belief, "tau_fs") == pytest.approx((math.log(60), 0.2))
        for name in ("hydrogen_window", "hydrogen_onset", "screening"):
            assert value(belief, name) == value(BUILD_UP_PRIOR, name)
    told = BuildUpExplosion(tau_fs=Uncertain(60, 12), hydrogen_tau_fs=Uncertain(20, 1))
    belief = one(told).belief
    draws = belief.draw(np.random.default_rng(1), 4000)
    tau, ratio = draws[:, 0], draws[:, 1]
    assert np.std(tau) == pytest.approx(0.2, rel=0.05)
    assert np.std(tau + ratio) == pytest.approx(0.05, rel=0.05)  # hydrogen's own window
    assert np.mean(tau + ratio) == pytest.approx(math.log(20), abs=0.01)


def test_a_laser_pulse_has_the_prior_of_its_duration() -> None:
    found = one(LaserExplosion(duration_fs=Uncertain(100, 10)))
    expected = laser_prior(100.0, 0.1)
    assert isinstance(found.family, LaserFamily)
    np.testing.assert_allclose(found.belief.mean, expected.mean)
    np.testing.assert_allclose(found.belief.covariance, expected.covariance)
    unknown = one(LaserExplosion()).belief
    assert value(unknown, "duration_fs")[1] > 0.5
    assert one(IonExplosion()).belief.names == ("recoil_au", "screening")


def test_nothing_told_is_broad_and_says_so() -> None:
    known = knowledge_of(Explosion())
    assert known.origin == "unknown"
    assert "nothing is known about the explosion" in known.statement
    assert sum(each.weight for each in known.hypotheses) == pytest.approx(1.0)
    names = [each.family.name for each in known.hypotheses]
    assert len(set(names)) == len(names) == 2
    told = knowledge_of(Explosion.of(BuildUpExplosion(tau_fs=Uncertain(60, 12))))
    assert told.origin == "told"
    broad = next(each for each in known.hypotheses if each.belief.names == BUILD_UP_PRIOR.names)
    assert value(broad.belief, "tau_fs")[1] > value(told.hypotheses[0].belief, "tau_fs")[1]


def test_what_is_told_is_stated() -> None:
    words = told_in_words(
        XrayExplosion(photon_ev=Uncertain(2000), duration_fs=Uncertain(15, 3), recapture=False)
    )
    assert words.startswith(
        "X-ray pulse: photon energy 2000 eV, duration of the pulse 15 +- 3 fs, no capture of slow"
    )
    assert "not known: " in words
    assert "fluence" in words
    assert "not known" not in told_in_words(simulated("mcmd"))
    assert "45 fs, as published" in knowledge_of(Explosion.of(ClassicalExplosion())).statement
    assert told_in_words(LaserExplosion()) == "strong laser pulse of which nothing is known"


def calibrated(*points: tuple[float, float], width: float = 0.05) -> Calibrated:
    """Calibrations of a laser at these durations, `latest` off its prior by so many widths."""
    names = laser_prior().names
    means, widths = [], []
    for duration, pull in points:
        prior = laser_prior(duration)
        mean = prior.mean.copy()
        mean[names.index("latest")] += pull * prior.width[names.index("latest")]
        means.append({"conditions": {"duration_fs": duration}, "mean": mean.tolist()})
        widths.append(np.where(prior.width > 0, width * prior.width, 0.0))
    covariance = np.diag(np.concatenate(widths) ** 2)
    hypothesis = {
        "family": "laser",
        "parameters": list(names),
        "points": means,
        "covariance": covariance.tolist(),
    }
    references = [{"file": "ocs.csv", "molecule": "OCS"}, {"file": "n2.csv", "molecule": "N2"}]
    values = {
        "hypotheses": [hypothesis],
        "references": references,
        "model_error": {"relative": 0.03},
    }
    return parse_settings(Calibrated, values, where="here")


def latest(duration: float, found: Calibrated) -> tuple[float, float]:
    """Pull and width of `latest` relative to its prior, at a duration."""
    told = LaserExplosion(duration_fs=Uncertain(duration))
    known = knowledge_of(Explosion.of(told, found))
    assert known.origin == "calibrated"
    assert known.statement.endswith("calibrated on OCS, N2")
    belief, prior = known.hypotheses[0].belief, laser_prior(duration)
    assert value(belief, "duration_fs") == pytest.approx((math.log(duration), 0.0), abs=1e-6)
    row = belief.names.index("latest")
    mean = float(belief.mean[row] - prior.mean[row])
    return mean / float(prior.width[row]), float(belief.width[row] / prior.width[row])


def test_a_calibration_holds_where_it_was_made_and_less_elsewhere() -> None:
    found = calibrated((100.0, 1.5))
    assert latest(100.0, found) == pytest.approx((1.5, 0.05))
    pulls, widths = zip(*(latest(at, found) for at in (105.0, 150.0, 300.0, 1500.0)), strict=True)
    assert list(widths) == sorted(widths)
    assert widths[0] < 0.15
    assert widths[-1] > 0.8
    assert list(pulls) == sorted(pulls, reverse=True)
    assert pulls[-1] < 0.9


def test_calibrations_at_two_durations_are_interpolated() -> None:
    found = calibrated((30.0, 1.0), (200.0, -1.0))
    middle = latest(math.sqrt(30.0 * 200.0), found)
    assert middle[0] == pytest.approx(0.0, abs=1e-6)
    alone = latest(math.sqrt(30.0 * 200.0), calibrated((30.0, 1.0)))
    assert middle[1] < alone[1]
    assert latest(30.0, found) == pytest.approx((1.0, 0.05))
    assert latest(200.0, found) == pytest.approx((-1.0, 0.05))


def test_the_misfit_of_references_is_an_error_of_the_family() -> None:
    told = LaserExplosion(duration_fs=Uncertain(100))
    known = knowledge_of(Explosion.of(told, calibrated((100.0, 0.0))))
    hypothesis = known.hypotheses[0]
    fragments, parameters = Fragments.of(IONS), hypothesis.belief.mean[None]
    error = hypothesis.family.error(fragments, POSITIONS[None], parameters)[0]
    own = LaserFamily().error(fragments, POSITIONS[None], parameters)[0]
    momenta = exploded(hypothesis)
    more = np.trace(error - own) / (3.0 * (momenta**2).sum())  # of each of three components
    assert more == pytest.approx(0.03**2, rel=0.3)


@pytest.mark.parametrize(
    ("told", "message"),
    [
        (LaserExplosion(), "depends on duration_fs, which is not told"),
        (BuildUpExplosion(), "depends on duration_fs, which is not told"),
        (
            XrayExplosion(duration_fs=Uncertain(10)),
            "of a strong laser pulse, in which the molecule moves, which is no X-ray pulse",
        ),
    ],
)
def test_a_calibration_that_does_not_apply_is_refused(told: Kind, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        knowledge_of(Explosion.of(told, calibrated((100.0, 0.0))))


def test_an_x_ray_pulse_is_computed_with_the_monte_carlo_model() -> None:
    told = XrayExplosion(
        photon_ev=Uncertain(2000),
        duration_fs=Uncertain(15, 3),
        fluence_um2=Uncertain(1e12),
        transfer_time_fs=Uncertain(0),
    )
    known = knowledge_of(Explosion.of(told), ("O", "H", "H"))
    assert known.origin == "told"
    assert "Monte-Carlo model, each rule of electron transfer alike" in known.statement
    families = [one.family for one in known.hypotheses]
    assert all(isinstance(one, XrayFamily) for one in families)
    assert sorted(one.rule for one in families if isinstance(one, XrayFamily)) == [
        "full",
        "low",
        "neutral",
    ]
    assert sum(one.weight for one in known.hypotheses) == pytest.approx(1.0)
    belief = known.hypotheses[0].belief
    assert value(belief, "photon_ev") == pytest.approx((math.log(2000), 0.0))
    assert value(belief, "duration_fs") == pytest.approx((math.log(15), 0.2))
    assert value(belief, "transfer_time_fs")[1] == 0.0  # at once
    assert value(belief, "shake_off")[1] > 0.0  # not told
    (one_rule,) = knowledge_of(Explosion.of(replace(told, transfer="full"))).hypotheses
    assert isinstance(one_rule.family, XrayFamily)
    assert one_rule.family.rule == "full"
    nothing = knowledge_of(Explosion.of(XrayExplosion())).hypotheses[0]
    assert value(nothing.belief, "photon_ev")[1] > 0.5
    assert value(nothing.belief, "fluence_um2")[1] > 1.0


@pytest.mark.parametrize(
    ("told", "symbols", "reason"),
    [
        (XrayExplosion(), ("C", "I", "H"), "does not know I"),
        (XrayExplosion(), ("H",) * 10, "is for 9 atoms at most"),
        (
            XrayExplosion(duration_fs=Uncertain(300, 30)),
            ("O", "H", "H"),
            "is for a duration of the pulse of 1 to 60 fs, not 300 fs",
        ),
        (
            XrayExplosion(photon_ev=Uncertain(50)),
            ("O", "H", "H"),
            "is for a photon energy of 300 to 1e+04 eV, not 50 eV",
        ),
    ],
)
def test_a_pulse_that_the_monte_carlo_model_does_not_cover_has_a_stand_in(
    told: XrayExplosion, symbols: tuple[str, ...], reason: str
) -> None:
    known = knowledge_of(Explosion.of(told), symbols)
    assert isinstance(known.hypotheses[0].family, BuildUpFamily)
    assert "computed with charges that rise with time, since the surrogate" in known.statement
    assert reason in known.statement


def test_a_pulse_that_is_told_roughly_may_begin_beyond_the_surrogate() -> None:
    """83 +- 25 fs is 60 fs as likely as not; 83 +- 2 fs is not."""
    roughly, exactly = (
        knowledge_of(Explosion.of(XrayExplosion(duration_fs=Uncertain(83, error))), ("O", "H", "H"))
        for error in (25, 2)
    )
    assert all(isinstance(one.family, XrayFamily) for one in roughly.hypotheses)
    assert isinstance(exactly.hypotheses[0].family, BuildUpFamily)


def test_single_events_in_x_rays_have_a_stand_in() -> None:
    known = knowledge_of(Explosion.of(XrayExplosion(duration_fs=Uncertain(10))), single=True)
    assert isinstance(known.hypotheses[0].family, BuildUpFamily)
    assert "gives means over explosions" in known.statement


def test_a_calibrated_x_ray_pulse_is_of_its_own_rule() -> None:
    told = XrayExplosion(photon_ev=Uncertain(2000), duration_fs=Uncertain(10), transfer="low")
    prior = knowledge_of(Explosion.of(told)).hypotheses[0].belief
    hypothesis = {
        "family": "xray",
        "choices": {"transfer": "low", "recapture": False, "focus": "axis"},
        "parameters": list(prior.names),
        "points": [{"conditions": {"duration_fs": 10.0}, "mean": prior.mean.tolist()}],
        "covariance": (0.04 * prior.covariance).tolist(),
        "common": ["shake_off"],
    }
    values = {"hypotheses": [hypothesis], "references": [{"file": "a.csv", "molecule": "N2"}]}
    found = parse_settings(Calibrated, values, where="here")
    known = knowledge_of(Explosion.of(told, found))
    (one_,) = known.hypotheses
    assert "atoms of charge 0 and 1 give electrons" in one_.family.name
    np.testing.assert_allclose(one_.belief.width, 0.2 * prior.width, atol=1e-12)
    momenta = exploded(one_)
    assert np.isfinite(momenta).all()
    elsewhere = knowledge_of(Explosion.of(replace(told, duration_fs=Uncertain(30)), found))
    assert value(elsewhere.hypotheses[0].belief, "duration_fs")[0] == pytest.approx(math.log(30))
