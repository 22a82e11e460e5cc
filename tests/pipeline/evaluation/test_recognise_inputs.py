"""Weights get a test that recognises inputs unlike their training."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from molexa_core.base.errors import UsageError
from molexa_core.network.card import read_card_file, write_card
from molexa_core.network.inference.conformity import CONFORMITY, PATTERNS
from molexa_core.network.weights import read_card
from molexa_core.physics.mcmd.photon_tables import pack_photon_tables
from molexa_core.pipeline.evaluation import recognise_inputs as stage
from molexa_core.pipeline.evaluation.known_explosions import Population
from molexa_core.pipeline.evaluation.recognise_inputs import recognise_inputs, training_of
from tests.fakes.cards import card_of_one_pulse

LIGHT = ("H", "C", "N", "O")


def _card(folder: Path) -> Path:
    """The card of weights that learned a family of pulses, of molecules of two and three atoms."""
    card = card_of_one_pulse()
    box = {"fluence_um2": [1e11, 1e13], "duration_fs": [2.0, 40.0]}
    learned = {
        "stream": {"pairs": {"box": box}, "photon_ev": [600.0, 2000.0]},
        "held_out": {"molecules": ["water", "carbon monoxide"]},
    }
    path = folder / "told.json"
    network = replace(card.network, max_atoms=3)
    data, training = {**card.data, **learned}, {**card.training, "stage": "2"}
    write_card(replace(card, name="told", data=data, training=training, network=network), path)
    return path


def test_the_family_is_that_of_the_card(tmp_path: Path) -> None:
    of = training_of(read_card_file(_card(tmp_path)))
    assert of.box.duration_fs == (2.0, 40.0)
    assert of.held_out == {"water", "carbon monoxide"}
    with pytest.raises(UsageError, match="did not learn a family"):
        training_of(read_card("molexa-stage1")[0])


@pytest.mark.slow
def test_the_test_is_stored_and_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _card(tmp_path)
    tables = pack_photon_tables([600.0, 2000.0], LIGHT, workers=1)
    whole = training_of

    def light(card: object) -> Population:
        return replace(whole(card), elements=LIGHT, held_out=None)  # type: ignore[arg-type]

    monkeypatch.setattr(stage, "training_of", light)
    found = recognise_inputs(
        str(path), geometries=240, trajectories=128, device="cpu", tables=tables
    )
    assert set(found.rates) == {"held-out-molecules", "held-out-physics"}
    for row in found.rates.values():
        assert set(row) == set(PATTERNS)
        assert all(0.0 <= rate < 0.5 for rate in row.values())
    stored = json.loads(path.read_text(encoding="utf-8"))
    assert stored["data"][CONFORMITY]["features"]
    assert read_card_file(path).metrics["called_unlike_the_training"] == found.rates
