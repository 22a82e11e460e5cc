"""The break-up among the combinations of the complete kinds: the densest place of their shapes.

Without all ions there is no gate on the momentum sum. The sizes of the momenta of the ions that are
always detected and the angles between them do not depend on the orientation of the molecule; true
coincidences gather at one place of them, unrelated ions and wrong roles of one hit do not. A gate
on these numbers treats all other ions alike, so that the momentum sum of all ions stays zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations, product
from math import factorial, prod
from typing import Final

import numpy as np
from scipy.spatial import cKDTree
from scipy.stats import chi2

from molexa_core.base.tables import BoolArray, FloatArray, IntArray
from molexa_core.frame.partial.groups import Events

MOST_ORDERS: Final = 24
"""Most permutations of like ions that are tried."""
SAMPLE: Final = 20_000
NEIGHBOURS: Final = 25
INSIDE: Final = 1e-4
"""Share of true coincidences outside the gate."""
_CORE: Final = 0.8
_ROUNDS: Final = 40


@dataclass(frozen=True)
class ShapeGate:
    """Where the shapes of true coincidences are.

    Attributes:
        centre: (numbers) momenta and angles times momenta, a.u.
        covariance: (numbers, numbers).
    """

    centre: FloatArray
    covariance: FloatArray

    def distance(self, shapes: FloatArray) -> FloatArray:
        """(..., orders) squared Mahalanobis distance of shapes (..., orders, numbers)."""
        away = shapes - self.centre
        found: FloatArray = np.einsum(
            "...i,ij,...j->...", away, np.linalg.inv(self.covariance), away
        )
        return found

    @property
    def limit(self) -> float:
        """The squared distance of the gate."""
        return float(chi2.isf(INSIDE, len(self.centre)))


def orders_of(events: Events) -> list[tuple[int, ...]] | None:
    """Permutations of the ions of complete kinds that leave their kinds; None if too many."""
    sizes = [kind.count for kind in events.kinds if kind.complete]
    if prod(factorial(size) for size in sizes) > MOST_ORDERS:
        return None
    parts, start = [], 0
    for size in sizes:
        parts.append(list(permutations(range(start, start + size))))
        start += size
    return [tuple(i for part in choice for i in part) for choice in product(*parts)]


def complete_ions(events: Events) -> FloatArray:
    """(events, ions, 3) momenta of the ions of complete kinds."""
    which = np.isin(events.kind, [i for i, kind in enumerate(events.kinds) if kind.complete])
    count = sum(kind.count for kind in events.kinds if kind.complete)
    return events.momentum[which].reshape(len(events), count, 3)


def shapes_of(ions: FloatArray, orders: list[tuple[int, ...]]) -> FloatArray:
    """(events, orders, numbers) sizes, and angles times the geometric mean of the sizes."""
    size = np.linalg.norm(ions, axis=2)
    first, second = np.triu_indices(ions.shape[1], 1)
    found = []
    for order in orders:
        turned, sizes = ions[:, order], size[:, order]
        dot = np.sum(turned[:, first] * turned[:, second], axis=2)
        both = np.maximum(sizes[:, first] * sizes[:, second], 1e-12)
        angle = np.arccos(np.clip(dot / both, -1.0, 1.0))
        found.append(np.hstack([sizes, angle * np.sqrt(both)]))
    return np.stack(found, axis=1)


def find_gate(shapes: FloatArray) -> ShapeGate | None:
    """The densest place of the shapes and its extent, or None where there is none.

    Args:
        shapes: (events, orders, numbers); every order is a point.
    """
    points = shapes.reshape(-1, shapes.shape[2])
    step = max(1, len(points) // SAMPLE)
    sample = points[:: step | 1]
    if len(sample) < 2 * NEIGHBOURS:
        return None
    tree = cKDTree(sample)
    far = np.asarray(tree.query(sample, k=NEIGHBOURS)[0])[:, -1]
    centre = sample[np.argmin(far)]
    near = sample[tree.query(centre, k=NEIGHBOURS)[1]]
    centre, covariance = near.mean(axis=0), _covariance(near)
    dimensions = points.shape[1]
    core = float(chi2.ppf(_CORE, dimensions))
    # A Gaussian cut at the core has its covariance reduced by this factor.
    shrink = float(chi2.cdf(core, dimensions + 2) / _CORE)
    for _ in range(_ROUNDS):
        distance = ShapeGate(centre, covariance).distance(points)
        inside = points[distance < core]
        if len(inside) < dimensions + 2:
            return None
        before = centre
        centre, wider = inside.mean(axis=0), _covariance(inside) / shrink
        # No more than a factor per round, so that the core grows into the peak and not beyond.
        growth = float(np.exp(np.linalg.slogdet(wider)[1] - np.linalg.slogdet(covariance)[1]))
        covariance = wider * min(1.0, (4.0 / max(growth, 1e-9)) ** (1.0 / dimensions))
        if growth < 1.0 + 1e-3 and np.allclose(centre, before, atol=1e-3):
            break
    return ShapeGate(centre, covariance)


def gate_events(events: Events) -> tuple[BoolArray, IntArray, ShapeGate | None]:
    """Which events have the shape of the break-up, and the order of their ions nearest to it."""
    ions = complete_ions(events)
    orders = orders_of(events)
    everything = np.ones(len(events), dtype=np.bool_), np.zeros(len(events), np.int64), None
    if ions.shape[1] < 2 or orders is None:
        return everything
    shapes = shapes_of(ions, orders)
    gate = find_gate(shapes)
    if gate is None:
        return everything
    distance = gate.distance(shapes)
    best = distance.argmin(axis=1)
    return distance.min(axis=1) < gate.limit, best, gate


def _covariance(points: FloatArray) -> FloatArray:
    found: FloatArray = np.cov(points.T) + 0.25 * np.eye(points.shape[1])
    return found
