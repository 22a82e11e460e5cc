"""Runs by number: numbers from the names of files, conditions from the files, `52-60` to files."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from molexa_core.base.errors import InputFileError, UsageError, listing
from molexa_core.base.fields import (
    TAG_BUNCH,
    TAG_SCAN,
    TAG_TIMESTAMP,
    TAG_UNITS,
)
from molexa_core.base.progress import SILENT, Progress
from molexa_core.base.settings import load_setup
from molexa_core.io.lmf.run import LmfRun
from molexa_core.io.run import find_files
from molexa_core.io.run_catalogue import CATALOGUE, RunCatalogue, RunEntry
from molexa_core.io.stored_run import StoredRun
from molexa_core.pipeline.runs.open_run import open_stored

_NAMED: Final = re.compile(r"(?:^|[^a-z])r(?:un)?[_-]?0*(\d+)(?!\d)", re.IGNORECASE)
_LAST: Final = re.compile(r"(\d+)(?!.*\d)")
_RANGE: Final = re.compile(r"(\d+)(?:-(\d+))?")
_LARGEST: Final = 10**9
_MOST_RUNS: Final = 100_000
_NOT_CONDITIONS: Final = (TAG_TIMESTAMP, TAG_BUNCH)
SAMPLE_SHOTS: Final = 200_000
"""Shots that are looked at for the conditions, unless all are asked for."""


def number_of(path: Path | str) -> int:
    """The number of the run that a file is of, from its name or that of its folder.

    Example:
        >>> number_of("raw/r0052/RAW-R0052-REMI01-S00001.h5"), number_of("water_run17b.lmf")
        (52, 17)

    Raises:
        UsageError: there is no number in the name.
    """
    path = Path(path)
    for name in (path.stem, path.parent.name):
        if (match := _NAMED.search(name)) is not None:
            return int(match[1])
    if (match := _LAST.search(path.stem)) is not None:
        return int(match[1]) % _LARGEST
    raise UsageError("no number of a run in the name", where=path, do="Give `number=`.")


def numbers_in(text: str) -> list[int]:
    """The numbers that `52-60,63` means.

    Raises:
        UsageError: it cannot be read.
    """
    found: list[int] = []
    for word in text.replace(" ", "").split(","):
        match = _RANGE.fullmatch(word)
        if match is None:
            raise UsageError(f"{text!r} does not tell runs", do="Write 52, 52-60 or 52-60,63.")
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first or last - first > _MOST_RUNS:
            raise UsageError(f"{word} is no range of runs", do="Write the smaller number first.")
        found += range(first, last + 1)
    return sorted(set(found))


def add_runs(
    catalogue: RunCatalogue,
    paths: Sequence[Path | str],
    *,
    number: int | None = None,
    target: str = "",
    channel: str = "",
    setup: str | None = None,
    whole: bool = False,
    replace: bool = False,
    progress: Progress = SILENT,
) -> list[tuple[RunEntry, bool]]:
    """Add the runs that files are of; files of one number are one run.

    Args:
        catalogue: to which they are added.
        paths: files, patterns, folders.
        number: of the run, if all files are of one.
        target: what was in the jet.
        channel: that the runs are to be reduced for.
        setup: setup file, where the files need one to be read.
        whole: read all shots for the conditions, not only the first.
        replace: replace files of known runs by others.
        progress: told what cannot be read.

    Returns:
        Each entry, and whether it is new.

    Raises:
        InputFileError: a file is missing or no run.
        UsageError: a name without a number, or a run that is known with other files.
    """
    found: dict[int, list[Path]] = {}
    for given in paths:
        for path in find_files([given]):
            of = number_of(path) if number is None else number
            found.setdefault(of, []).append(path.absolute())
    done = []
    with progress.task("runs", len(found), "runs") as task:
        for of, files in sorted(found.items()):
            stored = open_stored(files, None if setup is None else load_setup(setup))
            told = stored.metadata().get("channel")
            named = str(told.get("name", "")) if isinstance(told, Mapping) else str(told or "")
            entry = RunEntry(
                number=of,
                target=target,
                channel=channel or named,
                files=tuple(map(str, files)),
                conditions=conditions_of(stored, whole=whole),
            )
            if replace:
                known = {one.number for one in catalogue.runs()}
                catalogue.replace(entry)
                new = of not in known
            else:
                new = catalogue.add(entry)
            done.append((catalogue.runs([of])[0], new))
            task.advance()
    return done


def conditions_of(run: StoredRun, *, whole: bool = False) -> dict[str, Any]:
    """What the files of a run say about it.

    Args:
        run: the run.
        whole: read all shots; otherwise `SAMPLE_SHOTS`, and `sample_shots` says so.

    Returns:
        `bytes`, `format`, `shots` (None where only reading would tell), `hits_per_shot` or
        `edges_per_shot`, `seconds`, and for each value per shot (`delay_fs`, `pulse_energy_uj`,
        parameters of a scan ...) `[lowest, mean, highest]`.
    """
    shots = values = 0
    low: dict[str, float] = {}
    high: dict[str, float] = {}
    sums: dict[str, tuple[float, int]] = {}
    complete = True
    for chunk in run:
        shots += chunk.n_shots
        values += len(chunk.t_ns)
        for name, column in chunk.tags.items():
            numbers = np.asarray(column, np.float64)
            numbers = numbers[np.isfinite(numbers)]
            if len(numbers):
                low[name] = min(low.get(name, math.inf), float(numbers.min()))
                high[name] = max(high.get(name, -math.inf), float(numbers.max()))
                total, count = sums.get(name, (0.0, 0))
                sums[name] = total + float(numbers.sum()), count + len(numbers)
        if not whole and shots >= SAMPLE_SHOTS:
            complete = run.n_shots == shots
            break
    kind = "edges_per_shot" if run.edges else "hits_per_shot"
    told: dict[str, Any] = {
        "format": run.layout,
        "bytes": sum(path.stat().st_size for path in run.paths),
        "shots": shots if complete else run.n_shots,
        kind: round(values / max(shots, 1), 6),
    }
    seconds = _seconds(run, low, high, complete=complete)
    if seconds is not None:
        told["seconds"] = seconds
    if not complete:
        told["sample_shots"] = shots
    for name, (total, count) in sorted(sums.items()):
        is_condition = name in TAG_UNITS or name.startswith(TAG_SCAN)
        if is_condition and name not in _NOT_CONDITIONS:
            told[name] = [low[name], total / count, high[name]]
    return told


def _seconds(
    run: StoredRun, low: Mapping[str, float], high: Mapping[str, float], *, complete: bool
) -> float | None:
    """Duration of a run: by its time stamps, or by what its header says."""
    if isinstance(run, LmfRun):
        spans = [file.header.stop - file.header.start for file in run.files]
        if all(span > 0 for span in spans):
            return float(sum(spans))
    if complete and TAG_TIMESTAMP in low and high[TAG_TIMESTAMP] > low[TAG_TIMESTAMP]:
        return round(high[TAG_TIMESTAMP] - low[TAG_TIMESTAMP], 3)
    return None


def files_by_number(
    text: str, catalogue: Path | str = CATALOGUE, progress: Progress = SILENT
) -> dict[int, list[Path]]:
    """The files of the runs that `52-60` means, by number; bad ones are left out.

    A range means the runs in it that are in the catalogue; a number alone must be in it.

    Raises:
        InputFileError: there is no catalogue, no such run, a file of a run is missing, or all runs
            are bad.
        UsageError: the numbers cannot be read.
    """
    found = RunCatalogue(catalogue)
    wanted = numbers_in(text)
    known = {entry.number: entry for entry in found.runs()}
    single = {int(word) for word in text.replace(" ", "").split(",") if word.isdigit()}
    if missing := sorted(single - set(known)):
        found.runs(missing)  # says which
    chosen = [known[number] for number in wanted if number in known]
    if not chosen:
        raise InputFileError(
            f"none of the runs {text} is in the catalogue",
            where=found.path,
            do="`molexa runs list` shows what there is.",
        )
    if absent := sorted(set(wanted) - set(known)):
        progress.say(f"not in the catalogue: run {listing(map(str, absent))}")
    bad = [entry.number for entry in chosen if entry.quality == "bad"]
    if bad:
        progress.say(f"left out as bad: run {listing(map(str, bad))}")
    good = {entry.number: [Path(name) for name in entry.files] for entry in chosen}
    good = {number: files for number, files in good.items() if number not in bad}
    if not good:
        raise InputFileError(f"all of the runs {text} are marked as bad", where=found.path)
    for number, files in good.items():
        for path in files:
            if not path.is_file():
                raise InputFileError(
                    f"a file of run {number} is missing",
                    where=path,
                    do="Put it back, or add the run again from where it is now.",
                )
    return good


def runs_or_files(
    files: Sequence[Path] | None,
    numbers: str | None,
    catalogue: Path | str = CATALOGUE,
    progress: Progress = SILENT,
) -> list[list[Path]]:
    """What a command works on: the files given as one run, or those of each run by number.

    Raises:
        UsageError: both or none are given.
        InputFileError: as `files_by_number`.
    """
    if bool(files) == bool(numbers):
        what = "both files and numbers of runs" if files else "no run given"
        raise UsageError(what, do="Name files, or `numbers=`, such as 52-60.")
    if files:
        return [list(files)]
    return list(files_by_number(numbers or "", catalogue, progress).values())
