"""Rotation of single events into the molecular frame: flags, choice of ions, axes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from molexa_core.base.settings import Frame
from molexa_core.base.tables import FloatArray, IntArray
from molexa_core.frame.axes import cosine_between, rows_of_axes, sine_between

LEAST_SINE: Final = 1e-6
"""Two momenta with a smaller sine of the angle between them are collinear."""
LEAST_FRACTION: Final = 1e-9
"""A momentum below this fraction of the largest of its event counts as zero (rounding)."""


class Flag(IntEnum):
    """Why an event has no molecular frame."""

    GOOD = 0
    NOT_A_NUMBER = 1
    ZERO_MOMENTUM = 2
    COLLINEAR = 3


@dataclass(frozen=True)
class Turned:
    """A block of events in the molecular frame, like ions not yet matched to lobes.

    Attributes:
        flag: (events) `Flag` of each event.
        sine: (rows) sine of the angle between reference and second.
        rows: (rows) event of each row, ascending.
        momentum: (rows, ions, 3) a.u., in the molecular frame.
        order: (rows, ions) input column of each ion.
        weight: (rows) weight in averages.
        idle: number of events with a frame and without weight.
        left_out: sum of the squared perpendicular components dropped for two ions, a.u.
        axes: (rows, 3, 3) the rotation of each row, None for two ions.
    """

    flag: NDArray[np.int8]
    sine: FloatArray
    rows: IntArray
    momentum: FloatArray
    order: IntArray
    weight: FloatArray
    idle: int
    left_out: float
    axes: FloatArray | None = None

    @property
    def bytes(self) -> int:
        """Size in memory."""
        arrays = (self.flag, self.sine, self.rows, self.momentum, self.order, self.weight)
        more = 0 if self.axes is None else self.axes.nbytes
        return sum(array.nbytes for array in arrays) + more


def pairs(momentum: FloatArray, names: list[str], frame: Frame) -> tuple[IntArray, IntArray]:
    """(n, choices) input column of the reference and of the second ion, for every choice.

    With two ions there is no second; its column is then that of the other ion.
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


def flags(
    momentum: FloatArray,
    reference: IntArray,
    second: IntArray,
    least_sine: float,
    *,
    axis_only: bool,
) -> tuple[NDArray[np.int8], FloatArray]:
    """(n) flag of each event and (n, choices) sine of the angle between reference and second.

    An event is flagged if one of its choices has no frame: leaving out single choices would favour
    the others. Without a plane (`axis_only`) the angle does not matter.
    """
    events = np.arange(len(momentum))[:, None]
    along_x, in_plane = momentum[events, reference], momentum[events, second]
    size = np.linalg.norm(momentum, axis=2)
    least = LEAST_FRACTION * size.max(axis=1)[:, None]
    resting = size[events, reference] <= least
    if not axis_only:
        resting |= size[events, second] <= least
    sine = sine_between(along_x, in_plane)
    flag = np.zeros(len(momentum), dtype=np.int8)
    if not axis_only:
        flag[(sine < least_sine).any(axis=1)] = Flag.COLLINEAR
    flag[resting.any(axis=1)] = Flag.ZERO_MOMENTUM
    flag[~np.isfinite(momentum).all(axis=(1, 2))] = Flag.NOT_A_NUMBER
    return flag, np.where(axis_only, np.nan, sine)


def turn(
    momentum: FloatArray, reference: IntArray, second: IntArray, frame: Frame, *, axis_only: bool
) -> tuple[FloatArray, float, FloatArray | None]:
    """Momenta (rows, ions, 3) along the molecular axes, the sum of dropped squares, the axes."""
    rows = np.arange(len(momentum))
    along_x, in_plane = momentum[rows, reference], momentum[rows, second]
    if axis_only:
        x = along_x / np.linalg.norm(along_x, axis=1, keepdims=True)
        along = np.einsum("nij,nj->ni", momentum, x)
        left_out = momentum - along[:, :, None] * x[:, None, :]
        turned = np.zeros_like(momentum)
        turned[:, :, 0] = along
        return turned, float(np.square(left_out).sum()), None
    axes = rows_of_axes(along_x, in_plane, frame.plane)
    turned = np.matmul(momentum, axes.transpose(0, 2, 1))
    # These components are zero up to rounding; set them to zero exactly.
    turned[rows, reference, 1:] = 0.0
    turned[rows, second, 2 if frame.plane == "xy" else 1] = 0.0
    return turned, 0.0, axes


def column_orders(names: list[str], frame: Frame) -> IntArray:
    """(ions, ions, ions): for a reference and a second column, the input ion of each output column.

    Every output column keeps its kind of ion. The reference takes the first column of its kind, a
    second ion given by name the next free one, the others follow in their order.
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
