"""Numbers of a table of coincidences, their false ones subtracted: how many, and means.

Errors are those of `base.subtraction`: counts, ions that the coincidences of a shot share, false
rows and their normalisation. Several rows of one coincidence count as one.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from molexa_core.base.subtraction import true_mean
from molexa_core.base.tables import Coincidences
from molexa_core.observables.expression import parse_number
from molexa_core.observables.spread import FEWEST

Value = tuple[float, float | None]
"""A number with its standard error; None where that is not known."""


def number_of(table: Coincidences) -> tuple[float, float]:
    """How many true coincidences the table holds.

    Raises:
        UsageError: the false coincidences do not say of which shots they are.
    """
    of_false = None if table.false is None else np.ones(len(table.false))
    found = true_mean(table, np.ones(len(table)), of_false)
    return found.number, found.number_error


def mean_of(table: Coincidences, text: str) -> Value | None:
    """The mean of an observable such as `ker`; None if no true coincidence is left.

    Without an error if fewer than `spread.FEWEST` coincidences count in effect. Rows in which the
    observable is not a number are left out.

    Raises:
        ExpressionError, InputFileError: the events lack what the observable needs.
        UsageError: the false coincidences do not say of which shots they are.
    """
    formula = parse_number(text)
    values = formula.values(table)
    known = np.isfinite(values)
    kept, false, of_false = table.select(known), table.false, None
    weights = [kept.weight]
    if false is not None:
        of_false = formula.values(false)
        usable = np.isfinite(of_false)
        false, of_false = false.select(usable), of_false[usable]
        weights.append(false.weight)
    found = true_mean(replace(kept, false=false), values[known], of_false)
    if found.number <= 0.0:
        return None
    squares = sum(float(np.square(one).sum()) for one in weights)
    enough = found.number**2 >= FEWEST * squares
    return float(found.mean[0]), float(found.error[0]) if enough else None
