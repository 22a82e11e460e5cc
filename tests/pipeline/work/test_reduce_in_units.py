"""A run reduced in units of work gives the same bits as in one go, by however many processes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from molexa_core.base.errors import InputFileError
from molexa_core.base.options.work_options import HERE, WorkOptions
from molexa_core.base.progress import CollectingProgress
from molexa_core.base.settings import load_setup
from molexa_core.base.tables import Hits
from molexa_core.pipeline.chain import reduce as stage
from molexa_core.pipeline.chain import reduce_units
from molexa_core.pipeline.chain.reduce import reduce
from molexa_core.pipeline.runs.open_run import open_run
from molexa_core.pipeline.work.folder import UnitFolder
from tests.fakes.root_runs import make_setup
from tests.fakes.units_runs import content_hash, write_run

HIDING = {"detector": {"radius_mm": 60.0, "dead_time_ns": 12.0, "dead_radius_mm": 8.0}}
"""A setup that states a dead time which made-up hits do not have."""


def reduced(path: Path, out: str, work: WorkOptions = HERE, **more: Any) -> Any:
    """The digest of the result, and the summary."""
    progress = more.pop("progress", CollectingProgress())
    target = path.parent / out
    summary = reduce(
        [path],
        channel="channel.yaml",
        setup="setup.yaml",
        out=target,
        work=work,
        progress=progress,
        **more,
    ).summary
    return content_hash(target), summary


@pytest.fixture
def small_units(monkeypatch: pytest.MonkeyPatch) -> None:
    """Units of one stretch, even for a run of some stretches."""
    monkeypatch.setattr(stage, "SMALL_UNITS", 2)
    monkeypatch.setattr(reduce_units, "UNIT_BYTES", 1)


@pytest.mark.parametrize("layout", ["root-jagged", "root", "hdf5"])
@pytest.mark.usefixtures("small_units")
def test_units_give_the_bits_of_one_go(
    working_folder: Path, layout: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_run(working_folder, layout=layout)
    one, told = reduced(path, "units.h5", WorkOptions(workers=1))
    assert told.false is not None
    assert told.false.true > 100
    assert not (working_folder / "units.h5.units").exists()
    monkeypatch.setattr(stage, "SMALL_UNITS", 1000)
    whole, summary = reduced(path, "whole.h5")
    assert one == whole
    assert summary == told
    assert summary.health["share_of_time_without_shots"] > 0.2


@pytest.mark.usefixtures("small_units")
def test_a_stated_dead_time_that_the_run_does_not_have_is_seen_in_all_units(
    working_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Units are begun as if there were one; those for which it turns out wrong are done again."""
    path = write_run(working_folder, setup=make_setup(**HIDING))
    one, told = reduced(path, "units.h5", WorkOptions(workers=1))
    assert told.false.dead_time_off
    monkeypatch.setattr(stage, "SMALL_UNITS", 1000)
    assert reduced(path, "whole.h5") == (one, told)


@pytest.mark.usefixtures("small_units")
@pytest.mark.parametrize(
    "how", [{"mixing": False}, {"solutions": "all"}, {"rivals": ["channel2.yaml"]}], ids=str
)
def test_other_ways_of_searching(
    working_folder: Path, monkeypatch: pytest.MonkeyPatch, how: dict[str, Any]
) -> None:
    path = write_run(working_folder)
    text = (working_folder / "channel.yaml").read_text()
    rival = text.replace("name: fake", "name: other").replace("count: 2", "count: 1")
    rival = rival.replace("gates:", "gates:\n  sum_half_width: [9.0, 9.0, 9.0]")
    (working_folder / "channel2.yaml").write_text(rival)
    one = reduced(path, "units.h5", WorkOptions(workers=1), **how)
    monkeypatch.setattr(stage, "SMALL_UNITS", 1000)
    assert reduced(path, "whole.h5", **how) == one


