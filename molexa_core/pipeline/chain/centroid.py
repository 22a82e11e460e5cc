"""Centroid: mean momentum of every ion in the molecular frame, the input of a reconstruction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from scipy.spatial.transform import Rotation

from molexa_core.base.errors import about_file
from molexa_core.base.fields import (
    COUNT,
    ENERGY,
    EXPLOSION,
    GATES,
    ION,
    LABEL,
    MOMENTUM,
    MOMENTUM_ERROR,
    PARTIAL,
    TAG_TURN,
    WARNINGS,
)
from molexa_core.base.options.gate_options import EVERYTHING, Selection
from molexa_core.base.progress import SILENT, Progress
from molexa_core.base.settings import Channel, Frame, parse_settings
from molexa_core.base.storage.outputs import FileKind
from molexa_core.base.storage.provenance import Provenance
from molexa_core.base.tables import Coincidences
from molexa_core.frame.centroid import EnergyKept, centroids, energy_kept
from molexa_core.frame.completeness import lobe_doubt
from molexa_core.frame.partial.solve import solve_partial
from molexa_core.io.results.channel_csv import warnings_of, write_channel_csv
from molexa_core.io.results.events import read_events
from molexa_core.pipeline.chain.channel_limits import inherited
from molexa_core.pipeline.chain.pick import ALIGNED_SUFFIX, channel_of, only_file
from molexa_core.pipeline.chain.selected import gating_of, select, settings_read
from molexa_core.pipeline.chain.stale import require_fresh, say_unguarded
from molexa_core.pipeline.output_guard import require_outputs

CHANNEL_FILE: Final = "channel.csv"
ERRORS: Final = "analytic, rows of an event taken together (cluster-robust)"
ERRORS_PARTIAL: Final = (
    "a tenth of the events left out in turn (jackknife), and 0.5 % of the momentum for the form of "
    "the peaks; closed by momentum conservation"
)


def centroid(table: Coincidences, *, progress: Progress = SILENT) -> pd.DataFrame:
    """The mean momentum of every ion in the molecular frame with its standard error.

    Of a partial channel the momenta of all ions of the break-up are found
    (`frame.partial.solve`).

    Args:
        table: aligned events (`pipeline.chain.align.align(...).table`).
        progress: display of the progress.

    Returns:
        Columns `ion`, `px`, `py`, `pz`, `px_err`, `py_err`, `pz_err` in a.u., `count`, `label`;
        see `frame.centroid.centroids` for the estimate of the errors. Its `attrs["warnings"]`
        holds warnings, including those of earlier stages, its `attrs["explosion"]` what the setup
        says about the explosion, its `attrs["energy"]` the kinetic energy release of the means and
        the mean one in eV, their ratio, and a sentence on it.

    Raises:
        NoEventsError: no event has a weight, or too few for a partial channel.
        UsageError, ComputationError: a partial channel that cannot be solved; says why.
    """
    channel = channel_of(table.meta) if "channel" in table.meta else None
    if channel is not None and not channel.is_complete:
        rows, of_peaks = _partial(table, channel, progress)
        kept: EnergyKept | None = of_peaks
    else:
        rows = centroids(table)
        doubt = lobe_doubt(table)
        rows.attrs[WARNINGS] = [] if doubt is None else [doubt]
        kept = energy_kept(table)
    found = [*inherited(table.meta), *rows.attrs[WARNINGS]]
    rows.attrs[WARNINGS] = list(dict.fromkeys(found))
    if kept is not None:
        rows.attrs[ENERGY] = kept.to_dict()
        if kept.low:
            rows.attrs[WARNINGS].append(kept.sentence)
    setup = table.meta.get("setup")
    if isinstance(setup, Mapping) and setup.get(EXPLOSION) is not None:
        rows.attrs[EXPLOSION] = setup[EXPLOSION]
    return rows


def _partial(
    table: Coincidences, channel: Channel, progress: Progress
) -> tuple[pd.DataFrame, EnergyKept]:
    """The momenta of all ions of a partial channel."""
    if isinstance(stored := table.meta.get("frame"), Mapping):
        frame = parse_settings(Frame, dict(stored), where="frame of the aligned events")
        channel = channel.model_copy(update={"frame": frame})
    means = solve_partial(in_laboratory(table), channel, progress=progress)
    error = np.sqrt(np.maximum(np.diagonal(means.covariance, axis1=1, axis2=2), 0.0))
    columns: dict[str, object] = {ION: [str(ion) for ion in means.ions]}
    # Components that the frame sets to zero, without what rounding leaves.
    columns |= {name: means.momentum[:, axis].round(9) + 0.0 for axis, name in enumerate(MOMENTUM)}
    columns |= {name: error[:, axis].round(9) + 0.0 for axis, name in enumerate(MOMENTUM_ERROR)}
    columns[COUNT] = means.count.round(1)
    columns[LABEL] = list(means.labels)
    rows = pd.DataFrame(columns)
    rows.attrs[WARNINGS] = list(means.warnings)
    rows.attrs[PARTIAL] = {**means.summary, "meaning": means.sentence}
    progress.say(means.sentence)
    return rows, means.energy


def in_laboratory(table: Coincidences) -> Coincidences:
    """Rows of an aligned table of a partial channel turned back, so that those of a shot agree."""
    if not all(name in table.tags for name in TAG_TURN):
        return table
    vectors = np.column_stack([table.tags[name] for name in TAG_TURN])
    axes = Rotation.from_rotvec(vectors).as_matrix()
    return replace(table, momentum=np.matmul(table.momentum, axes))


def settings_of(means: pd.DataFrame, table: Coincidences) -> dict[str, Any]:
    """What the provenance of mean momenta says of how they were made.

    Args:
        means: the mean momenta.
        table: the coincidences that were averaged.
    """
    settings = {
        "errors": ERRORS if PARTIAL not in means.attrs else ERRORS_PARTIAL,
        "frame": table.meta.get("frame"),
        "channel": table.meta.get("channel"),
    }
    told = means.attrs.get(EXPLOSION)
    return settings if told is None else {**settings, EXPLOSION: told}


def centroid_file(
    path: Path | str | None = None,
    *,
    out: Path | str | None = None,
    selection: Selection = EVERYTHING,
    progress: Progress = SILENT,
) -> tuple[Path, pd.DataFrame]:
    """Average an aligned file and write `channel.csv` beside it.

    Args:
        path: the aligned file; the only `*.aligned.h5` in the working folder if not given.
        out: the file to write.
        selection: the rows to take; momenta are those of the molecular frame.
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
    gates = gating_of(selection, "centroid", channel=channel)
    table = select(table, gates, progress)
    stale = require_fresh(source, before)
    say_unguarded(source, before, progress)
    with about_file(source):
        rows = centroid(table, progress=progress)
    if "frame" not in table.meta:
        rows.attrs[WARNINGS].append(
            f"{source} was not made by molexa align: its momenta were averaged as they are"
        )
    rows.attrs[WARNINGS] += stale
    for warning in warnings_of(rows):
        progress.warn(warning)
    settings = settings_of(rows, table)
    if gates:
        settings[GATES] = gates.record()
    inputs = [source, *settings_read(selection)]
    record = Provenance.of(inputs=inputs, settings=settings, after=before)
    write_channel_csv(target, rows, record)
    return target, rows
