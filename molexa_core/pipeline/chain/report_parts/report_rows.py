"""The summaries of `reduce` and `align` as rows of the report.

The summaries are read from files, so every value may be missing or of another type.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from molexa_core.base.fields import WARNINGS
from molexa_core.base.tables import Coincidences
from molexa_core.observables.gating import recorded, sentence_of
from molexa_core.reduction.purity import purity_text
from molexa_core.report.text_tables import plain_rows, text_of, with_uncertainty

Rows = tuple[tuple[str, str], ...]
_NUMBERS: Final = {
    "shots": "shots",
    "hits": "hits",
    "hits_per_shot": "hits per shot",
    "crowded_shots": "shots left out (too many combinations)",
    "combinations": "candidates",
    "coincidences": "coincidences",
    "coincidences_per_shot": "coincidences per shot",
}
_SHOWN_ELSEWHERE: Final = {
    "channel", "ions", "dropped", "windows_ns", "ker", "remarks", WARNINGS
}  # fmt: skip


def reduction_rows(events: Coincidences) -> Rows:
    """Names and values from the summary of `reduce`; at least the number of coincidences."""
    summary = events.meta.get("summary")
    if not isinstance(summary, Mapping):
        return (("coincidences", text_of(len(events))),)
    rows = [(label, text_of(summary[name])) for name, label in _NUMBERS.items() if name in summary]
    known = {*_NUMBERS, *_SHOWN_ELSEWHERE}
    if isinstance(false := summary.get("false"), Mapping):
        rows += _false_rows(false)
    known.add("false")
    if (purity := _pair(summary.get("purity"), "purity", "purity_error")) is not None:
        name = "estimated purity (%)" if not false else "by gating alone: estimated purity (%)"
        rows.append((name, _purity(summary["purity"], *purity)))
        known.add("purity")
    if isinstance(sums := summary.get("momentum_sums"), Sequence):
        rows += [row for item in sums for row in _sum_rows(item)]
        known.add("momentum_sums")
    rows += plain_rows({name: value for name, value in summary.items() if name not in known})
    rows += gate_rows(events.meta, but=())
    remarks = summary.get("remarks")
    if isinstance(remarks, list | tuple):
        rows += [("remark", str(remark)) for remark in remarks]
    return tuple(rows)


def _false_rows(false: Mapping[str, Any]) -> Rows:
    """True and false coincidences from mixed shots."""
    rows = []
    for name, error, label, factor in (
        ("true", "true_error", "true coincidences", 1.0),
        ("per_shot", "per_shot_error", "true coincidences per shot", 1.0),
        ("purity", "purity_error", "purity (%)", 100.0),
        ("side_band", "side_band_error", "beside the gate: found over mixed", 1.0),
    ):
        if (pair := _pair(false, name, error)) is not None:
            rows.append((label, with_uncertainty(factor * pair[0], factor * pair[1])))
    if "gated" in false:
        rows.append(("coincidences by gating alone, each hit once", text_of(false["gated"])))
    efficiencies = false.get("efficiencies")
    rows += [
        (f"detection efficiency of {of.get('ion')}", with_uncertainty(*pair))
        for of in (efficiencies if isinstance(efficiencies, list | tuple) else ())
        if (pair := _pair(of, "efficiency", "error")) is not None
    ]
    return tuple(rows)


def cumulant_rows(values: Mapping[str, Any]) -> Rows:
    """The cumulants of a file of covariances, per shot."""
    found = values.get("cumulants")
    rows = []
    for one in found if isinstance(found, list) else ():
        if isinstance(one, Mapping) and (pair := _pair(one, "value", "error")) is not None:
            ions = one.get("ions")
            name = " ".join(map(str, ions)) if isinstance(ions, list) else "?"
            rows.append((f"true combinations {name} per shot", with_uncertainty(*pair)))
    return tuple(rows)


def gate_rows(meta: Mapping[str, Any], *, but: Sequence[str]) -> list[tuple[str, str]]:
    """The recorded gates in words, but those of some stages."""
    return [
        (f"gate of {row.get('stage')}", sentence_of(row).removeprefix("gate "))
        for row in recorded(meta)
        if row.get("stage") not in but
    ]


def _purity(values: Mapping[str, Any], purity: float, error: float) -> str:
    text = purity_text(values)
    return with_uncertainty(100 * purity, 100 * error) if "+-" in text else text


def _sum_rows(item: Any) -> Rows:
    if not isinstance(item, Mapping):
        return ()
    rows = []
    for name, error, label in (
        ("centre", "centre_error", "centre"),
        ("sigma", "sigma_error", "standard deviation"),
    ):
        if (pair := _pair(item, name, error)) is not None:
            axis = text_of(item.get("axis"))
            text = with_uncertainty(*pair)
            rows.append((f"momentum sum along {axis}, {label} (a.u.)", text))
    return tuple(rows)


def _pair(values: Any, name: str, error: str) -> tuple[float, float] | None:
    """A number and its error, if both are recorded."""
    if not isinstance(values, Mapping):
        return None
    one, two = values.get(name), values.get(error)
    if isinstance(one, int | float) and isinstance(two, int | float):
        return float(one), float(two)
    return None


def alignment_rows(aligned: Coincidences) -> Rows:
    """Names and values from the summary of `align`; at least the number of rows."""
    summary, frame = aligned.meta.get("align"), aligned.meta.get("frame")
    if not isinstance(summary, Mapping) or not isinstance(frame, Mapping):
        return (("rows", text_of(len(aligned))),)
    rows: list[tuple[str, str]] = [("x axis", text_of(frame.get("reference")))]
    if len(aligned.ions) > 2:
        second = summary.get("second") or frame.get("second") or "the ion most orthogonal to x"
        rows.append((f"in the {'-'.join(str(frame.get('plane')))} plane", text_of(second)))
    shown = {
        "events": "events",
        "aligned": "aligned",
        "assignments_per_event": "assignments per event",
        "median_angle_deg": "median angle between both (degrees)",
        "discarded_perpendicular_rms": "perpendicular momentum left out, rms (a.u.)",
        "rule": "like ions",
    }
    rows += [
        (label, text_of(summary[name]))
        for name, label in shown.items()
        if summary.get(name) is not None
    ]
    rows.append(("recoil", "removed" if summary.get("recoil") == "remove" else "kept"))
    rows += gate_rows(aligned.meta, but=("reduce",))
    if isinstance(flagged := summary.get("flagged"), Mapping):
        rows.append(("without a frame", text_of(sum(int(count) for count in flagged.values()))))
    return tuple(rows)
