"""Fit the prior of explosions in laser pulses to energies that are expected before measuring.

The energies, over the Coulomb energy of the molecule at rest, were elicited from the literature
without sight of the model or of a measured run (docs/explosions-laser-prior.md). Quantiles of draws
from the prior are moved to theirs by least squares, held to numbers that make sense. The prior has
rounded numbers near the result. Prints both, and how far each is from the table.

Usage: python -m tools.fit_laser_prior
"""

from __future__ import annotations

from typing import Final

import numpy as np
from scipy.optimize import least_squares
from scipy.stats import norm, qmc

from molexa_core.base.tables import FloatArray
from molexa_core.physics.family.family import Fragments
from molexa_core.physics.family.laser_family import LaserFamily, laser_prior
from tools.write_laser_prior import DURATIONS, of_library, whole_energy

QUANTILES: Final = (0.025, 0.16, 0.5, 0.84, 0.975)
TRIATOMIC: Final = np.array(
    [
        [0.62, 0.73, 0.82, 0.91, 1.00],
        [0.56, 0.67, 0.77, 0.87, 0.97],
        [0.48, 0.57, 0.67, 0.77, 0.88],
        [0.41, 0.50, 0.59, 0.69, 0.80],
        [0.38, 0.46, 0.55, 0.65, 0.76],
        [0.36, 0.44, 0.52, 0.62, 0.73],
        [0.32, 0.40, 0.49, 0.58, 0.70],
    ]
)
"""Of CO2 in 2+ ions at `DURATIONS`, by `QUANTILES`."""
DIATOMIC: Final = np.array([0.81, 0.76, 0.66, 0.59, 0.55, 0.51, 0.48])
"""Of N2 in 2+ ions: middle."""
DIATOMIC_HALF: Final = np.array([0.085, 0.085, 0.085, 0.08, 0.08, 0.0675, 0.0675])
"""Half of the central 68 per cent of it."""
NAMES: Final = (
    *("logit e", "ln T/D", "ln g at 35 fs", "ln a", "screening"),
    *(f"width of {one}" for one in ("logit e", "ln T/D", "ln g", "ln a", "screening")),
    "power of g with D",
)
SENSIBLE: Final = np.array(
    [-1.4, np.log(2.0), np.log(1.5), np.log(1.6), 0.15, 0.5, 0.75, 0.3, 0.3, 0.12, -0.1]
)
HELD: Final = np.array([0.3, 0.2, 0.2, 0.2, 0.03, 0.1, 0.1, 0.05, 0.1, 0.02, 0.05])
"""How far from them costs as much as three medians of CO2 that are 0.016 away."""
_LOG2_DRAWS: Final = 11

Case = tuple[Fragments, FloatArray]


def quantiles(case: Case, numbers: FloatArray, draws: FloatArray) -> FloatArray:
    """(durations, quantiles) of energies over that of the molecule at rest."""
    ions, x = case
    rows = []
    for duration in DURATIONS:
        mean = numbers[:5].copy()
        mean[2] += numbers[10] * np.log(duration / 35.0)
        drawn = mean + draws * numbers[5:10]
        given = np.column_stack([np.full(len(draws), np.log(duration)), drawn])
        p = LaserFamily().explode(ions, np.tile(x, (len(draws), 1, 1)), given)
        energy = (p**2).sum(axis=2) @ (0.5 / ions.masses) / whole_energy(ions, x)
        rows.append(np.nanquantile(energy, QUANTILES))
    return np.array(rows)


def deviations(co2: FloatArray, n2: FloatArray) -> list[FloatArray]:
    """Deviations from the tables.

    Medians of CO2, its 68 and 95 per cent widths in proportion, medians of N2, its 68 per cent.
    """
    return [
        co2[:, 2] - TRIATOMIC[:, 2],
        (co2[:, 3] - co2[:, 1]) / (TRIATOMIC[:, 3] - TRIATOMIC[:, 1]) - 1.0,
        (co2[:, 4] - co2[:, 0]) / (TRIATOMIC[:, 4] - TRIATOMIC[:, 0]) - 1.0,
        n2[:, 2] - DIATOMIC,
        (n2[:, 3] - n2[:, 1]) / (2.0 * DIATOMIC_HALF) - 1.0,
    ]


def fit(co2: Case, n2: Case, draws: FloatArray) -> FloatArray:
    """The numbers of `NAMES`; large deviations count by their fourth powers."""
    bars = (0.016, 0.12, 0.12, 0.024, 0.25)

    def residuals(numbers: FloatArray) -> FloatArray:
        off = deviations(quantiles(co2, numbers, draws), quantiles(n2, numbers, draws))
        scaled = [one / bar for one, bar in zip(off, bars, strict=True)]
        costs = [one * np.abs(one) for one in scaled]
        return np.concatenate([*costs, np.sqrt(3.0) * (numbers - SENSIBLE) / HELD])

    bounds = (SENSIBLE - 3 * HELD, SENSIBLE + 3 * HELD)
    found = least_squares(
        residuals, SENSIBLE, bounds=bounds, x_scale=HELD, diff_step=0.02, max_nfev=15
    )
    return np.asarray(found.x)


def main() -> None:
    """Fit, and print the result beside the numbers of the program."""
    co2, n2 = of_library("carbon_dioxide", (2, 2, 2)), of_library("nitrogen", (2, 2))
    draws = norm.ppf(qmc.Sobol(5, seed=1).random_base2(_LOG2_DRAWS))
    fitted = fit(co2, n2, draws)
    prior = laser_prior(35.0)
    slope = (laser_prior(70.0).mean[3] - prior.mean[3]) / np.log(2.0)
    used = np.array([*prior.mean[1:], *prior.width[1:], slope])
    for name, one, other in zip(NAMES, fitted, used, strict=True):
        print(f"{name:24s} fitted {one:7.3f}   in the program {other:7.3f}")
    for label, numbers in (("fitted", fitted), ("in the program", used)):
        print(label)
        off = deviations(quantiles(co2, numbers, draws), quantiles(n2, numbers, draws))
        for what, values in zip(
            ("CO2 middle", "CO2 68 %", "CO2 95 %", "N2 middle", "N2 68 %"), off, strict=True
        ):
            print(f"  {what:10s}", " ".join(f"{value:+6.3f}" for value in values))


if __name__ == "__main__":
    main()
