"""The list of molecules in `molecules.txt` and their start geometries, for `build_molecules.py`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from ase import Atoms
from ase.data.g2 import data as g2_data
from numpy.typing import NDArray
from rdkit import Chem, RDLogger
from rdkit.Chem import AllChem, rdMolTransforms

from molexa_core.base.matter.elements import element

LIST: Final = Path(__file__).parent / "molecules.txt"
BOND: Final = 1.3
"""Atoms closer than this many sums of their covalent radii are bonded."""
SEEDS: Final = (7, 8, 9, 10, 11)
"""Seeds of the starts; molecules without a bond to turn about get the first only."""
PUSH_ANGSTROM: Final = 0.03
"""A small push off the symmetric start keeps the search from stopping at a saddle point."""
SHAPES: Final = {
    "T": [(1, 0, 0), (0, 0, 1), (0, 0, -1)],
    "seesaw": [(0.5, 0.87, 0), (0.5, -0.87, 0), (0, 0, 1), (0, 0, -1)],
    "tetrahedron": [(1, 1, 1), (1, -1, -1), (-1, 1, -1), (-1, -1, 1)],
    "pyramid": [(0, 0, 1), (1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0)],
    "bipyramid": [(1, 0, 0), (-0.5, 0.87, 0), (-0.5, -0.87, 0), (0, 0, 1), (0, 0, -1)],
    "octahedron": [(1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1)],
}
"""Directions of ligands around one centre, in the order of the SMILES, which RDKit cannot do."""

RDLogger.DisableLog("rdApp.*")

Bonds = frozenset[tuple[int, int]]


@dataclass(frozen=True)
class Listed:
    """One line of the list.

    Attributes:
        name: its name.
        smiles: its bonds.
        aliases: other names.
        options: `spin`, `start`, `dihedral`.
        graph: the molecule with hydrogens (RDKit).
    """

    name: str
    smiles: str
    aliases: tuple[str, ...]
    options: dict[str, str]
    graph: Any

    @property
    def recipe(self) -> str:
        """What the geometry depends on: SMILES and options."""
        return " ".join([f"{key}={value}" for key, value in self.options.items()] + [self.smiles])

    @property
    def unpaired(self) -> int:
        """Number of unpaired electrons."""
        if "spin" in self.options:
            return int(self.options["spin"])
        return sum(atom.GetNumRadicalElectrons() for atom in self.graph.GetAtoms())

    @property
    def symbols(self) -> list[str]:
        """Elements in the order of the SMILES, hydrogens last."""
        return [atom.GetSymbol() for atom in self.graph.GetAtoms()]

    @property
    def bonds(self) -> Bonds:
        """Pairs of bonded atoms."""
        pairs = ((b.GetBeginAtomIdx(), b.GetEndAtomIdx()) for b in self.graph.GetBonds())
        return frozenset((min(pair), max(pair)) for pair in pairs)


def read_list(path: Path = LIST) -> list[Listed]:
    """The molecules of the list, in its order.

    Raises:
        ValueError: a name twice, or a SMILES that cannot be read.
    """
    found: list[Listed] = []
    taken: set[str] = set()
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        name, *rest = line.split()
        options = {}
        while rest[0].split("=")[0] in {"spin", "start", "dihedral"}:
            key, _, value = rest.pop(0).partition("=")
            options[key] = value
        smiles, *aliases = rest
        keys = {text.lower().replace("_", "").replace("-", "") for text in (name, *aliases)}
        if taken & keys:
            message = f"named twice: {taken & keys}"
            raise ValueError(message)
        taken |= keys
        found.append(Listed(name, smiles, tuple(aliases), options, _graph(smiles)))
    return found


def starts(item: Listed) -> list[Atoms]:
    """Start geometries.

    Raises:
        RuntimeError: there is none.
    """
    if "start" in item.options:
        return [_pushed(item.symbols, _shaped(item))]
    found = []
    for seed in SEEDS if _turns(item) else SEEDS[:1]:
        graph = Chem.Mol(item.graph)
        failed = AllChem.EmbedMolecule(graph, randomSeed=seed)
        if failed and AllChem.EmbedMolecule(graph, randomSeed=seed, useRandomCoords=True):
            continue
        if "dihedral" in item.options:
            *atoms, degrees = (int(part) for part in item.options["dihedral"].split(","))
            rdMolTransforms.SetDihedralDeg(graph.GetConformer(), *atoms, float(degrees))
        found.append(_pushed(item.symbols, graph.GetConformer().GetPositions()))
    if not found:
        message = "no start geometry"
        raise RuntimeError(message)
    return found


def bonds_of(symbols: Sequence[str], positions: NDArray[np.float64]) -> Bonds:
    """Pairs of atoms closer than `BOND` sums of covalent radii; positions in angstrom."""
    radius = np.array([element(symbol).covalent_radius_angstrom for symbol in symbols])
    distance = np.linalg.norm(positions[:, None] - positions, axis=-1)
    one, two = np.nonzero(np.triu(distance < BOND * (radius[:, None] + radius), k=1))
    return frozenset(zip(one.tolist(), two.tolist(), strict=True))


def skeleton(symbols: Sequence[str], bonds: Bonds) -> str:
    """A name of the graph of atoms and bonds, whatever their order."""
    graph = Chem.RWMol()
    for symbol in symbols:
        atom = Chem.Atom(symbol)
        atom.SetNoImplicit(True)
        graph.AddAtom(atom)
    for one, two in bonds:
        graph.AddBond(one, two, Chem.BondType.SINGLE)
    return str(Chem.MolToSmiles(graph))


def g2_skeletons() -> set[str]:
    """The molecules of the G2/97 neutral test set whose elements molexa has."""
    found = set()
    for entry in g2_data.values():
        atoms = Atoms(entry["symbols"], positions=entry["positions"])
        symbols = atoms.get_chemical_symbols()
        if len(symbols) > 1:
            found.add(skeleton(symbols, bonds_of(symbols, atoms.get_positions())))
    return found


def _graph(smiles: str) -> Any:
    graph = Chem.MolFromSmiles(smiles, sanitize=False)
    if graph is None:
        message = f"cannot read the SMILES {smiles}"
        raise ValueError(message)
    try:
        Chem.SanitizeMol(graph)
    except Chem.MolSanitizeException:  # a valence that RDKit does not know, such as of ClF3
        graph.UpdatePropertyCache(strict=False)
        return graph
    return Chem.AddHs(graph)


def _turns(item: Listed) -> bool:
    """Whether a single bond outside rings has further atoms at both ends."""
    if "dihedral" in item.options:
        return False
    return any(
        bond.GetBondType() == Chem.BondType.SINGLE
        and not bond.IsInRing()
        and min(bond.GetBeginAtom().GetDegree(), bond.GetEndAtom().GetDegree()) > 1
        for bond in item.graph.GetBonds()
    )


def _shaped(item: Listed) -> NDArray[np.float64]:
    """Ligands around the atom with most of them."""
    centre = max(item.graph.GetAtoms(), key=lambda atom: atom.GetDegree())
    radius = [element(symbol).covalent_radius_angstrom for symbol in item.symbols]
    positions = np.zeros((len(radius), 3))
    neighbours = sorted(atom.GetIdx() for atom in centre.GetNeighbors())
    for index, direction in zip(neighbours, SHAPES[item.options["start"]], strict=True):
        unit = np.array(direction) / np.linalg.norm(direction)
        positions[index] = unit * (radius[index] + radius[centre.GetIdx()])
    return positions


def _pushed(symbols: Sequence[str], positions: NDArray[np.float64]) -> Atoms:
    push = np.random.default_rng(7).normal(scale=PUSH_ANGSTROM, size=positions.shape)
    return Atoms(symbols, positions=positions + push)
