"""Structure against delay: single events inverted, averaged bin by bin, static background removed.

Distances and angles of the signal are means over its molecules, so they follow linearly from the
events: those of a bin less those of the background, scaled by the shots (`observables.binning`).
Mean momenta would not do: the structure of a mean momentum is not the mean structure.

All events are solved from one reference, the mean structure of the background (or of all events
without one), directly and then step by step on the way from there, so that a structure that changes
stays on its branch as long as it goes on. An event counts if a structure explains it and it is not
alone: its structure has others beside it. The same choice is made for signal and background.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from molexa_core.base.errors import ComputationError
from molexa_core.base.fields import EXPLOSION, WARNINGS
from molexa_core.base.options.gate_options import EVERYTHING, Selection, SeriesOptions
from molexa_core.base.options.reconstruct_options import (
    ALIKE,
    SAMPLES_OF_EVENTS,
    USUAL,
    ReconstructOptions,
)
from molexa_core.base.progress import SILENT, Progress
from molexa_core.base.settings import Explosion
from molexa_core.base.tables import BoolArray, Coincidences, FloatArray, Geometry, ion_labels
from molexa_core.base.units import HARTREE_EV
from molexa_core.geometry.bonds import bonds
from molexa_core.geometry.measures import pair_distances
from molexa_core.network.network import Network
from molexa_core.network.weights import ModelCard, default_weights, load_network
from molexa_core.observables.binning import Binned, binned, remarks_of, remarks_on_signal, signal_of
from molexa_core.physics.family.family import Fragments
from molexa_core.pipeline.chain.channel_limits import inherited, require_complete
from molexa_core.pipeline.chain.series_files import SeriesFiles
from molexa_core.pipeline.devices import take_device
from molexa_core.pipeline.explosions.assumed import Changes
from molexa_core.pipeline.given.given_events import Events, file_of, given_events
from molexa_core.pipeline.inversion.geometry_belief import GeometryBelief, believed
from molexa_core.pipeline.output_guard import settings_inputs
from molexa_core.pipeline.reconstruction.branch import Reference, Solved, Solver
from molexa_core.pipeline.reconstruction.event_branches import settled
from molexa_core.pipeline.reconstruction.event_means import (
    DRAWS,
    NoiseShift,
    Quantities,
    Systematic,
    noise_shift,
    systematic,
)
from molexa_core.pipeline.reconstruction.events_answer import assumed_of_events
from molexa_core.pipeline.reconstruction.single_events import (
    Prepared,
    first_that_explains,
    prepared,
)

SERIES_FILE: Final = "series.json"
"""The usual file of a series."""
NEIGHBOURS: Final = 5
"""Structures that an event must have beside it, ..."""
LONELY: Final = 6.0
"""... within so many times the distance that is typical in its half of the events."""
FEW_SOLVED: Final = 0.8
"""Share of the events without a structure that counts, below which there is a warning."""
NOISY: Final = 400
"""Events of a bin that are solved again with added errors."""


@dataclass(frozen=True)
class Quantity:
    """One distance or angle.

    Attributes:
        of: the ions, such as `O+-C+`.
        kind: `distance` (bohr) or `angle` (degrees).
        bond: whether it is the length of a bond of the reference.
    """

    of: str
    kind: str
    bond: bool


@dataclass(frozen=True)
class StructureSeries:
    """Structures against what a series runs over.

    Attributes:
        series: bins, rows and background, of the events that have a structure.
        quantities: distances, then angles.
        value: (bins, quantities) means of the signal in bohr and degrees; not numbers where a bin
            has no signal.
        statistical: (bins, quantities) standard errors from the numbers of events.
        systematic: (bins, quantities) standard errors from what is not known about the explosion;
            None if it was told exactly.
        release: (bins, 2) mean kinetic energy release of the signal and its standard error, eV.
        number: (bins, 2) events of the signal and its standard error.
        explosion: what was assumed about the explosion, as a sentence.
        resolution: where the resolution comes from; None if it is not known.
        left_out: numbers of events without a structure that counts, by reason.
        warnings: sentences for the user.
    """

    series: Binned
    quantities: tuple[Quantity, ...]
    value: FloatArray
    statistical: FloatArray
    systematic: FloatArray | None
    release: FloatArray
    number: FloatArray
    explosion: str
    resolution: str | None
    left_out: Mapping[str, int]
    warnings: tuple[str, ...]

    @property
    def error(self) -> FloatArray:
        """(bins, quantities) both errors in quadrature."""
        if self.systematic is None:
            return self.statistical
        return np.hypot(self.statistical, self.systematic)

    def to_dict(self) -> dict[str, Any]:
        """Plain values by name; what is not known is null."""
        quantities = [vars(quantity) for quantity in self.quantities]
        return {
            **self.series.to_dict(
                quantities,
                self.value,
                self.statistical,
                self.systematic,
                self.release,
                self.number,
            ),
            "explosion": self.explosion,
            "resolution": self.resolution,
            "left_out": dict(self.left_out),
            "warnings": list(self.warnings),
        }


def structure_series(
    events: Events,
    options: SeriesOptions,
    *,
    structure: ReconstructOptions = USUAL,
    explosion: Explosion | Path | str | None = None,
    changes: Changes | None = None,
    selection: Selection = EVERYTHING,
    out: Path | str | None = None,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Reconstruct the structure of the signal in every bin, as plain values.

    Args:
        events: coincidences of `reduce` or `align`, or their file, which holds the tags of all
            shots.
        options: what the series runs over, bins, background.
        structure: how structures are looked for.
        explosion: as in `events_answer.answer_of_events`.
        changes: what the call itself says about the explosion.
        selection: the events to take.
        out: JSON file to write; a table of the same name (`.csv`) is written beside it.
        progress: display of the progress.

    Returns:
        The values of the series, with the files written.

    Raises:
        InputFileError: a file is missing or not of its form, or shots are not known.
        UsageError: bins or conditions that do not fit the events; a name that ends otherwise.
        NoEventsError: nothing is left.
        OutputError: a result cannot be written.
    """
    named = structure.weights or default_weights()
    setup = explosion if isinstance(explosion, Path | str) else None
    read = [file_of(events), selection.regions, *settings_inputs(weights=named, setup=setup)]
    read += structure.prior_files
    files = SeriesFiles.of(out, inputs=read)
    given = given_events(events, "reconstruct", selection=selection, setup=setup, progress=progress)
    table = given.table
    require_complete(given.channel, given.path)
    table = table.with_meta({**table.meta, WARNINGS: [*inherited(table.meta), *given.stale]})
    shots = given.shots()
    binned(table, options, shots)  # what does not fit is told before anything is computed
    assumed = assumed_of_events(given, explosion, changes)
    for one in assumed.remarks:
        progress.say(one)
    loaded = load_network(named, take_device(structure.device))
    with given.about():
        found = reconstruct_series(
            table,
            options,
            shots,
            structure=structure,
            network=loaded,
            explosion=assumed.explosion,
            progress=progress,
        )
    for warning in found.warnings:
        progress.warn(warning)
    settings = {
        **structure.plain(weights=named, samples=structure.samples or SAMPLES_OF_EVENTS),
        "series": options.plain(),
        "geometry_prior": believed(structure, usual=ALIKE).statement(samples=False),
        EXPLOSION: assumed.explosion.plain(),
        "explosion_source": assumed.source,
    }
    return files.write(found.to_dict(), lambda: given.provenance(settings, seed=structure.seed))


