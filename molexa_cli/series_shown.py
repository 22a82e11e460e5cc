"""What is printed of a series."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from molexa_cli.console import remark, table, write, write_json

MOST_COLUMNS = 6
ROUNDING = 1e-9


def show_series(values: Mapping[str, Any], *, json: bool) -> None:
    """Print a series: one row per bin."""
    if json:
        write_json(dict(values))
        return
    from molexa_core.io.results.series_file import UNITS

    rows = []
    first = values["bins"][0]["quantities"]
    shown = [at for at, one in enumerate(first) if one.get("bond")]
    shown += [at for at, one in enumerate(first) if not one.get("bond")]
    # The frame makes some components zero, up to rounding: they are not shown.
    shown = [
        at
        for at in shown
        if any(abs(row["quantities"][at]["mean"] or 0.0) > ROUNDING for row in values["bins"])
    ]
    shown = shown[:MOST_COLUMNS]
    for row in values["bins"]:
        cells = [_bin(row), str(row["events"]), _with_error(row["signal"], row["signal_error"], 1)]
        cells.append(_with_error(row["ker_ev"], row["ker_error_ev"], 2))
        for at in shown:
            one = row["quantities"][at]
            factor = UNITS.get(one["kind"], ("", 1.0))[1]
            error = one["statistical"]
            if error is not None and one["systematic"] is not None:
                error = (error**2 + one["systematic"] ** 2) ** 0.5
            digits = 3 if one["kind"] == "distance" else 2
            mean = one["mean"]
            scaled = [None if value is None else factor * value for value in (mean, error)]
            cells.append(_with_error(scaled[0], scaled[1], digits))
        rows.append(cells)
    unit = f" / {values['unit']}" if values["unit"] else ""
    header = [f"{values['by']}{unit}", "events", "signal", "KER / eV"]
    for at in shown:
        kind = first[at]["kind"]
        name = {"distance": "\u00c5", "angle": "degree"}.get(kind, UNITS.get(kind, (kind,))[0])
        header.append(f"{first[at]['of']} / {name}")
    write(table(header, rows))
    for text, events in zip(values["background"], values["background_events"], strict=True):
        remark(
            f"background {text!r}: {events} events, subtracted from every bin by its shots; the "
            "part of the errors that comes from them is common to all bins"
        )
    more = len(first) - len(shown)
    rest = f"; {more} more quantities are in the file" if more else ""
    remark(f"written to {' and '.join(values['files'].values())}{rest}")


def _bin(row: Mapping[str, Any]) -> str:
    if row["low"] == row["high"]:
        return f"{row['value']:.6g}"
    return f"{row['low']:.6g} to {row['high']:.6g}"


def _with_error(value: float | None, error: float | None, digits: int) -> str:
    if value is None:
        return "no signal"
    shown = "" if error is None else f" \u00b1 {error:.{digits}f}"
    return f"{value:.{digits}f}{shown}"
