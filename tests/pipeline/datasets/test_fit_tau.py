"""The fit of the charge build-up finds the window that a data set was made with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from molexa_cli.main import main
from molexa_core.base.errors import NoEventsError
from molexa_core.base.forward_model import Pulse
from molexa_core.physics.molecules.draws import Variations
from molexa_core.pipeline.datasets.build import build
from molexa_core.pipeline.datasets.fit_tau import TauFit, fit_tau
from molexa_core.pipeline.datasets.read import read_dataset
from molexa_core.pipeline.datasets.recipe import Recipe
from tests.fakes.mcmd import TAU_FS, fake_explosions


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    recipe = Recipe(
        name="tau",
        seed=1,
        molecules=("water", "ammonia", "carbon_monoxide", "nitrogen", "hcn"),
        variations=Variations(displaced=1),
        pulse=Pulse(2000.0),
        trajectories=3000,
        minimum_count=30,
    )
    path = tmp_path_factory.mktemp("tau") / "set"
    build(recipe, path, engine=fake_explosions)
    return path


@pytest.fixture(scope="module")
def fit(folder: Path) -> TauFit:
    return fit_tau(read_dataset(folder), entries=40, seed=1)


def test_the_window_comes_back(fit: TauFit) -> None:
    assert fit.entries == 40
    assert abs(fit.tau_fs - TAU_FS) < max(0.5, 5 * fit.tau_error_fs)
    assert fit.tau_error_fs < 2.0


def test_the_fit_is_better_than_what_it_is_compared_with(fit: TauFit) -> None:
    fitted, published, instant, later, literal = fit.rows
    assert fitted.residual < 0.01
    assert fitted.energy_ratio == pytest.approx(1.0, abs=0.01)
    assert published.residual > 3 * fitted.residual
    assert published.energy_ratio < 1.0 < instant.energy_ratio
    assert literal.energy_ratio < 0.8
    assert later.residual == pytest.approx(fitted.residual, rel=1e-3)


def test_no_entries(folder: Path) -> None:
    table = read_dataset(folder)
    with pytest.raises(NoEventsError, match="no entries to fit tau to"):
        fit_tau(table.select(table.counts < 0))


def test_the_command(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = ["dataset", "fit-tau", str(folder), "--entries", "20", "--quiet"]
    assert main([*line, "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert values["entries"] == 20
    assert values["tau_fs"] == pytest.approx(TAU_FS, abs=2.0)
    again = fit_tau(read_dataset(folder, "train"), entries=20)
    assert values["tau_fs"] == again.tau_fs
