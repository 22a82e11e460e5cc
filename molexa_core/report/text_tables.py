"""Tables of the report: numbers with their uncertainties, as plain text cells."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import pandas as pd
import yaml

from molexa_core.base.fields import COUNT, ION, LABEL, MOMENTUM, MOMENTUM_ERROR
from molexa_core.base.storage.provenance import Provenance
from molexa_core.base.units import BOHR_ANGSTROM
from molexa_core.report.content import Comparison, LengthRow, SingleEvents, Structure

_SHORT_DIGEST: Final = 12
_MOST_COMPARED: Final = 24
_WIDE: Final = 400
"""Length of a line of settings, in letters; the page wraps it."""
_AXES: Final = ("x", "y", "z")
_GROUPED: Final = 10_000
_SMALLEST: Final = 0.001
_LONG: Final = 6
"""A longer list of numbers is shown by its length and range."""


@dataclass(frozen=True)
class Table:
    """A header and rows of text; `numeric` says which columns are right-aligned."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numeric: tuple[bool, ...]


@dataclass(frozen=True)
class Numbers:
    """A table as a file of comma-separated values holds it."""

    header: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]


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


def dashed(of: str) -> str:
    """Names of atoms or ions with dashes between them, as they are printed."""
    return of.replace("-", "\N{EN DASH}")


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
    """Coordinates with uncertainties, known coordinates and distances between both, in Å."""
    geometry = structure.geometry
    header = ["atom"] + ["charge"] * (geometry.charges is not None)
    header += [f"{axis} (Å)" for axis in _AXES]
    if structure.known is not None:
        header += ["known x, y, z (Å)", "distance (Å)"]
    body = []
    for index, name in enumerate(geometry.names):
        cells = [f"{name}{index + 1}"]
        if geometry.charges is not None:
            cells.append(f"{geometry.charges[index]}+")
        for axis in range(3):
            error = None if geometry.uncertainty is None else geometry.uncertainty[index, axis]
            cells.append(
                with_uncertainty(
                    BOHR_ANGSTROM * float(geometry.positions[index, axis]),
                    None if error is None else BOHR_ANGSTROM * error,
                )
            )
        if structure.known is not None:
            known = BOHR_ANGSTROM * structure.known[index]
            away = BOHR_ANGSTROM * geometry.positions[index] - known
            cells.append(", ".join(decimal(float(value), 3) for value in known))
            cells.append(f"{math.hypot(*(float(value) for value in away)):.3f}")
        body.append(tuple(cells))
    return Table(tuple(header), tuple(body), (False, *[True] * (len(header) - 1)))


def coordinate_numbers(structure: Structure) -> Numbers:
    """The numbers of `coordinate_table`."""
    geometry, known = structure.geometry, structure.known
    header = ["atom", *(f"{axis}_angstrom" for axis in _AXES)]
    header += [f"{axis}_half_width_angstrom" for axis in _AXES] * (geometry.uncertainty is not None)
    header += [f"known_{axis}_angstrom" for axis in _AXES] * (known is not None)
    parts = [geometry.positions, geometry.uncertainty, known]
    rows = [
        (
            f"{name}{index + 1}",
            *(
                float(BOHR_ANGSTROM * value)
                for part in parts
                if part is not None
                for value in part[index]
            ),
        )
        for index, name in enumerate(geometry.names)
    ]
    return Numbers(tuple(header), tuple(rows))


def alternatives_table(structure: Structure) -> Table | None:
    """Other structures that explain the momenta, in their order; None if there are none."""
    if not structure.alternatives:
        return None
    by_evidence = "evidence_share" in structure.alternatives[0]
    share = "evidence_share" if by_evidence else "share_of_samples"
    rows = tuple(
        (
            str(number),
            decimal(100 * float(solution.get(share) or 0.0), 0),
            small_percent(float(solution.get("residual") or 0.0)),
            decimal(BOHR_ANGSTROM * float(solution.get("distance_from_answer_bohr") or 0.0), 3),
            "; ".join(str(text) for text in solution.get("objections", ())) or "nothing",
        )
        for number, solution in enumerate(structure.alternatives, start=1)
    )
    of_what = "evidence (%)" if by_evidence else "samples (%)"
    header = ("", of_what, "closure (%)", "mean distance (Å)", "chemistry objects to")
    return Table(header, rows, (False, True, True, True, False))


