"""What a fit determines and what it does not, in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from molexa_core.base.errors import listing
from molexa_core.base.tables import FloatArray
from molexa_core.reduction.calibration.moment_fit import Fit
from molexa_core.reduction.calibration.quantities import Quantity
from molexa_core.reduction.calibration.vanishing import Condition

_INVOLVED: Final = 0.15
"""Least component of a direction at which a quantity belongs to it."""
_MOVED: Final = 2.0
"""A direction also moves what it changes by this many of the errors within the other directions."""
_ROUNDING: Final = 1e-4
_CORRELATED: Final = 0.7
_DIRECTION_WORDS: Final = {
    "x": "with the direction along x",
    "y": "with the direction along y",
    "z": "with the direction along z",
    "zz": "between z and the other axes",
    "xx-yy": "between x and y",
}


def undetermined(found: Fit) -> tuple[set[str], list[str]]:
    """Names of the quantities that stay as they were, and a sentence for each direction.

    A direction is an eigenvector of the information matrix in units of plausible changes; it is
    not determined where the data say less than what is plausible anyway.
    """
    values, vectors = np.linalg.eigh(found.information)
    free = vectors[:, values <= 1.0]
    plausible = np.array([one.plausible for one in found.quantities])
    errors = np.sqrt(np.maximum(np.diag(found.covariance), 0.0)) / plausible
    least = np.minimum(_MOVED * errors, _INVOLVED)
    names = {
        one.name
        for one, row, limit in zip(found.quantities, free, least, strict=True)
        if float(np.sqrt((row**2).sum())) > max(limit, _ROUNDING)
    }
    return names, [_sentence(found.quantities, vector, least) for vector in free.T]


def _sentence(quantities: Sequence[Quantity], vector: FloatArray, least: FloatArray) -> str:
    vector = vector / vector[int(np.argmax(np.abs(vector)))]
    involved = [
        (one, float(part))
        for one, part, limit in zip(quantities, vector, least, strict=True)
        if abs(part) > max(limit, _ROUNDING)
    ]
    if len(involved) == 1:
        return f"not determined: {involved[0][0].words}; it stays as it was in the setup"
    parts = listing(f"{one.words} {one.shown(part * one.plausible)}" for one, part in involved)
    return (
        f"not determined: {parts}, changed together in this ratio, leave everything that was "
        "measured as it is; what the data fix is the rest"
    )


def correlations_of(found: Fit) -> FloatArray:
    """(k, k) correlations of the changes."""
    errors = np.sqrt(np.maximum(np.diag(found.covariance), 1e-300))
    return np.asarray(found.covariance / np.outer(errors, errors))


def correlated(found: Fit, without: set[str]) -> list[str]:
    """A sentence for each pair of determined quantities that are strongly correlated."""
    matrix = correlations_of(found)
    said = []
    for i, one in enumerate(found.quantities):
        for j, other in enumerate(found.quantities[:i]):
            if {one.name, other.name} & without or abs(matrix[i, j]) < _CORRELATED:
                continue
            said.append(
                f"{other.words} and {one.words} are correlated by {matrix[i, j]:+.2f}: use both "
                "from the same calibration"
            )
    return said


def condition_words(one: Condition) -> str:
    """A condition as what is wrong where it does not hold."""
    where = f" ({one.channel})" if one.channel else ""
    if one.kind == "sum":
        return f"momentum sum along {one.along} not at zero{where}"
    if one.kind == "turn":
        return f"momentum sums that turn with the direction of {one.ion}{where}"
    if one.kind == "measured":
        return one.along
    if one.kind == "direction":
        return f"more {one.ion} in some directions, {_DIRECTION_WORDS[one.along]}{where}"
    what = f"size of the momentum of {one.ion}" if one.kind == "size" else "energy release"
    by = "" if one.kind == "size" else f" of {one.ion}"
    return f"{what} that changes {_DIRECTION_WORDS[one.along]}{by}{where}"
