"""Workers that are copies of one process compute the same, and nothing is lost when it dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from molexa_core.base.options.work_options import WorkOptions
from molexa_core.pipeline.chain import reduce as stage
from molexa_core.pipeline.chain import reduce_units
from molexa_core.pipeline.work import fork_server, processes
from molexa_core.pipeline.work.early_start import LARGE_RUN, begin_for
from molexa_core.pipeline.work.fork_server import ForkedWorker, ForkServer
from tests.fakes.units_runs import content_hash, write_run

pytestmark = pytest.mark.skipif(not fork_server.possible(), reason="this system cannot split")
NOTHING = "molexa_core.base.errors:MolexaError"
"""Something whose module is loaded at once."""


def test_a_worker_answers_ends_with_its_input_and_tells_how(tmp_path: Path) -> None:
    server = ForkServer(NOTHING, os.environ)
    server.warm_up({}, {})
    try:
        (tmp_path / "phase.json").write_text('{"keys": [], "units": []}', encoding="utf-8")
        with (tmp_path / "log.txt").open("ab") as log:
            workers = [server.make(tmp_path / "phase.json", log) for _ in range(2)]
        whole, killed = (one for one in workers if isinstance(one, ForkedWorker))
        assert len({whole.pid, killed.pid, os.getpid()}) == 3
        with pytest.raises(subprocess.TimeoutExpired):
            whole.wait(0.0)
        killed.kill()
        assert killed.wait(60.0) == -signal.SIGKILL
        whole.stdin.close()
        assert whole.wait(60.0) == 0
        assert whole.stdout.read() == b""
        for one in (killed, whole):
            one.stdin.close()
            one.stdout.close()
    finally:
        server.close()


def test_where_the_process_is_gone_there_is_no_worker(tmp_path: Path) -> None:
    server = ForkServer(NOTHING, os.environ)
    server.warm_up({}, {})
    server._popen.kill()
    server._popen.wait()
    with (tmp_path / "log.txt").open("ab") as log:
        assert server.make(tmp_path / "phase.json", log) is None
    server.close()


def test_a_process_with_threads_does_not_split(tmp_path: Path) -> None:
    (tmp_path / "with_threads.py").write_text(
        "import threading, time\n"
        "threading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n",
        encoding="utf-8",
    )
    paths = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    server = ForkServer("with_threads:none", {**os.environ, "PYTHONPATH": paths})
    server.warm_up({}, {})
    with (tmp_path / "log.txt").open("ab") as log:
        assert server.make(tmp_path / "phase.json", log) is None
    server.close()


def test_one_that_was_begun_early_is_used_and_others_end(tmp_path: Path) -> None:
    """Only where the files are large enough, and processes of this machine compute."""
    large = tmp_path / "run.root"
    with large.open("wb") as stream:
        stream.truncate(LARGE_RUN)
    for runs, work in (
        ([large], WorkOptions(workers=1)),
        ([large], WorkOptions(dask="local:2")),
        ([tmp_path / "missing.root", Path(__file__)], WorkOptions(workers=2)),
    ):
        begin_for(runs, work, NOTHING)
        assert not processes._begun
    begin_for([tmp_path], WorkOptions(workers=2), NOTHING)
    begun = processes._begun[NOTHING]
    executor = processes.Processes(2)
    executor.prepare(NOTHING, {}, {})
    assert executor._server is begun
    assert not processes._begun
    executor.close()
    assert begun._popen.poll() is not None
    processes.begin(NOTHING)
    unused = processes._begun[NOTHING]
    processes.forget()
    assert unused._popen.poll() is not None
    assert not processes._begun


def test_it_does_not_outlive_the_command() -> None:
    program = (
        "import os, sys, time\n"
        "from molexa_core.pipeline.work.fork_server import ForkServer\n"
        f"server = ForkServer({NOTHING!r}, os.environ)\n"
        "server.warm_up({}, {})\n"
        "print(server._popen.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    command = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, env=os.environ
    )
    assert command.stdout is not None
    server = int(command.stdout.readline())
    command.kill()
    command.wait()
    command.stdout.close()
    deadline = time.monotonic() + 60.0
    while time.monotonic() < deadline and Path(f"/proc/{server}/cmdline").exists():
        if not Path(f"/proc/{server}/cmdline").read_bytes():  # ended; nobody has waited for it
            break
        time.sleep(0.05)
    else:
        assert not Path(f"/proc/{server}/cmdline").exists()


@pytest.mark.slow
@pytest.mark.parametrize("dies", [False, True], ids=["lives", "dies"])
def test_its_workers_give_the_same_bits(
    working_folder: Path, monkeypatch: pytest.MonkeyPatch, dies: bool
) -> None:
    monkeypatch.setattr(stage, "SMALL_UNITS", 2)
    monkeypatch.setattr(reduce_units, "UNIT_BYTES", 1)
    made: list[bool] = []
    make = ForkServer.make

    def counted(self: ForkServer, *arguments: Any) -> ForkedWorker | None:
        worker = make(self, *arguments)
        made.append(worker is not None)
        if dies:
            self._popen.kill()
        return worker

    monkeypatch.setattr(ForkServer, "make", counted)
    path = write_run(working_folder)
    given: dict[str, Any] = {"channel": "channel.yaml", "setup": "setup.yaml"}
    for name, workers in (("one.h5", 1), ("two.h5", 2)):
        out = working_folder / name
        stage.reduce([path], **given, out=out, work=WorkOptions(workers=workers))
    assert content_hash(working_folder / "one.h5") == content_hash(working_folder / "two.h5")
    assert made[:2] == [True, not dies]
