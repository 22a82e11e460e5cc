"""How many trajectories per second does the Monte Carlo / molecular dynamics model follow on a GPU?

What a data set needs is timed: the fused kernel, and the charge combinations summed on the device.
Baseline: the compiled path on the processor cores of the same machine. The pulse: 2 keV, 1 mJ,
15 fs, 1 um, molecules on its axis.

    python benchmarks/mcmd_speed.py [--repeats 5]
"""

from __future__ import annotations

import argparse
import statistics

import numpy as np
import torch
from _record import store, time_runs

from molexa_core.base.forward_model import ModelOptions, Pulse
from molexa_core.physics.mcmd.gpu.device_combinations import combinations_on_gpu
from molexa_core.physics.mcmd.gpu.launch import batches
from molexa_core.physics.mcmd.trajectories import Job, available_cores, prepare, run_on_cpu
from molexa_core.physics.molecules.library import molecule

MOLECULES = ("ch2cl2", "ethanol")
PULSE = Pulse(photon_ev=2000.0, energy_mj=1.0, duration_fs=15.0, focus_um=1.0)
GEOMETRIES, EACH = 20, 100_000
ON_CORES = 1000
"""Trajectories that a core follows for the comparison; its time is scaled to the whole."""


def job_of(name: str, geometries: int, each: int) -> Job:
    """Trajectories of a molecule in slightly different sizes."""
    geometry = molecule(name).geometry
    scales = np.linspace(0.95, 1.05, geometries)[:, None, None]
    x = geometry.positions * scales
    return prepare(x, geometry.symbols, PULSE, ModelOptions(), trajectories=each, seed=1)


def cpu_runs(name: str, repeats: int) -> tuple[list[float], int]:
    """Seconds that the compiled path takes for some trajectories, and how many these are."""
    job = job_of(name, 1, ON_CORES * available_cores())
    return time_runs(lambda: run_on_cpu(job), repeats=repeats), job.trajectories


def gpu_speed(name: str, repeats: int) -> None:
    """Time kernel and sums on the GPU, compare with the processor, and store the result."""
    job, total = job_of(name, GEOMETRIES, EACH), GEOMETRIES * EACH
    alone = time_runs(
        lambda: [None for _ in batches(job, 0)],
        repeats=repeats,
        synchronise=torch.cuda.synchronize,
    )
    runs = time_runs(
        lambda: combinations_on_gpu(job, 0),
        repeats=repeats,
        synchronise=torch.cuda.synchronize,
    )
    slow, count = cpu_runs(name, min(repeats, 3))
    rate = total / statistics.median(alone) / 1e6
    store(
        f"mcmd-{name}-gpu",
        f"How many trajectories of {name} in the pulse per second?",
        runs,
        amount=total,
        unit="trajectories",
        sizes={
            "atoms": job.positions.shape[1],
            "steps": len(job.grid),
            "pulse": "2 keV, 1 mJ, 15 fs, 1 um, on axis",
            "options": "default",
        },
        baseline=(
            f"the compiled path on {available_cores()} cores (measured on {count} trajectories)",
            [run * total / count for run in slow],
        ),
        notes=f"the kernel alone: {rate:.3g} million trajectories per second",
        device=torch.cuda.get_device_name(),
        dtype="float32",
    )


def main() -> None:
    """Time every molecule."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    for name in MOLECULES:
        gpu_speed(name, repeats)


if __name__ == "__main__":
    main()
