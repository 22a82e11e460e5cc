"""Evaluate: errors of a network on explosions of known geometries, compared with baselines.

Errors are those of the paper (`geometry.measures`), per molecule and then averaged, in the model
frame. Confidence intervals are bootstrapped over geometries, since entries that differ only in the
charges are not independent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from molexa_core.base.forward_model import TAU_FS
from molexa_core.base.matter.elements import BY_NUMBER
from molexa_core.base.progress import SILENT, Progress
from molexa_core.base.tables import FloatArray
from molexa_core.geometry.measures import mean_absolute_error
from molexa_core.network.batch import Batch
from molexa_core.network.config import SamplerSettings
from molexa_core.network.inference.answers import predict_batch, prepared
from molexa_core.network.inference.engine import Engine
from molexa_core.network.inference.interval_calibration import LEVELS, Calibrations
from molexa_core.network.inference.interval_fit import open_coordinates
from molexa_core.network.network import Network
from molexa_core.physics.coulomb.batches import explode_many
from molexa_core.physics.coulomb.build_up import ErrorFunctionRise
from molexa_core.pipeline.evaluation.baselines import (
    EQUILIBRIUM,
    NEAREST,
    SCALED,
    ZEROS,
    along_the_momenta,
    equilibrium_positions,
    nearest_in_training,
)
from molexa_core.pipeline.evaluation.error_statistics import (
    MEASURES,
    by_group,
    by_predicted_error,
    diatomics,
    errors_of,
    most_certain,
    ranking,
    spread,
)
from molexa_core.pipeline.evaluation.evaluation_sets import Explosions

__all__ = [
    "BEST",
    "FIRST",
    "MEAN",
    "MEASURES",
    "ORACLE",
    "Answers",
    "Evaluation",
    "answer",
    "coverage",
    "errors_of",
    "evaluate",
]
FIRST: Final = "one sample"
MEAN: Final = "mean of the samples"
BEST: Final = "best closure"
ORACLE: Final = "nearest sample (told the truth)"
"""Of several samples the one with the smallest MAE: the best that any choice could achieve."""
MOST_NAMED: Final = 64
"""In sets of at most this number of named molecules each is listed separately."""


@dataclass(frozen=True)
class Answers:
    """Predictions of the network for explosions of one size. B entries, K samples.

    Attributes:
        truth: (B, N, 3) in the model frame, centred, bohr.
        samples: (K, B, N, 3).
        expected: (K, B, N, 3) predicted absolute errors.
        framed: numbers, charges, masses (B, N), momenta (B, N, 3) in the model frame.
        closure: (K, B) closure residuals of the samples in the classical model.
    """

    truth: FloatArray
    samples: FloatArray
    expected: FloatArray
    framed: tuple[FloatArray, FloatArray, FloatArray, FloatArray]
    closure: FloatArray


@dataclass(frozen=True)
class Evaluation:
    """Errors by method and group.

    Attributes:
        rows: by method (`one sample`, `best closure`, `zeros`, ...) and group (`all`, `2`, `3`,
            ...): number of entries, and for each of `MEASURES` mean, median and the 95 % interval
            of the mean.
        by_uncertainty: predicted and true mean errors in fifths of the entries by predicted error.
        most_certain: the same for the most certain entries (`error_statistics.SHARES`).
        ranking: correlations of predicted and true error (`error_statistics.ranking`).
        diatomics: mean error of bond lengths: network, R = c q1 q2 / KER with c = 1 and c fitted.
        spread: by number of atoms, spread of repeated predictions, bohr; empty for one sample.
        coverage: by number of atoms, share of coordinates inside the 68 and 95 % intervals.
        named: for small sets of named molecules, the MAE of each.
        answers: the arrays from which all this is computed, by number of atoms.
    """

    rows: dict[str, dict[str, dict[str, Any]]]
    by_uncertainty: list[dict[str, float]]
    most_certain: list[dict[str, float]]
    ranking: dict[str, float]
    diatomics: dict[str, float]
    spread: dict[str, dict[str, float]]
    coverage: dict[str, list[float]]
    named: list[dict[str, str | int | float]] = field(default_factory=list)
    answers: dict[int, Answers] = field(repr=False, default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain values by name, without the arrays."""
        return {
            "errors": self.rows,
            "by_uncertainty": self.by_uncertainty,
            "most_certain": self.most_certain,
            "ranking": self.ranking,
            "diatomics": self.diatomics,
            "spread": self.spread,
            "coverage": self.coverage,
            "molecules": self.named,
            "length_unit": "bohr",
            "angle_unit": "degree",
        }


