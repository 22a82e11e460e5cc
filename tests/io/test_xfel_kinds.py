"""Files of European XFEL in the forms that other writers give them, and detectors with own TDCs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from molexa_core.base.errors import InputFileError, SettingsError
from molexa_core.base.settings import parse_settings
from molexa_core.base.settings.columns import Facility, SourceKeys
from molexa_core.io.facilities.xfel import XfelRun
from molexa_core.io.facilities.xfel_keys import KeyedRun
from molexa_core.io.run import open_stored_run
from tests.fakes.facility import FIRST, TOP, hits_of, write_xfel

TDC = "SXP_DLD_TDC/TDC/1:daqOutput"
KEYS = {"x": "data/dldPosX", "y": "data/dldPosY", "time": "data/dldTime", "pulse": "data/pulseId"}


def shorten(path: Path, n: int) -> None:
    """As EXtra-data's own writer: fillers in what is per train, none in first and count."""
    with h5py.File(path, "r+") as file:
        stamps = np.zeros(len(file["INDEX/trainId"]), np.uint64)
        stamps[:n] = 1_660_000_000_000_000_000 + 100_000_000 * np.arange(n, dtype=np.uint64)
        file["INDEX/timestamp"] = stamps
        for group in ("raw", "rec"):
            for name in ("first", "count"):
                whole = file[f"INDEX/{TOP}/{group}/{name}"][()]
                del file[f"INDEX/{TOP}/{group}/{name}"]
                file[f"INDEX/{TOP}/{group}/{name}"] = whole[:n]
        file.attrs["writer"] = "extra_data 1.20.0"


def replace(path: Path, **datasets: Any) -> None:
    with h5py.File(path, "r+") as file:
        for name, values in datasets.items():
            where = {"flag": "INDEX/flag", "version": "METADATA/dataFormatVersion"}[name]
            del file[where]
            if values is not None:
                file[where] = values


def trains_of(run: Any) -> list[int]:
    return sorted({int(train) for chunk in run for train in chunk.tags["train_id"]})


def test_fillers_that_the_index_does_not_have(tmp_path: Path) -> None:
    path = write_xfel(tmp_path / "a.h5", [3, 2, 4], fillers=5)
    shorten(path, 3)
    run = XfelRun([path])
    assert (run.n_trains, run.n_shots) == (3, 9)
    times = np.concatenate([chunk.t_ns for chunk in run])
    assert times.tolist() == [hit[2] for pulse in range(9) for hit in hits_of(pulse)]
    shorten_too_far = write_xfel(tmp_path / "b.h5", [3, 2, 4], fillers=5)
    shorten(shorten_too_far, 2)
    with pytest.raises(InputFileError, match="first has 2 entries for 3 trains"):
        XfelRun([shorten_too_far])


@pytest.mark.parametrize(("version", "good"), [(b"1.0", 1), (b"1.1", 0), (b"1.2", 1), (b"1.3", 1)])
def test_trains_that_the_flag_doubts_are_left_out_and_counted(
    tmp_path: Path, version: bytes, good: int
) -> None:
    path = write_xfel(tmp_path / "a.h5", [3, 2, 4, 1])
    flags = np.full(4, good, np.int32)
    flags[1] = 1 - good
    replace(path, flag=flags, version=np.array([version]))
    run = XfelRun([path])
    assert trains_of(run) == [FIRST, FIRST + 2, FIRST + 3]
    assert run.n_shots == 8
    (said,) = run.remarks
    assert said.startswith("1 of 4 trains are left out: by INDEX/flag")
    everything = XfelRun([path], Facility(trains="all"))
    assert everything.n_shots == 10
    assert everything.remarks == []


def test_a_wrong_number_of_a_train_does_no_harm_where_the_flag_tells(tmp_path: Path) -> None:
    path = write_xfel(tmp_path / "a.h5", [3, 2, 4])
    with h5py.File(path, "r+") as file:
        file["INDEX/trainId"][1] = 7
        file["INDEX/flag"][1] = 0
    assert trains_of(XfelRun([path])) == [FIRST, FIRST + 2]
    with pytest.raises(InputFileError, match=f"train 7 follows train {FIRST}"):
        XfelRun([path], Facility(trains="all"))


def test_a_flag_that_leaves_nothing_is_named(tmp_path: Path) -> None:
    path = write_xfel(tmp_path / "a.h5", [3, 2])
    replace(path, flag=np.zeros(2, np.int32))
    with pytest.raises(InputFileError, match="INDEX/flag leaves out all 2 trains") as caught:
        list(XfelRun([path]))
    assert "trains: all" in str(caught.value.do)


def test_old_files_with_last_and_status(tmp_path: Path) -> None:
    path = write_xfel(tmp_path / "a.h5", [3, 0, 4])
    replace(path, flag=None, version=np.array([b"0.5"]))
    with h5py.File(path, "r+") as file:
        for group in ("raw", "rec"):
            base = f"INDEX/{TOP}/{group}"
            count, first = file[f"{base}/count"][()], file[f"{base}/first"][()]
            del file[f"{base}/count"]
            file[f"{base}/last"] = np.maximum(first + count, 1) - 1
            file[f"{base}/status"] = (count > 0).astype(np.uint64)
    run = XfelRun([path])
    assert run.n_shots == 7
    assert trains_of(run) == [FIRST, FIRST + 2]


