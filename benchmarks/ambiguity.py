"""Does the sampler represent ambiguity? Several geometries with one set of momenta.

Random molecules are exploded; further geometries with the same momenta (to 1e-6) are found by
refinement from many starts, without the network. Of each molecule with at least two such modes
many samples are drawn, with several samplers, and counted at the nearest mode. Three questions:

* Are all modes found? Share of the modes that at least one sample falls on.
* In proportion? Molecules are drawn from the distribution of the training, so a sampler of the
  posterior is calibrated: of all modes that get a share near s, a fraction s is the truth.
* The same without counting truths: for molecules of the box distribution whose modes all have
  their atoms too far apart for anything else in the training, the probability of each mode
  follows from Bayes' rule, density / |det dp/dx|.

    OMP_NUM_THREADS=1 nice -n 10 python benchmarks/ambiguity.py
    OMP_NUM_THREADS=1 python benchmarks/ambiguity.py --weights W --samples 1000 --processes 12 \
        --samplers default --device cuda --result ambiguity-told

Weights that are told the experiment are told that charges rise within 45 fs.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import time
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _record import RESULTS, commit, machine, versions

from molexa_core.base.forward_model import TAU_FS
from molexa_core.base.known_explosion import ClassicalExplosion, Kind
from molexa_core.base.matter.elements import BY_NUMBER
from molexa_core.base.matter.ions import Ion, parse_ion
from molexa_core.base.tables import FloatArray
from molexa_core.base.uncertain import Uncertain
from molexa_core.base.units import BOHR_ANGSTROM
from molexa_core.network.config import SamplerSettings
from molexa_core.network.inference.answers import reconstruct_structures
from molexa_core.network.inference.engine import Engine
from molexa_core.network.weights import default_weights, load_network
from molexa_core.physics.molecules.clusters import BOX, CONTACT, Mixture
from molexa_core.pipeline.evaluation.ambiguity import (
    box_probabilities,
    exact_momenta,
    modes_of,
    nearest_modes,
)
from molexa_core.pipeline.evaluation.evaluation_sets import random_set
from molexa_core.pipeline.explosions.told_inputs import told_of
from molexa_core.pipeline.training.stage1 import StageOneData

SEED = 50_260_000
BLOCK = 4
"""Molecules that are searched together."""
BINS = (0.0, 0.02, 0.2, 0.4, 0.6, 0.8, 0.98, 1.01)
LEVELS: dict[str, Any] = {"sigma_max": 10.0, "sigma_min": 0.001, "rho": 5.0}
SAMPLERS: dict[str, SamplerSettings | None] = {
    "5 Euler steps": SamplerSettings(steps=5, **LEVELS),
    "16 Euler steps": SamplerSettings(steps=16, **LEVELS),
    "default": None,
    "8 multistep": SamplerSettings(steps=8, multistep=True, **LEVELS),
    "16 multistep": SamplerSettings(steps=16, multistep=True, **LEVELS),
}
"""By name; None is that of the weights. Multistep: fully of second order."""
FAR = (1.3, 3.0)
"""Atoms further apart than 1.3 sums of covalent radii and 3 bohr are in no other cluster."""


@dataclass(frozen=True)
class Case:
    """A molecule with several modes, the truth first."""

    ions: list[Ion]
    momenta: FloatArray
    modes: FloatArray
    probability: FloatArray | None


def main() -> None:
    """Measure and store."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=24, help="ambiguous molecules of each kind")
    parser.add_argument("--molecules", type=int, default=480, help="drawn for them at most")
    parser.add_argument("--samples", type=int, default=64)
    parser.add_argument("--sizes", type=int, nargs="*", default=[3, 4, 5])
    parser.add_argument("--box-sizes", type=int, nargs="*", default=[3, 4])
    parser.add_argument("--weights", help="the default weights if not given")
    parser.add_argument("--samplers", nargs="+", choices=list(SAMPLERS), default=list(SAMPLERS))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=1e9, help="search for so long at most")
    parser.add_argument("--out", type=Path, default=RESULTS / "accuracy", help="folder")
    parser.add_argument("--result", default="ambiguity")
    given = parser.parse_args()
    end = time.perf_counter() + given.seconds
    network, card = load_network(given.weights or default_weights(), given.device)
    samplers = {name: SAMPLERS[name] or network.settings.sampler for name in given.samplers}
    engine = Engine(network)
    told = None
    if network.settings.told:
        told = ClassicalExplosion(Uncertain(TAU_FS))
    rows: list[dict[str, Any]] = []
    kinds = [("training", n) for n in given.sizes] + [("box", n) for n in given.box_sizes]
    with multiprocessing.get_context("spawn").Pool(given.processes) as pool:
        for place, (kind, atoms) in enumerate(kinds):
            begun = time.perf_counter()
            share = (end - begun) / (len(kinds) - place)
            cases, looked_at = find_cases(
                kind, atoms, given.cases, given.molecules, pool, begun + share
            )
            found = time.perf_counter() - begun
            for name, sampler in samplers.items() if cases else ():
                drawn = [count(engine, case, given.samples, sampler, told) for case in cases]
                row = {"kind": kind, "atoms": atoms, "sampler": name, "looked_at": looked_at}
                rows.append(row | summary(cases, drawn))
            spent = time.perf_counter() - begun
            print(kind, atoms, len(cases), "of", looked_at, f"{found:.0f} + {spent - found:.0f} s")
            for row in rows[-len(samplers) :]:
                shown = {k: v for k, v in row.items() if k not in ("reliability", "pairs")}
                print(shown, flush=True)
    conditions = {
        "weights": card.name,
        "seed": SEED,
        "tau_fs": TAU_FS,
        "samples": given.samples,
        "samplers": {name: asdict(one) for name, one in samplers.items()},
        "device": given.device,
    }
    made = {"machine": machine(), "commit": commit(), "versions": versions()}
    path = given.out / f"{given.result}.json"
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_text(json.dumps({"conditions": conditions, "rows": rows, **made}, indent=1) + "\n")


