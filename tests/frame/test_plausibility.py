"""Plausibility: equilibrium structures pass, broken and crowded ones are told why not."""

from __future__ import annotations

import numpy as np
import pytest

from molexa_core.base.tables import Geometry
from molexa_core.base.units import BOHR_ANGSTROM
from molexa_core.geometry.plausibility import plausibility
from molexa_core.physics.molecules.library import molecule, molecule_names


def test_equilibrium_structures_are_plausible() -> None:
    names = molecule_names()
    refused = [name for name in names if not plausibility(molecule(name).geometry).plausible]
    # Hypervalent chlorine, three-membered rings of halogens and the like are rare on purpose.
    assert len(refused) <= 0.06 * len(names), refused


def test_a_molecule_in_pieces_is_not() -> None:
    water = molecule("water").geometry
    positions = water.positions.copy()
    positions[2] += 6.0 * (positions[2] - positions[0])
    verdict = plausibility(Geometry(water.symbols, positions))
    assert verdict.objections == ("it falls into 2 pieces",)


@pytest.mark.parametrize(
    ("angstrom", "objection"),
    [
        (0.7, "N1 and N2 are too near"),
        (1.8, "N1 and N2 are too far for a bond and too near for none"),
        (4.0, None),
    ],
)
def test_distances(angstrom: float, objection: str | None) -> None:
    pair = Geometry(("N", "N"), np.array([[0, 0, 0], [angstrom / BOHR_ANGSTROM, 0, 0]]))
    assert (objection in plausibility(pair).objections) is (objection is not None)


def test_hydrogen_has_one_neighbour() -> None:
    line = Geometry(
        ("F", "H", "F"), np.array([[-0.95, 0, 0], [0, 0, 0], [0.95, 0, 0]]) / BOHR_ANGSTROM
    )
    assert "H2 has 2 neighbours" in plausibility(line).objections
