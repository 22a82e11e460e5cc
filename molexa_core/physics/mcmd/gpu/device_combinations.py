"""Charge combinations summed on the GPU: only the sums are copied to the host.

The sums are the same integers as in `combinations.py`, so that results of both are equal and can be
merged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from molexa_core.base.matter.elements import ELEMENTS
from molexa_core.base.progress import SILENT, Progress
from molexa_core.physics.mcmd.combinations import (
    KER_BIN,
    PRODUCTS,
    UNIT,
    Combinations,
    by_count,
    merge,
    require_room,
)
from molexa_core.physics.mcmd.gpu.launch import Batch, batches
from molexa_core.physics.mcmd.job import Job
from molexa_core.physics.mcmd.state import PHOTONS

_LARGEST_CODE: Final = 2**62


@dataclass(frozen=True)
class _Groups:
    """Trajectories of a batch sorted into combinations of each geometry.

    Attributes:
        of: [b] group of each trajectory.
        geometry: [c] geometry of each group, counted from the first of the batch; ascending.
        charges: [c, n] int8.
        count: [c] number of trajectories.
    """

    of: Tensor
    geometry: Tensor
    charges: Tensor
    count: Tensor


def combinations_on_gpu(
    job: Job, index: int, *, at_least: int = 1, progress: Progress = SILENT
) -> list[Combinations]:
    """Compute the trajectories of a job and sort them by combination of the final charges.

    Args:
        job: the trajectories to compute.
        index: number of the device.
        at_least: keep only combinations with at least this count; distributions are not changed.
        progress: display of the progress.

    Returns:
        The combinations of each geometry.

    Raises:
        UsageError: more atoms than the kernel supports.
        ComputationError: no kernel can be compiled, the device has too little memory, or momenta
            are too large to be summed.
    """
    found: list[list[Combinations]] = [[] for _ in range(len(job.positions))]
    for batch in batches(job, index, whole_geometries=True, progress=progress):
        first = batch.begin // job.trajectories
        whole = len(batch) % job.trajectories == 0 == batch.begin % job.trajectories
        parts = combine_batch(job, batch, at_least if whole else 1)
        for place, part in enumerate(parts, start=first):
            found[place].append(part)
    return [parts[0] if len(parts) == 1 else merge(parts).at_least(at_least) for parts in found]


def combine_batch(job: Job, batch: Batch, at_least: int = 1) -> list[Combinations]:
    """The combinations of each geometry with trajectories in a batch.

    Args:
        job: the job of the batch.
        batch: trajectories on any device.
        at_least: keep only combinations with at least this count in the batch.

    Raises:
        ComputationError: momenta too large to be summed.
    """
    place = torch.arange(len(batch), device=batch.charges.device) + batch.begin
    geometry = place // job.trajectories - batch.begin // job.trajectories
    geometries = int(geometry[-1]) + 1
    lost = batch.lost
    gone = _fetched(torch.bincount(geometry[lost], minlength=geometries))
    if gone.any():
        batch, geometry = batch.only(~lost), geometry[~lost]
    numbers = [ELEMENTS[symbol].number for symbol in job.tables.symbols]
    groups = _group(batch.charges, geometry, geometries, numbers)
    momenta = (batch.momenta.double() / UNIT).round().long()
    largest = torch.zeros(geometries, dtype=torch.int64, device=place.device)
    largest.scatter_reduce_(0, geometry, momenta.abs().amax((1, 2)), "amax")
    bound = place.new_zeros((geometries, *momenta.shape[1:]), dtype=torch.float64)
    bound.index_add_(0, geometry, momenta.double().square())
    require_room(bound.cpu().numpy(), len(batch))
    kept = groups.count >= at_least
    sums, squares = _sums(groups, momenta, kept)
    states = _states(batch.charges, geometry, geometries, max(numbers) + 1)
    release = (_release(job, batch) / KER_BIN).long()
    ker = _table(release, geometry, geometries)
    photons = _table(batch.counts[:, PHOTONS].long(), geometry, geometries)
    starts = np.searchsorted(_fetched(groups.geometry[kept]), np.arange(geometries + 1))
    charges = groups.charges[kept].cpu().numpy()
    count = _fetched(groups.count[kept])
    high = _fetched(largest)
    return [
        by_count(
            Combinations(
                symbols=job.tables.symbols,
                mass=job.model.mass,
                charges=charges[begin:end],
                count=count[begin:end],
                sums=sums[begin:end],
                squares=squares[begin:end],
                largest=int(high[g]),
                charge_states=states[g],
                ker=np.trim_zeros(ker[g], "b"),
                photons=np.trim_zeros(photons[g], "b"),
                lost=int(gone[g]),
            )
        )
        for g, (begin, end) in enumerate(pairwise(starts))
    ]


def _group(charges: Tensor, geometry: Tensor, geometries: int, numbers: Sequence[int]) -> _Groups:
    """Sort trajectories by geometry, then by charges.

    The charges are digits of one integer; if it would get too large, the integers so far are
    replaced by their rank.
    """
    code, most = geometry, geometries
    for atom, number in enumerate(numbers):
        if most * (number + 1) >= _LARGEST_CODE:
            ranks, code = torch.unique(code, return_inverse=True)
            most = len(ranks)
        code = code * (number + 1) + charges[:, atom].long()
        most *= number + 1
    found, of, count = torch.unique(code, return_inverse=True, return_counts=True)
    one = torch.empty_like(found)  # any trajectory of each group: all have the same charges
    one[of] = torch.arange(len(of), device=of.device)
    return _Groups(of, geometry[one], charges[one], count)


def _sums(
    groups: _Groups, momenta: Tensor, kept: Tensor
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Sums of the momenta (c, n, 3) and of their products (c, n, 6) of the groups kept."""
    atoms = momenta.shape[1]
    found = int(kept.sum())
    rank = torch.full_like(groups.count, -1)
    rank[kept] = torch.arange(found, device=rank.device)
    row = rank[groups.of]
    some = row >= 0
    row = row[some]
    sums = momenta.new_zeros(found, atoms, 3)
    squares = momenta.new_zeros(found, atoms, len(PRODUCTS))
    for atom in range(atoms):
        p = momenta[some, atom]
        sums[:, atom].index_add_(0, row, p)
        products = torch.stack([p[:, i] * p[:, j] for i, j in PRODUCTS], dim=1)
        squares[:, atom].index_add_(0, row, products)
    return _fetched(sums), _fetched(squares)


