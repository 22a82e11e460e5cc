"""Evaluate installed weights on simulated data, and store the result."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from molexa_core.base.errors import InputFileError, UsageError
from molexa_core.base.progress import SILENT, Progress
from molexa_core.base.storage.checksums import sealed, unsealed
from molexa_core.base.storage.files import UNWRITABLE, atomic_path, make_folder
from molexa_core.base.storage.json_file import read_json
from molexa_core.base.storage.outputs import FileKind
from molexa_core.base.storage.provenance import Provenance
from molexa_core.network.batch import Batch
from molexa_core.network.molecule_frame import batch_frames
from molexa_core.network.weights import (
    ModelCard,
    calibration_of,
    card_remarks,
    default_weights,
    load_network,
    tau_of,
)
from molexa_core.pipeline.devices import take_device
from molexa_core.pipeline.evaluation.evaluate import Evaluation, evaluate
from molexa_core.pipeline.evaluation.evaluation_drawing import FIGURES, draw
from molexa_core.pipeline.evaluation.evaluation_figures import DATA, content_of, write_content
from molexa_core.pipeline.evaluation.evaluation_sets import (
    Explosions,
    entry_set,
    molecule_set,
    random_set,
)
from molexa_core.pipeline.output_guard import (
    Output,
    data_set_inputs,
    require_outputs,
    settings_inputs,
)
from molexa_core.pipeline.training.stage1 import StageOneData
from molexa_core.report.accuracy_content import AccuracyContent

RANDOM: Final = "stage1"
MOLECULES: Final = "molecules"
SEED: Final = 40_260_000
"""Seed of random molecules for an evaluation, far from those of training and calibration."""
_LARGEST: Final = 64 * 2**20
"""A longer file is no record of an evaluation, bytes."""
TRAINING_LIMIT: Final = 100_000
"""Number of training entries for the nearest-neighbour baseline."""

UNSEEN: Final = {
    "entry": (("entry", "validation"), ("entry", "test"), ("molecule", "validation")),
    "geometry": (("geometry", "validation"), ("geometry", "test"), ("molecule", "test")),
    "molecule": (("molecule", "validation"), ("molecule", "test"), ("entry", "validation")),
}
"""For each way to split the data set of a training: splits (by, split) without training entries."""


@dataclass(frozen=True)
class EvaluationRun:
    """An evaluation and its conditions.

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
    smallest: int | None = None,
    largest: int | None = None,
    names: Sequence[str] = (),
    device: str = "auto",
    seed: int = SEED,
    out: Path | str | None = None,
    figures: Path | str | None = None,
    progress: Progress = SILENT,
) -> EvaluationRun:
    """Measure the errors of weights on explosions of known geometries.

    Args:
        weights: name or card; the default weights if not given.
        data: `stage1`: new random molecules as in the training; `molecules`: the shipped molecules
            at equilibrium, singly charged; otherwise the folder of a data set.
        split: split of a data set.
        by: `entry`, `geometry` or `molecule`, see `pipeline.datasets.read.read_dataset`.
        samples: number of structures drawn for each entry.
        steps: number of steps of the sampler; that of the network if not given.
        limit: largest number of entries; None for all.
        smallest: smallest number of atoms in `stage1` and `molecules`; 2 if not given.
        largest: largest number of atoms; that of the training if not given.
        names: names of shipped molecules, for `molecules`.
        device: `auto`, `cpu` or `cuda`.
        seed: of molecules, choice of entries and samples.
        out: JSON file to write.
        figures: folder for figures.
        progress: display of the progress.

    Raises:
        InputFileError, WeightsError: no such weights or data, or damaged ones.
        UsageError: a split without entries, or settings that do not apply to these data.
        OutputError: a result cannot be written.
    """
    _require_positive(samples, limit, steps)
    _require_fitting(data, smallest, largest, names)
    _require_results(out, figures, data, weights)
    where = take_device(device)
    network, card = load_network(weights or default_weights(), where)
    known, drawn = network.settings, data in (RANDOM, MOLECULES)
    if drawn:
        span = (smallest or 2, largest or max(known.max_atoms, smallest or 2))
        sets = _drawn_sets(data, card, limit, span, names, seed=seed, device=where)
    else:
        sets = entry_set(data, split, by=by, limit=limit, seed=seed, device=where)
    warnings = _warnings(sets, card) + ([] if drawn else _seen_in_training(card, split, by))
    _say(warnings, progress)
    result = evaluate(
        network,
        sets,
        samples=samples,
        tau_fs=tau_of(card),
        sampler=None if steps is None else replace(known.sampler, steps=steps),
        calibration=calibration_of(card),
        training=None if drawn else _training(data, by),
        seed=seed,
        progress=progress,
    )
    conditions: dict[str, Any] = {"weights": card.name, "files": card.files}
    conditions |= _data_record(data, split, by)
    conditions |= {"entries": sum(len(one.batch) for one in sets.values()), "samples": samples}
    conditions |= {"sampler_steps": steps or known.sampler.steps, "device": where, "seed": seed}
    run = EvaluationRun(result, conditions | ({"warnings": warnings} if warnings else {}))
    made = Provenance.of(settings={"weights": card.name, "data": data}, seed=seed)
    if out is not None:
        _write(run, Path(out), made)
    if figures is not None:
        _draw(content_of(result, sets), Path(figures), made, progress)
    return run


def _say(warnings: Sequence[str], progress: Progress) -> None:
    for text in warnings:
        progress.warn(text)


def _require_positive(*numbers: int | None) -> None:
    if any(number is not None and number < 1 for number in numbers):
        raise UsageError(
            "samples, limit and steps must be at least 1", do="Correct the number or leave it out."
        )


