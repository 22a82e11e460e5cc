"""Join: the events of several runs of one channel and one setup as one file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from molexa_core.base.errors import InputFileError, UsageError, listing
from molexa_core.base.fields import GATES, TAG_RUN, TAG_SHOT, WARNINGS
from molexa_core.base.progress import SILENT, Progress
from molexa_core.base.storage.outputs import FileKind
from molexa_core.base.storage.provenance import Provenance
from molexa_core.base.tables import Coincidences
from molexa_core.io.results.events import EventsFile, EventsWriter, read_shots
from molexa_core.observables.gating import recorded
from molexa_core.pipeline.chain.channel_limits import inherited
from molexa_core.pipeline.chain.pick import EVENTS_SUFFIX
from molexa_core.pipeline.output_guard import require_outputs

ROWS: Final = 2**16
KeyArray = NDArray[np.uint64]
_FACTOR: Final = np.uint64(0x9E3779B97F4A7C15)
_BY_CHANCE: Final = 2
_FEW: Final = 0.01
"""Rows that two files share are said from more than so many, and more than this share of one."""
_NAMES: Final = ("name", "description")
"""Keys of channel and setup that may differ."""
_ADDED: Final = ("shots", "hits", "crowded_shots", "combinations", "coincidences")
"""Numbers of a summary that are sums."""


@dataclass(frozen=True)
class Joined:
    """What was joined.

    Attributes:
        file: that was written.
        rows: coincidences of each run.
        tags: tags that were left out because some runs lack them.
    """

    file: Path
    rows: tuple[int, ...]
    left_out: tuple[str, ...]


def join_files(
    paths: Sequence[Path | str],
    out: Path | str,
    *,
    common_tags: bool = False,
    progress: Progress = SILENT,
) -> Joined:
    """Write the events of several runs to one file, in bounded memory.

    Events are numbered anew; shots of later runs follow those of the earlier ones; the tag `run`
    is the number of the file, from 0. False coincidences and the tags of all shots are joined too.

    Args:
        paths: events files of `molexa reduce`, at least two.
        out: the file to write.
        common_tags: whether tags that some runs lack are left out; they are an error otherwise.
        progress: receives remarks.

    Raises:
        UsageError: fewer than two files, or one twice.
        InputFileError: aligned events, other ions, channels, setups or gates, or missing tags; the
            message says what differs.
        OutputError: the file cannot be written.
    """
    names = [Path(path) for path in paths]
    if len(names) < 2 or len({path.resolve() for path in names}) < len(names):
        raise UsageError("two or more different events files are needed", setting="events")
    out = Path(out)
    require_outputs((out, FileKind.EVENTS), inputs=names)
    files = [EventsFile(path) for path in names]
    _require_alike(files)
    tags, left_out = _common(files, common_tags=common_tags)
    for name in left_out:
        progress.say(f"tag {name} is left out: some runs lack it")
    whole = all(file.n_shots for file in files)
    if not whole and any(file.n_shots for file in files):
        progress.say("the tags of all shots are left out: some files do not hold them")
    kept_false = all(file.n_false is not None for file in files)
    if not kept_false and any(file.n_false is not None for file in files):
        progress.warn("false coincidences are left out: some files hold none")
    first_shot, first_id, first_false = 0, 0, 0
    known: list[KeyArray] = []
    twice: list[str] = []
    with EventsWriter(out, files[0].ions) as writer:
        for number, file in enumerate(files):
            shots = _shots_of(file)
            own: list[KeyArray] = []
            for table in file.chunks(ROWS):
                writer.append(_numbered(table, number, first_id, first_shot, tags))
                own.append(_keys(table))
                first_id += len(table)
            twice += _repeated(file, own, known)
            known += own
            if kept_false:
                for table in file.chunks(ROWS, false=True):
                    moved = _numbered(table, number, first_false, first_shot, tags)
                    source = None if table.source is None else table.source + first_shot
                    writer.append_false(replace(moved, source=source))
                    first_false += len(table)
            for part in _shot_parts(file) if whole else ():
                columns = {name: part[name] for name in tags if name in part}
                size = len(next(iter(part.values())))
                columns[TAG_SHOT] = part[TAG_SHOT] + first_shot
                columns[TAG_RUN] = np.full(size, number, np.int64)
                writer.append_shots(columns)
            first_shot += shots
        for warning in twice:
            progress.warn(warning)
        meta = _meta(files)
        meta[WARNINGS] += twice
        record = Provenance.of(
            inputs=names,
            settings={name: meta[name] for name in ("channel", "setup") if name in meta},
            after=files[0].provenance,
        )
        writer.finish(record, meta=meta)
    return Joined(out, tuple(file.n_rows for file in files), left_out)


def _numbered(
    table: Coincidences, run: int, first_id: int, first_shot: int, tags: Sequence[str]
) -> Coincidences:
    columns = {name: table.tags[name] for name in tags if name in table.tags}
    if TAG_SHOT in table.tags:
        columns[TAG_SHOT] = table.tags[TAG_SHOT] + first_shot
    columns[TAG_RUN] = np.full(len(table), run, np.int64)
    ids = np.arange(first_id, first_id + len(table), dtype=np.int64)
    return replace(table, event_id=ids, tags=columns, false=None)


def _keys(table: Coincidences) -> KeyArray:
    """A number for every row that only a row with exactly the same momenta has as well."""
    bits = np.ascontiguousarray(table.momentum.reshape(len(table), -1)).view(np.uint64)
    keys = np.zeros(len(table), np.uint64)
    for column in bits.T:  # whole numbers, which wrap around: the same wherever the row stands
        keys = keys * _FACTOR + (column ^ (column >> np.uint64(29)))
    return keys


def _repeated(file: EventsFile, own: list[KeyArray], known: list[KeyArray]) -> list[str]:
    """A warning if a file holds rows of the files before it: the errors would be too small."""
    if not own or not known:
        return []
    mine = np.concatenate(own)
    again = int(np.isin(mine, np.concatenate(known)).sum())
    if again <= max(_BY_CHANCE, _FEW * len(mine)):
        return []
    warning = (
        f"{again} of {len(mine)} coincidences of {file.path.name} are in the files before it as "
        "well: a run counts twice, and errors are too small"
    )
    return [warning]


def _require_alike(files: Sequence[EventsFile]) -> None:
    """Check that files can be joined.

    Raises:
        InputFileError: they cannot.
    """
    first = files[0]
    for file in files:
        if "frame" in file.meta:
            raise InputFileError(
                "these events are aligned", where=file.path, do="Join first, and align then."
            )
        if not file.path.name.endswith(EVENTS_SUFFIX) and "channel" not in file.meta:
            raise InputFileError(
                "these events name no channel", where=file.path, do="Reduce the run again."
            )
        if file.ions != first.ions:
            raise InputFileError(
                f"it has {listing(file.ions)}, and {first.path.name} {listing(first.ions)}",
                where=file.path,
                do="Join events of one channel.",
            )
        for block in ("channel", "setup"):
            found = list(differences(first.meta.get(block), file.meta.get(block)))
            if found:
                raise InputFileError(
                    f"its {block} is another than that of {first.path.name}: {listing(found)}",
                    where=file.path,
                    do=f"Reduce the runs with one {block}.",
                )
        ours, theirs = (
            [row.get("statement") for row in recorded(one.meta)] for one in (first, file)
        )
        if ours != theirs:
            raise InputFileError(
                f"its gates are {listing(theirs)}, those of {first.path.name} {listing(ours)}",
                where=file.path,
                do="Reduce the runs with the same gates.",
            )
        if (file.none.detector is None) != (first.none.detector is None):
            raise InputFileError(
                f"only one of it and {first.path.name} holds times of flight and positions",
                where=file.path,
                do="Reduce the older run again.",
            )


def differences(one: Any, other: Any, key: str = "") -> Iterator[str]:
    """What differs in plain values, as `calibration -> time_zero_ns: 12 and 25`."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        for name in dict.fromkeys([*one, *other]):
            if key or name not in _NAMES:
                inner = f"{key} -> {name}" if key else str(name)
                yield from differences(one.get(name), other.get(name), inner)
    elif isinstance(one, list | tuple) and isinstance(other, list | tuple):
        if len(one) != len(other):
            yield f"{key}: {len(one)} and {len(other)} entries"
            return
        for number, (left, right) in enumerate(zip(one, other, strict=True), start=1):
            yield from differences(left, right, f"{key} -> entry {number}")
    elif one != other:
        yield f"{key}: {one} and {other}"


