"""Inspect runs of any format: layout, hits per shot, values per shot, spectra, faults."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from molexa_core.base.errors import InputFileError, SettingsError
from molexa_core.base.fields import SPECTRUM_IMAGE, SPECTRUM_TOF, TAG_TIMESTAMP
from molexa_core.base.progress import Progress
from molexa_core.base.settings import Setup, parse_settings
from molexa_core.base.settings.setup import Detector
from molexa_core.base.spectrum import Spectrum
from molexa_core.base.tables import Edges, FloatArray, Hits
from molexa_core.detector.health import HitHealth
from molexa_core.io.electrons import electron_remark
from molexa_core.io.stored_run import StoredRun
from molexa_core.pipeline.runs.inspection import Inspection
from molexa_core.pipeline.runs.open_run import sorted_hits

SAMPLE_SHOTS: Final = 200_000
"""Number of shots that are read if a run is not verified."""
_TIME_BINS: Final = 200
_IMAGE_BINS: Final = 64
_OUTSIDE: Final = 0.002
_FEWEST_HITS: Final = 100
_IMAGE_MM: Final = (1.0, 2000.0)
_TIME_NS: Final = (20.0, 1e7)
"""Plausible widths of the image and longest times of flight."""
_MOST_NOTES: Final = 1000


class HitCensus:
    """Counts of the hits of a run; the first chunk with hits sets the ranges of the spectra.

    Args:
        detector: the detector of the setup, if known.
    """

    def __init__(self, detector: Detector | None = None) -> None:
        self.health = HitHealth(detector)
        self.shots = self.hits = self.most = self.unusable = self.last = 0
        self.tof: Spectrum | None = None
        self.image: Spectrum | None = None
        self.methods: dict[int, int] = {}
        self.per_channel: dict[int, int] = {}
        self.tags: dict[str, tuple[float, float, int]] = {}
        self.notes: list[str] = []
        self._stamp = -np.inf

    def add(self, chunk: Hits | Edges) -> None:
        """Add a chunk of hits or edges."""
        self.shots += chunk.n_shots
        self.last = chunk.first_shot + chunk.n_shots
        self.hits += len(chunk.t_ns)
        self.most = max(self.most, int(chunk.counts.max(initial=0)))
        self._add_tags(chunk)
        if isinstance(chunk, Edges):
            for channel, count in zip(*np.unique(chunk.channel, return_counts=True), strict=True):
                before = self.per_channel.get(int(channel), 0)
                self.per_channel[int(channel)] = before + int(count)
            good = np.isfinite(chunk.t_ns)
            self._note_bad(chunk, good)
            self._fill_times(chunk.t_ns[good])
            return
        self.health.add(chunk)
        good = np.isfinite(chunk.x_mm) & np.isfinite(chunk.y_mm) & np.isfinite(chunk.t_ns)
        self._note_bad(chunk, good)
        for method, count in zip(*np.unique(chunk.method, return_counts=True), strict=True):
            self.methods[int(method)] = self.methods.get(int(method), 0) + int(count)
        self._fill_times(chunk.t_ns[good])
        self._fill_image(chunk.x_mm[good], chunk.y_mm[good])

    def _note_bad(self, chunk: Hits | Edges, good: Any) -> None:
        bad = np.flatnonzero(~good)
        self.unusable += len(bad)
        for shot in np.unique(chunk.shot[bad])[: max(0, _MOST_NOTES - len(self.notes))]:
            self.notes.append(f"shot {shot}: a hit has values that are not numbers")

    def _add_tags(self, chunk: Hits | Edges) -> None:
        for name, column in chunk.tags.items():
            values = np.asarray(column, np.float64)
            known = values[np.isfinite(values)]
            low, high, n = self.tags.get(name, (np.inf, -np.inf, 0))
            if len(known):
                low, high = min(low, float(known.min())), max(high, float(known.max()))
            self.tags[name] = low, high, n + len(known)
        if TAG_TIMESTAMP in chunk.tags and chunk.n_shots:
            stamps = np.concatenate([[self._stamp], chunk.tags[TAG_TIMESTAMP]])
            for row in np.flatnonzero(np.diff(stamps) < 0):
                if len(self.notes) < _MOST_NOTES:
                    back = stamps[row] - stamps[row + 1]
                    shot = chunk.first_shot + row
                    self.notes.append(f"shot {shot}: the time stamp jumps back by {back:.6g} s")
            self._stamp = float(stamps[-1])

    def _fill_times(self, t: FloatArray) -> None:
        if not len(t):
            return
        if self.tof is None:
            low, high = np.quantile(t, [0, 1 - _OUTSIDE])
            low = min(low, 0.0)
            edges = np.linspace(low, high if high > low else low + 1.0, _TIME_BINS + 1)
            empty = np.zeros(_TIME_BINS, np.int64)
            self.tof = Spectrum(empty, (edges,), ("time of flight",), ("ns",))
        np.add(self.tof.counts, np.histogram(t, self.tof.edges[0])[0], out=self.tof.counts)

    def _fill_image(self, x: FloatArray, y: FloatArray) -> None:
        if not len(x):
            return
        if self.image is None:
            sides = tuple(_sides(values) for values in (x, y))
            widest = max(high - low for low, high in sides)
            edges = tuple(
                np.linspace(0.5 * (low + high - widest), 0.5 * (low + high + widest),
                            _IMAGE_BINS + 1)
                for low, high in sides
            )  # fmt: skip
            empty = np.zeros((_IMAGE_BINS, _IMAGE_BINS), np.int64)
            self.image = Spectrum(empty, edges, ("x", "y"), ("mm", "mm"))
        filled = np.histogram2d(x, y, self.image.edges)[0].astype(np.int64)
        np.add(self.image.counts, filled, out=self.image.counts)


def _sides(values: FloatArray) -> tuple[float, float]:
    """Limits that contain nearly all values; symmetric about 0 if that lies between them."""
    low, high = (float(side) for side in np.quantile(values, [_OUTSIDE, 1 - _OUTSIDE]))
    if low < 0 < high:
        largest = max(-low, high)
        return -largest, largest
    return (low, high) if high > low else (low - 1.0, low + 1.0)


def inspect_run(
    found: Inspection, run: StoredRun, setup: Setup | None, *, verify: bool, progress: Progress
) -> None:
    """Add the contents of a run to an inspection.

    Raises:
        InputFileError: it cannot be read.
    """
    run.with_method = True
    known = setup or setup_of(run.metadata())
    census = HitCensus(None if known is None else known.detector)
    _read(found, run, census, verify=verify, progress=progress)
    found.rows += [("layout", run.layout, ""), ("read as", run.choice, "")]
    found.rows += run.facts()
    what = "edges" if run.edges else "hits"
    if run.n_shots is not None:
        found.rows.append(("shots", run.n_shots, ""))
    found.rows += [("shots read", census.shots, ""), (f"{what} read", census.hits, "")]
    if census.shots:
        found.rows += [
            (f"{what} per shot", census.hits / census.shots, ""),
            (f"most {what} in a shot", census.most, ""),
        ]
    found.rows += _rate_rows(census)
    if census.unusable:
        found.rows.append((f"{what} that are not numbers", census.unusable, ""))
    if verify:
        found.faults += census.notes
    _add_tables(found, census)
    found.remarks += run.remarks
    if (electrons := electron_remark(run.unread())) is not None:
        found.remarks.append(electrons)
    found.warnings += run.warnings
    stored = run.metadata()
    _add_stored(found, stored)
    _add_health(found, census)
    found.warnings += _unit_doubts(census)
    if census.tof is not None:
        found.spectra["time, all channels" if run.edges else SPECTRUM_TOF] = census.tof
    if census.image is not None:
        found.spectra[SPECTRUM_IMAGE] = census.image
    if run.edges:
        add_sorted(found, run, known)


def _unit_doubts(census: HitCensus) -> list[str]:
    """Warnings on images and times that are impossible for any detector, such as wrong units."""
    found = []
    if census.image is not None and census.hits >= _FEWEST_HITS:
        wide = float(census.image.edges[0][-1] - census.image.edges[0][0])
        if not _IMAGE_MM[0] <= wide <= _IMAGE_MM[1]:
            found.append(f"the image is {wide:.3g} mm wide: are the positions in mm?")
        if census.tof is not None and not _TIME_NS[0] <= census.tof.edges[0][-1] <= _TIME_NS[1]:
            last = float(census.tof.edges[0][-1])
            found.append(f"the last hits come after {last:.3g} ns: are the times in ns?")
    return found


def _add_health(found: Inspection, census: HitCensus) -> None:
    """Add warnings on irregularities of the hits."""
    found.rows += census.health.rows()
    found.warnings += census.health.warnings()
    found.remarks += census.health.remarks()
    if census.health.hits:
        found.details["health"] = census.health.as_dict()


def _read(
    found: Inspection, run: StoredRun, census: HitCensus, *, verify: bool, progress: Progress
) -> None:
    """Read and count the hits; if the run is verified, errors are recorded as faults."""
    with progress.task(f"reading {found.path.name}", run.n_shots, "shots") as task:
        try:
            for chunk in run:
                census.add(chunk)
                task.advance(chunk.n_shots)
                if not verify and census.shots >= SAMPLE_SHOTS:
                    break
        except InputFileError as error:
            if run.n_shots == 0:  # all shots are excluded, which is not a fault of the file
                found.warnings.append(" ".join(filter(None, (f"{error.what}.", error.do))))
            elif not verify:
                raise
            else:
                found.faults.append(f"shot {census.last} or later: {error.what}")


def setup_of(stored: dict[str, Any]) -> Setup | None:
    """The setup in the metadata of a virtual run, if it is valid in this version."""
    values = stored.get("setup")
    if not isinstance(values, dict):
        return None
    try:
        return parse_settings(Setup, values, where="metadata")
    except SettingsError:
        return None


def add_sorted(found: Inspection, run: StoredRun, setup: Setup | None) -> None:
    """Add time of flight and image of the hits sorted from the first edges, with a known anode."""
    if setup is None or setup.anode is None:
        found.remarks.append(
            "no detector image: the run holds edges, and no anode is known (give `setup=`)"
        )
        return
    census = HitCensus(setup.detector)
    for hits in sorted_hits(run, setup.anode):
        census.add(hits)
        if census.shots >= SAMPLE_SHOTS:
            break
    found.rows += [
        ("hits sorted from the first shots", census.hits, ""),
        ("hits per shot, sorted", census.hits / max(1, census.shots), ""),
    ]
    _add_health(found, census)
    found.tables |= _method_table(census)
    for name, spectrum in ((SPECTRUM_TOF, census.tof), (SPECTRUM_IMAGE, census.image)):
        if spectrum is not None:
            found.spectra[name] = spectrum


def _rate_rows(census: HitCensus) -> list[tuple[str, str | int | float, str]]:
    low, high, n = census.tags.get(TAG_TIMESTAMP, (0.0, 0.0, 0))
    if n < 2 or high <= low:
        return []
    return [
        ("time from first to last shot read", high - low, "s"),
        ("rate of shots", (n - 1) / (high - low), "1/s"),
    ]


def _add_tables(found: Inspection, census: HitCensus) -> None:
    if census.per_channel:
        found.tables["channels"] = (
            ["channel", "edges", "edges per shot"],
            [[c, n, round(n / census.shots, 6)] for c, n in sorted(census.per_channel.items())],
        )
    varied = {name: limits for name, limits in census.tags.items() if limits[2]}
    if varied:
        found.tables["values per shot"] = (
            ["name", "lowest", "highest", "shots with a value"],
            [
                [name, _short(low), _short(high), n]
                for name, (low, high, n) in sorted(varied.items())
            ],
        )
    found.tables |= _method_table(census)


def _short(value: float) -> float | int:
    """A value rounded for printing; integers (trains, pulses) keep all digits."""
    return int(value) if value.is_integer() and abs(value) < 2**53 else value


def _method_table(census: HitCensus) -> dict[str, tuple[list[str], list[list[Any]]]]:
    if set(census.methods) <= {0}:
        return {}
    hits = max(1, sum(census.methods.values()))
    rows = [[m, n, round(n / hits, 6)] for m, n in sorted(census.methods.items())]
    return {"resort methods (0: all signals)": (["method", "hits", "share"], rows)}


def _add_stored(found: Inspection, stored: dict[str, Any]) -> None:
    """Add the setup and the channel in the metadata of a virtual run."""
    found.details = {"stored": stored}
    found.rows.append(("virtual run of molexa", "yes" if "setup" in stored else "no", ""))
    channel = stored.get("channel")
    if isinstance(channel, dict):
        found.rows.append(("channel", str(channel.get("name", "not named")), ""))
    setup = stored.get("setup")
    if isinstance(setup, dict):
        found.rows.append(("setup, blocks", " ".join(sorted(setup)), ""))
