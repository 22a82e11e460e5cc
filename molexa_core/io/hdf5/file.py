"""Opening, reading and writing HDF5 files with checked sizes and clear error messages."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np
from numpy.typing import NDArray

from molexa_core.base import interruption
from molexa_core.base.errors import InputFileError, MolexaError, listing, near_matches
from molexa_core.base.fields import FORMAT, FORMAT_VERSION, KIND, META, PROVENANCE, UNITS
from molexa_core.base.storage.checksums import (
    CHECKSUM,
    append_trailer,
    check_trailer,
    require_trailer,
)
from molexa_core.base.storage.files import atomic_path, require_file
from molexa_core.base.storage.provenance import Provenance
from molexa_core.io import marks
from molexa_core.io.hdf5.checks import (
    ForbiddenDataError,
    as_text,
    attribute,
    refuse_foreign_links,
    require_readable,
    texts_fit,
)
from molexa_core.io.hdf5.heap_bytes import open_checked
from molexa_core.io.hdf5.sink import DiskSink, check_disk

__all__ = [
    "LIBVER",
    "ForbiddenDataError",
    "append_rows",
    "attribute",
    "dataset_at",
    "has_checksum",
    "member",
    "new_column",
    "new_hdf5",
    "open_handle",
    "open_hdf5",
    "open_unsealed",
    "read_array",
    "read_json",
    "read_provenance",
    "read_strings",
    "read_text",
    "reading_hdf5",
    "require_format",
    "require_readable",
    "write_provenance",
    "write_strings",
]

_CHECKSUM_SAYS: Final = "SHA-256 of the file, behind its end"
LIBVER: Final = ("v108", "v110")
"""The lowest version that stores attributes above 64 kB; read by HDF5 1.10 and later."""


@contextmanager
def new_hdf5(path: Path | str) -> Iterator[h5py.File]:
    """A new HDF5 file, open for writing; it gets its name when the block ends without an error.

    It ends with a trailer that holds its checksum, and its attribute `checksum` says so.

    Args:
        path: the file.

    Raises:
        OutputError: it cannot be written there, such as on a full disk. Nothing is left then, and
            a file that was there before stays as it was.
    """
    with atomic_path(path) as temporary:
        with DiskSink(temporary) as sink, h5py.File(sink, "w", libver=LIBVER) as file:
            file.attrs[CHECKSUM] = np.bytes_(_CHECKSUM_SAYS)
            yield file
        append_trailer(temporary)


def new_column(
    file: h5py.File, name: str, like: NDArray[Any], unit: str, *, chunk_rows: int
) -> h5py.Dataset:
    """A compressed dataset without rows, that can grow by `append_rows`.

    Args:
        file: open for writing.
        name: path of the dataset.
        like: an array of its kind and of its shape behind the rows; its own rows do not count.
        unit: unit of the values.
        chunk_rows: rows that are compressed together.
    """
    dataset = file.create_dataset(
        name,
        data=like[:0],
        maxshape=(None, *like.shape[1:]),
        chunks=(max(1, chunk_rows), *like.shape[1:]),
        compression="gzip",
        compression_opts=1,
        shuffle=True,
    )
    dataset.attrs[UNITS] = unit
    return dataset


def write_strings(
    group: h5py.Group, name: str, texts: Iterable[object], *, unit: str | None = None
) -> None:
    """A one-dimensional dataset of strings, with an attribute for the unit where one is given."""
    values = np.array([str(text) for text in texts], dtype=object)
    dataset = group.create_dataset(name, data=values, dtype=h5py.string_dtype())
    if unit is not None:
        dataset.attrs[UNITS] = unit


def write_provenance(
    file: h5py.File, provenance: Provenance, *, kind: str | None = None
) -> h5py.Group:
    """The group `meta` with format and provenance, as `read_provenance` takes them.

    Args:
        file: open for writing, without that group.
        provenance: of the content.
        kind: what the file holds, where its groups do not tell.

    Returns:
        The group, for further attributes.
    """
    meta = file.create_group(META)
    meta.attrs[FORMAT] = FORMAT_VERSION
    if kind is not None:
        meta.attrs[KIND] = kind
    meta.attrs[PROVENANCE] = provenance.to_json()
    return meta


def append_rows(dataset: h5py.Dataset, rows: NDArray[Any]) -> None:
    """Add rows behind those of a dataset that can grow.

    Raises:
        OSError: the disk is full or has another fault; `new_hdf5` makes it a sentence.
        Interruption: a signal asked to stop.
    """
    interruption.check()
    start = len(dataset)
    dataset.resize(start + len(rows), axis=0)
    if len(rows):
        dataset[start:] = rows
    check_disk(dataset.file.filename)


@contextmanager
def open_hdf5(path: Path | str) -> Iterator[h5py.File]:
    """An HDF5 file for reading; errors from damage found while it is open name the file.

    Raises:
        InputFileError: the file is missing, not HDF5, truncated or damaged.
    """
    try:
        with open_handle(path) as file:
            yield file
    except (OSError, RuntimeError, KeyError, UnicodeDecodeError) as error:
        if isinstance(error, MolexaError):
            raise
        raise _damaged(path, error) from error


@contextmanager
def reading_hdf5(path: Path | str) -> Iterator[None]:
    """Convert all exceptions of the HDF5 library for a damaged file into one clear error."""
    try:
        yield
    except (MolexaError, KeyboardInterrupt):
        raise
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, OverflowError) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path | str, error: Exception) -> InputFileError:
    detail = " ".join(str(error).split())[:160]
    return InputFileError(
        f"the HDF5 file is truncated or damaged ({detail})",
        where=path,
        do="Make it again or copy it again.",
    )


def open_handle(path: Path | str) -> h5py.File:
    """The open file, for those who keep it open.

    Raises:
        InputFileError: the file is missing, not HDF5, truncated or damaged.
    """
    path = require_file(path)
    with path.open("rb") as stream:
        head = stream.read(8)
    if head != marks.HDF5:
        found = "an empty file" if not head else "not an HDF5 file"
        raise InputFileError(
            f"this is {found}", where=path, do="Give the .h5 file that molexa wrote."
        )
    sealed = check_trailer(path)
    with reading_hdf5(path):
        file = open_checked(path)
        try:
            if not sealed and CHECKSUM in file.attrs:
                require_trailer(path)
            refuse_foreign_links(file)
        except BaseException:
            file.close()
            raise
        return file


def open_unsealed(path: Path | str) -> h5py.File:
    """The open file without comparing its checksum, for those who do not use its values.

    Raises:
        InputFileError: the file is damaged or names bytes of other files.
    """
    with reading_hdf5(path):
        file = open_checked(Path(path))
        try:
            refuse_foreign_links(file)
        except BaseException:
            file.close()
            raise
        return file


def has_checksum(path: Path | str) -> bool:
    """Whether an HDF5 file of molexa carries its checksum; those of versions up to 0.1 do not.

    Raises:
        InputFileError: it does, and the file has changed.
    """
    return check_trailer(path)


def member(file: h5py.File | h5py.Group, name: str) -> Any:
    """The group or dataset of this name.

    Raises:
        InputFileError: it is missing; names near matches or what there is.
    """
    if name in file:
        return file[name]
    folder, _, leaf = name.rpartition("/")
    there = list(file[folder]) if folder in file else list(file) if not folder else []
    near = near_matches(leaf, there)
    hint = f"Did you mean {listing(near)}?" if near else f"It holds: {listing(there)}."
    raise InputFileError(f"{name} is missing", where=file.file.filename, do=hint)


def dataset_at(group: h5py.Group, name: str) -> h5py.Dataset | None:
    """The dataset of this name if its values may be read; None where there is none.

    Raises:
        ForbiddenDataError: they may not, see `hdf5_checks`.
    """
    item = group.get(name)
    if not isinstance(item, h5py.Dataset):
        return None
    require_readable(item, group.file.filename)
    return item


def read_array(
    file: h5py.File,
    name: str,
    *,
    kinds: str,
    ndim: int,
    unit: str | None = None,
    rows: slice | None = None,
    finite: bool = False,
    least: float | None = None,
    most: float | None = None,
) -> NDArray[Any]:
    """A dataset as an array, after its type, shape, unit and size were checked.

    Args:
        file: an open file.
        name: path of the dataset.
        kinds: numpy kinds that are allowed, such as `iu` or `f`.
        ndim: number of axes.
        unit: unit that a `units` attribute, where there is one, must state.
        rows: the rows to read; all where not given.
        finite: whether every value must be a finite number.
        least: smallest allowed value; NaN is allowed if `finite` is False.
        most: largest allowed value.

    Raises:
        InputFileError: missing, not a dataset, of another kind, shape or unit, of a size that
            the file cannot hold, or with values that cannot be.
    """
    where = file.filename
    dataset = member(file, name)
    if not isinstance(dataset, h5py.Dataset):
        raise InputFileError(f"{name} is a group, not a dataset", where=where)
    if dataset.dtype.kind not in kinds:
        raise InputFileError(
            f"{name} holds values of type {dataset.dtype}, not numbers of the right kind",
            where=where,
            do="Make the file again with molexa.",
        )
    if dataset.ndim != ndim:
        raise InputFileError(f"{name} has shape {dataset.shape}, expected {ndim} axes", where=where)
    found = None if unit is None else attribute(dataset, UNITS)
    if found is not None and found != unit:
        raise InputFileError(f"{name} is in {found!r}, expected {unit!r}", where=where)
    require_readable(dataset, where)
    values = np.asarray(dataset[() if rows is None else rows])
    _require_values(values, name, where, finite=finite, least=least, most=most)
    return values


def _require_values(
    values: NDArray[Any],
    name: str,
    where: str,
    *,
    finite: bool,
    least: float | None,
    most: float | None,
) -> None:
    if not values.size:
        return
    wrong = None
    if finite and not np.isfinite(values).all():
        wrong = "are not numbers"
        bad = int((~np.isfinite(values)).sum())
    elif least is not None and (values < least).any():
        wrong = f"lie below {least:g}"
        bad = int((values < least).sum())
    elif most is not None and (values > most).any():
        wrong = f"lie above {most:g}"
        bad = int((values > most).sum())
    if wrong is not None:
        raise InputFileError(
            f"{bad} of {values.size} values of {name} {wrong}",
            where=where,
            do="The file is damaged; make it again.",
        )


def read_strings(file: h5py.File, name: str, *, limit: int) -> list[str]:
    """A one-dimensional dataset of at most `limit` strings.

    Raises:
        InputFileError: missing, not strings, or too many.
    """
    dataset = member(file, name)
    if not isinstance(dataset, h5py.Dataset) or h5py.check_string_dtype(dataset.dtype) is None:
        raise InputFileError(f"{name} does not hold strings", where=file.filename)
    if dataset.ndim != 1 or len(dataset) > limit:
        raise InputFileError(
            f"{name} has shape {dataset.shape}, expected a list of at most {limit}",
            where=file.filename,
        )
    return _texts(file, dataset, name)


def read_text(file: h5py.File, name: str) -> str:
    """A dataset that holds one text.

    Raises:
        InputFileError: missing, or not a text.
    """
    dataset = member(file, name)
    if (
        not isinstance(dataset, h5py.Dataset)
        or h5py.check_string_dtype(dataset.dtype) is None
        or dataset.size != 1
    ):
        raise InputFileError(f"{name} does not hold a text", where=file.filename)
    return _texts(file, dataset, name)[0]


def _texts(file: h5py.File, dataset: h5py.Dataset, name: str) -> list[str]:
    where = file.filename
    require_readable(dataset, where)
    if not texts_fit(dataset, where):
        raise InputFileError(
            f"the texts of {name} are too long", where=where, do="The file is damaged."
        )
    return [as_text(value, name, where) for value in np.ravel(dataset[()]).tolist()]


def read_json(file: h5py.File, text: Any, name: str) -> Any:
    """The value of a JSON string in a file.

    Raises:
        InputFileError: not a string or not JSON.
    """
    try:
        return json.loads(text)
    except (TypeError, ValueError) as error:
        raise InputFileError(
            f"{name} is not readable as JSON", where=file.filename, do="The file is damaged."
        ) from error


def require_format(file: h5py.File) -> h5py.Group:
    """The group `meta` of a file of molexa, after a check of its format.

    Raises:
        InputFileError: it is of another maker, of a newer format, or damaged.
    """
    meta: h5py.Group = member(file, META)
    for name in (FORMAT, PROVENANCE):
        if name not in meta.attrs:
            raise InputFileError(
                f"attribute {name} of {META} is missing",
                where=file.filename,
                do="Give a file that molexa wrote.",
            )
    version = attribute(meta, FORMAT)
    if not isinstance(version, int | np.integer) or not 1 <= version <= FORMAT_VERSION:
        raise InputFileError(
            f"format {version} is not known here",
            where=file.filename,
            do=f"This molexa reads formats up to {FORMAT_VERSION}; update it.",
        )
    return meta


def read_provenance(file: h5py.File) -> Provenance:
    """The provenance of a file of molexa, after a check of its format.

    Raises:
        InputFileError: it is of another maker, of a newer format, or damaged.
    """
    meta = require_format(file)
    where = f"attribute {PROVENANCE} of {META}"
    record = read_json(file, attribute(meta, PROVENANCE), where)
    try:
        return Provenance.from_json(json.dumps(record))
    except (TypeError, ValueError, AttributeError, KeyError) as error:
        raise InputFileError(
            f"the provenance is damaged: {where} is not a provenance record", where=file.filename
        ) from error
