"""Training data of stage 2: the entries of a data set of simulated explosions, in random order.

Orientation, mirror image and order of the atoms are varied between passes. The network uses momenta
in the molecular frame and treats atoms as a set. A rotation therefore matters only if several
frames are equivalent, and the order not at all; the mirror image doubles the data.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from molexa_core.base.errors import InputFileError, UsageError, listing
from molexa_core.base.known_explosion import Kind
from molexa_core.base.matter.elements import BY_NUMBER, element
from molexa_core.network.batch import Batch
from molexa_core.network.config import NetworkSettings
from molexa_core.network.training.team import ALONE, Team
from molexa_core.pipeline.datasets.entries import EntryTable
from molexa_core.pipeline.explosions.told_inputs import told_of, with_photons
from molexa_core.pipeline.training.stage1 import StageOneSource
from molexa_core.pipeline.training.stream_entries import partly

_EPOCH_SEEDS: Final = 15_485_863


@dataclass(frozen=True)
class StageTwoData:
    """The training data of stage 2.

    Attributes:
        folder: folder of the data set.
        by: split by `entry`, as published, by `geometry` or by `molecule`.
        entries: number of entries in the training split.
        simulated: share of stage-1 molecules in each batch.
        mirror: whether every second molecule, on average, is replaced by its mirror image.
        uniform_atoms: every batch has molecules of one size; otherwise padded to the largest.
    """

    folder: str
    by: str
    entries: int
    simulated: float = 0.0
    mirror: bool = True
    uniform_atoms: bool = False


def batch_of(
    table: EntryTable,
    network: NetworkSettings,
    device: torch.device | str,
    where: str,
    *,
    told: Kind | None = None,
) -> Batch:
    """All entries of a table as one batch.

    Args:
        table: the entries.
        network: settings of the network that will use them.
        device: device of the batch.
        where: the data set, for messages.
        told: what is known of its explosions, for a network that is told the experiment.

    Raises:
        InputFileError: there are no entries, the network does not cover the elements or the size of
            molecules, or values are not numbers.
    """
    if len(table.counts) == 0:
        raise InputFileError("no entries in this part of the data set", where=where)
    known = {element(symbol).number for symbol in network.elements}
    strange = sorted(set(np.unique(table.numbers[table.mask]).tolist()) - known)
    if strange:
        names = listing(BY_NUMBER[n].symbol if n in BY_NUMBER else f"Z = {n}" for n in strange)
        raise InputFileError(
            f"the data set holds {names}, which this network does not know",
            where=where,
            do=f"It knows {listing(network.elements)}; choose another preset or data set.",
        )
    largest = int(table.mask.sum(1).max())
    if largest > network.max_atoms:
        raise InputFileError(
            f"molecules of {largest} atoms, but the network takes up to {network.max_atoms}",
            where=where,
            do="Choose another preset, or set the larger molecules aside.",
        )
    for name in ("momenta", "positions"):
        if not np.isfinite(getattr(table, name)).all():
            raise InputFileError(f"some {name} are not numbers", where=where, do="Build it again.")
    numbers = torch.from_numpy(table.numbers[:, :largest].astype(np.int64))
    batch = Batch(
        numbers=numbers,
        charges=torch.from_numpy(table.charges[:, :largest].astype(np.float32)),
        masses=_masses()[numbers],
        momenta=torch.from_numpy(table.momenta[:, :largest].astype(np.float32)),
        mask=torch.from_numpy(table.mask[:, :largest].copy()),
        positions=torch.from_numpy(table.positions[:, :largest].astype(np.float32)),
    )
    if network.told:
        errors = np.sqrt(np.square(table.errors[:, :largest].astype(np.float64)).mean(axis=2))
        one = told_of([told], numbers[:1], data="still").repeated(len(numbers))
        whole = replace(
            one,
            count=torch.from_numpy(table.counts.astype(np.float32)),
            errors=torch.from_numpy(errors).float(),
        )
        batch = replace(batch, told=with_photons(whole, numbers))
    return batch.to(device)


def _masses() -> Tensor:
    """Mass of the most abundant isotope by atomic number, electron masses; 1 for padding."""
    masses = torch.ones(max(BY_NUMBER) + 1)
    for number, one in BY_NUMBER.items():
        masses[number] = one.isotope_mass
    return masses


class StageTwoSource:
    """Source of the batch of a step, which is a function of (seed, step).

    Args:
        entries: entries of the training split, on the device of the training.
        data: description of the training data.
        batch: molecules per step of all processes together.
        seed: of order and variation.
        team: the processes; each takes its share of every batch.
        simulated: source of stage-1 molecules for the share `data.simulated`.

    Raises:
        UsageError: the share of simulated molecules is not between 0 and 1, or has no source.
    """

    def __init__(
        self,
        entries: Batch,
        data: StageTwoData,
        batch: int,
        seed: int,
        *,
        team: Team = ALONE,
        simulated: StageOneSource | None = None,
    ) -> None:
        if not 0.0 <= data.simulated < 1.0:
            raise UsageError(
                f"a share of {data.simulated:g} simulated molecules", do="Choose 0 to below 1."
            )
        self.entries, self.data, self.seed, self.team = entries, data, seed, team
        self.share = team.share(batch)
        self.drawn = self.share - simulated_rows(self.share, data)
        self._simulated = simulated
        self._epoch_number = -1
        self._epoch: list[Tensor] = []
        present = entries.present[..., 0].sum(1).long().cpu()
        sizes = sorted(set(present.tolist())) if data.uniform_atoms else [0]
        everything = torch.arange(len(entries))
        self._groups = [
            everything[present == size] if data.uniform_atoms else everything for size in sizes
        ]
        self._present = present

    @property
    def steps_per_epoch(self) -> int:
        """Number of steps that use every entry once (a few twice, to fill the last batches)."""
        size = self.drawn * self.team.size
        return sum(-(-len(group) // size) for group in self._groups)

    def __call__(self, step: int) -> Batch:
        """The batch of this step for this process, with positions."""
        number, place = divmod(step, self.steps_per_epoch)
        if number != self._epoch_number:
            self._epoch = self._plan(number)
            self._epoch_number = number
        first = self.team.rank * self.drawn
        rows = self._epoch[place][first : first + self.drawn]
        width = int(self._present[rows[0]]) if self.data.uniform_atoms else None
        batch = _chosen(self.entries, rows, width)
        generator = torch.Generator().manual_seed(
            self.team.seed(self.seed) * _EPOCH_SEEDS + 2 * step + 1
        )
        batch = varied(batch, generator, mirror=self.data.mirror)
        if batch.told is not None:
            draws = torch.Generator(batch.numbers.device).manual_seed(
                self.team.seed(self.seed) * _EPOCH_SEEDS + 2 * step
            )
            batch = replace(batch, told=partly(batch.told, batch.numbers, draws))
        if self._simulated is None or self.drawn == self.share:
            return batch
        return joined(batch, self._simulated(step))

    def _plan(self, epoch: int) -> list[Tensor]:
        """The rows of every batch of an epoch, the same in all processes."""
        generator = torch.Generator().manual_seed(self.seed * _EPOCH_SEEDS + 2 * epoch)
        size = self.drawn * self.team.size
        batches: list[Tensor] = []
        for group in self._groups:
            order = group[torch.randperm(len(group), generator=generator)]
            missing = -len(order) % size
            filled = torch.cat((order, order.repeat(-(-missing // len(order)))[:missing]))
            batches.extend(filled.view(-1, size))
        shuffled = torch.randperm(len(batches), generator=generator).tolist()
        return [batches[place] for place in shuffled]


def simulated_rows(share: int, data: StageTwoData) -> int:
    """Number of stage-1 molecules in a step; at least one entry of the data set remains."""
    return min(share - 1, round(share * data.simulated))


def varied(batch: Batch, generator: torch.Generator, *, mirror: bool) -> Batch:
    """Rotate every molecule at random, mirror half of them, and shuffle the atoms."""
    count, device = len(batch), batch.momenta.device
    turns, _ = torch.linalg.qr(torch.randn(count, 3, 3, generator=generator))
    # qr returns rotations and reflections; the sign is then set as required.
    sign = torch.linalg.det(turns)
    if mirror:
        sign = sign * (torch.randint(0, 2, (count,), generator=generator) * 2.0 - 1.0)
    turns = _sent(turns * sign[:, None, None], device)
    order = torch.rand(batch.numbers.shape, generator=generator)
    if batch.mask is not None:
        # Padding stays after the atoms.
        place = (_sent(order, device) + 2.0 * ~batch.mask).argsort(1)
    else:
        place = _sent(order, device).argsort(1)
    wide = place[..., None].expand(-1, -1, 3)

    def turned(vectors: Tensor) -> Tensor:
        return torch.einsum("bxk,bnk->bnx", turns, vectors.gather(1, wide))

    positions = batch.positions
    return replace(
        batch,
        numbers=batch.numbers.gather(1, place),
        charges=batch.charges.gather(1, place),
        masses=batch.masses.gather(1, place),
        momenta=turned(batch.momenta),
        positions=None if positions is None else turned(positions),
        told=None if batch.told is None else batch.told.reordered(place),
    )


def joined(first: Batch, second: Batch) -> Batch:
    """Two batches as one, padded to the wider of the two."""
    width = max(first.atoms, second.atoms)
    first, second = _widened(first, width), _widened(second, width)
    names = ("numbers", "charges", "masses", "momenta", "mask", "positions")
    whole: dict[str, Any] = {
        name: torch.cat((getattr(first, name), getattr(second, name))) for name in names
    }
    return Batch(**whole)


def _widened(batch: Batch, width: int) -> Batch:
    missing = width - batch.atoms
    mask = batch.mask
    if mask is None:
        mask = torch.ones_like(batch.numbers, dtype=torch.bool)

    def flat(values: Tensor, fill: float = 0.0) -> Tensor:
        return torch.nn.functional.pad(values, (0, missing), value=fill)

    def vectors(values: Tensor) -> Tensor:
        return torch.nn.functional.pad(values, (0, 0, 0, missing))

    return Batch(
        numbers=flat(batch.numbers),
        charges=flat(batch.charges),
        masses=flat(batch.masses, 1.0),
        momenta=vectors(batch.momenta),
        mask=flat(mask),
        positions=None if batch.positions is None else vectors(batch.positions),
    )


def _sent(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy a tensor to the device without waiting for its pending work."""
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def _chosen(entries: Batch, rows: Tensor, width: int | None) -> Batch:
    """Rows of the entries; if a width is given, all of them have this number of atoms."""
    there = _sent(rows, entries.numbers.device)
    uniform = width is not None
    width = entries.atoms if width is None else width
    mask, positions = entries.mask, entries.positions
    return Batch(
        numbers=entries.numbers[there, :width],
        charges=entries.charges[there, :width],
        masses=entries.masses[there, :width],
        momenta=entries.momenta[there, :width],
        mask=None if mask is None or uniform else mask[there, :width],
        positions=None if positions is None else positions[there, :width],
        told=None if entries.told is None else entries.told.taken(there).cut(width),
    )
