"""Method numbers: every set of signals that gives a hit has one, and its checks set its range."""

from __future__ import annotations

import itertools

import numpy as np

from molexa_core.detector.methods import (
    LAST_CHECKED_METHOD,
    METHODS,
    SAFE_METHOD,
    method_table,
    quad_method_table,
)


def test_a_hexanode_hit_needs_two_layers_and_three_signals() -> None:
    table = method_table()
    for u, v, w, mcp in itertools.product(range(3), range(3), range(3), range(2)):
        signals = u + v + w + mcp
        layers = (u > 0) + (v > 0) + (w > 0)
        assert (table[u, v, w, mcp] >= 0) == (layers >= 2 and signals >= 3)


def test_a_quad_hit_needs_both_layers_and_three_signals() -> None:
    table = quad_method_table()
    for u, v, mcp in itertools.product(range(3), range(3), range(2)):
        possible = u > 0 and v > 0 and u + v + mcp >= 3
        assert (table[u, v, 0, mcp] >= 0) == possible
    assert (table[:, :, 1:] == -1).all()


def test_the_limits_count_the_checks_of_a_hit() -> None:
    for table in (method_table(), quad_method_table()):
        for ends in zip(*np.nonzero(table >= 0), strict=True):
            method, checks = table[ends], sum(ends) - 3
            assert (method <= SAFE_METHOD) == (checks >= 2)
            assert (method > LAST_CHECKED_METHOD) == (checks == 0)


def test_zero_is_all_signals_and_numbers_grow_as_signals_go_missing() -> None:
    table = method_table()
    assert table[2, 2, 2, 1] == 0
    assert quad_method_table()[2, 2, 0, 1] == 0
    most = {}
    for ends in zip(*np.nonzero(table >= 0), strict=True):
        most.setdefault(sum(ends), []).append(int(table[ends]))
    for n in range(4, 7):
        assert max(most[n + 1]) < min(most[n])
    assert set(np.unique(table[table >= 0])) == set(METHODS)
