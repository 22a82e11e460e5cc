"""From measured momenta to structures: frames, sampling, uncertainty.

What comes out does not depend on how the input was oriented or in which order like ions stood:
the frame and the order of the atoms are found from the momenta (`frame`), and the random numbers
belong to the atoms in that order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch

from molexa_core.base.errors import UnknownIonError, UsageError, listing
from molexa_core.base.ions import Ion
from molexa_core.base.tables import FloatArray
from molexa_core.model.batch import Batch
from molexa_core.model.config import SamplerSettings
from molexa_core.model.diffusion import sample
from molexa_core.model.frame import batch_frames, canonical_order, tied_frames
from molexa_core.model.network import Conditioning, Network

_MAX_ROWS: Final = 4096
"""Molecules, frames and samples that go through the network at once."""


@dataclass(frozen=True)
class Structures:
    """What the network answers for one set of momenta, in the frame of the input.

    Attributes:
        samples: (samples, N, 3) bohr, centred.
        uncertainty: (samples, N, 3) expected absolute error of each coordinate, bohr.
        collinear: whether the momenta lie on one line, so that the answer was put on it.
        frames: number of equivalent frames that were averaged over.
    """

    samples: FloatArray
    uncertainty: FloatArray
    collinear: bool
    frames: int


def check_ions(network: Network, ions: Sequence[Ion]) -> list[str]:
    """Whether the network can take these ions; returns warnings.

    Raises:
        UsageError: fewer than two ions, or more than the network was made for.
        UnknownIonError: a molecular ion, or an element the network does not know.
    """
    settings = network.settings
    known = listing(settings.elements, limit=30)
    for ion in ions:
        if not ion.is_atomic:
            raise UnknownIonError(
                f"{ion} is a molecule; only atomic ions can be reconstructed",
                do="Use a channel in which the molecule breaks up completely.",
            )
        if ion.element.symbol not in settings.elements:
            raise UnknownIonError(
                f"the network does not know {ion.element.symbol} (ion {ion})",
                do=f"It knows {known}; choose other weights with --weights.",
            )
    if len(ions) < 2:
        raise UsageError(
            f"{len(ions)} ion: a structure needs at least two", do="Add the other ions."
        )
    if len(ions) > settings.max_atoms:
        raise UsageError(
            f"{len(ions)} ions, but the network was made for up to {settings.max_atoms}",
            do="Choose other weights with --weights.",
        )
    high = sorted({str(ion) for ion in ions if ion.charge > settings.max_charge})
    if high:
        return [f"{listing(high)}: no charge above {settings.max_charge} was in the training"]
    return []


@torch.no_grad()
def reconstruct_structures(
    network: Network,
    ions: Sequence[Ion],
    momenta: FloatArray,
    *,
    samples: int,
    seed: int,
    sampler: SamplerSettings | None = None,
) -> Structures:
    """Sample structures for one set of momenta.

    Args:
        network: in evaluation mode.
        ions: (N) atomic ions.
        momenta: (N, 3) a.u. with sum zero, not all zero.
        samples: number of independent samples.
        seed: of the samples; sample k is the same whatever their number.
        sampler: settings other than the network's own.

    Raises:
        UsageError: all momenta are zero.
    """
    if not np.linalg.norm(momenta, axis=1).max() > 0:
        raise UsageError("all momenta are zero", do="Check the columns px, py, pz.")
    numbers = np.array([ion.element.number for ion in ions], dtype=np.int64)
    charges = np.array([float(ion.charge) for ion in ions])
    masses = np.array([ion.element.isotope_mass for ion in ions])
    frames, collinear = tied_frames(numbers, momenta)
    framed = np.einsum("fxk,nk->fnx", frames, momenta)
    orders = np.array([canonical_order(numbers, charges, one) for one in framed])

    device = next(network.parameters()).device
    noise = _noise(samples, len(ions), seed)
    batch = _batch(numbers[orders], charges[orders], masses[orders], framed, orders, device)
    drawn = np.empty((len(frames), samples, len(ions), 3))
    error = np.empty_like(drawn)
    chunk = max(1, _MAX_ROWS // len(frames))
    conditioning = network.condition(batch)
    for start in range(0, samples, chunk):
        part = noise[start : start + chunk]
        count = len(part)
        predicted, expected = _sample(
            network, conditioning, part.repeat(len(frames), 1, 1).to(device), count, sampler, seed
        )
        drawn[:, start : start + count] = predicted
        error[:, start : start + count] = expected
    return _to_input(frames, orders, drawn, error, collinear)


@torch.no_grad()
def predict_batch(
    network: Network,
    batch: Batch,
    *,
    seed: int,
    sampler: SamplerSettings | None = None,
    reduced: bool = False,
) -> tuple[torch.Tensor, torch.Tensor, Batch]:
    """One sample per molecule of a batch, in the model frame, as fast as the device allows.

    Args:
        network: in evaluation mode, on the device of the batch.
        batch: in any frame.
        seed: of the samples.
        sampler: settings other than the network's own.
        reduced: whether matrix products may run in bf16 (inputs are embedded in fp32 anyway).

    Returns:
        Positions (B, N, 3) and expected errors (B, N, 3) in bohr, and the batch in the frame.
    """
    device = batch.momenta.device
    generator = torch.Generator(device).manual_seed(seed)
    framed = batch.with_frame(batch_frames(batch.numbers, batch.momenta))
    with torch.autocast(device.type, torch.bfloat16, enabled=reduced):
        conditioning = network.condition(framed)
        noise = torch.randn(framed.momenta.shape, device=device, generator=generator)
        settings = sampler or network.settings.sampler
        scaled = sample(network, conditioning, noise, settings, generator)
        expected = network.expected_error(network.uncertainty_logits(scaled, conditioning))
    return scaled * conditioning.scale, expected, framed


def _noise(samples: int, atoms: int, seed: int) -> torch.Tensor:
    """(samples, atoms, 3) standard normal numbers; sample k depends on seed and k alone."""
    rows = [
        torch.randn(atoms, 3, generator=torch.Generator().manual_seed(seed * 100_003 + k))
        for k in range(samples)
    ]
    return torch.stack(rows)


def _batch(
    numbers: np.ndarray,
    charges: np.ndarray,
    masses: np.ndarray,
    framed: FloatArray,
    orders: np.ndarray,
    device: torch.device,
) -> Batch:
    """One row per frame, atoms in canonical order."""
    momenta = np.take_along_axis(framed, orders[:, :, None], axis=1)
    return Batch(
        numbers=torch.from_numpy(numbers).to(device),
        charges=torch.from_numpy(charges).float().to(device),
        masses=torch.from_numpy(masses).float().to(device),
        momenta=torch.from_numpy(momenta).float().to(device),
    )


def _sample(
    network: Network,
    conditioning: Conditioning,
    noise: torch.Tensor,
    count: int,
    sampler: SamplerSettings | None,
    seed: int,
) -> tuple[FloatArray, FloatArray]:
    """(frames, count, N, 3) positions in bohr and expected errors, in each frame."""
    repeated = conditioning.repeat(count)
    frames = len(conditioning.batch)
    generator = torch.Generator(noise.device).manual_seed(seed)
    scaled = sample(network, repeated, noise, sampler or network.settings.sampler, generator)
    expected = network.expected_error(network.uncertainty_logits(scaled, repeated))
    shape = (frames, count, *noise.shape[1:])
    positions = (scaled * repeated.scale).double().cpu().numpy().reshape(shape)
    return positions, expected.double().cpu().numpy().reshape(shape)


def _to_input(
    frames: FloatArray,
    orders: np.ndarray,
    drawn: FloatArray,
    error: FloatArray,
    collinear: bool,
) -> Structures:
    """Back to the order and the frame of the input, averaged over equivalent frames."""
    back = np.argsort(orders, axis=1)
    total = np.zeros(drawn.shape[1:])
    variance = np.zeros(drawn.shape[1:])
    for rotation, inverse, positions, errors in zip(frames, back, drawn, error, strict=True):
        ordered, ordered_error = positions[:, inverse], errors[:, inverse]
        if collinear:
            ordered = ordered * np.array([1.0, 0.0, 0.0])
        total += ordered @ rotation
        variance += ordered_error**2 @ rotation**2
    return Structures(
        samples=total / len(frames),
        uncertainty=np.sqrt(variance / len(frames)),
        collinear=collinear,
        frames=len(frames),
    )
