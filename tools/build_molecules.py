"""Build `molexa_core/physics/data/molecules.json`: equilibrium geometries and Hessians.

Recipe: a start geometry from RDKit (ETKDG), of molecules with bonds to turn about the best of
several; relaxed with GFN2-xTB (tblite) by BFGS until the largest force is below 1e-5 eV/angstrom;
the Hessian by central differences of the analytic forces (step 0.005 angstrom, SCF accuracy 0.01),
symmetrised, with translations and rotations projected out. GFN2-xTB: C. Bannwarth, S. Ehlert,
S. Grimme, J. Chem. Theory Comput. 15, 1652 (2019). Open shells are not spin-polarised.

Every molecule is checked: joined after relaxation as its SMILES says, all frequencies real and
above `SOFTEST_CM`, and the same within `ROUNDING_CM` once rounded for the file, no other of the
same formula with the same moments of inertia. One that fails is reported and left out.

How molecules are divided: see `split_of`.

Needs the extra `molecules` (ase, rdkit, tblite). Run from the repository: python
tools/build_molecules.py [--fresh] [--only NAME ...]. What stands in the file and has not changed
in the list is kept, so that an interrupted build can be continued.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before tblite: one thread, one result, and faster

import argparse
import hashlib
import json
import sys
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import numpy as np
from ase import Atoms
from ase.optimize import BFGS
from molecule_list import Listed, bonds_of, g2_skeletons, read_list, skeleton, starts
from numpy.typing import NDArray
from tblite.ase import TBLite

from molexa_core.base.matter.elements import element, sum_formula
from molexa_core.base.storage.files import atomic_path
from molexa_core.base.units import BOHR_ANGSTROM, HARTREE_EV
from molexa_core.physics.molecules.library import Split
from molexa_core.physics.molecules.vibrations import normal_modes, without_rigid_motions

TARGET: Final = Path(__file__).parent.parent / "molexa_core/physics/data/molecules.json"
STEP_ANGSTROM: Final = 0.005
LARGEST_FORCE: Final = 1e-5
ROUGH_FORCE: Final = 0.02
"""Largest force in eV/angstrom when starts are compared."""
LOWER_EV: Final = 1e-3
"""A later start is taken only if it ends this much lower."""
SOFTEST_CM: Final = 10.0
ROUNDING_CM: Final = 0.5
HESSIAN_UNIT: Final = 1e-6
"""Unit of the integers that the Hessian is stored in, hartree / bohr^2."""
POSITION_DIGITS: Final = 7
TWIN: Final = 1e-3
"""Relative difference of moments of inertia below which two molecules are twins."""
NINE: Final = frozenset({"H", "C", "N", "O", "F", "Si", "P", "S", "Cl"})
HELD_OUT: Final = 0.12
"""Share of the formulas with up to seven atoms that are held out."""
MOST_TRAINED_ATOMS: Final = 7

Array = NDArray[np.float64]


class RejectedError(Exception):
    """A molecule does not pass a check."""


def main() -> int:
    """Build what is missing and write the file."""
    parser = argparse.ArgumentParser(description="Build the molecules that ship with molexa.")
    parser.add_argument("--fresh", action="store_true", help="build all of them anew")
    parser.add_argument("--only", nargs="+", default=[], help="build just these, and print")
    options = parser.parse_args()
    listed = {item.name: item for item in read_list()}
    if options.only:
        for name in options.only:
            build(listed[name])
        return 0
    kept = {} if options.fresh else _stored()
    entries: dict[str, dict[str, Any]] = {}
    rejected = []
    for item in listed.values():
        old = kept.get(item.name)
        if old is not None and old["recipe"] == item.recipe:
            entry = old
        else:
            try:
                entry = build(item)
            except (RejectedError, RuntimeError) as error:
                rejected.append(f"{item.name} ({item.smiles}): {error}")
                print("LEFT OUT", rejected[-1], flush=True)
                continue
        twin = _twin(entry, entries)
        if twin is not None:
            rejected.append(f"{item.name}: the same as {twin}")
            continue
        entries[item.name] = entry | {"aliases": list(item.aliases)}
        if entry is not old and len(entries) % 20 == 0:
            write(entries | {name: kept[name] for name in kept if name not in entries})
    write(tag(entries))
    print(f"{len(entries)} molecules, {TARGET.stat().st_size / 1024:.0f} KiB; left out:")
    print("\n".join(rejected) or "none")
    return 1 if rejected else 0


def build(item: Listed) -> dict[str, Any]:
    """The entry of one molecule.

    Raises:
        RejectedError: it fails a check.
    """
    atoms = min_energy(item)
    symbols = tuple(atoms.get_chemical_symbols())
    relax(atoms, LARGEST_FORCE)
    found = bonds_of(symbols, atoms.get_positions())
    if found != item.bonds:
        broken, new = sorted(item.bonds - found), sorted(found - item.bonds)
        message = f"relaxes to other bonds: broken {broken}, new {new}"
        raise RejectedError(message)
    mass = np.array([element(symbol).isotope_mass for symbol in symbols])
    x = atoms.get_positions() / BOHR_ANGSTROM
    x -= mass @ x / mass.sum()
    hessian = without_rigid_motions(differences(atoms), x)
    exact = normal_modes(x, mass, hessian).wavenumber_cm
    if exact.min() < SOFTEST_CM:
        message = f"a vibration of {exact.min():.1f} /cm"
        raise RejectedError(message)
    lower = np.rint(hessian[np.tril_indices(x.size)] / HESSIAN_UNIT).astype(int)
    x = x.round(POSITION_DIGITS)
    rounded = normal_modes(x, mass, without_rigid_motions(unpacked(lower), x)).wavenumber_cm
    worst = np.abs(rounded - exact).max()
    if worst > ROUNDING_CM:
        message = f"rounding changes a vibration by {worst:.2f} /cm"
        raise RejectedError(message)
    print(f"{item.name:32s} {len(symbols)} atoms, {exact.round(0)} /cm", flush=True)
    return {
        "smiles": item.smiles,
        "recipe": item.recipe,
        "symbols": list(symbols),
        "positions": x.tolist(),
        "hessian": lower.tolist(),
    }


def min_energy(item: Listed) -> Atoms:
    """The roughly relaxed start of lowest energy; the first, if no other is clearly lower."""
    candidates = starts(item)
    for atoms in candidates:
        atoms.calc = TBLite(
            method="GFN2-xTB", accuracy=0.01, verbosity=0, multiplicity=item.unpaired + 1
        )
    if len(candidates) == 1:
        return candidates[0]
    best, lowest = candidates[0], np.inf
    for atoms in candidates:
        try:
            relax(atoms, ROUGH_FORCE)
        except RejectedError:
            continue
        energy = atoms.get_potential_energy()
        joined = bonds_of(atoms.get_chemical_symbols(), atoms.get_positions()) == item.bonds
        if joined and energy < lowest - LOWER_EV:
            best, lowest = atoms, energy
    return best


def relax(atoms: Atoms, largest_force: float) -> None:
    """Move the atoms to the minimum.

    Raises:
        RejectedError: it is not found.
    """
    if not BFGS(atoms, logfile=None).run(fmax=largest_force, steps=1500):
        message = "does not relax"
        raise RejectedError(message)


def differences(atoms: Atoms) -> Array:
    """(3n, 3n) Hessian in hartree / bohr^2 by central differences of the forces."""
    rest = atoms.get_positions()
    rows = []
    for index in range(rest.size):
        forces = []
        for sign in (1, -1):
            moved = rest.copy().reshape(-1)
            moved[index] += sign * STEP_ANGSTROM
            atoms.set_positions(moved.reshape(rest.shape))
            forces.append(atoms.get_forces().reshape(-1))
        rows.append((forces[1] - forces[0]) / (2 * STEP_ANGSTROM))
    atoms.set_positions(rest)
    hessian = np.array(rows) / HARTREE_EV * BOHR_ANGSTROM**2
    return 0.5 * (hessian + hessian.T)


def unpacked(lower: NDArray[np.int64]) -> Array:
    """The symmetric Hessian of its stored lower triangle, hartree / bohr^2."""
    size = round((np.sqrt(8 * len(lower) + 1) - 1) / 2)
    hessian = np.zeros((size, size))
    hessian[np.tril_indices(size)] = lower * HESSIAN_UNIT
    return hessian + np.tril(hessian, -1).T


def split_of(symbols: list[str]) -> Split:
    """What a molecule of these atoms is for.

    `other`: an element that the network does not know. `large`: more than seven atoms. Of the
    others, a formula is `held-out` where the SHA-256 digest of the text "held-out " and its Hill
    formula, such as `held-out CF4`, read as a fraction of one, is below `HELD_OUT`, else `train`.
    The formula decides: isomers share their fate, and no network learns from an isomer of a
    molecule that it is tested with.
    """
    if not NINE.issuperset(symbols):
        return "other"
    if len(symbols) > MOST_TRAINED_ATOMS:
        return "large"
    digest = hashlib.sha256(f"held-out {sum_formula(symbols)}".encode()).digest()
    return "held-out" if int.from_bytes(digest[:8], "big") / 2**64 < HELD_OUT else "train"


def tag(entries: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The entries with bonds, split, and whether the G2/97 set has a molecule with these bonds."""
    known = g2_skeletons()
    tagged = {}
    for name, entry in sorted(entries.items()):
        symbols = entry["symbols"]
        bonds = bonds_of(symbols, np.array(entry["positions"]) * BOHR_ANGSTROM)
        tagged[name] = entry | {
            "bonds": sorted(bonds),
            "split": split_of(symbols),
            "g2": skeleton(symbols, bonds) in known,
        }
    return tagged


