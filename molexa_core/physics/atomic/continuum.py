"""Continuum orbitals of the emitted electron: Numerov's method outwards, energy-normalized.

The mesh is equidistant in x(r) = a ln r + b r: logarithmic near the nucleus, linear outside, with a
fixed number of points per wavelength of the fastest electron.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np

from molexa_core.base.compiled import compiled
from molexa_core.base.tables import FloatArray
from molexa_core.physics.atomic.grid import POINTS, RADIUS, radial_grid
from molexa_core.physics.atomic.scf import Orbitals, field_of
from molexa_core.physics.atomic.shells import outermost

POINTS_PER_WAVE: Final = 40
"""Mesh points per wavelength of the fastest electron: twice as many change totals by < 1e-4."""
POINTS_PER_FOLD: Final = 40
"""Mesh points per factor e in radius near the nucleus."""
FIRST_RADIUS: Final = 1e-4
"""Radius of the first point times the atomic number, bohr."""
LAST_RADIUS: Final = 28.0
"""Outer end of the mesh, bohr: bound orbitals vanish there, the potential is Coulombic."""
NEGLIGIBLE: Final = 1e-8
"""Value below which an orbital counts as zero."""
SECOND_ORDER: Final = 2e-3
"""Upper limit of the second-order terms where the amplitude is determined."""


@dataclass(frozen=True)
class WaveMesh:
    """A mesh for electrons up to some energy. m points.

    Attributes:
        r: (m) radii, bohr.
        step: (m) dr/dx; the integral of f dr is sum(step * f).
        bend: (m) term of the change of variable in Numerov's equation (half the Schwarzian
            derivative).
        square: (m) step^2.
        centrifugal: (m) step^2 / r^2.
        interpolate: (m, n) from the grid of the bound orbitals to this mesh.
    """

    r: FloatArray
    step: FloatArray
    bend: FloatArray
    square: FloatArray
    centrifugal: FloatArray
    interpolate: FloatArray


@dataclass(frozen=True)
class AtomOnMesh:
    """Potential and bound orbitals of one configuration on a mesh. s subshells.

    Beyond the first k points all orbitals that hold electrons have vanished and the potential is
    -tail / r: integrals with them end there.

    Attributes:
        mesh: the mesh.
        number: atomic number.
        tail: charge seen by an electron far away.
        r: (k) radii, bohr.
        step: (k) weights of integrals over r.
        curvature: (m) bend + 2 step^2 V of Numerov's equation.
        u: (s, k) bound radial functions.
    """

    mesh: WaveMesh
    number: int
    tail: float
    r: FloatArray
    step: FloatArray
    curvature: FloatArray
    u: FloatArray

    def wave(self, energy: float, l: int) -> FloatArray:  # noqa: E741
        """u_el(r), (k), normalized to amplitude sqrt(2 / (pi k)) far out; energy > 0 in hartree."""
        mesh = self.mesh
        return outgoing(
            energy,
            l,
            self.number,
            self.tail,
            len(self.r),
            mesh.r,
            mesh.step,
            mesh.square,
            mesh.centrifugal,
            self.curvature,
        )


@lru_cache(maxsize=8)
def wave_mesh(number: int, energy: float, *, refine: int = 1, points: int = POINTS) -> WaveMesh:
    """The mesh for electrons of at most this energy (hartree) in atoms of this number.

    Args:
        number: atomic number.
        energy: highest kinetic energy, hartree.
        refine: factor on the number of points, for tests of convergence.
        points: inner points of the grid of the bound orbitals.
    """
    a = float(POINTS_PER_FOLD * refine)
    b = POINTS_PER_WAVE * refine * np.sqrt(2.0 * energy) / (2.0 * np.pi)
    first = FIRST_RADIUS / number
    start = a * np.log(first) + b * first
    end = a * np.log(LAST_RADIUS) + b * LAST_RADIUS
    x = start + np.arange(int(end - start) + 1)
    # Solve a ln r + b r = x by Newton's method in ln r; the left side is convex there.
    s = np.minimum(x / a, np.log(LAST_RADIUS))
    for _ in range(60):
        move = (a * s + b * np.exp(s) - x) / (a + b * np.exp(s))
        s -= move
        if np.abs(move).max() < 1e-14:
            break
    r = np.exp(s)
    step = r / (a + b * r)
    curve = a / (a + b * r) ** 2  # (d^2r/dx^2) / (dr/dx)
    bend = curve**2 / 4.0 + a * b * r / (a + b * r) ** 4
    return WaveMesh(r, step, bend, step**2, (step / r) ** 2, radial_grid(points).interpolation(r))


def on_mesh(orbitals: Orbitals, mesh: WaveMesh) -> AtomOnMesh:
    """A configuration's potential and bound orbitals on a mesh for its continuum."""
    grid, number, tail = orbitals.grid, orbitals.number, orbitals.tail
    occupation = np.array(orbitals.occupation, dtype=float)
    electrons = float(occupation.sum())
    size = min(int(np.searchsorted(mesh.r, _reach(orbitals))), len(mesh.r) - 1)
    r, step = mesh.r[:size], mesh.step[:size]
    # The linear part of r V_H does not vanish at the outer end: interpolate without it.
    line = electrons * grid.r / RADIUS
    table = np.vstack([orbitals.u, orbitals.screening - line])
    values = np.ascontiguousarray((mesh.interpolate[:size] @ table.T).T)
    u, screening = values[:-1], values[-1] + electrons * r / RADIUS
    field = np.full(len(mesh.r), -tail)
    field[:size] = field_of(number, tail, r, occupation @ u**2, screening, int(electrons))
    curvature = mesh.bend + 2.0 * mesh.square * field / mesh.r
    return AtomOnMesh(mesh, number, tail, r, step, curvature, u)


