"""The explosion of point charges, compiled: one molecule in each lane of a vector.

The method is that of `explosion`, stage by stage, but a molecule ends before the last step where
little energy is left.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np

from molexa_core.base.compiled import compiled
from molexa_core.base.tables import FloatArray, IntArray
from molexa_core.physics.coulomb.build_up import FADES, STEEPNESS
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
_ALMOST: Final = -2.0  # 0.998
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
        phases: number of rises, or of stages.
        extent: 1 over the moment of inertia at the start.
        size: relative to the start, at the beginning of a step, for two stages.
        screening: of close pairs, one row.
        lost: 0, or no number where a pair is so close that its potential is none; one row.
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
    phases: int
    extent: FloatArray
    size: FloatArray
    screening: FloatArray
    lost: FloatArray
    reach: FloatArray
    work: FloatArray
    series: FloatArray
    tiny: float


def block(rise: IntArray, phases: int, numbers: int, reach: FloatArray, dtype: Any) -> Block:
    """A block, in single or double precision.

    Args:
        rise: (atoms) which of the rises each atom has, from 0.
        phases: number of rises, or of stages.
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
        factor=rows(phases, dtype),
        rise=rise,
        phases=phases,
        extent=rows(1, dtype),
        size=rows(1, dtype),
        screening=rows(1, dtype),
        lost=rows(1, dtype),
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
            at = start + lane
            for i in range(atoms):
                for axis in range(3):
                    row = 3 * i + axis
                    momenta[at, i, axis] = b.v[row, lane] * b.mass[i, lane] + b.lost[0, lane]
                    if t is not None:
                        for column in range(t.columns):
                            derivatives[at, row, column] = t.p[3 * atoms * column + row, lane]


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
        b.lost[0, lane] = 0.0
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
        if b.screening[0, lane] < 0.0:
            leave_out(b, lane)


@compiled
def leave_out(b: Any, lane: int) -> None:
    """Give up a molecule in which screening below 0 leaves a pair without a potential."""
    pair = 0
    for i in range(len(b.q)):
        for j in range(i):
            r2 = 0.0
            for axis in range(3):
                r2 += (b.x[3 * i + axis, lane] - b.x[3 * j + axis, lane]) ** 2
            if r2 + b.screening[0, lane] * b.reach[pair] <= 0.0:
                b.lost[0, lane] = np.nan
                b.screening[0, lane] = 0.0
            pair += 1


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
    whole = False
    for number in range(steps):
        late = latest(b, time, kind)
        if not whole:
            whole = all_greater(0.0 - _PASSED, late)
            if whole or number == 0 or kind == TWO_STAGE:
                for stage in range(4 if whole else 1):
                    build_up(b, time, INSTANT if whole else kind, stage)
        rate2 = first_stage(b)
        if not whole:
            if b.phases > 1 and kind == RISES and not all_greater(_ALMOST, late):
                near2 = approach2(b)
                rate2 = where_greater(near2, rate2, near2, rate2)
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
    """The second to fourth stage of a step from the first.

    One loop: each copy of what it calls would be compiled by itself.
    """
    size = 3 * len(b.q)
    for stage in range(1, 4):
        node = 1.0
        if stage == 1:
            node = _N1
            for row in range(size):
                shift = _N1 * load(b.v, row) + h * (_A21 * load(b.k, row))
                store(b.y, size + row, load(b.x, row) + h * shift)
        elif stage == 2:
            node = _N2
            for row in range(size):
                kicks = _A31 * load(b.k, row) + _A32 * load(b.k, size + row)
                shift = _N2 * load(b.v, row) + h * kicks
                store(b.y, 2 * size + row, load(b.x, row) + h * shift)
        else:
            for row in range(size):
                kicks = _A41 * load(b.k, row) + _A42 * load(b.k, size + row)
                kicks = kicks + _A43 * load(b.k, 2 * size + row)
                shift = _N3 * load(b.v, row) + h * kicks
                store(b.y, 3 * size + row, load(b.x, row) + h * shift)
        if not whole:
            build_up(b, time + node * h, kind, stage)
        forces(b, stage)


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
    found = spread(-2.0 * _PASSED, b.x)
    if kind != INSTANT:
        size = stretch(b, kind, 0)
        store(b.size, 0, size)
        for phase in range(b.phases):
            z = until_middle(b, time, kind, phase, size)
            found = where_greater(z, found, z, found)
    return found


@compiled
def until_middle(b: Any, time: Any, kind: int, phase: int, size: Any) -> Any:
    """How far a rise, or one of two stages, is from its middle, in its widths."""
    if kind == RISES:
        return load(b.law, 2 * phase) - load(b.law, 2 * phase + 1) * time
    if phase == 0:
        return _MIDDLE - load(b.law, 1) * time
    return load(b.law, 2) - load(b.law, 3) * time - load(b.law, 4) * (size - 1.0)