def write(entries: dict[str, dict[str, Any]]) -> None:
    """Write the file, one molecule a line."""
    head = {
        "format": 2,
        "method": "GFN2-xTB",
        "recipe": "tools/build_molecules.py",
        "versions": {name: metadata.version(name) for name in ("ase", "rdkit", "tblite")},
        "units": {
            "positions": "bohr",
            "hessian": "hessian_unit hartree/bohr^2, lower triangle by rows",
        },
        "hessian_unit": HESSIAN_UNIT,
    }
    lines = [f"{json.dumps(key)}: {json.dumps(value)},\n" for key, value in head.items()]
    body = ",\n".join(
        f"{json.dumps(name)}: {json.dumps(entry, separators=(',', ':'))}"
        for name, entry in sorted(entries.items())
    )
    with atomic_path(TARGET) as temporary:
        temporary.write_text(
            "{\n" + "".join(lines) + '"molecules": {\n' + body + "\n}}\n", encoding="utf-8"
        )


def _stored() -> dict[str, dict[str, Any]]:
    if not TARGET.exists():
        return {}
    document = json.loads(TARGET.read_text(encoding="utf-8"))
    molecules: dict[str, dict[str, Any]] = document["molecules"]
    return molecules if document["format"] == 2 else {}


def _twin(entry: dict[str, Any], others: dict[str, dict[str, Any]]) -> str | None:
    for name, other in others.items():
        if sum_formula(entry["symbols"]) == sum_formula(other["symbols"]):
            one, two = _moments(entry), _moments(other)
            if np.abs(one - two).max() < TWIN * one.max():
                return name
    return None


def _moments(entry: dict[str, Any]) -> Array:
    """Moments of inertia of the most abundant isotopes, ascending."""
    mass = np.array([element(symbol).isotope_mass_da for symbol in entry["symbols"]])
    x = np.array(entry["positions"])
    square = np.einsum("a,ai,aj->ij", mass, x, x)
    moments: Array = np.linalg.eigvalsh(np.trace(square) * np.eye(3) - square)
    return moments


if __name__ == "__main__":
    sys.exit(main())
