"""A geometry in doubtful units: the warning stands wherever the result goes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from molexa_core.base.forward_model import Pulse
from molexa_core.base.progress import CollectingProgress
from molexa_core.base.units import BOHR_ANGSTROM
from molexa_core.io.hdf5.file import attribute, open_hdf5
from molexa_core.io.results.channel_csv import read_channel_csv, warnings_of
from molexa_core.physics.molecules.library import molecule
from molexa_core.pipeline.explosions.simulate import simulate
from molexa_core.pipeline.explosions.simulate_mcmd import simulate_mcmd, summary


@pytest.fixture
def in_bohr(tmp_path: Path) -> Path:
    geometry = molecule("water").geometry
    rows = [
        f"{name} {x:.8f} {y:.8f} {z:.8f}"
        for name, (x, y, z) in zip(geometry.symbols, geometry.positions, strict=True)
    ]
    path = tmp_path / "water.xyz"
    path.write_text("\n".join(["3", "water", *rows]) + "\n")
    return path


def test_one_explosion(tmp_path: Path, in_bohr: Path) -> None:
    progress = CollectingProgress()
    out = tmp_path / "p.csv"
    found = simulate(in_bohr, "O+,H+,H+", model="instant", out=out, progress=progress)
    (warning,) = progress.warned
    assert "1.9 times those of bonds: coordinates in bohr read as Å" in warning
    assert found.to_dict()["warnings"] == [warning]
    assert warnings_of(read_channel_csv(out)[0]) == [warning]


def test_a_stated_unit_leaves_nothing_to_warn_of(tmp_path: Path, in_bohr: Path) -> None:
    progress = CollectingProgress()
    in_bohr.write_text(in_bohr.read_text().replace("\nwater\n", "\nwater, units: bohr\n"))
    found = simulate(in_bohr, "O+,H+,H+", model="instant", progress=progress)
    assert progress.warned == found.to_dict()["warnings"] == []
    assert progress.said == [f"{in_bohr}, line 2: coordinates in bohr, converted"]
    expected = simulate("water", "O+,H+,H+", model="instant")
    assert found.ker_ev == pytest.approx(expected.ker_ev, rel=1e-6)
    assert BOHR_ANGSTROM < np.abs(found.momentum).max()


def test_many_explosions(tmp_path: Path, in_bohr: Path) -> None:
    out = tmp_path / "c.h5"
    outcomes = simulate_mcmd(in_bohr, pulse=Pulse(2000.0), trajectories=40, out=out)
    (warning,) = summary(outcomes)["warnings"]
    assert "coordinates in bohr" in warning
    with open_hdf5(out) as file:
        assert json.loads(str(attribute(file["meta"], "warnings"))) == [warning]
