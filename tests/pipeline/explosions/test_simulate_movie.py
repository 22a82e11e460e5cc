"""Every structure of a movie in the pulse: what is counted, numbered and refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from molexa_cli.main import main
from molexa_core.base.errors import InputFileError, UsageError
from molexa_core.base.forward_model import Pulse
from molexa_core.base.tables import Geometry
from molexa_core.io.results.channel_csv import read_channel_csv
from molexa_core.io.results.channels_h5 import read_channels
from molexa_core.io.xyz import write_xyz
from molexa_core.physics.molecules.library import molecule
from molexa_core.pipeline.explosions import simulate_movie as movie
from molexa_core.pipeline.explosions.simulate_mcmd import simulate_mcmd

PULSE = Pulse(2000.0)
WATER = molecule("water").geometry
STRETCHES = (1.0, 1.5, 2.5)
COMMAND = "simulate movie.xyz --model mcmd --each --trajectories"


def frames() -> list[Geometry]:
    return [Geometry(WATER.symbols, s * WATER.positions) for s in STRETCHES]


def test_every_structure_explodes_as_it_would_alone_and_wider_ones_more_slowly() -> None:
    scenes = movie.simulate_movie(frames(), pulse=PULSE, trajectories=400, seed=5)
    found = [scene.outcomes for scene in scenes]
    alone = simulate_mcmd(WATER, pulse=PULSE, trajectories=400, seed=5)
    np.testing.assert_array_equal(found[0].charges, alone.charges)
    np.testing.assert_array_equal(found[0].momenta, alone.momenta)
    assert not np.array_equal(found[0].counts[:5], found[2].counts[:5])  # draws of its own
    release = [scene.release_ev for scene in scenes]
    assert release[0] > 1.2 * release[1] > 1.2 * 1.2 * release[2]
    for scene, frame in zip(found, frames(), strict=True):
        np.testing.assert_allclose(scene.geometry.positions, frame.positions)


def test_results_are_numbered(working_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_xyz("movie.xyz", frames(), None)
    line = f"{COMMAND} 300 --seed 5".split()
    assert main([*line, "--out", "all.h5", "--figure", "all.svg"]) == 0
    shown = capsys.readouterr()
    rows = shown.out.splitlines()
    assert [row.split()[0] for row in rows[2:]] == ["1", "2", "3"]
    assert "wrote 6 files" in shown.err
    outcomes, record = read_channels("all.0003.h5")
    np.testing.assert_allclose(outcomes.geometry.positions, 2.5 * WATER.positions, atol=1e-6)
    assert record.settings["structure"] == 3
    ions = ",".join(outcomes.names(0))
    assert main([*line, "--charges", ions, "--out", "one.csv", "--quiet"]) == 0
    table, _ = read_channel_csv("one.0003.csv")
    np.testing.assert_allclose(table[["px", "py", "pz"]], outcomes.momenta[0], atol=1e-6)
    assert Path("all.0001.svg").read_text().startswith("<?xml")


def test_a_structure_without_the_combination_has_no_file(
    working_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_xyz("movie.xyz", frames()[:2], None)
    line = f"{COMMAND} 12 --seed".split()
    for seed in range(40):  # a rare combination, which occurs in one structure alone
        code = main([*line, str(seed), "--charges", "O5+,H+,H+", "--out", "one.csv"])
        shown = capsys.readouterr()
        written = sorted(path.name for path in working_folder.glob("one.*.csv"))
        if code == 1:
            assert "none of 12 explosions ended in O5+,H+,H+. Nearest of" in shown.err
            assert not written
        elif len(written) == 1:
            missing = "2" if written == ["one.0001.csv"] else "1"
            assert f"structure {missing}: none of 12 explosions" in shown.err
            assert "wrote 1 files" in shown.err
            return
        for name in written:
            (working_folder / name).unlink()
    pytest.fail("no seed gave the combination in one structure alone")


def test_what_cannot_be_meant_is_told(
    working_folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_xyz("mixed.xyz", [WATER, molecule("co2").geometry], None)
    for arguments, code, message in (
        ("mixed.xyz --model mcmd", 1, "structure 2 of the trajectory: the atoms are O, C, O"),
        ("water --model mcmd", 2, "Only an XYZ file has many structures"),
        ("nothing.xyz --model mcmd", 1, "nothing.xyz"),
        ("mixed.xyz", 2, "--each has no meaning for the model classical"),
    ):
        assert main(["simulate", *arguments.split(), "--each"]) == code
        shown = capsys.readouterr()
        assert message in shown.err
        assert not shown.out
    monkeypatch.setattr(movie, "MOST_STRUCTURES", 2)
    with pytest.raises(InputFileError, match="the movie has 3 structures"):
        movie.simulate_movie(frames(), pulse=PULSE, trajectories=5)
    with pytest.raises(UsageError, match="0 trajectories"):
        movie.simulate_movie(frames()[:2], pulse=PULSE, trajectories=0)