def evaluate(
    network: Network,
    sets: Mapping[int, Explosions],
    *,
    samples: int = 1,
    tau_fs: float = TAU_FS,
    sampler: SamplerSettings | None = None,
    calibration: Calibrations | None = None,
    training: Mapping[int, Explosions] | None = None,
    seed: int = 0,
    progress: Progress = SILENT,
) -> Evaluation:
    """Measure the errors of a network on explosions of known geometries.

    Args:
        network: in evaluation mode.
        sets: by number of atoms (`evaluation_sets`), on the device of the network.
        samples: number of structures drawn for each entry.
        tau_fs: window of the charge build-up, for the closure.
        sampler: settings that replace those of the network.
        calibration: calibration of the intervals, if the network has one.
        training: training entries for the nearest-neighbour baseline.
        seed: of the samples.
        progress: display of the progress.
    """
    total = sum(len(one.batch) for one in sets.values()) * samples
    answers = {}
    engine = Engine(network)
    with progress.task("evaluating", total, "structures") as task:
        for atoms, explosions in sorted(sets.items()):
            answers[atoms] = answer(
                engine,
                explosions.batch,
                samples=samples,
                sampler=sampler,
                seed=seed,
                tau_fs=tau_fs,
            )
            task.advance(len(explosions.batch) * samples)
    methods: dict[str, dict[int, FloatArray]] = {}
    for atoms, one in answers.items():
        near = None if training is None or atoms not in training else training[atoms].batch
        for method, positions in _methods(one, near).items():
            methods.setdefault(method, {})[atoms] = errors_of(positions, one.truth)
    clusters = {atoms: sets[atoms].cluster for atoms in answers}
    first = np.concatenate([methods[FIRST][atoms] for atoms in answers], axis=1)
    expected = np.concatenate([one.expected[0].mean(axis=(1, 2)) for one in answers.values()])
    drawn = {atoms: one.samples for atoms, one in answers.items()}
    pairs = answers.get(2)
    rows = {name: by_group(errors, clusters) for name, errors in methods.items()}
    held = {} if calibration is None else coverage(answers, calibration)
    return Evaluation(
        rows={name: row for name, row in rows.items() if row},
        by_uncertainty=by_predicted_error(first, expected),
        most_certain=most_certain(first, expected),
        ranking=ranking(
            [_sample_errors(one) for one in answers.values()],
            [one.expected.mean(axis=(2, 3)) for one in answers.values()],
        ),
        diatomics={}
        if pairs is None
        else diatomics(methods[FIRST][2], pairs.truth, *pairs.framed[1:], clusters[2]),
        spread=spread(drawn) if samples > 1 else {},
        coverage={name: held[name] for name in sorted(held, key=lambda one: (len(one), one))},
        named=_named(methods, answers, sets),
        answers=answers,
    )


def answer(
    network: Network | Engine,
    batch: Batch,
    *,
    samples: int,
    seed: int,
    tau_fs: float,
    sampler: SamplerSettings | None = None,
) -> Answers:
    """Draw `samples` structures for each explosion of a batch with positions; see `Answers`."""
    here, errors = [], []
    engine = prepared(network)
    for number in range(samples):
        positions, error, turned = predict_batch(
            engine, batch, seed=seed * 1009 + number, sampler=sampler
        )
        here.append(positions.double().cpu().numpy())
        errors.append(error.double().cpu().numpy())
    if turned.positions is None:
        msg = "evaluation needs positions"
        raise ValueError(msg)
    columns = (turned.numbers, turned.charges, turned.masses, turned.momenta)
    numbers, charges, masses, momenta = (column.double().cpu().numpy() for column in columns)
    predicted = np.stack(here)
    return Answers(
        truth=turned.positions.double().cpu().numpy(),
        samples=predicted,
        expected=np.stack(errors),
        framed=(numbers, charges, masses, momenta),
        closure=_closure(predicted, charges, masses, momenta, tau_fs, needed=samples > 1),
    )


