"""Calibration of hits: recorded values to laboratory coordinates; impossible hits are dropped."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np

from molexa_core.base.settings.setup import Setup
from molexa_core.base.tables import BoolArray, Hits


@dataclass
class Dropped:
    """Hits that were left out, by reason.

    Attributes:
        not_a_number: position or time is NaN or infinite.
        negative_time: the written time is below zero.
        before_light: the time is not after the time zero of the calibration.
        off_detector: outside the active area.
        uncertain: made from too few signals (`max_method` of the detector).
    """

    not_a_number: int = 0
    negative_time: int = 0
    before_light: int = 0
    off_detector: int = 0
    uncertain: int = 0

    @property
    def total(self) -> int:
        """Number of all hits left out."""
        return sum(getattr(self, field.name) for field in fields(self))

    def add(self, other: Dropped) -> None:
        """Add the counts of another chunk."""
        for field in fields(self):
            setattr(self, field.name, getattr(self, field.name) + getattr(other, field.name))


def calibrate(hits: Hits, setup: Setup) -> tuple[Hits, Dropped]:
    """Hits in laboratory coordinates: time zero and centre subtracted, rotated, scaled.

    The active area is a circle around the calibrated centre. Hits inside each shot keep their
    order.

    Returns:
        the hits that can be ions, and the numbers of those that cannot.
    """
    x, y, t = setup.calibration.to_laboratory(hits.x_mm, hits.y_mm, hits.t_ns)
    radius2 = x * x + y * y
    good = (t > 0) & (hits.t_ns >= 0) & (radius2 <= setup.detector.radius_mm**2) & np.isfinite(t)
    limit = setup.detector.max_method
    trusted = np.ones(hits.n_hits, np.bool_) if limit is None else _trusted(hits, limit)
    usable = good
    good = usable & trusted
    dropped = Dropped()
    if not good.all():
        number = np.isfinite(t) & np.isfinite(radius2)
        negative = number & (hits.t_ns < 0)
        early = number & ~negative & (t <= 0)
        dropped = Dropped(
            not_a_number=int((~number).sum()),
            negative_time=int(negative.sum()),
            before_light=int(early.sum()),
            off_detector=int((number & ~negative & ~early & ~usable).sum()),
            uncertain=int((usable & ~trusted).sum()),
        )
        return replace(hits, x_mm=x, y_mm=y, t_ns=t).select(good), dropped
    return replace(hits, x_mm=x, y_mm=y, t_ns=t), dropped


def _trusted(hits: Hits, limit: int) -> BoolArray:
    """(hits) whether a hit was made from enough signals; an unknown method (below 0) fails."""
    trusted: BoolArray = (hits.method >= 0) & (hits.method <= limit)
    return trusted
