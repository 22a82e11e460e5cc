"""Branches with one number per row, without the objects that uproot makes for each basket.

A run in a flat layout has thousands of small baskets: making objects of them takes several times
as long as unpacking them. Whatever is not as it must be is left to uproot, which reads more kinds
and says what is wrong with a damaged file.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from uproot.compression import decompress
from uproot.interpretation.numerical import AsDtype
from uproot.source.chunk import Chunk
from uproot.source.cursor import Cursor

from molexa_core.io.root.baskets import KEY, require_honest
from molexa_core.io.root.source import FileSource

_BASKET: Final = struct.Struct(">HiiiiB")
"""How the key of a basket ends: version, sizes of buffers, values, bytes up to the last value with
those of the key, flag (ROOT, TBasket::Streamer)."""


def is_plain(interpretation: Any) -> bool:
    """Whether a branch has one number per row, stored as it is."""
    if type(interpretation) is not AsDtype:
        return False
    stored, wanted = interpretation.from_dtype, interpretation.to_dtype
    return all(one.names is None and one.subdtype is None for one in (stored, wanted))


def plain_numbers(branch: Any, start: int, stop: int) -> NDArray[Any] | None:
    """The numbers of a branch that `is_plain`, from row `start` to before `stop`.

    Args:
        branch: of uproot.
        start: first row.
        stop: the row behind the last one.

    Returns:
        (stop - start) numbers; None where uproot has to read them.
    """
    source = branch.file.source
    if not isinstance(source, FileSource) or branch.embedded_baskets:
        return None
    ends = branch.entry_offsets
    if not 0 <= start <= stop <= ends[-1]:
        return None
    seeks, sizes = branch.member("fBasketSeek"), branch.member("fBasketBytes")
    stored = branch.interpretation.from_dtype
    found = np.empty(stop - start, branch.interpretation.to_dtype)
    number = bisect_right(ends, start) - 1
    while number < len(ends) - 1 and ends[number] < stop:
        low, high = ends[number], ends[number + 1]
        begin = int(seeks[number])
        chunk = source.chunk(begin, begin + int(sizes[number]))
        data = _unpacked(chunk, begin, (high - low) * stored.itemsize)
        if data is None:
            return None
        first, last = max(low, start), min(high, stop)
        values = np.frombuffer(data, stored, high - low)
        found[first - start : last - start] = values[first - low : last - low]
        number += 1
    return found


def _unpacked(chunk: Chunk, begin: int, size: int) -> Any:
    """The `size` bytes of the values in a basket; None if it does not hold just these."""
    basket = chunk.raw_data
    if len(basket) < KEY.size:
        return None
    stored, _, claimed, _, header = KEY.unpack_from(basket)
    if not (KEY.size + _BASKET.size <= header <= len(basket) == stored and claimed == size):
        return None
    last = _BASKET.unpack_from(basket, header - _BASKET.size)[4]
    if last - header != size:
        return None
    if stored - header == size:
        return memoryview(basket)[header:]
    try:
        require_honest(basket)
        return decompress(chunk, Cursor(begin + header), {}, stored - header, size).raw_data
    except Exception:  # noqa: BLE001  (uproot will say what is wrong)
        return None
