"""The page on tests of a posterior: coverage curves, ranks, tables.

Functions take plain values, as `molexa evaluate --calibration` writes them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import jinja2
import numpy as np

from molexa_core import __version__
from molexa_core.base.storage.provenance import Provenance
from molexa_core.base.storage.resources import shipped_folder
from molexa_core.base.tables import FloatArray
from molexa_core.report.style import ACCENT, FILL, GRID, INK, LINE, MUTED, as_uri, figure, grid

TEMPLATE: Final = "calibration.html.j2"
_COLOURS: Final = (LINE, ACCENT, MUTED)
_BINS: Final = 16


def coverage_curves(sets: Mapping[str, Mapping[str, Any]]) -> str:
    """Coverage found against coverage claimed: less than the diagonal is too sure."""
    with figure(2.9 * max(len(sets), 2), 3.1, ncols=len(sets), squeeze=False, sharey=True) as (
        drawing,
        cells,
    ):
        for axes, (name, one) in zip(cells[0], sets.items(), strict=True):
            axes.plot([0, 1], [0, 1], color=INK, lw=0.7, ls=":")
            axes.fill_between([0, 1], [-0.05, 0.95], [0.05, 1.05], color=GRID, lw=0, alpha=0.6)
            for curve, colour in zip(one["curves"], _COLOURS, strict=False):
                axes.fill_between(
                    curve["level"], curve["low"], curve["high"], color=colour, alpha=0.18, lw=0
                )
                axes.plot(curve["level"], curve["covered"], color=colour, label=curve["of"], lw=1.2)
            axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="level of the region")
            axes.set_title(f"{name} ({one['cases']})")
            grid(axes)
        cells[0][0].set_ylabel("share of truths inside")
        cells[0][0].legend(loc="upper left")
        return as_uri(drawing)


def rank_histograms(ranks: Mapping[str, Mapping[str, FloatArray]]) -> str:
    """Ranks of the truth among the draws; the band is 95 % of honest ones."""
    names = list(dict.fromkeys(name for one in ranks.values() for name in one))
    with figure(
        1.35 * len(names) + 0.8,
        1.45 * len(ranks) + 0.5,
        nrows=len(ranks),
        ncols=len(names),
        squeeze=False,
        sharex=True,
    ) as (drawing, cells):
        for row, (title, one) in zip(cells, ranks.items(), strict=True):
            for axes, name in zip(row, names, strict=True):
                axes.set_yticks([])
                axes.set_xlim(0, 1)
                if name not in one:
                    axes.set_axis_off()
                    continue
                counts = np.histogram(one[name], bins=_BINS, range=(0.0, 1.0))[0]
                mean = len(one[name]) / _BINS
                reach = 1.96 * np.sqrt(mean * (1.0 - 1.0 / _BINS))
                axes.axhspan(mean - reach, mean + reach, color=GRID, lw=0)
                edges = np.linspace(0.0, 1.0, _BINS + 1)
                axes.stairs(counts, edges, fill=True, color=FILL)
                axes.stairs(counts, edges, color=LINE, lw=0.8)
                axes.set_ylim(0, 1.15 * max(counts.max(), mean + reach))
                if row is cells[0]:
                    axes.set_title(name, fontsize=7)
            row[0].set_ylabel(title, fontsize=7)
        drawing.supxlabel("rank of the truth among the draws", fontsize=8, color=INK)
        return as_uri(drawing)


def page(
    sampler: str,
    sets: Mapping[str, Mapping[str, Any]],
    failed: Mapping[str, Sequence[str]],
    drawings: Mapping[str, str],
    made: Provenance,
) -> str:
    """The HTML text of the page.

    Args:
        sampler: name of what was tested.
        sets: results by name of the set.
        failed: of each set, what fails.
        drawings: figures as data URIs, by name.
        made: how the page was made.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(shipped_folder("templates")),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(TEMPLATE).render(
        sampler=sampler,
        sets=sets,
        failed=failed,
        drawings=drawings,
        record=made.to_json(),
        version=__version__,
    )
