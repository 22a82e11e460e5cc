"""Measuring the networks of `compare_training.py` on the same entries, and comparing them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from molexa_core.base.mathematics.statistics import RESAMPLES, bootstrap_mean
from molexa_core.network.config import MOLEXA
from molexa_core.network.inference.answers import predict_batch
from molexa_core.network.inference.engine import Engine
from molexa_core.network.weights import load_network
from molexa_core.pipeline.evaluation.evaluate import FIRST, MEAN, MEASURES, errors_of
from molexa_core.pipeline.evaluation.evaluation_sets import Explosions, entry_set, random_set
from molexa_core.pipeline.training.stage1 import StageOneData

SETS = ("validation", "test", "set_aside", "random")
"""Known molecules with new entries, held-out molecules, molecules of 8 and 9 atoms (all by
molecule), and new random molecules of stage 1."""
SEED = 41_260_000
OTHER = "one sample, other sampler"
BETTER = "one sample, better sampler of each"
OTHER_SAMPLERS = {
    "paper": MOLEXA.network.sampler,
    "molexa": replace(MOLEXA.network.sampler, steps=8),
}
"""Each network is also measured with a second sampler. The published one goes through noise levels
from 80 to 10 that its training hardly meets: a network that trained for minutes may do better
with the other."""
SHOWN = ("mae", "mean_distance_error", "mean_angle_error")

Errors = dict[str, np.ndarray]


def measure(
    weights: Path, preset: str, data: Path, entries: int, samples: int, device: str, out: Path
) -> None:
    """Errors of a network on all sets, each entry's in `out`.npz, means in `out`.json.

    Args:
        weights: card of the weights.
        preset: that they are of.
        data: folder of the data set.
        entries: at most so many of each set, the same for every network.
        samples: structures drawn for each entry.
        device: `cpu` or `cuda`.
        out: without suffix.
    """
    network, card = load_network(str(weights), device)
    engine = Engine(network)
    sampler = network.settings.sampler
    samplers = {FIRST: sampler, MEAN: sampler, OTHER: OTHER_SAMPLERS[preset]}
    arrays: Errors = {}
    found: dict[str, Any] = {}
    for name in SETS:
        sets = _set(name, data, entries, device)
        clusters = [one.cluster * 64 + atoms for atoms, one in sets.items()]
        arrays[f"{name}/cluster"] = np.concatenate(clusters)
        sizes = np.concatenate([np.full(len(one.cluster), atoms) for atoms, one in sets.items()])
        found[name] = {"entries": len(sizes)}
        for method, settings in samplers.items():
            parts = []
            for one in sets.values():
                drawn = []
                for number in range(samples if method == MEAN else 1):
                    positions, _, framed = predict_batch(
                        engine, one.batch, seed=SEED + number, sampler=settings
                    )
                    drawn.append(positions.double().cpu().numpy())
                truth = framed.positions
                if truth is None:
                    raise ValueError(name)
                parts.append(errors_of(np.mean(drawn, axis=0), truth.double().cpu().numpy()))
            errors = np.concatenate(parts, axis=1)
            arrays[f"{name}/{method}"] = errors
            found[name][method] = _row(errors, arrays[f"{name}/cluster"], sizes)
    np.savez_compressed(out.with_suffix(".npz"), **arrays)  # type: ignore[arg-type]
    training = card.training
    validation = card.metrics["validation"]["all"]
    values = {
        "parameters": network.parameter_count,
        "training": {key: value for key, value in training.items() if key != "before"},
        "validation_of_training": validation,
        "errors": found,
        "samplers": {FIRST: asdict(sampler), OTHER: asdict(OTHER_SAMPLERS[preset])},
        "samples": samples,
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
    }
    out.with_suffix(".json").write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")


def _set(name: str, data: Path, entries: int, device: str) -> dict[int, Explosions]:
    if name == "random":
        return random_set(StageOneData(), max(entries // 8, 1), seed=SEED, device=device)
    return entry_set(data, name, by="molecule", limit=entries, seed=SEED, device=device)


def _row(errors: np.ndarray, cluster: np.ndarray, sizes: np.ndarray) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for name, values in zip(MEASURES, errors, strict=True):
        interval = bootstrap_mean(values, cluster)
        known = values[np.isfinite(values)]
        row[name] = {"mean": interval.mean, "low": interval.low, "high": interval.high}
        row[name]["median"] = float(np.median(known)) if len(known) else None
    row["mae_by_atoms"] = {
        str(atoms): float(errors[0][sizes == atoms].mean()) for atoms in np.unique(sizes)
    }
    return row


def ratios(first: Path, second: Path, method: str = FIRST) -> dict[str, Any]:
    """Mean errors of one network over those of another, with 95 % intervals.

    Both were measured on the same entries: geometries are drawn for both together. With `BETTER`
    each answers by the sampler with the smaller error on the validation split.
    """
    found: dict[str, Any] = {}
    with np.load(first, allow_pickle=False) as one, np.load(second, allow_pickle=False) as other:
        methods = [_better(file) if method == BETTER else method for file in (one, other)]
        for name in SETS:
            cluster = one[f"{name}/cluster"]
            if not np.array_equal(cluster, other[f"{name}/cluster"]):
                continue
            found[name] = {}
            for measured in SHOWN:
                place = MEASURES.index(measured)
                pair = (
                    one[f"{name}/{methods[0]}"][place],
                    other[f"{name}/{methods[1]}"][place],
                )
                if np.isfinite(pair[0]).any():
                    found[name][measured] = _ratio(*pair, cluster)
    return found


def _better(errors: Mapping[str, np.ndarray]) -> str:
    return min((FIRST, OTHER), key=lambda method: float(errors[f"validation/{method}"][0].mean()))


def _ratio(first: np.ndarray, second: np.ndarray, cluster: np.ndarray) -> dict[str, float]:
    known = np.isfinite(first) & np.isfinite(second)
    _, place = np.unique(cluster[known], return_inverse=True)
    totals = [np.bincount(place, weights=values[known]) for values in (first, second)]
    generator = np.random.default_rng(0)
    drawn = generator.integers(len(totals[0]), size=(RESAMPLES, len(totals[0])))
    resampled = totals[0][drawn].sum(1) / totals[1][drawn].sum(1)
    low, high = np.quantile(resampled, [0.025, 0.975])
    return {
        "ratio": float(totals[0].sum() / totals[1].sum()),
        "low": float(low),
        "high": float(high),
    }


def table(runs: Mapping[str, Any]) -> str:
    """The runs as lines for people: MAE (with the other sampler), mean distance error."""
    lines = [
        f"{'run':10} {'steps':>7} {'molecules':>11} {'device s':>8}  MAE (other sampler) / mean DE"
    ]
    for name, run in runs.items():
        training = run["training"]
        cells = [
            f"{one} {run['errors'][one][FIRST]['mae']['mean']:.3f} "
            f"({run['errors'][one][OTHER]['mae']['mean']:.3f}) / "
            f"{run['errors'][one][FIRST]['mean_distance_error']['mean']:.3f}"
            for one in SETS
        ]
        seconds = training["device_s"] or float("nan")
        lines.append(
            f"{name:10} {training['steps']:7d} {training['molecules']:11d} {seconds:8.1f}  "
            + "; ".join(cells)
        )
    return "\n".join(lines)
