"""Tables of the report: numbers with their uncertainties, as plain text cells."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pandas as pd

from molexa_core.base.fields import COUNT, ION, LABEL, MOMENTUM, MOMENTUM_ERROR
from molexa_core.base.storage.provenance import Provenance
from molexa_core.base.units import BOHR_ANGSTROM
from molexa_core.report.content import SingleEvents, Structure

_SHORT_DIGEST: Final = 12
_AXES: Final = ("x", "y", "z")
_LONG: Final = 6
"""A longer list of numbers is shown by its length and range."""


@dataclass(frozen=True)
class Table:
    """A header and rows of text; `numeric` says which columns are right-aligned."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numeric: tuple[bool, ...]


def with_uncertainty(value: float, uncertainty: float | None) -> str:
    """`value ± uncertainty`, rounded to two digits of the uncertainty.

    Example:
        >>> with_uncertainty(55.1234, 0.0213)
        '55.123 ± 0.021'
        >>> with_uncertainty(-0.0, 0.0)
        '0'
    """
    if uncertainty is None or not math.isfinite(uncertainty):
        return decimal(value, 3)
    if uncertainty < 1e-9 * max(abs(value), 1.0):
        return "0" if abs(value) < 1e-9 else decimal(value, 3)
    places = min(max(1 - math.floor(math.log10(uncertainty)), 0), 6)
    return f"{decimal(value, places)} ± {uncertainty:.{places}f}"


def decimal(value: float, places: int) -> str:
    """A number with this many decimal places, a true minus sign, and no minus before zero."""
    text = f"{value:.{places}f}"
    if float(text) == 0:
        text = text.removeprefix("-")
    return text.replace("-", "\u2212")


def centroid_table(rows: pd.DataFrame) -> Table:
    """Mean momenta with their standard errors, in a.u."""
    has_errors = all(name in rows for name in MOMENTUM_ERROR)
    has_count, has_label = COUNT in rows, LABEL in rows
    header = ["ion", *[f"{name} (a.u.)" for name in MOMENTUM]]
    header += ["|p| (a.u.)"] + ["events"] * has_count
    body = []
    for row in rows.to_dict(orient="records"):
        cells = [str(row[LABEL] if has_label and row[LABEL] else row[ION])]
        for name, error in zip(MOMENTUM, MOMENTUM_ERROR, strict=True):
            cells.append(with_uncertainty(row[name], row[error] if has_errors else None))
        cells.append(f"{math.hypot(*(row[name] for name in MOMENTUM)):.2f}")
        if has_count:
            cells.append(_count(row[COUNT]))
        body.append(tuple(cells))
    return Table(tuple(header), tuple(body), (False, *[True] * (len(header) - 1)))


def coordinate_table(structure: Structure) -> Table:
    """Coordinates with uncertainties, known coordinates and distances between both, in bohr."""
    geometry = structure.geometry
    header = ["atom"] + ["charge"] * (geometry.charges is not None)
    header += [f"{axis} (bohr)" for axis in _AXES]
    if structure.known is not None:
        header += ["known x, y, z (bohr)", "distance (bohr)"]
    body = []
    for index, name in enumerate(geometry.names):
        cells = [f"{name}{index + 1}"]
        if geometry.charges is not None:
            cells.append(f"{geometry.charges[index]}+")
        for axis in range(3):
            error = None if geometry.uncertainty is None else geometry.uncertainty[index, axis]
            cells.append(with_uncertainty(float(geometry.positions[index, axis]), error))
        if structure.known is not None:
            known = structure.known[index]
            away = geometry.positions[index] - known
            cells.append(", ".join(decimal(float(value), 3) for value in known))
            cells.append(f"{math.hypot(*(float(value) for value in away)):.3f}")
        body.append(tuple(cells))
    return Table(tuple(header), tuple(body), (False, *[True] * (len(header) - 1)))


def alternatives_table(structure: Structure) -> Table | None:
    """Other structures that explain the momenta; None if there are none."""
    if not structure.alternatives:
        return None
    by_evidence = "evidence_share" in structure.alternatives[0]
    share = "evidence_share" if by_evidence else "share_of_samples"
    rows = tuple(
        (
            "; ".join(str(text) for text in solution.get("objections", ())) or "nothing",
            decimal(float(solution.get("distance_from_answer_bohr", 0.0)), 3),
            f"{100 * float(solution.get('residual', 0.0)):.2g}",
            decimal(100 * float(solution.get(share, 0.0)), 0),
        )
        for solution in structure.alternatives
    )
    of_what = "evidence (%)" if by_evidence else "samples (%)"
    header = ("chemistry objects to", "mean distance (bohr)", "closure (%)", of_what)
    return Table(header, rows, (False, True, True, True))


