"""Weights on disk: the same network comes back, damage is found and named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from model.conftest import small_settings

from molexa_core.base.errors import InputFileError, WeightsError
from molexa_core.model import weights
from molexa_core.model.network import Network


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the weights of a small network in several shards."""
    monkeypatch.setattr(weights, "SHARD_BYTES", 20_000)
    torch.manual_seed(1)
    weights.save_weights(
        tmp_path, "small", Network(small_settings("atoms")), data={}, training={}, metrics={}
    )
    return tmp_path


def test_round_trip(folder: Path) -> None:
    torch.manual_seed(1)
    original = Network(small_settings("atoms"))
    loaded, card = weights.load_network(str(folder / "small.json"))
    assert card.network == small_settings("atoms")
    assert len(card.files) > 1
    assert card.parameters == original.parameter_count
    for name, value in original.state_dict().items():
        torch.testing.assert_close(
            loaded.state_dict()[name], value.bfloat16().float(), rtol=0, atol=0
        )


def test_every_shard_is_small(folder: Path) -> None:
    for shard in folder.glob("*.safetensors"):
        largest = max(value.nbytes for value in Network(small_settings("atoms")).parameters())
        assert shard.stat().st_size < 20_000 + largest


def test_a_flipped_byte_is_found(folder: Path) -> None:
    shard = sorted(folder.glob("*.safetensors"))[1]
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    with pytest.raises(WeightsError, match="the file has changed: SHA-256") as caught:
        weights.load_network(str(folder / "small.json"))
    assert shard.name in str(caught.value)


def test_a_missing_shard_is_found(folder: Path) -> None:
    min(folder.glob("*.safetensors")).unlink()
    with pytest.raises(WeightsError, match="missing"):
        weights.load_network(str(folder / "small.json"))


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("format", 99, "weights format 99, this molexa reads up to 2"),
        ("network", {}, "incomplete network settings"),
        ("network", {"nonsense": 1}, "unknown network settings nonsense"),
        ("surprise", 1, "not a readable description"),
    ],
)
def test_a_changed_card_is_refused(folder: Path, key: str, value: object, message: str) -> None:
    card = folder / "small.json"
    values = json.loads(card.read_text())
    values[key] = value
    card.write_text(json.dumps(values))
    with pytest.raises(WeightsError, match=message):
        weights.load_network(str(card))


def test_weights_that_do_not_fit_their_settings_are_refused(folder: Path) -> None:
    card = folder / "small.json"
    values = json.loads(card.read_text())
    values["network"]["dynamics_blocks"] = 3
    card.write_text(json.dumps(values))
    with pytest.raises(WeightsError, match="do not fit their settings"):
        weights.load_network(str(card))


def test_a_file_name_in_a_card_cannot_leave_its_folder(folder: Path) -> None:
    card = folder / "small.json"
    values = json.loads(card.read_text())
    first = next(iter(values["files"]))
    values["files"] = {f"../../{first}": values["files"][first]}
    card.write_text(json.dumps(values))
    found, path = weights.read_card(str(card))
    assert list(weights.verify(found, path)) == [f"../../{first}"]


def test_unknown_weights_list_what_there_is() -> None:
    with pytest.raises(InputFileError, match="There are"):
        weights.load_network("molexa-stage9")
