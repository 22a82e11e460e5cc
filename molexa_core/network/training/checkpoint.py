"""Checkpoints: the whole state of a training in one safetensors file, written atomically.

In the header of the file the key `molexa` holds the format, the step and the settings of the
network; the key `checksum` holds one digest over that text and over name, type, shape and values of
every tensor. A checkpoint is checked as a whole before any part of it is used.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from molexa_core.base.errors import OutputError, WeightsError, listing
from molexa_core.base.progress import SILENT, Progress
from molexa_core.base.storage.checksums import CHECKSUM, digest_of_parts
from molexa_core.base.storage.files import atomic_path, require_file
from molexa_core.base.storage.json_file import parse_json
from molexa_core.network.network import Network
from molexa_core.network.weights import require_finite

FORMAT: Final = 2
READABLE: Final = (1, 2)
"""Versions of the format that can be read; version 1 has no checksum."""
LAST_STEP: Final = 10**12
"""Largest possible number of steps."""
_LATER: Final = {"told": False}
"""Settings of networks that earlier versions did not write, with what they stood for."""
_ABOUT: Final = "molexa"
_FROM_START: Final = "Delete it to start from the beginning."


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
    about = json.dumps(
        {
            "format": FORMAT,
            "step": step,
            "network": network.settings.to_dict(),
            "torch": torch.__version__,
        }
    )
    metadata = {_ABOUT: about, CHECKSUM: _checksum(about, stored)}
    with atomic_path(path) as temporary:
        try:
            save_file(stored, temporary, metadata=metadata)
        except SafetensorError as error:
            # The library wraps the error of the system, such as a full disk.
            raise OutputError(
                f"the checkpoint of step {step} cannot be saved: {error}",
                where=path,
                do="Free some space, go on with `resume=True`; the checkpoint before it is kept.",
            ) from error


def load_checkpoint(
    path: Path,
    network: Network,
    optimizer: torch.optim.Optimizer,
    average: dict[str, Tensor],
    *,
    progress: Progress = SILENT,
) -> int:
    """Load the state of a training in place and return its number of completed steps.

    Raises:
        InputFileError: the file is missing, or there is no permission to read it.
        WeightsError: the file is damaged, of another format, or of another network.
    """
    about, tensors, checked = _read(require_file(path))
    mine = json.loads(json.dumps(network.settings.to_dict()))
    theirs = about.get("network")
    if not isinstance(theirs, dict):
        raise _damaged(path, "it does not tell its network")
    theirs = _LATER | theirs
    if different := [key for key, value in mine.items() if theirs.get(key) != value]:
        raise WeightsError(
            f"the checkpoint is of another network ({listing(different)} differ)",
            where=path,
            do="Choose the preset it was made with, or another checkpoint file.",
        )
    step = about.get("step")
    if type(step) is not int or not 0 <= step <= LAST_STEP:
        raise _damaged(path, "the number of its steps is none")
    require_finite(tensors, path)
    _require_shapes(path, _part(tensors, "weights."), network.state_dict())
    _require_shapes(path, _part(tensors, "average."), average)
    state = _optimizer_state(path, _part(tensors, "optimizer."), optimizer)
    if not checked:
        progress.warn(
            f"{path} is without checksum (written by molexa 0.1): a changed value in it would not "
            "be seen"
        )
    network.load_state_dict(_part(tensors, "weights."))
    for name, value in _part(tensors, "average.").items():
        average[name].copy_(value)
    optimizer.load_state_dict(
        {"state": state, "param_groups": optimizer.state_dict()["param_groups"]}
    )
    return step


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor], bool]:
    """The header, the tensors, and whether there is a checksum that confirms them."""
    try:
        with safe_open(path, framework="pt") as stream:
            metadata = stream.metadata() or {}
            tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
        text = metadata[_ABOUT]
        about = parse_json(text)
    except OSError as error:
        raise WeightsError(
            f"the checkpoint cannot be read: {error.strerror or error}",
            where=path,
            do="Try again; the file itself may be whole.",
        ) from error
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        raise _damaged(path, "") from error
    found = about.get("format") if isinstance(about, dict) else None
    if type(found) is not int:
        raise _damaged(path, "it does not tell its format")
    if found not in READABLE:
        raise WeightsError(
            f"checkpoint format {found}, this molexa reads up to {FORMAT}",
            where=path,
            do="Resume with the version that wrote it.",
        )
    stated = metadata.get(CHECKSUM)
    if stated is None and found == 1:
        return about, tensors, False
    if stated != _checksum(text, tensors):
        raise _damaged(path, "it has changed since it was written, its checksum does not fit")
    return about, tensors, True


def _checksum(about: str, tensors: Mapping[str, Tensor]) -> str:
    """One digest over everything in a checkpoint."""
    parts: list[tuple[str, bytes | memoryview]] = [(_ABOUT, about.encode())]
    for name in sorted(tensors):
        value = tensors[name].contiguous()
        described = f"{name} {value.dtype} {tuple(value.shape)}"
        parts.append((described, value.reshape(-1).view(torch.uint8).numpy().data))
    return digest_of_parts(parts)


def _damaged(path: Path, detail: str) -> WeightsError:
    what = "not a readable checkpoint" + (f": {detail}" if detail else "")
    return WeightsError(what, where=path, do=_FROM_START)


def _require_shapes(path: Path, found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
    """Check that the tensors have the names and shapes of those of this training."""
    if found.keys() != wanted.keys():
        odd = sorted(found.keys() ^ wanted.keys())
        raise _damaged(path, f"it lacks tensors or has others ({listing(odd, limit=3)})")
    for name, value in found.items():
        if value.shape != wanted[name].shape or value.dtype != wanted[name].dtype:
            raise _damaged(path, f"{name} is of another shape or type")


def _optimizer_state(
    path: Path, found: Mapping[str, Tensor], optimizer: torch.optim.Optimizer
) -> dict[int, dict[str, Tensor]]:
    """The state of the optimizer by parameter, each tensor in the shape of its parameter."""
    parameters = [one for group in optimizer.param_groups for one in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in found.items():
        place, _, key = name.partition(".")
        if not place.isdecimal() or len(place) > 9 or int(place) >= len(parameters):
            raise _damaged(path, f"the optimizer has no parameter {place[:20]}")
        # The number of steps is one value; all else has the shape of the parameter.
        if value.ndim and value.shape != parameters[int(place)].shape:
            raise _damaged(path, f"optimizer.{name[:40]} is of another shape")
        state.setdefault(int(place), {})[key] = value
    kinds = {frozenset(one) for one in state.values()}
    if len(kinds) > 1:
        raise _damaged(path, "the optimizer's state is incomplete")
    return state


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): value
        for name, value in tensors.items()
        if name.startswith(prefix)
    }
