"""Baselines: structures predicted without a network, for comparison with its errors.

Each baseline takes explosions and returns positions. `zeros` and the estimates from the momenta use
only what the network uses. The two look-ups also know the formula or the training set: if they do
well, the evaluation set is easy.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from molexa_core.base.tables import FloatArray
from molexa_core.geometry.superposition import superpose
from molexa_core.physics.molecules.library import molecule, molecule_names

ZEROS: Final = "zeros"
SCALED: Final = "along the momenta"
EQUILIBRIUM: Final = "equilibrium of the formula"
NEAREST: Final = "nearest in training"


def along_the_momenta(charges: FloatArray, masses: FloatArray, momenta: FloatArray) -> FloatArray:
    """(B, N, 3) positions along the velocities, scaled to the kinetic energy release.

    Instant explosion of point charges from x_i = s v_i: s is set so that the Coulomb energy is
    the kinetic energy. For two ions this is the distance q1 q2 / KER with c = 1.

    Args:
        charges: (B, N).
        masses: (B, N) electron masses.
        momenta: (B, N, 3).
    """
    velocity = momenta / masses[..., None]
    energy = (momenta**2 / (2.0 * masses[..., None])).sum(axis=(1, 2))
    one, two = np.triu_indices(momenta.shape[1], k=1)
    apart = np.linalg.norm(velocity[:, one] - velocity[:, two], axis=2)
    # Two ions of equal velocity would coincide; they are kept a tenth of the mean apart.
    apart = np.maximum(apart, 0.1 * apart.mean(axis=1, keepdims=True))
    coulomb = (charges[:, one] * charges[:, two] / np.maximum(apart, 1e-300)).sum(axis=1)
    scale = coulomb / np.maximum(energy, 1e-300)
    positions = scale[:, None, None] * velocity
    return np.asarray(positions - positions.mean(axis=1, keepdims=True))


def equilibrium_positions(
    numbers: FloatArray, truth: FloatArray, symbols: Mapping[int, str]
) -> FloatArray:
    """(B, N, 3) the shipped equilibrium geometry of each formula, superposed on the truth.

    This baseline knows the formula, the orientation and the assignment of like atoms; only the
    shape is that of the equilibrium. NaN if no shipped molecule has the formula; of several isomers
    the first by name is used.
    """
    shapes: dict[tuple[str, ...], tuple[tuple[str, ...], FloatArray]] = {}
    for name in reversed(molecule_names()):
        geometry = molecule(name).geometry
        shapes[tuple(sorted(geometry.symbols))] = (geometry.symbols, geometry.positions)
    answers = np.full(truth.shape, np.nan)
    for row, (row_numbers, positions) in enumerate(zip(numbers, truth, strict=True)):
        names = tuple(symbols[int(number)] for number in row_numbers)
        known = shapes.get(tuple(sorted(names)))
        if known is not None:
            answers[row] = superpose(positions, known[1], names, symbols_b=known[0]).moved
    return answers


def nearest_in_training(
    numbers: FloatArray,
    charges: FloatArray,
    momenta: FloatArray,
    training: tuple[FloatArray, FloatArray, FloatArray, FloatArray],
) -> FloatArray:
    """(B, N, 3) the geometry of the training entry with the most similar momenta, in one frame.

    Entries with the same elements and any charges are compared: the distance is that of p /
    sqrt(q), scaled to unit size, since a geometry that explodes with other charges moves in similar
    directions. If a data set is split by entry, this often finds the same geometry. NaN if no entry
    has the elements.

    Args:
        numbers: (B, N) atomic numbers of the explosions.
        charges: (B, N) their charges.
        momenta: (B, N, 3) in the model frame.
        training: numbers, charges, momenta and positions of training entries, in the model frame.
    """
    known_numbers, known_charges, known_momenta, known_positions = training
    places: dict[bytes, list[int]] = {}
    for row in range(len(known_numbers)):
        places.setdefault(known_numbers[row].astype(np.int16).tobytes(), []).append(row)
    wanted, known = _pattern(charges, momenta), _pattern(known_charges, known_momenta)
    answers = np.full(momenta.shape, np.nan)
    for row in range(len(numbers)):
        rows = places.get(numbers[row].astype(np.int16).tobytes(), [])
        if rows:
            distance = ((known[rows] - wanted[row]) ** 2).sum(axis=(1, 2))
            answers[row] = known_positions[rows[int(np.argmin(distance))]]
    return answers


def _pattern(charges: FloatArray, momenta: FloatArray) -> FloatArray:
    """(B, N, 3) momenta over the roots of the charges, each molecule scaled to unit size."""
    pattern = momenta / np.sqrt(np.maximum(charges, 1.0))[..., None]
    size = np.sqrt((pattern**2).sum(axis=(1, 2), keepdims=True))
    return np.asarray(pattern / np.maximum(size, 1e-300))


def fitted_bond_factor(
    charges: FloatArray, masses: FloatArray, momenta: FloatArray, lengths: FloatArray
) -> float:
    """The c of R = c q1 q2 / KER with the smallest mean absolute error for these diatomics."""
    energy = (momenta**2 / (2.0 * masses[..., None])).sum(axis=(1, 2))
    classical = charges[:, 0] * charges[:, 1] / energy
    # The mean absolute error is piecewise linear in c: its minimum lies at one of the ratios.
    ratios = np.unique(lengths / classical)
    if len(ratios) > 2000:
        ratios = np.quantile(ratios, np.linspace(0, 1, 2000))
    errors = [np.abs(c * classical - lengths).mean() for c in ratios]
    return float(ratios[int(np.argmin(errors))])
