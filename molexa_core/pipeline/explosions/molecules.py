"""Molecules: contents of the shipped library, and the data of one molecule."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from molexa_core.base.errors import UsageError, listing, near_matches
from molexa_core.base.matter.elements import element
from molexa_core.base.storage.outputs import FileKind
from molexa_core.base.storage.provenance import Provenance
from molexa_core.base.tables import FloatArray, Geometry
from molexa_core.base.units import BOHR_ANGSTROM, HARTREE_EV
from molexa_core.io.xyz import write_xyz
from molexa_core.physics.molecules import library
from molexa_core.physics.molecules.library import SPLITS, Split
from molexa_core.pipeline.output_guard import require_outputs

NAME: Final = "name"
FORMULA: Final = "formula"
ATOMS: Final = "atoms"
SPLIT: Final = "split"
G2: Final = "g2"
SMILES: Final = "smiles"
_RANGE: Final = re.compile(r"(\d{1,3})(?:-(\d{1,3}))?")


@dataclass(frozen=True)
class Bond:
    """Two atoms, numbered from 0, and their distance."""

    first: int
    second: int
    length_angstrom: float


@dataclass(frozen=True)
class MoleculeData:
    """One molecule of the library.

    Attributes:
        name, formula, aliases, smiles: its names.
        split: its use: `train`, `held-out`, `large`, `other`.
        g2: whether it belongs to the G2/97 test set.
        geometry: the equilibrium, bohr.
        bonds: pairs of bonded atoms and bond lengths.
        wavenumber_cm: (modes) harmonic wavenumbers in 1/cm, ascending.
        zero_point_ev: zero-point energy of the vibrations.
    """

    name: str
    formula: str
    aliases: tuple[str, ...]
    smiles: str
    split: Split
    g2: bool
    geometry: Geometry
    bonds: tuple[Bond, ...]
    wavenumber_cm: FloatArray
    zero_point_ev: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values by name, for JSON; lengths in bohr unless the key says otherwise."""
        return {
            NAME: self.name,
            FORMULA: self.formula,
            "aliases": list(self.aliases),
            SMILES: self.smiles,
            SPLIT: self.split,
            G2: self.g2,
            "symbols": list(self.geometry.symbols),
            "isotopes": list(self.geometry.isotopes or (0,) * len(self.geometry)),
            "positions_bohr": self.geometry.positions.tolist(),
            "bonds": [[b.first, b.second, b.length_angstrom] for b in self.bonds],
            "wavenumber_cm": self.wavenumber_cm.tolist(),
            "zero_point_ev": self.zero_point_ev,
        }


def molecules(
    *,
    elements: Sequence[str] | str | None = None,
    atoms: tuple[int, int] | str | None = None,
    splits: Sequence[Split] | None = None,
) -> pd.DataFrame:
    """List the molecules of the library that meet all conditions.

    Args:
        elements: the only elements that may occur, as a sequence or such as `C,H,O`.
        atoms: smallest and largest number of atoms, as a pair or such as `2-9` or `5`.
        splits: their use; any if None.

    Returns:
        One row per molecule: name, formula, atoms, split, g2, smiles; sorted by number of atoms,
        formula and name.

    Raises:
        UnknownIonError: no such element.
        UsageError: a split or a range that cannot be understood.

    Example:
        >>> list(molecules(elements="H,O", atoms="3").name)
        ['water', 'hydroperoxyl', 'ozone']
    """
    for split in splits or ():
        if split not in SPLITS:
            near = near_matches(split, SPLITS) or SPLITS
            raise UsageError(f"unknown split {split!r}", do=f"Choose {listing(near)}.")
    rows = [
        [found.name, found.formula, len(found.geometry), found.split, found.g2, found.smiles]
        for found in library.molecules(
            elements=None if elements is None else _elements(elements),
            atoms=None if atoms is None else _range(atoms),
            splits=splits,
        )
    ]
    table = pd.DataFrame(rows, columns=[NAME, FORMULA, ATOMS, SPLIT, G2, SMILES])
    return table.sort_values([ATOMS, FORMULA, NAME], ignore_index=True)


def molecule(name: str) -> MoleculeData:
    """One molecule by name, alias or, if it is unique, formula.

    Raises:
        InputFileError: no such molecule (the message lists similar names), or several with this
            formula.

    Example:
        >>> molecule("H2O").name
        'water'
    """
    found = library.molecule(name)
    geometry, modes = found.geometry, found.modes()
    x = geometry.positions * BOHR_ANGSTROM
    return MoleculeData(
        name=found.name,
        formula=found.formula,
        aliases=found.aliases,
        smiles=found.smiles,
        split=found.split,
        g2=found.g2,
        geometry=geometry,
        bonds=tuple(Bond(i, j, float(np.linalg.norm(x[i] - x[j]))) for i, j in found.bonds),
        wavenumber_cm=np.empty(0) if modes is None else modes.wavenumber_cm,
        zero_point_ev=0.0 if modes is None else modes.zero_point_energy * HARTREE_EV,
    )


def molecule_file(
    name: str,
    xyz: Path | str,
) -> MoleculeData:
    """Write the equilibrium geometry of a molecule as XYZ and return its data.

    Raises:
        InputFileError: see `molecule`.
        OutputError: the file cannot be written.
    """
    found = molecule(name)
    require_outputs((xyz, FileKind.GEOMETRY))
    write_xyz(xyz, [found.geometry], Provenance.of(settings={"molecule": found.name}))
    return found


def _elements(elements: Sequence[str] | str) -> list[str]:
    parts = elements.split(",") if isinstance(elements, str) else elements
    return [element(part.strip()).symbol for part in parts]


def _range(atoms: tuple[int, int] | str) -> tuple[int, int]:
    if not isinstance(atoms, str):
        return atoms
    match = _RANGE.fullmatch(atoms.strip())
    if match is None:
        raise UsageError(
            f"{atoms!r} is not a number of atoms", do="Give a number such as 5, or a range: 2-9."
        )
    low = int(match[1])
    high = int(match[2]) if match[2] else low
    if low > high:
        raise UsageError(f"no number of atoms is in {atoms}", do=f"Write {high}-{low}.")
    return low, high
