"""How many explosions of point charges per second does one GPU follow, and how exactly?

The molecules of `bench_explosion_engine`, in single precision, each in slightly different sizes:
five atoms and ten; instant charges, the common rise, and a rise of its own for each atom. Seconds
are those of the kernel on tensors that lie on the device; what copying from and to the host adds is
in the notes. The error is the mean over atoms and molecules of the relative error of the momentum,
against 1600 steps of a sixty-fourth in double precision on the processor. The baseline is one core
of the same machine, single precision, same steps.

    python benchmarks/bench_explosion_gpu.py
"""

from __future__ import annotations

import time

import numpy as np
import torch
from _record import store, time_runs
from bench_explosion_engine import (
    EXACT,
    FINER,
    MOLECULES,
    TITLES,
    molecules,
    processor_seconds,
    rises,
)

from molexa_core.base.tables import FloatArray
from molexa_core.physics.coulomb.batches import explode_many
from molexa_core.physics.coulomb.build_up import BuildUp
from molexa_core.physics.coulomb.explosion import ACCURACIES, Accuracy
from molexa_core.physics.coulomb.gpu.explosions import explode_on_gpu

TIMES = 256
"""How often the molecules of the processor are taken, each time in another size."""
BARS = {5: 10e6, 10: 3e6}


def measure(symbols: str, name: str, rise: BuildUp) -> None:
    """Time one size and build-up, and store it."""
    x, q, m = molecules(MOLECULES, symbols)
    accuracy = FINER if name == "per_atom" else ACCURACIES["draft"]
    scale = np.random.default_rng(1).uniform(0.97, 1.1, (TIMES, MOLECULES, 1, 1))
    scale[0] = 1.0
    many = [
        torch.from_numpy((x * scale).reshape(-1, *x.shape[1:]).astype(np.float32)),
        torch.from_numpy(q.astype(np.float32)).repeat(TIMES, 1),
        torch.from_numpy(m.astype(np.float32)).repeat(TIMES, 1),
    ]
    here = [values.cuda() for values in many]
    total = len(here[0])

    def work() -> torch.Tensor:
        return explode_on_gpu(*here, build_up=rise, accuracy=accuracy)

    runs = time_runs(work, repeats=9, warm_up=2, synchronise=torch.cuda.synchronize)
    start = time.perf_counter()
    there = [values.cuda() for values in many]
    explode_on_gpu(*there, build_up=rise, accuracy=accuracy).cpu()
    whole = time.perf_counter() - start

    def core() -> FloatArray:
        return explode_many(x, q, m, build_up=rise, accuracy=accuracy, single=True)

    baseline = [run * TIMES for run in processor_seconds(core, 3)]
    cut = Accuracy(1600, 1 / 64)
    exact = explode_many(x[:EXACT], q[:EXACT], m[:EXACT], build_up=rise, accuracy=cut)
    off = np.linalg.norm(work()[:EXACT].double().cpu().numpy() - exact, axis=2)
    error = float((off / np.linalg.norm(exact, axis=2)).mean())
    store(
        f"explosion_gpu_{len(symbols)}_{name}_float32",
        f"How many explosions of {len(symbols)} atoms does one GPU follow, {TITLES[name]}?",
        runs,
        amount=total,
        unit="explosions",
        sizes={
            "atoms": len(symbols),
            "molecules": total,
            "step": accuracy.fraction,
            "mean_relative_error": float(f"{error:.1e}"),
        },
        baseline=("the compiled engine in float32 on one core", baseline),
        notes=f"the bar is {BARS[len(symbols)]:.0f} per second at a mean relative error of 5e-6; "
        f"with copies from and to pageable memory of the host {total / whole:.3g} per second",
        device=torch.cuda.get_device_name(),
        dtype="float32",
    )


if __name__ == "__main__":
    torch.set_num_threads(1)
    for chosen in ("CHHHH", "CCCNOHHHHH"):
        for title, rise_of in rises(chosen).items():
            measure(chosen, title, rise_of)
