"""Charge combinations: number of trajectories and sums of the momenta of each combination.

Momenta are summed as integers, in units of 1/1024 a.u. (a thousandth of the resolution of a
detector). Sums are then exact and independent of how trajectories are divided into chunks and of
the order in which chunks are merged. Invalid trajectories (`Trajectories.lost`) are counted, but
belong to no combination, distribution or sum.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from molexa_core.base.errors import ComputationError, NoEventsError, UsageError, listing
from molexa_core.base.matter.elements import ELEMENTS
from molexa_core.base.tables import FloatArray
from molexa_core.base.units import HARTREE_EV
from molexa_core.physics.mcmd.trajectories import Trajectories

UNIT: Final = 1.0 / 1024.0
"""Unit of momentum in the sums, a.u."""
KER_BIN: Final = 1.0 / HARTREE_EV
"""Width of the bins of the kinetic energy release: 1 eV, in hartree."""
PRODUCTS: Final = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))
"""Axes of the products in `squares`."""
_LARGEST_SUM: Final = 2.0**62
NEAREST: Final = 5
"""Number of combinations named in a message."""


@dataclass(frozen=True)
class Combinations:
    """The final charges and momenta of a set of trajectories. c combinations, n atoms.

    Attributes:
        symbols: element of each atom.
        mass: (n) masses of the neutral atoms, electron masses.
        charges: (c, n) int8, each combination once: the most frequent first, equally frequent
            ones by their charges.
        count: (c) number of trajectories that ended in it.
        sums: (c, n, 3) sums of the momenta, in `UNIT`.
        squares: (c, n, 6) sums of the products xx, xy, xz, yy, yz, zz, in `UNIT`^2.
        largest: largest component of a momentum, in `UNIT`.
        charge_states: (n, Z + 1) number of trajectories by charge of each atom; Z is that of the
            heaviest atom.
        ker: (b) number of trajectories by kinetic energy release, bins of `KER_BIN` from 0.
        photons: (m) number of trajectories by number of absorbed photons, from 0.
        lost: number of trajectories that are excluded from all of these.
    """

    symbols: tuple[str, ...]
    mass: FloatArray
    charges: NDArray[np.int8]
    count: NDArray[np.int64]
    sums: NDArray[np.int64]
    squares: NDArray[np.int64]
    largest: int
    charge_states: NDArray[np.int64]
    ker: NDArray[np.int64]
    photons: NDArray[np.int64]
    lost: int = 0

    def __len__(self) -> int:
        """Number of combinations that occurred."""
        return len(self.count)

    @property
    def total(self) -> int:
        """Number of trajectories without the lost ones."""
        return int(self.count.sum())

    @property
    def mean(self) -> FloatArray:
        """(c, n, 3) mean momenta, a.u."""
        values: FloatArray = self.sums * UNIT / self.count[:, None, None]
        return values

    @property
    def covariance(self) -> FloatArray:
        """(c, n, 3, 3) covariance of the momentum of each ion, a.u.^2, over the trajectories."""
        mean, count = self.mean, self.count[:, None]
        result = np.empty((*mean.shape, 3))
        for place, (i, j) in enumerate(PRODUCTS):
            product = self.squares[..., place] * UNIT**2 / count - mean[..., i] * mean[..., j]
            result[..., i, j] = result[..., j, i] = product
        return result

    @property
    def spread(self) -> FloatArray:
        """(c, n, 3) standard deviations of the components, a.u."""
        variance: FloatArray = np.diagonal(self.covariance, axis1=-2, axis2=-1)
        values: FloatArray = np.sqrt(np.maximum(variance, 0.0))
        return values

    @property
    def ker_edges(self) -> FloatArray:
        """(b + 1) edges of the bins of `ker`, hartree."""
        return np.arange(len(self.ker) + 1, dtype=np.float64) * KER_BIN

    def names(self, row: int) -> str:
        """One combination as text, such as `O2+,H+,H+`; neutral atoms without a sign."""
        return combination_text(self.symbols, self.charges[row])

    def find(self, charges: Sequence[int]) -> int:
        """The row of a combination.

        Raises:
            UsageError: the charges do not fit the atoms.
            NoEventsError: it did not occur; the message names those that did, most similar first.
        """
        wanted = _require_possible(self.symbols, charges)
        rows = np.flatnonzero((self.charges == wanted).all(axis=1))
        if len(rows):
            return int(rows[0])
        distance = np.abs(self.charges.astype(int) - wanted).sum(axis=1)
        near = np.lexsort((-self.count, distance))[:NEAREST]
        found = listing([f"{self.names(row)} ({self.count[row]} times)" for row in near])
        raise NoEventsError(
            f"{combination_text(self.symbols, wanted)} did not occur in {self.total} trajectories",
            do=f"{len(self)} combinations did, the nearest: {found}.",
        )

    def at_least(self, count: int) -> Combinations:
        """Only combinations that occurred at least `count` times; distributions are not changed."""
        keep = self.count >= count
        return self.rows(keep)

    def rows(self, which: NDArray[Any]) -> Combinations:
        """These rows, by number or mask, in this order."""
        names = ("charges", "count", "sums", "squares")
        return replace(self, **{name: getattr(self, name)[which] for name in names})


def combination_text(symbols: Sequence[str], charges: Iterable[int]) -> str:
    """Charges as text, such as `O2+,H+,H`: an atom that stayed neutral has no sign.

    Example:
        >>> combination_text(("O", "H"), (2, 0))
        'O2+,H'
    """
    ends = ("", "+")
    return ",".join(
        symbol + (ends[charge] if charge < 2 else f"{charge}+")
        for symbol, charge in zip(symbols, (int(value) for value in charges), strict=True)
    )


def combine(trajectories: Trajectories, geometry: int | None = None) -> Combinations:
    """Sort trajectories by combination of the final charges.

    Args:
        trajectories: the trajectories.
        geometry: use only trajectories of this geometry; all if not given.

    Raises:
        ComputationError: momenta too large to be summed.
    """
    some = slice(None) if geometry is None else slice(geometry, geometry + 1)
    n = len(trajectories.symbols)
    lost = trajectories.lost[some].ravel()
    charges = trajectories.charges[some].reshape(-1, n)[~lost]
    momenta = trajectories.momenta[some].reshape(-1, n, 3)[~lost].astype(np.float64)
    kinetic = (momenta**2).sum(-1) / (2.0 * (trajectories.mass - charges))
    momenta = np.rint(momenta / UNIT).astype(np.int64)
    # Sort by charges, then sum consecutive equal rows: one pass, integers.
    order = np.lexsort(charges.T[::-1])
    charges, momenta = charges[order], momenta[order]
    new = np.ones(len(charges), dtype=bool)
    new[1:] = (charges[1:] != charges[:-1]).any(axis=1)
    begin = np.flatnonzero(new)
    count = np.diff(np.append(begin, len(charges)))
    products = np.stack([momenta[..., i] * momenta[..., j] for i, j in PRODUCTS], axis=-1)
    numbers = max(ELEMENTS[symbol].number for symbol in trajectories.symbols)
    states = np.zeros((n, numbers + 1), dtype=np.int64)
    for atom in range(n):
        states[atom] = np.bincount(charges[:, atom], minlength=numbers + 1)
    squares = np.empty((len(begin), n, len(PRODUCTS)), dtype=np.int64)
    sums = np.empty((len(begin), n, 3), dtype=np.int64)
    if len(begin):  # nothing to sum if all were lost
        require_room(np.add.reduceat(momenta.astype(np.float64) ** 2, begin), len(charges))
        sums, squares = np.add.reduceat(momenta, begin), np.add.reduceat(products, begin)
    parts = Combinations(
        symbols=trajectories.symbols,
        mass=trajectories.mass,
        charges=charges[begin],
        count=count,
        sums=sums,
        squares=squares,
        largest=int(np.abs(momenta).max(initial=0)),
        charge_states=states,
        ker=np.bincount((kinetic.sum(axis=1) / KER_BIN).astype(np.int64)),
        photons=np.bincount(trajectories.photons[some].ravel()[~lost]),
        lost=int(lost.sum()),
    )
    return by_count(parts)


def merge(parts: Sequence[Combinations]) -> Combinations:
    """Merge the combinations of chunks of trajectories of one molecule; exact, in any order.

    Raises:
        UsageError: no chunks, or chunks of different molecules.
        ComputationError: too many trajectories for exact sums.
    """
    if not parts:
        raise UsageError("no combinations to merge", do="Give at least one chunk.")
    first = parts[0]
    for part in parts[1:]:
        if part.symbols != first.symbols or not np.array_equal(part.mass, first.mass):
            raise UsageError("combinations of different molecules cannot be merged")
    charges = np.concatenate([part.charges for part in parts])
    unique, where = np.unique(charges, axis=0, return_inverse=True)
    where = where.reshape(-1)

    def gathered(name: str) -> NDArray[np.int64]:
        values = np.concatenate([getattr(part, name) for part in parts])
        total = np.zeros((len(unique), *values.shape[1:]), dtype=np.int64)
        np.add.at(total, where, values)
        return total

    diagonal = [place for place, (i, j) in enumerate(PRODUCTS) if i == j]
    bound = np.zeros((len(unique), len(first.symbols), len(diagonal)))
    every = np.concatenate([part.squares for part in parts])
    np.add.at(bound, where, every[..., diagonal].astype(np.float64))
    require_room(bound, sum(part.total for part in parts))
    return by_count(
        Combinations(
            symbols=first.symbols,
            mass=first.mass,
            charges=unique,
            count=gathered("count"),
            sums=gathered("sums"),
            squares=gathered("squares"),
            largest=max(part.largest for part in parts),
            charge_states=np.sum([part.charge_states for part in parts], axis=0),
            ker=_padded_sum([part.ker for part in parts]),
            photons=_padded_sum([part.photons for part in parts]),
            lost=sum(part.lost for part in parts),
        )
    )


def by_count(parts: Combinations) -> Combinations:
    """The combinations sorted by count, the most frequent first."""
    order = np.lexsort((*parts.charges.T[::-1], -parts.count))
    return parts.rows(order)


def _padded_sum(parts: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    total = np.zeros(max(len(part) for part in parts), dtype=np.int64)
    for part in parts:
        total[: len(part)] += part
    return total


def require_room(squares: FloatArray, trajectories: int) -> None:
    """Check that sums of products of momenta stay exact.

    Args:
        squares: sums of the squares of components, in `UNIT`^2, rounded: no sum of products of
            different components is larger, and no sum of components.
        trajectories: their number, for the message.

    Raises:
        ComputationError: the sums may overflow.
    """
    largest = float(squares.max(initial=0.0))
    if largest >= _LARGEST_SUM:
        raise ComputationError(
            f"the squared momenta of {trajectories} trajectories, {largest * UNIT**2:.3g} a.u. in "
            "all, cannot be summed exactly",
            do="Use fewer trajectories at a time.",
        )


def _require_possible(symbols: Sequence[str], charges: Sequence[int]) -> NDArray[np.int64]:
    if len(charges) != len(symbols):
        raise UsageError(
            f"{len(charges)} charges for {len(symbols)} atoms",
            do=f"Give one for each of {','.join(symbols)}.",
        )
    for symbol, charge in zip(symbols, charges, strict=True):
        number = ELEMENTS[symbol].number
        if not 0 <= charge <= number:
            raise UsageError(
                f"{symbol} cannot have the charge {charge}", do=f"It has {number} electrons."
            )
    return np.asarray(charges, dtype=np.int64)
