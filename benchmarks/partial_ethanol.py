"""Are the momenta of all ions found where only some are detected, and the structure from them?

Virtual runs with residual gas and dark counts, 40 % detection efficiency, 0.3 molecules per shot.
Ethanol as O+ C+ C+ H+ with one proton detected is the channel of the paper; other molecules and
other channels show where it works and where it is refused. The truth is the mean of the true
momenta of all exploded molecules, superposed on their mean; beside it stands the mean in frames
fixed event by event (the momentum of the reference along x). Geometries are compared with the
equilibrium geometry that exploded: once with the explosion told as it was simulated, as the
commands do with a virtual run, and with `--untold` once more with nothing said about it.

    python benchmarks/partial_ethanol.py                           # ethanol, 3 runs
    python benchmarks/partial_ethanol.py --runs 20 --workers 16 --reconstruct
    python benchmarks/partial_ethanol.py --case all --runs 3 --workers 16

One run takes half a minute on one core, with `--reconstruct` one minute, with `--untold` several.
"""

from __future__ import annotations

import argparse
import json
import time
from concurrent.futures import ProcessPoolExecutor
from itertools import permutations, product
from multiprocessing import get_context
from typing import Any

import numpy as np
import pandas as pd
from _record import RESULTS, commit, machine, versions
from scipy.optimize import linear_sum_assignment
from scipy.spatial.transform import Rotation

from molexa_core.base.errors import MolexaError
from molexa_core.base.fields import MOMENTUM, MOMENTUM_ERROR, PARTIAL
from molexa_core.base.settings import Channel, Explosion, parse_settings
from molexa_core.base.tables import FloatArray
from molexa_core.base.truth import VirtualTruth
from molexa_core.physics.molecules.library import molecule
from molexa_core.pipeline.chain.align import align
from molexa_core.pipeline.chain.centroid import centroid
from molexa_core.pipeline.chain.reduce import reduce
from molexa_core.pipeline.runs.mock import default_setup, mock, telling, with_virtual

Case = tuple[str, str, str, str | None]
CASES: dict[str, Case] = {
    "ethanol": ("ethanol", "O+ C+*2 H+*6:1", "O+", "C+"),
    "ethanol, two protons": ("ethanol", "O+ C+*2 H+*6:2", "O+", "C+"),
    "ethanol, three protons": ("ethanol", "O+ C+*2 H+*6:3", "O+", "C+"),
    "ethanol, no C+ of one": ("ethanol", "O+ C+*2:1 H+*6:1", "O+", "C+"),
    "ethanol, O+ never": ("ethanol", "O+:0 C+*2 H+*6:1", "C+", "C+"),
    "methanol": ("methanol", "O+ C+ H+*4:1", "O+", "C+"),
    "methylamine": ("methylamine", "N+ C+ H+*5:1", "N+", "C+"),
    "formaldehyde": ("formaldehyde", "O+ C+ H+*2:1", "O+", "H+"),
    "water": ("water", "O+ H+*2:1", "O+", "H+"),
    "CH2Cl2, one Cl+": ("ch2cl2", "C+ H+*2 Cl+*2:1", "C+", "H+"),
    "CH2Cl2, one Cl+ one H+": ("ch2cl2", "C+ H+*2:1 Cl+*2:1", "C+", "Cl+"),
    "fluoroethylene": ("fluoroethylene", "F+ C+*2 H+*3:1", "F+", "C+"),
    "acetonitrile": ("acetonitrile", "N+ C+*2 H+*3:1", "N+", "C+"),
    "formic acid": ("formic_acid", "O+*2 C+ H+*2:1", "O+", "C+"),
    "1,1-difluoroethylene": ("1,1-difluoroethylene", "F+*2 C+*2 H+*2:1", "F+", "F+"),
    "dimethyl ether": ("dimethyl_ether", "O+ C+*2 H+*6:1", "O+", "C+"),
    "ethylene": ("ethylene", "C+*2 H+*4:1", "C+", "H+"),
    "silane": ("silane", "Si+ H+*4:2", "H+", "H+"),
    "CHF3, two F+": ("chf3", "C+ H+ F+*3:2", "F+", "H+"),
    "hydrogen peroxide": ("hydrogen_peroxide", "O+*2 H+*2:1", "O+", "O+"),
}
"""Molecule, ions (`*count:detected`), reference and second ion of the frame."""


