"""Trajectories on GPUs: one launch for many geometries.

A batch consists of consecutive trajectories, counted over all geometries of a job. Batches are as
large as the free memory of the device allows; one that does not fit nevertheless is halved, with a
notice. Results do not depend on the batches, since the random numbers are a function of the number
of the trajectory.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from molexa_core.base.cuda.compiler import FAST_MATH, compile_cubin
from molexa_core.base.cuda.driver import Kernel
from molexa_core.base.device import Device
from molexa_core.base.errors import ComputationError
from molexa_core.base.progress import SILENT, Progress
from molexa_core.physics.mcmd.gpu.kernel import inputs_of, launch_of, shape_for, source
from molexa_core.physics.mcmd.job import LARGEST_MOMENTUM, Job, Trajectories
from molexa_core.physics.mcmd.mixed_job import MixedJob
from molexa_core.physics.mcmd.state import CLOSE, COUNTS, ENERGIES

_MEMORY_SHARE: Final = 0.25
"""Share of the free memory for the results of a batch; the rest is for their further processing."""
_LARGEST_BATCH: Final = 2**22
SMALLEST_BATCH: Final = 1024
"""Smallest batch; it is not halved further."""


@dataclass(frozen=True)
class Batch:
    """Consecutive trajectories on the device. b trajectories, n atoms.

    Attributes:
        begin: number of the first trajectory, counted over all geometries.
        charges: [b, n] int8.
        momenta: [b, n, 3] float32, a.u.
        factors: [b] float32, fluence relative to that on the axis.
        counts: [b, COUNTS] int16.
        energies: [b, ENERGIES] float32, hartree.
    """

    begin: int
    charges: Tensor
    momenta: Tensor
    factors: Tensor
    counts: Tensor
    energies: Tensor

    def __len__(self) -> int:
        """Number of trajectories."""
        return len(self.factors)

    def only(self, which: Tensor) -> Batch:
        """The trajectories selected by a mask; they are no longer consecutive."""
        names = ("charges", "momenta", "factors", "counts", "energies")
        return replace(self, **{name: getattr(self, name)[which] for name in names})

    @property
    def lost(self) -> Tensor:
        """[b] see `Trajectories.lost`."""
        usable = (self.momenta.abs() <= LARGEST_MOMENTUM).all(2).all(1)
        return (self.counts[:, CLOSE] > 0) | ~usable


def device_index(device: str) -> int | None:
    """The number of the device `cpu`, `cuda`, `cuda:1` or `auto`; None for the CPU.

    Raises:
        UsageError: another name, or no such device.
    """
    there = torch.cuda.device_count() if torch.cuda.is_available() else 0
    current = torch.cuda.current_device() if there else 0
    return Device.parse(device).among(there, current=current).index


def run_on_gpu(job: Job, index: int, *, progress: Progress = SILENT) -> Trajectories:
    """Compute the trajectories of a job and copy all of them to the host.

    Args:
        job: the trajectories to compute.
        index: number of the device.
        progress: display of the progress.

    Raises:
        UsageError: more atoms than the kernel supports.
        ComputationError: no kernel can be compiled, or the device has too little memory.
    """
    geometries, n = job.positions.shape[:2]
    count = job.trajectories
    total = geometries * count
    charges = np.empty((total, n), np.int8)
    momenta = np.empty((total, n, 3), np.float32)
    factors = np.empty(total, np.float32)
    counts = np.empty((total, COUNTS), np.int16)
    energies = np.empty((total, ENERGIES), np.float32)
    for batch in batches(job, index, progress=progress):
        part = slice(batch.begin, batch.begin + len(batch))
        charges[part] = batch.charges.cpu().numpy()
        momenta[part] = batch.momenta.cpu().numpy()
        factors[part] = batch.factors.cpu().numpy()
        counts[part] = batch.counts.cpu().numpy()
        energies[part] = batch.energies.cpu().numpy()
    return Trajectories(
        symbols=job.tables.symbols,
        mass=job.model.mass,
        charges=charges.reshape(geometries, count, n),
        momenta=momenta.reshape(geometries, count, n, 3),
        fluence_factor=factors.reshape(geometries, count),
        counts=counts.reshape(geometries, count, COUNTS),
        energies=energies.reshape(geometries, count, ENERGIES),
    )


def batches(
    job: Job | MixedJob,
    index: int,
    *,
    size: int | None = None,
    whole_geometries: bool = False,
    progress: Progress = SILENT,
) -> Iterator[Batch]:
    """Compute the trajectories of a job in batches that stay on the device.

    All work runs on the current stream of the device.

    Args:
        job: the trajectories to compute.
        index: number of the device.
        size: trajectories per batch; as many as fit into memory if not given.
        whole_geometries: do not split a geometry between batches if it fits into one.
        progress: display of the progress.

    Raises:
        UsageError: more atoms than the kernel supports.
        ComputationError: no kernel can be compiled, or the device has too little memory.
    """
    geometries, n = job.positions.shape[:2]
    total, begin = geometries * job.trajectories, 0
    device = torch.device("cuda", index)
    kernel = _kernel(n, index, own=isinstance(job, MixedJob))
    inputs = {name: _on_device(array, device) for name, array in inputs_of(job).items()}
    size = min(size or _size_that_fits(n, index), total)
    with progress.task(f"trajectories of {n} atoms", total, "trajectories") as task:
        while begin < total:
            count = min(size, total - begin)
            if whole_geometries and count > job.trajectories:
                count -= (begin + count) % job.trajectories
            try:
                batch = _launch(job, kernel, inputs, begin, count)
            except torch.cuda.OutOfMemoryError:
                size = _halved(size, index, progress)
                continue
            yield batch
            task.advance(count)
            begin += count


def _on_device(array: NDArray[Any], device: torch.device) -> Tensor:
    """An array on the device; settings as bytes."""
    plain = array.view(np.uint8) if array.dtype.names else array
    return torch.from_numpy(plain).to(device)


def _launch(
    job: Job | MixedJob, kernel: Kernel, inputs: dict[str, Tensor], begin: int, count: int
) -> Batch:
    """Launch a batch on the current stream."""
    n, device = job.positions.shape[1], inputs["mass"].device
    outputs = {
        "charges": torch.empty(count, n, dtype=torch.int8, device=device),
        "momenta": torch.empty(count, n, 3, device=device),
        "factors": torch.empty(count, device=device),
        "counts": torch.empty(count, COUNTS, dtype=torch.int16, device=device),
        "energies": torch.empty(count, ENERGIES, device=device),
    }
    addresses = {name: tensor.data_ptr() for name, tensor in (inputs | outputs).items()}
    threads = shape_for(n).threads
    argument = launch_of(job, addresses, begin, count)
    stream = torch.cuda.current_stream(device).cuda_stream
    kernel.launch(-(-count // threads), threads, argument, stream)
    return Batch(begin, **outputs)


@lru_cache(maxsize=64)
def _kernel(atoms: int, index: int, *, own: bool = False) -> Kernel:
    """The kernel for a number of atoms on a device; see `Shape.own`."""
    shape = shape_for(atoms, own=own)
    major, minor = torch.cuda.get_device_capability(index)
    options = (*shape.defines, *FAST_MATH)
    code = compile_cubin(source(), "the kernel of the trajectories", options, f"sm_{major}{minor}")
    return Kernel(code, "run", index, shared_bytes=shape.shared_bytes)


def _size_that_fits(atoms: int, index: int) -> int:
    """Number of trajectories whose results fit into a share of the free memory."""
    free, _ = torch.cuda.mem_get_info(index)
    held = torch.cuda.memory_reserved(index) - torch.cuda.memory_allocated(index)
    each = 13 * atoms + 4 + 2 * COUNTS + 4 * ENERGIES
    fits = int(_MEMORY_SHARE * (free + held)) // each
    return max(SMALLEST_BATCH, min(_LARGEST_BATCH, fits))


def _halved(size: int, index: int, progress: Progress) -> int:
    """Half the batch, with a notice.

    Raises:
        ComputationError: the batch is too small to be halved.
    """
    if size <= SMALLEST_BATCH:
        raise ComputationError(
            f"GPU {index} has too little free memory for {size} trajectories",
            do="Stop what else runs there, or use `device='cpu'`.",
        )
    torch.cuda.empty_cache()
    progress.say(f"GPU {index} ran out of memory; going on with batches of {size // 2}")
    return size // 2
