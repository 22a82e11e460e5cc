"""Summaries of charge combinations for the stages: means, standard deviations, spectra."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from molexa_core.base.charge_combinations import Outcomes, ion_names
from molexa_core.base.errors import ComputationError
from molexa_core.base.fields import SPECTRUM_KER
from molexa_core.base.spectrum import Spectrum
from molexa_core.base.tables import FloatArray, Geometry
from molexa_core.base.units import HARTREE_EV
from molexa_core.physics.mcmd.combinations import Combinations
from molexa_core.physics.mcmd.job import Trajectories

BINS: Final = 200
"""Number of bins of the spectra, if the energy of every trajectory is known."""
SPECTRA: Final = 5
"""Number of combinations that then have their own spectrum."""
_LABELS: Final = (("kinetic energy release",), ("eV",))


@dataclass(frozen=True)
class Energies:
    """The kinetic energy release of every trajectory of one geometry.

    Attributes:
        charges: (t, n) int8, final charges.
        release: (t) float32, hartree.
    """

    charges: NDArray[np.int8]
    release: NDArray[np.float32]


def energies_of(found: Trajectories, row: int) -> Energies:
    """The energies of the trajectories of one geometry."""
    kept = ~found.lost[row]
    release = found.kinetic[row][kept].sum(axis=1).astype(np.float32)
    return Energies(found.charges[row][kept], release)


def joined(parts: Sequence[Energies]) -> Energies:
    """The energies of several chunks of trajectories of one geometry."""
    return Energies(
        np.concatenate([part.charges for part in parts]),
        np.concatenate([part.release for part in parts]),
    )


def outcomes_of(
    found: Combinations,
    geometry: Geometry,
    energies: Energies | None = None,
    *,
    at_least: int = 1,
) -> Outcomes:
    """Means, standard deviations and spectra of the trajectories of one geometry.

    Args:
        found: combinations of the trajectories.
        geometry: the geometry before the explosion.
        energies: the energy of every trajectory, in any order; without them the standard deviation
            and the spectrum of the energies of a combination are not known.
        at_least: keep only combinations with at least this count; not together with energies.

    Raises:
        ComputationError: all trajectories were lost.
    """
    total, occurred, lost = found.total, len(found), found.lost
    if total == 0:
        raise ComputationError(
            f"none of {lost} trajectories gave momenta that mean something",
            do="Check the geometry and its units.",
        )
    neutral = int(found.count[(found.charges == 0).any(axis=1)].sum())
    photons = float(found.photons @ np.arange(len(found.photons)) / total)
    found = found.at_least(at_least)
    more = found.count / np.maximum(found.count - 1, 1)
    mass = found.mass - found.charges
    covariance = found.covariance
    mean_square = np.trace(covariance, axis1=2, axis2=3) + (found.mean**2).sum(axis=2)
    spread, spectra = None, {SPECTRUM_KER: _whole(found)}
    if energies is not None:
        spread, spectra = _resolved(found, energies)
    return Outcomes(
        geometry=geometry,
        trajectories=total,
        charges=found.charges,
        counts=found.count,
        momenta=found.mean,
        covariance=covariance * more[:, None, None, None],
        charge_states=found.charge_states,
        release=(mean_square / (2.0 * mass)).sum(axis=1),
        release_spread=spread,
        spectra=spectra,
        photons=photons,
        occurred=occurred,
        neutral=neutral,
        lost=lost,
    )


def _whole(found: Combinations) -> Spectrum:
    labels, units = _LABELS
    return Spectrum(found.ker, (found.ker_edges * HARTREE_EV,), labels, units)


def _resolved(found: Combinations, energies: Energies) -> tuple[FloatArray, dict[str, Spectrum]]:
    """Standard deviation of the energy of each combination; spectra of all and of frequent ones."""
    n = energies.charges.shape[1]
    both = np.concatenate([found.charges, energies.charges])
    place = np.unique(
        np.ascontiguousarray(both).view(np.dtype((np.void, n)))[:, 0], return_inverse=True
    )[1].reshape(-1)
    row_of = np.empty(len(found), np.int64)
    row_of[place[: len(found)]] = np.arange(len(found))
    rows = row_of[place[len(found) :]]
    release = energies.release.astype(np.float64)
    mean = np.bincount(rows, release, len(found)) / found.count
    square = np.bincount(rows, (release - mean[rows]) ** 2, len(found))
    spread = np.sqrt(square / np.maximum(found.count - 1, 1))
    energy = release * HARTREE_EV
    edges = np.linspace(0.0, _round_up(float(energy.max(initial=0.0))), BINS + 1)
    labels, units = _LABELS
    spectra = {SPECTRUM_KER: Spectrum(np.histogram(energy, edges)[0], (edges,), labels, units)}
    for row in range(min(SPECTRA, len(found))):
        name = ",".join(ion_names(found.symbols, found.charges[row]))
        counts = np.histogram(energy[rows == row], edges)[0]
        spectra[name] = Spectrum(counts, (edges,), labels, units)
    return spread, spectra


def _round_up(value: float) -> float:
    """The next number of two digits, at least 1."""
    if value <= 1.0:
        return 1.0
    unit = 10.0 ** (np.floor(np.log10(value)) - 1)
    return float(np.ceil(value / unit * (1 + 1e-9)) * unit)
