"""Motion of point charges, compiled: forces, velocity Verlet, remaining impulse at the end."""

from __future__ import annotations

import math
from typing import Any, Final

from molexa_core.base.compiled import compiled
from molexa_core.base.tables import FloatArray
from molexa_core.physics.mcmd.state import NEAREST2, potential

LATE: Final = 0.01
"""Ratio of Coulomb to kinetic energy below which ions are assumed to fly on straight lines."""
LATE_STEPS: Final = 5000
LATE_GROWTH: Final = 1.05


@compiled
def measure_distances(x: FloatArray, inverse: FloatArray) -> None:
    """Compute inverse distances (n, n) of all pairs; the diagonal is not changed."""
    for i in range(len(x)):
        for j in range(i):
            dx, dy, dz = x[i, 0] - x[j, 0], x[i, 1] - x[j, 1], x[i, 2] - x[j, 2]
            value = 1.0 / math.sqrt(dx * dx + dy * dy + dz * dz + NEAREST2)
            inverse[i, j] = value
            inverse[j, i] = value


@compiled
def push(
    x: FloatArray,
    inverse: FloatArray,
    charge: FloatArray,
    inverse_mass: FloatArray,
    force: FloatArray,
    stiffness: FloatArray,
) -> float:
    """Forces of the point charges; returns the largest squared frequency of an atom in its field.

    The frequency of atom i is that of the force constant sum_j q_i q_j / r_ij^3.
    """
    n = len(charge)
    for i in range(n):
        stiffness[i] = 0.0
        force[i, 0] = force[i, 1] = force[i, 2] = 0.0
        for j in range(i):
            value = inverse[i, j]
            strength = charge[i] * charge[j] * (value * value * value)
            stiffness[i] += strength
            stiffness[j] += strength
            fx = strength * (x[i, 0] - x[j, 0])
            fy = strength * (x[i, 1] - x[j, 1])
            fz = strength * (x[i, 2] - x[j, 2])
            force[i, 0] += fx
            force[i, 1] += fy
            force[i, 2] += fz
            force[j, 0] -= fx
            force[j, 1] -= fy
            force[j, 2] -= fz
    largest = 0.0
    for i in range(n):
        largest = max(largest, stiffness[i] * inverse_mass[i])
    return largest


@compiled
def kick(p: FloatArray, force: FloatArray, time: float) -> None:
    """Change the momenta by constant forces during a time."""
    for i in range(len(p)):
        p[i, 0] += force[i, 0] * time
        p[i, 1] += force[i, 1] * time
        p[i, 2] += force[i, 2] * time


@compiled
def drift(x: FloatArray, p: FloatArray, inverse_mass: FloatArray, time: float) -> None:
    """Move the atoms with constant velocities during a time."""
    for i in range(len(x)):
        scale = inverse_mass[i] * time
        x[i, 0] += p[i, 0] * scale
        x[i, 1] += p[i, 1] * scale
        x[i, 2] += p[i, 2] * scale


@compiled
def coulomb_energy(s: Any) -> float:
    """Coulomb energy of all charges."""
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
    """Continue the motion without events until little Coulomb energy is left.

    This is needed only if ions were charged so late that they have hardly moved at the end of the
    time grid.
    """
    h = 1e300
    for _ in range(LATE_STEPS):
        measure_distances(s.x, s.inverse)
        squared = push(s.x, s.inverse, s.charge, s.inverse_mass, s.force, s.stiffness)
        if coulomb_energy(s) <= LATE * kinetic_energy(s):
            return
        h = min(LATE_GROWTH * h, accuracy / math.sqrt(squared))
        kick(s.p, s.force, 0.5 * h)
        drift(s.x, s.p, s.inverse_mass, h)
        measure_distances(s.x, s.inverse)
        push(s.x, s.inverse, s.charge, s.inverse_mass, s.force, s.stiffness)
        kick(s.p, s.force, 0.5 * h)


@compiled
def remaining_impulse(s: Any) -> None:
    """Add the remaining impulse of pairs on straight lines, in closed form.

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
            if speed * r + product <= 1e-3 * speed * r:  # at rest, or approaching head-on
                continue
            strength = s.charge[i] * s.charge[j] / (speed * r + product)
            for axis in range(3):
                d = s.x[i, axis] - s.x[j, axis]
                v = s.p[i, axis] * s.inverse_mass[i] - s.p[j, axis] * s.inverse_mass[j]
                s.force[i, axis] += strength * (d / r + v / speed)
                s.force[j, axis] -= strength * (d / r + v / speed)
    kick(s.p, s.force, 1.0)
