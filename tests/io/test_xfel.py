"""Files of European XFEL and FLASH: what stands in them comes out, and bad ones are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from molexa_core.base.errors import InputFileError
from molexa_core.base.settings.columns import Facility
from molexa_core.base.tables import Edges, Hits, offsets_of
from molexa_core.io.facilities.flash import FlashRun
from molexa_core.io.facilities.xfel import XfelRun
from molexa_core.io.facilities.xfel_write import write_xfel_run
from molexa_core.io.run import find_files, open_stored_run
from tests.fakes.facility import BOTTOM, FIRST, STAGE, TOP, hits_of, write_flash, write_xfel

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
FLASH = DATA / "opencompes_FLASH_HEXTOF_DLD_20trains.h5"


def whole(run: Any) -> Hits:
    chunks = list(run)
    return Hits.concatenate(chunks)


@pytest.mark.parametrize("chunk", [None, 1, 3, 1000])
def test_hits_of_every_pulse(tmp_path: Path, chunk: int | None) -> None:
    pulses = [3, 0, 5, 1, 0, 0, 4]
    run = XfelRun([write_xfel(tmp_path / "a.h5", pulses, fillers=2)])
    assert (run.n_shots, run.n_trains, run.layout) == (13, 7, "xfel")
    hits = whole(run.iterate(chunk))
    expected = [hit for pulse in range(13) for hit in hits_of(pulse)]
    assert hits.counts.tolist() == [len(hits_of(pulse)) for pulse in range(13)]
    for name, column in zip(("x_mm", "y_mm", "t_ns", "method"), range(4), strict=True):
        assert getattr(hits, name).tolist() == [hit[column] for hit in expected]
    assert hits.tags["train_id"].tolist() == np.repeat(FIRST + np.arange(7), pulses).tolist()
    places = np.concatenate([np.arange(k) for k in pulses])
    assert hits.tags["pulse_id"].tolist() == (4 * places).tolist()
    assert hits.tags["pump_laser"].tolist() == (places % 2).tolist()
    assert run.remarks == [f"3 of 7 trains hold no pulse of {TOP}"]
    assert run.about()["start"] == "20220701T101500Z"
    assert run.parameters() == {"detector/max_hits": 50}


def test_pulses_without_light_are_left_out_and_counted(tmp_path: Path) -> None:
    lit = [True, False, True, True, False, True]
    path = write_xfel(tmp_path / "a.h5", [4, 2], fel=lit, energy_trains=[0, 1])
    run = XfelRun([path])
    hits = whole(run)
    assert run.n_shots == 4
    assert run.remarks == ["2 of 6 pulses without light are left out"]
    kept = np.flatnonzero(lit)
    assert hits.counts.tolist() == [len(hits_of(int(pulse))) for pulse in kept]
    # the n-th value of the monitor is the n-th pulse with light
    assert hits.tags["pulse_energy_uj"].tolist() == [0, 1, 2, 10]
    everything = whole(XfelRun([path], Facility(pulses="all")))
    np.testing.assert_array_equal(everything.tags["pulse_energy_uj"], [0, np.nan, 1, 2, np.nan, 10])
    assert everything.tags["fel"].tolist() == [1, 0, 1, 1, 0, 1]


def test_trains_missing_in_the_monitor_are_not_numbers(tmp_path: Path) -> None:
    path = write_xfel(tmp_path / "a.h5", [1, 2, 1], energy_trains=[0, 2], delay=True)
    run = XfelRun([path], Facility(delay=f"{STAGE}/actualPosition", delay_unit_fs=2, delay_zero=99))
    hits = whole(run)
    np.testing.assert_array_equal(hits.tags["pulse_energy_uj"], [0, np.nan, np.nan, 20])
    assert hits.tags["delay_fs"].tolist() == [2, 4, 4, 6]
    assert "1 of 3 trains have no pulse energy: NaN there" in run.remarks
    without = whole(XfelRun([path], Facility(pulse_energy="none")))
    assert "pulse_energy_uj" not in without.tags
    with pytest.raises(InputFileError, match=r"there is no 'NO/WHERE'.*TOP:output"):
        XfelRun([path], Facility(delay="NO/WHERE"))


def test_files_of_a_run_in_any_order_and_as_a_folder(tmp_path: Path) -> None:
    second = write_xfel(tmp_path / "CORR-R0052-REMI01-S00010.h5", [2, 3], first_train=FIRST + 2,
                        first_pulse=4)  # fmt: skip
    first = write_xfel(tmp_path / "CORR-R0052-REMI01-S00002.h5", [1, 3])
    for paths in ([second, first], tmp_path, str(tmp_path / "CORR-*.h5")):
        hits = whole(open_stored_run(paths))
        assert (
            hits.tags["train_id"].tolist() == np.repeat(FIRST + np.arange(4), [1, 3, 2, 3]).tolist()
        )
        assert len(hits.t_ns) == sum(len(hits_of(pulse)) for pulse in range(9))
        assert hits.t_ns[-1] == hits_of(7)[-1][2]
    assert [path.name[-7:-3] for path in find_files(tmp_path)] == ["0002", "0010"]
    with pytest.raises(InputFileError, match=f"train {FIRST} is also in"):
        XfelRun([first, write_xfel(tmp_path / "copy.h5", [1])])


def test_old_files_without_pulse_numbers(tmp_path: Path) -> None:
    run = XfelRun([write_xfel(tmp_path / "a.h5", [2, 3], old=True)])
    assert whole(run).tags["pulse_id"].tolist() == [0, 1, 0, 1, 2]
    assert run.remarks == ["the run does not tell in which pulses the laser fired: all are read"]


def test_edges_are_rows_by_channel(tmp_path: Path) -> None:
    run = XfelRun([write_xfel(tmp_path / "a.h5", [2, 2])], Facility(data="edges"))
    (edges,) = list(run)
    assert isinstance(edges, Edges)
    assert edges.counts.tolist() == [0, 7, 14, 21]
    last = slice(edges.offsets[3], None)
    assert edges.channel[last].tolist() == np.repeat(np.arange(7), 3).tolist()
    assert edges.t_ns[last].tolist() == [503.0 + c + 100 * k for c in range(7) for k in range(3)]


def test_several_detectors_have_to_be_chosen_from(tmp_path: Path) -> None:
    path = write_xfel(tmp_path / "a.h5", [2], sources=(TOP, BOTTOM))
    with pytest.raises(InputFileError, match=r"several detectors: .*BOTTOM.*, .*TOP.*`source`"):
        XfelRun([path])
    assert XfelRun([path], Facility(source="BOTTOM")).source == BOTTOM
    with pytest.raises(InputFileError, match="0 detectors are like 'TOPP'"):
        XfelRun([path], Facility(source="TOPP"))


def edit(path: Path, name: str, change: Any) -> None:
    with h5py.File(path, "r+") as file:
        values = file[name][()]
        del file[name]
        new = change(values)
        if new is not None:
            file[name] = new


def set_at(place: int, value: int) -> Any:
    def change(values: np.ndarray) -> np.ndarray:
        values[place] = value
        return values

    return change


DAMAGE: dict[str, tuple[str, Any, str]] = {
    "count behind the data": (
        f"INDEX/{TOP}/rec/count", set_at(2, 40),
        f"train {FIRST + 2}: the index of .* names rows 5 to 45, but there are 9",
    ),
    "short index": (
        f"INDEX/{TOP}/rec/first", lambda v: v[:-1], "rec/first has 2 entries for 3 trains",
    ),
    "no index": (f"INDEX/{TOP}/rec/first", lambda v: None, "rec/first is missing"),
    "trains go back": (
        "INDEX/trainId", lambda v: v[::-1].copy(), f"train {FIRST + 1} follows train {FIRST + 2}",
    ),
    "other number of triggers": (
        f"INDEX/{TOP}/raw/count", set_at(1, 1),
        f"train {FIRST + 1} has another number of pulses in raw/triggers",
    ),
    "hits of another type": (
        f"INSTRUMENT/{TOP}/rec/hits", lambda v: v["x"].copy(), "fields None, expected 2 axes and",
    ),
    "no hits": (f"INSTRUMENT/{TOP}/rec/hits", lambda v: None, "no rec/hits in any of the files"),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_told_with_its_place(tmp_path: Path, name: str) -> None:
    path = write_xfel(tmp_path / "a.h5", [3, 2, 4])
    where, change, message = DAMAGE[name]
    edit(path, where, change)
    with pytest.raises(InputFileError, match=message):
        list(XfelRun([path], Facility(data="hits")))


def test_raw_files_have_no_hits(tmp_path: Path) -> None:
    path = tmp_path / "RAW.h5"
    with h5py.File(path, "w") as file:
        file["INDEX/trainId"] = np.array([1, 2], np.uint64)
        file["INSTRUMENT/SQS_DIGITIZER_UTC2/ADC/1:network/digitizers/samples"] = np.zeros(3)
    with pytest.raises(
        InputFileError, match=r"looked for .*rec/hits.*SQS_DIGITIZER_UTC2/ADC/1:net"
    ):
        open_stored_run(path)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    counts = rng.integers(0, 5, 250)
    n = int(counts.sum())
    energy = rng.integers(0, 100, 250).astype(float)
    hits = Hits(
        0, offsets_of(counts), rng.normal(size=n), rng.normal(size=n),
        rng.random(n) * 1e4, rng.integers(0, 18, n).astype(np.int16), {"pulse_energy_uj": energy},
    )  # fmt: skip
    write_xfel_run(tmp_path / "a.h5", [hits], slots=4, meta={"channel": "water"})
    run = XfelRun([tmp_path / "a.h5"])
    assert run.metadata() == {"channel": "water"}
    back = whole(run)
    for name in ("offsets", "x_mm", "y_mm", "t_ns", "method"):
        np.testing.assert_array_equal(getattr(back, name), getattr(hits, name))
    np.testing.assert_array_equal(back.tags["pulse_energy_uj"], energy)


def test_flash(tmp_path: Path) -> None:
    facility = Facility(
        delay="zraw/DELAY/dGroup", delay_unit_fs=10, pulse_energy="FL1/GMD/energy tunnel",
        x_unit_mm=0.1, time_unit_ns=0.5,
    )  # fmt: skip
    run = open_stored_run(write_flash(tmp_path / "a.h5"), facility=facility)
    assert isinstance(run, FlashRun)
    hits = whole(run)
    assert (run.n_pulses, run.first_pulse, run.n_shots) == (9, 5, 54)
    counts = hits.counts.reshape(6, 9)
    assert counts.sum(axis=1).tolist() == [0, 1, 2, 3, 4, 5]
    assert counts[3].tolist() == [1, 0, 1, 0, 1, 0, 0, 0, 0]
    third = slice(hits.offsets[27], hits.offsets[36])  # falling in the file, rising by pulse here
    np.testing.assert_allclose(hits.y_mm[third], [10.2, 10.1, 10.0])
    np.testing.assert_allclose(hits.x_mm[third], 20.3)
    np.testing.assert_allclose(hits.t_ns[third], [1516, 1515.5, 1515])
    assert hits.tags["train_id"][27:36].tolist() == [1003] * 9
    assert hits.tags["pulse_id"][27:36].tolist() == list(range(5, 14))
    np.testing.assert_allclose(hits.tags["delay_fs"][27:36], 30.0)
    assert hits.tags["pulse_energy_uj"][27:30].tolist() == [300, 301, 302]


def test_flash_damage(tmp_path: Path) -> None:
    base = "uncategorised/FLASH.EXP/HEXTOF.DAQ/DLD1"
    path = write_flash(tmp_path / "a.h5")
    edit(path, f"{base}/index", lambda v: v[:-1])
    with pytest.raises(InputFileError, match="index has 5 trains, .*value 6"):
        FlashRun([path])
    edit(write_flash(path), f"{base}/value", lambda v: np.nan_to_num(v, nan=1e7))
    with pytest.raises(InputFileError, match=r"names pulse 1e\+07; a train has at most"):
        FlashRun([path])


@pytest.mark.skipif(not FLASH.exists(), reason="the real file is not here")
def test_a_real_file_of_flash() -> None:
    run = open_stored_run(FLASH)
    hits = whole(run)
    assert isinstance(run, FlashRun)
    assert (run.n_trains, run.first_pulse, run.n_pulses) == (20, 5, 515)
    with h5py.File(FLASH, "r") as file:
        value = file["uncategorised/FLASH.EXP/HEXTOF.DAQ/DLD1/value"][()]
    assert value.shape == (20, 5, 321)
    real = np.isfinite(value[:, 0])
    assert len(hits.t_ns) == real.sum()
    train, pulse = np.nonzero(real)[0], value[:, 2][real].astype(int)
    expected = np.lexsort((pulse, train))
    np.testing.assert_array_equal(hits.t_ns, value[:, 3][real][expected])
    np.testing.assert_array_equal(hits.y_mm, value[:, 0][real][expected])
    np.testing.assert_array_equal(hits.x_mm, value[:, 1][real][expected])
    of_hit = np.repeat(hits.tags["pulse_id"], hits.counts)
    np.testing.assert_array_equal(of_hit, pulse[expected])
