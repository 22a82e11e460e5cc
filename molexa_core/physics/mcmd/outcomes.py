"""From trajectories to combinations of charges: counts, mean momenta, spreads, chunk by chunk.

Sums are taken in double precision and in the order of the trajectories, chunk by chunk, so that
the result does not depend on the number of workers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from molexa_core.base.elements import element
from molexa_core.base.fields import SPECTRUM_KER
from molexa_core.base.outcomes import Outcomes, ion_names
from molexa_core.base.spectra import Spectrum
from molexa_core.base.tables import FloatArray, Geometry, IntArray
from molexa_core.base.units import HARTREE_EV
from molexa_core.physics.mcmd.trajectories import Trajectories

BINS: Final = 200
"""Bins of a spectrum of the kinetic energy release."""
SPECTRA: Final = 5
"""Combinations that have a spectrum of their own."""


@dataclass(frozen=True)
class Sums:
    """Sums over trajectories of one geometry by combination of charges, sorted by charges.

    Attributes:
        charges: (C, n) int8.
        counts: (C) trajectories.
        momentum: (C, n, 3) sum of momenta.
        product: (C, n, 3, 3) sum of the products of the components of each ion's momentum.
        release, release2: (C) sum of the kinetic energy release and of its square, hartree.
        photons: sum of photons.
        combination: (t) row of each trajectory.
        energy: (t) kinetic energy release of each trajectory, hartree.
    """

    charges: NDArray[np.int8]
    counts: IntArray
    momentum: FloatArray
    product: FloatArray
    release: FloatArray
    release2: FloatArray
    photons: int
    combination: IntArray
    energy: NDArray[np.float32]


def sums_of(found: Trajectories, row: int) -> Sums:
    """The sums over the trajectories of one geometry.

    Args:
        found: trajectories of some geometries.
        row: which geometry.
    """
    charges, place = _combinations(found.charges[row])
    order = np.argsort(place, kind="stable")
    starts = np.searchsorted(place[order], np.arange(len(charges)))
    p = found.momenta[row][order].astype(np.float64)
    energy = found.kinetic[row].sum(axis=1)
    sorted_energy = energy[order]
    return Sums(
        charges=charges,
        counts=np.bincount(place, minlength=len(charges)).astype(np.int64),
        momentum=np.add.reduceat(p, starts),
        product=np.add.reduceat(p[..., :, None] * p[..., None, :], starts),
        release=np.add.reduceat(sorted_energy, starts),
        release2=np.add.reduceat(sorted_energy**2, starts),
        photons=int(found.photons[row].sum(dtype=np.int64)),
        combination=place,
        energy=energy.astype(np.float32),
    )


def merged(parts: list[Sums]) -> Sums:
    """The sums over all trajectories of several chunks, in their order."""
    if len(parts) == 1:
        return parts[0]
    charges, place = _combinations(np.concatenate([part.charges for part in parts]))
    rows = np.split(place, np.cumsum([len(part.charges) for part in parts])[:-1])

    def added(name: str) -> FloatArray:
        first = getattr(parts[0], name)
        total = np.zeros((len(charges), *first.shape[1:]), first.dtype)
        for part, row in zip(parts, rows, strict=True):
            total[row] += getattr(part, name)  # a row is there once in each part
        return total

    return Sums(
        charges=charges,
        counts=added("counts").astype(np.int64),
        momentum=added("momentum"),
        product=added("product"),
        release=added("release"),
        release2=added("release2"),
        photons=sum(part.photons for part in parts),
        combination=np.concatenate(
            [row[part.combination] for part, row in zip(parts, rows, strict=True)]
        ),
        energy=np.concatenate([part.energy for part in parts]),
    )


def outcomes_of(sums: Sums, geometry: Geometry) -> Outcomes:
    """Means and spreads, the most frequent combination first, equal ones sorted by charges."""
    order = np.lexsort((*sums.charges.T[::-1], -sums.counts))
    counts = sums.counts[order]
    n = counts[:, None, None].astype(np.float64)
    mean = sums.momentum[order] / n
    # With one trajectory the bracket is 0 but for rounding, and stays undivided.
    product = sums.product[order] - n[..., None] * mean[..., :, None] * mean[..., None, :]
    covariance = product / np.maximum(n - 1.0, 1.0)[..., None]
    covariance[counts < 2] = 0.0
    release = sums.release[order] / counts
    variance = sums.release2[order] / counts - release**2
    return Outcomes(
        geometry=geometry,
        trajectories=int(counts.sum()),
        charges=sums.charges[order],
        counts=counts,
        momenta=mean,
        covariance=covariance,
        charge_states=_charge_states(sums, geometry.symbols),
        release=release,
        release_spread=np.sqrt(np.maximum(variance, 0.0)),
        spectra=_spectra(sums, order, geometry.symbols),
        photons=sums.photons / int(counts.sum()),
    )


def _combinations(charges: NDArray[np.int8]) -> tuple[NDArray[np.int8], IntArray]:
    """The combinations that occur, sorted by charges, and which of them each row is."""
    rows = np.ascontiguousarray(charges).view(np.dtype((np.void, charges.shape[1])))[:, 0]
    # Charges are not negative, so the order of the bytes is that of the charges.
    found, place = np.unique(rows, return_inverse=True)
    distinct = found.view(np.int8).reshape(-1, charges.shape[1])
    return distinct, place.reshape(-1).astype(np.int64)


def _charge_states(sums: Sums, symbols: tuple[str, ...]) -> IntArray:
    highest = max(element(symbol).number for symbol in symbols)
    states = np.zeros((len(symbols), highest + 1), np.int64)
    for atom in range(len(symbols)):
        np.add.at(states[atom], sums.charges[:, atom].astype(np.int64), sums.counts)
    return states


def _spectra(sums: Sums, order: IntArray, symbols: tuple[str, ...]) -> dict[str, Spectrum]:
    """The kinetic energy release of all trajectories and of the most frequent combinations."""
    energy = sums.energy * HARTREE_EV
    edges = np.linspace(0.0, _round_up(float(energy.max(initial=0.0))), BINS + 1)

    def spectrum(values: NDArray[np.float32]) -> Spectrum:
        counts = np.histogram(values, edges)[0]
        return Spectrum(counts, (edges,), ("kinetic energy release",), ("eV",))

    found = {SPECTRUM_KER: spectrum(energy)}
    for row in order[:SPECTRA]:
        name = ",".join(ion_names(symbols, sums.charges[row]))
        found[name] = spectrum(energy[sums.combination == row])
    return found


def _round_up(value: float) -> float:
    """The next number of two digits, at least 1."""
    if value <= 1.0:
        return 1.0
    unit = 10.0 ** (np.floor(np.log10(value)) - 1)
    return float(np.ceil(value / unit * (1 + 1e-9)) * unit)
