"""Made-up atoms for the trajectories: few configurations, chosen rates, results in closed form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from molexa_core.base.forward_model import ModelOptions, Pulse
from molexa_core.base.units import ATOMIC_TIME_FS, DALTON_ME
from molexa_core.physics.mcmd import state as at
from molexa_core.physics.mcmd.job import Job, model_of
from molexa_core.physics.mcmd.molecule_tables import MoleculeTables
from molexa_core.physics.mcmd.time_grid import step_grid


@dataclass(frozen=True)
class Row:
    """One configuration; transitions are (target, kind, value, released)."""

    charge: int = 0
    removed: int = -1
    added: int = -1
    binding: float = 0.0
    capture: float = 0.0
    moves: Sequence[tuple[int, int, float, float]] = field(default_factory=tuple)


def made_up_tables(
    rows: Sequence[Row], start: Sequence[int], photon_ev: float = 1000.0
) -> MoleculeTables:
    """Tables of a molecule of made-up atoms; every atom is called helium, of which nothing is used
    but the mass."""
    moves = [move for row in rows for move in row.moves]
    first = np.concatenate([[0], np.cumsum([len(row.moves) for row in rows])])
    ints = [[b, row.charge, row.removed, row.added] for b, row in zip(first, rows, strict=False)]
    reals = [
        [
            sum(m[2] for m in row.moves if m[1] & at.KIND_MASK == at.PHOTO),
            sum(m[2] for m in row.moves if m[1] & at.KIND_MASK != at.PHOTO),
            row.binding,
            row.capture,
        ]
        for row in rows
    ]
    return MoleculeTables(
        symbols=("He",) * len(start),
        photon_ev=photon_ev,
        config_int=np.array([*ints, [first[-1], 0, -1, -1]], dtype=np.int32),
        config_real=np.array([*reals, [0.0] * 4], dtype=np.float32),
        move_int=np.array([m[:2] for m in moves], dtype=np.int32).reshape(-1, 2),
        move_real=np.array([m[2:] for m in moves], dtype=np.float32).reshape(-1, 2),
        start=np.array(start, dtype=np.int32),
        occupation=np.zeros((len(rows), 11), dtype=np.int8),
    )


def made_up_job(
    rows: Sequence[Row],
    start: Sequence[int],
    positions: object,
    *,
    masses_da: Sequence[float] | None = None,
    velocities: object = None,
    trajectories: int = 1,
    seed: int = 1,
    pulse: Pulse | None = None,
    options: ModelOptions | None = None,
) -> Job:
    """A job of made-up atoms; with `masses_da` the ions of the start have these masses."""
    options, pulse = options or ModelOptions(), pulse or Pulse(1000.0)
    tables = made_up_tables(rows, start)
    model = model_of(tables, pulse, options)
    if masses_da is not None:
        charges = np.array([rows[row].charge for row in start])
        model = model._replace(mass=np.array(masses_da) * DALTON_ME + charges)
    x = np.array(positions, dtype=np.float64)[None]
    v = np.zeros_like(x) if velocities is None else np.array(velocities, dtype=np.float64)[None]
    grid = step_grid(
        pulse, step_fs=options.step_fs, growth=options.growth, until_fs=options.until_fs
    )
    return Job(
        tables=tables,
        positions=x,
        velocities=v,
        model=model,
        grid=grid,
        fluence=pulse.fluence,
        lowest=options.lowest_fluence if options.focus == "volume" else 1.0,
        trajectories=trajectories,
        seed=seed,
        first=0,
        sigma=pulse.sigma,
    )


def per_fs(rate: float) -> float:
    """A rate per femtosecond in atomic units."""
    return rate * ATOMIC_TIME_FS
