"""Figures of an evaluation: errors by number of atoms, and true against predicted errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from molexa_core.base.tables import FloatArray
from molexa_core.report.style import ACCENT, INK, LINE, MUTED, as_uri, figure, grid


def errors_by_size(
    rows: Mapping[str, Mapping[str, Mapping[str, Any]]], measure: str, label: str
) -> str:
    """Mean error and its 95 % interval against the number of atoms, a line for each method.

    Args:
        rows: by method and number of atoms: statistics by measure (`pipeline.evaluate`).
        measure: which.
        label: of the axis.
    """
    colours = (LINE, ACCENT, INK, MUTED, "#8a9a5b", "#9b7bb5", "#c9a227")
    with figure(5.2, 3.2) as (drawing, axes):
        for colour, (method, groups) in zip(colours, rows.items(), strict=False):
            sizes = sorted(int(name) for name in groups if name.isdigit())
            known = [n for n in sizes if measure in groups[str(n)]]
            values = [groups[str(n)][measure] for n in known]
            mean = np.array([one["mean"] for one in values])
            low = mean - np.array([one["low"] for one in values])
            high = np.array([one["high"] for one in values]) - mean
            bars = np.maximum([low, high], 0.0)
            axes.errorbar(known, mean, yerr=bars, label=method, color=colour, marker="o", ms=3)
        axes.set_yscale("log")
        axes.set_xlabel("atoms")
        axes.set_ylabel(label)
        axes.legend(ncols=2)
        grid(axes)
        return as_uri(drawing)


def reliability(
    predicted: Sequence[FloatArray], true: Sequence[FloatArray], names: Sequence[str]
) -> str:
    """True against predicted mean error of molecules, in groups of equal size, for each set.

    Args:
        predicted: for each set, (molecules) mean predicted error, bohr.
        true: the same of the true error.
        names: of the sets.
    """
    with figure(3.8, 3.4) as (drawing, axes):
        edge = 0.0
        for one, other, name in zip(predicted, true, names, strict=True):
            order = np.argsort(one, kind="stable")
            parts = [part for part in np.array_split(order, 10) if len(part)]
            x = np.array([one[part].mean() for part in parts])
            y = np.array([other[part].mean() for part in parts])
            axes.plot(x, y, marker="o", ms=3, lw=0.8, label=name)
            edge = max(edge, float(x.max()), float(y.max()))
        axes.plot([0, edge], [0, edge], color=MUTED, lw=0.8, ls="--")
        axes.set_xlabel("predicted error (bohr)")
        axes.set_ylabel("mean absolute error (bohr)")
        axes.legend()
        grid(axes)
        return as_uri(drawing)
