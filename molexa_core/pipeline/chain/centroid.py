"""Centroid: mean momentum of every ion in the molecular frame, the input of a reconstruction."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pandas as pd

from molexa_core.base.fields import ENERGY, EXPLOSION, GATES, WARNINGS
from molexa_core.base.progress import SILENT, Progress
from molexa_core.base.selection import EVERYTHING, Selection
from molexa_core.base.storage.outputs import FileKind
from molexa_core.base.storage.provenance import Provenance
from molexa_core.base.tables import Coincidences
from molexa_core.frame.centroid import centroids, energy_kept
from molexa_core.frame.completeness import lobe_doubt
from molexa_core.io.results.channel_csv import warnings_of, write_channel_csv
from molexa_core.io.results.events import read_events
from molexa_core.pipeline.chain.channel_limits import inherited, require_complete
from molexa_core.pipeline.chain.pick import ALIGNED_SUFFIX, channel_of, only_file
from molexa_core.pipeline.chain.selected import gating_of, select
from molexa_core.pipeline.chain.stale import require_fresh, say_unguarded
from molexa_core.pipeline.output_guard import require_outputs

CHANNEL_FILE: Final = "channel.csv"
ERRORS: Final = "analytic, rows of an event taken together (cluster-robust)"


def centroid(table: Coincidences) -> pd.DataFrame:
    """The mean momentum of every ion in the molecular frame with its standard error.

    Args:
        table: aligned events (`pipeline.chain.align.align(...).table`).

    Returns:
        Columns `ion`, `px`, `py`, `pz`, `px_err`, `py_err`, `pz_err` in a.u., `count`, `label`;
        see `frame.centroid.centroids` for the estimate of the errors. Its `attrs["warnings"]`
        holds warnings, including those of earlier stages, its `attrs["explosion"]` what the setup
        says about the explosion, its `attrs["energy"]` the kinetic energy release of the means and
        the mean one in eV, their ratio, and a sentence on it.

    Raises:
        InputFileError: the events are of a partial channel.
        NoEventsError: no event has a weight.
    """
    rows = centroids(table)
    doubt = lobe_doubt(table)
    found = [*inherited(table.meta), *([] if doubt is None else [doubt])]
    rows.attrs[WARNINGS] = list(dict.fromkeys(found))
    if (kept := energy_kept(table)) is not None:
        rows.attrs[ENERGY] = kept.to_dict()
        if kept.low:
            rows.attrs[WARNINGS].append(kept.sentence)
    setup = table.meta.get("setup")
    if isinstance(setup, Mapping) and setup.get(EXPLOSION) is not None:
        rows.attrs[EXPLOSION] = setup[EXPLOSION]
    return rows


def centroid_file(
    path: Path | str | None = None,
    *,
    out: Path | str | None = None,
    selection: Selection = EVERYTHING,
    command: str = "molexa_core.pipeline.chain.centroid.centroid_file",
    progress: Progress = SILENT,
) -> tuple[Path, pd.DataFrame]:
    """Average an aligned file and write `channel.csv` beside it.

    Args:
        path: the aligned file; the only `*.aligned.h5` in the working folder if not given.
        out: the file to write.
        selection: the rows to take; momenta are those of the molecular frame.
        command: command line, for the provenance.
        progress: receives notices on the choices made.

    Returns:
        The file written, and its table.

    Raises:
        InputFileError: no aligned file, several of them, or a file of another kind.
        UsageError: a condition that cannot be read or does not fit the events.
        NoEventsError: the file holds no events, or the gates leave none.
        OutputError: the result cannot be written.
    """
    source = (
        only_file(ALIGNED_SUFFIX, made_by="molexa align", progress=progress)
        if path is None
        else Path(path)
    )
    target = source.with_name(CHANNEL_FILE) if out is None else Path(out)
    require_outputs((target, FileKind.MOMENTA), inputs=[source, selection.regions])
    table, before = read_events(source)
    channel = channel_of(table.meta)
    require_complete(channel, source)
    gates = gating_of(selection, "centroid", channel=channel)
    table = select(table, gates, progress)
    stale = require_fresh(source, before)
    say_unguarded(source, before, progress)
    rows = centroid(table)
    if "frame" not in table.meta:
        rows.attrs[WARNINGS].append(
            f"{source} was not made by molexa align: its momenta were averaged as they are"
        )
    rows.attrs[WARNINGS] += stale
    for warning in warnings_of(rows):
        progress.warn(warning)
    settings = {"errors": ERRORS, "frame": table.meta.get("frame")}
    if gates:
        settings[GATES] = gates.record()
    record = Provenance.of(command, inputs=[source], settings=settings, after=before)
    write_channel_csv(target, rows, record)
    return target, rows
