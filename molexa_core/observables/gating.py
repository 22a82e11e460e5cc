"""Gates on coincidences, applied block by block, with how many rows each of them took.

Gates act in order: what one takes, the next does not see. False coincidences that belong to a table
go through the same gates. At the end, `finish` refuses what left nothing, and `record` says what
every gate did.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np

from molexa_core.base.errors import NoEventsError, UsageError, listing, near_matches
from molexa_core.base.fields import GATES
from molexa_core.base.settings.region import Region
from molexa_core.base.tables import Coincidences
from molexa_core.observables.expression import Condition, parse_condition, parse_number

MOST_RANGES: Final = 6
"""Observables whose ranges a message names."""


@dataclass(frozen=True)
class Gate:
    """A condition with the name under which it is recorded.

    Attributes:
        name: of the region, or the text of the condition.
        condition: what rows must fulfil.
        region: the region, for gates on one.
    """

    name: str
    condition: Condition
    region: Region | None = None

    @classmethod
    def of_condition(cls, text: str, regions: Mapping[str, Region]) -> Gate:
        """The gate of a condition.

        Raises:
            ExpressionError: it cannot be read.
        """
        return cls(text, parse_condition(text, regions))

    @classmethod
    def of_region(cls, name: str, regions: Mapping[str, Region]) -> Gate:
        """The gate of a named region.

        Raises:
            UsageError: there is none of this name.
            ExpressionError: one of its axes cannot be read.
        """
        if name not in regions:
            near = near_matches(name, regions)
            hint = f"Did you mean {listing(near)}? " if near else ""
            there = (
                f"There are: {listing(sorted(regions))}."
                if regions
                else "Draw it with molexa gate."
            )
            raise UsageError(f"there is no region {name!r}", setting="gate", do=f"{hint}{there}")
        region = regions[name]
        for axis in (region.x, region.y):
            parse_number(axis)
        return cls(name, parse_condition(f"inside({name})", regions), region)

    @property
    def statement(self) -> str:
        """What it asks for, in words."""
        if self.region is None:
            return self.condition.text
        return f"{self.region.form} in {self.region.x} and {self.region.y}"

    @property
    def numbers(self) -> list[str]:
        """The observables and tags in it, as they are written."""
        axes = [] if self.region is None else [self.region.x, self.region.y]
        within = [
            axis
            for name in self.condition.named_regions
            for axis in (self.condition.regions[name].x, self.condition.regions[name].y)
            if name in self.condition.regions
        ]
        written = [str(one) for one in self.condition.quantities]
        return list(dict.fromkeys([*axes, *written, *within]))


@dataclass
class _Count:
    """What a gate saw so far."""

    rows: int = 0
    kept: int = 0
    unknown: int = 0
    ranges: dict[str, tuple[float, float]] = field(default_factory=dict)


class Gating:
    """The gates of one stage.

    Args:
        gates: in the order in which they act.
        stage: name of the command, for the record.
    """

    def __init__(self, gates: Sequence[Gate], stage: str) -> None:
        self._gates, self._stage = tuple(gates), stage
        self._counts = [_Count() for _ in self._gates]

    def afresh(self) -> Gating:
        """The same gates that have not seen a row yet."""
        return Gating(self._gates, self._stage)

    def __bool__(self) -> bool:
        return bool(self._gates)

    def check(self, table: Coincidences) -> None:
        """Check that a table, with or without rows, has all that the gates name.

        Raises:
            ExpressionError: an ion, a tag or a region is not there.
        """
        for gate in self._gates:
            gate.condition.check(table.ions, tuple(table.tags))

    def select(self, table: Coincidences) -> Coincidences:
        """The rows of a block that all gates let through.

        Raises:
            ExpressionError: the events lack an ion, a tag or a region that a gate names.
            InputFileError: the events have no times of flight and positions.
        """
        for gate, count in zip(self._gates, self._counts, strict=True):
            holds, unknown = gate.condition.masks(table)
            self._note_ranges(gate, count, table)
            count.rows += len(table)
            count.kept += int(holds.sum())
            count.unknown += int(unknown.sum())
            table = table if holds.all() else table.select(holds)
            table = _with_false(table, gate.condition)
        return table

    def finish(self) -> None:
        """Check that something is left.

        Raises:
            NoEventsError: nothing; the message says what each gate took.
        """
        emptied = next(
            (i for i, count in enumerate(self._counts) if count.rows and not count.kept), None
        )
        if emptied is None:
            return
        gate, count = self._gates[emptied], self._counts[emptied]
        before = [
            f"{earlier.name} kept {seen.kept} of {seen.rows}"
            for earlier, seen in zip(self._gates[:emptied], self._counts[:emptied], strict=True)
        ]
        after = f" ({listing(before)})" if before else ""
        spans = listing(
            f"{name} from {low:.4g} to {high:.4g}{_unit(name)}"
            for name, (low, high) in list(count.ranges.items())[:MOST_RANGES]
        )
        where = f"; they have {spans}" if count.ranges else ""
        unknown = f"; in {count.unknown} of them a value is not a number" if count.unknown else ""
        raise NoEventsError(
            f"the gate {gate.name!r} leaves none of {count.rows} coincidences"
            f"{after}{where}{unknown}",
            do="Change the gate.",
        )

    def record(self) -> list[dict[str, Any]]:
        """What each gate did, as plain values for `meta` and provenance."""
        rows = []
        for gate, count in zip(self._gates, self._counts, strict=True):
            row: dict[str, Any] = {
                "gate": gate.name,
                "statement": gate.statement,
                "stage": self._stage,
                "rows": count.rows,
                "kept": count.kept,
            }
            if count.unknown:
                row["not_numbers"] = count.unknown
            used = {name: gate.condition.regions[name] for name in gate.condition.named_regions}
            if used:
                row["regions"] = {
                    name: region.model_dump(mode="json", exclude_defaults=True)
                    for name, region in used.items()
                }
            rows.append(row)
        return rows

    def meta(self, before: Mapping[str, Any]) -> dict[str, Any]:
        """`meta` of the events with these gates added behind those of earlier stages."""
        if not self._gates:
            return dict(before)
        return {**before, GATES: [*recorded(before), *self.record()]}

    def sentences(self) -> list[str]:
        """What each gate did, in words."""
        return [sentence_of(row) for row in self.record()]

    def _note_ranges(self, gate: Gate, count: _Count, table: Coincidences) -> None:
        if not len(table):
            return
        for name in gate.numbers:
            values = parse_number(name).values(table)
            values = values[np.isfinite(values)]
            if len(values):
                low, high = count.ranges.get(name, (np.inf, -np.inf))
                count.ranges[name] = min(low, values.min()), max(high, values.max())


def recorded(meta: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The gates that earlier stages recorded in `meta`."""
    rows = meta.get(GATES)
    return [dict(row) for row in rows if isinstance(row, Mapping)] if isinstance(rows, list) else []


def sentence_of(row: Mapping[str, Any]) -> str:
    """A recorded gate in words: what it asked for and how many rows it kept."""
    name, statement = str(row.get("gate")), str(row.get("statement"))
    what = name if name == statement else f"{name} ({statement})"
    text = f"gate {what} kept {row.get('kept')} of {row.get('rows')}"
    if row.get("not_numbers"):
        text += f", {row['not_numbers']} left out because a value is not a number"
    return text


def select_where(table: Coincidences, condition: Condition | str) -> Coincidences:
    """The rows of a table that fulfil a condition, and its false coincidences that do.

    Raises:
        ExpressionError, InputFileError: as `Condition.mask`.
    """
    if isinstance(condition, str):
        condition = parse_condition(condition)
    return _with_false(table.select(condition.mask(table)), condition)


def _with_false(table: Coincidences, condition: Condition) -> Coincidences:
    """The table with those of its false coincidences that fulfil a condition."""
    if table.false is None:
        return table
    return replace(table, false=table.false.select(condition.mask(table.false)))


def _unit(name: str) -> str:
    unit = parse_number(name).unit
    return f" {unit}" if unit else ""
