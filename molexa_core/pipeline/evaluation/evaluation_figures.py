"""The values shown in the figures of an evaluation, stored as JSON.

The values are small (histograms, a few structures), so that a machine without matplotlib can store
them and another one can draw the figures.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from molexa_core.base.errors import InputFileError
from molexa_core.base.fields import PROVENANCE
from molexa_core.base.matter.elements import BY_NUMBER
from molexa_core.base.spectrum import Spectrum
from molexa_core.base.storage.checksums import sealed, unsealed
from molexa_core.base.storage.files import UNWRITABLE, atomic_path
from molexa_core.base.storage.json_file import read_json
from molexa_core.base.storage.provenance import Provenance
from molexa_core.base.tables import FloatArray, Geometry, IntArray
from molexa_core.geometry.bonds import bonds
from molexa_core.geometry.measures import (
    angle_errors,
    distance_errors,
    mean_absolute_error,
    pair_distances,
    triplet_angles,
)
from molexa_core.pipeline.evaluation.evaluate import Answers, Evaluation
from molexa_core.pipeline.evaluation.evaluation_sets import Explosions
from molexa_core.report.accuracy_content import AccuracyContent, Example, OneSize

DATA: Final = "figures.json"
"""Name of the file with the values, beside the figures."""
FORMAT: Final = 1
_LARGEST: Final = 256 * 2**20
"""Largest size of the file, bytes."""
_BINS: Final = 48
_MOST: Final = 200_000
"""Largest number of distances or angles in one histogram."""
_CERTAIN: Final = (0.02, 0.12)
_UNCERTAIN: Final = (0.88, 0.98)
"""Ranges of the rank by predicted error; a typical molecule of each is shown."""
_LEAST: Final = 8
"""Smallest number of molecules per point of the reliability curve, which has at most ten points."""
_SHOWN: Final = 8
"""Number of geometries of one molecule that are shown."""


def content_of(result: Evaluation, sets: Mapping[int, Explosions]) -> AccuracyContent:
    """The values shown in the figures.

    Args:
        result: the evaluation with its predictions.
        sets: the explosions that were evaluated.
    """
    answers = result.answers
    expected = {n: one.expected[0].mean(axis=(1, 2)) for n, one in answers.items()}
    limits = _Limits.of(answers, expected)
    sizes = [_one_size(n, one, expected[n], sets[n], limits) for n, one in sorted(answers.items())]
    pairs = result.diatomics
    classical = ("c / KER with c = 1", "c / KER with c fitted")
    return AccuracyContent(
        sizes=tuple(sizes),
        rows=result.rows,
        coverage=result.coverage,
        classical=tuple(pairs[name] for name in classical if name in pairs),
        geometries=_geometries(answers, expected, sets),
    )


def write_content(
    content: AccuracyContent, path: Path | str, record: Provenance | None = None
) -> None:
    """Store the values of the figures with their provenance.

    Raises:
        OutputError: the file cannot be written.
    """
    values = {"format": FORMAT, **_content_to_dict(content)}
    if record is not None:
        values[PROVENANCE] = json.loads(record.to_json())
    with atomic_path(path) as temporary:
        text = json.dumps(sealed(values), separators=(",", ":"))
        temporary.write_text(f"{text}\n", encoding="utf-8", errors=UNWRITABLE)


def read_content(path: Path | str) -> AccuracyContent:
    """Read the values stored by `write_content`.

    Raises:
        InputFileError: the file does not exist or has another format.
    """
    what = "the values of figures of an evaluation"
    do = f"Name the file {DATA} that `molexa evaluate` writes beside its figures."
    values, _ = unsealed(read_json(path, largest=_LARGEST, what=what, do=do), where=path)
    try:
        if values["format"] != FORMAT:
            raise ValueError(values["format"])
        return AccuracyContent(
            sizes=tuple(_size_from(one) for one in values["sizes"]),
            rows=values["rows"],
            coverage=values["coverage"],
            classical=tuple(values["classical"]),
            geometries=tuple(_example_from(one) for one in values["geometries"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputFileError(f"not {what}", where=path, do=do) from error


class _Limits:
    """Limits of the axes, the same for all sizes."""

    def __init__(self, distance: float, expected: float, error: float, angle: float) -> None:
        self.distance, self.expected, self.error, self.angle = distance, expected, error, angle

    @classmethod
    def of(cls, answers: Mapping[int, Answers], expected: Mapping[int, FloatArray]) -> _Limits:
        lengths, errors, angles = [], [], []
        for one in answers.values():
            lengths.append(pair_distances(one.truth).ravel())
            errors.append(distance_errors(one.samples[0], one.truth).mean(axis=1))
            if one.truth.shape[1] > 2:
                angles.append(angle_errors(one.samples[0], one.truth).mean(axis=1))
        wide = np.concatenate(list(expected.values()))
        return cls(
            distance=1.1 * float(np.quantile(np.concatenate(lengths), 0.999)),
            expected=_end(wide),
            error=_end(np.concatenate(errors)),
            angle=_end(np.concatenate(angles)) if angles else 1.0,
        )


def _end(values: FloatArray) -> float:
    """Limit of an axis that shows nearly all values; values beyond it count in the last bin."""
    return max(1.05 * float(np.quantile(values, 0.985)), 1e-3)


def _one_size(
    atoms: int, one: Answers, expected: FloatArray, explosions: Explosions, limits: _Limits
) -> OneSize:
    predicted, truth = one.samples[0], one.truth
    error = distance_errors(predicted, truth).mean(axis=1)
    order = np.argsort(expected, kind="stable")
    groups = int(np.clip(len(order) // _LEAST, 1, 10))
    tenths = np.array_split(order, groups)
    true = mean_absolute_error(predicted, truth)
    angles = angle_map = None
    if atoms > 2:
        turned = angle_errors(predicted, truth).mean(axis=1)
        angles = _histogram(
            (triplet_angles(truth), triplet_angles(predicted)),
            (180.0, 180.0),
            ("true angle", "predicted angle"),
            ("°", "°"),
        )
        angle_map = _histogram(
            (expected, turned),
            (limits.expected, limits.angle),
            ("predicted error", "mean angle error"),
            ("bohr", "°"),
        )
    shown = [_typical(order, error, span) for span in (_CERTAIN, _UNCERTAIN)]
    certain, uncertain = (_example(one, expected, explosions, row) for row in shown)
    return OneSize(
        atoms=atoms,
        entries=len(truth),
        distances=_histogram(
            (pair_distances(truth), pair_distances(predicted)),
            (limits.distance, limits.distance),
            ("true distance", "predicted distance"),
            ("bohr", "bohr"),
        ),
        angles=angles,
        distance_errors=_histogram(
            (expected, error),
            (limits.expected, limits.error),
            ("predicted error", "mean distance error"),
            ("bohr", "bohr"),
        ),
        angle_errors=angle_map,
        tenths=np.array([[v[part].mean() for part in tenths] for v in (expected, true)]),
        certain=certain,
        uncertain=uncertain,
    )


def _histogram(
    values: tuple[FloatArray, FloatArray],
    ends: tuple[float, float],
    labels: tuple[str, str],
    units: tuple[str, str],
) -> Spectrum:
    across, up = (
        np.minimum(one.ravel()[:_MOST], end * (1 - 1e-9))
        for one, end in zip(values, ends, strict=True)
    )
    edges = [np.linspace(0.0, end, _BINS + 1) for end in ends]
    counts = np.histogram2d(across, up, bins=edges)[0]
    return Spectrum(counts.astype(np.int64), tuple(edges), labels, units)


def _typical(order: IntArray, error: FloatArray, span: tuple[float, float]) -> int:
    """The entry with the median error among those with a rank of predicted error in this range."""
    first = int(span[0] * len(order))
    part = order[first : max(int(span[1] * len(order)), first + 1)]
    return int(part[np.argsort(error[part], kind="stable")[len(part) // 2]])


def _geometries(
    answers: Mapping[int, Answers],
    expected: Mapping[int, FloatArray],
    sets: Mapping[int, Explosions],
) -> tuple[Example, ...]:
    """Geometries of the most frequent molecule, evenly spaced in rank of their error."""
    best: tuple[int, int, str] = (0, 0, "")
    for atoms, explosions in sets.items():
        if atoms < 4:
            continue
        labels = np.array(explosions.label)
        for name in np.unique(labels[labels != ""]):
            count = len(np.unique(explosions.cluster[labels == name]))
            best = max(best, (count, atoms, str(name)))
    count, atoms, name = best
    if count < 3:
        return ()
    explosions, one = sets[atoms], answers[atoms]
    mine = np.flatnonzero(np.array(explosions.label) == name)
    # One entry of each geometry, the first.
    _, first = np.unique(explosions.cluster[mine], return_index=True)
    rows = mine[np.sort(first)]
    error = distance_errors(one.samples[0][rows], one.truth[rows]).mean(axis=1)
    ranked = rows[np.argsort(error, kind="stable")]
    chosen = ranked[np.unique(np.linspace(0, len(ranked) - 1, _SHOWN).round().astype(int))]
    return tuple(_example(one, expected[atoms], explosions, int(row)) for row in chosen)


def _example(one: Answers, expected: FloatArray, explosions: Explosions, row: int) -> Example:
    numbers, charges = one.framed[0][row], one.framed[1][row]
    symbols = tuple(BY_NUMBER[int(number)].symbol for number in numbers)
    truth, predicted = one.truth[row], one.samples[0][row]
    angles = angle_errors(predicted, truth)
    whole = [f"{round(float(charge))}" for charge in charges]
    marks = ("" if max(map(len, whole)) == 1 else " ").join(whole)
    name = explosions.label[row].replace("_", " ")
    return Example(
        label=f"{_short(name)} {marks}".strip(),
        symbols=symbols,
        truth=truth,
        predicted=predicted,
        true_bonds=bonds(Geometry(symbols, truth)),
        bonds=bonds(Geometry(symbols, predicted)),
        expected=float(expected[row]),
        distance_error=float(distance_errors(predicted, truth).mean()),
        angle_error=float(angles.mean()) if angles.size else None,
    )


def _short(name: str) -> str:
    return name if len(name) <= 16 else f"{name[:15]}…"


def _content_to_dict(content: AccuracyContent) -> dict[str, Any]:
    return {
        "rows": content.rows,
        "coverage": content.coverage,
        "classical": list(content.classical),
        "geometries": [_example_to_dict(one) for one in content.geometries],
        "sizes": [
            {
                "atoms": size.atoms,
                "entries": size.entries,
                "distances": _map_to_dict(size.distances),
                "angles": _map_to_dict(size.angles),
                "distance_errors": _map_to_dict(size.distance_errors),
                "angle_errors": _map_to_dict(size.angle_errors),
                "tenths": size.tenths.round(5).tolist(),
                "certain": _example_to_dict(size.certain),
                "uncertain": _example_to_dict(size.uncertain),
            }
            for size in content.sizes
        ],
    }


def _size_from(values: dict[str, Any]) -> OneSize:
    distances, errors = _map_from(values["distances"]), _map_from(values["distance_errors"])
    if distances is None or errors is None:
        raise ValueError("a histogram is missing")
    return OneSize(
        atoms=int(values["atoms"]),
        entries=int(values["entries"]),
        distances=distances,
        angles=_map_from(values["angles"]),
        distance_errors=errors,
        angle_errors=_map_from(values["angle_errors"]),
        tenths=np.array(values["tenths"], dtype=float),
        certain=_example_from(values["certain"]),
        uncertain=_example_from(values["uncertain"]),
    )


def _map_to_dict(spectrum: Spectrum | None) -> dict[str, Any] | None:
    """A histogram with equal bins from zero as plain values; only filled bins are stored."""
    if spectrum is None:
        return None
    filled = np.flatnonzero(spectrum.counts)
    return {
        "shape": list(spectrum.counts.shape),
        "ends": [float(edges[-1]) for edges in spectrum.edges],
        "labels": list(spectrum.labels),
        "units": list(spectrum.units),
        # The differences of bin numbers are small and take little space.
        "steps": np.diff(filled, prepend=0).tolist(),
        "counts": spectrum.counts.ravel()[filled].tolist(),
    }


def _map_from(values: dict[str, Any] | None) -> Spectrum | None:
    if values is None:
        return None
    rows, columns = (int(size) for size in values["shape"])
    if not (0 < rows <= 1000 and 0 < columns <= 1000):
        raise ValueError(f"a histogram of {rows} x {columns}")
    place = np.cumsum(np.array(values["steps"], dtype=np.int64))
    if len(place) and not (place.min() >= 0 and place.max() < rows * columns):
        raise ValueError("a bin outside the histogram")
    counts = np.zeros(rows * columns, dtype=np.int64)
    counts[place] = values["counts"]
    edges = tuple(
        np.linspace(0.0, float(end), size + 1)
        for end, size in zip(values["ends"], (rows, columns), strict=True)
    )
    return Spectrum(
        counts.reshape(rows, columns), edges, tuple(values["labels"]), tuple(values["units"])
    )


def _example_to_dict(one: Example) -> dict[str, Any]:
    return {
        "label": one.label,
        "symbols": list(one.symbols),
        "truth": one.truth.round(3).tolist(),
        "predicted": one.predicted.round(3).tolist(),
        "true_bonds": one.true_bonds,
        "bonds": one.bonds,
        "expected": round(one.expected, 4),
        "distance_error": round(one.distance_error, 4),
        "angle_error": None if one.angle_error is None else round(one.angle_error, 2),
    }


def _example_from(values: dict[str, Any]) -> Example:
    def pairs(name: str) -> tuple[tuple[int, int], ...]:
        return tuple((int(one), int(two)) for one, two in values[name])

    angle = values["angle_error"]
    return Example(
        label=str(values["label"]),
        symbols=tuple(values["symbols"]),
        truth=np.array(values["truth"], dtype=float),
        predicted=np.array(values["predicted"], dtype=float),
        true_bonds=pairs("true_bonds"),
        bonds=pairs("bonds"),
        expected=float(values["expected"]),
        distance_error=float(values["distance_error"]),
        angle_error=None if angle is None else float(angle),
    )
