"""Structures from measured momenta: frames, sampling, uncertainty.

The result depends neither on the orientation of the input nor on the order of like ions: frame
and order of the atoms are found from the momenta (`molecule_frame`), and the random numbers are
assigned to the atoms in that order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from molexa_core.base.errors import UnknownIonError, UsageError, listing
from molexa_core.base.matter.ions import Ion
from molexa_core.base.tables import FloatArray, IntArray
from molexa_core.network.batch import Batch
from molexa_core.network.conditions import Told
from molexa_core.network.config import SamplerSettings
from molexa_core.network.diffusion import churn_noise
from molexa_core.network.inference.engine import Engine
from molexa_core.network.molecule_frame import batch_frames, canonical_order, tied_frames
from molexa_core.network.network import Network


@dataclass(frozen=True)
class Structures:
    """The structures that the network predicts for one set of momenta, in the frame of the input.

    Attributes:
        samples: (samples, N, 3) bohr, centred.
        uncertainty: (samples, N, 3) expected absolute error of each coordinate, bohr.
        collinear: whether the momenta lie on one line; the structures then do, too.
        frames: number of equivalent frames that were averaged over.
    """

    samples: FloatArray
    uncertainty: FloatArray
    collinear: bool
    frames: int


def check_ions(network: Network, ions: Sequence[Ion]) -> None:
    """Check that the network can take these ions.

    Whether they resemble the training is checked in `familiarity`.

    Raises:
        UsageError: fewer than two ions, or more than the network was built for.
        UnknownIonError: a molecular ion, or an element that the network does not know.
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
                do=f"It knows {known}; choose other weights with `weights=`.",
            )
    if len(ions) < 2:
        raise UsageError(
            f"{len(ions)} ion: a structure needs at least two", do="Add the other ions."
        )
    if len(ions) > settings.max_atoms:
        raise UsageError(
            f"{len(ions)} ions, but the network was made for up to {settings.max_atoms}",
            do="Choose other weights with `weights=`.",
        )


def reconstruct_structures(
    network: Network | Engine,
    ions: Sequence[Ion],
    momenta: FloatArray,
    *,
    samples: int,
    seed: int,
    sampler: SamplerSettings | None = None,
    told: Told | None = None,
) -> Structures:
    """Sample structures for one set of momenta (N, 3); see `reconstruct_sets`."""
    (structures,) = reconstruct_sets(
        network, ions, momenta[None], samples=samples, seed=seed, sampler=sampler, told=told
    )
    return structures


def reconstruct_sets(
    network: Network | Engine,
    ions: Sequence[Ion],
    momenta: FloatArray,
    *,
    samples: int,
    seed: int,
    sampler: SamplerSettings | None = None,
    told: Told | None = None,
) -> list[Structures]:
    """Sample structures for many sets of momenta of the same ions.

    Args:
        network: in evaluation mode; pass an engine if there are several calls.
        ions: (N) atomic ions.
        momenta: (sets, N, 3) a.u., each with sum zero and not all zero.
        samples: number of independent samples for each set.
        seed: of the samples; sample k starts from the same noise in every set and for any
            number of samples.
        sampler: settings that replace those of the network.
        told: what is told of each set, with atoms in the order of the ions; networks that are told
            nothing do without.

    Returns:
        One `Structures` per set.

    Raises:
        UsageError: all momenta of a set are zero.
    """
    if not (np.linalg.norm(momenta, axis=2).max(axis=1) > 0).all():
        raise UsageError("all momenta are zero", do="Check the columns px, py, pz.")
    atoms = _Atoms.of(ions)
    views = [_View.of(atoms, one) for one in momenta]
    engine = prepared(network)
    settings = sampler or engine.network.settings.sampler
    return _sample_views(engine, atoms, views, samples, settings, seed, told)


@dataclass(frozen=True)
class _Atoms:
    """What all sets have in common: elements, charges and masses of the atoms, (N) each."""

    numbers: IntArray
    charges: FloatArray
    masses: FloatArray

    @classmethod
    def of(cls, ions: Sequence[Ion]) -> _Atoms:
        return cls(
            np.array([ion.element.number for ion in ions], dtype=np.int64),
            np.array([float(ion.charge) for ion in ions]),
            np.array([ion.neutral_mass for ion in ions]),
        )


