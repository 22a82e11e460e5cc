"""The shipped molecules: equilibrium geometries and Hessians.

`data/molecules.json` is built by `tools/build_molecules.py`, which has the recipe (GFN2-xTB).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import numpy as np

from molexa_core.base.elements import element
from molexa_core.base.errors import InputFileError, listing, near_matches
from molexa_core.base.tables import FloatArray, Geometry
from molexa_core.physics.vibrations import NormalModes, normal_modes


@dataclass(frozen=True)
class Molecule:
    """A molecule at its equilibrium.

    Attributes:
        name: its name.
        geometry: equilibrium positions, centre of mass at the origin.
        hessian: (3 atoms, 3 atoms) second derivatives of the energy in hartree / bohr^2, None
            where they are not known.
    """

    name: str
    geometry: Geometry
    hessian: FloatArray | None = None

    @property
    def masses(self) -> FloatArray:
        """(atoms) masses of the most abundant isotopes, electron masses."""
        return np.array([element(symbol).isotope_mass for symbol in self.geometry.symbols])

    @property
    def formula(self) -> str:
        """Sum formula with carbon and hydrogen first, such as `C2H6O`."""
        return sum_formula(self.geometry.symbols)

    def modes(self) -> NormalModes | None:
        """The normal modes; None where the Hessian is not known.

        Raises:
            ComputationError: the geometry is not a minimum.
        """
        if self.hessian is None:
            return None
        return normal_modes(self.geometry.positions, self.masses, self.hessian)


def sum_formula(symbols: tuple[str, ...]) -> str:
    """Sum formula in the Hill order: C, H, then the others by alphabet.

    Example:
        >>> sum_formula(("O", "H", "H"))
        'H2O'
    """
    order = sorted(set(symbols))
    if "C" in order:
        order = [s for s in ("C", "H") if s in order] + [s for s in order if s not in ("C", "H")]
    counts = [(symbol, symbols.count(symbol)) for symbol in order]
    return "".join(f"{symbol}{count if count > 1 else ''}" for symbol, count in counts)


def molecule_names() -> list[str]:
    """The names of the shipped molecules."""
    return sorted(_entries())


def molecule(name: str) -> Molecule:
    """The shipped molecule of this name, or of this sum formula where only one has it.

    Raises:
        InputFileError: no such molecule; lists near matches.

    Example:
        >>> molecule("water").geometry.symbols
        ('O', 'H', 'H')
    """
    entries = _entries()
    key = name if name in entries else _by_formula().get(name.lower())
    if key is None:
        near = near_matches(name.lower(), entries)
        hint = f"Did you mean {listing(near)}? " if near else ""
        raise InputFileError(
            f"no molecule named {name!r}",
            do=f"{hint}There are: {listing(entries, limit=80)}; or give an XYZ file.",
        )
    entry = entries[key]
    symbols = tuple(entry["symbols"])
    size = 3 * len(symbols)
    hessian = np.zeros((size, size))
    hessian[np.tril_indices(size)] = entry["hessian"]
    hessian += np.tril(hessian, -1).T
    return Molecule(key, Geometry(symbols, np.array(entry["positions"]), comment=key), hessian)


@cache
def _entries() -> dict[str, dict[str, Any]]:
    text = resources.files("molexa_core.physics").joinpath("data/molecules.json").read_text("utf-8")
    entries: dict[str, dict[str, Any]] = json.loads(text)["molecules"]
    return entries


@cache
def _by_formula() -> dict[str, str]:
    found: dict[str, list[str]] = {}
    for name, entry in _entries().items():
        found.setdefault(sum_formula(tuple(entry["symbols"])).lower(), []).append(name)
    return {formula: names[0] for formula, names in found.items() if len(names) == 1}
