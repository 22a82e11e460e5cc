"""Contents of the figures of an evaluation, filled by `pipeline.evaluation.evaluation_figures`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from molexa_core.base.spectrum import Spectrum
from molexa_core.base.tables import FloatArray

Pairs = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Example:
    """A predicted and a true structure in a common frame.

    Attributes:
        label: name of the molecule with its charges.
        symbols: (N) elements.
        truth: (N, 3) bohr.
        predicted: (N, 3) bohr.
        true_bonds: bonds to be drawn in the true structure, as pairs of atoms.
        bonds: bonds to be drawn in the predicted structure.
        expected: mean predicted error of a coordinate, bohr.
        distance_error: mean distance error, bohr.
        angle_error: mean angle error, degrees; None for two atoms.
    """

    label: str
    symbols: tuple[str, ...]
    truth: FloatArray
    predicted: FloatArray
    true_bonds: Pairs
    bonds: Pairs
    expected: float
    distance_error: float
    angle_error: float | None


@dataclass(frozen=True)
class OneSize:
    """Results for all molecules with the same number of atoms.

    Attributes:
        atoms: number of atoms.
        entries: number of molecules.
        distances: predicted against true interatomic distances.
        angles: predicted against true angles; None for two atoms.
        distance_errors: mean distance error of molecules against their predicted error.
        angle_errors: the same of the mean angle error; None for two atoms.
        tenths: (2, groups) mean predicted and mean true error of the molecules, grouped by
            predicted error into tenths, bohr.
        certain: a typical molecule with a small predicted error.
        uncertain: a typical molecule with a large predicted error.
    """

    atoms: int
    entries: int
    distances: Spectrum
    angles: Spectrum | None
    distance_errors: Spectrum
    angle_errors: Spectrum | None
    tenths: FloatArray
    certain: Example
    uncertain: Example


@dataclass(frozen=True)
class AccuracyContent:
    """All values shown in the figures of an evaluation.

    Attributes:
        sizes: by number of atoms, ascending.
        rows: by method and group, statistics of each error (`pipeline.evaluation.evaluate`).
        coverage: by number of atoms, shares inside the 68 and 95 % intervals; empty without.
        classical: errors of bond lengths from the kinetic energy: c = 1, and c fitted; empty
            without diatomics.
        geometries: several geometries of one molecule.
    """

    sizes: tuple[OneSize, ...]
    rows: dict[str, dict[str, dict[str, Any]]]
    coverage: dict[str, list[float]]
    classical: tuple[float, ...]
    geometries: tuple[Example, ...]
