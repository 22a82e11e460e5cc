"""Check that a result was made from the files beside it, by the digests in its provenance.

Every result records its inputs with their digests. If a file of that name has another content now,
an earlier stage was run again, or the file was edited: the results no longer belong together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from molexa_core.base.errors import InputFileError, MolexaError
from molexa_core.base.progress import SILENT, Progress
from molexa_core.base.storage.checksums import states_checksum
from molexa_core.base.storage.files import digest
from molexa_core.base.storage.provenance import Provenance
from molexa_core.io.results.channel_csv import read_channel_csv
from molexa_core.io.results.geometry_json import read_geometry_json
from molexa_core.pipeline.chain.pick import ALIGNED_SUFFIX, EVENTS_SUFFIX

_RESULTS: Final = (EVENTS_SUFFIX, ALIGNED_SUFFIX)
_TEXTS: Final = (".csv", ".xyz", ".json")
_SETTINGS: Final = (".yaml", ".yml")
_STAGES: Final = {EVENTS_SUFFIX: "align", ALIGNED_SUFFIX: "centroid", ".csv": "reconstruct"}
"""The stage that reads files with this suffix."""


def require_fresh(
    path: Path | str,
    record: Provenance | None,
    *,
    refuse: bool = True,
    progress: Progress = SILENT,
) -> list[str]:
    """Check that the inputs of a file, as far as they lie beside it, have not changed since.

    Args:
        path: the file that is about to be read.
        record: its provenance; None if it has none, and nothing can be checked.
        refuse: whether a stage that was run again is an error; otherwise it is a warning.
        progress: receives the warnings.

    Returns:
        The warnings: inputs that were edited by hand, raw runs that changed.

    Raises:
        InputFileError: an earlier stage was run again since.
    """
    warnings = []
    for name, then, read_at, made_by in _inputs(record):
        beside = Path(path).parent / Path(name).name
        if beside.resolve() == Path(path).resolve() or not _changed(beside, then, read_at):
            continue
        if _replaced(beside, made_by):
            what = f"it was made from another {beside.name} than the one that lies beside it"
            do = f"Run molexa {_next_stage(beside)} again, or move one of them to another folder."
            if refuse:
                raise InputFileError(what, where=path, do=do)
            warnings.append(f"{path}: {what}")
        else:
            warnings.append(f"{beside.name} was changed after the results were made from it")
    for warning in warnings:
        progress.warn(warning)
    return warnings


def say_unguarded(path: Path | str, record: Provenance | None, progress: Progress) -> None:
    """Say that a result of molexa has no checksum, where it has none; molexa up to 0.1 wrote none.

    Args:
        path: what a stage reads.
        record: its provenance; a file without one is none of molexa's.
        progress: told so.
    """
    if record is not None and not states_checksum(path):
        progress.say(
            f"{path} is without checksum (written by molexa {record.version}): a changed value in "
            "it would not be seen"
        )


def require_made_from(
    path: Path | str, record: Provenance | None, source: Path | str, *, progress: Progress = SILENT
) -> list[str]:
    """Check that a file of one stage was made from that of the stage before.

    Args:
        path: the later file.
        record: its provenance.
        source: the file of the stage before.
        progress: receives the warnings.

    Returns:
        The warnings: a file without provenance.

    Raises:
        InputFileError: the provenance names another file.
    """
    if record is None:
        said = f"{Path(path).name} does not tell whether it was made from {Path(source).name}"
        progress.warn(said)
        return [said]
    if not record.inputs or digest(source) in record.inputs.values():
        return []
    before = record.history[-1] if record.history else None
    if not _replaced(Path(source), before):
        return []  # the check of the later file warns about edited text files
    raise InputFileError(
        f"it was not made from {Path(source).name}: the stages do not belong together",
        where=path,
        do=f"Run molexa {_next_stage(Path(source))} again, or move one of them to another folder.",
    )


def _inputs(
    record: Provenance | None,
) -> Iterator[tuple[str, str, object, Mapping[str, Any] | None]]:
    """Every input, earliest stage first: name, digest, time of reading, how it was made."""
    if record is None:
        return
    before: Mapping[str, Any] | None = None
    for step in (*record.history, record.own_record()):
        inputs = step.get("inputs")
        if isinstance(inputs, Mapping):
            for name, then in inputs.items():
                yield str(name), str(then), step.get("created"), before
        before = step


def _changed(beside: Path, then: str, read_at: object) -> bool:
    """Whether the file exists with another content; raw runs are read only if newer."""
    if beside.suffix in _SETTINGS or not beside.is_file():
        return False
    ours = beside.name.endswith((*_RESULTS, *_TEXTS))
    try:
        if not ours and not _newer(beside, read_at):
            return False
        return digest(beside) != then
    except OSError:
        return False  # a file that cannot be read was not an input of this stage


def _newer(beside: Path, read_at: object) -> bool:
    try:
        return beside.stat().st_mtime >= datetime.fromisoformat(str(read_at)).timestamp()
    except (TypeError, ValueError):
        return True


def _replaced(beside: Path, made_by: Mapping[str, Any] | None) -> bool:
    """Whether a stage wrote a changed file anew; otherwise it was edited or is not a result."""
    if beside.name.endswith(_RESULTS):
        return True
    if beside.suffix not in _TEXTS or beside.suffix == ".xyz":
        return False  # a structure is a known one or the start of a simulation, not a stage
    try:
        now = _record_of(beside)
    except MolexaError:
        return False
    if now is None or made_by is None:
        return False
    return (now.command, now.created) != (made_by.get("command"), made_by.get("created"))


def _record_of(path: Path) -> Provenance | None:
    return (read_channel_csv if path.suffix == ".csv" else read_geometry_json)(path)[1]


def _next_stage(path: Path) -> str:
    return next((stage for end, stage in _STAGES.items() if path.name.endswith(end)), "reconstruct")
