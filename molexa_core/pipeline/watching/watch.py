"""Watch: a measurement is reduced as it is written, and what it shows is published again and again.

    source of new ranges of shots -> fold -> summary -> page or terminal

Every range of a file is read once. How far the files were read stands in the same file as all
counts (`io.results.watch_state`), which is replaced as a whole: a watch that ended, in whatever
way, goes on without losing or doubling a shot.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from molexa_core import __version__
from molexa_core.base import interruption
from molexa_core.base.errors import InputFileError, UsageError
from molexa_core.base.progress import SILENT, Progress
from molexa_core.base.settings import Channel, Setup, load_channel, load_project, load_setup
from molexa_core.base.storage.checksums import digest_of
from molexa_core.base.storage.files import require_folder
from molexa_core.base.storage.outputs import FileKind
from molexa_core.io.results.watch_state import read_state, write_state
from molexa_core.pipeline.given.given_run import given_run
from molexa_core.pipeline.output_guard import require_outputs, settings_inputs
from molexa_core.pipeline.watching.live_source import LiveSource
from molexa_core.pipeline.watching.live_summary import Speed, summary_of
from molexa_core.pipeline.watching.new_ranges import SETTLED_S, Folder, Range, Reading
from molexa_core.pipeline.watching.structure_maker import (
    FIRST,
    StructureMaker,
    Wanted,
    not_reconstructed,
)
from molexa_core.reduction.growing import GrowingReduction

STATE_SUFFIX: Final = ".watch.npz"
EVERY_S: Final = 3.0
QUIET_S: Final = 60.0
_SAVE_S: Final = 10.0
_SAVE_SHARE: Final = 0.05
"""At most this share of the time goes into writing the state."""
_SPEED_S: Final = 30.0
_LIVE_S: Final = 1.0
_CURVE: Final = 200
"""Structures of which distances are kept for the picture of convergence."""


@dataclass(frozen=True)
class WatchOptions:
    """What is watched, and how.

    Attributes:
        folder: into which the measurement is written.
        channel: name or file; that of molexa.yaml or of the first run if None.
        setup: file; likewise.
        state: file of the state; `FOLDER.watch.npz` in the working folder if None.
        fresh: begin anew and replace the state.
        every_s: seconds between two summaries.
        settled_s: a file that has not changed for so long is closed.
        quiet_s: seconds without new data after which there is an alarm.
        structure: whether structures are made.
    """

    folder: Path
    channel: str | None = None
    setup: str | None = None
    state: Path | None = None
    fresh: bool = False
    every_s: float = EVERY_S
    settled_s: float = SETTLED_S
    quiet_s: float = QUIET_S
    structure: bool = True


class Watch:
    """A measurement that is watched.

    Args:
        options: what is watched.
        publish: receives the summary, plain values, every `every_s` seconds.
        progress: receives remarks.
        live: where shots come from in place of the files of the folder; channel and setup must be
            given then, or stand in molexa.yaml.

    Attributes:
        reduction: what was read so far; None before the first run.

    Raises:
        InputFileError: no such folder, or the state is of another channel, setup or version.
        OutputError, UsageError: the state cannot be written there.
    """

    def __init__(
        self,
        options: WatchOptions,
        publish: Callable[[dict[str, Any]], None],
        progress: Progress = SILENT,
        live: LiveSource | None = None,
    ) -> None:
        self.options = options
        self._live = live
        folder = require_folder(options.folder, do="Name the folder that data are written to.")
        name = folder.resolve().name or "watch"
        self.state = options.state or Path(f"{name}{STATE_SUFFIX}")
        require_outputs(
            (self.state, FileKind.WATCH),
            inputs=settings_inputs(channel=options.channel, setup=options.setup),
        )
        self.folder = Folder(folder, settled_s=options.settled_s)
        self.reduction: GrowingReduction | None = None
        self._publish, self._progress = publish, progress
        self._maker = StructureMaker()
        self._no_structure = "" if options.structure else "not asked for"
        self._curve: list[dict[str, Any]] = []
        self._last_new: float | None = None
        self._saved_at, self._save_s, self._unsaved = time.monotonic(), 0.0, False
        self._shown_at = 0.0
        self._recent: deque[tuple[float, int, int, int]] = deque()

    def run(self, *, once: bool = False) -> dict[str, Any]:
        """Read and publish until a signal asks to stop.

        Args:
            once: read what is there, make the structure, and end.

        Returns:
            The last summary.
        """
        if once:
            self.folder.settled_s = 0.0
        try:
            with interruption.patient():
                while not interruption.requested():
                    new = self.step()
                    self._show(force=not new)
                    if once and not new:
                        break
                    if not new:
                        self._pause()
                if once and not interruption.requested():
                    self._finish()
                self._save()
                return self.summary()
        finally:
            self._maker.close()
            if self._live is not None:
                self._live.close()

    def step(self) -> bool:
        """Read all that is new, and publish meanwhile; whether there was something."""
        reduction = self._begin()
        if reduction is None:
            return False
        new = False
        for part in self._ranges(reduction.setup):
            self._fold(reduction, part)
            new = True
            self._show()
            self._save_if_due()
            if interruption.requested():
                break
        if not new:
            self._save_if_due()
        return new

    def _ranges(self, setup: Setup) -> Iterator[Range]:
        """What is new in the files, or what the live source sends within a second."""
        if self._live is None:
            yield from self.folder.ranges(setup)
            return
        name = self._live.name
        for hits in self._live.blocks(wait_s=_LIVE_S):
            shots = self.folder.readings.get(name, Reading()).shots + hits.n_shots
            yield Range(name, hits, Reading(shots))

    def summary(self) -> dict[str, Any]:
        """What was found so far, as plain values."""
        silent = None if self._last_new is None else time.monotonic() - self._last_new
        return summary_of(
            self.reduction,
            folder=self.folder,
            silent_s=silent,
            quiet_s=self.options.quiet_s,
            speed=self._speed(),
            structure={
                "newest": self._maker.newest,
                "trouble": self._no_structure or self._maker.trouble,
                "busy": self._maker.busy,
                "first": FIRST,
                "curve": self._curve,
            },
        )

    def _begin(self) -> GrowingReduction | None:
        """The reduction; begun with the first run that can be opened."""
        if self.reduction is not None:
            return self.reduction
        options = self.options
        if self._live is not None:
            channel, setup = _given(options)
            self._progress.say(f"channel {channel.name}; live from {self._live.name}")
        else:
            files = self.folder.first_run()
            if files is None:
                return None
            given = given_run(list(files), options.channel, options.setup, self._progress)
            channel, setup = given.channel, given.setup
            self._progress.say(f"channel {channel.name}")
        reduction = GrowingReduction(channel, setup)
        if not options.fresh and self.state.exists():
            self._restore(reduction)
        reason = not_reconstructed(channel)
        if reason and options.structure:
            self._no_structure = reason
        self.reduction = reduction
        return reduction

    def _fold(self, reduction: GrowingReduction, part: Range) -> None:
        """Add a range, and note that it was read, between which nothing is written."""
        reduction.add(part.hits, time.time())
        self.folder.readings[part.run] = part.reading
        now = time.monotonic()
        self._last_new, self._unsaved = now, True
        self._recent.append((now, reduction.shots, reduction.hits, reduction.coincidences))

    def _show(self, *, force: bool = False) -> None:
        now = time.monotonic()
        if not force and now - self._shown_at < self.options.every_s:
            return
        self._shown_at = now
        self._structure()
        self._publish(self.summary())

    def _structure(self) -> None:
        """Take a structure that is finished, and ask for the next."""
        reduction = self.reduction
        if reduction is None or self._no_structure:
            return
        if reduction.coincidences:
            self._maker.warm_up()
        if self._maker.collect() and not self._maker.trouble:
            newest = self._maker.newest or {}
            point = {"of": newest.get("of"), "distances": newest.get("distances")}
            self._curve = [*self._curve, point]
            if len(self._curve) > _CURVE:
                self._curve = self._curve[::2]
            self._unsaved = True
        if self._maker.wants(reduction.coincidences):
            self._maker.ask(Wanted(reduction.table(), reduction.coincidences))

    def _finish(self) -> None:
        """The gate from all that there is, and the structure."""
        reduction = self.reduction
        if reduction is None:
            return
        if not reduction.final and reduction.find_gate():
            self._unsaved = True
        newest = self._maker.newest
        wanted = newest is None or newest.get("of") != reduction.coincidences
        if self._no_structure or reduction.coincidences < FIRST or not wanted:
            return
        while self._maker.busy and not interruption.requested():
            self._maker.collect()
            time.sleep(0.05)
        self._maker.ask(Wanted(reduction.table(), reduction.coincidences))
        while self._maker.busy and not interruption.requested():
            time.sleep(0.05)
            self._structure()

    def _pause(self) -> None:
        """Wait for new data; shorter than the time between two summaries."""
        until = time.monotonic() + min(1.0, self.options.every_s)
        while time.monotonic() < until and not interruption.requested():
            time.sleep(0.1)

    def _speed(self) -> Speed | None:
        """Rates by the clock over the last half minute."""
        now = time.monotonic()
        while self._recent and now - self._recent[0][0] > _SPEED_S:
            self._recent.popleft()
        if len(self._recent) < 2:
            return None
        (begin, *first), (_, *last) = self._recent[0], self._recent[-1]
        seconds = max(now - begin, 1e-3)
        shots, hits, found = ((b - a) / seconds for a, b in zip(first, last, strict=True))
        return Speed(shots, hits, max(0.0, found))

    def _save_if_due(self) -> None:
        since = time.monotonic() - self._saved_at
        if self._unsaved and since > max(_SAVE_S, self._save_s / _SAVE_SHARE):
            self._save()

    def _save(self) -> None:
        reduction = self.reduction
        if reduction is None or not self._unsaved:
            return
        begun = time.monotonic()
        values, arrays = reduction.stored()
        with interruption.held():
            write_state(
                self.state,
                {
                    "settings": settings_digest(reduction.channel, reduction.setup),
                    "version": __version__,
                    "readings": {name: asdict(one) for name, one in self.folder.readings.items()},
                    "reduction": values,
                    "structure": self._maker.newest,
                    "curve": self._curve,
                },
                arrays,
            )
        self._saved_at = time.monotonic()
        self._save_s, self._unsaved = self._saved_at - begun, False

    def _restore(self, reduction: GrowingReduction) -> None:
        values, arrays = read_state(self.state)
        if values["settings"] != settings_digest(reduction.channel, reduction.setup):
            raise InputFileError(
                "the state was made with another channel or setup",
                where=self.state,
                do="Begin anew with `fresh=True`, or name another file with `state=`.",
            )
        reduction.restore(values["reduction"], arrays)
        self.folder.readings = {name: Reading(**one) for name, one in values["readings"].items()}
        self._maker.newest, self._curve = values["structure"], values["curve"]
        self._progress.say(
            f"goes on from {self.state}: {reduction.shots} shots of "
            f"{len(self.folder.readings)} runs were read before"
        )


def _given(options: WatchOptions) -> tuple[Channel, Setup]:
    """Channel and setup as the options or molexa.yaml name them."""
    project = load_project()
    channel, setup = options.channel or project.channel, options.setup or project.setup
    if channel is None or setup is None:
        raise UsageError(
            "a live source does not tell channel and setup", do="Give `channel=` and `setup=`."
        )
    return load_channel(channel), load_setup(setup)


def settings_digest(channel: Channel, setup: Setup) -> str:
    """A digest of all that the coincidences depend on beside the data."""
    return digest_of(
        {"channel": channel.model_dump(mode="json"), "setup": setup.model_dump(mode="json")}
    )
