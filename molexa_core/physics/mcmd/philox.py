"""Counter-based random numbers: Philox4x32-10.

J. K. Salmon et al., Parallel random numbers: as easy as 1, 2, 3, SC11 (2011). Four 32-bit words are
a function of a key (the seed, 64 bits) and a counter: number of the trajectory (lower and upper
word), number of the draw, number of the atom. A trajectory therefore has the same random numbers on
any device and in any batch.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from molexa_core.base.compiled import compiled

ROUNDS: Final = 10
WORD: Final = 0xFFFFFFFF
WORD_BITS: Final = 32
MOLECULE: Final = 0xFFFFFFFF
"""Number of the atom in draws for the molecule as a whole."""
_M0, _M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_W0, _W1 = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)
_MASK, _HALF = np.uint64(0xFFFFFFFF), np.uint64(32)
_DROP = np.uint64(9)
UNIFORM_BITS: Final = 23
"""Bits of a uniform number: (n + 1/2) / 2^23 is exact in 32-bit floats, and never 0 or 1."""
_SCALE: Final = 2.0**-UNIFORM_BITS


@compiled
def philox(
    key: NDArray[np.uint64], c0: int, c1: int, c2: int, c3: int, word: NDArray[np.uint64]
) -> None:
    """Fill `word` (4) with 32-bit words for the counter (c0, c1, c2, c3) under `key` (2)."""
    k0, k1 = key[0], key[1]
    x0, x1, x2, x3 = np.uint64(c0), np.uint64(c1), np.uint64(c2), np.uint64(c3)
    for _ in range(ROUNDS):
        high = _M0 * x0
        low = _M1 * x2
        x0, x1, x2, x3 = (
            (low >> _HALF) ^ x1 ^ k0,
            low & _MASK,
            (high >> _HALF) ^ x3 ^ k1,
            high & _MASK,
        )
        k0 = (k0 + _W0) & _MASK
        k1 = (k1 + _W1) & _MASK
    word[0], word[1], word[2], word[3] = x0, x1, x2, x3


@compiled
def uniform(word: np.uint64) -> float:
    """A number in (0, 1) from the upper 23 bits of a word."""
    return (float(word >> _DROP) + 0.5) * _SCALE


def philox_arrays(
    seed: int,
    trajectory: NDArray[np.int64] | int,
    draw: NDArray[np.int64] | int,
    atom: NDArray[np.int64] | int,
) -> NDArray[np.uint64]:
    """(n, 4) words of many counters at once, plain numpy.

    Args:
        seed: key, 0 to 2^64 - 1.
        trajectory: (n) numbers of trajectories, below 2^63.
        draw: (n) numbers of draws, below 2^32.
        atom: (n) numbers of atoms, or `MOLECULE`.
    """
    k0, k1 = key_of(seed)
    number, x2, x3 = (
        np.asarray(values).astype(np.uint64)
        for values in np.broadcast_arrays(trajectory, draw, atom)
    )
    x0, x1 = number & _MASK, number >> _HALF
    for _ in range(ROUNDS):
        high, low = _M0 * x0, _M1 * x2
        x0, x1, x2, x3 = (
            (low >> _HALF) ^ x1 ^ k0,
            low & _MASK,
            (high >> _HALF) ^ x3 ^ k1,
            high & _MASK,
        )
        k0, k1 = (k0 + _W0) & _MASK, (k1 + _W1) & _MASK
    return np.stack([x0, x1, x2, x3], axis=-1)


def uniforms(words: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Numbers in (0, 1) from words, as `uniform`."""
    values: NDArray[np.float64] = ((words >> _DROP).astype(np.float64) + 0.5) * _SCALE
    return values


def key_of(seed: int) -> NDArray[np.uint64]:
    """(2) lower and upper half of a seed."""
    return np.array([seed & 0xFFFFFFFF, seed >> 32], dtype=np.uint64)
