"""Weights on disk: the same network comes back, damage is found and named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from molexa_core.base.errors import InputFileError, MolexaError, WeightsError
from molexa_core.base.storage.checksums import sealed
from molexa_core.network import weights
from molexa_core.network.network import Network
from molexa_core.pipeline.evaluation.installed_weights import verify_weights
from tests.fakes.networks import small_settings


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


def changed(folder: Path, key: str, value: object, *, checksum: bool = True) -> str:
    """The card with one value changed by somebody who knows how to write cards."""
    card = folder / "small.json"
    values = json.loads(card.read_text())
    place = values
    *parents, last = key.split("/")
    for name in parents:
        place = place[name]
    place[last] = value
    del values["checksum"]
    card.write_text(json.dumps(sealed(values) if checksum else values))
    return str(card)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("format", 99, "weights format 99, this molexa reads up to 3"),
        ("format", True, "weights format True"),
        ("network", {}, "network: missing tokens"),
        ("network", {"nonsense": 1}, "network: unknown key 'nonsense'"),
        ("network", [1], "network: expected keys and values, found a list"),
        ("surprise", 1, "not a readable description"),
        ("checked", True, "unknown key 'checked'"),
        ("network/width", 10**9, "network -> width: found 1000000000, expected 1 to 4096"),
        ("network/width", 30, "4 heads do not divide a width of 30"),
        ("network/width", "32", "expected a whole number, found '32'"),
        ("network/heads", True, "expected a whole number, found True"),
        ("network/denoiser_blocks", -1, "expected 0 to 256"),
        ("network/uncertainty_bins", 10**12, "expected 2 to 10000"),
        ("network/sigma_data", None, "expected a finite number, found null"),
        ("network/tokens", "words", "expected pairs, atoms, found 'words'"),
        ("network/elements", ["H", "Qq"], "unknown Qq"),
        ("network/elements", ["H", "H"], "twice"),
        ("network/sampler/steps", 10**6, "network -> sampler -> steps: found 1000000"),
        ("network/sampler/sigma_min", 3.0, "sigma_min is not below sigma_max"),
        ("name", "../small", "cannot be part of the name of a file"),
        ("name", "", "0 letters, expected 1 to 200"),
        ("files", {}, "0 keys, expected 1 to 1000"),
        ("files", {"../../small.safetensors": "0" * 64}, "no name of a file in this folder"),
        ("files", {"/etc/passwd": "0" * 64}, "no name of a file in this folder"),
        ("files", {"small.safetensors": "abc"}, "no SHA-256"),
        ("parameters", 0.5, "expected a whole number"),
        ("dtype", "float128", "expected bfloat16, int8"),
        ("data", {"tau_fs": -1.0}, "data -> tau_fs"),
        ("data", {"kind": 3}, "data -> kind: expected a text"),
        ("data", {"ranges": {"3": {}}}, "ranges of the training"),
        ("training", {"before": {}}, "training -> before: missing data, training"),
        ("training", {"before": 3}, "training -> before: expected keys and values"),
        ("calibration", {"levels": [1]}, "the calibration of small is damaged"),
    ],
)
def test_a_changed_card_is_refused(folder: Path, key: str, value: object, message: str) -> None:
    with pytest.raises(WeightsError, match=message) as caught:
        weights.load_network(changed(folder, key, value))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "1e400", "1" * 5000])
def test_a_number_that_is_none_is_refused(folder: Path, text: str) -> None:
    card = folder / "small.json"
    card.write_text(card.read_text().replace('"width": 32', f'"width": {text}'))
    with pytest.raises(WeightsError, match="not a description of weights"):
        weights.read_card(str(card))


def test_every_changed_digit_of_a_card_is_found(folder: Path) -> None:
    card = folder / "small.json"
    content = card.read_text()
    places = [place for place, letter in enumerate(content) if letter.isdigit()]
    for place in places[::7]:
        other = str((int(content[place]) + 1) % 10)
        card.write_text(content[:place] + other + content[place + 1 :])
        with pytest.raises(MolexaError):
            weights.read_card(str(card))


def test_a_card_without_checksum_is_read_and_told(folder: Path) -> None:
    assert weights.card_remarks(weights.read_card(str(folder / "small.json"))[0]) == []
    name = changed(folder, "format", 2, checksum=False)
    card, path = weights.read_card(name)
    assert not card.checked
    (told,) = weights.card_remarks(card)
    assert "without checksum" in told
    assert verify_weights(name)[1] == [path]
    weights.write_card(card, path)
    assert weights.read_card(name)[0].checked
    assert path in verify_weights(name)[0]


def test_weights_that_do_not_fit_their_settings_are_refused(folder: Path) -> None:
    with pytest.raises(WeightsError, match="do not fit their settings"):
        weights.load_network(changed(folder, "network/dynamics_blocks", 3))


def test_a_network_larger_than_its_files_is_never_made(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights, "Network", lambda _: pytest.fail("a network was made"))
    with pytest.raises(WeightsError, match="fewer values than such a network has"):
        weights.load_network(changed(folder, "network/width", 4096))


def test_values_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    network = Network(small_settings("atoms"))
    next(network.parameters()).data[0] = torch.nan
    weights.save_weights(tmp_path, "small", network, data={}, training={}, metrics={})
    with pytest.raises(WeightsError, match="values that are not numbers in"):
        weights.load_network(str(tmp_path / "small.json"))


def test_unknown_weights_list_what_there_is() -> None:
    with pytest.raises(InputFileError, match="There are"):
        weights.load_network("molexa-stage9")