def find_cases(
    kind: str, atoms: int, wanted: int, most: int, pool: Any, end: float
) -> tuple[list[Case], int]:
    """Molecules of at least two modes, and the number of molecules tested for them."""
    mixture = Mixture(box=1.0, chemical=0.0, symmetric=0.0) if kind == "box" else Mixture()
    data = StageOneData(mixture=mixture, smallest=atoms, largest=atoms, tau_fs=TAU_FS)
    batch = random_set(data, most, seed=SEED + (kind == "box"))[atoms].batch
    if batch.positions is None:
        raise SystemExit("the molecules have no positions")
    positions = batch.positions.double().numpy()
    charges, masses = batch.charges.double().numpy(), batch.masses.double().numpy()
    momenta = exact_momenta(positions, charges, masses, TAU_FS)
    ions = [
        [
            parse_ion(f"{BY_NUMBER[int(number)].symbol}{round(float(charge))}+")
            for number, charge in zip(numbers, row_charges, strict=True)
        ]
        for numbers, row_charges in zip(batch.numbers, charges, strict=True)
    ]
    rows = [n for n in range(most) if kind != "box" or _far(positions[n][None], ions[n])]
    tasks = []
    for start in range(0, len(rows), BLOCK):
        part = rows[start : start + BLOCK]
        tasks.append(
            (
                kind,
                [ions[n] for n in part],
                *(one[part] for one in (positions, charges, masses, momenta)),
                start,
            )
        )
    cases: list[Case] = []
    looked_at = 0
    found = pool.imap(_searched, tasks)
    for task in tasks:
        try:
            some = found.next(end - time.perf_counter())
        except multiprocessing.TimeoutError:
            break
        cases += some
        looked_at += len(task[1])
        if len(cases) >= wanted:
            break
    return cases, looked_at


def _searched(task: tuple[Any, ...]) -> list[Case]:
    """Those of a block of molecules that have several modes."""
    kind, ions, positions, charges, masses, momenta, start = task
    found = modes_of(positions, charges, masses, momenta, tau_fs=TAU_FS, seed=start)
    cases = []
    for row, modes in enumerate(found):
        if len(modes) < 2 or (kind == "box" and not _far(modes, ions[row])):
            continue
        probability = None
        if kind == "box":
            probability = box_probabilities(
                modes,
                charges[row],
                masses[row],
                tau_fs=TAU_FS,
                half_width=BOX,
                contact=CONTACT,
            )
        cases.append(Case(ions[row], momenta[row], modes, probability))
    return cases


