"""Evaluate: how good a network is on explosions with known geometries, beside trivial answers.

Errors are the paper's (`frame.measures`), per molecule and then averaged, in the model frame.
Intervals of confidence are bootstrapped over geometries, since entries that differ in the charges
alone are not independent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from molexa_core.base.elements import BY_NUMBER
from molexa_core.base.progress import SILENT, Progress
from molexa_core.base.statistics import bootstrap_mean
from molexa_core.base.tables import FloatArray, IntArray
from molexa_core.frame.measures import angle_errors, distance_errors, mean_absolute_error
from molexa_core.model.batch import Batch
from molexa_core.model.calibration import LEVELS, Calibrations
from molexa_core.model.calibration_fit import open_coordinates
from molexa_core.model.config import SamplerSettings
from molexa_core.model.engine import Engine
from molexa_core.model.inference import predict_batch, prepared
from molexa_core.model.network import Network
from molexa_core.physics.batches import explode_many
from molexa_core.physics.build_up import ErrorFunctionRise
from molexa_core.pipeline.baselines import (
    EQUILIBRIUM,
    NEAREST,
    SCALED,
    ZEROS,
    along_the_momenta,
    equilibrium_positions,
    fitted_bond_factor,
    nearest_in_training,
)
from molexa_core.pipeline.evaluation_sets import Explosions

MEASURES: Final = (
    "mae",
    "mean_distance_error",
    "max_distance_error",
    "mean_angle_error",
    "max_angle_error",
)
"""Errors of a structure; lengths in bohr, angles in degrees."""
FIRST: Final = "one sample"
MEAN: Final = "mean of the samples"
BEST: Final = "best closure"


@dataclass(frozen=True)
class Answers:
    """The network's answers for explosions of one size. B entries, K samples.

    Attributes:
        truth: (B, N, 3) in the model frame, centred, bohr.
        samples: (K, B, N, 3).
        expected: (K, B, N, 3) predicted absolute errors.
        framed: numbers, charges, masses (B, N), momenta (B, N, 3) in the model frame.
        closure: (K, B) closure residuals of the samples by the classical model.
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
        by_uncertainty: fifths of the entries by predicted error: predicted and true mean error.
        diatomics: mean error of bond lengths: network, R = c q1 q2 / KER with c = 1 and c fitted.
        spread: mean standard deviation of a coordinate between samples, bohr.
        coverage: by number of atoms, share of coordinates inside the 68 and 95 % intervals.
        answers: the arrays behind it, by number of atoms.
    """

    rows: dict[str, dict[str, dict[str, Any]]]
    by_uncertainty: list[dict[str, float]]
    diatomics: dict[str, float]
    spread: float | None
    coverage: dict[str, list[float]]
    answers: dict[int, Answers] = field(repr=False, default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain values by name, without the arrays."""
        return {
            "errors": self.rows,
            "by_uncertainty": self.by_uncertainty,
            "diatomics": self.diatomics,
            "spread_bohr": self.spread,
            "coverage": self.coverage,
            "length_unit": "bohr",
            "angle_unit": "degree",
        }


def evaluate(
    network: Network,
    sets: Mapping[int, Explosions],
    *,
    samples: int = 1,
    tau_fs: float = 45.0,
    sampler: SamplerSettings | None = None,
    calibration: Calibrations | None = None,
    training: Mapping[int, Explosions] | None = None,
    seed: int = 0,
    progress: Progress = SILENT,
) -> Evaluation:
    """Measure a network on explosions with known geometries.

    Args:
        network: in evaluation mode.
        sets: by number of atoms (`evaluation_sets`), on the device of the network.
        samples: structures drawn for each entry.
        tau_fs: window of the charge build-up, for the closure.
        sampler: settings other than the network's own.
        calibration: of the intervals, if the network has one.
        training: entries among which to look for the nearest one, for the baseline.
        seed: of the samples.
        progress: where to show it.
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
    return Evaluation(
        rows={name: _groups(errors, clusters) for name, errors in methods.items()},
        by_uncertainty=_by_uncertainty(answers),
        diatomics=_diatomics(answers[2]) if 2 in answers else {},
        spread=_spread(answers) if samples > 1 else None,
        coverage={} if calibration is None else coverage(answers, calibration),
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


def errors_of(positions: FloatArray, truth: FloatArray) -> FloatArray:
    """(measures, B) the errors of each structure in the order of `MEASURES`; diatomics have no
    angles: their angle errors are not numbers.
    """
    distance, angle = distance_errors(positions, truth), angle_errors(positions, truth)
    if angle.shape[1] == 0:
        angle = np.full((len(truth), 1), np.nan)
    return np.stack(
        [
            mean_absolute_error(positions, truth),
            distance.mean(axis=1),
            distance.max(axis=1),
            angle.mean(axis=1),
            angle.max(axis=1),
        ]
    )


def coverage(answers: Mapping[int, Answers], calibration: Calibrations) -> dict[str, list[float]]:
    """Share of the coordinates inside the intervals of each level, by number of atoms and `all`.

    Of those that the momenta leave open (`calibration_fit.open_coordinates`).
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


