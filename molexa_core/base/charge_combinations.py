"""Outcome of many explosions of one geometry: final charge combinations and their momenta."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from molexa_core.base.errors import NoEventsError, listing
from molexa_core.base.shown import Shown
from molexa_core.base.spectrum import Spectrum
from molexa_core.base.tables import FloatArray, Geometry, IntArray


@dataclass(frozen=True, repr=False)
class Outcomes(Shown):
    """Explosions of one geometry, sorted by the final charges of the atoms.

    Momenta in a.u. in the frame of the geometry. C combinations, the most frequent first.

    Attributes:
        geometry: the structure that exploded, positions in bohr.
        trajectories: number of explosions counted.
        charges: (C, atoms) final charge of each atom, in the order of the atoms.
        counts: (C) number of explosions with these final charges.
        momenta: (C, atoms, 3) mean momentum of each ion.
        covariance: (C, atoms, 3, 3) covariance of the momentum of each ion over explosions, 0
            where there is only one.
        charge_states: (atoms, charges from 0) explosions in which the atom ended with this charge.
        release: (C) mean kinetic energy release, hartree.
        release_spread: (C) its standard deviation over explosions, where it is known.
        spectra: histograms by name: the kinetic energy release of all explosions and, as far as
            they are kept, of the most frequent combinations.
        photons: mean number of photons absorbed.
        occurred: combinations that occurred, also those that were too rare to be kept.
        neutral: explosions in which an atom stayed neutral, whether kept or not.
        lost: explosions left out and counted nowhere else: ions were charged so close to each
            other that they cannot be treated as point charges.
    """

    geometry: Geometry
    trajectories: int
    charges: NDArray[np.int8]
    counts: IntArray
    momenta: FloatArray
    covariance: FloatArray
    charge_states: IntArray
    release: FloatArray
    release_spread: FloatArray | None
    spectra: dict[str, Spectrum]
    photons: float
    occurred: int
    neutral: int
    lost: int = 0

    def __len__(self) -> int:
        return len(self.counts)

    @property
    def spread(self) -> FloatArray:
        """(C, atoms, 3) standard deviation of each momentum component over explosions."""
        variance = np.diagonal(self.covariance, axis1=2, axis2=3)
        deviation: FloatArray = np.sqrt(np.maximum(variance, 0.0))
        return deviation

    @property
    def errors(self) -> FloatArray:
        """(C, atoms, 3) standard errors of the means; not a number for a single explosion."""
        root = np.sqrt(self.counts.astype(np.float64))
        error: FloatArray = self.spread / root[:, None, None]
        error[self.counts < 2] = np.nan
        return error

    def names(self, row: int) -> list[str]:
        """The ions of a combination, such as `O+`; a neutral atom is its bare symbol."""
        return ion_names(self.geometry.names, self.charges[row])

    def find(self, charges: Sequence[int]) -> int:
        """The row of a combination.

        Args:
            charges: final charge of each atom, in the order of the atoms.

        Raises:
            NoEventsError: no explosion ended with them; lists those that occurred, nearest first.
        """
        wanted = np.asarray(charges, dtype=np.int64)
        rows = np.flatnonzero((self.charges == wanted).all(axis=1))
        if len(rows):
            return int(rows[0])
        distance = np.abs(self.charges.astype(np.int64) - wanted).sum(axis=1)
        order = np.lexsort((-self.counts, distance))[:5]
        near = [f"{','.join(self.names(row))} ({self.counts[row]} times)" for row in order]
        name = ",".join(ion_names(self.geometry.names, charges))
        raise NoEventsError(
            f"none of {self.trajectories} explosions ended in {name}",
            do=f"Nearest of the {len(self)} combinations that occurred: {listing(near)}. "
            "Choose one of them, or run more trajectories.",
        )


def ion_names(atoms: Sequence[str], charges: Sequence[int] | NDArray[np.int8]) -> list[str]:
    """Ion notation of elements or isotopes with charges; a neutral atom is its bare symbol.

    Example:
        >>> ion_names(["Cl", "H", "C"], [4, 1, 0])
        ['Cl4+', 'H+', 'C']
    """
    return [
        f"{symbol}{charge if charge > 1 else ''}+" if charge else symbol
        for symbol, charge in zip(atoms, (int(charge) for charge in charges), strict=True)
    ]
