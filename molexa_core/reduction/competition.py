"""Channels that compete for hits: a hit belongs to one explosion.

Each channel is searched by itself; then the candidates of all channels are put together. One has
the odds exp(log_odds - chi-square / 2) of its channel's gate. In log_odds is how many of the
channel's candidates are true (the yield) and how wide its peak is. Of all sets of candidates that
share no hit the most probable one is accepted, whatever channel they are of.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from molexa_core.base.compiled import compiled
from molexa_core.base.errors import UsageError
from molexa_core.base.numbers import percent
from molexa_core.base.tables import BoolArray, FloatArray, Hits, IntArray
from molexa_core.reduction.coincidences import AMBIGUOUS, Found, Search, SumGate, Tally
from molexa_core.reduction.combinations.halves import BITS
from molexa_core.reduction.combinations.selection import assign, masks_of

_COUNTS: Final = ("claimed", "lost", "ambiguous", "accepted")


@dataclass
class Contest:
    """Counts of a competition so far.

    Attributes:
        claimed: (channels, channels) hits in candidates of two channels.
        lost: (channels) coincidences that would have been accepted without the other channels.
        ambiguous: (channels) accepted ones of a probability below `AMBIGUOUS`.
        accepted: (channels) accepted ones.
    """

    channels: int
    claimed: IntArray = field(init=False)
    lost: IntArray = field(init=False)
    ambiguous: IntArray = field(init=False)
    accepted: IntArray = field(init=False)

    def __post_init__(self) -> None:
        self.claimed = np.zeros((self.channels, self.channels), np.int64)
        self.lost, self.ambiguous, self.accepted = np.zeros((3, self.channels), np.int64)

    def as_arrays(self) -> dict[str, NDArray[Any]]:
        """The counts as arrays by name."""
        return {name: getattr(self, name) for name in _COUNTS}

    def add(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Add the counts of other shots, as `as_arrays` gave them."""
        for name in _COUNTS:
            setattr(self, name, getattr(self, name) + arrays[name])

    def remark(self, names: Sequence[str]) -> str:
        """The counts in words, for the first of the channels."""
        rivals = ", ".join(
            f"{self.claimed[0, other]} hits are also claimed by channel {names[other]}"
            for other in range(1, self.channels)
        )
        n = max(int(self.accepted[0]), 1)
        return (
            f"{rivals}; {self.lost[0]} coincidences of channel {names[0]} went to another channel; "
            f"of those that remain {self.ambiguous[0]} ({percent(self.ambiguous[0] / n)} %) are "
            "ambiguous (likelihood ratio below 10)"
        )


def compete(
    hits: Hits,
    searches: Sequence[Search],
    gates: Sequence[SumGate | None],
    tallies: Sequence[Tally],
    contest: Contest,
    *,
    every: bool = False,
) -> list[Found]:
    """The coincidences of several channels in the same shots, each hit in one of them at most.

    Args:
        hits: calibrated hits.
        searches: one for each channel.
        gates: of each channel.
        tallies: counts of each channel, increased.
        contest: counts of the competition, increased.
        every: all candidates in the gates, with their probabilities, instead of the best set.

    Returns:
        For each channel its coincidences; probabilities are in view of all channels.

    Raises:
        UsageError: a channel without a gate, whose coincidences have no odds.
    """
    parts, odds = [], []
    for search, gate, tally in zip(searches, gates, tallies, strict=True):
        if gate is None:
            raise UsageError(
                "a channel that does not ask for all ions of its break-up cannot compete for hits: "
                "there is no gate on its momentum sum",
                do="Name channels whose ions are all detected.",
            )
        before = tally.found, tally.ambiguous
        part = search.solve(hits, tally, gate, every=True)
        tally.found, tally.ambiguous = before
        parts.append(part)
        odds.append(gate.log_odds - 0.5 * part.chi_square)
    alone = [_resolved(hits, [part], [own])[0][0] for part, own in zip(parts, odds, strict=True)]
    accepted, probability = _resolved(hits, parts, odds)
    _count_claims(parts, contest.claimed)
    results = []
    for number, (part, tally) in enumerate(zip(parts, tallies, strict=True)):
        contest.lost[number] += int((alone[number] & ~accepted[number]).sum())
        contest.accepted[number] += int(accepted[number].sum())
        unsure = probability[number] < AMBIGUOUS
        contest.ambiguous[number] += int((unsure & accepted[number]).sum())
        kept = np.full(len(part), True) if every else accepted[number]
        tally.found += int(kept.sum())
        tally.ambiguous += int((unsure & kept).sum())
        results.append(replace(part, probability=probability[number]).select(kept))
    return results


def _resolved(
    hits: Hits, parts: Sequence[Found], odds: Sequence[FloatArray]
) -> tuple[list[BoolArray], list[FloatArray]]:
    """For each part whether its candidates are accepted, and their probabilities."""
    width = max(part.rows.shape[1] for part in parts)
    rows = np.full((sum(len(part) for part in parts), 1 + width), -1, np.int64)
    ends = np.cumsum([len(part) for part in parts])
    for part, end in zip(parts, ends, strict=True):
        rows[end - len(part) : end, 1 : 1 + part.rows.shape[1]] = part.rows
    rows[:, 0] = 0
    shots = np.concatenate([part.shot for part in parts])
    strength = np.concatenate(odds)
    order = np.lexsort((-strength, shots))
    accepted, probability = np.zeros(len(rows), np.bool_), np.ones(len(rows))
    if len(rows):
        edges = np.flatnonzero(np.diff(shots[order], prepend=-1, append=-1))
        offsets = np.ascontiguousarray(hits.offsets, np.int64)
        _resolve(order, edges, shots, offsets, rows, strength, accepted, probability)
    return np.split(accepted, ends[:-1]), np.split(probability, ends[:-1])


@compiled
def _resolve(
    order: IntArray,
    edges: IntArray,
    shots: IntArray,
    offsets: IntArray,
    rows: IntArray,
    odds: FloatArray,
    accepted: BoolArray,
    probability: FloatArray,
) -> None:
    """Settle shot by shot: `edges` are where the candidates of each begin in `order`."""
    for number in range(len(edges) - 1):
        those = order[edges[number] : edges[number + 1]]
        if len(those) == 1:
            accepted[those[0]] = True
            continue
        shot = shots[those[0]]
        own = np.empty((len(those), rows.shape[1]), np.int64)
        strength = np.empty(len(those))
        for place in range(len(those)):
            own[place] = rows[those[place]]
            strength[place] = odds[those[place]]
        masks = masks_of(len(those), own, offsets[shot])
        exact = offsets[shot + 1] - offsets[shot] <= BITS
        taken, sure = np.zeros(len(those), np.bool_), np.ones(len(those))
        weigh = len(those) > 0
        assign(np.arange(len(those)), own, strength, masks, exact, weigh, taken, sure)
        for place in range(len(those)):
            accepted[those[place]] = taken[place]
            probability[those[place]] = sure[place]


def _count_claims(parts: Sequence[Found], claimed: IntArray) -> None:
    """Count hits that are in candidates of two channels."""
    used = [np.unique(part.rows) for part in parts]
    for one, other in combinations(range(len(parts)), 2):
        both = len(np.intersect1d(used[one], used[other], assume_unique=True))
        claimed[one, other] += both
        claimed[other, one] += both
