"""Figures of a structure: two projections with error bars, and the interactive 3D view."""

from __future__ import annotations

from typing import Final, TypedDict

import numpy as np
from matplotlib import patheffects
from matplotlib.axes import Axes

from molexa_core.base.units import BOHR_ANGSTROM
from molexa_core.report.content import Structure
from molexa_core.report.style import ACCENT, INK, MUTED, as_uri, element_colour, figure, grid

_LIGHTEST: Final = 60.0
_HEAVIEST: Final = 120.0


def projections(structure: Structure) -> str:
    """The structure seen along z and y with standard uncertainties; the known one hollow."""
    with figure(9.2, 4.1, ncols=2) as (drawing, both):
        for axes, (vertical, depth, name) in zip(both, ((1, 2, "y"), (2, 1, "z")), strict=True):
            _project(axes, structure, vertical, depth)
            axes.set_xlabel("x (bohr)")
            axes.set_ylabel(f"{name} (bohr)")
            _same_scale(axes, structure, vertical)
        handles, labels = both[0].get_legend_handles_labels()
        if handles:
            drawing.legend(handles, labels, loc="outside upper center", ncols=3)
        return as_uri(drawing)


class SceneAtom(TypedDict):
    """A ball of the viewer: place, radius and uncertainty in angstrom."""

    name: str
    colour: str
    radius: float
    at: list[float]
    uncertainty: float | None


class Scene(TypedDict):
    """What the viewer draws: balls, sticks between them, places of the known atoms in angstrom."""

    atoms: list[SceneAtom]
    sticks: list[list[int]]
    known: list[list[float]] | None


def scene(structure: Structure) -> Scene:
    """Atoms, bonds, uncertainties and the known structure in angstrom, for the viewer."""
    positions = structure.geometry.positions * BOHR_ANGSTROM
    uncertainty = structure.geometry.uncertainty
    radii = (
        None
        if uncertainty is None
        else np.sqrt(np.square(uncertainty).mean(axis=1)) * BOHR_ANGSTROM
    )
    names = _names(structure)
    return {
        "atoms": [
            {
                "name": names[index],
                "colour": element_colour(symbol),
                "radius": ball_radius(symbol),
                "at": [round(float(value), 5) for value in positions[index]],
                "uncertainty": None if radii is None else round(float(radii[index]), 5),
            }
            for index, symbol in enumerate(structure.geometry.symbols)
        ],
        "sticks": [list(pair) for pair in structure.bonds],
        "known": None
        if structure.known is None
        else [[round(float(value) * BOHR_ANGSTROM, 5) for value in at] for at in structure.known],
    }


def _same_scale(axes: Axes, structure: Structure, vertical: int) -> None:
    """Equal scales on all axes of both projections, the structure in the middle."""
    points = structure.geometry.positions
    if structure.known is not None:
        points = np.concatenate([points, structure.known])
    middle = 0.5 * (points.max(axis=0) + points.min(axis=0))
    room = 0.0 if structure.geometry.uncertainty is None else structure.geometry.uncertainty.max()
    half = 0.62 * float(np.ptp(points, axis=0).max()) + float(room) + 0.3
    axes.set_xlim(middle[0] - 1.25 * half, middle[0] + 1.25 * half)
    axes.set_ylim(middle[vertical] - half, middle[vertical] + half)
    axes.set_aspect("equal")


def _names(structure: Structure) -> list[str]:
    return [f"{name}{index + 1}" for index, name in enumerate(structure.geometry.names)]


def ball_radius(symbol: str) -> float:
    """Radius of the ball of an atom, angstrom."""
    return 0.10 if symbol == "H" else 0.14


def _project(axes: Axes, structure: Structure, vertical: int, depth: int) -> None:
    geometry = structure.geometry
    positions = geometry.positions
    for one, two in structure.bonds:
        pair = positions[[one, two]]
        axes.plot(pair[:, 0], pair[:, vertical], color="#b9c0ca", linewidth=3.2, zorder=1)
    if structure.known is not None:
        for one, two in structure.bonds:
            pair = structure.known[[one, two]]
            axes.plot(
                pair[:, 0], pair[:, vertical], color=ACCENT, linewidth=0.8, ls=(0, (3, 3)), zorder=2
            )
        axes.scatter(
            structure.known[:, 0],
            structure.known[:, vertical],
            s=260,
            facecolors="none",
            edgecolors=ACCENT,
            linewidths=1.3,
            zorder=6,
            label="known structure",
        )
    order = np.argsort(positions[:, depth], kind="stable")
    names = _names(structure)
    for rank, index in enumerate(order):
        symbol = geometry.symbols[index]
        at = positions[index]
        axes.scatter(
            at[0],
            at[vertical],
            s=_LIGHTEST if symbol == "H" else _HEAVIEST,
            color=element_colour(symbol),
            edgecolors="white",
            linewidths=0.8,
            zorder=3 + rank / 1000,
        )
        text = axes.annotate(
            names[index],
            (at[0], at[vertical]),
            xytext=(9, 9),
            textcoords="offset points",
            fontsize=8,
            color=INK,
            zorder=8,
        )
        text.set_path_effects([patheffects.withStroke(linewidth=2.2, foreground="white")])
    if geometry.uncertainty is not None:
        axes.errorbar(
            positions[:, 0],
            positions[:, vertical],
            xerr=geometry.uncertainty[:, 0],
            yerr=geometry.uncertainty[:, vertical],
            fmt="none",
            ecolor=INK,
            elinewidth=1.0,
            capsize=2.5,
            zorder=7,
            label="one standard uncertainty",
        )
    grid(axes)
    axes.spines[["left", "bottom"]].set_color(MUTED)
