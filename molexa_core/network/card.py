"""The model card: the JSON description of a set of weights, checked before it is used."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import torch

from molexa_core import __version__
from molexa_core.base.errors import WeightsError
from molexa_core.base.storage.bounded import MisfitError, Within, fitting, from_values, shown
from molexa_core.base.storage.checksums import sealed, unsealed
from molexa_core.base.storage.files import UNWRITABLE, atomic_path
from molexa_core.base.storage.json_file import read_json
from molexa_core.network.config import NetworkSettings
from molexa_core.network.inference.familiarity import read_ranges

FORMAT: Final = 3
READABLE: Final = (1, 2, 3)
"""Versions of the card that can be read. Version 1 has one calibration at most; only version 3 has
a checksum."""
SUFFIX: Final = ".json"
LARGEST: Final = 8 * 2**20
"""Largest size of a card, bytes; a longer file is refused without reading it."""
_AGAIN: Final = "Fetch or install them again."
_FILE: Final = re.compile(r"[A-Za-z0-9._+ -]{1,200}\.safetensors")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_EARLIER: Final = 32
"""Largest number of successive trainings that a card records."""


@dataclass(frozen=True)
class ModelCard:
    """What is known about a set of weights.

    Attributes:
        name: as in `molexa weights list`.
        network: settings of the network.
        files: SHA-256 of each shard by file name.
        data: what it was trained on, with the seed.
        training: recipe, steps, device, duration.
        metrics: measured accuracy, with its conditions.
        parameters: number of trained values.
        dtype: of the stored values.
        limits: what the weights are not suited for, a sentence for the reader.
        calibration: factors from predicted errors to intervals
            (`interval_calibration.Calibrations`);
            empty if they were not calibrated.
        format: version of the card.
        versions: of molexa and torch.
        checked: whether the card contains its own checksum and agrees with it.
    """

    name: Annotated[str, Within(1, 200)]
    network: NetworkSettings
    files: Annotated[dict[str, str], Within(1, 1000)]
    data: dict[str, Any]
    training: dict[str, Any]
    metrics: dict[str, Any]
    parameters: Annotated[int, Within(1, 10**10)]
    dtype: Literal["bfloat16", "int8"]
    limits: Annotated[str, Within(0, 10_000)] = ""
    calibration: dict[str, Any] = field(default_factory=dict)
    format: int = FORMAT
    versions: dict[str, str] = field(
        default_factory=lambda: {"molexa": __version__, "torch": str(torch.__version__)}
    )
    checked: bool = True

    def to_json(self) -> str:
        """The card as text, with its checksum."""
        values = asdict(self)
        values["network"] = self.network.to_dict()
        del values["checked"]
        return json.dumps(sealed(values), indent=2, allow_nan=False) + "\n"


def write_card(card: ModelCard, path: Path) -> None:
    """Replace the card of weights.

    Raises:
        OutputError: the card cannot be written.
    """
    with atomic_path(path) as temporary:
        temporary.write_text(
            replace(card, format=FORMAT).to_json(), encoding="utf-8", errors=UNWRITABLE
        )


def read_card_file(path: Path) -> ModelCard:
    """Read a card and check every field.

    Raises:
        InputFileError: the file does not exist, must not be read, or disagrees with its checksum.
        WeightsError: the card is damaged or of another version.
    """
    values = read_json(
        path, largest=LARGEST, what="a description of weights", do=_AGAIN, error=WeightsError
    )
    found = values.get("format")
    if type(found) is not int or found not in READABLE:
        raise WeightsError(
            f"weights format {shown(found)}, this molexa reads up to {FORMAT}",
            where=path,
            do="Use the molexa version that wrote them, or other weights.",
        )
    values, checked = unsealed(values, where=path)
    try:
        if "checked" in values:
            raise MisfitError("the file: unknown key 'checked'")
        card = replace(from_values(ModelCard, values), checked=checked)
        card.network.require_possible()
        _check_names(card)
        _check_training(card.data, card.training)
        read_ranges(card.data)
    except (MisfitError, WeightsError) as error:
        said = error.what if isinstance(error, WeightsError) else str(error)
        raise WeightsError(
            f"not a readable description of weights: {said}", where=path, do=_AGAIN
        ) from error
    return card


def _check_names(card: ModelCard) -> None:
    """Check names that are used as file names: no other folder, no impossible name."""
    if card.name.startswith(".") or set(card.name) & set("/\\\0") or not card.name.isprintable():
        raise MisfitError(f"name: {shown(card.name)} cannot be part of the name of a file")
    for name, digest in card.files.items():
        if not _FILE.fullmatch(name) or name.startswith("."):
            raise MisfitError(f"files: {shown(name)} is no name of a file in this folder")
        if not _SHA256.fullmatch(digest):
            raise MisfitError(f"files -> {name}: {shown(digest)} is no SHA-256")


def _check_training(data: Any, training: Any) -> None:
    """Check the entries on this training and the earlier ones that other parts of molexa read."""
    text = Annotated[str, Within(0, 1000)]
    for _ in range(_EARLIER):
        data = fitting(dict[str, Any], data, "data")
        training = fitting(dict[str, Any], training, "training")
        for key in ("kind", "split_by", "data_set"):
            fitting(text | None, data.get(key), f"data -> {key}")
        fitting(Annotated[float, Within(0, 1e6)] | None, data.get("tau_fs"), "data -> tau_fs")
        stage = training.get("stage")
        if type(stage) is not int:
            fitting(text | None, stage, "training -> stage")
        before = training.get("before")
        if before is None:
            return
        before = fitting(dict[str, Any], before, "training -> before")
        if missing := {"data", "training"} - set(before):
            raise MisfitError(f"training -> before: missing {', '.join(sorted(missing))}")
        data, training = before["data"], before["training"]
    raise MisfitError(f"training: more than {_EARLIER} trainings one before the other")
