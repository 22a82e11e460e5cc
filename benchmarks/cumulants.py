"""Are cumulants and their stated errors right? Against draws with known correlations.

Every run has shots with a Poisson number of explosions in 64 independent sources, one per bin. An
explosion of source k gives with the detection efficiency a hit in bin k of either axis and in two
further windows; unrelated hits fall everywhere. The cumulants are rate * efficiency^order. In the
runs for partial and contingent covariance the rate follows a pulse energy that varies from shot to
shot by a factor of three.

    python benchmarks/cumulants.py --runs 100

Printed are, over runs and bins: the mean, with its deviation from the truth in standard errors of
the mean; the share of values beyond three stated errors; the mean stated variance over that of the
scatter of the runs (bar: 1.0 +- 0.05).
"""

from __future__ import annotations

import argparse
import json
import os
import time
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("NUMBA_NUM_THREADS", "1")

import numpy as np

from molexa_core.base.tables import offsets_of
from molexa_core.reduction.cumulants.cumulant_maps import CumulantMap
from molexa_core.reduction.cumulants.kstatistics import (
    factorial_cumulant,
    over_slices,
    residuals,
)

BINS = 64
RATE = 0.03
EFFICIENCY = 0.6
BACKGROUND = 0.03
LIKE = 0.5
"""Explosions per shot of the source of like ions: three of a kind, each with the efficiency."""
LIKE_SHOTS = 10_000
"""Shots of each of 64 such sources."""


def draw(rng: np.random.Generator, shots: int, energy: np.ndarray) -> dict[str, Any]:
    """One run: counts (bins, shots) of both axes and of two further windows."""
    explosions = rng.poisson(RATE * energy, (BINS, shots))
    x, y = (rng.binomial(explosions, EFFICIENCY) for _ in range(2))
    c, d = (rng.binomial(explosions, EFFICIENCY).sum(axis=0) for _ in range(2))
    x, y = (of + rng.poisson(BACKGROUND, of.shape) for of in (x, y))
    like = rng.binomial(3 * rng.poisson(LIKE, (BINS, LIKE_SHOTS)), EFFICIENCY)
    return {"x": x, "y": y, "c": c + rng.poisson(0.5, shots), "d": d, "like": like}


def as_hits(counts: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Offsets of the shots, and bin of each hit on the first and on the second axis."""
    parts = []
    for axis, of in enumerate(counts):
        place, shot = np.nonzero(of)
        number = of[place, shot]
        parts.append((np.repeat(shot, number), np.repeat(place, number), axis))
    shots = np.concatenate([shot for shot, _, _ in parts])
    columns = [
        np.concatenate([place if axis == of else np.full(len(place), -1) for _, place, of in parts])
        for axis in range(2)
    ]
    order = np.argsort(shots, kind="stable")
    offsets = offsets_of(np.bincount(shots, minlength=counts[0].shape[1]))
    return offsets, columns[0][order], columns[1][order]


def measure(seed: int, shots: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Values and errors of the bins of one run, by quantity."""
    rng = np.random.default_rng([seed, 14])
    found: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    energy = rng.uniform(0.5, 1.5, shots)
    for name, of_energy in (("steady", np.ones(shots)), ("varying", energy)):
        run = draw(rng, shots, of_energy)
        offsets, x, y = as_hits([run["x"], run["y"]])
        further = np.array([run["c"], run["d"]], np.float64).T
        further -= further.mean(axis=0)
        kinds: dict[str, Any] = {"varying": {"partial": (energy - energy.mean())[:, None]}}
        kinds["steady"] = {
            "plain": further[:, :0], "three": further[:, :1], "four": further,
        }  # fmt: skip
        for kind, centred in kinds[name].items():
            one = CumulantMap((BINS, BINS), kind)
            one.add(offsets, x, y, centred)
            value, error = one.result()
            found[f"map: {kind}"] = (np.diag(value).copy(), np.diag(error).copy())
        if name == "varying":
            values = np.stack([run["x"], run["y"]]).astype(np.float64)
            place = np.argsort(np.argsort(energy)) * 10 // shots
            rows = []
            for k in range(BINS):
                parts = [
                    (int((place == s).sum()), factorial_cumulant(values[:, k, place == s], (1, 1)))
                    for s in range(10)
                ]
                rows.append(over_slices(parts))
            found["contingent"] = tuple(np.array(rows).T)  # type: ignore[assignment]
            left = [residuals(values[:, k], energy) for k in range(BINS)]
            rows = [(c.value, c.error) for c in (factorial_cumulant(one, (1, 1)) for one in left)]
            found["partial"] = tuple(np.array(rows).T)  # type: ignore[assignment]
        else:
            like = run["like"].astype(np.float64)
            for order in (2, 3, 4):
                blocks = [factorial_cumulant(part[None], (order,)) for part in like]
                found[f"like ions: order {order}"] = (
                    np.array([one.value for one in blocks]),
                    np.array([one.error for one in blocks]),
                )
    return found


def expected(name: str) -> float:
    """The known cumulant."""
    if name.startswith("like"):
        order = int(name[-1])
        ways = {2: 6.0, 3: 6.0, 4: 0.0}[order]
        return LIKE * ways * EFFICIENCY**order
    order = {"map: three": 3, "map: four": 4}.get(name, 2)
    return RATE * EFFICIENCY**order


def main() -> None:
    """Draw the runs and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--shots", type=int, default=64_000)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    start = time.perf_counter()
    runs = [measure(seed, asked.shots) for seed in range(asked.runs)]
    rows = []
    for name in runs[0]:
        value, error = (np.array([run[name][k] for run in runs]) for k in range(2))
        pulls = (value - expected(name)) / error
        ratio = (error**2).mean() / value.var(axis=0, ddof=1).mean()
        mean = (value.mean() - expected(name)) / (value.std() / np.sqrt(value.size))
        rows.append(
            {
                "quantity": name, "truth": expected(name), "mean": float(value.mean()),
                "mean_in_errors": float(mean), "beyond_3_sigma": float((abs(pulls) > 3).mean()),
                "variance_stated_over_scatter": float(ratio),
            }
        )  # fmt: skip
    if asked.json:
        print(json.dumps(rows))
        return
    took = time.perf_counter() - start
    print(f"{asked.runs} runs of {asked.shots} shots, {BINS} bins, {took:.0f} s")
    for row in rows:
        print(
            f"{row['quantity']:24s} truth {row['truth']:.6f} mean {row['mean']:.6f} "
            f"({row['mean_in_errors']:+.1f} sigma), beyond 3 sigma {row['beyond_3_sigma']:.4f}, "
            f"variance stated / scatter {row['variance_stated_over_scatter']:.3f}"
        )


if __name__ == "__main__":
    main()
