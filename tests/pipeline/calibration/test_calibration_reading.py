"""References from files: their forms, and one sentence for each mistake."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from molexa_core.base.errors import ColumnError, InputFileError, MolexaError, UsageError
from molexa_core.base.matter.ions import parse_ion
from molexa_core.base.progress import CollectingProgress
from molexa_core.base.settings import Frame
from molexa_core.base.storage.provenance import Provenance
from molexa_core.base.tables import Coincidences, FloatArray
from molexa_core.frame.align import align_events
from molexa_core.frame.centroid import centroids
from molexa_core.io.results.channel_csv import write_channel_csv
from molexa_core.io.results.events import write_events
from molexa_core.physics.coulomb.batches import explode_many
from molexa_core.physics.molecules.library import molecule
from molexa_core.physics.molecules.vibrations import sample_ground_state
from molexa_core.physics.virtual.experiment import target_of_ions
from molexa_core.pipeline.calibration.reading import Named, read_reference, read_yields

IONS = tuple(parse_ion(text) for text in ("O2+", "H+", "H+"))


def events(count: int = 500) -> FloatArray:
    target = target_of_ions(IONS, molecule("water"), where="water")
    assert target.modes is not None
    random = np.random.default_rng(0)
    structures = sample_ground_state(target.positions, target.modes, count, random)
    return explode_many(structures, target.charges, target.masses)


def test_a_reference_is_named_by_file_molecule_and_conditions() -> None:
    assert Named.of("n2.csv=N2") == Named(Path("n2.csv"), "N2")
    named = Named.of("ocs30.csv=OCS@duration_fs=30,energy_mj=0.5")
    assert named == Named(Path("ocs30.csv"), "OCS", {"duration_fs": 30.0, "energy_mj": 0.5})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("n2.csv", "is no reference"),
        ("=N2", "is no reference"),
        ("n2.csv=", "is no reference"),
        ("n2.csv=N2@", "is no reference"),
        ("n2.csv=N2@duration_fs", "is no condition"),
        ("n2.csv=N2@duration_fs=-3", "is no condition"),
    ],
)
def test_what_names_no_reference_is_told(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Named.of(text)


def test_coincidences_and_their_means_say_the_same(tmp_path: Path) -> None:
    table = Coincidences.of(IONS, events())
    record = Provenance.of("test")
    write_events(tmp_path / "water.events.h5", table, record)
    frame = Frame(reference="O2+", second="H+")
    rows = centroids(align_events(table, frame).table)
    told = Provenance.of("test", settings={"frame": frame.model_dump()})
    write_channel_csv(tmp_path / "water.csv", rows, told)
    said = CollectingProgress()
    of_events = read_reference(Named(tmp_path / "water.events.h5", "water"), 0, said)
    of_means = read_reference(Named(tmp_path / "water.csv", "H2O"), 1, said)
    assert of_events.frame is None
    assert of_means.frame == frame
    assert of_means.molecule == of_events.molecule == "water"
    assert of_means.condition == 1
    # Averaging in a frame loses some of the size of relative momenta, a per cent here.
    assert np.allclose(of_events.observed.values, of_means.observed.values, rtol=0.03)
    assert not said.warned


def test_means_without_a_record_and_errors_are_taken_with_a_word(tmp_path: Path) -> None:
    path = tmp_path / "n2.csv"
    path.write_text("ion,px,py,pz\nN2+,100,0,0\nN2+,-100,0,0\n")
    said = CollectingProgress()
    found = read_reference(Named(path, "N2"), 0, said)
    assert found.observed.values[0] == pytest.approx(100.0)
    assert found.observed.covariance[0, 0] == pytest.approx(0.5, rel=0.01)
    assert any("no errors" in text for text in said.warned)
    assert any("not recorded" in text for text in said.said)


def test_ions_that_are_not_those_of_the_molecule_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "n2.csv"
    path.write_text("ion,px,py,pz\nN2+,100,0,0\nN2+,-100,0,0\n")
    with pytest.raises(InputFileError, match="not the atoms of carbon_monoxide"):
        read_reference(Named(path, "CO"), 0, CollectingProgress())
    with pytest.raises(MolexaError, match="no molecule named"):
        read_reference(Named(path, "nitrogn"), 0, CollectingProgress())
    with pytest.raises(InputFileError, match="no such file"):
        read_reference(Named(tmp_path / "none.csv", "N2"), 0, CollectingProgress())


def test_charges_of_atoms_that_differ_must_be_alike(tmp_path: Path) -> None:
    path = tmp_path / "n2o.csv"
    path.write_text("ion,px,py,pz\nN2+,100,0,0\nN+,10,5,0\nO+,-110,-5,0\n")
    with pytest.raises(InputFileError, match="which of them is N"):
        read_reference(Named(path, "N2O"), 0, CollectingProgress())
    alike = tmp_path / "co2.csv"
    alike.write_text("ion,px,py,pz\nC2+,0,5,0\nO2+,100,-2,0\nO+,-100,-3,0\n")
    found = read_reference(Named(alike, "CO2"), 0, CollectingProgress())
    assert found.observed.names == ("C2+ - O2+", "C2+ - O+", "O2+ - O+")


def test_a_structure_without_vibrations_is_taken_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "n2.csv").write_text("ion,px,py,pz\nN2+,100,0,0\nN2+,-100,0,0\n")
    xyz = tmp_path / "n2.xyz"
    xyz.write_text("2\nnitrogen\nN 0 0 0\nN 0 0 1.098\n")
    said = CollectingProgress()
    found = read_reference(Named(tmp_path / "n2.csv", str(xyz)), 0, said)
    assert np.linalg.norm(np.diff(found.target.positions, axis=0)) == pytest.approx(2.075, rel=1e-3)
    assert any("no vibrations" in text for text in said.said)


def test_yields_are_ratios_to_the_most_frequent_combination(tmp_path: Path) -> None:
    path = tmp_path / "yields.csv"
    path.write_text("ions,count,efficiency,efficiency_err\nN+ N+,400,1,0.01\nN2+ N+,900,0.9,0.01\n")
    found = read_yields(Named(path, "N2"), 0, CollectingProgress())
    assert found.observed.names == ("N+ N+ : N2+ N+",)
    assert found.observed.values[0] == pytest.approx(np.log(400 / 1000))
    variance = 1 / 400 + 0.01**2 + 1 / 900 + (0.01 / 0.9) ** 2
    assert found.observed.covariance[0, 0] == pytest.approx(variance)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ions,count\nN+ N+,400\n", "fewer than two combinations"),
        ("ions,number\nN+ N+,400\nN2+ N+,3\n", "column count is missing"),
        ("ions,count,eff\nN+ N+,400,1\nN2+ N+,3,1\n", "unknown column eff"),
        ("ions,count\nN+ N+,400\nN2+ N+,0\n", "no positive number"),
        ("ions,count\nN+ N+,400\nN2+ N+,3,4\n", "3 values for 2 columns"),
        ("ions,count\nN+ N+,400\nO2+ N+,3\n", "not the atoms of nitrogen"),
    ],
)
def test_a_table_of_yields_that_does_not_fit_is_refused(
    tmp_path: Path, text: str, message: str
) -> None:
    path = tmp_path / "yields.csv"
    path.write_text(text)
    with pytest.raises((InputFileError, ColumnError), match=message):
        read_yields(Named(path, "N2"), 0, CollectingProgress())
