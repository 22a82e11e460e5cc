"""Writers of runs as HDF5, Parquet and CSV."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from molexa_core.base.fields import TAG_SHOT, TAG_UNITS
from molexa_core.base.storage.cells import harmless, harmless_json
from molexa_core.base.storage.files import UNWRITABLE, atomic_path
from molexa_core.base.tables import Hits
from molexa_core.io.hdf5.file import append_rows, new_column, new_hdf5
from molexa_core.io.hits import rebatch
from molexa_core.io.tables.hdf5_table import METADATA_KEY, RUN_COLUMNS
from molexa_core.io.tables.parquet_table import METADATA_KEY as PARQUET_KEY
from molexa_core.io.tables.parquet_table import arrow
from molexa_core.io.tables.text_table import METADATA_LINE

_BLOCK_SHOTS: Final = 50_000
_CHUNK_BYTES: Final = 2**18


def write_hdf5_run(
    path: Path | str, chunks: Iterable[Hits], *, meta: Mapping[str, Any] | None = None
) -> None:
    """Write `hits/{x, y, t, method}` end to end, `shots/n_hits` and the tags below `shots`.

    Raises:
        OutputError: the file cannot be written there.
    """
    with new_hdf5(path) as file:
        file.attrs[METADATA_KEY] = json.dumps(dict(meta or {}), default=str)
        for chunk in rebatch(chunks, _BLOCK_SHOTS):
            columns: dict[str, tuple[NDArray[Any], str]] = {
                RUN_COLUMNS.x: (chunk.x_mm, "mm"),
                RUN_COLUMNS.y: (chunk.y_mm, "mm"),
                RUN_COLUMNS.time: (chunk.t_ns, "ns"),
                str(RUN_COLUMNS.method): (chunk.method, ""),
                str(RUN_COLUMNS.count): (chunk.counts.astype(np.int32), ""),
            }
            for name, column in chunk.tags.items():
                columns[f"shots/{name}"] = np.asarray(column), TAG_UNITS.get(name, "")
            for name, (values, unit) in columns.items():
                _extend(file, name, values, unit)


def _extend(file: h5py.File, name: str, values: NDArray[Any], unit: str) -> None:
    if name not in file:
        new_column(file, name, values, unit, chunk_rows=_CHUNK_BYTES // values.dtype.itemsize)
    append_rows(file[name], values)


def write_parquet_run(
    path: Path | str, chunks: Iterable[Hits], *, meta: Mapping[str, Any] | None = None
) -> None:
    """Write one row per shot: lists `x`, `y`, `t`, `method`, and the tags.

    Raises:
        OutputError: the file cannot be written there.
        InputFileError: pyarrow is not installed.
    """
    pa, parquet = arrow()
    stored = {PARQUET_KEY: json.dumps(dict(meta or {}), default=str).encode()}
    writer = None
    with atomic_path(path) as temporary:
        try:
            for chunk in rebatch(chunks, _BLOCK_SHOTS):
                offsets = pa.array(chunk.offsets, pa.int64())
                lists = {"x": chunk.x_mm, "y": chunk.y_mm, "t": chunk.t_ns, "method": chunk.method}
                columns = {
                    name: pa.LargeListArray.from_arrays(offsets, pa.array(values))
                    for name, values in lists.items()
                }
                columns |= {name: pa.array(np.asarray(of)) for name, of in chunk.tags.items()}
                table = pa.table(columns).replace_schema_metadata(stored)
                if writer is None:
                    writer = parquet.ParquetWriter(temporary, table.schema, compression="zstd")
                writer.write_table(table)
        finally:
            if writer is not None:
                writer.close()


def write_csv_run(
    path: Path | str, chunks: Iterable[Hits], *, meta: Mapping[str, Any] | None = None
) -> None:
    """Write one row per hit: `shot`, `x_mm`, `y_mm`, `t_ns`, `method`, and the tags.

    Shots without hits have no row. Numbers come back as they were, to the last digit.

    Raises:
        OutputError: the file cannot be written there.
    """
    with (
        atomic_path(path) as temporary,
        temporary.open("w", encoding="utf-8", errors=UNWRITABLE) as stream,
    ):
        stream.write(
            METADATA_LINE + harmless_json(json.dumps(dict(meta or {}), default=str)) + "\n"
        )
        for number, chunk in enumerate(rebatch(chunks, _BLOCK_SHOTS)):
            counts = chunk.counts
            columns: dict[str, Any] = {
                TAG_SHOT: chunk.shot,
                "x_mm": chunk.x_mm,
                "y_mm": chunk.y_mm,
                "t_ns": chunk.t_ns,
                "method": chunk.method,
            }
            columns |= {
                harmless(name): np.repeat(column, counts) for name, column in chunk.tags.items()
            }
            pd.DataFrame(columns).to_csv(stream, index=False, header=number == 0)