def small_percent(share: float) -> str:
    """A share in per cent with two digits, without the sign; `< 0.001` where it is smaller.

    Example:
        >>> small_percent(0.00063), small_percent(8e-9)
        ('0.063', '< 0.001')
    """
    return f"< {_SMALLEST}" if 100 * share < _SMALLEST else f"{100 * share:.2g}"


def closure_rows(closure: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """How well the exploded structure gives the momenta, in words; what is unknown as it is."""
    left = dict(closure)
    rows = []

    def take(name: str) -> float | None:
        value = left.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        del left[name]
        return float(value)

    residual = take("residual")
    if residual is not None:
        left.pop("residual_meaning", None)
        rows.append(("momenta missed by (rms)", f"{small_percent(residual)} %"))
    for name, words in (
        ("model", "in the model"),
        ("tau_fs", "charges rise within (fs)"),
        ("refined", "refined on the momenta"),
    ):
        if name in left:
            rows.append((words, text_of(left.pop(name))))
    if "explains_momenta" in left:
        explains = left.pop("explains_momenta")
        rows.append(
            ("explains the momenta", "not judged" if explains is None else text_of(explains))
        )
    for name, words in (
        ("share_of_samples", "share of the samples that led here (%)"),
        ("evidence_share", "share of the evidence (%)"),
    ):
        if (share := take(name)) is not None:
            rows.append((words, f"{100 * share:.3g}"))
    samples = left.get("residuals_of_samples")
    if isinstance(samples, list | tuple) and samples and all(_is_number(one) for one in samples):
        del left["residuals_of_samples"]
        ends = " to ".join(small_percent(float(one)) for one in (min(samples), max(samples)))
        rows.append((f"{len(samples)} samples, as drawn, miss by (rms)", f"{ends} %"))
    if "chosen_sample" in left:
        chosen = left.pop("chosen_sample")
        rows.append(("began from", "the search" if chosen is None else f"sample {chosen}"))
    return (*rows, *plain_rows(left))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def length_value(row: LengthRow) -> str:
    """`0.969 ± 0.014`, or the intervals of a region of several."""
    if row.region:
        return row.region
    if row.error is None:
        return decimal(row.value, 3 if row.kind == "distance" else 1)
    return with_uncertainty(row.value, row.error)


def length_numbers(rows: Sequence[LengthRow]) -> Numbers:
    """Distances, angles and dihedrals as numbers."""
    header = ("kind", "of", "bonded", "value", "half_width_68", "unit", "known")
    body = tuple(
        (
            row.kind,
            row.of,
            "yes" if row.bonded else "no",
            row.value,
            row.error,
            "angstrom" if row.kind == "distance" else "degree",
            row.known,
        )
        for row in rows
    )
    return Numbers(header, body)


def centroid_numbers(rows: pd.DataFrame) -> Numbers:
    """The mean momenta as numbers."""
    plain = rows.astype(object).where(rows.notna(), None)
    return Numbers(
        tuple(str(name) for name in rows.columns),
        tuple(tuple(row) for row in plain.itertuples(index=False, name=None)),
    )


def compared_value(pair: tuple[float, float | None], unit: str) -> str:
    """A value with its error, or with three places (Å) or one (°) where there is none."""
    value, error = pair
    if error is None:
        return decimal(value, 3 if unit == "Å" else 1)
    return with_uncertainty(value, error)


def compared_table(comparison: Comparison) -> Table | None:
    """Distances, angles and dihedrals of two structures; None where one of them is missing.

    Of large molecules those along bonds; all of them are in `compared_numbers`.
    """
    if not comparison.lengths:
        return None
    bonded = [row for row in comparison.lengths if row.bonded]
    shown = bonded if bonded and len(comparison.lengths) > _MOST_COMPARED else comparison.lengths
    rows = tuple(
        (
            f"{row.of} ({row.unit})",
            compared_value(row.first, row.unit),
            compared_value(row.second, row.unit),
            compared_value(row.difference, row.unit),
            "" if row.pull is None else decimal(row.pull, 1),
        )
        for row in shown
    )
    header = ("", comparison.first, comparison.second, "difference", "pull")
    return Table(header, rows, (False, True, True, True, True))


def compared_numbers(comparison: Comparison) -> Numbers:
    """The numbers of `compared_table`."""
    header = ("of", "unit", "bonded", "first", "first_error", "second", "second_error")
    differences = ("difference", "difference_error", "pull")
    body = tuple(
        (
            row.of,
            "angstrom" if row.unit == "Å" else "degree",
            "yes" if row.bonded else "no",
            *row.first,
            *row.second,
            *row.difference,
            row.pull,
        )
        for row in comparison.lengths
    )
    return Numbers((*header, *differences), body)


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
                f"{dashed(one.of)} ({one.unit})",
                decimal(one.mean, places),
                decimal(one.statistical, places),
                "none" if one.systematic is None else decimal(one.systematic, places),
                decimal(one.deviation, places - 1),
                beside,
            )
        )
    first = ("between", "mean", "± statistical", "± systematic")
    return Table(
        (*first, "standard deviation", "from mean momenta"), tuple(rows), (False, *(True,) * 5)
    )


