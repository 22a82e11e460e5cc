"""Compilation of inner loops: machine code made at the first call and kept on disk."""

from __future__ import annotations

import gc
import re
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any, Final, TypeVar, cast

import numba
import numpy as np
from numba.core import event
from numba.core.caching import FunctionCache
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_machinery import register_pass
from numba.core.typed_passes import NativeLowering

from molexa_core.base.compiled_elsewhere import Elsewhere, Helpers

F = TypeVar("F", bound=Callable[..., object])
integer: Any = np.int64
"""Makes numbers that are handed to functions: for a literal a function is compiled once more."""


_SOURCES: Final = Path(__file__).parents[2]
_IMPORTS: Final = re.compile(rb"^from (molexa_core[\w.]*) import", re.MULTILINE)
_COMPILES: Final = b"molexa_core.base.compiled import"
_ONCE: Final = "compiling the inner loops for this machine, once: takes some 15 seconds"
_IN_MEMORY: Final = (
    "compiling the inner loops takes some 15 seconds at each start, because no folder can be "
    "written to keep them; name one in the environment variable NUMBA_CACHE_DIR"
)
_without_folder: list[str] = []
"""Functions whose compiled form is not kept."""


class _NoCollection(event.Listener):
    """Lets no garbage be collected while a function is compiled, which takes a seventh longer."""

    def __init__(self) -> None:
        self._depth, self._lock, self._collects = 0, Lock(), False

    def on_start(self, event: Any) -> None:
        del event
        with self._lock:
            if self._depth == 0:
                self._collects = gc.isenabled()
                gc.disable()
            self._depth += 1

    def on_end(self, event: Any) -> None:
        del event
        with self._lock:
            self._depth -= 1
            if self._depth == 0 and self._collects:
                gc.enable()


event.register("numba:compile", _NoCollection())  # type: ignore[no-untyped-call]


class _FirstCompilation(event.Listener):
    """Says once that a function is compiled, which loading it from the disk is not."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say: Callable[[str], None] | None = say

    def on_start(self, event: Any) -> None:
        del event
        if self._say is not None:
            self._say(_IN_MEMORY if _without_folder else _ONCE)
            self._say = None

    def on_end(self, event: Any) -> None:
        del event


_helpers: list[Helpers] = []
"""Of the commands that are inside `announced`."""


class _SharedCache(FunctionCache):  # type: ignore[misc, unused-ignore]
    """Kept code; what another process compiles at this time is waited for."""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The compiled code of a signature; None where it must be compiled."""
        usual = cast("Any", super())
        found = usual.load_overload(sig, target_context)
        if found is None and _helpers:
            _helpers[-1].begin()
            if _helpers[-1].wait_for(self._py_func):
                found = usual.load_overload(sig, target_context)
        return found


@contextmanager
def announced(say: Callable[[str], None], elsewhere: Elsewhere | None = None) -> Iterator[None]:
    """Say it before anything is compiled in the `with` block: the first start is slow.

    Args:
        say: receives the sentence.
        elsewhere: functions that other processes compile then, since they are needed late.
    """
    helpers = Helpers({} if _without_folder else elsewhere or {})
    _helpers.append(helpers)
    try:
        with event.install_listener("numba:compile", _FirstCompilation(say)):
            yield
    finally:
        _helpers.remove(helpers)
        helpers.end()


def compiled(function: F) -> F:
    """Compile with numba and keep the result beside the module or in the user's cache.

    The compiled function runs without the interpreter's lock, so that threads can share the work.
    As in numpy, a division by zero gives inf or NaN: a check of each would take time. Where no
    folder for the cache can be written (read-only installation and home), the function is compiled
    anew in each process.
    """
    try:
        fast: F = _compiler()(function)
        kept = cast("Any", _SharedCache)(function)
        _follow_imports(kept, Path(function.__code__.co_filename))
        cast("Any", fast)._cache = kept  # noqa: SLF001 as `cache=True` does
    except RuntimeError:
        _without_folder.append(function.__name__)
        fast = _compiler()(function)
    return fast


