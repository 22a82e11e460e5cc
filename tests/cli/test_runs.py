"""`molexa runs`, and `--runs 52-60` of other commands, as a user runs them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from molexa_core.base.errors import UsageError
from molexa_core.base.tables import Hits
from molexa_core.io.root.run import write_root_run
from molexa_core.io.run_catalogue import RunCatalogue
from molexa_core.pipeline.chain.update import judged_results, made_from
from molexa_core.pipeline.runs.run_numbers import add_runs, number_of, numbers_in
from tests.fakes.root_runs import make_channel, make_run, make_setup

Run = Callable[..., subprocess.CompletedProcess[str]]
SETUP = make_setup()
WATER = make_channel(("O+", 1), ("H+", 2))
META = {"setup": SETUP.model_dump(mode="json"), "channel": WATER.model_dump(mode="json")}


@pytest.fixture(scope="module")
def hits() -> Hits:
    return make_run(["O+", "H+", "H+"], SETUP, shots=3000, recoil=(1.5, 1.0, 0.5)).hits


@pytest.fixture
def folder(working_folder: Path, hits: Hits) -> Path:
    (working_folder / "raw").mkdir()
    for number, start in ((52, 0), (53, 1000), (54, 2000)):
        part = hits.shots(start, start + 1000)
        write_root_run(
            working_folder / "raw" / f"run{number:04d}.root", [part], slots=24, meta=META
        )
    add_runs(RunCatalogue("runs.sqlite", new=True), ["raw"], target="water")
    return working_folder


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("raw/r0052/RAW-R0052-REMI01-S00001.h5", 52),
        ("r0052/CORR-x.h5", 52),
        ("water_run17b.lmf", 17),
        ("scan-2026-11-003.lmf", 3),
        ("air2_4.root", 4),
    ],
)
def test_numbers_come_from_names(name: str, number: int) -> None:
    assert number_of(name) == number


def test_ranges_of_numbers() -> None:
    assert numbers_in("52-54,60, 53") == [52, 53, 54, 60]
    for wrong in ("", "a", "5-3", "1,,2", "1-9999999"):
        with pytest.raises(UsageError):
            numbers_in(wrong)
    with pytest.raises(UsageError, match="no number"):
        number_of("water.lmf")


def test_the_catalogue_holds_what_the_files_say(folder: Path) -> None:
    entries = RunCatalogue("runs.sqlite").runs()
    assert [one.number for one in entries] == [52, 53, 54]
    assert {one.target for one in entries} == {"water"}
    assert {one.channel for one in entries} == {"fake"}
    assert entries[0].conditions["shots"] == 1000
    assert entries[0].conditions["bytes"] == (folder / "raw" / "run0052.root").stat().st_size


def test_runs_in_place_of_files(molexa: Run, folder: Path) -> None:
    done = molexa("runs", "mark", "53", "bad", "--comment", "jet off", folder=folder)
    assert done.returncode == 0, done.stderr
    done = molexa("reduce", "--runs", "52-60", "--json", folder=folder)
    assert done.returncode == 0, done.stderr
    assert "left out as bad: run 53" in done.stderr
    assert "not in the catalogue: run 55, 56" in done.stderr
    assert [Path(one["file"]).name for one in json.loads(done.stdout)] == [
        "run0052.events.h5",
        "run0054.events.h5",
    ]
    made = made_from([folder / "raw" / "run0054.root"], judged_results())
    assert made == [("run0054.events.h5", None)]
    listed = molexa("runs", "list", "--products", "--json", folder=folder)
    products = {one["number"]: one["products"] for one in json.loads(listed.stdout)}
    assert products[52] == [{"file": "run0052.events.h5", "current": True, "why": None}]
    assert products[53] == []
    # What changes one run leaves the results of the others as they are.
    (folder / "raw" / "run0054.root").write_bytes((folder / "raw" / "run0053.root").read_bytes())
    plan = json.loads(molexa("update", "--dry-run", "--json", folder=folder).stdout)
    assert [step["makes"] for step in plan["steps"]] == [["run0054.events.h5"]]
    assert "--runs" not in plan["steps"][0]["command"]
    of_52 = molexa("update", "--runs", "52", "--dry-run", "--json", folder=folder)
    assert json.loads(of_52.stdout)["steps"] == []
    listed = molexa("runs", "list", "--products", "--json", folder=folder)
    products = {one["number"]: one["products"] for one in json.loads(listed.stdout)}
    assert not products[54][0]["current"]
    assert "has changed" in products[54][0]["why"]


def test_wrong_choices_are_told(molexa: Run, folder: Path) -> None:
    for words, code, told in (
        (("reduce",), 2, "--runs, such as 52-60"),
        (("reduce", "raw/run0052.root", "--runs", "52"), 2, "both files and numbers"),
        (("inspect", "--runs", "70-80"), 1, "none of the runs 70-80"),
        (("inspect", "--runs", "70"), 1, "no run 70"),
        (("runs", "mark", "52", "fine"), 2, "neither good nor bad"),
        (("reduce", "--runs", "52-54", "--out", "x.h5"), 2, "not written to one file"),
    ):
        done = molexa(*words, folder=folder)
        assert done.returncode == code, (words, done.stderr)
        assert told in done.stderr


def test_export_gives_a_column_for_each_condition(molexa: Run, folder: Path) -> None:
    lines = molexa("runs", "export", folder=folder).stdout.splitlines()
    assert lines[0].startswith("number,target,channel,quality,comment,files")
    assert "shots" in lines[0].split(",")
    assert len(lines) == 4
