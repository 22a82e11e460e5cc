"""What is known about the geometry of a molecule before its momenta are looked at.

Atoms are joined by a tree of bonds that is not known. The length of each bond is log-normal about
the sum of the covalent radii, its direction is free, and no two atoms are inside each other's core:

    rho(x) = sum over trees prod over bonds ij of w_ij g(d_ij) / 4 pi d_ij^2 * prod over pairs c(d)

The sum over all N^(N-2) trees is a determinant (matrix-tree theorem: G. Kirchhoff, Ann. Phys. 148,
497 (1847)). So every atom has a neighbour at about the distance of a bond, the molecule holds
together, and nothing is said about angles. Weights w are alike, or how often atoms of two elements
are bonded in known molecules (`bond_weights`): rarely, not never. Without cores the density is
normalised, and it can be drawn from exactly.

`CENTRE` and `WIDTH` describe the shipped library of molecules in all its geometries (equilibrium,
zero-point motion, and one to N - 1 atoms displaced by up to 3 bohr: `physics.molecules`). The
logarithm of bond length over sum of radii there is -0.04 +- 0.07 (equilibrium), -0.03 +- 0.09
(vibrating), 0.10 +- 0.25 (displaced, 95 % between -0.24 and 0.70). The width is a fifth larger than
that of the displaced ones, so that a bond stretched to twice its length is allowed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Self

import numpy as np
from scipy.sparse.csgraph import minimum_spanning_tree

from molexa_core.base.matter.elements import element
from molexa_core.base.tables import BoolArray, FloatArray, IntArray
from molexa_core.base.units import BOHR_ANGSTROM
from molexa_core.pipeline.inversion.bond_weights import BondWeights

CENTRE: Final = 0.05
"""Mean of ln(bond length / sum of covalent radii)."""
WIDTH: Final = 0.30
"""Standard deviation of ln(bond length / sum of covalent radii)."""
FREE_WIDTH: Final = 0.60
"""The same of the scale-free prior, about a common scale."""
SCALES: Final = (0.5, 20.0)
"""Limits of the scale of the scale-free prior, sums of covalent radii; flat in its logarithm."""
CORE: Final = 0.65
"""Distance over the sum of covalent radii at which the density has fallen to 1/e; the shortest
bonds are 0.77, vibrating or displaced ones 0.75."""
TERMINAL_CORE: Final = 0.9
"""The same of two like atoms with one bond each; H2 has 1.16, F2 1.10."""
_CORE_POWER: Final = 12
TERMINAL: Final = frozenset(("H", "F"))
"""Elements that always have one bond in usual molecules."""
TERMINAL_BOND: Final = 0.05
"""Weight of a bond between two of them in a molecule of more than two atoms, relative to others."""
_GRID_STEP: Final = 0.5
"""Step of the logarithm of the scale in units of the width: with it sums are integrals to 1e-8."""


@dataclass(frozen=True)
class GeometryPrior:
    """Probability density of geometries; use `of` or `scale_free`.

    Attributes:
        symbols: element of each of the N atoms.
        width: of the logarithm of bond lengths.
        centre: mean of ln(bond length / sum of covalent radii).
        scale_width: standard deviation of the logarithm of the common scale; 0 where there is none.
        log_scales: (S) logarithms of the scales that are averaged over; one zero without.
        bonds: weights of bonds between pairs of elements; None where all are alike.
    """

    symbols: tuple[str, ...]
    centre: float
    width: float
    scale_width: float
    log_scales: FloatArray
    bonds: BondWeights | None = None

    @classmethod
    def of(
        cls,
        symbols: Sequence[str],
        *,
        centre: float = CENTRE,
        width: float = WIDTH,
        bonds: BondWeights | None = None,
    ) -> Self:
        """The prior of molecules, intact or stretched, with atoms of these elements.

        Args:
            symbols: element of each atom.
            centre: mean of ln(bond length / sum of covalent radii).
            width: standard deviation of that.
            bonds: how often atoms of two elements are bonded; all alike if not given, but of two
                that always have one bond.
        """
        return cls(tuple(symbols), centre, width, 0.0, np.zeros(1), bonds)

    @classmethod
    def scale_free(cls, symbols: Sequence[str], *, width: float = FREE_WIDTH) -> Self:
        """The prior without chemistry, for dissociating molecules: flat in the logarithm of size.

        Distances between neighbours are alike, in sums of radii, within `width`.
        """
        low, high = np.log(SCALES)
        count = int(np.ceil((high - low) / (_GRID_STEP * width))) + 1
        spread = float((high - low) / np.sqrt(12.0))
        middle = 0.5 * float(low + high)
        return cls(
            tuple(symbols), middle, width, spread, np.linspace(low - middle, high - middle, count)
        )

    @cached_property
    def pairs(self) -> IntArray:
        """(2, pairs) atoms of each pair."""
        return np.stack(np.triu_indices(len(self.symbols), k=1))

    @cached_property
    def radii_sums(self) -> FloatArray:
        """(pairs) sums of covalent radii, bohr."""
        radius = np.array([element(one).covalent_radius_angstrom for one in self.symbols])
        return np.asarray((radius[self.pairs[0]] + radius[self.pairs[1]]) / BOHR_ANGSTROM)

    @cached_property
    def both_terminal(self) -> BoolArray:
        """(pairs) whether both atoms have one bond in usual molecules."""
        ends = np.array([one in TERMINAL for one in self.symbols])
        return np.asarray(ends[self.pairs[0]] & ends[self.pairs[1]])

    @cached_property
    def log_bond_weights(self) -> FloatArray:
        """(pairs) logarithms of the weights of bonds."""
        if len(self.symbols) == 2 or self.both_terminal.all():
            return np.zeros(self.pairs.shape[1])
        if self.bonds is not None:
            return self.bonds.logarithms(self.symbols, self.pairs)
        return np.where(self.both_terminal, np.log(TERMINAL_BOND), 0.0)

    @cached_property
    def log_cores(self) -> FloatArray:
        """(pairs) logarithms of the size of cores, sums of covalent radii."""
        names = np.array(self.symbols)
        alike = names[self.pairs[0]] == names[self.pairs[1]]
        return np.log(np.where(self.both_terminal & alike, TERMINAL_CORE, CORE))

    def log_density(self, positions: FloatArray) -> FloatArray:
        """(n) ln of the density of (n, N, 3) positions in bohr, up to the volume of free atoms.

        Normalised over the positions of all atoms relative to one of them, apart from cores.
        """
        distance, _ = self._distances(positions)
        with np.errstate(all="ignore"):
            log_ratio = np.log(distance / self.radii_sums)
        bond = self._log_bond(log_ratio[:, None, :] - self.log_scales[:, None]) - np.log(
            4.0 * np.pi * distance[:, None, :] ** 3
        )
        trees = self._log_trees(bond + self.log_bond_weights)
        total = np.logaddexp.reduce(trees, axis=1) - np.log(len(self.log_scales))
        found = total - self._log_trees(self.log_bond_weights) - self._core(log_ratio).sum(axis=1)
        return np.asarray(np.where(np.isfinite(found), found, -np.inf))

    def draw(self, random: np.random.Generator, count: int) -> FloatArray:
        """(count, N, 3) geometries in bohr, centred, with random orientation."""
        found: list[FloatArray] = []
        while len(found) < count:
            x = self._one(random)
            distance, _ = self._distances(x[None])
            core = self._core(np.log(distance / self.radii_sums)).sum()
            if np.log(random.random()) < -core:
                found.append(x - x.mean(axis=0))
        return np.stack(found)

    def tree(self, positions: FloatArray) -> IntArray:
        """(N - 1) numbers of the pairs that are the most probable bonds of (N, 3) positions."""
        atoms = len(self.symbols)
        distance, _ = self._distances(positions[None])
        length = np.log(np.maximum(distance[0], 1e-6) / self.radii_sums) - self.log_bond_weights
        # Zero is no edge to the routine, and all bonds must be above it.
        graph = np.zeros((atoms, atoms))
        graph[tuple(self.pairs)] = length - length.min() + 1.0
        chosen = minimum_spanning_tree(graph).toarray()[tuple(self.pairs)]
        return np.asarray(np.flatnonzero(chosen))

    def bond_residuals(
        self, positions: FloatArray, tree: IntArray
    ) -> tuple[FloatArray, FloatArray]:
        """Logarithms of bond lengths: independent standard normal deviates if all is as believed.

        The volume that a length has, d^3 in the logarithm, is not contained: over an unknown
        explosion the derivative of momenta by positions falls about as fast, which undoes it.

        Args:
            positions: (n, N, 3) bohr.
            tree: (N - 1) numbers of the pairs that are bonds.

        Returns:
            (n, N - 1), and derivatives (n, N - 1, 3 N) by the positions.
        """
        whiten = self._whitener(len(tree))
        distance, direction = self._distances(positions)
        offset = np.log(distance[:, tree] / self.radii_sums[tree]) - self.centre
        value = offset @ whiten.T
        change = self._by_positions(direction[:, tree] / distance[:, tree, None], tree)
        return value, np.einsum("bt,ntx->nbx", whiten, change)

    def core_residuals(self, positions: FloatArray) -> tuple[FloatArray, FloatArray]:
        """(n, pairs) whose squares are -2 ln of the cores, and derivatives (n, pairs, 3 N)."""
        distance, direction = self._distances(positions)
        ratio = np.maximum(distance, 1e-3) / self.radii_sums
        half = _CORE_POWER // 2
        value = np.sqrt(2.0) * (np.exp(self.log_cores) / ratio) ** half
        slope = (-half * value / np.maximum(distance, 1e-3))[..., None] * direction
        return value, self._by_positions(slope, np.arange(len(self.radii_sums)))

    def _one(self, random: np.random.Generator) -> FloatArray:
        """One (N, 3) geometry without regard of cores."""
        atoms = len(self.symbols)
        scale = random.uniform(self.log_scales[0], self.log_scales[-1])
        weight, sums = np.zeros((atoms, atoms)), np.zeros((atoms, atoms))
        weight[tuple(self.pairs)], sums[tuple(self.pairs)] = (
            np.exp(self.log_bond_weights),
            self.radii_sums,
        )
        weight, sums = weight + weight.T, sums + sums.T
        x = np.zeros((atoms, 3))
        at, placed = 0, {0}
        # A random walk that keeps the first entrance into each atom draws trees by their weight
        # (D. Aldous, SIAM J. Discrete Math. 3, 450 (1990); A. Broder, FOCS 30, 442 (1989)).
        while len(placed) < atoms:
            to = int(random.choice(atoms, p=weight[at] / weight[at].sum()))
            if to not in placed:
                way = random.standard_normal(3)
                log_length = self.centre + scale + self.width * random.standard_normal()
                x[to] = x[at] + way / np.linalg.norm(way) * sums[at, to] * np.exp(log_length)
                placed.add(to)
            at = to
        return x

    def _distances(self, positions: FloatArray) -> tuple[FloatArray, FloatArray]:
        """(n, pairs) distances, and unit vectors (n, pairs, 3) from the second to the first."""
        apart = positions[:, self.pairs[0]] - positions[:, self.pairs[1]]
        distance = np.sqrt((apart**2).sum(axis=2))
        return distance, apart / np.maximum(distance, 1e-12)[..., None]

    def _by_positions(self, slopes: FloatArray, pairs: IntArray) -> FloatArray:
        """(n, pairs, 3 N) derivatives from those by the vector of each pair (n, pairs, 3)."""
        atoms = len(self.symbols)
        change = np.zeros((len(slopes), len(pairs), atoms, 3))
        rows = np.arange(len(pairs))
        change[:, rows, self.pairs[0][pairs]] = slopes
        change[:, rows, self.pairs[1][pairs]] = -slopes
        return change.reshape(len(slopes), len(pairs), 3 * atoms)

    def _whitener(self, bonds: int) -> FloatArray:
        covariance = self.width**2 * np.eye(bonds) + self.scale_width**2
        return np.asarray(np.linalg.inv(np.linalg.cholesky(covariance)))

    def _log_bond(self, log_ratio: FloatArray) -> FloatArray:
        """Logarithm of the normal density of the logarithm of a bond length."""
        deviate = (log_ratio - self.centre) / self.width
        return np.asarray(-0.5 * deviate**2 - np.log(self.width * np.sqrt(2.0 * np.pi)))

    def _core(self, log_ratio: FloatArray) -> FloatArray:
        with np.errstate(over="ignore"):
            return np.asarray(np.exp(_CORE_POWER * (self.log_cores - log_ratio)))

    def _log_trees(self, log_weight: FloatArray) -> FloatArray:
        """(...) ln of the sum over trees of the products of weights, from (..., pairs) their ln.

        Atoms are eliminated one by one (star-mesh transform), without differences: exact however
        unequal the weights are.
        """
        atoms = len(self.symbols)
        largest = log_weight.max(axis=-1, keepdims=True)
        w = np.zeros((*log_weight.shape[:-1], atoms, atoms))
        w[..., self.pairs[0], self.pairs[1]] = np.exp(np.maximum(log_weight - largest, -600.0))
        w = w + np.swapaxes(w, -1, -2)
        total = (atoms - 1) * largest[..., 0]
        for last in range(atoms - 1, 0, -1):
            row = w[..., last, :last]
            degree = row.sum(axis=-1)
            total = total + np.log(degree)
            w = w[..., :last, :last] + row[..., :, None] * (row / degree[..., None])[..., None, :]
            w[..., np.arange(last), np.arange(last)] = 0.0
        return np.asarray(total)
