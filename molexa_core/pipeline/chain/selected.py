"""The gates of a stage: what the call asks for, and what the channel says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from molexa_core.base.errors import UsageError, about_file
from molexa_core.base.options.gate_options import REGIONS_FILE, Selection
from molexa_core.base.progress import Progress
from molexa_core.base.settings import Channel, Region, load_regions
from molexa_core.base.storage.resources import shipped_folder
from molexa_core.base.tables import Coincidences
from molexa_core.io.results.events import EventsFile
from molexa_core.observables.gating import Gate, Gating, recorded
from molexa_core.pipeline.output_guard import settings_inputs


def gating_of(
    selection: Selection,
    stage: str,
    *,
    channel: Channel | None = None,
    before: Mapping[str, Any] | None = None,
    of_channel: bool = False,
) -> Gating:
    """The gates of a stage, read and checked as far as possible without events.

    Args:
        selection: what the call asks for.
        stage: name of the command.
        channel: the channel of the events.
        before: `meta` of the events; gates that an earlier stage applied are not applied again.
        of_channel: whether the gates `use` and `where` of the channel are applied too.

    Raises:
        ExpressionError: a condition cannot be read.
        UsageError: there is no region of this name, or two different ones.
        InputFileError, SettingsError: the file with the regions.
    """
    regions = _regions(selection, channel)
    gates: list[Gate] = []
    if of_channel and channel is not None:
        with about_file(f"channel {channel.name}"):
            gates += [Gate.of_region(name, channel.regions) for name in channel.gates.use]
            if channel.gates.where is not None:
                gates.append(Gate.of_condition(channel.gates.where, channel.regions))
        done = [_what(row) for row in recorded(before or {})]
        gates = [gate for gate in gates if _what(Gating([gate], stage).record()[0]) not in done]
    gates += [Gate.of_region(name, regions) for name in selection.gate or ()]
    gates += [Gate.of_condition(text, regions) for text in selection.where or ()]
    return Gating(gates, stage)


def settings_read(
    selection: Selection, *, channel: str | None = None, setup: Path | str | None = None
) -> list[Path]:
    """The settings files of the user that a stage reads, for its provenance.

    Args:
        selection: names of regions and conditions, and their file.
        channel: name or file of the channel that was given.
        setup: the setup that was given.
    """
    found = settings_inputs(channel=channel, setup=setup)
    if selection.regions is not None:
        found.append(Path(selection.regions))
    elif not selection.is_empty and Path(REGIONS_FILE).is_file():
        found.append(Path(REGIONS_FILE))
    shipped = [shipped_folder(kind).resolve() for kind in ("channels", "templates")]
    return [
        path
        for path in dict.fromkeys(found)
        if path.is_file() and not any(folder in path.resolve().parents for folder in shipped)
    ]


def select(table: Coincidences, gating: Gating, progress: Progress) -> Coincidences:
    """The rows of a table that pass the gates, which are added to its `meta`.

    Raises:
        ExpressionError: the events lack what a gate names.
        NoEventsError: nothing is left.
    """
    if not gating:
        return table
    kept = gating.select(table)
    gating.finish()
    say_gates(gating, progress)
    return kept.with_meta(gating.meta(table.meta))


def say_gates(gating: Gating, progress: Progress) -> None:
    """Say what every gate did."""
    for sentence in gating.sentences():
        progress.say(sentence)


class GatedEvents:
    """The rows of an events file that pass gates, which can be read repeatedly in chunks.

    Args:
        events: the file.
        gating: the gates; those of the last reading have counted its rows.

    Raises:
        ExpressionError: the events lack what a gate names.
    """

    def __init__(self, events: EventsFile, gating: Gating) -> None:
        self._events, self.gating = events, gating
        gating.check(events.none)

    def chunks(self, rows: int) -> Iterator[Coincidences]:
        """The rows in order, at most `rows` at a time.

        Raises:
            NoEventsError: the gates leave nothing.
        """
        self.gating = self.gating.afresh()
        for table in self._events.chunks(rows):
            yield self.gating.select(table)
        self.gating.finish()

    def false_chunks(self, rows: int) -> Iterator[Coincidences]:
        """The false coincidences that pass the gates, at most `rows` at a time."""
        gating = self.gating.afresh()
        for table in self._events.chunks(rows, false=True):
            yield gating.select(table)


def _regions(selection: Selection, channel: Channel | None) -> dict[str, Region]:
    """The regions that may be named: of the file given, else of the channel and the folder."""
    if selection.regions is not None:
        return load_regions(selection.regions)
    known = {} if channel is None else dict(channel.regions)
    if selection.is_empty or not Path(REGIONS_FILE).is_file():
        return known
    of_folder = load_regions(REGIONS_FILE)
    named = {*(selection.gate or ())}
    for name in named & set(known) & set(of_folder):
        if known[name] != of_folder[name]:
            raise UsageError(
                f"the region {name!r} of the channel is another than that in {REGIONS_FILE}",
                setting="gate",
                do="Say which one by `regions=`, or rename one of them.",
            )
    return {**known, **of_folder}


def _what(row: Mapping[str, Any]) -> tuple[object, object, str]:
    """What tells a recorded gate from others."""
    return row.get("gate"), row.get("statement"), repr(row.get("regions"))