@pytest.mark.usefixtures("small_units")
def test_a_table_with_one_row_per_hit(
    working_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is looked through once for the rows with which shots begin."""
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr(reduce_units, "SMALL_UNITS", 2)
    run = open_run(write_run(working_folder), load_setup(working_folder / "setup.yaml"))
    hits = Hits.concatenate(list(run))
    columns = {"shot": hits.shot, "x_mm": hits.x_mm, "y_mm": hits.y_mm, "tof_ns": hits.t_ns}
    path = working_folder / "rows.parquet"
    parquet.write_table(pa.table(columns), path, row_group_size=10_000)
    one, told = reduced(path, "units.h5", WorkOptions(workers=1, keep_units=True))
    assert len(list((working_folder / "units.h5.units").glob("*.unit"))) >= 5
    assert told.false.true > 100
    monkeypatch.setattr(stage, "SMALL_UNITS", 1000)
    monkeypatch.setattr(reduce_units, "SMALL_UNITS", 10**9)
    assert reduced(path, "whole.h5") == (one, told)


@pytest.mark.slow
@pytest.mark.usefixtures("small_units")
def test_two_processes_give_the_bits_of_one(working_folder: Path) -> None:
    path = write_run(working_folder)
    one = reduced(path, "one.h5", WorkOptions(workers=1))
    two = reduced(path, "two.h5", WorkOptions(workers=2, keep_units=True))
    assert one == two
    assert len(list((working_folder / "two.h5.units").glob("*.unit"))) >= 6


@pytest.mark.usefixtures("small_units")
def test_finished_units_are_not_computed_again_wherever_the_run_lies(
    working_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_run(working_folder)
    first = reduced(path, "out.h5", WorkOptions(workers=1, keep_units=True))
    (working_folder / "other").mkdir()
    path = path.rename(working_folder / "other" / "copy.root")

    def never(*_: Any) -> None:
        msg = "computed again"
        raise AssertionError(msg)

    monkeypatch.setattr(reduce_units._Searching, "__call__", never)
    monkeypatch.setattr(reduce_units.Reducer, "find_gate", never)
    (working_folder / "out.h5.units").rename(working_folder / "other" / "out.h5.units")
    assert reduced(path, "out.h5", WorkOptions(workers=1)) == first
    assert not (working_folder / "other" / "out.h5.units").exists()


@pytest.mark.usefixtures("small_units")
def test_a_failed_unit_is_told_kept_apart_and_done_again(
    working_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_run(working_folder)
    whole = reduced(path, "whole.h5", WorkOptions(workers=1))
    search = reduce_units._Searching.__call__

    def failing(self: Any, values: Any) -> Any:
        if values["first"] == 2:
            raise InputFileError("the tape is torn", where=path)
        return search(self, values)

    monkeypatch.setattr(reduce_units._Searching, "__call__", failing)
    progress = CollectingProgress()
    with pytest.raises(InputFileError, match="torn"):
        reduced(path, "out.h5", WorkOptions(workers=1), progress=progress)
    assert any("shots 32768 to 49151: " in text for text in progress.warned)
    assert any("finished units stay in" in text for text in progress.said)
    assert not (working_folder / "out.h5").exists()
    _, summary = reduced(path, "out.h5", WorkOptions(workers=1, skip_failed=True))
    missing = [text for text in summary.warnings if text.startswith("missing: shots 32768")]
    assert len(missing) == 1
    assert summary.shots == whole[1].shots - 16_384
    monkeypatch.setattr(reduce_units._Searching, "__call__", search)
    assert reduced(path, "out.h5", WorkOptions(workers=1)) == whole
    assert not (working_folder / "out.h5.units").exists()


@pytest.mark.usefixtures("small_units")
def test_a_damaged_unit_is_computed_again(working_folder: Path) -> None:
    path = write_run(working_folder)
    first = reduced(path, "out.h5", WorkOptions(workers=1, keep_units=True))
    for unit in (working_folder / "out.h5.units").glob("*.unit"):
        data = bytearray(unit.read_bytes())
        data[len(data) // 2] ^= 1
        unit.write_bytes(data)
    assert reduced(path, "out.h5", WorkOptions(workers=1)) == first


def test_a_small_run_needs_no_folder_and_no_other_process(
    working_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: Any, **__: Any) -> None:
        msg = "a folder of units"
        raise AssertionError(msg)

    monkeypatch.setattr(UnitFolder, "of_result", never)
    reduced(write_run(working_folder), "out.h5")