def _release(job: Job, batch: Batch) -> Tensor:
    """[b] kinetic energies of all ions together, hartree."""
    mass = torch.from_numpy(job.model.mass).to(batch.momenta.device)
    p = batch.momenta.double()
    return (p.square().sum(-1) / (2.0 * (mass - batch.charges))).sum(-1)


def _states(charges: Tensor, geometry: Tensor, geometries: int, states: int) -> NDArray[np.int64]:
    """(g, n, states) number of trajectories by charge of each atom."""
    atoms = charges.shape[1]
    atom = torch.arange(atoms, device=charges.device)
    place = (geometry[:, None] * atoms + atom) * states + charges
    found = torch.bincount(place.flatten(), minlength=geometries * atoms * states)
    return _fetched(found.view(geometries, atoms, states))


def _table(values: Tensor, geometry: Tensor, geometries: int) -> NDArray[np.int64]:
    """(g, m) number of occurrences of each value 0 .. m - 1."""
    width = int(values.max()) + 1 if len(values) else 1
    found = torch.bincount(geometry * width + values, minlength=geometries * width)
    return _fetched(found.view(geometries, width))


def _fetched(tensor: Tensor) -> NDArray[np.int64]:
    array: NDArray[np.int64] = tensor.cpu().numpy()
    return array
