"""Warnings of an answer that is no usual molecule, and of others outside its error bars."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from molexa_core.base.tables import FloatArray
from molexa_core.base.units import BOHR_ANGSTROM
from molexa_core.geometry.measures import pair_distances
from molexa_core.pipeline.reconstruction.from_posterior import doubts_of_choice

SO2 = ("S", "O", "O")


def bent(bond: float, angle: float) -> FloatArray:
    """S at the vertex; angstrom and degrees."""
    half = np.radians(angle) / 2
    ends = bond * np.array([[np.sin(half), np.cos(half), 0.0], [-np.sin(half), np.cos(half), 0.0]])
    return np.concatenate([np.zeros((1, 3)), ends]) / BOHR_ANGSTROM


USUAL, SIDE = bent(1.431, 119.3), bent(2.08, 28.6)
"""The molecule at rest, and the twin with the oxygens side by side."""


def other(positions: FloatArray, share: float, *objections: str) -> dict[str, Any]:
    return {
        "positions_bohr": positions.tolist(),
        "evidence_share": share,
        "objections": list(objections),
    }


def rows(positions: FloatArray, half: float | None = 0.3) -> list[dict[str, Any]]:
    return [{"half_width": half, "median": d} for d in pair_distances(positions[None])[0]]


def test_an_unusual_answer_beside_a_usual_one_is_a_warning() -> None:
    found = doubts_of_choice(SIDE, SO2, [other(USUAL, 0.03)], rows(SIDE), chemistry=True)
    assert "as a molecule at rest the structure is unusual" in found[0]
    assert "with 3 % of the evidence" in found[1]


def test_an_unusual_answer_alone_is_one_warning() -> None:
    assert len(doubts_of_choice(SIDE, SO2, [], rows(SIDE), chemistry=True)) == 1


@pytest.mark.parametrize(("share", "warned"), [(0.04, False), (0.06, True)])
def test_others_outside_the_error_bars_count_by_their_evidence(share: float, warned: bool) -> None:
    twin = other(SIDE, share, "it falls into 2 pieces")
    found = doubts_of_choice(USUAL, SO2, [twin], rows(USUAL), chemistry=True)
    assert bool(found) is warned
    assert all("another structure outside the error bars" in one for one in found)


def test_others_within_the_error_bars_are_none() -> None:
    near = other(bent(1.45, 121.0), 0.4)
    assert doubts_of_choice(USUAL, SO2, [near], rows(USUAL), chemistry=True) == []
    wide = other(SIDE, 0.4)
    assert doubts_of_choice(USUAL, SO2, [wide], rows(USUAL, 3.0), chemistry=True) == []


def test_without_chemistry_no_structure_is_unusual() -> None:
    found = doubts_of_choice(SIDE, SO2, [other(USUAL, 0.3)], rows(SIDE), chemistry=False)
    assert len(found) == 1
    assert "another structure outside" in found[0]
