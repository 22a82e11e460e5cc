"""Reconstruct single events, with what the mean momenta give beside it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from molexa_core.base.errors import MolexaError, UsageError
from molexa_core.base.fields import EXPLOSION, MOMENTUM, WARNINGS
from molexa_core.base.known_explosion import unusual
from molexa_core.base.options.gate_options import EVERYTHING, Selection
from molexa_core.base.options.reconstruct_options import (
    ALIKE,
    SAMPLES_OF_EVENTS,
    USUAL,
    ReconstructOptions,
)
from molexa_core.base.options.work_options import HERE, WorkOptions
from molexa_core.base.progress import SILENT, Progress
from molexa_core.base.settings import Explosion, parse_settings
from molexa_core.base.shown import Shown
from molexa_core.base.storage.outputs import FileKind
from molexa_core.base.tables import Coincidences, FloatArray, Geometry, ion_labels
from molexa_core.base.units import BOHR_ANGSTROM
from molexa_core.frame.centroid import energy_kept
from molexa_core.geometry.measures import pair_distances
from molexa_core.geometry.superposition import superpose
from molexa_core.io.results.geometry_json import ReconstructionRecord, write_geometry_json
from molexa_core.io.results.structures import write_structures
from molexa_core.io.xyz import write_xyz
from molexa_core.network.network import Network
from molexa_core.network.weights import ModelCard, default_weights, load_network
from molexa_core.pipeline.chain.align import align
from molexa_core.pipeline.chain.centroid import centroid
from molexa_core.pipeline.chain.channel_limits import inherited, require_complete
from molexa_core.pipeline.chain.pick import channel_of
from molexa_core.pipeline.chain.score import score
from molexa_core.pipeline.devices import take_device
from molexa_core.pipeline.explosions.assumed import (
    Assumed,
    Changes,
    assumed_explosion,
    with_changes,
)
from molexa_core.pipeline.explosions.knowledge import knowledge_of
from molexa_core.pipeline.given.given_events import Events, GivenEvents, file_of, given_events
from molexa_core.pipeline.given.given_structure import find_geometry
from molexa_core.pipeline.inversion.geometry_belief import GeometryBelief, believed
from molexa_core.pipeline.output_guard import (
    beside_output,
    discards,
    require_outputs,
    settings_inputs,
)
from molexa_core.pipeline.reconstruction.event_means import Distribution
from molexa_core.pipeline.reconstruction.event_units import event_units
from molexa_core.pipeline.reconstruction.reconstruct import reconstruct
from molexa_core.pipeline.reconstruction.single_events import (
    EventDistribution,
    many_missing,
    reconstruct_events,
)
from molexa_core.pipeline.reconstruction.task import stated_explosion

STRUCTURES: Final = "structures.h5"
FROM_CENTROIDS: Final = "from_centroids"
ANOTHER: Final = 0.5
"""Rms distance, bohr, from which on the mean momenta may have led to another structure ..."""
BEYOND: Final = 3.0
"""... if a distance differs by more than so many of its half-widths."""
FALSE_SHARE: Final = 0.05
"""Share of false coincidences from which on a warning is due."""


@dataclass(frozen=True, repr=False)
class EventsAnswer(Shown):
    """What the events of a run give.

    Attributes:
        found: structures and distributions.
        record: the mean structure with all numbers, as in `geom.json`.
        from_centroids: the answer of the mean momenta: distances with the difference from those
            of the events, or the reason why there is none.
        structures: the file of the structures; None if they were not wanted.
        geometry: the XYZ file of the mean structure; None if it was not wanted.
    """

    found: EventDistribution
    record: ReconstructionRecord
    from_centroids: Mapping[str, Any]
    structures: Path | None
    geometry: Path | None

    def to_dict(self) -> dict[str, Any]:
        """Plain values by name, without the structures."""
        return {
            "files": {
                "structures": None if self.structures is None else str(self.structures),
                "geometry": None if self.geometry is None else str(self.geometry),
            },
            **self.found.to_dict(),
            FROM_CENTROIDS: dict(self.from_centroids),
            "errors": self.record.errors,
        }


def answer_of_events(
    events: Events,
    *,
    options: ReconstructOptions = USUAL,
    explosion: Explosion | Path | str | None = None,
    changes: Changes | None = None,
    centroids: bool = True,
    known: Geometry | Path | str | None = None,
    selection: Selection = EVERYTHING,
    work: WorkOptions = HERE,
    out: Path | str | None = None,
    progress: Progress = SILENT,
) -> EventsAnswer:
    """Reconstruct every event, and the mean momenta beside it.

    Args:
        events: coincidences of `reduce` or `align`, or their file.
        options: how structures are looked for.
        explosion: what is known about it, or a setup file, or one with a block `explosion` alone;
            if not given, of a file what the setup of `molexa.yaml` or `molexa reduce` says, and of
            events in memory their setup.
        changes: what the call itself says about the explosion, in place of that.
        centroids: whether the mean momenta are reconstructed too, to show what averaging does.
        known: the true structure, its XYZ file, or the name of a shipped molecule; the errors of
            the mean structure are recorded.
        selection: the events to take.
        out: an XYZ file for the mean structure, beside which a JSON file of the same name and
            `structures.h5` (`NAME.structures.h5` beside `NAME.xyz` other than `geom.xyz`) are
            written; or an HDF5 file for the structures alone.
        work: who computes, if a file is written; many events are inverted in units of work
            (docs/units-of-work.md).
        progress: display of the progress.

    Raises:
        InputFileError: a file is missing or not of its form.
        NoEventsError: the gates leave no event.
        UsageError: see `reconstruct_events`; also a condition that does not fit the
            events, an output name that ends neither in `.xyz` nor
            in `.h5`, or a known structure of other atoms.
        OutputError: a result cannot be written.
    """
    geometry, structures = (None, None) if out is None else _targets(Path(out))
    named = options.weights or default_weights()
    beside = None if geometry is None else beside_output(geometry, ".json")
    truth = known if isinstance(known, Path | str) else None
    setup = explosion if isinstance(explosion, Path | str) else None
    require_outputs(
        (geometry, FileKind.GEOMETRY),
        (beside, FileKind.RECONSTRUCTION),
        (structures, FileKind.STRUCTURES),
        inputs=[
            file_of(events),
            truth,
            selection.regions,
            *settings_inputs(weights=named, setup=setup),
            *options.prior_files,
        ],
    )
    given = given_events(events, "reconstruct", selection=selection, setup=setup, progress=progress)
    table = given.table
    require_complete(given.channel, given.path)
    assumed = assumed_of_events(given, explosion, changes)
    for one in assumed.remarks:
        progress.say(one)
    warnings = [*inherited(table.meta), *_false_share(table), *given.stale]
    strange = unusual(assumed.explosion.told)
    warnings += [one for one in strange if not any(one in other for other in warnings)]
    table = table.with_meta({**table.meta, WARNINGS: warnings})
    if isinstance(known, Path | str):
        known = find_geometry(known, progress)[0]
    loaded = load_network(named, take_device(options.device))
    told = assumed.explosion
    with ExitStack() as stack:
        units = None
        if structures is not None:
            units = stack.enter_context(
                event_units(structures, len(table), told, table.ions, work, progress)
            )
        with given.about():
            beside_it: dict[str, Any] = {"reason": "not asked for"}
            starts: list[tuple[FloatArray, FloatArray]] = []
            if centroids:
                beside_it, starts = _from_centroids(table, loaded, assumed, options, progress)
            found = reconstruct_events(
                table,
                options=options,
                network=loaded,
                explosion=told,
                starts=starts,
                units=units,
                progress=progress,
            )
        beside_it = _compared(found, beside_it)
        if other := _another_structure(beside_it):
            found = replace(found, warnings=(*found.warnings, other))
        record = _record(
            found,
            beside_it,
            table,
            loaded[1],
            assumed,
            given.path,
            belief=believed(options, usual=ALIKE),
        )
        if known is not None:
            record = replace(record, errors=score(record.geometry(), known).to_dict())
        settings = {
            **options.plain(weights=named, samples=options.samples or SAMPLES_OF_EVENTS),
            EXPLOSION: told.plain(),
            "explosion_source": assumed.source,
        }
        if structures is not None:
            made = given.provenance(settings, also=[truth, *options.prior_files], seed=options.seed)
            summary = {**found.to_dict(), FROM_CENTROIDS: beside_it}
            write_structures(
                structures, found.structures, made, warnings=found.warnings, summary=summary
            )
            if geometry is not None and beside is not None:
                write_geometry_json(beside, record, made)
                write_xyz(geometry, [record.geometry()], made)
    return EventsAnswer(found, record, beside_it, structures, geometry)


def assumed_of_events(
    given: GivenEvents, explosion: Explosion | Path | str | None, changes: Changes | None
) -> Assumed:
    """What is known about the explosion of events: as told, or by their files, or by their setup.

    Raises:
        InputFileError, SettingsError: a setup does not exist or is not valid.
        UsageError: numbers of different kinds of explosions, or a value out of range.
    """
    found = Assumed()
    if isinstance(explosion, Explosion):
        found = Assumed(explosion, "the call")
    elif explosion is not None or given.path is not None:
        return assumed_explosion(
            changes=changes, setup=explosion, record=given.before, path=given.path
        )
    else:
        setup = given.table.meta.get("setup")
        block = setup.get(EXPLOSION) if isinstance(setup, Mapping) else None
        if isinstance(block, Mapping):
            told = parse_settings(Explosion, dict(block), where="explosion of the events")
            found = Assumed(told, "the setup of the events")
    return found if changes is None else with_changes(found, changes)


def _targets(out: Path) -> tuple[Path | None, Path | None]:
    """The XYZ file and the file of the structures.

    Raises:
        UsageError: a name of another kind.
    """
    if out.suffix == ".h5":
        return None, out
    if out.suffix != ".xyz" and not discards(out):
        raise UsageError(
            f"{out} does not end in .xyz or .h5",
            do="Name an XYZ file, or an HDF5 file for the structures alone, with `out=`.",
        )
    if discards(out):
        return out, out
    name = STRUCTURES if out.stem == "geom" else f"{out.stem}.{STRUCTURES}"
    return out, out.with_name(name)


def _false_share(events: Coincidences) -> list[str]:
    """A warning if more than a few of the events are false coincidences."""
    number = float(events.weight.sum())
    if events.false is None or number <= 0.0:
        return []
    share = float(events.false.weight.sum()) / number
    if share < FALSE_SHARE:
        return []
    text = (
        f"{100 * share:.0f} % of the events are false coincidences, which cannot be told from true "
        "ones event by event: distributions over the events contain them; mean momenta (molexa "
        "align, molexa centroid) do not"
    )
    return [text]


def _from_centroids(
    events: Coincidences,
    loaded: tuple[Network, ModelCard],
    assumed: Assumed,
    options: ReconstructOptions,
    progress: Progress,
) -> tuple[dict[str, Any], list[tuple[FloatArray, FloatArray]]]:
    """The answer of the mean momenta as plain values, and it as a start for events."""
    try:
        table = events
        if "frame" not in events.meta:
            table = align(events, channel=channel_of(events.meta), progress=progress).table
        rows = centroid(table)
        own = ReconstructOptions(
            chemistry=options.chemistry, prior=options.prior, seed=options.seed
        )
        record = reconstruct(rows, options=own, network=loaded, explosion=assumed)
    except MolexaError as error:
        return {"reason": error.what}, []
    momenta = rows[list(MOMENTUM)].to_numpy(np.float64)
    mass = np.array([ion.mass for ion in events.ions])
    momenta = momenta - (mass / mass.sum())[:, None] * momenta.sum(axis=0)
    kept = energy_kept(table)
    values = {
        "positions_bohr": record.positions_bohr.tolist(),
        "uncertainty_bohr": None
        if record.uncertainty_bohr is None
        else record.uncertainty_bohr.tolist(),
        "uncertainty_reason": record.uncertainty_reason,
        "half_widths_bohr": [one["half_width"] for one in record.distances],
        "energy_kept": None if kept is None else kept.ratio,
        "warnings": list(record.warnings),
    }
    return values, [(record.positions_bohr, momenta)]


def _compared(found: EventDistribution, answer: dict[str, Any]) -> dict[str, Any]:
    """The answer of the mean momenta with its distances beside those of the events."""
    if "positions_bohr" not in answer:
        return answer
    mean = found.mean.geometry
    other = np.array(answer["positions_bohr"])
    fitted = superpose(mean.positions, other, mean.symbols)
    length = pair_distances(other[fitted.assignment])
    error = None
    if answer["half_widths_bohr"] and None not in answer["half_widths_bohr"]:
        error = np.zeros((len(other), len(other)))
        error[np.triu_indices(len(other), 1)] = answer["half_widths_bohr"]
        error += error.T
    elif answer["uncertainty_bohr"] is not None:
        error = _of_pairs(other, np.array(answer["uncertainty_bohr"]))
    if error is not None:
        error = error[fitted.assignment][:, fitted.assignment]
    rows = []
    for row, value in zip(found.distances, length.tolist(), strict=True):
        i, j = row["atoms"]
        rows.append(
            {
                "of": row["of"],
                "atoms": row["atoms"],
                "bond": row["bond"],
                "from_events": row["mean"],
                "from_centroids": value,
                "uncertainty": None if error is None else float(error[i, j]),
                "difference": value - row["mean"],
            }
        )
    return {
        **answer,
        "assignment": fitted.assignment.tolist(),
        "rmsd_bohr": fitted.rmsd,
        "distances_bohr": rows,
    }


def _another_structure(answer: Mapping[str, Any]) -> str:
    """A warning if the mean momenta led to another structure than the events."""
    rows = answer.get("distances_bohr", ())
    if not rows or answer["rmsd_bohr"] < ANOTHER:
        return ""
    worst = max(rows, key=lambda row: abs(row["difference"]))
    if abs(worst["difference"]) < BEYOND * (worst["uncertainty"] or 0.0):
        return ""
    here, there = (
        f"{BOHR_ANGSTROM * worst[name]:.2f}" for name in ("from_events", "from_centroids")
    )
    return (
        f"the mean momenta led to another structure, with {worst['of']} at {there} Å instead of "
        f"{here} Å: at most one of the two is right, and no error contains which"
    )


def _of_pairs(positions: FloatArray, width: FloatArray) -> FloatArray:
    """(N, N) standard errors of distances from independent ones of the coordinates."""
    apart = positions[:, None] - positions[None]
    length = np.linalg.norm(apart, axis=2) + np.eye(len(positions))
    variance = np.square(width)[:, None] + np.square(width)[None]
    return np.asarray(np.sqrt((np.square(apart / length[:, :, None]) * variance).sum(axis=2)))


def _record(
    found: EventDistribution,
    beside_it: Mapping[str, Any],
    events: Coincidences,
    card: ModelCard,
    assumed: Assumed,
    path: Path | None,
    *,
    belief: GeometryBelief,
) -> ReconstructionRecord:
    """The mean structure as `geom.json` holds it."""
    mean: Geometry = found.mean.geometry
    closure = float(np.median(found.structures.closure))
    no_common = found.mean.systematic is None
    return ReconstructionRecord(
        symbols=mean.symbols,
        isotopes=mean.isotopes,
        positions_bohr=mean.positions,
        charges=mean.charges,
        uncertainty_bohr=mean.uncertainty,
        uncertainty_reason=None
        if mean.uncertainty is not None
        else "the errors of the mean structure could not be computed",
        spread_bohr=found.mean.spread,
        closure={
            "residual": closure,
            "residual_meaning": "median over the events of the rms difference of the momenta over "
            "their rms",
            "remark": "every event was inverted exactly; this says nothing about the accuracy",
            "refined": True,
            "explains_momenta": not many_missing(found.left_out, len(found.structures)),
            "share_of_samples": found.share_of_samples,
        },
        model={"name": card.name, "parameters": card.parameters, "files": card.files},
        input={
            "file": None if path is None else str(path),
            "ions": [str(ion) for ion in events.ions],
            "labels": ion_labels(events.ions),
            "events": len(found.structures),
            "left_out": found.left_out,
            "explosion": found.explosion,
            "chemistry": belief.chemistry,
            "systematic_error": "none: the explosion was taken as known exactly"
            if no_common
            else "parameters of the explosion drawn from what is known about them",
        },
        explosion=stated_explosion(assumed, knowledge_of(assumed.explosion, single=True))
        | {"geometry_prior": belief.statement(samples=False)},
        distances=tuple(_with_half_width(row) for row in found.distances),
        angles=tuple(_with_half_width(row) for row in found.angles),
        dihedrals=tuple(
            {**_with_half_width(row), "atoms": row["atoms"]} for row in found.dihedrals
        ),
        alternatives=found.alternatives,
        warnings=found.warnings,
        events={**found.to_dict(), FROM_CENTROIDS: dict(beside_it)},
    )


def _with_half_width(row: Distribution) -> dict[str, Any]:
    """The mean of a quantity as `geom.json` states a distance: with one half-width."""
    half = float(np.hypot(row["error_of_mean"], row["systematic"] or 0.0))
    return {
        "of": row["of"],
        "median": row["mean"],
        "half_width": half,
        "low": row["mean"] - half,
        "high": row["mean"] + half,
    }
