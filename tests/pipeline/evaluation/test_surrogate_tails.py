"""Whole entries of molecules that no training saw: the size of the surrogate's error."""

from pathlib import Path

import numpy as np
import pytest

from molexa_core.physics.family.error_size import ErrorSize
from molexa_core.physics.surrogate.entries import FamilyEntries
from molexa_core.physics.surrogate.surrogate_card import load_surrogate
from molexa_core.physics.surrogate.xray_family import ERROR_SIZE
from molexa_core.pipeline.evaluation.surrogate_tails import Entry, compared, fitted

HELD_OUT = Path(__file__).parent.parent.parent / "data" / "surrogate-held-out.safetensors"


def drawn(freedom: float, factor: float, count: int, seed: int = 0) -> list[Entry]:
    """Entries whose residuals have the claimed covariance times a factor that is drawn."""
    random = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        d = int(random.integers(1, 12))
        share = random.uniform(0.7, 1.0, d)
        size = factor * freedom / random.chisquare(freedom)
        residuals = np.sqrt(1.0 - share + size * share) * random.standard_normal(d)
        found.append(Entry(residuals, share, 3, 0))
    return found


def test_the_distribution_that_made_entries_is_found_again() -> None:
    entries = drawn(3.0, 1.6, 500)
    size, factor = fitted(entries)
    assert 2.3 < size.freedom < 4.2
    assert factor == pytest.approx(1.6, rel=0.2)
    p = np.array([one.p_value(size, factor) for one in entries])
    assert 0.07 < (p < 0.1).mean() < 0.13


def test_a_normal_error_is_found_as_one() -> None:
    size, factor = fitted(drawn(1e4, 1.0, 400))
    assert size.freedom > 15.0
    assert factor == pytest.approx(1.0, rel=0.15)


def test_heavy_tails_are_no_contradiction_only_where_they_are_known() -> None:
    entries = drawn(3.0, 1.0, 400, seed=2)
    known = np.array([one.p_value(ErrorSize()) for one in entries])
    tails = np.array([one.p_value(ErrorSize(3.0)) for one in entries])
    assert (known < 0.01).mean() > 0.08
    assert (tails < 0.01).mean() < 0.03


@pytest.mark.slow
def test_entries_of_unseen_molecules_are_off_as_claimed() -> None:
    entries = compared(load_surrogate(), FamilyEntries.load(HELD_OUT))
    p = np.array([one.p_value(ERROR_SIZE) for one in entries])
    assert (p < 0.01).mean() < 0.02
    for level in (0.1, 0.5, 0.9):
        assert abs((p < level).mean() - level) < 0.08
    for atoms in (2, 3, 4, 7, 8, 9):
        of_size = p[np.array([one.atoms for one in entries]) == atoms]
        assert 0.3 < np.median(of_size) < 0.7
    # Tails and size of one half of the molecules hold for the other.
    molecules = sorted({one.molecule for one in entries})
    for part in range(2):
        taught = [one for one in entries if molecules.index(one.molecule) % 2 == part]
        asked = [one for one in entries if molecules.index(one.molecule) % 2 != part]
        size, factor = fitted(taught)
        assert 1.5 < size.freedom < 6.0
        others = np.array([one.p_value(size, factor) for one in asked])
        assert (others < 0.01).mean() < 0.05
        assert 0.3 < np.median(others) < 0.7
