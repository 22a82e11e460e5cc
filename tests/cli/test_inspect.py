"""`molexa inspect` as a user sees it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from molexa_cli.plots import drawn
from molexa_core.base.spectrum import Spectrum
from molexa_core.io.lmf import LmfFile
from tests.cli.conftest import Run
from tests.fakes.lmf_files import make_events, make_header, write


def test_text_json_and_exit_codes(molexa: Run, tmp_path: Path) -> None:
    header = make_header()
    path = write(tmp_path / "run.lmf", header, [make_events(header, 40)])
    done = molexa("inspect", "run.lmf", "--verify")
    assert (done.returncode, done.stderr) == (0, "")
    assert "Cobold list-mode file" in done.stdout
    assert "no fault found" in done.stdout
    assert "config, " in done.stdout
    assert "time, all channels" in done.stdout
    data = path.read_bytes()
    last = int(np.concatenate([block.position for block in LmfFile(path)])[-1])
    path.write_bytes(data[:-2])
    done = molexa("inspect", "run.lmf", "--verify")
    assert done.returncode == 1
    assert f"byte {last}: the file ends within an event" in done.stdout
    (item,) = json.loads(molexa("inspect", "run.lmf", "--json").stdout)
    assert item["format"] == "lmf"
    assert item["quantities"]["events read"] == {"value": 39, "unit": ""}
    assert item["details"]["truncated"] is True


def test_texts_of_a_file_cannot_steer_the_terminal(molexa: Run, tmp_path: Path) -> None:
    write(tmp_path / "run.lmf", make_header(comment="a\x1b[2Jb", config_text="c\x07\n"), [])
    done = molexa("inspect", "run.lmf")
    assert done.returncode == 0
    assert "a?[2Jb" in done.stdout
    assert "\x1b" not in done.stdout
    assert "\x07" not in done.stdout


def test_an_unknown_file_is_1_in_one_line(molexa: Run, tmp_path: Path) -> None:
    (tmp_path / "run.lmf").write_text("not a run\n", encoding="utf-8")
    done = molexa("inspect", "run.lmf")
    assert done.returncode == 1
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert "Looked for" in done.stderr


def test_columns_are_as_high_as_the_counts() -> None:
    spectrum = Spectrum(np.array([0, 8, 4, 1]), (np.arange(5.0),), ("time",), ("ns",))
    lines = drawn(spectrum, "title").splitlines()
    assert lines[0] == "title"
    assert [line[2:3] for line in lines[1:9]] == ["█"] * 8
    assert [line[3:4].strip() for line in lines[1:9]] == [""] * 4 + ["█"] * 4
    assert [line[1:2].strip() for line in lines[1:9]] == [""] * 8
    assert lines[-2] == " 0  4 ns"


def test_an_image_has_x_to_the_right_and_y_up() -> None:
    counts = np.zeros((4, 4), np.int64)
    counts[3, 0] = 9
    edges = np.arange(5.0)
    lines = drawn(Spectrum(counts, (edges, edges), ("x", "y"), ("mm", "mm")), "t").splitlines()
    assert lines[4] == "|      @@|"
    assert lines[1:4] == ["|        |"] * 3
    assert "brightest 9 counts" in lines[-1]


def test_empty_spectra_are_drawn() -> None:
    edges = np.arange(3.0)
    drawn(Spectrum(np.zeros(2), (edges,), ("t",), ("ns",)), "t")
    drawn(Spectrum(np.zeros((2, 2)), (edges, edges), ("x", "y"), ("", "")), "t")
