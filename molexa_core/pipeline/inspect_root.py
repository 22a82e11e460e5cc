"""Inspect, ROOT files: runs with their spectra, and results that hold only histograms."""

from __future__ import annotations

from typing import Final

import numpy as np

from molexa_core.base.errors import InputFileError
from molexa_core.base.fields import SPECTRUM_IMAGE, SPECTRUM_TOF
from molexa_core.base.progress import Progress
from molexa_core.base.spectra import Spectrum
from molexa_core.base.tables import Hits
from molexa_core.io.recognise import describe_result, read_all_histograms
from molexa_core.io.root_run import RootRun, open_root_run
from molexa_core.pipeline.inspection import Inspection

SAMPLE_SHOTS: Final = 200_000
"""Shots of a run that are read where it is not verified."""
_TIME_BINS: Final = 200
_IMAGE_BINS: Final = 64
_OUTSIDE: Final = 0.002


class _Spectra:
    """Hits of a run, chunk by chunk; the first chunk with hits sets the ranges."""

    def __init__(self) -> None:
        self.shots = self.hits = self.most = self.unusable = 0
        self.tof: Spectrum | None = None
        self.image: Spectrum | None = None

    def add(self, hits: Hits) -> None:
        """Count hits in."""
        self.shots += hits.n_shots
        self.hits += hits.n_hits
        self.most = max(self.most, int(np.diff(hits.offsets).max(initial=0)))
        good = np.isfinite(hits.x_mm) & np.isfinite(hits.y_mm) & np.isfinite(hits.t_ns)
        self.unusable += int((~good).sum())
        x, y, t = hits.x_mm[good], hits.y_mm[good], hits.t_ns[good]
        if not len(t):
            return
        if self.tof is None or self.image is None:
            low, high = np.quantile(t, [0, 1 - _OUTSIDE])
            edge = float(np.quantile(np.maximum(np.abs(x), np.abs(y)), 1 - _OUTSIDE)) or 1.0
            times = np.linspace(
                min(low, 0.0), high if high > min(low, 0.0) else 1.0, _TIME_BINS + 1
            )
            sides = np.linspace(-edge, edge, _IMAGE_BINS + 1)
            self.tof = Spectrum(
                np.zeros(_TIME_BINS, np.int64), (times,), ("time of flight",), ("ns",)
            )
            self.image = Spectrum(
                np.zeros((_IMAGE_BINS, _IMAGE_BINS), np.int64),
                (sides, sides),
                ("x", "y"),
                ("mm", "mm"),
            )
        np.add(self.tof.counts, np.histogram(t, self.tof.edges[0])[0], out=self.tof.counts)
        filled = np.histogram2d(x, y, self.image.edges)[0].astype(np.int64)
        np.add(self.image.counts, filled, out=self.image.counts)


def inspect_run(found: Inspection, *, verify: bool, progress: Progress) -> None:
    """Fill in what a ROOT run holds.

    Raises:
        InputFileError: it cannot be opened as a run.
    """
    run = open_root_run(found.path)
    spectra = _Spectra()
    with progress.task(f"reading {found.path.name}", run.n_shots, "shots") as task:
        try:
            for hits in run:
                spectra.add(hits)
                task.advance(hits.n_shots)
                if not verify and spectra.shots >= SAMPLE_SHOTS:
                    break
        except InputFileError as error:
            if not verify:
                raise
            found.faults.append(f"shot {spectra.shots} or later: {error.what}")
    found.rows += [
        ("layout", run.layout, ""),
        ("shots", run.n_shots, ""),
        ("shots read", spectra.shots, ""),
        ("hits read", spectra.hits, ""),
    ]
    if spectra.shots:
        found.rows += [
            ("hits per shot", spectra.hits / spectra.shots, ""),
            ("most hits in a shot", spectra.most, ""),
        ]
    if spectra.unusable:
        found.rows.append(("hits that are not numbers", spectra.unusable, ""))
        if verify:
            found.faults.append(f"{spectra.unusable} hits have values that are not numbers")
    _add_stored(found, run)
    for name, spectrum in ((SPECTRUM_TOF, spectra.tof), (SPECTRUM_IMAGE, spectra.image)):
        if spectrum is not None:
            found.spectra[name] = spectrum


def _add_stored(found: Inspection, run: RootRun) -> None:
    """The setup and channel that a virtual run carries."""
    stored = run.metadata()
    found.details = {"stored": stored}
    found.rows.append(("virtual run of molexa", "yes" if "setup" in stored else "no", ""))
    channel = stored.get("channel")
    if isinstance(channel, dict):
        found.rows.append(("channel", str(channel.get("name", "not named")), ""))
    setup = stored.get("setup")
    if isinstance(setup, dict):
        found.rows.append(("setup, blocks", " ".join(sorted(setup)), ""))


def inspect_result(found: Inspection, *, verify: bool) -> None:
    """Fill in what a ROOT file of histograms holds.

    Raises:
        InputFileError: the file is damaged.
    """
    described = describe_result(found.path)
    text = described.pop("configuration")
    found.details = described
    found.rows += [
        ("histograms", described["histograms"], ""),
        ("in one dimension", described["one_dimension"], ""),
        ("in two dimensions", described["two_dimensions"], ""),
        ("folders", " ".join(described["folders"]), ""),
        ("configuration of LMF2Root", "none" if text is None else len(text), "characters"),
    ]
    if text is not None:
        found.texts["config_info"] = text
    if verify:
        found.faults = read_all_histograms(found.path)
