"""Compiled parts of the mixture against plain enumeration and random rotations."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from molexa_core.frame.partial.kernel import blur, pair_axes, principal, share_out, turn_by


@pytest.mark.parametrize("required", [False, True])
@pytest.mark.parametrize(("ions", "atoms"), [(1, 1), (2, 3), (3, 3), (2, 2), (3, 4)])
def test_sum_over_assignments_equals_enumeration(
    ions: int, atoms: int, required: bool, rng: np.random.Generator
) -> None:
    ratio = rng.uniform(0.1, 5.0, (ions, atoms))
    whole, parts = 0.0, np.zeros((ions, atoms))
    for choice in product(range(-1, atoms), repeat=ions):
        taken = [a for a in choice if a >= 0]
        if len(set(taken)) < len(taken) or (required and -1 in choice):
            continue
        weight = np.prod([1.0 if a < 0 else ratio[i, a] for i, a in enumerate(choice)])
        whole += weight
        for i, a in enumerate(choice):
            if a >= 0:
                parts[i, a] += weight
    share = np.zeros((ions, atoms))
    assert share_out(ratio, ions, atoms, required, share) == pytest.approx(np.log(whole))
    np.testing.assert_allclose(share, parts / whole, rtol=1e-12)


def test_required_ions_fill_all_peaks(rng: np.random.Generator) -> None:
    ratio = rng.uniform(0.1, 5.0, (3, 3))
    share = np.zeros((3, 3))
    total = sum(np.prod([ratio[i, a] for i, a in enumerate(p)]) for p in permutations(range(3)))
    assert share_out(ratio, 3, 3, True, share) == pytest.approx(np.log(total))
    np.testing.assert_allclose(share.sum(axis=0), 1.0)
    np.testing.assert_allclose(share.sum(axis=1), 1.0)


def test_uncertain_orientation_about_one_axis_is_exact(rng: np.random.Generator) -> None:
    vector, angle = np.array([1.0, 2.0, -0.5]), 0.7
    mean, second = np.empty(3), np.empty((3, 3))
    blur(np.array([0.0, angle**2, 0.0]), np.eye(3), vector, mean, second)
    turns = Rotation.from_rotvec(np.outer(rng.normal(0.0, angle, 400_000), [0.0, 1.0, 0.0]))
    drawn = turns.apply(vector)
    np.testing.assert_allclose(mean, drawn.mean(axis=0), atol=0.01)
    np.testing.assert_allclose(second, drawn.T @ drawn / len(drawn), atol=0.02)


def test_uncertain_orientation_about_any_axes(rng: np.random.Generator) -> None:
    axes = Rotation.from_rotvec([0.3, -0.2, 0.9]).as_matrix()
    variance, vector = np.array([0.004, 0.03, 0.01]), np.array([30.0, -10.0, 45.0])
    mean, second = np.empty(3), np.empty((3, 3))
    blur(variance, axes, vector, mean, second)
    angles = rng.normal(size=(400_000, 3)) * np.sqrt(variance) @ axes.T
    drawn = Rotation.from_rotvec(angles).apply(vector)
    np.testing.assert_allclose(mean, drawn.mean(axis=0), atol=0.1)
    np.testing.assert_allclose(
        second - np.outer(mean, mean), np.cov(drawn.T), atol=0.03 * np.cov(drawn.T).max()
    )
    assert np.trace(second) == pytest.approx(vector @ vector)  # rotations keep the length


def test_principal_axes(rng: np.random.Generator) -> None:
    root = rng.normal(size=(3, 3))
    matrix = root @ root.T
    values, vectors = np.empty(3), np.empty((3, 3))
    principal(matrix, values, vectors)
    np.testing.assert_allclose(np.sort(values), np.linalg.eigvalsh(matrix), rtol=1e-9)
    np.testing.assert_allclose(vectors * values @ vectors.T, matrix, atol=1e-9)


def test_rotation_by_a_vector_equals_that_of_scipy() -> None:
    turned = np.eye(3)
    turn_by(turned, np.array([0.1, -0.2, 0.3]))
    np.testing.assert_allclose(turned, Rotation.from_rotvec([0.1, -0.2, 0.3]).as_matrix())


def test_collinear_pairs_have_no_axes() -> None:
    rows = np.empty((3, 3))
    assert not pair_axes(np.array([1.0, 0.0, 0.0]), np.array([-5.0, 0.1, 0.0]), rows)
    assert pair_axes(np.array([2.0, 0.0, 0.0]), np.array([1.0, 0.0, 3.0]), rows)
    np.testing.assert_allclose(rows, [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]])
