"""The Monte-Carlo forward model for the stages: from geometries to combinations of charges."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from molexa_core.base.charge_combinations import Outcomes
from molexa_core.base.forward_model import ModelOptions, Pulse
from molexa_core.base.progress import SILENT, PartOf, Progress
from molexa_core.base.tables import FloatArray, Geometry
from molexa_core.physics.mcmd.combinations import Combinations, combine, merge
from molexa_core.physics.mcmd.gpu.device_combinations import combinations_on_gpu
from molexa_core.physics.mcmd.gpu.launch import device_index, run_on_gpu
from molexa_core.physics.mcmd.job import Job, prepare
from molexa_core.physics.mcmd.molecule_tables import pack_molecule
from molexa_core.physics.mcmd.summaries import Energies, energies_of, joined, outcomes_of
from molexa_core.physics.mcmd.trajectories import run_on_cpu

TRAJECTORIES: Final = "trajectories"
"""Unit in which progress is reported."""
CHUNK: Final = 1_000_000
"""Number of trajectories in memory: 0.2 GB for nine atoms. Sums do not depend on it."""


def explode_geometries(
    symbols: Sequence[str],
    positions: FloatArray,
    velocities: FloatArray | None,
    pulse: Pulse,
    options: ModelOptions,
    *,
    trajectories: int,
    seed: int,
    first_trajectory: int = 0,
    device: str = "auto",
    energies: bool = False,
    at_least: int = 1,
    isotopes: tuple[int, ...] | None = None,
    progress: Progress = SILENT,
) -> list[Outcomes]:
    """Simulate many explosions of geometries of one molecule and count combinations of charges.

    Trajectory t of geometry g has the number `first_trajectory + g * trajectories + t`; its result
    is a function of that number and the seed.

    Args:
        symbols: (n) elements.
        positions: (g, n, 3) bohr.
        velocities: (g, n, 3) initial velocities, a.u.; at rest if not given.
        pulse: the X-ray pulse.
        options: switches of the model.
        trajectories: number of explosions per geometry.
        seed: of all random draws.
        first_trajectory: number of the first trajectory of the first geometry.
        device: `auto`, `cpu`, `cuda` or `cuda:0`.
        energies: whether the kinetic energies are resolved by combination.
        isotopes: (n) mass numbers, 0 if not stated; None if none is stated.
        at_least: keep only combinations with at least this count; not together with energies.
        progress: display of the progress.

    Returns:
        One table of combinations per geometry.

    Raises:
        UnknownIonError: the model does not cover an element.
        UsageError: overlapping atoms, or numbers out of range.
        ComputationError: all trajectories of a geometry were lost.
    """
    tables = pack_molecule(symbols, pulse.photon_ev, progress=progress)
    masses = None
    if isotopes is not None:
        masses = Geometry(tuple(symbols), positions[0], isotopes=isotopes).masses(options.masses)
    found: list[list[Combinations]] = [[] for _ in positions]
    known: list[list[Energies]] = [[] for _ in positions]
    label = f"explosions of {len(symbols)} atoms"
    with progress.task(label, len(positions) * trajectories, TRAJECTORIES) as task:
        inner = PartOf(progress, task, TRAJECTORIES)
        for first, last, start, count in _chunks(len(positions), trajectories):
            job = prepare(
                positions[first:last],
                symbols,
                pulse,
                options,
                trajectories=count,
                seed=seed,
                velocities=None if velocities is None else velocities[first:last],
                masses=masses,
                first_trajectory=first_trajectory + first * trajectories + start,
                tables=tables,
                progress=inner,
            )
            parts = _followed(job, device, energies=energies, progress=inner)
            for row, (part, of_each) in enumerate(parts, start=first):
                found[row].append(part)
                known[row] += of_each
    return [
        outcomes_of(
            found[row][0] if len(found[row]) == 1 else merge(found[row]),
            Geometry(tuple(symbols), np.asarray(x, dtype=np.float64), isotopes=isotopes),
            joined(known[row]) if energies else None,
            at_least=at_least,
        )
        for row, x in enumerate(positions)
    ]


def _followed(
    job: Job, device: str, *, energies: bool, progress: Progress
) -> list[tuple[Combinations, list[Energies]]]:
    """The combinations of each geometry of a job and, if requested, all energies."""
    index = device_index(device)
    if index is not None and job.tables.growing:
        progress.say(
            "tables of heavy elements grow while trajectories are followed: this molecule is "
            "computed on the CPU"
        )
        index = None
    if index is not None and not energies:
        return [(part, []) for part in combinations_on_gpu(job, index, progress=progress)]
    if index is None:
        trajectories = run_on_cpu(job, progress=progress)
    else:
        trajectories = run_on_gpu(job, index, progress=progress)
    return [
        (combine(trajectories, row), [energies_of(trajectories, row)] if energies else [])
        for row in range(len(job.positions))
    ]


def _chunks(geometries: int, trajectories: int) -> list[tuple[int, int, int, int]]:
    """First and last geometry, first trajectory and number of trajectories of each call."""
    if trajectories >= CHUNK:
        return [
            (row, row + 1, start, min(CHUNK, trajectories - start))
            for row in range(geometries)
            for start in range(0, trajectories, CHUNK)
        ]
    together = CHUNK // trajectories
    return [
        (first, min(first + together, geometries), 0, trajectories)
        for first in range(0, geometries, together)
    ]
