"""Opening of ROOT files, with clear errors for damaged files."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
import uproot
from uproot.interpretation.jagged import AsJagged
from uproot.interpretation.numerical import AsDtype

from molexa_core.base.errors import ColumnError, InputFileError, MolexaError, listing, near_matches
from molexa_core.base.storage.files import require_file

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
        return uproot.open(path, array_cache=None, object_cache=None)


def tree_names(file: Any) -> list[str]:
    """Names of the trees and RNTuples in the file, with their folders, without cycle numbers."""
    classes = file.classnames(recursive=True, cycle=False)
    return [name for name, kind in classes.items() if kind in {*TREES, *NTUPLES}]


def require_columns(tree: Any, names: Sequence[str], *, where: Path) -> None:
    """Check that the tree has these columns.

    Raises:
        ColumnError: some are missing; names near matches of the first.
    """
    present = set(tree.keys(recursive=False))
    missing = [name for name in names if name not in present]
    if not missing:
        return
    near = near_matches(missing[0], present)
    hint = f"Did you mean {listing(near)}?" if near else f"It has: {listing(sorted(present))}."
    noun = "column" if len(missing) == 1 else "columns"
    raise ColumnError(
        f"tree {tree.name!r} lacks the {noun} {listing(missing, limit=4)}",
        where=where,
        do=f"{hint} Other names go into `columns` of the setup.",
    )


def require_numbers(tree: Any, names: Sequence[str], *, jagged: bool, where: Path) -> None:
    """Check that these columns hold one number per shot, or a list of numbers where `jagged`.

    Raises:
        ColumnError: one does not.
    """
    wanted = "a list of numbers per shot" if jagged else "one number per shot"
    for name in names:
        held = tree[name].interpretation
        inner = held.content if jagged and isinstance(held, AsJagged) else held
        number = (
            isinstance(inner, AsDtype)
            and inner.to_dtype.shape == ()
            and inner.to_dtype.kind in "iufb"
        )
        if not number or (jagged and not isinstance(held, AsJagged)):
            typename = tree[name].typename
            raise ColumnError(
                f"column {name!r} of tree {tree.name!r} is of type {typename}, expected {wanted}",
                where=where,
            )


def numbers_of(array: Any) -> np.ndarray[Any, Any]:
    """An array as float64 in the byte order of this machine."""
    return np.ascontiguousarray(array, dtype=np.float64)
