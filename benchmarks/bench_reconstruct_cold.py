"""How long does `molexa reconstruct` take in a new process, on a CPU, for three and nine ions?

Momenta are those of exact classical explosions (`molexa simulate`), weights and all settings the
defaults: 16 samples, refinement, search, error propagation, files. Baseline: a new process that
imports torch and does nothing.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

from _record import store, time_runs

REPEATS = 7
BAR_S = 4.0
MOLECULES = {
    # name: ions in the order of the atoms
    "water": "O+,H+,H+",
    "ethanol": "C+,C+,O+,H+,H+,H+,H+,H+,H+",
}


def start(folder: str, *arguments: str) -> None:
    """Run Python with these arguments, in this folder, to its end."""
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True, cwd=folder)


def main() -> None:
    """Measure both molecules and store a result for each."""
    program = ("-m", "molexa_cli.main")
    with tempfile.TemporaryDirectory() as folder:
        for name, ions in MOLECULES.items():
            table = str(Path(folder) / f"{name}.csv")
            start(folder, *program, "simulate", name, "--charges", ions, "--out", table)
            answer = str(Path(folder) / f"{name}.xyz")
            arguments = (*program, "reconstruct", table, "--out", answer, "--seed", "1")
            store(
                f"reconstruct_cold_{name}",
                f"How long does `molexa reconstruct` take in a new process for {name}?",
                time_runs(partial(start, folder, *arguments), repeats=REPEATS),
                amount=1,
                unit="reconstructions",
                sizes={"ions": ions.count(",") + 1, "samples": 16, "repeats": REPEATS},
                baseline=(
                    "a new process that imports torch",
                    time_runs(partial(start, folder, "-c", "import torch"), repeats=REPEATS),
                ),
                notes=f"the bar is {BAR_S:g} s; the files are in the operating system's cache",
            )


if __name__ == "__main__":
    main()
