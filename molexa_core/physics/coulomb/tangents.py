"""Derivatives of compiled explosions, carried along with them.

A small change of the start, or of a parameter of the build-up, moves the atoms by J(t); along the
path J'' = G(t, x) J + s(t), where G is the gradient of the accelerations and s what the change of
the charges does (the variational equation: Hairer, Norsett, Wanner, Solving Ordinary Differential
Equations I, section I.14). It is integrated by the method of `explosion` in the same steps, whose
lengths are not differentiated. One column of J after the other stays in the cache.
"""

from __future__ import annotations

import math
from typing import Any, Final, NamedTuple

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
    add,
    erfc,
    exp_minus_square,
    inverse_root,
    load,
    rows,
    spread,
    store,
    take,
    where_greater,
)

INSTANT: Final = 0
RISES: Final = 1
TWO_STAGE: Final = 2
"""Kinds of build-up: none, with time alone, and with time and the size of the molecule."""
_N1, _N2, _N3 = NODES[1:]
(_A21,), (_A31, _A32), (_A41, _A42, _A43) = STAGES[1:]
_X1, _X2, _X3 = POSITION_WEIGHTS
_V1, _V2, _V3, _V4 = VELOCITY_WEIGHTS
_PAIR: Final = 5
_SLOPE: Final = 1.0 / math.sqrt(math.pi)


class Tangents(NamedTuple):
    """Derivatives of the molecules of a `kernel.Block`. Rows as there, one column behind the other.

    Columns are the coordinates of all atoms but the last, whose derivatives are what keeps the sum
    zero; or the momenta of all atoms at the start; then directions: changes of the parameters of
    the build-up, of each atom by itself, and of the screening.

    Attributes:
        columns, starts: numbers of columns, and of those that are coordinates or momenta.
        kicks: whether they are momenta.
        x, v, p: of positions, velocities, and at last momenta.
        y, k: of one column within a step.
        pairs: difference, 1 / r^3 and 3 / r^2 of each pair in the four stages.
        rises: number of rises.
        numbers: of parameters of one rise.
        weight: their change along each direction, for each atom.
        screen: change of the screening along each direction.
        slope: of the share of the charge of each rise in the four stages, by its parameters; for
            two stages, then by the moment of inertia, and by that at the start.
        extent: change of the moment of inertia at the start, over itself, by each coordinate.
        change: of the charges in one stage.
    """

    columns: int
    starts: int
    kicks: bool
    x: FloatArray
    v: FloatArray
    p: FloatArray
    y: FloatArray
    k: FloatArray
    pairs: FloatArray
    rises: int
    numbers: int
    weight: FloatArray
    screen: FloatArray
    slope: FloatArray
    extent: FloatArray
    change: FloatArray


def tangents(
    atoms: int,
    dtype: Any,
    *,
    coordinates: bool = False,
    kicks: bool = False,
    directions: int = 0,
    numbers: int = 0,
    rises: int = 1,
) -> Tangents:
    """Room for the derivatives.

    Args:
        atoms: in each molecule.
        dtype: single or double precision.
        coordinates: whether by the positions.
        kicks: whether by the momenta at the start instead.
        directions: number of changes of parameters.
        numbers: of parameters of one rise.
        rises: of how many rises.
    """
    starts = 3 * atoms if kicks else 3 * (atoms - 1) if coordinates else 0
    columns = starts + directions
    size = 3 * atoms
    return Tangents(
        columns=columns,
        starts=starts,
        kicks=kicks,
        x=rows(size * columns, dtype),
        v=rows(size * columns, dtype),
        p=rows(size * columns, dtype),
        y=rows(size, dtype),
        k=rows(4 * size, dtype),
        pairs=rows(2 * _PAIR * atoms * (atoms - 1), dtype),
        rises=rises,
        numbers=numbers,
        weight=rows(directions * atoms * numbers, dtype),
        screen=rows(directions, dtype),
        slope=rows(4 * rises * (numbers + 2), dtype),
        extent=rows(starts, dtype),
        change=rows(atoms, dtype),
    )


