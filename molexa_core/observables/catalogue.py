"""The observables of a coincidence: name, unit, meaning, and how each is computed.

Momenta, and what follows from them, are those of the table: in the laboratory in `events.h5`, in
the molecular frame in `aligned.h5`. Times and positions are always those of the detector.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from molexa_core.base.errors import InputFileError
from molexa_core.base.fields import MOMENTUM
from molexa_core.base.tables import Coincidences, DetectorValues, FloatArray
from molexa_core.base.units import HARTREE_EV

Columns = tuple[int, ...]


@dataclass(frozen=True)
class Observable:
    """A quantity that every coincidence has.

    Attributes:
        name: as it is written in conditions.
        ions: number of ions it is of: 0 for the coincidence as a whole.
        unit: as printed.
        meaning: in words.
        of: (n) values from the table and the columns of the ions.
    """

    name: str
    ions: int
    unit: str
    meaning: str
    of: Callable[[Coincidences, Columns], FloatArray]

    @property
    def written(self) -> str:
        """How it is written, such as `angle(ION, ION)`."""
        return f"{self.name}({', '.join(['ION'] * self.ions)})" if self.ions else self.name


def _size(vectors: FloatArray) -> FloatArray:
    return np.asarray(np.linalg.norm(vectors, axis=-1))


def _release(table: Coincidences, columns: Columns) -> FloatArray:  # noqa: ARG001  # of all ions
    return np.asarray(table.kinetic_energy().sum(axis=1) * HARTREE_EV)


def _energy(table: Coincidences, columns: Columns) -> FloatArray:
    (ion,) = columns
    squares = np.square(table.momentum[:, ion]).sum(axis=1)
    return np.asarray(squares / (2.0 * table.ions[ion].mass) * HARTREE_EV)


def _component(axis: int) -> Callable[[Coincidences, Columns], FloatArray]:
    return lambda table, columns: table.momentum[:, columns[0], axis]


def _sum_component(axis: int) -> Callable[[Coincidences, Columns], FloatArray]:
    return lambda table, _: table.momentum_sum()[:, axis]


def _cosine(table: Coincidences, columns: Columns) -> FloatArray:
    one, other = (table.momentum[:, ion] for ion in columns)
    sizes = _size(one) * _size(other)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.clip((one * other).sum(axis=1) / sizes, -1.0, 1.0))


def _angle(table: Coincidences, columns: Columns) -> FloatArray:
    """From both the sine and the cosine: exact near 0 and 180 degrees too."""
    one, other = (table.momentum[:, ion] for ion in columns)
    across = _size(np.cross(one, other))
    angle = np.degrees(np.arctan2(across, (one * other).sum(axis=1)))
    at_rest = (_size(one) == 0.0) | (_size(other) == 0.0)
    return np.asarray(np.where(at_rest, np.nan, angle))


def _measured(table: Coincidences) -> DetectorValues:
    if table.detector is None:
        raise InputFileError(
            "the events have no times of flight and positions: an earlier version or another "
            "program wrote them",
            do="Reduce the run again, or use observables of the momenta.",
        )
    return table.detector


def _hit(name: str) -> Callable[[Coincidences, Columns], FloatArray]:
    return lambda table, columns: _measured(table).columns[name][:, columns[0]]


def _radius(table: Coincidences, columns: Columns) -> FloatArray:
    hit = _measured(table)
    return np.hypot(hit.x_mm[:, columns[0]], hit.y_mm[:, columns[0]])


def _relative(table: Coincidences, one: int, other: int) -> tuple[FloatArray, float]:
    """(n, 3) relative momentum of two ions, and their reduced mass."""
    first, second = table.ions[one].mass, table.ions[other].mass
    whole = first + second
    relative = (second * table.momentum[:, one] - first * table.momentum[:, other]) / whole
    return relative, first * second / whole


def _inner_energy(table: Coincidences, columns: Columns) -> FloatArray:
    relative, reduced = _relative(table, *columns)
    return np.asarray(np.square(relative).sum(axis=1) / (2.0 * reduced) * HARTREE_EV)


def _native_angle(table: Coincidences, columns: Columns) -> FloatArray:
    """J. Rajput et al., Phys. Rev. Lett. 120, 103001 (2018)."""
    one, other, third = columns
    inner, _ = _relative(table, one, other)
    pair = table.ions[one].mass + table.ions[other].mass
    last = table.ions[third].mass
    together = table.momentum[:, one] + table.momentum[:, other]
    outer = (last * together - pair * table.momentum[:, third]) / (pair + last)
    across = _size(np.cross(inner, outer))
    return np.asarray(np.degrees(np.arctan2(across, (inner * outer).sum(axis=1))))


def _shares(table: Coincidences, columns: Columns) -> list[FloatArray]:
    """Energy of each of three ions over that of all three."""
    energies = [_energy(table, (column,)) for column in columns]
    with np.errstate(invalid="ignore", divide="ignore"):
        return [np.asarray(energy / sum(energies)) for energy in energies]


def _dalitz_x(table: Coincidences, columns: Columns) -> FloatArray:
    first, second, _ = _shares(table, columns)
    return np.asarray((first - second) / np.sqrt(3.0))


def _dalitz_y(table: Coincidences, columns: Columns) -> FloatArray:
    return np.asarray(_shares(table, columns)[2] - 1.0 / 3.0)


def _newton(part: str) -> Callable[[Coincidences, Columns], FloatArray]:
    def of(table: Coincidences, columns: Columns) -> FloatArray:
        axis, moved = (table.momentum[:, column] for column in columns)
        square = np.square(axis).sum(axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            if part == "along":
                return np.asarray((axis * moved).sum(axis=1) / square)
            return np.asarray(_size(np.cross(axis, moved)) / square)

    return of


_ALL: Final = (
    Observable("ker", 0, "eV", "kinetic energy release: sum of p^2 / 2m of all ions", _release),
    Observable("psum", 0, "a.u.", "size of the momentum sum", lambda t, _: _size(t.momentum_sum())),
    *(
        Observable(f"psum{axis}", 0, "a.u.", f"momentum sum along {axis}", _sum_component(number))
        for number, axis in enumerate("xyz")
    ),
    Observable("energy", 1, "eV", "kinetic energy of the ion, p^2 / 2m", _energy),
    Observable(
        "p", 1, "a.u.", "size of the momentum of the ion", lambda t, c: _size(t.momentum[:, c[0]])
    ),
    *(
        Observable(name, 1, "a.u.", f"momentum of the ion along {name[-1]}", _component(number))
        for number, name in enumerate(MOMENTUM)
    ),
    Observable("tof", 1, "ns", "time of flight of the ion, from the light pulse", _hit("tof_ns")),
    Observable("x", 1, "mm", "position of the hit, from the centre of the image", _hit("x_mm")),
    Observable("y", 1, "mm", "position of the hit, from the centre of the image", _hit("y_mm")),
    Observable("r", 1, "mm", "distance of the hit from the centre of the image", _radius),
    Observable("angle", 2, "degrees", "angle between the momenta of two ions", _angle),
    Observable("cosine", 2, "", "cosine of the angle between the momenta of two ions", _cosine),
    Observable(
        "erel", 2, "eV", "kinetic energy of two ions in their centre of mass", _inner_energy
    ),
    Observable(
        "native",
        3,
        "degrees",
        "angle between the relative momentum of the first two ions and that of their pair and the "
        "third: flat in its sine where the pair turned before it broke up",
        _native_angle,
    ),
    Observable(
        "newtonx",
        2,
        "",
        "momentum of the second ion along that of the first, over its size",
        _newton("along"),
    ),
    Observable(
        "newtony",
        2,
        "",
        "momentum of the second ion across that of the first, over its size",
        _newton("across"),
    ),
    Observable(
        "dalitzx", 3, "", "shares of the energy of three ions: (first - second) / sqrt 3", _dalitz_x
    ),
    Observable("dalitzy", 3, "", "share of the third of three ions, less 1/3", _dalitz_y),
)
CATALOGUE: Final = {observable.name: observable for observable in _ALL}
"""Every observable by its name; tags of the shots, such as `delay_fs`, are added by the table."""
