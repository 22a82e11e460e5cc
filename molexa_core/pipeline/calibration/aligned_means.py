"""Mean momenta of coincidences, every event turned as a whole onto the mean.

Sizes averaged event by event are too long where events scatter, since scatter across a momentum
lengthens it: by some per cent for hydrogens in X-ray pulses. So events are turned, all ions
together, onto their mean with the least squared distance, and averaged again until nothing changes
(generalised Procrustes analysis: J. C. Gower, Psychometrika 40, 33 (1975); rotation by W. Kabsch,
Acta Cryst. A 32, 922 (1976)). The mean is then too long by a fraction of the share of the scatter
in the squares of all momenta (`LEFT`); a diatomic flies along one line and gains nothing. Like ions
are matched to the mean by the best of their orders.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Final

import numpy as np

from molexa_core.base.errors import NoEventsError, UsageError
from molexa_core.base.matter.ions import Ion
from molexa_core.base.tables import Coincidences, FloatArray
from molexa_core.frame.axes import without_recoil
from molexa_core.physics.coulomb.batches import explode_many
from molexa_core.physics.virtual.sources import Target
from molexa_core.pipeline.calibration.pairs import FEWEST, Observed, Pairs, floored

LEFT: Final = 0.3
"""What a mean is too long by, relative to the share of the scatter in the squares of all momenta.
0.1 to 0.8 was found for water, SO2 and formaldehyde in Monte-Carlo explosions at rest (5 to 40 fs);
it is taken as uncertain by itself."""
LEFT_OF_TWO: Final = 0.1
"""Uncertainty of the same of two ions, whose scatter is along their line but for the detector."""
MOST_ORDERS: Final = 120
"""Most orders of like ions: five of one kind."""
MOST_EVENTS: Final = 20_000
"""Events with which the mean is found; the others are then turned onto it."""
ROUNDS: Final = 8
_BENT: Final = 0.03


def turned_mean(events: FloatArray, rounds: int = 2) -> tuple[FloatArray, FloatArray]:
    """Mean momenta of sets of events of labelled ions that have nearly one orientation.

    Args:
        events: (s, n, N, 3) a.u.
        rounds: of turning and averaging; two give means to 3e-6 for structures of a ground state.

    Returns:
        (s, N, 3) means, and (s) scatter: mean squared distance from the mean over the square of
        the mean. Not numbers where an event is none.
    """
    failed = ~np.isfinite(events).all(axis=(1, 2, 3))
    known = np.where(failed.reshape(-1, 1, 1, 1), 0.0, events)
    mean = _bent(known.mean(axis=1))
    turned = known
    for _ in range(rounds):
        turned = _turned(known, mean)
        mean = turned.mean(axis=1)
    scatter = np.square(turned - mean[:, None]).sum(axis=(2, 3)).mean(axis=1)
    scatter /= np.maximum(np.square(mean).sum(axis=(1, 2)), 1e-300)
    mean[failed], scatter[failed] = np.nan, np.nan
    return mean, scatter


def observe(table: Coincidences, target: Target) -> Observed:
    """What coincidences of a molecule of known geometry say; their frame does not matter.

    Args:
        table: momenta of the ions of the target, in its order.
        target: the molecule; its instant explosion is the first guess of the mean.

    Raises:
        NoEventsError: fewer than `FEWEST` events, or weights that cancel.
        UsageError: too many like ions.
    """
    finite = np.isfinite(table.momentum).all(axis=(1, 2)) & (table.weight != 0)
    momenta = without_recoil(table.momentum[finite], target.masses)
    weight = table.weight[finite]
    event, place = np.unique(table.event_id[finite], return_inverse=True)
    if len(event) < FEWEST or weight.sum() <= 0:
        raise NoEventsError(
            f"{len(event)} events are too few to calibrate with",
            do=f"Give at least {FEWEST}; some thousands are better.",
        )
    orders = _orders(table.ions)
    guess = explode_many(target.positions[None], target.charges, target.masses, strict=False)
    mean = _bent(guess)[0]
    some = slice(None, MOST_EVENTS)
    for _ in range(ROUNDS):
        turned = _best_turned(momenta[some], mean, orders)
        mean = np.average(turned, axis=0, weights=np.maximum(weight[some], 0.0))
    turned = _best_turned(momenta, mean, orders)
    mean = np.einsum("n,nic->ic", weight, turned) / weight.sum()
    away = weight[:, None] * (turned - mean).reshape(len(turned), -1)
    together = np.stack([np.bincount(place, column) for column in away.T], axis=1)
    more = len(event) / (len(event) - 1)
    covariance = more * together.T @ together / weight.sum() ** 2
    pairs = Pairs(table.ions)
    values, gradient = pairs.sizes(mean[None])[0], pairs.gradient(mean[None])[0]
    per_event = np.bincount(place, weight)
    effective = weight.sum() ** 2 / float(np.square(per_event).sum())
    square = weight @ np.square(turned - mean).sum(axis=(1, 2)) / weight.sum()
    return Observed(
        pairs.names,
        values,
        floored(gradient @ covariance @ gradient.T, values),
        float(effective),
        max(float(square / np.square(mean).sum()), 0.0),
    )


@dataclass(frozen=True)
class Left:
    """What scatter that a prediction lacks does to the sizes of means.

    Attributes:
        offset: (K) a.u., to be added to the prediction.
        covariance: (K, K) of it.
    """

    offset: FloatArray
    covariance: FloatArray


def left_by_scatter(observed: Observed, predicted: float, values: FloatArray, ions: int) -> Left:
    """What is left in the means of events that scatter more than was predicted.

    Args:
        observed: what was measured.
        predicted: scatter that the prediction has.
        values: (K) sizes.
        ions: their number.
    """
    lacking = 0.0
    if observed.scatter is not None and np.isfinite(predicted):
        lacking = max(observed.scatter - predicted, 0.0)
    size, error = (0.0, LEFT_OF_TWO) if ions == 2 else (LEFT, LEFT)
    sigma = error * lacking * values
    return Left(size * lacking * values, np.outer(sigma, sigma))


def _bent(means: FloatArray) -> FloatArray:
    """Means (s, N, 3) of which none is on a line, so that bent events find a common plane."""
    atoms = means.shape[1]
    size = np.sqrt(np.square(means).mean(axis=(1, 2), keepdims=True))
    pattern = np.random.default_rng(5).standard_normal((atoms, 3))
    return np.asarray(means + _BENT * size * (pattern - pattern.mean(axis=0)))


def _turned(events: FloatArray, mean: FloatArray) -> FloatArray:
    """Events (s, n, N, 3) turned onto means (s, N, 3)."""
    return np.asarray(events @ _rotations(events, mean)[0])


def _rotations(events: FloatArray, mean: FloatArray) -> tuple[FloatArray, FloatArray]:
    """(s, n, 3, 3) so that events @ rotation is nearest to the mean; (s, n) overlap with it."""
    overlap = np.einsum("snia,sib->snab", events, mean)
    left, size, right = np.linalg.svd(overlap)
    sign = np.sign(np.linalg.det(left) * np.linalg.det(right))
    left = left.copy()
    left[..., 2] *= sign[..., None]
    gain = size[..., 0] + size[..., 1] + sign * size[..., 2]
    return left @ right, gain


def _best_turned(
    momenta: FloatArray, mean: FloatArray, orders: Sequence[tuple[int, ...]]
) -> FloatArray:
    """(n, N, 3) events turned onto one mean, like ions in the best of their orders."""
    best = np.full(len(momenta), -np.inf)
    found = np.empty_like(momenta)
    for order in orders:
        given = momenta[:, list(order)]
        rotation, gain = _rotations(given[None], mean[None])
        better = gain[0] > best
        found[better] = np.einsum("nia,nab->nib", given[better], rotation[0][better])
        best[better] = gain[0][better]
    return found


def _orders(ions: Sequence[Ion]) -> list[tuple[int, ...]]:
    """All orders in which every place has its kind of ion.

    Raises:
        UsageError: there are too many.
    """
    orders: list[list[int]] = [[0] * len(ions)]
    names = [str(ion) for ion in ions]
    for kind in dict.fromkeys(names):
        places = [i for i, name in enumerate(names) if name == kind]
        each = list(permutations(places)) if len(places) < 7 else []
        if not each or len(orders) * len(each) > MOST_ORDERS:
            raise UsageError(
                f"{len(places)} {kind} are too many like ions for a reference",
                do="Use a molecule with at most five ions of one kind.",
            )
        grown = []
        for order in orders:
            for one in each:
                new = list(order)
                for place, ion in zip(places, one, strict=True):
                    new[place] = ion
                grown.append(new)
        orders = grown
    return [tuple(order) for order in orders]
