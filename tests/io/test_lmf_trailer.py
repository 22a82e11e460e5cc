"""What stands behind the hits of list-mode events, whatever the version in the header says."""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from molexa_core.base.errors import InputFileError
from molexa_core.io.lmf import LmfFile, LmfHeader
from molexa_core.io.lmf.header_file import EVENTS_OFFSET, write_header
from molexa_core.io.lmf.run import LmfRun
from molexa_core.io.lmf.trailer import Trailer
from tests.fakes.lmf_files import joined, make_events, make_header, write

NEWER = 17
"""A version that nobody knows yet."""


def plain(**values: Any) -> LmfHeader:
    return make_header(daq_sources=(), config_text="", history=(), **values)


def claiming(path: Path, version: int, written: int, n: int = 40, **values: Any) -> LmfHeader:
    """A file whose events are those of one version and whose header says another."""
    header = plain(lmf_version=written, **values)
    write(path, header, [make_events(header, n, 4, hits=4.0)])
    claimed = bytearray(path.read_bytes())
    head = write_header(replace(header, n_events=n, stop=header.stop + 1))
    one, other = (write_header(plain(lmf_version=v, **values)) for v in (8, 9))
    (place,) = [k for k in range(len(one)) if one[k] != other[k]][:1]
    assert claimed[: len(head)] == head
    struct.pack_into("<i", claimed, place, version)
    path.write_bytes(claimed)
    return header


@pytest.mark.parametrize("raw", [False, True], ids=["decoded", "words"])
@pytest.mark.parametrize("written", [8, 9, 10, 12])
@pytest.mark.parametrize("claimed", [8, 9, 10, 11, 12, NEWER])
def test_events_tell_what_follows_their_hits(
    claimed: int, written: int, raw: bool, tmp_path: Path
) -> None:
    path = tmp_path / "run.lmf"
    header = claiming(path, claimed, written, grouping=raw)
    file = LmfFile(path)
    assert file.header.lmf_version == claimed
    read = joined(file)
    assert len(read["stamp"]) == 40
    assert (file.losses.n_faults, file.lost, file.told()) == (0, 0, None)
    assert file.trailer == Trailer.of(header.layout())
    choice = LmfRun([path]).choice
    assert ("as the next event shows" in choice) == (file.trailer != file.stated_trailer)


def test_unknown_bytes_behind_every_event_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "run.lmf"
    claiming(path, NEWER, 12)
    data = path.read_bytes()
    places = [int(at) for block in LmfFile(path) for at in block.position]
    pieces = [data[: places[0]]]
    for low, high in zip(places, [*places[1:], len(data)], strict=True):
        pieces += [data[low:high], b"\x07\x00\x05\x01"]
    path.write_bytes(b"".join(pieces))
    file = LmfFile(path)
    assert len(joined(file)["stamp"]) == 40
    assert file.trailer.extra == 4
    assert "4 unknown bytes" in LmfRun([path]).choice


def test_a_newer_version_whose_events_are_others_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.lmf"
    claiming(path, NEWER, 12)
    at = LmfFile(path).events_at
    noise = np.random.default_rng(2).bytes(5000)
    path.write_bytes(path.read_bytes()[:at] + noise)
    with pytest.raises(InputFileError, match=r"LMF version 17 is newer than known \(12\)"):
        LmfFile(path)


def test_losses_count_against_the_number_in_the_header(tmp_path: Path) -> None:
    """Grouped words have no numbers of their own, so that only the header knows."""
    path = tmp_path / "run.lmf"
    claiming(path, 12, 12, grouping=True)
    data = bytearray(path.read_bytes())
    places = [int(at) for block in LmfFile(path) for at in block.position]
    for event in (5, 6, 7, 20):
        data[places[event] + 3] = 0x55
    path.write_bytes(data)
    file = LmfFile(path)
    joined(file)
    assert file.lost == 4
    assert "4 of the 40 events stated in the header lost" in str(file.told())
    struct.pack_into("<Q", data, EVENTS_OFFSET, 0)
    path.write_bytes(data)
    file = LmfFile(path)
    joined(file)
    assert file.lost is None
    assert "an unknown number of events lost" in str(file.told())
    assert " 0 event" not in str(file.told())


def test_events_that_are_stated_and_not_there_are_lost(tmp_path: Path) -> None:
    """A copy that ends between two events shows no damage."""
    path = tmp_path / "run.lmf"
    claiming(path, 12, 12)
    places = [int(at) for block in LmfFile(path) for at in block.position]
    path.write_bytes(path.read_bytes()[: places[25]])
    run = LmfRun([path])
    assert sum(chunk.n_shots for chunk in run) == 25
    (told,) = run.warnings
    assert "15 of the 40 events stated in the header lost" in told


def test_a_mostly_unreadable_file_is_refused_after_reading(tmp_path: Path) -> None:
    path = tmp_path / "run.lmf"
    claiming(path, 12, 12)
    data = path.read_bytes()
    places = [int(at) for block in LmfFile(path) for at in block.position]
    noise = np.random.default_rng(2).bytes(len(data) - places[10])
    path.write_bytes(data[: places[10]] + noise)
    run = LmfRun([path])
    with pytest.raises(InputFileError, match=r"most of the file cannot be read: 30 of the 40"):
        list(run)
    assert "30 of the 40 events" in run.warnings[0]
