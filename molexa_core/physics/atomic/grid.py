"""The radial grid of the bound orbitals: generalized pseudospectral, with Poisson's equation.

Legendre-Lobatto points x in [-1, 1] are mapped to radii r = L (1 + x) / (1 - x + 2 L / rmax), dense
near the nucleus (Yao and Chu, Chem. Phys. Lett. 204, 381 (1993)). Functions vanish at both ends
and are represented by their values at the inner points; the integral of f dr is sum(weight * f).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.polynomial import legendre

from molexa_core.base.tables import FloatArray

POINTS: Final = 70
"""Inner points: orbital energies are converged to 0.02 eV, from H to Xe."""
RADIUS: Final = 50.0
"""Outer end of the grid, bohr."""
SCALE: Final = 2.0
"""Half of the points lie within about this radius, bohr."""
MULTIPOLES: Final = 5
"""Multipole orders 0 to 4: all that products of s, p and d orbitals have."""


@dataclass(frozen=True)
class RadialGrid:
    """Points, weights and operators. n inner points; lengths in bohr.

    Attributes:
        x: (n + 2) Lobatto points with both ends.
        r: (n) radii of the inner points.
        weight: (n) quadrature weights for integrals over r.
        kinetic: (n, n) matrix of -1/2 d^2/dr^2 for values multiplied by sqrt(weight).
        inverse: (5, n, n) inverses of -d^2/dr^2 + K (K + 1) / r^2 in weak form, K = 0 to 4.
        barycentric: (n + 2) barycentric weights of x.
    """

    x: FloatArray
    r: FloatArray
    weight: FloatArray
    kinetic: FloatArray
    inverse: FloatArray
    barycentric: FloatArray

    def potential_function(self, density: FloatArray, order: int) -> FloatArray:
        """Y(r) = r times the multipole potential of a radial density.

        Solves (-d^2/dr^2 + K(K+1)/r^2) Y = (2K+1) density / r with Y(0) = 0 and the exact value
        at the outer end, so that Y(r) / r = integral density(s) r_<^K / r_>^(K+1) ds.

        Args:
            density: (n) u_a u_b, or a sum of squares of orbitals.
            order: K, 0 to 4.

        Returns:
            Y at the inner points.
        """
        source = self.weight * (2 * order + 1) * density / self.r
        end = float(self.weight @ (density * (self.r / RADIUS) ** order))
        values: FloatArray = self.inverse[order] @ source
        values += end * (self.r / RADIUS) ** (order + 1)
        return values

    def interpolation(self, radius: FloatArray) -> FloatArray:
        """The matrix (m, n) that interpolates values at the inner points to m other radii.

        It is exact for functions in the basis of the grid, which vanish at both ends.
        """
        a = 2.0 * SCALE / RADIUS
        x = (radius * (1.0 + a) - SCALE) / (radius + SCALE)
        difference = x[:, None] - self.x[None, :]
        hit = difference == 0.0
        with np.errstate(divide="ignore", invalid="ignore"):
            terms = self.barycentric / difference
            matrix: FloatArray = terms / terms.sum(axis=1, keepdims=True)
        rows = hit.any(axis=1)
        matrix[rows] = hit[rows].astype(float)
        return np.ascontiguousarray(matrix[:, 1:-1])


@lru_cache(maxsize=4)
def radial_grid(points: int = POINTS) -> RadialGrid:
    """The grid with this number of inner points."""
    degree = points + 1
    series = np.zeros(degree + 1)
    series[degree] = 1.0
    # numpy 2.5 gives real roots a complex type.
    inner = np.sort(legendre.legroots(legendre.legder(series)).real)
    slope, curve = legendre.legder(series), legendre.legder(series, 2)
    for _ in range(3):  # Newton: the roots above are good to 1e-12 only
        inner -= legendre.legval(inner, slope) / legendre.legval(inner, curve)
    x = np.concatenate([[-1.0], inner, [1.0]])
    peak = legendre.legval(x, series)
    w = 2.0 / (degree * (degree + 1) * peak**2)

    difference = x[:, None] - x[None, :]
    np.fill_diagonal(difference, 1.0)
    derivative = peak[:, None] / peak[None, :] / difference
    np.fill_diagonal(derivative, 0.0)
    derivative[0, 0], derivative[-1, -1] = -degree * (degree + 1) / 4, degree * (degree + 1) / 4

    a = 2.0 * SCALE / RADIUS
    stretch = SCALE * (2.0 + a) / (1.0 - x + a) ** 2  # dr/dx
    r = SCALE * (1.0 + x) / (1.0 - x + a)
    stiffness = (derivative.T * (w / stretch)) @ derivative
    r, weight, stiffness = r[1:-1], (w * stretch)[1:-1], stiffness[1:-1, 1:-1]
    inverse = np.stack(
        [
            np.linalg.inv(stiffness + np.diag(weight * order * (order + 1) / r**2))
            for order in range(MULTIPOLES)
        ]
    )
    root = np.sqrt(weight)
    # For Lobatto points the barycentric weights are proportional to 1 / P(x).
    return RadialGrid(x, r, weight, stiffness / (2.0 * np.outer(root, root)), inverse, 1.0 / peak)
