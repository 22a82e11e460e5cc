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

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from molexa_core.base.errors import UsageError
from molexa_core.base.fields import TAG_SHOT
from molexa_core.base.tables import Coincidences, FloatArray, IntArray


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
        square = _products(influence, influence)
        if n_shots is not None and n_shots > 1:
            mean = influence.sum(axis=0)
            square = (square - np.outer(mean, mean) / n_shots) * (n_shots / (n_shots - 1))
        sampling = _products(false, false)
        surplus = _products(false * (number - 1.0)[:, None], false)
        covariance = square - surplus
        low = np.diag(covariance) < np.diag(sampling)
        if low.any():
            at = np.flatnonzero(low)
            covariance[at, at] = np.diag(sampling)[at]
        return cls(real.sum(axis=0) - false.sum(axis=0), covariance)


def _products(one: FloatArray, other: FloatArray) -> FloatArray:
    """(values, values) sums of products over rows, whatever threads a library for matrices has."""
    found: FloatArray = np.einsum("ni,nj->ij", one, other)
    return found


@dataclass(frozen=True)
class TrueMean:
    """Means over the true coincidences of a table.

    Attributes:
        mean: (values).
        error: (values) standard errors: counts, hits that rows share, false rows and their
            normalisation.
        number: weight of the true coincidences; `number_error` its standard error.
    """

    mean: FloatArray
    error: FloatArray
    number: float
    number_error: float

    @property
    def certain(self) -> bool:
        """Whether there are true coincidences beyond two standard errors."""
        return self.number > 2.0 * self.number_error


def true_mean(
    table: Coincidences, values: FloatArray, false_values: FloatArray | None = None
) -> TrueMean:
    """Means over the coincidences of a table, its false ones subtracted if it has some.

    The rows of one coincidence in aligned events, its assignments of like ions, count as one.

    Args:
        table: coincidences, with or without false ones.
        values: (n, values) or (n) of its rows.
        false_values: (m, values) or (m) of the rows of its false coincidences; needed if it has
            some.

    Raises:
        UsageError: the false coincidences do not say of which shots they are.
    """
    false = table.false
    if false is None:
        return _plain_mean(table, _columns(values))
    if false.source is None or false_values is None:
        raise UsageError("the false coincidences of the table do not say of which shots they are")
    real, mixed = _columns(values), _columns(false_values)
    number = float(table.weight.sum() - false.weight.sum())
    total = table.weight @ real - false.weight @ mixed
    # All rows of a false event were drawn at once, such as its assignments of like ions.
    _, first, event = np.unique(false.event_id, return_index=True, return_inverse=True)
    mean = total / (number or 1.0)
    ones = np.ones((len(table), 1)), np.ones((len(false), 1))
    found = Subtracted.of(
        _shots_of_rows(table),
        table.weight[:, None] * np.hstack([real - mean, ones[0]]),
        false.source[first],
        _summed(false.weight[:, None] * np.hstack([mixed - mean, ones[1]]), event, len(first)),
        shots_of(table.meta),
    )
    scale = scale_error_of(table.meta)
    shift = scale * (false.weight @ (mixed - mean))
    variance = found.variance[:-1] + shift**2
    of_number = found.variance[-1] + (scale * float(false.weight.sum())) ** 2
    return TrueMean(mean, np.sqrt(variance) / abs(number or 1.0), number, float(np.sqrt(of_number)))


def _plain_mean(table: Coincidences, values: FloatArray) -> TrueMean:
    number = float(table.weight.sum())
    mean = table.weight @ values / (number or 1.0)
    parts = table.weight[:, None] * np.hstack([values - mean, np.ones((len(table), 1))])
    none: IntArray = np.empty((0, 1), np.int64)
    if TAG_SHOT in table.tags:
        shot, shots = _shots_of_rows(table), shots_of(table.meta)
    else:
        rows: IntArray = np.arange(len(table), dtype=np.int64)
        shot, shots = table.event_id if "align" in table.meta else rows, None
    found = Subtracted.of(shot, parts, none, np.empty((0, parts.shape[1])), shots)
    error = np.sqrt(found.variance)
    return TrueMean(mean, error[:-1] / abs(number or 1.0), number, float(error[-1]))


def _shots_of_rows(table: Coincidences) -> IntArray:
    """(n) shot of each row; the event where that is not known."""
    shots = table.tags.get(TAG_SHOT)
    return table.event_id if shots is None else shots.astype(np.int64)


def shots_of(meta: Mapping[str, object]) -> int | None:
    """Number of shots behind a table, where its meta tells it."""
    summary = meta.get("summary")
    shots = summary.get("shots") if isinstance(summary, Mapping) else None
    return shots if isinstance(shots, int) else None


def scale_error_of(meta: Mapping[str, object]) -> float:
    """Relative standard error of the normalisation of the false coincidences of a table."""
    summary = meta.get("summary")
    false = summary.get("false") if isinstance(summary, Mapping) else None
    if not isinstance(false, Mapping) or not false.get("scale"):
        return 0.0
    return float(false["scale_error"]) / float(false["scale"])


def _summed(values: FloatArray, group: IntArray, groups: int) -> FloatArray:
    """(groups, values) sums of the rows of each group."""
    sums: FloatArray = np.stack(
        [np.bincount(group, weights=column, minlength=groups) for column in values.T], axis=1
    )
    return sums


def _columns(values: FloatArray) -> FloatArray:
    """(n, values) of values (n) or (n, values)."""
    array: FloatArray = np.asarray(values, np.float64)
    return array[:, None] if array.ndim == 1 else array
