"""The shipped molecules: equilibrium geometries, Hessians, names, and division by use.

`data/molecules.json` is built by `tools/build_molecules.py`, which describes the method (GFN2-xTB).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from typing import Any, Final, Literal

import numpy as np

from molexa_core.base.errors import InputFileError, listing, near_matches
from molexa_core.base.matter.elements import ELEMENTS, sum_formula
from molexa_core.base.matter.isotopes import nuclide
from molexa_core.base.shown import Shown
from molexa_core.base.tables import FloatArray, Geometry
from molexa_core.physics.molecules.isotopologues import formula_of, isotopes_by_formula
from molexa_core.physics.molecules.vibrations import (
    NormalModes,
    normal_modes,
    without_rigid_motions,
)

Split = Literal["train", "held-out", "large", "other"]
SPLITS: Final[tuple[Split, ...]] = ("train", "held-out", "large", "other")
"""Use of a molecule: `train`, up to 7 atoms, may be used in trainings; `held-out`, up to 7 atoms,
kept out of all trainings together with its isomers; `large`, 8 and more atoms, not in any training;
`other`, with an element outside the nine of the network (Br, I)."""
_PART: Final = re.compile(r"([A-Z][a-z]?)(\d*)")


@dataclass(frozen=True, repr=False)
class Molecule(Shown):
    """A molecule at its equilibrium.

    Attributes:
        name: its name, such as `carbon_monoxide`.
        geometry: equilibrium positions, centre of mass at the origin.
        hessian: (3 atoms, 3 atoms) second derivatives of the energy in hartree / bohr^2, free of
            translations and rotations; None if not known.
        smiles: its bonds as SMILES.
        split: its use, see `SPLITS`.
        g2: whether it is one of the neutral molecules of the G2/97 test set (L. A. Curtiss et
            al., J. Chem. Phys. 106, 1063 (1997)).
        aliases: other names.
        bonds: pairs of bonded atoms, numbered from 0; those of the SMILES.
    """

    name: str
    geometry: Geometry
    hessian: FloatArray | None = None
    smiles: str = ""
    split: Split = "train"
    g2: bool = False
    aliases: tuple[str, ...] = ()
    bonds: tuple[tuple[int, int], ...] = ()

    @property
    def masses(self) -> FloatArray:
        """(atoms) masses of the isotopes, the most abundant ones if not stated, electron masses."""
        return self.geometry.masses()

    @property
    def formula(self) -> str:
        """Sum formula with carbon and hydrogen first, such as `C2H6O` or `D2O`."""
        return sum_formula(self.geometry.names)

    def modes(self, masses: FloatArray | None = None) -> NormalModes | None:
        """The normal modes; None if the Hessian is not known.

        Args:
            masses: (atoms) electron masses; those of the isotopes if not given.

        Raises:
            ComputationError: the geometry is not a minimum.
        """
        if self.hessian is None:
            return None
        known = self.masses if masses is None else masses
        return normal_modes(self.geometry.positions, known, self.hessian)


def molecule_names() -> list[str]:
    """The names of the shipped molecules."""
    return sorted(_entries())


def molecules(
    *,
    splits: Sequence[Split] | None = None,
    elements: Sequence[str] | None = None,
    atoms: tuple[int, int] | None = None,
    g2: bool | None = None,
) -> Iterator[Molecule]:
    """The shipped molecules that meet all conditions, by name.

    Args:
        splits: their use, see `SPLITS`; any if None.
        elements: the only elements that may occur; any if None.
        atoms: smallest and largest number of atoms; any number if None.
        g2: whether they belong to the G2/97 test set; either if None.

    Example:
        >>> [found.name for found in molecules(elements=["H", "O"], atoms=(3, 3))][-1]
        'water'
    """
    for name in molecule_names():
        entry = _entries()[name]
        symbols = entry["symbols"]
        if (
            (splits is None or entry["split"] in splits)
            and (elements is None or set(symbols) <= set(elements))
            and (atoms is None or atoms[0] <= len(symbols) <= atoms[1])
            and (g2 is None or entry["g2"] == g2)
        ):
            yield _molecule(name)


def molecule(name: str) -> Molecule:
    """The shipped molecule of this name, or of this formula if it is unique.

    Case, blanks, hyphens, underscores and the order of elements in a formula do not matter. A
    formula may state isotopes (`D2O`, `CD3OH`, `13CO2`, `O[13C]S`); hydrogens then belong to the
    atom before them, or to the first atom if they come first.

    Raises:
        InputFileError: no such molecule (the message lists similar names), or several molecules
            with this formula (the message lists them).

    Example:
        >>> molecule("water").geometry.symbols
        ('O', 'H', 'H')
        >>> molecule("CH3OH").name
        'methanol'
    """
    if name in _entries():
        return _molecule(name)
    found = _by_key().get(_key(name))
    if found is not None:
        return _molecule(found)
    isomers = _by_formula().get(_formula_key(name), ())
    if len(isomers) == 1:
        return _molecule(isomers[0])
    if isomers:
        raise InputFileError(
            f"{len(isomers)} molecules have the formula {name}",
            do=f"Name one: {listing(isomers, limit=30)}.",
        )
    if (isotopologue := _isotopologue(name)) is not None:
        return isotopologue
    near = dict.fromkeys(_by_key()[key] for key in near_matches(_key(name), _by_key(), limit=5))
    hint = f"Did you mean {listing(near)}? " if near else ""
    raise InputFileError(
        f"no molecule named {name!r}",
        do=f"{hint}`molexa molecules` lists all {len(_entries())}; or give an XYZ file.",
    )


def _isotopologue(name: str) -> Molecule | None:
    """The molecule of a formula with isotopes; None if the text is no such formula.

    Raises:
        InputFileError: several molecules fit the formula.
    """
    parts = formula_of(name)
    if parts is None:
        return None
    symbols = [nuclide(atom).element.symbol for atom, count in parts for _ in range(count)]
    found = []
    for entry in _by_formula().get(sum_formula(symbols).lower(), ()):
        plain = _molecule(entry)
        isotopes = isotopes_by_formula(parts, plain.geometry.symbols, plain.bonds)
        if isotopes is not None:
            geometry = replace(plain.geometry, isotopes=isotopes)
            found.append(replace(plain, name=f"{entry} {name}", geometry=geometry, aliases=()))
    if len(found) > 1:
        raise InputFileError(
            f"{len(found)} molecules have the formula {name}: "
            f"{listing(one.name.split()[0] for one in found)}",
            do="Name one, and the isotopes in the ions, such as D+.",
        )
    return replace(found[0], name=name) if found else None


@cache
def _document() -> dict[str, Any]:
    text = (
        resources.files("molexa_core.physics.molecules")
        .joinpath("data/molecules.json")
        .read_text("utf-8")
    )
    document: dict[str, Any] = json.loads(text)
    return document


def _entries() -> dict[str, dict[str, Any]]:
    entries: dict[str, dict[str, Any]] = _document()["molecules"]
    return entries


def _molecule(name: str) -> Molecule:
    entry = _entries()[name]
    positions = np.array(entry["positions"])
    size = positions.size
    hessian = np.zeros((size, size))
    hessian[np.tril_indices(size)] = entry["hessian"]
    hessian = (hessian + np.tril(hessian, -1).T) * _document()["hessian_unit"]
    return Molecule(
        name,
        Geometry(tuple(entry["symbols"]), positions, comment=name),
        without_rigid_motions(hessian, positions),
        smiles=entry["smiles"],
        split=entry["split"],
        g2=entry["g2"],
        aliases=tuple(entry["aliases"]),
        bonds=tuple((one, two) for one, two in entry["bonds"]),
    )


def _key(name: str) -> str:
    return re.sub(r"[\s_-]", "", name).lower()


@cache
def _by_key() -> dict[str, str]:
    """Names by name or alias, without case, blanks, hyphens and underscores."""
    found: dict[str, str] = {}
    for name, entry in _entries().items():
        for alias in (name, *entry["aliases"]):
            found.setdefault(_key(alias), name)
    return found


@cache
def _by_formula() -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for name, entry in sorted(_entries().items()):
        formula = sum_formula(entry["symbols"]).lower()
        found[formula] = (*found.get(formula, ()), name)
    return found


def _formula_key(text: str) -> str:
    """The sum formula in Hill order and lower case; the text itself if it is not a formula."""
    parts = _PART.findall(text)
    if not parts or "".join(symbol + count for symbol, count in parts) != text:
        return text.lower()
    if any(symbol not in ELEMENTS or len(count) > 2 for symbol, count in parts):
        return text.lower()
    return sum_formula([s for s, count in parts for _ in range(int(count or 1))]).lower()
