"""p-values of calibrations: uniform where the model is right, small where it is not."""

from itertools import pairwise

import numpy as np
from scipy.stats import chi2

from molexa_core.physics.family.error_size import KNOWN, Block, ErrorSize, draws_of
from molexa_core.pipeline.calibration.tension import LinearModel

SIZES = (1, 3, 1, 3, 2, 3)
"""Values of six references."""
K = 5


def blocks(freedom: float | None) -> tuple[Block, ...]:
    """Of six references, most of whose error is the family's own."""
    size = KNOWN if freedom is None else ErrorSize(freedom)
    edges = np.cumsum([0, *SIZES])
    return tuple(
        Block(slice(int(a), int(b)), np.diag(np.linspace(0.95, 0.6, b - a)), size)
        for a, b in pairwise(edges)
    )


def slope(size: float = 3.0) -> np.ndarray:
    return size * np.random.default_rng(0).standard_normal((sum(SIZES), K))


def p_values(freedom: float, count: int, added: float = 0.0) -> np.ndarray:
    """Of data drawn from the model, and moved by so many errors in all directions."""
    random = np.random.default_rng(7)
    of, j = blocks(freedom), slope()
    data = draws_of(sum(SIZES), of, count, seed=11)
    data += random.standard_normal((count, K)) @ j.T
    data += added * random.choice([-1.0, 1.0], (count, sum(SIZES)))
    return LinearModel(data[0], j, of, np.zeros(K)).p_values(data, draws=1500)


def test_without_tails_it_is_the_chi_square() -> None:
    of, j = blocks(None), slope()
    data = 2.0 * np.random.default_rng(2).standard_normal((50, sum(SIZES)))
    found = LinearModel(data[0], j, of, np.zeros(K)).statistics(data)
    whole = np.linalg.inv(np.eye(sum(SIZES)) + j @ j.T)
    exact = np.einsum("si,ij,sj->s", data, whole, data)
    assert np.allclose(found[:, 0], exact, rtol=1e-8)
    assert (found[:, 1] < found[:, 0]).all()


def test_p_values_of_a_right_model_are_uniform() -> None:
    p = p_values(2.75, 400)
    for level in (0.1, 0.5, 0.9):
        assert abs((p < level).mean() - level) < 4.0 * np.sqrt(level * (1.0 - level) / len(p))
    assert (p < 0.01).mean() < 0.03


def test_where_all_references_are_off_the_model_is_rejected() -> None:
    right = p_values(2.75, 30)
    wrong = p_values(2.75, 30, added=4.0)
    assert np.median(wrong) < 0.02 < np.median(right)


def test_one_reference_far_off_is_what_tails_allow() -> None:
    data = np.zeros(sum(SIZES))
    data[0] = 8.0
    tails = LinearModel(data, slope(0.1), blocks(2.75), np.zeros(K)).p_value()
    known = LinearModel(data, slope(0.1), blocks(None), np.zeros(K)).p_value()
    assert known < 0.005
    assert tails > 0.03
    assert chi2.sf(64.0, sum(SIZES)) < 1e-6


def test_what_is_far_out_in_the_prior_is_not_explained_by_large_errors_there() -> None:
    """There everything fits, also at u = 0 with the errors that are claimed far out."""
    none = np.zeros(sum(SIZES))
    at_home, far = np.zeros(K), np.full(K, 4.0)
    assert LinearModel(none, slope(0.01), blocks(2.75), at_home).p_value() > 0.9
    assert LinearModel(none, slope(0.01), blocks(2.75), far).p_value() < 0.001


def test_less_error_than_is_claimed_leaves_less_room_for_missing_physics() -> None:
    data = 1.2 * np.random.default_rng(5).choice([-1.0, 1.0], sum(SIZES))
    edges = np.cumsum([0, *SIZES])
    smaller = tuple(
        Block(slice(int(a), int(b)), 0.95 * np.eye(b - a), ErrorSize(2.75, 0.2))
        for a, b in pairwise(edges)
    )
    claimed = LinearModel(data, slope(0.01), blocks(2.75), np.zeros(K)).p_value()
    measured = LinearModel(data, slope(0.01), smaller, np.zeros(K)).p_value()
    assert measured < 0.3 * claimed
