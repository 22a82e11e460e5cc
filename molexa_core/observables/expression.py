"""Conditions on coincidences, and numbers computed from their observables.

`parse_condition("ker in 20..26 and tof(O+) < 1240")` reads a text once; its `mask` is evaluated for
any table. A row in which a compared value is not a number (a delay that was not recorded) fulfils
no condition, not even one with `not`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast, get_args

import numpy as np
from numpy.typing import NDArray

from molexa_core.base.errors import listing, near_matches
from molexa_core.base.fields import TAG_UNITS
from molexa_core.base.matter.ions import Ion
from molexa_core.base.settings.region import Region
from molexa_core.base.tables import BoolArray, Coincidences, FloatArray, ion_labels
from molexa_core.observables.catalogue import CATALOGUE
from molexa_core.observables.regions import contains
from molexa_core.observables.syntax import ExpressionError, Parser
from molexa_core.observables.tree import (
    ConditionNode,
    Inside,
    IsSet,
    Logic,
    Node,
    NumberNode,
    Quantity,
    Rows,
    Tag,
    parts_of,
)

NO_REGIONS: Final[Mapping[str, Region]] = {}


@dataclass(frozen=True)
class _Read:
    """A text that was read.

    Attributes:
        text: as written.
        regions: the regions that it may name.
    """

    text: str
    node: Node
    regions: Mapping[str, Region]

    def __str__(self) -> str:
        return self.text

    @property
    def quantities(self) -> tuple[Quantity | Tag, ...]:
        """The observables and tags in it, each once, in the order of the text."""
        found = {
            str(part): part for part in parts_of(self.node) if isinstance(part, Quantity | Tag)
        }
        return tuple(found.values())

    @property
    def named_regions(self) -> tuple[str, ...]:
        """The regions that it names."""
        return tuple(part.name for part in parts_of(self.node) if isinstance(part, Inside))

    @property
    def of_shots(self) -> bool:
        """Whether it depends on tags alone, which shots without coincidences have too."""
        return not self.named_regions and all(isinstance(one, Tag) for one in self.quantities)

    def check(self, ions: Sequence[Ion], tags: Sequence[str]) -> None:
        """Check that the events have all that it names.

        Raises:
            ExpressionError: an ion, a tag or a region is not there.
        """
        labels = ion_labels(ions)
        for part in parts_of(self.node):
            if isinstance(part, Quantity):
                self._check_ions(part, labels)
            elif isinstance(part, Tag) and part.name not in tags:
                raise self._unknown(part, tags)
            elif isinstance(part, Inside):
                if part.name not in self.regions:
                    near = near_matches(part.name, self.regions)
                    hint = f"Did you mean {listing(near)}? " if near else ""
                    raise self._fault(
                        f"there is no region {part.name!r}",
                        part.at,
                        f"{hint}There are: {listing(sorted(self.regions))}.",
                    )
                region = self.regions[part.name]
                for axis in (region.x, region.y):
                    parse_number(axis).check(ions, tags)

    def _check_ions(self, part: Quantity, labels: Sequence[str]) -> None:
        for label, at in zip(part.ions, part.ions_at, strict=True):
            if label in labels:
                continue
            kind, _, number = label.partition("#")
            has = labels.count(kind) and sum(one.split("#")[0] == kind for one in labels)
            what = (
                f"there is no {kind} number {number}: the events have {has}"
                if has
                else f"the events have no ion {label}"
            )
            raise self._fault(what, at, f"There are: {listing(labels, limit=30)}.")

    def _unknown(self, tag: Tag, tags: Sequence[str]) -> ExpressionError:
        known = CATALOGUE.get(tag.name)
        if known is not None:
            written = known.written.replace("ION", "O+")
            return self._fault(f"{tag.name} needs an ion", tag.at, f"Write it like {written}.")
        without = [one.written for one in CATALOGUE.values()]
        near = near_matches(tag.name, [*CATALOGUE, *tags])
        hint = f"Did you mean {listing(near)}? " if near else ""
        return self._fault(
            f"{tag.name!r} is neither an observable nor a tag of the events",
            tag.at,
            f"{hint}Observables: {listing(without, limit=30)}; tags: {listing(sorted(tags))}.",
        )

    def _fault(self, what: str, at: int, do: str) -> ExpressionError:
        return ExpressionError(what, text=self.text, at=at, do=do)

    def _rows(self, table: Coincidences) -> Rows:
        self.check(table.ions, tuple(table.tags))
        columns = {label: at for at, label in enumerate(ion_labels(table.ions))}
        return Rows(table, columns, self._inside)

    def _inside(self, name: str, table: Coincidences) -> BoolArray:
        return inside(self.regions[name], table)


@dataclass(frozen=True)
class Condition(_Read):
    """A condition on the rows of a table."""

    def mask(self, table: Coincidences) -> BoolArray:
        """(n) the rows that fulfil it.

        Raises:
            ExpressionError: the events lack an ion, a tag or a region that it names.
            InputFileError: the events have no times of flight and positions.
        """
        return self.masks(table)[0]

    def masks(self, table: Coincidences) -> tuple[BoolArray, BoolArray]:
        """(n) the rows that fulfil it, and (n) those in which a value is not a number.

        Raises:
            ExpressionError, InputFileError: as `mask`.
        """
        rows = self._rows(table)
        holds = cast("ConditionNode", self.node).holds(rows)
        return holds & rows.known, ~rows.known

    def parts_of_shots(self) -> list[Condition]:
        """Those of its parts, joined by `and`, that depend on tags alone."""
        node = self.node
        joined = isinstance(node, Logic) and node.operator == "and"
        parts = node.parts if isinstance(node, Logic) and joined else (node,)
        alone = [Condition(self.text, part, self.regions) for part in parts]
        return [part for part in alone if part.quantities and part.of_shots]


@dataclass(frozen=True)
class Formula(_Read):
    """A number computed from observables and tags."""

    @property
    def unit(self) -> str:
        """Its unit where it is a single observable or tag, else empty."""
        if isinstance(self.node, Quantity):
            return self.node.unit
        return TAG_UNITS.get(self.node.name, "") if isinstance(self.node, Tag) else ""

    def values(self, table: Coincidences) -> FloatArray:
        """(n) its values.

        Raises:
            ExpressionError, InputFileError: as `Condition.mask`.
        """
        values: NDArray[Any] = cast("NumberNode", self.node).values(self._rows(table))
        return values.astype(np.float64)


def parse_condition(text: str, regions: Mapping[str, Region] = NO_REGIONS) -> Condition:
    """A condition that was read.

    Args:
        text: such as `ker in 20..26 and tof(O+) < 1240`.
        regions: the regions that `inside(NAME)` may name.

    Raises:
        ExpressionError: it cannot be read; the message marks the place.

    Example:
        >>> table = Coincidences.of(["O+", "C+"], np.ones((2, 2, 3)), tags={"delay": np.arange(2)})
        >>> parse_condition("delay > 0 and p(O+) in 1..2").mask(table).tolist()
        [False, True]
    """
    node = Parser(text).whole()
    if isinstance(node, Tag):
        node = IsSet(node, node.at)
    if not isinstance(node, get_args(ConditionNode)):
        raise ExpressionError(
            "this is a number, where a condition is needed",
            text=text,
            at=node.at,
            do="Compare it with something, such as ker > 20.",
        )
    return Condition(text, node, regions)


def parse_number(text: str) -> Formula:
    """A number that was read, such as `tof(O+) - tof(C+)`.

    Raises:
        ExpressionError: it cannot be read, or is a condition.
    """
    node = Parser(text).whole()
    if not isinstance(node, get_args(NumberNode)):
        raise ExpressionError(
            "this is a condition, where a number is needed", text=text, at=node.at
        )
    return Formula(text, node, NO_REGIONS)


def inside(region: Region, table: Coincidences) -> BoolArray:
    """(n) the rows that lie in a region.

    Raises:
        ExpressionError, InputFileError: as `Condition.mask`, for an axis of the region.
    """
    return contains(region, *(parse_number(axis).values(table) for axis in (region.x, region.y)))
