"""Installed weights: list them, show their cards, verify and shrink their files."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from molexa_core.base.storage.files import make_folder
from molexa_core.base.storage.outputs import FileKind
from molexa_core.network.weights import (
    load_network,
    read_card,
    save_weights,
    verify,
    weights_available,
)
from molexa_core.pipeline.output_guard import Output, require_outputs, settings_inputs


@dataclass(frozen=True)
class InstalledWeights:
    """One line of `molexa weights list`.

    Attributes:
        name: name for `--weights`.
        tokens: layout of the network.
        parameters: number of trained values.
        size: total size of the files, bytes.
        elements: elements of its training.
        max_atoms: largest number of atoms in its training.
        file: path of the card.
    """

    name: str
    tokens: str
    parameters: int
    size: int
    elements: tuple[str, ...]
    max_atoms: int
    file: str


def list_weights() -> list[InstalledWeights]:
    """The weights in the working folder and the shipped ones, by name.

    Raises:
        WeightsError: a card is damaged.
    """
    found = []
    for name, path in sorted(weights_available().items()):
        card, _ = read_card(str(path))
        shards = [path.parent / file_name for file_name in card.files]
        found.append(
            InstalledWeights(
                name=name,
                tokens=card.network.tokens,
                parameters=card.parameters,
                size=sum(shard.stat().st_size for shard in shards if shard.is_file()),
                elements=card.network.elements,
                max_atoms=card.network.max_atoms,
                file=str(path),
            )
        )
    return found


def show_weights(name: str) -> dict[str, Any]:
    """The contents of the card of these weights as plain values.

    Raises:
        InputFileError: no such weights.
        WeightsError: the card is damaged.
    """
    card, _ = read_card(name)
    shown: dict[str, Any] = json.loads(card.to_json())
    return shown


def verify_weights(name: str) -> tuple[list[Path], list[Path]]:
    """Check the files of these weights, the card included, against their checksums.

    Returns:
        Files that are intact, and files without a checksum (cards of older versions).

    Raises:
        InputFileError: no such weights, or the card disagrees with its checksum.
        WeightsError: a file is missing or has changed.
    """
    card, path = read_card(name)
    intact = [path.parent / file_name for file_name in verify(card, path)]
    return ([path, *intact], []) if card.checked else (intact, [path])


def shrink_weights(name: str, folder: Path) -> Path:
    """Write weights in eight bits, with an otherwise unchanged card; returns the path of the card.

    Raises:
        InputFileError: no such weights.
        WeightsError: the weights are damaged.
        OutputError: the folder cannot be written.
    """
    card, _ = read_card(name)
    files: list[Output] = [
        (folder / f"{card.name}.json", FileKind.CARD),
        *((path, FileKind.WEIGHTS) for path in folder.glob(f"{card.name}-*of*.safetensors")),
    ]
    require_outputs(*files, inputs=settings_inputs(weights=name), folder=folder)
    network, card = load_network(name)
    make_folder(folder)
    save_weights(
        folder,
        card.name,
        network,
        data=card.data,
        training=card.training,
        metrics=card.metrics,
        limits=card.limits,
        calibration=card.calibration,
        eight_bits=True,
    )
    return folder / f"{card.name}.json"
