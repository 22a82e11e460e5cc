"""XYZ files, plain and extended: one or several structures, positions in angstrom.

Extended files state their columns in the comment line, as
`Properties=species:S:1:pos:R:3:charge:I:1:uncertainty:R:3`; columns that molexa does not use are
skipped. In a plain file the first four columns are element, x, y, z.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from molexa_core.base.elements import BY_NUMBER, ELEMENTS, known_elements
from molexa_core.base.errors import InputFileError, UsageError
from molexa_core.base.fields import PROVENANCE
from molexa_core.base.files import atomic_path, require_file
from molexa_core.base.provenance import Provenance
from molexa_core.base.tables import Geometry
from molexa_core.base.units import BOHR_ANGSTROM

LARGEST: Final = 256 * 2**20
"""A longer file, in bytes, is refused."""
MOST_ATOMS: Final = 100_000
"""Most atoms of one structure."""
_PAIR: Final = re.compile(r'([\w-]+)=("(?:[^"\\]|\\.)*"|\S+)')
_PLAIN: Final = "species:S:1:pos:R:3"
_COMMENT_KEY: Final = "comment"


@dataclass(frozen=True)
class _Layout:
    """Where the columns stand; None for what the file does not have."""

    width: int
    species: int
    position: int
    charge: int | None
    uncertainty: int | None


def read_xyz(path: Path | str) -> list[Geometry]:
    """The structures of an XYZ file, lengths in bohr.

    Raises:
        InputFileError: no such file, not text, no structure, a wrong number of atoms, an unknown
            element, or a coordinate that is not a number.

    Example:
        geometry = read_xyz("water.xyz")[0]
    """
    path = require_file(path)
    if path.stat().st_size > LARGEST:
        raise InputFileError("the file is too long for an XYZ file", where=path)
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise InputFileError(
            "this is not a text file", where=path, do="Name an XYZ file."
        ) from error
    geometries = list(_structures(lines, path))
    if not geometries:
        raise InputFileError(
            "the file is empty", where=path, do="Write the number of atoms, a comment, the atoms."
        )
    return geometries


def write_xyz(
    path: Path | str, geometries: Sequence[Geometry], provenance: Provenance | None = None
) -> None:
    """Write structures as extended XYZ; the provenance stands with the first.

    Args:
        path: the file to write.
        geometries: the structures, lengths in bohr; written in angstrom.
        provenance: the record of how they were made.

    Raises:
        UsageError: there is no structure.
        OutputError: the file cannot be written.
    """
    if not geometries:
        raise UsageError("no structure to write", where=path)
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as stream:
        for index, geometry in enumerate(geometries):
            stream.write(_text(geometry, provenance if index == 0 else None))


def read_provenance(path: Path | str) -> Provenance | None:
    """The record in the first comment line of an XYZ file; None where there is none."""
    with require_file(path).open(encoding="utf-8-sig", errors="replace") as stream:
        stream.readline()
        values = _pairs(stream.readline())
    if PROVENANCE not in values:
        return None
    try:
        return Provenance.from_json(values[PROVENANCE])
    except (TypeError, ValueError) as error:
        raise InputFileError(
            "the provenance is damaged", where=path, do="Make the file again."
        ) from error


def _structures(lines: list[str], path: Path) -> Iterator[Geometry]:
    at = 0
    while True:
        while at < len(lines) and not lines[at].strip():
            at += 1
        if at == len(lines):
            return
        where = f"{path}, line {at + 1}"
        count = _count(lines[at], where)
        if at + 2 + count > len(lines):
            raise InputFileError(
                f"{count} atoms announced, but only {max(len(lines) - at - 2, 0)} lines follow",
                where=where,
                do="Correct the number or complete the file.",
            )
        comment = lines[at + 1]
        body = lines[at + 2 : at + 2 + count]
        yield _geometry(body, comment, path, at + 3)
        at += 2 + count


def _count(line: str, where: str) -> int:
    text = line.strip()
    if not text.isascii() or not text.isdigit():
        raise InputFileError(
            f"expected the number of atoms, found {text[:40]!r}",
            where=where,
            do="An XYZ file has the number of atoms, a comment line, and one line per atom.",
        )
    if len(text) > 9 or not 1 <= int(text) <= MOST_ATOMS:
        raise InputFileError(
            f"{text[:40]} is no possible number of atoms", where=where, do="Correct the number."
        )
    return int(text)


def _geometry(body: list[str], comment: str, path: Path, first_line: int) -> Geometry:
    values = _pairs(comment)
    extended = "Properties" in values
    layout = _layout(values.get("Properties", _PLAIN), f"{path}, line {first_line - 1}")
    symbols, positions, charges, spreads = [], [], [], []
    for number, line in enumerate(body, start=first_line):
        where = f"{path}, line {number}"
        cells = line.split()
        if len(cells) < layout.width:
            raise InputFileError(
                f"expected {layout.width} columns, found {len(cells)}: {line.strip()[:60]!r}",
                where=where,
                do="Check the number of atoms and the columns.",
            )
        symbols.append(_symbol(cells[layout.species], where))
        positions.append(_numbers(cells, layout.position, where))
        if layout.charge is not None:
            charges.append(_charge(cells[layout.charge], where))
        if layout.uncertainty is not None:
            spreads.append(_numbers(cells, layout.uncertainty, where))
    return Geometry(
        tuple(symbols),
        np.array(positions) / BOHR_ANGSTROM,
        charges=tuple(charges) if layout.charge is not None else None,
        uncertainty=np.array(spreads) / BOHR_ANGSTROM if layout.uncertainty is not None else None,
        comment=values.get(_COMMENT_KEY, "") if extended else comment.strip(),
    )


def _pairs(comment: str) -> dict[str, str]:
    """The `key=value` pairs of a comment line, quotes taken off."""
    return {
        key: re.sub(r"\\(.)", r"\1", value[1:-1]) if value.startswith('"') else value
        for key, value in _PAIR.findall(comment)
    }


def _layout(properties: str, where: str) -> _Layout:
    parts = properties.split(":")
    columns: dict[str, tuple[int, str, int]] = {}
    at = 0
    if len(parts) % 3:
        raise _bad_properties(properties, where)
    for name, kind, count in zip(parts[::3], parts[1::3], parts[2::3], strict=True):
        if kind not in {"S", "I", "R", "L"} or not (count.isdigit() and 1 <= int(count) <= 99):
            raise _bad_properties(properties, where)
        columns[name] = (at, kind, int(count))
        at += int(count)
    if columns.get("species", (0, "", 0))[2] != 1 or columns.get("pos", (0, "", 0))[2] != 3:
        raise _bad_properties(properties, where)
    charge, spread = columns.get("charge"), columns.get("uncertainty")
    return _Layout(
        width=at,
        species=columns["species"][0],
        position=columns["pos"][0],
        charge=charge[0] if charge is not None and charge[1:] == ("I", 1) else None,
        uncertainty=spread[0] if spread is not None and spread[1:] == ("R", 3) else None,
    )


def _bad_properties(properties: str, where: str) -> InputFileError:
    return InputFileError(
        f"Properties={properties[:80]} is not a list of name:type:count with species and pos",
        where=where,
        do=f"Write it like Properties={_PLAIN}.",
    )


def _symbol(text: str, where: str) -> str:
    if text.isascii() and text.isdigit() and int(text[:4]) in BY_NUMBER:
        return BY_NUMBER[int(text[:4])].symbol
    symbol = text.capitalize()
    if symbol not in ELEMENTS:
        raise InputFileError(
            f"unknown element {text[:20]!r}", where=where, do=known_elements(symbol)
        )
    return symbol


def _numbers(cells: list[str], start: int, where: str) -> list[float]:
    values = []
    for text in cells[start : start + 3]:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise InputFileError(
                f"{text[:40]!r} is not a finite number", where=where, do="Write a number."
            )
        values.append(value)
    return values


def _charge(text: str, where: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = -1000
    if not -999 <= value <= 999:
        raise InputFileError(f"{text[:40]!r} is not a charge", where=where, do="Write an integer.")
    return value


def _text(geometry: Geometry, provenance: Provenance | None) -> str:
    properties = _PLAIN
    if geometry.charges is not None:
        properties += ":charge:I:1"
    if geometry.uncertainty is not None:
        properties += ":uncertainty:R:3"
    comment = f"Properties={properties}"
    if geometry.comment:
        comment += f" {_COMMENT_KEY}={_quoted(' '.join(geometry.comment.split()))}"
    if provenance is not None:
        comment += f" {PROVENANCE}={_quoted(json.dumps(json.loads(provenance.to_json())))}"
    lines = [str(len(geometry)), comment]
    for index, symbol in enumerate(geometry.symbols):
        cells = [f"{symbol:2s}", *_angstrom(geometry.positions[index])]
        if geometry.charges is not None:
            cells.append(f"{geometry.charges[index]:3d}")
        if geometry.uncertainty is not None:
            cells += _angstrom(geometry.uncertainty[index])
        lines.append(" ".join(cells))
    return "\n".join(lines) + "\n"


def _angstrom(vector: Sequence[float] | np.ndarray[tuple[int], np.dtype[np.float64]]) -> list[str]:
    return [f"{value * BOHR_ANGSTROM:16.10f}" for value in vector]


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
