"""Structure against delay, from file to file."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from molexa_core.base.errors import UsageError, about_file
from molexa_core.base.fields import EXPLOSION, GATES, WARNINGS
from molexa_core.base.options.gate_options import EVERYTHING, Selection, SeriesOptions
from molexa_core.base.progress import SILENT, Progress
from molexa_core.base.storage.outputs import FileKind
from molexa_core.base.storage.provenance import Provenance
from molexa_core.io.results.events import read_events, read_shots
from molexa_core.io.results.series_file import write_series, write_series_table
from molexa_core.network.weights import default_weights, load_network
from molexa_core.observables.binning import binned
from molexa_core.pipeline.chain.channel_limits import inherited, require_complete
from molexa_core.pipeline.chain.pick import channel_of
from molexa_core.pipeline.chain.selected import gating_of, select, settings_read
from molexa_core.pipeline.chain.stale import require_fresh, say_unguarded
from molexa_core.pipeline.devices import take_device
from molexa_core.pipeline.explosions.assumed import Changes, assumed_explosion
from molexa_core.pipeline.output_guard import beside_output, require_outputs, settings_inputs
from molexa_core.pipeline.reconstruction.single_events import SAMPLES, SEARCH
from molexa_core.pipeline.reconstruction.structure_series import reconstruct_series

SERIES_FILE: Final = "series.json"


def reconstruct_series_file(
    path: Path | str,
    options: SeriesOptions,
    out: Path | str = SERIES_FILE,
    *,
    setup: Path | str | None = None,
    changes: Changes | None = None,
    weights: str | None = None,
    samples: int = SAMPLES,
    search: int = SEARCH,
    chemistry: bool = True,
    seed: int = 0,
    device: str = "auto",
    selection: Selection = EVERYTHING,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Reconstruct the structure of the signal in every bin of an events file.

    Args:
        path: the events, with the tags of all shots.
        options: what the series runs over, bins, background.
        out: the JSON file to write; a table of the same name (`.csv`) is written beside it.
        setup: as in `events_file.reconstruct_events_file`, as all that follows.
        changes: what the call itself says about the explosion.
        weights: name or path of weights.
        samples: number of starts that the network draws.
        search: number of further starts.
        chemistry: whether a chemically plausible structure is preferred.
        seed: of all random draws.
        device: of the network.
        selection: the events to take.
        progress: display of the progress.

    Returns:
        The values of the series with the files written.

    Raises:
        InputFileError: a file is missing or not of its form, or shots are not known.
        UsageError: bins or conditions that do not fit the events; a name that ends otherwise.
        NoEventsError: nothing is left.
        OutputError: a result cannot be written.
    """
    out = Path(out)
    if out.suffix != ".json":
        raise UsageError(
            f"{out} does not end in .json", do="Name the JSON file of the series with `out=`."
        )
    named = weights or default_weights()
    table_file = beside_output(out, ".csv")
    require_outputs(
        (out, FileKind.SERIES),
        (table_file, FileKind.SERIES_TABLE),
        inputs=[path, selection.regions, *settings_inputs(weights=named, setup=setup)],
    )
    events, before = read_events(path)
    channel = channel_of(events.meta)
    require_complete(channel, path)
    gates = gating_of(selection, "reconstruct", channel=channel)
    events = select(events, gates, progress)
    known = [*inherited(events.meta), *require_fresh(path, before)]
    say_unguarded(path, before, progress)
    events = events.with_meta({**events.meta, WARNINGS: known})
    shots = read_shots(path)
    binned(events, options, shots)  # what does not fit is told before anything is computed
    assumed = assumed_explosion(changes=changes, setup=setup, record=before, path=path)
    for one in assumed.remarks:
        progress.say(one)
    loaded = load_network(named, take_device(device))
    with about_file(path):
        found = reconstruct_series(
            events,
            options,
            shots,
            explosion=assumed.explosion,
            weights=loaded,
            samples=samples,
            search=search,
            chemistry=chemistry,
            seed=seed,
            progress=progress,
        )
    for warning in found.warnings:
        progress.warn(warning)
    settings = {
        "weights": named,
        "device": device,
        "samples": samples,
        "search": search,
        "chemistry": chemistry,
        "series": options.plain(),
        EXPLOSION: assumed.explosion.plain(),
        "explosion_source": assumed.source,
    }
    if gates:
        settings[GATES] = gates.record()
    inputs = [path, *settings_read(selection, setup=setup)]
    record = Provenance.of(inputs=inputs, settings=settings, seed=seed, after=before)
    values = found.to_dict()
    write_series(out, values, record)
    write_series_table(table_file, values, record)
    return {"files": {"series": str(out), "table": str(table_file)}, **values}
