"""Point charges in motion, compiled: forces, velocity Verlet, and what is left at the end."""

from __future__ import annotations

import math
from typing import Any, Final

from molexa_core.base.compiled import compiled
from molexa_core.physics.mcmd.state import potential

LATE: Final = 0.02
"""Coulomb energy over kinetic energy up to which the rest of the motion is a straight line."""
LATE_STEPS: Final = 5000
LATE_GROWTH: Final = 1.05


@compiled
def measure_distances(s: Any) -> None:
    """Inverse distances of all pairs."""
    n = len(s.charge)
    for i in range(n):
        for j in range(i):
            dx = s.x[i, 0] - s.x[j, 0]
            dy = s.x[i, 1] - s.x[j, 1]
            dz = s.x[i, 2] - s.x[j, 2]
            inverse = 1.0 / math.sqrt(dx * dx + dy * dy + dz * dz)
            s.inverse[i, j] = inverse
            s.inverse[j, i] = inverse


@compiled
def push(s: Any) -> float:
    """Forces of the point charges; returns the largest squared frequency of an atom in its field.

    The frequency of atom i is that of the force constant sum_j q_i q_j / r_ij^3.
    """
    n = len(s.charge)
    s.force[:] = 0.0
    largest = 0.0
    for i in range(n):
        if s.charge[i] == 0.0:
            continue
        stiffness = 0.0
        for j in range(n):
            if j == i:
                continue
            strength = s.charge[i] * s.charge[j] * s.inverse[i, j] ** 3
            stiffness += strength
            for axis in range(3):
                s.force[i, axis] += strength * (s.x[i, axis] - s.x[j, axis])
        largest = max(largest, stiffness * s.inverse_mass[i])
    return largest


@compiled
def kick(s: Any, time: float) -> None:
    """Forces act for a time."""
    for i in range(len(s.charge)):
        for axis in range(3):
            s.p[i, axis] += s.force[i, axis] * time


@compiled
def drift(s: Any, time: float) -> None:
    """Atoms fly for a time."""
    for i in range(len(s.charge)):
        for axis in range(3):
            s.x[i, axis] += s.p[i, axis] * s.inverse_mass[i] * time


@compiled
def coulomb_energy(s: Any) -> float:
    """Energy of the charges in each other's field."""
    total = 0.0
    for i in range(len(s.charge)):
        total += 0.5 * s.charge[i] * potential(s, i)
    return total


@compiled
def kinetic_energy(s: Any) -> float:
    """Kinetic energy of all atoms."""
    total = 0.0
    for i in range(len(s.charge)):
        for axis in range(3):
            total += 0.5 * s.p[i, axis] ** 2 * s.inverse_mass[i]
    return total


@compiled
def fly_out(s: Any, accuracy: float) -> None:
    """Go on without events until little Coulomb energy is left.

    Needed only where ions were charged so late that they have hardly moved at the end of the grid.
    """
    h = 1e300
    for _ in range(LATE_STEPS):
        measure_distances(s)
        stiffness = push(s)
        if coulomb_energy(s) <= LATE * kinetic_energy(s):
            return
        h = min(LATE_GROWTH * h, accuracy / math.sqrt(stiffness))
        kick(s, 0.5 * h)
        drift(s, h)
        measure_distances(s)
        push(s)
        kick(s, 0.5 * h)


@compiled
def remaining_impulse(s: Any) -> None:
    """Add the momentum that pairs on straight lines still gain, in closed form.

    int_0^inf (r + v t) / |r + v t|^3 dt = (r/|r| + v/|v|) / (|v| |r| + r . v).
    """
    n = len(s.charge)
    s.force[:] = 0.0
    for i in range(n):
        for j in range(i):
            if s.charge[i] == 0.0 or s.charge[j] == 0.0:
                continue
            product, r2, v2 = 0.0, 0.0, 0.0
            for axis in range(3):
                d = s.x[i, axis] - s.x[j, axis]
                v = s.p[i, axis] * s.inverse_mass[i] - s.p[j, axis] * s.inverse_mass[j]
                product += d * v
                r2 += d * d
                v2 += v * v
            r, speed = math.sqrt(r2), math.sqrt(v2)
            if speed * r + product <= 1e-3 * speed * r:  # at rest, or flying at each other
                continue
            strength = s.charge[i] * s.charge[j] / (speed * r + product)
            for axis in range(3):
                d = s.x[i, axis] - s.x[j, axis]
                v = s.p[i, axis] * s.inverse_mass[i] - s.p[j, axis] * s.inverse_mass[j]
                s.force[i, axis] += strength * (d / r + v / speed)
                s.force[j, axis] -= strength * (d / r + v / speed)
    kick(s, 1.0)
