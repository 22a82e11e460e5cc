"""Does an input resemble the training data? Ranges of a few quantities of the momenta.

A network gives an answer to any input; outside its training data the answer and its error bar mean
nothing. For
each number of atoms the model card holds the range of each quantity below over the molecules of
the training, without the lowest and the highest thousandth.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from molexa_core.base.errors import WeightsError
from molexa_core.base.tables import BoolArray, FloatArray

QUANTILES: Final = (0.001, 0.999)
"""Share of the training below the lower and the upper end of a range."""
MOST_ATOMS: Final = 64
"""Largest number of atoms for which a card can hold ranges."""
MARGIN: Final = 1.25
"""Factor by which the ranges are widened at both ends: hydrides such as water are rare in the
training and lie at its edge, but are reconstructed well."""
QUANTITIES: Final = {
    "charge": ("largest charge", ""),
    "size_bohr": ("mean distance that the kinetic energy release implies", " bohr"),
    "nearest_bohr": ("smallest distance that the relative energy of two ions implies", " bohr"),
    "energy_share": ("largest share of the energy that one ion carries", ""),
}
"""The quantities that are compared: description and unit."""
Ranges = Mapping[int, Mapping[str, tuple[float, float]]]
"""By number of atoms and quantity: lower and upper end."""


def quantities(
    charges: FloatArray, masses: FloatArray, momenta: FloatArray
) -> dict[str, FloatArray]:
    """The quantities of molecules of one size.

    With K the kinetic energy release: `size_bohr` is sum q_i q_j / K; `nearest_bohr` the least
    q_i q_j / (mu v^2 / 2) of all pairs, the distance at which two ions alone would have started.

    Args:
        charges: (B, N) elementary charges.
        masses: (B, N) electron masses.
        momenta: (B, N, 3) a.u., not all zero.

    Returns:
        (B) each, by the names of `QUANTITIES`.
    """
    energies = (momenta**2).sum(axis=2) / (2.0 * masses)
    total = energies.sum(axis=1)
    one, two = np.triu_indices(charges.shape[1], k=1)
    product = charges[:, one] * charges[:, two]
    velocity = momenta / masses[:, :, None]
    speed2 = ((velocity[:, one] - velocity[:, two]) ** 2).sum(axis=2)
    reduced = masses[:, one] * masses[:, two] / (masses[:, one] + masses[:, two])
    energy = np.maximum(0.5 * reduced * speed2, 1e-12)
    return {
        "charge": charges.max(axis=1),
        "size_bohr": product.sum(axis=1) / np.maximum(total, 1e-12),
        "nearest_bohr": (product / energy).min(axis=1),
        "energy_share": energies.max(axis=1) / np.maximum(total, 1e-12),
    }


def ranges_of(
    molecules: Sequence[tuple[FloatArray, FloatArray, FloatArray]],
) -> dict[str, dict[str, list[float]]]:
    """Ranges for a model card, from molecules of the training.

    Args:
        molecules: charges (B, N), masses (B, N), momenta (B, N, 3); one entry for each N.
    """
    found = {}
    for charges, masses, momenta in molecules:
        values = quantities(charges, masses, momenta)
        ends = {name: np.quantile(column, QUANTILES) for name, column in values.items()}
        # Charges are small integers: every charge that occurred in the training counts as inside.
        ends["charge"] = np.array([1.0, float(charges.max())])
        found[str(charges.shape[1])] = {
            name: [float(f"{end:.4g}") for end in pair] for name, pair in ends.items()
        }
    return found


def read_ranges(data: Mapping[str, Any]) -> Ranges | None:
    """The ranges that a model card holds in its `data`; None for cards without.

    Raises:
        WeightsError: the ranges are damaged.
    """
    stored = data.get("ranges")
    if not stored:
        return None
    try:
        ranges = {
            int(atoms): {name: _ends(row[name]) for name in QUANTITIES}
            for atoms, row in stored.items()
        }
        if not all(0 < atoms <= MOST_ATOMS for atoms in ranges):
            msg = f"ranges for {sorted(ranges)} atoms"
            raise ValueError(msg)
        return ranges
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise WeightsError(
            "the ranges of the training in the model card are damaged",
            do="Fetch or install the weights again.",
        ) from error


def _ends(pair: Sequence[float]) -> tuple[float, float]:
    low, high = float(pair[0]), float(pair[1])
    if len(pair) != 2 or not 0.0 <= low <= high < math.inf:
        msg = f"a range from {low:g} to {high:g}"
        raise ValueError(msg)
    return low, high


def unlike(
    ranges: Ranges, charges: FloatArray, masses: FloatArray, momenta: FloatArray
) -> BoolArray:
    """(B) whether molecules of one size lie outside the ranges; arguments as in `quantities`."""
    row = ranges.get(charges.shape[1])
    outside = np.full(len(charges), row is None)
    if row is not None:
        for name, values in quantities(charges, masses, momenta).items():
            low, high = row[name]
            outside |= ~_within(values, low, high, name)
    return outside


def objections(
    ranges: Ranges, charges: FloatArray, masses: FloatArray, momenta: FloatArray
) -> list[str]:
    """Sentences on the quantities of one molecule that lie outside the ranges of the training.

    Charges and masses are (N), momenta (N, 3), in the units of `quantities`.
    """
    row = ranges.get(len(charges))
    if row is None:
        return [f"{len(charges)} ions (training: {min(ranges)} to {max(ranges)})"]
    found = []
    for name, values in quantities(charges[None], masses[None], momenta[None]).items():
        low, high = row[name]
        if not _within(values, low, high, name)[0]:
            words, unit = QUANTITIES[name]
            found.append(f"{words} {values[0]:.3g}{unit} (training: {low:.3g} to {high:.3g}{unit})")
    return found


def _within(values: FloatArray, low: float, high: float, name: str) -> BoolArray:
    margin = 1.0 if name == "charge" else MARGIN
    return np.asarray((values >= low / margin) & (values <= high * margin))
