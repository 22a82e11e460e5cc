"""Checks of an HDF5 file before its values are read: no external data, no excessive sizes.

An HDF5 file can refer to other files (external links, external storage, virtual datasets), hold a
few kilobytes that unpack to gigabytes, or need a filter that is not installed. Each of these is
refused with a clear error before any value is read.
"""

from __future__ import annotations

import os
import zlib
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np
from h5py import h5a, h5d, h5l, h5o, h5s, h5t, h5z

from molexa_core.base.errors import InputFileError
from molexa_core.base.storage.checksums import settled_state

LARGEST_CHUNK: Final = 256 * 2**20
"""A larger chunk, in bytes, is refused: the library unpacks chunks whole."""
LARGEST_TEXT: Final = 64 * 2**20
"""A longer attribute or list of texts, in bytes, is refused."""
MOST_LINKS: Final = 2_000_000
_MOST_TEXTS: Final = 16
"""Texts of any length in one attribute."""
_DEFLATE_LIMIT: Final = 1100
"""Deflate shrinks data by a factor of 1032 at most; a larger claim is a damaged length."""
_BOMB_BYTES: Final = 512 * 2**20
_BOMB_RATIO: Final = 200
"""What unpacks to more than this many bytes, and this many times what is stored, is no data."""
_SMALL: Final = 2**20
"""Size in bytes up to which the claimed size of a dataset is not compared with the file."""
_PIECE: Final = 2**20
_FILTERS: Final = {
    h5z.FILTER_SZIP: "szip",
    h5z.FILTER_LZF: "LZF",
    32001: "Blosc",
    32004: "LZ4",
    32008: "bitshuffle",
    32013: "ZFP",
    32015: "Zstandard",
    32026: "Blosc2",
}
_ALREADY: Final = "Make the file again."
_MOST_CHECKED: Final = 100_000
_checked: set[tuple[int, int]] = set()
"""Datasets that were checked, by the number of their open file and their place in it."""
_linked: set[tuple[str, int, int, int]] = set()
"""Files whose links were checked."""


class ForbiddenDataError(InputFileError):
    """A dataset that exists but must not be read."""


def refuse_foreign_links(file: h5py.File) -> None:
    """Refuse a file that links to other files.

    Raises:
        InputFileError: names the link and the file that it leads to.
    """
    where = file.filename
    state = settled_state(where)
    if state in _linked:
        return
    links = 0
    foreign: bytes | None = None

    def look(name: bytes, info: Any) -> bool | None:
        nonlocal links, foreign
        links += 1
        if info.type not in {h5l.TYPE_HARD, h5l.TYPE_SOFT}:
            foreign = name
        return True if foreign is not None or links > MOST_LINKS else None

    file.id.links.visit(look, info=True)
    if links > MOST_LINKS:
        raise ForbiddenDataError(f"more than {MOST_LINKS} links", where=where, do=_ALREADY)
    if foreign is not None:
        target = file.get(foreign, getlink=True)
        to = f" {target.filename}" if isinstance(target, h5py.ExternalLink) else ""
        raise ForbiddenDataError(
            f"{_shown(foreign)} is a link to another file{to}, which molexa does not follow",
            where=where,
            do="Give the file that holds the data itself, or copy the data into one file.",
        )
    if state is not None:
        _linked.add(state)


def require_readable(dataset: h5py.Dataset, where: str) -> None:
    """Refuse a dataset whose values stand elsewhere, cannot be unpacked, or claim too much.

    Raises:
        InputFileError: its values are in other files, it needs a filter that is not installed,
            its chunks are too large, or it claims a size that the bytes in the file cannot hold.
    """
    info = h5o.get_info(dataset.id)
    key = (info.fileno, info.addr)
    if key in _checked:
        return
    name = dataset.name.lstrip("/")
    layout = dataset.id.get_create_plist()
    if layout.get_layout() == h5d.VIRTUAL:
        raise ForbiddenDataError(
            f"{name} is a virtual dataset: its values stand in other files, which molexa does not "
            "follow",
            where=where,
            do="Give the original files, all together.",
        )
    if layout.get_external_count():
        other = _shown(layout.get_external(0)[0])
        raise ForbiddenDataError(
            f"the values of {name} stand in another file ({other}), which molexa does not follow",
            where=where,
            do="Copy the data into one file, with `h5repack` for example.",
        )
    if dataset.shape is None:
        raise ForbiddenDataError(f"{name} has no values", where=where, do=_ALREADY)
    _require_filters(layout, name, where)
    if layout.get_layout() == h5d.CHUNKED:
        _require_small_chunks(dataset, layout, name, where)
    claimed = dataset.size * dataset.dtype.itemsize
    stored = dataset.id.get_storage_size()
    bomb = claimed > _BOMB_BYTES and claimed > stored * _BOMB_RATIO
    if bomb or (claimed > _SMALL and claimed > stored * _DEFLATE_LIMIT):
        raise ForbiddenDataError(
            f"{name} claims {claimed} bytes in {dataset.shape}, but the file holds {stored} bytes "
            "of it",
            where=where,
            do="The file is damaged; make it again.",
        )
    if len(_checked) > _MOST_CHECKED:
        _checked.clear()
    _checked.add(key)


def _require_filters(layout: Any, name: str, where: str) -> None:
    codes = [layout.get_filter(place)[0] for place in range(layout.get_nfilters())]
    for code in codes:
        if not h5z.filter_avail(code):
            what = _FILTERS.get(code, "a filter")
            raise ForbiddenDataError(
                f"{name} is packed with {what} (HDF5 filter {code}), which is not installed here",
                where=where,
                do="Write it again with gzip (`h5repack -f GZIP=4 OLD NEW`), or name the folder "
                "of the filter in HDF5_PLUGIN_PATH.",
            )
    if codes.count(h5z.FILTER_DEFLATE) > 1:
        raise ForbiddenDataError(
            f"{name} is packed with gzip more than once",
            where=where,
            do="Write it again with `h5repack -f GZIP=4 OLD NEW`.",
        )


