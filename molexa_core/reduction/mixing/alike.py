"""Which shots are alike: those between which hits may be mixed.

The rate of explosions must be the same in all shots that are mixed: if it varies, ions of different
explosions come together more often than in mixed shots (their counts have the factorial moment
<g^2> > <g>^2 of the rate g). Shots are alike if they are close in time, have the same flags, delay
and scanned values, and about the same pulse energy.

The number of hits is not a criterion: a shot is not chosen by the number of its hits without
changing how likely a second explosion is in it. In shots of exactly n hits of independent sources
there are n (n - 1) pairs, while mixing gives n^2; the mean over all shots is right, the mean over
those of one number of hits is not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from molexa_core.base.fields import (
    TAG_DELAY,
    TAG_FEL,
    TAG_PULSE_ENERGY,
    TAG_PUMP,
    TAG_SCAN,
)
from molexa_core.base.tables import IntArray

FEWEST: Final = 256
"""Least number of shots in a class, where there are enough to choose."""
_MOST_CLASSES: Final = 32
_MOST_VALUES: Final = 64
"""A tag with more values than this is divided at its quantiles."""


def alike_shots(tags: Mapping[str, NDArray[Any]], shots: int) -> IntArray:
    """(shots) number of the class of each shot; shots of one class are alike.

    Args:
        tags: per-shot values by name.
        shots: number of shots.
    """
    classes = np.zeros(shots, np.int64)
    names = [name for name in tags if name.startswith(TAG_SCAN)]
    for name in (TAG_FEL, TAG_PUMP, TAG_DELAY, *names):
        if name in tags:
            classes = _divided(classes, _levels(np.asarray(tags[name], np.float64)))
    if TAG_PULSE_ENERGY in tags:
        energy = np.asarray(tags[TAG_PULSE_ENERGY], np.float64)
        divided = np.zeros(shots, np.int64)
        for number in np.unique(classes):
            inside = np.flatnonzero(classes == number)
            part = _quantiles(energy[inside], max(1, min(_MOST_CLASSES, len(inside) // FEWEST)))
            divided[inside] = part + number * (_MOST_CLASSES + 1)
        classes = np.unique(divided, return_inverse=True)[1].astype(np.int64)
    return classes


def _divided(classes: IntArray, level: IntArray) -> IntArray:
    pairs = classes * (int(level.max(initial=0)) + 1) + level
    divided: IntArray = np.unique(pairs, return_inverse=True)[1].astype(np.int64)
    return divided


def _levels(values: NDArray[np.float64]) -> IntArray:
    """(shots) number of the value of each shot; shots without a value have one of their own."""
    distinct = np.unique(values[np.isfinite(values)])
    if len(distinct) > _MOST_VALUES:
        return _quantiles(values, max(1, min(_MOST_CLASSES, len(values) // FEWEST)))
    level = np.searchsorted(distinct, values).astype(np.int64)
    level[~np.isfinite(values)] = len(distinct)
    return level


def _quantiles(values: NDArray[np.float64], classes: int) -> IntArray:
    known = np.isfinite(values)
    level = np.full(len(values), classes, np.int64)
    if known.any():
        edges = np.quantile(values[known], np.linspace(0.0, 1.0, classes + 1)[1:-1])
        level[known] = np.searchsorted(edges, values[known], side="right")
    return level
