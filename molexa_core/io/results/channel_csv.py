"""`channel.csv`: the mean momentum of every ion of a channel, in atomic units.

Header `ion,px,py,pz` and, optionally, `px_err,py_err,pz_err`, `count`, `label`. Lines that start
with `#` are comments; one of them holds the provenance as JSON, those that begin with `# warning:`
the warnings of earlier stages, `# energy:` what averaging left of the kinetic energy release
(JSON), `# partial:` how momenta were found in partial coincidences (JSON), `# checksum:` the digest
of header and rows. The frame is arbitrary.
Another unit is stated in the header, as `px (kg m/s)` or `px_si`, or in a comment above it, and is
converted. Columns are separated by commas, or by semicolons or tabs with decimal points or commas.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
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
from molexa_core.base.fields import (
    COUNT,
    ENERGY,
    ION,
    LABEL,
    MOMENTUM,
    MOMENTUM_ERROR,
    PARTIAL,
    PROVENANCE,
    WARNINGS,
)
from molexa_core.base.matter.ions import parse_ion
from molexa_core.base.numbers import number_hint, read_number
from molexa_core.base.progress import SILENT, Progress
from molexa_core.base.storage.cells import as_written, harmless, harmless_json
from molexa_core.base.storage.checksums import digest_of
from molexa_core.base.storage.files import UNWRITABLE, atomic_path, require_file
from molexa_core.base.storage.provenance import Provenance
from molexa_core.io.results.momentum_units import (
    ATOMIC,
    MomentumUnit,
    speaks_of_units,
    split_unit,
    unit_in_comments,
)
from molexa_core.io.text_lines import lines_of

REQUIRED: Final = (ION, *MOMENTUM)
"""Columns that must be there."""
OPTIONAL: Final = (*MOMENTUM_ERROR, COUNT, LABEL)
"""Columns that may be there; the three errors come together."""
LARGEST: Final = 4 * 2**20
"""A longer file, in bytes, is not a table with one row per ion."""
_COMMENT: Final = "#"
_RECORD: Final = f"{_COMMENT} {PROVENANCE}: "
_COMMA: Final = re.compile(r"[-+]?[0-9]*,[0-9]+(?:[eEdD][-+]?[0-9]+)?")
_CHECKSUM: Final = f"{_COMMENT} checksum: "
_WARNING: Final = f"{_COMMENT} warning: "
_ENERGY: Final = f"{_COMMENT} {ENERGY}: "
_PARTIAL: Final = f"{_COMMENT} {PARTIAL}: "


@dataclass
class _Lines:
    """The lines of the file by kind; data lines with their line numbers from 1."""

    data: list[tuple[int, list[str]]] = field(default_factory=list)
    comments: list[str] = field(default_factory=list)
    provenance: str | None = None
    checksum: str | None = None
    energy: str | None = None
    partial: str | None = None
    warnings: list[str] = field(default_factory=list)

    def take(self, line: str) -> bool:
        """Keep a comment of molexa's own; False for any other line."""
        if line.startswith(_RECORD):
            self.provenance = line.removeprefix(_RECORD)
        elif line.startswith(_CHECKSUM):
            self.checksum = line.removeprefix(_CHECKSUM).strip()
        elif line.startswith(_ENERGY):
            self.energy = line.removeprefix(_ENERGY)
        elif line.startswith(_PARTIAL):
            self.partial = line.removeprefix(_PARTIAL)
        elif line.startswith(_WARNING):
            self.warnings.append(line.removeprefix(_WARNING).strip())
        else:
            return False
        return True


def read_channel_csv(
    path: Path | str, progress: Progress = SILENT
) -> tuple[pd.DataFrame, Provenance | None]:
    """The table of mean momenta and the record of how it was made.

    Args:
        path: the file.
        progress: receives a remark if the file states a unit other than a.u.

    Returns:
        The table with the columns of the file in the order of the file contract, ions in molexa's
        notation, momenta and errors in a.u. (an empty cell of an error or count is NaN), and the
        warnings of the stages before in its `attrs`; and the provenance, None for a file from
        elsewhere.

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
    columns, told = _header(header, lines.comments, where=f"{path}, line {number}")
    unit = told or ATOMIC
    _check_header(columns, where=f"{path}, line {number}")
    if not rows:
        raise InputFileError("no ions below the header", where=path, do="Write one row per ion.")
    values = [_row(columns, cells, where=f"{path}, line {number}") for number, cells in rows]
    ordered = [name for name in (*REQUIRED, *OPTIONAL) if name in columns]
    table = pd.DataFrame(values, columns=ordered)
    if unit != ATOMIC:
        momenta = [name for name in (*MOMENTUM, *MOMENTUM_ERROR) if name in columns]
        table[momenta] *= unit.value
        progress.say(f"{path}: momenta in {unit.text}, converted")
    table.attrs[WARNINGS] = lines.warnings
    if not told and (said := speaks_of_units(lines.comments)) is not None:
        table.attrs[WARNINGS].append(
            f"a comment in {path.name} speaks of units and is not understood ({said[:80]!r}); "
            "momenta are read in a.u."
        )
    if (energy := _values(lines.energy)) is not None:
        table.attrs[ENERGY] = energy
    if (partial := _values(lines.partial)) is not None:
        table.attrs[PARTIAL] = partial
    if lines.checksum is not None and lines.checksum != digest_of([c for _, c in lines.data]):
        edited = f"{path.name} was edited after molexa wrote it: its values are not those it had"
        table.attrs[WARNINGS].append(edited)
    return table, _provenance(lines.provenance, path)


def warnings_of(table: pd.DataFrame) -> list[str]:
    """The warnings of earlier stages in a table of mean momenta: `table.attrs["warnings"]`."""
    return [str(text) for text in table.attrs.get(WARNINGS, ())]


def energy_of(table: pd.DataFrame) -> dict[str, Any]:
    """What averaging left of the kinetic energy release: `table.attrs["energy"]`; may be empty."""
    found = table.attrs.get(ENERGY)
    return dict(found) if isinstance(found, dict) else {}


def write_channel_csv(
    path: Path | str, table: pd.DataFrame, provenance: Provenance | None = None
) -> None:
    """Write a table of mean momenta; a value that is not a number becomes an empty cell.

    Args:
        path: the file to write.
        table: columns `ion`, `px`, `py`, `pz` in a.u. and any of the optional ones; warnings in
            its `attrs` are written too.
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
        text.write(f"{_RECORD}{harmless_json(provenance.to_json())}\n")
    rows = [[_cell(value) for value in row] for row in table[ordered].itertuples(index=False)]
    if provenance is not None:
        text.write(f"{_CHECKSUM}{digest_of([ordered, *rows])}\n")
    if energy_of(table):
        text.write(f"{_ENERGY}{json.dumps(energy_of(table), allow_nan=False)}\n")
    if isinstance(table.attrs.get(PARTIAL), dict):
        text.write(f"{_PARTIAL}{json.dumps(table.attrs[PARTIAL], allow_nan=False)}\n")
    for warning in warnings_of(table):
        text.write(f"{_WARNING}{' '.join(warning.split())}\n")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([ordered, *rows])
    with atomic_path(path) as temporary:
        temporary.write_text(text.getvalue(), encoding="utf-8", errors=UNWRITABLE)