@dataclass(frozen=True)
class _View:
    """One set of momenta in each of its equivalent frames, atoms in canonical order.

    Attributes:
        frames: (F, 3, 3) rotations.
        orders: (F, N) canonical order in each frame.
        momenta: (F, N, 3) in the frame, ordered.
        collinear: whether all momenta lie on one line.
    """

    frames: FloatArray
    orders: IntArray
    momenta: FloatArray
    collinear: bool

    @property
    def count(self) -> int:
        return len(self.frames)

    @classmethod
    def of(cls, atoms: _Atoms, momenta: FloatArray) -> _View:
        frames, collinear = tied_frames(atoms.numbers, momenta)
        framed = np.einsum("fxk,nk->fnx", frames, momenta)
        orders = np.array([canonical_order(atoms.numbers, atoms.charges, one) for one in framed])
        ordered = np.take_along_axis(framed, orders[:, :, None], axis=1)
        return cls(frames, orders, ordered, collinear)

    def to_input(self, drawn: FloatArray, error: FloatArray) -> Structures:
        """Samples (F, samples, N, 3) in order and frame of the input, averaged over the frames."""
        total = np.zeros(drawn.shape[1:])
        variance = np.zeros(drawn.shape[1:])
        back = np.argsort(self.orders, axis=1)
        for rotation, inverse, positions, errors in zip(
            self.frames, back, drawn, error, strict=True
        ):
            ordered = positions[:, inverse]
            if self.collinear:
                ordered = ordered * np.array([1.0, 0.0, 0.0])
            total += ordered @ rotation
            variance += errors[:, inverse] ** 2 @ rotation**2
        return Structures(
            samples=total / self.count,
            uncertainty=np.sqrt(variance / self.count),
            collinear=self.collinear,
            frames=self.count,
        )


def _sample_views(
    engine: Engine,
    atoms: _Atoms,
    views: list[_View],
    samples: int,
    settings: SamplerSettings,
    seed: int,
    told: Told | None,
) -> list[Structures]:
    """Sample all frames of all views in one call of the network."""
    if told is not None:
        sets = np.repeat(np.arange(len(views)), [view.count for view in views])
        places = torch.from_numpy(np.concatenate([view.orders for view in views]))
        told = told.to("cpu").taken(torch.from_numpy(sets)).reordered(places)
    orders = np.concatenate([view.orders for view in views])
    momenta = np.concatenate([view.momenta for view in views])
    batch = Batch(
        numbers=torch.from_numpy(atoms.numbers[orders]),
        charges=torch.from_numpy(atoms.charges[orders]).float(),
        masses=torch.from_numpy(atoms.masses[orders]).float(),
        momenta=torch.from_numpy(momenta).float(),
        told=told,
    ).to(engine.device)
    count = len(orders)
    noise, fresh = _noise(samples, momenta.shape[1], seed, settings)
    drawn = engine(
        batch,
        noise.repeat(count, 1, 1).to(engine.device),
        settings,
        fresh=[one.repeat(count, 1, 1).to(engine.device) for one in fresh],
        samples=samples,
    )
    shape = (count, samples, *noise.shape[1:])
    positions = drawn.positions.double().cpu().numpy().reshape(shape)
    errors = drawn.expected.double().cpu().numpy().reshape(shape)
    stops = np.cumsum([view.count for view in views])
    return [
        view.to_input(positions[stop - view.count : stop], errors[stop - view.count : stop])
        for view, stop in zip(views, stops, strict=True)
    ]


def predict_batch(
    network: Network | Engine,
    batch: Batch,
    *,
    seed: int,
    sampler: SamplerSettings | None = None,
) -> tuple[torch.Tensor, torch.Tensor, Batch]:
    """One sample per molecule of a batch, in the model frame, as fast as the device allows.

    Args:
        network: in evaluation mode, on the device of the batch; pass an engine if there are
            several batches.
        batch: molecules in any frame.
        seed: of the samples.
        sampler: settings that replace those of the network.

    Returns:
        Positions (B, N, 3) and expected errors (B, N, 3) in bohr, and the batch in the model
        frame.
    """
    framed = batch.with_frame(batch_frames(batch.numbers, batch.momenta))
    drawn = prepared(network).predict(framed, seed=seed, sampler=sampler)
    return drawn.positions, drawn.expected, framed


def prepared(network: Network | Engine) -> Engine:
    """An engine for a network; an engine is returned unchanged."""
    return network if isinstance(network, Engine) else Engine(network)


def _noise(
    samples: int, atoms: int, seed: int, settings: SamplerSettings
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Standard normal numbers (samples, atoms, 3) of the start and of each churned step.

    Sample k depends on seed and k alone.
    """
    starts, fresh = [], []
    for k in range(samples):
        generator = torch.Generator().manual_seed(seed * 100_003 + k)
        starts.append(torch.randn(atoms, 3, generator=generator))
        fresh.append(churn_noise(settings, starts[-1], generator))
    return torch.stack(starts), [torch.stack(step) for step in zip(*fresh, strict=True)]
