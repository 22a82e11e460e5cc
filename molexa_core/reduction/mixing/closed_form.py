"""The closed form of the number of true combinations: a check of event mixing, where it exists.

It needs no mixing, but counts without a gate on the momentum sum, and without dead time.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from molexa_core.base.tables import FloatArray
from molexa_core.reduction.mixing.partitions import Block, partitions
from molexa_core.reduction.mixing.shot_candidates import Candidates


def true_number(shots: Candidates, block: Block) -> FloatArray:
    """(2) number of true combinations of a block's ions in alike shots, and its variance.

    The closed form, without any mixing and without a gate: the joint factorial cumulant of the
    counts, sum over partitions of the products of mean numbers of combinations. The variance is
    that of the sum over shots of each shot's influence.
    """
    own = shots.per_shot(block)[shots.usable]
    n = len(own)
    total, influence = float(own.sum()), own - own.mean()
    for part in partitions(block) if sum(block) > 1 else ():
        numbers = np.array([shots.per_shot(piece)[shots.usable] for piece in part.blocks])
        means = numbers.mean(axis=1)
        total -= part.coefficient * n * distinct_mean(numbers)
        for index in range(len(means)):
            rest = float(np.prod(np.delete(means, index)))
            influence = influence - part.coefficient * rest * (numbers[index] - means[index])
    return np.array([total, float(np.square(influence).sum()) * n / max(n - 1, 1)])


def distinct_mean(numbers: FloatArray) -> float:
    """Mean of numbers[0, s] numbers[1, s'] ... over all choices of different shots s, s', ... .

    Args:
        numbers: (blocks, shots).
    """
    m, n = numbers.shape
    total = 0.0
    for sets in _set_partitions(list(range(m))):
        sign = math.prod((-1.0) ** (len(part) - 1) * math.factorial(len(part) - 1) for part in sets)
        total += sign * math.prod(float(np.prod(numbers[part], axis=0).sum()) for part in sets)
    return total / float(math.prod(n - place for place in range(m)))


def _set_partitions(members: list[int]) -> Iterator[list[list[int]]]:
    if not members:
        yield []
        return
    first, rest = members[0], members[1:]
    for sets in _set_partitions(rest):
        yield [[first], *sets]
        for place in range(len(sets)):
            yield [*sets[:place], [first, *sets[place]], *sets[place + 1 :]]
