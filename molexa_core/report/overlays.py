"""Drawings of predicted and true structures on top of each other, as balls and sticks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from molexa_core.base.tables import FloatArray
from molexa_core.report.accuracy_content import Example, Pairs
from molexa_core.report.style import ACCENT, INK, MUTED, as_uri, element_colour, figure

_HYDROGEN: Final = 26.0
_OTHER: Final = 58.0
_COLUMNS: Final = 4


def draw_overlay(axes: Axes, example: Example, half: float, *, name: bool = True) -> None:
    """Draw the predicted structure as balls and the true one as larger rings.

    Args:
        axes: the axes to draw in.
        example: the two structures.
        half: half the width of the view, bohr; one scale for all structures makes sizes comparable.
        name: whether to write the name of the molecule above it.
    """
    rotation = _view(example.truth)
    middle = example.truth.mean(axis=0)
    true = (example.truth - middle) @ rotation.T
    predicted = (example.predicted - middle) @ rotation.T
    dashes = (0, (2.5, 2))
    axes.plot(*_sticks(true, example.true_bonds), color=ACCENT, lw=0.9, ls=dashes, zorder=3.5)
    axes.plot(*_sticks(predicted, example.bonds), color="#aab3be", lw=2.4, zorder=2)
    hydrogen = np.array([symbol == "H" for symbol in example.symbols])
    sizes = np.where(hydrogen, _HYDROGEN, _OTHER)
    # Atoms at the back are drawn first.
    order = np.argsort(predicted[:, 2], kind="stable")
    axes.scatter(
        predicted[order, 0],
        predicted[order, 1],
        s=sizes[order],
        color=[element_colour(example.symbols[index]) for index in order],
        edgecolors=[MUTED if hydrogen[index] else "white" for index in order],
        linewidths=0.5,
        zorder=3,
    )
    axes.scatter(
        true[:, 0],
        true[:, 1],
        s=2.1 * sizes,
        facecolors="none",
        edgecolors=ACCENT,
        linewidths=0.8,
        zorder=4,
    )
    axes.set_xlim(-half, half)
    axes.set_ylim(-half, half)
    axes.set_aspect("equal")
    axes.set_axis_off()
    if name:
        axes.set_title(example.label, fontsize=6.5, color=INK, pad=2)
    angle = "" if example.angle_error is None else f", {example.angle_error:.1f}°"
    text = f"± {example.expected:.2f}: {example.distance_error:.2f}{angle}"
    axes.text(0.5, -0.02, text, transform=axes.transAxes, ha="center", va="top", fontsize=6.5)


def geometries(examples: Sequence[Example]) -> str:
    """Several geometries of one molecule, predicted over true, on one scale."""
    rows = (len(examples) + _COLUMNS - 1) // _COLUMNS
    half = 1.12 * max(half_width(example) for example in examples)
    columns = min(_COLUMNS, len(examples))
    with figure(1.75 * columns, 1.95 * rows, nrows=rows, ncols=columns, squeeze=False) as (
        drawing,
        grid_of_axes,
    ):
        cells = grid_of_axes.ravel()
        for axes in cells[len(examples) :]:
            axes.set_axis_off()
        for axes, example in zip(cells, examples, strict=False):
            draw_overlay(axes, example, half)
        drawing.legend(
            handles=overlay_legend([s for example in examples for s in example.symbols]),
            loc="outside lower center",
            ncols=8,
            handletextpad=0.2,
            columnspacing=1.0,
        )
        return as_uri(drawing)


def half_width(example: Example) -> float:
    """Half the width of a view that contains both structures of an example, bohr."""
    rotation = _view(example.truth)
    both = np.concatenate([example.truth, example.predicted]) - example.truth.mean(axis=0)
    return float(np.abs(both @ rotation.T)[:, :2].max()) + 0.3


def overlay_legend(symbols: Sequence[str]) -> list[Any]:
    """Legend handles for the colours of these elements and the rings."""
    handles: list[Any] = [
        _mark(symbol, element_colour(symbol), MUTED) for symbol in sorted(set(symbols))
    ]
    return [*handles, _mark("true structure", "none", ACCENT)]


def _mark(label: str, face: str, edge: str) -> Line2D:
    return Line2D([], [], ls="", marker="o", ms=6, mfc=face, mec=edge, mew=0.8, label=label)


def _view(positions: FloatArray) -> FloatArray:
    """(3, 3) principal axes of the structure, right-handed, in order of decreasing extent."""
    centred = positions - positions.mean(axis=0)
    axes = np.linalg.svd(centred, full_matrices=True)[2]
    # A structure and its mirror image must look different: no reflection.
    axes[2] = np.cross(axes[0], axes[1])
    return np.asarray(axes)


def _sticks(positions: FloatArray, bonds: Pairs) -> FloatArray:
    """(2, 3 bonds) all bonds as one line with gaps, which keeps the file small."""
    ends = positions[np.array(bonds, dtype=np.intp).reshape(-1, 2), :2]
    broken = np.concatenate([ends, np.full((len(ends), 1, 2), np.nan)], axis=1)
    return broken.reshape(-1, 2).T
