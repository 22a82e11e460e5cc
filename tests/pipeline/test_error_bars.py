from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from molexa_cli.main import main
from molexa_core.base.errors import InputFileError
from molexa_core.base.options.reconstruct_options import ReconstructOptions
from molexa_core.io.results.channel_csv import write_channel_csv
from molexa_core.io.xyz import read_xyz
from molexa_core.physics.molecules.library import molecule
from molexa_core.pipeline.chain.report import report_folder
from molexa_core.pipeline.explosions.simulate import simulate
from molexa_core.pipeline.reconstruction.reconstruct import reconstruct

AXES = ["px", "py", "pz"]


def water(factor: float = 1.0, ions: tuple[str, ...] = ("O+", "H+", "H+")) -> pd.DataFrame:
    table = simulate(molecule("water").geometry, list(ions)).table
    table[AXES] *= factor
    return table


def test_a_structure_that_explains_its_momenta_has_error_bars() -> None:
    record = reconstruct(water(), options=ReconstructOptions(samples=4, search=0))
    assert record.uncertainty_bohr is not None
    assert record.uncertainty_reason is None


@pytest.mark.parametrize("factor", [1.99285e-24, 1e-6, 1e4])
def test_momenta_in_another_unit_are_refused(factor: float) -> None:
    with pytest.raises(InputFileError, match="not in atomic units"):
        reconstruct(water(factor), options=ReconstructOptions(samples=2, search=0))


@pytest.mark.parametrize("factor", [1.2, 3.7, 0.2])
def test_momenta_of_no_molecule_have_no_error_bars(factor: float) -> None:
    record = reconstruct(water(factor), options=ReconstructOptions(samples=4, search=4))
    assert record.uncertainty_bohr is None
    assert record.warnings


def test_highly_charged_ions_have_no_error_bars_of_others() -> None:
    ions = ["O+", "S12+", "O+"]
    table = simulate(molecule("sulfur_dioxide").geometry, ions).table
    record = reconstruct(table, options=ReconstructOptions(samples=2, search=0))
    assert record.uncertainty_bohr is None
    assert "such input" in str(record.uncertainty_reason)


def test_missing_ions_leave_no_error_bars() -> None:
    record = reconstruct(water().iloc[:2], options=ReconstructOptions(samples=2, search=0))
    assert "do not cancel" in str(record.uncertainty_reason)


def test_the_sentence_stands_wherever_the_error_bars_would(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_channel_csv("channel.csv", water(3.7))
    assert main(["reconstruct", "--samples", "2", "--search", "0"]) == 0
    told = capsys.readouterr().out
    assert "no error bars" in told
    assert "±" not in told
    assert "no error bars" in read_xyz("geom.xyz")[0].comment
    assert read_xyz("geom.xyz")[0].uncertainty is None
    values = json.loads(Path("geom.json").read_text(encoding="utf-8"))
    assert values["uncertainty_bohr"] is None
    assert values["uncertainty_reason"].startswith("no error bars")
    page, _ = report_folder(tmp_path)
    text = page.read_text(encoding="utf-8")
    assert "no error bars" in text
    assert "68 % intervals" not in text


@pytest.mark.parametrize("option", ["--refine", "--no-refine"])
def test_single_events_refuse_what_they_have_no_use_for(
    option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["reconstruct", "run.aligned.h5", "--events", option]) == 2
    assert "--refine/--no-refine cannot be used for events" in capsys.readouterr().err


def test_uncertainties_are_finite_where_they_are_there() -> None:
    record = reconstruct(water(), options=ReconstructOptions(samples=2, search=0))
    assert record.uncertainty_bohr is not None
    assert np.isfinite(record.uncertainty_bohr).all()
