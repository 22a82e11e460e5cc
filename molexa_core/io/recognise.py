"""Recognition of file formats by content; the file name is not used."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any, Final

import h5py

from molexa_core.base.errors import InputFileError, listing
from molexa_core.base.fields import (
    EVENT_GROUP,
    EVENT_ID,
    EVENT_ION,
    EVENT_MOMENTUM,
    EVENT_TAG,
    META,
    PROVENANCE,
    SPECTRA,
    TRUTH_HITS,
    TRUTH_MOLECULE,
    TRUTH_MOLECULES,
)
from molexa_core.base.settings.columns import Columns, EdgeColumns
from molexa_core.base.storage.files import require_file
from molexa_core.base.storage.provenance import Provenance
from molexa_core.io.facilities.flash import flash_detectors
from molexa_core.io.hdf5.file import (
    attribute,
    has_checksum,
    member,
    open_hdf5,
    read_json,
    read_strings,
    reading_hdf5,
)
from molexa_core.io.lmf.header import ARCHIVE_2002, ARCHIVE_2008, ARCHIVE_MASK
from molexa_core.io.root.edge_trees import edges_in
from molexa_core.io.root.file import open_root, reading, tree_names
from molexa_core.io.root.layouts import EDGES, PRESETS, preset_for
from molexa_core.io.root.run import open_root_run
from molexa_core.io.tables.arrow_table import ARROW_FILE, ARROW_STREAM, FEATHER_1, refuse_feather_1
from molexa_core.io.tables.guess import NoHitsError
from molexa_core.io.tables.hdf5_table import open_hdf5_table
from molexa_core.io.tables.openers import ARROW, NPY, PARQUET, RECORDS, TEXT, layout_of, open_table
from molexa_core.io.tables.text_head import NoNumbersError
from molexa_core.io.text_lines import GZIP, is_text, open_text

LMF: Final = "lmf"
ROOT_RUN: Final = "root-run"
ROOT_EDGES: Final = "root-edges"
ROOT_RESULT: Final = "root-result"
XFEL: Final = "xfel"
FLASH: Final = "flash"
HDF5_RUN: Final = "hdf5-run"
EVENTS: Final = "events"
TRUTH: Final = "truth"
HDF5: Final = "hdf5"
RUNS: Final = frozenset(
    {LMF, ROOT_RUN, ROOT_EDGES, XFEL, FLASH, HDF5_RUN, PARQUET, TEXT, NPY, ARROW, RECORDS}
)
"""Formats that hold the hits or edges of a run."""
NAMES: Final = {
    LMF: "Cobold list-mode file",
    ROOT_RUN: "ROOT run",
    ROOT_EDGES: "ROOT run of edges",
    ROOT_RESULT: "ROOT file of histograms",
    XFEL: "file of European XFEL",
    FLASH: "file of FLASH",
    HDF5_RUN: "HDF5 run",
    PARQUET: "Parquet run",
    TEXT: "run as a table of text",
    NPY: "run as an array of numpy",
    ARROW: "Arrow run (Feather)",
    RECORDS: "run of raw records",
    EVENTS: "coincidences of molexa (HDF5)",
    TRUTH: "truth of a virtual run of molexa (HDF5)",
    HDF5: "HDF5 file without a known layout",
}
"""Formats in words."""
_HDF5_MAGIC: Final = b"\x89HDF\r\n\x1a\n"
_CONFIGURATION: Final = "config_info"
"""Name of the text in which LMF2Root stores its configuration."""
_TEXT_LIMIT: Final = 16 * 2**20
_MOST_IONS: Final = 512
RAW_RECORDS: Final = (
    "Raw records without a header are described by `columns: {record: {fields: {x: float32, "
    "...}}}` in the setup (docs/formats.md)."
)
_MAGIC: Final = {
    b"PAR1": PARQUET,
    b"\x93NUMPY": NPY,
    ARROW_FILE: ARROW,
    ARROW_STREAM: ARROW,
}
_PACKED: Final = {
    b"PK\x03\x04": "zip",
    GZIP: "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"(\xb5/\xfd": "zstd",
}
LOOKED_FOR: Final = (
    "Looked for: Cobold list-mode (.lmf), ROOT (runs, LMF2Root results), HDF5 (European XFEL, "
    "FLASH, tables, files of molexa), Parquet, Arrow, numpy, tables of text with columns for shot, "
    "x, y and t."
)


def recognise(
    path: Path | str, columns: Columns | None = None, edge_columns: EdgeColumns | None = None
) -> str:
    """The format of a file, one of the names above.

    Args:
        path: the file.
        columns: column map of the setup; tables that have these columns are runs.
        edge_columns: likewise, for trees of edges.

    Raises:
        InputFileError: it is missing, empty, or of none of them; says what was looked for.
    """
    path = require_file(path)
    with path.open("rb") as stream:
        head = stream.read(512)
    if not head:
        raise InputFileError("the file is empty", where=path, do="Copy it again.")
    if int.from_bytes(head[:4], "little") & ARCHIVE_MASK in {ARCHIVE_2002, ARCHIVE_2008}:
        return LMF
    if head[:4] == b"root":
        return _root_kind(path, columns, edge_columns)
    if head[:8] == _HDF5_MAGIC:
        return _hdf5_kind(path, columns, edge_columns)
    for magic, kind in _MAGIC.items():
        if head.startswith(magic):
            return kind
    if head[:4] == FEATHER_1:
        refuse_feather_1(path)
    kind = f"it begins with {head[:8].hex(' ')}"
    if columns is not None and columns.record is not None:
        return RECORDS
    if is_text(_unpacked(path, head)):
        try:
            table = open_table(path, TEXT, columns, edge_columns)
            layout_of(table, columns, edge_columns)
        except (NoHitsError, NoNumbersError) as error:
            raise InputFileError(
                f"the format is not known: it looks like text, and as a table: {error.what}",
                where=path,
                do=f"{error.do} {LOOKED_FOR}",
            ) from error
        return TEXT
    packed = next((name for magic, name in _PACKED.items() if head.startswith(magic)), None)
    if packed is not None:
        raise InputFileError(
            f"the file is packed with {packed}",
            where=path,
            do="Unpack it; save what is in .npz as .npy, and tables of .xlsx as CSV.",
        )
    raise InputFileError(
        f"the format is not known: {kind}", where=path, do=f"{LOOKED_FOR} {RAW_RECORDS}"
    )


def _unpacked(path: Path, head: bytes) -> bytes:
    """The first bytes of a file, or of what is packed in it with gzip."""
    if not head.startswith(GZIP):
        return head
    try:
        with open_text(path) as stream:
            return stream.read(512)
    except (OSError, EOFError, zlib.error) as error:
        raise InputFileError(
            f"the packed file is damaged or truncated ({error})", where=path, do="Copy it again."
        ) from error


def _root_kind(path: Path, columns: Columns | None, edge_columns: EdgeColumns | None) -> str:
    with open_root(path) as file, reading(path):
        trees = tree_names(file)
        if edge_columns is not None and edge_columns.tree in {None, *trees}:
            return ROOT_EDGES
        if preset_for(trees) is not None or (columns is not None and columns.tree in trees):
            return ROOT_RUN
        if trees:
            try:
                open_root_run(path, columns)
            except InputFileError:
                if edges_in(file, path, None) is not None:
                    return ROOT_EDGES
                if not _histograms(file):
                    raise
            else:
                return ROOT_RUN
        if _histograms(file):
            return ROOT_RESULT
        held = trees or [f"{name} ({kind})" for name, kind in file.classnames(cycle=False).items()]
    known = listing([f"{preset.tree} ({name})" for name, preset in PRESETS.items()])
    raise InputFileError(
        f"a ROOT file without a known tree and without histograms; it has: {listing(held)}",
        where=path,
        do=f"Looked for the trees {known} and {EDGES.tree} (edges), in trees and in RNTuples as "
        "ROOT writes them from 6.34 on.",
    )


def _hdf5_kind(path: Path, columns: Columns | None, edges: EdgeColumns | None) -> str:
    with open_hdf5(path) as file, reading_hdf5(path):
        if TRUTH_MOLECULES in file and TRUTH_HITS in file:
            return TRUTH
        if f"{EVENT_GROUP}/{EVENT_MOMENTUM}" in file and META in file:
            return EVENTS
        if "INDEX/trainId" in file and ("INSTRUMENT" in file or "CONTROL" in file):
            return XFEL
        if columns is None and flash_detectors(file):
            return FLASH
    try:
        open_hdf5_table(path, columns, edges)
    except NoHitsError:
        return HDF5
    return HDF5_RUN


def _histograms(file: Any) -> dict[str, str]:
    classes = file.classnames(recursive=True, cycle=False)
    return {name: kind for name, kind in classes.items() if kind.startswith(("TH1", "TH2", "TH3"))}


def describe_result(path: Path | str) -> dict[str, Any]:
    """Contents of a ROOT file of histograms: their number, folders, the configuration text.

    Raises:
        InputFileError: the file is damaged.
    """
    path = Path(path)
    with open_root(path) as file, reading(path):
        histograms = _histograms(file)
        folders = sorted({name.split("/")[0] for name in histograms if "/" in name})
        text = None
        key = file.key(_CONFIGURATION) if _CONFIGURATION in file.keys(cycle=False) else None
        if key is not None and key.data_uncompressed_bytes <= _TEXT_LIMIT:
            stored = file[_CONFIGURATION]
            text = str(stored.all_members.get("fTitle", stored))
    return {
        "histograms": len(histograms),
        "one_dimension": sum(kind.startswith("TH1") for kind in histograms.values()),
        "two_dimensions": sum(kind.startswith("TH2") for kind in histograms.values()),
        "folders": folders,
        "configuration": text,
    }


def read_all_histograms(path: Path | str) -> list[str]:
    """Read every histogram of a ROOT file; the faults found, with their place."""
    path = Path(path)
    faults = []
    with open_root(path) as file:
        for name in _histograms(file):
            try:
                with reading(path):
                    file[name].values()
            except InputFileError as error:
                faults.append(f"{name}: {error.what}")
    return faults


def describe_hdf5(path: Path | str) -> dict[str, Any]:
    """Contents of an HDF5 file; for files of molexa rows, ions, tags, spectra and provenance.

    `checksum` is true if the file has a checksum, which is then verified.

    Raises:
        InputFileError: the file is damaged.
    """
    kind = recognise(path)
    with open_hdf5(path) as file:
        if kind == EVENTS:
            group = file[EVENT_GROUP]
            found = {
                "rows": len(member(group, EVENT_ID)),
                "ions": read_strings(file, f"{EVENT_GROUP}/{EVENT_ION}", limit=_MOST_IONS),
                "tags": sorted(group.get(EVENT_TAG, ())),
                "spectra": sorted(file.get(SPECTRA, ())),
                "aligned": "frame" in file[META],
            }
        elif kind == TRUTH:
            found = {
                "rows": _length(file[TRUTH_MOLECULES]),
                "hits": len(member(file, f"{TRUTH_HITS}/{TRUTH_MOLECULE}")),
                "ions": read_strings(file, EVENT_ION, limit=_MOST_IONS),
            }
        else:
            groups = [name for name, item in file.items() if isinstance(item, h5py.Group)]
            datasets = [name for name in file if name not in groups]
            found = {"groups": sorted(groups), "datasets": sorted(datasets)}
            return found | ({"checksum": True} if has_checksum(path) else {})
        found["checksum"] = has_checksum(path)
        record = attribute(file[META], PROVENANCE) if META in file else None
        if record is not None:
            values = read_json(file, record, PROVENANCE)
            fields = Provenance.__dataclass_fields__
            found["provenance"] = {k: v for k, v in values.items() if k in fields}
        return found


def _length(group: h5py.Group) -> int:
    return min((len(item) for item in group.values() if isinstance(item, h5py.Dataset)), default=0)
