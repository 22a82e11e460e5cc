"""Figure of a spectrometer calibration: what should vanish, before and after."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np

from molexa_core.base.storage.provenance import Provenance
from molexa_core.base.tables import FloatArray
from molexa_core.report.style import LINE, MUTED, as_uri, figure, grid, save_svg

_BINS: Final = 80
_WIDTHS: Final = 6.0
_WHEN: Final = (("before", MUTED), ("after", LINE))


class Curves(Protocol):
    """What is drawn of a channel."""

    @property
    def sums(self) -> FloatArray:
        """(2, n, 3) momentum sums before and after, a.u."""

    @property
    def sizes(self) -> Mapping[str, FloatArray]:
        """By ion (2, 3, bins) size of the momentum over its median, against the direction."""

    @property
    def errors(self) -> Mapping[str, FloatArray]:
        """Their standard errors."""

    @property
    def edges(self) -> FloatArray:
        """(bins + 1) of the component of the direction."""


def spectrometer_svg(
    path: Path | str, curves: Mapping[str, Curves], record: Provenance | None = None
) -> None:
    """Write the figure of a calibration: a row of sums and rows of sizes for each channel.

    Args:
        path: SVG file.
        curves: by channel.
        record: how it was made; written into the file.

    Raises:
        OutputError: the file cannot be written.
    """
    rows = [(name, kind) for name, one in curves.items() for kind in ("", *one.sizes)]
    with figure(7.6, 2.1 * len(rows) + 0.3, nrows=len(rows), ncols=3, squeeze=False) as (
        drawing,
        axes,
    ):
        for row, (name, kind) in enumerate(rows):
            for axis in range(3):
                if kind:
                    _size(axes[row, axis], curves[name], kind, axis)
                else:
                    _sum(axes[row, axis], curves[name], name, axis)
        axes[0, 0].legend(loc="best", handlelength=1.0)
        save_svg(as_uri(drawing), path, record)


def _sum(axes: Any, curves: Curves, name: str, axis: int) -> None:
    after = curves.sums[1, :, axis]
    after = after[np.isfinite(after)]
    width = 1.4826 * float(np.median(np.abs(after - np.median(after)))) if len(after) else 1.0
    both = [float(np.nanmedian(curves.sums[when, :, axis])) for when in range(2)]
    low, high = min(both) - _WIDTHS * width, max(both) + _WIDTHS * width
    for when, (label, colour) in enumerate(_WHEN):
        counts, edges = np.histogram(curves.sums[when, :, axis], bins=_BINS, range=(low, high))
        axes.stairs(counts, edges, color=colour, label=label, linewidth=1.1)
    axes.axvline(0.0, color=MUTED, linewidth=0.7, linestyle=":")
    axes.set_yticks([])
    axes.set_xlabel(f"momentum sum along {'xyz'[axis]} (a.u.)")
    if axis == 0:
        axes.set_ylabel(f"{name}: coincidences")


def _size(axes: Any, curves: Curves, kind: str, axis: int) -> None:
    middle = 0.5 * (curves.edges[1:] + curves.edges[:-1])
    for when, (label, colour) in enumerate(_WHEN):
        axes.errorbar(
            middle,
            curves.sizes[kind][when, axis],
            yerr=curves.errors[kind][when, axis],
            color=colour,
            label=label,
            linewidth=1.0,
            marker="o",
            markersize=2.2,
        )
    axes.axhline(1.0, color=MUTED, linewidth=0.7, linestyle=":")
    axes.set_xlabel(f"direction of {kind} along {'xyz'[axis]}")
    if axis == 0:
        axes.set_ylabel(f"momentum of {kind} / median")
    grid(axes)