def inner(function: F) -> F:
    """Compile a function that only other compiled functions call, never Python.

    It is only translated, and becomes machine code as a part of each function that calls it: no
    door through which Python calls, no code of its own, nothing on the disk. Of the compilation of
    `reduce` this saves a quarter.
    """
    fast: F = _compiler(no_cpython_wrapper=True, pipeline_class=_LinkedCompiler)(function)
    return fast


def bare(function: F) -> F:
    """An `inner` function that neither makes nor returns arrays: it counts no references to them.

    Counting takes longer than the work of small functions that hand arrays to each other: more than
    half of the time of sorting.
    """
    fast: F = _compiler(no_cpython_wrapper=True, pipeline_class=_LinkedCompiler, _nrt=False)(
        function
    )
    return fast


def inlined(function: F) -> F:
    """A function whose statements are put where compiled functions call it.

    For what is called for every shot: handing over a dozen arrays takes as long as what is done
    with them.
    """
    fast: F = _compiler(no_cpython_wrapper=True, inline="always")(function)
    return fast


def _compiler(**options: Any) -> Any:
    jit: Any = numba.njit
    return jit(nogil=True, error_model="numpy", no_cfunc_wrapper=True, **options)


class _LinkedLibrary(JITCodeLibrary):  # type: ignore[misc, unused-ignore]
    """Intermediate code that is linked into that of others; no machine code is made of it."""

    @property
    def codegen(self) -> _LinkedLibrary:
        return self

    def set_env(self, name: str, env: object) -> None:
        """Globals are set in the functions that this one is linked into."""

    def get_pointer_to_function(self, name: str) -> int:
        del name
        self._ensure_finalized()  # type: ignore[no-untyped-call, unused-ignore]
        return 0

    def _optimize_final_module(self) -> None:
        """All is optimized once, where it is linked into what Python calls."""

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()  # type: ignore[no-untyped-call, unused-ignore]
        self._finalized = True


@register_pass(mutates_CFG=True, analysis_only=False)  # type: ignore[no-untyped-call, unused-ignore]
class _LinkedLowering(NativeLowering):  # type: ignore[misc, unused-ignore]
    _name = "linked_lowering"

    def run_pass(self, state: Any) -> bool:
        library, usual = cast("Any", _LinkedLibrary), cast("Any", super())
        state.library = library(state.targetctx.codegen(), state.func_id.func_qualname)
        return bool(usual.run_pass(state))


class _LinkedCompiler(CompilerBase):  # type: ignore[misc, unused-ignore]
    """The usual steps; the last one makes a `_LinkedLibrary`."""

    def define_pipelines(self) -> list[Any]:
        builder: Any = DefaultPassBuilder
        steps = builder.define_nopython_pipeline(self.state)
        steps.passes = [
            (_LinkedLowering if step is NativeLowering else step, why) for step, why in steps.passes
        ]
        steps._finalized = False  # noqa: SLF001 there is no public way
        steps.finalize()
        return [steps]


def _follow_imports(cache: Any, file: Path) -> None:
    """Let the kept code be compiled anew where a module changed that its own one imports from.

    The compiler looks at the file of the function alone, although the code of functions and the
    values of constants from other modules are part of what it makes: after an update of an
    editable installation, results would be those of the old code.
    """
    kept = cache._cache_file  # noqa: SLF001 there is no public way
    stamp = kept._source_stamp, _stamp_of_imports(file, _SOURCES)  # noqa: SLF001
    kept._source_stamp = stamp  # noqa: SLF001


@cache
def _stamp_of_imports(file: Path, sources: Path) -> tuple[Any, ...]:
    """Checksums of the modules that a module imports from; of compiled code also their imports."""
    stamp: list[Any] = []
    for name in sorted(set(_IMPORTS.findall(file.read_bytes()))):
        place = sources / name.decode().replace(".", "/")
        module = place.with_suffix(".py")
        if not module.is_file():
            module = place / "__init__.py"
        if not module.is_file():
            continue
        content = module.read_bytes()
        stamp.append(zlib.crc32(content))
        if _COMPILES in content and module != Path(__file__):
            stamp.append(_stamp_of_imports(module, sources))
    return tuple(stamp)
