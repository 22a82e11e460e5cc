"""One graphics card without torch: memory, kernels, and how long they take.

For code that works off a run stretch by stretch and should start as fast as on the processor. All
work is put on the default stream of the card, one piece behind the other.
"""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Sequence
from typing import Any, Final, Protocol

from numpy.typing import NDArray

from molexa_core.base.cuda.compiler import compile_cubin
from molexa_core.base.cuda.driver import Kernel, attribute, call, within
from molexa_core.base.errors import ComputationError

_MAJOR: Final = 75
_MINOR: Final = 76
_MULTIPROCESSORS: Final = 16
"""Of the driver's `CUdevice_attribute`."""
_BLOCKS: Final = 16
"""Blocks of a grid for each multiprocessor, at most: threads work off several items then."""


class Memory(Protocol):
    """Bytes on a card, or what stands for them in a test."""

    size: int

    @property
    def address(self) -> int:
        """Where they are, for kernels."""

    def write(self, array: NDArray[Any]) -> None:
        """Copy an array into the first bytes."""

    def read(self, array: NDArray[Any]) -> None:
        """Copy the first bytes into an array."""

    def zero(self, size: int) -> None:
        """Set the first bytes to zero."""


class Program(Protocol):
    """The kernels of one source, ready to be started."""

    def start(self, name: str, items: int, argument: ctypes.Structure) -> None:
        """Start a kernel that works off so many items."""

    def resources(self) -> dict[str, dict[str, int]]:
        """See `Kernel.resources`, by name."""


class Processor(Protocol):
    """What has memory and runs kernels: `Card`, or what stands for one in a test."""

    def memory(self, size: int) -> Memory:
        """So many bytes, not set."""

    def program(
        self, source: str, title: str, options: Sequence[str], names: Sequence[str], threads: int
    ) -> Program:
        """Compile kernels."""


class Bytes:
    """Memory of a card; given back with the object.

    Args:
        size: number of bytes, at least one.
        index: number of the card.

    Raises:
        ComputationError: there is not so much.
    """

    def __init__(self, size: int, index: int) -> None:
        self.size = size
        self._index = index
        self._address = ctypes.c_uint64()
        with within(index):
            call("cuMemAlloc_v2", ctypes.byref(self._address), ctypes.c_size_t(max(size, 1)))
        weakref.finalize(self, _give_back, self._address.value, index)

    @property
    def address(self) -> int:
        """Where they are, for kernels."""
        return self._address.value

    def write(self, array: NDArray[Any]) -> None:
        """Copy an array into the first bytes."""
        self._require(array)
        if array.nbytes:
            source = ctypes.c_void_p(array.ctypes.data)
            with within(self._index):
                call("cuMemcpyHtoD_v2", self._address, source, ctypes.c_size_t(array.nbytes))

    def read(self, array: NDArray[Any]) -> None:
        """Copy the first bytes into an array, after all work before is done."""
        self._require(array)
        if array.nbytes:
            target = ctypes.c_void_p(array.ctypes.data)
            with within(self._index):
                call("cuMemcpyDtoH_v2", target, self._address, ctypes.c_size_t(array.nbytes))

    def zero(self, size: int) -> None:
        """Set the first bytes to zero."""
        if size:
            with within(self._index):
                call("cuMemsetD8_v2", self._address, ctypes.c_ubyte(0), ctypes.c_size_t(size))

    def _require(self, array: NDArray[Any]) -> None:
        if not array.flags.c_contiguous or array.nbytes > self.size:
            raise ComputationError(f"{array.nbytes} bytes do not fit into {self.size} of a card")


def _give_back(address: int, index: int) -> None:
    with within(index):
        call("cuMemFree_v2", ctypes.c_uint64(address))


class Kernels:
    """Kernels of one source on a card.

    Args:
        code: machine code.
        names: of the kernels.
        index: number of the card.
        threads: of a block.
    """

    def __init__(self, code: bytes, names: Sequence[str], index: int, threads: int) -> None:
        self._kernels = {name: Kernel(code, name, index) for name in names}
        self._threads = threads
        self._most = _BLOCKS * attribute(index, _MULTIPROCESSORS)

    def start(self, name: str, items: int, argument: ctypes.Structure) -> None:
        """Start a kernel that works off so many items, however many threads there are."""
        blocks = min(-(-items // self._threads), self._most)
        if blocks:
            self._kernels[name].launch(blocks, self._threads, argument, 0)

    def resources(self) -> dict[str, dict[str, int]]:
        """See `Kernel.resources`, by name."""
        return {name: kernel.resources() for name, kernel in self._kernels.items()}


class Card:
    """A graphics card.

    Args:
        index: its number.
    """

    def __init__(self, index: int) -> None:
        self.index = index

    def memory(self, size: int) -> Bytes:
        """So many bytes, not set."""
        return Bytes(size, self.index)

    def program(
        self, source: str, title: str, options: Sequence[str], names: Sequence[str], threads: int
    ) -> Kernels:
        """Compile kernels, or take them from the cache.

        Raises:
            ComputationError: there is no compiler, or the source does not compile.
        """
        major, minor = attribute(self.index, _MAJOR), attribute(self.index, _MINOR)
        code = compile_cubin(source, title, options, f"sm_{major}{minor}")
        return Kernels(code, names, self.index, threads)

    def wait(self) -> None:
        """Wait until all work is done."""
        with within(self.index):
            call("cuCtxSynchronize")


class Stopwatch:
    """Time that a card needs from one point of its work to another.

    Args:
        card: the card.
    """

    def __init__(self, card: Card) -> None:
        self._index = card.index
        self._events = [ctypes.c_void_p(), ctypes.c_void_p()]
        with within(self._index):
            for event in self._events:
                call("cuEventCreate", ctypes.byref(event), ctypes.c_uint(0))

    def begin(self) -> None:
        """Behind the work that was started before."""
        self._record(0)

    def end(self) -> float:
        """Seconds since `begin`, after all work is done."""
        self._record(1)
        milliseconds = ctypes.c_float()
        with within(self._index):
            call("cuEventSynchronize", self._events[1])
            call("cuEventElapsedTime", ctypes.byref(milliseconds), *self._events)
        return milliseconds.value * 1e-3

    def _record(self, place: int) -> None:
        with within(self._index):
            call("cuEventRecord", self._events[place], None)