def _common(
    files: Sequence[EventsFile], *, common_tags: bool
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Tags that all files have, and those that some lack.

    Raises:
        InputFileError: there are such, and they are not to be left out.
    """
    names = list(dict.fromkeys(name for file in files for name in file.none.tags))
    missing = {
        name: [file.path.name for file in files if name not in file.none.tags] for name in names
    }
    lacking = {name: without for name, without in missing.items() if without}
    if lacking and not common_tags:
        name, without = next(iter(lacking.items()))
        more = f" (and {len(lacking) - 1} more tags)" if len(lacking) > 1 else ""
        raise InputFileError(
            f"tag {name!r} is missing in {listing(without)}{more}",
            do="Leave such tags out with `common_tags=True`, or join only runs that have them.",
        )
    own = (TAG_RUN,) if any(TAG_RUN in file.none.tags for file in files) else ()
    return tuple(name for name in names if name not in lacking and name not in own), tuple(lacking)


def _shots_of(file: EventsFile) -> int:
    summary = file.meta.get("summary")
    counted = summary.get("shots") if isinstance(summary, Mapping) else None
    if file.n_shots:
        return file.n_shots
    if isinstance(counted, int):
        return counted
    last = [int(table.tags[TAG_SHOT].max()) for table in file.chunks(ROWS) if len(table)]
    return max(last, default=-1) + 1


def _shot_parts(file: EventsFile) -> Iterator[Mapping[str, Any]]:
    for first in range(0, file.n_shots, ROWS):
        yield read_shots(file.path, slice(first, first + ROWS))


def _meta(files: Sequence[EventsFile]) -> dict[str, Any]:
    """The description of the whole: settings of the first, sums, and the summaries of all runs."""
    first = files[0].meta
    meta: dict[str, Any] = {name: first[name] for name in ("channel", "setup") if name in first}
    runs = [
        dict(file.meta["summary"])
        for file in files
        if isinstance(file.meta.get("summary"), Mapping)
    ]
    summary: dict[str, Any] = {
        name: sum(run[name] for run in runs)
        for name in _ADDED
        if len(runs) == len(files) and all(isinstance(run.get(name), int) for run in runs)
    }
    summary["runs"] = [file.path.name for file in files]
    summary["channel"] = runs[0].get("channel") if runs else None
    meta["summary"] = summary
    meta["summaries"] = runs
    meta[WARNINGS] = list(
        dict.fromkeys(
            f"{file.path.name}: {text}" for file in files for text in inherited(file.meta)
        )
    )
    gates = _added_gates(files)
    return meta | ({GATES: gates} if gates else {})


def _added_gates(files: Sequence[EventsFile]) -> list[dict[str, Any]]:
    """The gates with the rows of all runs."""
    each = [recorded(file.meta) for file in files]
    rows = []
    for same in zip(*each, strict=True):
        row = dict(same[0])
        for name in ("rows", "kept", "not_numbers"):
            numbers = [one[name] for one in same if isinstance(one.get(name), int)]
            if numbers:
                row[name] = sum(numbers)
        rows.append(row)
    return rows
