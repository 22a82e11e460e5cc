"""Orbitals of the electron that leaves: Numerov's method outwards, normalized per unit energy.

The mesh is even in x(r) = a ln r + b r: logarithmic near the nucleus, linear outside, where it has
a fixed number of points per wavelength of the fastest electron.
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

POINTS_PER_WAVE: Final = 40
"""Mesh points per wavelength of the fastest electron: twice as many change totals by < 1e-4."""
POINTS_PER_FOLD: Final = 40
"""Mesh points per factor e in radius near the nucleus."""
FIRST_RADIUS: Final = 1e-4
"""Radius of the first point times the atomic number, bohr."""
LAST_RADIUS: Final = 28.0
"""Outer end of the mesh, bohr: bound orbitals have vanished, the potential is Coulombic."""


@dataclass(frozen=True)
class WaveMesh:
    """A mesh for electrons up to some energy. m points.

    Attributes:
        r: (m) radii, bohr.
        step: (m) dr/dx; the integral of f dr is sum(step * f).
        bend: (m) what the change of variable adds to Numerov's equation (half a Schwarzian).
        interpolate: (m, n) from the grid of the bound orbitals to this mesh.
    """

    r: FloatArray
    step: FloatArray
    bend: FloatArray
    interpolate: FloatArray


@dataclass(frozen=True)
class AtomOnMesh:
    """Potential and bound orbitals of one configuration on a mesh.

    Attributes:
        mesh: the mesh.
        number: atomic number.
        tail: charge that an electron far away sees.
        potential: (m) hartree.
        u: (5, m) bound radial functions.
    """

    mesh: WaveMesh
    number: int
    tail: float
    potential: FloatArray
    u: FloatArray

    def wave(self, energy: float, l: int) -> FloatArray:  # noqa: E741
        """u_el(r), (m), normalized to amplitude sqrt(2 / (pi k)) far out; energy > 0 in hartree."""
        mesh = self.mesh
        return outgoing(
            energy, l, self.number, self.tail, mesh.r, mesh.step, mesh.bend, self.potential
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
    return WaveMesh(r, step, bend, radial_grid(points).interpolation(r))


def on_mesh(orbitals: Orbitals, mesh: WaveMesh) -> AtomOnMesh:
    """A configuration's potential and bound orbitals on a mesh for its continuum."""
    grid = orbitals.grid
    # The linear part of r V_H does not vanish at the outer end: interpolate without it.
    electrons = float(sum(orbitals.occupation))
    line = electrons * grid.r / RADIUS
    table = np.vstack([orbitals.u, orbitals.screening - line])
    values = np.ascontiguousarray((mesh.interpolate @ table.T).T)
    u, screening = values[:-1], values[-1] + electrons * mesh.r / RADIUS
    density = np.array(orbitals.occupation, dtype=float) @ u**2
    field = field_of(
        orbitals.number, orbitals.tail, mesh.r, density, screening, sum(orbitals.occupation)
    )
    return AtomOnMesh(mesh, orbitals.number, orbitals.tail, field / mesh.r, u)


@compiled
def outgoing(
    energy: float,
    l: int,  # noqa: E741
    number: int,
    tail: float,
    r: FloatArray,
    step: FloatArray,
    bend: FloatArray,
    potential: FloatArray,
) -> FloatArray:
    """Regular solution by Numerov's method for u = sqrt(dr/dx) v, normalized per hartree.

    The amplitude far out comes from Milne's equation (Phys. Rev. 35, 863 (1930)) with its
    second-order term, matched to value and slope near the end of the mesh.
    """
    size = r.shape[0]
    v = np.empty(size)
    centrifugal = l * (l + 1.0)
    before = bend[0] + step[0] ** 2 * (2.0 * (potential[0] - energy) + centrifugal / r[0] ** 2)
    here = bend[1] + step[1] ** 2 * (2.0 * (potential[1] - energy) + centrifugal / r[1] ** 2)
    v[0] = (1.0 - number * r[0] / (l + 1.0)) / np.sqrt(step[0])
    v[1] = (r[1] / r[0]) ** (l + 1) * (1.0 - number * r[1] / (l + 1.0)) / np.sqrt(step[1])
    slope = 0.0
    for k in range(1, size - 1):
        after = bend[k + 1] + step[k + 1] ** 2 * (
            2.0 * (potential[k + 1] - energy) + centrifugal / r[k + 1] ** 2
        )
        v[k + 1] = ((2.0 + here * (10.0 / 12.0)) * v[k] - (1.0 - before / 12.0) * v[k - 1]) / (
            1.0 - after / 12.0
        )
        if k == size - 2:
            slope = (v[k + 1] - v[k - 1]) / 2.0 - (after * v[k + 1] - before * v[k - 1]) / 12.0
        before, here = here, after
    k = size - 2
    radius = r[k]
    u = v * np.sqrt(step)
    # du/dr from dv/dx: u = sqrt(r') v, with r''/r' = d(ln r')/dx by central difference.
    stretch = (step[k + 1] - step[k - 1]) / (2.0 * step[k])
    du = (slope + 0.5 * stretch * v[k]) / np.sqrt(step[k])
    p = 2.0 * energy + 2.0 * tail / radius - centrifugal / radius**2
    dp = -2.0 * tail / radius**2 + 2.0 * centrifugal / radius**3
    ddp = 4.0 * tail / radius**3 - 6.0 * centrifugal / radius**4
    w = np.sqrt(p - ddp / (4.0 * p) + 5.0 * dp**2 / (16.0 * p**2))
    sine = u[k] * np.sqrt(w)
    cosine = (du + u[k] * dp / (4.0 * p)) / np.sqrt(w)
    u *= np.sqrt(2.0 / np.pi) / np.sqrt(sine**2 + cosine**2)
    return u
