"""Reconstruct: what is asked for, the momenta as they are read, and what every record states."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
import torch

from molexa_core.base.known_explosion import Kind
from molexa_core.base.matter.ions import Ion
from molexa_core.base.progress import Progress
from molexa_core.base.tables import FloatArray
from molexa_core.io.results.channel_csv import warnings_of
from molexa_core.network.conditions import Told
from molexa_core.network.inference.answers import check_ions
from molexa_core.network.network import Network
from molexa_core.network.weights import ModelCard
from molexa_core.physics.family.family import ExplosionKnowledge
from molexa_core.pipeline.explosions.assumed import Assumed
from molexa_core.pipeline.explosions.told_inputs import told_of
from molexa_core.pipeline.inversion.geometry_belief import GeometryBelief
from molexa_core.pipeline.reconstruction.channels import ChannelMomenta
from molexa_core.pipeline.reconstruction.error_bars import doubts_of_momenta, require_possible
from molexa_core.pipeline.reconstruction.momenta_input import read_columns, unfamiliar, without_sum

FILE: Final = "file"
"""Name of a channel in the `attrs` of its table, for messages."""


@dataclass(frozen=True)
class Task:
    """What is asked for, besides the momenta; see `reconstruct`."""

    network: Network
    card: ModelCard
    assumed: Assumed
    samples: int
    search: int
    belief: GeometryBelief
    seed: int
    progress: Progress


@dataclass(frozen=True)
class Measured:
    """Mean momenta in the form of the input of the network.

    Attributes:
        ions: (N) atomic ions.
        momenta: (N, 3) a.u. in the centre-of-mass frame.
        errors: (N, 3) their standard errors; None if not known.
        remarks: sentences about the momenta themselves.
        unlike: sentences on differences from the training.
        name: of the channel.
    """

    ions: list[Ion]
    momenta: FloatArray
    errors: FloatArray | None
    remarks: list[str]
    unlike: list[str]
    name: str

    @property
    def warnings(self) -> list[str]:
        """All sentences for the user."""
        return [*self.remarks, *self.unlike]

    @property
    def channel(self) -> ChannelMomenta:
        """As channels are compared."""
        return ChannelMomenta(self.name, tuple(self.ions), self.momenta, self.errors)


def measured_in(
    table: pd.DataFrame,
    network: Network,
    card: ModelCard,
    *,
    told: Kind | None = None,
    name: str = "channel 1",
) -> Measured:
    """Read and check the momenta of a table, with warnings about them."""
    ions, momenta, errors = read_columns(table)
    check_ions(network, ions)
    require_possible(ions, momenta)
    momenta, remarks = without_sum(ions, momenta, errors)
    unlike = unfamiliar(card, ions, momenta, told)
    remarks = [*warnings_of(table), *remarks, *doubts_of_momenta(ions, momenta)]
    return Measured(ions, momenta, errors, remarks, unlike, name)


def told_in(task: Task, measured: Measured) -> Told | None:
    """What the network is told of mean momenta; None for a network that is told nothing."""
    if not task.network.settings.told:
        return None
    errors = measured.errors
    numbers = torch.tensor([[ion.element.number for ion in measured.ions]])
    return told_of(
        [task.assumed.explosion.told],
        numbers,
        data="mean",
        errors=None if errors is None else torch.from_numpy(np.sqrt((errors**2).mean(1)))[None],
    )


def name_of(table: pd.DataFrame, number: int) -> str:
    """The name of a channel for messages: its file, or its number from 0."""
    return str(table.attrs.get(FILE, f"channel {number + 1}"))


def model_entry(card: ModelCard) -> dict[str, Any]:
    """The network, as it is recorded."""
    return {"name": card.name, "parameters": card.parameters, "files": card.files}


def input_entry(task: Task, read: Sequence[Measured]) -> dict[str, Any]:
    """What was read and asked for, as it is recorded."""
    first, *others = [
        {
            "ions": [str(ion) for ion in one.ions],
            "momenta": one.momenta.tolist(),
            "momentum_errors": None if one.errors is None else one.errors.tolist(),
        }
        for one in read
    ]
    found: dict[str, Any] = first | {
        "samples": task.samples,
        "search": task.search,
        "chemistry": task.belief.chemistry,
        "seed": task.seed,
    }
    return found | ({"further_channels": others} if others else {})


def stated_explosion(assumed: Assumed, knowledge: ExplosionKnowledge) -> dict[str, Any]:
    """The explosion that is assumed, as it is recorded, with the weights that compute it."""
    found: dict[str, Any] = {
        "statement": knowledge.statement,
        "origin": knowledge.origin,
        "source": assumed.source,
        "told": assumed.explosion.plain(),
    }
    every = [getattr(one.family, "weights", None) for one in knowledge.hypotheses]
    used: set[tuple[str, str]] = {one for one in every if one is not None}
    if used:
        found["weights"] = [{"name": name, "sha256": digest} for name, digest in sorted(used)]
    return found
