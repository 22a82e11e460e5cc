"""Opening of ROOT files, with clear errors for damaged files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import uproot

from molexa_core.base.errors import InputFileError, MolexaError
from molexa_core.base.storage.files import require_file
from molexa_core.io.root.source import FileSource

TREES: Final = ("TTree", "TNtuple", "TNtupleD")
NTUPLES: Final = ("ROOT::RNTuple",)
"""Classes of tables with rows; RNTuples of ROOT before 6.34 (ROOT::Experimental) are not read."""
_HEAD_BYTES: Final = 100


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Convert all exceptions of the ROOT reader for a damaged file into one clear error."""
    try:
        yield
    except (MolexaError, KeyboardInterrupt):
        raise
    except Exception as error:
        # What follows in brackets are the reader's own objects, with their addresses.
        detail = re.sub(r" as uproot\S*|\s*[(<].*", "", " ".join(str(error).split()))[:160]
        if not detail or isinstance(error, AttributeError | TypeError):
            detail = "its parts do not fit each other"
        raise InputFileError(
            f"the ROOT file is damaged or truncated ({detail})",
            where=path,
            do="Copy it again, or recover it with ROOT's TFile::Recover.",
        ) from error


def open_root(path: Path | str) -> Any:
    """The open file.

    Raises:
        InputFileError: missing, empty, not a ROOT file, truncated or damaged.
    """
    path = require_file(path)
    size = path.stat().st_size
    with path.open("rb") as stream:
        head = stream.read(_HEAD_BYTES)
    if head[:4] != b"root":
        found = "is empty" if size == 0 else "is not a ROOT file"
        raise InputFileError(f"the file {found}", where=path, do="Give a run in ROOT format.")
    large = int.from_bytes(head[4:8], "big") >= 1_000_000
    end = int.from_bytes(head[12:20] if large else head[12:16], "big")
    if len(head) < 64 or size < end:
        raise InputFileError(
            f"the ROOT file is truncated: it has {size} of {end} bytes",
            where=path,
            do="Copy it again.",
        )
    with reading(path):
        return uproot.open(path, array_cache=None, object_cache=None, handler=FileSource)


def tree_names(file: Any) -> list[str]:
    """Names of the trees and RNTuples in the file, with their folders, without cycle numbers."""
    classes = file.classnames(recursive=True, cycle=False)
    return [name for name, kind in classes.items() if kind in {*TREES, *NTUPLES}]
