"""Structures from momenta and from what is told of the experiment: samples of the posterior."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from molexa_core.base.errors import UsageError
from molexa_core.base.known_explosion import Kind
from molexa_core.base.matter.ions import Ion
from molexa_core.base.tables import FloatArray
from molexa_core.network.batch import Batch
from molexa_core.network.conditions import DataKind
from molexa_core.network.config import SamplerSettings
from molexa_core.network.inference.answers import check_ions, prepared
from molexa_core.network.inference.engine import Engine
from molexa_core.network.inference.told import sample as sample_batch
from molexa_core.network.network import Network
from molexa_core.network.weights import load_network
from molexa_core.pipeline.explosions.told_inputs import told_of


@dataclass(frozen=True)
class ToldEntry:
    """Momenta of one molecule, and what is known of them.

    Attributes:
        ions: (N) atomic ions.
        momenta: (N, 3) a.u.
        data: `still` means over explosions of one geometry, `mean` over vibrating molecules in
            frames of their own, or a single `event`.
        count: number of events behind the means; None where it is not known.
        errors: (N) standard error of a momentum component of each ion, a.u.; None where they are
            not known.
    """

    ions: tuple[Ion, ...]
    momenta: FloatArray
    data: DataKind = "mean"
    count: float | None = None
    errors: FloatArray | None = None


def sample(
    weights: str | Network | Engine,
    entries: Sequence[ToldEntry],
    told: Kind | Sequence[Kind | None] | None,
    n: int,
    seed: int,
    *,
    sampler: SamplerSettings | None = None,
    device: str = "cpu",
) -> list[FloatArray]:
    """Draw structures of the posterior of each entry.

    Args:
        weights: name or card of weights that are told the experiment, or the network itself.
        entries: what was measured.
        told: what is known of the explosion of all entries, or of each; None where nothing is.
        n: structures for each entry.
        seed: of the samples.
        sampler: settings that replace those of the weights.
        device: of weights given by their name.

    Returns:
        (n, N, 3) positions for each entry, bohr, centred, in the frame of its momenta.

    Raises:
        InputFileError, WeightsError: the weights cannot be read.
        UsageError: as many things told as entries are needed; too few or too many ions.
        UnknownIonError: an ion that the network does not know.
    """
    network = load_network(weights, device)[0] if isinstance(weights, str) else weights
    engine = prepared(network)
    kinds = list(told) if isinstance(told, Sequence) else [told] * len(entries)
    if len(kinds) != len(entries):
        raise UsageError(f"{len(kinds)} explosions are told for {len(entries)} entries")
    for ions in dict.fromkeys(entry.ions for entry in entries):
        check_ions(engine.network, ions)
    found: dict[int, FloatArray] = {}
    groups: dict[tuple[int, DataKind], list[int]] = {}
    for row, entry in enumerate(entries):
        groups.setdefault((len(entry.ions), entry.data), []).append(row)
    for number, rows in enumerate(groups.values()):
        batch = _batch([entries[row] for row in rows], [kinds[row] for row in rows])
        drawn = sample_batch(
            engine, batch.to(engine.device), n, seed=seed + 7919 * number, sampler=sampler
        )
        found |= dict(zip(rows, drawn.double().cpu().numpy(), strict=True))
    return [found[row] for row in range(len(entries))]


def _batch(entries: Sequence[ToldEntry], told: Sequence[Kind | None]) -> Batch:
    """Entries of one kind and number of atoms, with what is told of them."""
    numbers = torch.tensor([[ion.element.number for ion in entry.ions] for entry in entries])
    charges = torch.tensor([[float(ion.charge) for ion in entry.ions] for entry in entries])
    masses = torch.tensor([[ion.neutral_mass for ion in entry.ions] for entry in entries])
    momenta = torch.from_numpy(np.stack([entry.momenta for entry in entries])).float()
    width = numbers.shape[1]
    errors = [np.full(width, -1.0) if one.errors is None else one.errors for one in entries]
    count = torch.tensor([float(entry.count or 0.0) for entry in entries])
    stated = told_of(
        told,
        numbers,
        data=entries[0].data,
        count=count,
        errors=torch.from_numpy(np.stack(errors)).float(),
    )
    return Batch(
        numbers=numbers,
        charges=charges,
        masses=masses.float(),
        momenta=momenta,
        told=stated,
    )
