"""Conversion between the two kinds of list-mode files, with headers and all event data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from molexa_core.io.lmf.event_table import LmfEvents
from molexa_core.io.lmf.header import TDC8HP, TDC8HPRAW, LmfHeader
from molexa_core.io.lmf.reader import LmfFile
from molexa_core.io.lmf.writer import LmfWriter
from molexa_core.io.stored_run import Rewritten


def rewrite_lmf(
    files: Sequence[LmfFile], out: Path, *, raw: bool, advance: Callable[[int], None]
) -> Rewritten:
    """Write the events of all files of a run into one, as grouped words or decoded.

    Args:
        files: the files of a run.
        out: the file to write.
        raw: grouped words instead of decoded events.
        advance: called with the number of further events done.

    Raises:
        InputFileError: most of a file cannot be read.
        OutputError: the file cannot be written there.
    """
    lost: list[str] = []
    header = files[0].header
    if len(files) > 1:
        lost.append("headers of all files but the first")
    changed = raw != header.raw
    new = _header(header, raw=raw) if changed else header
    if any(file.trailer != file.stated_trailer for file in files):
        new = replace(new, lmf_version=LmfHeader.lmf_version)  # has a place for everything
    with LmfWriter(out, new) as writer:
        number, hits, dropped = 0, 0, np.zeros(3, np.int64)
        for file in files:
            for events in file:
                fitting = _fitting(events, number, changed=changed, raw=raw, new=new)
                dropped += (
                    int((events.level != fitting.level).sum()),
                    len(events.words) - len(fitting.words),
                    int(events.rising.sum() - fitting.rising.sum()),
                )
                writer.append(fitting)
                number += events.n_events
                hits += events.n_hits
                advance(events.n_events)
            file.require_readable()
        writer.finish(stop=header.stop)
    kinds = ("levels of the inputs", "words of levels and errors", "marks of rising edges")
    lost += [f"{n} {kind}" for n, kind in zip(dropped, kinds, strict=True) if n]
    damaged = sum(file.lost or 0 for file in files)
    if damaged:
        lost.append(f"{damaged} events that are damaged or missing in the run")
    return Rewritten(number, hits, lost)


def _header(header: LmfHeader, *, raw: bool) -> LmfHeader:
    """The header of the same run with the other kind of events."""
    if raw:
        return replace(header, daq_id=TDC8HPRAW, grouping=True)
    return replace(header, daq_id=TDC8HP, grouping=False, stamp_format=2)


def _fitting(
    events: LmfEvents, number: int, *, changed: bool, raw: bool, new: LmfHeader
) -> LmfEvents:
    """Events without what the other kind cannot hold."""
    n = events.n_events
    if not changed:
        return events
    counter: NDArray[np.uint64] = np.arange(number + 1, number + n + 1, dtype=np.uint64)
    nothing = np.zeros(n + 1, np.int64)
    fitting = replace(events, counter=counter)
    if raw:
        fitting = replace(fitting, level=np.zeros(n, np.uint64))
    else:
        rising = np.zeros(events.n_hits, np.bool_)
        words = np.empty(0, np.uint32)
        fitting = replace(fitting, rising=rising, words=words, word_offsets=nothing)
    if not new.has_post and len(events.post):
        fitting = replace(fitting, post=np.empty(0, np.uint8), post_offsets=nothing)
    return fitting
