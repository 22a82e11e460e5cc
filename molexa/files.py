"""Opening, reading, converting and describing files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from molexa_core.base.errors import InputFileError, listing
from molexa_core.base.fields import EXPLOSION
from molexa_core.base.settings import Setup, load_channel, load_setup
from molexa_core.base.storage.files import require_file

if TYPE_CHECKING:
    from molexa_core.pipeline.runs.inspection import Inspection
    from molexa_core.pipeline.runs.open_run import OpenRun

Files = str | Path | Sequence[str | Path]
"""A file, a pattern, a folder, or several of them."""


def open_run(files: Files, setup: Setup | str | Path | None = None) -> OpenRun:
    """A raw run of any known format, read as often as wanted in chunks of `Hits`.

    Args:
        files: files, pattern or folder; several count as one run.
        setup: the apparatus, or its file; that of `molexa.yaml`, or of a virtual run, if not given.

    Raises:
        InputFileError, ColumnError, SettingsError: it cannot be read, or there is no setup.
    """
    from molexa_core.pipeline.runs.open_run import open_run as opened  # noqa: PLC0415

    return opened(files, setup_of(setup))


def read(path: str | Path) -> Any:
    """What a file of molexa holds, by its content.

    Returns:
        `Coincidences` for events and aligned events, a table for mean momenta, `Reconstruction` for
        `geom.json`, `Geometry` for the first structure of an XYZ file, `Setup` or `Channel` for
        YAML.

    Raises:
        InputFileError: it is none of these; a raw run is opened with `open_run`.
    """
    path = require_file(path)
    suffix = path.suffix.lower()
    if suffix in _BY_SUFFIX:
        return _BY_SUFFIX[suffix](path)
    raise InputFileError(
        f"no file of molexa has the ending {suffix or 'none'}",
        where=path,
        do=f"Known are {listing(_BY_SUFFIX)}; open a raw run with open_run.",
    )


def _events(path: Path) -> Any:
    from molexa_core.base.storage.outputs import FileKind  # noqa: PLC0415
    from molexa_core.io.results.events import read_events, read_spectra  # noqa: PLC0415
    from molexa_core.io.results.kinds import kind_of_result  # noqa: PLC0415
    from molexa_core.io.results.structures import read_structures_file  # noqa: PLC0415

    kind = kind_of_result(path)
    if kind == FileKind.STRUCTURES:
        return read_structures_file(path)
    try:
        return replace(read_events(path)[0], spectra=read_spectra(path))
    except InputFileError:
        if kind is None or is_run(path):
            raise InputFileError(
                "no result of molexa", where=path, do="Open a raw run with open_run."
            ) from None
        raise


def is_run(path: Path) -> bool:
    """Whether a file can hold nothing but a raw run: neither a result nor a text of molexa."""
    from molexa_core.base.storage.outputs import RunKind  # noqa: PLC0415
    from molexa_core.io.results.kinds import kind_of_result  # noqa: PLC0415

    if path.suffix.lower() in {".csv", ".json", ".xyz", ".yaml", ".yml"} or not path.is_file():
        return False
    kind = kind_of_result(path)
    return kind is None or isinstance(kind, RunKind)


def _means(path: Path) -> Any:
    from molexa.momenta import MeanMomenta  # noqa: PLC0415
    from molexa_core.io.results.channel_csv import read_channel_csv  # noqa: PLC0415
    from molexa_core.pipeline.explosions.assumed import explosion_of_record  # noqa: PLC0415

    table, record = read_channel_csv(path)
    told = explosion_of_record(record)
    found = MeanMomenta.of(table)
    if told is not None:
        found.attrs[EXPLOSION] = told.plain()
    return found


def _record(path: Path) -> Any:
    from molexa_core.io.results.geometry_json import read_geometry_json  # noqa: PLC0415

    return read_geometry_json(path)[0]


def _structure(path: Path) -> Any:
    from molexa_core.io.xyz import read_xyz  # noqa: PLC0415

    return read_xyz(path)[0]


def _settings(path: Path) -> Any:
    from molexa_core.base.settings.yaml_file import read_yaml  # noqa: PLC0415

    values = read_yaml(path)
    is_setup = isinstance(values, dict) and "spectrometer" in values
    return load_setup(path) if is_setup else load_channel(str(path))


_BY_SUFFIX: Final[dict[str, Callable[[Path], Any]]] = {
    ".h5": _events,
    ".hdf5": _events,
    ".csv": _means,
    ".json": _record,
    ".xyz": _structure,
    ".yaml": _settings,
    ".yml": _settings,
}


def convert(
    files: Files, out: str | Path, *, layout: str | None = None, setup: str | Path | None = None
) -> dict[str, Any]:
    """Write a run in another format, and say what that format cannot hold.

    Args:
        files: of the run.
        out: file to write; its ending tells the format if that is not given.
        layout: name of the format, such as `root` or `hdf5`.
        setup: file with the columns of the run, where it is not recognised.

    Raises:
        InputFileError, OutputError, UsageError: as `molexa convert`.
    """
    from molexa_core.pipeline.runs.convert import convert_file  # noqa: PLC0415

    return convert_file(files, out, layout=layout, setup=setup)


def inspect(file: str | Path, *, setup: Setup | str | Path | None = None) -> Inspection:
    """Format and contents of a file: rates, spectra, remarks, faults.

    Raises:
        InputFileError: it is missing or of an unknown format.
    """
    from molexa_core.pipeline.runs.inspect import inspect_file  # noqa: PLC0415

    return inspect_file(file, setup=setup_of(setup))


def setup_of(setup: Setup | str | Path | None) -> Setup | None:
    """The setup that is meant: an object, a file, or that of `molexa.yaml`."""
    from molexa_core.base.settings import load_project  # noqa: PLC0415

    if setup is None:
        setup = load_project().setup
    return load_setup(setup) if isinstance(setup, str | Path) else setup
