"""From what is told of an explosion to families of forward models with what is known of them.

`Explosion` (settings) becomes `ExplosionKnowledge` (hypotheses: family and distribution of its
parameters), with one sentence that every result states.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any, Final

import numpy as np

from molexa_core.base.belief import Belief
from molexa_core.base.errors import InputFileError, UsageError, listing
from molexa_core.base.known_explosion import (
    BuildUpExplosion,
    ClassicalExplosion,
    InstantExplosion,
    IonExplosion,
    Kind,
    LaserExplosion,
    XrayExplosion,
)
from molexa_core.base.parameter import parameters
from molexa_core.base.settings import Calibrated, Explosion
from molexa_core.base.settings.explosion_block import CalibratedAtoms, CalibratedHypothesis
from molexa_core.base.uncertain import Uncertain
from molexa_core.physics.coulomb.build_up import LEAST_TAU_FS
from molexa_core.physics.family.atom_deviations import (
    Deviating,
    KnownDeviations,
    SameMolecule,
    kinds_of,
)
from molexa_core.physics.family.build_up_family import (
    BUILD_UP_PRIOR,
    HYDROGEN_ONSET,
    HYDROGEN_WINDOW,
    TAU,
    BuildUpFamily,
)
from molexa_core.physics.family.calibrated import calibrated
from molexa_core.physics.family.family import ExplosionKnowledge, Family, Hypothesis
from molexa_core.physics.family.ion_impact import ION_IMPACT_PRIOR, IonImpactFamily
from molexa_core.physics.family.laser_family import LaserFamily, laser_prior
from molexa_core.physics.surrogate.absorption import SYMBOLS
from molexa_core.physics.surrogate.surrogate_model import MOST_ATOMS
from molexa_core.physics.surrogate.xray_family import (
    COORDINATES,
    HIGH,
    LOW,
    MARGIN,
    XrayFamily,
    xray_prior,
)
from molexa_core.pipeline.calibration.deviations import pulse_alikeness
from molexa_core.pipeline.calibration.prior import Carried, carried_to

PULSE_WINDOW: Final = 3.0
"""Window of the rise over the duration of an X-ray pulse. 3.8 were it for absorption at a constant
rate (`physics.family.build_up_family`), of which saturation takes away a fifth."""
CASCADE_FS: Final = 20.0
"""Window of the rise after a short X-ray pulse: lifetimes of inner holes, 2 to 10 fs each, in
several steps."""
REACHES: Final = 2.0
"""Standard deviations by which a number that is told may lie beyond the box of the surrogate."""
STAND_IN_WIDTH: Final = 0.4
"""Standard deviation of ln tau of it: fluence, photon energy and molecule are not in it."""
EXACT: Final = BuildUpFamily(window_spread=0.0, onset_spread=0.0, smallest_error=0.0)
"""The classical model of simulations: nothing differs between atoms."""
NO_RECOIL: Final = 1e-9
"""A push of an atom, a.u., that is none."""
UNKNOWN: Final = (
    "nothing is known about the explosion: charges that rise with time, as in an X-ray pulse of "
    "any kind, or a laser pulse of any duration are assumed alike"
)


def knowledge_of(
    explosion: Explosion, symbols: Sequence[str] | None = None, *, single: bool = False
) -> ExplosionKnowledge:
    """What is known about an explosion before momenta are looked at.

    Args:
        explosion: what is told and calibrated.
        symbols: elements of the molecule, for which not every family can compute an X-ray pulse;
            of a molecule that is among the references it is known how its atoms deviate.
        single: whether the momenta are those of single events.

    Raises:
        UsageError: the calibration is of another family, or depends on a number that is not told.
    """
    told = explosion.told
    if explosion.calibrated is not None:
        return _calibrated(told, explosion.calibrated, symbols)
    if told is None:
        both = (_broad(0.5), _laser(LaserExplosion(), 0.5))
        return ExplosionKnowledge(both, UNKNOWN, "unknown")
    if single and isinstance(told, XrayExplosion):
        reason = "the surrogate of the Monte-Carlo model gives means over explosions"
        return _stand_in(told, told_in_words(told), reason)
    return _told(told, symbols)


def told_in_words(told: Kind) -> str:
    """What is told, in words, such as `X-ray pulse: photon energy 2000 eV, ...`."""
    stated = parameters(type(told))  # type: ignore[arg-type]  # mypy: a union is not hashable
    known, missing = [], []
    for field in fields(told):
        one, value = stated[field.name].parameter, getattr(told, field.name)
        unit = f" {one.unit}" if one.unit else ""
        if value is None:
            missing.append(field.name)
        elif isinstance(value, Uncertain):
            known.append(f"{one.meaning} {value}{unit}")
        elif isinstance(value, bool):
            known.append(f"{'' if value else 'no '}{one.meaning}")
        else:
            known.append(f"{one.meaning} {value}")
    name = _NAMES[told.kind]
    if not known:
        return f"{name} of which nothing is known" if missing else name
    said = f"{name}: {', '.join(known)}"
    unknown = [stated[one].parameter.meaning for one in _asked(told, missing)]
    return f"{said}; not known: {', '.join(unknown)}" if unknown else said


def _asked(told: Kind, missing: list[str]) -> list[str]:
    """Of what is not told, what would make the answer better."""
    if not isinstance(told, XrayExplosion):
        return []
    by_energy = ("energy_mj", "focus_um", "transmission")
    told_energy = any(getattr(told, name) is not None for name in by_energy)
    needless = ("fluence_um2",) if told_energy else by_energy
    return [name for name in missing if name not in needless]


_NAMES: Final = {
    "xray": "X-ray pulse",
    "laser": "strong laser pulse",
    "ion": "impact of a fast ion",
    "build_up": "charges that rise with time",
    "classical": "simulated explosion, all charges rising exactly alike",
    "instant": "simulated explosion, all charges at once",
}


def _told(told: Kind, symbols: Sequence[str] | None = None) -> ExplosionKnowledge:
    """What is known where numbers are told and nothing is calibrated."""
    statement = told_in_words(told)
    if isinstance(told, InstantExplosion):
        values = (math.log(NO_RECOIL), 0.0)
        belief = Belief.independent(ION_IMPACT_PRIOR.names, values, (0.0, 0.0))
        return ExplosionKnowledge((Hypothesis(IonImpactFamily(), belief),), statement, "told")
    if isinstance(told, IonExplosion):
        found = Hypothesis(IonImpactFamily(), ION_IMPACT_PRIOR)
        return ExplosionKnowledge((found,), statement, "told")
    if isinstance(told, LaserExplosion):
        return ExplosionKnowledge((_laser(told),), statement, "told")
    if isinstance(told, ClassicalExplosion):
        tau = told.window
        if told.tau_fs is None:
            statement = f"{_NAMES['classical']}: {TAU.meaning} {tau} fs, as published"
        whole = BuildUpExplosion(
            tau, None, told.hydrogen_tau_fs or tau, told.onset_fs, told.hydrogen_onset_fs
        )
        belief = _rise(whole, _exactly({}), alike=told.hydrogen_tau_fs is None)
        return ExplosionKnowledge((Hypothesis(EXACT, belief),), statement, "told")
    if isinstance(told, BuildUpExplosion):
        if told.tau_width is not None and told.tau_fs is not None:
            statement = (
                f"{_NAMES['build_up']}: {TAU.meaning} {told.tau_fs.value:g} fs, uncertain by "
                f"{100 * told.tau_width:.0f} %"
            )
        belief = _rise(told, BUILD_UP_PRIOR)
        return ExplosionKnowledge((Hypothesis(BuildUpFamily(), belief),), statement, "told")
    return _xray(told, statement, symbols)


def _broad(weight: float = 1.0) -> Hypothesis:
    """X-rays of any kind."""
    return Hypothesis(BuildUpFamily(), BUILD_UP_PRIOR, weight)


def _laser(told: LaserExplosion, weight: float = 1.0) -> Hypothesis:
    """A strong laser pulse."""
    duration = told.duration_fs
    if duration is None:
        return Hypothesis(LaserFamily(), laser_prior(), weight)
    return Hypothesis(LaserFamily(), laser_prior(duration.value, duration.relative), weight)


def _xray(told: XrayExplosion, statement: str, symbols: Sequence[str] | None) -> ExplosionKnowledge:
    """An X-ray pulse by the surrogate of the Monte-Carlo model, where it is one that this knows."""
    reason = _not_covered(told, symbols)
    if reason is None:
        try:
            found = xray_prior(told)
        except InputFileError:
            reason = "no surrogate of the Monte-Carlo model is installed"
        else:
            rules = "" if told.transfer is not None else ", each rule of electron transfer alike"
            return ExplosionKnowledge(
                found,
                f"{statement}; computed with the surrogate of the Monte-Carlo model{rules}",
                "told",
            )
    return _stand_in(told, statement, reason)


def _not_covered(told: XrayExplosion, symbols: Sequence[str] | None) -> str | None:
    """The reason why the surrogate cannot compute this pulse for these atoms; None if it can."""
    model = "the surrogate of the Monte-Carlo model"
    if symbols is not None:
        if strange := [one for one in dict.fromkeys(symbols) if one not in SYMBOLS]:
            return f"{model} does not know {listing(strange)}"
        if len(symbols) > MOST_ATOMS:
            return f"{model} is for {MOST_ATOMS} atoms at most"
    for place, one in enumerate(COORDINATES):
        value = told.on_axis if one.name == "fluence_um2" else getattr(told, one.name)
        if value is None or value.value <= 0.0:
            continue
        # What is told within an error may begin beyond the box and reach into it.
        spread = value.uncertainty if one.scale == "linear" else value.relative
        margin = max(MARGIN[place], REACHES * spread)
        low, high = LOW[place] - margin, HIGH[place] + margin
        at = one.of_value(value.value)
        if at > high or (at < low and one.name != "transfer_time_fs"):
            unit = f" {one.unit}" if one.unit else ""
            lowest, highest = one.values(LOW[place]), one.values(HIGH[place])
            return (
                f"{model} is for a {one.meaning} of {lowest:.3g} to {highest:.3g}{unit}, not "
                f"{value.value:.3g}{unit}"
            )
    return None


def _stand_in(told: XrayExplosion, statement: str, reason: str) -> ExplosionKnowledge:
    """An X-ray pulse by charges that rise with time, for this reason."""
    computed = f"{statement}; computed with charges that rise with time, since {reason}"
    duration = told.duration_fs
    if duration is None:
        window = "by a prior for pulses of any duration"
        return ExplosionKnowledge((_broad(),), f"{computed}: {window}", "told")
    of_pulse = PULSE_WINDOW * duration.value
    tau = math.hypot(of_pulse, CASCADE_FS)
    share = (of_pulse / tau) ** 2
    width = math.hypot(STAND_IN_WIDTH, share * duration.relative)
    belief = _rise(BuildUpExplosion(Uncertain(tau), min(width, 3.0)), BUILD_UP_PRIOR)
    window = f"within {tau:.0f} fs +- {100 * width:.0f} % (pulse and lifetimes of inner holes)"
    return ExplosionKnowledge(
        (Hypothesis(BuildUpFamily(), belief),), f"{computed}: {window}", "told"
    )


def _exactly(values: dict[str, float]) -> Belief:
    """Coordinates of a build-up that are known exactly; zero where nothing is given."""
    names = BUILD_UP_PRIOR.names
    return Belief.independent(names, [values.get(name, 0.0) for name in names], [0.0] * len(names))


def _rise(told: BuildUpExplosion, prior: Belief, *, alike: bool = False) -> Belief:
    """The coordinates of a build-up: those told in place of those of a prior.

    Args:
        told: numbers of the rise.
        prior: of all coordinates.
        alike: whether hydrogens rise as the others, whatever their window is.
    """
    names = prior.names
    mean, covariance = prior.mean.copy(), prior.covariance.copy()
    at = {name: names.index(name) for name in names}

    def tell(name: str, value: float, width: float) -> None:
        row = at[name]
        mean[row] = value
        covariance[row, :] = covariance[:, row] = 0.0
        covariance[row, row] = width**2

    relative = told.tau_relative
    if told.tau_fs is not None:
        tell(TAU.name, TAU.of_value(told.tau_fs.value), relative)
    if alike:
        tell(HYDROGEN_WINDOW.name, 0.0, 0.0)
    elif told.hydrogen_tau_fs is not None and told.hydrogen_tau_fs.value > 0.0:
        own = told.hydrogen_tau_fs
        row, tau = at[HYDROGEN_WINDOW.name], at[TAU.name]
        # The window of hydrogens is told, not its ratio to that of the others.
        variance = covariance[tau, tau]
        tell(HYDROGEN_WINDOW.name, math.log(own.value) - mean[tau], 0.0)
        covariance[row, row] = own.relative**2 + variance
        covariance[row, tau] = covariance[tau, row] = -variance
    elif told.hydrogen_tau_fs is not None:
        tell(HYDROGEN_WINDOW.name, math.log(LEAST_TAU_FS) - mean[at[TAU.name]], 0.0)
    if told.onset_fs is not None or told.hydrogen_onset_fs is not None:
        first = told.onset_fs or Uncertain(0.0)
        then = told.hydrogen_onset_fs or Uncertain(0.0)
        tau_fs = math.exp(mean[at[TAU.name]])
        width = math.hypot(first.uncertainty, then.uncertainty)
        tell(HYDROGEN_ONSET.name, (then.value - first.value) / tau_fs, width / tau_fs)
    return Belief(names, mean, covariance)


def _calibrated(
    told: Kind | None, found: Calibrated, symbols: Sequence[str] | None
) -> ExplosionKnowledge:
    """What references say, for the conditions that are told."""
    hypotheses = []
    same: list[str] = []
    for one in found.hypotheses:
        family = _family(one)
        names = tuple(coordinate.name for coordinate in family.coordinates)
        if sorted(names) != sorted(one.parameters):
            raise UsageError(
                f"the calibration is of {listing(one.parameters)}, but {family.name} has the "
                f"parameters {listing(names)}",
                do="Calibrate again with this version.",
            )
        carried = _at_conditions(told, family, one)
        belief = carried.belief(one.parameters, one.belief()).only(names)
        atoms = _same_molecule(one, symbols)
        if atoms is not None and isinstance(family, Deviating):
            family = SameMolecule(family, _deviations(told, family, one, atoms, carried, names))
            same.append(atoms.molecule)
        hypotheses.append(
            Hypothesis(calibrated(family, found.model_error.relative), belief, one.weight)
        )
    molecules = listing(dict.fromkeys(one.molecule for one in found.references))
    families = " or ".join(one.family.name for one in hypotheses)
    words = families if told is None else told_in_words(told)
    words = f"{words}; calibrated on {molecules}"
    if same:
        words = (
            f"{words}; the atoms deviate as those of {same[0]} do, as far as explosions are alike"
        )
    return ExplosionKnowledge(tuple(hypotheses), words, "calibrated")


def _same_molecule(
    one: CalibratedHypothesis, symbols: Sequence[str] | None
) -> CalibratedAtoms | None:
    """The reference with the same atoms; None where there is none, or isomers."""
    if symbols is None:
        return None
    wanted = kinds_of(symbols)
    found = [each for each in one.atoms if (each.elements, each.counts) == wanted]
    return found[0] if len(found) == 1 else None


def _deviations(
    told: Kind | None,
    family: Family,
    one: CalibratedHypothesis,
    atoms: CalibratedAtoms,
    carried: Carried,
    names: Sequence[str],
) -> KnownDeviations:
    """How the atoms of a reference deviate, for the conditions and parameters of an explosion."""
    joint = one.belief()
    along, covariance = np.array(atoms.along), np.array(atoms.covariance)
    belief = carried.belief(one.parameters, joint)
    # Deviations at the points and parameters of the explosion together.
    shared = along @ joint.covariance @ carried.gain.T
    whole = covariance + along @ joint.covariance @ along.T
    gain = shared @ np.linalg.pinv(belief.covariance, rcond=1e-9, hermitian=True)
    order = [one.parameters.index(name) for name in names]
    points = [one.points[number].conditions for number in atoms.points]
    here = _conditions(told, one) if told is not None and one.points[0].conditions else {}
    places = np.array([[math.log(at[name]) for name in here] for at in [here, *points]])
    places = places.reshape(1 + len(points), -1)
    distances = np.linalg.norm(places[:, None] - places[None], axis=2)
    return KnownDeviations(
        elements=atoms.elements,
        counts=atoms.counts,
        charges=np.array(atoms.charges),
        alike=pulse_alikeness(family, distances),
        mean=np.array(atoms.mean),
        gain=gain[:, order],
        covariance=whole - gain @ belief.covariance @ gain.T,
        centre=belief.mean[order],
    )


def _family(one: CalibratedHypothesis) -> Family:
    """The family of a calibrated hypothesis.

    Raises:
        UsageError: no such family is installed.
    """
    families: dict[str, type[Any]] = {
        "build_up": BuildUpFamily,
        "laser": LaserFamily,
        "ion": IonImpactFamily,
    }
    if one.family in families:
        found: Family = families[one.family]()
        return found
    if one.family == "xray":
        choices = {name: value for name, value in one.choices.items() if name != "transfer"}
        if rule := one.choices.get("transfer"):
            choices["rule"] = rule
        chosen: dict[str, Any] = dict(choices)
        return XrayFamily(still=_exact_in(one), **chosen)
    raise UsageError(f"no family {one.family!r} is installed")


def _exact_in(one: CalibratedHypothesis) -> frozenset[str]:
    """Parameters that a calibration knows exactly, under all its conditions."""
    count, width = len(one.parameters), one.belief().width
    if one.points[0].conditions:  # others than these may be told with an uncertainty
        return frozenset()
    return frozenset(name for row, name in enumerate(one.parameters) if not width[row::count].any())


def _at_conditions(told: Kind | None, family: Family, one: CalibratedHypothesis) -> Carried:
    """How the parameters under the conditions that are told follow from those of the calibration.

    Under other conditions than those of the references, deviations from the law of the family are
    carried over as far as the conditions are alike (`pipeline.calibration.prior`).

    Raises:
        UsageError: a condition is not told.
    """
    belief, count = one.belief(), len(one.parameters)
    if told is None or not one.points[0].conditions:
        return Carried.unchanged(belief, count, 0)
    wanted = _conditions(told, one)
    for number, point in enumerate(one.points):
        exact = all(getattr(told, name).is_exact for name in wanted) or number == 0
        if exact and all(math.isclose(point.conditions[name], wanted[name]) for name in wanted):
            return Carried.unchanged(belief, count, number)
    return _carried_over(told, family, one, wanted)


def _carried_over(
    told: Kind, family: Family, one: CalibratedHypothesis, wanted: dict[str, float]
) -> Carried:
    """The conditional distribution at new conditions, averaged over that at the points."""
    points = [point.conditions for point in one.points]
    blocks = [told]
    for point in points:
        changes: dict[str, Any] = {name: Uncertain(value) for name, value in point.items()}
        blocks.append(replace(told, **changes))
    priors = [_prior_of(block, family).only(one.parameters) for block in blocks]
    places = np.array([[math.log(at[name]) for name in wanted] for at in [wanted, *points]])
    distances = np.linalg.norm(places[:, None] - places[None], axis=2)
    return carried_to(priors, distances, one.common, one.belief())


def _prior_of(told: Kind, family: Family) -> Belief:
    """What is known of the parameters of a family where nothing is calibrated.

    Raises:
        UsageError: the family is not one of what is told.
    """
    for hypothesis in _told(told).hypotheses:
        if hypothesis.family.name == family.name:
            return hypothesis.belief
    raise UsageError(
        f"the calibration is of {family.name}, which is no {_NAMES[told.kind]}",
        do="Calibrate under the conditions that are told.",
    )


def _conditions(told: Kind, one: CalibratedHypothesis) -> dict[str, float]:
    """The numbers told on which a calibration depends.

    Raises:
        UsageError: one is not told.
    """
    found = {}
    for name in one.points[0].conditions:
        value = getattr(told, name, None)
        if not isinstance(value, Uncertain):
            raise UsageError(
                f"the calibration depends on {name}, which is not told",
                do="Write it into the block of the explosion.",
            )
        found[name] = value.value
    return found
