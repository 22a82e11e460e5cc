"""Checkpoints: the whole state of a training in one safetensors file, written atomically."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from molexa_core.base.errors import OutputError, WeightsError, listing
from molexa_core.base.files import atomic_path
from molexa_core.model.network import Network

FORMAT: Final = 1


def save_checkpoint(
    path: Path,
    network: Network,
    optimizer: torch.optim.Optimizer,
    average: dict[str, Tensor],
    step: int,
) -> None:
    """Save weights, their average and the optimizer's state after `step` steps.

    Raises:
        OutputError: the file cannot be written, such as on a full disk.
    """
    tensors = {f"weights.{name}": value for name, value in network.state_dict().items()}
    tensors |= {f"average.{name}": value for name, value in average.items()}
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{key}": value for key, value in state.items()}
    stored = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    about = {
        "format": FORMAT,
        "step": step,
        "network": network.settings.to_dict(),
        "torch": torch.__version__,
    }
    with atomic_path(path) as temporary:
        try:
            save_file(stored, temporary, metadata={"molexa": json.dumps(about)})
        except SafetensorError as error:
            # The library wraps what the system says, such as a full disk.
            raise OutputError(
                f"the checkpoint of step {step} cannot be saved: {error}",
                where=path,
                do="Free some space and go on with --resume; the checkpoint before it is kept.",
            ) from error


def load_checkpoint(
    path: Path, network: Network, optimizer: torch.optim.Optimizer, average: dict[str, Tensor]
) -> int:
    """Load a training's state in place and return the number of steps it had done.

    Raises:
        WeightsError: the file is damaged, of another format, or of another network.
    """
    try:
        with safe_open(path, framework="pt") as stream:
            about = json.loads((stream.metadata() or {})["molexa"])
            tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
    except (SafetensorError, KeyError, ValueError, OSError) as error:
        raise WeightsError(
            "not a readable checkpoint", where=path, do="Delete it to start from the beginning."
        ) from error
    if about["format"] != FORMAT:
        raise WeightsError(
            f"checkpoint format {about['format']}, this molexa reads {FORMAT}",
            where=path,
            do="Resume with the version that wrote it.",
        )
    mine = json.loads(json.dumps(network.settings.to_dict()))
    different = [key for key, value in mine.items() if about["network"].get(key) != value]
    if different:
        raise WeightsError(
            f"the checkpoint is of another network ({listing(different)} differ)",
            where=path,
            do="Choose the preset it was made with, or another checkpoint file.",
        )
    network.load_state_dict(_part(tensors, "weights."))
    for name, value in _part(tensors, "average.").items():
        average[name].copy_(value)
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in _part(tensors, "optimizer.").items():
        index, key = name.split(".", 1)
        state.setdefault(int(index), {})[key] = value
    optimizer.load_state_dict(
        {"state": state, "param_groups": optimizer.state_dict()["param_groups"]}
    )
    return int(about["step"])


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): value
        for name, value in tensors.items()
        if name.startswith(prefix)
    }