@compiled
def begin(b: Any, t: Any) -> None:
    """At rest: positions, or momenta, change with themselves, and nothing else does."""
    size = 3 * len(b.q)
    zero, one = spread(0.0, b.x), spread(1.0, b.x)
    for row in range(size * t.columns):
        store(t.x, row, zero)
        store(t.v, row, zero)
        store(t.p, row, zero)
    for column in range(t.starts):
        if t.kicks:
            store(t.v, size * column + column, load(b.inverse_mass, column // 3))
            store(t.extent, column, zero)
        else:
            store(t.x, size * column + column, one)
            moment = load(b.mass, column // 3) * load(b.x, column) * load(b.extent, 0)
            store(t.extent, column, 2.0 * moment)


@compiled
def carry(b: Any, t: Any, time: Any, h: Any, whole: bool, kind: int) -> None:
    """One step of all columns, from the stages of the step of the block."""
    size = 3 * len(b.q)
    measure_pairs(b, t)
    if not whole and kind != INSTANT:
        for stage in range(4):
            measure_rises(b, t, time + (0.0, _N1, _N2, _N3)[stage] * h, kind, stage)
    for column in range(t.columns):
        first = size * column
        for row in range(size):
            store(t.y, row, load(t.x, first + row))
        for stage in range(4):
            if stage:
                onward(t, first, h, size, stage)
            pull(b, t, column, charges_change(b, t, column, whole, kind, stage), stage)
        for row in range(size):
            k1, k2, k3 = load(t.k, row), load(t.k, size + row), load(t.k, 2 * size + row)
            v = load(t.v, first + row)
            drift = _X1 * k1 + _X2 * k2 + _X3 * k3
            add(t.x, first + row, h * (v + h * drift))
            kick = _V1 * k1 + _V2 * k2 + _V3 * k3 + _V4 * load(t.k, 3 * size + row)
            store(t.v, first + row, v + h * kick)


@compiled
def onward(t: Any, first: int, h: Any, size: int, stage: int) -> None:
    """Derivatives of the positions at a later stage."""
    for row in range(size):
        if stage == 1:
            shift = _N1 * load(t.v, first + row) + h * (_A21 * load(t.k, row))
        elif stage == 2:
            kicks = _A31 * load(t.k, row) + _A32 * load(t.k, size + row)
            shift = _N2 * load(t.v, first + row) + h * kicks
        else:
            kicks = _A41 * load(t.k, row) + _A42 * load(t.k, size + row)
            kicks = kicks + _A43 * load(t.k, 2 * size + row)
            shift = _N3 * load(t.v, first + row) + h * kicks
        store(t.y, row, load(t.x, first + row) + h * shift)


@compiled
def measure_pairs(b: Any, t: Any) -> None:
    """Where the pairs are in the four stages."""
    atoms = len(b.q)
    screening, pair = load(b.screening, 0), 0
    for stage in range(4):
        at = b.y if stage else b.x
        reach = 0
        first = 3 * atoms * stage
        for i in range(atoms):
            for j in range(i):
                dx = load(at, first + 3 * i) - load(at, first + 3 * j)
                dy = load(at, first + 3 * i + 1) - load(at, first + 3 * j + 1)
                dz = load(at, first + 3 * i + 2) - load(at, first + 3 * j + 2)
                near2 = dz * dz + (dy * dy + (dx * dx + screening * b.reach[reach]))
                inverse = inverse_root(near2)
                reach += 1
                inverse2 = inverse * inverse
                store(t.pairs, pair, dx)
                store(t.pairs, pair + 1, dy)
                store(t.pairs, pair + 2, dz)
                store(t.pairs, pair + 3, inverse * inverse2)
                store(t.pairs, pair + 4, 3.0 * inverse2)
                pair += _PAIR


@compiled
def measure_rises(b: Any, t: Any, time: Any, kind: int, stage: int) -> None:
    """How the shares of the charges at a stage change with the parameters of their rise."""
    atoms = len(b.q)
    row = stage * t.rises * (t.numbers + 2)
    if kind == RISES:
        for rise in range(t.rises):
            z = load(b.law, 2 * rise) - load(b.law, 2 * rise + 1) * time
            slope = _SLOPE * exp_minus_square(z)
            if t.numbers:
                store(t.slope, row, 0.0 - slope)
                store(t.slope, row + 1, slope * time)
            row += t.numbers + 2
        return
    at = b.y if stage else b.x
    inertia = spread(0.0, b.x)
    for i in range(atoms):
        place = 3 * (stage * atoms + i)
        x, y, z = load(at, place), load(at, place + 1), load(at, place + 2)
        inertia = inertia + load(b.mass, i) * (x * x + (y * y + z * z))
    inertia = inertia * load(b.extent, 0)
    small = inverse_root(inertia)
    size = inertia * small
    early, first = load(b.law, 0), 0.5 * STEEPNESS - load(b.law, 1) * time
    z = load(b.law, 2) - load(b.law, 3) * time - load(b.law, 4) * (size - 1.0)
    slope = (1.0 - early) * (_SLOPE * exp_minus_square(z))
    if t.numbers:
        share = 0.5 * erfc(first, b.series) - 0.5 * erfc(z, b.series)
        store(t.slope, row, share)
        store(t.slope, row + 1, early * (_SLOPE * exp_minus_square(first)) * time)
        store(t.slope, row + 2, 0.0 - slope)
        store(t.slope, row + 3, slope * time)
        store(t.slope, row + 4, slope * (size - 1.0))
    row += t.numbers
    slope = slope * load(b.law, 4)
    store(t.slope, row, slope * small * load(b.extent, 0))
    store(t.slope, row + 1, 0.5 * slope * size)


@compiled
def charges_change(b: Any, t: Any, column: int, whole: bool, kind: int, stage: int) -> bool:
    """Whether the charges at a stage change along a column, and how, for the positions y."""
    atoms, rises = len(b.q), t.rises
    direction = column - t.starts
    if whole or kind == INSTANT or (direction < 0 and kind == RISES):
        return False
    common = spread(0.0, b.x)
    if kind == TWO_STAGE:
        at = b.y if stage else b.x
        for i in range(atoms):
            row = 3 * (stage * atoms + i)
            moment = load(at, row) * load(t.y, 3 * i) + load(at, row + 1) * load(t.y, 3 * i + 1)
            moment = moment + load(at, row + 2) * load(t.y, 3 * i + 2)
            common = common + load(b.mass, i) * moment
        row = stage * (t.numbers + 2) + t.numbers
        common = common * load(t.slope, row)
        if direction < 0:
            common = common - load(t.slope, row + 1) * load(t.extent, column)
    for i in range(atoms):
        total = common
        if direction >= 0:
            weight = (direction * atoms + i) * t.numbers
            row = (stage * rises + b.rise[i]) * (t.numbers + 2)
            for number in range(t.numbers):
                total = total + load(t.weight, weight + number) * load(t.slope, row + number)
        store(t.change, i, load(b.q, i) * total)
    return True


@compiled
def pull(b: Any, t: Any, column: int, changes: bool, stage: int) -> None:
    """Derivatives of the accelerations at a stage, for the positions y.

    Args:
        b: the block.
        t: its tangents.
        column: of the derivatives.
        changes: whether the charges change, `Tangents.change`.
        stage: 0 to 3.
    """
    atoms = len(b.q)
    into = 3 * atoms * stage
    reach, pair = 0, stage * _PAIR * (atoms * (atoms - 1) // 2)
    zero = spread(0.0, b.x)
    screened = column >= t.starts
    for i in range(atoms):
        xi, yi, zi = load(t.y, 3 * i), load(t.y, 3 * i + 1), load(t.y, 3 * i + 2)
        ci = load(b.c, stage * atoms + i)
        ax, ay, az = zero, zero, zero
        for j in range(i):
            ex = xi - load(t.y, 3 * j)
            ey = yi - load(t.y, 3 * j + 1)
            ez = zi - load(t.y, 3 * j + 2)
            dx, dy, dz = load(t.pairs, pair), load(t.pairs, pair + 1), load(t.pairs, pair + 2)
            cubed = load(t.pairs, pair + 3)
            cj = load(b.c, stage * atoms + j)
            strength = ci * cj * cubed
            nearer = dz * ez + (dy * ey + dx * ex)
            if screened:
                nearer = nearer + load(t.screen, column - t.starts) * (0.5 * b.reach[reach])
            along = strength * load(t.pairs, pair + 4) * nearer
            if changes:
                change = ci * load(t.change, j) + cj * load(t.change, i)
                along = along - change * cubed
            gx, gy, gz = strength * ex - along * dx, strength * ey - along * dy, zero
            gz = strength * ez - along * dz
            ax, ay, az = ax + gx, ay + gy, az + gz
            row = into + 3 * j
            take(t.k, row, gx)
            take(t.k, row + 1, gy)
            take(t.k, row + 2, gz)
            reach += 1
            pair += _PAIR
        row = into + 3 * i
        store(t.k, row, ax)
        store(t.k, row + 1, ay)
        store(t.k, row + 2, az)
    for i in range(atoms):
        inverse_mass = load(b.inverse_mass, i)
        for row in range(into + 3 * i, into + 3 * i + 3):
            store(t.k, row, load(t.k, row) * inverse_mass)


@compiled
def finish(b: Any, t: Any) -> None:
    """Derivatives of the asymptotic momenta, before `kernel.add_remaining`.

    With r, v of a pair, c = |v| |r| + r . v and u = r/|r| + v/|v| the impulse that is left is
    u / c; it changes with r by (1 - r r/|r|^2) / (|r| c) - |v| u u / c^2, and with v likewise.
    """
    atoms = len(b.q)
    size = 3 * atoms
    for column in range(t.columns):
        for row in range(size):
            at = size * column + row
            store(t.p, at, load(t.v, at) * load(b.mass, row // 3))
    for i in range(atoms):
        for j in range(i):
            rx = load(b.x, 3 * i) - load(b.x, 3 * j)
            ry = load(b.x, 3 * i + 1) - load(b.x, 3 * j + 1)
            rz = load(b.x, 3 * i + 2) - load(b.x, 3 * j + 2)
            vx = load(b.v, 3 * i) - load(b.v, 3 * j)
            vy = load(b.v, 3 * i + 1) - load(b.v, 3 * j + 1)
            vz = load(b.v, 3 * i + 2) - load(b.v, 3 * j + 2)
            r2 = rx * rx + ry * ry + rz * rz
            v2 = vx * vx + vy * vy + vz * vz
            v2 = where_greater(v2, b.tiny, v2, 1.0)
            near, slow = inverse_root(r2), inverse_root(v2)
            far, speed = r2 * near, v2 * slow
            closing = speed * far + (rx * vx + ry * vy + rz * vz)
            product = load(b.q, i) * load(b.q, j)
            closing = where_greater(product * product, 0.0, closing, 1.0)
            strength = product / closing
            rx, ry, rz = rx * near, ry * near, rz * near
            vx, vy, vz = vx * slow, vy * slow, vz * slow
            ux, uy, uz = rx + vx, ry + vy, rz + vz
            for column in range(t.columns):
                one, two = size * column + 3 * i, size * column + 3 * j
                ex = load(t.x, one) - load(t.x, two)
                ey = load(t.x, one + 1) - load(t.x, two + 1)
                ez = load(t.x, one + 2) - load(t.x, two + 2)
                gx = load(t.v, one) - load(t.v, two)
                gy = load(t.v, one + 1) - load(t.v, two + 1)
                gz = load(t.v, one + 2) - load(t.v, two + 2)
                along_r = near * (rx * ex + ry * ey + rz * ez)
                along_v = slow * (vx * gx + vy * gy + vz * gz)
                both = speed * (ux * ex + uy * ey + uz * ez)
                both = (both + far * (ux * gx + uy * gy + uz * gz)) / closing
                px = near * ex - along_r * rx + slow * gx - along_v * vx - both * ux
                py = near * ey - along_r * ry + slow * gy - along_v * vy - both * uy
                pz = near * ez - along_r * rz + slow * gz - along_v * vz - both * uz
                add(t.p, one, strength * px)
                add(t.p, one + 1, strength * py)
                add(t.p, one + 2, strength * pz)
                take(t.p, two, strength * px)
                take(t.p, two + 1, strength * py)
                take(t.p, two + 2, strength * pz)
