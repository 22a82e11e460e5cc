"""Mean momentum of every ion in the molecular frame, with its standard error.

Rows of the same event are not independent: the error treats all rows of an event as one cluster
(cluster-robust sandwich estimate of a weighted mean). With weights w and the mean m = sum w x /
sum w, each event e contributes u_e = sum over its rows of w (x - m), and

    var(m) = E / (E - 1) * sum_e u_e^2 / (sum w)^2,  E events.

With one row per event and equal weights this is the usual s^2 / E. No random numbers are used.

Where false coincidences are known they are subtracted: m = (sum w x - sum w_f x_f) / (sum w - sum
w_f), and the shots take the place of the events (`base.subtraction`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from molexa_core.base.errors import NoEventsError
from molexa_core.base.fields import COUNT, ION, LABEL, MOMENTUM, MOMENTUM_ERROR
from molexa_core.base.subtraction import true_mean
from molexa_core.base.tables import Coincidences, FloatArray, ion_labels
from molexa_core.base.units import HARTREE_EV
from molexa_core.frame.role_columns import ONLY


def centroids(table: Coincidences) -> pd.DataFrame:
    """One row per ion: mean momentum, its standard error, number of events, label.

    Args:
        table: momenta in a common frame; rows of one event share its `event_id`.

    Returns:
        Columns `ion`, `px`, `py`, `pz`, `px_err`, `py_err`, `pz_err` in a.u., `count` (effective
        number of events: the number of events if all have the same weight; with false coincidences
        the number of events of which the yield would be known as well, at most that of the true
        coincidences), `label` (the ion with
        its number among like ions, and its role if the table's meta has roles). The errors of a
        single event are NaN.

    Raises:
        NoEventsError: no event with a weight, or no true coincidence beyond two standard errors.
    """
    total = float(table.weight.sum())
    if not len(table) or total <= 0:
        raise NoEventsError(
            "no events to average", do="Look at the summaries of molexa reduce and molexa align."
        )
    if table.false is not None and len(table.false):
        return _of_true(table, table.false)
    mean = np.average(table.momentum, axis=0, weights=table.weight)
    event, by_event = np.unique(table.event_id, return_inverse=True)
    error = _standard_error(table, mean, by_event, len(event))
    per_event = np.bincount(by_event, weights=table.weight)
    effective = total**2 / float(np.square(per_event).sum())
    return _rows(table, mean, error, effective)


def _of_true(table: Coincidences, false: Coincidences) -> pd.DataFrame:
    """`centroids` with the false coincidences subtracted."""
    flat = table.momentum.reshape(len(table), -1), false.momentum.reshape(len(false), -1)
    found = true_mean(table, *flat)
    if not found.certain:
        raise NoEventsError(
            f"{found.number:.0f} +- {found.number_error:.0f} true coincidences among "
            f"{table.weight.sum():.0f}: no mean momentum is certain",
            do="Make the gates narrower, or take data at a lower rate.",
        )
    shape = (len(table.ions), 3)
    # Of a fixed number of shots the yield is known a little better than to 1 / sqrt(number).
    effective = min((found.number / found.number_error) ** 2, found.number)
    return _rows(table, found.mean.reshape(shape), found.error.reshape(shape), effective)


def _rows(
    table: Coincidences, mean: FloatArray, error: FloatArray, effective: float
) -> pd.DataFrame:
    columns: dict[str, object] = {ION: [str(ion) for ion in table.ions]}
    columns |= {name: mean[:, axis] for axis, name in enumerate(MOMENTUM)}
    columns |= {name: error[:, axis] for axis, name in enumerate(MOMENTUM_ERROR)}
    columns[COUNT] = np.full(len(table.ions), round(effective, 3))
    columns[LABEL] = _labels(table)
    return pd.DataFrame(columns)


LOW: Final = 0.9
"""Energies of the mean momenta below this share of the mean energy are said to be low."""


@dataclass(frozen=True)
class EnergyKept:
    """What averaging leaves of the energy.

    Attributes:
        of_means: kinetic energy release of the mean momenta, eV.
        mean: mean of the kinetic energy release of the events, eV.
    """

    of_means: float
    mean: float

    @property
    def ratio(self) -> float:
        """The first over the second: 1 if all events are alike, less the more they differ."""
        return self.of_means / self.mean

    @property
    def low(self) -> bool:
        """Whether averaging has lost much of it."""
        return self.ratio < LOW

    def to_dict(self) -> dict[str, float | str]:
        """Plain values by name."""
        return {
            "of_means_ev": self.of_means,
            "mean_ev": self.mean,
            "ratio": self.ratio,
            "meaning": self.sentence,
        }

    @property
    def sentence(self) -> str:
        """The numbers in words, and what it means if the ratio is low."""
        numbers = (
            f"kinetic energy release of the mean momenta {self.of_means:.2f} eV, mean of the "
            f"events {self.mean:.2f} eV, ratio {self.ratio:.3f}"
        )
        if not self.low:
            return numbers
        return (
            f"{numbers}: averaging loses energy, because the molecule is floppy or the frame does "
            "not hold all ions; distances from these means are off by more than their errors say, "
            "so reconstruct the events (molexa reconstruct run.events.h5)"
        )


def energy_kept(table: Coincidences) -> EnergyKept | None:
    """What averaging leaves of the kinetic energy release of events in a molecular frame.

    Args:
        table: momenta in a common frame, a.u.

    Returns:
        None where no event has weight or energy.
    """
    if not len(table) or float(table.weight.sum()) <= 0:
        return None
    mass = np.array([ion.mass for ion in table.ions])
    energy = table.kinetic_energy().sum(axis=1) * HARTREE_EV
    if table.false is not None and len(table.false):
        false = table.false
        flat = table.momentum.reshape(len(table), -1), false.momentum.reshape(len(false), -1)
        mean = true_mean(table, *flat).mean.reshape(len(table.ions), 3)
        of_false = false.kinetic_energy().sum(axis=1) * HARTREE_EV
        whole = float(true_mean(table, energy, of_false).mean[0])
    else:
        mean = np.average(table.momentum, axis=0, weights=table.weight)
        whole = float(np.average(energy, weights=table.weight))
    of_means = float((np.square(mean).sum(axis=1) / (2.0 * mass)).sum()) * HARTREE_EV
    return EnergyKept(of_means, whole) if whole > 0 else None


def scatter(table: Coincidences) -> list[float]:
    """Standard deviation of a momentum component of each ion about its mean, a.u., over all events.

    Where several rows of an event are equivalent by symmetry, the errors of the means are smaller
    than this over the root of the number of events: what one assignment gives too much, the others
    give too little. It is this scatter that tells how far averaging has changed the means.
    """
    momentum, weight = table.momentum, table.weight
    if table.false is not None and len(table.false):
        momentum = np.concatenate([momentum, table.false.momentum])
        weight = np.concatenate([weight, -table.false.weight])
    total = float(weight.sum())
    if total <= 0.0:
        return [float("nan")] * len(table.ions)
    mean = np.einsum("n,nic->ic", weight, momentum) / total
    square = np.einsum("n,nic->i", weight, np.square(momentum - mean)) / total
    return [float(value) for value in np.sqrt(np.maximum(square, 0.0) / 3.0)]


def _standard_error(
    table: Coincidences, mean: FloatArray, by_event: np.ndarray, events: int
) -> FloatArray:
    """(ions, 3) standard error of the mean, with the rows of an event as one cluster."""
    if events < 2:
        return np.full(mean.shape, np.nan)
    error = np.empty(mean.shape)
    for ion in range(mean.shape[0]):
        for axis in range(3):
            away = table.weight * (table.momentum[:, ion, axis] - mean[ion, axis])
            together = np.bincount(by_event, weights=away, minlength=events)
            error[ion, axis] = np.sqrt(np.square(together).sum() * events / (events - 1))
    scaled: FloatArray = error / table.weight.sum()
    return scaled


def _labels(table: Coincidences) -> list[str]:
    labels = ion_labels(table.ions)
    roles = table.meta.get("roles")
    if not isinstance(roles, list | tuple) or len(roles) != len(labels):
        return labels
    return [
        label if role == ONLY else f"{label} ({role})"
        for label, role in zip(labels, roles, strict=True)
    ]
