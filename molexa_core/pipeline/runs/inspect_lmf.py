"""Inspect list-mode files: headers, rates, hits of each channel, time spectrum, faults."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

import numpy as np

from molexa_core.base.progress import Progress
from molexa_core.base.spectrum import Spectrum
from molexa_core.base.tables import FloatArray
from molexa_core.io.lmf import LmfEvents, LmfFile, LmfHeader
from molexa_core.io.lmf.header import DAQ_NAMES, MOST_CHANNELS
from molexa_core.io.lmf.header_file import header_summary
from molexa_core.io.lmf.run import MARK
from molexa_core.pipeline.runs.inspection import Inspection, Row

SAMPLE_BYTES: Final = 128 * 2**20
"""Number of bytes that are read if a file is not verified."""
_BINS: Final = 200
_OUTSIDE: Final = 0.002
"""Share of the hits that the time spectrum may cut off at each end."""


class _Census:
    """Counts of the events of a file, accumulated chunk by chunk."""

    def __init__(self, file: LmfFile) -> None:
        self._file = file
        self.events = self.hits = 0
        self.per_channel = np.zeros(MOST_CHANNELS, np.int64)
        self.first = np.full(MOST_CHANNELS, np.inf)
        self.last = np.full(MOST_CHANNELS, -np.inf)
        self.most = 0
        self.stamps: list[float] = []
        self.scan: dict[int, tuple[float, float]] = {}
        self.edges: FloatArray | None = None
        self.counts = np.zeros(_BINS, np.int64)
        self.notes: list[tuple[int, str]] = []
        self._counter: int | None = None
        self._stamp = 0

    def add(self, events: LmfEvents) -> None:
        """Add a chunk of events."""
        times = self._file.nanoseconds(events)
        self.events += events.n_events
        self.hits += events.n_hits
        self.most = max(self.most, int(np.diff(events.offsets).max(initial=0)))
        self.per_channel += np.bincount(events.channel, minlength=MOST_CHANNELS)
        np.minimum.at(self.first, events.channel, times)
        np.maximum.at(self.last, events.channel, times)
        seconds = self._file.seconds(events)
        self.stamps = [*self.stamps[:1], *seconds[:: max(1, len(seconds) - 1)].tolist()]
        for number, values in events.scan_values().items():
            known = values[~np.isnan(values)]
            if len(known):
                low, high = self.scan.get(number, (np.inf, -np.inf))
                self.scan[number] = (min(low, float(known.min())), max(high, float(known.max())))
        if self.edges is None and events.n_hits:
            self.edges = _edges(times, self._file.header.resolution_ns)
        if self.edges is not None:
            self.counts += np.histogram(times, self.edges)[0]
        self._check_order(events)

    def _check_order(self, events: LmfEvents) -> None:
        header = self._file.header
        if not header.raw:
            before = np.uint64(events.counter[0] - 1) if self._counter is None else self._counter
            counters = np.concatenate([np.array([before], np.uint64), events.counter])
            for row in np.nonzero(np.diff(counters) != 1)[0]:
                self.notes.append(
                    (
                        int(events.position[row]),
                        f"event number {counters[row + 1]} follows {counters[row]}",
                    )
                )
            self._counter = int(counters[-1])
        if header.raw or header.stamp_format == 2:
            stamps = np.concatenate([np.array([self._stamp], np.uint64), events.stamp])
            for row in np.nonzero(stamps[1:] < stamps[:-1])[0]:
                back = float(stamps[row] - stamps[row + 1]) / header.frequency
                where = int(events.position[row])
                self.notes.append((where, f"the time stamp jumps back by {back:.6g} s"))
            self._stamp = int(stamps[-1])


def _edges(times: FloatArray, resolution: float) -> FloatArray:
    """Bin edges that contain nearly all times; the width is a multiple of the resolution."""
    low, high = np.quantile(times, [_OUTSIDE, 1 - _OUTSIDE])
    width = max(1.0, np.ceil((high - low) / _BINS / resolution + 1e-9)) * resolution
    begin = np.floor(low / resolution - 0.5) * resolution
    edges: FloatArray = begin + 0.5 * resolution + width * np.arange(_BINS + 1)
    return edges


def inspect_lmf(found: Inspection, file: LmfFile, *, verify: bool, progress: Progress) -> None:
    """Fill in what a list-mode file holds."""
    census = _Census(file)
    whole = True
    with progress.task(f"reading {found.path.name}", file.size, "B") as task:
        at = file.events_at
        for events in file:
            census.add(events)
            task.advance(int(events.position[-1]) - at)
            at = int(events.position[-1])
            if not verify and at - file.events_at > SAMPLE_BYTES:
                whole = False
                break
    header = file.header
    found.rows += _header_rows(header)
    found.rows.append(("behind the hits of an event", _behind(file), ""))
    found.rows += _event_rows(file, census, whole, at)
    found.tables["channels"] = (
        ["channel", "hits", "hits per event", "first / ns", "last / ns"],
        [
            [c, hits, round(hits / census.events, 6), float(census.first[c]), float(census.last[c])]
            for c, hits in enumerate(census.per_channel.tolist())
            if hits
        ],
    )
    if census.scan:
        found.tables["scan values"] = (
            ["parameter", "lowest", "highest"],
            [[number, *limits] for number, limits in sorted(census.scan.items())],
        )
    for name in ("config_text", "inl_text", "dnl_text"):
        if getattr(header, name):
            found.texts[name.replace("_text", "")] = getattr(header, name)
    if census.edges is not None:
        found.spectra["time, all channels"] = Spectrum(
            census.counts, (census.edges,), ("time",), ("ns",)
        )
    found.details = {
        "header": dict(header_summary(header)),
        "events_at": file.events_at,
        "whole_file_read": whole,
        "behind_the_hits": str(file.trailer),
        "lost_events": file.lost,
        "skipped_bytes": file.losses.skipped_bytes,
        "hits_beyond_maximum": file.losses.beyond_maximum,
        "truncated": file.losses.truncated,
    }
    found.faults = _faults(file, census, verify)
    loss = file.told()
    found.warnings += [loss] if loss is not None else []


def _faults(file: LmfFile, census: _Census, verify: bool) -> list[str]:
    """Damage, and, if the whole file was read, irregularities in the order of events."""
    placed = [(fault.position, str(fault)) for fault in file.losses.faults]
    told = {fault.position + fault.skipped for fault in file.losses.faults}
    if verify:
        placed += [(at, f"byte {at}: {what}") for at, what in census.notes if at not in told]
    more = file.losses.n_faults - len(file.losses.faults)
    faults = [*file.header_faults, *(text for _, text in sorted(placed))]
    if more:
        faults.append(f"{more} further faults")
    if file.mostly_unreadable:
        faults.append("most of the file cannot be read: molexa reduce refuses it")
    if verify and file.header.n_events != census.events:
        stated = file.header.n_events
        faults.append(f"header: it states {stated} events, the file holds {census.events}")
    if verify and file.header.stop < file.header.start:
        faults.append("header: the run stops before it starts")
    return faults


def _header_rows(header: LmfHeader) -> list[Row]:
    kind = "grouped words" if header.raw else "decoded events"
    ours = header.comment.startswith(MARK)
    sources = len(header.daq_sources) + len(header.analysis_sources)
    return [
        ("producer", f"{header.generation}, {header.producer or 'version not stated'}", ""),
        ("acquisition", f"{DAQ_NAMES[header.daq_id]}, {kind}", ""),
        ("LMF version", header.lmf_version, ""),
        ("original path", header.path, ""),
        ("comment", "metadata of molexa" if ours else header.comment, ""),
        ("start", _time(header.start), ""),
        ("stop", _time(header.stop), ""),
        ("channels", header.n_channels, ""),
        ("cards", len(header.cards), ""),
        ("resolution", header.resolution_ns, "ns"),
        ("time stamp", 48 if header.raw else 32 * header.stamp_format, "bits"),
        ("ticks of the time stamp", header.frequency, "1/s"),
        ("trigger channel (from 1)", header.trigger_channel, ""),
        ("embedded sources", sources, "files"),
        ("embedded configuration", len(header.config_text), "characters"),
    ]


def _behind(file: LmfFile) -> str:
    if file.trailer == file.stated_trailer:
        return str(file.trailer)
    return f"{file.trailer}; the version says {file.stated_trailer}, but that chains no events"


def _event_rows(file: LmfFile, census: _Census, whole: bool, at: int) -> list[Row]:
    header = file.header
    rows: list[Row] = [
        ("events stated in the header", header.n_events, ""),
        ("events read", census.events, ""),
    ]
    if not whole and census.events:
        share = (at - file.events_at) / (file.size - file.events_at)
        rows.append(("events in the file, estimated", round(census.events / share), ""))
    rows.append(("hits read", census.hits, ""))
    if census.events:
        rows.append(("hits per event", census.hits / census.events, ""))
        rows.append(("most hits in an event", census.most, ""))
    span = census.stamps[-1] - census.stamps[0] if census.stamps else 0.0
    if span > 0 and (header.raw or header.stamp_format == 2):
        rows += [
            ("time from first to last event", span, "s"),
            ("rate of events", (census.events - 1) / span, "1/s"),
        ]
    elif whole and header.stop > header.start:
        rows.append(("rate of events", census.events / (header.stop - header.start), "1/s"))
    if file.losses.n_faults:
        rows += [
            ("events lost to damage", "unknown" if file.lost is None else file.lost, ""),
            ("bytes without events", file.losses.skipped_bytes, ""),
        ]
    if file.losses.beyond_maximum:
        rows.append(("hits beyond the stated maximum", file.losses.beyond_maximum, ""))
    return rows


def _time(seconds: int) -> str:
    """Unix time as text; an impossible time as a number."""
    if not 0 < seconds < 2**34:
        return "not stated" if seconds == 0 else str(seconds)
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
