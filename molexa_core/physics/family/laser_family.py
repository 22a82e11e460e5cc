"""Explosions in a strong laser pulse of 5 to 200 fs, in which the molecule moves.

In a laser pulse a molecule is ionized step by step, and expands between the steps. Its last
electrons leave when the field suppresses the barriers inside the molecule, which is easiest when
the molecule is about twice as large as at rest (enhanced ionization: Zuo and Bandrauk 1995;
Seideman, Ivanov and Corkum 1995; Posthumus and others 1995). So the ions have a part, 0.4 to 0.75
in pulses of 50 to 200 fs, of the Coulomb energy of the molecule at rest, of whatever charges and at
whatever intensity; only in pulses of few cycles, which are over before the molecule has moved, they
have 0.85 to all of it.

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
surfaces that the field changes), which grow with the duration.

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
from molexa_core.physics.family.point_charges import SCREENING, PointCharges, bare

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


@dataclass(frozen=True)
class LaserFamily(PointCharges):
    """A strong laser pulse.

    Coordinates: ln duration in fs, logit e, ln(T / duration), ln g, ln a, screening.

    Attributes:
        early_spread: standard deviation of logit e between the atoms of a molecule.
        timing_spread: standard deviation of ln T and of ln g between them, the same for both.
        displacement: standard deviation of the places of atoms, bohr in each direction, that has
            other causes than the charges, in long pulses.
        settling_fs: duration of the pulse in which half of it comes about.
    """

    early_spread: float = 0.3
    timing_spread: float = 0.15
    displacement: float = 0.2
    settling_fs: float = 40.0

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
        """Early shares and second stages of each atom, by one standard deviation."""
        early, _, _, by_time, by_growth = _law(parameters)
        atoms = len(fragments)
        weights = np.zeros((len(parameters), 2 * atoms, atoms, 5))
        for i in range(atoms):
            weights[:, 2 * i, i, 0] = self.early_spread * early * (1.0 - early)
            weights[:, 2 * i + 1, i, 3] = self.timing_spread * by_time
            weights[:, 2 * i + 1, i, 4] = self.timing_spread * by_growth
        return Directions(weights, np.zeros((1, 2 * atoms)))

    def error(
        self, fragments: Fragments, positions: FloatArray, parameters: FloatArray
    ) -> FloatArray:
        """(n, 3 N, 3 N) covariance, in a.u., of differences between atoms and of displacements."""
        between = self.between_atoms(fragments, parameters)
        _, changes = self.follow(
            fragments, positions, parameters, by_positions=True, directions=between
        )
        moved = 3 * (len(fragments) - 1)
        by_positions = with_last_atom(changes[:, :, :moved])
        duration = np.exp(parameters[:, 0])
        size = self.displacement * duration / (duration + self.settling_fs)
        each = np.concatenate([by_positions * size[:, None, None], changes[:, :, moved:]], axis=2)
        return np.asarray(each @ each.transpose(0, 2, 1))


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
    widths. In pulses of 50 to 200 fs the ions get 0.4 to 0.75 of the Coulomb energy of the molecule
    at rest, in pulses of 5 to 7 fs 0.8 to all of it.

    * Early share 0.3 (0.19 to 0.44 with 68 per cent probability): a molecule begins to come apart
      at two or three elementary charges, of four to ten in the end.
    * T 0.7 durations (0.44 to 1.1): the intensity rises by a factor 10 in 0.9 durations before the
      peak of a Gaussian pulse. The first electrons leave at 1e14 W/cm2, the last at 3e14 to 3e15.
    * Growth 1.5 (0.9 to 2.4). As time counts as well, half of the last electrons have left when the
      molecule is about 1.7 to 2.5 times as large as at rest in pulses of 50 to 200 fs. Critical
      distances are 1.5 to 2.5 times those at rest in the literature.
    * Sharpness 2.2 (1.6 to 3.0): 10 to 90 per cent within 0.8 (0.6 to 1.1) T, or g.
    * Screening 0.05 +- 0.1, as for X-rays.

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
    values = (duration_fs, 0.3, 0.7, 1.5, 2.2, 0.05)
    widths = (width, 0.6, math.log(1.6), math.log(1.6), math.log(1.35), 0.1)
    mean = [one.of_value(value) for one, value in zip(names, values, strict=True)]
    return Belief.independent([one.name for one in names], mean, widths)