def _methods(one: Answers, training: Batch | None) -> dict[str, FloatArray]:
    """Positions (B, N, 3) by name of the method."""
    numbers, charges, masses, momenta = one.framed
    found = {FIRST: one.samples[0]}
    if len(one.samples) > 1:
        best = np.argmin(one.closure, axis=0)
        found[MEAN] = one.samples.mean(axis=0)
        found[BEST] = one.samples[best, np.arange(len(best))]
    found[ZEROS] = np.zeros_like(one.truth)
    found[SCALED] = along_the_momenta(charges, masses, momenta)
    symbols = {number: element.symbol for number, element in BY_NUMBER.items()}
    found[EQUILIBRIUM] = equilibrium_positions(numbers, one.truth, symbols)
    if training is not None and training.positions is not None:
        columns = (training.numbers, training.charges, training.momenta, training.positions)
        known = tuple(column.double().cpu().numpy() for column in columns)
        found[NEAREST] = nearest_in_training(numbers, charges, momenta, known)  # type: ignore[arg-type]
    return found


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


def _groups(
    errors: Mapping[int, FloatArray], clusters: Mapping[int, IntArray]
) -> dict[str, dict[str, Any]]:
    """Statistics by number of atoms, for up to 7 and for 8 and more, as the paper, and all."""
    few = [atoms for atoms in errors if atoms < 8]
    many = [atoms for atoms in errors if atoms >= 8]
    groups = {str(atoms): [atoms] for atoms in sorted(errors)}
    groups |= {"below 8": few, "8 and more": many, "all": sorted(errors)}
    found = {}
    for name, members in groups.items():
        if not members:
            continue
        table = np.concatenate([errors[atoms] for atoms in members], axis=1)
        # Geometries are numbered within a set of one size: tell sizes apart.
        cluster = np.concatenate([clusters[atoms] * 64 + atoms for atoms in members])
        if np.isfinite(table[0]).any():
            found[name] = _row(table, cluster)
    return found


def _row(table: FloatArray, cluster: IntArray) -> dict[str, Any]:
    row: dict[str, Any] = {"entries": int(np.isfinite(table[0]).sum())}
    for name, values in zip(MEASURES, table, strict=True):
        known = values[np.isfinite(values)]
        if not len(known):
            continue
        interval = bootstrap_mean(values, cluster)
        row[name] = {
            "mean": interval.mean,
            "low": interval.low,
            "high": interval.high,
            "median": float(np.median(known)),
        }
    return row


def _by_uncertainty(answers: Mapping[int, Answers]) -> list[dict[str, float]]:
    predicted = np.concatenate([one.expected[0].mean(axis=(1, 2)) for one in answers.values()])
    errors = [mean_absolute_error(one.samples[0], one.truth) for one in answers.values()]
    true = np.concatenate(errors)
    order = np.argsort(predicted, kind="stable")
    return [
        {
            "entries": float(len(part)),
            "predicted_mean": float(predicted[part].mean()),
            "mae_mean": float(true[part].mean()),
            "mae_median": float(np.median(true[part])),
        }
        for part in np.array_split(order, 5)
        if len(part)
    ]


def _diatomics(one: Answers) -> dict[str, float]:
    _, charges, masses, momenta = one.framed
    length = np.linalg.norm(one.truth[:, 0] - one.truth[:, 1], axis=1)
    energy = (momenta**2 / (2.0 * masses[..., None])).sum(axis=(1, 2))
    classical = charges[:, 0] * charges[:, 1] / energy
    factor = fitted_bond_factor(charges, masses, momenta, length)
    return {
        "entries": float(len(length)),
        "network": float(distance_errors(one.samples[0], one.truth).mean()),
        "c / KER with c = 1": float(np.abs(classical - length).mean()),
        "c / KER with c fitted": float(np.abs(factor * classical - length).mean()),
        "c fitted": factor,
    }


def _spread(answers: Mapping[int, Answers]) -> float:
    spreads = [one.samples.std(axis=0, ddof=1).ravel() for one in answers.values()]
    return float(np.concatenate(spreads).mean())