def _require_small_chunks(dataset: h5py.Dataset, layout: Any, name: str, where: str) -> None:
    size = int(np.prod([int(side) for side in layout.get_chunk()], dtype=object))
    size *= dataset.id.get_type().get_size()
    if size > LARGEST_CHUNK:
        raise ForbiddenDataError(
            f"{name} is stored in chunks of {_megabytes(size)}; molexa reads chunks of at most "
            f"{_megabytes(LARGEST_CHUNK)}",
            where=where,
            do="Write it again with smaller chunks, with `h5repack -l CHUNK=...` for example.",
        )
    if layout.get_nfilters() == 0:
        return
    large: list[tuple[int, int]] = []

    def look(chunk: Any) -> None:
        # A chunk that was not packed, being no smaller so, has bits set in its mask.
        if chunk.size * _DEFLATE_LIMIT > _BOMB_BYTES * 2 and not chunk.filter_mask:
            large.append((chunk.byte_offset, chunk.size))

    dataset.id.chunk_iter(look)
    codes = [layout.get_filter(place)[0] for place in range(layout.get_nfilters())]
    if codes[-1] == h5z.FILTER_FLETCHER32:
        codes.pop()
    if not large or codes[-1:] != [h5z.FILTER_DEFLATE]:
        return
    with Path(where).open("rb") as stream:
        for offset, stored in large:
            if _unpacks_beyond(stream.fileno(), offset, stored, size):
                raise ForbiddenDataError(
                    f"a chunk of {name} unpacks to more than the {_megabytes(size)} of a chunk",
                    where=where,
                    do="The file is damaged; make it again.",
                )


def _unpacks_beyond(descriptor: int, offset: int, stored: int, limit: int) -> bool:
    """Whether deflated bytes of a file give more than `limit` bytes; keeps none of them."""
    packer = zlib.decompressobj()
    total, end = 0, offset + stored
    waiting = b""
    while total <= limit and not packer.eof:
        if not waiting:
            waiting = os.pread(descriptor, min(_PIECE, end - offset), offset)
            offset += len(waiting)
            if not waiting:
                break
        try:
            total += len(packer.decompress(waiting, _PIECE))
        except zlib.error:
            break
        waiting = packer.unconsumed_tail
    return total > limit


def attribute(item: h5py.HLObject, name: str, default: Any = None) -> Any:
    """An attribute as a plain value: a text, a number or an array of either.

    Args:
        item: a group, a dataset or the file.
        name: of the attribute.
        default: the value where there is none, or an empty one.

    Raises:
        InputFileError: it is too large, neither text nor number, or a text that is not UTF-8.
    """
    where = item.file.filename
    if name not in item.attrs:
        return default
    known = f"attribute {name}" + ("" if item.name == "/" else f" of {item.name.lstrip('/')}")
    handle = h5a.open(item.id, name.encode())
    kind, space = handle.get_type(), handle.get_space()
    if space.get_simple_extent_type() == h5s.NULL:
        return default
    count = space.get_simple_extent_npoints()
    text = isinstance(kind, h5t.TypeStringID)
    if not text and not isinstance(kind, h5t.TypeIntegerID | h5t.TypeFloatID | h5t.TypeEnumID):
        raise InputFileError(f"{known} is neither text nor number", where=where, do=_ALREADY)
    loose = text and kind.is_variable_str()
    if count * kind.get_size() > LARGEST_TEXT or (loose and count > _MOST_TEXTS):
        raise InputFileError(f"{known} is too large", where=where, do=_ALREADY)
    value = item.attrs[name]
    if not text:
        return value
    if isinstance(value, np.ndarray):
        return [as_text(one, known, where) for one in value.ravel().tolist()]
    return as_text(value, known, where)


def as_text(value: Any, name: str, where: object) -> str:
    """A stored text, which must be UTF-8.

    Raises:
        InputFileError: it is not text.
    """
    try:
        if isinstance(value, bytes):
            return value.decode("utf-8")
        # h5py keeps bytes that are not UTF-8 in a form that cannot be written again.
        str(value).encode("utf-8")
    except UnicodeError as error:
        raise InputFileError(
            f"{name} holds a text that is not UTF-8",
            where=where,
            do="The file is damaged, or its texts are in another code; write them as UTF-8.",
        ) from error
    return str(value)


def texts_fit(dataset: h5py.Dataset, where: str) -> bool:
    """Whether the texts of a dataset are together short enough to be read at once."""
    kind = dataset.id.get_type()
    size = int(dataset.size) * kind.get_size()
    if size > LARGEST_TEXT:
        return False
    if not kind.is_variable_str() or dataset.size == 0:
        return True
    offset = dataset.id.get_offset()
    if offset is None:
        return int(dataset.size) <= _MOST_TEXTS
    with Path(where).open("rb") as stream:
        stored = os.pread(stream.fileno(), size, offset)
    lengths = np.frombuffer(stored[: len(stored) // kind.get_size() * kind.get_size()], np.uint8)
    lengths = lengths.reshape(-1, kind.get_size())[:, :4].copy().view("<u4")
    return int(lengths.sum(dtype=np.uint64)) <= LARGEST_TEXT


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.0f} MB"


def _shown(name: bytes) -> str:
    return name.decode("utf-8", "backslashreplace")
