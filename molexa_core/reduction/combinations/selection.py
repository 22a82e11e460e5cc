"""Compiled selection of the coincidences of a shot among candidates that share hits.

A candidate has odds: how much more probable it is that its hits are one molecule than that their
momenta cancel by chance. Candidates that share a hit exclude each other. Of all sets of candidates
without a common hit the one with the largest sum of log(1 + odds) is accepted, so that one
candidate does not take the hits of two others that explain more together.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from molexa_core.base.compiled import inner, integer
from molexa_core.base.tables import BoolArray, FloatArray, IntArray
from molexa_core.reduction.combinations.halves import BITS

TOGETHER: Final = 60
"""Candidates of a shot, the best ones, whose sets are compared; any further ones are accepted in
the order of their odds where their hits are free."""
MOST_SETS: Final = 20_000
"""Sets of candidates that are compared for a group; beyond, the best candidate comes first."""


@inner
def ranked(n: int, distances: FloatArray) -> IntArray:
    """Rows in ascending order of distance; rows of equal distance keep their order.

    Shell sort: short, and quick for the handful of candidates of a shot; with steps that shrink to
    5/11 (Gonnet, Baeza-Yates, Handbook of Algorithms, 1991) also for tens of thousands.
    """
    order = np.empty(n, np.int64)
    for row in range(n):
        order[row] = row
    gap = n // 2
    while gap > 0:
        for place in range(gap, n):
            row = order[place]
            slot = place
            while slot >= gap:
                other = order[slot - gap]
                if distances[other] < distances[row] or (
                    distances[other] == distances[row] and other < row
                ):
                    break
                order[slot] = other
                slot -= gap
            order[slot] = row
        gap = 1 if gap == 2 else gap * 5 // 11
    return order


@inner
def halved(n: int, odds: FloatArray) -> float:
    """The odds that about half of the candidates exceed."""
    values = odds[:n].copy()
    wanted = n - 1 - n // 2  # in ascending order
    low, high = 0, n - 1
    while low < high:  # Hoare's quickselect
        pivot = values[(low + high) // 2]
        i, j = low, high
        while i <= j:
            while values[i] < pivot:
                i += 1
            while values[j] > pivot:
                j -= 1
            if i <= j:
                values[i], values[j] = values[j], values[i]
                i += 1
                j -= 1
        if wanted <= j:
            high = j
        elif wanted >= i:
            low = i
        else:
            break
    return float(values[wanted])


@inner
def better(ceiling: float, n: int, rows: IntArray, odds: FloatArray) -> int:
    """Drop the candidates that do not exceed these odds; return how many remain."""
    kept = 0
    for row in range(n):
        if odds[row] > ceiling:
            for column in range(rows.shape[1]):
                rows[kept, column] = rows[row, column]
            odds[kept] = odds[row]
            kept += 1
    return kept


@inner
def in_box(box: int, n: int, rows: IntArray, odds: FloatArray) -> IntArray:
    """The candidates of a box, those of the largest odds first."""
    those = np.empty(n, np.int64)
    falling = np.empty(n)
    number = integer(0)
    for row in range(n):
        if rows[row, 0] == box:
            those[number] = row
            falling[number] = -odds[row]
            number += 1
    order = ranked(number, falling)
    for place in range(number):
        order[place] = those[order[place]]
    return order


@inner
def masks_of(n: int, rows: IntArray, begin: int) -> IntArray:
    """(n) the hits of each candidate as bits; hit `begin` is the first of the shot."""
    masks = np.zeros(n, np.int64)
    for row in range(n):
        for column in range(1, rows.shape[1]):
            if rows[row, column] >= 0:
                masks[row] |= 1 << ((rows[row, column] - begin) % BITS)
    return masks


@inner
def share(rows: IntArray, masks: IntArray, exact: bool, one: int, other: int) -> bool:
    """Whether two candidates have a hit in common; `exact` where every hit has its own bit."""
    if not masks[one] & masks[other]:
        return False
    if exact:
        return True
    for i in range(1, rows.shape[1]):
        for j in range(1, rows.shape[1]):
            if rows[one, i] == rows[other, j] and rows[one, i] >= 0:
                return True
    return False


@inner
def assign(  # noqa: C901, PLR0912  # one compiled loop
    order: IntArray,
    rows: IntArray,
    odds: FloatArray,
    masks: IntArray,
    exact: bool,
    weigh: bool,
    accepted: BoolArray,
    probability: FloatArray,
) -> None:
    """Accept the best set of candidates without a common hit.

    Args:
        order: candidates, those of the largest odds first.
        rows: (n, 1 + ions) their hits from column 1 on; negative numbers are no hits.
        odds: (n) logarithms of the odds.
        masks: (n) see `masks_of`.
        exact: whether every hit of the shot has its own bit.
        weigh: whether probabilities are asked for.
        accepted: (n) set for the candidates of `order`.
        probability: (n) set for the candidates of `order`: probability that a candidate is true on
            the condition that it, or another one that shares a hit with it, is.
    """
    top = min(len(order), TOGETHER)
    if top == 1:
        accepted[order[0]] = True
        probability[order[0]] = 1.0
        return
    rivals = np.zeros(top, np.int64)
    for i in range(top):
        accepted[order[i]] = False
        for j in range(i):
            if share(rows, masks, exact, order[i], order[j]):
                rivals[i] |= 1 << j
                rivals[j] |= 1 << i
    settled = 0
    group = np.empty(top, np.int64)
    for first in range(top):
        if settled >> first & 1:
            continue
        if rivals[first] == 0:
            accepted[order[first]] = True
            probability[order[first]] = 1.0
            continue
        inside = (1 << first) | rivals[first]  # all candidates connected through common hits
        before = 0
        while inside != before:
            before = inside
            for i in range(top):
                if before >> i & 1:
                    inside |= rivals[i]
        size = 0
        for i in range(top):
            if inside >> i & 1:
                group[size] = i
                size += 1
        settled |= inside
        compare_sets(group[:size], order, rivals, odds, weigh, accepted, probability)
    near = order.copy()  # the best ones, then the accepted ones of the others
    n_near = top
    for place in range(top, len(order)):
        row = order[place]
        accepted[row] = True
        total = np.exp(odds[row])
        for earlier in range(n_near):
            other = near[earlier]
            if masks[row] & masks[other] and (exact or share(rows, masks, exact, row, other)):
                if accepted[other]:
                    accepted[row] = False
                if weigh:
                    total += np.exp(odds[other])
                elif accepted[other]:
                    break
        probability[row] = np.exp(odds[row]) / total
        if accepted[row]:
            near[n_near] = row
            n_near += 1


@inner
def compare_sets(  # noqa: C901, PLR0912  # one compiled loop
    group: IntArray,
    order: IntArray,
    rivals: IntArray,
    odds: FloatArray,
    weigh: bool,
    accepted: BoolArray,
    probability: FloatArray,
) -> None:
    """Go through all sets of a group of candidates that exclude each other in part."""
    size = len(group)
    weights, ratios, left = np.empty(size), np.empty(size), np.zeros(size + 1)
    for i in range(size):
        ratios[i] = np.exp(min(odds[order[group[i]]], 300.0 / size))
        weights[i] = np.log1p(ratios[i])
    for i in range(size - 1, -1, -1):
        left[i] = left[i + 1] + weights[i]
    place = np.empty(size + 1, np.int64)
    taken, barred = np.zeros(size + 1, np.int64), np.zeros(size + 1, np.int64)
    value, product = np.zeros(size + 1), np.ones(size + 1)
    true, any_of = np.zeros(size), np.zeros(size)
    best, best_value, sets = 0, 0.0, 0
    depth = 0
    place[0] = -1
    while depth >= 0 and sets < MOST_SETS:
        place[depth] += 1
        i = place[depth]
        if i >= size or (not weigh and value[depth] + left[i] <= best_value):
            depth -= 1
            continue
        if barred[depth] >> group[i] & 1:
            continue
        sets += 1
        taken[depth + 1] = taken[depth] | 1 << group[i]
        barred[depth + 1] = barred[depth] | rivals[group[i]]
        value[depth + 1] = value[depth] + weights[i]
        product[depth + 1] = product[depth] * ratios[i]
        if value[depth + 1] > best_value:
            best, best_value = taken[depth + 1], value[depth + 1]
        if weigh:
            for j in range(size):
                if taken[depth + 1] >> group[j] & 1:
                    true[j] += product[depth + 1]
                    any_of[j] += product[depth + 1]
                elif taken[depth + 1] & rivals[group[j]]:
                    any_of[j] += product[depth + 1]
        place[depth + 1] = i
        depth += 1
    if sets >= MOST_SETS:  # the best first, each by itself against those that share a hit
        best = 0
        for i in range(size):
            if not rivals[group[i]] & best:
                best |= 1 << group[i]
            true[i] = any_of[i] = ratios[i]
            for j in range(size):
                if rivals[group[i]] >> group[j] & 1:
                    any_of[i] += ratios[j]
    for i in range(size):
        row = order[group[i]]
        accepted[row] = best >> group[i] & 1
        probability[row] = true[i] / any_of[i] if any_of[i] > 0.0 else 1.0


@inner
def beside(
    n: int,
    rows: IntArray,
    odds: FloatArray,
    masks: IntArray,
    exact: bool,
    accepted: BoolArray,
    elsewhere: IntArray,
) -> None:
    """Count the false coincidences of the displaced boxes: added to `elsewhere` (boxes).

    Candidates of a displaced box compete with those accepted in the gate and with those of their
    own box: each stands for a false coincidence that would have been counted, had its sum fallen
    into the gate.
    """
    present = np.zeros(len(elsewhere), np.int64)
    best, n_best = np.empty(n, np.int64), 0
    for row in range(n):
        present[rows[row, 0]] += 1
        if rows[row, 0] == 0 and accepted[row]:
            best[n_best] = row
            n_best += 1
    won, probability = np.zeros(n, np.bool_), np.empty(n)
    for box in range(1, len(elsewhere)):
        if present[box] == 0:
            continue
        order = in_box(box, n, rows, odds)
        free = 0
        for row in order:
            own, taken = np.log1p(np.exp(min(odds[row], 300.0))), 0.0
            for other in best[:n_best]:
                if share(rows, masks, exact, row, other):
                    taken += np.log1p(np.exp(min(odds[other], 300.0)))
            if own > taken:
                order[free] = row
                free += 1
        if free == 0:
            continue
        kept = order[:free]
        assign(kept, rows, odds, masks, exact, free < 0, won, probability)
        for row in kept:
            elsewhere[box] += 1 if won[row] else 0
