"""Inspect: formats are told by content, and what is said agrees with what was written."""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import uproot

from molexa_core.base.errors import InputFileError
from molexa_core.base.storage.provenance import Provenance
from molexa_core.base.tables import Coincidences, Hits
from molexa_core.io.lmf import LmfEvents
from molexa_core.io.results.events import write_events
from molexa_core.io.root.run import write_root_run
from molexa_core.pipeline.runs import inspect_lmf, inspect_run
from molexa_core.pipeline.runs.inspect import Inspection, inspect_file, inspect_files
from tests.fakes.hdf5_edits import edited
from tests.fakes.lmf_files import make_events, make_header, write
from tests.fakes.root_runs import make_run, make_setup

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
RESULT = DATA / "atompy_lmf2root_He_Compton_example.root"


def values(found: Inspection) -> dict[str, object]:
    return {name: value for name, value, _ in found.rows}


def regular(path: Path, n: int = 1000, **header: object) -> Path:
    """One event per ms, two hits in channel 1 and one in channel 5, a scan value that steps."""
    mask = np.zeros(n, np.int64)
    mask[[10, 500]] = 1
    events = LmfEvents.of(
        3 * np.arange(n + 1),
        np.tile([5, 1, 1], n),
        np.tile([4000, 100, 200], n),
        stamp=np.arange(n) * 40_000_000,
        scan_mask=mask,
        scan_value=np.array([2.0, 3.5]),
    )
    return write(path, make_header(frequency=4e10, resolution_ns=0.025, **header), [events])


def test_a_list_mode_file(tmp_path: Path) -> None:
    found = inspect_file(regular(tmp_path / "holiday.jpg"), verify=True)
    said = values(found)
    assert found.format == "lmf"
    assert found.faults == []
    assert said["producer"] == "Cobold 2011, 16.3.1912.1"
    assert said["acquisition"] == "TDC8HP, decoded events"
    assert said["start"] == "2020-09-13 12:26:40 UTC"
    assert said["events read"] == said["events stated in the header"] == 1000
    assert said["hits per event"] == 3.0
    assert said["rate of events"] == pytest.approx(1000.0)
    assert said["resolution"] == 0.025
    assert found.tables["channels"][1] == [
        [1, 2000, 2.0, 2.5, 5.0],
        [5, 1000, 1.0, 100.0, 100.0],
    ]
    assert found.tables["scan values"][1] == [[901, 2.0, 3.5]]
    assert found.texts["config"].startswith("GroupingEnable true")
    spectrum = found.spectra["time, all channels"]
    assert spectrum.total == 3000
    edges = spectrum.edges[0]
    for time, hits in ((2.5, 1000), (5.0, 1000), (100.0, 1000)):
        assert spectrum.counts[np.searchsorted(edges, time) - 1] == hits
    assert found.as_dict()["details"]["header"]["daq_sources"] == 1


def test_a_sample_says_that_it_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspect_lmf, "SAMPLE_BYTES", 10_000)
    path = regular(tmp_path / "run.lmf", 300_000)
    found = inspect_file(path)
    said = values(found)
    assert 0 < int(str(said["events read"])) < 300_000
    assert said["events in the file, estimated"] == pytest.approx(300_000, rel=1e-3)
    assert not found.details["whole_file_read"]
    assert values(inspect_file(path, verify=True))["events read"] == 300_000


def test_every_fault_of_a_list_mode_file_has_its_place(tmp_path: Path) -> None:
    header = make_header()
    path = tmp_path / "run.lmf"
    one = make_events(header, 50)
    late = replace(make_events(header, 50, 2, first=57), stamp=np.arange(50, dtype=np.uint64))
    write(path, header, [one, late])
    data = bytearray(path.read_bytes())
    begin = inspect_lmf.LmfFile(path)
    places = np.concatenate([block.position for block in begin])
    data[places[20] + 7] = 0
    struct.pack_into("<Q", data, 32, 12)
    path.write_bytes(data[:-1])
    damage, number, back, end, stated = inspect_file(path, verify=True).faults
    assert damage.startswith(f"byte {places[20]}: damage")
    assert "1 event(s) lost" in damage
    assert number == f"byte {places[50]}: event number 58 follows 50"
    assert back.startswith(f"byte {places[50]}: the time stamp jumps back by")
    assert end.startswith(f"byte {places[99]}: the file ends within an event")
    assert stated == "header: it states 12 events, the file holds 98"


@pytest.mark.parametrize("stamp_format", [0, 1])
def test_rates_without_long_time_stamps_come_from_the_header(
    stamp_format: int, tmp_path: Path
) -> None:
    header = make_header(stamp_format=stamp_format, start=100, stop=109)
    path = write(tmp_path / "run.lmf", header, [make_events(header, 200)])
    assert values(inspect_file(path))["rate of events"] == pytest.approx(20.0)


def test_zero_events(tmp_path: Path) -> None:
    found = inspect_file(write(tmp_path / "run.lmf", make_header(), []), verify=True)
    assert found.faults == []
    assert values(found)["events read"] == 0
    assert found.spectra == {}


