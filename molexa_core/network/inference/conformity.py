"""Is an input like those of the training? A test whose rate of false alarms is known.

Numbers of the momenta with and without scale, of the charges, and what is told of the pulse form
one vector (`FEATURES`). Its distribution over the training is described by a mixture of normal
distributions; what is not told, or does not exist for so few atoms, is integrated out. How unlikely
a vector is under the mixture is compared with other entries of the training that the mixture was
not fitted to: the rank among n of them, plus one, over n + 1 is a p-value (conformal prediction:
V. Vovk, A. Gammerman, G. Shafer, Algorithmic Learning in a Random World, Springer (2005)). However
badly the mixture fits, an entry of the training has a p-value below a in a share a of the cases; a
bad fit only costs power. Entries are compared with those of similar size (Mondrian categories), and
with the same numbers told. A number that is told and lies beyond all of the training is unlike it
by itself: a pulse of 80 fs is next to one of 60 fs for the mixture, and its momenta are those of a
larger molecule in a shorter pulse.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from molexa_core.base.errors import UsageError, WeightsError
from molexa_core.base.matter.elements import BY_NUMBER
from molexa_core.base.tables import BoolArray, FloatArray, IntArray
from molexa_core.base.units import BOHR_ANGSTROM

FEATURES: Final = (
    "size that the energy implies",
    "smallest distance that a relative energy implies",
    "largest share of the energy",
    "share of the energy of the lightest ions",
    "flatness of the momenta",
    "length of the momenta",
    "mean charge",
    "largest share of electrons lost",
    "evenness of the charges",
    "share of hydrogen",
    "number of atoms",
    "photon energy",
    "fluence",
    "duration of the pulse",
    "photons absorbed",
)
"""In words; lengths relative to touching atoms."""
CONFORMITY: Final = "conformity"
"""Key of the test in the `data` of a card."""
TOLD: Final = (11, 12, 13, 14)
"""Features that may not be known: photons absorbed are where energy and fluence are."""
SUSPECT: Final = 0.015
"""p-value below which an input counts as unlike the training: the rate of false alarms. A test that
was fitted once scatters about it: below 2 % for all of the molecules and what is told of them."""
SIZES: Final = ((2, 2), (3, 3), (4, 5), (6, 7), (8, 99))
"""Numbers of atoms that are compared with each other."""
FEWEST: Final = 100
"""Smallest number of entries that a size is compared with alone; all are, if it has fewer."""
COMPONENTS: Final = 8
TAIL: Final = 0.2
"""Share of the scores that is kept: larger p-values are not told apart."""
SLACK: Final = 0.02
"""How far beyond the training, in its logarithm, a number that is told still counts as inside."""
_STEPS: Final = 60
_RIDGE: Final = 3e-3


def features(
    numbers: IntArray,
    charges: FloatArray,
    masses: FloatArray,
    momenta: FloatArray,
    pulse: FloatArray,
    photons: FloatArray,
) -> FloatArray:
    """(B, M) of molecules of one size, see `FEATURES`; not numbers where they do not exist.

    Args:
        numbers: (B, N) atomic numbers.
        charges: (B, N) elementary charges.
        masses: (B, N) electron masses.
        momenta: (B, N, 3) a.u., not all zero.
        pulse: (B, 3) ln of photon energy (eV), fluence (photons per square micrometre) and
            duration (fs); not numbers where they are not told.
        photons: (B) ln of the photons that the molecule absorbs by them.
    """
    count = numbers.shape[1]
    energy = (momenta**2).sum(axis=2) / (2.0 * masses)
    total = np.maximum(energy.sum(axis=1), 1e-12)
    one, two = np.triu_indices(count, k=1)
    product = charges[:, one] * charges[:, two]
    radius = np.vectorize(
        lambda number: BY_NUMBER[int(number)].covalent_radius_angstrom, otypes=[np.float64]
    )(numbers)
    touching = (radius[:, one] + radius[:, two]) / BOHR_ANGSTROM
    velocity = momenta / masses[:, :, None]
    speed2 = ((velocity[:, one] - velocity[:, two]) ** 2).sum(axis=2)
    reduced = masses[:, one] * masses[:, two] / (masses[:, one] + masses[:, two])
    relative = product / np.maximum(0.5 * reduced * speed2, 1e-12) / touching
    sizes = np.linalg.svd(momenta, compute_uv=False)
    light = masses <= masses.min(axis=1, keepdims=True) * 1.5
    light_share = (energy * light).sum(axis=1) / total
    charge_share = (charges * light).sum(axis=1) / charges.sum(axis=1)
    nothing = np.full(len(numbers), np.nan)
    # What all ions weigh alike says nothing.
    light_feature = np.where(light.all(axis=1), np.nan, np.log(light_share / charge_share + 1e-6))
    columns = [
        np.log((product / touching).sum(axis=1) / total),
        np.log(relative.min(axis=1)),
        energy.max(axis=1) / total,
        light_feature,
        np.sqrt(sizes[:, 2] / sizes[:, 0]) if count > 3 else nothing,
        sizes[:, 1] / sizes[:, 0] if count > 2 else nothing,
        np.log(charges.mean(axis=1)),
        (charges / numbers).max(axis=1),
        charges.std(axis=1) / charges.mean(axis=1),
        (numbers == 1).mean(axis=1),
        np.log(np.full(len(numbers), float(count))),
        *pulse.T,
        photons,
    ]
    return np.stack(columns, axis=1)


@dataclass(frozen=True)
class Mixture:
    """K normal distributions of M standardised features.

    Attributes:
        centre, scale: (M) of the features.
        shares: (K).
        means: (K, M).
        covariances: (K, M, M).
    """

    centre: FloatArray
    scale: FloatArray
    shares: FloatArray
    means: FloatArray
    covariances: FloatArray

    def surprise(self, values: FloatArray) -> FloatArray:
        """(B) -ln density of (B, M) features, what is not a number integrated out.

        In units of the density at the middle of the mixture for the same features, so that vectors
        with more of them can be compared.
        """
        standard = (values - self.centre) / self.scale
        found = np.empty(len(values))
        for seen, rows in _patterns(standard):
            logs = _log_densities(self, standard[rows][:, seen], seen)
            middle = _log_densities(self, self.means[:, seen], seen)
            found[rows] = np.logaddexp.reduce(middle, axis=1).max() - np.logaddexp.reduce(
                logs, axis=1
            )
        return found


def _patterns(values: FloatArray) -> list[tuple[IntArray, IntArray]]:
    """For each set of features that are numbers: which, and the rows that have them."""
    known = np.isfinite(values)
    unique, place = np.unique(known, axis=0, return_inverse=True)
    place = place.ravel()
    return [
        (np.flatnonzero(pattern), np.flatnonzero(place == number))
        for number, pattern in enumerate(unique)
    ]


def _log_densities(mixture: Mixture, values: FloatArray, seen: IntArray) -> FloatArray:
    """(B, K) ln of share times density of (B, seen) features."""
    found = np.empty((len(values), len(mixture.shares)))
    for number, (share, mean, covariance) in enumerate(
        zip(mixture.shares, mixture.means, mixture.covariances, strict=True)
    ):
        root = np.linalg.cholesky(covariance[np.ix_(seen, seen)])
        deviate = np.linalg.solve(root, (values - mean[seen]).T)
        size = 0.5 * (deviate**2).sum(axis=0) + np.log(np.diag(root)).sum()
        found[:, number] = np.log(share) - size - 0.5 * len(seen) * np.log(2.0 * np.pi)
    return found


def fit_mixture(values: FloatArray, *, components: int = COMPONENTS, seed: int = 0) -> Mixture:
    """Fit by expectation and maximisation with missing features (Z. Ghahramani, M. I. Jordan, NIPS
    6 (1993)).
    """
    random = np.random.default_rng(seed)
    known = np.isfinite(values)
    count_known = np.maximum(known.sum(axis=0), 1)
    filled_in = np.where(known, values, 0.0)
    # Features that no entry has, such as angles of diatomics, are of no account.
    centre = filled_in.sum(axis=0) / count_known
    scale = np.sqrt((np.where(known, values - centre, 0.0) ** 2).sum(axis=0) / count_known)
    scale = np.where(scale > 1e-6, scale, 1.0)
    standard = (values - centre) / scale
    count, width = standard.shape
    components = max(1, min(components, count // (2 * width)))
    filled = np.where(np.isfinite(standard), standard, 0.0)
    means = filled[random.choice(count, components, replace=False)]
    mixture = Mixture(
        centre,
        scale,
        np.full(components, 1.0 / components),
        means,
        np.repeat(np.eye(width)[None], components, axis=0),
    )
    for _ in range(_STEPS):
        mixture = _improved(mixture, standard)
    return mixture


def _improved(mixture: Mixture, standard: FloatArray) -> Mixture:
    width = standard.shape[1]
    components = len(mixture.shares)
    held = np.zeros(components)
    first = np.zeros((components, width))
    second = np.zeros((components, width, width))
    for seen, rows in _patterns(standard):
        lost = np.setdiff1d(np.arange(width), seen)
        x = standard[rows][:, seen]
        logs = _log_densities(mixture, x, seen)
        share = np.exp(logs - np.logaddexp.reduce(logs, axis=1)[:, None])
        for number in range(components):
            mean, covariance = mixture.means[number], mixture.covariances[number]
            full = np.empty((len(rows), width))
            full[:, seen] = x
            part = np.linalg.solve(covariance[np.ix_(seen, seen)], covariance[np.ix_(seen, lost)])
            full[:, lost] = mean[lost] + (x - mean[seen]) @ part
            w = share[:, number]
            held[number] += w.sum()
            first[number] += w @ full
            second[number] += (full * w[:, None]).T @ full
            rest = covariance[np.ix_(lost, lost)] - covariance[np.ix_(lost, seen)] @ part
            second[number][np.ix_(lost, lost)] += w.sum() * rest
    means = first / np.maximum(held, 1e-9)[:, None]
    covariances = second / np.maximum(held, 1e-9)[:, None, None]
    covariances -= means[:, :, None] * means[:, None, :]
    # Components of few entries are drawn towards a round one.
    weak = width / (held + width)
    covariances = (1.0 - weak)[:, None, None] * covariances + weak[:, None, None] * np.eye(width)
    covariances = 0.5 * (covariances + np.swapaxes(covariances, 1, 2)) + _RIDGE * np.eye(width)
    shares = (held + 1.0) / (held.sum() + components)
    return Mixture(mixture.centre, mixture.scale, shares, means, covariances)


@dataclass(frozen=True)
class Scores:
    """Scores of n entries of the training that the mixture was not fitted to.

    Attributes:
        count: n.
        largest: the largest of them, ascending.
    """

    count: int
    largest: FloatArray

    def p_value(self, score: float) -> float:
        """Share of entries that are as unlikely or more, this one counted among them."""
        above = int(len(self.largest) - np.searchsorted(self.largest, score, side="left"))
        return (1.0 + above) / (1.0 + self.count)


@dataclass(frozen=True)
class Conformity:
    """The test, as a card of weights holds it.

    Attributes:
        mixture: of the features.
        scores: by what is told of energy, fluence and duration, such as `101`, and by the place in
            `SIZES`, -1 for all sizes.
        ends: (2, M) first and last hundredth of each feature, for messages.
        told: (2, 3) smallest and largest ln of photon energy, fluence and duration.
    """

    mixture: Mixture
    scores: Mapping[tuple[str, int], Scores]
    ends: FloatArray
    told: FloatArray

    def p_values(self, values: FloatArray, atoms: int) -> FloatArray:
        """(B) p-values of (B, M) `features` of molecules with this number of atoms."""
        found = np.where(self.beyond(values).any(axis=1), np.inf, self.mixture.surprise(values))
        p = np.empty(len(values))
        for row, score in enumerate(found):
            told = pattern_of(values[row])
            chosen = self.scores.get((told, size_of(atoms)), self.scores[told, -1])
            p[row] = chosen.p_value(float(score))
        return p

    def beyond(self, values: FloatArray) -> BoolArray:
        """(B, 3) whether photon energy, fluence and duration are told beyond the training."""
        given = values[:, list(TOLD[:3])]
        low, high = self.told
        with np.errstate(invalid="ignore"):
            return np.asarray((given < low - SLACK) | (given > high + SLACK))

    def strangest(self, values: FloatArray) -> list[str]:
        """Features of one entry (M) outside the hundredths, the furthest first, in words."""
        low, high = self.ends
        width = np.maximum(high - low, 1e-9)
        outside = [FEATURES[TOLD[n]] for n in np.flatnonzero(self.beyond(values[None])[0])]
        beyond = np.maximum(low - values, values - high) / width
        order = np.argsort(-np.nan_to_num(beyond, nan=-1.0))
        return list(dict.fromkeys(outside + [FEATURES[n] for n in order if beyond[n] > 0.0]))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a card."""
        return {
            "features": list(FEATURES),
            "mixture": {name: _rounded(value) for name, value in vars(self.mixture).items()},
            "scores": [
                {"told": told, "size": size, "count": one.count, "largest": _rounded(one.largest)}
                for (told, size), one in self.scores.items()
            ],
            "ends": _rounded(self.ends),
            "told": _rounded(self.told),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Conformity:
        """The test that a card holds.

        Raises:
            WeightsError: it is damaged, or of another version.
        """
        try:
            if tuple(values["features"]) != FEATURES:
                msg = "other features"
                raise ValueError(msg)
            mixture = Mixture(
                **{name: np.array(value, float) for name, value in values["mixture"].items()}
            )
            scores = {
                (str(one["told"]), int(one["size"])): Scores(
                    int(one["count"]), np.array(one["largest"], float)
                )
                for one in values["scores"]
            }
            width = len(FEATURES)
            if mixture.covariances.shape[1:] != (width, width) or not all(
                (told, -1) in scores for told in PATTERNS
            ):
                msg = "other shapes"
                raise ValueError(msg)
            np.linalg.cholesky(mixture.covariances)
            ends = np.array(values["ends"], float).reshape(2, width)
            return cls(mixture, scores, ends, np.array(values["told"], float).reshape(2, 3))
        except (KeyError, TypeError, ValueError, AttributeError, np.linalg.LinAlgError) as error:
            raise WeightsError(
                "the test of inputs in the model card is damaged or of another version",
                do="Fetch or install the weights again.",
            ) from error


PATTERNS: Final = tuple("".join(one) for one in itertools.product("01", repeat=3))
"""What can be told of photon energy, fluence and duration."""


def pattern_of(values: FloatArray) -> str:
    """What is told in one vector of features."""
    return "".join("1" if np.isfinite(values[place]) else "0" for place in TOLD[:3])


def told_in(values: FloatArray, pattern: str) -> FloatArray:
    """(B, M) features of which only this pattern is told."""
    found = values.copy()
    for place, known in zip(TOLD[:3], pattern, strict=True):
        if known == "0":
            found[:, place] = np.nan
    if pattern[:2] != "11":
        found[:, TOLD[3]] = np.nan
    return found


def size_of(atoms: int) -> int:
    """Place in `SIZES`."""
    return next(n for n, (low, high) in enumerate(SIZES) if low <= atoms <= high)


def fit_conformity(
    values: FloatArray, atoms: IntArray, groups: IntArray, *, seed: int = 0
) -> Conformity:
    """The test from entries of a training with everything told.

    Args:
        values: (B, M) `features`.
        atoms: (B) number of atoms.
        groups: (B) number of the geometry: entries of one are not independent, so that one of each
            is compared with, and none of those fitted to.
        seed: of the division.

    Raises:
        UsageError: too few geometries.
    """
    random = np.random.default_rng(seed)
    names = random.permutation(np.unique(groups))
    if len(names) < 2 * FEWEST:
        raise UsageError(
            f"{len(names)} geometries are too few to recognise others by",
            do=f"Give at least {2 * FEWEST}; a thousand see more.",
        )
    fitted: BoolArray = np.asarray(np.isin(groups, names[: len(names) // 2]))
    mixture = fit_mixture(values[fitted], seed=seed)
    order = random.permutation(np.flatnonzero(~fitted))
    _, first = np.unique(groups[order], return_index=True)
    others = order[first]
    sizes = np.array([size_of(int(n)) for n in atoms[others]])
    scores: dict[tuple[str, int], Scores] = {}
    for pattern in PATTERNS:
        found = mixture.surprise(told_in(values[others], pattern))
        scores[pattern, -1] = _scores(found)
        for size in np.unique(sizes):
            if (sizes == size).sum() >= FEWEST:
                scores[pattern, int(size)] = _scores(found[sizes == size])
    ends = np.stack([_quantiles(values, q) for q in (0.01, 0.99)])
    told = values[:, list(TOLD[:3])]
    return Conformity(
        mixture, scores, ends, np.stack([_quantiles(told, 0.0), _quantiles(told, 1.0)])
    )


def _scores(found: FloatArray) -> Scores:
    kept = max(int(np.ceil(TAIL * len(found))), 1)
    return Scores(len(found), np.sort(found)[-kept:])


def _quantiles(values: FloatArray, level: float) -> FloatArray:
    columns: Sequence[FloatArray] = [one[np.isfinite(one)] for one in values.T]
    return np.array([float(np.quantile(one, level)) if len(one) else np.nan for one in columns])


def _rounded(value: FloatArray) -> Any:
    """Six digits are more than a score needs."""
    array = np.asarray(value, float)
    if array.ndim:
        return [_rounded(one) for one in array]
    # What no entry has is null in a card.
    return float(f"{float(array):.6g}") if np.isfinite(array) else None
