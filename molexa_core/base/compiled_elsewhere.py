"""Other processes that compile functions while this one compiles what it needs first.

The compiler is written in Python and works on one core. Of a command's functions some are needed
only after others were compiled and run: other processes make these at the same time, and the
command loads them from the folder where compiled code is kept.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

Elsewhere = Mapping[str, Sequence[Any]]
"""Compiled functions by the function that has them compiled, `module:function`."""

_ROOT: Final = Path(__file__).parents[2]
_CALL: Final = "import importlib, sys; getattr(importlib.import_module(sys.argv[1]), sys.argv[2])()"


class Helpers:
    """Processes that compile.

    Args:
        wanted: what they compile; those are left out of whose functions all are kept already.
    """

    def __init__(self, wanted: Elsewhere) -> None:
        self._wanted: dict[str, Sequence[Any]] = dict(wanted)
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def begin(self) -> None:
        """Start the processes, at the first call; none where there is one core."""
        wanted, self._wanted = self._wanted, {}
        if _cores() < 2:
            return
        for maker, functions in wanted.items():
            if all(_is_kept(one) for one in functions):
                continue
            try:
                process = _start(maker)
            except OSError:  # the command compiles it itself
                continue
            self._running |= {_name(one): process for one in functions}

    def wait_for(self, function: Any) -> bool:
        """Wait until a function is compiled; whether a process compiled it.

        Args:
            function: the Python function.
        """
        process = self._running.pop(_name(function), None)
        if process is None:
            return False
        return process.wait() == 0

    def end(self) -> None:
        """End what still runs: nobody needs it."""
        for process in self._running.values():
            process.kill()
            process.wait()
        self._running, self._wanted = {}, {}


def _start(maker: str) -> subprocess.Popen[bytes]:
    paths = [str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return subprocess.Popen(  # noqa: S603  (this Python)
        [sys.executable, "-c", _CALL, *maker.split(":")],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        start_new_session=True,  # Ctrl-C is for the command, which ends its processes
    )


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _name(function: Any) -> str:
    plain = getattr(function, "py_func", function)
    return f"{plain.__module__}.{plain.__qualname__}"


def _is_kept(function: Any) -> bool:
    """Whether compiled code of a function is kept, or cannot be."""
    file = getattr(function._cache, "_cache_file", None)  # noqa: SLF001 there is no public way
    return file is None or bool(file._load_index())  # noqa: SLF001
