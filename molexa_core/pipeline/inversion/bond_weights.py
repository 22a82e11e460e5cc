"""How often atoms of two elements are bonded, as weights of bonds in the prior of geometries.

The prior joins atoms by a tree of bonds whose weight is the product of weights of its bonds
(`geometry_prior`). Of given molecules, the trees of shortest links are looked at, lengths in sums
of covalent radii. The weight w of each pair of elements makes these trees most probable, with a
gamma distribution of mean one and shape `FEW` before:

    w = (bonds seen + FEW) / (expected bonds / w + FEW),

where the expected number of bonds is the sum over pairs of w times the resistance between both
atoms in a net of conductances w (G. Kirchhoff, Ann. Phys. 148, 497 (1847)). A pair of elements that
no molecule holds has weight one; one that is often there and never bonded a small one, not zero.
The logarithms are multiplied by `POWER`: what is rare among molecules at rest is less rare among
what explodes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from typing import Final

import numpy as np
from scipy.sparse.csgraph import minimum_spanning_tree

from molexa_core.base.matter.elements import element
from molexa_core.base.tables import FloatArray, Geometry, IntArray
from molexa_core.physics.molecules.library import molecules

Pair = tuple[str, str]
FEW: Final = 0.5
"""Shape of the distribution of weights before: as if so many bonds had been seen of each kind."""
POWER: Final = 0.5
"""Power of the weights; see docs/error-bars-tested.md for what was measured."""
ROUNDS: Final = 60
STEP: Final = 0.7
"""Rounds and length of the steps of the logarithms of weights."""
ATOMS: Final = (3, 9)
"""Sizes of molecules of the library that are looked at."""


def kind(one: str, other: str) -> Pair:
    """The pair of elements in a fixed order."""
    return (one, other) if one < other else (other, one)


@dataclass(frozen=True)
class BondWeights:
    """Weights of bonds between pairs of elements.

    Attributes:
        source: where they come from, as it is stated.
        weights: of each pair of elements, in alphabetical order.
        power: of the weights in the prior.
    """

    source: str
    weights: Mapping[Pair, float]
    power: float = POWER

    def logarithms(self, symbols: Sequence[str], pairs: IntArray) -> FloatArray:
        """(pairs) logarithms of the weights in the prior, for (2, pairs) numbers of atoms."""
        known = [self.weights.get(kind(symbols[i], symbols[j]), 1.0) for i, j in pairs.T]
        return np.asarray(self.power * np.log(np.array(known)))


def bonds_of(geometries: Iterable[Geometry], source: str) -> BondWeights:
    """The weights that molecules speak for; those of two atoms say nothing."""
    by_size: dict[int, list[Geometry]] = {}
    for one in geometries:
        if len(one.symbols) > 2:
            by_size.setdefault(len(one.symbols), []).append(one)
    every = [g.symbols for some in by_size.values() for g in some]
    kinds = sorted({kind(a, b) for symbols in every for a, b in combinations(symbols, 2)})
    place = {one: number for number, one in enumerate(kinds)}
    seen = np.zeros(len(kinds))
    groups: list[tuple[IntArray, IntArray]] = []
    for size, some in by_size.items():
        pairs = np.stack(np.triu_indices(size, k=1))
        of = np.array([[place[kind(g.symbols[i], g.symbols[j])] for i, j in pairs.T] for g in some])
        for row, one in zip(of, some, strict=True):
            np.add.at(seen, row[_shortest_links(one, pairs)], 1.0)
        groups.append((pairs, of))
    weights = np.ones(len(kinds))
    for _ in range(ROUNDS):
        resistance = np.zeros(len(kinds))
        for pairs, of in groups:
            np.add.at(resistance, of, _resistances(weights[of], pairs))
        weights *= ((seen + FEW) / (resistance + FEW) / weights) ** STEP
    return BondWeights(source, dict(zip(kinds, weights.tolist(), strict=True)))


@lru_cache(maxsize=1)
def library_bonds() -> BondWeights:
    """The weights of the molecules that ship."""
    some = [one.geometry for one in molecules(atoms=ATOMS)]
    return bonds_of(some, f"the {len(some)} molecules of {ATOMS[0]} to {ATOMS[1]} atoms that ship")


def _shortest_links(one: Geometry, pairs: IntArray) -> IntArray:
    """(N - 1) numbers of the pairs that join all atoms with the shortest links."""
    radius = np.array([element(symbol).covalent_radius_angstrom for symbol in one.symbols])
    apart = np.linalg.norm(one.positions[pairs[0]] - one.positions[pairs[1]], axis=1)
    graph = np.zeros((len(radius), len(radius)))
    graph[tuple(pairs)] = np.maximum(apart, 1e-6) / (radius[pairs[0]] + radius[pairs[1]])
    return np.asarray(np.flatnonzero(minimum_spanning_tree(graph).toarray()[tuple(pairs)]))


def _resistances(weights: FloatArray, pairs: IntArray) -> FloatArray:
    """(n, pairs) resistances between the atoms of (n, pairs) conductances."""
    i, j = pairs
    atoms = int(pairs.max()) + 1
    laplacian = np.zeros((len(weights), atoms, atoms))
    laplacian[:, i, j] = laplacian[:, j, i] = -weights
    diagonal = np.arange(atoms)
    laplacian[:, diagonal, diagonal] = -laplacian.sum(axis=2)
    inverse = np.zeros_like(laplacian)
    inverse[:, 1:, 1:] = np.linalg.inv(laplacian[:, 1:, 1:])
    return np.asarray(inverse[:, i, i] + inverse[:, j, j] - 2.0 * inverse[:, i, j])
