from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.fakes.chain import make_folder


def test_golden_output(molexa: Run, tmp_path: Path) -> None:
    make_folder(tmp_path, "water", events=40)
    done = molexa("report", "--out", "page.html", "--title", "A <title>")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "page.html\n"
    assert done.stderr.splitlines() == [
        "reduce: run.events.h5",
        "align: run.aligned.h5",
        "centroid: channel.csv",
        "reconstruct: geom.json",
        "known structure: known.xyz",
    ]
    assert "<h1>A &lt;title&gt;</h1>" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_nothing_to_report(molexa: Run, tmp_path: Path) -> None:
    done = molexa("report", "-q")
    assert done.returncode == 1
    assert "nothing to report" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_file_is_named(molexa: Run, tmp_path: Path) -> None:
    (tmp_path / "channel.csv").write_text("ion,px\n", encoding="utf-8")
    done = molexa("report")
    assert done.returncode == 1
    assert "channel.csv, line 1: column py, pz is missing" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["channel.csv"]


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("report --out fig.pdf", "a report page is not written as .pdf"),
        ("report --out page", "a report page is not written as a file without an ending"),
        ("simulate water --charges O+,H+,H+ --out m.png", "mean momenta is not written as .png"),
    ],
)
def test_a_name_that_says_another_format_is_refused(
    molexa: Run, tmp_path: Path, command: str, message: str
) -> None:
    done = molexa(*command.split())
    assert done.returncode == 2
    assert message in done.stderr
    assert not list(tmp_path.iterdir())
