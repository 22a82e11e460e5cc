"""Symmetry of the peaks: rotations that exchange like ions.

Where a rotation carries the molecule into itself with like ions exchanged, no event tells the two
roles of an ion apart. A fit that is free to do so puts every event into the role that suits it
better, and moves the peaks apart although there is one: such peaks are fitted with the symmetry
imposed, as complete coincidences enter with every equivalent choice. A molecule whose two roles do
differ by more than the spread of its events gains by a free fit.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from typing import Final

import numpy as np

from molexa_core.base.tables import FloatArray, IntArray
from molexa_core.frame.partial.groups import Events
from molexa_core.frame.partial.mixture_fit import Expectation, Peaks, examine

NEAR: Final = 0.3
"""Largest rms distance of exchanged peaks that may be one, in units of the rms momentum."""
ODDS: Final = float(np.log(9.0))
UNDECIDED: Final = 0.12
"""Largest share of undecided events for which two roles count as told apart: of two normal
distributions 2 widths apart, which just show two maxima, a quarter is undecided; of 3.5 an eighth.
"""


@dataclass(frozen=True)
class Operation:
    """Peak `a` goes to the place of peak `order[a]` by the rotation."""

    order: IntArray
    rotation: FloatArray


def superpose(
    moving: FloatArray, fixed: FloatArray, weight: FloatArray | None = None
) -> FloatArray:
    """Rotation that brings vectors (n, 3) closest to others (Kabsch), proper."""
    scale = np.ones(len(moving)) if weight is None else weight
    product_ = (moving * scale[:, None]).T @ fixed
    u, _, vt = np.linalg.svd(product_)
    sign = np.sign(np.linalg.det(u @ vt))
    found: FloatArray = (u * np.array([1.0, 1.0, sign]) @ vt).T
    return found


def operations(peaks: Peaks, *, improper: bool = False) -> list[Operation]:
    """The rotations (or rotations with a mirror) that nearly carry the peaks into themselves.

    Args:
        peaks: the peaks.
        improper: look for those with a mirror instead; the rotation then acts after z is reversed.
    """
    mean = peaks.mean
    moving = mean * np.array([1.0, 1.0, -1.0]) if improper else mean
    size = np.linalg.norm(mean, axis=1)
    rms = float(np.sqrt(np.square(size).mean()))
    anchor = int(np.argmax(size))
    other = int(np.argmax(np.linalg.norm(np.cross(mean[anchor], mean), axis=1)))
    found: list[Operation] = []
    atoms = range(len(mean))
    of_kind = [[b for b in atoms if peaks.kind[b] == peaks.kind[a]] for a in atoms]
    for a, b in product(of_kind[anchor], of_kind[other]):
        if a == b:
            continue
        pair = superpose(moving[[anchor, other]], mean[[a, b]])
        order = _matched(moving @ pair.T, mean, peaks.kind)
        if order is None:
            continue
        rotation = superpose(moving, mean[order])
        order = _matched(moving @ rotation.T, mean, peaks.kind)
        if order is None:
            continue
        rotation = superpose(moving, mean[order])
        away = float(np.sqrt(np.square(moving @ rotation.T - mean[order]).sum(axis=1).mean()))
        new = not any(np.array_equal(order, known.order) for known in found)
        if (
            away < NEAR * rms
            and new
            and (improper or not np.array_equal(order, np.arange(len(order))))
        ):
            found.append(Operation(order, rotation))
    return found


def imposed(peaks: Peaks, group: list[Operation]) -> Peaks:
    """The peaks with the symmetry imposed: means and covariances averaged over the operations."""
    mean, covariance = peaks.mean, peaks.covariance
    for _ in range(3):
        means, covariances = [mean], [covariance]
        for item in group:
            rotation = superpose(mean, mean[item.order])
            back = rotation.T
            means.append(mean[item.order] @ back.T)
            covariances.append(back @ covariance[item.order] @ rotation)
        mean = np.mean(means, axis=0)
        covariance = np.mean(covariances, axis=0)
    return replace(peaks, mean=mean, covariance=covariance)


def _matched(moved: FloatArray, fixed: FloatArray, kind: IntArray) -> IntArray | None:
    """The nearest peak of the same kind for each; None if two have one."""
    distance = np.linalg.norm(moved[:, None] - fixed[None], axis=2)
    distance[kind[:, None] != kind[None]] = np.inf
    order: IntArray = distance.argmin(axis=1)
    return order if len(set(order.tolist())) == len(order) else None


def undecided(
    events: Events, peaks: Peaks, anchor: int, found: Expectation, operation: Operation
) -> float:
    """Share of the events that do not tell an operation from doing nothing.

    Args:
        events: the events.
        peaks: a fit without the symmetry.
        anchor: kind of the reference ion.
        found: its expectation.
        operation: the operation.

    Returns:
        Share, among the true events with the most ions, of those whose odds are below 9 to 1.
    """
    as_found = (found.rotation, found.handed)
    there = examine(events, peaks, anchor, orientation=as_found)
    rotated = np.einsum("ij,njk->nik", operation.rotation, there.rotation)
    exchanged = examine(events, peaks, anchor, orientation=(rotated, found.handed))
    size = np.diff(events.offsets)
    true = there.true > 0.5
    if not true.any():
        return 1.0
    rich = true & (size >= np.median(size[true]))
    odds = np.abs(there.log_odds - exchanged.log_odds)[rich]
    return float(np.mean(odds < ODDS))
