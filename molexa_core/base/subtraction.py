"""Sums over coincidences with the false ones subtracted, and their errors.

The rows of a shot are not independent: two of them may share ions. And false coincidences are made
of the hits of the same run, so that their fluctuations cancel part of those of the coincidences
that they are subtracted from. The sum

    T = sum over coincidences of v  -  sum over false rows of w v

is a sum of U-statistics of the shots. Its variance is that of the influence of each shot: what its
own coincidences add, less what all false rows with one of its hits subtract (W. Hoeffding, Ann.
Math. Stat. 19, 293 (1948)),

    psi_s = sum over coincidences in s of v  -  sum over false rows with a hit of s of w v.

The false rows are a sample of all mixed combinations. Their sampling noise, w^2 v^2 each, is
contained once in var(T), but in sum psi^2 once for each of the m shots of the row; the surplus of
m - 1 is taken off.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from molexa_core.base.tables import FloatArray, IntArray


@dataclass(frozen=True)
class Subtracted:
    """Sums of values over true coincidences, with the covariance of their errors.

    Attributes:
        total: (values) true minus false.
        covariance: (values, values); it contains the counts, what rows of a shot share, and the
            sampling noise of the false rows.
    """

    total: FloatArray
    covariance: FloatArray

    @property
    def variance(self) -> FloatArray:
        """(values) variance of each sum."""
        return np.diag(self.covariance).copy()

    @classmethod
    def of(
        cls,
        shot: IntArray,
        values: FloatArray,
        sources: IntArray,
        false_values: FloatArray,
        n_shots: int | None = None,
    ) -> Subtracted:
        """The sums of values, false ones subtracted.

        Args:
            shot: (n) shot of each coincidence.
            values: (n, values) or (n), weights included.
            sources: (m, ions) shot of each hit of the false rows.
            false_values: (m, values) or (m), weights included.
            n_shots: number of shots; the number of coincidences per shot is taken as small if it
                is not known, which makes the variance larger, never smaller.
        """
        real, false = _columns(values), _columns(false_values)
        ordered = np.sort(sources, axis=1)
        first = np.ones(ordered.shape, np.bool_)
        first[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
        number = first.sum(axis=1)
        row = np.repeat(np.arange(len(false)), number)
        names, place = np.unique(np.concatenate([shot, ordered[first]]), return_inverse=True)
        influence = np.empty((len(names), real.shape[1]))
        for column in range(real.shape[1]):
            added = np.concatenate([real[:, column], -false[row, column]])
            influence[:, column] = np.bincount(place, weights=added, minlength=len(names))
        square = influence.T @ influence
        if n_shots is not None and n_shots > 1:
            mean = influence.sum(axis=0)
            square = (square - np.outer(mean, mean) / n_shots) * (n_shots / (n_shots - 1))
        sampling = false.T @ false
        surplus = (false * (number - 1.0)[:, None]).T @ false
        covariance = square - surplus
        low = np.diag(covariance) < np.diag(sampling)
        if low.any():
            at = np.flatnonzero(low)
            covariance[at, at] = np.diag(sampling)[at]
        return cls(real.sum(axis=0) - false.sum(axis=0), covariance)


def _columns(values: FloatArray) -> FloatArray:
    """(n, values) of values (n) or (n, values)."""
    array: FloatArray = np.asarray(values, np.float64)
    return array[:, None] if array.ndim == 1 else array