def channel_of(name: str) -> Channel:
    """The channel of a case."""
    shipped, text, reference, second = CASES[name]
    ions = []
    for word in text.split():
        kind, _, detected = word.partition(":")
        ion, _, count = kind.partition("*")
        entry: dict[str, Any] = {"ion": ion, "count": int(count or 1)}
        ions.append(entry | ({"detected": int(detected)} if detected else {}))
    alone = all(entry["count"] == 1 for entry in ions if entry["ion"] == reference)
    values = {
        "name": name,
        "molecule": shipped,
        "ions": ions,
        "frame": {
            "reference": reference,
            "second": second,
            "like": "distinct" if alone else "equivalent",
        },
    }
    return parse_settings(Channel, values, where=name)


def superposed_mean(truth: VirtualTruth, mass: FloatArray) -> FloatArray:
    """Mean of the true momenta, every molecule turned onto the mean; no recoil, no jet."""
    momenta = truth.momentum - (mass / mass.sum())[:, None] * truth.momentum.sum(
        axis=1, keepdims=True
    )
    mean: FloatArray = momenta[0]
    root = np.sqrt(mass)[:, None]
    for _ in range(8):
        u, _, vt = np.linalg.svd(np.einsum("nai,aj->nij", momenta / root, mean / root))
        u[:, :, 2] *= np.sign(np.linalg.det(u @ vt))[:, None]
        mean = np.einsum("nai,nij->naj", momenta, u @ vt).mean(axis=0)
    return mean


def matched(found: FloatArray, true: FloatArray, names: list[str]) -> FloatArray:
    """The true momenta turned and, like ions, ordered as those found."""
    best, least = true, np.inf
    pairs = list(permutations(range(len(names)), 2))
    kinds = np.array(names)
    for mirror in (1.0, -1.0):
        image = true * np.array([1.0, 1.0, mirror])
        heavy = sorted(range(len(names)), key=lambda i: -float(np.linalg.norm(found[i])))
        i = heavy[0]
        cross = np.linalg.norm(np.cross(found[i], found), axis=1)
        j = int(np.argmax(cross))
        for a, b in pairs:
            if kinds[a] != kinds[i] or kinds[b] != kinds[j]:
                continue
            turn, _ = Rotation.align_vectors(found[[i, j]], image[[a, b]])
            for _ in range(2):
                moved = turn.apply(image)
                away = np.linalg.norm(found[:, None] - moved[None], axis=2)
                away[kinds[:, None] != kinds[None]] = 1e6
                order = linear_sum_assignment(away)[1]
                turn, rest = Rotation.align_vectors(found, image[order])
            if rest < least:
                best, least = turn.apply(image[order]), float(rest)
    return best


def one_run(work: tuple[str, int, int, bool, bool]) -> dict[str, Any]:
    """One virtual run from hits to mean momenta, and to a structure if asked."""
    name, seed, wanted, reconstructed, untold = work
    channel = channel_of(name)
    setup = with_virtual(default_setup(), {"molecules_per_shot": 0.3})
    setup = setup.model_copy(update={"detection_efficiency": 0.4})
    shots = 20_000
    answer: dict[str, Any] = {"case": name, "seed": seed}
    while True:
        run = mock(channel, shots, setup=setup, seed=seed)
        table = reduce([run.hits], channel, setup).table
        true = true_coincidences(run.truth, channel)
        if true >= wanted or shots > 2_000_000:
            break
        shots = int(shots * min(8.0, 1.1 * wanted / max(true, 1))) + 1
    answer |= {"shots": shots, "rows": len(table), "true_rows": true}
    begun = time.perf_counter()
    try:
        rows = centroid(align(table, channel=channel).table)
    except MolexaError as error:
        return answer | {"refused": str(error), "seconds": time.perf_counter() - begun}
    found = rows[list(MOMENTUM)].to_numpy()
    errors = rows[list(MOMENTUM_ERROR)].to_numpy()
    names = rows["ion"].tolist()
    mass = np.array([ion.mass for ion in channel.all_ions])
    mean = matched(found, superposed_mean(run.truth, mass), names)
    size = np.linalg.norm(mean, axis=1)
    away = np.linalg.norm(found - mean, axis=1)
    rest = size < 0.1 * size.max()
    share = np.where(rest, away / size.max(), away / size)
    told = rows.attrs[PARTIAL]
    held = errors > 1e-3 * size.mean()  # the rest is fixed by the frame or by symmetry
    answer |= {
        "seconds": time.perf_counter() - begun,
        "worst_percent": 100.0 * float(share.max()),
        "worst_proton_percent": 100.0 * float(share[np.array(names) == "H+"].max(initial=0.0)),
        "mean_percent": 100.0 * float(share.mean()),
        "sum_percent": None if told["sum_share"] is None else 100.0 * told["sum_share"],
        "kept": rows.attrs["energy"]["ratio"],
        "pull": float(np.sqrt(np.mean(np.square((found - mean)[held] / errors[held])))),
        "warnings": rows.attrs["warnings"],
        "symmetric": told["symmetric"],
        "starts": told["starts"],
    }
    if reconstructed:
        explosion = telling(setup).explosion
        answer["mae_bohr"] = structure_error(rows, channel, explosion)
        answer["mae_of_true_means_bohr"] = structure_error(
            with_momenta(rows, mean), channel, explosion
        )
        if untold:
            answer["mae_untold_bohr"] = structure_error(rows, channel, None)
    return answer


