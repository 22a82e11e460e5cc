"""The files of a folder that is watched, and the new ranges of shots in them.

A list-mode file is read while it is written, event by event. Files of all other formats are read
when they are closed: when they can be opened and have not changed for a while. A folder in the
folder is one run (European XFEL: `r0042`); other files are a run each.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from molexa_core.base.errors import InputFileError, MolexaError
from molexa_core.base.settings import Setup
from molexa_core.base.storage.outputs import FileKind
from molexa_core.base.tables import Edges, Hits
from molexa_core.io.formats import suffixes_in_folders
from molexa_core.io.lmf.reader import LmfPlace
from molexa_core.io.lmf.run import LmfRun
from molexa_core.io.marks import is_list_mode
from molexa_core.io.results.kinds import kind_of_result
from molexa_core.pipeline.runs.open_run import open_run
from molexa_core.pipeline.watching.sorting_threads import SortingThreads

SETTLED_S: Final = 5.0
"""A file that has not changed for so long is taken for closed."""
_HEAD: Final = 1024
State = tuple[tuple[str, int, int], ...]
"""Name, size and time of change of every file of a run."""


@dataclass
class Reading:
    """How far a run was read.

    Attributes:
        shots: shots read.
        size: bytes of its files when it was read to their end.
        changed: their last change then, ns.
        place: where a list-mode file goes on.
        trouble: why it cannot be read now; empty if it can.
    """

    shots: int = 0
    size: int = 0
    changed: int = 0
    place: Mapping[str, Any] | None = None
    trouble: str = ""


@dataclass(frozen=True)
class Range:
    """A range of shots of a run.

    Attributes:
        run: name of the run in the folder.
        hits: its hits.
        reading: how far the run is read behind them.
    """

    run: str
    hits: Hits
    reading: Reading


@dataclass
class Folder:
    """A folder into which a measurement is written.

    Attributes:
        path: the folder.
        readings: how far each run was read, by name.
        settled_s: a file that has not changed for so long is taken for closed.
        now: the clock, in seconds since 1970.
    """

    path: Path
    readings: dict[str, Reading] = field(default_factory=dict)
    settled_s: float = SETTLED_S
    now: Callable[[], float] = time.time
    _others: dict[str, State] = field(default_factory=dict)
    _sorting: SortingThreads | None = None

    def runs(self) -> dict[str, tuple[Path, ...]]:
        """The files of each run by its name; in the order of their last change."""
        suffixes = suffixes_in_folders()
        found: dict[str, tuple[Path, ...]] = {}
        for path in sorted(self.path.iterdir()):
            if path.name.startswith("."):
                continue
            if path.is_dir():
                held = tuple(sorted(p for p in path.iterdir() if _is_data(p, suffixes)))
                if held:
                    found[path.name] = held
            elif _is_data(path, suffixes):
                found[path.name] = (path,)
        return dict(sorted(found.items(), key=lambda item: (_changed(item[1]), item[0])))

    def first_run(self) -> tuple[Path, ...] | None:
        """The files of the first run that can be opened, for its setup and channel."""
        for name, files in self.runs().items():
            if not self._is_other(name, files) and (_is_lmf(files) or self._is_closed(files)):
                return files
        return None

    def behind(self) -> int:
        """Bytes of runs that are not read yet."""
        left = 0
        for name, files in self.runs().items():
            if name in self._others and self._others[name] == _state(files):
                continue
            reading = self.readings.get(name, Reading())
            done = reading.size if reading.place is None else int(reading.place["byte"])
            left += max(0, sum(path.stat().st_size for path in files) - done)
        return left

    def ranges(self, setup: Setup) -> Iterator[Range]:
        """All ranges of shots that are new, run by run; each is given once.

        A run that cannot be read has its reason in `readings`, and is tried again.
        """
        for name, files in self.runs().items():
            reading = self.readings.setdefault(name, Reading())
            try:
                if self._is_other(name, files):
                    self.readings.pop(name)
                elif _is_lmf(files):
                    yield from self._of_lmf(name, files[0], setup)
                elif self._is_closed(files) and _extent(files) != (reading.size, reading.changed):
                    yield from self._of_closed(name, files, setup)
            except (MolexaError, OSError) as error:
                told = error.what if isinstance(error, MolexaError) else str(error)
                self.readings[name].trouble = told

    def _of_lmf(self, name: str, path: Path, setup: Setup) -> Iterator[Range]:
        reading = self.readings[name]
        size, changed = _extent((path,))
        closed = self._is_closed((path,))
        if (size, changed) == (reading.size, reading.changed):
            return
        place = None if reading.place is None else _lmf_place(reading.place)
        if place is not None and size < place.byte:
            raise InputFileError(
                f"it has become shorter ({size} bytes, {place.byte} were read): it was replaced, "
                "and what was read of it before still counts"
            )
        run = LmfRun([path])
        sorter = self._sorter(setup)
        shots = reading.shots
        for edges, after in run.follow(place, closed=closed):
            shots += edges.n_shots
            reading = Reading(shots, place=asdict(after))
            yield Range(name, sorter.sort(edges), reading)
        if closed:
            reading = self.readings[name]
            reading.size, reading.changed, reading.trouble = size, changed, ""

    def _sorter(self, setup: Setup) -> SortingThreads:
        if self._sorting is None:
            if setup.anode is None:
                raise InputFileError("the run holds edges, and the setup says nothing of the anode")
            self._sorting = SortingThreads(setup.anode)
        return self._sorting

    def _of_closed(self, name: str, files: tuple[Path, ...], setup: Setup) -> Iterator[Range]:
        done = self.readings[name].shots
        extent = _extent(files)
        run = open_run(files, setup)
        sorter = self._sorter(setup) if run.stored.edges else None
        seen = 0
        for chunk in run.stored:
            first, seen = seen, seen + chunk.n_shots
            if seen <= done:
                continue
            new = chunk.shots(max(0, done - first), chunk.n_shots)
            yield Range(name, _hits(new, sorter), Reading(seen))
        if seen < done:
            raise InputFileError(
                f"it has become shorter ({seen} shots, {done} were read): it was replaced, and "
                "what was read of it before still counts"
            )
        self.readings[name] = Reading(seen, *extent)

    def _is_closed(self, files: tuple[Path, ...]) -> bool:
        return self.now() - _changed(files) / 1e9 >= self.settled_s

    def _is_other(self, name: str, files: tuple[Path, ...]) -> bool:
        """Whether these are results of molexa and no run; looked at once for every change."""
        state = _state(files)
        if self._others.get(name) == state:
            return True
        if name in self.readings and self.readings[name].shots:
            return False
        if len(files) == 1 and isinstance(kind_of_result(files[0]), FileKind):
            self._others[name] = state
            return True
        return False


def _hits(chunk: Hits | Edges, sorter: SortingThreads | None) -> Hits:
    if isinstance(chunk, Hits):
        return chunk
    if sorter is None:  # `open_run` has refused it
        raise InputFileError("the run holds edges, and the setup says nothing about the anode")
    return sorter.sort(chunk)


def _is_data(path: Path, suffixes: frozenset[str]) -> bool:
    return path.suffix.lower() in suffixes and not path.name.startswith(".") and path.is_file()


def _is_lmf(files: tuple[Path, ...]) -> bool:
    if len(files) != 1:
        return False
    with files[0].open("rb") as stream:
        return is_list_mode(stream.read(_HEAD))


def _changed(files: tuple[Path, ...]) -> int:
    return max(path.stat().st_mtime_ns for path in files)


def _extent(files: tuple[Path, ...]) -> tuple[int, int]:
    return sum(path.stat().st_size for path in files), _changed(files)


def _state(files: tuple[Path, ...]) -> State:
    found = [(path.name, path.stat()) for path in files]
    return tuple((name, stat.st_size, stat.st_mtime_ns) for name, stat in found)


def _lmf_place(values: Mapping[str, Any]) -> LmfPlace:
    known = dict(values)
    for name in ("state", "roll", "scan"):
        known[name] = tuple(float("nan") if one is None else one for one in known[name])
    return LmfPlace(**known)
