"""Statistics of the errors of structures: by size, by predicted error, spread of samples.

Errors are those of the paper (`geometry.measures`), per molecule and then averaged. Confidence
intervals are bootstrapped over geometries, since entries that differ only in the charges are not
independent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from molexa_core.base.mathematics.statistics import bootstrap_mean
from molexa_core.base.tables import FloatArray, IntArray
from molexa_core.geometry.measures import angle_errors, distance_errors, mean_absolute_error
from molexa_core.pipeline.evaluation.baselines import fitted_bond_factor

MEASURES: Final = (
    "mae",
    "mean_distance_error",
    "max_distance_error",
    "mean_angle_error",
    "max_angle_error",
)
"""Errors of a structure; lengths in bohr, angles in degrees."""
SHARES: Final = (0.1, 0.25, 0.5, 0.75, 1.0)
"""Shares of the entries with the smallest predicted error that are evaluated separately."""


def errors_of(positions: FloatArray, truth: FloatArray) -> FloatArray:
    """(measures, B) errors of each structure in the order of `MEASURES`; the angle errors of
    diatomics are NaN.
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


def by_group(
    errors: Mapping[int, FloatArray], clusters: Mapping[int, IntArray]
) -> dict[str, dict[str, Any]]:
    """Statistics by number of atoms, for up to 7, for 8 and more (as in the paper), and for all.

    Args:
        errors: by number of atoms, (measures, B) of `errors_of`.
        clusters: by number of atoms, (B); entries with the same number are not independent.
    """
    few = [atoms for atoms in errors if atoms < 8]
    many = [atoms for atoms in errors if atoms >= 8]
    groups = {str(atoms): [atoms] for atoms in sorted(errors)}
    groups |= {"below 8": few, "8 and more": many, "all": sorted(errors)}
    found = {}
    for name, members in groups.items():
        if not members:
            continue
        table = np.concatenate([errors[atoms] for atoms in members], axis=1)
        # Geometries are numbered within one size: make the numbers unique across sizes.
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


def by_predicted_error(errors: FloatArray, predicted: FloatArray) -> list[dict[str, float]]:
    """Predicted and true errors in fifths of the entries, the most certain fifth first.

    Args:
        errors: (measures, B) of `errors_of`.
        predicted: (B) mean predicted error of a coordinate, bohr.
    """
    order = np.argsort(predicted, kind="stable")
    return [
        _uncertainty_row(errors, predicted, part) for part in np.array_split(order, 5) if len(part)
    ]


def most_certain(errors: FloatArray, predicted: FloatArray) -> list[dict[str, float]]:
    """Predicted and true errors of the most certain 10, 25, 50, 75 % and of all entries."""
    order = np.argsort(predicted, kind="stable")
    return [
        {"share": share}
        | _uncertainty_row(errors, predicted, order[: max(round(share * len(order)), 1)])
        for share in SHARES
        if len(order)
    ]


def _uncertainty_row(errors: FloatArray, predicted: FloatArray, part: IntArray) -> dict[str, float]:
    row = {
        "entries": float(len(part)),
        "predicted_mean": float(predicted[part].mean()),
        "predicted_most": float(predicted[part].max()),
        "mae_median": float(np.median(errors[0, part])),
    }
    for name, values in zip(MEASURES, errors[:, part], strict=True):
        if np.isfinite(values).any():
            row[f"{name}_mean"] = float(np.nanmean(values))
    return row


def ranking(errors: Sequence[FloatArray], predicted: Sequence[FloatArray]) -> dict[str, float]:
    """Correlation of predicted and true error, between entries and between samples of one entry.

    The estimate of the published network distinguishes good from bad entries, but does not find the
    best of several samples of one entry.

    Args:
        errors: by number of atoms, (K, B) MAE of each sample.
        predicted: by number of atoms, (K, B) predicted error of each sample.
    """
    first = np.concatenate([one[0] for one in errors])
    other = np.concatenate([one[0] for one in predicted])
    found = {}
    if len(first) > 2:
        found["between_entries"] = _correlation(first, other)
        found["between_entries_by_rank"] = _correlation(_ranks(first), _ranks(other))
    if len(errors) and errors[0].shape[0] > 1:
        inner = [one - one.mean(axis=0) for one in errors]
        outer = [one - one.mean(axis=0) for one in predicted]
        found["between_samples_of_an_entry"] = _correlation(
            np.concatenate([one.ravel() for one in inner]),
            np.concatenate([one.ravel() for one in outer]),
        )
    return found


def spread(samples: Mapping[int, FloatArray]) -> dict[str, dict[str, float]]:
    """Spread of repeated predictions of one entry, by number of atoms and `all`.

    Args:
        samples: by number of atoms, (K, B, N, 3) bohr, K at least 2.

    Returns:
        `deviation`: mean standard deviation of a coordinate; `difference`: mean absolute
        difference of a coordinate between two predictions, as in the paper; bohr.
    """
    deviation = {n: one.std(axis=0, ddof=1).ravel() for n, one in samples.items()}
    difference = {n: np.abs(one[1:] - one[:-1]).ravel() for n, one in samples.items()}
    names = {str(n): [n] for n in sorted(samples)} | {"all": sorted(samples)}
    return {
        name: {
            "deviation": float(np.concatenate([deviation[n] for n in members]).mean()),
            "difference": float(np.concatenate([difference[n] for n in members]).mean()),
        }
        for name, members in names.items()
    }


def diatomics(
    errors: FloatArray,
    truth: FloatArray,
    charges: FloatArray,
    masses: FloatArray,
    momenta: FloatArray,
    cluster: IntArray,
) -> dict[str, float]:
    """Mean error of bond lengths, bohr: the network, and R = c q1 q2 / KER with c = 1 and fitted.

    Args:
        errors: (measures, B) of the network.
        truth: (B, 2, 3) positions, bohr.
        charges: (B, 2).
        masses: (B, 2) electron masses.
        momenta: (B, 2, 3) a.u.
        cluster: (B) entries of one geometry.
    """
    length = np.linalg.norm(truth[:, 0] - truth[:, 1], axis=1)
    energy = (momenta**2 / (2.0 * masses[..., None])).sum(axis=(1, 2))
    classical = charges[:, 0] * charges[:, 1] / energy
    factor = fitted_bond_factor(charges, masses, momenta, length)
    network = errors[MEASURES.index("mean_distance_error")]
    interval = bootstrap_mean(network, cluster)
    return {
        "entries": float(len(length)),
        "network": interval.mean,
        "network low": interval.low,
        "network high": interval.high,
        "network median": float(np.median(network)),
        "c / KER with c = 1": float(np.abs(classical - length).mean()),
        "c / KER with c fitted": float(np.abs(factor * classical - length).mean()),
        "c fitted": factor,
    }


def _correlation(one: FloatArray, other: FloatArray) -> float:
    if one.std() == 0.0 or other.std() == 0.0:
        return 0.0
    return float(np.corrcoef(one, other)[0, 1])


def _ranks(values: FloatArray) -> FloatArray:
    return np.argsort(np.argsort(values, kind="stable"), kind="stable").astype(np.float64)
