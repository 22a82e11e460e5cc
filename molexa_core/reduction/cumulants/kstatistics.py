"""Unbiased estimates of joint cumulants up to order four, and their variances.

For shots that hold a Poisson number of explosions, the joint factorial cumulant of the numbers of
ions in some windows is the mean number of combinations per shot whose ions come from one explosion.
It is additive: unrelated explosions, residual gas and dark counts drop out at any rate, as long as
the rate does not vary from shot to shot.

* Estimates: k-statistics (M. G. Kendall and A. Stuart, The Advanced Theory of Statistics I, 4th
  ed., chapters 12 and 13), in their multivariate form. They are unbiased for any number of shots.
* Like ions: a window that is asked for m times counts m different hits. Its factorial cumulants
  follow from the cumulants with Stirling numbers of the first kind, n (n - 1) instead of n^2.
* Variance: that of the mean of the influence of each shot, in closed form from the same counts.
  For order three, with deviations a, b, c of the counts from their means, the influence is
  a b c - <b c> a - <a c> b - <a b> c; for order four

    a b c d - sum over the six pairs of <a b> c d - sum over the four of <b c d> a.

  Terms of relative order 1 / shots are left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations, product
from typing import Final

import numpy as np

from molexa_core.base.errors import UsageError
from molexa_core.base.tables import FloatArray

MOST: Final = 4
"""Highest order."""
_STIRLING: Final = ((1.0,), (-1.0, 1.0), (2.0, -3.0, 1.0), (-6.0, 11.0, -6.0, 1.0))
"""Numbers of the first kind: n (n - 1) ... (n - m + 1) in powers of n, from the first on."""


@dataclass(frozen=True)
class Cumulant:
    """An estimated cumulant.

    Attributes:
        value: per shot.
        error: standard error.
        influence: (shots) influence of each shot, with mean 0.
    """

    value: float
    error: float
    influence: FloatArray


def k_statistic(values: FloatArray) -> Cumulant:
    """Unbiased estimate of the joint cumulant of one to four quantities.

    Args:
        values: (order, shots) of each quantity; a quantity may occur repeatedly.

    Raises:
        UsageError: other orders, or no more shots than the order.
    """
    order, n = values.shape
    if not 1 <= order <= MOST:
        raise UsageError(f"cumulants have order 1 to {MOST}, not {order}")
    if n <= order:
        raise UsageError(f"{n} shots are too few for a cumulant of order {order}")
    away = values - values.mean(axis=1, keepdims=True)
    if order == 1:
        return _of(float(values.mean()), away[0])
    every = np.prod(away, axis=0)
    if order == 2:
        value = n / (n - 1) * float(every.mean())
        return _of(value, every)
    if order == 3:
        value = n**2 / ((n - 1) * (n - 2)) * float(every.mean())
        influence = every.copy()
        for one in range(3):
            rest = np.prod(np.delete(away, one, axis=0), axis=0)
            influence -= float(rest.mean()) * away[one]
        return _of(value, influence)
    influence, pairs = every.copy(), 0.0
    for one, other in combinations(range(4), 2):
        left = away[one] * away[other]
        right = np.prod(np.delete(away, (one, other), axis=0), axis=0)
        pairs += 0.5 * float(left.mean()) * float(right.mean())
        influence -= float(left.mean()) * right
    for one in range(4):
        rest = np.prod(np.delete(away, one, axis=0), axis=0)
        influence -= float(rest.mean()) * away[one]
    factor = n**2 / ((n - 1) * (n - 2) * (n - 3))
    value = factor * ((n + 1) * float(every.mean()) - (n - 1) * pairs)
    return _of(value, influence)


def factorial_cumulant(values: FloatArray, multiplicity: tuple[int, ...]) -> Cumulant:
    """Unbiased estimate of a joint factorial cumulant: combinations of ions of one explosion.

    Divided by the factorials of the multiplicities it is the mean number per shot of true
    combinations, those of like ions counted once.

    Args:
        values: (windows, shots) counts, or what is left of them after a regression.
        multiplicity: how many ions of each window.
    """
    total, influence = 0.0, np.zeros(values.shape[1])
    for factor, powers in _powers(multiplicity):
        rows = np.repeat(np.arange(len(multiplicity)), powers)
        part = k_statistic(values[rows])
        total += factor * part.value
        influence += factor * part.influence
    return _of(total, influence)


def _powers(multiplicity: tuple[int, ...]) -> Iterator[tuple[float, tuple[int, ...]]]:
    ranges = [range(1, m + 1) if m else range(1) for m in multiplicity]
    for powers in product(*ranges):
        factor = 1.0
        for m, power in zip(multiplicity, powers, strict=True):
            factor *= _STIRLING[m - 1][power - 1] if m else 1.0
        yield factor, powers


def _of(value: float, influence: FloatArray) -> Cumulant:
    n = len(influence)
    centred = influence - influence.mean()
    error = float(np.sqrt(np.square(centred).sum() / (n - 1) / n)) if n > 1 else float("nan")
    return Cumulant(value, error, centred)


def residuals(values: FloatArray, control: FloatArray) -> FloatArray:
    """Counts with the part taken off that follows a control variable linearly.

    The cumulants of the residuals are partial cumulants: for rates proportional to the control, the
    mean of the residuals is zero at any of its values, and up to order three only cumulants at
    fixed rate are left (law of total cumulance). At order four the covariance of pairs of
    covariances remains, which slices remove.

    Args:
        values: (windows, shots).
        control: (shots) such as the pulse energy.

    Returns:
        (windows, shots), with the means of the counts.
    """
    away = control - control.mean()
    spread = float(away @ away)
    if spread <= 0.0:
        return values
    slope = values @ away / spread
    left: FloatArray = values - slope[:, None] * away[None, :]
    return left


def over_slices(parts: list[tuple[int, Cumulant]]) -> tuple[float, float]:
    """Mean of the cumulants of slices of shots (contingent cumulant), and its standard error.

    Args:
        parts: number of shots and cumulant of each slice.
    """
    shots = float(sum(n for n, _ in parts))
    value = sum(n * part.value for n, part in parts) / shots
    variance = sum((n * part.error) ** 2 for n, part in parts) / shots**2
    return float(value), float(np.sqrt(variance))