def reconstruct_series(
    events: Coincidences,
    options: SeriesOptions,
    shots: Mapping[str, NDArray[Any]],
    *,
    structure: ReconstructOptions = USUAL,
    network: tuple[Network, ModelCard] | None = None,
    explosion: Explosion | None = None,
    draws: int = DRAWS,
    progress: Progress = SILENT,
) -> StructureSeries:
    """Reconstruct every event, and the mean structure of the signal in every bin.

    Args:
        events: momenta of complete coincidences, in the laboratory frame or a molecular one.
        options: what the series runs over, bins, background.
        shots: tags of all shots, by name; empty where they are not known.
        structure: how structures are looked for.
        network: a loaded network with its card, in place of the one of `structure`.
        explosion: as in `single_events.reconstruct_events`.
        draws: members of the family for the systematic error.
        progress: display of the progress.

    Raises:
        UsageError, NoEventsError, InputFileError: as `observables.binning.binned`.
        UnknownIonError: an ion that the network does not know.
        ComputationError: no structure explains the events.
    """
    belief = believed(structure, usual=ALIKE, progress=progress)
    whole = binned(events, options, shots)
    events, series = events.select(whole.used), whole.select(whole.used)
    ready = prepared(events, explosion, options=structure, network=network)
    series = _rows_of(series, events, ready)
    if events.false is not None and len(events.false):
        false = _once(events.false.with_meta(events.meta))
        ready, series = ready.with_others(false), series.with_false(false)
        ready = ready.select(series.used)
        series = series.select(series.used)
    typical = series.sign > 0
    if series.background:
        typical &= series.of_background
    solver, found = first_that_explains(ready, typical, options=structure, progress=progress)
    reference, _, _ = settled(solver, ready.momenta[typical], found[0].reference)
    solved = _solved(solver, ready.momenta, reference, progress)
    explained = solved.explained
    features = pair_distances(solved.positions)
    good = explained & _among_others(features, explained, series.sign > 0)
    if not good.any():
        raise ComputationError(
            "no structure explains the momenta of the events",
            do="Check the ions and the explosion that was told.",
        )
    counted = series.select(good)
    kept = solved.rows(good)
    table = ready.table.select(good)
    shifts, commons = _of_groups(
        counted, solver, kept, reference, ready, seed=structure.seed, draws=draws,
        belief=belief,
        progress=progress,
    )  # fmt: skip
    left_out = {
        "unusable": ready.unusable,
        "unexplained": int((~explained).sum()),
        "alone": int((explained & ~good).sum()),
    }
    warnings = [*ready.warnings, *remarks_of(whole), *_doubts(left_out, len(solved))]
    return _means(counted, kept, table, reference, shifts, commons, ready, left_out, warnings)


