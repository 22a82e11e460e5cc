"""Mean momenta in bins of a tag, such as the delay, static background and false ones subtracted."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np

from molexa_core.base.fields import MOMENTUM
from molexa_core.base.options.gate_options import EVERYTHING, Selection, SeriesOptions
from molexa_core.base.progress import SILENT, Progress
from molexa_core.base.tables import Coincidences, ion_labels
from molexa_core.base.units import HARTREE_EV
from molexa_core.observables.binning import binned, remarks_of, remarks_on_signal, signal_of
from molexa_core.pipeline.chain.channel_limits import inherited, require_complete
from molexa_core.pipeline.chain.series_files import SeriesFiles
from molexa_core.pipeline.given.given_events import Events, file_of, given_events

MOMENTA_SERIES: Final = "momenta.series.json"


def momentum_series(
    aligned: Events,
    options: SeriesOptions,
    *,
    selection: Selection = EVERYTHING,
    out: Path | str | None = None,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """The mean momentum of every ion in every bin, as plain values.

    Args:
        aligned: aligned events with their false coincidences, or their file, which holds the tags
            of all shots.
        options: what the series runs over, bins, background.
        selection: the rows to take.
        out: JSON file to write, with a table beside it.
        progress: receives remarks and warnings.

    Returns:
        The values of the series, with the files written.

    Raises:
        UsageError, NoEventsError, InputFileError: as `observables.binning.binned`; or a name that
            ends otherwise.
        OutputError: a result cannot be written.
    """
    files = SeriesFiles.of(out, inputs=[file_of(aligned), selection.regions])
    given = given_events(aligned, "centroid", selection=selection, progress=progress)
    require_complete(given.channel, given.path)
    values = _momentum_series(given.table, options, given.shots())
    values["warnings"] += given.stale
    for warning in values["warnings"]:
        progress.warn(warning)
    settings = {"series": options.plain(), "frame": given.table.meta.get("frame")}
    return files.write(values, lambda: given.provenance(settings))


def _momentum_series(
    table: Coincidences, options: SeriesOptions, shots: dict[str, Any]
) -> dict[str, Any]:
    series = binned(table, options, shots)
    remarks, held = remarks_of(series), series.counts
    parts = [table]
    if table.false is not None and len(table.false):
        series = series.with_false(table.false)
        parts.append(table.false)
    momentum = np.concatenate([part.momentum for part in parts])
    weight = np.concatenate([part.weight for part in parts])
    first = int(table.event_id.max(initial=-1)) + 1
    event = np.concatenate(
        [part.event_id + (first if number else 0) for number, part in enumerate(parts)]
    )
    energy = np.concatenate([part.kinetic_energy().sum(axis=1) for part in parts]) * HARTREE_EV
    values = np.column_stack([momentum.reshape(len(momentum), -1), energy])
    count, width = len(series.bins), values.shape[1] - 1
    mean, error = np.empty((count, width)), np.empty((count, width))
    release, number_of = np.empty((count, 2)), np.empty((count, 2))
    for number in range(count):
        found = signal_of(values, series.coefficients(number, weight), event)
        mean[number], error[number] = found.value[:width], found.error[:width]
        release[number] = found.value[width], found.error[width]
        number_of[number] = found.number, found.number_error
    remarks += remarks_on_signal(series, ~np.isfinite(mean).all(axis=1) & (held > 0))
    quantities = [
        {"of": f"{label} {axis}", "kind": "a.u.", "bond": False}
        for label in ion_labels(table.ions)
        for axis in MOMENTUM
    ]
    return {
        **series.to_dict(quantities, mean, error, None, release, number_of),
        "warnings": [*inherited(table.meta), *remarks],
    }
