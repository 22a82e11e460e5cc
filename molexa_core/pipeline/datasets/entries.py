"""Entries of a data set: one geometry and one combination of charges with its mean momenta.

The tables are ragged: a quantity per atom is stored flat, molecule after molecule. Atomic units.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from molexa_core.base.tables import BoolArray, IntArray


@dataclass(frozen=True)
class GeometryResult:
    """The results of the explosions of one geometry.

    Attributes:
        variation: number of the variation within its molecule.
        kind: index into `fields.VARIATION_KINDS`.
        displaced: number of displaced atoms.
        positions: (atoms, 3) bohr.
        trajectories: number of explosions that are counted.
        combinations: number of combinations of charges that occurred.
        neutral: number of explosions in which an atom stayed neutral.
        photons: mean number of photons absorbed.
        charges: (entries, atoms) of the combinations that are kept, the most frequent first.
        counts: (entries) number of explosions with this combination.
        momenta: (entries, atoms, 3) mean momenta, in the frame of the geometry.
        errors: (entries, atoms, 3) standard errors of the means.
        lost: number of explosions that are counted nowhere else
            (`base.charge_combinations.Outcomes`); `fields.NOT_COUNTED` in files of earlier
            versions, which did not count them.
    """

    variation: int
    kind: int
    displaced: int
    positions: NDArray[np.float64]
    trajectories: int
    combinations: int
    neutral: int
    photons: float
    charges: NDArray[np.int8]
    counts: IntArray
    momenta: NDArray[np.float32]
    errors: NDArray[np.float32]
    lost: int = 0


@dataclass(frozen=True)
class EntryBlock:
    """Geometries of one molecule that were computed together.

    Attributes:
        name: of the block, its file name without suffix.
        digest: of everything that the block depends on.
        molecule: name of the molecule.
        numbers: (atoms) atomic numbers.
        held_out: whether the molecule is held out in the second split.
        geometries: results of each geometry.
        splits: for each geometry, (entries) indices into `fields.SPLITS`.
    """

    name: str
    digest: str
    molecule: str
    numbers: NDArray[np.uint8]
    held_out: bool
    geometries: tuple[GeometryResult, ...]
    splits: tuple[NDArray[np.uint8], ...]

    @property
    def n_entries(self) -> int:
        """Number of entries."""
        return sum(len(item.counts) for item in self.geometries)


@dataclass(frozen=True)
class EntryTable:
    """Entries as dense arrays, molecules padded to N atoms. E entries, G geometries, M molecules.

    Attributes:
        names: (M) names of the molecules.
        held_out: (M) whether the molecule is held out in the second split.
        numbers: (E, N) atomic numbers, 0 where padded.
        charges: (E, N) charges, 0 where padded.
        momenta: (E, N, 3) mean momenta, a.u., in the frame of the positions.
        errors: (E, N, 3) standard errors of the means.
        positions: (E, N, 3) initial geometry, bohr.
        mask: (E, N) whether there is an atom.
        counts: (E) number of explosions in the means.
        molecule: (E) index into `names`.
        variation: (E) number of the variation within the molecule.
        kind: (E) index into `fields.VARIATION_KINDS`.
        geometry: (E) number of the geometry, in the order of the files.
        split: (E) index into `fields.SPLITS`.
        statistics: (G) columns of the geometries by name: `molecule`, `atoms`, `kind`,
            `displaced`, `trajectories`, `combinations`, `neutral`, `photons`, `lost`.
    """

    names: tuple[str, ...]
    held_out: BoolArray
    numbers: NDArray[np.uint8]
    charges: NDArray[np.int8]
    momenta: NDArray[np.float32]
    errors: NDArray[np.float32]
    positions: NDArray[np.float32]
    mask: BoolArray
    counts: IntArray
    molecule: NDArray[np.int32]
    variation: NDArray[np.int32]
    kind: NDArray[np.uint8]
    geometry: NDArray[np.int32]
    split: NDArray[np.uint8]
    statistics: dict[str, NDArray[Any]]

    def __len__(self) -> int:
        return len(self.counts)

    @property
    def atoms(self) -> IntArray:
        """(E) number of atoms of each entry."""
        return np.asarray(self.mask.sum(axis=1), dtype=np.int64)

    def select(self, rows: BoolArray | IntArray) -> EntryTable:
        """The entries selected by a mask or by row numbers, padded to their largest molecule."""
        mask = self.mask[rows]
        width = int(mask.sum(axis=1).max(initial=0))
        return EntryTable(
            names=self.names,
            held_out=self.held_out,
            numbers=self.numbers[rows, :width],
            charges=self.charges[rows, :width],
            momenta=self.momenta[rows, :width],
            errors=self.errors[rows, :width],
            positions=self.positions[rows, :width],
            mask=mask[:, :width],
            counts=self.counts[rows],
            molecule=self.molecule[rows],
            variation=self.variation[rows],
            kind=self.kind[rows],
            geometry=self.geometry[rows],
            split=self.split[rows],
            statistics=self.statistics,
        )


def padded(values: NDArray[Any], lengths: Sequence[int] | IntArray, width: int) -> NDArray[Any]:
    """Ragged rows, stored flat, as a dense array (rows, width, ...) padded with zeros.

    Args:
        values: (sum of lengths, ...) flat.
        lengths: (rows) elements of each row, none above `width`.
        width: of the dense array.
    """
    lengths = np.asarray(lengths, dtype=np.int64)
    mask = np.arange(width) < lengths[:, None]
    dense = np.zeros((len(lengths), width, *values.shape[1:]), dtype=values.dtype)
    dense[mask] = values
    return dense
