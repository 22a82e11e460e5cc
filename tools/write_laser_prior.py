"""Write the table of docs/explosions-laser-prior.md: what the prior implies for energies.

Usage: python tools/write_laser_prior.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from molexa_core.base.matter.elements import element
from molexa_core.base.tables import FloatArray
from molexa_core.physics.family.family import Fragments
from molexa_core.physics.family.laser_family import LaserFamily, laser_prior
from molexa_core.physics.molecules.library import molecule

PAGE = Path(__file__).resolve().parent.parent / "docs" / "explosions-laser-prior.md"
BEGIN, END = "<!-- computed -->\n", "<!-- end of computed -->"
SEED = 3
DRAWS = 4000
DURATIONS = (5.0, 7.0, 15.0, 35.0, 60.0, 100.0, 200.0)
MOLECULES = (
    ("nitrogen", (1, 1)),
    ("nitrogen", (2, 2)),
    ("nitrogen", (3, 3)),
    ("carbon_dioxide", (1, 1, 1)),
    ("carbon_dioxide", (2, 2, 2)),
    ("carbon_dioxide", (1, 2, 1)),
    ("carbon_dioxide", (3, 2, 3)),
    ("sulfur_dioxide", (2, 2, 2)),
    ("water", (1, 1, 1)),
    ("water", (2, 1, 1)),
)
"""Molecules of the library and charges; the first charge is of the first atom."""


def of_library(name: str, charges: tuple[int, ...]) -> tuple[Fragments, FloatArray]:
    """Ions of a molecule of the library, and its places at rest, bohr."""
    geometry = molecule(name).geometry
    masses = np.array([element(one).isotope_mass for one in geometry.symbols])
    return Fragments(geometry.symbols, np.array(charges, dtype=float), masses), geometry.positions


def whole_energy(ions: Fragments, x: FloatArray) -> float:
    """Coulomb energy of points at these places, a.u."""
    i, j = np.triu_indices(len(x), 1)
    pairs = ions.charges[i] * ions.charges[j] / np.linalg.norm(x[i] - x[j], axis=1)
    return float(pairs.sum())


def shares(ions: Fragments, x: FloatArray, duration: float) -> FloatArray:
    """Kinetic energies over the Coulomb energy of the geometry, by draws from the prior."""
    parameters = laser_prior(duration).draw(np.random.default_rng(SEED), DRAWS)
    p = LaserFamily().explode(ions, np.tile(x, (DRAWS, 1, 1)), parameters)
    return np.asarray((p**2).sum(axis=2) @ (0.5 / ions.masses) / whole_energy(ions, x))


def main() -> None:
    """Compute the table and put it into the page."""
    head = " | ".join(f"{duration:g} fs" for duration in DURATIONS)
    lines = [f"| ions | {head} |", "|---" * (len(DURATIONS) + 1) + "|"]
    for name, charges in MOLECULES:
        ions, x = of_library(name, charges)
        label = " + ".join(
            f"{one}{charge}+" for one, charge in zip(ions.symbols, charges, strict=True)
        )
        row = []
        for duration in DURATIONS:
            found = shares(ions, x, duration)
            low, middle, high = np.quantile(found, [0.025, 0.5, 0.975])
            row.append(f"{middle:.2f} ({low:.2f} to {high:.2f})")
        lines.append(f"| {label} | " + " | ".join(row) + " |")
    page = PAGE.read_text(encoding="utf-8")
    before, after = page.split(BEGIN)[0], page.split(END)[1]
    PAGE.write_text(before + BEGIN + "\n".join(lines) + "\n" + END + after, encoding="utf-8")


if __name__ == "__main__":
    main()
