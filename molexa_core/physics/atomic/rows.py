"""Configurations as arrays, one row each; they are computed once, stored, and joined to tables.

Rows are independent of each other. `Numbering` assigns a number to every configuration of an
element, so that the final configurations of transitions are found without a loop.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from molexa_core.base.tables import FloatArray
from molexa_core.physics.atomic.configuration import Configuration
from molexa_core.physics.atomic.shells import Occupation

PHOTO: Final = 0
AUGER: Final = 1
FLUORESCENCE: Final = 2
"""Kinds of transitions. `value` is a cross section for `PHOTO`, otherwise a rate."""
NONE: Final = -1
"""In place of a row: there is no such configuration."""
MISSING: Final = -2
"""In place of a row: the configuration exists, but has not been computed yet."""


@dataclass(frozen=True)
class Rows:
    """Configurations of one element at one photon energy. n rows, s subshells, t transitions.

    Attributes:
        occupation: (n, s) electrons.
        energy: (n, s) orbital energies, hartree.
        average_energy: (n) total energy of the average of the configuration, hartree.
        outer_binding: (n) binding energy of the outermost electron, hartree; 0 for the bare
            nucleus.
        capture_binding: (n) energy gained when an electron is captured into the valence shell,
            hartree; 0 if the shell is full.
        first: (n + 1) number of the first transition of a row.
        kind: (t) `PHOTO`, `AUGER` or `FLUORESCENCE`.
        value: (t) cross section in bohr^2 (photo) or rate per atomic unit of time.
        released: (t) energy of the emitted electron or photon, hartree.
        shells: (t, 3) subshell that is ionized or filled, then those of the electrons involved;
            -1 if there is none.
    """

    occupation: NDArray[np.int8]
    energy: FloatArray
    average_energy: FloatArray
    outer_binding: FloatArray
    capture_binding: FloatArray
    first: NDArray[np.int32]
    kind: NDArray[np.int8]
    value: FloatArray
    released: FloatArray
    shells: NDArray[np.int8]

    def __len__(self) -> int:
        """Number of configurations."""
        return len(self.occupation)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays by name."""
        return {name: getattr(self, name) for name in ROW_ARRAYS}

    def select(self, rows: NDArray[np.integer[Any]]) -> Rows:
        """The rows with these numbers, in this order."""
        count = np.diff(self.first)[rows]
        first = np.concatenate([[0], np.cumsum(count)])
        # The transitions of the chosen rows, concatenated.
        t = np.arange(first[-1]) + np.repeat(self.first[:-1][rows] - first[:-1], count)
        return Rows(
            occupation=self.occupation[rows],
            energy=self.energy[rows],
            average_energy=self.average_energy[rows],
            outer_binding=self.outer_binding[rows],
            capture_binding=self.capture_binding[rows],
            first=first.astype(np.int32),
            kind=self.kind[t],
            value=self.value[t],
            released=self.released[t],
            shells=self.shells[t],
        )


ROW_ARRAYS: Final = tuple(item.name for item in fields(Rows))
"""Names of the arrays of rows."""


def rows_of(
    configurations: Sequence[Configuration],
    photon: float,
    capture_binding: Sequence[float] | None = None,
) -> Rows:
    """Configurations as arrays, outermost electrons bound by their orbital energies.

    Args:
        configurations: at least one, all of one element.
        photon: photon energy, hartree.
        capture_binding: (n) see `Rows`; zeros if not given.
    """
    found: list[tuple[int, float, float, tuple[int, int, int]]] = []
    first = [0]
    for item in configurations:
        found += [
            (PHOTO, float(sigma), photon + float(item.energy[i]), (i, -1, -1))
            for i, sigma in enumerate(item.cross_section)
            if sigma > 0.0
        ]
        for d in item.decays:
            kind = AUGER if d.kind == "auger" else FLUORESCENCE
            found.append((kind, d.rate, d.energy, (d.hole, d.first, d.second)))
        first.append(len(found))
    occupation = np.array([item.occupation for item in configurations], dtype=np.int8)
    energy = np.array([item.energy for item in configurations])
    outer = outermost_level(occupation, energy)
    bound = -np.take_along_axis(energy, outer[:, None], 1)[:, 0]
    captured = np.zeros(len(bound)) if capture_binding is None else np.array(capture_binding)
    return Rows(
        occupation=occupation,
        energy=energy,
        average_energy=np.array([item.average_energy for item in configurations]),
        outer_binding=np.where(occupation.any(axis=1), bound, 0.0),
        capture_binding=captured,
        first=np.array(first, dtype=np.int32),
        kind=np.array([item[0] for item in found], dtype=np.int8),
        value=np.array([item[1] for item in found], dtype=np.float64),
        released=np.array([item[2] for item in found], dtype=np.float64),
        shells=np.array([item[3] for item in found], dtype=np.int8).reshape(-1, 3),
    )