def _split(path: Path) -> _Lines:
    if path.stat().st_size > LARGEST:
        raise InputFileError(
            f"{path.stat().st_size} bytes are too many for a table of one row per ion",
            where=path,
            do="Name the file that molexa centroid wrote.",
        )
    found = lines_of(path.read_bytes())
    if found is None:
        raise InputFileError(
            "this is not a text file",
            where=path,
            do="Name a CSV file with one row per ion, or the events file that molexa reduce wrote.",
        )
    lines = _Lines()
    delimiter = ","
    for number, line in enumerate(found, start=1):
        if lines.take(line):
            continue
        if line.lstrip().startswith(_COMMENT):
            if not lines.data:
                lines.comments.append(line)
        elif line.strip():
            if not lines.data:
                delimiter = next((sign for sign in ";\t" if sign in line), ",")
            cells = _cells(line, delimiter, f"{path}, line {number}")
            lines.data.append((number, _pointed(cells) if delimiter != "," else cells))
    return lines


def _cells(line: str, delimiter: str, where: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=delimiter))
    except csv.Error as error:
        raise InputFileError(
            f"not a line of a table ({error})", where=where, do="Correct or delete the line."
        ) from error


def _pointed(cells: list[str]) -> list[str]:
    """Decimal commas as points."""
    return [cell.replace(",", ".") if _COMMA.fullmatch(cell.strip()) else cell for cell in cells]


def _header(
    header: list[str], comments: list[str], *, where: str
) -> tuple[list[str], MomentumUnit | None]:
    """The names of the columns without units, and the unit of the momenta, if one is stated.

    Raises:
        ColumnError: an unknown unit, or different ones.
    """
    parsed = [split_unit(name.strip(), where) for name in header]
    momenta = {unit for name, unit in parsed if name in {*MOMENTUM, *MOMENTUM_ERROR}}
    stated = [unit for unit in momenta if unit is not None]
    if not stated:
        stated = unit_in_comments(comments)
    elif None in momenta:
        raise ColumnError(
            "some momenta have a unit in their names and some have none",
            where=where,
            do="Write it in all of them, such as px (a.u.).",
        )
    if len({unit.value for unit in stated}) > 1:
        told = sorted(unit.text for unit in stated)
        raise ColumnError(
            f"the units of the momenta contradict each other: {listing(told)}",
            where=where,
            do="Write the unit into the header, such as px (a.u.).",
        )
    return [name for name, _ in parsed], next(iter(stated), None)


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
        more = len(cells) > len(columns)
        comma = " Are there decimal commas? Then part columns by semicolons." if more else ""
        raise ColumnError(
            f"{len(cells)} values for {len(columns)} columns",
            where=where,
            do=f"Write one value for each column of the header.{comma}",
        )
    row: dict[str, Any] = {}
    for name, cell in zip(columns, cells, strict=True):
        if name == ION:
            row[name] = _ion(as_written(cell), where)
        elif name == LABEL:
            row[name] = as_written(cell.strip())
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
    value = read_number(text)
    if math.isnan(value):
        raise ColumnError(
            f"{text[:40]!r} in column {name} is not a finite number",
            where=where,
            do=number_hint(text),
        )
    if value < 0 and name not in MOMENTUM:
        raise ColumnError(
            f"{text} in column {name} is negative", where=where, do="Write 0 or more."
        )
    return value


def _cell(value: Any) -> str:
    if isinstance(value, str):
        return harmless(" ".join(value.split()))
    number = float(value)
    return "" if math.isnan(number) else f"{number:.12g}"


def _values(text: str | None) -> dict[str, Any] | None:
    """The values of a comment in JSON; None if there is none or it is damaged."""
    try:
        found = None if text is None else json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _provenance(text: str | None, path: Path) -> Provenance | None:
    if text is None:
        return None
    try:
        return Provenance.from_json(text)
    except (json.JSONDecodeError, TypeError, ValueError, AttributeError, KeyError) as error:
        raise InputFileError(
            "the provenance line is damaged", where=path, do="Delete that line to read the rest."
        ) from error
