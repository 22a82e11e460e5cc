"""Check that the column used as shot number can be one."""

from __future__ import annotations

from typing import Final

import numpy as np

from molexa_core.base.errors import InputFileError, listing
from molexa_core.base.settings.columns import Columns
from molexa_core.io.tables.column_names import shot_options
from molexa_core.io.tables.interface import Table
from molexa_core.io.tables.units_of_columns import Choice

_ROWS: Final = 5000
"""Number of rows checked at the beginning of a table."""
_FEW: Final = 20
"""Least number of rows for the check."""
_MOST_COLUMNS: Final = 40


def questions(table: Table, choice: Choice) -> list[str]:
    """Warnings about a shot column without repeated numbers, which would mean one hit per shot.

    Raises:
        InputFileError: another column with a name of a shot has repeated numbers.
    """
    columns = choice.columns
    if columns.layout != "rows" or choice.edges:
        return []
    used = {*columns.shots, columns.x, columns.y, columns.time, columns.method}
    numbers = [name for name, kind in table.kinds.items() if kind.held == "number"]
    called = [
        name for rank in shot_options(numbers) for option in rank for name in option
        if name not in used
    ]  # fmt: skip
    others = list(dict.fromkeys([*called, *(name for name in numbers if name not in used)]))
    repeats = _repeating(table, columns, others[:_MOST_COLUMNS])
    if repeats is None:
        return []
    rows, again = repeats
    shots = " and ".join(repr(name) for name in columns.shots)
    what = f"no number of the shot ({shots}) occurs twice in the first {rows} rows"
    named = [name for name in again if name in called]
    if choice.name == "rows" and named:
        raise InputFileError(
            f"{what}, so that each shot would have one hit; numbers in "
            f"{listing(repr(name) for name in named)} do",
            where=table.path,
            do="Say it as `shot` in `columns` of the setup.",
        )
    more = f"; columns in which numbers do: {listing(map(repr, again))}" if again else ""
    return [f"{what}: no shot has two hits, as if the column counted the hits{more}"]


def _repeating(table: Table, columns: Columns, others: list[str]) -> tuple[int, list[str]] | None:
    """The number of rows read and the integer columns with repeats; None if the shot repeats."""
    for view in table.views(columns, [*columns.shots, *others], _ROWS):
        stored = view.numbers([*columns.shots, *others])
        shot = np.stack([np.asarray(stored[name]) for name in columns.shots])
        if shot.shape[1] < _FEW or (shot[:, 1:] == shot[:, :-1]).all(axis=0).any():
            return None
        again = []
        for name in others:
            values = np.asarray(stored[name])
            step = np.diff(values.astype(np.float64))
            whole = values.dtype.kind in "iu" or bool((values == np.floor(values)).all())
            if whole and (step == 0).any() and (step > 0).any() and not (step < 0).any():
                again.append(name)
        return shot.shape[1], again
    return None
