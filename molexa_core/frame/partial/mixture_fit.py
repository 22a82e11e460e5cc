"""Mixture of peaks in momentum space, one per detected atom, under unknown orientations.

Model of an event. The molecule has a mean momentum mu_a and a covariance for every atom a, in a
frame fixed to it; the frame is turned at random. Each ion of the molecule is detected with a
probability that is the same for like ions; which atom it was is not known. Besides there are false
ions, whose directions have nothing to do with the molecule: their density depends on the size of
the momentum alone and is taken from the data. Events whose ions are all unrelated are a part of
their own. Everything is fitted together by expectation maximisation (`kernel`), so that an event
belongs to several assignments, with weights, where its momenta leave it open.

Starts are real events, taken where like events are frequent. Atoms that such an event lacks are
added one after the other at the densest place of the ions that no peak explains so far.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import factorial
from typing import Final

import numpy as np
from scipy.special import expit

from molexa_core.base.tables import FloatArray, IntArray, offsets_of
from molexa_core.frame.partial.groups import Events, Kind
from molexa_core.frame.partial.kernel import expect

BINS: Final = 48
"""Bins of the sizes of momenta for the density of false ions."""
FLOOR: Final = 0.05
"""Share of the density of false ions that is spread evenly over all sizes."""
START_WIDTH: Final = 0.16
"""Standard deviation of a component at the start, in units of the momentum."""
LEAST_WIDTH: Final = 0.3
"""Smallest standard deviation of a component, a.u."""
SAMPLE: Final = 1200
"""Events on which starts are compared."""
ROUNDS: Final = 60
TOLERANCE: Final = 2e-4
"""The fit has converged if no mean moves by more than this share of its size."""
_ROTATIONS: Final = float(np.log((2.0 * np.pi) ** 1.5 / (8.0 * np.pi**2)))
_GAUSSIAN: Final = float(1.5 * np.log(2.0 * np.pi))


@dataclass(frozen=True)
class Peaks:
    """The peaks and all other parameters of the mixture.

    Attributes:
        kind: (peaks) number of the kind, ascending.
        mean: (peaks, 3) a.u.
        covariance: (peaks, 3, 3).
        efficiency: (kinds) probability that an ion of the kind is detected.
        false_rate: (kinds) mean number of false ions of the kind in a true event.
        edges: (bins + 1) sizes of momenta, a.u.
        false_sizes, event_sizes: (kinds, bins) share of false ions per bin, in true events and in
            events of unrelated ions.
        event_counts: (kinds) mean number of ions in events of unrelated ions.
        purity: share of true events.
    """

    kind: IntArray
    mean: FloatArray
    covariance: FloatArray
    efficiency: FloatArray
    false_rate: FloatArray
    edges: FloatArray
    false_sizes: FloatArray
    event_sizes: FloatArray
    event_counts: FloatArray
    purity: float

    def first(self, kinds: int) -> IntArray:
        """(kinds + 1) first peak of each kind."""
        return offsets_of(np.bincount(self.kind, minlength=kinds))

    def with_peak(self, kind: int, mean: FloatArray, covariance: FloatArray) -> Peaks:
        """One more peak."""
        at = int(np.searchsorted(self.kind, kind, side="right"))
        return replace(
            self,
            kind=np.insert(self.kind, at, kind),
            mean=np.insert(self.mean, at, mean, axis=0),
            covariance=np.insert(self.covariance, at, covariance, axis=0),
        )


@dataclass(frozen=True)
class Expectation:
    """What the events say to the peaks.

    Attributes:
        share: (ions, most peaks) probability of each peak of the ion's kind.
        log_odds: (events) logarithm of the odds that the event is true.
        rotation: (events, 3, 3) most likely orientation: from the input frame to that of the peaks.
        handed: (events) -1 where the mirror image fits.
        sums, squares, counts: weighted sums over the ions, per peak.
        likelihood: logarithm.
    """

    share: FloatArray
    log_odds: FloatArray
    rotation: FloatArray
    handed: IntArray
    sums: FloatArray
    squares: FloatArray
    counts: FloatArray
    likelihood: float

    @property
    def true(self) -> FloatArray:
        """(events) probability that the event is true."""
        found: FloatArray = expit(self.log_odds)
        return found


def sizes_of(events: Events) -> tuple[FloatArray, FloatArray]:
    """Edges of the sizes, and the share of all ions of each kind per bin."""
    size = np.linalg.norm(events.momentum, axis=1)
    edges = np.linspace(0.0, float(size.max()) * 1.001 + 1e-9, BINS + 1)
    shares = np.array([_histogram(size[events.kind == k], edges) for k in range(len(events.kinds))])
    return edges, shares


def begin(events: Events, kind: Sequence[int], mean: FloatArray) -> Peaks:
    """Peaks at the momenta of a start, and plain values of all else."""
    edges, shares = sizes_of(events)
    kinds = len(events.kinds)
    number = np.asarray(kind, np.int64)
    order = np.argsort(number, kind="stable")
    mean = np.asarray(mean, np.float64)[order]
    size = np.maximum(np.linalg.norm(mean, axis=1), 1.0)
    per_event = np.array([events.counts(k).mean() for k in range(kinds)])
    count = np.array([item.count for item in events.kinds], float)
    return Peaks(
        kind=number[order],
        mean=mean,
        covariance=np.square(START_WIDTH * size)[:, None, None] * np.eye(3),
        efficiency=np.clip(per_event / count, 0.05, 0.9),
        false_rate=np.maximum(0.2 * per_event, 0.02),
        edges=edges,
        false_sizes=shares,
        event_sizes=shares,
        event_counts=np.maximum(per_event, 0.05),
        purity=0.5,
    )


def examine(
    events: Events,
    peaks: Peaks,
    anchor: int,
    *,
    mirror: bool = False,
    orientation: tuple[FloatArray, IntArray] | None = None,
) -> Expectation:
    """Compare all events with the peaks: the expectation step.

    Args:
        events: the events.
        peaks: the peaks.
        anchor: kind of the reference ion.
        mirror: whether the mirror image occurs as often.
        orientation: orientations and handedness to begin with, from an earlier call; all are
            searched if None.
    """
    kinds = events.kinds
    first = peaks.first(len(kinds))
    size = np.linalg.norm(events.momentum, axis=1)
    complete = np.array([kind.complete for kind in kinds])
    false = _log_density(size, events.kind, peaks.edges, peaks.false_sizes)
    false += np.log(np.where(complete, 1.0, peaks.false_rate))[events.kind]
    log_norm = -_GAUSSIAN - 0.5 * np.linalg.slogdet(peaks.covariance)[1]
    odds = np.log(peaks.efficiency) - np.log1p(-peaks.efficiency)
    log_norm += np.where(complete, 0.0, odds)[peaks.kind]
    share = np.zeros((len(events.kind), int(np.diff(first).max())))
    n = len(events)
    begun = np.zeros((n, 3, 3)) if orientation is None else orientation[0]
    rotation = np.zeros((n, 3, 3))
    handed = np.ones(n, np.int8) if orientation is None else orientation[1].astype(np.int8)
    atoms = len(peaks.kind)
    sums, squares, counts = np.zeros((atoms, 3)), np.zeros((atoms, 3, 3)), np.zeros(atoms)
    log_odds = np.zeros(n)
    likelihood = expect(
        events.offsets,
        events.momentum,
        events.kind,
        events.weight,
        false,
        _log_unrelated(events, peaks, size),
        first,
        complete,
        peaks.mean,
        np.asarray(np.linalg.inv(peaks.covariance), np.float64),
        3.0 / np.trace(peaks.covariance, axis1=1, axis2=2),
        log_norm,
        _log_true(kinds, first, peaks),
        anchor,
        mirror,
        begun,
        orientation is not None,
        share,
        log_odds,
        rotation,
        handed,
        sums,
        squares,
        counts,
    )
    return Expectation(
        share, log_odds, rotation, handed.astype(np.int64), sums, squares, counts, likelihood
    )


def maximise(events: Events, peaks: Peaks, found: Expectation) -> Peaks:
    """New parameters from an expectation step; a peak without ions stays where it is."""
    kinds = len(events.kinds)
    counts = np.maximum(found.counts, 1e-9)
    enough = found.counts > 4.0
    mean = np.where(enough[:, None], found.sums / counts[:, None], peaks.mean)
    covariance = found.squares / counts[:, None, None] - mean[:, :, None] * mean[:, None, :]
    covariance = np.where(enough[:, None, None], _positive(covariance), peaks.covariance)
    matched = found.share.sum(axis=1)
    event = events.event
    weight = events.weight[event]
    truth = found.true[event]
    whole = max(float((events.weight * found.true).sum()), 1e-9)
    rest = max(float((events.weight * (1.0 - found.true)).sum()), 1e-9)
    size = np.linalg.norm(events.momentum, axis=1)
    false = np.clip(weight * (truth - matched), 0.0, None)
    outside = np.clip(weight * (1.0 - truth), 0.0, None)
    first = peaks.first(kinds)
    efficiency, rate, counts_out = np.empty(kinds), np.empty(kinds), np.empty(kinds)
    false_sizes, event_sizes = peaks.false_sizes.copy(), peaks.event_sizes.copy()
    for k in range(kinds):
        mine = events.kind == k
        here = slice(first[k], first[k + 1])
        efficiency[k] = found.counts[here].sum() / (whole * max(first[k + 1] - first[k], 1))
        rate[k] = false[mine].sum() / whole
        counts_out[k] = outside[mine].sum() / rest
        if false[mine].sum() > 5.0:
            false_sizes[k] = _histogram(size[mine], peaks.edges, false[mine])
        if outside[mine].sum() > 20.0:
            event_sizes[k] = _histogram(size[mine], peaks.edges, outside[mine])
    return replace(
        peaks,
        mean=mean,
        covariance=covariance,
        efficiency=np.clip(efficiency, 0.01, 0.98),
        false_rate=np.maximum(rate, 1e-3),
        false_sizes=false_sizes,
        event_sizes=event_sizes,
        event_counts=np.maximum(counts_out, 0.02),
        purity=float(np.clip(whole / (whole + rest), 0.01, 0.99)),
    )


def settle(
    events: Events,
    peaks: Peaks,
    anchor: int,
    rounds: int,
    *,
    mirror: bool = False,
    impose: Callable[[Peaks], Peaks] | None = None,
) -> tuple[Peaks, Expectation]:
    """Expectation and maximisation in turns until nothing moves.

    Args:
        events: the events.
        peaks: the peaks to begin with.
        anchor: kind of the reference ion.
        rounds: most rounds.
        mirror: whether the mirror image occurs as often.
        impose: applied to the peaks after every round.
    """
    found = examine(events, peaks, anchor, mirror=mirror)
    for number in range(rounds):
        moved = maximise(events, peaks, found)
        if impose is not None:
            moved = impose(moved)
        size = np.linalg.norm(moved.mean, axis=1).max()
        shift = float(np.linalg.norm(moved.mean - peaks.mean, axis=1).max())
        peaks = moved
        # Orientations are searched anew every third time, and improved in between.
        again = None if number % 3 == 2 or number < 3 else (found.rotation, found.handed)
        found = examine(events, peaks, anchor, mirror=mirror, orientation=again)
        if shift < TOLERANCE * size:
            break
    return peaks, found


def unexplained(events: Events, found: Expectation, kind: int) -> FloatArray | None:
    """The densest place of ions of a kind that no peak explains, a.u.; None without any."""
    event = events.event
    mine = events.kind == kind
    left = found.true[event] - found.share.sum(axis=1)
    weight = np.clip(left * events.weight[event], 0.0, None)[mine]
    hand = np.ones((mine.sum(), 3))
    hand[:, 2] = found.handed[event[mine]]
    ions = np.einsum("nij,nj->ni", found.rotation[event[mine]], events.momentum[mine] * hand)
    if weight.sum() < 3.0:
        return None
    size = np.linalg.norm(ions, axis=1)
    width = START_WIDTH * float(np.average(size, weights=weight))
    sure = np.flatnonzero(weight > 0.1)
    if not len(sure):
        return None
    centres = ions[sure[:: max(1, len(sure) // 300)]]
    near = np.exp(-0.5 * np.square(ions[None] - centres[:, None]).sum(axis=2) / np.square(width))
    density = (near * weight).sum(axis=1)
    best = int(np.argmax(density))
    share = near[best] * weight
    place: FloatArray = (share[:, None] * ions).sum(axis=0) / share.sum()
    return place


def grow(
    events: Events, start: Peaks, anchor: int, atoms: Sequence[int], *, mirror: bool = False
) -> tuple[Peaks, Expectation] | None:
    """Add peaks to a start until every kind has as many as it has atoms."""
    peaks, found = settle(events, start, anchor, 3, mirror=mirror)
    while True:
        have = np.bincount(peaks.kind, minlength=len(atoms))
        lacking = [k for k, count in enumerate(atoms) if have[k] < count]
        if not lacking:
            return settle(events, peaks, anchor, 12, mirror=mirror)
        kind = lacking[0]
        place = unexplained(events, found, kind)
        if place is None:
            return None
        size = max(float(np.linalg.norm(place)), 1.0)
        peaks = peaks.with_peak(kind, place, np.square(START_WIDTH * size) * np.eye(3))
        peaks, found = settle(events, peaks, anchor, 2, mirror=mirror)


def templates(events: Events, wanted: int) -> IntArray:
    """Events to start from: the most ions, at frequent sizes; spread over the sample."""
    size = np.linalg.norm(events.momentum, axis=1)
    edges, shares = sizes_of(events)
    place = np.clip(np.searchsorted(edges, size) - 1, 0, BINS - 1)
    score = np.log(shares[events.kind, place] + 1e-3) + 3.0
    total = np.bincount(events.event, weights=score, minlength=len(events))
    most = np.array([k.count for k in events.kinds])
    fits = np.ones(len(events), dtype=np.bool_)
    for k in range(len(most)):
        fits &= events.counts(k) <= most[k]
    total = np.where(fits & (events.weight > 0), total, -np.inf)
    ranked = np.argsort(-total, kind="stable")
    ranked = ranked[np.isfinite(total[ranked])]
    best = ranked[: max(4 * wanted, len(ranked) // 10)]
    spread: IntArray = best[np.linspace(0, len(best) - 1, min(wanted, len(best))).astype(int)]
    return spread


def _log_true(kinds: tuple[Kind, ...], first: IntArray, peaks: Peaks) -> float:
    """Constants of the likelihood of a true event."""
    total = float(np.log(peaks.purity)) + _ROTATIONS
    for k, kind in enumerate(kinds):
        atoms = int(first[k + 1] - first[k])
        if kind.complete:
            total -= float(np.log(factorial(kind.count)))
        else:
            total += atoms * float(np.log1p(-peaks.efficiency[k])) - float(peaks.false_rate[k])
    return total


def _log_unrelated(events: Events, peaks: Peaks, size: FloatArray) -> FloatArray:
    """(events) log likelihood of ions that have nothing to do with each other."""
    density = _log_density(size, events.kind, peaks.edges, peaks.event_sizes)
    sums = np.bincount(events.event, weights=density, minlength=len(events))
    total: FloatArray = sums + np.log1p(-peaks.purity)
    for k, kind in enumerate(events.kinds):
        if not kind.complete:
            # Poisson probability of the number, times its permutations.
            mean = peaks.event_counts[k]
            total = total + events.counts(k) * np.log(mean) - mean
    return total


def _log_density(
    size: FloatArray, kind: IntArray, edges: FloatArray, shares: FloatArray
) -> FloatArray:
    """(ions) log density in momentum space of ions that fly anywhere, from shares per size."""
    volume = 4.0 / 3.0 * np.pi * np.diff(edges**3)
    even = volume / volume.sum()
    density = ((1.0 - FLOOR) * shares + FLOOR * even) / volume
    place = np.clip(np.searchsorted(edges, size, side="right") - 1, 0, len(volume) - 1)
    found: FloatArray = np.log(density)[kind, place]
    return found


def _histogram(
    size: FloatArray, edges: FloatArray, weights: FloatArray | None = None
) -> FloatArray:
    counts = np.histogram(size, edges, weights=weights)[0].astype(float)
    smooth = np.convolve(np.pad(counts, 2, mode="edge"), [0.1, 0.2, 0.4, 0.2, 0.1], "valid")
    total = smooth.sum()
    found: FloatArray = smooth / total if total > 0 else np.full(len(counts), 1.0 / len(counts))
    return found


def _positive(covariance: FloatArray) -> FloatArray:
    """Covariances with eigenvalues above the least width."""
    values, vectors = np.linalg.eigh(0.5 * (covariance + covariance.transpose(0, 2, 1)))
    values = np.maximum(values, LEAST_WIDTH**2)
    found: FloatArray = np.einsum("aij,aj,akj->aik", vectors, values, vectors)
    return found
