"""Centroid: mean momentum of every ion in the molecular frame, the input of a reconstruction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from scipy.spatial.transform import Rotation

from molexa_core.base.fields import (
    COUNT,
    ENERGY,
    EXPLOSION,
    FRAME,
    ION,
    LABEL,
    MOMENTUM,
    MOMENTUM_ERROR,
    PARTIAL,
    SCATTER,
    TAG_TURN,
    WARNINGS,
)
from molexa_core.base.options.gate_options import EVERYTHING, Selection
from molexa_core.base.progress import SILENT, Progress
from molexa_core.base.settings import Channel, Frame, parse_settings
from molexa_core.base.storage.outputs import FileKind
from molexa_core.base.tables import Coincidences
from molexa_core.frame.centroid import EnergyKept, centroids, energy_kept, scatter
from molexa_core.frame.completeness import lobe_doubt
from molexa_core.frame.partial.solve import solve_partial
from molexa_core.io.results.channel_csv import warnings_of, write_channel_csv
from molexa_core.pipeline.chain.channel_limits import inherited
from molexa_core.pipeline.chain.pick import channel_of
from molexa_core.pipeline.given.given_events import Events, file_of, given_events
from molexa_core.pipeline.output_guard import require_outputs

CHANNEL_FILE: Final = "channel.csv"
ERRORS: Final = "analytic, rows of an event taken together (cluster-robust)"
ERRORS_PARTIAL: Final = (
    "a tenth of the events left out in turn (jackknife), and 0.5 % of the momentum for the form of "
    "the peaks; closed by momentum conservation"
)


def centroid(
    aligned: Events,
    *,
    selection: Selection = EVERYTHING,
    out: Path | str | None = None,
    progress: Progress = SILENT,
) -> pd.DataFrame:
    """The mean momentum of every ion in the molecular frame with its standard error.

    Of a partial channel the momenta of all ions of the break-up are found
    (`frame.partial.solve`).

    Args:
        aligned: aligned events (`pipeline.chain.align.align(...).table`), or their file.
        selection: the rows to take; momenta are those of the molecular frame.
        out: CSV file to write.
        progress: display of the progress and of the choices made.

    Returns:
        Columns `ion`, `px`, `py`, `pz`, `px_err`, `py_err`, `pz_err` in a.u., `count`, `label`;
        see `frame.centroid.centroids` for the estimate of the errors. Its `attrs["warnings"]`
        holds warnings, including those of earlier stages, its `attrs["explosion"]` what the setup
        says about the explosion, its `attrs["energy"]` the kinetic energy release of the means and
        the mean one in eV, their ratio, and a sentence on it.

    Raises:
        InputFileError: a file is missing or of another kind.
        NoEventsError: no event has a weight, or too few for a partial channel, or the gates leave
            none.
        UsageError, ComputationError: a partial channel that cannot be solved, says why; or a
            condition that cannot be read or does not fit the events.
        OutputError: the result cannot be written.
    """
    require_outputs((out, FileKind.MOMENTA), inputs=[file_of(aligned), selection.regions])
    given = given_events(aligned, "centroid", selection=selection, progress=progress)
    with given.about():
        rows = _centroid(given.table, progress)
    if given.path is not None and FRAME not in given.table.meta:
        rows.attrs[WARNINGS].append(
            f"{given.path} was not made by molexa align: its momenta were averaged as they are"
        )
    rows.attrs[WARNINGS] += given.stale
    for warning in warnings_of(rows):
        progress.warn(warning)
    if out is not None:
        write_channel_csv(out, rows, given.provenance(_settings(rows, given.table)))
    return rows


def _centroid(table: Coincidences, progress: Progress) -> pd.DataFrame:
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
        if PARTIAL not in rows.attrs:
            rows.attrs[ENERGY][SCATTER] = scatter(table)
        if kept.low:
            rows.attrs[WARNINGS].append(kept.sentence)
    if isinstance(frame := table.meta.get(FRAME), Mapping):
        rows.attrs[FRAME] = dict(frame)
    setup = table.meta.get("setup")
    if isinstance(setup, Mapping) and setup.get(EXPLOSION) is not None:
        rows.attrs[EXPLOSION] = setup[EXPLOSION]
    return rows


def _partial(
    table: Coincidences, channel: Channel, progress: Progress
) -> tuple[pd.DataFrame, EnergyKept]:
    """The momenta of all ions of a partial channel."""
    if isinstance(stored := table.meta.get(FRAME), Mapping):
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


def _settings(means: pd.DataFrame, table: Coincidences) -> dict[str, Any]:
    """What the provenance of mean momenta says of how they were made.

    Args:
        means: the mean momenta.
        table: the coincidences that were averaged.
    """
    settings = {
        "errors": ERRORS if PARTIAL not in means.attrs else ERRORS_PARTIAL,
        FRAME: table.meta.get(FRAME),
        "channel": table.meta.get("channel"),
    }
    told = means.attrs.get(EXPLOSION)
    return settings if told is None else {**settings, EXPLOSION: told}
