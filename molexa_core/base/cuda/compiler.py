"""Compile CUDA C at run time: NVRTC called through ctypes, with a cache of compiled code.

Reasons for NVRTC instead of Triton, nvcc or torch's own compiler: a trajectory is scalar code with
rare branches, one per thread, which suits CUDA C but not the block programs of Triton. nvcc and
torch's extension builder need a toolkit and a C++ compiler on the machine of the user; NVRTC is a
library that comes with every CUDA build of torch. `torch.cuda._compile_kernel` wraps the
same library, but it is private and may change in any release; the dozen functions of NVRTC and
the driver used here have kept their signatures since CUDA 11. `cuda.bindings` would be a further
dependency for the same dozen functions.

Code is compiled for the device at hand (`sm_90`, not PTX), so nothing is left to the driver.
"""

from __future__ import annotations

import ctypes
import hashlib
import importlib.util
import re
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

from molexa_core.base.errors import ComputationError, OutputError
from molexa_core.base.storage.files import atomic_path
from molexa_core.base.storage.user_cache import cache_folder

FAST_MATH: Final = ("--ftz=true", "--prec-div=false", "--prec-sqrt=false")
"""Options of the compiler for single precision at full speed."""
EXACT: Final = ("--fmad=false",)
"""Options for the results of the processor: no product is added without being rounded."""
_FOLDER: Final = "kernels-v1"
_DIGEST: Final = hashlib.sha256().digest_size
_LARGEST_LOG: Final = 2**24


class Nvrtc:
    """The functions of NVRTC that are needed, with their return codes checked."""

    def __init__(self, library: Any) -> None:
        self._library = library
        library.nvrtcGetErrorString.restype = ctypes.c_char_p

    def version(self) -> str:
        """Version of the library, such as `13.0`."""
        major, minor = ctypes.c_int(), ctypes.c_int()
        self._check(self._library.nvrtcVersion(ctypes.byref(major), ctypes.byref(minor)))
        return f"{major.value}.{minor.value}"

    def cubin(self, source: str, name: str, options: Sequence[str]) -> bytes:
        """Compile a source; if that fails, the error contains the message of the compiler.

        Raises:
            ComputationError: the source does not compile.
        """
        library, program = self._library, ctypes.c_void_p()
        self._check(
            library.nvrtcCreateProgram(
                ctypes.byref(program), source.encode(), name.encode(), 0, None, None
            )
        )
        try:
            words = [option.encode() for option in options]
            listed = (ctypes.c_char_p * len(words))(*words)
            if library.nvrtcCompileProgram(program, len(words), listed) != 0:
                raise ComputationError(f"{name} does not compile: {self._log(program)}")
            size = ctypes.c_size_t()
            self._check(library.nvrtcGetCUBINSize(program, ctypes.byref(size)))
            code = ctypes.create_string_buffer(size.value)
            self._check(library.nvrtcGetCUBIN(program, code))
            return code.raw
        finally:
            library.nvrtcDestroyProgram(ctypes.byref(program))

    def _log(self, program: ctypes.c_void_p) -> str:
        size = ctypes.c_size_t()
        self._check(self._library.nvrtcGetProgramLogSize(program, ctypes.byref(size)))
        text = ctypes.create_string_buffer(min(size.value, _LARGEST_LOG) + 1)
        self._check(self._library.nvrtcGetProgramLog(program, text))
        return text.value.decode(errors="replace").strip()

    def _check(self, code: int) -> None:
        if code != 0:
            words = self._library.nvrtcGetErrorString(code)
            raise ComputationError(f"NVRTC: {words.decode(errors='replace')}")


def compile_cubin(source: str, name: str, options: Sequence[str], architecture: str) -> bytes:
    """Machine code of a CUDA C source, from the cache or compiled now.

    Args:
        source: CUDA C.
        name: name of the source in messages.
        options: options of the compiler, such as `-DATOMS=5`.
        architecture: such as `sm_90`.

    Raises:
        ComputationError: no NVRTC is found, or the source does not compile.
    """
    compiler = nvrtc()
    wanted = [f"--gpu-architecture={architecture}", "--std=c++17", *options]
    key = "\0".join([compiler.version(), source, *wanted])
    folder = cache_folder(_FOLDER)
    digest = hashlib.sha256(key.encode()).hexdigest()
    path = None if folder is None else folder / f"{digest}.cubin"
    kept = None if path is None else _read(path)
    if kept is not None:
        return kept
    code = compiler.cubin(source, name, wanted)
    if path is not None:
        _write(path, code)
    return code


def _read(path: Path) -> bytes | None:
    """The code in a file; None if there is none or it has changed since it was written."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    digest, code = content[:_DIGEST], content[_DIGEST:]
    return code if code and hashlib.sha256(code).digest() == digest else None


def _write(path: Path, code: bytes) -> None:
    try:
        with atomic_path(path) as temporary:
            temporary.write_bytes(hashlib.sha256(code).digest() + code)
    except (OSError, OutputError):
        return  # without a cache the code is compiled again next time


@cache
def nvrtc() -> Nvrtc:
    """The NVRTC that belongs to the torch of this environment.

    Raises:
        ComputationError: NVRTC is not found.
    """
    tried: list[str] = []
    for name in _candidates():
        try:
            return Nvrtc(ctypes.CDLL(name))
        except (OSError, AttributeError) as error:
            tried.append(f"{name} ({error})")
    raise ComputationError(
        "the GPU kernel cannot be compiled: no NVRTC library was found",
        do="It comes with the CUDA builds of torch; without it use `device='cpu'`.",
    )


def _candidates() -> Iterator[str]:
    """Possible paths of NVRTC: those of torch and NVIDIA's wheels, then those of the system.

    torch is looked at, not loaded: that takes longer than to compile.
    """
    found = importlib.util.find_spec("torch")
    torch = None if found is None or found.origin is None else Path(found.origin).parent
    major = "" if torch is None else _cuda_of(torch)
    windows = sys.platform == "win32"
    pattern = f"nvrtc64_{major}*_0.dll" if windows else f"libnvrtc*.so.{major}*"
    site = Path(sysconfig.get_paths()["platlib"])
    roots = [] if torch is None else [torch / "lib", torch.parent / "nvidia"]
    roots.append(site / "nvidia")
    for root in dict.fromkeys(roots):
        if root.is_dir():
            for path in sorted(root.rglob(pattern)):
                if "builtins" not in path.name and ".alt." not in path.name:
                    yield str(path)
    yield from () if windows else (f"libnvrtc.so.{major}", "libnvrtc.so")


def _cuda_of(torch: Path) -> str:
    """The major version of CUDA for which torch was built; empty if for none."""
    try:
        text = (torch / "version.py").read_text(encoding="utf-8")
    except OSError:
        return ""
    version = re.search(r"^cuda[^=\n]*= *['\"](\d+)", text, re.MULTILINE)
    return "" if version is None else version[1]
