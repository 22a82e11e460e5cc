"""Tests of a sampler on explosions of known geometry: what is ranked, and the tables of results."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from molexa_core.base.errors import ComputationError
from molexa_core.base.mathematics.statistics import Interval
from molexa_core.base.progress import SILENT, Progress
from molexa_core.base.tables import FloatArray, IntArray
from molexa_core.geometry.measures import pair_distances, triplet_angles
from molexa_core.network.inference.familiarity import quantities
from molexa_core.pipeline.evaluation.known_explosions import KnownExplosions, Sizes
from molexa_core.pipeline.evaluation.posterior_tests import (
    Curve,
    Test,
    central_curve,
    evenness,
    holm,
    local_test,
    nearness_ranks,
    rank_among,
    reference_points,
    region_curve,
    tarp_ranks,
    uniformity,
)
from molexa_core.pipeline.evaluation.samplers import Sampler

OBSERVABLES: Final = (
    "size that the energy implies",
    "smallest distance that a relative energy implies",
    "largest share of the energy",
    "flatness of the momenta",
    "length of the momenta",
    "atoms",
    "charge per atom",
    "largest charge",
    "share of hydrogen",
    "photon energy",
    "fluence",
    "duration",
)
"""What the local test looks at. The last three only where they are known."""
REJECTED: Final = 0.01
"""p-value after Holm's correction below which a sampler fails a test."""
TOLERANCE: Final = 0.05
"""Largest deviation of a coverage curve that is no fault of practical size."""
_RESAMPLES: Final = 1000
_PARTS: Final = ("lowest third", "middle third", "highest third")


@dataclass(frozen=True)
class Honesty:
    """Error against claim, of one group of cases.

    Attributes:
        cases: number of cases.
        molecules: number of different molecules.
        inside_68, inside_95: share of distances inside the central intervals of the samples.
        ratio: rms error of the mean of the samples over their rms deviation.
        error: mean distance error of the mean of the samples, bohr.
        width: mean half-width of the central 68 % of the samples, bohr.
    """

    cases: int
    molecules: int
    inside_68: Interval
    inside_95: Interval
    ratio: Interval
    error: Interval
    width: float


@dataclass(frozen=True)
class Calibration:
    """How honest a sampler is on one set.

    Attributes:
        cases: number of cases with samples.
        refused: cases for which the sampler gives no error bars.
        groups: `all`, and by number of atoms.
        tests: with p-values as they are.
        corrected: p-values of `tests` after Holm's correction.
        curves: expected coverage.
        ranks: (B) by name, for histograms.
        local: of each observable, coverage of 68 % in its three thirds.
    """

    cases: int
    refused: int
    groups: dict[str, Honesty]
    tests: tuple[Test, ...]
    corrected: tuple[float, ...]
    curves: tuple[Curve, ...]
    ranks: dict[str, FloatArray]
    local: tuple[dict[str, Any], ...]

    @property
    def passed(self) -> bool:
        """Whether no test rejects."""
        return min(self.corrected) > REJECTED

    def to_dict(self) -> dict[str, Any]:
        """Plain values by name."""
        return {
            "cases": self.cases,
            "refused": self.refused,
            "passed": self.passed,
            "groups": {name: _plain(one) for name, one in self.groups.items()},
            "tests": [
                {
                    "test": one.name,
                    "statistic": one.statistic,
                    "p_value": one.p_value,
                    "p_value_after_holm": after,
                    "cases": one.cases,
                }
                for one, after in zip(self.tests, self.corrected, strict=True)
            ],
            "curves": [
                {
                    "of": one.name,
                    "level": one.levels.tolist(),
                    "covered": one.covered.tolist(),
                    "low": one.low.tolist(),
                    "high": one.high.tolist(),
                    "largest_deviation": one.deviation,
                }
                for one in self.curves
            ],
            "local": list(self.local),
            "length_unit": "bohr",
        }


def _plain(one: Honesty) -> dict[str, Any]:
    found: dict[str, Any] = {"cases": one.cases, "molecules": one.molecules}
    for name in ("inside_68", "inside_95", "ratio", "error"):
        interval: Interval = getattr(one, name)
        found[name] = {"value": interval.mean, "low": interval.low, "high": interval.high}
    return found | {"half_width": one.width}


@dataclass(frozen=True)
class _Cases:
    """Cases of one size with their ranks. K distances.

    Attributes:
        atoms: number of atoms.
        molecule: (B).
        ranks: (B) by name.
        by_distance: (B, K) ranks.
        error, deviation, half: (B, K) of the mean of the samples, their deviation and half-width.
        observables: (B, M).
    """

    atoms: int
    molecule: IntArray
    ranks: dict[str, FloatArray]
    by_distance: FloatArray
    error: FloatArray
    deviation: FloatArray
    half: FloatArray
    observables: FloatArray


