"""Calibrate weights: fit intervals of their predictions with the stated probability."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from molexa_core.base.errors import UsageError
from molexa_core.base.mathematics.statistics import Interval
from molexa_core.base.progress import SILENT, Progress, Task
from molexa_core.base.storage.outputs import FileKind
from molexa_core.network.inference.answers import predict_batch
from molexa_core.network.inference.engine import Engine
from molexa_core.network.inference.interval_calibration import (
    LEVELS,
    Calibration,
    Calibrations,
    Kind,
    formula_of,
)
from molexa_core.network.inference.interval_fit import (
    Judged,
    cross_fitted_coverage,
    fit_calibration,
    judged,
)
from molexa_core.network.network import Network
from molexa_core.network.weights import (
    ModelCard,
    forward_of,
    learned_from,
    load_network,
    read_card,
    write_card,
)
from molexa_core.pipeline.datasets.data_set_name import data_set_name
from molexa_core.pipeline.datasets.read import read_dataset
from molexa_core.pipeline.devices import take_device
from molexa_core.pipeline.evaluation.evaluation_sets import Explosions, entry_set, random_set
from molexa_core.pipeline.output_guard import data_set_inputs, require_outputs
from molexa_core.pipeline.training.stage1 import StageOneData

SEED: Final = 30_260_000
"""Seed of random molecules for a calibration, far from those of training and validation."""
MOLECULES: Final = 4096
"""Default number of molecules for each number of atoms."""
PIECE: Final = 512
"""Number of molecules in one pass; the noise depends on it."""


@dataclass(frozen=True)
class Part:
    """Molecules for one calibration.

    Attributes:
        sets: by number of atoms; entries of one cluster are not independent.
        data: description of the molecules for the reader.
    """

    sets: Mapping[int, Explosions]
    data: str


@dataclass(frozen=True)
class CalibrationResult:
    """Calibrations and their coverage on molecules that were not used in the fit.

    Attributes:
        calibrations: fitted on all molecules.
        coverage: by kind and number of atoms (and `all`), for each level: share of the open
            coordinates inside intervals that were fitted without the cluster of the molecule,
            with its 95 % interval.
    """

    calibrations: Calibrations
    coverage: Mapping[Kind, Mapping[str, list[Interval]]]

    def to_dict(self) -> dict[str, Any]:
        """The coverage as plain values, for a model card."""
        return {
            kind: {
                "data": self.calibrations.parts[kind].data,
                **{
                    f"coverage_{round(100 * level)}": {
                        size: {name: round(value, 4) for name, value in asdict(row[place]).items()}
                        for size, row in rows.items()
                    }
                    for place, level in enumerate(LEVELS)
                },
            }
            for kind, rows in self.coverage.items()
        }


def calibrate(
    network: Network,
    parts: Mapping[Kind, Part],
    *,
    formulas: frozenset[str] = frozenset(),
    seed: int = 0,
    progress: Progress = SILENT,
) -> CalibrationResult:
    """Fit the intervals, and measure their coverage by cross-validation.

    Args:
        network: in evaluation mode; its own sampler is used.
        parts: molecules that it was not trained on: `all`, or `known` and `new`.
        formulas: sum formulas of the training, which distinguish known molecules from new ones.
        seed: of the samples.
        progress: display of the progress.
    """
    engine = Engine(network)
    width = network.settings.uncertainty_bin_width
    fitted: dict[Kind, Calibration] = {}
    coverage: dict[Kind, dict[str, list[Interval]]] = {}
    total = sum(len(one.batch) for part in parts.values() for one in part.sets.values())
    with progress.task("calibrating", total, "molecules") as task:
        for kind, part in parts.items():
            sizes = {
                atoms: _sample_errors(engine, one, seed, task)
                for atoms, one in sorted(part.sets.items())
            }
            count = sum(len(one.batch) for one in part.sets.values())
            fitted[kind] = fit_calibration(sizes, bin_width=width, data=part.data, molecules=count)
            coverage[kind] = cross_fitted_coverage(sizes, bin_width=width)
    return CalibrationResult(Calibrations(fitted, formulas, network.settings.sampler), coverage)


def calibrate_weights(
    name: str,
    *,
    data: Path | str | None = None,
    molecules: int = MOLECULES,
    device: str = "auto",
    seed: int = SEED,
    progress: Progress = SILENT,
) -> tuple[CalibrationResult, Path]:
    """Calibrate installed weights and store the result in their card.

    Without a data set, new random molecules of stage 1 are used. With the data set of the training,
    entries that the training did not use give the calibration for known molecules (new geometries
    only if the data set was split by geometry); the molecules that were held out of the training
    and those set aside for their size give the calibration for new molecules.

    Args:
        name: name or card of the weights.
        data: folder of a data set.
        molecules: largest number of molecules of each number of atoms, for each calibration.
        device: `auto`, `cpu` or `cuda`.
        seed: of the molecules and samples.
        progress: display of the progress.

    Returns:
        The result, and the card that was rewritten.

    Raises:
        InputFileError: no such weights or data set.
        WeightsError: damaged weights.
        UsageError: the data set has nothing that was not in the training of these weights, or fewer
            than two molecules.
        OutputError: the card cannot be written.
    """
    if molecules < 2:
        raise UsageError(f"{molecules} molecules", do="Calibrate on two of each size at least.")
    where = take_device(device)
    card, path = read_card(name)
    require_outputs((path, FileKind.CARD), inputs=data_set_inputs(data))
    network, _ = load_network(name, where)
    formulas: frozenset[str] = frozenset()
    if data is None:
        stage_one = StageOneData(largest=network.settings.max_atoms)
        drawn = random_set(stage_one, molecules, seed=seed, device=where)
        parts: dict[Kind, Part] = {"all": Part(drawn, f"random molecules of stage 1, seed {seed}")}
    else:
        parts, formulas = _of_data_set(card, data, molecules, seed, where)
    result = calibrate(network, parts, formulas=formulas, seed=seed, progress=progress)
    metrics = {**card.metrics, "calibration": result.to_dict()}
    stored = result.calibrations.to_dict()
    write_card(replace(card, calibration=stored, metrics=metrics), path)
    return result, path


def _of_data_set(
    card: ModelCard, data: Path | str, molecules: int, seed: int, device: str
) -> tuple[dict[Kind, Part], frozenset[str]]:
    """The known and the new molecules of a data set, and the formulas of the training."""
    name = data_set_name(data)["data_set"]
    learned = learned_from(card)
    by = str(learned.get("split_by", "entry"))

    def entries(split: str, by: str) -> dict[int, Explosions]:
        try:
            found = entry_set(data, split, by=by, per_size=molecules, seed=seed, device=device)
        except UsageError:  # a small data set may lack molecules of this kind
            return {}
        most = card.network.max_atoms
        return {atoms: one for atoms, one in found.items() if 2 <= atoms <= most}

    aside = _by_molecule(entries("set_aside", by))
    if forward_of(card) == "classical":
        # No molecule of the data set was in the training.
        every = {**_by_molecule(entries("validation", "entry")), **aside}
        if not every:
            raise UsageError(f"nothing to calibrate on in {name}", do="Name another data set.")
        return {"all": Part(every, f"validation split and molecules set aside of {name}")}, (
            frozenset()
        )
    parts: dict[Kind, Part] = {}
    # The error estimate is trained on the validation split, so the test split is better. If the
    # data set is split by molecule, however, its test split has new molecules only.
    split = "validation" if by == "molecule" else "test"
    known = entries(split, by)
    # If the data set is split by entry, held-out molecules of other splits are in the training.
    held_out = {} if by == "entry" else _by_molecule(entries("test", "molecule"))
    new = {**held_out, **aside}
    if known:
        parts["known"] = Part(known, f"{split} split of {name} by {by}, molecules of the training")
    if new:
        held = "molecules held out and" if held_out else "molecules"
        parts["new"] = Part(new, f"{held} set aside of {name}")
    if not parts:
        raise UsageError(f"nothing to calibrate on in {name}", do="Name another data set.")
    return parts, _formulas(data, by)


def _formulas(data: Path | str, by: str) -> frozenset[str]:
    """Sum formulas of the molecules of the training split."""
    table = read_dataset(data, "train", by=by)
    _, rows = np.unique(table.molecule, return_index=True)
    return frozenset(formula_of(table.numbers[row][table.mask[row]]) for row in rows)


def _by_molecule(sets: Mapping[int, Explosions]) -> dict[int, Explosions]:
    """The explosions with molecules as clusters, instead of geometries."""
    return {
        atoms: replace(one, cluster=np.unique(one.label, return_inverse=True)[1])
        for atoms, one in sets.items()
    }


def _sample_errors(engine: Engine, one: Explosions, seed: int, task: Task) -> Judged:
    """True and predicted errors of one sample of each molecule."""
    errors, expected, momenta = [], [], []
    for number, start in enumerate(range(0, len(one.batch), PIECE)):
        piece = one.batch.rows(slice(start, start + PIECE))
        positions, error, turned = predict_batch(engine, piece, seed=seed * 1009 + number)
        if turned.positions is None:
            msg = "a calibration needs positions"
            raise ValueError(msg)
        errors.append((positions - turned.positions).abs().double().cpu().numpy())
        expected.append(error.double().cpu().numpy())
        momenta.append(turned.momenta.double().cpu().numpy())
        task.advance(len(piece))
    return judged(
        np.concatenate(errors), np.concatenate(expected), np.concatenate(momenta), one.cluster
    )