def _require_results(
    out: Path | str | None, figures: Path | str | None, data: str, weights: str | None
) -> None:
    """Check that the results can be written, before minutes are spent on them."""
    drawn: list[Output] = []
    if figures is not None:
        drawn = [(Path(figures, DATA), FileKind.FIGURE_VALUES)]
        drawn += [(Path(figures, f"{name}.svg"), FileKind.FIGURE) for name in FIGURES]
    read = settings_inputs(weights=weights or default_weights())
    read += data_set_inputs(None if data in (RANDOM, MOLECULES) else data)
    require_outputs((out, FileKind.EVALUATION), *drawn, inputs=read, folder=figures)


def _training(data: str, by: str) -> dict[int, Explosions]:
    """Training entries for the nearest-neighbour baseline.

    A data set in which all molecules are held out, such as a movie, has none.
    """
    try:
        nearby = entry_set(data, "train", by=by, limit=TRAINING_LIMIT)
    except UsageError:
        return {}
    return {atoms: _in_frame(one) for atoms, one in nearby.items()}


def _drawn_sets(
    data: str,
    card: ModelCard,
    limit: int | None,
    span: tuple[int, int],
    names: Sequence[str],
    *,
    seed: int,
    device: str,
) -> dict[int, Explosions]:
    """Random molecules, or the shipped ones, of elements that the network knows."""
    known, tau_fs = card.network, tau_of(card)
    least, most = span
    if data == RANDOM:
        drawn = StageOneData(smallest=least, largest=most, tau_fs=tau_fs)
        per_size = max((limit or 8192) // (most - least + 1), 1)
        return random_set(drawn, per_size, seed=seed, device=device)
    sets = molecule_set(known.elements, most, tau_fs, smallest=least, names=names, device=device)
    if not sets:
        raise UsageError(
            f"no shipped molecule has {least} to {most} atoms of elements the network knows",
            do="`molexa molecules` lists what there is.",
        )
    return sets


def _require_fitting(
    data: str, smallest: int | None, largest: int | None, names: Sequence[str]
) -> None:
    """Refuse settings that do not apply to the data."""
    if (smallest is not None or largest is not None) and data not in (RANDOM, MOLECULES):
        raise UsageError(
            f"numbers of atoms cannot be chosen for {data}, only for {MOLECULES} and {RANDOM}",
            do="Leave `smallest=` and `largest=` out.",
        )
    if names and data != MOLECULES:
        raise UsageError(
            f"names are of shipped molecules, not of {data}", do=f"Choose `data={MOLECULES!r}`."
        )
    least = 2 if smallest is None else smallest
    if least < 2 or (largest is not None and largest < least):
        raise UsageError(
            f"{least} to {'any' if largest is None else largest} is no range of numbers of atoms",
            do="Both must be at least 2, the largest not below the smallest.",
        )


def _warnings(sets: Mapping[int, Explosions], card: ModelCard) -> list[str]:
    """Warnings on the weights and on entries outside their training."""
    warnings, known = card_remarks(card), card.network
    if beyond := [n for n in sets if n > known.max_atoms]:
        count = sum(len(sets[n].batch) for n in beyond)
        text = (
            f"{count} molecules have {min(beyond)} to {max(beyond)} atoms, but the network was "
            f"made for up to {known.max_atoms}: it answers, with errors and error bars that no "
            "training stands for"
        )
        warnings.append(text)
    return warnings


def _seen_in_training(card: ModelCard, split: str, by: str) -> list[str]:
    """A warning if entries of this split may have been in the training of the weights."""
    way = card.data.get("split_by")
    if way is None or split == "set_aside" or (by, split) in UNSEEN.get(str(way), ()):
        return []
    text = (
        f"{card.name} was trained on a data set split by {way}: if it is this one, entries of its "
        f"{split} split by {by} were in the training"
    )
    return [text]


def _data_record(data: str, split: str, by: str) -> dict[str, str]:
    """Name, split and way of splitting of the data, for the record."""
    if data in (RANDOM, MOLECULES):
        return {"data": data}
    return {"data": Path(data).name, "split": split, "by": by}


def _write(run: EvaluationRun, out: Path, made: Provenance) -> None:
    values = sealed({**run.to_dict(), "provenance": json.loads(made.to_json())})
    with atomic_path(out) as temporary:
        temporary.write_text(
            json.dumps(values, indent=1) + "\n", encoding="utf-8", errors=UNWRITABLE
        )


def read_evaluation(path: Path | str) -> dict[str, Any]:
    """The record of an evaluation, compared with its checksum; one of 0.1 has none.

    Raises:
        InputFileError: no such file, not a record of an evaluation, or it has changed since it was
            written.
    """
    what, do = "a record of an evaluation", "Name a file that `molexa evaluate` wrote."
    values, _ = unsealed(read_json(path, largest=_LARGEST, what=what, do=do), where=path)
    if not {"conditions", "errors"} <= set(values):
        raise InputFileError(f"not {what}", where=path, do=do)
    return values


def _in_frame(one: Explosions) -> Explosions:
    """Training entries in the model frame, in which momenta can be compared."""
    batch: Batch = one.batch
    return replace(one, batch=batch.with_frame(batch_frames(batch.numbers, batch.momenta)))


def _draw(content: AccuracyContent, folder: Path, made: Provenance, progress: Progress) -> None:
    """Write the figures and their values; only the values if matplotlib is missing."""
    make_folder(folder)
    write_content(content, folder / DATA, made)
    try:
        draw(content, folder, record=made)
    except ModuleNotFoundError as error:
        progress.say(f"no figures without {error.name}: their values are in {folder / DATA}")
