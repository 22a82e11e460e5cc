"""Load compiled code on a GPU and launch it on a stream: the CUDA driver through ctypes.

The code runs in the primary context of the device, which torch uses, too. Kernels can therefore
take torch tensors by address and run in order with the work of torch on the stream.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, Final

from molexa_core.base.errors import ComputationError

_DYNAMIC_SHARED_BYTES: Final = 8
"""CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES of the driver's `CUfunction_attribute`."""
_ATTRIBUTES: Final = {"shared_bytes": 1, "local_bytes": 3, "registers": 4}


class Kernel:
    """A function on a device, ready to be launched.

    Args:
        code: machine code of the device (a cubin).
        name: name of the function, `extern "C"`.
        device: index of the device.
        shared_bytes: dynamic shared memory of a block.
    """

    def __init__(self, code: bytes, name: str, device: int, *, shared_bytes: int = 0) -> None:
        self.device = device
        self.shared_bytes = shared_bytes
        self._function, module = ctypes.c_void_p(), ctypes.c_void_p()
        driver = _driver()
        with within(device):
            _check(driver.cuModuleLoadData(ctypes.byref(module), code))
            _check(driver.cuModuleGetFunction(ctypes.byref(self._function), module, name.encode()))
            if shared_bytes:
                _check(
                    driver.cuFuncSetAttribute(self._function, _DYNAMIC_SHARED_BYTES, shared_bytes)
                )

    def resources(self) -> dict[str, int]:
        """Registers and bytes of local memory of a thread, bytes of shared memory of a block."""
        found = {}
        with within(self.device):
            for name, attribute in _ATTRIBUTES.items():
                value = ctypes.c_int()
                _check(_driver().cuFuncGetAttribute(ctypes.byref(value), attribute, self._function))
                found[name] = value.value
        return found

    def launch(self, blocks: int, threads: int, argument: ctypes.Structure, stream: int) -> None:
        """Put the kernel on a stream. It takes one argument, a structure by value.

        Args:
            blocks: blocks of the grid.
            threads: threads of a block.
            argument: the argument; copied before this returns.
            stream: handle of the stream, such as `torch.cuda.current_stream().cuda_stream`.

        Raises:
            ComputationError: the driver refuses the launch.
        """
        arguments = (ctypes.c_void_p * 1)(ctypes.addressof(argument))
        with within(self.device):
            _check(
                _driver().cuLaunchKernel(
                    self._function,
                    blocks, 1, 1,
                    threads, 1, 1,
                    self.shared_bytes,
                    ctypes.c_void_p(stream),
                    arguments,
                    None,
                )
            )  # fmt: skip


@contextmanager
def within(device: int) -> Iterator[None]:
    """The primary context of the device is the current one in a `with` block."""
    driver, before = _driver(), ctypes.c_void_p()
    _check(driver.cuCtxPushCurrent_v2(_primary_context(device)))
    try:
        yield
    finally:
        driver.cuCtxPopCurrent_v2(ctypes.byref(before))


def call(name: str, *arguments: Any) -> None:
    """Call a function of the driver inside `within`.

    Raises:
        ComputationError: the driver reports an error.
    """
    _check(getattr(_driver(), name)(*arguments))


def number_of_cards() -> int:
    """Graphics cards that can be used; 0 where there is no driver."""
    count = ctypes.c_int()
    try:
        call("cuDeviceGetCount", ctypes.byref(count))
    except ComputationError:
        return 0
    return count.value


def attribute(index: int, number: int) -> int:
    """An attribute of a card by its number in the driver's `CUdevice_attribute`."""
    value, handle = ctypes.c_int(), ctypes.c_int()
    call("cuDeviceGet", ctypes.byref(handle), index)
    call("cuDeviceGetAttribute", ctypes.byref(value), number, handle)
    return value.value


@cache
def _primary_context(device: int) -> ctypes.c_void_p:
    """The primary context of a device, retained as long as the process lives."""
    driver, handle, context = _driver(), ctypes.c_int(), ctypes.c_void_p()
    _check(driver.cuDeviceGet(ctypes.byref(handle), device))
    _check(driver.cuDevicePrimaryCtxRetain(ctypes.byref(context), handle))
    return context


@cache
def _driver() -> Any:
    """The CUDA driver.

    Raises:
        ComputationError: there is no driver, or it does not start.
    """
    name = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    try:
        driver: Any = ctypes.CDLL(name)
    except OSError as error:
        raise ComputationError(
            f"the CUDA driver cannot be loaded: {error}", do="Use `device='cpu'`."
        ) from None
    code = driver.cuInit(0)
    if code != 0:
        raise ComputationError(f"the CUDA driver does not start (error {code})")
    return driver


def _check(code: int) -> None:
    if code == 0:
        return
    text = ctypes.c_char_p()
    _driver().cuGetErrorString(code, ctypes.byref(text))
    words = text.value.decode(errors="replace") if text.value else f"error {code}"
    raise ComputationError(f"CUDA: {words}")
