"""Ion momenta with a known centroid geometry, as a reaction microscope would give them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from molexa_core.base.tables import Coincidences

TETRAHEDRON = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) / np.sqrt(3.0)
WATER = np.array([[-55.0, 0.0, 0.0], [27.5, 0.0, 41.0], [27.5, 0.0, -41.0]])


def turned(momentum: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    """Every event turned by its own random rotation."""
    axes = Rotation.random(len(momentum), rng=np.random.default_rng(seed)).as_matrix()
    return np.einsum("nic,nkc->nik", momentum, axes)


def shuffled(momentum: NDArray[np.float64], columns: slice, seed: int) -> NDArray[np.float64]:
    """The like ions of every event in a random order of their own."""
    block = momentum[:, columns]
    order = np.random.default_rng(seed).permuted(
        np.tile(np.arange(block.shape[1]), (len(block), 1)), axis=1
    )
    result = momentum.copy()
    result[:, columns] = np.take_along_axis(block, order[:, :, None], axis=1)
    return result


def cf4(events: int, *, size: float, width: float, seed: int) -> Coincidences:
    """CF4 with C at rest, a Gaussian spread of every component, rotated and shuffled events."""
    rng = np.random.default_rng(seed)
    ideal = np.concatenate([np.zeros((1, 3)), size * TETRAHEDRON])
    momentum = ideal + rng.normal(scale=width, size=(events, 5, 3))
    momentum = shuffled(turned(momentum, seed + 1), slice(1, 5), seed + 2)
    return Coincidences.of(["C+", "F+", "F+", "F+", "F+"], momentum)