def true_coincidences(truth: VirtualTruth, channel: Channel) -> int:
    """Number of choices of detected ions of one molecule that the channel asks for."""
    names = np.array([str(ion) for ion in channel.all_ions])
    total = np.ones(len(truth.detected))
    for entry in channel.ions:
        seen = truth.detected[:, names == entry.ion].sum(axis=1)
        factor = np.ones(len(seen))
        for k in range(entry.wanted):
            factor *= np.maximum(seen - k, 0) / (k + 1)
        total *= factor
    return int(total.sum())


def with_momenta(rows: pd.DataFrame, momenta: FloatArray) -> pd.DataFrame:
    """The same rows with other momenta."""
    other = rows.copy()
    other[list(MOMENTUM)] = momenta
    return other


def structure_error(rows: pd.DataFrame, channel: Channel, told: Explosion | None) -> float:
    """MAE of the structure from the means, bohr."""
    from molexa_core.pipeline.chain.score import score  # noqa: PLC0415
    from molexa_core.pipeline.reconstruction.reconstruct import reconstruct  # noqa: PLC0415

    record = reconstruct(rows, explosion=told)
    errors = score(record.geometry(), molecule(str(channel.molecule)).geometry, allow_mirror=True)
    return float(errors.to_dict()["mae"])


def main() -> None:
    """Measure and store."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--case", default="ethanol", help=f"all, or one of: {', '.join(CASES)}")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--coincidences", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--reconstruct", action="store_true")
    parser.add_argument("--untold", action="store_true", help="once more, nothing told")
    parser.add_argument("--result", help="store the rows under this name in benchmarks/results")
    given = parser.parse_args()
    names = list(CASES) if given.case == "all" else [given.case]
    seeds = range(given.seed, given.seed + given.runs)
    asked = given.coincidences, given.reconstruct or given.untold, given.untold
    work = [(n, s, *asked) for n, s in product(names, seeds)]
    rows = []
    with ProcessPoolExecutor(given.workers, mp_context=get_context("spawn")) as pool:
        for row in pool.map(one_run, work):
            rows.append(row)
            print(json.dumps(row), flush=True)
    for name in names:
        print(summary(name, [row for row in rows if row["case"] == name]))
    if given.result:
        result = {"rows": rows, "machine": machine(), "versions": versions(), "commit": commit()}
        path = RESULTS / f"{given.result}.json"
        path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def summary(name: str, rows: list[dict[str, Any]]) -> str:
    """One line per case."""
    good = [row for row in rows if "refused" not in row]
    if not good:
        return f"{name}: refused, {rows[0]['refused'][:150]}"
    worst = max(row["worst_percent"] for row in good)
    sums = [row["sum_percent"] for row in good if row["sum_percent"] is not None]
    text = (
        f"{name}: {len(good)} of {len(rows)} solved, worst momentum {worst:.2f} %, "
        f"sum {max(sums, default=float('nan')):.2f} %, rms pull "
        f"{np.sqrt(np.mean([row['pull'] ** 2 for row in good])):.2f}, "
        f"warned {sum(bool(row['warnings']) for row in good)}"
    )
    for key, what in (
        ("mae_bohr", "MAE"),
        ("mae_of_true_means_bohr", "of the true means"),
        ("mae_untold_bohr", "with nothing told"),
    ):
        if structures := [row[key] for row in good if key in row]:
            text += f", {what} {max(structures):.3f} bohr at most"
    return text


if __name__ == "__main__":
    main()
