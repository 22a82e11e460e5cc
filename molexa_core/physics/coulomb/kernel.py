"""The explosion of point charges, compiled: one molecule in each lane of a vector.

The method is that of `explosion`, stage by stage, but a molecule ends before the last step where
little energy is left.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np

from molexa_core.base.compiled import compiled
from molexa_core.base.tables import FloatArray, IntArray
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
from molexa_core.physics.coulomb.tangents import INSTANT, RISES, TWO_STAGE, begin, carry, finish

ASIDE: Final = 1e3
"""Uncharged atoms stand at multiples of this, bohr: their force is 0 all the same."""
_PASSED: Final = 6.5  # behind the middle of the rise, in its widths: 1 to the last digit
_MIDDLE: Final = 0.5 * STEEPNESS  # of a rise that begins at time 0, in its widths
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
        law: parameters of the build-up; `explode_blocks`.
        factor: share of the charge that is there, of each rise.
        rise: (atoms) which of the rises each atom has.
        extent: 1 over the moment of inertia at the start.
        screening: of close pairs, one row.
        reach: (pairs) square of the distance, bohr, at which screening 1 would halve the square of
            the potential of a pair; in the order 10, 20, 21, 30, ...
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
    law: FloatArray
    factor: FloatArray
    rise: IntArray
    extent: FloatArray
    screening: FloatArray
    reach: FloatArray
    work: FloatArray
    series: FloatArray
    tiny: float


def block(rise: IntArray, numbers: int, reach: FloatArray, dtype: Any) -> Block:
    """A block, in single or double precision.

    Args:
        rise: (atoms) which of the rises each atom has, from 0.
        numbers: of parameters of the build-up.
        reach: (pairs) of `Block`.
        dtype: of the numbers.
    """
    atoms = len(rise)
    return Block(
        x=rows(3 * atoms, dtype),
        v=rows(3 * atoms, dtype),
        y=rows(12 * atoms, dtype),
        k=rows(12 * atoms, dtype),
        q=rows(atoms, dtype),
        c=rows(4 * atoms, dtype),
        mass=rows(atoms, dtype),
        inverse_mass=rows(atoms, dtype),
        law=rows(numbers, dtype),
        factor=rows(int(rise.max()) + 1, dtype),
        rise=rise,
        extent=rows(1, dtype),
        screening=rows(1, dtype),
        reach=np.array(reach, dtype=dtype),
        work=rows(2 * atoms, dtype),
        series=ERFC[np.dtype(dtype).name],
        tiny=float(np.finfo(dtype).tiny),
    )


@compiled
def explode_blocks(
    positions: FloatArray,
    charges: FloatArray,
    masses: FloatArray,
    law: FloatArray,
    screening: FloatArray,
    kind: int,
    steps: int,
    fraction: float,
    left: float,
    b: Any,
    t: Any,
    weights: FloatArray,
    screens: FloatArray,
    momenta: FloatArray,
    derivatives: FloatArray,
) -> None:
    """Asymptotic momenta of molecules.

    A rise has the share erfc(s - r t) / 2 of its charge at time t, atomic units. In two stages
    (`TWO_STAGE`), the share is

        e erfc(3.15 - r t) / 2 + (1 - e) erfc(a - b t - d (w - 1)) / 2,

    w being the root of the moment of inertia over that at the start: 1 at first, and 2 when the
    molecule is twice as large.

    Args:
        positions: (n, atoms, 3) bohr.
        charges: (n, atoms) elementary charges.
        masses: (n, atoms) electron masses.
        law: (n or 1, numbers): s, r of each rise in turn; or e, r, a, b, d; unused for `INSTANT`.
        screening: (n or 1) of close pairs.
        kind: `INSTANT`, `RISES` or `TWO_STAGE`.
        steps: largest number of steps.
        fraction: length of a step relative to the shortest time scale.
        left: potential over kinetic energy from which on straight lines are taken.
        b: a `block` of these atoms.
        t: `tangents.tangents` of these atoms; None for no derivatives.
        weights: (n or 1, directions, atoms, numbers of one rise), `tangents`.
        screens: (n or 1, directions).
        momenta: (n, atoms, 3), the result.
        derivatives: (n, 3 atoms, columns of t), the result.
    """
    n, atoms = charges.shape
    lanes = b.x.shape[1]
    for start in range(0, n, lanes):
        fill(b, positions, charges, masses, law, screening, start)
        if t is not None:
            fill_directions(t, weights, screens, n, start)
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
    law: FloatArray,
    screening: FloatArray,
    start: int,
) -> None:
    """Put the molecules from `start` on into the lanes; the last one as often as lanes are left.

    The centre of mass of the charged atoms becomes the origin.
    """
    n, atoms = charges.shape
    for lane in range(b.x.shape[1]):
        at = min(start + lane, n - 1)
        own = at if len(law) > 1 else 0
        for row in range(law.shape[1]):
            b.law[row, lane] = law[own, row]
        b.screening[0, lane] = screening[at if len(screening) > 1 else 0]
        total = b.tiny
        cx, cy, cz = 0.0, 0.0, 0.0
        for i in range(atoms):
            b.q[i, lane] = charges[at, i]
            b.mass[i, lane] = masses[at, i]
            b.inverse_mass[i, lane] = 1.0 / masses[at, i]
            if charges[at, i] != 0.0:
                total += masses[at, i]
                cx += masses[at, i] * positions[at, i, 0]
                cy += masses[at, i] * positions[at, i, 1]
                cz += masses[at, i] * positions[at, i, 2]
        inertia = b.tiny
        for i in range(atoms):
            b.x[3 * i, lane] = positions[at, i, 0] - cx / total
            b.x[3 * i + 1, lane] = positions[at, i, 1] - cy / total
            b.x[3 * i + 2, lane] = positions[at, i, 2] - cz / total
            for row in range(3 * i, 3 * i + 3):
                b.v[row, lane] = 0.0
                if charges[at, i] == 0.0:
                    b.x[row, lane] = ASIDE * (i + 1)
                inertia += masses[at, i] * b.x[row, lane] * b.x[row, lane]
        b.extent[0, lane] = 1.0 / inertia


@compiled
def fill_directions(t: Any, weights: FloatArray, screens: FloatArray, n: int, start: int) -> None:
    """The directions in which parameters change, for the molecules from `start` on."""
    for lane in range(t.weight.shape[1]):
        at = min(start + lane, n - 1)
        own = at if len(weights) > 1 else 0
        row = 0
        for direction in range(weights.shape[1]):
            for i in range(weights.shape[2]):
                for number in range(weights.shape[3]):
                    t.weight[row, lane] = weights[own, direction, i, number]
                    row += 1
        own = at if len(screens) > 1 else 0
        for direction in range(screens.shape[1]):
            t.screen[direction, lane] = screens[own, direction]


@compiled
def fly(b: Any, t: Any, kind: int, steps: int, fraction: float, left: float) -> None:
    """From rest to the last step; each lane ends by itself, whatever the others do."""
    time = spread(0.0, b.x)
    for stage in range(4):
        build_up(b, time, kind, stage)
    whole = False
    for _ in range(steps):
        late = latest(b, time, kind)
        if not whole and all_greater(0.0 - _PASSED, late):
            whole = True
            for stage in range(4):
                build_up(b, time, INSTANT, stage)
        elif not whole and kind == TWO_STAGE:
            build_up(b, time, kind, 0)
        rate2 = first_stage(b)
        if not whole and kind == RISES and len(b.factor) > 1:
            near2 = approach2(b)
            rate2 = where_greater(near2, rate2, near2, rate2)
        if not whole:
            rate2 = rate2 + rise_rate2(b, time, kind)
        h = fraction * inverse_root(where_greater(rate2, b.tiny, rate2, b.tiny))
        energy = where_greater(0.0 - _PASSED, late, energy_left(b, left), 1.0)
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
def latest(b: Any, time: Any, kind: int) -> Any:
    """How far the latest rise is from its middle, in its widths: above 0 before it."""
    if kind == TWO_STAGE:
        first = _MIDDLE - load(b.law, 1) * time
        second = second_phase(b, time, stretch(b, b.x, 0))
        return where_greater(first, second, first, second)
    found = spread(-2.0 * _PASSED, b.x)
    if kind == RISES:
        for rise in range(len(b.factor)):
            z = load(b.law, 2 * rise) - load(b.law, 2 * rise + 1) * time
            found = where_greater(z, found, z, found)
    return found


@compiled
def stretch(b: Any, at: FloatArray, first: int) -> Any:
    """How large the molecule is relative to the start: root of its moment of inertia."""
    inertia = spread(0.0, b.x)
    for i in range(len(b.q)):
        row = first + 3 * i
        x, y, z = load(at, row), load(at, row + 1), load(at, row + 2)
        inertia = inertia + load(b.mass, i) * (x * x + (y * y + z * z))
    inertia = inertia * load(b.extent, 0)
    return inertia * inverse_root(inertia)


@compiled
def second_phase(b: Any, time: Any, size: Any) -> Any:
    """How far the second stage is from its middle, of a molecule of this relative size."""
    return load(b.law, 2) - load(b.law, 3) * time - load(b.law, 4) * (size - 1.0)


@compiled
def build_up(b: Any, time: Any, kind: int, stage: int) -> None:
    """The charges at the time, and for two stages at the positions, of a stage."""
    one = spread(1.0, b.x)
    atoms = len(b.q)
    if kind == TWO_STAGE:
        z = second_phase(b, time, stretch(b, b.y if stage else b.x, 3 * atoms * stage))
        early = load(b.law, 0)
        first = 0.5 * erfc(_MIDDLE - load(b.law, 1) * time, b.series)
        store(b.factor, 0, early * first + (1.0 - early) * (0.5 * erfc(z, b.series)))
    else:
        for rise in range(len(b.factor)):
            factor = one
            if kind == RISES:
                z = load(b.law, 2 * rise) - load(b.law, 2 * rise + 1) * time
                factor = one if all_greater(0.0 - _PASSED, z) else 0.5 * erfc(z, b.series)
            store(b.factor, rise, factor)
    for i in range(atoms):
        store(b.c, stage * atoms + i, load(b.q, i) * load(b.factor, b.rise[i]))


@compiled
def rise_rate2(b: Any, time: Any, kind: int) -> Any:
    """Square of how fast the charges change, the fastest; `build_up.ErrorFunctionRise.rate`.

    Before a rise begins, the time until then limits the step as well.
    """
    found = spread(0.0, b.x)
    if kind == INSTANT:
        return found
    for rise in range(len(b.factor)):
        if kind == RISES:
            z = load(b.law, 2 * rise) - load(b.law, 2 * rise + 1) * time
            rate = load(b.law, 2 * rise + 1)
        else:
            z = _MIDDLE - load(b.law, 1) * time
            rate = load(b.law, 1)
        ahead = z - _MIDDLE
        rate = rate * (0.5 * erfc(-2.0 * z - 5.0, b.series))
        rate = rate / (1.0 + where_greater(ahead, 0.0, ahead, 0.0))
        rate2 = rate * rate
        found = where_greater(rate2, found, rate2, found)
    if kind == TWO_STAGE:
        size = stretch(b, b.x, 0)
        growth = spread(0.0, b.x)
        for i in range(len(b.q)):
            row = 3 * i
            along = load(b.x, row) * load(b.v, row) + load(b.x, row + 1) * load(b.v, row + 1)
            along = along + load(b.x, row + 2) * load(b.v, row + 2)
            growth = growth + load(b.mass, i) * along
        growth = growth * load(b.extent, 0) / size
        rate = load(b.law, 3) + load(b.law, 4) * growth
        rate = rate * (0.5 * erfc(-2.0 * second_phase(b, time, size) - 5.0, b.series))
        rate2 = rate * rate
        found = where_greater(rate2, found, rate2, found)
    return found


@compiled
def forces(b: Any, stage: int) -> None:
    """Accelerations at the positions of a stage."""
    atoms = len(b.q)
    at, into = stage * atoms, 3 * stage * atoms
    screening, pair = load(b.screening, 0), 0
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
            near2 = dz * dz + (dy * dy + (dx * dx + screening * b.reach[pair]))
            inverse = inverse_root(near2)
            pair += 1
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
    screening, pair = load(b.screening, 0), 0
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
            near2 = dz * dz + (dy * dy + (dx * dx + screening * b.reach[pair]))
            inverse = inverse_root(near2)
            pair += 1
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
    return fastest2(b)


@compiled
def fastest2(b: Any) -> Any:
    """The rate of `first_stage`, squared; makes accelerations of its forces."""
    atoms = len(b.q)
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
