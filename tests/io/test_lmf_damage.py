"""List-mode files that are cut off, damaged, of another kind, or lie about themselves."""

from __future__ import annotations

import struct
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from molexa_core.base.errors import InputFileError, MolexaError
from molexa_core.io.lmf import LmfFile, LmfHeader
from molexa_core.io.lmf.header_file import EVENTS_OFFSET, write_header
from tests.fakes.lmf_files import joined, make_events, make_header, write

KINDS: list[dict[str, Any]] = [{}, {"grouping": True}, {"lmf_version": 8}]
each_kind = pytest.mark.parametrize("kind", KINDS, ids=["decoded", "raw", "v8"])


def small(path: Path, n: int = 6, **values: Any) -> tuple[LmfHeader, list[int], bytes]:
    """A small file: its header, the place of each event and of the end, its bytes."""
    values = {"daq_sources": (), "config_text": "", "history": ()} | values
    header = make_header(**values)
    write(path, header, [make_events(header, n, 3, hits=4.0)])
    places = np.concatenate([block.position for block in LmfFile(path)]).tolist()
    data = path.read_bytes()
    return header, [*places, len(data)], data


@each_kind
def test_cut_off_at_every_byte(kind: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "run.lmf"
    _, places, data = small(path, **kind)
    whole = joined(LmfFile(path))
    for length in range(len(data)):
        path.write_bytes(data[:length])
        if length < places[0]:
            with pytest.raises(InputFileError) as caught:
                LmfFile(path)
            assert str(path) in str(caught.value)
            continue
        file = LmfFile(path)
        read = joined(file.iterate(64))
        complete = sum(place <= length for place in places[1:])
        assert len(read["stamp"]) == complete
        assert np.array_equal(read["bins"], whole["bins"][: whole["offsets"][complete]])
        expected = [] if length in places else [places[complete]]
        assert [fault.position for fault in file.losses.faults] == expected
        assert file.losses.truncated == bool(expected)
        if expected:
            assert "the file ends within an event" in str(file.losses.faults[0])


@each_kind
def test_a_damaged_event_is_lost_and_counted(kind: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "run.lmf"
    header, places, data = small(path, 30, **kind)
    for victim in (0, 7, 28):
        broken = bytearray(data)
        broken[places[victim] + (3 if header.raw else 7)] = 0x55
        path.write_bytes(broken)
        file = LmfFile(path)
        read = joined(file)
        assert len(read["stamp"]) == 29
        (fault,) = file.losses.faults
        assert fault.position == places[victim]
        assert fault.skipped == places[victim + 1] - places[victim]
        assert fault.lost == (None if header.raw else 1)


def test_damage_behind_the_hits_costs_that_event_alone(tmp_path: Path) -> None:
    path = tmp_path / "run.lmf"
    _, places, data = small(path, 30)
    broken = bytearray(data)
    length = struct.unpack_from("<Q", data, places[5])[0] & 0xFFFFFFFF
    mask = places[5] + length + 8
    broken[mask] ^= 0xFF
    path.write_bytes(broken)
    file = LmfFile(path)
    read = joined(file)
    counters = [int(value) for value in read["counter"]]
    assert counters == [n for n in range(1, 31) if n != 6]
    (fault,) = file.losses.faults
    assert fault.position == places[5]
    assert (fault.lost, file.losses.lost_events) == (1, 1)


def test_bytes_between_events_cost_no_event(tmp_path: Path) -> None:
    path = tmp_path / "run.lmf"
    _, places, data = small(path, 30)
    path.write_bytes(data[: places[9]] + b"\xff\x00junk" * 50 + data[places[9] :])
    for chunk in (100, 2**20):
        file = LmfFile(path)
        assert len(joined(file.iterate(chunk))["stamp"]) == 30
        (fault,) = file.losses.faults
        assert (fault.position, fault.skipped, fault.lost) == (places[9], 300, 0)


@each_kind
def test_absurd_lengths_are_never_allocated(kind: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "run.lmf"
    header, places, data = small(path, 20, **kind)
    list(LmfFile(path))  # compiled before memory is looked at
    for value in (0x7FFFFFFF, 0xFFFFFFFF, 0x00FFFFFF, 0x003FFFF0):
        broken = bytearray(data)
        struct.pack_into("<I", broken, places[4], value)
        path.write_bytes(broken)
        tracemalloc.start()
        file = LmfFile(path)
        read = joined(file)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert len(read["stamp"]) == 19
        assert file.losses.n_faults == 1
        assert peak < 32 * 2**20
    del header


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    header = make_header()
    events = make_events(header, 4000)
    peaks = []
    for copies in (2, 12):
        path = write(tmp_path / "run.lmf", header, [events] * copies)
        tracemalloc.start()
        assert sum(block.n_events for block in LmfFile(path).iterate(2**18)) == 4000 * copies
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0]


def test_a_wrong_number_of_events_in_the_header_is_no_matter(tmp_path: Path) -> None:
    path = tmp_path / "run.lmf"
    _, _, data = small(path, 20)
    for number in (0, 3, 2**64 - 1):
        broken = bytearray(data)
        struct.pack_into("<Q", broken, EVENTS_OFFSET, number)
        path.write_bytes(broken)
        file = LmfFile(path)
        assert file.header.n_events == number
        assert len(joined(file)["stamp"]) == 20
        assert file.losses.n_faults == 0


def test_a_file_that_grows_is_read_as_far_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "run.lmf"
    _, places, data = small(path, 10)
    path.write_bytes(data[: places[4] + 11])
    file = LmfFile(path)
    assert len(joined(file)["stamp"]) == 4
    path.write_bytes(data)
    assert len(joined(file)["stamp"]) == 10
    assert file.losses.n_faults == 0


def test_zero_events(tmp_path: Path) -> None:
    file = LmfFile(write(tmp_path / "run.lmf", make_header(), []))
    assert list(file) == []
    assert file.losses.n_faults == 0


def test_wrong_sizes_in_the_headers_are_told_and_survived(tmp_path: Path) -> None:
    path = tmp_path / "run.lmf"
    header, places, data = small(path, 10)
    size = struct.unpack_from("<Q", data, 16)[0]
    for place, value in ((16, size + 3), (24, 5), (24, 2**60)):
        broken = bytearray(data)
        struct.pack_into("<Q", broken, place, value)
        path.write_bytes(broken)
        file = LmfFile(path)
        assert len(file.header_faults) == 1
        assert file.events_at == places[0]
        assert len(joined(file)["stamp"]) == 10
    del header


def patched(data: bytes, place: int, kind: str, value: Any) -> bytes:
    broken = bytearray(data)
    struct.pack_into(f"<{kind}", broken, place, value)
    return bytes(broken)


def test_other_kinds_are_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "run.lmf"
    header, _, data = small(path)
    user = struct.unpack_from("<Q", data, 16)[0]
    version = user + 20 + 8 + 4 + 4 + 4 + len(header.daq_info)
    cases = [
        (patched(data, 0, "I", 476758), "Cobold 2002"),
        (patched(data, user + 16, "I", 1), r"HM1 \(DAQ_ID 1\)"),
        (patched(data, user + 16, "I", 0x11), r"fADC8 \(DAQ_ID 17\)"),
        (patched(data, user + 16, "I", 77), r"unknown \(DAQ_ID 77\)"),
        (patched(data, 4, "i", 10), "fixed length"),
        (patched(data, version, "i", 7), r"LMF version 7 \(Cobold before 2008\)"),
        (patched(data, version, "i", 13)[:-400], "LMF version 13 is newer than known"),
        (b"time of flight / ns, counts\n1, 2\n" * 40, "not a Cobold list-mode file"),
        (b"", "the file is empty"),
    ]
    for content, message in cases:
        path.write_bytes(content)
        with pytest.raises(InputFileError, match=message):
            LmfFile(path)


def test_noise_gives_one_fault_and_an_end(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    for kind in KINDS:
        header = make_header(**kind)
        path = tmp_path / "run.lmf"
        for noise in (rng.bytes(2**18), bytes(2**18), b"\xff" * 2**18, b"\x01\0\0\0" * 2**16):
            path.write_bytes(write_header(header) + noise)
            file = LmfFile(path)
            found = sum(block.n_events for block in file)
            assert found <= 100
            assert file.losses.n_faults >= 1
            assert file.losses.skipped_bytes > 2**17


@given(
    kind=st.sampled_from(KINDS),
    flips=st.lists(st.tuples(st.integers(0, 2**20), st.integers(1, 255)), min_size=1, max_size=12),
    chunk=st.integers(1, 3000),
)
@settings(max_examples=150, deadline=None)
def test_flipped_bytes_never_crash(
    kind: dict[str, Any],
    flips: list[tuple[int, int]],
    chunk: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    path = tmp_path_factory.mktemp("flips") / "run.lmf"
    _, _, data = small(path, 12, **kind)
    broken = bytearray(data)
    for place, value in flips:
        broken[place % len(data)] ^= value
    path.write_bytes(broken)
    try:
        file = LmfFile(path)
        blocks = list(file.iterate(chunk))
    except MolexaError:
        return
    assert sum(block.n_events for block in blocks) <= 12 + len(flips)
    assert all(block.offsets[-1] == block.n_hits for block in blocks)


@given(head=st.binary(max_size=400))
@settings(max_examples=100, deadline=None)
def test_any_bytes_behind_the_first_word(
    head: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("any") / "run.lmf"
    path.write_bytes(struct.pack("<Ii", 476759, -1) + head)
    with pytest.raises(MolexaError):
        list(LmfFile(path))


def test_all_ways_through_the_file_find_the_same(tmp_path: Path) -> None:
    """Damage in many places is told alike, whatever the size of a chunk."""
    path = tmp_path / "run.lmf"
    header = make_header()
    write(path, header, [make_events(header, 2000)])
    data = bytearray(path.read_bytes())
    rng = np.random.default_rng(9)
    for place in rng.integers(len(write_header(header)), len(data), 400):
        data[place] ^= 0x41
    path.write_bytes(data)
    file = LmfFile(path)
    one = joined(file)
    faults = [str(fault) for fault in file.losses.faults]
    assert len(faults) > 20
    for chunk in (500, 70_000):
        other = joined(file.iterate(chunk))
        assert np.array_equal(one["bins"], other["bins"])
        assert [str(fault) for fault in file.losses.faults] == faults


def test_an_absurd_number_of_hits_in_the_header_after_a_good_file(tmp_path: Path) -> None:
    """The compiled counting exists for signed numbers by then."""
    small(tmp_path / "good.lmf")
    assert sum(block.n_events for block in LmfFile(tmp_path / "good.lmf")) == 6
    small(tmp_path / "bad.lmf", max_hits=2**63 + 1)
    file = LmfFile(tmp_path / "bad.lmf")
    assert sum(block.n_events for block in file) == 6
    assert file.losses.beyond_maximum == 0
