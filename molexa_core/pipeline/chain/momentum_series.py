"""Mean momenta in bins of a tag, such as the delay, static background and false ones subtracted."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np

from molexa_core.base.errors import UsageError
from molexa_core.base.fields import GATES, MOMENTUM
from molexa_core.base.options.gate_options import EVERYTHING, Selection, SeriesOptions
from molexa_core.base.progress import SILENT, Progress
from molexa_core.base.storage.outputs import FileKind
from molexa_core.base.storage.provenance import Provenance
from molexa_core.base.tables import Coincidences, ion_labels
from molexa_core.base.units import HARTREE_EV
from molexa_core.io.results.events import read_events, read_shots
from molexa_core.io.results.series_file import write_series, write_series_table
from molexa_core.observables.binning import binned, remarks_of, signal_of
from molexa_core.pipeline.chain.channel_limits import inherited, require_complete
from molexa_core.pipeline.chain.pick import ALIGNED_SUFFIX, channel_of, only_file
from molexa_core.pipeline.chain.selected import gating_of, select, settings_read
from molexa_core.pipeline.chain.stale import require_fresh, say_unguarded
from molexa_core.pipeline.output_guard import beside_output, require_outputs

MOMENTA_SERIES: Final = "momenta.series.json"


def momentum_series(
    table: Coincidences, options: SeriesOptions, shots: dict[str, Any]
) -> dict[str, Any]:
    """The mean momentum of every ion in every bin, as plain values.

    Args:
        table: aligned events with their false coincidences.
        options: what the series runs over, bins, background.
        shots: tags of all shots; empty where they are not known.

    Raises:
        UsageError, NoEventsError, InputFileError: as `observables.binning.binned`.
    """
    series = binned(table, options, shots)
    remarks = remarks_of(series)
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
    lost = int((~np.isfinite(mean).all(axis=1)).sum())
    if lost:
        remarks.append(f"no signal above the background in {lost} of {count} bins of {series.by}")
    quantities = [
        {"of": f"{label} {axis}", "kind": "a.u.", "bond": False}
        for label in ion_labels(table.ions)
        for axis in MOMENTUM
    ]
    return {
        **series.to_dict(quantities, mean, error, None, release, number_of),
        "warnings": [*inherited(table.meta), *remarks],
    }


def momentum_series_file(
    path: Path | str | None,
    options: SeriesOptions,
    out: Path | str = MOMENTA_SERIES,
    *,
    selection: Selection = EVERYTHING,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Mean momenta in bins from an aligned file, as JSON and as a table beside it.

    Args:
        path: the aligned file; the only `*.aligned.h5` in the working folder if None.
        options: what the series runs over, bins, background.
        out: the JSON file to write.
        selection: the rows to take.
        progress: receives remarks and warnings.

    Returns:
        The values of the series with the files written.

    Raises:
        UsageError, NoEventsError, InputFileError: as `momentum_series`; or a name that ends
            otherwise.
        OutputError: a result cannot be written.
    """
    out = Path(out)
    if out.suffix != ".json":
        raise UsageError(
            f"{out} does not end in .json", do="Name the JSON file of the series with `out=`."
        )
    source = (
        only_file(ALIGNED_SUFFIX, made_by="molexa align", progress=progress)
        if path is None
        else Path(path)
    )
    beside = beside_output(out, ".csv")
    require_outputs(
        (out, FileKind.SERIES),
        (beside, FileKind.SERIES_TABLE),
        inputs=[source, selection.regions],
    )
    table, before = read_events(source)
    channel = channel_of(table.meta)
    require_complete(channel, source)
    gates = gating_of(selection, "centroid", channel=channel)
    table = select(table, gates, progress)
    stale = require_fresh(source, before)
    say_unguarded(source, before, progress)
    values = momentum_series(table, options, read_shots(source))
    values["warnings"] += stale
    for warning in values["warnings"]:
        progress.warn(warning)
    settings: dict[str, Any] = {"series": options.plain(), "frame": table.meta.get("frame")}
    if gates:
        settings[GATES] = gates.record()
    inputs = [source, *settings_read(selection)]
    record = Provenance.of(inputs=inputs, settings=settings, after=before)
    write_series(out, values, record)
    write_series_table(beside, values, record)
    return {"files": {"series": str(out), "table": str(beside)}, **values}
