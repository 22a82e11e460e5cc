"""`molexa calibrate explosion`: from files of references to the `explosion` block of a setup."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import yaml

from molexa_core.base.errors import UsageError, listing, near_matches
from molexa_core.base.known_explosion import ExplosionKind, Kind
from molexa_core.base.progress import SILENT, Progress
from molexa_core.base.settings import Explosion
from molexa_core.base.settings.explosion_block import (
    Calibrated,
    CalibratedAtoms,
    CalibratedHypothesis,
    CalibratedPoint,
    FamilyName,
    ModelError,
)
from molexa_core.base.settings.explosion_block import Reference as ReferenceBlock
from molexa_core.base.storage.files import UNWRITABLE, atomic_path, digest
from molexa_core.base.storage.outputs import FileKind
from molexa_core.base.storage.provenance import EXPLOSION_MARK, Provenance
from molexa_core.base.tables import FloatArray
from molexa_core.base.uncertain import Uncertain
from molexa_core.physics.family.build_up_family import BuildUpFamily
from molexa_core.physics.family.calibrated import CalibratedFamily
from molexa_core.physics.family.family import ExplosionKnowledge, Family
from molexa_core.physics.family.ion_impact import IonImpactFamily
from molexa_core.physics.family.laser_family import LaserFamily
from molexa_core.physics.surrogate.xray_family import XrayFamily
from molexa_core.pipeline.calibration.calibration import Calibration, Fit, calibrate_on
from molexa_core.pipeline.calibration.deviations import AtomDeviations
from molexa_core.pipeline.calibration.likelihood import AnyReference
from molexa_core.pipeline.calibration.reading import Named, read_reference, read_yields
from molexa_core.pipeline.calibration.references import Reference
from molexa_core.pipeline.explosions.assumed import NOWHERE, Assumed, Changes, assumed_explosion
from molexa_core.pipeline.explosions.knowledge import knowledge_of
from molexa_core.pipeline.output_guard import require_outputs

DEFAULT_OUTPUT: Final = "explosion.yaml"
CONDITIONS: Final[dict[ExplosionKind, tuple[str, ...]]] = {
    "xray": (
        "photon_ev",
        "energy_mj",
        "duration_fs",
        "focus_um",
        "transmission",
        "fluence_um2",
    ),
    "laser": ("duration_fs", "wavelength_nm", "intensity_w_cm2"),
    "ion": ("energy_mev_u", "projectile_charge"),
}
"""Numbers of the told block on which a calibration depends."""
PULSE: Final = ("duration_fs", "fluence_um2", "fluence", "photon_ev")
"""Parameters of the Monte-Carlo model that belong to the pulse; the others to the molecules."""
_MOST_COUNT: Final = 12


@dataclass(frozen=True)
class Conditions:
    """The sets of conditions of a calibration; the first one is the experiment.

    Attributes:
        told: what is told of the explosion at each.
        numbers: the numbers in which they differ, at each.
    """

    told: tuple[Kind | None, ...]
    numbers: tuple[dict[str, float], ...]

    def distances(self) -> FloatArray:
        """(C, C) distances in ln."""
        logarithms = np.log([[each[name] for name in self.numbers[0]] for each in self.numbers])
        away = logarithms[:, None] - logarithms[None, :]
        return np.asarray(np.sqrt(np.square(away).sum(axis=2)))


def conditions_of(told: Kind | None, wanted: Sequence[dict[str, float]]) -> Conditions:
    """The sets of conditions of an experiment and its references.

    Args:
        told: what is told of the experiment.
        wanted: numbers under which each reference was measured, where they differ from those.

    Raises:
        UsageError: a number that the experiment does not tell, or that is none of its kind.
    """
    here: dict[str, float] = {}
    for name in CONDITIONS.get(told.kind, ()) if told is not None else ():
        value = getattr(told, name)
        if isinstance(value, Uncertain) and value.value > 0:
            here[name] = value.value
    for name in sorted({name for each in wanted for name in each}):
        _require_told(name, told, here)
    points = [here]
    for each in wanted:
        point = {**here, **each}
        if point not in points:
            points.append(point)
    return Conditions(tuple(_told_at(told, point, here) for point in points), tuple(points))


def _require_told(name: str, told: Kind | None, here: dict[str, float]) -> None:
    """Check that the number is known of the experiment too.

    Raises:
        UsageError: it is not.
    """
    if name in here:
        return
    if told is None or told.kind not in CONDITIONS:
        raise UsageError(
            f"a reference was measured at another {name}, and nothing tells that of the experiment",
            do="Give a setup with the `explosion` block of the experiment, with `setup=`.",
        )
    known = CONDITIONS[told.kind]
    if name not in known:
        near = near_matches(name, known) or known
        raise UsageError(
            f"{name} is no condition of the explosion {told.kind!r}", do=f"Choose {listing(near)}."
        )
    raise UsageError(
        f"a reference was measured at another {name}, and that of the experiment is not known",
        do=f"Write {name} into the `explosion` block of the setup.",
    )


def _told_at(told: Kind | None, point: dict[str, float], here: dict[str, float]) -> Kind | None:
    """What is told at other numbers, as uncertain in proportion as those of the experiment."""
    changes = {name: value for name, value in point.items() if value != here[name]}
    if told is None or not changes:
        return told
    given: Any = told
    values = {
        name: Uncertain(value, value * getattr(told, name).relative)
        for name, value in changes.items()
    }
    found: Kind = replace(given, **values)
    return found


def calibrate_explosion(
    references: Sequence[AnyReference],
    conditions: Conditions,
    *,
    advise: bool = True,
    seed: int = 0,
    progress: Progress = SILENT,
) -> Calibration:
    """The posterior of the parameters of the explosion, from references in memory.

    Args:
        references: measured channels; their `condition` numbers those of `conditions`.
        conditions: of the experiment and the references.
        advise: whether to look for further references.
        seed: of the draws.
        progress: display of the progress.

    Raises:
        UsageError: no reference.
        ComputationError: no model can be computed for the references.
    """
    knowledge = [knowledge_of(Explosion.of(told)) for told in conditions.told]
    if not any(one.belief.factor().shape[1] for one in knowledge[0].hypotheses):
        raise UsageError(
            "the explosion is told exactly: nothing is left to calibrate",
            do="Leave out what is not known, or give it an uncertainty.",
        )
    return calibrate_on(
        references,
        knowledge,
        distances=conditions.distances(),
        common=common_of(knowledge[0]),
        advise=advise,
        seed=seed,
        progress=progress,
    )


def common_of(knowledge: ExplosionKnowledge) -> list[tuple[str, ...]]:
    """For each hypothesis, the parameters that do not depend on the pulse.

    The parameters of the classical families describe what a pulse does; those of the Monte-Carlo
    model that are not the pulse itself are properties of molecules.
    """
    return [
        tuple(one.name for one in hypothesis.family.coordinates if one.name not in PULSE)
        if described(hypothesis.family)[0] == "xray"
        else ()
        for hypothesis in knowledge.hypotheses
    ]


def described(family: Family) -> tuple[FamilyName, dict[str, str | bool]]:
    """The name of a family in settings, and its rules that are not numbers."""
    if isinstance(family, CalibratedFamily):
        return described(family.family)
    if isinstance(family, XrayFamily):
        rules = {"transfer": family.rule, "recapture": family.recapture, "focus": family.focus}
        return "xray", dict(rules)
    kinds: tuple[tuple[type, FamilyName], ...] = (
        (BuildUpFamily, "build_up"),
        (LaserFamily, "laser"),
        (IonImpactFamily, "ion"),
    )
    for kind, name in kinds:
        if isinstance(family, kind):
            return name, {}
    raise UsageError(f"{family.name}: this family cannot be calibrated")


def calibrated_block(
    found: Calibration,
    conditions: Conditions,
    references: Sequence[ReferenceBlock],
    made: dict[str, str],
) -> Calibrated:
    """The `calibrated` part of the `explosion` block."""
    return Calibrated(
        hypotheses=tuple(_hypothesis(fit, conditions) for fit in found.fits),
        model_error=ModelError(relative=float(f"{found.misfit:.3g}")),
        references=tuple(references),
        p_value=float(f"{found.p_value:.3g}"),
        notes=(*found.notes, *found.warnings),
        made=made,
    )


def _hypothesis(fit: Fit, conditions: Conditions) -> CalibratedHypothesis:
    name, choices = described(fit.family)
    size = len(fit.coordinates)
    return CalibratedHypothesis(
        family=name,
        choices=choices,
        weight=float(f"{fit.weight[1]:.6g}"),
        parameters=tuple(one.name for one in fit.coordinates),
        points=tuple(
            CalibratedPoint(
                conditions=point,
                mean=tuple(_short(v) for v in fit.belief.mean[size * k : size * (k + 1)]),
            )
            for k, point in enumerate(conditions.numbers)
        ),
        covariance=tuple(tuple(_short(v) for v in row) for row in fit.belief.covariance),
        common=fit.common,
        atoms=tuple(_atoms(one) for one in fit.deviations),
    )


def _atoms(one: AtomDeviations) -> CalibratedAtoms:
    return CalibratedAtoms(
        molecule=one.molecule,
        elements=one.elements,
        counts=one.counts,
        points=one.conditions,
        charges=tuple(tuple(_short(v) for v in row) for row in one.charges),
        mean=tuple(_short(v) for v in one.mean),
        along=tuple(tuple(_short(v) for v in row) for row in one.along),
        covariance=tuple(tuple(_short(v) for v in row) for row in one.covariance),
    )


def _short(value: float) -> float:
    return float(f"{value:.9g}")


def calibrate_explosion_files(
    references: Sequence[str],
    *,
    yields: Sequence[str] = (),
    setup: Path | str | None = None,
    changes: Changes | None = None,
    out: Path | str = DEFAULT_OUTPUT,
    seed: int = 0,
    progress: Progress = SILENT,
) -> tuple[Path, Calibration]:
    """Calibrate the explosion on molecules of known geometry and write its settings.

    To use them, write `explosion: explosion.yaml` in the setup, or give the file as `setup=`.

    Args:
        references: `FILE=MOLECULE` with mean momenta (`channel.csv`) or, better, coincidences
            (`*.events.h5`, `*.aligned.h5`), and the name, formula or XYZ file of the molecule;
            `FILE=MOLECULE@duration_fs=30` where a number of the told block was another one.
        yields: `FILE=MOLECULE` with how often the molecule ended in each of several combinations
            of charges (`reading.read_yields`).
        setup: setup, or file with an `explosion` block, that tells what is known of the explosion.
        changes: what the call itself tells of it.
        out: the YAML file.
        seed: of the draws.
        progress: display of the progress.

    Returns:
        The file written, and the calibration.

    Raises:
        UsageError: no reference, or one that is not understood.
        InputFileError, SettingsError: a file cannot be read or does not fit its molecule.
        ComputationError: the model cannot explode the references.
        OutputError: the result cannot be written.
    """
    named = [Named.of(text) for text in references]
    counted = [Named.of(text) for text in yields]
    if not named:
        raise UsageError("no references are given", do="Give FILE=MOLECULE, such as n2.csv=N2.")
    if len(named) + len(counted) > _MOST_COUNT:
        raise UsageError(f"{len(named) + len(counted)} references; at most {_MOST_COUNT} are used")
    out = Path(out)
    inputs = [one.path for one in (*named, *counted)]
    require_outputs((out, FileKind.EXPLOSION), inputs=[*inputs, setup])
    assumed = assumed_explosion(changes=changes, setup=setup)
    told = assumed.explosion.told
    _say(assumed, progress)
    conditions = conditions_of(told, [dict(one.conditions) for one in (*named, *counted)])
    read = [
        *_read_all(named, conditions, read_reference, progress),
        *_read_all(counted, conditions, read_yields, progress),
    ]
    found = calibrate_explosion(read, conditions, seed=seed, progress=progress)
    for warning in found.warnings:
        progress.warn(warning)
    blocks = [_used(one, at) for one, at in zip((*named, *counted), read, strict=True)]
    record = Provenance.of(
        inputs=[*inputs, *([] if setup is None else [setup])],
        settings={"explosion": Explosion.of(told).plain()},
        seed=seed,
    )
    made = {"version": record.version, "command": record.command, "created": record.created}
    calibrated = calibrated_block(found, conditions, blocks, made)
    write_explosion(out, Explosion.of(told, calibrated), record)
    return out, found


def _say(assumed: Assumed, progress: Progress) -> None:
    for remark in assumed.remarks:
        progress.say(remark)
    told = assumed.explosion.told
    if told is None:
        progress.say(f"{NOWHERE}: pulses of every kind are tried; a setup that tells more helps")
    else:
        progress.say(f"explosion {told.kind} as told by {assumed.source}")


def _read_all(
    named: Sequence[Named],
    conditions: Conditions,
    read: Callable[[Named, int, Progress], AnyReference],
    progress: Progress,
) -> list[AnyReference]:
    here = conditions.numbers[0]
    return [
        read(one, conditions.numbers.index({**here, **one.conditions}), progress) for one in named
    ]


def _used(named: Named, reference: AnyReference) -> ReferenceBlock:
    ions = reference.ions if isinstance(reference, Reference) else reference.targets[0].ions
    return ReferenceBlock(
        file=str(named.path),
        molecule=reference.molecule,
        ions=tuple(str(ion) for ion in ions),
        count=float(f"{reference.observed.events:.6g}") or None,
        digest=digest(named.path),
        conditions=dict(named.conditions),
    )


def write_explosion(path: Path | str, explosion: Explosion, record: Provenance) -> None:
    """Write a file with an `explosion` block, to be named in a setup.

    Raises:
        OutputError: the file cannot be written there.
    """
    text = yaml.safe_dump(
        {"explosion": explosion.plain()}, sort_keys=False, default_flow_style=None, width=100
    )
    head = (
        f"{EXPLOSION_MARK}{record.to_json()}\n"
        f"# Calibrated on molecules of known geometry; taken up by `explosion: {Path(path).name}` "
        "in the setup.\n"
    )
    with atomic_path(path) as temporary:
        temporary.write_text(head + text, encoding="utf-8", errors=UNWRITABLE)
