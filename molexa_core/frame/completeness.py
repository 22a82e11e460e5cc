"""Checks that momenta belong to all ions of a molecule: cancelling sums, resolved mean momenta."""

from __future__ import annotations

from typing import Final

import numpy as np

from molexa_core.base.errors import listing
from molexa_core.base.tables import Coincidences, ion_labels

UNRESOLVED: Final = 0.15
"""A mean momentum below this fraction of the ion's rms momentum is not a resolved lobe."""
_CARRIES: Final = 0.25
"""Ions with a smaller fraction of the largest rms momentum may be at rest and are not checked."""
UNCANCELLED: Final = 0.6
"""Momenta do not cancel if the momentum sum exceeds this fraction of that of unrelated ions."""
FEWEST: Final = 20


def sum_doubt(table: Coincidences) -> str | None:
    """A warning if the momenta of the events do not cancel, else None.

    Args:
        table: events before the recoil is taken out.
    """
    if len(table) < FEWEST or len(table.ions) < 2:
        return None
    sums = np.square(table.momentum_sum()).sum(axis=1)
    parts = np.square(table.momentum).sum(axis=(1, 2))
    ratio = float(np.sqrt(np.median(sums) / max(float(np.median(parts)), 1e-300)))
    if ratio <= UNCANCELLED:
        return None
    return (
        f"the momenta of {listing(table.ions)} do not cancel (their sum is {ratio:.2g} times that "
        "of unrelated ions): ions of the molecule are missing, or most events are accidental"
    )


def lobe_doubt(table: Coincidences) -> str | None:
    """A warning if the mean momentum of an ion is nearly zero, else None.

    Args:
        table: events in a molecular frame.
    """
    weight = float(table.weight.sum())
    if len(table) < FEWEST or weight <= 0:
        return None
    mean = np.linalg.norm(np.average(table.momentum, axis=0, weights=table.weight), axis=1)
    squares = np.square(table.momentum).sum(axis=2)
    typical = np.sqrt(np.average(squares, axis=0, weights=table.weight))
    scatter = typical / np.sqrt(len(table))
    lost = (
        (mean < UNRESOLVED * typical)
        & (typical > _CARRIES * typical.max())
        & (UNRESOLVED * typical > 3.0 * scatter)
    )
    if not lost.any():
        return None
    labels = [label for label, is_lost in zip(ion_labels(table.ions), lost, strict=True) if is_lost]
    worst = int(np.argmax(np.where(lost, typical, 0.0)))
    sizes = f"{mean[worst]:.2g} a.u., while a single one has {typical[worst]:.3g} a.u."
    return (
        f"the momenta of {listing(labels)} average to almost nothing ({sizes}): the frame does not "
        "hold them, and a structure from these means is wrong"
    )