def _once(table: Coincidences) -> Coincidences:
    """Every event once, with the sum of its weights."""
    _, first, by_event = np.unique(table.event_id, return_index=True, return_inverse=True)
    weight = np.bincount(by_event, weights=table.weight).astype(np.float64)
    return replace(table.select(first), weight=weight)


def _rows_of(series: Binned, events: Coincidences, ready: Prepared) -> Binned:
    """The bins of the events that were prepared, each of which has one row."""
    _, first = np.unique(events.event_id, return_index=True)
    order = first[np.searchsorted(events.event_id[first], ready.table.event_id)]
    return series.select(order)


def _solved(
    solver: Solver, momenta: FloatArray, reference: Reference, progress: Progress
) -> Solved:
    """Every event, step by step from the reference where the direct way fails."""
    with progress.task("inverting", len(momenta), "events") as task:
        solved = solver.solve(momenta, reference)
        for steps in (6, 20):
            bad = np.flatnonzero(~solved.explained)
            if not len(bad):
                break
            trial = solver.along(solved, bad, reference, steps=steps)
            better = trial.explained
            solved = solved.with_rows(bad[better], trial.rows(better))
        task.advance(len(momenta))
    return solved


def _among_others(features: FloatArray, explained: BoolArray, real: BoolArray) -> BoolArray:
    """(n) which structures have others beside them, by their distances (n, pairs).

    The distance to the `NEIGHBOURS`th nearest structure of a real event is compared with what is
    typical. False coincidences, of which there are more than are expected, do not count as others.
    """
    from scipy.spatial import KDTree  # noqa: PLC0415  # takes a tenth of a second

    found = np.zeros(len(features), np.bool_)
    rows, those = np.flatnonzero(explained), np.flatnonzero(explained & real)
    if len(those) <= 2 * NEIGHBOURS:
        found[rows] = True
        return found
    scale = np.median(np.abs(features[those] - np.median(features[those], axis=0)), axis=0) + 1e-6
    tree = KDTree(features[those] / scale)
    near = np.asarray(tree.query(features[rows] / scale, k=NEIGHBOURS + 1)[0])
    # A real event is its own nearest.
    far = np.where(real[rows], near[:, -1], near[:, -2])
    found[rows] = far <= LONELY * float(np.quantile(far[real[rows]], 0.75))
    return found


def _of_groups(
    series: Binned,
    solver: Solver,
    solved: Solved,
    reference: Reference,
    ready: Prepared,
    *,
    seed: int,
    draws: int,
    belief: GeometryBelief,
    progress: Progress,
) -> tuple[dict[int, NoiseShift | None], dict[int, Systematic | None]]:
    """Shifts by the resolution and by the explosion, of each bin and (negative) background."""
    symbols = tuple(ion.element.symbol for ion in ready.table.ions)
    prior = belief.prior(symbols)
    groups = {number: series.member == number for number in range(len(series.bins))}
    groups |= {-1 - kind: rows for kind, rows in enumerate(series.background)}
    shifts: dict[int, NoiseShift | None] = {}
    commons: dict[int, Systematic | None] = {}
    with progress.task("errors", len(groups), "bins") as task:
        for key, rows in groups.items():
            part = solved.rows(rows & (series.sign > 0))
            shifts[key] = commons[key] = None
            task.advance()
            if len(part) < 2:
                continue
            if ready.resolution is not None:
                shifts[key] = noise_shift(
                    solver, part, ready.in_their_frame(ready.resolution), reference,
                    lambda moved: moved.explained, np.random.default_rng([seed, 8, key + 1000]),
                    events=NOISY,
                )  # fmt: skip
            # The same members for all groups, so that what they do to signal and background alike
            # is subtracted.
            commons[key] = systematic(
                solver, part, ready.knowledge, reference, prior,
                np.random.default_rng([seed, 9]), draws=draws,
            )  # fmt: skip
    return shifts, commons