def outermost_level(occupation: NDArray[np.int8], energy: FloatArray) -> NDArray[np.int64]:
    """(n) index of the most weakly bound occupied subshell; 0 for the bare nucleus."""
    level: NDArray[np.int64] = np.where(occupation > 0, energy, -np.inf).argmax(axis=1)
    return level


def capture_level(
    occupation: NDArray[np.int8], ground: Occupation, valence: Sequence[int]
) -> NDArray[np.int64]:
    """(n) index of the subshell that captures an electron; -1 if there is none.

    This is the last valence subshell with fewer electrons than in the neutral atom.
    """
    level = np.full(len(occupation), -1)
    for shell in valence:
        level[occupation[:, shell] < ground[shell]] = shell
    return level


def join_rows(parts: Sequence[Rows]) -> Rows:
    """Concatenate several sets of rows."""
    joined: dict[str, NDArray[Any]] = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in ROW_ARRAYS
        if name != "first"
    }
    count = np.concatenate([np.diff(part.first) for part in parts])
    first = np.concatenate([[0], np.cumsum(count)]).astype(np.int32)
    return Rows(first=first, **joined)


class Numbering:
    """A number for every configuration with no subshell fuller than in the neutral atom."""

    def __init__(self, ground: Occupation) -> None:
        """Number the configurations of the element with this ground configuration."""
        self._weight = np.ones(len(ground), dtype=np.int64)
        self._weight[1:] = np.cumprod([count + 1 for count in ground[:-1]])

    def numbers(self, occupation: NDArray[Any] | Iterable[Occupation]) -> NDArray[np.int64]:
        """(n) numbers of configurations (n, s)."""
        table = np.asarray(occupation, dtype=np.int64).reshape(-1, len(self._weight))
        result: NDArray[np.int64] = table @ self._weight
        return result

    def changes(self, kind: NDArray[np.int8], shells: NDArray[np.int8]) -> NDArray[np.int64]:
        """(t) change of the configuration number in each transition."""
        weight = np.append(self._weight, 0)[shells.astype(np.int64)]
        sign = np.where(kind == PHOTO, -1, 1)
        result: NDArray[np.int64] = sign * weight[:, 0] - weight[:, 1] - weight[:, 2]
        return result

    def neighbours(self, occupation: NDArray[np.int8], electrons: int) -> NDArray[np.int64]:
        """(n, s) numbers after adding `electrons` to one subshell, whether possible or not."""
        return self.numbers(occupation)[:, None] + electrons * self._weight

    def occupations(self, numbers: NDArray[np.int64]) -> NDArray[np.int8]:
        """(n, s) the configurations with these numbers."""
        left, columns = numbers.copy(), []
        for weight in self._weight[::-1]:
            count, left = np.divmod(left, weight)
            columns.append(count)
        return np.stack(columns[::-1], axis=1).astype(np.int8)


class Finder:
    """Rows by the number of their configuration."""

    def __init__(self, numbers: NDArray[np.int64]) -> None:
        """Prepare the search among the numbers (n) of all rows."""
        self._order = np.argsort(numbers, kind="stable")
        self._sorted = numbers[self._order]

    def rows(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """The rows, in the shape of `numbers`; `NONE` if there is none."""
        place = np.searchsorted(self._sorted, numbers)
        place = np.minimum(place, len(self._sorted) - 1)
        found: NDArray[np.int64] = np.where(
            self._sorted[place] == numbers, self._order[place], NONE
        )
        return found
