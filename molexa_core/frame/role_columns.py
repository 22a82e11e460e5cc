"""Columns of aligned events: which role of `like_ions` is the reference, the second, a lobe."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from molexa_core.base.settings import Frame
from molexa_core.base.tables import FloatArray, IntArray
from molexa_core.frame.axes import rows_of_axes
from molexa_core.frame.like_ions import Roles
from molexa_core.frame.matching import by_azimuth

HELD: Final = 0.3
"""Largest spread of a direction, rad, that still makes a good x axis."""
MOST_IONS: Final = 15
"""Most ions for which roles are found from all events together."""
REFERENCE: Final = "reference"
SECOND: Final = "second"
OTHER: Final = "other"
ONLY: Final = "only one of its kind"
"""Roles of ions besides `lobe 1`, `lobe 2`, ..."""


@dataclass(frozen=True)
class RoleColumns:
    """The columns of an aligned table.

    Attributes:
        order: (N) the role of each column, which is of the same kind of ion.
        reference, second: the columns whose momenta make the frame.
        roles: what each column is called.
        rule: how like ions got their roles, in words.
    """

    order: IntArray
    reference: int
    second: int
    roles: tuple[str, ...]
    rule: str


def columns_of(found: Roles, names: Sequence[str], frame: Frame) -> RoleColumns:
    """The columns for roles.

    Of several ions of the kind of the reference the one with the largest mean momentum is x; the
    second is the one with the largest mean momentum across it. Other like ions are numbered by
    their azimuth around x, counted from the half-plane of the second.

    Args:
        found: the roles, numbered so that role n is of the kind of ion n.
        names: of the ions.
        frame: kinds of reference and second.
    """
    n = len(names)
    size = np.linalg.norm(found.mean, axis=1)
    reference = _largest(size, [i for i in range(n) if names[i] == frame.reference])
    x = found.mean[reference] / max(float(size[reference]), 1e-300)
    across = np.linalg.norm(found.mean - np.outer(found.mean @ x, x), axis=1)
    named = [i for i in range(n) if i != reference and frame.second in {None, names[i]}]
    second = _largest(across, named)
    turned = _in_frame(found.mean, reference, second)
    order, roles = np.zeros(n, np.int64), [""] * n
    for kind in dict.fromkeys(names):
        columns = [i for i in range(n) if names[i] == kind]
        first = [i for i in (reference, second) if names[i] == kind]
        rest = [i for i in columns if i not in first]
        rest = [rest[i] for i in by_azimuth(turned[rest])] if rest else []
        for column, role in zip(columns, [*first, *rest], strict=True):
            order[column] = role
            if role in first:
                roles[column] = REFERENCE if role == reference else SECOND
            elif len(columns) == 1:
                roles[column] = ONLY
            else:
                roles[column] = OTHER if len(rest) == 1 else f"lobe {rest.index(role) + 1}"
    place = {int(role): column for column, role in enumerate(order)}
    return RoleColumns(
        order,
        place[reference],
        place[second],
        tuple(roles),
        _rule(found, names, names[reference], names[second]),
    )


def held_reference(found: Roles, names: Sequence[str], mass: FloatArray) -> str:
    """The heaviest ion whose direction is the same in all events but for `HELD`.

    An atom in the middle of a symmetric molecule is nearly at rest, and its direction chance. If no
    ion is held, the one that is held best.

    Args:
        found: the roles.
        names: of the ions.
        mass: of the ions.
    """
    n = len(names)
    size = np.maximum(np.linalg.norm(found.mean, axis=1), 1e-300)
    x = found.mean / size[:, None]
    block = np.einsum("aiaj->aij", found.covariance.reshape(n, 3, n, 3))
    along = np.einsum("ai,aij,aj->a", x, block, x)
    across = np.maximum(np.trace(block, axis1=1, axis2=2) - along, 0.0)
    spread = np.sqrt(0.5 * across) / size
    held = [i for i in range(n) if spread[i] < HELD]
    if not held:
        return names[int(np.argmin(spread))]
    return names[max(held, key=lambda i: (mass[i], size[i]))]


def _largest(values: FloatArray, candidates: Sequence[int]) -> int:
    """The first candidate with the largest value, rounding apart."""
    most = max(float(values[i]) for i in candidates)
    return next(i for i in candidates if values[i] >= most * (1.0 - 1e-6))


def _in_frame(mean: FloatArray, reference: int, second: int) -> FloatArray:
    with np.errstate(invalid="ignore", divide="ignore"):
        axes = rows_of_axes(mean[[reference]], mean[[second]], "xy")[0]
    return np.asarray(np.nan_to_num(mean @ axes.T))


def _rule(found: Roles, names: Sequence[str], reference: str, second: str) -> str:
    if len(set(names)) == len(names):
        return "every ion is the only one of its kind"
    text = f"roles from all events together; {reference} and {second} of the frame are the same "
    text += "in all"
    if len(found.group) > 1:
        text += f"; {len(found.group)} assignments equivalent by symmetry, equal weight"
    return text
