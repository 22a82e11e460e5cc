"""The parts of a parsed condition, and their values for the rows of a table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from molexa_core.base.tables import BoolArray, Coincidences, FloatArray
from molexa_core.observables.catalogue import CATALOGUE, Columns

SINGLE: Final = 3e-7
"""Numbers that differ by less than this share are equal: tags are often stored in single
precision."""
FUNCTIONS: Final[dict[str, tuple[int, Callable[..., FloatArray]]]] = {
    "abs": (1, np.abs),
    "sqrt": (1, np.sqrt),
    "min": (2, np.minimum),
    "max": (2, np.maximum),
}
"""Functions of numbers with their number of arguments."""


@dataclass
class Rows:
    """The rows for which a condition is evaluated.

    Attributes:
        table: the rows.
        columns: column of each ion by its label, such as `H+#2`.
        inside: gives the rows that lie in a region of this name.
        known: (n) false where a value that was compared is not a number.
    """

    table: Coincidences
    columns: Mapping[str, int]
    inside: Callable[[str, Coincidences], BoolArray]
    known: BoolArray = field(init=False)
    _values: dict[tuple[str, Columns], FloatArray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.known = np.ones(len(self.table), np.bool_)

    def of(self, name: str, ions: tuple[str, ...]) -> FloatArray:
        """(n) an observable; computed once."""
        columns = tuple(self.columns[label] for label in ions)
        key = (name, columns)
        if key not in self._values:
            self._values[key] = CATALOGUE[name].of(self.table, columns)
        return self._values[key]

    def require(self, values: NDArray[Any]) -> None:
        """Note the rows in which a value is not a number."""
        if values.dtype.kind == "f":
            self.known &= ~np.isnan(values)


@dataclass(frozen=True)
class Number:
    """A number as written."""

    value: float
    at: int

    def values(self, rows: Rows) -> NDArray[Any]:
        """(n) the number."""
        return np.full(len(rows.table), self.value)


@dataclass(frozen=True)
class Quantity:
    """An observable of the catalogue, of the coincidence or of some of its ions.

    Attributes:
        name: in the catalogue.
        ions: labels of the ions, such as `H+#2`.
        at: its place in the text.
        ions_at: the place of each ion.
    """

    name: str
    ions: tuple[str, ...]
    at: int
    ions_at: tuple[int, ...] = ()

    def __str__(self) -> str:
        return f"{self.name}({', '.join(self.ions)})" if self.ions else self.name

    @property
    def unit(self) -> str:
        """Its unit, as printed."""
        return CATALOGUE[self.name].unit

    def values(self, rows: Rows) -> NDArray[Any]:
        """(n) its values."""
        return rows.of(self.name, self.ions)


@dataclass(frozen=True)
class Tag:
    """A value of the shot by the name of its tag."""

    name: str
    at: int

    def __str__(self) -> str:
        return self.name if self.name.isidentifier() else f'tag("{self.name}")'

    def values(self, rows: Rows) -> NDArray[Any]:
        """(n) its values."""
        column = np.asarray(rows.table.tags[self.name])
        return column.astype(np.int8) if column.dtype.kind == "b" else column


@dataclass(frozen=True)
class Arithmetic:
    """`+ - * /` of two numbers, or a sign."""

    operator: str
    left: NumberNode
    right: NumberNode
    at: int

    def values(self, rows: Rows) -> NDArray[Any]:
        """(n) the result."""
        left = self.left.values(rows).astype(np.float64)
        right = self.right.values(rows).astype(np.float64)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            if self.operator == "+":
                result = left + right
            elif self.operator == "-":
                result = left - right
            elif self.operator == "*":
                result = left * right
            else:
                result = left / right
        return np.asarray(result)


@dataclass(frozen=True)
class Call:
    """A function of numbers."""

    name: str
    arguments: tuple[NumberNode, ...]
    at: int

    def values(self, rows: Rows) -> NDArray[Any]:
        """(n) the result."""
        inner = [node.values(rows).astype(np.float64) for node in self.arguments]
        with np.errstate(invalid="ignore"):
            return np.asarray(FUNCTIONS[self.name][1](*inner))


@dataclass(frozen=True)
class Comparison:
    """Two numbers compared; `==` means equal up to single precision, exactly for whole numbers."""

    operator: str
    left: NumberNode
    right: NumberNode
    at: int

    def holds(self, rows: Rows) -> BoolArray:
        """(n) where it is true."""
        left, right = self.left.values(rows), self.right.values(rows)
        rows.require(left)
        rows.require(right)
        if self.operator in ("==", "!="):
            same = _equal(left, right)
            return same if self.operator == "==" else ~same
        tests = {"<": np.less, "<=": np.less_equal, ">": np.greater, ">=": np.greater_equal}
        return np.asarray(tests[self.operator](left, right))


@dataclass(frozen=True)
class Between:
    """A number in a range, both ends included."""

    number: NumberNode
    low: NumberNode
    high: NumberNode
    at: int

    def holds(self, rows: Rows) -> BoolArray:
        """(n) where it is true."""
        values, low, high = (node.values(rows) for node in (self.number, self.low, self.high))
        for column in (values, low, high):
            rows.require(column)
        above = (values >= low) | _equal(values, low)
        below = (values <= high) | _equal(values, high)
        return np.asarray(above & below)


@dataclass(frozen=True)
class Inside:
    """Rows that lie in a named region."""

    name: str
    at: int

    def holds(self, rows: Rows) -> BoolArray:
        """(n) where it is true."""
        return rows.inside(self.name, rows.table)


@dataclass(frozen=True)
class IsSet:
    """A tag alone as a condition: it is not zero."""

    tag: Tag
    at: int

    def holds(self, rows: Rows) -> BoolArray:
        """(n) where it is true."""
        values = self.tag.values(rows)
        rows.require(values)
        return np.asarray(values != 0)


@dataclass(frozen=True)
class Logic:
    """`and`, `or`, `not` of conditions."""

    operator: str
    parts: tuple[ConditionNode, ...]
    at: int

    def holds(self, rows: Rows) -> BoolArray:
        """(n) where it is true."""
        masks = [part.holds(rows) for part in self.parts]
        if self.operator == "not":
            return ~masks[0]
        combine = np.logical_and if self.operator == "and" else np.logical_or
        return np.asarray(combine.reduce(masks))


NumberNode = Number | Quantity | Tag | Arithmetic | Call
ConditionNode = Comparison | Between | Inside | IsSet | Logic
Node = NumberNode | ConditionNode


def parts_of(node: Node) -> list[Node]:
    """The node and all that it is made of, in the order of the text."""
    children: tuple[Node, ...]
    match node:
        case Arithmetic() | Comparison():
            children = (node.left, node.right)
        case Call():
            children = node.arguments
        case Between():
            children = (node.number, node.low, node.high)
        case Logic():
            children = node.parts
        case IsSet():
            children = (node.tag,)
        case _:
            children = ()
    return [node, *(part for child in children for part in parts_of(child))]


def _equal(left: NDArray[Any], right: NDArray[Any]) -> BoolArray:
    """(n) which pairs are equal: exactly if one of them is of whole numbers."""
    if left.dtype.kind in "iu" or right.dtype.kind in "iu":
        return np.asarray(left == right)
    return np.asarray(np.abs(left - right) <= SINGLE * np.maximum(np.abs(left), np.abs(right)))