@pytest.mark.parametrize("layout", ["lmf2root", "jagged"])
def test_a_root_run(layout: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    setup = make_setup()
    run = make_run(["O+", "H+", "H+"], setup, shots=2000, noise_per_shot=0.5)
    meta = {"channel": {"name": "water"}, "setup": {"detector": {}, "jet": {}}}
    path = tmp_path / "run.lmf"
    write_root_run(path, run.hits.in_chunks(500), layout=layout, slots=16, meta=meta)
    found = inspect_file(path, verify=True)
    said = values(found)
    assert found.format == "root-run"
    assert found.faults == []
    assert said["layout"] == layout
    assert said["shots"] == said["shots read"] == 2000
    assert said["hits per shot"] == pytest.approx(run.hits.n_hits / 2000)
    assert said["most hits in a shot"] == run.hits.counts.max()
    assert (said["channel"], said["setup, blocks"]) == ("water", "detector jet")
    tof = found.spectra["tof"]
    assert np.array_equal(tof.counts, np.histogram(run.hits.t_ns, tof.edges[0])[0])
    image = found.spectra["detector_image"]
    expected = np.histogram2d(run.hits.x_mm, run.hits.y_mm, image.edges)[0]
    assert np.array_equal(image.counts, expected)
    monkeypatch.setattr(inspect_run, "SAMPLE_SHOTS", 1)
    assert int(str(values(inspect_file(path))["shots read"])) <= 2000


@pytest.mark.skipif(not RESULT.exists(), reason="the real file is not here")
def test_a_real_result_of_lmf2root() -> None:
    found = inspect_file(RESULT, verify=True)
    assert found.format == "root-result"
    assert values(found)["histograms"] == 169
    assert "config_version" in found.texts["config_info"]
    assert found.faults == []


def test_a_root_file_of_histograms(tmp_path: Path) -> None:
    path = tmp_path / "result.h5"
    with uproot.recreate(path) as file:
        file["ions/tof"] = np.histogram([1.0, 2.0, 2.0])
        file["ions/image"] = np.histogram2d([1.0], [2.0])
    found = inspect_file(path, verify=True)
    said = values(found)
    assert (said["histograms"], said["in one dimension"], said["in two dimensions"]) == (2, 1, 1)
    assert said["configuration of LMF2Root"] == "none"


def test_files_of_molexa(tmp_path: Path) -> None:
    table = Coincidences.of(["O+", "H+", "H+"], np.zeros((7, 3, 3)))
    path = tmp_path / "x.root"
    write_events(path, table, Provenance.of("molexa reduce run.root"))
    found = inspect_file(path, verify=True)
    said = values(found)
    assert found.format == "events"
    assert (said["rows"], said["ions"]) == (7, "O+ H+ H+")
    assert said["command"] == "molexa reduce run.root"
    assert said["checksum"] == "fits"
    assert found.faults == []
    with edited(path) as file:
        file["events/momentum"][3] = np.nan
    assert "without checksum" in values(inspect_file(path))["checksum"]
    (fault,) = inspect_file(path, verify=True).faults
    assert "not numbers" in fault


def test_other_hdf5_is_said_to_be_other(tmp_path: Path) -> None:
    path = tmp_path / "other.h5"
    with h5py.File(path, "w") as file:
        file.create_group("INDEX")
        file["x"] = 1
    found = inspect_file(path, verify=True)
    assert found.format == "hdf5"
    assert not found.verified
    assert (values(found)["groups"], values(found)["datasets"]) == ("INDEX", "x")


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "the file is empty"),
        (b"px,py,pz\n1,2,3\n", "looks like text.*Looked for: Cobold"),
        (b"\x00\x01\x02\x03" * 9, "begins with 00 01 02 03.*Looked for"),
        (b"root\x00\x00", "truncated"),
    ],
)
def test_unknown_files(content: bytes, match: str, tmp_path: Path) -> None:
    path = tmp_path / "run.lmf"
    path.write_bytes(content)
    with pytest.raises(InputFileError, match=match):
        inspect_files([path])


def test_a_root_file_of_something_else(tmp_path: Path) -> None:
    path = tmp_path / "run.root"
    with uproot.recreate(path) as file:
        file.mktree("other", {"a": "f8"})
    with pytest.raises(InputFileError, match="it has: a. Looked for those of LMF2Root"):
        inspect_file(path)


def test_time_stamps_that_jump_back_in_a_run_of_hits(tmp_path: Path) -> None:
    shots = np.arange(40)
    stamps = shots * 0.5
    stamps[25:] -= 3.0
    empty = np.empty(0)
    hits = Hits(
        0, np.zeros(41, np.int64), empty, empty, empty, np.empty(0, np.int16), {"timestamp": stamps}
    )
    path = tmp_path / "run.root"
    write_root_run(path, [hits])
    assert inspect_file(path).faults == []
    assert inspect_file(path, verify=True).faults == ["shot 25: the time stamp jumps back by 2.5 s"]
