"""A setup file with the fields of the spectrometer as given, and what the run itself shows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from molexa_core.base.errors import ColumnError, InputFileError, listing
from molexa_core.base.options.apparatus import Apparatus
from molexa_core.base.settings import Setup, parse_settings
from molexa_core.base.settings.commented import commented
from molexa_core.base.tables import FloatArray, Hits
from molexa_core.io.electrons import electron_names
from molexa_core.io.stored_run import StoredRun
from molexa_core.pipeline.runs.open_run import open_stored
from molexa_core.pipeline.starting.new_file import require_new, write_new

SETUP_FILE: Final = "setup.yaml"
_SHOTS: Final = 50_000
"""Shots from the beginning of a run that are looked at."""
_ALL: Final = 0.999
"""Share of the hits inside the radius that is written down; the rest may be noise."""
_SMALLEST_MM: Final = 0.5
_LARGEST_MM: Final = 1000.0
"""Between these lies the largest distance of a hit from the centre, if it is in mm."""
_EARLIEST_NS: Final = 50.0
_LATEST_NS: Final = 200_000.0
"""Between these lies the last time of flight of a run, if it is in ns."""
_REPEATED: Final = 0.05
"""Share of the hits with one time and place from which these are taken for empty places."""
_OPTIONAL: Final = ("anode", "columns", "edge_columns", "facility", "virtual", "explosion")


@dataclass
class _Seen:
    """What the beginning of a run shows.

    Attributes:
        values: keys of the setup that it determines.
        notes: comments by the path of a key.
        said: comments at the top.
        filler: a time that stands in places without a hit.
    """

    values: dict[str, Any] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)
    filler: float | None = None


def new_setup(
    run: Sequence[Path | str] = (),
    told: Apparatus | None = None,
    *,
    out: Path | str = SETUP_FILE,
) -> tuple[Path, list[str]]:
    """Write a commented setup file.

    Args:
        run: files of a run; their layout, detector image and tags are looked at.
        told: what the user tells of the apparatus.
        out: the file.

    Returns:
        The path written, and remarks on what is still to be done.

    Raises:
        InputFileError, ColumnError: the run cannot be read.
        SettingsError: values that cannot be.
        OutputError: the file exists, or cannot be written.
    """
    path = require_new(out)
    told = told or Apparatus()
    block = told.columns()
    seen = _seen(run, block) if run else _Seen()
    if block is not None and "empty" not in block and seen.filler is not None:
        block["empty"] = seen.filler
        seen = _seen(run, block)
        seen.said.append(f"Places with the time {block['empty']:g} hold no hit.")
    values = _values(told, seen, block)
    checked = values if told.fields else {**values, "spectrometer": {"regions": [_ANY]}}
    parse_settings(Setup, checked, where=path)
    text = commented(
        Setup,
        values,
        head="\n".join([_HEAD, *seen.said]),
        without=_OPTIONAL,
        notes=seen.notes,
    )
    remarks = list(seen.said)
    if not told.fields:
        remarks.append(
            "the regions of the spectrometer are not known: replace the question marks by length "
            "and field of each region, or give `regions=`"
        )
    if told.jet_m_per_s is None:
        remarks.append("the velocity of the jet is a usual one: change jet -> velocity_m_per_s")
    return write_new(path, text + _TAIL), remarks


def _values(told: Apparatus, seen: _Seen, block: Mapping[str, Any] | None) -> dict[str, Any]:
    """The keys of the setup that are given; regions that are not told are question marks."""
    regions = [dict(zip(_ANY, region, strict=True)) for region in told.fields]
    detector = dict(seen.values.get("detector", {}))
    if told.radius_mm is not None:
        detector["radius_mm"] = told.radius_mm
    values: dict[str, Any] = {
        "name": "my apparatus",
        "spectrometer": {"regions": regions or [dict.fromkeys(_ANY, "?")]},
        "detector": detector,
        "calibration": {"time_zero_ns": 0.0, "centre_x_mm": 0.0, "centre_y_mm": 0.0},
        "jet": {} if told.jet_m_per_s is None else {"velocity_m_per_s": told.jet_m_per_s},
    }
    return values if block is None else {**values, "columns": dict(block)}


_ANY: Final = {"length_mm": 1.0, "field_v_per_cm": 1.0}
"""A region that stands for one that is not known where a setup is only read or checked."""
_SPARE: Final = 8
"""Number of columns that are named where a run has more than are read."""
_HEAD: Final = (
    "Setup of molexa: the apparatus. z points along the extraction field to the ion detector, x "
    "along the light, y along the jet.\n"
    "Keys with a # in front have the value shown as long as the # stands there."
)
_TAIL: Final = """# What exploded the molecules, for reconstructions; one kind alone:
# explosion:
#   laser: {duration_fs: 30 +- 5}
#   xray: {photon_ev: 1500, energy_mj: 0.8 +- 0.2, duration_fs: 25 +- 5, focus_um: 1.5 +- 0.3}
#   unknown parts are left out; molexa calibrate explosion determines them from known molecules
"""


def _seen(files: Sequence[Path | str], block: Mapping[str, Any] | None) -> _Seen:
    """What the beginning of a run shows, with the columns named in a block, if there is one."""
    setup = None
    if block is not None:
        told = {
            "spectrometer": {"regions": [_ANY]},
            "columns": dict(block),
        }
        setup = parse_settings(Setup, told, where="columns")
    try:
        run = open_stored(files, setup)
    except ColumnError as error:
        raise ColumnError(
            error.what,
            where=error.where,
            do="Name the columns: `x=`, `y=`, `time=`, with {i} where the number of a slot stands, "
            "and `shot=` where a row is a hit.",
        ) from error
    seen = _Seen(said=[f"Run: {listing([path.name for path in run.paths])}; {run.choice}."])
    if run.edges:
        seen.said.append(
            "It holds edges of the signals: molexa calibrate detector makes `anode` from it."
        )
        return seen
    chunks, shots = [], 0
    for chunk in run.hits():
        chunks.append(chunk)
        shots += chunk.n_shots
        if shots >= _SHOTS:
            break
    if not chunks:
        raise InputFileError("there are no shots in the run", where=run.paths[0])
    _look(Hits.concatenate(chunks), run, seen)
    return seen


def _look(hits: Hits, run: StoredRun, seen: _Seen) -> None:
    good = np.isfinite(hits.x_mm) & np.isfinite(hits.y_mm) & np.isfinite(hits.t_ns)
    x, y, t = hits.x_mm[good], hits.y_mm[good], hits.t_ns[good]
    if not len(t):
        raise InputFileError("there are no hits in the run", where=run.paths[0])
    seen.filler = _filler(x, y, t)
    if seen.filler is not None:
        seen.said.append(
            f"Many hits have the time {seen.filler:g} at one place: if it stands for no hit, name "
            f"the columns and `empty={seen.filler:g}`."
        )
    reach = float(np.quantile(np.hypot(x, y), _ALL))
    most = int(hits.counts.max())
    seen.values["detector"] = {
        "radius_mm": float(math.ceil(reach)) if reach >= 1.0 else float(f"{reach:.2g}"),
        "slots": max(1, most),
    }
    seen.notes["detector.radius_mm"] = f"{100 * _ALL:g} % of the hits lie within {reach:.1f} mm"
    seen.notes["detector.slots"] = f"The fullest of {hits.n_shots} shots has {most} hits"
    seen.notes["calibration.centre_x_mm"] = f"The mean position of all hits is {x.mean():.2f} mm"
    seen.notes["calibration.centre_y_mm"] = f"The mean position of all hits is {y.mean():.2f} mm"
    first, last = (float(value) for value in np.quantile(t, [0.001, 0.999]))
    seen.notes["calibration.time_zero_ns"] = (
        f"Nearly all hits come between {first:.0f} and {last:.0f} ns; molexa calibrate "
        "spectrometer finds the time zero from known peaks"
    )
    seen.said += _odd_units(reach, last)
    if hits.tags:
        seen.said.append(f"Values per shot that travel with the events: {listing(hits.tags)}.")
    unread = run.unread()
    if spare := [name for name in unread if name not in electron_names(unread)]:
        seen.said.append(
            f"Columns that are not read: {listing(spare, limit=_SPARE)}; one with a value per "
            "shot, such as a delay, travels with the events as one of `tags=`."
        )


def _odd_units(reach_mm: float, last_ns: float) -> list[str]:
    """What to write into the setup where positions or times cannot be in mm and ns."""
    found = (
        ("x_unit_mm", "positions", reach_mm, "mm", _LARGEST_MM, "µm", 0.001),
        ("x_unit_mm", "positions", _SMALLEST_MM, "mm", reach_mm, "m", 1000.0),
        ("time_unit_ns", "times", last_ns, "ns", _LATEST_NS, "ps", 0.001),
        ("time_unit_ns", "times", _EARLIEST_NS, "ns", last_ns, "µs", 1000.0),
    )
    values = {"positions": reach_mm, "times": last_ns}
    return [
        f"The {what} reach {values[what]:.3g} {unit}, which is hardly possible: if the file has "
        f"them in {other}, give `{key}={size:g}` with the names of the columns, or write "
        f"`{key}: {size:g}` into `columns`."
        for key, what, more, unit, less, other, size in found
        if more > less
    ]


def _filler(x: FloatArray, y: FloatArray, t: FloatArray) -> float | None:
    """A time that many hits share to the last digit, at one place: what stands for no hit."""
    times, counts = np.unique(t, return_counts=True)
    most = int(counts.argmax())
    at = t == times[most]
    one_place = np.ptp(x[at]) == 0.0 and np.ptp(y[at]) == 0.0
    return float(times[most]) if counts[most] > _REPEATED * len(t) and one_place else None
