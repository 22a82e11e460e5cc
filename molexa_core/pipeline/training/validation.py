"""Errors of a network, as defined in the paper, on molecules outside its training."""

from __future__ import annotations

import numpy as np

from molexa_core.base.progress import SILENT, Progress
from molexa_core.geometry.measures import angle_errors, distance_errors, mean_absolute_error
from molexa_core.network.batch import Batch
from molexa_core.network.config import SamplerSettings
from molexa_core.network.inference.answers import predict_batch
from molexa_core.network.inference.engine import Engine
from molexa_core.network.network import Network


def predict(
    network: Network | Engine, batch: Batch, *, seed: int, sampler: SamplerSettings | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """One sample per molecule, in the model frame.

    Args:
        network: in evaluation mode, on the device of the batch.
        batch: with positions.
        seed: of the samples.
        sampler: settings that replace those of the network.

    Returns:
        Predicted and true positions (B, N, 3) in bohr, centred; expected errors (B, N, 3); and
        the mask (B, N).
    """
    positions, expected, framed = predict_batch(network, batch, seed=seed, sampler=sampler)
    truth = framed.positions
    if truth is None:
        msg = "validation needs positions"
        raise ValueError(msg)
    arrays = (positions, truth, expected, framed.present[..., 0] > 0)
    predicted, true, uncertain, mask = (array.cpu().numpy() for array in arrays)
    return predicted.astype(float), true.astype(float), uncertain.astype(float), mask


def validate(
    network: Network,
    batches: list[Batch],
    *,
    seed: int = 0,
    sampler: SamplerSettings | None = None,
    progress: Progress = SILENT,
) -> dict[str, dict[str, float | None]]:
    """Errors of one sample per molecule, in total and by number of atoms.

    Args:
        network: in evaluation mode.
        batches: molecules with positions.
        seed: of the samples.
        sampler: settings that replace those of the network.
        progress: display of the progress.

    Returns:
        By number of atoms and for `all`: `molecules`, mean and median MAE, mean of the mean and
        of the largest distance error (bohr) and angle error (degrees), MAE of the prediction
        zero, and the mean predicted error.
    """
    columns: dict[int, list[np.ndarray]] = {}
    engine = Engine(network)
    with progress.task("validating", len(batches), "batches") as task:
        for number, batch in enumerate(batches):
            predicted, true, expected, mask = predict(
                engine, batch, seed=seed + number, sampler=sampler
            )
            sizes = mask.sum(1)
            for size in np.unique(sizes):
                rows = sizes == size
                n = int(size)
                columns.setdefault(n, []).append(
                    _error_columns(predicted[rows, :n], true[rows, :n], expected[rows, :n])
                )
            task.advance()
    merged = {size: np.concatenate(parts, axis=1) for size, parts in sorted(columns.items())}
    result = {str(size): _row(table) for size, table in merged.items()}
    result["all"] = _row(np.concatenate(list(merged.values()), axis=1))
    return result


def _error_columns(predicted: np.ndarray, true: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """(columns, B) errors of molecules of one size; the angle errors of diatomics are NaN."""
    distance = distance_errors(predicted, true)
    angle = angle_errors(predicted, true)
    if angle.shape[1] == 0:
        angle = np.full((len(predicted), 1), np.nan)
    return np.stack(
        [
            mean_absolute_error(predicted, true),
            distance.mean(1),
            distance.max(1),
            angle.mean(1),
            angle.max(1),
            np.abs(true).mean((1, 2)),
            expected.mean((1, 2)),
        ]
    )


def _row(table: np.ndarray) -> dict[str, float | None]:
    names = (
        "mae_mean",
        "distance_error_mean",
        "distance_error_max",
        "angle_error_mean",
        "angle_error_max",
        "mae_of_zeros",
        "predicted_error_mean",
    )
    row: dict[str, float | None] = {
        "molecules": float(table.shape[1]),
        "mae_median": round(float(np.median(table[0])), 5),
    }
    for name, values in zip(names, table, strict=True):
        # The angle errors of diatomics are NaN and are left out of the means.
        known = np.isfinite(values)
        row[name] = round(float(values[known].mean()), 5) if known.any() else None
    return row