def test_a_run_without_light_says_so(tmp_path: Path) -> None:
    path = write_xfel(tmp_path / "a.h5", [3, 2], fel=[False] * 5)
    run = XfelRun([path])
    assert run.n_shots == 0
    with pytest.raises(InputFileError, match=r"all 5 pulses are without light \(fel\)") as caught:
        list(run)
    assert "pulses: all" in str(caught.value.do)
    assert XfelRun([path], Facility(pulses="all")).n_shots == 5


def test_trains_without_any_pulse(tmp_path: Path) -> None:
    run = XfelRun([write_xfel(tmp_path / "a.h5", [0, 0])])
    with pytest.raises(InputFileError, match=f"none of the 2 trains holds a pulse of {TOP}"):
        list(run)


def write_tdc(path: Path, hits: list[list[tuple[int, int, int, int]]], slots: int = 8) -> Path:
    """A train per list of hits (x, y, time, pulse); the rest of its row is zero."""
    rows = np.zeros((4, len(hits), slots), np.uint32)
    for train, of in enumerate(hits):
        for slot, hit in enumerate(of):
            rows[:, train, slot] = hit
    with h5py.File(path, "w") as file:
        file["INDEX/trainId"] = FIRST + np.arange(len(hits), dtype=np.uint64)
        file[f"INDEX/{TDC}/data/first"] = np.arange(len(hits), dtype=np.uint64)
        file[f"INDEX/{TDC}/data/count"] = np.ones(len(hits), np.uint64)
        for name, values in zip(KEYS.values(), rows, strict=True):
            file[f"INSTRUMENT/{TDC}/{name}"] = values
    return path


HITS = [[(10, 20, 3000, 4), (11, 21, 3100, 2), (12, 22, 3200, 4)], [], [(0, 5, 900, 6)]]


def test_a_detector_with_its_own_converter_is_named_with_what_to_write(tmp_path: Path) -> None:
    path = write_tdc(tmp_path / "a.h5", HITS)
    with pytest.raises(InputFileError, match=f"the source {TDC} has arrays .* like hits") as caught:
        open_stored_run(path)
    for word in ("x: data/dldPosX", "pulse: data/pulseId", "x_unit_mm", TDC):
        assert word in str(caught.value.do)


def test_hits_in_arrays_of_a_source(tmp_path: Path) -> None:
    path = write_tdc(tmp_path / "a.h5", HITS)
    facility = Facility(keys=SourceKeys(**KEYS), x_unit_mm=0.5, time_unit_ns=0.1)
    run = open_stored_run(path, facility=facility)
    assert isinstance(run, KeyedRun)
    assert (run.first_pulse, run.n_pulses, run.n_trains, run.n_shots) == (2, 5, 3, 15)
    (hits,) = list(run)
    counts = hits.counts.reshape(3, 5)
    assert counts.tolist() == [[1, 0, 2, 0, 0], [0] * 5, [0, 0, 0, 0, 1]]
    assert hits.x_mm.tolist() == [5.5, 5.0, 6.0, 0.0]
    np.testing.assert_allclose(hits.t_ns, [310, 300, 320, 90])
    assert hits.tags["pulse_id"].tolist() == list(range(2, 7)) * 3
    assert hits.tags["train_id"][5:10].tolist() == [FIRST + 1] * 5
    assert run.warnings == []
    steps = open_stored_run(path, facility=Facility(keys=SourceKeys(**KEYS)))
    assert "x_unit_mm and time_unit_ns" in steps.warnings[0]


def test_without_pulses_a_row_is_a_shot_and_dots_do(tmp_path: Path) -> None:
    path = write_tdc(tmp_path / "a.h5", HITS)
    keys = SourceKeys(x="data.dldPosX", y="data.dldPosY", time="data.dldTime")
    run = KeyedRun([path], Facility(keys=keys, source="SXP_DLD"))
    (hits,) = list(run)
    assert hits.counts.tolist() == [3, 0, 1]


def test_keys_that_do_not_fit(tmp_path: Path) -> None:
    path = write_tdc(tmp_path / "a.h5", HITS)
    wrong = SourceKeys(**(KEYS | {"x": "data/dldPosZ"}))
    with pytest.raises(InputFileError, match=r"no source has all the keys .*has data/dldPosX"):
        KeyedRun([path], Facility(keys=wrong))
    with pytest.raises(InputFileError, match="there is no source 'SXP_DLE'"):
        KeyedRun([path], Facility(keys=SourceKeys(**KEYS), source="SXP_DLE"))
    bad = write_tdc(tmp_path / "b.h5", [[(1, 2, 3, 100_000)]])
    with pytest.raises(InputFileError, match=f"names pulse 100000 in train {FIRST}"):
        KeyedRun([bad], Facility(keys=SourceKeys(**KEYS)))
    with pytest.raises(SettingsError, match="`keys` name hits"):
        parse_settings(Facility, {"keys": KEYS, "data": "edges"}, where="setup.yaml")