def lengths_table(structure: Structure) -> Table | None:
    """Distances, angles and dihedrals with half-widths of 68 %; None if there are none."""
    rows = [
        (str(one.get("of")), _region(one, factor) or _with_half_width(one, factor), unit)
        for found, factor, unit in (
            (structure.distances, BOHR_ANGSTROM, "Å"),
            (structure.angles, 1.0, "°"),
            (structure.dihedrals, 1.0, "°"),
        )
        for one in found
    ]
    if not rows:
        return None
    every = (*structure.distances, *structure.angles, *structure.dihedrals)
    widths = any(one.get("half_width") for one in every)
    value = "median ± half of the 68 % interval" if widths else "value, without error bars"
    if any(len(one.get("region") or ()) > 1 for one in every):
        value += ", or the intervals of the 68 % region where there are several"
    return Table(("between", value, ""), tuple(rows), _LENGTHS)


def events_table(events: SingleEvents) -> Table:
    """Means over single events beside what the mean momenta give."""
    rows = []
    for one in events.rows:
        places = 4 if one.unit == "Å" else 2
        beside = (
            "" if one.from_means is None else with_uncertainty(one.from_means, one.from_means_error)
        )
        rows.append(
            (
                f"{one.of} ({one.unit})",
                decimal(one.mean, places),
                decimal(one.statistical, places),
                "none" if one.systematic is None else decimal(one.systematic, places),
                decimal(one.deviation, places - 1),
                " / ".join(decimal(value, places - 1) for value in one.quantiles),
                beside,
                "" if one.from_means is None else decimal(one.from_means - one.mean, places),
            )
        )
    first = ("between", "mean", "± statistical", "± systematic", "standard deviation")
    header = (*first, "16 / 50 / 84 %", "from mean momenta", "difference")
    return Table(header, tuple(rows), (False, *(True,) * 7))


_LENGTHS: Final = (False, True, False)


def _with_half_width(one: Mapping[str, Any], factor: float) -> str:
    middle, half = one.get("median", one.get("mean")), one.get("half_width")
    if not isinstance(middle, int | float):
        return text_of(middle)
    width = factor * half if isinstance(half, int | float) else None
    return with_uncertainty(factor * middle, width)


def _region(one: Mapping[str, Any], factor: float) -> str:
    """The intervals of a region of several; empty if there is but one."""
    parts = one.get("region")
    if not isinstance(parts, Sequence) or len(parts) < 2:
        return ""
    shortest = min(factor * (float(high) - float(low)) for low, high in parts)
    places = min(max(1 - math.floor(math.log10(max(shortest, 1e-6))), 0), 4)
    return " or ".join(
        f"{decimal(factor * float(low), places)} to {decimal(factor * float(high), places)}"
        for low, high in parts
    )


def explosion_rows(explosion: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Names and values of the explosion that was assumed; empty for records without it."""
    rows = [
        (label, text_of(explosion[name]))
        for name, label in (
            ("statement", "assumed"),
            ("origin", "origin"),
            ("source", "said by"),
            ("chi_square", "chi-square"),
            ("degrees", "degrees of freedom"),
            ("p_value", "p-value"),
            ("effective_samples", "effective number of draws"),
            ("log_evidence", "ln of the evidence"),
        )
        if explosion.get(name) is not None
    ]
    rows += [
        ("computed with", f"{one.get('name')}, SHA-256 {one.get('sha256')}")
        for one in explosion.get("weights") or ()
        if isinstance(one, Mapping)
    ]
    worst = explosion.get("worst")
    if isinstance(worst, Mapping):
        place = f"{worst.get('ion')} in {worst.get('channel')}"
        rows.append(("least explained", f"{place}, along {text_of(worst.get('direction'))}"))
    return tuple(rows)


def plain_rows(values: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Names and values of plain settings; nested names are joined by a colon."""
    rows: list[tuple[str, str]] = []
    for name, value in values.items():
        label = str(name).replace("_", " ")
        if isinstance(value, Mapping):
            rows += [(f"{label}: {inner}", text) for inner, text in plain_rows(value)]
        else:
            rows.append((label, text_of(value)))
    return tuple(rows)


def text_of(value: Any) -> str:
    """A plain value as text."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, int):
        return f"{value:,}".replace(",", "\u202f")
    if isinstance(value, list | tuple):
        return _list_text(value)
    return str(value)


def _list_text(values: Sequence[Any]) -> str:
    if len(values) > _LONG and all(isinstance(value, int | float) for value in values):
        return f"{len(values)} values, {text_of(min(values))} to {text_of(max(values))}"
    return ", ".join(text_of(value) for value in values)


@dataclass(frozen=True)
class StepRecord:
    """The provenance of one step as text."""

    command: str
    made: str
    inputs: tuple[tuple[str, str], ...]
    settings: str


def step_record(record: Provenance) -> StepRecord:
    """A provenance record for the page; digests are shortened."""
    seed = "" if record.seed is None else f", seed {record.seed}"
    inputs = []
    for path, value in record.inputs.items():
        kind, _, digest = str(value).partition(":")
        inputs.append((str(path), f"{kind}:{digest[:_SHORT_DIGEST]}" if digest else str(value)))
    settings = json.dumps(record.settings, indent=1, default=str, ensure_ascii=False)
    return StepRecord(
        command=record.command,
        made=f"molexa {record.version}, {record.created}{seed}",
        inputs=tuple(inputs),
        settings="" if settings == "{}" else settings,
    )


def _count(value: float) -> str:
    return "-" if not math.isfinite(value) else text_of(round(value))
