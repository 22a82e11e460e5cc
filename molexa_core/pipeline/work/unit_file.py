"""The file of a finished unit: plain values and arrays, with the checksum behind its end.

16 bytes that say what it is, 8 bytes with the length of the header (lowest first), the header
as JSON (key, values, and name, type, shape of each array), the arrays one after the other, each
beginning at a multiple of 64 bytes; then the trailer of `base.storage.checksums`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

from molexa_core.base.errors import InputFileError
from molexa_core.base.storage.checksums import append_trailer, check_trailer
from molexa_core.base.storage.files import atomic_path
from molexa_core.pipeline.work.unit import Content

_MAGIC: Final = b"molexa unit 1\n\0\0"
_ALIGN: Final = 64
_MOST_HEADER: Final = 64 * 2**20


def write_unit(path: Path, key: str, content: Content) -> None:
    """Write the result of a unit; the file appears when it is complete.

    Raises:
        OutputError: it cannot be written, such as on a full disk.
    """
    arrays = {name: np.asarray(array, order="C") for name, array in content.arrays.items()}
    header = {
        "key": key,
        "values": dict(content.values),
        "arrays": [[name, array.dtype.str, list(array.shape)] for name, array in arrays.items()],
    }
    text = json.dumps(header).encode()
    with atomic_path(path) as temporary:
        with temporary.open("wb") as stream:
            stream.write(_MAGIC)
            stream.write(len(text).to_bytes(8, "little"))
            stream.write(text)
            for array in arrays.values():
                _fill_up(stream)
                stream.write(array.tobytes() if array.ndim == 0 else array.reshape(-1).data)
        append_trailer(temporary)


def read_unit(path: Path, key: str | None) -> Content:
    """The result of a unit.

    Args:
        path: its file.
        key: its name; None for whichever it is.

    Raises:
        InputFileError: the file is damaged, or of another unit.
    """
    if not check_trailer(path):
        raise InputFileError("the file of a unit is cut off", where=path)
    with path.open("rb") as stream:
        if stream.read(len(_MAGIC)) != _MAGIC:
            raise InputFileError("not the file of a unit", where=path)
        length = int.from_bytes(stream.read(8), "little")
        if length > _MOST_HEADER:
            raise InputFileError("the file of a unit is damaged", where=path)
        header = json.loads(stream.read(length))
        if key is not None and header["key"] != key:
            raise InputFileError("the file of another unit", where=path)
        arrays: dict[str, NDArray[Any]] = {}
        for name, kind, shape in header["arrays"]:
            dtype = np.dtype(kind)
            stream.seek(-stream.tell() % _ALIGN, 1)
            number = int(np.prod(shape, dtype=np.int64))
            held = np.frombuffer(stream.read(number * dtype.itemsize), dtype)
            arrays[name] = held.reshape(shape)
    return Content(arrays, header["values"])


def _fill_up(stream: BinaryIO) -> None:
    stream.write(b"\0" * (-stream.tell() % _ALIGN))
