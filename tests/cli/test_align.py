from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from molexa_core.base.storage.provenance import Provenance
from molexa_core.io.results.events import read_events, write_events
from tests.cli.conftest import Run
from tests.fakes.chain import momenta

GOLDEN = Path(__file__).parent / "golden"
WARNING = (
    "warning: 1 of 200 events have no molecular frame (zero or collinear momenta) and were left "
    "out."
)


@pytest.fixture
def events(tmp_path: Path) -> Path:
    """200 water events without a channel, one of them broken."""
    table = momenta("water", 200, 1)
    table.momentum[7, 0] = 0.0
    table.momentum[7, 1] = -table.momentum[7, 2]
    path = tmp_path / "run.events.h5"
    write_events(path, table, Provenance.of("made for a test"))
    return path


def test_golden_output(molexa: Run, events: Path) -> None:
    done = molexa("align", "--ref", "O+", "--second", "H+", "--plane", "xz")
    assert done.returncode == 0, done.stderr
    assert done.stdout == (GOLDEN / "align.txt").read_text(encoding="utf-8")
    assert done.stderr.splitlines() == [
        "reading run.events.h5",
        WARNING,
    ]
    table, provenance = read_events(events.with_name("run.aligned.h5"))
    assert len(table) == 2 * 199
    assert 7 not in table.event_id
    assert provenance.command == "molexa align --ref O+ --second H+ --plane xz"
    assert [step["command"] for step in provenance.history] == ["made for a test"]
    assert list(provenance.inputs) == ["run.events.h5"]


def test_json_and_the_file_for_others(molexa: Run, events: Path, tmp_path: Path) -> None:
    done = molexa("align", events.name, "--json", "--channel", "water", "--out", "other.h5")
    values = json.loads(done.stdout)
    assert (values["aligned"], values["flagged"]["zero_momentum"]) == (199, 1)
    assert values["assignments_per_event"] == 2
    with h5py.File(tmp_path / "other.h5") as file:
        assert file["events/momentum"].shape == (398, 3, 3)
        assert file["events/momentum"].attrs["units"] == "a.u."
        assert np.all(file["events/weight"][:] == 0.5)


def test_without_a_frame_the_heaviest_ion_is_x(molexa: Run, events: Path) -> None:
    done = molexa("align", events.name)
    assert done.returncode == 0
    assert "no frame given: x is the heaviest ion whose direction" in done.stderr
    rows = [line.split() for line in done.stdout.splitlines()]
    assert ["x", "axis", "O+"] in rows
    assert ["x-y", "plane", "H+"] in rows


def test_several_files_are_listed(molexa: Run, events: Path) -> None:
    events.with_name("two.events.h5").write_bytes(events.read_bytes())
    done = molexa("align", "--ref", "O+")
    assert done.returncode == 1
    assert "2 files *.events.h5: run.events.h5, two.events.h5. Name one of them." in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--ref", "C+"], 1, "C+ is not among the ions of the events. There are: H+, O+."),
        (["--ref", "Q+"], 1, "unknown element 'Q'"),
        (["--ref", "O+", "--second", "O+"], 2, "the only O+ is the reference"),
        (["--channel", "cf4"], 2, "channel cf4 has ions C+, F+, F+, F+, F+, the events O+, H+, H+"),
        (["--channel", "watr"], 1, "Did you mean water?"),
        (["--plane", "yz"], 2, "yz"),
        (["--ref", "O+", "--out", "none/a.h5"], 1, "the folder does not exist"),
    ],
)
def test_bad_choices(
    molexa: Run, events: Path, tmp_path: Path, arguments: list[str], code: int, message: str
) -> None:
    done = molexa("align", events.name, *arguments)
    assert done.returncode == code
    assert message in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == [events.name]


def test_no_file_and_not_a_file(molexa: Run, tmp_path: Path) -> None:
    done = molexa("align")
    assert done.returncode == 1
    assert "no *.events.h5 in this folder. Run molexa reduce or name one." in done.stderr
    (tmp_path / "a.events.h5").write_text("no HDF5")
    done = molexa("align")
    assert done.returncode == 1
    assert "a.events.h5" in done.stderr
