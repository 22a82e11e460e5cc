"""The GPU kernel: its source in `cuda/`, its argument, its block shape."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from molexa_core.base.errors import UsageError
from molexa_core.physics.mcmd.job import Job
from molexa_core.physics.mcmd.mixed_job import SETTING_FIELDS, MixedJob
from molexa_core.physics.mcmd.motion import LATE, LATE_GROWTH, LATE_STEPS
from molexa_core.physics.mcmd.philox import key_of
from molexa_core.physics.mcmd.state import (
    ACCURACY,
    CORE_BOHR,
    COUNTS,
    DOUBLE_AUGER,
    ENERGIES,
    HIGHEST_DONOR,
    MOST_PARTS,
    PAIR,
    PHOTON,
    RECAPTURE,
    SHAKE_OFF,
    TRANSFER_TIME,
)

SOURCES: Final = ("state.cu", "cascade.cu", "transfer.cu", "motion.cu", "trajectory.cu")
"""Files of the source, in the order in which they are concatenated."""
MOST_ATOMS: Final = 30
"""Sets of atoms are bits of a word."""
_SHAPES: Final = ((5, 128, 5), (9, 128, 3), (14, 128, 2), (MOST_ATOMS, 64, 1))
"""By largest number of atoms: threads of a block, blocks of a multiprocessor."""
_CELLS_PER_ATOM: Final = 14
_CELLS_BESIDE: Final = COUNTS + ENERGIES + 3
_CELL_BYTES: Final = 4
_OUTPUTS: Final = ("charges", "momenta", "factors", "counts", "energies", "rows")
_INPUTS: Final = (
    *("config_int", "config_real", "move_int", "move_real", "start", "mass", "grid"),
    *("positions", "velocities"),
)


class Setting(ctypes.Structure):
    """Pulse and switches: `struct Setting` of the source, and a row of `mixed_job.SETTING`."""

    _fields_ = [
        (name, ctypes.c_int32 if kind == "i4" else ctypes.c_float) for name, kind in SETTING_FIELDS
    ]


class Launch(ctypes.Structure):
    """The argument of the kernel: `struct Launch` of the source, field by field."""

    _fields_ = [
        *((name, ctypes.c_void_p) for name in (*_INPUTS, *_OUTPUTS, "places", "settings")),
        ("first", ctypes.c_uint64),
        *((name, ctypes.c_int64) for name in ("begin", "total", "trajectories")),
        *((name, ctypes.c_uint32) for name in ("key0", "key1")),
        ("common", Setting),
        ("accuracy", ctypes.c_float),
    ]


@dataclass(frozen=True)
class Shape:
    """Threads and blocks of the kernel for a number of atoms.

    Attributes:
        atoms: atoms of the molecule.
        threads: threads of a block.
        blocks: number of resident blocks per multiprocessor; fewer blocks have more registers
            each.
        own: whether every geometry has elements and a setting of its own (`MixedJob`).
    """

    atoms: int
    threads: int
    blocks: int
    own: bool = False

    @property
    def shared_bytes(self) -> int:
        """Shared memory of a block, as the source lays it out."""
        cells = _CELLS_PER_ATOM * self.atoms + _CELLS_BESIDE
        return cells * _CELL_BYTES * self.threads

    @property
    def defines(self) -> tuple[str, ...]:
        """Options of the compiler."""
        sizes = {"ATOMS": self.atoms, "THREADS": self.threads, "BLOCKS": self.blocks}
        limits = {"MOST_PARTS": MOST_PARTS, "LATE_STEPS": LATE_STEPS, "OWN": int(self.own)}
        reals = {"LATE": LATE, "LATE_GROWTH": LATE_GROWTH, "CORE_BOHR": CORE_BOHR}
        return (
            *(f"-D{name}={value}" for name, value in (sizes | limits).items()),
            *(f"-D{name}={value!r}f" for name, value in reals.items()),
        )


def source() -> str:
    """The complete source, with file names for the messages of the compiler."""
    folder = Path(__file__).with_name("cuda")
    parts = [(name, (folder / name).read_text(encoding="utf-8")) for name in SOURCES]
    return "".join(f'#line 1 "{name}"\n{text}' for name, text in parts)


def shape_for(atoms: int, *, own: bool = False) -> Shape:
    """The fastest measured shape: see `docs/forward-model-gpu.md`.

    Args:
        atoms: atoms of the molecules.
        own: whether every geometry has elements and a setting of its own.

    Raises:
        UsageError: more atoms than the kernel supports.
    """
    if atoms > MOST_ATOMS:
        raise UsageError(
            f"{atoms} atoms are more than the GPU kernel can follow, {MOST_ATOMS}",
            do="Use `device='cpu'`.",
        )
    threads, blocks = next(cut for most, *cut in _SHAPES if atoms <= most)
    return Shape(atoms, threads, blocks, own)


def inputs_of(job: Job | MixedJob) -> dict[str, NDArray[Any]]:
    """The input arrays of the kernel in its number formats, by field of `Launch`."""
    single = np.float32
    if isinstance(job, MixedJob):
        return {
            **job.tables.arrays(),
            "start": job.start,
            "mass": job.mass.astype(single),
            "grid": np.stack([job.grids.length, job.grids.fraction], axis=1).astype(single),
            "positions": job.positions.astype(single),
            "velocities": job.velocities.astype(single),
            "settings": job.settings,
        }
    return {
        "config_int": job.model.config_int,
        "config_real": job.model.config_real,
        "move_int": job.model.move_int,
        "move_real": job.model.move_real,
        "start": job.model.start,
        "mass": job.model.mass.astype(single),
        "grid": np.stack([job.grid.length, job.grid.fraction], axis=1).astype(single),
        "positions": job.positions.astype(single),
        "velocities": job.velocities.astype(single),
    }


def launch_of(job: Job | MixedJob, addresses: Mapping[str, int], begin: int, total: int) -> Launch:
    """The argument for trajectories `begin` to `begin + total` of a job.

    Args:
        job: the trajectories to compute.
        addresses: addresses of inputs and outputs, by field; outputs have space for `total`
            trajectories. `rows` (final configurations) and `places` (numbers of trajectories that
            are not consecutive) are optional.
        begin: number of the first trajectory, counted over all geometries.
        total: number of trajectories.
    """
    key = key_of(job.seed)
    common = Setting() if isinstance(job, MixedJob) else _setting_of(job)
    accuracy = job.accuracy if isinstance(job, MixedJob) else job.model.rules[ACCURACY]
    return Launch(
        **addresses,
        first=job.first,
        begin=begin,
        total=total,
        trajectories=job.trajectories,
        key0=int(key[0]),
        key1=int(key[1]),
        common=common,
        accuracy=accuracy,
    )


def _setting_of(job: Job) -> Setting:
    rules = job.model.rules
    return Setting(
        first_step=0,
        steps=len(job.grid),
        recapture=int(rules[RECAPTURE]),
        highest_donor=int(rules[HIGHEST_DONOR]),
        pair=int(rules[PAIR]),
        fluence=job.fluence,
        lowest=job.lowest,
        photon=rules[PHOTON],
        shake_off=rules[SHAKE_OFF],
        double_auger=rules[DOUBLE_AUGER],
        transfer_time=rules[TRANSFER_TIME],
    )
