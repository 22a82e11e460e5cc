"""Gates go through every stage after the search, and every file says what they took."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

from molexa_core.base.errors import InputFileError, NoEventsError, UsageError
from molexa_core.base.options.gate_options import Selection
from molexa_core.base.settings import load_channel
from molexa_core.io.results.events import read_events
from molexa_core.io.root.run import write_root_run
from molexa_core.observables.expression import parse_number
from molexa_core.pipeline.chain.align import align
from molexa_core.pipeline.chain.centroid import centroid
from molexa_core.pipeline.chain.reduce import reduce
from molexa_core.pipeline.chain.report import read_results, report_folder
from tests.conftest import Run
from tests.fakes.root_runs import FakeRun, make_channel, make_run, make_setup

SETUP = make_setup()
IONS = ("O+", "H+", "H+")
CHANNEL = make_channel(("O+", 1), ("H+", 2))
BOX = {"x": "p(O+)", "y": "psum", "box": {"x": [0.0, 60.0], "y": [0.0, 5.0]}}


@pytest.fixture(scope="module")
def run() -> FakeRun:
    return make_run(IONS, SETUP, shots=4000, recoil=(1.5, 1.0, 0.5))


@pytest.fixture
def folder(working_folder: Path, run: FakeRun) -> Path:
    meta = {"setup": SETUP.model_dump(mode="json"), "channel": CHANNEL.model_dump(mode="json")}
    write_root_run(working_folder / "run.root", [run.hits], slots=24, meta=meta)
    return working_folder


def test_gating_later_gives_what_gating_in_reduce_gives(folder: Path) -> None:
    gates = Selection(where=["ker < 4", "tof(O+) > 1000 and hits < 9"])
    everything = Path("all.events.h5")
    reduce(["run.root"], out=everything)
    gated = Path("cut.events.h5")
    summary = reduce(["run.root"], selection=gates, out=gated).summary
    full, cut = read_events(everything)[0], read_events(gated)[0]
    assert full.detector is not None
    keep = (
        (parse_number("ker").values(full) < 4)
        & (full.detector.tof_ns[:, 0] > 1000)
        & (full.tags["hits"] < 9)
    )
    assert 0 < keep.sum() < len(full)
    np.testing.assert_array_equal(cut.event_id, full.event_id[keep])
    assert summary.coincidences == keep.sum()
    one = Path("a.aligned.h5")
    align(everything, reference="O+", second="H+", selection=gates, out=one)
    other = Path("b.aligned.h5")
    align(gated, reference="O+", second="H+", out=other)
    ours, theirs = read_events(one), read_events(other)
    np.testing.assert_array_equal(ours[0].momentum, theirs[0].momentum)
    for table, record, stage in ((*ours, "align"), (*theirs, "reduce")):
        rows = table.meta["gates"]
        assert [row["gate"] for row in rows] == gates.where
        assert {row["stage"] for row in rows} == {stage}
        assert (rows[0]["rows"], rows[-1]["kept"]) == (len(full), keep.sum())
        steps = [*record.history, record.own_record()]
        assert any(step["settings"].get("gates") == rows for step in steps)


def test_the_channel_names_its_gates_and_they_are_applied_once(folder: Path, run: FakeRun) -> None:
    values = CHANNEL.model_dump(mode="json", exclude_none=True)
    values |= {"regions": {"slow": BOX}}
    values["gates"] |= {"use": ["slow"], "where": "not inside(slow) or ker > 0.5"}
    Path("mine.yaml").write_text(yaml.safe_dump(values))
    plain = Path("all.events.h5")
    reduce(["run.root"], out=plain)
    gated = Path("cut.events.h5")
    reduce(["run.root"], channel="mine.yaml", out=gated)
    cut = read_events(gated)[0]
    assert [row["gate"] for row in cut.meta["gates"]] == ["slow", "not inside(slow) or ker > 0.5"]
    assert np.linalg.norm(cut.momentum[:, 0], axis=1).max() <= 60.0
    later = Path("a.aligned.h5")
    align(plain, channel="mine.yaml", reference="O+", out=later)
    again = Path("b.aligned.h5")
    align(gated, channel="mine.yaml", reference="O+", out=again)
    ours, theirs = read_events(later)[0], read_events(again)[0]
    np.testing.assert_array_equal(ours.momentum, theirs.momentum)
    assert len(ours.meta["gates"]) == len(theirs.meta["gates"]) == 2
    table = reduce(list(run.chunks(1000)), load_channel("mine.yaml"), SETUP).table
    assert len(table) == len(cut)


def test_centroid_and_report_take_gates(folder: Path) -> None:
    source = Path("run.events.h5")
    reduce(["run.root"], out=source)
    aligned = Path("run.aligned.h5")
    align(source, reference="O+", second="H+", out=aligned)
    gates = Selection(where=["ker in 1..6"])
    path = Path("channel.csv")
    rows = centroid(aligned, selection=gates, out=path)
    table = read_events(aligned)[0]
    ker = parse_number("ker").values(table)
    keep = (ker >= 1) & (ker <= 6)
    mean = np.average(table.momentum[keep], axis=0, weights=table.weight[keep])
    np.testing.assert_allclose(rows[["px", "py", "pz"]].to_numpy(), mean, atol=1e-9)
    assert "ker in 1..6" in path.read_text()
    target, results = report_folder(".", selection=gates)
    assert results.aligned is not None
    assert len(results.aligned) == keep.sum()
    assert f"kept {keep.sum()} of {len(table)}" in target.read_text()
    untouched = read_results(".").aligned
    assert untouched is not None
    assert len(untouched) == len(table)


def test_regions_come_from_the_folder_or_a_named_file(folder: Path) -> None:
    source = Path("run.events.h5")
    reduce(["run.root"], out=source)
    Path("regions.yaml").write_text(yaml.safe_dump({"regions": {"slow": BOX}}))
    aligned = Path("run.aligned.h5")
    align(source, reference="O+", selection=Selection(gate=["slow"]), out=aligned)
    row = read_events(aligned)[0].meta["gates"][0]
    assert row["regions"]["slow"] == BOX
    other = BOX | {"box": {"x": [0.0, 40.0], "y": [0.0, 5.0]}}
    Path("other.yaml").write_text(yaml.safe_dump({"regions": {"slow": other}}))
    selection = Selection(gate=["slow"], regions=Path("other.yaml"))
    fewer = Path("b.aligned.h5")
    align(source, reference="O+", selection=selection, out=fewer)
    assert len(read_events(fewer)[0]) < len(read_events(aligned)[0])
    with pytest.raises(InputFileError, match=r"no\.yaml"):
        align(source, selection=Selection(gate=["slow"], regions=Path("no.yaml")))
    with pytest.raises(UsageError, match="no region 'fast'"):
        align(source, selection=Selection(gate=["fast"]))


def test_gates_that_leave_nothing_write_nothing(folder: Path) -> None:
    for stage in (
        lambda gates: reduce(["run.root"], out="x.events.h5", selection=gates),
        lambda gates: align(reduce(["run.root"]).table, out="x.a.h5", selection=gates),
    ):
        with pytest.raises(NoEventsError, match="leaves none of .* they have ker from"):
            stage(Selection(where=["ker > 0", "ker > 4000"]))
    assert not [path for path in folder.iterdir() if path.name.startswith("x")]


def test_faults_of_conditions_are_usage_errors_with_their_place(molexa: Run, folder: Path) -> None:
    reduce(["run.root"], out="run.events.h5")
    done = molexa("align", "--ref", "O+", "--where", "kr > 3", folder=folder)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-2:] == ["    kr > 3", "    ^"]
    done = molexa("align", "--ref", "O+", "--gate", "slow", folder=folder)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("molexa: --gate: there is no region 'slow'")
    done = molexa("reconstruct", "channel.csv", "--where", "ker > 3", folder=folder)
    assert done.returncode == 2
    assert "--where: mean momenta cannot be gated any more" in done.stderr
