"""Build `molexa_core/physics/data/molecules.json`: equilibrium geometries and Hessians.

Recipe: a start geometry from RDKit (ETKDG), relaxed with GFN2-xTB (tblite) by BFGS until the
largest force is below 1e-5 eV/angstrom; the Hessian by central differences of the analytic forces
(step 0.005 angstrom, SCF accuracy 0.01), symmetrised, with translations and rotations projected
out. GFN2-xTB: C. Bannwarth, S. Ehlert, S. Grimme, J. Chem. Theory Comput. 15, 1652 (2019).

Needs the extra `molecules` (ase, rdkit, tblite). Run from the repository: python
tools/build_molecules.py
"""

from __future__ import annotations

import json
import re
import sys
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import numpy as np
from ase import Atoms
from ase.optimize import BFGS
from numpy.typing import NDArray
from rdkit import Chem
from rdkit.Chem import AllChem, rdMolTransforms
from tblite.ase import TBLite

from molexa_core.base.elements import element
from molexa_core.base.units import BOHR_ANGSTROM, HARTREE_EV
from molexa_core.physics.vibrations import normal_modes, rigid_motions

TARGET: Final = Path(__file__).parent.parent / "molexa_core/physics/data/molecules.json"
STEP_ANGSTROM: Final = 0.005
LARGEST_FORCE: Final = 1e-5
SMILES: Final = {
    "acetaldehyde": "CC=O",
    "acetonitrile": "CC#N",
    "acetylene": "C#C",
    "allene": "C=C=C",
    "ammonia": "N",
    "carbon_disulfide": "S=C=S",
    "carbon_monoxide": "[C-]#[O+]",
    "ccl4": "ClC(Cl)(Cl)Cl",
    "cf4": "FC(F)(F)F",
    "ch2cl2": "ClCCl",
    "ch2f2": "FCF",
    "ch3cl": "CCl",
    "ch3f": "CF",
    "chcl3": "ClC(Cl)Cl",
    "chf3": "FC(F)F",
    "chlorine": "ClCl",
    "co2": "O=C=O",
    "cyanogen": "N#CC#N",
    "cyclopropane": "C1CC1",
    "dimethyl_ether": "COC",
    "ethane": "CC",
    "ethanol": "CCO",
    "ethylene": "C=C",
    "ethylene_oxide": "C1CO1",
    "formaldehyde": "C=O",
    "formamide": "NC=O",
    "formic_acid": "OC=O",
    "furan": "c1ccoc1",
    "glyoxal": "O=CC=O",
    "h2o2": "OO",
    "h2s": "S",
    "hcl": "Cl",
    "hcn": "C#N",
    "hydrazine": "NN",
    "hydrogen": "[H][H]",
    "hydrogen_fluoride": "F",
    "isocyanic_acid": "N=C=O",
    "ketene": "C=C=O",
    "methane": "C",
    "methanethiol": "CS",
    "methanol": "CO",
    "methylamine": "CN",
    "n2o": "[N-]=[N+]=O",
    "nf3": "FN(F)F",
    "nitrogen": "N#N",
    "ocs": "O=C=S",
    "pcl3": "ClP(Cl)Cl",
    "pf3": "FP(F)F",
    "ph3": "P",
    "propene": "CC=C",
    "propyne": "CC#C",
    "sf6": "FS(F)(F)(F)(F)F",
    "sicl4": "Cl[Si](Cl)(Cl)Cl",
    "sif4": "F[Si](F)(F)F",
    "silane": "[SiH4]",
    "so2": "O=S=O",
    "tetrafluoroethylene": "FC(F)=C(F)F",
    "water": "O",
}
DIHEDRALS: Final = {
    # The trans conformer: lower than gauche in a cold jet, and the reference structure of the
    # published reconstruction. GFN2-xTB from a random start ends in either.
    "ethanol": ((0, 1, 2, 8), 180.0),
}
"""Dihedral angles of start geometries, degrees, where a molecule has several minima."""

Array = NDArray[np.float64]


def main() -> int:
    """Build all molecules and write the file."""
    molecules = {name: build(name, smiles) for name, smiles in sorted(SMILES.items())}
    document = {
        "format": 1,
        "method": "GFN2-xTB",
        "recipe": "tools/build_molecules.py",
        "versions": {name: metadata.version(name) for name in ("ase", "rdkit", "tblite")},
        "units": {"positions": "bohr", "hessian": "hartree/bohr^2, lower triangle by rows"},
        "molecules": molecules,
    }
    lines = json.dumps(document, indent=1)
    TARGET.write_text(_compact(lines) + "\n", encoding="utf-8")
    print(f"{len(molecules)} molecules, {TARGET.stat().st_size / 1024:.0f} KiB")
    return 0


def build(name: str, smiles: str) -> dict[str, Any]:
    """The entry of one molecule."""
    atoms = relaxed(start(name, smiles))
    symbols = tuple(atoms.get_chemical_symbols())
    mass = np.array([element(symbol).isotope_mass for symbol in symbols])
    positions = atoms.get_positions() / BOHR_ANGSTROM
    positions -= mass @ positions / mass.sum()
    rigid = rigid_motions(positions, np.ones(len(symbols)))
    project = np.eye(positions.size) - rigid @ rigid.T
    hessian = project @ differences(atoms) @ project
    modes = normal_modes(positions, mass, hessian)
    print(f"{name:20s} {len(symbols)} atoms, {modes.wavenumber_cm.round(0)} /cm", flush=True)
    lower = hessian[np.tril_indices(positions.size)]
    return {
        "smiles": smiles,
        "symbols": list(symbols),
        "positions": positions.round(8).tolist(),
        "hessian": [float(f"{value:.7g}") if abs(value) > 1e-9 else 0 for value in lower],
    }


def start(name: str, smiles: str) -> Atoms:
    """A start geometry."""
    molecule = Chem.AddHs(Chem.MolFromSmiles(smiles))
    if AllChem.EmbedMolecule(molecule, randomSeed=7) != 0:
        message = f"no start geometry for {smiles}"
        raise RuntimeError(message)
    symbols = [atom.GetSymbol() for atom in molecule.GetAtoms()]
    if name in DIHEDRALS:
        atoms, degrees = DIHEDRALS[name]
        rdMolTransforms.SetDihedralDeg(molecule.GetConformer(), *atoms, degrees)
    positions = molecule.GetConformer().GetPositions()
    # A small push off the symmetric start keeps the search from stopping at a saddle point.
    push = np.random.default_rng(7).normal(scale=0.03, size=positions.shape)
    return Atoms(symbols, positions=positions + push)


def relaxed(atoms: Atoms) -> Atoms:
    """The molecule at its minimum."""
    atoms.calc = TBLite(method="GFN2-xTB", accuracy=0.01, verbosity=0)
    if not BFGS(atoms, logfile=None).run(fmax=LARGEST_FORCE, steps=1000):
        message = f"{atoms.get_chemical_formula()} did not relax"
        raise RuntimeError(message)
    return atoms


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


def _compact(text: str) -> str:
    """JSON with the innermost lists on one line each."""
    return re.sub(
        r"\[\s+([^\[\]{}]*?)\s+\]",
        lambda match: "[" + " ".join(match[1].split()) + "]",
        text,
    )


if __name__ == "__main__":
    sys.exit(main())
