"""The files that a user begins with can be loaded as they are, and say what is still open."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import uproot

from molexa_core.base.errors import (
    ColumnError,
    InputFileError,
    MolexaError,
    OutputError,
    SettingsError,
)
from molexa_core.base.matter.ions import parse_ion
from molexa_core.base.options.apparatus import Apparatus
from molexa_core.base.settings import load_channel, load_project, load_setup
from molexa_core.pipeline.datasets.blocks import resolve
from molexa_core.pipeline.runs.mock import mock
from molexa_core.pipeline.starting.check_together import check_together
from molexa_core.pipeline.starting.new_channel import new_channel
from molexa_core.pipeline.starting.new_project import new_project
from molexa_core.pipeline.starting.new_recipe import new_recipe
from molexa_core.pipeline.starting.new_setup import new_setup

TWO_REGIONS = Apparatus(regions=["40.5,150", "81,420"], jet_m_per_s=780.0)


@pytest.fixture(autouse=True)
def _in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def _foreign_run(path: Path, names: tuple[str, str, str] = ("pos_a", "pos_b", "when")) -> Path:
    """A tree of another program with three ions of OCS in each shot, in two slots too many."""
    rng = np.random.default_rng(4)
    columns: dict[str, np.ndarray[tuple[int], np.dtype[np.float64]]] = {"delay": np.zeros(400)}
    times = (1000.0, 900.0, 1500.0, -999.0, -999.0)
    for slot, time in enumerate(times, start=1):
        there = time > 0
        spread = rng.normal(0.0, 8.0, (2, 400)) if there else np.full((2, 400), -999.0)
        columns[f"hit{slot}_{names[0]}"] = spread[0]
        columns[f"hit{slot}_{names[1]}"] = spread[1]
        columns[f"hit{slot}_{names[2]}"] = time + rng.normal(0.0, 40.0, 400) * there
    with uproot.recreate(path) as file:
        file["Events"] = columns
    return path


@pytest.mark.parametrize(
    ("what", "ions", "expected"),
    [
        ("ocs", None, {"O+": 1, "C+": 1, "S+": 1}),
        ("ocs", "O2+ C2+ S2+", {"O2+": 1, "C2+": 1, "S2+": 1}),
        ("C4H5N2Cl", None, {"Cl+": 1, "N+": 2, "C+": 4, "H+": 5}),
        ("CH3OD", None, {"O+": 1, "C+": 1, "D+": 1, "H+": 3}),
        ("O+ C+ 2 H+", None, {"O+": 1, "C+": 1, "H+": 2}),
    ],
)
def test_channels_of_molecules_formulas_and_ions(
    what: str, ions: str | None, expected: dict[str, int]
) -> None:
    channel = load_channel(str(new_channel(what, ions=ions)))
    assert {entry.ion: entry.count for entry in channel.ions} == expected
    assert channel.is_complete


def test_a_channel_is_found_by_its_name() -> None:
    new_channel("ocs")
    assert load_channel("ocs").molecule == "ocs"


def test_a_channel_of_a_structure(tmp_path: Path) -> None:
    Path("mine.xyz").write_text("3\n\nO 0 0 0\nC 0 0 1.2\nSe 0 0 2.9\n", encoding="utf-8")
    with pytest.raises(MolexaError, match="Se"):
        new_channel("mine.xyz")
    Path("mine.xyz").write_text("3\n\nO 0 0 0\nC 0 0 1.2\nS 0 0 2.8\n", encoding="utf-8")
    assert len(load_channel(str(new_channel("mine.xyz", charge=3))).all_ions) == 3


def test_hydrogen_has_one_electron() -> None:
    channel = load_channel(str(new_channel("water", charge=2)))
    assert sorted(str(ion) for ion in channel.all_ions) == ["H+", "H+", "O2+"]


def test_the_largest_momentum_is_above_that_of_an_instant_explosion() -> None:
    """Two charges at distance r: p^2 = 2 mu / r for each, exactly."""
    channel = load_channel(str(new_channel("n2")))
    mass = parse_ion("N+").mass
    exact = np.sqrt(2.0 * (mass / 2.0) / 2.074)  # the bond of N2 is 2.074 bohr
    assert exact < channel.gates.max_momentum < 1.6 * exact


@pytest.mark.parametrize("what", ["xyzzy", "", "Hello", "no-such.xyz", "Q+", "2 3 H+", "+"])
def test_what_is_no_molecule_is_refused(what: str) -> None:
    with pytest.raises(MolexaError):
        new_channel(what)
    assert not list(Path().rglob("*.yaml"))


def test_no_file_is_replaced() -> None:
    path = new_channel("ocs")
    before = path.read_bytes()
    with pytest.raises(OutputError, match="exists already"):
        new_channel("ocs", ions="O2+ C2+ S2+")
    assert path.read_bytes() == before


def test_a_setup_without_a_run_has_question_marks_where_nothing_is_known() -> None:
    path, remarks = new_setup()
    assert any("question marks" in text for text in remarks)
    with pytest.raises(SettingsError, match=r"length_mm: must be a number above 0, in mm"):
        load_setup(path)


def test_a_setup_holds_what_is_told_and_what_the_run_shows() -> None:
    run = _foreign_run(Path("run.root"))
    path, _ = new_setup(
        [run],
        replace(
            TWO_REGIONS, x="hit{i}_pos_a", y="hit{i}_pos_b", time="hit{i}_when", tags=["delay"]
        ),
    )
    setup = load_setup(path)
    assert [region.length_mm for region in setup.spectrometer.regions] == [40.5, 81.0]
    assert setup.jet.velocity_m_per_s == 780.0
    assert setup.columns is not None
    assert setup.columns.layout == "flat"
    assert setup.columns.tags == ("delay",)
    assert 20 < setup.detector.radius_mm < 50


def test_a_run_that_is_not_recognised_says_how_to_name_its_columns() -> None:
    run = _foreign_run(Path("run.root"))
    with pytest.raises(ColumnError, match="`x=`, `y=`, `time=`"):
        new_setup([run], TWO_REGIONS)
    with pytest.raises(MolexaError, match="y is not named"):
        new_setup([run], replace(TWO_REGIONS, x="hit{i}_pos_a", time="t"))
    assert not Path("setup.yaml").exists()


def test_a_recipe_can_be_resolved() -> None:
    path = new_recipe(["ocs", "water"], name="mine")
    assert set(resolve(path).molecules) == {"ocs", "water"}
    with pytest.raises(InputFileError, match="no molecule named"):
        new_recipe(["watr"], name="other")


def test_a_project_names_setup_and_channel() -> None:
    written, _ = new_project("ocs", (), TWO_REGIONS, ions="O2+ C2+ S2+")
    assert [path.name for path in written] == ["setup.yaml", "ocs.yaml", "molexa.yaml"]
    project = load_project()
    assert (project.setup, project.channel) == ("setup.yaml", "ocs")
    checked = check_together()
    assert not checked.wrong
    assert {item.of for item in checked.found if item.state == "fits"} >= {"setup", "channel"}


def test_a_check_of_a_run_finds_the_ions_in_their_windows() -> None:
    mock("nitrogen", 3000, out="run.root", seed=1)
    checked = check_together(["run.root"], channel="nitrogen")
    states = {item.of: item.state for item in checked.found}
    assert not checked.wrong
    assert states["window of N+"] == "fits"
    wrong = check_together(["run.root"], setup="no-such.yaml", channel="nitrogen")
    assert wrong.wrong


def test_a_check_says_that_a_window_is_empty() -> None:
    mock("nitrogen", 3000, out="run.root", seed=1)
    far, _ = new_setup((), Apparatus(regions=["5,3000"]), out="far.yaml")
    checked = check_together(["run.root"], setup=str(far), channel="nitrogen")
    assert checked.wrong
    assert any(item.of == "window of N+" and item.state == "wrong" for item in checked.found)


@pytest.mark.parametrize(
    ("place", "time", "key"),
    [
        (1.0, 1.0, None),
        (1000.0, 1.0, "x_unit_mm: 0.001"),
        (0.001, 1.0, "x_unit_mm: 1000"),
        (1.0, 1000.0, "time_unit_ns: 0.001"),
        (1.0, 0.001, "time_unit_ns: 1000"),
    ],
)
def test_units_that_cannot_be_are_named(place: float, time: float, key: str | None) -> None:
    rng = np.random.default_rng(4)
    columns = {
        "xs1": rng.normal(0.0, 8.0, 400) * place,
        "ys1": rng.normal(0.0, 8.0, 400) * place,
        "when1": rng.normal(1000.0, 40.0, 400) * time,
    }
    with uproot.recreate("odd.root") as file:
        file["Events"] = columns
    told = replace(TWO_REGIONS, x="xs{i}", y="ys{i}", time="when{i}")
    _, remarks = new_setup(["odd.root"], told)
    odd = [text for text in remarks if "hardly possible" in text]
    assert [key in text for text in odd] == ([True] if key else [])


def test_a_unit_that_is_told_gives_the_detector_in_mm() -> None:
    rng = np.random.default_rng(4)
    columns = {
        "xs1": rng.uniform(-30000.0, 30000.0, 400),
        "ys1": np.zeros(400),
        "when1": rng.normal(1e6, 4e4, 400),
        "delay": np.arange(400.0),
    }
    with uproot.recreate("units.root") as file:
        file["Events"] = columns
    told = replace(
        TWO_REGIONS, x="xs{i}", y="ys{i}", time="when{i}", x_unit_mm=0.001, time_unit_ns=0.001
    )
    path, remarks = new_setup(["units.root"], told)
    assert load_setup(path).detector.radius_mm == 30.0
    assert not [text for text in remarks if "hardly possible" in text]
    assert any("not read: delay;" in text for text in remarks)
    path.unlink()
    _, remarks = new_setup(["units.root"], replace(told, tags=["delay"]))
    assert not [text for text in remarks if "not read" in text]
