"""Checks of output files that every stage makes before its computation begins."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from molexa_core.base.errors import InputFileError, MolexaError, UsageError, listing
from molexa_core.base.storage.files import PROJECT_FILE
from molexa_core.base.storage.outputs import (
    NULL,
    FileKind,
    Kind,
    output_folder,
    output_place,
    replaces_foreign,
    require_apart,
)
from molexa_core.base.storage.resources import FOLDERS, find, shipped_folder
from molexa_core.io.results.kinds import kind_of_result
from molexa_core.pipeline.datasets.recipe import RECIPE_FILE

_PAGES: Final = (FileKind.REPORT, FileKind.GATE_PAGE)
_PAGE_SUFFIXES: Final = (".html", ".htm")
_PICTURES: Final = (".pdf", ".svg", ".png", ".eps", ".jpg", ".jpeg", ".gif")
Name = Path | str | None
Output = tuple[Name, Kind]
"""A file that will be written and its kind; None for a result that is not wanted."""


def require_outputs(
    *outputs: Output, inputs: Iterable[Name] = (), folder: Path | str | None = None
) -> None:
    """Check that results can be written and do not destroy other files.

    A result never replaces an input or another result of the same command, a folder or device, a
    read-only file, a result of molexa of another kind, or a file that was not written by molexa;
    only the last can be allowed, with `base.storage.outputs.replacing_foreign` (`--force`). Empty
    files may be replaced.

    Args:
        outputs: every file that will be written, whether it exists or not.
        inputs: every file that is read; `molexa.yaml` and the files it names are added.
        folder: a folder for results that the stage creates if it does not exist.

    Raises:
        UsageError: an output is an input, or another output, or would replace another kind of file
            or one that molexa did not write; or a page is not named as one, or another result as a
            page or picture.
        OutputError: the file cannot be written, see `base.storage.outputs.output_place`.
    """
    wanted = [(Path(path), kind) for path, kind in outputs if path is not None]
    read = [Path(path) for path in inputs if path is not None]
    if not wanted and folder is None:
        return
    require_apart([path for path, _ in wanted], [*read, *_project_inputs()])
    if folder is not None:
        output_folder(folder)
    for path, kind in wanted:
        if folder is not None and path.parent == Path(folder) and not path.parent.exists():
            continue
        place = output_place(path)
        if place == NULL:
            continue
        if place.exists():
            _require_replaceable(path, place, kind)
        _require_suffix(path, kind)


def _require_suffix(path: Path, kind: Kind) -> None:
    """Refuse a name that says page or picture for a result that is another, and the other way."""
    suffix = path.suffix.lower()
    if kind in _PAGES and suffix not in _PAGE_SUFFIXES:
        raise UsageError(
            f"a {kind} is not written as {suffix or 'a file without an ending'}",
            where=path,
            do=f"Give it one of the endings {listing(_PAGE_SUFFIXES)}; a browser prints it as PDF.",
        )
    if kind not in (*_PAGES, FileKind.FIGURE) and suffix in (*_PAGE_SUFFIXES, *_PICTURES):
        raise UsageError(
            f"a {kind} is not written as {suffix}", where=path, do="Name it otherwise."
        )


def beside_output(path: Path | str, suffix: str) -> Path:
    """The path with another suffix beside a result; discarded if the result is."""
    path = Path(path)
    return path if discards(path) else path.with_suffix(suffix)


def discards(path: Path | str) -> bool:
    """Whether everything written to this path is discarded, as in `/dev/null`."""
    return output_place(path) == NULL


def settings_inputs(
    *, channel: Name = None, setup: Name = None, weights: Name = None
) -> list[Path]:
    """The files from which channel, setup and weights are read, as far as known.

    Args:
        channel: name or file.
        setup: file; the file named by its `anode` is included.
        weights: name or card; the files of the network are included.
    """
    found = []
    if channel is not None:
        found += _settings_file("channels", str(channel), ".yaml")
    if setup is not None:
        # Settings take a tenth of a second to import.
        from molexa_core.base.settings.load import setup_files  # noqa: PLC0415

        found += setup_files(setup)
    if weights is not None:
        cards = _settings_file("weights", str(weights), ".json")
        found += cards
        found += [path for card in cards for path in card.parent.glob(f"{card.stem}-*.safetensors")]
    return found


def data_set_inputs(folder: Name) -> list[Path]:
    """The files that a data set is read from."""
    if folder is None:
        return []
    return [Path(folder, RECIPE_FILE), *Path(folder).glob("*.h5")]


def _settings_file(kind: str, name: str, suffix: str) -> list[Path]:
    try:
        return [find(kind, name, suffix)]
    except InputFileError:
        return []


def _project_inputs() -> list[Path]:
    """`molexa.yaml` and the files it names."""
    if not Path(PROJECT_FILE).is_file():
        return []
    from molexa_core.base.settings.load import load_project  # noqa: PLC0415

    try:
        project = load_project()
        named = settings_inputs(
            channel=project.channel, setup=project.setup, weights=project.weights
        )
    except MolexaError:  # reported by the stage that needs it
        named = []
    return [Path(PROJECT_FILE), *named]


def _require_replaceable(path: Path, place: Path, kind: Kind) -> None:
    if place.stat().st_size == 0:
        return
    try:
        found = kind_of_result(place)
    except OSError as error:
        raise InputFileError(
            f"cannot read what would be replaced: {error.strerror or error}",
            where=path,
            do="Name another output.",
        ) from error
    if found == kind:
        _require_not_shipped(path, place)
    elif found is not None:
        raise UsageError(
            f"this is a {found} of molexa, and the result is a {kind}",
            where=path,
            do="Name another output, or remove the file.",
        )
    elif not replaces_foreign():
        raise UsageError(
            "this file was not written by molexa",
            where=path,
            do="Name another output; `replacing_foreign()` replaces it.",
        )
    else:
        _require_not_shipped(path, place)


def _require_not_shipped(path: Path, place: Path) -> None:
    """Refuse to replace the channels and templates of the installation."""
    package = Path(__file__).resolve().parent.parent
    folders = [package, *(shipped_folder(kind).resolve() for kind in FOLDERS if kind != "weights")]
    if any(folder in place.parents for folder in folders):
        raise UsageError(
            "this file came with molexa", where=path, do="Name an output in a folder of your own."
        )