def _means(
    series: Binned,
    solved: Solved,
    table: Coincidences,
    reference: Reference,
    shifts: Mapping[int, NoiseShift | None],
    commons: Mapping[int, Systematic | None],
    ready: Prepared,
    left_out: Mapping[str, int],
    warnings: Sequence[str],
) -> StructureSeries:
    of = Quantities.of(solved.positions, reference.positions, Fragments.of(table.ions))
    columns = np.concatenate([of.distances, of.angles], axis=1)
    energy = table.kinetic_energy().sum(axis=1) * HARTREE_EV
    values = np.column_stack([columns, energy])
    count, width = len(series.bins), columns.shape[1]
    value, error = np.empty((count, width)), np.empty((count, width))
    release, number_of = np.empty((count, 2)), np.empty((count, 2))
    known = any(one is not None for one in commons.values())
    common = np.zeros((count, width)) if known else None
    for number in range(count):
        coefficients = series.coefficients(number, table.weight)
        signal = signal_of(values, coefficients, np.arange(len(table)))
        release[number] = signal.value[width], signal.error[width]
        number_of[number] = signal.number, signal.number_error
        value[number], error[number] = signal.value[:width], signal.error[:width]
        if not np.isfinite(signal.value).all():
            continue
        shares = _shares(series, number, table.weight)
        value[number] = signal.value[:width] - _shared(shifts, shares, "shift", width)
        noise = _shared(shifts, shares, "error", width, squares=True)
        error[number] = np.sqrt(np.square(signal.error[:width]) + noise)
        if common is not None:
            value[number] += _shared(commons, shares, "shift", width)
            together = np.abs(_shared(commons, shares, "error", width))
            common[number] = np.maximum(together, _column(commons[number], "error", width))
    more = remarks_on_signal(series, np.asarray(~np.isfinite(value).all(axis=1)))
    return StructureSeries(
        series=series,
        quantities=_quantities(table, reference),
        value=value,
        statistical=error,
        systematic=common,
        release=release,
        number=number_of,
        explosion=ready.knowledge.statement,
        resolution=None if ready.resolution is None else ready.resolution.source,
        left_out=left_out,
        warnings=tuple(dict.fromkeys([*warnings, *more])),
    )


def _shares(series: Binned, number: int, weight: FloatArray) -> dict[int, float]:
    """What each group has of the signal: its weight over that of the signal, with its sign."""
    total = float(series.coefficients(number, weight).sum())
    weight = series.sign * weight
    found = {number: float(weight[series.member == number].sum()) / total}
    for kind, rows in enumerate(series.background):
        scale = float(series.scales[number, kind])
        found[-1 - kind] = -scale * float(weight[rows].sum()) / total
    return found


def _shared(
    of: Mapping[int, NoiseShift | None] | Mapping[int, Systematic | None],
    shares: Mapping[int, float],
    name: str,
    width: int,
    *,
    squares: bool = False,
) -> FloatArray:
    """(quantities) sum over the groups of a number times what each has of the signal."""
    found = np.zeros(width)
    for key, share in shares.items():
        part = share * _column(of[key], name, width)
        found += np.square(part) if squares else part
    return found


def _column(of: NoiseShift | Systematic | None, name: str, width: int) -> FloatArray:
    return np.zeros(width) if of is None else np.asarray(getattr(of, name))[:width]


def _quantities(table: Coincidences, reference: Reference) -> tuple[Quantity, ...]:
    labels = ion_labels(table.ions)
    atoms = range(len(labels))
    symbols = tuple(ion.element.symbol for ion in table.ions)
    joined = bonds(Geometry(symbols, reference.positions))
    found = [
        Quantity(f"{labels[i]}-{labels[j]}", "distance", (i, j) in joined)
        for i in atoms
        for j in atoms[i + 1 :]
    ]
    found += [
        Quantity(f"{labels[i]}-{labels[vertex]}-{labels[j]}", "angle", bond=False)
        for vertex in (atoms if len(labels) > 2 else ())
        for i in atoms
        for j in atoms[i + 1 :]
        if vertex not in (i, j)
    ]
    return tuple(found)


def _doubts(left_out: Mapping[str, int], events: int) -> list[str]:
    missing = left_out["unexplained"] + left_out["alone"]
    found = []
    if missing > (1.0 - FEW_SOLVED) * events:
        found.append(
            f"{missing} of {events} events have no structure, or one unlike all others: accidental "
            "coincidences, or another explosion than assumed"
        )
    return found
