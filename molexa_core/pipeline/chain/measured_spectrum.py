"""Spectra and maps of observables from an events file, false coincidences subtracted."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from molexa_core.base.fields import GATES
from molexa_core.base.options.gate_options import EVERYTHING, Selection
from molexa_core.base.progress import SILENT, Progress
from molexa_core.base.storage.files import UNWRITABLE, atomic_path
from molexa_core.base.storage.outputs import FileKind
from molexa_core.base.storage.provenance import SPECTRUM_MARK, Provenance
from molexa_core.base.tables import FloatArray
from molexa_core.io.results.events import read_events
from molexa_core.observables.expression import Formula, parse_number
from molexa_core.observables.spread import (
    Limits,
    Position,
    bin_edges,
    histogram,
    position_of,
    rows_of,
)
from molexa_core.pipeline.chain.pick import channel_of
from molexa_core.pipeline.chain.selected import gating_of, select, settings_read
from molexa_core.pipeline.output_guard import require_outputs

BINS: Final = 100


@dataclass(frozen=True)
class Measured:
    """A spectrum or a map.

    Attributes:
        names: observables of the axes.
        units: of the axes.
        edges: of the bins along each axis.
        counts: (bins) or (bins of x, bins of y), false coincidences subtracted.
        errors: their standard errors.
        positions: where the values lie along each axis; None with too few events.
        unknown: rows left out because a value is not a number.
        false: sum of the weights of the false coincidences; None if the file has none.
        gates: in words.
    """

    names: tuple[str, ...]
    units: tuple[str, ...]
    edges: tuple[FloatArray, ...]
    counts: FloatArray
    errors: FloatArray
    positions: tuple[Position | None, ...]
    unknown: int
    false: float | None
    gates: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values by name."""
        return {
            "axes": [
                {
                    "name": name,
                    "unit": unit,
                    "edges": edges.tolist(),
                    "position": None if position is None else asdict(position),
                }
                for name, unit, edges, position in zip(
                    self.names, self.units, self.edges, self.positions, strict=True
                )
            ],
            "counts": self.counts.tolist(),
            "errors": self.errors.tolist(),
            "false": self.false,
            "not_numbers": self.unknown,
            "gates": list(self.gates),
        }


def measured_spectrum(
    path: Path | str,
    axes: Sequence[str],
    *,
    out: Path | str | None = None,
    bins: int = BINS,
    ranges: Sequence[Limits | None] = (None, None),
    selection: Selection = EVERYTHING,
    progress: Progress = SILENT,
) -> Measured:
    """The spectrum of one observable, or the map of two.

    Args:
        path: events or aligned events.
        axes: one or two numbers, such as `ker` or `tof(O+) + tof(C+)`.
        out: a CSV file to write; nothing is written if not given.
        bins: along each axis.
        ranges: ends of each axis; found from the data where None.
        selection: the coincidences to take.
        progress: receives remarks.

    Raises:
        UsageError: an observable or a condition that does not fit the events, bins or ranges.
        NoEventsError: nothing is left.
        OutputError: the file cannot be written.
    """
    numbers = tuple(parse_number(text) for text in axes)
    require_outputs((out, FileKind.SPECTRUM), inputs=[path, selection.regions])
    table, before = read_events(path)
    gates = gating_of(selection, "spectrum", channel=channel_of(table.meta))
    table = select(table, gates, progress)
    rows = rows_of(table, numbers)
    edges = tuple(
        bin_edges(values[~rows.false], bins, given)
        for values, given in zip(rows.values, ranges, strict=False)
    )
    counts, errors = histogram(rows, edges)
    found = Measured(
        names=tuple(number.text for number in numbers),
        units=tuple(number.unit for number in numbers),
        edges=edges,
        counts=counts,
        errors=errors,
        positions=tuple(position_of(values, rows.weight) for values in rows.values),
        unknown=rows.unknown,
        false=None if table.false is None else float(table.false.weight.sum()),
        gates=tuple(gates.sentences()),
    )
    if out is not None:
        settings: dict[str, Any] = {"axes": list(axes), "bins": bins}
        if gates:
            settings[GATES] = gates.record()
        inputs = [path, *settings_read(selection)]
        record = Provenance.of(inputs=inputs, settings=settings, after=before)
        _write(Path(out), found, numbers, record)
    return found


def _write(path: Path, found: Measured, numbers: Sequence[Formula], record: Provenance) -> None:
    """One row per bin: lower and upper edge along each axis, counts, standard error."""
    stream = io.StringIO()
    stream.write(f"{SPECTRUM_MARK}{record.to_json()}\n")
    writer = csv.writer(stream, lineterminator="\n")
    header = []
    for number in numbers:
        name = f"{number.text} ({number.unit})" if number.unit else number.text
        header += [f"{name} low", f"{name} high"]
    writer.writerow([*header, "counts", "error"])
    for place in np.ndindex(found.counts.shape):
        ends = [
            f"{edges[at + end]:.9g}"
            for edges, at in zip(found.edges, place, strict=True)
            for end in (0, 1)
        ]
        writer.writerow([*ends, f"{found.counts[place]:.6g}", f"{found.errors[place]:.6g}"])
    with atomic_path(path) as temporary:
        temporary.write_text(stream.getvalue(), encoding="utf-8", errors=UNWRITABLE)
