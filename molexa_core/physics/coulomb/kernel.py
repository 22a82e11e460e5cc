"""The explosion of point charges, compiled: one molecule in each lane of a vector.

The method is that of `explosion`, stage by stage, but a molecule ends before the last step where
little energy is left.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np

from molexa_core.base.compiled import compiled
from molexa_core.base.tables import FloatArray
from molexa_core.physics.coulomb.build_up import STEEPNESS
from molexa_core.physics.coulomb.explosion import (
    NODES,
    POSITION_WEIGHTS,
    STAGES,
    VELOCITY_WEIGHTS,
)
from molexa_core.physics.coulomb.lanes import (
    ERFC,
    add,
    all_greater,
    erfc,
    inverse_root,
    load,
    rows,
    spread,
    store,
    take,
    where_greater,
)
from molexa_core.physics.coulomb.tangents import COMMON, INSTANT, PER_ATOM, begin, carry, finish

ASIDE: Final = 1e3
"""Uncharged atoms stand at multiples of this, bohr: their force is 0 all the same."""
_PASSED: Final = 6.5  # behind the middle of the rise, in its widths: 1 to the last digit
_N1, _N2, _N3 = NODES[1:]
(_A21,), (_A31, _A32), (_A41, _A42, _A43) = STAGES[1:]
_X1, _X2, _X3 = POSITION_WEIGHTS
_V1, _V2, _V3, _V4 = VELOCITY_WEIGHTS


class Block(NamedTuple):
    """Molecules side by side. Arrays of `lanes.rows`; rows of vectors are x, y, z of each atom.

    Attributes:
        x, v: positions and velocities.
        y: positions in the four stages of a step, one behind the other; the first are x.
        k: accelerations of the four stages, one behind the other.
        q: charge of each atom at the end.
        c: charges in the four stages.
        mass, inverse_mass: of each atom.
        tau, onset: of the build-up of each atom, atomic units of time; only the first row where
            the build-up is common.
        work: potentials of the atoms, and their force constants.
        series: of the error function.
        tiny: smallest number of the format.
    """

    x: FloatArray
    v: FloatArray
    y: FloatArray
    k: FloatArray
    q: FloatArray
    c: FloatArray
    mass: FloatArray
    inverse_mass: FloatArray
    tau: FloatArray
    onset: FloatArray
    work: FloatArray
    series: FloatArray
    tiny: float


def block(atoms: int, dtype: Any) -> Block:
    """A block for molecules of so many atoms, in single or double precision."""
    return Block(
        x=rows(3 * atoms, dtype),
        v=rows(3 * atoms, dtype),
        y=rows(12 * atoms, dtype),
        k=rows(12 * atoms, dtype),
        q=rows(atoms, dtype),
        c=rows(4 * atoms, dtype),
        mass=rows(atoms, dtype),
        inverse_mass=rows(atoms, dtype),
        tau=rows(atoms, dtype),
        onset=rows(atoms, dtype),
        work=rows(2 * atoms, dtype),
        series=ERFC[np.dtype(dtype).name],
        tiny=float(np.finfo(dtype).tiny),
    )


@compiled
def explode_blocks(
    positions: FloatArray,
    charges: FloatArray,
    masses: FloatArray,
    tau: FloatArray,
    onset: FloatArray,
    kind: int,
    steps: int,
    fraction: float,
    left: float,
    b: Any,
    t: Any,
    momenta: FloatArray,
    derivatives: FloatArray,
) -> None:
    """Asymptotic momenta of molecules.

    Args:
        positions: (n, atoms, 3) bohr.
        charges: (n, atoms) elementary charges.
        masses: (n, atoms) electron masses.
        tau: (atoms) windows of the rises, atomic units of time.
        onset: (atoms) their beginnings.
        kind: `INSTANT`, `COMMON` or `PER_ATOM`.
        steps: largest number of steps.
        fraction: length of a step relative to the shortest time scale.
        left: potential over kinetic energy from which on straight lines are taken.
        b: a `block` of these atoms.
        t: `tangents.tangents` of these atoms; None for no derivatives.
        momenta: (n, atoms, 3), the result.
        derivatives: (n, 3 atoms, columns of t), the result.
    """
    n, atoms = charges.shape
    lanes = b.x.shape[1]
    for start in range(0, n, lanes):
        fill(b, positions, charges, masses, tau, onset, start)
        if t is not None:
            begin(b, t)
        fly(b, t, kind, steps, fraction, left)
        if t is not None:
            finish(b, t)
        add_remaining(b)
        for lane in range(min(lanes, n - start)):
            for i in range(atoms):
                for axis in range(3):
                    row = 3 * i + axis
                    momenta[start + lane, i, axis] = b.v[row, lane] * b.mass[i, lane]
                    if t is not None:
                        for column in range(t.columns):
                            value = t.p[3 * atoms * column + row, lane]
                            derivatives[start + lane, row, column] = value


@compiled
def fill(
    b: Any,
    positions: FloatArray,
    charges: FloatArray,
    masses: FloatArray,
    tau: FloatArray,
    onset: FloatArray,
    start: int,
) -> None:
    """Put the molecules from `start` on into the lanes; the last one as often as lanes are left."""
    n, atoms = charges.shape
    for lane in range(b.x.shape[1]):
        at = min(start + lane, n - 1)
        for i in range(atoms):
            b.q[i, lane] = charges[at, i]
            b.mass[i, lane] = masses[at, i]
            b.inverse_mass[i, lane] = 1.0 / masses[at, i]
            b.tau[i, lane] = tau[i]
            b.onset[i, lane] = onset[i]
            for axis in range(3):
                b.x[3 * i + axis, lane] = positions[at, i, axis]
                b.v[3 * i + axis, lane] = 0.0
                if charges[at, i] == 0.0:
                    b.x[3 * i + axis, lane] = ASIDE * (i + 1)


@compiled
def fly(b: Any, t: Any, kind: int, steps: int, fraction: float, left: float) -> None:
    """From rest to the last step; each lane ends by itself, whatever the others do."""
    time = spread(0.0, b.x)
    end = end_of_rise(b, kind)
    for stage in range(4):
        build_up(b, time, kind, stage)
    whole = False
    for _ in range(steps):
        if not whole and all_greater(time, end):
            whole = True
            for stage in range(4):
                build_up(b, time, INSTANT, stage)
        rate2 = first_stage(b)
        if not whole and kind == PER_ATOM:
            near2 = approach2(b)
            rate2 = where_greater(near2, rate2, near2, rate2)
        if not whole:
            rate2 = rate2 + rise_rate2(b, time, kind)
        h = fraction * inverse_root(where_greater(rate2, b.tiny, rate2, b.tiny))
        energy = where_greater(time, end, energy_left(b, left), 1.0)
        if all_greater(b.tiny, energy):
            return
        h = where_greater(energy, 0.0, h, 0.0 * h)
        stages(b, time, h, whole, kind)
        if t is not None:
            carry(b, t, time, h, whole, kind)
        time = time + h
        end_step(b, h)


@compiled
def stages(b: Any, time: Any, h: Any, whole: bool, kind: int) -> None:
    """The second to fourth stage of a step from the first."""
    size = 3 * len(b.q)
    for row in range(size):
        shift = _N1 * load(b.v, row) + h * (_A21 * load(b.k, row))
        store(b.y, size + row, load(b.x, row) + h * shift)
    if not whole:
        build_up(b, time + _N1 * h, kind, 1)
    forces(b, 1)
    for row in range(size):
        kicks = _A31 * load(b.k, row) + _A32 * load(b.k, size + row)
        shift = _N2 * load(b.v, row) + h * kicks
        store(b.y, 2 * size + row, load(b.x, row) + h * shift)
    if not whole:
        build_up(b, time + _N2 * h, kind, 2)
    forces(b, 2)
    for row in range(size):
        kicks = _A41 * load(b.k, row) + _A42 * load(b.k, size + row)
        kicks = kicks + _A43 * load(b.k, 2 * size + row)
        shift = _N3 * load(b.v, row) + h * kicks
        store(b.y, 3 * size + row, load(b.x, row) + h * shift)
    if not whole:
        build_up(b, time + h, kind, 3)
    forces(b, 3)


@compiled
def end_step(b: Any, h: Any) -> None:
    """Where the stages of a step lead."""
    size = 3 * len(b.q)
    for row in range(size):
        k1, k2, k3 = load(b.k, row), load(b.k, size + row), load(b.k, 2 * size + row)
        v = load(b.v, row)
        drift = _X1 * k1 + _X2 * k2 + _X3 * k3
        add(b.x, row, h * (v + h * drift))
        kick = _V1 * k1 + _V2 * k2 + _V3 * k3 + _V4 * load(b.k, 3 * size + row)
        store(b.v, row, v + h * kick)
    for i in range(len(b.q)):  # the charges behind a step are those before the next
        store(b.c, i, load(b.c, 3 * len(b.q) + i))


@compiled
def end_of_rise(b: Any, kind: int) -> Any:
    """When all charges are whole to the last digit; before the start if they are at once."""
    found = spread(-1.0, b.x)
    if kind != INSTANT:
        for i in range(len(b.q) if kind == PER_ATOM else 1):
            end = load(b.onset, i) + (0.5 + _PASSED / STEEPNESS) * load(b.tau, i)
            found = where_greater(end, found, end, found)
    return found


@compiled
def build_up(b: Any, time: Any, kind: int, stage: int) -> None:
    """The charges at the time of a stage."""
    factor = spread(1.0, b.x)
    for i in range(len(b.q)):
        if kind == PER_ATOM or (kind == COMMON and i == 0):
            z = STEEPNESS * (0.5 - (time - load(b.onset, i)) / load(b.tau, i))
            factor = spread(1.0, b.x) if all_greater(-_PASSED, z) else 0.5 * erfc(z, b.series)
        store(b.c, stage * len(b.q) + i, load(b.q, i) * factor)


@compiled
def rise_rate2(b: Any, time: Any, kind: int) -> Any:
    """Square of how fast the charges change, the fastest; `build_up.ErrorFunctionRise.rate`.

    Before a rise begins, the time until then limits the step as well.
    """
    found = spread(0.0, b.x)
    if kind == INSTANT:
        return found
    for i in range(len(b.q) if kind == PER_ATOM else 1):
        tau = load(b.tau, i)
        since = time - load(b.onset, i)
        behind = STEEPNESS * (since / tau - 0.5) - 2.5
        ahead = where_greater(since, 0.0, 0.0 * since, 0.0 - since)
        rate = (0.5 * STEEPNESS) * erfc(2.0 * behind, b.series) / (tau + STEEPNESS * ahead)
        rate2 = rate * rate
        found = where_greater(rate2, found, rate2, found)
    return found


@compiled
def forces(b: Any, stage: int) -> None:
    """Accelerations at the positions of a stage."""
    atoms = len(b.q)
    at, into = stage * atoms, 3 * stage * atoms
    for i in range(atoms):
        xi, yi, zi = (
            load(b.y, into + 3 * i),
            load(b.y, into + 3 * i + 1),
            load(b.y, into + 3 * i + 2),
        )
        ci = load(b.c, at + i)
        zero = spread(0.0, b.x)
        ax, ay, az = zero, zero, zero
        for j in range(i):
            dx = xi - load(b.y, into + 3 * j)
            dy = yi - load(b.y, into + 3 * j + 1)
            dz = zi - load(b.y, into + 3 * j + 2)
            inverse = inverse_root(dz * dz + (dy * dy + dx * dx))
            strength = (ci * load(b.c, at + j)) * inverse * (inverse * inverse)
            row = into + 3 * j
            ax = ax + strength * dx
            ay = ay + strength * dy
            az = az + strength * dz
            take(b.k, row, strength * dx)
            take(b.k, row + 1, strength * dy)
            take(b.k, row + 2, strength * dz)
        row = into + 3 * i
        store(b.k, row, ax)
        store(b.k, row + 1, ay)
        store(b.k, row + 2, az)
    for i in range(atoms):
        inverse_mass = load(b.inverse_mass, i)
        for row in range(into + 3 * i, into + 3 * i + 3):
            store(b.k, row, load(b.k, row) * inverse_mass)


@compiled
def first_stage(b: Any) -> Any:
    """Accelerations at the positions x, into the first rows of k; the square of the rate.

    The rate is that of `explosion.first_stage`. Leaves potentials of the atoms in `work`.
    """
    atoms = len(b.q)
    for i in range(atoms):
        xi, yi, zi = load(b.x, 3 * i), load(b.x, 3 * i + 1), load(b.x, 3 * i + 2)
        ci = load(b.c, i)
        zero = spread(0.0, b.x)
        ax, ay, az, potential, stiffness = zero, zero, zero, zero, zero
        for j in range(i):
            dx = xi - load(b.x, 3 * j)
            dy = yi - load(b.x, 3 * j + 1)
            dz = zi - load(b.x, 3 * j + 2)
            cj = load(b.c, j)
            inverse = inverse_root(dz * dz + (dy * dy + dx * dx))
            cubed = inverse * (inverse * inverse)
            strength = ci * cj * cubed
            row = 3 * j
            ax = ax + strength * dx
            ay = ay + strength * dy
            az = az + strength * dz
            take(b.k, row, strength * dx)
            take(b.k, row + 1, strength * dy)
            take(b.k, row + 2, strength * dz)
            potential = potential + cj * inverse
            stiffness = stiffness + cj * cubed
            add(b.work, j, ci * inverse)
            add(b.work, atoms + j, ci * cubed)
        row = 3 * i
        store(b.k, row, ax)
        store(b.k, row + 1, ay)
        store(b.k, row + 2, az)
        store(b.work, i, potential)
        store(b.work, atoms + i, stiffness)
    stiff = spread(0.0, b.x)
    flight = spread(0.0, b.x)
    for i in range(atoms):
        inverse_mass = load(b.inverse_mass, i)
        c = load(b.c, i)
        speed2 = spread(0.0, b.x)
        near2 = spread(0.0, b.x)
        # Field over potential before squaring: far out the square would be 0.
        level = c * load(b.work, i)
        level = 1.0 / where_greater(level, b.tiny, level, b.tiny)
        for row in range(3 * i, 3 * i + 3):
            force = load(b.k, row)
            near = force * level
            near2 = near2 + near * near
            v = load(b.v, row)
            speed2 = speed2 + v * v
            store(b.k, row, force * inverse_mass)
        stiffness = c * inverse_mass * load(b.work, atoms + i)
        stiff = where_greater(stiffness, stiff, stiffness, stiff)
        flies = near2 * speed2
        flight = where_greater(flies, flight, flies, flight)
    return stiff + flight


@compiled
def approach2(b: Any) -> Any:
    """Square of the rate of flight past atoms that are not charged yet, the fastest.

    The flight of `first_stage`, with the charges at the end.
    """
    atoms = len(b.q)
    found = spread(0.0, b.x)
    for i in range(atoms):
        fx, fy, fz, potential = found * 0.0, found * 0.0, found * 0.0, found * 0.0
        for j in range(atoms):
            if j != i:
                dx = load(b.x, 3 * i) - load(b.x, 3 * j)
                dy = load(b.x, 3 * i + 1) - load(b.x, 3 * j + 1)
                dz = load(b.x, 3 * i + 2) - load(b.x, 3 * j + 2)
                inverse = inverse_root(dz * dz + (dy * dy + dx * dx))
                level = load(b.q, j) * inverse
                potential = potential + level
                level = level * (inverse * inverse)
                fx, fy, fz = fx + level * dx, fy + level * dy, fz + level * dz
        scale = 1.0 / where_greater(potential, b.tiny, potential, b.tiny)
        fx, fy, fz = fx * scale, fy * scale, fz * scale
        vx, vy, vz = load(b.v, 3 * i), load(b.v, 3 * i + 1), load(b.v, 3 * i + 2)
        rate2 = (fx * fx + fy * fy + fz * fz) * (vx * vx + vy * vy + vz * vz)
        found = where_greater(rate2, found, rate2, found)
    return found


@compiled
def energy_left(b: Any, left: float) -> Any:
    """Twice the potential energy less `left` times the kinetic energy; 0 where nothing moves."""
    found = spread(0.0, b.x)
    for i in range(len(b.q)):
        speed2 = spread(0.0, b.x)
        for row in range(3 * i, 3 * i + 3):
            v = load(b.v, row)
            speed2 = speed2 + v * v
        found = found + (load(b.c, i) * load(b.work, i) - left * load(b.mass, i) * speed2)
    return found


@compiled
def add_remaining(b: Any) -> None:
    """Add to the velocities what is gained on straight lines; `explosion.remaining_velocity`."""
    atoms = len(b.q)
    for row in range(3 * atoms):
        store(b.k, row, spread(0.0, b.x))
    for i in range(atoms):
        for j in range(i):
            dx = load(b.x, 3 * i) - load(b.x, 3 * j)
            dy = load(b.x, 3 * i + 1) - load(b.x, 3 * j + 1)
            dz = load(b.x, 3 * i + 2) - load(b.x, 3 * j + 2)
            wx = load(b.v, 3 * i) - load(b.v, 3 * j)
            wy = load(b.v, 3 * i + 1) - load(b.v, 3 * j + 1)
            wz = load(b.v, 3 * i + 2) - load(b.v, 3 * j + 2)
            r2 = dx * dx + dy * dy + dz * dz
            inverse = inverse_root(r2)
            speed2 = wx * wx + wy * wy + wz * wz
            # A pair without relative motion has no impulse that is finite.
            speed2 = where_greater(speed2, b.tiny, speed2, 1.0)
            slow = inverse_root(speed2)
            closing = (speed2 * slow) * (r2 * inverse) + (dx * wx + dy * wy + dz * wz)
            product = load(b.q, i) * load(b.q, j)
            # An uncharged atom is not where it was set aside.
            closing = where_greater(product * product, 0.0, closing, 1.0)
            strength = product / closing
            gx = strength * (dx * inverse + wx * slow)
            gy = strength * (dy * inverse + wy * slow)
            gz = strength * (dz * inverse + wz * slow)
            add(b.k, 3 * i, gx)
            add(b.k, 3 * i + 1, gy)
            add(b.k, 3 * i + 2, gz)
            take(b.k, 3 * j, gx)
            take(b.k, 3 * j + 1, gy)
            take(b.k, 3 * j + 2, gz)
    for i in range(atoms):
        inverse_mass = load(b.inverse_mass, i)
        for row in range(3 * i, 3 * i + 3):
            add(b.v, row, load(b.k, row) * inverse_mass)
