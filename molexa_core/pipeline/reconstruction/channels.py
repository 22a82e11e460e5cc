"""Reconstruct: several channels of one molecule, with the atoms in one order."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations, product
from typing import Final

import numpy as np

from molexa_core.base.errors import UsageError
from molexa_core.base.matter.elements import sum_formula
from molexa_core.base.matter.ions import Ion
from molexa_core.base.tables import FloatArray, ion_labels
from molexa_core.physics.family.family import Family, Fragments
from molexa_core.pipeline.inversion.posterior import MeasuredChannel
from molexa_core.pipeline.inversion.residuals import turns_onto

LEAST_ERROR: Final = 1e-3
"""Smallest error of a momentum component, as a share of the rms momentum of the channel."""
CLEAR: Final = 1e-4
"""Difference of misfits, as a share of the momenta, from which one assignment is the better one."""
MOST_ORDERS: Final = 5040
"""Most assignments of like atoms that are tried."""


@dataclass(frozen=True)
class ChannelMomenta:
    """Mean momenta of one channel as they were read and checked.

    Attributes:
        name: of the file, for messages.
        ions: (N) atomic ions.
        momenta: (N, 3) a.u. with sum zero.
        errors: (N, 3) standard errors; None if not known.
    """

    name: str
    ions: tuple[Ion, ...]
    momenta: FloatArray
    errors: FloatArray | None

    @property
    def symbols(self) -> tuple[str, ...]:
        """Element of each ion."""
        return tuple(ion.element.symbol for ion in self.ions)

    def ordered(self, order: Sequence[int]) -> ChannelMomenta:
        """The same with the ions in another order."""
        rows = list(order)
        errors = None if self.errors is None else self.errors[rows]
        return ChannelMomenta(
            self.name, tuple(self.ions[row] for row in rows), self.momenta[rows], errors
        )

    def measured(self) -> MeasuredChannel:
        """With the covariance of the momenta: independent, and not below `LEAST_ERROR`."""
        least = LEAST_ERROR * float(np.sqrt((self.momenta**2).mean()))
        errors = np.zeros_like(self.momenta) if self.errors is None else self.errors
        variance = errors**2 + least**2
        return MeasuredChannel(Fragments.of(self.ions), self.momenta, np.diag(variance.ravel()))


def require_same_atoms(first: ChannelMomenta, other: ChannelMomenta) -> None:
    """Check that two channels are of one molecule.

    Raises:
        UsageError: they have different atoms.
    """
    if Counter(first.symbols) != Counter(other.symbols):
        raise UsageError(
            f"the ions of {other.name} are those of {sum_formula(other.symbols)}, the ions of "
            f"{first.name} those of {sum_formula(first.symbols)}",
            do="Name channels of one molecule.",
        )


def in_order(first: ChannelMomenta, other: ChannelMomenta) -> ChannelMomenta:
    """Another channel with its atoms in the order of the first; like atoms as they come.

    Raises:
        UsageError: they have different atoms.
    """
    require_same_atoms(first, other)
    left: dict[str, list[int]] = {}
    for row, symbol in enumerate(other.symbols):
        left.setdefault(symbol, []).append(row)
    return other.ordered([left[symbol].pop(0) for symbol in first.symbols])


def labels_in(channel: ChannelMomenta, order: Sequence[int]) -> list[str]:
    """The labels that the ions of a channel have in its own order, in another order."""
    labels = ion_labels(list(channel.ions))
    return [labels[row] for row in order]


def best_order(
    positions: FloatArray, family: Family, parameters: FloatArray, other: ChannelMomenta
) -> tuple[tuple[int, ...], float]:
    """The assignment of the ions of a channel to the atoms of a structure that fits it best.

    Ions of one element change places; the momenta of the structure are turned onto those measured.

    Args:
        positions: (N, 3) bohr.
        family: that explodes it.
        parameters: (P) coordinates.
        other: the channel, its elements in the order of the positions.

    Returns:
        The order, and the rms misfit over the rms momentum.
    """
    best: tuple[tuple[int, ...], float] = (tuple(range(len(other.ions))), math.inf)
    known: dict[tuple[str, ...], FloatArray] = {}
    for order in _orders(other):
        moved = other.ordered(order)
        names = tuple(str(ion) for ion in moved.ions)
        if names not in known:
            known[names] = family.explode(
                Fragments.of(moved.ions), positions[None], parameters[None]
            )
        exploded = known[names]
        if not np.isfinite(exploded).all():
            continue
        turned = exploded @ np.swapaxes(turns_onto(moved.momenta, exploded), 1, 2)
        misfit = float(np.sqrt(((turned - moved.momenta) ** 2).sum() / (moved.momenta**2).sum()))
        if misfit < best[1] - CLEAR:
            best = (order, misfit)
    return best


def _orders(channel: ChannelMomenta) -> Iterator[tuple[int, ...]]:
    """The orders in which ions of one element change places, the given one first."""
    groups: dict[str, list[int]] = {}
    for row, symbol in enumerate(channel.symbols):
        groups.setdefault(symbol, []).append(row)
    count = math.prod(math.factorial(len(rows)) for rows in groups.values())
    if count > MOST_ORDERS:
        yield tuple(range(len(channel.ions)))
        return
    for chosen in product(*(permutations(rows) for rows in groups.values())):
        order = [0] * len(channel.ions)
        for rows, moved in zip(groups.values(), chosen, strict=True):
            for row, to in zip(rows, moved, strict=True):
                order[row] = to
        yield tuple(order)
