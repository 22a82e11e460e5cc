from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from molexa_core.base.errors import UsageError
from molexa_core.geometry.compare import (
    angle_errors,
    distance_errors,
    mean_absolute_error,
    pair_distances,
    structure_errors,
    superpose,
    superposed_errors,
    triplet_angles,
)

WATER = np.array([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
"""A right isosceles triangle: distances 1, 1, sqrt 2; angles 90, 45, 45 degrees."""
CHIRAL = np.array(
    [[0, 0, 0], [1.0, 0, 0], [-0.4, 1.2, 0], [-0.3, -0.7, 1.1], [-0.5, -0.6, -1.4]], dtype=float
)
CHIRAL_SYMBOLS = ("C", "H", "F", "Cl", "Br")
ETHANOL = np.array(
    [
        [1.1, -0.4, 0.0],
        [0.0, 0.55, 0.0],
        [-1.3, -0.25, 0.0],
        [1.95, 0.1, 0.0],
        [0.05, 1.2, 0.88],
        [0.05, 1.2, -0.88],
        [-2.15, 0.45, 0.0],
        [-1.35, -0.9, 0.88],
        [-1.35, -0.9, -0.88],
    ]
)
ETHANOL_SYMBOLS = ("O", "C", "C", "H", "H", "H", "H", "H", "H")


def rotation(seed: int) -> np.ndarray:
    return Rotation.random(rng=np.random.default_rng(seed)).as_matrix()


def test_distances_and_angles_of_a_right_triangle() -> None:
    assert pair_distances(WATER) == pytest.approx([1.0, 1.0, np.sqrt(2.0)])
    assert triplet_angles(WATER) == pytest.approx([90.0, 45.0, 45.0])


def test_errors_of_a_right_triangle_against_an_equilateral_one() -> None:
    # Equilateral, side 1: only the third distance differs, by sqrt 2 - 1; angles 60, 60, 60.
    equilateral = np.array([[0, 0, 0], [1.0, 0, 0], [0.5, np.sqrt(0.75), 0]])
    errors = structure_errors(WATER, equilateral)
    assert errors.mean_distance_error == pytest.approx((np.sqrt(2.0) - 1.0) / 3.0)
    assert errors.max_distance_error == pytest.approx(np.sqrt(2.0) - 1.0)
    assert errors.mean_angle_error == pytest.approx((30.0 + 15.0 + 15.0) / 3.0)
    assert errors.max_angle_error == pytest.approx(30.0)
    assert errors.mae == pytest.approx((0.5 + 1.0 - np.sqrt(0.75)) / 9.0)


@given(st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_mean_angle_error_of_three_atoms_is_two_thirds_of_the_largest(seed: int) -> None:
    a, b = np.random.default_rng(seed).normal(size=(2, 3, 3))
    errors = angle_errors(a, b)
    assert errors.mean() == pytest.approx(2.0 / 3.0 * errors.max())


def test_batches_equal_single_molecules() -> None:
    rng = np.random.default_rng(3)
    a, b = rng.normal(size=(2, 7, 5, 3))
    assert distance_errors(a, b).shape == (7, 10)
    assert angle_errors(a, b).shape == (7, 30)
    for index in range(7):
        single = structure_errors(a[index], b[index])
        assert distance_errors(a, b)[index].mean() == pytest.approx(single.mean_distance_error)
        assert angle_errors(a, b)[index].max() == pytest.approx(single.max_angle_error)
        assert mean_absolute_error(a, b)[index] == pytest.approx(single.mae)


def test_two_atoms_have_no_angle() -> None:
    errors = structure_errors(WATER[:2], 1.5 * WATER[:2])
    assert errors.max_distance_error == pytest.approx(0.5)
    assert errors.mean_angle_error is None


def test_different_shapes_are_refused() -> None:
    with pytest.raises(UsageError, match="cannot be compared"):
        mean_absolute_error(WATER, WATER[:2])


@given(st.integers(0, 10**6))
@settings(max_examples=15, deadline=None)
def test_rotation_translation_and_order_of_like_atoms_do_not_matter(seed: int) -> None:
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(ETHANOL))
    moved = (ETHANOL @ rotation(seed).T + rng.normal(size=3))[order]
    errors, fit = superposed_errors(
        ETHANOL, moved, ETHANOL_SYMBOLS, symbols_b=[ETHANOL_SYMBOLS[i] for i in order]
    )
    assert fit.exact
    assert errors.mae < 1e-10
    assert errors.max_angle_error == pytest.approx(0.0, abs=1e-6)
    assert not fit.mirrored


def test_superposition_is_the_least_squares_one() -> None:
    rng = np.random.default_rng(5)
    noisy = ETHANOL + rng.normal(scale=0.3, size=ETHANOL.shape)
    fit = superpose(ETHANOL, noisy @ rotation(1).T, ETHANOL_SYMBOLS)
    moved = fit.moved - fit.moved.mean(axis=0)
    target = ETHANOL - ETHANOL.mean(axis=0)
    for seed in range(20):
        step = Rotation.from_rotvec(1e-3 * np.random.default_rng(seed).normal(size=3)).as_matrix()
        rmsd = np.sqrt(np.square(moved @ step.T - target).sum(axis=1).mean())
        assert rmsd > fit.rmsd


def test_mirror_image_of_a_chiral_molecule_differs_unless_allowed() -> None:
    mirror = CHIRAL * np.array([1.0, 1.0, -1.0])
    apart = superpose(CHIRAL, mirror @ rotation(2).T, CHIRAL_SYMBOLS)
    assert apart.rmsd > 0.3
    assert not apart.mirrored
    same = superpose(CHIRAL, mirror @ rotation(2).T, CHIRAL_SYMBOLS, allow_mirror=True)
    assert same.rmsd < 1e-10
    assert same.mirrored
    assert np.linalg.det(same.rotation) == pytest.approx(-1.0)


def test_a_planar_molecule_is_not_called_mirrored() -> None:
    fit = superpose(WATER, WATER @ rotation(4).T, ("O", "H", "H"), allow_mirror=True)
    assert fit.rmsd < 1e-10
    assert not fit.mirrored
    assert np.linalg.det(fit.rotation) == pytest.approx(1.0)


def test_collinear_and_single_atoms_superpose() -> None:
    line = np.array([[0, 0, 0], [1.0, 0, 0], [-1.0, 0, 0]])
    assert superpose(line, line @ rotation(6).T, ("C", "O", "O")).rmsd < 1e-10
    assert superpose([[1.0, 2.0, 3.0]], [[0.0, 0.0, 0.0]], ("H",)).rmsd == 0.0


def test_many_like_atoms_are_matched_without_trying_all_orders() -> None:
    rng = np.random.default_rng(7)
    a = rng.normal(size=(14, 3)) * 3.0
    symbols = ("C",) * 6 + ("H",) * 8
    order = np.concatenate([rng.permutation(6), 6 + rng.permutation(8)])
    b = ((a + rng.normal(scale=0.1, size=a.shape)) @ rotation(8).T)[order]
    fit = superpose(a, b, symbols)
    assert not fit.exact
    assert np.array_equal(order[fit.assignment], np.arange(14))


def test_the_search_agrees_with_the_exhaustive_one(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(9)
    pairs = [
        (ETHANOL, ETHANOL + rng.normal(scale=spread, size=ETHANOL.shape))
        for spread in (0.1, 0.3, 0.5, 0.8)
    ]
    exact = [superpose(a, b, ETHANOL_SYMBOLS).rmsd for a, b in pairs]
    monkeypatch.setattr("molexa_core.geometry.superposition.EXHAUSTIVE", 1)
    searched = [superpose(a, b, ETHANOL_SYMBOLS).rmsd for a, b in pairs]
    assert searched == pytest.approx(exact)


def test_different_molecules_are_refused() -> None:
    with pytest.raises(UsageError, match=r"different atoms: 2 H, 1 O and 1 H, 1 O, 1 S"):
        superpose(WATER, WATER, ("O", "H", "H"), symbols_b=("O", "H", "S"))
