"""Reconstruct as a user calls it: known molecules, warnings, files."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from molexa_core.base.errors import (
    ColumnError,
    InputFileError,
    OutputError,
    UnknownIonError,
    UsageError,
)
from molexa_core.base.known_explosion import XrayExplosion
from molexa_core.base.matter.ions import parse_ion
from molexa_core.base.options.reconstruct_options import ReconstructOptions
from molexa_core.base.settings import Explosion
from molexa_core.base.tables import Geometry
from molexa_core.base.uncertain import Uncertain
from molexa_core.io.results.channel_csv import write_channel_csv
from molexa_core.io.results.geometry_json import read_geometry_json
from molexa_core.io.xyz import read_xyz, write_xyz
from molexa_core.network.network import Network
from molexa_core.network.weights import ModelCard, default_weights, forward_of, load_network
from molexa_core.physics.molecules.library import molecule
from molexa_core.pipeline.explosions.simulate import simulate
from molexa_core.pipeline.reconstruction.choice import closure_residuals
from molexa_core.pipeline.reconstruction.learned import learned_explosion
from molexa_core.pipeline.reconstruction.reconstruct import reconstruct


@pytest.fixture(scope="module")
def loaded() -> object:
    return load_network(default_weights())


def _momenta(name: str) -> tuple[pd.DataFrame, Geometry]:
    geometry = molecule(name).geometry
    ions = [f"{symbol}+" for symbol in geometry.symbols]
    result = simulate(geometry, ions, model="classical", tau_fs=45.0)
    return result.table.drop(columns="label"), geometry


@pytest.mark.parametrize(
    ("name", "bar"),
    [("water", 0.05), ("cf4", 0.15), ("co2", 0.1), ("methane", 0.2), ("nitrogen", 0.02)],
)
def test_known_molecules_come_back(loaded: object, name: str, bar: float) -> None:
    table, known = _momenta(name)
    record = reconstruct(table, network=loaded, known=known)  # type: ignore[arg-type]
    assert record.errors is not None
    assert record.errors["mae"] < bar
    assert record.closure["residual"] < 0.05
    assert record.symbols == known.symbols


def test_closure_of_the_truth_is_zero_and_refinement_gets_there(loaded: object) -> None:
    table, known = _momenta("water")
    ions = [parse_ion(text) for text in table["ion"]]
    momenta = table[["px", "py", "pz"]].to_numpy()
    truth = closure_residuals(known.positions[None], ions, momenta, 45.0)
    assert truth[0] < 1e-4
    record = reconstruct(table, network=loaded)  # type: ignore[arg-type]
    residuals = record.closure["residuals_of_samples"]
    assert record.closure["residual"] < 1e-6 < min(residuals)
    assert record.closure["explains_momenta"]
    plain = reconstruct(table, network=loaded, refined=False)  # type: ignore[arg-type]
    drawn = np.array(plain.closure["residuals_of_samples"])
    assert np.abs(drawn - plain.closure["residual"]).min() < 1e-5
    assert plain.alternatives == ()


def test_other_structures_that_fit_are_listed_and_the_choice_is_explained(loaded: object) -> None:
    table, known = _momenta("so2")
    record = reconstruct(table, network=loaded, known=known)  # type: ignore[arg-type]
    assert record.errors is not None
    assert record.errors["mae"] < 0.05
    assert record.alternatives
    assert all(one["residual"] < 1e-3 for one in record.alternatives)
    assert all(one["distance_from_answer_bohr"] > 0.01 for one in record.alternatives)
    assert any("the only chemically plausible one" in text for text in record.warnings)
    by_samples = reconstruct(table, options=ReconstructOptions(chemistry=False), network=loaded)  # type: ignore[arg-type]
    assert by_samples.closure["share_of_samples"] > 0.5


def test_coinciding_atoms_have_no_closure() -> None:
    ions = [parse_ion("H+")] * 2
    found = closure_residuals(np.zeros((1, 2, 3)), ions, np.ones((2, 3)), 45.0)
    assert np.isinf(found).all()


def test_a_momentum_sum_is_removed_and_told(loaded: object) -> None:
    table, _ = _momenta("water")
    clean = reconstruct(table, options=ReconstructOptions(samples=2), network=loaded)  # type: ignore[arg-type]
    ions = [parse_ion(text) for text in table["ion"]]
    masses = np.array([ion.mass for ion in ions])
    pushed = table.copy()
    pushed[["px", "py", "pz"]] += np.outer(masses / masses.sum(), [3.0, -2.0, 1.0])
    record = reconstruct(pushed, options=ReconstructOptions(samples=2), network=loaded)  # type: ignore[arg-type]
    warning = record.warnings[0]
    assert "do not sum to zero: (3, -2, 1) a.u." in warning
    np.testing.assert_allclose(record.positions_bohr, clean.positions_bohr, atol=1e-4)


def test_errors_of_the_momenta_widen_the_error_bars(loaded: object) -> None:
    table, _ = _momenta("water")
    exact = reconstruct(table, options=ReconstructOptions(samples=2), network=loaded)  # type: ignore[arg-type]
    for name in ("px_err", "py_err", "pz_err"):
        table[name] = 1.0
    blurred = reconstruct(table, options=ReconstructOptions(samples=2), network=loaded)  # type: ignore[arg-type]
    assert exact.uncertainty_bohr is not None
    assert blurred.uncertainty_bohr is not None
    assert (blurred.uncertainty_bohr >= exact.uncertainty_bohr - 1e-12).all()
    assert blurred.uncertainty_bohr.mean() > exact.uncertainty_bohr.mean() + 0.02
    # With noisy momenta the refined answer keeps some of what the network said.
    np.testing.assert_allclose(blurred.positions_bohr, exact.positions_bohr, atol=0.02)


def test_an_input_unlike_the_training_is_said_in_one_sentence(loaded: object) -> None:
    table, _ = _momenta("water")
    usual = reconstruct(table, options=ReconstructOptions(samples=1, search=0), network=loaded)  # type: ignore[arg-type]
    assert not any("unlike" in text for text in usual.warnings)
    table[["px", "py", "pz"]] *= 0.2
    odd = reconstruct(table, options=ReconstructOptions(samples=1, search=0), network=loaded)  # type: ignore[arg-type]
    (warning,) = [text for text in odd.warnings if "unlike" in text]
    assert "molexa-stage1 was trained on" in warning
    assert "mean distance that the kinetic energy release implies" in warning


@pytest.mark.parametrize("with_ranges", [True, False])
def test_charges_beyond_the_training_are_told(
    loaded: tuple[Network, ModelCard], with_ranges: bool
) -> None:
    network, card = loaded
    if not with_ranges:  # cards from before ranges were kept
        card = replace(card, data={**card.data, "ranges": None})
    table, _ = _momenta("carbon monoxide")
    table["ion"] = ["Cl11+", "H+"]
    odd = reconstruct(
        table, options=ReconstructOptions(samples=1, search=0), network=(network, card)
    )
    (warning,) = [text for text in odd.warnings if "charge" in text]
    expected = "largest charge 11 (training: 1 to 8)" if with_ranges else "Cl11+: no charge above 8"
    assert expected in warning


def test_weights_of_another_forward_model_are_not_refined_on_the_classical_one(
    loaded: tuple[Network, ModelCard],
) -> None:
    network, card = loaded
    table, _ = _momenta("water")
    data = {**card.data, "kind": "stage 2, data set", "data_set": "stage2"}
    second = replace(card, data=data, training={"stage": "2"})
    before = {"data": second.data, "training": second.training}
    judged = replace(card, training={"stage": "uncertainty", "before": before})
    assert [forward_of(one) for one in (card, second, judged)] == ["classical", "mcmd", "mcmd"]
    learned = learned_explosion(judged)
    assert isinstance(learned, XrayExplosion)
    assert learned.duration_fs == Uncertain(15.0)
    told = Explosion.of(learned)
    record = reconstruct(
        table, options=ReconstructOptions(samples=4), network=(network, judged), explosion=told
    )
    assert record.closure["refined"] is False
    assert record.closure["model"] == "classical"
    assert record.closure["explains_momenta"] is None
    assert "differ from it by some per cent" in record.closure["remark"]
    assert record.closure["residual"] > 0
    assert record.alternatives == ()
    drawn = record.samples_bohr - record.samples_bohr.mean(axis=1, keepdims=True)
    assert np.abs(drawn - record.positions_bohr).max(axis=(1, 2)).min() < 1e-12
    forced = reconstruct(
        table,
        options=ReconstructOptions(samples=2),
        network=(network, second),
        refined=True,
        explosion=told,
    )
    assert any("refined on the classical model" in text for text in forced.warnings)
    assert (
        reconstruct(table, options=ReconstructOptions(samples=2), network=loaded).closure["refined"]
        is True
    )


def test_missing_column() -> None:
    table, _ = _momenta("water")
    with pytest.raises(ColumnError, match="column pz is missing"):
        reconstruct(table.drop(columns="pz"))


def test_not_a_number() -> None:
    table, _ = _momenta("water")
    table.loc[1, "py"] = float("nan")
    with pytest.raises(UsageError, match="not a number"):
        reconstruct(table)


def test_unknown_ion() -> None:
    table, _ = _momenta("water")
    table.loc[0, "ion"] = "Qq+"
    with pytest.raises(UnknownIonError, match="Qq"):
        reconstruct(table)


def test_files_come_out_complete_and_agree(working_folder: Path) -> None:
    table, known = _momenta("water")
    write_channel_csv(working_folder / "channel.csv", table)
    write_xyz(working_folder / "truth.xyz", [known], None)
    record = reconstruct(
        "channel.csv",
        options=ReconstructOptions(samples=4, seed=2),
        out="geom.xyz",
        known="truth.xyz",
    )
    (structure,) = read_xyz("geom.xyz")
    stored, provenance = read_geometry_json("geom.json")
    np.testing.assert_allclose(structure.positions, record.positions_bohr, atol=1e-5)
    np.testing.assert_allclose(stored.positions_bohr, record.positions_bohr, atol=1e-9)
    assert structure.charges == (1, 1, 1)
    assert structure.uncertainty is not None
    assert provenance is not None
    assert provenance.seed == 2
    assert set(provenance.inputs) == {"channel.csv", "truth.xyz"}
    assert stored.errors is not None
    assert json.loads((working_folder / "geom.json").read_text())["model"]["name"]
    assert sorted(path.name for path in working_folder.iterdir()) == [
        "channel.csv",
        "geom.json",
        "geom.xyz",
        "truth.xyz",
    ]


def test_wrong_outputs_and_inputs(working_folder: Path) -> None:
    table, _ = _momenta("water")
    write_channel_csv(working_folder / "channel.csv", table)
    with pytest.raises(UsageError, match=r"does not end in \.xyz"):
        reconstruct("channel.csv", out="geom.pdb")
    with pytest.raises(OutputError, match="the folder does not exist"):
        reconstruct("channel.csv", options=ReconstructOptions(samples=1), out="nowhere/geom.xyz")
    with pytest.raises(InputFileError, match="no such file"):
        reconstruct("other.csv", out="geom.xyz")
    write_xyz(working_folder / "other.xyz", [molecule("cf4").geometry], None)
    with pytest.raises(UsageError):
        reconstruct(
            "channel.csv", options=ReconstructOptions(samples=1), out="geom.xyz", known="other.xyz"
        )
    assert not (working_folder / "geom.xyz").exists()
    assert not (working_folder / "geom.json").exists()
