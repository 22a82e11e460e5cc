"""The Monte-Carlo forward model as the stages use it: geometries in, outcomes of explosions out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from molexa_core.base.outcomes import Outcomes
from molexa_core.base.progress import SILENT, PartOf, Progress
from molexa_core.base.tables import FloatArray, Geometry
from molexa_core.physics.mcmd.combinations import Combinations, combine, merge
from molexa_core.physics.mcmd.options import Options
from molexa_core.physics.mcmd.outcomes import Energies, energies_of, joined, outcomes_of
from molexa_core.physics.mcmd.pulse import Pulse
from molexa_core.physics.mcmd.tables import pack_molecule
from molexa_core.physics.mcmd.trajectories import run_trajectories

TRAJECTORIES: Final = "trajectories"
"""Unit in which progress is reported."""
CHUNK: Final = 1_000_000
"""Trajectories that are held at a time: 0.2 GB for nine atoms. Sums are exact in any rhythm."""


def explode_geometries(
    symbols: Sequence[str],
    positions: FloatArray,
    velocities: FloatArray | None,
    pulse: Pulse,
    options: Options,
    *,
    trajectories: int,
    seed: int,
    first_trajectory: int = 0,
    device: str = "auto",
    energies: bool = False,
    progress: Progress = SILENT,
) -> list[Outcomes]:
    """Explode geometries of one molecule many times and count the combinations of charges.

    Trajectory t of geometry g has the number `first_trajectory + g * trajectories + t`; what it
    gives depends on that number and the seed alone, not on what else is asked for.

    Args:
        symbols: (n) elements.
        positions: (g, n, 3) bohr.
        velocities: (g, n, 3) a.u. at the beginning; at rest if not given.
        pulse: the X-ray pulse.
        options: switches of the model.
        trajectories: explosions per geometry.
        seed: of every draw.
        first_trajectory: number of the first trajectory of the first geometry.
        device: `auto`, `cpu`, `cuda` or `cuda:0`.
        energies: whether the kinetic energies are resolved by combination.
        progress: shows how far it is.

    Returns:
        One table of combinations per geometry.

    Raises:
        UnknownIonError: an element that is not covered.
        UsageError: overlapping atoms, or numbers out of range.
    """
    tables = pack_molecule(symbols, pulse.photon_ev, progress=progress)
    found: list[list[Combinations]] = [[] for _ in positions]
    kept: list[list[Energies]] = [[] for _ in positions]
    label = f"explosions of {len(symbols)} atoms"
    with progress.task(label, len(positions) * trajectories, TRAJECTORIES) as task:
        inner = PartOf(progress, task, TRAJECTORIES)
        for first, last, start, count in _chunks(len(positions), trajectories):
            part = run_trajectories(
                positions[first:last],
                symbols,
                pulse,
                options,
                trajectories=count,
                seed=seed,
                velocities=None if velocities is None else velocities[first:last],
                first_trajectory=first_trajectory + first * trajectories + start,
                device=device,
                tables=tables,
                progress=inner,
            )
            for row in range(last - first):
                found[first + row].append(combine(part, row))
                if energies:
                    kept[first + row].append(energies_of(part, row))
    return [
        outcomes_of(
            merge(parts),
            Geometry(tuple(symbols), np.asarray(x, dtype=np.float64)),
            joined(known) if known else None,
        )
        for parts, known, x in zip(found, kept, positions, strict=True)
    ]


def _chunks(geometries: int, trajectories: int) -> list[tuple[int, int, int, int]]:
    """First and last geometry, first trajectory and number of each call."""
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
