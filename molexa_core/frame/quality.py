"""How well a molecular frame holds the ions, and whether another choice holds them better.

The direction of the reference is taken as exact in every event; in truth it is spread about its
mean, by vibrations and by the resolution. The spread is measured by superposing every event on the
mean momenta as a whole, so that no ion is preferred. With spread s of each component across the
reference and its momentum p, all other ions are turned by s/p at random: their means shrink, and
the mean of the reference is too long by s^2/p. What this costs is the kinetic energy release of the
mean momenta over the mean of the events, measured for the frame in use and for others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from molexa_core.base.errors import MolexaError
from molexa_core.base.settings import Frame
from molexa_core.base.tables import Coincidences
from molexa_core.frame.align import align_events
from molexa_core.frame.centroid import energy_kept
from molexa_core.frame.like_ions import Roles

FEWEST: Final = 100
SAMPLE: Final = 1500
"""Events that are looked at."""
POOR: Final = 0.15
"""Spread over momentum, rad, from which others are tried; the means lose about its square."""
LOW: Final = 0.95
"""Share of the energy below which others are tried."""
BETTER: Final = 0.02
"""Least gain in that share for which another frame is named."""
_RAYLEIGH_MEDIAN: Final = float(np.sqrt(2.0 * np.log(2.0)))


@dataclass(frozen=True)
class FrameQuality:
    """How well a frame holds the ions.

    Attributes:
        frame: the frame.
        momentum: mean momentum of the reference, a.u.
        spread: standard deviation of a component across it, a.u.
        kept: kinetic energy release of the mean momenta over the mean of the events.
    """

    frame: Frame
    momentum: float
    spread: float
    kept: float

    @property
    def angle(self) -> float:
        """Spread over momentum, rad."""
        return self.spread / max(self.momentum, 1e-12)

    @property
    def poor(self) -> bool:
        """Whether another choice may be better by something that matters."""
        return self.angle > POOR or self.kept < LOW

    def to_dict(self) -> dict[str, float]:
        """Plain values by name."""
        return {
            "reference_momentum_au": self.momentum,
            "reference_spread_au": self.spread,
            "energy_kept": self.kept,
        }


def frame_quality(
    sample: Coincidences,
    frame: Frame,
    recoil: Literal["remove", "keep"] = "remove",
    known: Roles | None = None,
) -> FrameQuality | None:
    """Measure a frame on events; None where there are too few of them, or fewer than three ions.

    Args:
        sample: events of a complete channel, laboratory frame.
        frame: the frame.
        recoil: as in `align.align_events`.
        known: as in `align.align_events`.
    """
    if len(sample) < FEWEST or len(sample.ions) < 3:
        return None
    aligned = align_events(sample, frame, recoil=recoil, known=known)
    table = aligned.table
    mean = np.average(table.momentum, axis=0, weights=table.weight)
    kept = energy_kept(table)
    at = next(i for i, ion in enumerate(table.ions) if str(ion) == frame.reference)
    root = np.sqrt(np.array([ion.mass for ion in table.ions]))[:, None]
    u, _, vt = np.linalg.svd(np.einsum("nai,aj->nij", table.momentum / root, mean / root))
    u[:, :, 2] *= np.sign(np.linalg.det(u @ vt))[:, None]
    reference = np.einsum("ni,nij->nj", table.momentum[:, at], u @ vt)
    size = float(np.linalg.norm(mean[at]))
    if kept is None or size <= 0:
        return None
    along = reference @ (mean[at] / size)
    across = np.linalg.norm(reference - along[:, None] * (mean[at] / size), axis=1)
    spread = float(np.median(across)) / _RAYLEIGH_MEDIAN
    return FrameQuality(frame, size, spread, kept.ratio)


def better_frame(
    sample: Coincidences,
    now: FrameQuality,
    recoil: Literal["remove", "keep"] = "remove",
    known: Roles | None = None,
) -> FrameQuality | None:
    """The frame that keeps most of the energy, if it keeps clearly more than the one in use."""
    names = list(dict.fromkeys(str(ion) for ion in sample.ions))
    count = {name: sum(str(ion) == name for ion in sample.ions) for name in names}
    found = [now]
    for reference in names:
        for second in names:
            if reference == second and count[reference] == 1:
                continue
            like = now.frame.like if now.frame.like == "measured" else "equivalent"
            frame = Frame(reference=reference, second=second, plane=now.frame.plane, like=like)
            if frame == now.frame:
                continue
            try:
                quality = frame_quality(sample, frame, recoil, known)
            except MolexaError:
                continue
            if quality is not None:
                found.append(quality)
    best = max(found, key=lambda quality: quality.kept)
    return best if best.kept > now.kept + BETTER else None


def frame_doubt(now: FrameQuality, better: FrameQuality | None) -> str | None:
    """A warning if the reference is poor, with the better choice; None if the frame is good."""
    if better is None:
        if now.angle <= 2.0 * POOR:
            return None
        end = "no other choice of ions keeps more"
    else:
        second = better.frame.second
        end = (
            f"with {better.frame.reference} as reference and {second} as second ion they would "
            f"keep {100.0 * better.kept:.0f} %"
        )
    return (
        f"the reference {now.frame.reference} is spread by {now.spread:.2g} a.u. across its "
        f"momentum of {now.momentum:.3g} a.u. ({np.degrees(now.angle):.0f} degrees); the mean "
        f"momenta keep {100.0 * now.kept:.0f} % of the kinetic energy release; {end}"
    )
