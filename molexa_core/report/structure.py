"""Figures of a structure: two projections with error bars, and what the viewer draws."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypedDict

import numpy as np
from matplotlib import patheffects
from matplotlib.axes import Axes

from molexa_core.base.tables import FloatArray
from molexa_core.base.units import BOHR_ANGSTROM
from molexa_core.report.content import Comparison, Structure
from molexa_core.report.style import (
    ACCENT,
    INK,
    MUTED,
    STICK,
    as_svg,
    element_colour,
    figure,
    grid,
)

_LIGHTEST: Final = 60.0
_HEAVIEST: Final = 120.0
_WIDTH_POINTS: Final = 265.0
"""Width of the axes of a projection on the page."""
PLANES: Final = {"y": (1, 2), "z": (2, 1)}
"""Vertical axis of a projection: its number, and that of the depth."""


def projection(structure: Structure, up: str, name: str) -> str:
    """The structure seen along z (`up` is y) or y (z) with half-widths; the known one hollow."""
    vertical, depth = PLANES[up]
    with figure(4.5, 4.0) as (drawing, axes):
        _project(axes, structure, vertical, depth)
        axes.set_xlabel("x (Å)")
        axes.set_ylabel(f"{up} (Å)")
        _same_scale(axes, structure, vertical)
        _name_atoms(axes, structure, vertical)
        handles, labels = axes.get_legend_handles_labels()
        if handles:
            drawing.legend(handles, labels, loc="outside upper left", ncols=2)
        return as_svg(drawing, name)


class SceneAtom(TypedDict):
    """A ball of the viewer: name, colour, and radius in Å."""

    name: str
    symbol: str
    colour: str
    radius: float


class SceneStructure(TypedDict):
    """One structure of the viewer: positions in Å, bonds, and (6) covariances in Å^2.

    The covariance of each atom is xx, xy, xz, yy, yz, zz.
    """

    name: str
    note: str
    at: list[list[float]]
    sticks: list[list[int]]
    covariance: list[list[float]] | None


class Scene(TypedDict):
    """What the viewer draws. `known` and `other` lie over the first structure.

    `view` holds the axes of the screen as rows: the widest of the structure, the next, and depth.
    """

    atoms: list[SceneAtom]
    structures: list[SceneStructure]
    known: list[list[float]] | None
    known_name: str
    other: list[list[float]] | None
    other_name: str
    momenta: list[list[float]] | None
    view: list[list[float]]
    lengths: list[dict[str, Any]]


def scene(structure: Structure, comparison: Comparison | None = None) -> Scene:
    """The structure, its alternatives and those that it is compared with, in Å."""
    symbols = structure.geometry.symbols
    uncertainty = structure.geometry.uncertainty
    covariance = None
    if uncertainty is not None:
        squares = np.square(uncertainty * BOHR_ANGSTROM)
        covariance = [[_short(x), 0.0, 0.0, _short(y), 0.0, _short(z)] for x, y, z in squares]
    first: SceneStructure = {
        "name": "the answer",
        "note": "",
        "at": _angstrom(structure.geometry.positions),
        "sticks": [list(pair) for pair in structure.bonds],
        "covariance": covariance,
    }
    others: list[SceneStructure] = [
        {
            "name": f"alternative {number}",
            "note": share_of(one),
            "at": _angstrom(np.asarray(one["positions_bohr"], dtype=float)),
            "sticks": [list(pair) for pair in one.get("bonds", ())],
            "covariance": None,
        }
        for number, one in enumerate(structure.alternatives, start=1)
        if _has_places(one, len(symbols))
    ]
    other = None if comparison is None else comparison.positions
    return {
        "atoms": [
            {
                "name": name,
                "symbol": symbol,
                "colour": "#ffffff" if symbol == "H" else element_colour(symbol),
                "radius": 2.0 * ball_radius(symbol),
            }
            for name, symbol in zip(_names(structure), symbols, strict=True)
        ],
        "structures": [first, *others],
        "known": None if structure.known is None else _angstrom(structure.known),
        "known_name": structure.known_name,
        "other": None if other is None else _angstrom(other),
        "other_name": "" if comparison is None else comparison.second,
        "momenta": None
        if structure.momenta is None
        else [[_short(value) for value in row] for row in structure.momenta],
        "view": [[_short(value) for value in row] for row in _view(structure.geometry.positions)],
        "lengths": [
            {"atoms": list(row.atoms), "value": _short(row.value), "error": row.error}
            for row in structure.lengths
        ],
    }


def _view(positions: FloatArray) -> FloatArray:
    """(3, 3) right-handed principal axes, the widest first."""
    axes = np.linalg.svd(positions - positions.mean(axis=0), full_matrices=True)[2]
    axes[0] *= np.sign(axes[0][np.abs(axes[0]).argmax()])
    axes[1] *= np.sign(axes[1][np.abs(axes[1]).argmax()])
    axes[2] = np.cross(axes[0], axes[1])
    return np.asarray(axes)


def share_of(alternative: Any) -> str:
    """The share of an alternative in words; empty where it is not known."""
    for key, of in (("evidence_share", "of the evidence"), ("share_of_samples", "of the samples")):
        if isinstance(value := alternative.get(key), int | float):
            return f"{100 * value:.0f} % {of}"
    return ""


def _has_places(alternative: Any, atoms: int) -> bool:
    try:
        found = np.asarray(alternative.get("positions_bohr"), dtype=float)
    except (TypeError, ValueError):
        return False
    return found.shape == (atoms, 3) and bool(np.isfinite(found).all())


def _angstrom(positions: FloatArray | Sequence[Sequence[float]]) -> list[list[float]]:
    return [[_short(float(value) * BOHR_ANGSTROM) for value in at] for at in positions]


def _short(value: float) -> float:
    return float(f"{float(value):.6g}")


def _same_scale(axes: Axes, structure: Structure, vertical: int) -> None:
    """Equal scales on all axes of both projections, the structure in the middle."""
    points = structure.geometry.positions
    if structure.known is not None:
        points = np.concatenate([points, structure.known])
    points = points * BOHR_ANGSTROM
    middle = 0.5 * (points.max(axis=0) + points.min(axis=0))
    room = 0.0 if structure.geometry.uncertainty is None else structure.geometry.uncertainty.max()
    half = 0.62 * float(np.ptp(points, axis=0).max()) + float(room) * BOHR_ANGSTROM + 0.15
    axes.set_xlim(middle[0] - 1.25 * half, middle[0] + 1.25 * half)
    axes.set_ylim(middle[vertical] - half, middle[vertical] + half)
    axes.set_aspect("equal")


def _name_atoms(axes: Axes, structure: Structure, vertical: int) -> None:
    """Names beside the atoms, each where it covers the least."""
    positions = structure.geometry.positions[:, [0, vertical]] * BOHR_ANGSTROM
    known = structure.known
    taken = list(positions)
    if known is not None:
        taken += list(known[:, [0, vertical]] * BOHR_ANGSTROM)
    points = _WIDTH_POINTS / float(np.ptp(axes.get_xlim()))  # points of the page to one Å
    boxes: list[FloatArray] = []
    for name, at in zip(_names(structure), positions, strict=True):
        half = np.array([2.6 * len(name), 4.2]) / points
        centre, cost = at, np.inf
        for away in (0.0, 5.0, 10.0, 16.0):
            for turn in range(12):
                u = _unit(turn)
                place = at + (7.0 + away) / points * u + half * u
                found = _covered(place, half, taken, boxes) + 0.05 * away
                if found < cost - 1e-9:
                    centre, cost = place, found
        boxes.append(np.concatenate([centre, half]))
        text = axes.text(
            float(centre[0]),
            float(centre[1]),
            name,
            fontsize=8,
            color=INK,
            zorder=8,
            ha="center",
            va="center",
        )
        text.set_path_effects([patheffects.withStroke(linewidth=2.2, foreground="white")])


def _unit(turn: int) -> FloatArray:
    """One of twelve directions, up and to the right first."""
    angle = np.radians(45.0 + 30.0 * turn)
    return np.array([np.cos(angle), np.sin(angle)])


def _covered(
    centre: FloatArray, half: FloatArray, taken: list[FloatArray], boxes: list[FloatArray]
) -> float:
    """How much a name here would cover: names most of all, then atoms."""
    cost = 0.0
    for at in taken:
        away = np.maximum(np.abs(centre - at) - half, 0.0)
        cost += max(0.0, 1.0 - float(np.hypot(*away)) / (1.6 * float(half[1])))
    for box in boxes:
        if np.all(np.abs(centre - box[:2]) < half + box[2:]):
            cost += 5.0
    return cost


def _names(structure: Structure) -> list[str]:
    return [f"{name}{index + 1}" for index, name in enumerate(structure.geometry.names)]


def ball_radius(symbol: str) -> float:
    """Radius of the ball of an atom, angstrom."""
    return 0.10 if symbol == "H" else 0.14


def _project(axes: Axes, structure: Structure, vertical: int, depth: int) -> None:
    geometry = structure.geometry
    positions = geometry.positions * BOHR_ANGSTROM
    known = None if structure.known is None else structure.known * BOHR_ANGSTROM
    for one, two in structure.bonds:
        pair = positions[[one, two]]
        axes.plot(pair[:, 0], pair[:, vertical], color=STICK, linewidth=3.2, zorder=1)
    if known is not None:
        for one, two in structure.bonds:
            pair = known[[one, two]]
            axes.plot(
                pair[:, 0], pair[:, vertical], color=ACCENT, linewidth=0.8, ls=(0, (3, 3)), zorder=2
            )
        axes.scatter(
            known[:, 0],
            known[:, vertical],
            s=260,
            facecolors="none",
            edgecolors=ACCENT,
            linewidths=1.3,
            zorder=6,
            label="known structure",
        )
    order = np.argsort(positions[:, depth], kind="stable")
    for rank, index in enumerate(order):
        symbol = geometry.symbols[index]
        at = positions[index]
        axes.scatter(
            at[0],
            at[vertical],
            s=_LIGHTEST if symbol == "H" else _HEAVIEST,
            color=element_colour(symbol),
            edgecolors=INK,
            linewidths=0.6,
            zorder=3 + rank / 1000,
        )
    if geometry.uncertainty is not None:
        half = geometry.uncertainty * BOHR_ANGSTROM
        axes.errorbar(
            positions[:, 0],
            positions[:, vertical],
            xerr=half[:, 0],
            yerr=half[:, vertical],
            fmt="none",
            ecolor=INK,
            elinewidth=1.0,
            capsize=2.5,
            zorder=7,
            label="68 % interval",
        )
    grid(axes)
    axes.spines[["left", "bottom"]].set_color(MUTED)
