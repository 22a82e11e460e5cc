"""Does the sampler represent ambiguity? Several geometries with one set of momenta.

Random molecules of the stage-1 distribution are exploded; many samples are drawn for each, and
refined and gathered into solutions. Where samples end in several solutions that all explain the
momenta, the share of a solution is the network's probability for it. A sampler that draws from the
posterior is calibrated: of all solutions with a share near s, a fraction s must be the truth. A
sampler that follows one mode has shares of 0 and 1 and is right less often than it says.

    python benchmarks/ambiguity.py [--molecules 300] [--samples 64] [--steps 5 16 32]
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
from _record import RESULTS, commit, machine, versions

from molexa_core.base.elements import BY_NUMBER
from molexa_core.base.ions import Ion, parse_ion
from molexa_core.model.inference import reconstruct_structures
from molexa_core.model.weights import default_weights, load_network
from molexa_core.pipeline.evaluation_sets import random_set
from molexa_core.pipeline.solutions import solutions
from molexa_core.pipeline.stage1 import StageOneData

TAU_FS = 45.0
SEED = 50_260_000
TRUE = 0.05
"""A solution within so much of the truth in every coordinate, bohr, is the truth."""
BINS = (0.0, 0.05, 0.2, 0.4, 0.6, 0.8, 0.95, 1.01)


def main() -> None:
    """Measure and store."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--molecules", type=int, default=200)
    parser.add_argument("--samples", type=int, default=64)
    parser.add_argument("--steps", type=int, nargs="+", default=[5, 16, 32])
    parser.add_argument("--sizes", type=int, nargs="+", default=[3, 4, 5])
    given = parser.parse_args()
    network, card = load_network(default_weights())
    data = StageOneData()
    rows: list[dict[str, Any]] = []
    for atoms in given.sizes:
        one_size = replace(data, smallest=atoms, largest=atoms)
        batch = random_set(one_size, given.molecules, seed=SEED)[atoms].batch
        if batch.positions is None:
            raise SystemExit("the molecules have no positions")
        positions = batch.positions.double().numpy()
        for steps in given.steps:
            sampler = replace(network.settings.sampler, steps=steps)
            shares: list[tuple[float, bool]] = []
            several = found = 0
            for row in range(given.molecules):
                ions = [
                    _ion(int(number), float(charge))
                    for number, charge in zip(batch.numbers[row], batch.charges[row], strict=True)
                ]
                momenta = batch.momenta[row].double().numpy()
                momenta -= momenta.mean(axis=0)
                truth = positions[row]
                truth = truth - truth.mean(axis=0)
                drawn = reconstruct_structures(
                    network, ions, momenta, samples=given.samples, seed=0, sampler=sampler
                )
                listed = [
                    one
                    for one in solutions(drawn.samples, ions, momenta, tau_fs=TAU_FS)
                    if one.explains
                ]
                hits = [bool(np.abs(one.positions - truth).max() < TRUE) for one in listed]
                several += len(listed) > 1
                found += any(hits)
                shares += [(one.share, hit) for one, hit in zip(listed, hits, strict=True)]
            rows.append(
                {
                    "atoms": atoms,
                    "steps": steps,
                    "molecules": given.molecules,
                    "samples": given.samples,
                    "several_solutions": several / given.molecules,
                    "truth_among_them": found / given.molecules,
                    "reliability": _reliability(shares),
                }
            )
            print(rows[-1], flush=True)
    conditions = {"weights": card.name, "seed": SEED, "tau_fs": TAU_FS, "device": "cpu"}
    made = {"machine": machine(), "commit": commit(), "versions": versions()}
    path = RESULTS / "accuracy" / "ambiguity.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"conditions": conditions, "rows": rows, **made}, indent=1) + "\n")


def _reliability(shares: list[tuple[float, bool]]) -> list[dict[str, float]]:
    """For groups of solutions by share: mean share and how often they are the truth."""
    share = np.array([one for one, _ in shares])
    true = np.array([hit for _, hit in shares])
    groups = []
    for low, high in pairwise(BINS):
        inside = (share > low) & (share <= high)
        if inside.any():
            groups.append(
                {
                    "solutions": int(inside.sum()),
                    "mean_share": float(share[inside].mean()),
                    "is_the_truth": float(true[inside].mean()),
                }
            )
    return groups


def _ion(number: int, charge: float) -> Ion:
    return parse_ion(f"{BY_NUMBER[number].symbol}{round(charge)}+")


if __name__ == "__main__":
    main()
