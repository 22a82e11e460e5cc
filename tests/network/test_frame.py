"""The frame that the network sees: rotations, ties, ions at rest, lines."""

from __future__ import annotations

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from molexa_core.network.molecule_frame import batch_frames, canonical_order, tied_frames


def _random(seed: int, n: int = 5) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    momenta = rng.normal(size=(n, 3)) * 100
    return np.array([8, 6, 1, 1, 1][:n]), momenta - momenta.mean(axis=0)


def test_momenta_in_the_frame_do_not_depend_on_the_orientation() -> None:
    numbers, momenta = _random(0)
    turned = momenta @ Rotation.random(random_state=1).as_matrix().T
    first, _ = tied_frames(numbers, momenta)
    second, _ = tied_frames(numbers, turned)
    np.testing.assert_allclose(momenta @ first[0].T, turned @ second[0].T, atol=1e-10)


def test_x_is_the_heaviest_ion_and_y_is_in_the_first_quadrant() -> None:
    numbers, momenta = _random(2)
    frames, collinear = tied_frames(numbers, momenta)
    framed = momenta @ frames[0].T
    assert not collinear
    assert len(frames) == 1
    np.testing.assert_allclose(framed[0, 1:], 0, atol=1e-10)
    assert framed[0, 0] > 0
    perpendicular = np.linalg.norm(framed[:, 1:], axis=1)
    second = perpendicular.argmax()
    assert framed[second, 1] > 0
    assert abs(framed[second, 2]) < 1e-10
    np.testing.assert_allclose(np.linalg.det(frames[0]), 1.0)


def test_batch_frames_agree_with_the_double_precision_frame() -> None:
    for seed in range(20):
        numbers, momenta = _random(seed)
        wanted, _ = tied_frames(numbers, momenta)
        found = batch_frames(torch.tensor(numbers)[None], torch.tensor(momenta)[None])
        np.testing.assert_allclose(found[0].numpy(), wanted[0], atol=1e-12)


def test_a_heaviest_ion_at_rest_gives_no_direction() -> None:
    """SiF4: the silicon has rounding noise for a momentum, the fluorines define the frame."""
    corners = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) * 100.0
    momenta = np.vstack([[1e-9, -2e-9, 1e-9], corners])
    frames, collinear = tied_frames(np.array([14, 9, 9, 9, 9]), momenta)
    assert not collinear
    assert len(frames) == 12
    for rotation in frames:
        np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
        framed = momenta @ rotation.T
        assert np.isclose(framed[1:], [100 * np.sqrt(3), 0, 0], atol=1e-6).all(axis=1).any()


def test_equal_references_give_one_frame_each() -> None:
    """Water with equal protons: two choices of the second ion."""
    momenta = np.array([[-40.0, 0, 0], [20.0, 30, 0], [20.0, -30, 0]])
    frames, _ = tied_frames(np.array([8, 1, 1]), momenta)
    assert len(frames) == 2


def test_momenta_on_a_line_are_recognised_and_batch_frames_stay_rotations() -> None:
    momenta = np.array([[0.0, 0, 0], [1.0, 2, 3], [-1.0, -2, -3]]) * 50
    frames, collinear = tied_frames(np.array([6, 8, 8]), momenta)
    assert collinear
    assert len(frames) == 2
    found = batch_frames(torch.tensor([[6, 8, 8]]), torch.tensor(momenta)[None])[0].numpy()
    np.testing.assert_allclose(found @ found.T, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(np.linalg.det(found), 1.0)


def test_canonical_order_is_the_same_for_every_order_of_the_input() -> None:
    numbers, momenta = _random(4)
    charges = np.ones(5)
    order = canonical_order(numbers, charges, momenta)
    shuffle = np.random.default_rng(0).permutation(5)
    again = canonical_order(numbers[shuffle], charges, momenta[shuffle])
    np.testing.assert_array_equal(order, shuffle[again])
