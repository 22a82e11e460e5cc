"""A folder that is watched: what is new is read once, and a watch goes on where it ended."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from molexa_core.base.errors import InputFileError, UsageError
from molexa_core.base.storage.outputs import FileKind
from molexa_core.base.tables import Hits
from molexa_core.io.results.kinds import kind_of_result
from molexa_core.io.root.run import write_root_run
from molexa_core.pipeline.chain.reduce import reduce
from molexa_core.pipeline.runs.mock import mock
from molexa_core.pipeline.watching.new_ranges import Folder
from molexa_core.pipeline.watching.page_server import PageServer
from molexa_core.pipeline.watching.structure_maker import structure_of
from molexa_core.pipeline.watching.watch import Watch, WatchOptions
from tests.fakes.chain import momenta
from tests.fakes.root_runs import make_channel, make_run, make_setup

SETUP = make_setup()
WATER = make_channel(("O+", 1), ("H+", 2))
META = {"setup": SETUP.model_dump(mode="json"), "channel": WATER.model_dump(mode="json")}


@pytest.fixture(scope="module")
def hits() -> Hits:
    return make_run(["O+", "H+", "H+"], SETUP, shots=3000, recoil=(1.5, 1.0, 0.5)).hits


@pytest.fixture
def folder(working_folder: Path) -> Path:
    (working_folder / "data").mkdir()
    return working_folder / "data"


def write(path: Path, hits: Hits) -> None:
    write_root_run(path, [hits], slots=24, meta=META)


def watched(folder: Path, **options: Any) -> dict[str, Any]:
    return Watch(WatchOptions(folder, structure=False, **options), lambda _: None).run(once=True)


def test_a_watch_finds_what_a_reduction_finds_and_goes_on(folder: Path, hits: Hits) -> None:
    write(folder / "run1.root", hits.shots(0, 1000))
    first = watched(folder)
    assert first["shots"] == 1000
    again = watched(folder)
    assert (again["shots"], again["coincidences"]) == (1000, first["coincidences"])
    write(folder / "run2.root", hits.shots(1000, 3000))
    last = watched(folder)
    whole = reduce([hits], WATER, SETUP, mixing=False)
    assert last["shots"] == 3000
    assert last["coincidences"] == whole.summary.coincidences
    assert last["ker"]["mean"] == pytest.approx(whole.summary.ker.mean, rel=1e-9)
    assert last["runs"] == [
        {"run": "run1.root", "shots": 1000, "trouble": "", "open": False},
        {"run": "run2.root", "shots": 2000, "trouble": "", "open": False},
    ]
    assert last["behind_bytes"] == 0
    json.dumps(last, allow_nan=False)
    assert kind_of_result(Path("data.watch.npz")) is FileKind.WATCH


def test_a_file_that_has_grown_gives_only_its_new_shots(folder: Path, hits: Hits) -> None:
    write(folder / "run.root", hits.shots(0, 1200))
    assert watched(folder)["shots"] == 1200
    write(folder / "run.root", hits)
    assert watched(folder)["coincidences"] == watched(folder, fresh=True)["coincidences"]
    write(folder / "run.root", hits.shots(0, 500))
    last = watched(folder)
    assert last["shots"] == 3000
    assert any("shorter" in alarm["text"] for alarm in last["alarms"])


def test_only_closed_files_are_read_and_results_of_molexa_never(folder: Path, hits: Hits) -> None:
    write(folder / "run.root", hits.shots(0, 300))
    (folder / "broken.root").write_bytes(b"root of something")
    shutil.copy(folder / "run.root", folder / "hidden.root.part")
    (folder / "r7").mkdir()
    write(folder / "r7" / "a-0.root", hits.shots(0, 100))
    write(folder / "r7" / "a-1.root", hits.shots(100, 300))
    clock = [time.time()]
    found = Folder(folder, settled_s=30.0, now=lambda: clock[0])
    assert found.first_run() is None
    assert list(found.ranges(SETUP)) == []
    clock[0] += 31.0
    shots: dict[str, int] = {}
    for part in found.ranges(SETUP):
        shots[part.run] = shots.get(part.run, 0) + part.hits.n_shots
        found.readings[part.run] = part.reading
    assert shots == {"run.root": 300, "r7": 300}
    assert found.readings["broken.root"].trouble
    assert list(found.ranges(SETUP)) == []
    assert not found.readings["r7"].trouble


def test_a_state_of_other_settings_is_refused(folder: Path, hits: Hits) -> None:
    write(folder / "run.root", hits.shots(0, 500))
    watched(folder)
    Path("other.yaml").write_text(
        "name: other\nions:\n- {ion: O+}\n- {ion: H+, count: 2}\ngates: {max_momentum: 90}\n",
        encoding="utf-8",
    )
    with pytest.raises(InputFileError, match="another channel or setup"):
        watched(folder, channel="other.yaml")
    assert watched(folder, channel="other.yaml", fresh=True)["channel"] == "other"
    with pytest.raises(UsageError):
        watched(folder, channel="other.yaml", state=Path("other.yaml"))
    Path("notes.npz").write_bytes(b"PK\x03\x04 not a state")
    with pytest.raises(UsageError, match="not written by molexa"):
        watched(folder, state=Path("notes.npz"))


def test_nothing_is_there_yet(folder: Path) -> None:
    seen = watched(folder)
    assert not seen["begun"]
    assert not Path("data.watch.npz").exists()
    with pytest.raises(InputFileError, match="no such folder"):
        watched(folder / "nowhere")


def ask(server: PageServer, path: str, host: str | None = None) -> tuple[int, bytes]:
    port = int(server.url.rsplit(":", 1)[1].strip("/"))
    link = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    link.request("GET", path, headers={} if host is None else {"Host": host})
    answer = link.getresponse()
    body = answer.read()
    link.close()
    return answer.status, body


def test_the_page_is_served_to_this_machine_alone() -> None:
    with PageServer("watch <data>", port=0) as server:
        status, page = ask(server, "/")
        assert status == 200
        assert b"watch &lt;data&gt;" in page
        server.publish({"shots": 5})
        assert json.loads(ask(server, "/summary.json")[1]) == {"shots": 5}
        assert ask(server, "/../etc/passwd")[0] == 404
        assert ask(server, "/summary.json", host="evil.example")[0] == 403
        port = int(server.url.rsplit(":", 1)[1].strip("/"))
        with pytest.raises(UsageError, match="cannot listen"):
            PageServer("second", port=port)


@pytest.mark.slow
def test_the_structure_of_a_sample_is_that_of_the_momenta() -> None:
    found = structure_of(momenta("water", 1500, seed=3), 4000)
    assert found["atoms"] == ["O", "H", "H"]
    assert found["of"] == 4000
    assert found["sample"] == 1500
    positions = np.array(found["positions"])
    lengths = [np.linalg.norm(positions[i] - positions[j]) for i, j in ((0, 1), (0, 2), (1, 2))]
    for one, length in zip(found["distances"], lengths, strict=True):
        # A posterior has its medians, which are not those of the positions.
        assert abs(one["value"] - length) < max(0.01, 2.0 * one["half_width"])


@pytest.mark.slow
def test_a_watch_that_is_killed_loses_and_doubles_nothing(folder: Path) -> None:
    mock("nitrogen", 30_000, out=Path("whole.lmf"), seed=4, layout="lmf")
    data = Path("whole.lmf").read_bytes()
    grown = folder / "run.lmf"
    command = [sys.executable, "-m", "molexa_cli.main", "watch", str(folder)]
    command += ["--terminal", "--no-structure", "--every", "0.5", "--state", "killed.npz"]
    grown.write_bytes(data[: len(data) // 8])
    for eighth in range(2, 6):
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            process.stdout.readline()  # it has read something
            with grown.open("ab") as stream:
                stream.write(data[stream.tell() : len(data) * eighth // 8])
            if eighth % 2:
                time.sleep(12.0)  # long enough for a state to be written
                process.stdout.readline()
            os.kill(process.pid, signal.SIGKILL)
    with grown.open("ab") as stream:
        stream.write(data[stream.tell() :])
    last = watched(folder, state=Path("killed.npz"))
    straight = watched(folder, state=Path("straight.npz"))
    assert last["shots"] == straight["shots"] == 30_000
    assert last["hits"] == straight["hits"]
    assert last["coincidences"] == straight["coincidences"]
