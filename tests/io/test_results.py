"""What molexa wrote is known by its content, and nothing else is."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

from molexa_cli.main import main
from molexa_core.base.storage.outputs import FileKind, run_kind
from molexa_core.base.storage.provenance import Provenance
from molexa_core.base.tables import Hits
from molexa_core.io.formats import writer_names
from molexa_core.io.results.kinds import kind_of_result
from molexa_core.io.run import write_hits
from molexa_core.io.run_write import write_csv_run
from molexa_core.io.tables.text_table import TextTable
from molexa_core.report.style import as_uri, figure, save_svg
from tests.fakes.chain import make_folder

LAYOUTS = writer_names()


def _hits() -> Hits:
    return Hits(
        first_shot=0,
        offsets=np.array([0, 1, 2], np.int64),
        x_mm=np.array([1.0, -2.0]),
        y_mm=np.array([0.5, 3.0]),
        t_ns=np.array([100.0, 200.0]),
        method=np.zeros(2, np.int32),
        tags={"=1+1": np.array([-5.0, 7.0])},
    )


@pytest.mark.parametrize("layout", LAYOUTS)
def test_runs_of_every_format_are_known_under_any_name(layout: str, tmp_path: Path) -> None:
    path = tmp_path / "any name"
    words = ["mock", "nitrogen", "--events", "40", "--format", layout, "--out", str(path), "-q"]
    assert main(words) == 0
    assert kind_of_result(path) is run_kind(layout)


def test_a_run_replaces_one_of_its_format_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["mock", "nitrogen", "--events", "40", "--out", str(tmp_path / "run.root"), "-q"]
    assert main(words) == 0
    before = (tmp_path / "run.root").read_bytes()
    for other in ("csv", "root-jagged"):
        assert main([*words, "--format", other]) == 2
        said = capsys.readouterr().err
        assert f"this is a run (root) of molexa, and the result is a run ({other})" in said
    assert (tmp_path / "run.root").read_bytes() == before
    assert main([*words, "--seed", "2"]) == 0
    assert (tmp_path / "run.root").read_bytes() != before


def test_results_of_the_stages_are_known(tmp_path: Path) -> None:
    make_folder(tmp_path)
    truth = tmp_path / "truth.h5"
    run = str(tmp_path / "run.root")
    assert main(["mock", "nitrogen", "--events", "40", "--out", run, "--truth", str(truth)]) == 0
    assert main(["report", str(tmp_path), "-q"]) == 0
    xyz = str(tmp_path / "water.xyz")
    assert main(["molecules", "water", "--xyz", xyz, "-q"]) == 0
    recipe = str(tmp_path / "recipe.json")
    assert main(["dataset", "resolve", "--recipe", "small", "--out", recipe, "-q"]) == 0
    with figure(2, 2) as (drawing, _):
        save_svg(as_uri(drawing), tmp_path / "figure.svg", Provenance.of("test -- <&>"))
    found = {path.name: kind_of_result(path) for path in tmp_path.iterdir()}
    assert found == {
        "run.events.h5": FileKind.EVENTS,
        "run.aligned.h5": FileKind.ALIGNED,
        "channel.csv": FileKind.MOMENTA,
        "geom.json": FileKind.RECONSTRUCTION,
        "known.xyz": None,  # written without a record, as by another program
        "truth.h5": FileKind.TRUTH,
        "run.root": run_kind("root"),
        "report.html": FileKind.REPORT,
        "water.xyz": FileKind.GEOMETRY,
        "recipe.json": FileKind.RECIPE,
        "figure.svg": FileKind.FIGURE,
    }
    for path in list(tmp_path.iterdir()):
        other = path.with_name("renamed.txt")
        shutil.copy(path, other)
        assert kind_of_result(other) is found[path.name]


def test_files_of_others_are_not_taken_for_results(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["hits/x"] = np.arange(5.0)
    with figure(2, 2) as (drawing, _):
        save_svg(as_uri(drawing), tmp_path / "bare.svg")
    texts = {
        "notes.txt": "molexa is a program\n",
        "table.csv": "ion,px,py,pz\nO+,1,2,3\n",
        "comment.csv": "# provenance: by hand\nion,px,py,pz\nO+,1,2,3\n",
        "settings.json": json.dumps({"format": 1, "molexa": True}),
        "list.json": "[1, 2]",
        "deep.json": "[" * 100_000,
        "broken.json": '{"symbols": [',
        "structure.xyz": "1\nprovenance\nH 0 0 0\n",
        "page.html": "<!DOCTYPE html><title>molexa</title>",
        "setup.yaml": "# mine\nanode:\n  kind: hex\n",
        "empty": "",
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    binary = {"noise": bytes(range(256)), "cut.h5": b"\x89HDF\r\n\x1a\n" + bytes(40)}
    binary |= {"cut.root": b"root" + bytes(60), "cut.parquet": b"PAR1" + bytes(9)}
    binary |= {"tensors": (40).to_bytes(8, "little") + b'{"x": 1}'.ljust(40)}
    for name, content in binary.items():
        (tmp_path / name).write_bytes(content)
    assert {path.name for path in tmp_path.iterdir() if kind_of_result(path) is not None} == set()


def test_a_truncated_result_is_none_any_more(tmp_path: Path) -> None:
    make_folder(tmp_path)
    whole = (tmp_path / "run.events.h5").read_bytes()
    (tmp_path / "cut.h5").write_bytes(whole[: len(whole) // 2])
    assert kind_of_result(tmp_path / "cut.h5") is None


def test_a_result_with_a_damaged_value_may_be_made_again(tmp_path: Path) -> None:
    make_folder(tmp_path)
    path = tmp_path / "run.aligned.h5"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert kind_of_result(path) is FileKind.ALIGNED


def test_hits_written_from_a_notebook_are_known_too(tmp_path: Path) -> None:
    for layout in ("root", "hdf5", "csv", "parquet"):
        write_hits(tmp_path / layout, [_hits()], layout, meta={"run": 1})
        assert kind_of_result(tmp_path / layout) is run_kind(layout)


def test_a_name_that_a_spreadsheet_would_compute_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "run.csv"
    write_csv_run(path, [_hits()], meta={"file": "a,=1+1"})
    text = path.read_text(encoding="utf-8")
    assert ",=" not in text
    assert "'=1+1" in text
    table = TextTable(path)
    assert table.metadata() == {"file": "a,=1+1"}
    assert "=1+1" in table.kinds
