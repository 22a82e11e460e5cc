"""`molexa mock` as a user runs it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from molexa_cli.main import main
from molexa_core.base.errors import SettingsError
from molexa_core.base.settings import Channel, Setup, load_channel, parse_settings
from molexa_core.io.results.truth_file import read_truth
from molexa_core.io.root.run import open_root_run
from molexa_core.pipeline.runs.mock import default_setup, mock, telling

Run = Callable[..., subprocess.CompletedProcess[str]]
BENT = "3\nbent\nO 0 0 0\nH 0.9 0 0\nH 0 0.9 0\n"


def test_a_run_with_its_truth(molexa: Run, tmp_path: Path) -> None:
    arguments = "mock water --events 5000 --seed 3 --out run.root --truth truth.h5 --json"
    done = molexa(*arguments.split())
    assert done.returncode == 0, done.stderr
    counts = json.loads(done.stdout)
    assert "wrote run.root" in done.stderr
    run = open_root_run(tmp_path / "run.root")
    assert run.layout == "lmf2root"
    assert run.n_shots == 5000 == counts["shots"]
    meta = run.metadata()
    assert parse_settings(Setup, meta["setup"], where="run") == telling(default_setup())
    assert parse_settings(Channel, meta["channel"], where="run") == load_channel("water")
    assert meta["virtual_truth"]["molecule"] == "water"
    assert meta["provenance"]["seed"] == 3
    assert meta["provenance"]["command"] == f"molexa {arguments}"
    truth, record = read_truth(tmp_path / "truth.h5")
    assert record.seed == 3
    hits = next(iter(run.iterate(5000)))
    assert hits.n_hits == len(truth.hit_ion) == counts["hits"]
    expected = mock(load_channel("water"), 5000, setup=default_setup(), seed=3)
    np.testing.assert_array_equal(hits.t_ns, expected.hits.t_ns)
    np.testing.assert_array_equal(hits.offsets, expected.hits.offsets)
    np.testing.assert_array_equal(truth.momentum, expected.truth.momentum)
    np.testing.assert_array_equal(truth.hit_molecule, expected.truth.hit_molecule)


def test_both_formats_hold_the_same_hits(working_folder: Path) -> None:
    for layout in ("root", "root-jagged"):
        assert main(["mock", "cf4", "--events", "600", "--out", f"{layout}.root",
                     "--format", layout, "-q"]) == 0  # fmt: skip
    flat, jagged = (
        open_root_run(working_folder / f"{name}.root") for name in ("root", "root-jagged")
    )
    assert jagged.layout == "jagged"
    for one, other in zip(flat.iterate(200), jagged.iterate(200), strict=True):
        np.testing.assert_array_equal(one.t_ns, other.t_ns)
        np.testing.assert_array_equal(one.x_mm, other.x_mm)
        np.testing.assert_array_equal(one.offsets, other.offsets)


def test_own_geometry_setup_and_channel(
    working_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (working_folder / "bent.xyz").write_text(BENT)
    (working_folder / "mine.yaml").write_text(
        "spectrometer: {regions: [{length_mm: 80, field_v_per_cm: 200}]}\n"
        "virtual: {molecules_per_shot: 1.5, tau_fs: 10}\n"
    )
    (working_folder / "molexa.yaml").write_text("setup: mine.yaml\n")
    assert (
        main(
            [
                "mock",
                "water",
                "--events",
                "50",
                "--out",
                "run.root",
                "--geometry",
                "bent.xyz",
                "--truth",
                "t.h5",
            ]
        )
        == 0
    )
    _, err = capsys.readouterr()
    assert "no normal modes are known for bent.xyz" in err
    meta = open_root_run("run.root").metadata()
    assert meta["setup"]["virtual"]["molecules_per_shot"] == 1.5
    assert meta["virtual_truth"]["molecule"] == "bent.xyz"
    assert set(meta["provenance"]["inputs"]) >= {"bent.xyz", "mine.yaml"}
    rest = read_truth("t.h5")[0].equilibrium.positions
    angle = (rest[1] - rest[0]) @ (rest[2] - rest[0])
    assert angle == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ("water --events 0 --out run.root", 2, "--events"),
        ("water --events 5 --seed -1 --out run.root", 2, "--seed"),
        ("watre --events 5 --out run.root", 1, "Did you mean water"),
        ("water --events 5 --out no/run.root", 1, "folder does not exist"),
        ("water --events 5 --out run.root --truth no/t.h5", 1, "folder does not exist"),
        ("water --events 5 --out run.root --geometry cf4", 2, "are not the atoms of cf4 (CF4)"),
        ("water --events 5 --out run.root --geometry none.xyz", 1, "no such file"),
        ("water --events 5 --out run.root --setup none.yaml", 1, "no such file"),
        ("water --events 5 --out run.root --format sqlite", 2, "sqlite"),
        ("water --out run.root", 2, "--events"),
    ],
)
def test_mistakes_get_one_sentence_and_leave_nothing(
    working_folder: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: str,
    code: int,
    message: str,
) -> None:
    assert main(["mock", *arguments.split()]) == code
    out, err = capsys.readouterr()
    assert message in err
    assert "Traceback" not in err
    assert not out
    assert not list(working_folder.iterdir())


def test_a_misspelt_key_of_the_setup_is_named(working_folder: Path) -> None:
    setup = working_folder / "setup.yaml"
    setup.write_text(
        "spectrometer: {regions: [{length_mm: 80, field_v_per_cm: 200}]}\n"
        "virtual: {molecule_per_shot: 1.5}\n"
    )
    with pytest.raises(SettingsError, match="did you mean molecules_per_shot"):
        mock("water", 5, out=working_folder / "run.root", setup=setup)