def measure(
    sampler: Sampler, sizes: Sizes, *, samples: int, seed: int, progress: Progress = SILENT
) -> Calibration:
    """Test a sampler on one set of explosions.

    Args:
        sampler: to be tested.
        sizes: one explosion of each geometry, by number of atoms.
        samples: draws of each case that are ranked; two more are drawn for reference points.
        seed: of the draws and of the tests.
        progress: display of the progress.

    Raises:
        ComputationError: the sampler gave no draws.
        UsageError: too few cases.
    """
    random = np.random.default_rng(seed)
    cases, refused = [], 0
    for atoms, explosions in sorted(sizes.items()):
        drawn = sampler.draw(explosions, samples + 2, seed=seed + atoms, progress=progress)
        good = np.flatnonzero(np.isfinite(drawn).all(axis=(0, 2, 3)))
        refused += len(explosions) - len(good)
        if len(good):
            cases.append(_ranked(explosions.rows(good), drawn[:, good], random))
    if not cases:
        raise ComputationError(
            f"{sampler.name} gave error bars for none of {refused} explosions",
            do="Test it on explosions of the kind that it knows.",
        )
    return _judged(cases, refused, random, seed)


def _ranked(known: KnownExplosions, drawn: FloatArray, random: np.random.Generator) -> _Cases:
    count, atoms = drawn.shape[1], drawn.shape[2]
    truth = pair_distances(known.positions)
    lengths = np.stack([pair_distances(one) for one in drawn])
    ranked, spare = lengths[:-2], lengths[-2:]
    one = random.integers(truth.shape[1], size=count)
    rows = np.arange(count)
    ranks = {
        "mean distance": rank_among(truth.mean(axis=1), ranked.mean(axis=2), random),
        "shortest distance": rank_among(truth.min(axis=1), ranked.min(axis=2), random),
        "longest distance": rank_among(truth.max(axis=1), ranked.max(axis=2), random),
        "a distance at random": rank_among(truth[rows, one], ranked[:, rows, one], random),
        "joint": nearness_ranks(truth, ranked, random),
    }
    others = np.roll(spare[1], 1, axis=0) if count > 1 else spare[1]
    references = reference_points(spare, others, random)
    ranks["TARP"] = tarp_ranks(truth, ranked, references, random)
    if atoms > 2:
        angle = random.integers(triplet_angles(known.positions[:1]).shape[1], size=count)
        true = triplet_angles(known.positions)[rows, angle]
        found = np.stack([triplet_angles(each)[rows, angle] for each in drawn[:-2]])
        ranks["an angle at random"] = rank_among(true, found, random)
    low, high = np.quantile(ranked, [0.15865, 0.84135], axis=0)
    # The mean of a finite number of draws has an error of its own.
    more = np.sqrt(1.0 + 1.0 / len(ranked))
    return _Cases(
        atoms=atoms,
        molecule=known.molecule,
        ranks=ranks,
        by_distance=rank_among(truth, ranked, random),
        error=ranked.mean(axis=0) - truth,
        deviation=ranked.std(axis=0, ddof=1) * more,
        half=0.5 * (high - low),
        observables=observables(known),
    )


def observables(known: KnownExplosions) -> FloatArray:
    """(B, M) what was measured or told, see `OBSERVABLES`."""
    of = quantities(known.charges, known.masses, known.momenta)
    sizes = np.linalg.svd(known.momenta, compute_uv=False)
    count = known.numbers.shape[1]
    columns = [
        np.log(of["size_bohr"]),
        np.log(np.maximum(of["nearest_bohr"], 1e-9)),
        of["energy_share"],
        sizes[:, 2] / sizes[:, 0] if count > 2 else np.zeros(len(known)),
        sizes[:, 1] / sizes[:, 0],
        np.full(len(known), float(count)),
        known.charges.mean(axis=1),
        known.charges.max(axis=1),
        (known.numbers == 1).mean(axis=1),
        *known.settings[:, :3].T,
    ]
    return np.asarray(np.nan_to_num(np.stack(columns, axis=1)))


