"""Update makes what is missing or outdated, and nothing else, by the commands that are recorded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from molexa_core.base.errors import ComputationError, InputFileError
from molexa_core.base.options.gate_options import Selection
from molexa_core.base.storage.provenance import made_by
from molexa_core.io.results.events import read_events
from molexa_core.io.root.run import write_root_run
from molexa_core.pipeline.chain.align import align
from molexa_core.pipeline.chain.centroid import centroid
from molexa_core.pipeline.chain.draw_gate import GateMap
from molexa_core.pipeline.chain.reduce import reduce
from molexa_core.pipeline.chain.report import report_folder
from molexa_core.pipeline.chain.update import Plan, Step, plan_update, update
from tests.conftest import Run
from tests.fakes.root_runs import make_channel, make_run, make_setup

SETUP = make_setup()
CHANNEL = make_channel(("O+", 1), ("H+", 2))
REDUCE = ("reduce", "run.root", "--channel", "mine.yaml")
ALIGN = ("align", "--gate", "slow", "--ref", "O+")
CENTROID = ("centroid",)


def line(words: tuple[str, ...]) -> str:
    return " ".join(["molexa", *words])


@pytest.fixture
def folder(working_folder: Path) -> Path:
    run = make_run(("O+", "H+", "H+"), SETUP, shots=3000, recoil=(1.5, 1.0, 0.5))
    meta = {"setup": SETUP.model_dump(mode="json")}
    write_root_run(working_folder / "run.root", [run.hits], slots=24, meta=meta)
    Path("mine.yaml").write_text(yaml.safe_dump(CHANNEL.model_dump(mode="json")))
    with made_by(line(REDUCE)):
        events = Path("run.events.h5")
        reduce(["run.root"], channel="mine.yaml", out=events)
    box = {"box": {"x": [0.0, 9.0], "y": [0.0, 90.0]}}
    GateMap(events, "ker", "p(O+)").write("slow", box)
    with made_by(line(ALIGN)):
        aligned = Path("run.aligned.h5")
        align(events, reference="O+", selection=Selection(gate=["slow"]), out=aligned)
    with made_by(line(CENTROID)):
        centroid(aligned, out="channel.csv")
    return working_folder


def made(plan: Plan) -> list[tuple[tuple[str, ...], str]]:
    return [(step.command, step.why) for step in plan.steps]


def test_nothing_is_made_where_nothing_has_changed(folder: Path) -> None:
    plan = plan_update()
    assert made(plan) == []
    assert set(plan.current) == {"run.events.h5", "run.aligned.h5", "channel.csv"}
    assert not plan.remarks


def test_a_changed_channel_makes_everything_behind_it(folder: Path) -> None:
    values = CHANNEL.model_dump(mode="json") | {"description": "another"}
    Path("mine.yaml").write_text(yaml.safe_dump(values))
    assert made(plan_update()) == [
        (REDUCE, "mine.yaml has changed"),
        (ALIGN, "run.events.h5 is made anew"),
        (CENTROID, "run.aligned.h5 is made anew"),
    ]


def test_a_changed_region_makes_only_what_uses_it(folder: Path) -> None:
    text = Path("regions.yaml").read_text()
    Path("regions.yaml").write_text(text.replace("9.0", "8.0"))
    assert made(plan_update()) == [
        (ALIGN, "regions.yaml has changed"),
        (CENTROID, "run.aligned.h5 is made anew"),
    ]


def test_what_is_missing_is_made_even_from_the_history_of_later_results(folder: Path) -> None:
    Path("run.aligned.h5").unlink()
    assert made(plan_update())[0] == (ALIGN, "it is missing")
    Path("run.events.h5").unlink()
    assert [command for command, _ in made(plan_update())] == [REDUCE, ALIGN, CENTROID]
    Path("run.root").unlink()
    with pytest.raises(InputFileError, match=r"run\.events\.h5 must be made .* run\.root is miss"):
        plan_update()


def test_a_missing_run_does_not_matter_while_nothing_needs_it(folder: Path) -> None:
    Path("run.root").unlink()
    assert made(plan_update()) == []


def test_every_report_is_written_again(folder: Path) -> None:
    commands = [("report", "--out", f"{name}.html") for name in ("one", "two")]
    for words in commands:
        report_folder(".", out=words[-1], command=line(words))
    assert {"one.html", "two.html"} <= set(plan_update().current)
    Path("run.aligned.h5").unlink()
    because = "channel.csv is made anew"
    assert made(plan_update())[2:] == [(words, because) for words in commands]


def test_results_of_other_programs_are_left_alone(folder: Path) -> None:
    with made_by("a notebook"):
        centroid("run.aligned.h5", out="other.csv")
    Path("mine.csv").write_text("ion,px,py,pz\nO+,1,0,0\n")
    plan = plan_update()
    assert made(plan) == []
    assert len(plan.remarks) == 1
    assert "other.csv was not made by a command of molexa (a notebook)" in plan.remarks[0]
    (folder / "empty").mkdir()
    with pytest.raises(InputFileError, match="no result that tells how it was made"):
        plan_update("empty")


@pytest.mark.slow
def test_results_are_made_again_from_python(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = CHANNEL.model_dump(mode="json") | {"description": "another"}
    Path("mine.yaml").write_text(yaml.safe_dump(values))
    monkeypatch.chdir("/")
    told = update(folder, dry_run=True)
    assert [step.line for step in told.steps] == [line(REDUCE), line(ALIGN), line(CENTROID)]
    done = update(folder)
    assert done.steps == told.steps
    assert any("mean momenta" in text for text in done.remarks)  # a warning of molexa centroid
    monkeypatch.chdir(folder)
    assert made(plan_update()) == []
    Path("mine.yaml").write_text("name: [")
    with pytest.raises(ComputationError, match=r"molexa reduce failed with exit code 1 \(.*yaml"):
        update(folder)


@pytest.mark.slow
def test_the_command_runs_the_commands(molexa: Run, folder: Path) -> None:
    values = CHANNEL.model_dump(mode="json") | {"description": "another"}
    Path("mine.yaml").write_text(yaml.safe_dump(values))
    told = molexa("update", "--dry-run", "--json", folder=folder)
    assert [step["command"] for step in json.loads(told.stdout)["steps"]] == [
        line(REDUCE),
        line(ALIGN),
        line(CENTROID),
    ]
    assert made(plan_update())
    done = molexa("update", "--quiet", folder=folder)
    assert done.returncode == 0, done.stderr
    assert made(plan_update()) == []
    again = read_events("run.events.h5")[1].command
    assert again == line(REDUCE)  # the same words, however the update was called
    Path("mine.yaml").write_text("name: [")
    failed = molexa("update", folder=folder)
    assert failed.returncode == 1
    assert "molexa: molexa reduce failed with exit code 1" in failed.stderr


def test_who_computes_is_told_to_commands_that_work_in_units() -> None:
    def after(words: str, work: dict[str, object]) -> str:
        plan = Plan((Step(tuple(words.split()), ("a.h5",), "it is missing"),), (), ())
        return " ".join(plan.computed_by(work).steps[0].command)

    reduce = "reduce run.root --workers 3 --slurm --skip-failed --dask=local:2 --out a.h5"
    assert after(reduce, {}) == reduce
    rest = "run.root --skip-failed --out a.h5"
    assert after(reduce, {"workers": 2}) == f"reduce --workers=2 {rest}"
    options = ["--mem=2G", "--partition=short"]
    assert after(reduce, {"slurm": True, "slurm_option": options}) == (
        f"reduce --slurm --slurm-option=--mem=2G --slurm-option=--partition=short {rest}"
    )
    dask = {"dask": "tcp://s:8786"}
    assert after("reconstruct a.events.h5", dask).endswith("--dask=tcp://s:8786 a.events.h5")
    for other in ("reconstruct channel.csv", "reconstruct a.events.h5 --by delay", "align a.h5"):
        assert after(other, dask) == other
