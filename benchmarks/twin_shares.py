"""Do draws of the posterior give twins their shares by Bayes' rule?

    OMP_NUM_THREADS=1 python benchmarks/twin_shares.py --cases 100 --processes 8 --out twins.json

Random molecules of the prior of the inversion explode by the classical model. All geometries with
the same momenta (twins) are searched without the inversion (`pipeline.evaluation.ambiguity`), and
the probability of each follows from Bayes' rule: density of the prior over |det dp/dx|. The
inversion gets the momenta with an error of 0.1 %, and draws about 1000 times; a draw counts, with
its weight, for the nearest twin. With `--weights`, weights that are told the experiment: their
samples are starts of the search, and the samples alone, which know another prior, are counted
likewise. Printed: mean deviation of the shares from Bayes' rule over the twins of each molecule,
averaged over molecules, and how many are off by more than 0.06.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import time
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from _record import commit, machine, versions

from molexa_core.base.errors import ComputationError
from molexa_core.base.forward_model import TAU_FS
from molexa_core.base.known_explosion import ClassicalExplosion
from molexa_core.base.matter.elements import ELEMENTS
from molexa_core.base.matter.ions import parse_ion
from molexa_core.base.settings import Explosion
from molexa_core.base.tables import FloatArray
from molexa_core.base.uncertain import Uncertain
from molexa_core.network.inference.engine import Engine
from molexa_core.network.weights import load_network
from molexa_core.physics.family.family import Fragments
from molexa_core.pipeline.evaluation.ambiguity import (
    determinant,
    exact_momenta,
    modes_of,
    nearest_modes,
)
from molexa_core.pipeline.explosions.knowledge import knowledge_of
from molexa_core.pipeline.inversion.geometry_prior import GeometryPrior
from molexa_core.pipeline.inversion.posterior import infer
from molexa_core.pipeline.inversion.residuals import MeasuredChannel
from molexa_core.pipeline.reconstruction.told_samples import ToldEntry, sample

SEED: Final = 75_260_000
ERROR: Final = 1e-3
"""Error of a momentum component, share of their rms."""
SEARCHES: Final = 36
"""Starts of the search for twins."""
DRAWS: Final = 1000
SAMPLES: Final = 1024
STARTS: Final = 16
"""Samples of weights that are counted, and those that are starts."""
BAR: Final = 0.06
EXPLOSION: Final = ClassicalExplosion(Uncertain(TAU_FS))


@lru_cache(maxsize=1)
def engine(weights: str) -> Engine:
    """The weights in this process."""
    torch.set_num_threads(1)
    return Engine(load_network(weights)[0])


def compared(task: tuple[int, int, str | None]) -> dict[str, Any] | None:
    """Shares of one molecule; None if it has no twins or the inversion gives no draws."""
    number, atoms, weights = task
    random = np.random.default_rng([SEED, number])
    symbols = tuple(str(one) for one in random.choice(["C", "N", "O", "F", "S"], atoms))
    prior = GeometryPrior.of(symbols)
    x = prior.draw(random, 1)[0]
    charges = 1.0 + (random.random(atoms) < 0.4)
    masses = np.array([ELEMENTS[one].isotope_mass for one in symbols]) - charges
    momenta = exact_momenta(x[None], charges[None], masses[None], TAU_FS)[0]
    known = (charges[None], masses[None], momenta[None])
    (modes,) = modes_of(x[None], *known, tau_fs=TAU_FS, starts=SEARCHES, seed=number)
    if len(modes) < 2:
        return None
    density = prior.log_density(modes)
    slope = np.array([determinant(one, charges, masses, tau_fs=TAU_FS) for one in modes])
    expected = np.exp(density - density.max()) / slope
    expected /= expected.sum()
    sigma = ERROR * float(np.sqrt((momenta**2).mean()))
    channel = MeasuredChannel(
        Fragments(symbols, charges, masses), momenta, sigma**2 * np.eye(momenta.size)
    )
    row: dict[str, Any] = {"case": number, "atoms": atoms, "modes": len(modes)}
    row["bayes"] = expected.round(4).tolist()
    samples = None
    if weights is not None:
        ions = [parse_ion(f"{one}{int(q)}+") for one, q in zip(symbols, charges, strict=True)]
        entry = ToldEntry(tuple(ions), momenta, "still", None, np.full(atoms, sigma))
        samples = sample(engine(weights), [entry], EXPLOSION, SAMPLES, number)[0]
        row["samples"] = shares(samples, np.full(len(samples), 1.0 / len(samples)), modes)
        samples = samples[:STARTS]
    try:
        found = infer(
            [channel],
            knowledge_of(Explosion.of(EXPLOSION)),
            geometry=prior,
            starts=samples,
            draws=DRAWS,
            seed=number,
        )
    except ComputationError:
        return row
    if found.effective_samples > 0.0:
        row["posterior"] = shares(found.positions, found.weights, modes)
        row["effective_samples"] = found.effective_samples
    return row


def shares(drawn: FloatArray, weights: FloatArray, modes: FloatArray) -> list[float]:
    """Share of the draws that are nearest to each twin."""
    centred = drawn - drawn.mean(axis=1, keepdims=True)
    near, _, _ = nearest_modes(centred, modes)
    share = np.bincount(near, weights=weights, minlength=len(modes))
    return [float(one) for one in share.round(4)]


def summary(rows: list[dict[str, Any]], of: str) -> dict[str, Any]:
    """How far the shares of draws or samples are off."""
    off = [np.abs(np.array(row[of]) - row["bayes"]).mean() for row in rows if of in row]
    if not off:
        return {"molecules": 0}
    random = np.random.default_rng(1)
    means = [np.mean(random.choice(off, len(off))) for _ in range(1000)]
    return {
        "molecules": len(off),
        "off": float(np.mean(off)),
        "interval": np.quantile(means, [0.025, 0.975]).tolist(),
        "median": float(np.median(off)),
        "beyond_bar": float(np.mean(np.array(off) > BAR)),
    }


def main() -> None:
    """Measure, print and store."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=100, help="molecules drawn, with twins or not")
    parser.add_argument("--sizes", type=int, nargs="+", default=[3, 4])
    parser.add_argument("--weights", help="weights that are told the experiment")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=1e9, help="at most; what is there counts")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    end = time.perf_counter() + given.seconds
    tasks = [(n, given.sizes[n % len(given.sizes)], given.weights) for n in range(given.cases)]
    rows, seen = [], 0
    with multiprocessing.get_context("spawn").Pool(given.processes) as pool:
        found = pool.imap(compared, tasks)
        for _ in tasks:
            try:
                row = found.next(end - time.perf_counter())
            except multiprocessing.TimeoutError:
                break
            seen += 1
            if row is not None:
                rows.append(row)
    result: dict[str, Any] = {"drawn": seen, "with_twins": len(rows), "shares": {}}
    for atoms in given.sizes:
        some = [row for row in rows if row["atoms"] == atoms]
        result["shares"][str(atoms)] = {of: summary(some, of) for of in ("posterior", "samples")}
        print(atoms, "atoms:", result["shares"][str(atoms)], flush=True)
    if given.out is not None:
        made = {"machine": machine(), "commit": commit(), "versions": versions()}
        result |= {"error": ERROR, "draws": DRAWS, "samples": SAMPLES, "rows": rows, **made}
        given.out.write_text(json.dumps(result) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
