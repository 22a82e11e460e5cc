"""Fit of the calibrations, and their coverage on molecules that were not used in the fit.

Only coordinates that symmetry does not fix are counted. Two ions fly apart on the line through
them, three in their plane. Perpendicular to it the error is numerical rounding and inside any
interval; counting it would hide intervals that are too narrow in the other directions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from molexa_core.base.mathematics.statistics import Interval, bootstrap_mean
from molexa_core.base.tables import BoolArray, FloatArray, IntArray
from molexa_core.network.inference.interval_calibration import LEVELS, Calibration

MOST_GROUPS: Final = 6
"""Largest number of groups by predicted error, for each number of atoms."""
PER_GROUP: Final = 25
"""Smallest number of independent molecules in a group."""
FEWEST: Final = 12
"""If fewer independent molecules have a size, the next sizes are included in its fit."""
FOLDS: Final = 10
"""Number of parts of the cross-validation."""
OPEN: Final = 1e-3
"""Momentum along an axis, as a share of the largest, below which symmetry fixes its coordinates."""


@dataclass(frozen=True)
class Judged:
    """Predicted and true errors of the open coordinates of molecules of one size.

    Attributes:
        errors: (n) true absolute errors, bohr.
        expected: (n) predicted ones.
        cluster: (n) coordinates with the same number are not independent.
    """

    errors: FloatArray
    expected: FloatArray
    cluster: IntArray

    @property
    def clusters(self) -> int:
        """Number of independent molecules."""
        return len(np.unique(self.cluster))

    def where(self, rows: BoolArray) -> Judged:
        """Some of the coordinates."""
        return Judged(self.errors[rows], self.expected[rows], self.cluster[rows])


def judged(
    errors: FloatArray, expected: FloatArray, momenta: FloatArray, cluster: IntArray
) -> Judged:
    """Errors of molecules of one size, without coordinates that symmetry fixes.

    Args:
        errors: (B, N, 3) true absolute errors in the model frame, bohr.
        expected: (B, N, 3) predicted ones.
        momenta: (B, N, 3) in the model frame.
        cluster: (B) molecules with the same number are not independent.
    """
    counted = open_coordinates(momenta)
    numbers = np.broadcast_to(cluster[:, None, None], counted.shape)
    return Judged(errors[counted], expected[counted], numbers[counted])


def open_coordinates(momenta: FloatArray) -> BoolArray:
    """(B, N, 3) which coordinates symmetry does not fix; momenta (B, N, 3) in the model frame."""
    along = np.abs(momenta).max(axis=1, keepdims=True)
    return np.broadcast_to(along > OPEN * along.max(axis=2, keepdims=True), momenta.shape)


def fit_calibration(
    sizes: Mapping[int, Judged], *, bin_width: float, data: str, molecules: int | None = None
) -> Calibration:
    """Fit the factors on molecules that the network was not trained on.

    Args:
        sizes: errors by number of atoms.
        bin_width: width of the bins of the network's error estimate, bohr.
        data: description of the molecules for the reader.
        molecules: their number for the reader; the number of clusters if not given.

    Returns:
        Factors by number of atoms and group. A size with few independent molecules is fitted
        together with the next ones.
    """
    floor = bin_width / math.sqrt(12.0)
    edges, factors = {}, {}
    for atoms in sorted(sizes):
        pool = _pool(sizes, atoms)
        expected = np.concatenate([one.expected for one in pool])
        errors = np.concatenate([one.errors for one in pool])
        count = sum(one.clusters for one in pool)
        groups = min(MOST_GROUPS, max(1, count // PER_GROUP))
        inner = np.quantile(expected, np.arange(1, groups) / groups)
        # Equal predictions would leave a group empty.
        inner = np.unique(inner[inner < expected.max()])
        group = np.searchsorted(inner, expected)
        ratios = errors / np.maximum(expected, floor)
        edges[atoms] = inner
        factors[atoms] = np.array([_quantiles(ratios[group == k]) for k in range(len(inner) + 1)])
    total = sum(one.clusters for one in sizes.values()) if molecules is None else molecules
    return Calibration(floor, edges, factors, total, data)


def cross_fitted_coverage(
    sizes: Mapping[int, Judged], *, bin_width: float, seed: int = 0
) -> dict[str, list[Interval]]:
    """Share of the coordinates inside their intervals, by cross-validation.

    Clusters are distributed at random over `FOLDS` parts; each part is tested with the factors
    that are fitted on all others, that is, on nine tenths of the molecules.

    Args:
        sizes: errors by number of atoms.
        bin_width: width of the bins of the network's error estimate, bohr.
        seed: of the parts and of the bootstrap.

    Returns:
        By number of atoms and `all`, for each level: the share and its 95 % interval from a
        bootstrap over clusters. Empty for a single cluster, which leaves nothing for the fit.
    """
    if sum(one.clusters for one in sizes.values()) < 2:
        return {}
    parts = _parts(sizes, seed)
    inside = {atoms: np.empty((len(LEVELS), len(one.errors))) for atoms, one in sizes.items()}
    for part in range(FOLDS):
        left = {atoms: one.where(parts[atoms] != part) for atoms, one in sizes.items()}
        left = {atoms: one for atoms, one in left.items() if len(one.errors)}
        fitted = fit_calibration(left, bin_width=bin_width, data="")
        for atoms, one in sizes.items():
            rows = parts[atoms] == part
            for place, level in enumerate(LEVELS):
                widths = fitted.scaled(one.expected[rows], atoms, level)
                inside[atoms][place, rows] = one.errors[rows] <= widths
    found = {
        str(atoms): [bootstrap_mean(row, sizes[atoms].cluster, seed=seed) for row in inside[atoms]]
        for atoms in sorted(sizes)
    }
    order = sorted(sizes)
    # Clusters are numbered within a size: make the numbers unique across sizes.
    cluster = np.concatenate([sizes[atoms].cluster * 64 + atoms for atoms in order])
    every = np.concatenate([inside[atoms] for atoms in order], axis=1)
    return {**found, "all": [bootstrap_mean(row, cluster, seed=seed) for row in every]}


def _pool(sizes: Mapping[int, Judged], atoms: int) -> list[Judged]:
    """The molecules of this size and, if they are few, of the next ones."""
    pool: list[Judged] = []
    for other in sorted(sizes, key=lambda n: (abs(n - atoms), n)):
        pool.append(sizes[other])
        if sum(one.clusters for one in pool) >= FEWEST:
            break
    return pool


def _parts(sizes: Mapping[int, Judged], seed: int) -> dict[int, IntArray]:
    """Part of each coordinate; clusters are assigned in turn, so that no part holds all of them."""
    parts, before = {}, 0
    for atoms, one in sizes.items():
        names, place = np.unique(one.cluster, return_inverse=True)
        shuffled = np.random.default_rng([seed, atoms]).permutation(len(names))
        parts[atoms] = (before + shuffled[place]) % FOLDS
        before += len(names)
    return parts


def _quantiles(ratios: FloatArray) -> list[float]:
    """Conformal quantiles: the (n + 1) level-th smallest of n ratios, rounded up."""
    ordered = np.sort(ratios)
    count = len(ordered)
    return [
        float(ordered[min(math.ceil((count + 1) * level), count) - 1]) if count else 1.0
        for level in LEVELS
    ]
