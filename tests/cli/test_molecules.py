"""`molexa molecules` as a user runs it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from molexa_cli.main import main
from molexa_core.base.errors import UsageError
from molexa_core.io.xyz import read_provenance, read_xyz
from molexa_core.physics.molecules.library import molecule
from molexa_core.pipeline.explosions.molecules import molecules as list_molecules
from tests.conftest import Run


def test_one_molecule_as_table_json_and_file(molexa: Run, tmp_path: Path) -> None:
    done = molexa("molecules", "CF4", "--xyz", "cf4.xyz")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "cf4 CF4, FC(F)(F)F, in the G2/97 set"
    assert "carbon_tetrafluoride" in lines[1]
    assert [line.split()[0] for line in lines if "-" in line and line[:2] in ("F1", "C2")] == [
        "F1-C2", "C2-F3", "C2-F4", "C2-F5",
    ]  # fmt: skip
    assert "wrote cf4.xyz" in done.stderr
    written = read_xyz(tmp_path / "cf4.xyz")[0]
    shipped = molecule("cf4").geometry
    assert written.symbols == shipped.symbols
    np.testing.assert_allclose(written.positions, shipped.positions, atol=1e-9)
    record = read_provenance(tmp_path / "cf4.xyz")
    assert record is not None
    assert record.settings["molecule"] == "cf4"


def test_json_of_one_molecule(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["molecules", "nitrogen", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["formula"], found["split"], found["g2"]) == ("N2", "train", True)
    assert found["bonds"] == [[0, 1, pytest.approx(1.098, abs=0.02)]]
    (wavenumber,) = found["wavenumber_cm"]
    # omega / 2, with 8065.54 /cm to the electronvolt
    assert found["zero_point_ev"] == pytest.approx(wavenumber / 2 / 8065.544, rel=1e-5)
    assert np.linalg.norm(np.diff(found["positions_bohr"], axis=0)) == pytest.approx(2.07, abs=0.04)


def test_list_with_conditions(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["molecules", "--elements", "H,O", "--atoms", "3-4"]
    assert main(arguments) == 0
    out, err = capsys.readouterr()
    assert [line.split()[0] for line in out.splitlines()[2:]] == [
        "water", "hydroperoxyl", "ozone", "h2o2",
    ]  # fmt: skip
    assert "4 molecules" in err
    assert main([*arguments, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert rows[0]["smiles"] == "O"
    assert main(["molecules", "--split", "held-out", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {row["split"] for row in rows} == {"held-out"}
    assert main(["molecules", "--json", "--quiet"]) == 0
    assert len(json.loads(capsys.readouterr().out)) >= 400


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["watr"], 1, "no molecule named 'watr'. Did you mean water"),
        (["C2H6O"], 1, "2 molecules have the formula C2H6O. Name one: dimethyl_ether, ethanol."),
        (["--atoms", "9-2"], 2, "no number of atoms is in 9-2. Write 2-9."),
        (["--atoms", "few"], 2, "'few' is not a number of atoms. Give a number such as 5"),
        (["--elements", "C,Xx"], 1, "unknown element 'Xx'"),
        (["--xyz", "a.xyz"], 2, "--xyz needs the name of a molecule"),
        (["water", "--atoms", "3"], 2, "one molecule is named. Leave out the name"),
        (["water", "--xyz", "nowhere/a.xyz"], 1, "nowhere/a.xyz: cannot write"),
    ],
)
def test_bad_input(
    arguments: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["molecules", *arguments]) == code
    out, err = capsys.readouterr()
    assert not out
    assert message in err
    assert err.count("\n") == 1


def test_a_split_that_there_is_not() -> None:
    with pytest.raises(UsageError, match="unknown split 'test'"):
        list_molecules(splits=["test"])  # type: ignore[list-item]
