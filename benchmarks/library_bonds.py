"""Weights of bonds between pairs of elements, from the molecules that ship.

`GeometryPrior` joins atoms by a tree of bonds, whose weight is the product over its bonds. Of all
weights by pairs of elements, those of the library make its own trees most probable: then each kind
of bond is expected as often as it occurs (iterative scaling; the probability of a bond is its
weight times the resistance between its atoms, G. Kirchhoff). Run it to see the table.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import numpy as np

from molexa_core.base.tables import FloatArray
from molexa_core.physics.molecules.library import molecules
from molexa_core.pipeline.inversion.geometry_prior import GeometryPrior

ROUNDS: Final = 60
STEP: Final = 0.7
FEW: Final = 0.5
"""Added to the number of bonds of each kind: rare ones are not impossible."""
FEWEST_ATOMS: Final = 3
MOST_ATOMS: Final = 9

Pair = tuple[str, str]


def kind(one: str, other: str) -> Pair:
    """The pair of elements in a fixed order."""
    return (one, other) if one < other else (other, one)


@lru_cache(maxsize=1)
def library_weights() -> dict[Pair, float]:
    """The weight of each kind of bond; its scale means nothing."""
    trees = []
    for molecule in molecules():
        symbols = molecule.geometry.symbols
        if FEWEST_ATOMS <= len(symbols) <= MOST_ATOMS:
            prior = GeometryPrior.of(symbols)
            kinds = [kind(symbols[i], symbols[j]) for i, j in prior.pairs.T]
            trees.append((prior.pairs, kinds, prior.tree(molecule.geometry.positions)))
    seen = Counter(kinds[bond] for _, kinds, tree in trees for bond in tree)
    weights = {one: 1.0 for _, kinds, _ in trees for one in kinds}
    for _ in range(ROUNDS):
        expected: Counter[Pair] = Counter()
        for pairs, kinds, _ in trees:
            for one, share in zip(kinds, _shares(pairs, kinds, weights), strict=True):
                expected[one] += share
        for one in weights:
            weights[one] *= ((seen[one] + FEW) / (expected[one] + FEW)) ** STEP
    return weights


def _shares(pairs: FloatArray, kinds: Sequence[Pair], weights: dict[Pair, float]) -> FloatArray:
    """The probability of each pair to be a bond."""
    w = np.array([weights[one] for one in kinds])
    atoms = int(pairs.max()) + 1
    laplacian = np.zeros((atoms, atoms))
    laplacian[pairs[0], pairs[1]] = laplacian[pairs[1], pairs[0]] = -w
    laplacian -= np.diag(laplacian.sum(axis=1))
    inverse = np.linalg.pinv(laplacian)
    i, j = pairs
    return np.asarray(w * (inverse[i, i] + inverse[j, j] - 2.0 * inverse[i, j]))


def log_weights(symbols: Sequence[str], pairs: FloatArray, power: float) -> FloatArray:
    """(pairs) logarithms of the weights, to a power; rare kinds have the smallest of all others."""
    table = library_weights()
    least = min(table.values())
    found = [table.get(kind(symbols[i], symbols[j]), least) for i, j in pairs.T]
    return power * np.log(np.array(found))


def main() -> None:
    """Print the table, heaviest first."""
    for one, weight in sorted(library_weights().items(), key=lambda item: -item[1]):
        print(f"{'-'.join(one):6s} {weight:9.4f}")


if __name__ == "__main__":
    main()