def _reach(orbitals: Orbitals) -> float:
    """Radius beyond which the occupied orbitals vanish and the potential is Coulombic."""
    held = orbitals.u[: outermost(orbitals.occupation) + 1]
    density = np.array(orbitals.occupation, dtype=float) @ orbitals.u**2
    field = field_of(
        orbitals.number,
        orbitals.tail,
        orbitals.grid.r,
        density,
        orbitals.screening,
        sum(orbitals.occupation),
    )
    ends = [0, *np.flatnonzero(field < -orbitals.tail)[-1:]]
    for u in np.abs(held):
        # Outwards from the last lobe until the orbital has vanished or is below the noise of the
        # grid.
        end = int(np.flatnonzero(u > 1e-3)[-1])
        while end + 1 < len(u) and NEGLIGIBLE < u[end + 1] < u[end]:
            end += 1
        ends.append(end)
    return float(orbitals.grid.r[min(max(ends) + 1, len(field) - 1)])


@compiled
def outgoing(
    energy: float,
    l: int,  # noqa: E741
    number: int,
    tail: float,
    size: int,
    r: FloatArray,
    step: FloatArray,
    square: FloatArray,
    centrifugal: FloatArray,
    curvature: FloatArray,
) -> FloatArray:
    """Regular solution by Numerov's method for u = sqrt(dr/dx) v, normalized per hartree.

    The asymptotic amplitude comes from Milne's equation (Phys. Rev. 35, 863 (1930)) with its
    second-order term, matched to value and slope outside the atom: where that term has become
    small, or else near the end of the mesh.

    Returns:
        The first `size` values.
    """
    v = np.empty(size)
    last = r.shape[0] - 2
    barrier, twice = l * (l + 1.0), 2.0 * energy
    before = curvature[0] + barrier * centrifugal[0] - twice * square[0]
    here = curvature[1] + barrier * centrifugal[1] - twice * square[1]
    old = (1.0 - number * r[0] / (l + 1.0)) / np.sqrt(step[0])
    now = (r[1] / r[0]) ** (l + 1) * (1.0 - number * r[1] / (l + 1.0)) / np.sqrt(step[1])
    v[0], v[1] = old, now
    k = 1
    while True:
        after = curvature[k + 1] + barrier * centrifugal[k + 1] - twice * square[k + 1]
        new = ((2.0 + here * (10.0 / 12.0)) * now - (1.0 - before / 12.0) * old) / (
            1.0 - after / 12.0
        )
        if k + 1 < size:
            v[k + 1] = new
        elif k % 8 == 0 or k == last:
            p = twice + 2.0 * tail / r[k] - barrier / r[k] ** 2
            dp = (-2.0 * tail + 2.0 * barrier / r[k]) / r[k] ** 2
            ddp = (4.0 * tail - 6.0 * barrier / r[k]) / r[k] ** 3
            second = 5.0 * dp**2 / (16.0 * p**2) - ddp / (4.0 * p)
            if k == last or (p > 0.0 and abs(ddp) / p + dp**2 / p**2 < SECOND_ORDER * p):
                break
        before, here, old, now = here, after, now, new
        k += 1
    slope = (new - old) / 2.0 - (after * new - before * old) / 12.0
    u = now * np.sqrt(step[k])
    # du/dr from dv/dx: u = sqrt(r') v, with r''/r' = d(ln r')/dx by central difference.
    stretch = (step[k + 1] - step[k - 1]) / (2.0 * step[k])
    du = (slope + 0.5 * stretch * now) / np.sqrt(step[k])
    w = np.sqrt(p + second)
    sine = u * np.sqrt(w)
    cosine = (du + u * dp / (4.0 * p)) / np.sqrt(w)
    v *= np.sqrt(step[:size]) * (np.sqrt(2.0 / np.pi) / np.sqrt(sine**2 + cosine**2))
    return v
