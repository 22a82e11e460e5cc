"""Structure against delay, of events in memory or in a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from molexa_core.base.fields import EXPLOSION, WARNINGS
from molexa_core.base.options.gate_options import EVERYTHING, Selection, SeriesOptions
from molexa_core.base.options.reconstruct_options import (
    SAMPLES_OF_EVENTS,
    USUAL,
    ReconstructOptions,
)
from molexa_core.base.progress import SILENT, Progress
from molexa_core.base.settings import Explosion
from molexa_core.network.weights import default_weights, load_network
from molexa_core.observables.binning import binned
from molexa_core.pipeline.chain.channel_limits import inherited, require_complete
from molexa_core.pipeline.chain.series_files import SeriesFiles
from molexa_core.pipeline.devices import take_device
from molexa_core.pipeline.explosions.assumed import Changes
from molexa_core.pipeline.given.given_events import Events, file_of, given_events
from molexa_core.pipeline.output_guard import settings_inputs
from molexa_core.pipeline.reconstruction.events_answer import assumed_of_events
from molexa_core.pipeline.reconstruction.structure_series import reconstruct_series

SERIES_FILE: Final = "series.json"


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
        EXPLOSION: assumed.explosion.plain(),
        "explosion_source": assumed.source,
    }
    return files.write(found.to_dict(), lambda: given.provenance(settings, seed=structure.seed))