def events_numbers(events: SingleEvents) -> Numbers:
    """The numbers of `events_table`."""
    header = ("of", "unit", "mean", "statistical", "systematic", "standard_deviation")
    quantiles = ("quantile_16", "median", "quantile_84", "from_mean_momenta", "its_error")
    rows = tuple(
        (
            one.of,
            one.unit,
            one.mean,
            one.statistical,
            one.systematic,
            one.deviation,
            *one.quantiles,
            one.from_means,
            one.from_means_error,
        )
        for one in events.rows
    )
    return Numbers((*header, *quantiles), rows)


def region_text(parts: Any, factor: float) -> str:
    """The intervals of a region of several; empty if there is but one.

    Args:
        parts: pairs of limits, as recorded.
        factor: of the unit.
    """
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
            ("geometry_prior", "expected of the geometry"),
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
        sigma = worst.get("sigma")
        much = f" by {abs(sigma):.1f} sigma" if isinstance(sigma, int | float) else ""
        direction = worst.get("direction")
        along = ""
        if isinstance(direction, list | tuple) and all(_is_number(one) for one in direction):
            along = f", along ({', '.join(decimal(float(one), 2) for one in direction)})"
        rows.append(
            ("least explained", f"{worst.get('ion')} in {worst.get('channel')}{much}{along}")
        )
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
        # Four digits stand together, as in `3869 ± 62`.
        return f"{value:,}".replace(",", "\u202f") if abs(value) >= _GROUPED else str(value)
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
    when: str
    inputs: tuple[tuple[str, str], ...]
    settings: str


def step_record(record: Provenance) -> StepRecord:
    """A provenance record for the page; digests are shortened."""
    seed = "" if record.seed is None else f", seed {record.seed}"
    inputs = []
    for path, value in record.inputs.items():
        kind, _, digest = str(value).partition(":")
        inputs.append((str(path), f"{kind}:{digest[:_SHORT_DIGEST]}" if digest else str(value)))
    # Through JSON, so that only plain values are left; written as settings files are.
    plain = json.loads(json.dumps(record.settings, default=str))
    settings = yaml.safe_dump(
        plain, sort_keys=False, default_flow_style=None, allow_unicode=True, width=_WIDE
    ).strip()
    return StepRecord(
        command=record.command,
        made=f"molexa {record.version}, {record.created}{seed}",
        when=_day_and_time(record.created),
        inputs=tuple(inputs),
        settings="" if settings == "{}" else settings,
    )


def _day_and_time(created: str) -> str:
    """A time as people write it; as it is where it is not one."""
    try:
        return f"{datetime.fromisoformat(created):%d %B %Y, %H:%M %Z}".lstrip("0")
    except ValueError:
        return created


def _count(value: float) -> str:
    return "-" if not math.isfinite(value) else text_of(round(value))
