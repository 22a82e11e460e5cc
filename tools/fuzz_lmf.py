"""Coverage-guided search for files that the reader of list-mode files cannot handle.

Needs `pip install atheris` (not a dependency; Linux). Coverage is that of the Python code; the
compiled kernels run, but do not guide the search.

Usage: python tools/fuzz_lmf.py FOLDER [-max_total_time=60] [options of libFuzzer]

FOLDER keeps the interesting inputs; it starts with small valid files. A crash, an error that
is none of molexa's own, more than 10 s or 1 GiB for a file ends the search; libFuzzer then writes
the bytes into `crash-...`, which this tool takes as an argument to run them again.
"""

from __future__ import annotations

import importlib
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import FunctionType
from typing import Any

import numpy as np

from molexa_core.base.errors import MolexaError
from molexa_core.base.tables import Edges
from molexa_core.io.lmf import LmfFile, cursor, header_file, reader
from molexa_core.io.lmf.run import write_lmf_run

LIMITS = ["-timeout=10", "-rss_limit_mb=1024", "-max_len=65536"]


def begin(folder: Path) -> None:
    """Write a decoded and a raw file for the search to begin with."""
    folder.mkdir(parents=True, exist_ok=True)
    channel = np.tile(np.arange(7, dtype=np.int16), 6)
    offsets = np.arange(0, 43, 7, dtype=np.int64)
    for raw in (False, True):
        path = folder / f"good-{'raw' if raw else 'decoded'}"
        write_lmf_run(path, [Edges(0, offsets, channel, np.arange(42) * 2.5)], raw=raw, meta={})


def guide(instrument: Callable[[Any], Any]) -> None:
    """Instrument what is not compiled: numba could not compile what is instrumented."""
    owners = (header_file, reader, cursor.Cursor, LmfFile)
    for owner in owners:
        for name, item in list(vars(owner).items()):
            if isinstance(item, FunctionType) and item.__module__.startswith("molexa_core.io.lmf"):
                setattr(owner, name, instrument(item))


def main() -> None:
    """Run the search."""
    targets = [Path(argument) for argument in sys.argv[1:] if not argument.startswith("-")]
    if not targets:
        sys.exit(__doc__)
    atheris = importlib.import_module("atheris")
    guide(atheris.instrument_func)
    if not targets[0].is_file():
        begin(targets[0])
    folder = tempfile.TemporaryDirectory()
    path = Path(folder.name) / "run.lmf"

    def one(data: bytes) -> None:
        path.write_bytes(data)
        try:
            file = LmfFile(path)
            events = sum(block.n_events for block in file)
        except MolexaError as error:
            if "\n" in str(error):
                raise
            return
        if 8 * events > len(data):
            msg = f"{events} events in {len(data)} bytes"
            raise RuntimeError(msg)

    atheris.Setup([sys.argv[0], *LIMITS, *sys.argv[1:]], one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
