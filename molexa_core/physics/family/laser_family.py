"""Explosions in a strong laser pulse of 5 to 200 fs, in which the molecule moves.

In a laser pulse a molecule is ionized step by step, and expands between the steps. Its last
electrons leave when the field suppresses the barriers inside the molecule, which is easiest when
the molecule is about twice as large as at rest (enhanced ionization: Zuo and Bandrauk 1995;
Seideman, Ivanov and Corkum 1995; Posthumus and others 1995). So the ions have a part, 0.4 to 0.65
in pulses of 50 to 200 fs, of the Coulomb energy of the molecule at rest, of whatever charges and at
whatever intensity; only in pulses of few cycles, in which the molecule hardly moves, they have 0.7
to 0.9 of it: the electrons that they keep make their potential 5 to 15 per cent smaller than that
of points.

The model has two stages. A share e of each charge is there early: it rises like the integral of a
Gaussian, with the window T/2, from the start. The share of the rest that is there at time t, when
the molecule has w times its size (w: root of the moment of inertia over that at the start), is

    erfc(a [1 - t/T - (w - 1)/g]) / 2.

Why a sum of both: an electron leaves when the intensity is above a threshold that falls while the
molecule grows; on the leading edge of a pulse the logarithm of the intensity grows about in
proportion to time, and that of the threshold falls about in proportion to the growth. So a small
slow molecule loses its electrons near the peak, after T; one that expands quickly on its way, at a
growth of somewhat less than g. There is no barrier from which the ionization would stop: ions that
are detected with a charge have got it.

Like the charges of `coulomb.build_up`, shares are means over many explosions. What one parameter
cannot say is the family's error: like differences of atoms in e and in the time of the second
stage; and displacements before the explosion is one of point charges (bending and stretching on
surfaces that the field changes), which grow with the duration. Differences are about the mean of
the molecule: what its atoms have in common is in the parameters.

Where the numbers of the prior come from: docs/explosions-laser-prior.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from molexa_core.base.belief import Belief, Coordinate
from molexa_core.base.tables import FloatArray
from molexa_core.base.units import ATOMIC_TIME_FS
from molexa_core.physics.coulomb.batches import with_last_atom
from molexa_core.physics.coulomb.build_up import LEAST_TAU_FS, STEEPNESS
from molexa_core.physics.coulomb.follow import Charging, Directions
from molexa_core.physics.coulomb.tangents import TWO_STAGE
from molexa_core.physics.family.family import Fragments
from molexa_core.physics.family.point_charges import SCREENING, PointCharges, bare, least_error

DURATION: Final = Coordinate("duration_fs", "duration of the laser pulse", "fs")
EARLY: Final = Coordinate(
    "early_share", "share of the charges that is there early in the pulse", scale="logit"
)
LATEST: Final = Coordinate(
    "latest",
    "time until a molecule that does not move has lost half of its last electrons, over the "
    "duration",
)
GROWTH: Final = Coordinate(
    "critical_growth", "growth, relative to its size, at which a molecule loses its electrons"
)
SHARPNESS: Final = Coordinate("sharpness", "sharpness of the second stage of the ionization")
_FIRST: Final = 0.5
"""Window of the first stage over the time to the second."""
_UNKNOWN_FS: Final = 35.0
"""Most titanium-sapphire lasers: 25 to 50 fs."""
_COORDINATES: Final = (
    EARLY.of_value(0.2),
    LATEST.of_value(2.0),
    GROWTH.of_value(1.5),
    SHARPNESS.of_value(1.5),
    SCREENING.of_value(0.14),
)
"""Of all but the duration, in a pulse of `_UNKNOWN_FS`."""
_WIDTHS: Final = (0.5, 0.75, 0.32, 0.33, 0.12)
_GROWTH_POWER: Final = -0.1
"""The longer the pulse, the lower the intensities at which electrons leave, and the less need the
molecule grow."""
_COMMON_SHARE: Final = 0.40
_KERNEL_SHARE: Final = 0.52
_KERNEL_LENGTH: Final = 1.3


@dataclass(frozen=True)
class LaserFamily(PointCharges):
    """A strong laser pulse.

    Coordinates: ln duration in fs, logit e, ln(T / duration), ln g, ln a, screening.

    Attributes:
        early_spread: standard deviation of logit e between the atoms of a molecule.
        timing_spread: standard deviation of ln T and of ln g between them, the same for both.
        displacement: standard deviation of the mean places of atoms, bohr in each direction, that
            has other causes than the charges, in long pulses.
        settling_fs: duration of the pulse in which half of it comes about.
        smallest_error: error of each momentum component that is left in any case, over the rms
            component:
            mean charges for electrons that go one by one are no better than 1 per cent.
    """

    early_spread: float = 0.5
    timing_spread: float = 0.4
    displacement: float = 0.045
    settling_fs: float = 12.0
    smallest_error: float = 0.01

    @property
    def name(self) -> str:
        """In words, for results."""
        return "a strong laser pulse, in which the molecule moves"

    @property
    def coordinates(self) -> tuple[Coordinate, ...]:
        """Duration, early share, latest time, critical growth, sharpness, screening."""
        return (DURATION, EARLY, LATEST, GROWTH, SHARPNESS, SCREENING)

    def charging(self, fragments: Fragments, parameters: FloatArray) -> Charging:
        """How the charges rise at coordinates (n, P)."""
        early, first, sharpness, by_time, by_growth = _law(parameters)
        law = np.stack([early, first, sharpness, by_time, by_growth], axis=1)
        whole = bare(fragments, parameters[:, 5])
        return replace(whole, kind=TWO_STAGE, law=law, numbers=5)

    def along_parameters(self, fragments: Fragments, parameters: FloatArray) -> Directions:
        """How the charging changes with each of the P coordinates."""
        early, first, sharpness, by_time, by_growth = _law(parameters)
        weights = np.zeros((len(parameters), 6, len(fragments), 5))
        for place in (0, 2):
            weights[:, place, :, 1] = -first[:, None]
            weights[:, place, :, 3] = -by_time[:, None]
        weights[:, 1, :, 0] = (early * (1.0 - early))[:, None]
        weights[:, 3, :, 4] = -by_growth[:, None]
        for number, value in ((2, sharpness), (3, by_time), (4, by_growth)):
            weights[:, 4, :, number] = value[:, None]
        screens = np.zeros((1, 6))
        screens[0, 5] = 1.0
        return Directions(weights, screens)

    def between_atoms(self, fragments: Fragments, parameters: FloatArray) -> Directions:
        """Early shares and second stages of each atom against the mean of all.

        2 N directions, by which the numbers of each atom have their standard deviations, and their
        mean over the atoms has none.
        """
        early, _, _, by_time, by_growth = _law(parameters)
        atoms = len(fragments)
        apart = (np.eye(atoms) - 1.0 / atoms) * math.sqrt(atoms / max(atoms - 1, 1))
        weights = np.zeros((len(parameters), 2 * atoms, atoms, 5))
        for number, direction, value in (
            (0, 0, self.early_spread * early * (1.0 - early)),
            (3, 1, self.timing_spread * by_time),
            (4, 1, self.timing_spread * by_growth),
        ):
            weights[:, direction::2, :, number] = value[:, None, None] * apart
        return Directions(weights, np.zeros((1, 2 * atoms)))

    def error(
        self, fragments: Fragments, positions: FloatArray, parameters: FloatArray
    ) -> FloatArray:
        """(n, 3 N, 3 N) covariance, a.u.: differences between atoms, displacements, least error."""
        between = self.between_atoms(fragments, parameters)
        momenta, changes = self.follow(
            fragments, positions, parameters, by_positions=True, directions=between
        )
        moved = 3 * (len(fragments) - 1)
        by_positions = with_last_atom(changes[:, :, :moved])
        duration = np.exp(parameters[:, 0])
        size = self.displacement * duration / (duration + self.settling_fs)
        each = np.concatenate([by_positions * size[:, None, None], changes[:, :, moved:]], axis=2)
        return np.asarray(each @ each.transpose(0, 2, 1)) + least_error(
            momenta, self.smallest_error
        )


def _law(parameters: FloatArray) -> tuple[FloatArray, ...]:
    """Numbers e, r, a, b, d of `kernel.explode_blocks`, each (n)."""
    early = 1.0 / (1.0 + np.exp(-parameters[:, 1]))
    latest = np.maximum(np.exp(parameters[:, 0] + parameters[:, 2]), LEAST_TAU_FS) / ATOMIC_TIME_FS
    sharpness = np.exp(parameters[:, 4])
    return (
        early,
        STEEPNESS / (_FIRST * latest),
        sharpness,
        sharpness / latest,
        sharpness / np.exp(parameters[:, 3]),
    )


def laser_prior(duration_fs: float | None = None, width: float = 0.0) -> Belief:
    """What is known before anything is measured of the explosion in a laser pulse.

    Only the duration is taken as stated; intensity, wavelength and the molecule are inside of the
    widths. The numbers are fitted (`tools/fit_laser_prior.py`) to a table of the energies that
    are expected: 0.82 +- 0.09 of the Coulomb energy of the molecule at rest in pulses of 5 fs,
    0.59 +- 0.1 in 35 fs, 0.49 +- 0.09 in 200 fs.

    * Early share 0.2 (0.13 to 0.29 with 68 per cent probability): a molecule begins to come apart
      at one to three elementary charges, of four to ten in the end.
    * T 2 durations (0.9 to 4): what does not move loses its last electrons as late as after the
      peak, which means in most pulses that without a growth it would keep them.
    * Growth 1.5 (1.1 to 2.1) in 35 fs, in proportion to the duration to the power -0.1. As time
      counts as well, half of the last electrons of CO2 have left when it is 1.6 to 1.9 times as
      large as at rest in pulses of 35 to 200 fs. Critical distances are 1.5 to 2.5 times those at
      rest in the literature.
    * Sharpness 1.5 (1.1 to 2.1): 10 to 90 per cent within 1.2 (0.9 to 1.7) T, or g.
    * Screening 0.14 +- 0.12: CO2 at rest has 1 to 12 per cent less energy than points there.

    Args:
        duration_fs: full width at half maximum of the intensity; None for an unknown pulse: 35 fs
            within a factor 2.5.
        width: standard deviation of the logarithm of the duration: 0.1 for 10 per cent.

    Raises:
        UsageError: a duration that is not above 0.
    """
    if duration_fs is None:
        duration_fs, width = _UNKNOWN_FS, math.log(2.5)
    names = (DURATION, EARLY, LATEST, GROWTH, SHARPNESS, SCREENING)
    mean = [DURATION.of_value(duration_fs), *_COORDINATES]
    mean[3] += _GROWTH_POWER * (mean[0] - math.log(_UNKNOWN_FS))
    found = Belief.independent([one.name for one in names], mean, (width, *_WIDTHS))
    # An uncertain duration is an uncertain growth too.
    along = np.eye(len(names))
    along[3, 0] = _GROWTH_POWER
    return Belief(found.names, found.mean, along @ found.covariance @ along.T)


def laser_correlation(duration_a: FloatArray | float, duration_b: FloatArray | float) -> FloatArray:
    """How far explosions in pulses of two durations deviate alike from what the prior expects.

    Correlation of the deviation of the logarithm of the energies, for the same molecule in the
    same laser. A share 0.4 of its variance is the same in all pulses (the molecule, the charges,
    the laser), 0.52 changes with the duration, with the length 1.3 in ln, and 0.08 belongs to each
    duration alone (pedestals, chirp):

        0.4 + 0.52 exp(-d^2 / (2 1.3^2)) + 0.08 [d = 0],   d = ln(a / b).

    0.85 between pulses of which one is twice as long, 0.6 between 30 and 200 fs.

    Args:
        duration_a: full width at half maximum of the intensity, fs; any shape.
        duration_b: the same, of a shape that fits.

    Returns:
        Correlations, of the shape of both together. Of a list of durations and itself, [:, None]
        and [None, :], they make a positive matrix.

    Raises:
        UsageError: a duration that is not above 0.
    """
    a, b = np.asarray(duration_a, dtype=np.float64), np.asarray(duration_b, dtype=np.float64)
    for given in (a, b):
        for value in given[~(given > 0.0)][:1]:
            DURATION.of_value(float(value))
    apart = np.log(a) - np.log(b)
    shared, kernel, own = _COMMON_SHARE, _KERNEL_SHARE, 1.0 - _COMMON_SHARE - _KERNEL_SHARE
    smooth = shared + kernel * np.exp(-0.5 * (apart / _KERNEL_LENGTH) ** 2)
    return np.asarray(smooth + own * (apart == 0.0))