def _judged(
    cases: list[_Cases], refused: int, random: np.random.Generator, seed: int
) -> Calibration:
    names = list(dict.fromkeys(name for one in cases for name in one.ranks))
    ranks = {
        name: np.concatenate([one.ranks[name] for one in cases if name in one.ranks])
        for name in names
    }
    seen = np.concatenate([one.observables for one in cases])
    tests = [uniformity(f"SBC: {name}", values) for name, values in ranks.items() if name != "TARP"]
    tests = [
        one if one.name != "SBC: joint" else uniformity("expected coverage: joint", ranks["joint"])
        for one in tests
    ]
    tests += [uniformity("TARP", ranks["TARP"]), evenness("TARP, cumulative", ranks["TARP"])]
    tests += [
        local_test(f"local: {name}", ranks[name], seen, random)
        for name in ("mean distance", "a distance at random", "joint")
    ]
    flat = np.concatenate([one.by_distance.ravel() for one in cases])
    first, owner = 0, []
    for one in cases:
        count, many = one.by_distance.shape
        owner.append(np.repeat(np.arange(first, first + count), many))
        first += count
    curves = (
        central_curve("each distance", flat, np.concatenate(owner), seed=seed),
        region_curve("all distances together", ranks["joint"], np.arange(first), seed=seed),
        region_curve("TARP", ranks["TARP"], np.arange(first), seed=seed),
    )
    groups = {"all": _honesty(cases, seed)}
    groups |= {str(one.atoms): _honesty([one], seed) for one in cases}
    return Calibration(
        cases=first,
        refused=refused,
        groups=groups,
        tests=tuple(tests),
        corrected=tuple(holm([one.p_value for one in tests])),
        curves=curves,
        ranks=ranks,
        local=_thirds(cases),
    )


def _honesty(cases: list[_Cases], seed: int) -> Honesty:
    """Of some cases, with intervals bootstrapped over molecules."""
    sums, molecules, half = [], [], []
    for one in cases:
        away = np.abs(one.by_distance - 0.5)
        columns = [
            (away <= 0.5 * 0.6827).sum(axis=1),
            (away <= 0.5 * 0.9545).sum(axis=1),
            np.square(one.error).sum(axis=1),
            np.square(one.deviation).sum(axis=1),
            np.abs(one.error).mean(axis=1),
            np.full(len(away), away.shape[1]),
            np.ones(len(away)),
        ]
        sums.append(np.stack(columns, axis=1))
        # Random molecules are numbered within one size.
        molecules.append(one.molecule * 64 + one.atoms)
        half.append(one.half.mean(axis=1))
    table = np.concatenate(sums)
    _, place = np.unique(np.concatenate(molecules), return_inverse=True)
    totals = np.zeros((int(place.max()) + 1, table.shape[1]))
    np.add.at(totals, place, table)
    random = np.random.default_rng(seed)
    share = random.multinomial(len(totals), np.full(len(totals), 1.0 / len(totals)), _RESAMPLES)
    resampled = _values(share @ totals)
    mean = _values(table.sum(axis=0)[None])[:, 0]
    low, high = np.quantile(resampled, [0.025, 0.975], axis=1)
    inside, wider, ratio, error = (
        Interval(float(a), float(b), float(c)) for a, b, c in zip(mean, low, high, strict=True)
    )
    width = float(np.concatenate(half).mean())
    return Honesty(len(table), len(totals), inside, wider, ratio, error, width)


def _values(sums: FloatArray) -> FloatArray:
    """(4, n) shares inside 68 and 95 %, ratio, and mean error from (n, 7) sums."""
    inside, wider, error, deviation, absolute, distances, cases = sums.T
    return np.stack(
        [
            inside / distances,
            wider / distances,
            np.sqrt(error / np.maximum(deviation, 1e-300)),
            absolute / cases,
        ]
    )


def _thirds(cases: list[_Cases]) -> tuple[dict[str, Any], ...]:
    """Coverage of 68 % in the thirds of each observable: where a sampler is too sure."""
    inside = np.concatenate(
        [(np.abs(one.by_distance - 0.5) <= 0.5 * 0.6827).mean(axis=1) for one in cases]
    )
    seen = np.concatenate([one.observables for one in cases])
    rows = []
    for number, name in enumerate(OBSERVABLES):
        values = seen[:, number]
        if np.ptp(values) == 0.0:
            continue
        edges = np.quantile(values, [1 / 3, 2 / 3])
        part = np.searchsorted(edges, values, side="left")
        row: dict[str, Any] = {"of": name}
        for place, words in enumerate(_PARTS):
            chosen = inside[part == place]
            if len(chosen):
                row[words] = {
                    "inside_68": float(chosen.mean()),
                    "error": float(chosen.std() / np.sqrt(len(chosen))),
                    "cases": len(chosen),
                }
        rows.append(row)
    return tuple(rows)


def verdict(found: Mapping[str, Calibration]) -> dict[str, list[str]]:
    """Of each set, what fails: tests after Holm's correction, and then curves that are far off."""
    told = {}
    for name, one in found.items():
        failed = [
            test.name for test, p in zip(one.tests, one.corrected, strict=True) if p <= REJECTED
        ]
        # With few cases curves stray by chance: they say how large a fault is that a test found.
        failed += [
            f"coverage of {curve.name} {curve.deviation:.2f} off"
            for curve in one.curves
            if failed and curve.deviation > TOLERANCE
        ]
        told[name] = failed
    return told
