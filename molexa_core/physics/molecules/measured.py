"""Experimental bond lengths and angles compared with those of the shipped molecules.

`data/experimental_structures.csv` has commonly tabulated values, entered by hand and
rounded to 0.001 angstrom and 0.1 degree; for the original values see the CRC Handbook of Chemistry
and Physics, "Structure of free molecules", and NIST CCCBDB. They are of several kinds (r_e, r_0,
r_s, r_g), which differ by up to 0.01 angstrom, in bonds to hydrogen by 0.02. This is more than the
experimental errors and limits the comparison with an equilibrium geometry.
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import resources
from statistics import fmean
from typing import Final

import numpy as np

from molexa_core.base.units import BOHR_ANGSTROM
from molexa_core.physics.molecules.library import Molecule, molecule

PICK: Final[dict[str, Callable[[list[float]], float]]] = {
    "only": fmean,
    "shortest": min,
    "longest": max,
}
"""The bonds or angles that a value describes, among all of its kind."""


@dataclass(frozen=True)
class Comparison:
    """One tabulated value and that of the shipped geometry.

    Attributes:
        molecule: its name.
        atoms: elements along the bond (two) or the angle (three), such as `H-O-H`.
        pick: if the molecule has several: `shortest` or `longest`; otherwise `only`.
        experiment: bond length in angstrom or angle in degrees.
        shipped: value of the shipped geometry; the mean if `only` describes several equal ones.
    """

    molecule: str
    atoms: tuple[str, ...]
    pick: str
    experiment: float
    shipped: float

    @property
    def is_angle(self) -> bool:
        """Whether it is an angle."""
        return len(self.atoms) == 3

    @property
    def deviation(self) -> float:
        """Shipped minus experiment."""
        return self.shipped - self.experiment


@cache
def comparisons() -> tuple[Comparison, ...]:
    """All tabulated values and those of the shipped geometries, in the order of the table."""
    folder = resources.files("molexa_core.physics.molecules")
    text = folder.joinpath("data/experimental_structures.csv").read_text("utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    found = []
    for row in csv.DictReader(lines):
        atoms = tuple(row["atoms"].split("-"))
        values = measures(molecule(row["molecule"]), atoms)
        shipped = PICK[row["pick"]](values)
        name, value = row["molecule"], float(row["value"])
        found.append(Comparison(name, atoms, row["pick"], value, shipped))
    return tuple(found)


def measures(found: Molecule, atoms: tuple[str, ...]) -> list[float]:
    """All bond lengths (angstrom) or angles (degrees) between bonded atoms of these elements.

    Args:
        found: the molecule.
        atoms: two elements for bonds; three, centre in the middle, for angles.
    """
    symbols, x = found.geometry.symbols, found.geometry.positions * BOHR_ANGSTROM
    pairs = [*found.bonds, *((two, one) for one, two in found.bonds)]
    if len(atoms) == 2:
        return [
            float(np.linalg.norm(x[one] - x[two]))
            for one, two in found.bonds
            if sorted((symbols[one], symbols[two])) == sorted(atoms)
        ]
    values = []
    for one, centre in pairs:
        for other, middle in pairs:
            if middle != centre or other <= one:
                continue
            ends = sorted((symbols[one], symbols[other]))
            if symbols[centre] == atoms[1] and ends == sorted((atoms[0], atoms[2])):
                a, b = x[one] - x[centre], x[other] - x[centre]
                cosine = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
                values.append(float(np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0)))))
    return values
