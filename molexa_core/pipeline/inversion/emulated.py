"""Distributions that follow the posterior closely: a quadratic model of what was computed.

Near a maximum the error-weighted residuals are smooth: a polynomial of second order in all
unknowns, fitted to the draws that were weighed so far, gives them to a tenth of their error. With
it the posterior can be asked a million times: Markov chains draw from it, and its integral is
known from many draws of a broad distribution. Such draws are then weighed as all others are, by
the true posterior over the density that they were drawn from (`adaptive`): where the model is
wrong, weights differ, and nothing else is lost. A tenth of the draws is broad, so that none is too
rare.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.special import gammaln

from molexa_core.base import interruption
from molexa_core.base.tables import FloatArray, IntArray
from molexa_core.pipeline.inversion.problem import Parts, Problem

CHAINS: Final = 160
"""Chains of a maximum."""
SETTLING: Final = 120
"""Steps before states are taken ..."""
APART: Final = 30
"""... and from one to the next."""
BROAD: Final = 0.12
"""Share of the draws that are broad."""
FREEDOM: Final = 6.0
"""Degrees of freedom of the broad t distributions."""
WIDTHS: Final = (0.9, 1.8)
"""Their variances over those of the chains; alike in number."""
COUNTED: Final = 4000
"""Broad draws from which an integral is known."""
LEAST_COUNTED: Final = 8.0
"""How many of them must count for the model to be used."""
NEAR: Final = 3.0
"""ln of the posterior below its maximum, per unknown, down to which points fix the model."""
LEAST_POINTS: Final = 4
"""Points per unknown that a model needs."""
FAR: Final = 3.0
"""Largest square of the distance from the points, in their widths and per unknown, at which a model
is asked: further out it invents."""
_FADES: Final = (2.0, 4.0, 8.0, 16.0, 32.0)
"""ln of the posterior in which the weight of a point falls by e, one per unknown below the top:
the first ..."""
ENOUGH: Final = 0.7
"""... with which so many points for each factor count."""
_RIDGE: Final = 1e-3


@dataclass(frozen=True)
class _Broad:
    """t distributions with one middle."""

    middle: FloatArray
    root: FloatArray

    @classmethod
    def of(cls, states: FloatArray) -> _Broad:
        away = states - states.mean(axis=0)
        covariance = away.T @ away / len(states) + 1e-10 * np.eye(states.shape[1])
        return cls(states.mean(axis=0), np.linalg.cholesky(covariance))

    def draw(self, random: np.random.Generator, count: int) -> FloatArray:
        normal = random.standard_normal((count, len(self.middle)))
        scale = np.sqrt(FREEDOM / random.chisquare(FREEDOM, (count, 1)))
        width = np.sqrt(np.array(WIDTHS))[np.arange(count) % len(WIDTHS), None]
        return np.asarray(self.middle + width * scale * normal @ self.root.T)

    def log_density(self, z: FloatArray) -> FloatArray:
        size = len(self.middle)
        square = np.square((z - self.middle) @ np.linalg.inv(self.root).T).sum(axis=1)
        constant = gammaln(0.5 * (FREEDOM + size)) - gammaln(0.5 * FREEDOM)
        constant -= 0.5 * size * np.log(FREEDOM * np.pi) + np.log(np.diag(self.root)).sum()
        each = [
            -0.5 * size * np.log(width)
            - 0.5 * (FREEDOM + size) * np.log1p(square / (width * FREEDOM))
            for width in WIDTHS
        ]
        return np.asarray(constant + np.logaddexp.reduce(each, axis=0) - np.log(len(WIDTHS)))


class _Model:
    """The posterior about one maximum by a polynomial of second order.

    Args:
        problem: for one family.
        z: (n, size) points about it.
        parts: what was computed there.
        height: (n) ln of the posterior.
    """

    def __init__(self, problem: Problem, z: FloatArray, parts: Parts, height: FloatArray) -> None:
        self._problem = problem
        below = height.max() - height
        features = (problem.size + 1) * (problem.size + 2) // 2
        weight = _faded(np.maximum(below - problem.size, 0.0), ENOUGH * features)
        self._middle = weight @ z
        away = z - self._middle
        covariance = (weight[:, None] * away).T @ away
        covariance += 1e-10 * np.trace(covariance) * np.eye(len(self._middle))
        self._inverse = np.linalg.inv(np.linalg.cholesky(covariance))
        y = away @ self._inverse.T
        self._reach = FAR * problem.size
        best = int(height.argmax())
        sizes = problem.error_size
        self._scales, self._logs, turned = [], [], []
        for whiten, own, values in zip(parts.whiteners, parts.own, parts.whitened, strict=True):
            share = whiten[best] @ own[best] @ whiten[best].T
            part, vectors = np.linalg.eigh(share)
            part = np.clip(part, 0.0, 1.0)[:, None]
            scale = 1.0 - part + part * sizes.squares
            self._scales.append(1.0 / scale)
            self._logs.append(sizes.log_shares - 0.5 * np.log(scale).sum(axis=0))
            turned.append(values @ vectors)
        self._edges = np.cumsum([one.shape[1] for one in turned])
        outputs = np.concatenate([*turned, parts.logarithms[:, None]], axis=1)
        self._constant = -0.5 * np.log(2.0 * np.pi) * (self._edges[-1] + problem.free)
        features = _features(y)
        normal = (weight[:, None] * features).T @ features
        ridge = np.full(len(normal), _RIDGE)
        ridge[: 1 + z.shape[1]] = 1e-9
        self._factors = np.linalg.solve(
            normal + np.diag(ridge * len(ridge) / len(z)), (weight[:, None] * features).T @ outputs
        )

    def height(self, z: FloatArray) -> FloatArray:
        """(n) ln of the modelled posterior at (n, size)."""
        y = (z - self._middle) @ self._inverse.T
        outputs = _features(y) @ self._factors
        x, _ = self._problem.split(z)
        total = self._problem.prior.log_density(x) + self._constant - 0.5 * outputs[:, -1]
        total -= 0.5 * np.square(z[:, self._problem.coordinates :]).sum(axis=1)
        square = np.square(outputs[:, :-1])
        first = 0
        for edge, scale, log in zip(self._edges, self._scales, self._logs, strict=True):
            each = log - 0.5 * square[:, first:edge] @ scale
            top = each.max(axis=1)
            total += top + np.log(np.exp(each - top[:, None]).sum(axis=1))
            first = int(edge)
        far = np.square(y).sum(axis=1) > self._reach
        return np.where(far | ~np.isfinite(total), -np.inf, total)


def _faded(below: FloatArray, wanted: float) -> FloatArray:
    """(n) weights of sum 1 that fall with the distance (n) below."""
    for fades in _FADES:
        weight = np.exp(-below / fades)
        weight /= weight.sum()
        if 1.0 / np.square(weight).sum() >= wanted:
            break
    return np.asarray(weight)


def _features(y: FloatArray) -> FloatArray:
    """(n, features): one, all coordinates, all products of two."""
    one, other = np.triu_indices(y.shape[1])
    return np.concatenate([np.ones((len(y), 1)), y, y[:, one] * y[:, other]], axis=1)


@dataclass(frozen=True)
class _Drawn:
    """A modelled maximum: ln of its integral, states of chains, and broad distributions."""

    model: _Model
    log_integral: float
    states: FloatArray
    broad: _Broad

    def log_density(self, z: FloatArray) -> FloatArray:
        """Of the draws, modelled and broad."""
        modelled = np.log1p(-BROAD) + self.model.height(z) - self.log_integral
        return np.asarray(np.logaddexp(modelled, np.log(BROAD) + self.broad.log_density(z)))

    def draw(self, random: np.random.Generator, count: int) -> FloatArray:
        broad = round(BROAD * count)
        rows = random.permutation(len(self.states))[: count - broad]
        return np.concatenate([self.states[rows], self.broad.draw(random, count - len(rows))])


@dataclass(frozen=True)
class Emulated:
    """A distribution of modelled maxima; use `emulate`.

    Attributes:
        found: of each maximum.
        modes: their numbers.
        shares: of the draws, of sum 1.
    """

    found: tuple[_Drawn, ...]
    modes: IntArray
    shares: FloatArray

    def draw(self, random: np.random.Generator, count: int) -> FloatArray:
        """(count, size)."""
        counts = _whole(self.shares, count)
        return np.concatenate(
            [one.draw(random, n) for one, n in zip(self.found, counts, strict=True) if n]
        )

    def by_mode(self, z: FloatArray, count: int) -> FloatArray:
        """(count, n) ln of the density of each maximum with its share."""
        result = np.full((count, len(z)), -np.inf)
        for one, mode, share in zip(self.found, self.modes, self.shares, strict=True):
            result[mode] = np.log(share) + one.log_density(z)
        return result


def emulate(
    problem: Problem,
    z: FloatArray,
    parts: Parts,
    height: FloatArray,
    log_weights: FloatArray,
    origin: IntArray,
    shares: FloatArray,
    random: np.random.Generator,
    count: int,
) -> Emulated | None:
    """Models of the posterior about its maxima, and draws from them.

    Args:
        problem: for one family.
        z: (n, size) points that were computed.
        parts: what was computed there.
        height: (n) ln of the posterior.
        log_weights: (n) of these draws.
        origin: (n) numbers of their maxima.
        shares: (maxima) of the draws; 0 where none are wanted.
        random: source of random numbers.
        count: draws that will be wanted.

    Returns:
        None if there is no maximum about which points are enough and a model is of use.
    """
    wanted = np.flatnonzero(shares > 0.0)
    found, modes = [], []
    for number, many in zip(wanted, _whole(shares[wanted], count), strict=True):
        interruption.check()
        mine = (origin == number) & np.isfinite(height) & np.isfinite(log_weights)
        if not mine.any():
            continue
        near = mine & (height > height[mine].max() - NEAR * problem.size)
        if near.sum() < LEAST_POINTS * problem.size:
            continue
        model = _Model(problem, z[near], parts.of_rows(near), height[near])
        one = _drawn(model, z[near], log_weights[near], many, random)
        if one is not None:
            found.append(one)
            modes.append(number)
    if not found:
        return None
    share = shares[modes]
    return Emulated(tuple(found), np.array(modes), share / share.sum())


def _drawn(
    model: _Model, z: FloatArray, log_weights: FloatArray, count: int, random: np.random.Generator
) -> _Drawn | None:
    """Chains from weighted points, and the integral of the model."""
    there = model.height(z)
    usable = np.flatnonzero(np.isfinite(there))
    if not len(usable):
        return None
    size = z.shape[1]
    level, _ = levelled(log_weights[usable], min(4.0 * size, 0.3 * len(usable)))
    states = z[usable[random.choice(len(usable), size=CHAINS, p=level)]]
    states = _walk(model, states, SETTLING, random)
    kept = [states]
    for _ in range(max(0, -(-count // CHAINS) - 1)):
        kept.append(_walk(model, kept[-1], APART, random))
    every = np.concatenate(kept)
    broad = _Broad.of(every)
    integral = _integral(model, every, broad, random)
    return None if integral is None else _Drawn(model, integral, every, broad)


def _integral(
    model: _Model, states: FloatArray, broad: _Broad, random: np.random.Generator
) -> float | None:
    """Ln of the integral of a model, from its own draws and broad ones.

    Both are used where they overlap (bridge sampling: X.-L. Meng, W. H. Wong, Stat. Sinica 6, 831
    (1996)). None if broad draws that count are too few.
    """
    tried = broad.draw(random, COUNTED)
    of_broad = model.height(tried) - broad.log_density(tried)
    of_model = model.height(states) - broad.log_density(states)
    if not np.isfinite(of_broad).any():
        return None
    top = float(of_broad.max())
    weights = np.exp(of_broad - top)
    if weights.sum() ** 2 / np.square(weights).sum() < LEAST_COUNTED:
        return None
    found = top + float(np.log(weights.mean()))
    n, m = len(states), len(tried)
    for _ in range(30):
        both = np.log(n) + of_broad, np.log(m) + found
        upper = np.logaddexp.reduce(of_broad - np.logaddexp(*both)) - np.log(m)
        lower = np.logaddexp.reduce(-np.logaddexp(np.log(n) + of_model, both[1])) - np.log(n)
        found, before = float(upper - lower), found
        if abs(found - before) < 1e-3:
            break
    return found


def _walk(model: _Model, z: FloatArray, steps: int, random: np.random.Generator) -> FloatArray:
    """Chains that move by differences of others, as in `ensemble.settle`."""
    z, height = z.copy(), model.height(z)
    scale = 2.38 / np.sqrt(2.0 * z.shape[1])
    for step in range(steps):
        factor = 1.0 if step % 10 == 9 else scale
        for half in (0, 1):
            moving, pool = np.arange(half, len(z), 2), np.arange(1 - half, len(z), 2)
            one, other = random.choice(pool, size=(2, len(moving)))
            away = factor * (z[one] - z[other])
            trial = z[moving] + away * (1.0 + 1e-5 * random.standard_normal(away.shape))
            there = model.height(trial)
            with np.errstate(all="ignore"):
                accept = np.log(random.random(len(moving))) < there - height[moving]
            z[moving[accept]], height[moving[accept]] = trial[accept], there[accept]
    return z


def levelled(logs: FloatArray, wanted: float) -> tuple[FloatArray, float]:
    """Weights to a power up to 1 with which this many count, and how many do."""
    power = 1.0
    for _ in range(12):
        weights = np.exp(power * (logs - logs.max()))
        weights /= weights.sum()
        effective = float(1.0 / (weights**2).sum())
        if effective >= wanted:
            break
        power *= 0.75
    return weights, effective


def _whole(shares: FloatArray, count: int) -> IntArray:
    """Whole numbers in these shares, of this sum."""
    edges = np.round(np.cumsum(shares / shares.sum()) * count).astype(np.int64)
    return np.diff(edges, prepend=0)
