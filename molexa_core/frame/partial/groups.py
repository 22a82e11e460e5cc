"""Events of a partial channel: the ions of the frame with every other ion of their shot.

A row of a table of coincidences holds as many ions of a kind as the channel asks for. Where a shot
has more of them, it gives several rows with the same ions of the kinds that are complete. Such
rows are one event, and which ions of a kind were seen together in it tells like ions apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from molexa_core.base.fields import TAG_SHOT
from molexa_core.base.settings import Channel
from molexa_core.base.tables import Coincidences, FloatArray, IntArray, offsets_of

DIGITS: Final = 6
"""Decimals of a momentum in a.u. to which two rows have the same ion."""


@dataclass(frozen=True)
class Kind:
    """One kind of ion.

    Attributes:
        name: the ion.
        count: how many the molecule has.
        detected: how many a row has.
        mass: mass of the ion, electron masses.
    """

    name: str
    count: int
    detected: int
    mass: float

    @property
    def complete(self) -> bool:
        """Whether every event has all of them."""
        return self.detected == self.count


@dataclass(frozen=True)
class Events:
    """Ions of events, end to end, in the order of the kinds.

    Attributes:
        kinds: kinds that are detected at all.
        offsets: (events + 1) first ion of each event.
        momentum: (ions, 3) a.u., in the laboratory or any frame common to the ions of an event.
        kind: (ions) number of the kind.
        weight: (events) negative for false coincidences that are to be subtracted.
        rows: rows of the table that they come from.
    """

    kinds: tuple[Kind, ...]
    offsets: IntArray
    momentum: FloatArray
    kind: IntArray
    weight: FloatArray
    rows: int

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def event(self) -> IntArray:
        """(ions) number of the event of each ion."""
        return np.repeat(np.arange(len(self)), np.diff(self.offsets))

    def counts(self, kind: int) -> IntArray:
        """(events) number of ions of a kind."""
        return np.bincount(self.event, weights=self.kind == kind, minlength=len(self)).astype(int)

    def take(self, events: IntArray) -> Events:
        """Some of the events."""
        sizes = np.diff(self.offsets)[events]
        offsets = offsets_of(sizes)
        ions = np.arange(offsets[-1]) + np.repeat(self.offsets[events] - offsets[:-1], sizes)
        return Events(
            self.kinds,
            offsets,
            np.ascontiguousarray(self.momentum[ions]),
            np.ascontiguousarray(self.kind[ions]),
            self.weight[events],
            self.rows,
        )

    def followed_by(self, other: Events) -> Events:
        """These events and the others."""
        return Events(
            self.kinds,
            np.concatenate([self.offsets, other.offsets[1:] + self.offsets[-1]]),
            np.concatenate([self.momentum, other.momentum]),
            np.concatenate([self.kind, other.kind]),
            np.concatenate([self.weight, other.weight]),
            self.rows + other.rows,
        )


def kinds_of(channel: Channel) -> tuple[Kind, ...]:
    """The kinds of ions of a channel that are detected."""
    masses = {str(ion): ion.mass for ion in channel.all_ions}
    return tuple(
        Kind(entry.ion, entry.count, entry.wanted, masses[entry.ion])
        for entry in channel.ions
        if entry.wanted > 0
    )


def events_of(table: Coincidences, kinds: tuple[Kind, ...], sign: float = 1.0) -> Events:
    """Group the rows of a table into events.

    Args:
        table: rows in the laboratory frame.
        kinds: the kinds of the columns.
        sign: factor of the weights.
    """
    _, once = np.unique(table.event_id, return_index=True)
    if len(once) < len(table):  # rows that differ in the roles of like ions
        table = table.select(np.sort(once))
    names = [str(ion) for ion in table.ions]
    columns = [[i for i, name in enumerate(names) if name == kind.name] for kind in kinds]
    shot = np.asarray(table.tags.get(TAG_SHOT, table.event_id))
    complete = [c for kind, cols in zip(kinds, columns, strict=True) if kind.complete for c in cols]
    n = len(table)
    momentum: FloatArray = np.round(table.momentum, DIGITS) + 0.0
    for cols in columns:
        order = np.argsort(np.square(momentum[:, cols]).sum(axis=2).round(DIGITS), axis=1)
        momentum[:, cols] = np.take_along_axis(momentum[:, cols], order[:, :, None], axis=1)
    if complete:
        keys = np.column_stack([shot, momentum[:, complete].reshape(n, -1)])
        _, first, group = np.unique(keys, axis=0, return_index=True, return_inverse=True)
        group = group.ravel()
    else:
        first, group = np.arange(n), np.arange(n)
    parts = []
    for number, (kind, cols) in enumerate(zip(kinds, columns, strict=True)):
        rows = first if kind.complete else np.arange(n)
        owner = np.repeat(group[rows], len(cols))
        ions: FloatArray = momentum[rows][:, cols].reshape(-1, 3)
        if not kind.complete:
            both = np.unique(np.column_stack([owner, ions]), axis=0)
            owner, ions = both[:, 0].astype(np.int64), np.asarray(both[:, 1:], np.float64)
        parts.append((owner, np.full(len(owner), number, np.int64), ions))
    owner, kind_of, ions = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.lexsort((np.arange(len(owner)), kind_of, owner))
    weight = np.full(len(first), sign)
    return Events(
        kinds,
        offsets_of(np.bincount(owner, minlength=len(first))),
        np.ascontiguousarray(ions[order]),
        kind_of[order],
        sign * weight,
        n,
    )
