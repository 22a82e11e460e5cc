"""How many five-atom trajectories per second do the cores follow? Compared with plain numpy.

CH2Cl2 in a pulse of 2 keV, 1 mJ, 15 fs, 1 um, default options, after compilation and with the
atomic tables in memory. The plain twin follows the same trajectories.
"""

from __future__ import annotations

import os

from _record import store, time_runs

from molexa_core.base.forward_model import ModelOptions, Pulse
from molexa_core.physics.mcmd.plain import run_plain
from molexa_core.physics.mcmd.trajectories import Job, available_cores, prepare, run_on_cpu
from molexa_core.physics.molecules.library import molecule

MOLECULE = "ch2cl2"
TRAJECTORIES = 4000
PLAIN = 400
SEED = 5
REPEATS = 5


if __name__ == "__main__":
    geometry = molecule(MOLECULE).geometry
    pulse = Pulse(2000.0)

    def job(count: int) -> Job:
        """The same molecule, so many times."""
        return prepare(
            geometry.positions,
            geometry.symbols,
            pulse,
            ModelOptions(),
            trajectories=count,
            seed=SEED,
        )

    large, small = job(TRAJECTORIES), job(PLAIN)
    runs = time_runs(lambda: run_on_cpu(large), repeats=REPEATS, warm_up=1)
    plain = time_runs(lambda: run_plain(small), repeats=3, warm_up=1)
    scaled = [run * TRAJECTORIES / PLAIN for run in plain]
    store(
        "mcmd_cpu_speed",
        "How many five-atom trajectories of the ab initio model do the processor cores follow?",
        runs,
        amount=TRAJECTORIES,
        unit="trajectories",
        sizes={
            "molecule": MOLECULE,
            "atoms": 5,
            "steps": len(large.grid),
            "trajectories": TRAJECTORIES,
            "threads": available_cores(),
            "seed": SEED,
        },
        baseline=("the plain numpy twin on one core", scaled),
        notes="the bar is 1200 per second on two cores; the baseline was timed on "
        f"{PLAIN} trajectories; load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores",
    )
