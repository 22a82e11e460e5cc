"""Reconstruct events from file to file, with what the mean momenta give beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from molexa_core.base.errors import MolexaError, UsageError, about_file
from molexa_core.base.fields import EXPLOSION, GATES, MOMENTUM, WARNINGS
from molexa_core.base.options.gate_options import EVERYTHING, Selection
from molexa_core.base.options.work_options import HERE, WorkOptions
from molexa_core.base.progress import SILENT, Progress
from molexa_core.base.shown import Shown
from molexa_core.base.storage.outputs import FileKind
from molexa_core.base.storage.provenance import Provenance
from molexa_core.base.tables import Coincidences, FloatArray, Geometry, ion_labels
from molexa_core.base.units import BOHR_ANGSTROM
from molexa_core.frame.centroid import energy_kept
from molexa_core.geometry.measures import pair_distances
from molexa_core.geometry.superposition import superpose
from molexa_core.io.results.events import read_events
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
from molexa_core.pipeline.chain.selected import gating_of, select, settings_read
from molexa_core.pipeline.chain.stale import require_fresh, say_unguarded
from molexa_core.pipeline.devices import take_device
from molexa_core.pipeline.explosions.assumed import Assumed, Changes, assumed_explosion
from molexa_core.pipeline.explosions.knowledge import knowledge_of
from molexa_core.pipeline.named_structure import find_geometry
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
    SAMPLES,
    SEARCH,
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


def reconstruct_events_file(
    path: Path | str,
    out: Path | str = "geom.xyz",
    *,
    setup: Path | str | None = None,
    changes: Changes | None = None,
    weights: str | None = None,
    samples: int = SAMPLES,
    search: int = SEARCH,
    chemistry: bool = True,
    centroids: bool = True,
    seed: int = 0,
    device: str = "auto",
    truth: Path | str | None = None,
    selection: Selection = EVERYTHING,
    work: WorkOptions = HERE,
    progress: Progress = SILENT,
) -> EventsAnswer:
    """Reconstruct every event of an `events.h5` or `aligned.h5`, and the mean momenta beside it.

    Args:
        path: the events.
        out: an XYZ file for the mean structure, beside which a JSON file of the same name and
            `structures.h5` (`NAME.structures.h5` beside `NAME.xyz` other than `geom.xyz`) are
            written; or an HDF5 file for the structures alone.
        setup: setup file, or one with a block `explosion` alone, that says what the explosion was;
            if not given that of `molexa.yaml`, or what `molexa reduce` recorded.
        changes: what the call itself says about the explosion.
        weights: name or path of weights.
        samples: as in `reconstruct_events`.
        search: as in `reconstruct_events`.
        chemistry: as in `reconstruct_events`.
        centroids: whether the mean momenta are reconstructed too, to show what averaging does.
        seed: of all random draws.
        device: of the network.
        truth: XYZ file of the known structure; the errors of the mean structure are recorded.
        selection: the events to take.
        work: who computes; many events are inverted in units of work (docs/units-of-work.md).
        progress: display of the progress.

    Raises:
        InputFileError: a file is missing or not of its form.
        NoEventsError: the gates leave no event.
        UsageError: see `reconstruct_events`; also a condition that does not fit the
            events, an output name that ends neither in `.xyz` nor
            in `.h5`, or a known structure of other atoms.
        OutputError: a result cannot be written.
    """
    geometry, structures = _targets(Path(out))
    named = weights or default_weights()
    beside = None if geometry is None else beside_output(geometry, ".json")
    require_outputs(
        (geometry, FileKind.GEOMETRY),
        (beside, FileKind.RECONSTRUCTION),
        (structures, FileKind.STRUCTURES),
        inputs=[path, truth, selection.regions, *settings_inputs(weights=named, setup=setup)],
    )
    events, before = read_events(path)
    channel = channel_of(events.meta)
    require_complete(channel, path)
    gates = gating_of(selection, "reconstruct", channel=channel)
    events = select(events, gates, progress)
    known = [*inherited(events.meta), *_false_share(events), *require_fresh(path, before)]
    say_unguarded(path, before, progress)
    events = replace(events, meta={**events.meta, WARNINGS: known})
    assumed = assumed_explosion(changes=changes, setup=setup, record=before, path=path)
    for one in assumed.remarks:
        progress.say(one)
    true = None if truth is None else find_geometry(truth, progress)[0]
    loaded = load_network(named, take_device(device))
    place = structures or Path(out)
    told = assumed.explosion
    with event_units(place, len(events), told, events.ions, work, progress) as units:
        with about_file(path):
            beside_it: dict[str, Any] = {"reason": "not asked for"}
            starts: list[tuple[FloatArray, FloatArray]] = []
            if centroids:
                beside_it, starts = _from_centroids(
                    events, loaded, assumed, chemistry=chemistry, seed=seed, progress=progress
                )
            found = reconstruct_events(
                events,
                explosion=assumed.explosion,
                weights=loaded,
                samples=samples,
                search=search,
                chemistry=chemistry,
                starts=starts,
                seed=seed,
                units=units,
                progress=progress,
            )
        beside_it = _compared(found, beside_it)
        if other := _another_structure(beside_it):
            found = replace(found, warnings=(*found.warnings, other))
        record = _record(
            found, beside_it, events, loaded[1], assumed, str(path), chemistry=chemistry
        )
        if true is not None:
            record = replace(record, errors=score(record.geometry(), true).to_dict())
        settings = {
            "weights": named,
            "device": device,
            "samples": samples,
            "search": search,
            "chemistry": chemistry,
            EXPLOSION: assumed.explosion.plain(),
            "explosion_source": assumed.source,
        }
        if gates:
            settings[GATES] = gates.record()
        inputs = [path] if truth is None else [path, truth]
        inputs += settings_read(selection, setup=setup)
        made = Provenance.of(inputs=inputs, settings=settings, seed=seed, after=before)
        if structures is not None:
            summary = {**found.to_dict(), FROM_CENTROIDS: beside_it}
            write_structures(
                structures, found.structures, made, warnings=found.warnings, summary=summary
            )
        if geometry is not None and beside is not None:
            write_geometry_json(beside, record, made)
            write_xyz(geometry, [record.geometry()], made)
    return EventsAnswer(found, record, beside_it, structures, geometry)


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
    *,
    chemistry: bool,
    seed: int,
    progress: Progress,
) -> tuple[dict[str, Any], list[tuple[FloatArray, FloatArray]]]:
    """The answer of the mean momenta as plain values, and it as a start for events."""
    try:
        table = events
        if "frame" not in events.meta:
            table = align(events, channel=channel_of(events.meta), progress=progress).table
        rows = centroid(table)
        record = reconstruct(
            rows, weights=loaded, explosion=assumed, chemistry=chemistry, seed=seed
        )
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
    path: str,
    *,
    chemistry: bool,
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
            "file": path,
            "ions": [str(ion) for ion in events.ions],
            "labels": ion_labels(events.ions),
            "events": len(found.structures),
            "left_out": found.left_out,
            "explosion": found.explosion,
            "chemistry": chemistry,
            "systematic_error": "none: the explosion was taken as known exactly"
            if no_common
            else "parameters of the explosion drawn from what is known about them",
        },
        explosion=stated_explosion(assumed, knowledge_of(assumed.explosion, single=True)),
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
