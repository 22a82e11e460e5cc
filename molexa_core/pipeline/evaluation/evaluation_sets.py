"""Evaluation sets: explosions with known geometries, grouped by number of atoms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from molexa_core.base.errors import UsageError, listing
from molexa_core.base.matter.elements import BY_NUMBER
from molexa_core.base.tables import IntArray
from molexa_core.network.batch import Batch
from molexa_core.physics.coulomb.batches import explode_many
from molexa_core.physics.coulomb.build_up import ErrorFunctionRise
from molexa_core.physics.molecules.library import Molecule, molecule, molecule_names
from molexa_core.pipeline.datasets.read import read_dataset
from molexa_core.pipeline.training.stage1 import StageOneData, StageOneSource


@dataclass(frozen=True)
class Explosions:
    """Explosions of molecules of one size.

    Attributes:
        batch: with positions, no mask.
        cluster: (B) entries with the same number are not independent (other charges of the same
            geometry).
        label: (B) name of the molecule; empty if it has none.
    """

    batch: Batch
    cluster: IntArray
    label: tuple[str, ...]


def random_set(
    data: StageOneData, per_size: int, *, seed: int, device: str = "cpu"
) -> dict[int, Explosions]:
    """New random molecules from the distribution of stage 1.

    Args:
        data: the distribution.
        per_size: number of molecules for each number of atoms.
        seed: a seed different from that of the training.
        device: device of the simulation.
    """
    found = {}
    for atoms in range(data.smallest, data.largest + 1):
        settings = StageOneData(
            mixture=data.mixture,
            smallest=atoms,
            largest=atoms,
            tau_fs=data.tau_fs,
            uniform_atoms=True,
            block=1,
            accuracy=data.accuracy,
        )
        batch = StageOneSource(settings, per_size, device, seed + atoms)(0)
        found[atoms] = Explosions(batch, np.arange(per_size), ("",) * per_size)
    return found


def molecule_set(
    elements: tuple[str, ...],
    largest: int,
    tau_fs: float,
    *,
    smallest: int = 2,
    names: Sequence[str] = (),
    device: str = "cpu",
) -> dict[int, Explosions]:
    """The shipped molecules at equilibrium, all ions singly charged, exact classical momenta.

    Args:
        elements: elements that the network knows.
        largest: largest number of atoms.
        tau_fs: window of the charge build-up.
        smallest: smallest number of atoms.
        names: names of the molecules, of any size; all that fit if none is given.
        device: device of the batches.

    Raises:
        InputFileError: no such molecule (the message lists similar names).
        UsageError: a named molecule has an unknown element or only one atom.
    """
    rows: dict[int, list[Molecule]] = {}
    for one in _named_molecules(names, elements) if names else map(molecule, molecule_names()):
        symbols = one.geometry.symbols
        if names or (set(symbols) <= set(elements) and smallest <= len(symbols) <= largest):
            rows.setdefault(len(symbols), []).append(one)
    found = {}
    for atoms, items in sorted(rows.items()):
        numbers = np.array([[_number(one) for one in item.geometry.symbols] for item in items])
        positions = np.stack([item.geometry.positions for item in items])
        charges = np.ones((len(items), atoms))
        momenta = explode_many(
            positions,
            charges,
            np.stack([item.masses for item in items]),
            build_up=ErrorFunctionRise(tau_fs),
            accuracy="fine",
        )
        batch = _batch(numbers, charges, momenta, positions).to(device)
        labels = tuple(item.name for item in items)
        found[atoms] = Explosions(batch, np.arange(len(items)), labels)
    return found


def entry_set(
    folder: Path | str,
    split: str,
    *,
    by: str = "entry",
    limit: int | None = None,
    per_size: int | None = None,
    seed: int = 0,
    device: str = "cpu",
) -> dict[int, Explosions]:
    """Entries of a data set.

    Args:
        folder: folder of the data set.
        split: `train`, `validation`, `test` or `set_aside`.
        by: way of splitting, see `pipeline.datasets.read.read_dataset`.
        limit: largest number of entries, drawn at random.
        per_size: largest number of entries for each number of atoms, drawn at random.
        seed: of the draw.
        device: device of the batches.

    Raises:
        InputFileError: no such data set, or a damaged one.
        UsageError: the split has no entries.
    """
    table = read_dataset(folder, split, by=by)
    if not len(table):
        raise UsageError(
            f"the split {split!r} of {folder} has no entries", do="Choose another split."
        )
    if limit is not None and len(table) > limit:
        rows = np.random.default_rng(seed).permutation(len(table))[:limit]
        table = table.select(np.sort(rows))
    found = {}
    for atoms in np.unique(table.atoms):
        rows = np.flatnonzero(table.atoms == atoms)
        if per_size is not None and len(rows) > per_size:
            rows = np.sort(np.random.default_rng([seed, int(atoms)]).permutation(rows)[:per_size])
        part = table.select(rows)
        batch = _batch(part.numbers, part.charges, part.momenta, part.positions)
        labels = tuple(part.names[index] for index in part.molecule)
        found[int(atoms)] = Explosions(batch.to(device), part.geometry.astype(np.int64), labels)
    return found


def _named_molecules(names: Sequence[str], elements: tuple[str, ...]) -> list[Molecule]:
    found = {one.name: one for one in map(molecule, names)}
    for one in found.values():
        symbols = one.geometry.symbols
        if unknown := sorted(set(symbols) - set(elements)):
            raise UsageError(
                f"{one.name} has {listing(unknown)}, which the network does not know",
                do="Leave the molecule out, or choose other weights with `weights=`.",
            )
        if len(symbols) < 2:
            raise UsageError(f"{one.name} has one atom", do="Name molecules of two and more.")
    return list(found.values())


def _number(symbol: str) -> int:
    return next(number for number, one in BY_NUMBER.items() if one.symbol == symbol)


def _batch(
    numbers: np.ndarray, charges: np.ndarray, momenta: np.ndarray, positions: np.ndarray
) -> Batch:
    masses = np.vectorize(lambda number: BY_NUMBER[int(number)].isotope_mass)(numbers)
    return Batch(
        numbers=torch.from_numpy(numbers.astype(np.int64)),
        charges=torch.from_numpy(charges.astype(np.float32)),
        masses=torch.from_numpy(masses.astype(np.float32)),
        momenta=torch.from_numpy(momenta.astype(np.float32)),
        positions=torch.from_numpy(positions.astype(np.float32)),
    )