def coverage(answers: Mapping[int, Answers], calibration: Calibrations) -> dict[str, list[float]]:
    """Share of the coordinates inside the intervals of each level, by number of atoms and `all`.

    Coordinates that are fixed by symmetry are not counted (`interval_fit.open_coordinates`).
    """
    inside: dict[str, list[list[np.ndarray]]] = {}
    for atoms, one in sorted(answers.items()):
        error = np.abs(one.samples[0] - one.truth)
        for place, level in enumerate(LEVELS):
            width = calibration.half_widths(one.expected[0], one.framed[0].astype(np.int64), level)
            held = (error <= width)[open_coordinates(one.framed[3])]
            for name in (str(atoms), "all"):
                inside.setdefault(name, [[] for _ in LEVELS])[place].append(held)
    return {
        name: [float(np.concatenate(parts).mean()) for parts in levels]
        for name, levels in inside.items()
    }


def _methods(answers: Answers, training: Batch | None) -> dict[str, FloatArray]:
    """Positions (B, N, 3) by name of the method."""
    numbers, charges, masses, momenta = answers.framed
    methods = {FIRST: answers.samples[0]}
    if len(answers.samples) > 1:
        best = np.argmin(answers.closure, axis=0)
        methods[MEAN] = answers.samples.mean(axis=0)
        methods[BEST] = answers.samples[best, np.arange(len(best))]
        nearest = np.argmin(_sample_errors(answers), axis=0)
        methods[ORACLE] = answers.samples[nearest, np.arange(len(nearest))]
    methods[ZEROS] = np.zeros_like(answers.truth)
    methods[SCALED] = along_the_momenta(charges, masses, momenta)
    symbols = {number: element.symbol for number, element in BY_NUMBER.items()}
    methods[EQUILIBRIUM] = equilibrium_positions(numbers, answers.truth, symbols)
    if training is not None and training.positions is not None:
        columns = (training.numbers, training.charges, training.momenta, training.positions)
        neighbours = tuple(column.double().cpu().numpy() for column in columns)
        methods[NEAREST] = nearest_in_training(numbers, charges, momenta, neighbours)  # type: ignore[arg-type]
    return methods


def _sample_errors(answers: Answers) -> FloatArray:
    """(K, B) MAE of every sample."""
    return mean_absolute_error(
        answers.samples, np.broadcast_to(answers.truth, answers.samples.shape)
    )


def _closure(
    samples: FloatArray,
    charges: FloatArray,
    masses: FloatArray,
    momenta: FloatArray,
    tau_fs: float,
    *,
    needed: bool,
) -> FloatArray:
    if not needed:
        return np.zeros(samples.shape[:2])
    size = (momenta**2).sum(axis=(1, 2))
    rise = ErrorFunctionRise(tau_fs)
    residuals = []
    for drawn in samples:
        exploded = explode_many(
            drawn, charges, masses, build_up=rise, accuracy="draft", strict=False
        )
        misfit = np.sqrt(((exploded - momenta) ** 2).sum(axis=(1, 2)) / size)
        residuals.append(np.where(np.isfinite(misfit), misfit, np.inf))
    return np.stack(residuals)


def _named(
    methods: Mapping[str, Mapping[int, FloatArray]],
    answers: Mapping[int, Answers],
    sets: Mapping[int, Explosions],
) -> list[dict[str, str | int | float]]:
    """MAE of each molecule by method, if there are few molecules and all have names."""
    labels = [label for atoms in answers for label in sets[atoms].label]
    if len(labels) > MOST_NAMED or not all(labels):
        return []
    wanted = [name for name in (FIRST, MEAN, BEST, ORACLE) if name in methods]
    return [
        {
            "name": label,
            "atoms": atoms,
            "predicted": float(one.expected[0, row].mean()),
            **{method: float(methods[method][atoms][0, row]) for method in wanted},
        }
        for atoms, one in sorted(answers.items())
        for row, label in enumerate(sets[atoms].label)
    ]
