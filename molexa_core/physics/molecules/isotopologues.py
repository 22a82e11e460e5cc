"""Formulas with isotopes, and their assignment to the atoms of a molecule."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final

from molexa_core.base.errors import UnknownIonError
from molexa_core.base.matter.ions import parse_ion
from molexa_core.base.matter.isotopes import is_nuclide, nuclide

Formula = tuple[tuple[str, int], ...]
"""Elements or isotopes with their counts, as written."""
_INNER: Final = re.compile(r"(?<=[A-Za-z])[0-9]{2}[A-Z][a-z]?")
MOST_ATOMS: Final = 64
"""Longest formula, characters; a longer one names no molecule of the library."""


@dataclass(frozen=True)
class _Group:
    """Like heavy atoms of a formula and the hydrogens written after them, by isotope."""

    heavy: str
    count: int
    hydrogens: tuple[int, ...]

    @property
    def symbol(self) -> str:
        return nuclide(self.heavy).element.symbol


def formula_of(text: str) -> Formula | None:
    """The parts of a formula with an isotope; None for other text.

    Two digits before an element are taken for its isotope if there is one: `C18O2`, `H37Cl`.

    Example:
        >>> formula_of("CD3OH"), formula_of("water")
        ((('C', 1), ('D', 3), ('O', 1), ('H', 1)), None)
    """
    bracketed = _INNER.sub(lambda m: f"[{m[0]}]" if is_nuclide(m[0]) else m[0], text)
    for form in (text, bracketed, text.upper()):
        try:
            ion = parse_ion(f"({form})+")
        except UnknownIonError:
            continue
        if ion.states_isotopes and sum(count for _, count in ion.composition) <= MOST_ATOMS:
            return ion.composition
    return None


def isotopes_by_formula(
    parts: Formula, symbols: Sequence[str], bonds: Sequence[tuple[int, int]]
) -> tuple[int, ...] | None:
    """The mass number of each atom of a molecule, from a formula; 0 where it states none.

    Hydrogens belong to the atom before them in the formula, those at the beginning to the first.

    Args:
        parts: the formula, with the atoms of the molecule.
        symbols: elements of the molecule.
        bonds: pairs of bonded atoms.

    Returns:
        (atoms) mass numbers; None if the molecule has no such groups of atoms.

    Example:
        >>> isotopes_by_formula((("H", 1), ("D", 1), ("O", 1)), ("O", "H", "H"), ((0, 1), (0, 2)))
        (0, 0, 2)
    """
    bound: dict[int, list[int]] = {i: [] for i, symbol in enumerate(symbols) if symbol != "H"}
    for pair in bonds:
        for heavy, light in (pair, pair[::-1]):
            if heavy in bound and symbols[light] == "H":
                bound[heavy].append(light)
    if not bound:
        numbers = [nuclide(atom).number for atom, count in parts for _ in range(count)]
        return tuple(numbers) if len(numbers) == len(symbols) else None
    groups = _groups(parts)
    for choice in _choices(groups, symbols, bound):
        found = [0] * len(symbols)
        for group, atoms in zip(groups, choice, strict=True):
            for atom in atoms:
                found[atom] = nuclide(group.heavy).number
            lights = sorted(light for atom in atoms for light in bound[atom])
            for light, number in zip(lights, group.hydrogens, strict=True):
                found[light] = number
        return tuple(found)
    return None


def _groups(parts: Formula) -> list[_Group]:
    groups: list[_Group] = []
    leading: tuple[int, ...] = ()
    for atom, count in parts:
        known = nuclide(atom)
        if known.element.symbol != "H":
            groups.append(_Group(atom, count, leading))
            leading = ()
        elif groups:
            last = groups.pop()
            groups.append(_Group(last.heavy, last.count, last.hydrogens + (known.number,) * count))
        else:
            leading += (known.number,) * count
    return groups


def _choices(
    groups: Sequence[_Group], symbols: Sequence[str], bound: dict[int, list[int]]
) -> Iterator[list[tuple[int, ...]]]:
    """Assign heavy atoms to every group so that each has its hydrogens."""
    if not groups:
        if not bound:
            yield []
        return
    group, *rest = groups
    fitting = [atom for atom in bound if symbols[atom] == group.symbol]
    for atoms in combinations(fitting, group.count):
        if sum(len(bound[atom]) for atom in atoms) == len(group.hydrogens):
            left = {atom: lights for atom, lights in bound.items() if atom not in atoms}
            for further in _choices(rest, symbols, left):
                yield [atoms, *further]
