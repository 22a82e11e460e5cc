"""Momenta of coincidences in the molecular frame.

Three conventions of the paper, all of them settings of `base.settings.Frame`:

* main text, "Training": x is the heaviest ion, the ion most orthogonal to it (least |cosine|)
  lies in the first quadrant of the x-y plane;
* Methods, water and CF4: x is the reference ion, the second one lies in the x-z plane;
* Methods, ethanol: as before, x-y plane, and the second is the C+ more orthogonal to x.

Like ions are told apart by rules that do not depend on the order in which they were stored:

* Like ions that are equivalent by symmetry have no identity. Every event enters with every choice
  of reference and second among them, at equal weight (1 / number of choices). Choosing one, say
  the fastest, would bias its mean upwards.
* Like ions that differ (`like: distinct`): the second is the one most orthogonal to the reference.
* What is left is matched, one to one in every event, to self-consistent lobes (`matching`).

A momentum of zero has no direction and a collinear pair no plane: such an event is flagged,
counted and left out. Two ions define x only. The perpendicular part of their momenta is left out
(y = z = 0); without recoil it is exactly zero, otherwise its size is in the summary.

Any frame that is fixed event by event shifts centroids in second order of the width over the
length of the momenta that define it: for an isotropic spread s of each component the reference
comes out longer by s^2 / p.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from molexa_core.base.errors import NoEventsError, UnknownIonError, UsageError, listing
from molexa_core.base.ions import Ion
from molexa_core.base.settings import Frame
from molexa_core.base.tables import Coincidences, FloatArray, IntArray
from molexa_core.frame.axes import (
    cosine_between,
    rows_of_axes,
    sine_between,
    without_recoil,
)
from molexa_core.frame.matching import match_lobes

LEAST_SINE: Final = 1e-6
"""Two momenta with a smaller sine of the angle between them are collinear."""
LEAST_FRACTION: Final = 1e-9
"""A momentum below this fraction of the largest of its event is rounding, that is zero."""
NEARLY_COLLINEAR_DEG: Final = 5.0
NEARLY_AT_REST: Final = 0.05

REFERENCE: Final = "reference"
SECOND: Final = "second"
OTHER: Final = "other"
ONLY: Final = "only one of its kind"
"""Roles of ions besides `lobe 1`, `lobe 2`, ..."""


class Flag(IntEnum):
    """Why an event has no molecular frame."""

    GOOD = 0
    NOT_A_NUMBER = 1
    ZERO_MOMENTUM = 2
    COLLINEAR = 3


@dataclass(frozen=True)
class Aligned:
    """Momenta in the molecular frame.

    Attributes:
        table: one row per event and assignment; `weight` shared among the rows of an event. Its
            meta has `frame`, `roles` and `align` (the summary).
        flag: (events in) `Flag` of every event that came in, in its order.
        roles: what each ion of the table is: `reference`, `second`, `lobe 1`, ...
        summary: counts and figures for people, plain values.
        warnings: sentences about what weakens the result.
    """

    table: Coincidences
    flag: NDArray[np.int8]
    roles: tuple[str, ...]
    summary: dict[str, Any]
    warnings: tuple[str, ...]


def heaviest_frame(ions: tuple[Ion, ...]) -> Frame:
    """The convention of the main text: the heaviest ion is x, the most orthogonal one fixes y."""
    return Frame(reference=str(max(ions, key=lambda ion: ion.mass)))


def align_events(
    table: Coincidences,
    frame: Frame,
    *,
    recoil: Literal["remove", "keep"] = "remove",
    least_sine: float = LEAST_SINE,
) -> Aligned:
    """Turn every event into the molecular frame.

    Args:
        table: momenta in the laboratory frame.
        frame: reference, second, plane, and whether like ions are equivalent.
        recoil: `remove` goes to the centre-of-mass frame first (`axes.without_recoil`); `keep`
            leaves the momenta as they are, as partial coincidences need it.
        least_sine: pairs with a smaller sine of the angle between them count as collinear.

    Returns:
        The rows in the molecular frame, sorted as the events came in.

    Raises:
        UnknownIonError: the table has no such ion.
        UsageError: fewer than two ions, or a choice that cannot be made.
        NoEventsError: no event came in, or none is left.
    """
    names = _checked(table.ions, frame)
    if not len(table):
        raise NoEventsError("no events to align", do="Look at the gates of molexa reduce.")
    momentum = table.momentum
    if recoil == "remove":
        momentum = without_recoil(momentum, np.array([ion.mass for ion in table.ions]))
    reference, second = _choices(momentum, names, frame)
    flag, sine = _flags(momentum, reference, second, least_sine)
    good = np.flatnonzero((flag == Flag.GOOD) & (table.weight > 0))
    if not len(good):
        raise NoEventsError(
            f"none of {len(table)} events has a molecular frame ({_reasons(flag)})",
            do="Choose other ions with --ref and --second.",
        )
    choices = reference.shape[1]
    rows = np.repeat(good, choices)
    reference, second = reference[good].ravel(), second[good].ravel()
    turned, discarded = _turn(momentum[rows], reference, second, frame)
    order = _column_orders(names, frame)[reference, second]
    turned = np.take_along_axis(turned, order[:, :, None], axis=1)
    weight = table.weight[rows] / choices
    roles = _match(turned, weight, names, frame)
    summary = {
        "events": len(table),
        "aligned": len(good),
        "flagged": {item.name.lower(): int((flag == item).sum()) for item in Flag if item},
        "zero_weight": int(((flag == Flag.GOOD) & (table.weight <= 0)).sum()),
        "assignments_per_event": choices,
        "rows": len(rows),
        "recoil": recoil,
        "median_angle_deg": _median_angle(sine[good]),
        "discarded_perpendicular_rms": discarded,
        "rule": _rule(frame, roles, choices),
    }
    meta = {
        **table.meta,
        "frame": frame.model_dump(),
        "roles": list(roles),
        "align": summary,
    }
    selected = table.select(rows)
    return Aligned(
        table=replace(selected, momentum=turned, weight=weight, meta=meta),
        flag=flag,
        roles=roles,
        summary=summary,
        warnings=_warnings(turned, names, frame, summary),
    )


def _checked(ions: tuple[Ion, ...], frame: Frame) -> list[str]:
    """The names of the ions, once the frame is known to make sense for them."""
    names = [str(ion) for ion in ions]
    if len(ions) < 2:
        raise UsageError("one ion alone has no molecular frame", do="Use a channel with more ions.")
    for role in (frame.reference, frame.second):
        if role is not None and role not in names:
            raise UnknownIonError(
                f"{role} is not among the ions of the events",
                do=f"There are: {listing(sorted(set(names)))}.",
            )
    if len(ions) == 2 and frame.second is not None:
        raise UsageError("two ions define an axis and no plane", do="Leave out the second ion.")
    if frame.second == frame.reference and names.count(frame.reference) == 1:
        raise UsageError(
            f"the only {frame.second} is the reference and cannot be the second ion too",
            do="Choose another ion with --second.",
        )
    if frame.like == "distinct" and names.count(frame.reference) > 1:
        raise UsageError(
            f"{names.count(frame.reference)} {frame.reference} that differ: none of them can be "
            "singled out as x",
            do="Choose a reference that is there once, or --like equivalent.",
        )
    return names


def _choices(momentum: FloatArray, names: list[str], frame: Frame) -> tuple[IntArray, IntArray]:
    """(n, choices) column of the reference and of the second in the input, for every choice.

    Two ions have no second; its column is then that of the other ion.
    """
    references, seconds = [], []
    for reference in (i for i, name in enumerate(names) if name == frame.reference):
        others = [i for i in range(len(names)) if i != reference]
        candidates = [i for i in others if frame.second in {None, names[i]}]
        if frame.second is None or frame.like == "distinct":
            picked = [_most_orthogonal(momentum, reference, candidates)]
        else:
            picked = [np.full(len(momentum), second) for second in candidates]
        references += [np.full(len(momentum), reference) for _ in picked]
        seconds += picked
    return np.stack(references, axis=1), np.stack(seconds, axis=1)


def _most_orthogonal(momentum: FloatArray, reference: int, candidates: list[int]) -> IntArray:
    """(n) the candidate with the least |cosine| to the reference."""
    cosine = np.abs(cosine_between(momentum[:, [reference]], momentum[:, candidates]))
    chosen: IntArray = np.array(candidates)[np.argmin(cosine, axis=1)]
    return chosen


def _flags(
    momentum: FloatArray, reference: IntArray, second: IntArray, least_sine: float
) -> tuple[NDArray[np.int8], FloatArray]:
    """(n) flag of each event and (n, choices) sine of the angle between reference and second.

    One choice without a frame flags the event: leaving out single choices would favour others.
    """
    events = np.arange(len(momentum))[:, None]
    one, two = momentum[events, reference], momentum[events, second]
    axis_only = momentum.shape[1] == 2
    size = np.linalg.norm(momentum, axis=2)
    least = LEAST_FRACTION * size.max(axis=1)[:, None]
    resting = size[events, reference] <= least
    if not axis_only:
        resting |= size[events, second] <= least
    sine = sine_between(one, two)
    flag = np.zeros(len(momentum), dtype=np.int8)
    if not axis_only:
        flag[(sine < least_sine).any(axis=1)] = Flag.COLLINEAR
    flag[resting.any(axis=1)] = Flag.ZERO_MOMENTUM
    flag[~np.isfinite(momentum).all(axis=(1, 2))] = Flag.NOT_A_NUMBER
    return flag, np.where(axis_only, np.nan, sine)


def _turn(
    momentum: FloatArray, reference: IntArray, second: IntArray, frame: Frame
) -> tuple[FloatArray, float | None]:
    """Momenta (rows, ions, 3) along the molecular axes; for two ions, rms of what was left out."""
    rows = np.arange(len(momentum))
    one, two = momentum[rows, reference], momentum[rows, second]
    if momentum.shape[1] == 2:
        x = one / np.linalg.norm(one, axis=1, keepdims=True)
        along = np.einsum("nij,nj->ni", momentum, x)
        left_out = momentum - along[:, :, None] * x[:, None, :]
        turned = np.zeros_like(momentum)
        turned[:, :, 0] = along
        return turned, float(np.sqrt(np.square(left_out).sum(axis=2).mean()))
    axes = rows_of_axes(one, two, frame.plane)
    turned = np.matmul(momentum, axes.transpose(0, 2, 1))
    # These components are zero up to rounding; make them so.
    turned[rows, reference, 1:] = 0.0
    turned[rows, second, 2 if frame.plane == "xy" else 1] = 0.0
    return turned, None


def _column_orders(names: list[str], frame: Frame) -> IntArray:
    """(ions, ions, ions): for a reference and a second column, the input ion of each output column.

    Every output column keeps its kind of ion. The reference takes the first column of its kind,
    a second that was asked for by name the next free one, the rest as they come.
    """
    count = len(names)
    orders = np.zeros((count, count, count), dtype=np.int64)
    for reference in range(count):
        for second in range(count):
            first = [reference] if frame.second is None else [reference, second]
            queue = [*first, *(i for i in range(count) if i not in first)]
            for column, name in enumerate(names):
                ion = next((i for i in queue if names[i] == name), reference)
                orders[reference, second, column] = ion
                queue = [i for i in queue if i != ion]
    return orders


def _match(
    turned: FloatArray, weight: FloatArray, names: list[str], frame: Frame
) -> tuple[str, ...]:
    """Match like ions that the frame does not tell apart, in place; the role of every column."""
    roles = [""] * len(names)
    roles[names.index(frame.reference)] = REFERENCE
    if frame.second is not None:
        roles[next(i for i, n in enumerate(names) if n == frame.second and not roles[i])] = SECOND
    for kind in dict.fromkeys(names):
        columns = [i for i, name in enumerate(names) if name == kind and not roles[i]]
        if len(columns) == 1:
            roles[columns[0]] = ONLY if names.count(kind) == 1 else OTHER
            continue
        # Lobes are ordered by azimuth around x from the half-plane of the second.
        axes = [0, 1, 2] if frame.plane == "xy" else [0, 2, 1]
        block = turned[:, columns]
        assignment, _ = match_lobes(block[:, :, axes], weight)
        turned[:, columns] = np.take_along_axis(block, assignment[:, :, None], axis=1)
        for number, column in enumerate(columns, start=1):
            roles[column] = f"lobe {number}"
    return tuple(roles)


def _median_angle(sine: FloatArray) -> float | None:
    angle = float(np.degrees(np.arcsin(np.clip(np.median(sine), 0.0, 1.0))))
    return None if np.isnan(angle) else angle


def _reasons(flag: NDArray[np.int8]) -> str:
    counts = Counter(flag.tolist())
    texts = {
        Flag.GOOD: "without weight",
        Flag.NOT_A_NUMBER: "with a momentum that is not a number",
        Flag.ZERO_MOMENTUM: "with a zero momentum",
        Flag.COLLINEAR: "collinear",
    }
    return listing(f"{counts[item]} {text}" for item, text in texts.items() if counts[item])


def _rule(frame: Frame, roles: tuple[str, ...], choices: int) -> str:
    """How like ions were told apart, in words."""
    parts = []
    if choices > 1:
        parts.append(f"all {choices} equivalent choices of reference and second, equal weight")
    if frame.second is None and len(roles) > 2:
        parts.append("second: the ion most orthogonal to the reference in each event")
    elif frame.like == "distinct" and frame.second is not None:
        parts.append(f"second: the {frame.second} most orthogonal to the reference in each event")
    if any(role.startswith("lobe") for role in roles):
        parts.append("other like ions matched one to one to self-consistent lobes")
    return "; ".join(parts) or "every ion is the only one of its kind in its role"


def _warnings(
    turned: FloatArray, names: list[str], frame: Frame, summary: dict[str, Any]
) -> tuple[str, ...]:
    warnings = []
    size = np.linalg.norm(turned, axis=2)
    typical = float(np.sqrt(np.median(np.square(size).mean(axis=1))))
    at_reference = float(np.median(size[:, names.index(frame.reference)]))
    if at_reference < NEARLY_AT_REST * typical:
        warnings.append(
            f"The reference {frame.reference} is nearly at rest (median {at_reference:.3g} a.u., "
            f"typical {typical:.3g} a.u.): its direction is mostly noise."
        )
    angle = summary["median_angle_deg"]
    if angle is not None and angle < NEARLY_COLLINEAR_DEG:
        warnings.append(
            f"Reference and second are nearly collinear (median {angle:.2g} degrees): the plane "
            "is mostly noise."
        )
    flagged = sum(summary["flagged"].values())
    if flagged:
        warnings.append(
            f"{flagged} of {summary['events']} events have no molecular frame (zero or collinear "
            "momenta) and were left out."
        )
    return tuple(warnings)
