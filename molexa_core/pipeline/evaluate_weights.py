"""Evaluate installed weights on a kind of data, and keep the result."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from molexa_core.base.errors import UsageError
from molexa_core.base.files import atomic_path
from molexa_core.base.progress import SILENT, Progress
from molexa_core.base.provenance import Provenance
from molexa_core.frame.measures import mean_absolute_error
from molexa_core.model.batch import Batch
from molexa_core.model.config import NetworkSettings
from molexa_core.model.devices import choose_device
from molexa_core.model.frame import batch_frames
from molexa_core.model.weights import calibration_of, default_weights, load_network
from molexa_core.pipeline.evaluate import Evaluation, evaluate
from molexa_core.pipeline.evaluation_sets import Explosions, entry_set, molecule_set, random_set
from molexa_core.pipeline.stage1 import StageOneData

RANDOM: Final = "stage1"
MOLECULES: Final = "molecules"
SEED: Final = 40_260_000
"""Seed of random molecules for an evaluation, far from those of training and calibration."""
TRAINING_LIMIT: Final = 100_000
"""Training entries among which the nearest is looked for."""


@dataclass(frozen=True)
class EvaluationRun:
    """An evaluation and what it was made with, for the record.

    Attributes:
        evaluation: the errors.
        conditions: weights, data, split, samples, device, seed.
    """

    evaluation: Evaluation
    conditions: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Plain values by name."""
        return {"conditions": self.conditions, **self.evaluation.to_dict()}


def evaluate_weights(
    weights: str | None = None,
    data: str = MOLECULES,
    *,
    split: str = "test",
    by: str = "entry",
    samples: int = 8,
    steps: int | None = None,
    limit: int | None = 4096,
    device: str = "auto",
    seed: int = SEED,
    out: Path | str | None = None,
    figures: Path | str | None = None,
    command: str = "molexa_core.pipeline.evaluate_weights.evaluate_weights",
    progress: Progress = SILENT,
) -> EvaluationRun:
    """Measure weights on explosions with known geometries.

    Args:
        weights: name or card; the default ones where not given.
        data: `stage1`: fresh random molecules of the training distribution; `molecules`: the
            shipped molecules at equilibrium, singly charged; else the folder of a data set.
        split: of a data set.
        by: `entry`, `geometry` or `molecule`, see `io.dataset.read_dataset`.
        samples: structures drawn for each entry.
        steps: of the sampler, if not the network's own number.
        limit: at most so many entries; None for all.
        device: `auto`, `cpu` or `cuda`.
        seed: of molecules, choice and samples.
        out: JSON file to write.
        figures: folder for figures.
        command: for the provenance.
        progress: where to show it.

    Raises:
        InputFileError: no such weights or data.
        WeightsError: damaged weights.
        UsageError: the split has no entries, or numbers that make no sense.
        OutputError: a result cannot be written.
    """
    if samples < 1 or (limit is not None and limit < 1) or (steps is not None and steps < 1):
        least = "samples, limit and steps must be at least 1"
        raise UsageError(least, do="Correct the number or leave it out.")
    where = choose_device(device)
    name = weights or default_weights()
    network, card = load_network(name, where)
    tau_fs = float(card.data.get("tau_fs", 45.0))
    known = network.settings
    training = None
    if data in (RANDOM, MOLECULES):
        sets = _drawn_sets(data, known, limit, tau_fs, seed=seed, device=where)
    else:
        sets = entry_set(data, split, by=by, limit=limit, seed=seed, device=where)
        nearby = entry_set(data, "train", by=by, limit=TRAINING_LIMIT)
        training = {atoms: _in_frame(one) for atoms, one in nearby.items()}
    result = evaluate(
        network,
        sets,
        samples=samples,
        tau_fs=tau_fs,
        sampler=None if steps is None else replace(known.sampler, steps=steps),
        calibration=calibration_of(card),
        training=training,
        seed=seed,
        progress=progress,
    )
    conditions: dict[str, Any] = {
        "weights": card.name,
        "files": card.files,
        **_told(data, split, by),
    }
    conditions["entries"] = sum(len(one.batch) for one in sets.values())
    conditions |= {"samples": samples, "sampler_steps": steps or known.sampler.steps}
    run = EvaluationRun(result, {**conditions, "device": where, "seed": seed})
    if out is not None:
        made = Provenance.of(command, settings={"weights": name, "data": data}, seed=seed)
        _write(run, Path(out), made)
    if figures is not None:
        _draw(result, Path(figures))
    return run


def _drawn_sets(
    data: str, known: NetworkSettings, limit: int | None, tau_fs: float, *, seed: int, device: str
) -> dict[int, Explosions]:
    """Random molecules, or the shipped ones, as far as the network knows their elements."""
    if data == MOLECULES:
        return molecule_set(known.elements, known.max_atoms, tau_fs, device=device)
    per_size = max((limit or 8192) // (known.max_atoms - 1), 1)
    return random_set(StageOneData(largest=known.max_atoms), per_size, seed=seed, device=device)


def _told(data: str, split: str, by: str) -> dict[str, Any]:
    """The data as a record names them."""
    if data in (RANDOM, MOLECULES):
        return {"data": data}
    return {"data": Path(data).name, "split": split, "by": by}


def _write(run: EvaluationRun, out: Path, made: Provenance) -> None:
    values = {**run.to_dict(), "provenance": json.loads(made.to_json())}
    with atomic_path(out) as temporary:
        temporary.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")


def _in_frame(one: Explosions) -> Explosions:
    """Training entries in the model frame, where momenta can be compared."""
    batch: Batch = one.batch
    return replace(one, batch=batch.with_frame(batch_frames(batch.numbers, batch.momenta)))


def _draw(result: Evaluation, folder: Path) -> None:
    # matplotlib is loaded only where figures are asked for.
    from molexa_core.report.accuracy import errors_by_size, reliability  # noqa: PLC0415
    from molexa_core.report.style import save_svg  # noqa: PLC0415

    folder.mkdir(parents=True, exist_ok=True)
    measures: Mapping[str, str] = {
        "mae": "mean absolute error (bohr)",
        "mean_distance_error": "mean distance error (bohr)",
        "mean_angle_error": "mean angle error (degree)",
    }
    for measure, label in measures.items():
        save_svg(errors_by_size(result.rows, measure, label), folder / f"{measure}.svg")
    predicted = [one.expected[0].mean(axis=(1, 2)) for one in result.answers.values()]
    true = [mean_absolute_error(one.samples[0], one.truth) for one in result.answers.values()]
    names = [f"{atoms} atoms" for atoms in result.answers]
    save_svg(reliability(predicted, true, names), folder / "reliability.svg")
