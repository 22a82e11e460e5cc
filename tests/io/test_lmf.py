"""Cobold list-mode files: what was written comes back bit for bit, real files give their values."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from molexa_core.base.errors import InputFileError, UsageError
from molexa_core.io.lmf import LmfEvents, LmfFile, LmfHeader, LmfWriter, TdcCard
from molexa_core.io.lmf.header_file import write_header
from tests.fakes.lmf_files import KINDS, joined, make_events, make_header, name_of, same, write

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
RAW = DATA / "roentdek_TDC8HPRAW_LMFv12_1event.lmf"
TEMPLATE = DATA / "CoboldPC2011R5-2_Header-Template_1TDC8HP.lmf"

every_kind = pytest.mark.parametrize("kind", KINDS, ids=name_of)


@pytest.mark.skipif(not RAW.exists(), reason="the real file is not here")
def test_a_real_file_of_grouped_words() -> None:
    file = LmfFile(RAW)
    header = file.header
    assert file.events_at == 463_020 + 815_872
    assert (header.n_channels, len(header.cards), header.daq_id) == (8, 1, 0x10)
    assert header.resolution_ns == pytest.approx(0.025117347, abs=1e-9)
    assert header.frequency == pytest.approx(3.98131e10, rel=1e-6)
    assert header.producer == "10.1.1412.2"
    assert header.analysis_sources
    (events,) = file
    assert events.n_events == 1
    assert events.stamp.tolist() == [9918301]
    assert file.seconds(events)[0] == pytest.approx(0.000249121, abs=1e-9)
    assert [events.hits_of(0, channel).tolist() for channel in range(8)] == [
        *([2, 7819], [-8, 7809], [-105, 7713], [-95, 7722], [], [], [-5853], [0, 7818])
    ]
    assert file.losses.n_faults == 0
    assert file.header_faults == []


@pytest.mark.skipif(not TEMPLATE.exists(), reason="the real file is not here")
def test_a_real_header_without_events() -> None:
    file = LmfFile(TEMPLATE)
    assert list(file) == []
    assert file.losses.n_faults == 0
    assert (file.header.lmf_version, file.header.daq_id) == (12, 8)
    assert file.header.start == 1646756597  # 2022-03-08 16:23:17 UTC
    assert "GroupingEnable\ttrue" in file.header.config_text
    assert not file.header.raw


@pytest.mark.parametrize("path", [RAW, TEMPLATE], ids=["raw", "template"])
def test_a_real_file_written_again_is_the_same_file(path: Path, tmp_path: Path) -> None:
    if not path.exists():
        pytest.skip("the real file is not here")
    file = LmfFile(path)
    with LmfWriter(tmp_path / "again.lmf", file.header) as writer:
        for events in file:
            writer.append(events)
    assert (tmp_path / "again.lmf").read_bytes() == path.read_bytes()


@every_kind
@pytest.mark.parametrize("chunk", [700, 2**23])
def test_written_events_come_back(kind: dict[str, Any], chunk: int, tmp_path: Path) -> None:
    header = make_header(**kind)
    blocks = [make_events(header, 150, 1), make_events(header, 60, 2, first=150)]
    if header.raw:
        last = blocks[0].stamp.max()
        blocks[1] = replace(blocks[1], stamp=np.sort(blocks[1].stamp % 2**20) + last)
    path = write(tmp_path / "run.lmf", header, blocks)
    file = LmfFile(path)
    assert replace(file.header, flags=0) == replace(header, n_events=210, stop=header.stop + 1)
    read = list(file.iterate(chunk))
    expected = blocks
    if header.raw:
        expected = [replace(b, counter=np.zeros_like(b.counter)) for b in blocks]
        expected = [_as_read_raw(b) for b in expected]
    same(read, expected)
    assert file.losses.n_faults == 0
    assert [b.first_event for b in read] == np.cumsum([0, *(b.n_events for b in read)])[
        :-1
    ].tolist()


def _as_read_raw(events: LmfEvents) -> LmfEvents:
    """Cards deliver hits by time: within a channel they come back in that order."""
    order = np.lexsort((events.bins, events.channel, events.event))
    return replace(events, bins=events.bins[order], rising=events.rising[order])


@st.composite
def runs(draw: st.DrawFn) -> tuple[LmfHeader, LmfEvents]:
    kind = draw(st.sampled_from(KINDS))
    header = make_header(**kind, n_channels=draw(st.integers(1, 17)), vhr=draw(st.booleans()))
    events = make_events(
        header,
        draw(st.integers(0, 40)),
        draw(st.integers(0, 2**32)),
        hits=draw(st.sampled_from([0.0, 1.0, 10.0, 200.0])),
    )
    return header, events


@given(run=runs(), chunk=st.integers(1, 5000))
@settings(max_examples=60, deadline=None)
def test_any_events_come_back(
    run: tuple[LmfHeader, LmfEvents], chunk: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    header, events = run
    path = write(tmp_path_factory.mktemp("any") / "run.lmf", header, [events])
    file = LmfFile(path)
    read = list(file.iterate(chunk))
    expected = events
    if header.raw:
        expected = _as_read_raw(replace(events, counter=np.zeros_like(events.counter)))
    same(read, [expected])
    assert file.losses.n_faults == 0
    assert file.header.n_events == events.n_events


def test_cards_long_texts_and_old_times_come_back(tmp_path: Path) -> None:
    cards = tuple(
        TdcCard(index=i, serial=1000 + i, inl=bytes([i]) * 32768, flash_valid=True)
        for i in range(3)
    )
    header = make_header(
        cards=cards,
        comment="x" * 70_000,
        path="p" * 300,
        long_times=False,
        analysis_sources=(b"a", b""),
        switches=(True, False),
        doubles=(0.5, 1.5),
    )
    assert replace(LmfFile(write(tmp_path / "a.lmf", header, [])).header, flags=0) == replace(
        header, stop=header.stop + 1
    )


def test_scan_values_hold_until_they_change(tmp_path: Path) -> None:
    header = make_header()
    events = LmfEvents.of(
        np.zeros(7, np.int64),
        np.zeros(0),
        np.zeros(0),
        scan_mask=np.array([0, 1, 0, 5, 4, 0]),
        scan_value=np.array([1.5, 2.5, 10.0, 11.0]),
    )
    path = write(tmp_path / "run.lmf", header, [events])
    for chunk in (1, 2**20):
        parts = [block.scan_values() for block in LmfFile(path).iterate(chunk)]
        nan = [np.nan]
        first = np.concatenate([part.get(901, np.array(nan)) for part in parts])
        assert np.array_equal(first, [np.nan, 1.5, 1.5, 2.5, 2.5, 2.5], equal_nan=True)
        assert parts[-1][903][-1] == 11.0
        assert set(parts[-1]) == {901, 903}


def test_the_time_stamp_of_words_goes_on_beyond_48_bits(tmp_path: Path) -> None:
    header = make_header(grouping=True)
    stamps = np.array([2**48 - 5, 2**48 + 7, 2**48 + 2**30])
    events = LmfEvents.of(np.zeros(4, np.int64), np.zeros(0), np.zeros(0), stamp=stamps)
    (read,) = LmfFile(write(tmp_path / "run.lmf", header, [events]))
    assert read.stamp.tolist() == stamps.tolist()


def test_times_in_ns_and_s(tmp_path: Path) -> None:
    header = make_header(frequency=4e10, resolution_ns=0.025)
    events = LmfEvents.of(np.array([0, 1]), [3], [-400], stamp=[8 * 10**10])
    file = LmfFile(write(tmp_path / "run.lmf", header, [events]))
    (read,) = file
    assert file.nanoseconds(read).tolist() == pytest.approx([-10.0])
    assert file.seconds(read).tolist() == pytest.approx([2.0])


@pytest.mark.parametrize(
    ("values", "events", "match"),
    [
        ({}, {"channel": [8]}, "channel 8"),
        ({"stamp_format": 1}, {"stamp": [2**32]}, "32 bits"),
        ({"stamp_format": 0}, {"stamp": [1]}, "0 bits"),
        ({"lmf_version": 8}, {"level": [1]}, "levels"),
        ({"lmf_version": 10}, {"scan_mask": [1], "scan_value": [1.0]}, "version 11"),
        ({"lmf_version": 9}, {"post": [1], "post_offsets": [0, 1]}, "version 10"),
        ({}, {"post": np.zeros(4001), "post_offsets": [0, 4001]}, "at most 4000"),
        ({}, {"rising": [True]}, "edges"),
        ({"grouping": True}, {"bins": [2**23]}, "24 bits"),
        ({"grouping": True, "vhr": False}, {"bins": [2**21]}, "24 bits"),
        ({}, {"scan_mask": [3], "scan_value": [1.0]}, "1 values for 2 changes"),
        ({}, {"bins": [2**31]}, "does not fit"),
    ],
)
def test_what_does_not_fit_is_refused(
    values: dict[str, Any], events: dict[str, Any], match: str, tmp_path: Path
) -> None:
    columns = {"channel": [0], "bins": [0]} | events
    path = tmp_path / "run.lmf"
    with pytest.raises(UsageError, match=match):
        write(path, make_header(**values), [LmfEvents.of([0, 1], **columns)])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ({"lmf_version": 7}, "version 7"),
        ({"n_channels": 0}, "0 channels"),
        ({"resolution_ns": float("nan")}, "resolution nan"),
        ({"comment": "→"}, "cannot hold '→'"),
        ({"io_address": 2**31}, "cannot store"),
        ({"daq_id": 2}, "DAQ_ID 2"),
    ],
)
def test_headers_that_no_reader_takes_are_not_written(
    values: dict[str, Any], match: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=match):
        LmfWriter(tmp_path / "run.lmf", make_header(**values))


def test_iterating_anew_gives_the_same(tmp_path: Path) -> None:
    header = make_header()
    file = LmfFile(write(tmp_path / "run.lmf", header, [make_events(header, 30)]))
    assert np.array_equal(joined(file)["bins"], joined(file)["bins"])
    with pytest.raises(UsageError, match="chunk_bytes"):
        list(file.iterate(0))


def test_a_file_of_more_than_4_gib(tmp_path: Path) -> None:
    """A file with a hole: events at both sides of it, found at their places."""
    header = make_header()
    events = make_events(header, 20)
    path = write(tmp_path / "run.lmf", header, [events])
    begin = len(write_header(header))
    body = path.read_bytes()[begin:]
    far = 5 * 2**30
    with path.open("r+b") as stream:
        stream.seek(far)
        stream.write(body)
    file = LmfFile(path)
    read = list(file.iterate(start=far - 1000))
    same(read, [events])
    assert read[0].position[0] == far
    assert file.losses.n_faults == 0
    with path.open("r+b") as stream:
        stream.truncate(far + len(body) - 3)
    list(file.iterate(start=far))
    (fault,) = file.losses.faults
    assert fault.position > far
    assert file.losses.truncated


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match="no such file"):
        LmfFile(tmp_path / "none.lmf")
