"""The rule that tells slots without a hit in arrays that are filled up."""

from __future__ import annotations

import numpy as np
import pytest

from molexa_core.io.hits import filler

NAN = np.nan


@pytest.mark.parametrize(
    ("x", "y", "t", "empty"),
    [
        (0.0, 0.0, 0.0, True),
        (NAN, NAN, NAN, True),
        (0.0, 0.0, NAN, True),
        (NAN, NAN, 0.0, True),
        (np.inf, -np.inf, 0.0, True),
        (0.0, 0.0, 2500.0, False),
        (1.0, -2.0, 0.0, False),
        (1.0, -2.0, NAN, False),
        (NAN, 0.0, 2500.0, False),
    ],
)
def test_a_slot_is_empty_only_where_nothing_in_it_says_anything(
    x: float, y: float, t: float, empty: bool
) -> None:
    of = [np.full((2, 3), value) for value in (x, y, t)]
    assert (filler(*of) == empty).all()
    assert filler(*of).shape == (2, 3)


def test_whole_numbers_are_fillers_where_they_are_all_zero() -> None:
    x, y, t = np.array([[0, 3], [0, 0], [0, 7]], np.int32)
    assert filler(x, y, t).tolist() == [True, False]
