"""The surrogate on disk: one safetensors file, and a card (JSON) that describes it.

`NAME.surrogate` holds the sizes of the networks, the box of settings that they were trained in,
the checksum of the numbers, how they were trained, and the errors on molecules that no training
saw. Numbers are stored in half precision.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from molexa_core import __version__
from molexa_core.base.errors import WeightsError
from molexa_core.base.storage.bounded import MisfitError, Within, from_values
from molexa_core.base.storage.checksums import sealed, unsealed
from molexa_core.base.storage.files import atomic_path, require_file
from molexa_core.base.storage.json_file import read_json
from molexa_core.base.storage.resources import available, find
from molexa_core.physics.surrogate.charge_network import NetworkSize, SurrogateNetwork
from molexa_core.physics.surrogate.surrogate_model import SurrogateModel

SUFFIX: Final = ".surrogate"
DEFAULT: Final = "molexa-xray"
"""Name of the surrogate that ships."""
FORMAT: Final = 1
LARGEST: Final = 2**20
"""Largest size of a card, bytes."""
MOST_BYTES: Final = 2**26
_AGAIN: Final = "Install molexa again."


@dataclass(frozen=True)
class SurrogateCard:
    """What is known about a surrogate.

    Attributes:
        name: of the surrogate.
        momenta, yields: sizes of the networks.
        file: name of the file with the numbers.
        sha256: of that file.
        error_factor, yield_error_factor: of the predicted errors, from molecules and clusters that
            no training saw.
        photon_ev: photon energies that it was trained at, eV.
        data: what it was trained on.
        training: how.
        metrics: errors on molecules that no training saw, and on those that it saw.
        limits: what it is not suited for.
        format: version of the card.
        versions: of molexa and torch.
    """

    name: Annotated[str, Within(1, 200)]
    momenta: NetworkSize
    yields: NetworkSize
    file: Annotated[str, Within(1, 200)]
    sha256: Annotated[str, Within(64, 64)]
    error_factor: Annotated[float, Within(1e-3, 1e3)]
    yield_error_factor: Annotated[float, Within(1e-3, 1e3)]
    photon_ev: Annotated[tuple[float, ...], Within(0, 1000)]
    data: dict[str, Any]
    training: dict[str, Any]
    metrics: dict[str, Any]
    limits: Annotated[str, Within(0, 10_000)] = ""
    format: int = FORMAT
    versions: dict[str, str] = field(
        default_factory=lambda: {"molexa": __version__, "torch": str(torch.__version__)}
    )


def save_surrogate(folder: Path, card: SurrogateCard, network: SurrogateNetwork) -> SurrogateCard:
    """Write a surrogate; the card is written last.

    Args:
        folder: where to.
        card: what is known; file name and checksum are filled in.
        network: the networks.

    Returns:
        The card as written.

    Raises:
        OutputError: the folder cannot be written.
    """
    tables = {name for name, _ in network.named_buffers()}
    tensors = {
        name: (value if name in tables else value.half()).cpu().contiguous()
        for name, value in network.state_dict().items()
    }
    content = save(tensors)
    file = f"{card.name}-surrogate.safetensors"
    with atomic_path(folder / file) as temporary:
        temporary.write_bytes(content)
    written = replace(card, file=file, sha256=hashlib.sha256(content).hexdigest())
    with atomic_path(folder / f"{card.name}{SUFFIX}") as temporary:
        text = json.dumps(sealed(asdict(written)), indent=2, allow_nan=False)
        temporary.write_text(text + "\n", encoding="utf-8")
    return written


def read_surrogate_card(name: str = DEFAULT) -> tuple[SurrogateCard, Path]:
    """The card of a surrogate, and where it lies.

    Raises:
        InputFileError: no such surrogate.
        WeightsError: the card is damaged, or of another version.
    """
    path = find("weights", name, SUFFIX, what="surrogate")
    values = read_json(
        path, largest=LARGEST, what="the card of a surrogate", do=_AGAIN, error=WeightsError
    )
    if values.get("format") != FORMAT:
        raise WeightsError(
            f"a surrogate of format {values.get('format')!r}, this molexa reads {FORMAT}",
            where=path,
            do="Use the molexa version that wrote it.",
        )
    values, _ = unsealed(values, where=path)
    try:
        return from_values(SurrogateCard, values), path
    except MisfitError as error:
        raise WeightsError(
            f"not a readable card of a surrogate: {error}", where=path, do=_AGAIN
        ) from error


def load_surrogate(name: str = DEFAULT) -> SurrogateModel:
    """The surrogate of this name, ready for use; read once in a process.

    Raises:
        InputFileError: no such surrogate.
        WeightsError: it is damaged.
    """
    card, path = read_surrogate_card(name)
    where = path.parent / card.file
    if not where.is_file():
        raise WeightsError("the file of the surrogate is missing", where=where, do=_AGAIN)
    return _loaded(card.sha256, str(path), where, where.stat().st_mtime_ns)


def installed_surrogates() -> dict[str, Path]:
    """Cards by name, those of the working folder first."""
    return available("weights", SUFFIX)


@lru_cache(maxsize=4)
def _loaded(sha256: str, card_path: str, where: Path, changed: int) -> SurrogateModel:
    """Read and check; `changed` is there so that a new file is read anew."""
    del changed
    card, _ = read_surrogate_card(card_path)
    if require_file(where).stat().st_size > MOST_BYTES:
        raise WeightsError("too large for a surrogate", where=where, do=_AGAIN)
    content = where.read_bytes()
    if hashlib.sha256(content).hexdigest() != sha256:
        raise WeightsError("the file of the surrogate has changed", where=where, do=_AGAIN)
    network = SurrogateNetwork(card.momenta, card.yields)
    try:
        network.load_state_dict({name: value.float() for name, value in load(content).items()})
    except (RuntimeError, SafetensorError) as error:
        first = str(error).splitlines()[0]
        raise WeightsError(
            f"the numbers do not fit their card: {first}", where=where, do=_AGAIN
        ) from error
    factors = card.error_factor, card.yield_error_factor
    return SurrogateModel(network.eval(), *factors, card.photon_ev, (card.name, card.sha256))
