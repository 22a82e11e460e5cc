"""Figures of mean momenta: an arrow for every ion in planes of the frame, with its errors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from matplotlib.patches import Ellipse

from molexa_core.base.fields import MOMENTUM
from molexa_core.base.tables import FloatArray
from molexa_core.report.plot_style import pretty_ion, pretty_label
from molexa_core.report.style import GRID, grid

_ROOM: Final = 1.25


def mean_momenta(
    figure: Any, ions: Sequence[str], momenta: FloatArray, errors: FloatArray | None
) -> None:
    """Momenta from the origin in the planes p_x, p_y and p_x, p_z.

    Args:
        figure: empty.
        ions: label of each ion.
        momenta: (ions, 3) a.u.
        errors: (ions, 3) standard errors, a.u.; None where there are none.
    """
    half = _ROOM * max(float(np.abs(momenta).max(initial=0.0)), 1e-9)
    for axes, up in zip(figure.subplots(1, 2), (1, 2), strict=True):
        axes.axhline(0.0, color=GRID, linewidth=0.8)
        axes.axvline(0.0, color=GRID, linewidth=0.8)
        for number, (ion, p) in enumerate(zip(ions, momenta, strict=True)):
            colour = f"C{number}"
            axes.annotate(
                "",
                (float(p[0]), float(p[up])),
                (0.0, 0.0),
                arrowprops={"arrowstyle": "-|>", "color": colour, "shrinkA": 0, "shrinkB": 0},
            )
            axes.plot([0.0, p[0]], [0.0, p[up]], color=colour, lw=0.0, label=pretty_ion(ion))
            below = p[up] < 0.0
            name = axes.annotate(
                pretty_ion(ion),
                (float(p[0]), float(p[up])),
                (3, -9 if below else 4),
                textcoords="offset points",
                color=colour,
            )
            name.set_in_layout(False)
            if errors is not None and np.isfinite(errors[number]).all():
                axes.add_patch(
                    Ellipse(
                        (float(p[0]), float(p[up])),
                        2.0 * float(errors[number, 0]),
                        2.0 * float(errors[number, up]),
                        color=colour,
                        alpha=0.35,
                        linewidth=0,
                    )
                )
        axes.set_xlim(-half, half)
        axes.set_ylim(-half, half)
        axes.set_aspect("equal")
        axes.set_xlabel(pretty_label(MOMENTUM[0], "a.u."))
        axes.set_ylabel(pretty_label(MOMENTUM[up], "a.u."))
        grid(axes)
