"""Baskets of ROOT trees: the parts in which a branch is stored, each packed by itself."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, Final

from uproot.source.chunk import Chunk
from uproot.source.futures import TrivialExecutor, TrivialFuture

KEY: Final = struct.Struct(">ihiIh")
"""How a basket begins: bytes stored, version, bytes when unpacked, date, bytes of this key (ROOT,
TKey::Streamer)."""
_PIECE_HEADER: Final = 9
_SMALL: Final = 64 * 2**20
"""Baskets that claim less, in bytes, need no check."""


class CheckedUnpacking(TrivialExecutor):  # type: ignore[misc]  # uproot has no types
    """Unpacks baskets one after the other, none that claims more memory than its pieces give.

    uproot takes memory for what the key of a basket claims before it has seen all of its pieces: a
    damaged number asks for gigabytes.
    """

    def submit(self, task: Callable[..., Any], /, *args: Any, **options: Any) -> TrivialFuture:
        """Unpack a basket; the first argument holds its bytes.

        Raises:
            ValueError: it claims more than it can hold.
        """
        if args and isinstance(args[0], Chunk):
            require_honest(args[0].raw_data.data)
        return super().submit(task, *args, **options)


def require_honest(basket: bytes | memoryview) -> None:
    """Compare what a basket claims to hold with what its pieces say.

    Each piece begins with nine bytes: two letters for the way of packing, one for its version,
    three for its length and three for its length when unpacked, lowest first (ROOT, R__zip).

    Args:
        basket: the bytes of a basket from its key on.

    Raises:
        ValueError: it claims more.
    """
    if len(basket) < KEY.size:
        return
    stored, _, claimed, _, header = KEY.unpack_from(basket)
    if claimed < _SMALL or claimed <= len(basket):
        return
    held, at, end = 0, header, min(stored, len(basket))
    while header >= 0 and at + _PIECE_HEADER <= end:
        piece = basket[at : at + _PIECE_HEADER]
        held += int.from_bytes(piece[6:9], "little")
        at += _PIECE_HEADER + int.from_bytes(piece[3:6], "little")
    if held < claimed:
        raise ValueError(f"a part of it claims {claimed} bytes and holds {held}")
