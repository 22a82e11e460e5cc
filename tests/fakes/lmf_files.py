"""List-mode files as code: random events for a header, and files of them.

Mirror what Cobold 2008 and 2011 write for a TDC8HP; docs/formats-lmf.md has the layout.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from molexa_core.base.tables import offsets_of
from molexa_core.io.lmf import LmfEvents, LmfHeader, LmfWriter

KINDS = [
    kind
    for version in range(8, 13)
    for kind in (
        {"lmf_version": version, "daq_id": 8, "stamp_format": 2},
        {"lmf_version": version, "daq_id": 8, "stamp_format": 1},
        {"lmf_version": version, "daq_id": 16, "stamp_format": 2},
        {"lmf_version": version, "daq_id": 16, "stamp_format": 2, "grouping": True},
        {"lmf_version": version, "daq_id": 8, "stamp_format": 1, "grouping": True},
    )
]
"""Header values of every kind of event that is read."""
COLUMNS = (
    *("offsets", "channel", "bins", "rising", "stamp", "counter", "level", "scan_mask"),
    *("scan_value", "words", "word_offsets", "post", "post_offsets"),
)
"""Columns that a file must give back bit for bit."""


def name_of(kind: dict[str, Any]) -> str:
    """A short name of a kind for test ids."""
    form = "raw" if kind.get("grouping") else "decoded"
    return f"v{kind['lmf_version']}-daq{kind['daq_id']}-{form}-{32 * kind['stamp_format']}bit"


def make_header(**values: Any) -> LmfHeader:
    """A header with texts, sources and settings that differ from zero."""
    full: dict[str, Any] = {
        "start": 1_600_000_000,
        "stop": 1_600_003_600,
        "producer": "16.3.1912.1",
        "path": "D:\\data\\run 7.lmf",
        "comment": "water, 70 µJ",
        "history": (b"new", b"start"),
        "daq_info": "TDC8HP (V 20110208)",
        "daq_sources": (b"int main() {}\n" * 30,),
        "config_text": "GroupingEnable true\r\nVHR\ttrue\r\n",
        "trigger_channel": 8,
        "n_channels": 8,
        "max_hits": 64,
    }
    return LmfHeader(**(full | values))


def make_events(
    header: LmfHeader, n: int, seed: int = 1, *, hits: float = 10.0, first: int = 0
) -> LmfEvents:
    """Random events with everything that a header has a place for."""
    rng = np.random.default_rng(seed)
    counts = rng.poisson(hits, n)
    offsets = offsets_of(counts)
    total = int(offsets[-1])
    raw = header.raw
    span = 2**20 if raw else 2**31 - 1
    stamps = np.sort(rng.integers(0, 2**32 if header.stamp_format == 1 else 2**44, n))
    mask = rng.integers(0, 2**32, n) * (rng.random(n) < 0.1) if header.has_scan else np.zeros(n)
    changes = int(np.bitwise_count(mask.astype(np.uint32)).sum())
    words = rng.poisson(0.3, n) if raw else np.zeros(n, np.int64)
    posts = rng.integers(0, 9, n) if header.has_post else np.zeros(n, np.int64)
    return LmfEvents.of(
        offsets,
        rng.integers(0, header.n_channels, total),
        rng.integers(-span, span, total),
        stamp=stamps if header.stamp_format else None,
        rising=rng.random(total) < 0.5 if raw else None,
        level=rng.integers(0, 2**63, n, np.uint64) if header.has_level else None,
        scan_mask=mask,
        scan_value=rng.normal(size=changes),
        words=0x18000000 | rng.integers(0, 2**27, int(words.sum())),
        word_offsets=offsets_of(words),
        post=rng.integers(0, 256, int(posts.sum())),
        post_offsets=offsets_of(posts),
        first_event=first,
    )


def write(path: Path, header: LmfHeader, blocks: Iterable[LmfEvents]) -> Path:
    """A file of these events."""
    with LmfWriter(path, header) as writer:
        for block in blocks:
            writer.append(block)
        writer.finish(stop=header.stop + 1)
    return path


def joined(blocks: Iterable[LmfEvents]) -> dict[str, np.ndarray]:
    """Chunks as one, by column; empty columns where there is none."""
    parts = list(blocks)
    found = {}
    for name in COLUMNS:
        columns = [getattr(part, name) for part in parts]
        if name.endswith("offsets"):
            counts = [np.diff(column) for column in columns]
            found[name] = np.cumsum(np.concatenate([[0], *counts]))
        else:
            found[name] = np.concatenate(columns) if columns else np.zeros(0)
    return found


def same(one: Iterable[LmfEvents], other: Iterable[LmfEvents]) -> None:
    """Check that two runs are the same bit for bit."""
    ours, theirs = joined(one), joined(other)
    for name in COLUMNS:
        if name == "scan_value":
            assert ours[name].tobytes() == theirs[name].tobytes()
        else:
            assert np.array_equal(ours[name], theirs[name]), name
