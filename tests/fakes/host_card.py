"""A stand-in for a graphics card: a C++ compiler builds the kernels for one thread."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest


class HostMemory:
    """Memory of this machine, full of nonsense at first."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._bytes = np.full(size + 1, 0xA5, np.uint8)

    @property
    def address(self) -> int:
        return int(self._bytes.ctypes.data)

    def write(self, array: np.ndarray[Any, Any]) -> None:
        assert array.nbytes <= self.size
        self._bytes[: array.nbytes] = np.frombuffer(array.tobytes(), np.uint8)

    def read(self, array: np.ndarray[Any, Any]) -> None:
        assert array.nbytes <= self.size
        array.reshape(-1).view(np.uint8)[:] = self._bytes[: array.nbytes]

    def zero(self, size: int) -> None:
        assert size <= self.size
        self._bytes[:size] = 0


class HostProgram:
    """Kernels that work off all items one after the other."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library

    def start(self, name: str, items: int, argument: ctypes.Structure) -> None:
        if items:
            getattr(self._library, f"{name}_on_host")(ctypes.byref(argument))

    def resources(self) -> dict[str, dict[str, int]]:
        return {}


class HostCard:
    """What `base.cuda.graphics_card.Card` is, on this machine."""

    def __init__(self, folder: Path) -> None:
        compiler = shutil.which("g++")
        if compiler is None:
            pytest.skip("no g++ here")
        self._compiler, self._folder = compiler, folder
        self._built: dict[tuple[str, ...], HostProgram] = {}

    def memory(self, size: int) -> HostMemory:
        return HostMemory(size)

    def program(
        self, source: str, title: str, options: Sequence[str], names: Sequence[str], threads: int
    ) -> HostProgram:
        key = (title, *options)
        if key not in self._built:
            target = self._folder / f"kernels{len(self._built)}.so"
            command = [self._compiler, "-x", "c++", "-std=c++17", "-DMOLEXA_HOST"]
            command += [option for option in options if option.startswith("-D")]
            command += ["-O1", "-ffp-contract=off", "-Wall", "-Wextra", "-Werror"]
            command += ["-Wno-unused-function", "-shared", "-fPIC", "-o", str(target), "-"]
            subprocess.run(command, input=source, text=True, check=True)
            self._built[key] = HostProgram(ctypes.CDLL(str(target)))
        return self._built[key]
