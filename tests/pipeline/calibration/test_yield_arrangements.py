"""Counts of charge combinations: in how many ways like atoms can have these charges."""

from __future__ import annotations

import pytest

from molexa_core.base.matter.ions import parse_ion
from molexa_core.pipeline.calibration.references import arrangements


@pytest.mark.parametrize(
    ("ions", "ways"),
    [
        ("N+ N+", 1),
        ("N2+ N+", 2),
        ("C2+ O+", 1),
        ("O2+ H+ H+", 1),
        ("C2+ O+ O2+", 2),
        ("C+ F+ F2+ F3+ F+", 12),
    ],
)
def test_ways_to_give_charges_to_like_atoms(ions: str, ways: int) -> None:
    """The multinomial coefficient of each element."""
    assert arrangements([parse_ion(one) for one in ions.split()]) == ways
