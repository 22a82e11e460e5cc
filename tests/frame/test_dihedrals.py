"""Dihedrals: closed forms, symmetries, the chains that bonds make."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from molexa_core.base.mathematics.circular import wrapped
from molexa_core.base.tables import Geometry
from molexa_core.base.units import BOHR_ANGSTROM
from molexa_core.geometry.bonds import dihedral_chains
from molexa_core.geometry.measures import dihedral_angles

CHAIN = [(0, 1, 2, 3)]


def _chain(degrees: float) -> np.ndarray:
    """Four atoms: the last turned by this angle about z from where the first is."""
    angle = np.radians(degrees)
    end = [1.1 * np.cos(angle), -1.1 * np.sin(angle), -0.4]
    return np.array([[0.9, 0.0, 1.7], [0.0, 0.0, 1.5], [0.0, 0.0, 0.0], end])


@pytest.mark.parametrize("degrees", [-179.9, -120.0, -30.0, 0.0, 1e-6, 60.0, 111.0, 179.9, 180.0])
def test_closed_form(degrees: float) -> None:
    # Looking along the middle bond, from above: clockwise is positive.
    assert dihedral_angles(_chain(degrees), CHAIN) == pytest.approx([degrees], abs=1e-9)


def test_rotation_keeps_and_reflection_turns_the_sign() -> None:
    chain = _chain(73.0)
    for turn in Rotation.random(5, random_state=1):
        assert dihedral_angles(turn.apply(chain) + 3.0, CHAIN) == pytest.approx([73.0])
    assert dihedral_angles(chain * [1, 1, -1], CHAIN) == pytest.approx([-73.0])
    assert dihedral_angles(chain, [(3, 2, 1, 0)]) == pytest.approx([73.0])


def test_many_structures_at_once() -> None:
    many = np.stack([_chain(angle) for angle in (10.0, -170.0)])
    both = dihedral_angles(many, [(0, 1, 2, 3), (3, 2, 1, 0)])
    np.testing.assert_allclose(both, [[10.0, 10.0], [-170.0, -170.0]])


def _peroxide(degrees: float) -> Geometry:
    """H-O-O-H with the usual bond lengths."""
    angle = np.radians(degrees)
    up, out = 0.97 * np.cos(np.radians(80.0)), 0.97 * np.sin(np.radians(80.0))
    atoms = [
        [out, 0.0, 1.46 + up],
        [0.0, 0.0, 1.46],
        [0.0, 0.0, 0.0],
        [out * np.cos(angle), -out * np.sin(angle), -up],
    ]
    return Geometry(("H", "O", "O", "H"), np.array(atoms) / BOHR_ANGSTROM)


def test_peroxide_has_one_dihedral() -> None:
    molecule = _peroxide(111.5)
    assert dihedral_chains(molecule) == ((0, 1, 2, 3),)
    assert dihedral_angles(molecule.positions, CHAIN) == pytest.approx([111.5])


def test_lines_and_small_molecules_have_none() -> None:
    line = np.array([[0.0, 0, 0], [0, 0, 1.06], [0, 0, 2.26], [0, 0, 3.32]]) / BOHR_ANGSTROM
    assert dihedral_chains(Geometry(("H", "C", "C", "H"), line)) == ()
    water = np.array([[0.0, 0, 0], [0.76, 0.59, 0], [-0.76, 0.59, 0]]) / BOHR_ANGSTROM
    assert dihedral_chains(Geometry(("O", "H", "H"), water)) == ()


def test_ethanol_has_three_for_every_pair_of_its_rotors() -> None:
    from molexa_core.physics.molecules.library import molecule as shipped

    molecule = shipped("ethanol").geometry
    chains = dihedral_chains(molecule)
    assert len(chains) == 3 * 3 + 3  # CH3-CH2 with three neighbours each, CH2-OH with three and one
    assert len({frozenset(chain[1:3]) for chain in chains}) == 2
    angles = dihedral_angles(molecule.positions, chains)
    # Staggered: all dihedrals at C-C are near odd multiples of 60 degrees.
    about_carbons = [
        a
        for a, c in zip(angles, chains, strict=True)
        if {molecule.symbols[c[1]], molecule.symbols[c[2]]} == {"C"}
    ]
    assert np.abs(wrapped(np.array(about_carbons) * 3 - 180.0)).max() < 20.0
