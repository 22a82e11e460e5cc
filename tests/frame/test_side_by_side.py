from __future__ import annotations

import numpy as np
import pytest

from molexa_core.base.errors import UsageError
from molexa_core.base.mathematics.rotations import rotations_of
from molexa_core.base.tables import Geometry
from molexa_core.base.units import BOHR_ANGSTROM
from molexa_core.geometry.measures import pair_distances, triplet_angles
from molexa_core.geometry.side_by_side import measure, quantities, side_by_side

PEROXIDE = ("H", "O", "O", "H")


def peroxide(torsion: float = 111.5, uncertainty: float | None = None) -> Geometry:
    """H2O2 with the torsion angle of the gas phase, 1.464 and 0.965 angstrom, 99.4 degrees."""
    bend, turn = np.radians(99.4), np.radians(torsion)
    first = np.array([0.965 * np.sin(bend), 0.0, 0.965 * np.cos(bend)])
    out = 0.965 * np.sin(bend)
    last = np.array([out * np.cos(turn), out * np.sin(turn), 1.464 - 0.965 * np.cos(bend)])
    positions = np.array([first, [0, 0, 0], [0, 0, 1.464], last]) / BOHR_ANGSTROM
    errors = None if uncertainty is None else np.full((4, 3), uncertainty)
    return Geometry(PEROXIDE, positions, uncertainty=errors)


def moved(geometry: Geometry, order: list[int], seed: int = 1) -> Geometry:
    rotation = rotations_of(np.random.default_rng(seed).normal(size=(4, 1)))[0]
    positions = geometry.positions[order] @ rotation.T + np.array([1.0, -2.0, 0.5])
    uncertainty = None if geometry.uncertainty is None else geometry.uncertainty[order]
    return Geometry(
        tuple(geometry.symbols[atom] for atom in order), positions, uncertainty=uncertainty
    )


@pytest.mark.parametrize("torsion", [-170.0, -111.5, 0.0, 45.0, 111.5])
def test_a_torsion_angle_is_found_with_its_sign(torsion: float) -> None:
    positions = peroxide(torsion).positions
    # Looking along O-O, from H to H anticlockwise about +z seen from the tip is positive torsion.
    chain = (0, 1, 2, 3)
    assert measure(positions, chain, "dihedral") == pytest.approx(torsion)
    assert measure(positions, chain[::-1], "dihedral") == pytest.approx(torsion)
    assert measure(positions * [-1, 1, 1], chain, "dihedral") == pytest.approx(-torsion)


def test_all_distances_and_angles_are_there_and_bonded_ones_come_first() -> None:
    found = quantities(peroxide())
    assert len([one for one in found if one.kind == "distance"]) == 6
    assert len([one for one in found if one.kind == "angle"]) == 12
    assert [one.of for one in found if one.kind == "dihedral"] == ["H1-O2-O3-H4"]
    assert [one.of for one in found[:3]] == ["H1-O2", "O2-O3", "O3-H4"]
    positions = peroxide().positions
    assert sorted(one.value for one in found if one.kind == "distance") == pytest.approx(
        sorted(pair_distances(positions))
    )
    assert sorted(one.value for one in found if one.kind == "angle") == pytest.approx(
        sorted(triplet_angles(positions))
    )


def test_the_same_structure_turned_and_reordered_has_no_differences() -> None:
    found = side_by_side(peroxide(), moved(peroxide(), [2, 3, 0, 1]))
    assert len(found.rows) == 6 + 12 + 1
    assert max(abs(row.difference) for row in found.rows) < 1e-9
    assert all(row.pull is None for row in found.rows)
    assert found.superposition.rmsd < 1e-9


def test_exchanging_both_exchanges_the_signs() -> None:
    one, other = peroxide(111.5, 0.05), peroxide(-175.0, 0.02)
    there = {row.of: row for row in side_by_side(one, other).rows if row.kind == "dihedral"}
    back = {row.of: row for row in side_by_side(other, one).rows if row.kind == "dihedral"}
    # The shorter way from 111.5 to -175 degrees is 73.5 degrees.
    assert there["H1-O2-O3-H4"].difference == pytest.approx(73.5)
    assert back["H1-O2-O3-H4"].difference == pytest.approx(-73.5)


def test_errors_of_coordinates_become_those_of_a_bond() -> None:
    found = {one.of: one for one in quantities(peroxide(uncertainty=0.03))}
    assert found["O2-O3"].error == pytest.approx(0.03 * np.sqrt(2), rel=1e-3)


def test_pulls_of_scattered_structures_have_width_one() -> None:
    rng = np.random.default_rng(2)
    truth, pulls = peroxide(), []
    for _ in range(60):
        pair = [
            Geometry(
                PEROXIDE,
                truth.positions + rng.normal(0.0, size, (4, 3)),
                uncertainty=np.full((4, 3), size),
            )
            for size in (0.01, 0.03)
        ]
        pulls += [row.pull for row in side_by_side(*pair).rows if row.bonded]
    values = np.array([pull for pull in pulls if pull is not None])
    assert len(values) == 60 * 6
    assert abs(values.mean()) < 0.25
    assert values.std() == pytest.approx(1.0, abs=0.12)


def test_given_errors_go_before_those_of_coordinates() -> None:
    found = side_by_side(
        peroxide(uncertainty=0.03),
        moved(peroxide(uncertainty=0.03), [2, 3, 0, 1]),
        first_errors={(1, 2): 0.4},
        second_errors={(0, 3): 0.3},
    )
    row = next(row for row in found.rows if row.of == "O2-O3")
    assert (row.first_error, row.second_error) == (0.4, 0.3)
    assert row.difference_error == pytest.approx(0.5)


def test_given_values_go_before_those_between_places() -> None:
    """Means of distances over single events are not the distances between mean places."""
    found = side_by_side(
        peroxide(),
        moved(peroxide(), [2, 3, 0, 1]),
        first_values={(1, 2): 2.9},
        second_values={(0, 3): 2.7},
    )
    row = next(row for row in found.rows if row.of == "O2-O3")
    assert (row.first, row.second) == (2.9, 2.7)
    assert row.difference == pytest.approx(-0.2)
    others = [one for one in found.rows if one.of != "O2-O3"]
    assert max(abs(one.difference) for one in others) < 1e-6


def test_a_line_has_no_dihedral_and_other_molecules_are_refused() -> None:
    line = Geometry(("H", "C", "C", "H"), np.array([[0, 0, z] for z in (0.0, 2.0, 4.3, 6.3)]))
    assert not [one for one in quantities(line) if one.kind == "dihedral"]
    with pytest.raises(UsageError, match="different atoms"):
        side_by_side(line, peroxide())