@compiled
def stretch(b: Any, kind: int, stage: int) -> Any:
    """How large the molecule is relative to the start, for two stages: root of its inertia."""
    if kind != TWO_STAGE:
        return spread(1.0, b.x)
    inertia = spread(0.0, b.x)
    first = 3 * stage * len(b.q)
    at = b.y if stage else b.x
    for i in range(len(b.q)):
        row = first + 3 * i
        x, y, z = load(at, row), load(at, row + 1), load(at, row + 2)
        inertia = inertia + load(b.mass, i) * (x * x + (y * y + z * z))
    inertia = inertia * load(b.extent, 0)
    return inertia * inverse_root(inertia)


@compiled
def build_up(b: Any, time: Any, kind: int, stage: int) -> None:
    """The charges at the time, and for two stages at the positions, of a stage."""
    one = spread(1.0, b.x)
    atoms = len(b.q)
    size = stretch(b, kind, stage) if stage else load(b.size, 0)
    for phase in range(b.phases):
        factor = one
        if kind != INSTANT:
            z = until_middle(b, time, kind, phase, size)
            factor = one if all_greater(0.0 - _PASSED, z) else 0.5 * erfc(z, b.series)
        store(b.factor, phase, factor)
    if kind == TWO_STAGE:
        early, late = load(b.factor, 0), load(b.factor, 1)
        store(b.factor, 0, late + load(b.law, 0) * (early - late))
    for i in range(atoms):
        store(b.c, stage * atoms + i, load(b.q, i) * load(b.factor, b.rise[i]))


@compiled
def rise_rate2(b: Any, time: Any, kind: int) -> Any:
    """Square of how fast the charges change, the fastest; `build_up.ErrorFunctionRise.rate`.

    Before a rise begins, the time until then limits the step as well.
    """
    found, size = spread(0.0, b.x), load(b.size, 0)
    for phase in range(b.phases):
        z = until_middle(b, time, kind, phase, size)
        if kind == TWO_STAGE and phase == 1:
            rate = load(b.law, 3) + load(b.law, 4) * (growth(b) / size)
        else:
            ahead = z - _MIDDLE
            rate = load(b.law, 1 if kind == TWO_STAGE else 2 * phase + 1)
            rate = rate / (1.0 + where_greater(ahead, 0.0, ahead, 0.0))
        over = 0.5 + FADES * (z + 2.5)
        over = where_greater(over, 1.0, 1.0, where_greater(over, 0.0, over, 0.0))
        rate = rate * over
        rate2 = rate * rate
        found = where_greater(rate2, found, rate2, found)
    return found


@compiled
def growth(b: Any) -> Any:
    """Half of the change of the moment of inertia with time, over that at the start."""
    found = spread(0.0, b.x)
    for i in range(len(b.q)):
        row = 3 * i
        along = load(b.x, row) * load(b.v, row) + load(b.x, row + 1) * load(b.v, row + 1)
        along = along + load(b.x, row + 2) * load(b.v, row + 2)
        found = found + load(b.mass, i) * along
    return found * load(b.extent, 0)


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

    The flight of `first_stage`, with the charges at the end. Uses rows of the second stage.
    """
    atoms = len(b.q)
    force, level = 3 * atoms, 3 * atoms
    screening, pair = load(b.screening, 0), 0
    for i in range(atoms):
        xi, yi, zi = load(b.x, 3 * i), load(b.x, 3 * i + 1), load(b.x, 3 * i + 2)
        qi = load(b.q, i)
        zero = spread(0.0, b.x)
        fx, fy, fz, potential = zero, zero, zero, zero
        for j in range(i):
            dx = xi - load(b.x, 3 * j)
            dy = yi - load(b.x, 3 * j + 1)
            dz = zi - load(b.x, 3 * j + 2)
            near2 = dz * dz + (dy * dy + (dx * dx + screening * b.reach[pair]))
            inverse = inverse_root(near2)
            pair += 1
            cubed = inverse * (inverse * inverse)
            qj = load(b.q, j)
            potential = potential + qj * inverse
            add(b.y, level + j, qi * inverse)
            here, there = qj * cubed, qi * cubed
            fx, fy, fz = fx + here * dx, fy + here * dy, fz + here * dz
            row = force + 3 * j
            take(b.k, row, there * dx)
            take(b.k, row + 1, there * dy)
            take(b.k, row + 2, there * dz)
        store(b.y, level + i, potential)
        store(b.k, force + 3 * i, fx)
        store(b.k, force + 3 * i + 1, fy)
        store(b.k, force + 3 * i + 2, fz)
    found = spread(0.0, b.x)
    for i in range(atoms):
        potential = load(b.y, level + i)
        scale = 1.0 / where_greater(potential, b.tiny, potential, b.tiny)
        near2, speed2 = spread(0.0, b.x), spread(0.0, b.x)
        for row in range(3 * i, 3 * i + 3):
            near, v = load(b.k, force + row) * scale, load(b.v, row)
            near2 = near2 + near * near
            speed2 = speed2 + v * v
        rate2 = near2 * speed2
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
