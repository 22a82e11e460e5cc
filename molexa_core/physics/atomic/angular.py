"""Angular algebra with exact integers: Wigner symbols, reduced matrix elements, Auger weights.

Racah's formulas as in Edmonds, Angular Momentum in Quantum Mechanics (1957), (3.6.11), (6.3.7);
orbital angular momenta only, so all arguments are integers.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from math import factorial, sqrt

import numpy as np

from molexa_core.base.tables import FloatArray


@cache
def wigner_3j(j1: int, j2: int, j3: int, m1: int, m2: int, m3: int) -> float:
    """The 3j symbol (j1 j2 j3; m1 m2 m3) of integer angular momenta.

    Example:
        >>> round(wigner_3j(1, 1, 0, 0, 0, 0) ** 2, 12)
        0.333333333333
    """
    if m1 + m2 + m3 != 0 or not _triangle(j1, j2, j3):
        return 0.0
    if abs(m1) > j1 or abs(m2) > j2 or abs(m3) > j3:
        return 0.0
    low = max(0, j2 - j3 - m1, j1 - j3 + m2)
    high = min(j1 + j2 - j3, j1 - m1, j2 + m2)
    total = sum(
        (
            Fraction(
                (-1) ** t,
                factorial(t)
                * factorial(j3 - j2 + t + m1)
                * factorial(j3 - j1 + t - m2)
                * factorial(j1 + j2 - j3 - t)
                * factorial(j1 - t - m1)
                * factorial(j2 - t + m2),
            )
            for t in range(low, high + 1)
        ),
        start=Fraction(0),
    )
    square = _delta(j1, j2, j3)
    for j, m in ((j1, m1), (j2, m2), (j3, m3)):
        square *= factorial(j + m) * factorial(j - m)
    return _sign(j1 - j2 - m3) * _times_root(total, square)


@cache
def wigner_6j(j1: int, j2: int, j3: int, l1: int, l2: int, l3: int) -> float:
    """The 6j symbol {j1 j2 j3; l1 l2 l3} of integer angular momenta.

    Example:
        >>> round(wigner_6j(1, 1, 1, 1, 1, 1), 12)
        0.166666666667
    """
    triads = ((j1, j2, j3), (j1, l2, l3), (l1, j2, l3), (l1, l2, j3))
    if not all(_triangle(*triad) for triad in triads):
        return 0.0
    sums = [sum(triad) for triad in triads]
    fours = (j1 + j2 + l1 + l2, j2 + j3 + l2 + l3, j3 + j1 + l3 + l1)
    total = Fraction(0)
    for t in range(max(sums), min(fours) + 1):
        below = 1
        for value in sums:
            below *= factorial(t - value)
        for value in fours:
            below *= factorial(value - t)
        total += Fraction((-1) ** t * factorial(t + 1), below)
    square = Fraction(1)
    for triad in triads:
        square *= _delta(*triad)
    return _times_root(total, square)


def reduced_multipole(l: int, order: int, other: int) -> float:  # noqa: E741
    """<l || C^K || l'> = (-1)^l sqrt((2l+1)(2l'+1)) (l K l'; 0 0 0)."""
    size = sqrt((2 * l + 1) * (2 * other + 1))
    return _sign(l) * size * wigner_3j(l, order, other, 0, 0, 0)


@dataclass(frozen=True)
class AugerWeights:
    """How the radial integrals of one Auger channel and one partial wave make its rate.

    The rate is proportional to R^T `matrix` R, where R holds the direct integrals R^K(j j'; i c)
    of the orders `direct`, then the exchange integrals R^K(j' j; i c) of the orders `exchange`.

    Attributes:
        direct: orders K of the direct integrals.
        exchange: orders K of the exchange integrals.
        matrix: sum over L and S of (2L+1)(2S+1) a a^T, a the coefficients of the amplitude M_LS.
    """

    direct: tuple[int, ...]
    exchange: tuple[int, ...]
    matrix: FloatArray


@cache
def auger_weights(hole: int, first: int, second: int, wave: int, *, same: bool) -> AugerWeights:
    """The weights of the channel in which subshells of l = first, second fill one of l = hole.

    Coupled form of Son, Young and Santra, Phys. Rev. A 83, 033402 (2011), averaged over the
    configuration. Phases are those that make it equal to the sum over uncoupled spin-orbitals.

    Args:
        hole: l of the subshell that is filled.
        first: l_j of one subshell that gives an electron.
        second: l_j' of the other.
        wave: l' of the electron that leaves.
        same: whether j and j' are one subshell (only even L + S then).
    """
    direct = _orders((first, hole), (second, wave))
    exchange = _orders((second, hole), (first, wave))
    matrix = np.zeros((len(direct) + len(exchange),) * 2)
    scale = sqrt(0.5) if same else 1.0
    for total in range(abs(first - second), first + second + 1):
        for spin in (0, 1):
            if same and (total + spin) % 2:
                continue
            sign = _sign(total + spin + first + second)
            amplitude = [_coupled(first, second, hole, wave, total, k) for k in direct]
            amplitude += [sign * _coupled(second, first, hole, wave, total, k) for k in exchange]
            row = scale * np.array(amplitude)
            matrix += (2 * total + 1) * (2 * spin + 1) * np.outer(row, row)
    return AugerWeights(direct, exchange, matrix)


def _coupled(j: int, other: int, hole: int, wave: int, total: int, order: int) -> float:
    return (
        reduced_multipole(j, order, hole)
        * reduced_multipole(other, order, wave)
        * _sign(other + hole + total)
        * wigner_6j(j, other, total, wave, hole, order)
    )


def _orders(one: tuple[int, int], two: tuple[int, int]) -> tuple[int, ...]:
    """Orders K for which neither reduced matrix element vanishes."""
    low = max(abs(one[0] - one[1]), abs(two[0] - two[1]))
    high = min(sum(one), sum(two))
    return tuple(
        k for k in range(low, high + 1) if (sum(one) + k) % 2 == 0 and (sum(two) + k) % 2 == 0
    )


def _sign(exponent: int) -> float:
    """(-1)^exponent."""
    return -1.0 if exponent % 2 else 1.0


def _triangle(a: int, b: int, c: int) -> bool:
    return abs(a - b) <= c <= a + b


def _delta(a: int, b: int, c: int) -> Fraction:
    return Fraction(
        factorial(a + b - c) * factorial(a - b + c) * factorial(-a + b + c),
        factorial(a + b + c + 1),
    )


def _times_root(value: Fraction, square: Fraction) -> float:
    """The product value * sqrt(square), rounded once."""
    return (1.0 if value >= 0 else -1.0) * sqrt(value * value * square)
