"""Are the claims right for molecules and pulses that no default and no training knows?

    python benchmarks/unknown_to_training.py [--workers 32] [--out unknown_to_training.jsonl]

Isomers, stretched, bent and rearranged molecules at rest, written down here as internal
coordinates, explode in pulses of the Monte-Carlo model with its default physics. Mean momenta of
the most frequent combination of charges go through `reconstruct` as a user would call it: told the
pulse within 10 % (`told`), told a duration that is 30 % short, as if within 10 % (`short`), told
nothing (`nothing`), told rightly but with the charges of two different heavy atoms exchanged
(`exchanged`), or with one ion called another element (`mistaken`). Each answer is a line of OUT:
the errors of all distances over their claims, p-value, shares and warnings. Set OMP_NUM_THREADS=1.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

import molexa as mx
from molexa_core.base.errors import MolexaError
from molexa_core.base.forward_model import Pulse
from molexa_core.base.known_explosion import XrayExplosion
from molexa_core.base.matter.ions import parse_ion
from molexa_core.base.settings import Explosion
from molexa_core.base.tables import FloatArray
from molexa_core.base.uncertain import Uncertain
from molexa_core.base.units import BOHR_ANGSTROM
from molexa_core.geometry.measures import pair_distances
from molexa_core.physics.mcmd.trajectories import run_trajectories

Row = tuple[Any, ...]
MOLECULES: Final[dict[str, list[Row]]] = {
    "so2": [("S",), ("O", 0, 1.431), ("O", 0, 1.431, 1, 119.3)],
    "soo": [("S",), ("O", 0, 1.65), ("O", 1, 1.35, 0, 118.0)],
    "ocs bent": [("O",), ("C", 0, 1.17), ("S", 1, 1.60, 0, 140.0)],
    "ocs stretched": [("O",), ("C", 0, 1.17), ("S", 1, 2.5, 0, 160.0)],
    "cos": [("C",), ("O", 0, 1.25), ("S", 1, 1.70, 0, 120.0)],
    "n2o": [("N",), ("N", 0, 1.128), ("O", 1, 1.184, 0, 179.9)],
    "cs2 bent": [("S",), ("C", 0, 1.6), ("S", 1, 1.6, 0, 130.0)],
    "hocl": [("H",), ("O", 0, 0.964), ("Cl", 1, 1.69, 0, 102.5)],
    "water stretched": [("O",), ("H", 0, 0.97), ("H", 0, 1.9, 1, 110.0)],
    "hnco": [
        ("H",), ("N", 0, 1.003), ("C", 1, 1.214, 0, 123.9), ("O", 2, 1.166, 1, 172.6, 0, 180.0),
    ],
    "acetylene": [
        ("C",), ("C", 0, 1.203), ("H", 0, 1.063, 1, 179.9), ("H", 1, 1.063, 0, 179.9, 2, 180.0),
    ],
    "vinylidene": [
        ("C",), ("C", 0, 1.30), ("H", 0, 1.08, 1, 120.0), ("H", 0, 1.08, 1, 120.0, 2, 180.0),
    ],
    "h2o2": [
        ("H",), ("O", 0, 0.965), ("O", 1, 1.452, 0, 100.0), ("H", 2, 0.965, 1, 100.0, 0, 112.0),
    ],
    "nf3": [
        ("N",), ("F", 0, 1.365), ("F", 0, 1.365, 1, 102.4), ("F", 0, 1.365, 1, 102.4, 2, 104.0),
    ],
    "clno2": [
        ("N",), ("Cl", 0, 1.84), ("O", 0, 1.2, 1, 114.8), ("O", 0, 1.2, 1, 114.8, 2, 180.0),
    ],
    "hydroxymethylene": [
        ("C",), ("O", 0, 1.31), ("H", 0, 1.11, 1, 102.0), ("H", 1, 0.97, 0, 107.0, 2, 180.0),
    ],
    "ch3f": [
        ("C",), ("F", 0, 1.383), ("H", 0, 1.087, 1, 108.8), ("H", 0, 1.087, 1, 108.8, 2, 120.0),
        ("H", 0, 1.087, 1, 108.8, 2, -120.0),
    ],
    "chclf2": [
        ("C",), ("Cl", 0, 1.757), ("F", 0, 1.345, 1, 109.6), ("F", 0, 1.345, 1, 109.6, 2, 121.0),
        ("H", 0, 1.09, 1, 107.5, 2, -119.5),
    ],
    "glyoxal": [
        ("C",), ("C", 0, 1.526), ("O", 0, 1.212, 1, 121.2), ("O", 1, 1.212, 0, 121.2, 2, 180.0),
        ("H", 0, 1.109, 1, 115.5, 3, 0.0), ("H", 1, 1.109, 0, 115.5, 2, 0.0),
    ],
    "sihf3": [
        ("Si",), ("F", 0, 1.562), ("F", 0, 1.562, 1, 108.3), ("F", 0, 1.562, 1, 108.3, 2, 117.0),
        ("H", 0, 1.447, 1, 110.6, 2, -121.0),
    ],
}  # fmt: skip
"""Internal coordinates: element; bonded to, Å; angle with, degrees; dihedral with, degrees."""
PULSES: Final = {
    "900 eV 8 fs": Pulse(photon_ev=900.0, energy_mj=0.1, duration_fs=8.0, focus_um=2.0),
    "3 keV 35 fs": Pulse(photon_ev=3000.0, energy_mj=1.0, duration_fs=35.0, focus_um=1.5),
    "1.3 keV 50 fs": Pulse(photon_ev=1300.0, energy_mj=0.2, duration_fs=50.0, focus_um=1.5),
    "2 keV 20 fs": Pulse(photon_ev=2000.0, energy_mj=0.5, duration_fs=20.0, focus_um=1.5),
    "1.6 keV 10 fs": Pulse(photon_ev=1600.0, energy_mj=0.4, duration_fs=10.0, focus_um=1.2),
    "5 keV 3 fs": Pulse(photon_ev=5000.0, energy_mj=2.0, duration_fs=3.0, focus_um=0.5),
}
SHOWN: Final = ("molecule", "pulse", "way", "ratio", "largest", "p_value", "seconds")
WAYS: Final = ("told", "short", "nothing", "exchanged", "mistaken")
WITHIN: Final = 0.1
SHORT: Final = 0.7
FEWEST: Final = 30
"""Explosions that a channel must have."""
MISTAKEN: Final = {"O": "N", "N": "O", "C": "N", "F": "O", "S": "Cl", "Cl": "S", "Si": "P"}


def placed(rows: list[Row]) -> tuple[tuple[str, ...], FloatArray]:
    """Elements and (N, 3) positions in bohr."""
    at: list[FloatArray] = []
    for row in rows:
        if len(row) == 1:
            at.append(np.zeros(3))
            continue
        to, length = at[row[1]], float(row[2])
        if len(row) == 3:
            at.append(to + np.array([0.0, 0.0, length]))
            continue
        axis = to - at[row[3]]
        axis = axis / np.linalg.norm(axis)
        before = np.array([1.0, 0.0, 0.0]) if len(row) == 5 else at[row[3]] - at[row[5]]
        normal = np.cross(before, axis)
        normal = normal / np.linalg.norm(normal)
        angle, turn = np.radians(row[4]), np.radians(row[6] if len(row) > 5 else 0.0)
        across = np.cos(turn) * np.cross(normal, axis) + np.sin(turn) * normal
        at.append(to + length * (-np.cos(angle) * axis + np.sin(angle) * across))
    x = np.stack(at) / BOHR_ANGSTROM
    return tuple(row[0] for row in rows), x - x.mean(axis=0)


def measured(name: str, pulse: Pulse, count: int) -> pd.DataFrame | None:
    """Mean momenta of the most frequent combination of charges; None if it is too rare."""
    symbols, x = placed(MOLECULES[name])
    atoms = len(symbols)
    found = run_trajectories(x, symbols, pulse, trajectories=count, seed=1)
    charges = found.charges.reshape(-1, atoms)
    kept = ~found.lost.reshape(-1) & (charges > 0).all(axis=1)
    momenta = found.momenta.reshape(-1, atoms, 3)[kept].astype(np.float64)
    every, counts = np.unique(charges[kept], axis=0, return_counts=True)
    if not len(counts) or counts.max() < FEWEST:
        return None
    chosen = every[counts.argmax()]
    seen = momenta[(charges[kept] == chosen).all(axis=1)]
    seen = seen - seen.mean(axis=1, keepdims=True)
    table = pd.DataFrame({"ion": [f"{s}{q}+" for s, q in zip(symbols, chosen, strict=True)]})
    table[["px", "py", "pz"]] = seen.mean(axis=0)
    error = seen.std(axis=0) / np.sqrt(len(seen))
    table[["px_err", "py_err", "pz_err"]] = np.maximum(error, 1e-3)
    table["count"] = len(seen)
    return table


def changed(table: pd.DataFrame, way: str) -> pd.DataFrame | None:
    """The table as the user of this way believes it; None where nothing can be exchanged."""
    ions = [parse_ion(ion) for ion in table["ion"]]
    names, charges = [ion.element.symbol for ion in ions], [ion.charge for ion in ions]
    if way == "exchanged":
        heavy = [i for i, name in enumerate(names) if name != "H"]
        pairs = [(i, j) for i in heavy for j in heavy if i < j and charges[i] != charges[j]]
        pairs = [(i, j) for i, j in pairs if names[i] != names[j]]
        if not pairs:
            return None
        i, j = pairs[0]
        charges[i], charges[j] = charges[j], charges[i]
    if way == "mistaken":
        at = next((i for i, name in enumerate(names) if name in MISTAKEN), None)
        if at is None:
            return None
        names[at] = MISTAKEN[names[at]]
    return table.assign(ion=[f"{a}{q}+" for a, q in zip(names, charges, strict=True)])


def told(pulse: Pulse, way: str) -> Explosion:
    """What the user of this way says about the pulse."""
    if way == "nothing":
        return Explosion.of(None)

    def roughly(value: float) -> Uncertain:
        return Uncertain(value, WITHIN * value)

    return Explosion.of(
        XrayExplosion(
            photon_ev=Uncertain(pulse.photon_ev),
            energy_mj=roughly(pulse.energy_mj),
            duration_fs=roughly(pulse.duration_fs * (SHORT if way == "short" else 1.0)),
            focus_um=roughly(pulse.focus_um),
            transmission=Uncertain(pulse.transmission),
        )
    )


def answered(
    name: str, pulse_name: str, way: str, count: int, prior: str | None = None
) -> dict[str, Any]:
    """One reconstruction."""
    pulse = PULSES[pulse_name]
    row: dict[str, Any] = {"molecule": name, "pulse": pulse_name, "way": way}
    table = measured(name, pulse, count)
    believed = None if table is None else changed(table, way)
    if believed is None:
        return row | {"left_out": "too few explosions, or nothing to exchange"}
    row |= {"ions": list(believed["ion"]), "count": int(believed["count"][0])}
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "channel.csv"
        believed.to_csv(path, index=False)
        try:
            found = mx.reconstruct(path, explosion=told(pulse, way), prior=prior)
        except MolexaError as error:
            return row | {"refused": str(error)[:300]}
    if not isinstance(found, mx.Reconstruction):
        raise TypeError("mean momenta give one structure")
    truth = pair_distances(placed(MOLECULES[name])[1][None])[0]
    middle = np.array([one["median"] for one in found.distances])
    half = np.array([one["half_width"] or np.nan for one in found.distances])
    nearest = [
        float(np.abs(pair_distances(np.array(one["positions_bohr"])[None])[0] - truth).max())
        for one in found.alternatives
    ]
    return row | {
        "seconds": round(time.monotonic() - began, 1),
        "true": truth.round(3).tolist(),
        "median": middle.round(3).tolist(),
        "half_width": half.round(3).tolist(),
        "ratio": float(np.sqrt(np.mean((middle - truth) ** 2) / np.mean(half**2))),
        "largest": float(np.abs((middle - truth) / half).max()),
        "p_value": found.explosion.get("p_value"),
        "share": found.closure.get("evidence_share"),
        "nearest_alternative": min(nearest, default=None),
        "reason": found.uncertainty_reason,
        "warnings": list(found.warnings),
    }


def main() -> None:
    """Print and write all answers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--molecules", nargs="+", default=list(MOLECULES))
    parser.add_argument("--pulses", nargs="+", default=list(PULSES))
    parser.add_argument("--ways", nargs="+", default=list(WAYS))
    parser.add_argument("--trajectories", type=int, default=4000)
    parser.add_argument(
        "--prior", help="which atoms are expected to be bonded, as for `molexa reconstruct`"
    )
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seconds", type=float, default=1e9, help="no answers after this time")
    parser.add_argument("--out", type=Path, default=Path("unknown_to_training.jsonl"))
    given = parser.parse_args()
    tasks = [
        (name, pulse, way, given.trajectories, given.prior)
        for way in given.ways for pulse in given.pulses for name in given.molecules
    ]  # fmt: skip
    began = time.monotonic()
    with (
        given.out.open("a", encoding="utf-8") as stream,
        ProcessPoolExecutor(given.workers, get_context("fork")) as pool,
    ):
        waiting = {pool.submit(answered, *task): task for task in tasks}
        try:
            for done in as_completed(waiting, timeout=given.seconds):
                row = done.result()
                stream.write(json.dumps(row, default=float) + "\n")
                stream.flush()
                print({key: row.get(key) for key in SHOWN}, flush=True)
        except TimeoutError:
            print(f"stopped after {time.monotonic() - began:.0f} s")
            for process in list(pool._processes.values()):  # noqa: SLF001
                process.kill()


if __name__ == "__main__":
    main()
