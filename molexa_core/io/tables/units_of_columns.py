"""Units of the columns of a layout, from the file or the setup; default mm and ns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from molexa_core.base.errors import InputFileError
from molexa_core.base.settings.columns import Columns
from molexa_core.io.tables.column_names import unit_in
from molexa_core.io.tables.column_units import Dimension, settle, unit_of
from molexa_core.io.tables.interface import Table

_DIMENSIONS: Final[dict[str, Dimension]] = {"x": "length", "y": "length", "time": "time"}


@dataclass(frozen=True)
class Choice:
    """A layout and the reason for its choice.

    Attributes:
        name: name of the layout: that of a preset, `columns`, or `jagged`, `flat`, `rows`.
        columns: the layout.
        why: a sentence for the user.
        edges: whether rows are edges, with the TDC channel in place of a position.
    """

    name: str
    columns: Columns
    why: str
    edges: bool = False


def in_units(table: Table, choice: Choice, *, fixed: bool = False) -> Choice:
    """The layout with the units of its columns, which its sentence then names.

    Args:
        table: the table.
        choice: the layout.
        fixed: whether the format always has mm and ns, so that no unit need be stated.

    Raises:
        InputFileError: an unknown unit, or contradicting units.
    """
    columns, edges = choice.columns, choice.edges
    given = {
        "x": (columns.x_unit_mm, "x_unit_mm"),
        "y": (columns.y_unit_mm or columns.x_unit_mm, "y_unit_mm"),
        "time": (columns.time_unit_ns, "time_unit_ns"),
    }
    if columns.y_unit_mm is None:
        given["y"] = given["x"]
    factors: dict[str, float] = {}
    told: dict[str, str] = {}
    for quantity in ("time",) if edges else ("x", "y", "time"):
        factor, setting = given[quantity]
        factors[quantity], text = _unit(table, columns, quantity, factor, setting)
        base = "ns" if quantity == "time" else "mm"
        if text is not None:
            told[quantity] = text
        elif factor is not None:
            told[quantity] = base if factor == 1.0 else f"units of {factor:g} {base}"
    update = {"time_unit_ns": factors["time"]}
    if not edges:
        update |= {"x_unit_mm": factors["x"], "y_unit_mm": factors["y"]}
    why = choice.why
    if told or not fixed:
        why = f"{why}; {_sentence(told, edges=edges)}"
    return replace(choice, columns=columns.model_copy(update=update), why=why)


def _sentence(told: dict[str, str], *, edges: bool) -> str:
    quantities = ("time",) if edges else ("x", "y", "time")
    units = {q: told.get(q, "ns" if q == "time" else "mm") for q in quantities}
    if not edges and units["x"] == units["y"]:
        parts = [f"x and y in {units['x']}", f"time in {units['time']}"]
    else:
        parts = [f"{q} in {units[q]}" for q in quantities]
    silent = [q for q in quantities if q not in told]
    more = ""
    if silent:
        of = "" if len(silent) == len(quantities) else f" for {' and '.join(silent)}"
        more = f" (no unit is stated{of})"
    return ", ".join(parts) + more


def _unit(
    table: Table, columns: Columns, quantity: str, given: float | None, setting: str
) -> tuple[float, str | None]:
    """The size of the unit of a quantity, and the unit as written; all slots must agree."""
    pattern = str(getattr(columns, quantity))
    dimension = _DIMENSIONS[quantity]
    units: dict[tuple[float, str | None], str] = {}
    for name in _names(table, columns, pattern):
        sources = {"by its name": unit_in(name, dimension)}
        if name in table.kinds:
            sources["as the file states"] = unit_of(table.kinds[name].unit)
        what = f"column {name!r} of {table.label}"
        settled = settle(what, sources, dimension, given, setting=setting, where=table.path)
        units.setdefault(settled, name)
    if len({factor for factor, _ in units}) > 1:
        (_, one), (_, other) = list(units)[:2]
        first, second = list(units.values())[:2]
        raise InputFileError(
            f"column {first!r} is in {one or 'no stated unit'}, but {second!r} in "
            f"{other or 'no stated unit'}",
            where=table.path,
            do="Bring the columns of one quantity to one unit.",
        )
    return next(iter(units), (given or 1.0, None))


def _names(table: Table, columns: Columns, pattern: str) -> Sequence[str]:
    """The columns of a name in a layout: one, or one per slot."""
    if columns.layout != "flat":
        return [pattern]
    names: list[str] = []
    while (name := columns.slot(pattern, len(names))) in table.kinds:
        names.append(name)
    return names
