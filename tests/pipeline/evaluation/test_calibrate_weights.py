"""Calibration for known and for new molecules: which entries count, and who takes which."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from molexa_core.base.errors import UsageError
from molexa_core.base.fields import SPLITS
from molexa_core.base.known_explosion import block_of, simulated
from molexa_core.base.matter.elements import BY_NUMBER
from molexa_core.base.tables import FloatArray
from molexa_core.network.card import FORMAT
from molexa_core.network.inference.conformity import CONFORMITY
from molexa_core.network.network import Network
from molexa_core.network.weights import (
    ModelCard,
    calibrated_for,
    calibration_of,
    card_remarks,
    load_network,
    read_card,
    save_weights,
    weights_available,
    write_card,
)
from molexa_core.physics.coulomb.batches import explode_many
from molexa_core.physics.coulomb.build_up import ErrorFunctionRise
from molexa_core.pipeline.datasets.entries import EntryTable
from molexa_core.pipeline.datasets.splits import rows_of
from molexa_core.pipeline.evaluation import calibrate_weights as stage
from molexa_core.pipeline.evaluation import evaluation_sets
from molexa_core.pipeline.reconstruction.reconstruct import reconstruct
from tests.fakes.networks import small_settings

MOLECULES = {"water": (8, 1, 1), "hydrogen cyanide": (6, 7, 1), "ammonia": (7, 1, 1, 1)}
"""The first is trained on, the second held out, the third set aside."""
EACH = 30


def entries() -> EntryTable:
    """Explosions of distorted molecules; of the first, entries of every split."""
    generator = np.random.default_rng(8)
    count, width = EACH * len(MOLECULES), 4
    numbers = np.zeros((count, width), np.uint8)
    charges = np.zeros((count, width), np.int8)
    positions, momenta = np.zeros((count, width, 3)), np.zeros((count, width, 3))
    for place, row in enumerate(MOLECULES.values()):
        rows, atoms = slice(place * EACH, (place + 1) * EACH), len(row)
        numbers[rows, :atoms], charges[rows, :atoms] = row, 1
        here = _apart(generator, atoms)
        masses = np.array([BY_NUMBER[number].isotope_mass for number in row])
        positions[rows, :atoms] = here
        momenta[rows, :atoms] = explode_many(
            here, np.ones(atoms), masses, build_up=ErrorFunctionRise(45.0), accuracy="draft"
        )
    split = np.arange(count) % 3
    split[2 * EACH :] = SPLITS.index("set_aside")
    return EntryTable(
        names=tuple(MOLECULES),
        held_out=np.array([False, True, False]),
        numbers=numbers,
        charges=charges,
        momenta=momenta.astype(np.float32),
        errors=np.zeros((count, width, 3), np.float32),
        positions=positions.astype(np.float32),
        mask=numbers > 0,
        counts=np.full(count, 300),
        molecule=np.repeat(np.arange(3), EACH).astype(np.int32),
        variation=np.arange(count, dtype=np.int32),
        kind=np.zeros(count, np.uint8),
        geometry=np.arange(count, dtype=np.int32),
        split=split.astype(np.uint8),
        statistics={},
    )


def _apart(generator: np.random.Generator, atoms: int) -> FloatArray:
    corners = np.array([[1.0, 1, 1], [-1, -1, 1], [-1, 1, -1], [1, -1, -1]])[:atoms]
    return corners * 1.6 + 0.2 * generator.normal(size=(EACH, atoms, 3))


@pytest.fixture
def data_set(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(folder: object, split: str, *, by: str = "entry") -> EntryTable:
        del folder
        table = entries()
        return table.select(rows_of(table, split, by))

    monkeypatch.setattr(stage, "read_dataset", read)
    monkeypatch.setattr(evaluation_sets, "read_dataset", read)


def weights(folder: Path, **data: Any) -> str:
    torch.manual_seed(3)
    network = Network(small_settings("atoms"))
    save_weights(folder, "small", network, data=data, training={"stage": "2"}, metrics={})
    return str(folder / "small.json")


@pytest.mark.usefixtures("data_set")
def test_known_and_new_molecules_are_calibrated_apart(tmp_path: Path) -> None:
    name = weights(tmp_path, kind="stage 2, data set", split_by="molecule")
    result, path = stage.calibrate_weights(name, data="a set", device="cpu")
    card, _ = read_card(str(path))
    found = calibration_of(card)
    assert found is not None
    # Validation entries of the first molecule; all of those held out or set aside.
    assert {kind: part.molecules for kind, part in found.parts.items()} == {
        "known": EACH // 3,
        "new": 2 * EACH,
    }
    assert set(result.coverage["known"]) == {"3", "all"}
    assert set(result.coverage["new"]) == {"3", "4", "all"}
    assert found.formulas == {"H2O"}
    assert calibrated_for(card, ("H", "O", "H")) == "known"
    assert calibrated_for(card, ("H", "C", "N")) == "new"
    assert "coverage_95" in card.metrics["calibration"]["new"]


@pytest.mark.usefixtures("data_set")
def test_split_by_entry_molecules_held_out_elsewhere_are_known(tmp_path: Path) -> None:
    name = weights(tmp_path, kind="stage 2, data set", split_by="entry")
    result, _ = stage.calibrate_weights(name, data="a set", device="cpu")
    assert result.calibrations.formulas == {"H2O", "CHN"}
    assert result.calibrations.parts["new"].molecules == EACH
    # One molecule cannot be left out of its own fit.
    assert result.coverage["new"] == {}


@pytest.mark.usefixtures("data_set")
def test_weights_of_stage_1_know_no_molecule(tmp_path: Path) -> None:
    name = weights(tmp_path, kind="stage 1, classical explosion")
    result, path = stage.calibrate_weights(name, data="a set", device="cpu")
    assert set(result.coverage) == {"all"}
    assert calibrated_for(read_card(str(path))[0], ("H", "O", "H")) == "all"


def test_too_few_molecules_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="1 molecules"):
        stage.calibrate_weights(weights(tmp_path, kind="stage 1"), molecules=1)


@pytest.mark.usefixtures("data_set")
def test_another_sampler_is_told_and_the_answer_says_whom_it_is_calibrated_for(
    tmp_path: Path,
) -> None:
    explosion = block_of(simulated("mcmd"))
    name = weights(tmp_path, kind="stage 2, data set", split_by="molecule", explosion=explosion)
    stage.calibrate_weights(name, data="a set", device="cpu")
    assert card_remarks(read_card(name)[0]) == []
    table = _water()
    table.attrs["explosion"] = explosion
    record = reconstruct(table, network=load_network(name))
    assert record.model["calibration"] == "known"
    assert not [text for text in record.warnings if "sampler" in text]

    card, path = read_card(name)
    fewer = replace(card.network.sampler, steps=card.network.sampler.steps + 3)
    write_card(replace(card, network=replace(card.network, sampler=fewer)), path)
    network, changed = load_network(name)
    (told,) = card_remarks(changed)
    assert f"steps {card.network.sampler.steps}, now {fewer.steps}" in told
    assert "molexa weights calibrate small" in told
    assert told in reconstruct(table, network=(network, changed)).warnings


def _water() -> pd.DataFrame:
    one = entries().select(np.array([0]))
    rows = zip(("O+", "H+", "H+"), one.momenta[0].astype(float), strict=True)
    return pd.DataFrame([(ion, *p) for ion, p in rows], columns=["ion", "px", "py", "pz"])


@pytest.mark.parametrize("name", sorted(weights_available()))
def test_shipped_weights_are_calibrated_with_the_sampler_they_use(name: str) -> None:
    card, _ = read_card(name)
    # Samples of weights that are told the experiment state their errors themselves.
    told = card.network.told
    assert (calibration_of(card) is None) == told
    assert (CONFORMITY in card.data) == told
    assert card_remarks(card) == []


def test_cards_of_format_1_are_read(tmp_path: Path) -> None:
    name = weights(tmp_path, kind="stage 1")
    card, path = read_card(name)
    assert isinstance(card, ModelCard)
    values = json.loads(card.to_json())
    del values["checksum"]
    path.write_text(json.dumps(values | {"format": 1}), encoding="utf-8")
    again, _ = read_card(name)
    assert again.format == 1
    write_card(again, path)
    assert read_card(name)[0].format == FORMAT