def count(
    engine: Engine, case: Case, samples: int, sampler: Any, told: Kind | None = None
) -> tuple[FloatArray, float, float]:
    """Share of the samples nearest to each mode, their median distance from it (bohr), and the
    share of those between modes.
    """
    stated = None
    if told is not None:
        numbers = torch.tensor([[ion.element.number for ion in case.ions]])
        stated = told_of([told], numbers, data="still", errors=torch.zeros(numbers.shape))
    drawn = reconstruct_structures(
        engine, case.ions, case.momenta, samples=samples, seed=0, sampler=sampler, told=stated
    )
    centred = drawn.samples - drawn.samples.mean(axis=1, keepdims=True)
    place, distance, between = nearest_modes(centred, case.modes)
    shares = np.array([(place == number).mean() for number in range(len(case.modes))])
    return shares, float(np.median(distance)), float(between.mean())


def summary(cases: list[Case], drawn: list[tuple[FloatArray, float, float]]) -> dict[str, Any]:
    """The numbers of one kind of molecules and one sampler."""
    shares = np.concatenate([one for one, *_ in drawn])
    true = np.concatenate([np.arange(len(case.modes)) == 0 for case in cases])
    apart = [
        float(np.abs(case.modes[1:] - case.modes[0]).mean(axis=(1, 2)).min()) for case in cases
    ]
    row: dict[str, Any] = {
        "cases": len(cases),
        "modes": float(np.mean([len(case.modes) for case in cases])),
        "apart_bohr": float(np.median(apart)),
        "truth_drawn": float(np.mean([one[0] > 0 for one, *_ in drawn])),
        "another_drawn": float(np.mean([(one[1:] > 0).any() for one, *_ in drawn])),
        "truth_and_another_drawn": float(
            np.mean([one[0] > 0 and (one[1:] > 0).any() for one, *_ in drawn])
        ),
        "share_at_truth": float(np.mean([one[0] for one, *_ in drawn])),
        "share_between": float(np.mean([between for *_, between in drawn])),
        "distance_from_mode_bohr": float(np.median([distance for _, distance, _ in drawn])),
        "reliability": reliability(shares, true),
        "calibration_error": calibration_error(shares, true),
    }
    known = [(case.probability, one) for case, (one, *_) in zip(cases, drawn, strict=True)]
    pairs = [
        (float(expected[0]), float(one[0]))
        for expected, one in known
        if expected is not None and expected.max() > 0
    ]
    if pairs:
        expected, seen = np.array(pairs).T
        row["pairs"] = [[round(a, 4), round(b, 4)] for a, b in pairs]
        row["bayes_difference"] = float(np.abs(expected - seen).mean())
        row["bayes_correlation"] = float(np.corrcoef(expected, seen)[0, 1])
    return row


def reliability(shares: FloatArray, true: np.ndarray) -> list[dict[str, float]]:
    """For groups of modes by share: mean share and how often they are the truth."""
    groups = []
    for low, high in pairwise(BINS):
        inside = (shares >= low) & (shares < high)
        if inside.any():
            groups.append(
                {
                    "modes": int(inside.sum()),
                    "mean_share": float(shares[inside].mean()),
                    "is_the_truth": float(true[inside].mean()),
                }
            )
    return groups


def calibration_error(shares: FloatArray, true: np.ndarray) -> float:
    """Mean |share - frequency of being the truth| over the groups of `reliability`."""
    groups = reliability(shares, true)
    weights = [group["modes"] for group in groups]
    gaps = [abs(group["mean_share"] - group["is_the_truth"]) for group in groups]
    return float(np.average(gaps, weights=weights))


def _far(modes: FloatArray, ions: list[Ion]) -> bool:
    """Whether all atoms of all modes are too far apart for a chemical cluster."""
    one, two = np.triu_indices(len(ions), k=1)
    radii = np.array([ion.element.covalent_radius_angstrom for ion in ions]) / BOHR_ANGSTROM
    limit = FAR[0] * (radii[one] + radii[two]) + FAR[1]
    distance = np.linalg.norm(modes[:, one] - modes[:, two], axis=2)
    return bool((distance > limit).all())


if __name__ == "__main__":
    main()
