"""`channel.csv`: one row per ion with its mean momentum, in atomic units.

Header `ion,px,py,pz` and, if wanted, `px_err,py_err,pz_err`, `count`, `label`. Lines that start
with `#` are comments; one of them carries the provenance as JSON. The frame is any.
"""

from __future__ import annotations

import csv
import io
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pandas as pd

from molexa_core.base.errors import (
    ColumnError,
    InputFileError,
    UnknownIonError,
    listing,
    near_matches,
)
from molexa_core.base.fields import COUNT, ION, LABEL, MOMENTUM, MOMENTUM_ERROR, PROVENANCE
from molexa_core.base.files import atomic_path, require_file
from molexa_core.base.ions import parse_ion
from molexa_core.base.provenance import Provenance

REQUIRED: Final = (ION, *MOMENTUM)
"""Columns that must be there."""
OPTIONAL: Final = (*MOMENTUM_ERROR, COUNT, LABEL)
"""Columns that may be there; the three errors come together."""
LARGEST: Final = 4 * 2**20
"""A longer file, in bytes, is not a table with one row per ion."""
_COMMENT: Final = "#"
_RECORD: Final = f"{_COMMENT} {PROVENANCE}: "


@dataclass
class _Lines:
    """The lines of the file by kind; data lines with their line numbers from 1."""

    data: list[tuple[int, list[str]]] = field(default_factory=list)
    provenance: str | None = None


def read_channel_csv(path: Path | str) -> tuple[pd.DataFrame, Provenance | None]:
    """The table of mean momenta and the record of how it was made.

    Args:
        path: the file.

    Returns:
        The table with the columns of the file in the order of the file contract, ions in molexa's
        notation, momenta and errors in a.u. (an empty cell of an error or count is NaN); and the
        provenance, None for a file from elsewhere.

    Raises:
        InputFileError: no such file, not text, no rows, or a damaged provenance line.
        ColumnError: a column is missing, unknown or there twice, or a cell is not a number.
        UnknownIonError: a row names something that is not an ion.
    """
    path = require_file(path)
    lines = _split(path)
    if not lines.data:
        raise InputFileError(
            "the file is empty", where=path, do=f"Write a header {','.join(REQUIRED)} and ions."
        )
    (number, header), *rows = lines.data
    columns = [name.strip() for name in header]
    _check_header(columns, where=f"{path}, line {number}")
    if not rows:
        raise InputFileError("no ions below the header", where=path, do="Write one row per ion.")
    values = [_row(columns, cells, where=f"{path}, line {number}") for number, cells in rows]
    ordered = [name for name in (*REQUIRED, *OPTIONAL) if name in columns]
    return pd.DataFrame(values, columns=ordered), _provenance(lines.provenance, path)


def write_channel_csv(
    path: Path | str, table: pd.DataFrame, provenance: Provenance | None = None
) -> None:
    """Write a table of mean momenta; a value that is not a number becomes an empty cell.

    Args:
        path: the file to write.
        table: columns `ion`, `px`, `py`, `pz` in a.u. and any of the optional ones.
        provenance: the record of how it was made.

    Raises:
        ColumnError: the table lacks a required column or has an unknown one.
        OutputError: the file cannot be written.
    """
    _check_header([str(name) for name in table.columns], where=path)
    ordered = [name for name in (*REQUIRED, *OPTIONAL) if name in table.columns]
    text = io.StringIO()
    text.write(f"{_COMMENT} mean ion momenta and their standard errors in atomic units\n")
    if provenance is not None:
        text.write(f"{_RECORD}{provenance.to_json()}\n")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(ordered)
    for row in table[ordered].itertuples(index=False):
        writer.writerow([_cell(value) for value in row])
    with atomic_path(path) as temporary:
        temporary.write_text(text.getvalue(), encoding="utf-8")


def _split(path: Path) -> _Lines:
    if path.stat().st_size > LARGEST:
        raise InputFileError(
            f"{path.stat().st_size} bytes are too many for a table of one row per ion",
            where=path,
            do="Name the file that molexa centroid wrote.",
        )
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputFileError(
            "this is not a text file", where=path, do="Name a CSV file with one row per ion."
        ) from error
    lines = _Lines()
    for number, line in enumerate(text.splitlines(), start=1):
        if line.startswith(_RECORD):
            lines.provenance = line.removeprefix(_RECORD)
        elif line.strip() and not line.lstrip().startswith(_COMMENT):
            lines.data.append((number, next(csv.reader([line]))))
    return lines


def _check_header(columns: list[str], *, where: object) -> None:
    twice = sorted({name for name in columns if columns.count(name) > 1})
    if twice:
        raise ColumnError(
            f"column {listing(twice)} is there twice", where=where, do="Keep one of them."
        )
    missing = [name for name in REQUIRED if name not in columns]
    if missing:
        raise ColumnError(
            f"column {listing(missing)} is missing",
            where=where,
            do=f"The header must have {','.join(REQUIRED)}; found {listing(columns)}.",
        )
    known = (*REQUIRED, *OPTIONAL)
    for name in columns:
        if name not in known:
            near = near_matches(name, known)
            hint = f"Did you mean {listing(near)}?" if near else f"Known: {listing(known)}."
            raise ColumnError(f"unknown column {name!r}", where=where, do=hint)
    errors = [name for name in MOMENTUM_ERROR if name in columns]
    if errors and len(errors) < len(MOMENTUM_ERROR):
        raise ColumnError(
            f"only {listing(errors)} of the three errors",
            where=where,
            do=f"Give all of {','.join(MOMENTUM_ERROR)} or none.",
        )


def _row(columns: list[str], cells: list[str], *, where: str) -> dict[str, Any]:
    if len(cells) != len(columns):
        raise ColumnError(
            f"{len(cells)} values for {len(columns)} columns",
            where=where,
            do="Write one value for each column of the header.",
        )
    row: dict[str, Any] = {}
    for name, cell in zip(columns, cells, strict=True):
        if name == ION:
            row[name] = _ion(cell, where)
        elif name == LABEL:
            row[name] = cell.strip()
        else:
            row[name] = _number(name, cell.strip(), where)
    return row


def _ion(text: str, where: str) -> str:
    try:
        return str(parse_ion(text))
    except UnknownIonError as error:
        raise UnknownIonError(error.what, where=where, do=error.do) from error


def _number(name: str, text: str, where: str) -> float:
    if not text and name not in MOMENTUM:
        return math.nan
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ColumnError(
            f"{text!r} in column {name} is not a finite number", where=where, do="Write a number."
        )
    if value < 0 and name not in MOMENTUM:
        raise ColumnError(
            f"{text} in column {name} is negative", where=where, do="Write 0 or more."
        )
    return value


def _cell(value: Any) -> str:
    if isinstance(value, str):
        return " ".join(value.split())
    number = float(value)
    return "" if math.isnan(number) else f"{number:.12g}"


def _provenance(text: str | None, path: Path) -> Provenance | None:
    if text is None:
        return None
    try:
        return Provenance.from_json(text)
    except (json.JSONDecodeError, TypeError, ValueError, AttributeError, KeyError) as error:
        raise InputFileError(
            "the provenance line is damaged", where=path, do="Delete that line to read the rest."
        ) from error
