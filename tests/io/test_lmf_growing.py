"""List-mode files that are read while they are written."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from molexa_core.base.errors import InputFileError
from molexa_core.io.lmf import LmfEvents, LmfFile, LmfWriter
from molexa_core.io.lmf.reader import LmfPlace
from tests.fakes.lmf_files import COLUMNS, KINDS, make_events, make_header, name_of

EVENTS = 400


def joined(parts: list[LmfEvents], column: str) -> np.ndarray:
    if column in ("offsets", "word_offsets", "post_offsets"):
        return np.concatenate([np.diff(getattr(part, column)) for part in parts])
    return np.concatenate([getattr(part, column) for part in parts])


def stored(place: LmfPlace) -> LmfPlace:
    """A place after it was stored as JSON."""
    values = json.loads(json.dumps(asdict(place)))
    return LmfPlace(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})


@pytest.mark.parametrize("kind", KINDS[::3], ids=name_of)
def test_pieces_of_any_size_give_every_event_once(tmp_path: Path, kind: dict[str, object]) -> None:
    header = make_header(**kind)
    whole = tmp_path / "whole.lmf"
    with LmfWriter(whole, header) as writer:
        writer.append(make_events(header, EVENTS, seed=5))
        writer.finish(stop=1_600_003_600)
    once = list(LmfFile(whole))
    data = whole.read_bytes()
    begin = LmfFile(whole).events_at
    rng = np.random.default_rng(7)
    ends = np.sort(rng.integers(begin + 500, len(data), 12))
    growing = tmp_path / "growing.lmf"
    parts: list[LmfEvents] = []
    place: LmfPlace | None = None
    for end in (*ends.tolist(), len(data)):
        growing.write_bytes(data[:end])
        closed = end == len(data)
        for events, after in LmfFile(growing).follow(place, closed=closed, chunk_bytes=1500):
            assert events.first_event == sum(part.n_events for part in parts)
            parts.append(events)
            place = stored(after)
    assert sum(part.n_events for part in parts) == EVENTS
    for column in COLUMNS:
        got, expected = joined(parts, column), joined(once, column)
        np.testing.assert_array_equal(got, expected, err_msg=column)
    with_scan = [part for part in parts if header.has_scan]
    for part in with_scan[-1:]:
        np.testing.assert_array_equal(part.scan_after(), once[-1].scan_after())


def test_an_event_that_is_cut_off_is_read_when_it_is_complete(tmp_path: Path) -> None:
    header = make_header(**KINDS[0])
    path = tmp_path / "run.lmf"
    with LmfWriter(path, header) as writer:
        writer.append(make_events(header, 50, seed=1))
        writer.finish(stop=1_600_003_600)
    data = path.read_bytes()
    path.write_bytes(data[:-9])  # the acquisition rests in the middle of an event
    seen, place = 0, None
    for events, after in LmfFile(path).follow(closed=True):
        seen, place = seen + events.n_events, after
    assert seen == 49
    assert list(LmfFile(path).follow(place, closed=True)) == []
    path.write_bytes(data)
    last = [events for events, _ in LmfFile(path).follow(place, closed=True)]
    assert [events.n_events for events in last] == [1]
    assert last[0].first_event == 49


def test_a_file_that_was_replaced_by_a_shorter_one_is_refused(tmp_path: Path) -> None:
    header = make_header(**KINDS[0])
    path = tmp_path / "run.lmf"
    for events in (100, 10):
        with LmfWriter(path, header) as writer:
            writer.append(make_events(header, events, seed=1))
            writer.finish(stop=1_600_003_600)
        if events == 100:
            *_, (_, place) = LmfFile(path).follow(closed=True)
    with pytest.raises(InputFileError, match="were read before"):
        list(LmfFile(path).follow(place))
