"""Reading and writing of XYZ files, plain and extended, with one or several structures.

Extended files state their columns in the comment line, as
`Properties=species:S:1:pos:R:3:charge:I:1:uncertainty:R:3`; columns that molexa does not use are
skipped. In a plain file the first four columns are element, x, y, z. Positions are in angstrom
unless the comment line states another unit (`xyz_words`). A column `masses` in u gives isotopes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from molexa_core.base.errors import InputFileError, UnknownIonError, UsageError
from molexa_core.base.fields import PROVENANCE
from molexa_core.base.matter.elements import element
from molexa_core.base.matter.isotopes import isotope_of_mass, nuclide
from molexa_core.base.matter.lengths import length_warning
from molexa_core.base.numbers import number_hint, read_number
from molexa_core.base.progress import SILENT, Progress
from molexa_core.base.storage.files import UNWRITABLE, atomic_path, require_file
from molexa_core.base.storage.provenance import Provenance
from molexa_core.base.tables import Geometry
from molexa_core.base.units import BOHR_ANGSTROM, DALTON_ME
from molexa_core.io.text_lines import lines_of
from molexa_core.io.xyz_words import ANGSTROM, UNITS, atom_of, unit_of_length

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
    mass: int | None


def read_xyz(path: Path | str, progress: Progress = SILENT) -> list[Geometry]:
    """The structures of an XYZ file, lengths in bohr.

    Args:
        path: the file.
        progress: receives remarks about a unit other than angstrom and text behind the last
            structure, and a warning about distances that no molecule has.

    Raises:
        InputFileError: no such file, not text, no structure, a wrong number of atoms, an unknown
            element or unit, or a coordinate that is not a number.

    Example:
        geometry = read_xyz("water.xyz")[0]
    """
    path = require_file(path)
    if path.stat().st_size > LARGEST:
        raise InputFileError("the file is too long for an XYZ file", where=path)
    lines = _lines(path)
    geometries = list(_structures(lines, path, progress))
    if not geometries:
        raise InputFileError(
            "the file is empty", where=path, do="Write the number of atoms, a comment, the atoms."
        )
    own = PROVENANCE in _pairs(lines[1]) if len(lines) > 1 else False
    warning = None if own else length_warning(geometries[0])
    if warning is not None:
        warning = f"{path}: {warning}"
        progress.warn(warning)
        geometries[0] = replace(geometries[0], warnings=(warning,))
    return geometries


def _lines(path: Path) -> list[str]:
    """The lines of the file; comments of older programs are Latin-1."""
    lines = lines_of(path.read_bytes())
    if lines is None:
        raise InputFileError("this is not a text file", where=path, do="Name an XYZ file.")
    return lines


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
    with (
        atomic_path(path) as temporary,
        temporary.open("w", encoding="utf-8", errors=UNWRITABLE) as stream,
    ):
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


def _structures(lines: list[str], path: Path, progress: Progress) -> Iterator[Geometry]:
    at = found = 0
    said: set[str] = set()
    while True:
        while at < len(lines) and not lines[at].strip():
            at += 1
        if at == len(lines):
            return
        where = f"{path}, line {at + 1}"
        if found and _is_tail(lines[at:]):
            left = sum(bool(line.strip()) for line in lines[at:])
            progress.say(
                f"{where}: text behind the last structure, {left} line{'s' * (left > 1)} left out"
            )
            return
        count, behind = _count(lines[at], where)
        if at + 2 + count > len(lines):
            raise InputFileError(
                f"{count} atoms announced, but only {max(len(lines) - at - 2, 0)} lines follow",
                where=where,
                do="Correct the number or complete the file.",
            )
        comment = lines[at + 1]
        body = lines[at + 2 : at + 2 + count]
        pairs = _pairs(comment)
        unit = _unit(comment, pairs, behind, f"{path}, line {at + 2}")
        if unit != ANGSTROM and unit not in said:
            said.add(unit)
            progress.say(f"{path}, line {at + 2}: coordinates in {unit}, converted")
        yield _geometry(body, comment, UNITS[unit], path, at + 3)
        at, found = at + 2 + count, found + 1


def _is_tail(lines: list[str]) -> bool:
    """Whether what follows a structure is neither an atom too many nor a further structure."""
    if lines[0].split()[0].isdigit() and len(lines[0].split()) == 1:
        return False
    if _is_atom(lines[0]):
        return False
    return not any(
        line.strip().isdigit() and _is_atom(atom)
        for line, atom in zip(lines, lines[2:], strict=False)
    )


def _is_atom(line: str) -> bool:
    cells = line.split()
    if len(cells) < 4 or any(np.isnan(read_number(cell)) for cell in cells[1:4]):
        return False
    return cells[0].isdigit() or (not cells[0][0].isdigit() and cells[0][0].isalpha())


def _unit(comment: str, pairs: dict[str, str], behind: str, where: str) -> str:
    """The unit of the coordinates; the comment that molexa carries along states none."""
    text = _PAIR.sub(" ", comment)
    if _COMMENT_KEY in pairs and PROVENANCE not in pairs:
        text = f"{text} {pairs[_COMMENT_KEY]}"
    return unit_of_length(text, pairs, behind, where)


def _count(line: str, where: str) -> tuple[int, str]:
    """The number of atoms, and the word behind it, which some programs use for the unit."""
    words = line.split()
    unit = len(words) == 2 and words[0].isdigit() and words[1][0].isalpha()
    text = words[0] if unit else line.strip()
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
    return int(text), words[1] if unit else ""


def _geometry(
    body: list[str], comment: str, angstrom: float, path: Path, first_line: int
) -> Geometry:
    values = _pairs(comment)
    extended = "Properties" in values
    layout = _layout(values.get("Properties", _PLAIN), f"{path}, line {first_line - 1}")
    symbols, positions, charges, spreads = [], [], [], []
    numbers: list[int] = []
    for number, line in enumerate(body, start=first_line):
        where = f"{path}, line {number}"
        cells = line.split()
        if len(cells) < layout.width:
            raise InputFileError(
                f"expected {layout.width} columns, found {len(cells)}: {line.strip()[:60]!r}",
                where=where,
                do="Check the number of atoms and the columns.",
            )
        atom = atom_of(cells[layout.species], where)
        symbols.append(atom.element.symbol)
        numbers.append(atom.number)
        if layout.mass is not None:
            numbers[-1] = _isotope(str(atom), cells[layout.mass], where)
        positions.append(_numbers(cells, layout.position, where))
        if layout.charge is not None:
            charges.append(_charge(cells[layout.charge], where))
        if layout.uncertainty is not None:
            spreads.append(_numbers(cells, layout.uncertainty, where))
    if not extended:
        _refuse_numbers_first(symbols, body, f"{path}, line {first_line}")
    scale = angstrom / BOHR_ANGSTROM
    return Geometry(
        tuple(symbols),
        np.array(positions) * scale,
        charges=tuple(charges) if layout.charge is not None else None,
        uncertainty=np.array(spreads) * scale if layout.uncertainty is not None else None,
        comment=values.get(_COMMENT_KEY, "") if extended else comment.strip(),
        isotopes=tuple(numbers) if any(numbers) else None,
    )


def _refuse_numbers_first(symbols: list[str], body: list[str], where: str) -> None:
    """Some programs put the nuclear charge between symbol and coordinates."""
    cells = [line.split() for line in body]
    if min(map(len, cells)) < 5 or len(cells) < 2:
        return
    numeric = all(not np.isnan(read_number(cell)) for line in cells for cell in line[1:5])
    if numeric and all(
        read_number(line[1]) == element(symbol).number
        for symbol, line in zip(symbols, cells, strict=True)
    ):
        raise InputFileError(
            "the second column holds the atomic numbers, not x",
            where=where,
            do="Take that column out: element, x, y, z.",
        )


def _isotope(name: str, text: str, where: str) -> int:
    """The mass number that belongs to a mass; 0 for the usual mass of an unspecified isotope."""
    atom = nuclide(name)
    mass = read_number(text)
    try:
        number = isotope_of_mass(atom.element.symbol, mass) if mass > 0 else -1
    except UnknownIonError as error:
        raise InputFileError(error.what, where=where, do=error.do) from error
    if number < 0:
        raise InputFileError(f"{text[:40]!r} is no mass", where=where, do="Write it in u.")
    if atom.number and number != atom.number:
        raise InputFileError(
            f"the atom is {name}, but its mass is {text[:40]} u", where=where, do="Correct one."
        )
    usual = abs(mass - atom.element.isotope_mass_da) < 0.02
    return atom.number if usual or number == 0 else number


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
    mass = columns.get("masses", columns.get("mass"))
    return _Layout(
        width=at,
        species=columns["species"][0],
        position=columns["pos"][0],
        charge=charge[0] if charge is not None and charge[1:] == ("I", 1) else None,
        uncertainty=spread[0] if spread is not None and spread[1:] == ("R", 3) else None,
        mass=mass[0] if mass is not None and mass[1:] == ("R", 1) else None,
    )


def _bad_properties(properties: str, where: str) -> InputFileError:
    return InputFileError(
        f"Properties={properties[:80]} is not a list of name:type:count with species and pos",
        where=where,
        do=f"Write it like Properties={_PLAIN}.",
    )


def _numbers(cells: list[str], start: int, where: str) -> list[float]:
    values = [read_number(text) for text in cells[start : start + 3]]
    for text, value in zip(cells[start : start + 3], values, strict=True):
        if np.isnan(value):
            raise InputFileError(
                f"{text[:40]!r} is not a finite number", where=where, do=number_hint(text)
            )
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
    if geometry.isotopes is not None:
        properties += ":masses:R:1"
    masses = geometry.masses() / DALTON_ME
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
        if geometry.isotopes is not None:
            cells.append(f"{masses[index]:14.9f}")
        lines.append(" ".join(cells))
    return "\n".join(lines) + "\n"


def _angstrom(vector: Sequence[float] | np.ndarray[tuple[int], np.dtype[np.float64]]) -> list[str]:
    return [f"{value * BOHR_ANGSTROM:16.10f}" for value in vector]


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
