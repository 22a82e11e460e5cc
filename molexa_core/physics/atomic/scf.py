"""Hartree-Fock-Slater orbitals of an atom or ion in any configuration.

Spherical average, Slater exchange (Phys. Rev. 81, 385 (1951)) and Latter's tail (Phys. Rev. 99, 510
(1955)): V = -Z/r + V_H - (3/2) (3 rho / pi)^(1/3), and never above -(q + 1) / r, where q is the
charge of the ion. A single electron moves in -Z/r: the self-repulsion that Slater exchange does not
cancel is omitted. Atomic units.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.linalg import eigh

from molexa_core.base.errors import ComputationError
from molexa_core.base.tables import FloatArray
from molexa_core.physics.atomic.grid import RadialGrid, radial_grid
from molexa_core.physics.atomic.shells import (
    SUBSHELLS,
    Occupation,
    Subshell,
    occupation_text,
)

TOLERANCE: Final = 1e-6
"""Largest change of r V in one iteration (hartree bohr) that counts as converged."""
ITERATIONS: Final = 200
MIXING: Final = 0.5
DEPTH: Final = 5
"""Share of the new potential in a step, and number of steps in Anderson's mixing."""


@dataclass(frozen=True)
class Orbitals:
    """The self-consistent orbitals of one configuration. s subshells.

    Attributes:
        number: atomic number.
        occupation: electrons in the subshells.
        energy: (s) orbital energies, hartree, including empty subshells.
        u: (s, n) radial functions u = r R at the points of the grid.
        screening: (n) r V_H, the electrons' Coulomb potential times r.
        iterations: steps of the self-consistent field.
        grid: the points.
    """

    number: int
    occupation: Occupation
    energy: FloatArray
    u: FloatArray
    screening: FloatArray
    iterations: int
    grid: RadialGrid

    @property
    def charge(self) -> int:
        """Charge of the ion."""
        return self.number - sum(self.occupation)

    @property
    def tail(self) -> float:
        """Charge that an electron far away sees."""
        return float(min(self.charge + 1, self.number))


def solve_orbitals(
    number: int,
    occupation: Occupation,
    *,
    grid: RadialGrid | None = None,
    start: Orbitals | None = None,
) -> Orbitals:
    """Solve the Hartree-Fock-Slater equations of one configuration.

    Args:
        number: atomic number.
        occupation: electrons in the subshells.
        grid: radial grid; the standard one if not given.
        start: orbitals of a similar configuration on the same grid as initial guess; the result is
            the same within the tolerance, after fewer iterations.

    Raises:
        ComputationError: the field did not become self-consistent.
    """
    grid = grid or radial_grid()
    electrons = np.array(occupation, dtype=float)
    tail = min(number - sum(occupation) + 1.0, float(number))
    mixer = _Anderson()
    if start is None:
        field = -(tail + (number - tail) / (1.0 + 0.6 * number ** (1 / 3) * grid.r) ** 2)
    else:
        density = electrons @ start.u**2
        screening = grid.potential_function(density, 0)
        field = field_of(number, tail, grid.r, density, screening, sum(occupation))
    for iteration in range(1, ITERATIONS + 1):
        energy, u = _orbitals_in(field / grid.r, grid, SUBSHELLS[: len(occupation)])
        density = electrons @ u**2
        screening = grid.potential_function(density, 0)
        new = field_of(number, tail, grid.r, density, screening, sum(occupation))
        change = new - field
        if np.abs(change).max() < TOLERANCE:
            return Orbitals(number, occupation, energy, u, screening, iteration, grid)
        field = mixer.step(field, change)
    raise ComputationError(
        f"the field of {occupation_text(occupation)} with Z = {number} did not become "
        f"self-consistent in {ITERATIONS} iterations"
    )


def field_of(
    number: int,
    tail: float,
    r: FloatArray,
    density: FloatArray,
    screening: FloatArray,
    electrons: int,
) -> FloatArray:
    """The product r V(r) with Slater's exchange and Latter's tail.

    Args:
        number: atomic number.
        tail: charge that an electron far away sees.
        r: radii.
        density: sum of N u^2 over the subshells at these radii.
        screening: r V_H at these radii.
        electrons: number of electrons.
    """
    if electrons <= 1:
        return np.full_like(r, -float(number))
    rho = np.maximum(density, 0.0) / (4.0 * np.pi * r**2)
    exchange = -1.5 * np.cbrt(3.0 / np.pi * rho)
    values: FloatArray = np.minimum(-number + screening + r * exchange, -tail)
    return values


def _orbitals_in(
    potential: FloatArray, grid: RadialGrid, shells: tuple[Subshell, ...]
) -> tuple[FloatArray, FloatArray]:
    """Energies (s) and radial functions (s, n), positive near the nucleus."""
    energy = np.empty(len(shells))
    u = np.empty((len(shells), len(grid.r)))
    for l in sorted({shell.l for shell in shells}):  # noqa: E741
        members = [index for index, shell in enumerate(shells) if shell.l == l]
        matrix = grid.kinetic + np.diag(potential + l * (l + 1) / (2.0 * grid.r**2))
        values, vectors = eigh(
            matrix,
            subset_by_index=(0, len(members) - 1),
            overwrite_a=True,
            check_finite=False,
        )
        for index, value, vector in zip(members, values, vectors.T, strict=True):
            energy[index] = value
            u[index] = vector / np.sqrt(grid.weight) * np.sign(vector[np.argmax(vector**2 > 1e-12)])
    return energy, u


class _Anderson:
    """Anderson's mixing (J. ACM 12, 547 (1965)): the next input from the last few steps."""

    def __init__(self) -> None:
        self._inputs: list[FloatArray] = []
        self._changes: list[FloatArray] = []

    def step(self, value: FloatArray, change: FloatArray) -> FloatArray:
        """The next input, given an input and the change that one iteration made to it."""
        self._inputs = [*self._inputs, value][-DEPTH:]
        self._changes = [*self._changes, change][-DEPTH:]
        best, left = value, change
        if len(self._inputs) > 1:
            moves = np.stack([change - old for old in self._changes[:-1]], axis=1)
            steps = np.stack([value - old for old in self._inputs[:-1]], axis=1)
            share = np.linalg.lstsq(moves, change, rcond=1e-10)[0]
            best, left = value - steps @ share, change - moves @ share
        mixed: FloatArray = best + MIXING * left
        return mixed
