"""Compiled pieces of every coincidence search: what is asked for, and the hits of one shot.

Three searches use them, each compiled only where a run has such shots: `direct` looks at all
combinations of a shot with few, `masked` at all of one group of ions and looks up what completes
them, `search` divides very many combinations into halves. They list the combinations in the gate
and beside it; `verdict` decides between those of a shot.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from molexa_core.base.compiled import inlined, inner, integer
from molexa_core.base.tables import FloatArray, IntArray
from molexa_core.reduction.combinations.halves import choose
from molexa_core.reduction.momentum import initial_momentum

FIRST: Final = 0
LAST: Final = 1
"""Columns of `kinds`: the time-of-flight window in ns."""
SHOTS: Final = 0
COMBINATIONS: Final = 1
CROWDED: Final = 2
FOUND: Final = 3
COLLECTED: Final = 4
TRUNCATED: Final = 5
LEFT: Final = 6
COUNTERS: Final = 7
"""Indices of `counters`: shots searched, combinations in them, shots left out because of too much
work, coincidences found, momentum sums collected, shots with more candidates than are compared,
shots left to the next search."""
MAX_MOMENTUM: Final = 0
MOST: Final = 1
LOG_ODDS: Final = 2
ROOM: Final = 3
OVERLAP: Final = 4
CEILING: Final = 5
WORK: Final = 6
LIMITS: Final = 7
"""Indices of `limits`: largest momentum of an ion in a.u., most combinations of a shot, logarithm
of the odds of a candidate in the centre of the gate, most candidates of a shot, whether a hit can
be several kinds of ions, the odds that a candidate of the present shot must exceed, and most work
for a shot in expected steps of about a nanosecond."""
CENTRE: Final = 0
HALF_WIDTH: Final = 1
SIGMA: Final = 2
REACH: Final = 3
"""Rows of `gate`, a.u."""
BEST: Final = 0
ALL: Final = 1
EVERY: Final = 2
COLLECT: Final = 3
"""What is asked for: the best coincidences of each shot, all candidates in the gate, every
combination without a gate, or momentum sums only."""
SLACK: Final = 1e-9
"""Sums are first compared with limits wider by this, since they are added in another order."""
MOST_PICKS: Final = 8192
"""Most combinations of a shot in the gate or beside it that are listed before they are judged."""


class Columns(NamedTuple):
    """Calibrated hits.

    Attributes:
        offsets: (shots + 1) first hit of each shot.
        x, y, t: (hits) mm and ns.
    """

    offsets: IntArray
    x: FloatArray
    y: FloatArray
    t: FloatArray


class Sought(NamedTuple):
    """What a search looks for.

    Attributes:
        kinds: (kinds, 2) see `FIRST`, `LAST`.
        flights: (kinds, numbers) `momentum.flight_row` of each kind: ion, spectrometer and jet.
        wanted: (kinds) how many of each.
        kind_of: (ions) kind of each ion of the channel, like ions side by side.
        limits: see `MAX_MOMENTUM` and following.
        asked: see `BEST` and following.
        weigh: whether probabilities are asked for.
        gate: (4, 3) see `CENTRE` and following; sums beyond the reach, or outside the gate on two
            axes, are of no interest.
        shifts: (boxes, 3) displacement of each box along one axis, zero for box 0.
    """

    kinds: FloatArray
    flights: FloatArray
    wanted: IntArray
    kind_of: IntArray
    limits: FloatArray
    asked: int
    weigh: bool
    gate: FloatArray
    shifts: FloatArray


class Counted(NamedTuple):
    """What a search adds to.

    Attributes:
        collected: (capacity, 6) filled with momentum sums, and sums of squared momenta, along each
            axis; the search ends when it is full.
        histograms: (3, bins) of momentum sums.
        elsewhere: (boxes) coincidences.
        counters: see `SHOTS` and following.
    """

    collected: FloatArray
    histograms: IntArray
    elsewhere: IntArray
    counters: IntArray


class Picks(NamedTuple):
    """Combinations in the gate and beside it, those of a shot side by side.

    Attributes:
        hits: (capacity, 1 + ions) the shot, and the hits in the order of the columns, like ions in
            the order of their times.
        sums: (capacity, 3) sums of their momenta, added up in this order, a.u.
    """

    hits: IntArray
    sums: FloatArray


@inlined
def sort_shot(
    begin: int,
    end: int,
    x: FloatArray,
    y: FloatArray,
    t: FloatArray,
    kinds: FloatArray,
    flights: FloatArray,
    wanted: IntArray,
    max_momentum: float,
    count: IntArray,
    members: IntArray,
    momenta: FloatArray,
) -> float:
    """List the candidate hits of one shot for each kind of ion.

    Fills `count` (kinds), `members` (kinds, hits) and `momenta` (kinds, hits, 3). Hits at the same
    time are ordered by position, so that the order of hits in the file does not matter.

    Returns:
        number of combinations; 0 where there are not enough hits of each kind. Choices that use one
        hit as two kinds of ions are counted too.
    """
    for kind in range(len(kinds)):  # before any momentum is computed
        n = 0
        first, last = kinds[kind, FIRST], kinds[kind, LAST]
        for hit in range(begin, end):
            members[kind, n] = hit
            n += 1 if first <= t[hit] <= last else 0
        count[kind] = n
        if n < wanted[kind]:
            return 0.0
    combinations, largest = 1.0, max_momentum * max_momentum
    for kind in range(len(kinds)):
        for place in range(1, count[kind]):  # by time; mostly they are
            hit = members[kind, place]
            time = t[hit]
            slot = place
            while slot > 0:
                other = members[kind, slot - 1]
                if t[other] < time or (
                    t[other] == time
                    and (x[other] < x[hit] or (x[other] == x[hit] and y[other] <= y[hit]))
                ):
                    break
                members[kind, slot] = other
                slot -= 1
            members[kind, slot] = hit
        n = integer(0)
        for place in range(count[kind]):
            hit = members[kind, place]
            px, py, pz = initial_momentum(x[hit], y[hit], t[hit], flights, kind)
            members[kind, n] = hit
            momenta[kind, n, 0] = px
            momenta[kind, n, 1] = py
            momenta[kind, n, 2] = pz
            n += 1 if px * px + py * py + pz * pz <= largest else 0
        count[kind] = n
        if n < wanted[kind]:
            return 0.0
        combinations *= choose(n, wanted[kind])
    return combinations


@inner
def accept(
    shot: int,
    choice: IntArray,
    kind_of: IntArray,
    members: IntArray,
    momenta: FloatArray,
    gate: FloatArray,
    asked: int,
    n: int,
    hits: IntArray,
    sums: FloatArray,
    collected: FloatArray,
    counters: IntArray,
) -> int:
    """Add a combination to `Picks`, or its sum to those collected, if it is of interest.

    `choice` (ions) is the place of each hit in the list of its kind. The sum is added up in the
    order of the columns, whatever the search, so that every search gives the same number.

    Returns:
        number of picks.
    """
    x, y, z = 0.0, 0.0, 0.0
    for column in range(len(kind_of)):
        kind, place = kind_of[column], choice[column]
        x += momenta[kind, place, 0]
        y += momenta[kind, place, 1]
        z += momenta[kind, place, 2]
    apart_x = abs(x - gate[CENTRE, 0])
    apart_y = abs(y - gate[CENTRE, 1])
    apart_z = abs(z - gate[CENTRE, 2])
    in_x, in_y = apart_x <= gate[HALF_WIDTH, 0], apart_y <= gate[HALF_WIDTH, 1]
    in_z = apart_z <= gate[HALF_WIDTH, 2]
    good = (in_x and in_y) or (in_x and in_z) or (in_y and in_z)
    if asked != EVERY:
        good &= apart_x <= gate[REACH, 0]
        good &= apart_y <= gate[REACH, 1] and apart_z <= gate[REACH, 2]
    if good and asked == COLLECT:
        to = counters[COLLECTED]
        if to < len(collected):
            collected[to, 0], collected[to, 1], collected[to, 2] = x, y, z
            for axis in range(3):
                collected[to, 3 + axis] = 0.0
                for column in range(len(kind_of)):
                    p = momenta[kind_of[column], choice[column], axis]
                    collected[to, 3 + axis] += p * p
            counters[COLLECTED] += 1
    elif good:
        hits[n, 0] = shot
        for column in range(len(kind_of)):
            hits[n, 1 + column] = members[kind_of[column], choice[column]]
        sums[n, 0], sums[n, 1], sums[n, 2] = x, y, z
        n += 1
    return n
