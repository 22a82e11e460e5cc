"""The random numbers of the trajectories: known answers, the same everywhere."""

from __future__ import annotations

import numpy as np
import pytest

from molexa_core.physics.mcmd.philox import (
    MOLECULE,
    key_of,
    philox,
    philox_arrays,
    uniform,
    uniforms,
)

ONES = 0xFFFFFFFF
KNOWN = (
    ((0, 0, 0, 0), 0, (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((ONES,) * 4, (ONES << 32) | ONES, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0x299F31D0 << 32) | 0xA4093822,
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
)
"""Known answers of the authors of Philox (Random123, kat_vectors: philox4x32 10)."""


@pytest.mark.parametrize(("counter", "seed", "expected"), KNOWN)
def test_known_answers(counter: tuple[int, ...], seed: int, expected: tuple[int, ...]) -> None:
    word = np.zeros(4, np.uint64)
    philox(key_of(seed), *counter, word)
    assert tuple(int(value) for value in word) == expected
    if counter[1] < 2**31:
        number = (counter[1] << 32) | counter[0]
        assert tuple(map(int, philox_arrays(seed, number, counter[2], counter[3]))) == expected


def test_arrays_and_single_numbers_are_the_same() -> None:
    number = np.array([0, 1, 2**32 - 1, 2**32, 2**40 + 17])
    words = philox_arrays(99, number, 3, MOLECULE)
    one = np.zeros(4, np.uint64)
    for row, value in zip(words, number.tolist(), strict=True):
        philox(key_of(99), value & ONES, value >> 32, 3, MOLECULE, one)
        assert row.tolist() == one.tolist()
        assert uniforms(row).tolist() == [uniform(word) for word in one]
    assert len(np.unique(words)) == words.size


def test_uniform_numbers_are_exact_in_single_precision_and_never_0_or_1() -> None:
    words = np.array([0, 511, 512, 2**31, ONES], dtype=np.uint64)
    values = uniforms(words)
    assert (values == values.astype(np.float32)).all()
    assert 0.0 < values.min() < values.max() < 1.0
    many = uniforms(philox_arrays(1, np.arange(50_000), 0, 0)).ravel()
    assert many.mean() == pytest.approx(0.5, abs=4 * np.sqrt(1 / 12 / many.size))
