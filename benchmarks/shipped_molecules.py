"""How well are real molecules reconstructed: one sample, the best of K, refined and searched?

Shipped molecules at equilibrium, all ions singly charged, exact classical momenta. The weights of
stage 1 never saw a real molecule. Errors are MAE after superposition, like atoms matched.

    OMP_NUM_THREADS=1 python benchmarks/shipped_molecules.py                  # 2 to 9 atoms
        (--processes 16 on a machine of as many cores)
    OMP_NUM_THREADS=1 python benchmarks/shipped_molecules.py --smallest 10 --largest 14 \
        --result shipped-molecules-large                                      # beyond training
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from _record import RESULTS, commit, machine, versions

from molexa_core.base.matter.ions import parse_ion
from molexa_core.geometry.compare import superposed_errors
from molexa_core.network.inference.answers import reconstruct_structures
from molexa_core.network.inference.engine import Engine
from molexa_core.network.weights import default_weights, load_network, tau_of
from molexa_core.physics.coulomb.batches import explode_many
from molexa_core.physics.coulomb.build_up import ErrorFunctionRise
from molexa_core.physics.molecules.library import Molecule, molecule, molecules
from molexa_core.pipeline.reconstruction.solutions import solutions

OFF = 0.05
"""An answer that is further off, bohr, is wrong."""
REST = 0.05
"""An ion with less than this share of the largest momentum is at rest."""
ONE, CHOSEN, ANSWER, LISTED = (
    "one sample",
    "best closure of 8",
    "molexa reconstruct",
    "nearest of all listed structures",
)
WHAT = (
    "shipped molecules of {} to {} atoms at equilibrium, all ions singly charged, exact classical "
    "momenta; MAE in bohr after superposition"
)


def main() -> None:
    """Measure and store."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", default=default_weights())
    parser.add_argument("--smallest", type=int, default=2)
    parser.add_argument("--largest", type=int, default=9)
    parser.add_argument("--search", type=int, default=24)
    parser.add_argument("--limit", type=int, default=10**6)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--out", type=Path, default=RESULTS / "accuracy", help="folder")
    parser.add_argument("--result", default="shipped-molecules")
    given = parser.parse_args()
    network, card = load_network(given.weights)
    tau_fs = tau_of(card)
    known = molecules(
        elements=network.settings.elements, atoms=(max(given.smallest, 2), given.largest)
    )
    work = [(given.weights, one.name, tau_fs, given.search) for one in known][: given.limit]
    rows = []
    with ProcessPoolExecutor(given.processes, mp_context=get_context("spawn")) as pool:
        for row in pool.map(_measured, work, chunksize=1):
            rows.append(row)
            print(json.dumps(row), flush=True)
    conditions = {
        "weights": card.name,
        "molecules": len(rows),
        "what": WHAT.format(given.smallest, given.largest),
        "samples": 8,
        "search": given.search,
        "sampler_steps": network.settings.sampler.steps,
        "tau_fs": tau_fs,
        "seed": 0,
        "device": "cpu",
    }
    result = {
        "conditions": conditions,
        "rows": summary(rows),
        "wrong": sorted(row["name"] for row in rows if row[ANSWER] > OFF),
        "machine": machine(),
        "commit": commit(),
        "versions": versions(),
    }
    path = given.out / f"{given.result}.json"
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


@cache
def _engine(weights: str) -> Engine:
    return Engine(load_network(weights)[0])


def _measured(work: tuple[str, str, float, int]) -> dict[str, Any]:
    weights, name, tau_fs, search = work
    return measure(_engine(weights), molecule(name), tau_fs, search)


def measure(engine: Engine, one: Molecule, tau_fs: float, search: int) -> dict[str, Any]:
    """Errors of one molecule by method, bohr, and how many structures fit its momenta."""
    symbols, truth = one.geometry.symbols, one.geometry.positions
    ions = [parse_ion(f"{symbol}+") for symbol in symbols]
    charges, rise = np.ones(len(symbols)), ErrorFunctionRise(tau_fs)
    momenta = explode_many(truth[None], charges, one.masses, build_up=rise, accuracy="fine")[0]
    drawn = reconstruct_structures(engine, ions, momenta, samples=8, seed=0)
    reached = explode_many(
        drawn.samples, charges, one.masses, build_up=rise, accuracy="draft", strict=False
    )
    closure = np.nan_to_num(((reached - momenta) ** 2).sum(axis=(1, 2)), nan=np.inf)
    listed = solutions(drawn.samples, ions, momenta, tau_fs=tau_fs, search=search)

    def error(positions: np.ndarray) -> float:
        return round(superposed_errors(positions, truth, symbols)[0].mae, 5)

    speeds = np.linalg.norm(momenta, axis=1)
    return {
        "name": one.name,
        "atoms": len(symbols),
        ONE: error(drawn.samples[0]),
        CHOSEN: error(drawn.samples[int(closure.argmin())]),
        ANSWER: error(listed[0].positions),
        LISTED: min(error(found.positions) for found in listed),
        "fit": sum(found.explains for found in listed),
        "at_rest": bool(speeds.min() < REST * speeds.max()),
    }


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Means and medians by group of molecules."""
    groups: dict[str, Callable[[dict[str, Any]], bool]] = {
        "all": lambda _: True,
        "below 8": lambda row: row["atoms"] < 8,
        "8 and more": lambda row: row["atoms"] >= 8,
        "an ion at rest": lambda row: row["at_rest"],
        "no ion at rest": lambda row: not row["at_rest"],
        **{f"{n} atoms": lambda row, n=n: row["atoms"] == n for n in range(10, 15)},
    }
    found = {}
    for name, belongs in groups.items():
        mine = [row for row in rows if belongs(row)]
        if not mine:
            continue
        found[name] = {"molecules": len(mine)}
        for method in (ONE, CHOSEN, ANSWER, LISTED):
            values = np.array([row[method] for row in mine])
            found[name][method] = {
                "mean": round(float(values.mean()), 4),
                "median": round(float(np.median(values)), 4),
                "above_0.05": round(float((values > OFF).mean()), 4),
            }
        found[name]["mean_structures_that_fit"] = round(
            float(np.mean([row["fit"] for row in mine])), 2
        )
    return found


if __name__ == "__main__":
    main()
