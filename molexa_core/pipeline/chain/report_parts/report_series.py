"""Series for the report: the quantities that are drawn, and the table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from molexa_core.io.results.series_file import UNITS
from molexa_core.report.content import SeriesContent, SeriesLine
from molexa_core.report.text_tables import dashed, text_of, with_uncertainty

MOST_LINES: Final = 6
ROUNDING: Final = 1e-9
"""Means below this are zero."""
_REASONS: Final = {
    "unusable": "unusable momenta",
    "unexplained": "explained by no structure",
    "unlike": "unlike the others",
    "alone": "no others like them",
}
_SHORT: Final = {"angstrom": "Å", "degrees": "°"}


def series_content(values: Mapping[str, Any], name: str) -> SeriesContent:
    """A series as the report shows it.

    Args:
        values: of the file.
        name: of the file.
    """
    rows = values["bins"]
    unit = str(values.get("unit", ""))
    by = str(values["by"])
    if unit:
        by = f"{by.removesuffix(f'_{unit}').replace('_', ' ')} ({unit})"
    at = np.array([row["value"] for row in rows], np.float64)
    first = rows[0]["quantities"] if rows else []
    shown = [place for place, one in enumerate(first) if one.get("bond")]
    shown += [place for place, one in enumerate(first) if not one.get("bond")]
    # The frame makes some components zero: they are not drawn.
    shown = [
        at
        for at in shown
        if any(abs(row["quantities"][at]["mean"] or 0.0) > ROUNDING for row in rows)
    ]
    shown = shown[: MOST_LINES - 1]
    lines = [_line(rows, place, at) for place in shown]
    ker = [_pair(row["ker_ev"], row["ker_error_ev"]) for row in rows]
    lines.append(SeriesLine("KER", "eV", at, *np.array(ker, np.float64).reshape(-1, 2).T))
    header = (by, "events", "signal", *(f"{dashed(line.name)} ({line.unit})" for line in lines))
    table = []
    for number, row in enumerate(rows):
        same = row["low"] == row["high"]
        place = f"{row['value']:.6g}" if same else f"{row['low']:.6g} to {row['high']:.6g}"
        cells = [place, text_of(row["events"])]
        cells.append(with_uncertainty(row["signal"], row["signal_error"]))
        cells += [_cell(line.value[number], line.error[number]) for line in lines]
        table.append(tuple(cells))
    facts = [("file", name)]
    facts += [
        (f"background: {text}", f"{events} events")
        for text, events in zip(
            values.get("background", ()), values.get("background_events", ()), strict=False
        )
    ]
    facts += [
        (label, str(values[key]))
        for key, label in (("explosion", "explosion"), ("resolution", "resolution"))
        if values.get(key)
    ]
    facts += [
        (f"left out: {_REASONS.get(str(reason), reason)}", text_of(count))
        for reason, count in dict(values.get("left_out") or {}).items()
        if count
    ]
    warnings = tuple(str(text) for text in values.get("warnings") or ())
    return SeriesContent(by, tuple(lines), header, tuple(table), tuple(facts), warnings)


def _line(rows: list[Any], place: int, at: np.ndarray) -> SeriesLine:
    one = rows[0]["quantities"][place]
    unit, factor = UNITS.get(one["kind"], (one["kind"], 1.0))
    pairs = []
    for row in rows:
        of = row["quantities"][place]
        value, error = _pair(of["mean"], of["statistical"])
        common = of["systematic"] or 0.0
        pairs.append((factor * value, factor * float(np.hypot(error, common))))
    values, errors = np.array(pairs, np.float64).T
    return SeriesLine(str(one["of"]), _SHORT.get(str(unit), str(unit)), at, values, errors)


def _pair(value: float | None, error: float | None) -> tuple[float, float]:
    return (np.nan if value is None else value), (np.nan if error is None else error)


def _cell(value: float, error: float) -> str:
    return with_uncertainty(value, error) if np.isfinite(value) else "no signal"
