"""Weights on disk: safetensors shards and a JSON file that describes them; no pickles.

`NAME.json` holds the format number, the network's settings, the files with their SHA-256, the
data that the network was trained on, metrics and versions (`card`). Each shard is below 16 MiB.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import nn
from torch.overrides import TorchFunctionMode

from molexa_core.base.errors import InputFileError, WeightsError, listing
from molexa_core.base.forward_model import TAU_FS
from molexa_core.base.matter.elements import sum_formula
from molexa_core.base.storage.files import atomic_path, require_file
from molexa_core.base.storage.resources import available, find
from molexa_core.network.card import SUFFIX, ModelCard, read_card_file, write_card
from molexa_core.network.config import NetworkSettings
from molexa_core.network.inference.interval_calibration import Calibrations, Kind
from molexa_core.network.inference.threads import threads_for
from molexa_core.network.layouts.quantised import dequantise, quantise
from molexa_core.network.network import Network

__all__ = ["ModelCard", "write_card"]

SHARD_BYTES: Final = 15 * 2**20
"""Largest size of a file of weights, bytes, unless a single tensor is larger."""
MOST_BYTES: Final = 2**30
"""A longer file of weights, bytes, is refused without reading it."""
DEFAULT: Final = "molexa-stage1"
"""Name of the default weights."""
TOLD: Final = "molexa-told"
"""Name of the weights that are told the experiment: the default for explosions that the others did
not learn."""


def save_weights(
    folder: Path,
    name: str,
    network: Network,
    *,
    data: dict[str, Any],
    training: dict[str, Any],
    metrics: dict[str, Any],
    limits: str = "",
    calibration: dict[str, Any] | None = None,
    eight_bits: bool = False,
) -> ModelCard:
    """Write a network as shards and their card; the card is written last.

    The weights are stored in bf16, or with `eight_bits` as in `quantised.quantise`.

    Raises:
        OutputError: the folder cannot be written.
    """
    shards: list[dict[str, torch.Tensor]] = [{}]
    size = 0
    values = network.state_dict()
    stored = quantise(values) if eight_bits else {k: v.bfloat16() for k, v in values.items()}
    for key, value in stored.items():
        tensor = value.detach().cpu().contiguous()
        size += tensor.nbytes
        if size > SHARD_BYTES and shards[-1]:
            shards.append({})
            size = tensor.nbytes
        shards[-1][key] = tensor
    files: dict[str, str] = {}
    for index, shard in enumerate(shards, start=1):
        content = save(shard)
        path = folder / f"{name}-{index}of{len(shards)}.safetensors"
        with atomic_path(path) as temporary:
            temporary.write_bytes(content)
        files[path.name] = hashlib.sha256(content).hexdigest()
    card = ModelCard(
        name=name,
        network=network.settings,
        files=files,
        data=data,
        training=training,
        metrics=metrics,
        parameters=network.parameter_count,
        dtype="int8" if eight_bits else "bfloat16",
        limits=limits,
        calibration=calibration or {},
    )
    write_card(card, folder / f"{name}{SUFFIX}")
    return card


def calibration_of(card: ModelCard) -> Calibrations | None:
    """The calibrations of these weights; None if they have none.

    Raises:
        WeightsError: the calibration is damaged.
    """
    if not card.calibration:
        return None
    try:
        return Calibrations.from_dict(card.calibration)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise WeightsError(
            f"the calibration of {card.name} is damaged",
            do="Calibrate again with `molexa weights calibrate`.",
        ) from error


def calibrated_for(card: ModelCard, symbols: Sequence[str]) -> Kind | None:
    """The calibration that is used for a molecule of these atoms; None if there is none.

    Raises:
        WeightsError: the calibration is damaged.
    """
    found = calibration_of(card)
    return None if found is None else found.kind(sum_formula(symbols))


def card_remarks(card: ModelCard) -> list[str]:
    """Warnings about weights that limit the trust in their results.

    A card without checksum does not show that a number in it was changed. Intervals may have been
    calibrated with another sampler than the default of the weights: the error of a structure
    depends on the steps of the sampler. Such factors are used nevertheless, since they are closer
    to the truth than none.

    Raises:
        WeightsError: the calibration is damaged.
    """
    remarks = []
    if not card.checked:
        remarks.append(
            f"the description of {card.name} is without checksum (written by molexa "
            f"{card.versions.get('molexa', 'of an older version')}): a changed number in it would "
            "not be seen"
        )
    found = calibration_of(card)
    if found is None or found.sampler is None:
        return remarks
    then, now = asdict(found.sampler), asdict(card.network.sampler)
    other = [name for name in now if then[name] != now[name]]
    if other:
        changed = ", ".join(f"{name} {then[name]}, now {now[name]}" for name in other)
        remarks.append(
            f"the error bars of {card.name} were calibrated with another sampler ({changed}) and "
            f"may be off; calibrate again with `molexa weights calibrate {card.name}`"
        )
    return remarks


def learned_from(card: ModelCard) -> dict[str, Any]:
    """The training data of the structures that these weights predict, from their card.

    Training the error estimate does not change the structures, so the training before it counts.
    """
    data, training = card.data, card.training
    while str(training.get("stage")) == "uncertainty" and training.get("before"):
        data, training = training["before"]["data"], training["before"]["training"]
    return data


def forward_of(card: ModelCard) -> Literal["classical", "mcmd"]:
    """The forward model of the explosions that these weights were trained on."""
    kind = str(learned_from(card).get("kind", ""))
    return "mcmd" if kind.startswith("stage 2") else "classical"


def tau_of(card: ModelCard) -> float:
    """Window of the charge build-up (fs) of the classical model for the closure of these weights.

    Weights that were trained on a data set alone do not define one; the published value is used.
    """
    return float(card.data.get("tau_fs", TAU_FS))


def weights_available() -> dict[str, Path]:
    """Cards by name, those of the working folder first."""
    return available("weights", SUFFIX)


def read_card(name: str) -> tuple[ModelCard, Path]:
    """The card of this name or path, and where it lies.

    Raises:
        InputFileError: no such weights; the message lists the existing ones.
        WeightsError: the card is damaged or of another format.
    """
    path = find("weights", name, SUFFIX)
    card = read_card_file(path)
    calibration_of(card)
    return card, path


def verify(card: ModelCard, path: Path) -> dict[str, bytes]:
    """The content of the shards, checked against their SHA-256.

    Raises:
        InputFileError: a shard cannot be read.
        WeightsError: a shard is missing or has changed.
    """
    contents: dict[str, bytes] = {}
    for file_name, expected in card.files.items():
        shard = path.parent / file_name
        if not shard.is_file():
            raise WeightsError("this file of weights is missing", where=shard, do="Install again.")
        if require_file(shard).stat().st_size > MOST_BYTES:
            raise WeightsError("too large for weights", where=shard, do="Install them again.")
        content = shard.read_bytes()
        found = hashlib.sha256(content).hexdigest()
        if found != expected:
            raise WeightsError(
                f"the file has changed: SHA-256 {found[:12]}..., expected {expected[:12]}...",
                where=shard,
                do="Fetch or install the weights again.",
            )
        contents[file_name] = content
    return contents


def load_network(name: str, device: torch.device | str = "cpu") -> tuple[Network, ModelCard]:
    """The network of this name, in single precision, ready for inference.

    Raises:
        InputFileError: no such weights.
        WeightsError: they are damaged or do not fit their own description.
    """
    card, path = read_card(name)
    tensors: dict[str, torch.Tensor] = {}
    for file_name, content in verify(card, path).items():
        try:
            tensors |= load(content)
        except (SafetensorError, KeyError, ValueError) as error:
            raise WeightsError(
                "not a safetensors file", where=path.parent / file_name, do="Install them again."
            ) from error
    require_finite(tensors, path)
    if sum(value.numel() for value in tensors.values()) < card.network.least_values:
        raise WeightsError(
            "the weights do not fit their settings: fewer values than such a network has",
            where=path,
            do="Install them again.",
        )
    with _Unset():
        network = Network(card.network)
    try:
        with threads_for(0):
            network.load_state_dict(dequantise(tensors), assign=True)
    except (RuntimeError, ValueError) as error:
        first = str(error).splitlines()[0]
        raise WeightsError(
            f"the weights do not fit their settings: {first}", where=path, do="Install them again."
        ) from error
    return network.to(device).eval(), card


def told_copy(network: Network, settings: NetworkSettings) -> Network:
    """A network that is told the experiment, with the weights of one that is not.

    Until it is trained it answers as the other one does.

    Args:
        network: not told anything.
        settings: of the new network; layers have the same sizes.

    Raises:
        WeightsError: networks of other layouts or sizes.
    """
    new = Network(settings)
    values = new.state_dict()
    own = {name for name in values if name.startswith("dynamics.told.")}
    given = network.state_dict()
    if values.keys() - own != given.keys() or any(
        values[name].shape != value.shape for name, value in given.items()
    ):
        raise WeightsError(
            "the weights are of another network: their layers have other sizes",
            do="Choose weights of the preset molexa.",
        )
    new.load_state_dict(values | given)
    return new.to(next(network.parameters()).device).eval()


def require_finite(tensors: Mapping[str, torch.Tensor], where: Path) -> None:
    """Check that all values are finite.

    Raises:
        WeightsError: some are not; the message names the first tensors that contain such values.
    """
    bad = [
        name
        for name, value in tensors.items()
        if value.is_floating_point() and not bool(torch.isfinite(value).all())
    ]
    if bad:
        raise WeightsError(
            f"values that are not numbers in {listing(bad, limit=3)}",
            where=where,
            do="Fetch or install them again.",
        )


class _Unset(TorchFunctionMode):
    """Build layers without random initial values, which the values of a file replace.

    The draws take half a second; the standard way in torch, the device `meta`, takes a second.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Pass calls on, except those of `torch.nn.init`, which do nothing."""
        if getattr(func, "__module__", None) == nn.init.__name__:
            return None
        return func(*args, **(kwargs or {}))


def default_weights() -> str:
    """The name of the default weights.

    Raises:
        InputFileError: none are installed.
    """
    known = weights_available()
    if DEFAULT in known:
        return DEFAULT
    if known:
        return min(known)
    raise InputFileError(
        "no network weights are installed", do="Name some with `weights=`, or train a network."
    )
