"""Recognition of molexa's result files and their kinds, by content and provenance.

File names are not used. A result with damaged values is still recognised, so that it can be
replaced; a file that cannot be opened is not.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from molexa_core.base.errors import MolexaError
from molexa_core.base.fields import (
    COMBINATIONS,
    META,
    PROVENANCE,
    RECIPE_DIGEST,
    STRUCTURES,
)
from molexa_core.base.storage.event_file import is_event_file
from molexa_core.base.storage.outputs import FileKind, Kind, run_kind
from molexa_core.base.storage.provenance import (
    EXPLOSION_MARK,
    FIGURE_MARK,
    GATE_GENERATOR,
    GENERATOR,
    NUMBERS_MARK,
    PICTURE_MARK,
    REGIONS_MARK,
    SERIES_MARK,
    SETUP_MARK,
    SPECTRUM_MARK,
)
from molexa_core.io import formats, marks
from molexa_core.io.candidate import Candidate
from molexa_core.io.results.inspected import holds_events, holds_truth
from molexa_core.io.results.watch_state import is_watch_state

_HEAD: Final = 64 * 1024
"""Bytes at the beginning of a text that are looked at."""
_LARGEST: Final = 256 * 2**20
"""A longer file is none of the kinds that are JSON or YAML."""
_LONGEST_HEADER: Final = 64 * 2**20
_JSON_KINDS: Final[tuple[tuple[FileKind, frozenset[str]], ...]] = (
    (FileKind.RECONSTRUCTION, frozenset({"symbols", "positions_bohr", PROVENANCE})),
    (FileKind.SPECTROMETER, frozenset({"quantities", "not_determined", PROVENANCE})),
    (FileKind.SERIES, frozenset({"by", "bins", "background", PROVENANCE})),
    (FileKind.EVALUATION, frozenset({"conditions", "errors", PROVENANCE})),
    (FileKind.EVALUATION, frozenset({"conditions", "calibration", "failed", PROVENANCE})),
    (FileKind.FIGURE_VALUES, frozenset({"format", "sizes", "rows", "coverage", "geometries"})),
    (FileKind.CARD, frozenset({"network", "files", "training", "parameters", "versions"})),
    (FileKind.TRAINING, frozenset({"preset", "stage", "steps", "seconds", "stage_1_molecules"})),
    (FileKind.RECIPE, frozenset({"format", "recipe"})),
)
"""Kinds of JSON by keys that all of them have."""
_LOG_KEYS: Final = frozenset({"step", "learning_rate", "molecules_per_s", "processes"})


def kind_of_result(path: Path | str) -> Kind | None:
    """The kind of result of a file; None if molexa did not write it.

    Recognised by the provenance inside: an attribute in HDF5 and Parquet, a string in ROOT, the
    comment of a virtual list-mode file, a line of comment in CSV, the comment line in XYZ, a key in
    JSON and YAML, an element in SVG and HTML; recipes, model cards and what a training writes by
    their keys. A converted list-mode file keeps the headers of the run that it was made from and
    cannot be distinguished from one written by an acquisition.

    Raises:
        OSError: the file cannot be read.
    """
    path = Path(path)
    with path.open("rb") as stream:
        head = stream.read(_HEAD)
    try:
        return _kind(path, head)
    except (MolexaError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _kind(path: Path, head: bytes) -> Kind | None:
    with Candidate(path, head=head) as candidate:
        for run in formats.RUNS:
            name = run.written(candidate)
            if name is not None:
                return run_kind(name)
        if head.startswith(marks.HDF5):
            return _of_hdf5(candidate)
    if head.startswith((marks.ROOT, marks.PARQUET)) or marks.is_list_mode(head):
        return None
    marked = head.startswith((marks.PDF, marks.PNG, marks.ZIP))
    if _begins_safetensors(head) or is_event_file(head) or marked:
        return _of_binary(path, head)
    try:
        text = head.decode("utf-8", errors="strict" if len(head) < _HEAD else "ignore")
    except UnicodeDecodeError:
        return None
    return _of_text(path, text)


def _of_binary(path: Path, head: bytes) -> FileKind | None:
    if is_event_file(head):
        return FileKind.TRAINING_EVENTS
    if _begins_safetensors(head):
        return _of_safetensors(path)
    if head.startswith(marks.ZIP):
        return FileKind.WATCH if is_watch_state(path) else None
    return FileKind.FIGURE if _is_picture(path, head) else None


def _of_hdf5(candidate: Candidate) -> FileKind | None:
    # HDF5 alone takes a tenth of a second to import, which a command with text need not pay.
    from molexa_core.io.hdf5.file import open_unsealed, reading_hdf5  # noqa: PLC0415
    from molexa_core.io.results import covariance_file  # noqa: PLC0415

    file = candidate.opened(open_unsealed)
    with reading_hdf5(candidate.path):
        if META not in file or PROVENANCE not in file[META].attrs:
            return None
        meta = file[META]
        is_aligned = "frame" in meta
        kinds = (
            (
                FileKind.ALIGNED if is_aligned else FileKind.EVENTS,
                holds_events(file),
            ),
            (FileKind.TRUTH, holds_truth(file)),
            (FileKind.DATASET, RECIPE_DIGEST in meta.attrs),
            (FileKind.CHANNELS, COMBINATIONS in file),
            (FileKind.STRUCTURES, STRUCTURES in file),
            (FileKind.COVARIANCE, covariance_file.is_covariance(meta)),
        )
        return next((kind for kind, holds in kinds if holds), None)


def _begins_safetensors(head: bytes) -> bool:
    return len(head) > 9 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 2**40


def _of_safetensors(path: Path) -> FileKind | None:
    """Checkpoints name molexa in their header; a card beside them names the files of weights."""
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if length > _LONGEST_HEADER:
            return None
        header = json.loads(stream.read(length))
    if "molexa" in header.get("__metadata__", {}):
        return FileKind.CHECKPOINT
    for card in path.parent.glob("*.json"):
        try:
            values = _json(card)
        except ValueError:
            continue  # a damaged file beside it says nothing of this one
        if _of_json(values) is FileKind.CARD and path.name in values["files"]:
            return FileKind.WEIGHTS
    return None


def _of_text(path: Path, text: str) -> FileKind | None:
    text = text.removeprefix("\ufeff")
    begin = text.lstrip()
    for fits, kind in _TEXT_KINDS:
        if fits(begin):
            return kind
    if begin.startswith("{"):
        first = begin.split("\n", 1)[0]
        if _keys(first) >= _LOG_KEYS:
            return FileKind.TRAINING_LOG
        return _of_json(_json(path))
    if begin.startswith("#") and "\nanode:" in text and path.stat().st_size < _LONGEST_HEADER:
        return FileKind.DETECTOR if f"\n{PROVENANCE}:" in path.read_text(encoding="utf-8") else None
    return None


def _is_setup(text: str) -> bool:
    return text.startswith(SETUP_MARK + "{")


def _is_explosion(text: str) -> bool:
    return text.startswith(EXPLOSION_MARK + "{")


def _is_regions(text: str) -> bool:
    return text.startswith(REGIONS_MARK + "{") and "\nions:" not in text


def _is_channel(text: str) -> bool:
    return text.startswith(REGIONS_MARK + "{") and "\nions:" in text


def _is_gate_page(text: str) -> bool:
    return text[:9].lower() == "<!doctype" and GATE_GENERATOR in text


def _is_spectrum(text: str) -> bool:
    return text.startswith(SPECTRUM_MARK + "{")


def _is_series_table(text: str) -> bool:
    return text.startswith(SERIES_MARK + "{")


def _is_momenta(text: str) -> bool:
    comments = [line for line in text.split("\n")[:20] if line.startswith("#")]
    return any(line.startswith(f"# {PROVENANCE}: {{") for line in comments)


def _is_geometry(text: str) -> bool:
    lines = text.split("\n", 2)
    return len(lines) > 2 and lines[0].strip().isdigit() and f' {PROVENANCE}="{{' in lines[1]


def _is_figure(text: str) -> bool:
    return "<svg" in text and FIGURE_MARK in text


def _is_picture(path: Path, head: bytes) -> bool:
    """Whether a PNG says at its beginning, or a PDF at its end, that molexa drew it."""
    with path.open("rb") as stream:
        stream.seek(max(0, path.stat().st_size - _HEAD))
        tail = stream.read(_HEAD)
    return PICTURE_MARK.encode() in head or PICTURE_MARK.encode() in tail


def _is_figure_numbers(text: str) -> bool:
    return text.startswith(NUMBERS_MARK + "{")


def _is_report(text: str) -> bool:
    return text[:9].lower() == "<!doctype" and GENERATOR in text


_TEXT_KINDS: Final[tuple[tuple[Callable[[str], bool], FileKind], ...]] = (
    (_is_setup, FileKind.SETUP),
    (_is_explosion, FileKind.EXPLOSION),
    (_is_series_table, FileKind.SERIES_TABLE),
    (_is_spectrum, FileKind.SPECTRUM),
    (_is_figure_numbers, FileKind.FIGURE_NUMBERS),
    (_is_regions, FileKind.REGIONS),
    (_is_channel, FileKind.CHANNEL),
    (_is_gate_page, FileKind.GATE_PAGE),
    (_is_momenta, FileKind.MOMENTA),
    (_is_geometry, FileKind.GEOMETRY),
    (_is_figure, FileKind.FIGURE),
    (_is_report, FileKind.REPORT),
)


def _json(path: Path) -> Any:
    if path.stat().st_size > _LARGEST:
        return None
    return json.loads(path.read_text(encoding="utf-8"))


def _keys(text: str) -> frozenset[str]:
    try:
        values = json.loads(text)
    except ValueError:
        return frozenset()
    return frozenset(values) if isinstance(values, dict) else frozenset()


def _of_json(values: Any) -> FileKind | None:
    if not isinstance(values, Mapping):
        return None
    for kind, keys in _JSON_KINDS:
        if keys <= set(values):
            return kind
    return None
