"""Calibration of a delay-line anode from the signals of a run alone, without a mask."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from molexa_core.base.errors import ComputationError, InputFileError
from molexa_core.base.intervals import plus_minus
from molexa_core.base.progress import SILENT, Progress
from molexa_core.base.settings.anode import LAYERS, SIGNALS, Anode, Layer
from molexa_core.base.spectrum import Spectrum
from molexa_core.base.tables import Edges, FloatArray, IntArray
from molexa_core.detector.anode_arrays import position, time_sum
from molexa_core.detector.clean import clean_hits, count_sums
from molexa_core.detector.hexanode_layers import LayerFit, fit_layers
from molexa_core.detector.sorter import MOST_CHANNELS
from molexa_core.detector.time_sums import (
    BIN_NS,
    HIGH_NS,
    LOW_NS,
    ROBUST,
    SumTable,
    peak_of,
    sum_table,
)

MOST_HITS: Final = 1_000_000
"""Most clean hits used; more would cost memory without improving the calibration."""
_SEARCH_STARTS: Final = 50_000
"""Number of MCP edges from which the time sums are found."""
_WIDTH_NS: Final = 6.0
"""Accepted deviation of the time sums of clean hits."""
_HALF_WIDTH_SIGMAS: Final = 5.0
_SMALLEST_HALF_WIDTH_NS: Final = 0.5
_SMALLEST_CONSISTENCY_MM: Final = 0.5
_ROUNDS: Final = 2
_BINS: Final = 60


@dataclass(frozen=True)
class Finding:
    """One number of the calibration, before and after.

    Attributes:
        name: name of the quantity, such as `time sum u`.
        before: value in the settings.
        after: value from the data.
        error: its standard error.
        unit: its unit.
    """

    name: str
    before: float
    after: float
    error: float
    unit: str


@dataclass(frozen=True)
class DetectorCalibration:
    """Result of `calibrate`.

    Attributes:
        anode: the settings with all calibrated values.
        findings: numbers with their errors.
        quality: before and after, of what a calibration should make small: time sums and, for a
            hexanode, u - v - w; standard deviations, with the unit.
        table_errors: largest standard error of each correction table, by name.
        hits: clean hits used; shots: shots read.
        spectra: histograms before and after, by name.
        curves: corrections over the position, by name.
        remarks: remarks for the user.
    """

    anode: Anode
    findings: tuple[Finding, ...]
    quality: dict[str, tuple[float, float, str]]
    table_errors: dict[str, float]
    hits: int
    shots: int
    spectra: dict[str, Spectrum]
    curves: dict[str, tuple[FloatArray, FloatArray, FloatArray]]
    remarks: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "hits": self.hits,
            "shots": self.shots,
            "findings": {
                item.name: {
                    "before": item.before,
                    "after": item.after,
                    "error": item.error,
                    "unit": item.unit,
                }
                for item in self.findings
            },
            "quality": {
                name: {"before": before, "after": after, "unit": unit}
                for name, (before, after, unit) in self.quality.items()
            },
            "table_errors": self.table_errors,
            "anode": self.anode.model_dump(mode="json"),
            "remarks": list(self.remarks),
        }

    def rows(self) -> list[tuple[str, str, str, str]]:
        """Quantity, before, after with its error, unit, for a table."""
        rows = [
            (item.name, f"{item.before:.5g}", plus_minus(item.after, item.error, 5), item.unit)
            for item in self.findings
        ]
        rows += [
            (f"spread of {name}", f"{before:.3f}", f"{after:.3f}", unit)
            for name, (before, after, unit) in self.quality.items()
        ]
        return rows


@dataclass
class _Clean:
    """Clean hits gathered from chunks."""

    total: list[FloatArray] = field(default_factory=list)
    difference: list[FloatArray] = field(default_factory=list)
    hits: int = 0
    shots: int = 0


def calibrate(
    run: Callable[[], Iterable[Edges]],
    anode: Anode,
    *,
    most_hits: int = MOST_HITS,
    n_shots: int | None = None,
    progress: Progress = SILENT,
) -> DetectorCalibration:
    """Calibrate time sums, their widths and walk; for a hexanode also the layers.

    The settings must contain the channels, the kind, and roughly correct scales and run times. For
    a hexanode relative scales, the offset of w and position corrections are found; the scale of u
    is kept, because the signals determine only relative scales.

    Args:
        run: returns the chunks of the run, from the beginning, at every call.
        anode: the present settings.
        most_hits: largest number of clean hits to use.
        n_shots: shots in the run, for the progress.
        progress: receives the progress.

    Raises:
        InputFileError: the run has no signals on a channel.
        ComputationError: there is no peak in the time sums, or too few clean hits.
    """
    sums = _search(run(), anode)
    clean = _gather(run(), anode, sums, most_hits, n_shots, progress)
    total = np.concatenate(clean.total)
    difference = np.concatenate(clean.difference)
    if not len(total):
        raise ComputationError(
            "no hit has all its signals and no other near it",
            do="Calibrate with a run of fewer hits per shot.",
        )
    calibrated = anode
    tables: list[SumTable] = []
    fit: LayerFit | None = None
    for _ in range(_ROUNDS):
        tables = [
            sum_table(
                total[:, k], _plain(calibrated, layer, difference[:, k]), _reach(calibrated, layer)
            )
            for k, layer in enumerate(calibrated.layers)
        ]
        if calibrated.kind == "hexanode":
            fit = _fit(calibrated, tables, total, difference)
        calibrated = _settings(calibrated, tables, fit, difference)
    return _result(anode, calibrated, tables, fit, total, difference, clean.shots)


def _search(chunks: Iterable[Edges], anode: Anode) -> list[float]:
    counts = np.zeros((len(anode.layers), round((HIGH_NS - LOW_NS) / BIN_NS)), np.int64)
    longest = np.array([1.1 * layer.run_time_ns for layer in anode.layers])
    starts = 0
    seen = np.zeros(MOST_CHANNELS, np.int64)
    signal = _signals(anode)
    for edges in chunks:
        seen += np.bincount(edges.channel, minlength=MOST_CHANNELS)[:MOST_CHANNELS]
        starts += count_sums(
            signal, edges.offsets, edges.channel, edges.t_ns, longest, LOW_NS, BIN_NS, counts
        )
        if starts >= _SEARCH_STARTS:
            break
    for name, channel in zip(SIGNALS, anode.signal_channels, strict=True):
        if channel >= 0 and not seen[channel]:
            used = np.flatnonzero(seen).tolist()
            raise InputFileError(
                f"channel {channel} ({name}) has no signals; channels with signals are {used}",
                where="anode -> channels",
                do="Check the cabling in the setup; channels count from 0.",
            )
    return [peak_of(counts[layer], layer) for layer in range(len(counts))]


def _gather(
    chunks: Iterable[Edges],
    anode: Anode,
    sums: list[float],
    most_hits: int,
    n_shots: int | None,
    progress: Progress,
) -> _Clean:
    clean = _Clean()
    layers = len(anode.layers)
    longest = np.array([1.1 * layer.run_time_ns for layer in anode.layers])
    signal = _signals(anode)
    with progress.task("clean hits", n_shots, "shots") as task:
        for edges in chunks:
            room = min(most_hits - clean.hits, edges.n_edges // (2 * layers + 1) + 1)
            total, difference = np.empty((room, layers)), np.empty((room, layers))
            n = clean_hits(
                signal, edges.offsets, edges.channel, edges.t_ns, np.array(sums), _WIDTH_NS,
                longest, total, difference,
            )  # fmt: skip
            clean.total.append(total[:n].copy())
            clean.difference.append(difference[:n].copy())
            clean.hits += n
            clean.shots += edges.n_shots
            task.advance(edges.n_shots)
            if clean.hits >= most_hits:
                break
    return clean


def _signals(anode: Anode) -> IntArray:
    signal = np.full(MOST_CHANNELS, -1, np.int64)
    for index, channel in enumerate(anode.signal_channels):
        if channel >= 0:
            signal[channel] = index
    return signal


def _plain(anode: Anode, layer: Layer, difference: FloatArray) -> FloatArray:
    return anode.mm_per_ns(layer) * difference


def _reach(anode: Anode, layer: Layer) -> float:
    return min(anode.mm_per_ns(layer) * layer.run_time_ns, 1.05 * anode.mcp_radius_mm)


def _fit(
    anode: Anode, tables: list[SumTable], total: FloatArray, difference: FloatArray
) -> LayerFit:
    """Relative calibration of the layers, from hits whose time sums agree with all tables."""
    plain = np.column_stack(
        [_plain(anode, layer, difference[:, k]) for k, layer in enumerate(anode.layers)]
    )
    good = np.ones(len(plain), np.bool_)
    for k, table in enumerate(tables):
        deviation = total[:, k] - table.at(plain[:, k])
        good &= np.abs(deviation) < _HALF_WIDTH_SIGMAS * max(table.sigma, 1e-3)
    return fit_layers(plain[good], anode.mcp_radius_mm)


def _settings(
    anode: Anode,
    tables: list[SumTable],
    fit: LayerFit | None,
    difference: FloatArray,
) -> Anode:
    """The settings with the values found so far."""
    changes: dict[str, Any] = {}
    for k, layer in enumerate(anode.layers):
        table = tables[k]
        width = max(_HALF_WIDTH_SIGMAS * table.sigma, _SMALLEST_HALF_WIDTH_NS)
        found: dict[str, Any] = {
            "time_sum_ns": round(table.centre, 5),
            "time_sum_half_width_ns": round(width, 4),
            "run_time_ns": max(
                layer.run_time_ns, round(float(np.quantile(np.abs(difference[:, k]), 0.9999)), 2)
            ),
        }
        stretch = 1.0
        if fit is not None:
            stretch = float(fit.stretch[k])
            found["scale_mm_per_ns"] = round(layer.scale_mm_per_ns * stretch, 8)
            curve = zip(fit.place[k] * stretch, fit.curve[k], strict=True)
            found["position_correction"] = tuple(
                (round(float(p), 4), round(float(c), 5)) for p, c in curve
            )
            if k == 2:
                found["offset_mm"] = round(fit.offset, 5)
        found["time_sum_correction"] = tuple(
            (round(p * stretch, 4), value) for p, value in table.correction
        )
        changes[LAYERS[k]] = layer.model_copy(update=found)
    if fit is not None:
        limit = max(_HALF_WIDTH_SIGMAS * fit.sigma, _SMALLEST_CONSISTENCY_MM)
        changes["layer_consistency_mm"] = round(limit, 4)
    return anode.model_copy(update=changes)


def _result(
    before: Anode,
    after: Anode,
    tables: list[SumTable],
    fit: LayerFit | None,
    total: FloatArray,
    difference: FloatArray,
    shots: int,
) -> DetectorCalibration:
    findings, quality, errors = [], {}, {}
    spectra: dict[str, Spectrum] = {}
    curves: dict[str, tuple[FloatArray, FloatArray, FloatArray]] = {}
    for k, table in enumerate(tables):
        old, new, name = before.layers[k], after.layers[k], LAYERS[k]
        value, error = table.centre, table.centre_error
        findings.append(Finding(f"time sum {name}", old.time_sum_ns, value, error, "ns"))
        deviations = [
            total[:, k] - time_sum(anode, layer, difference[:, k])
            for anode, layer in ((before, old), (after, new))
        ]
        widths = [_spread(values) for values in deviations]
        findings.append(
            Finding(f"width of time sum {name}", widths[0], table.sigma, table.sigma_error, "ns")
        )
        quality[f"time sum {name}"] = (widths[0], widths[1], "ns")
        errors[f"time_sum_correction {name}"] = float(table.error.max())
        spectra |= _histograms(f"time sum {name}", deviations, "ns")
        curves[f"time sum {name}"] = (table.place, table.value - table.centre, table.error)
    if fit is not None:
        findings += _layer_findings(before, after, fit)
        deviations = [_mismatch(anode, difference) for anode in (before, after)]
        quality["u - v - w"] = (_spread(deviations[0]), _spread(deviations[1]), "mm")
        spectra |= _histograms("u - v - w", deviations, "mm")
        for k, name in enumerate(LAYERS):
            errors[f"position_correction {name}"] = float(fit.curve_error[k].max())
            curves[f"position {name}"] = (fit.place[k], fit.curve[k], fit.curve_error[k])
    remarks = ["the scale of u sets the size of the image: the signals tell relative scales only"]
    if fit is None:
        remarks = ["two layers give no check of each other: scales stay as they were"]
    return DetectorCalibration(
        anode=after,
        findings=tuple(findings),
        quality=quality,
        table_errors=errors,
        hits=len(total),
        shots=shots,
        spectra=spectra,
        curves=curves,
        remarks=tuple(remarks),
    )


def _layer_findings(before: Anode, after: Anode, fit: LayerFit) -> list[Finding]:
    found = []
    for k in (1, 2):
        old, new = (
            anode.layers[k].scale_mm_per_ns / anode.u.scale_mm_per_ns for anode in (before, after)
        )
        error = new * float(fit.stretch_error[k])
        found.append(Finding(f"scale {LAYERS[k]} / scale u", old, new, error, ""))
    old_offset = before.layers[2].offset_mm
    found.append(Finding("offset w", old_offset, fit.offset, fit.offset_error, "mm"))
    return found


def _mismatch(anode: Anode, difference: FloatArray) -> FloatArray:
    """(hits) u - v - w in mm."""
    u, v, w = (position(anode, layer, difference[:, k]) for k, layer in enumerate(anode.layers))
    return u - v - w


def _spread(values: FloatArray) -> float:
    """Standard deviation about zero from the median, so that a shift of the mean is included."""
    return float(ROBUST * np.median(np.abs(values)))


def _histograms(name: str, deviations: list[FloatArray], unit: str) -> dict[str, Spectrum]:
    width = 6.0 * max(_spread(values) for values in deviations)
    edges = np.linspace(-width, width, _BINS + 1)
    return {
        f"{name} {when}": Spectrum(np.histogram(values, edges)[0], (edges,), (name,), (unit,))
        for values, when in zip(deviations, ("before", "after"), strict=True)
    }
