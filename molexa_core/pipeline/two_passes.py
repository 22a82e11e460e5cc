"""Two passes over data in chunks, the first of which may stop early, without reading them twice."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Final, Generic, TypeVar

T = TypeVar("T")
ROOM: Final = 96 * 2**20
"""Memory, in bytes, for the chunks of the first pass that wait for the second."""


class TwoPasses(Generic[T]):
    """A first pass over the beginning of a file or run, and a second one over all of it.

    The second pass begins with the chunks that the first one kept and reads on where it stopped. If
    they need more than `room`, all is read anew.

    Args:
        read: begins a reading, which gives the chunks in order.
        size: of a chunk, bytes.
        room: most memory for chunks that are kept, bytes.
    """

    def __init__(
        self, read: Callable[[], Iterator[T]], size: Callable[[T], int], room: int = ROOM
    ) -> None:
        self._read, self._size, self._room = read, size, room
        self._kept: deque[T] = deque()
        self._rest: Iterator[T] | None = None

    def first(self) -> Iterator[T]:
        """The chunks; whoever takes them may stop at any of them."""
        self._kept.clear()
        rest = self._rest = self._read()
        room = self._room
        for chunk in rest:
            room -= self._size(chunk)
            if room < 0:
                self._kept.clear()
                self._rest = None
            else:
                self._kept.append(chunk)
            yield chunk

    def second(self) -> Iterator[T]:
        """All chunks."""
        rest, self._rest = self._rest, None
        while self._kept:
            yield self._kept.popleft()
        yield from self._read() if rest is None else rest
