"""`molexa simulate` as a user runs it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from molexa_cli.main import main
from molexa_core.base.errors import InputFileError, UnknownIonError, UsageError
from molexa_core.base.forward_model import ChargeBuildUp
from molexa_core.base.matter.ions import parse_ion
from molexa_core.base.progress import CollectingProgress
from molexa_core.base.tables import Geometry
from molexa_core.base.units import HARTREE_EV
from molexa_core.io.results.channel_csv import read_channel_csv
from molexa_core.io.xyz import read_xyz, write_xyz
from molexa_core.pipeline.explosions.simulate import movie_times, simulate

Run = Callable[..., subprocess.CompletedProcess[str]]
CO = "2\ncarbon monoxide\nC 0 0 0\nO 0 0 1.128\n"


def test_from_file_to_csv_and_movie(molexa: Run, tmp_path: Path) -> None:
    (tmp_path / "co.xyz").write_text(CO)
    done = molexa(
        *["simulate", "co.xyz", "--charges", "C+,O2+", "--model", "instant", "--out", "p.csv"],
        *["--trajectory", "movie.xyz", "--frames", "11", "--until-fs", "50"],
    )
    assert done.returncode == 0, done.stderr
    assert "KER 25.5" in done.stdout
    table, record = read_channel_csv(tmp_path / "p.csv")
    assert list(table["ion"]) == ["C+", "O2+"]
    total = table[["px", "py", "pz"]].to_numpy().sum(axis=0)
    assert np.abs(total).max() < 1e-9
    assert record is not None
    assert record.settings["model"] == "instant"
    assert "co.xyz" in record.inputs
    movie = read_xyz(tmp_path / "movie.xyz")
    assert len(movie) == 11
    assert movie[0].comment == "0 fs"
    lengths = [np.linalg.norm(frame.positions[1] - frame.positions[0]) for frame in movie]
    assert (np.diff(lengths) > 0).all()


def test_json_of_a_shipped_molecule(molexa: Run) -> None:
    done = molexa(*["simulate", "water", "--charges", "O+,H+,H+", "--json", "--quiet"])
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert [row["ion"] for row in result["ions"]] == ["O+", "H+", "H+"]
    assert sum(row["energy_ev"] for row in result["ions"]) == pytest.approx(result["ker_ev"])
    assert 0.5 * result["coulomb_ev"] < result["ker_ev"] < result["coulomb_ev"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ("water --charges H+,O+,H+", 2, "ion 1 is H+, but atom 1 is O"),
        ("water --charges O+,H+", 2, "2 ions for 3 atoms"),
        ("water --charges O+,H+,Q+", 1, "unknown element 'Q'"),
        ("water", 2, "the charges are not given"),
        ("watr --charges O+,H+,H+", 1, "neither a file nor a shipped molecule"),
        ("none.xyz --charges O+,H+,H+", 1, "no such file"),
        ("water --charges O+,H+,H+ --tau-fs 0", 2, "tau is 0.0 fs"),
        ("water --charges O+,H+,H+ --out no/p.csv", 1, "folder does not exist"),
        ("water --charges O+,H+,H+ --model quantum", 2, "quantum"),
    ],
)
def test_mistakes_get_one_sentence(
    working_folder: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: str,
    code: int,
    message: str,
) -> None:
    assert main(["simulate", *arguments.split()]) == code
    out, err = capsys.readouterr()
    assert message in err
    assert "Traceback" not in err
    assert not out
    assert not list(working_folder.iterdir())


def test_ions_from_the_charge_column(tmp_path: Path) -> None:
    path = tmp_path / "two.xyz"
    far = Geometry(("N", "N"), np.array([[0.0, 0, 0], [0, 0, 2.0]]), charges=(2, 1))
    write_xyz(path, [far, far])
    progress = CollectingProgress()
    result = simulate(path, model="instant", progress=progress)
    assert [str(ion) for ion in result.ions] == ["N2+", "N+"]
    assert result.ker_ev == pytest.approx(HARTREE_EV, rel=1e-8)
    assert progress.said == [f"{path} has 2 structures; the first is used"]


def test_average_masses_stand_in_the_names_of_the_ions(tmp_path: Path) -> None:
    """So that a later stage does not take those of isotopes."""
    out = tmp_path / "channel.csv"
    hcl = Geometry(("H", "Cl"), np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 2.4]]))
    write_xyz(tmp_path / "hcl.xyz", [hcl])
    simulate(tmp_path / "hcl.xyz", "H+,Cl+", out=out, masses="average")
    table, _ = read_channel_csv(out)
    assert list(table["ion"]) == ["H+@1.008", "Cl+@35.45"]
    ions = [parse_ion(name) for name in table["ion"]]
    assert ions[1].mass == pytest.approx(parse_ion("Cl+").mass_as("average"), rel=1e-8)


def test_average_masses_change_momenta_not_the_release() -> None:
    hcl = Geometry(("H", "Cl"), np.array([[0.0, 0, 0], [0, 0, 2.4]]))
    isotope = simulate(hcl, ["H+", "Cl+"], model="instant")
    average = simulate(hcl, ["H+", "Cl+"], model="instant", masses="average")
    assert average.ker_ev == pytest.approx(isotope.ker_ev, rel=1e-8)
    assert average.momentum[0, 2] != pytest.approx(isotope.momentum[0, 2], rel=1e-5)


def test_overlapping_atoms_and_wrong_ions() -> None:
    near = Geometry(("O", "H"), np.array([[0.0, 0, 0], [0, 0, 0.01]]))
    with pytest.raises(UsageError, match="overlap"):
        simulate(near, ["O+", "H+"])
    with pytest.raises(UnknownIonError):
        simulate(near, ["O+", "H"])
    with pytest.raises(UsageError, match="no positive charge"):
        simulate(Geometry(("O", "H"), 3 * near.positions, charges=(1, 0)))
    with pytest.raises(InputFileError, match="Did you mean"):
        simulate("watre", "O+,H+,H+")


def test_hydrogen_is_charged_apart_from_the_others(capsys: pytest.CaptureFixture[str]) -> None:
    water = ["simulate", "water", "--charges", "O+,H+,H+"]

    def energy(*options: str) -> float:
        assert main([*water, "--json", *options]) == 0
        return float(json.loads(capsys.readouterr().out)["ker_ev"])

    together = energy()
    assert energy("--hydrogen-tau-fs", "45") == pytest.approx(together, rel=1e-12)
    assert energy("--onset-fs", "60") < energy("--onset-fs", "10") < together
    for model in ("instant", "mcmd"):
        assert main([*water, "--model", model, "--onset-fs", "3"]) == 2
        assert f"--onset-fs has no meaning for the model {model}" in capsys.readouterr().err


def test_rises_apart_stand_in_the_record_and_in_the_movie(tmp_path: Path) -> None:
    (tmp_path / "co.xyz").write_text(CO)
    rises = ChargeBuildUp(onset_fs=20.0, hydrogen_tau_fs=10.0)
    out, movie = tmp_path / "p.csv", tmp_path / "movie.xyz"
    found = simulate(
        tmp_path / "co.xyz",
        "C+,O+",
        out=out,
        trajectory=movie,
        times_fs=movie_times(until_fs=200.0),
        rises=rises,
    )
    # Without hydrogen both rise together, and when is no matter.
    assert found.ker_ev == pytest.approx(simulate(tmp_path / "co.xyz", "C+,O+").ker_ev)
    _, record = read_channel_csv(out)
    assert record is not None
    assert record.settings["onset_fs"] == 20.0
    assert record.settings["hydrogen_tau_fs"] == 10.0
    assert len(read_xyz(movie)) == 101
    with pytest.raises(UsageError, match="rises of the charges with the model instant"):
        simulate(tmp_path / "co.xyz", "C+,O+", model="instant", rises=rises)
