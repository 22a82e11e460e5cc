"""Figure of many explosions of one geometry: final charges and kinetic energy release."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from molexa_core.base.charge_combinations import Outcomes
from molexa_core.base.fields import SPECTRUM_KER
from molexa_core.base.storage.provenance import Provenance
from molexa_core.report.style import FILL, INK, LINE, as_uri, element_colour, figure, grid, save_svg

_MOST_LINES = 5


def combinations_svg(
    path: Path | str, outcomes: Outcomes, record: Provenance | None = None
) -> None:
    """Write the figure as SVG.

    Left: distribution of the final charge of each atom. Right: the kinetic energy release of all
    explosions and of the most frequent charge combinations.

    Args:
        path: SVG file.
        outcomes: all combinations.
        record: how they were made; written into the file.

    Raises:
        OutputError: the file cannot be written there.
    """
    with figure(9.2, 3.4, ncols=2) as (drawing, (left, right)):
        _charge_states(left, outcomes)
        _releases(right, outcomes)
        uri = as_uri(drawing)
    save_svg(uri, path, record)


def _charge_states(axes: Any, outcomes: Outcomes) -> None:
    """One line of bars per atom, the first atom on top, each line scaled to its highest bar."""
    shares = outcomes.charge_states / outcomes.charge_states.max(axis=1, keepdims=True)
    last = int(np.flatnonzero(shares.any(axis=0)).max(initial=1))
    symbols = outcomes.geometry.symbols
    for row, symbol in enumerate(symbols):
        base = len(symbols) - 1 - row
        axes.bar(
            np.arange(last + 1),
            0.85 * shares[row, : last + 1],
            bottom=base,
            width=0.8,
            color=element_colour(symbol),
            edgecolor=INK,
            linewidth=0.4,
        )
    axes.set_yticks([len(symbols) - 1 - row for row in range(len(symbols))])
    axes.set_yticklabels([f"{name} {row + 1}" for row, name in enumerate(outcomes.geometry.names)])
    axes.set_ylim(0, len(symbols))
    axes.set_xlim(-0.6, last + 0.6)
    axes.set_xlabel("final charge")
    axes.set_title(f"{outcomes.trajectories} explosions")
    grid(axes)


def _releases(axes: Any, outcomes: Outcomes) -> None:
    whole = outcomes.spectra.get(SPECTRUM_KER)
    if whole is None:
        return
    axes.stairs(whole.counts, whole.edges[0], fill=True, color=FILL, label="all")
    axes.stairs(whole.counts, whole.edges[0], color=LINE, linewidth=0.8)
    others = {name: item for name, item in outcomes.spectra.items() if item is not whole}
    largest = sorted(others.items(), key=lambda item: -item[1].total)
    for name, spectrum in largest[:_MOST_LINES]:
        axes.stairs(spectrum.counts, spectrum.edges[0], linewidth=1.0, label=name)
    filled = np.flatnonzero(whole.counts)
    if len(filled):
        edges = whole.edges[0]
        axes.set_xlim(edges[filled[0]], edges[filled[-1] + 1])
    axes.set_ylim(bottom=0)
    axes.set_xlabel(f"{whole.labels[0]} ({whole.units[0]})")
    axes.set_ylabel("explosions per bin")
    axes.legend(loc="upper right")
