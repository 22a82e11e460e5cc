"""Units computed by Dask and by array jobs of Slurm (a stand-in): the bits of one process."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import CancelledError
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from molexa_core.base.errors import UsageError, WorkError
from molexa_core.base.options.work_options import WorkOptions
from molexa_core.base.progress import CollectingProgress
from molexa_core.pipeline.chain import reduce as stage
from molexa_core.pipeline.chain import reduce_units
from molexa_core.pipeline.chain.reduce import reduce
from molexa_core.pipeline.work import dask_cluster, executor_choice
from molexa_core.pipeline.work.executors import InThisProcess
from molexa_core.pipeline.work.folder import UnitFolder
from molexa_core.pipeline.work.slurm import Slurm
from molexa_core.pipeline.work.unit import Phase, Unit
from tests.fakes.slurm import install
from tests.fakes.units_runs import content_hash, write_run

GONE = "molexa_core.pipeline.work.no_such_module:compute"


@pytest.fixture
def reduced(working_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Reduces a run in units of one stretch; gives the digest of the result."""
    monkeypatch.setattr(stage, "SMALL_UNITS", 2)
    monkeypatch.setattr(reduce_units, "UNIT_BYTES", 1)
    run = write_run(working_folder)

    def digest(out: str, progress: Any = None, **work: Any) -> str:
        reduce(
            [run], channel="channel.yaml", setup="setup.yaml", out=out,
            work=WorkOptions(**work), progress=progress or CollectingProgress(),
        )  # fmt: skip
        return content_hash(Path(out))

    return digest


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with a stand-in for Slurm; the folder of its state."""
    state = tmp_path / "slurm state"
    for name, value in install(state).items():
        monkeypatch.setenv(name, value)
    return state


def quick(at_a_time: int, options: Any = (), progress: Any = None) -> Slurm:
    return Slurm(at_a_time, options, progress or CollectingProgress(), look_s=0.1, grace_s=0.3)


@pytest.mark.slow
def test_an_array_job_of_slurm(
    reduced: Callable[..., str], slurm: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executor_choice, "Slurm", quick)
    progress = CollectingProgress()
    found = reduced(
        "slurm.h5", progress, slurm=True, slurm_array=2, slurm_option=["--partition=a b; c"],
        keep_units=True,
    )  # fmt: skip
    assert found == reduced("one.h5", workers=1)
    assert any(text.startswith("Slurm: job 1000, ") for text in progress.said)
    assert "--partition=a b; c" in (slurm / "1000.job").read_text().splitlines()
    assert (slurm / "1000.peak").read_text() in {"1", "2"}
    folder = Path("slurm.h5.units")
    assert list(folder.glob("log-slurm-1000-*.txt"))
    assert not (folder / "slurm.json").exists()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_workers_of_dask(reduced: Callable[..., str]) -> None:
    pytest.importorskip("distributed", reason="needs the extra cluster")
    progress = CollectingProgress()
    assert reduced("dask.h5", progress, dask="local:2") == reduced("one.h5", workers=1)
    assert any(text.startswith("Dask: 2 workers") for text in progress.said)


@pytest.mark.parametrize("lost", [ConnectionResetError(104, "reset by peer"), CancelledError()])
@pytest.mark.parametrize("question", ["scheduler_info", "submit"])
def test_a_scheduler_that_dies_between_two_questions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, question: str, lost: Exception
) -> None:
    """Whatever is not answered: that the scheduler is gone, not that a file cannot be written."""
    pytest.importorskip("distributed", reason="needs the extra cluster")
    closed = []

    def refuse(*_: object, **__: object) -> None:
        raise lost

    known = {"scheduler_info": lambda: {"workers": {}}, "dashboard_link": "", "status": "running"}
    client = SimpleNamespace(**known | {"close": lambda: closed.append(1), question: refuse})
    monkeypatch.setattr(dask_cluster, "connect", lambda _: (client, None))
    _, phase = phase_file(tmp_path)
    with pytest.raises(WorkError, match="scheduler is gone"):
        next(dask_cluster.Dask("tcp://127.0.0.1:1").compute(phase, [0]))
    assert closed


def phase_file(folder: Path, units: int = 3, compute: str = GONE) -> tuple[UnitFolder, Path]:
    held = UnitFolder(folder / "out.h5.units")
    held.path.mkdir()
    phase = Phase(compute, {}, [], {}, [Unit(f"part {n}", {"n": n}) for n in range(units)])
    return held, held.write_phase(phase)


def test_units_that_fail_in_tasks_are_told_with_their_reason(tmp_path: Path, slurm: Path) -> None:
    _, phase = phase_file(tmp_path)
    done = list(quick(2).compute(phase, [0, 1, 2]))
    assert sorted(one.number for one in done) == [0, 1, 2]
    for one in done:
        assert one.failure is not None
        assert "no_such_module" in one.failure.sentence()
    assert (slurm / "1000.peak").read_text() == "2"


def test_a_task_without_a_result_is_told_with_the_end_of_its_log(
    tmp_path: Path, slurm: Path
) -> None:
    held, phase = phase_file(tmp_path, units=1)
    (held.path / "log-slurm-999-0.txt").write_text("slurmstepd: out of memory\n")
    (slurm / "999.job").touch()
    (held.path / "slurm.json").write_text(json.dumps({"job": "999", "phase": phase.name}))
    progress = CollectingProgress()
    executor = quick(1, progress=progress)
    assert executor._running(phase) == "999"
    assert progress.said == ["Slurm: job 999 still runs"]
    (slurm / "999.over").touch()
    assert executor._running(phase) is None
    (done, *_) = list(executor._without_file({0: None}, held.path))
    assert done.failure is not None
    assert "out of memory" in done.failure.what


def test_what_slurm_refuses_is_told(tmp_path: Path, slurm: Path) -> None:
    _, phase = phase_file(tmp_path)
    with pytest.raises(UsageError, match="unrecognized option '--unheard'"):
        next(quick(2, ["--unheard"]).compute(phase, [0]))
    assert not list(slurm.glob("*.job"))


def test_without_slurm_or_while_it_does_not_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, phase = phase_file(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="no sbatch"):
        next(quick(2).compute(phase, [0]))
    (phase.parent / "slurm.json").write_text(json.dumps({"job": "7", "phase": phase.name}))
    with pytest.raises(WorkError, match="does not answer"):
        next(quick(2).compute(phase, [0]))


def test_one_way_to_compute_is_asked_for() -> None:
    with pytest.raises(UsageError, match="together"):
        WorkOptions(workers=2, slurm=True)
    assert isinstance(executor_choice.executor_of(WorkOptions(workers=1), 9), InThisProcess)
    asked = WorkOptions(slurm=True, slurm_option=["--time=10"])
    assert executor_choice.executor_of(asked, 9) == Slurm(64, ("--time=10",))
