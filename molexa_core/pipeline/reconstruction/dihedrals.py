"""Reconstruct: dihedrals of the bonds of a structure with their 68 % intervals, in degrees.

Dihedrals are directions. Their middle is the median direction; `low` and `high` count from there
without a jump, so that they may lie beyond 180 degrees.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from molexa_core.base.mathematics.circular import (
    UNDETERMINED,
    around,
    laid_out,
    median_direction,
    wrapped,
)
from molexa_core.base.matter.ions import Ion
from molexa_core.base.tables import FloatArray, Geometry, ion_labels
from molexa_core.geometry.bonds import dihedral_chains
from molexa_core.geometry.measures import dihedral_angles
from molexa_core.pipeline.inversion.weighted_draws import credible_intervals, quantiles

Row = dict[str, Any]
_TAIL: Final = 0.5 * (1.0 - 0.6827)
_STEP: Final = 1e-4


def propagated_dihedrals(
    positions: FloatArray, half_width: FloatArray | None, ions: Sequence[Ion]
) -> tuple[Row, ...]:
    """Dihedrals with half-widths that follow from those of independent coordinates.

    Args:
        positions: (N, 3) bohr.
        half_width: (N, 3) of 68 % intervals, bohr; None where there are none.
        ions: of the atoms.

    Returns:
        Rows of `geom.json`. A half-width is never more than that of an unknown direction.
    """
    chains, names = chains_of(positions, ions)
    if not chains:
        return ()
    values = dihedral_angles(positions, chains)
    if half_width is None:
        return tuple(_row(n, c, v, None) for n, c, v in zip(names, chains, values, strict=True))
    size = positions.size
    moved = _STEP * np.maximum(half_width.ravel(), 1e-2)
    steps = (np.eye(size) * moved).reshape(size, *positions.shape)
    there = around(values, dihedral_angles(positions + steps, chains))
    back = around(values, dihedral_angles(positions - steps, chains))
    slope = np.abs(there - back) / (2.0 * moved[:, None])
    widths = np.sqrt((slope**2 * np.square(half_width.ravel())[:, None]).sum(axis=0))
    return tuple(
        _row(name, chain, value, min(width, UNDETERMINED))
        for name, chain, value, width in zip(names, chains, values, widths.tolist(), strict=True)
    )


def drawn_dihedrals(
    draws: FloatArray,
    weights: FloatArray,
    positions: FloatArray,
    ions: Sequence[Ion],
    *,
    reliable: bool,
) -> tuple[Row, ...]:
    """Dihedrals from weighted draws, for the bonds of the answer.

    Args:
        draws: (n, N, 3) bohr.
        weights: (n) of any sum.
        positions: (N, 3) bohr, the answer.
        ions: of the atoms.
        reliable: whether there are error bars.

    Returns:
        Rows of `geom.json`, with the shortest set that holds 68 % as `region`.
    """
    chains, names = chains_of(positions, ions)
    if not chains:
        return ()
    rows = []
    for name, chain, values in zip(names, chains, dihedral_angles(draws, chains).T, strict=True):
        middle = median_direction(values, weights)
        row = _row(name, chain, middle, None)
        if reliable:
            line = around(middle, values)[:, None]
            low, high = quantiles(line, weights, (_TAIL, 1.0 - _TAIL))[:, 0].tolist()
            row |= {"half_width": 0.5 * (high - low), "low": low, "high": high}
            row["region"] = _region(values, weights)
        rows.append(row)
    return tuple(rows)


def chains_of(
    positions: FloatArray, ions: Sequence[Ion]
) -> tuple[tuple[tuple[int, int, int, int], ...], list[str]]:
    """The chains of four bonded ions of a structure, and their names."""
    labels = ion_labels(list(ions))
    symbols = tuple(ion.element.symbol for ion in ions)
    chains = dihedral_chains(Geometry(symbols, positions))
    return chains, ["-".join(labels[atom] for atom in chain) for chain in chains]


def _row(name: str, chain: Sequence[int], value: float, width: float | None) -> Row:
    limits = (None, None) if width is None else (float(value) - width, float(value) + width)
    return {
        "of": name,
        "atoms": list(chain),
        "median": float(value),
        "half_width": width,
        "low": limits[0],
        "high": limits[1],
    }


def _region(values: FloatArray, weights: FloatArray) -> list[list[float]]:
    """The shortest set that holds 68 %; parts begin between -180 and 180 degrees."""
    found = []
    for low, high in credible_intervals(laid_out(values), weights):
        first = float(wrapped(low))
        found.append([first, first + min(high - low, 360.0)])
    return sorted(found)
