"""Compiled explosions in which each molecule may have parameters of its own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from molexa_core.base import interruption
from molexa_core.base.tables import FloatArray, IntArray
from molexa_core.physics.coulomb import kernel
from molexa_core.physics.coulomb.explosion import Accuracy
from molexa_core.physics.coulomb.tangents import INSTANT, TWO_STAGE, Tangents, tangents

LEFT: Final = 2e-3
"""Potential over kinetic energy from which on compiled explosions take straight lines, over the
square of the fraction of `Accuracy`: what that changes is a hundredth of the error of the steps."""
_PAIRS_PER_CALL: Final = 200_000
"""Pairs in one call of compiled code: some hundredth of a second, so that an interruption is soon
noticed."""


@dataclass(frozen=True)
class Charging:
    """How the charges of molecules of one kind rise, and what close pairs feel.

    Attributes:
        kind: `INSTANT`, `RISES` or `TWO_STAGE`.
        rise: (N) which of the rises each atom has, from 0.
        law: (n or 1, numbers) as `kernel.explode_blocks` has them.
        numbers: of parameters of one rise in `law`.
        screening: (n or 1): a pair at r feels 1 / sqrt(r^2 + screening * reach).
        reach: (N (N - 1) / 2) bohr^2, of the pairs 10, 20, 21, 30, ...
    """

    kind: int
    rise: IntArray
    law: FloatArray
    numbers: int
    screening: FloatArray
    reach: FloatArray

    @classmethod
    def at_once(cls, atoms: int) -> Charging:
        """Whole from the start, bare."""
        pairs = atoms * (atoms - 1) // 2
        rise: IntArray = np.zeros(atoms, dtype=np.int64)
        return cls(INSTANT, rise, np.zeros((1, 1)), 0, np.zeros(1), np.zeros(pairs))


@dataclass(frozen=True)
class Directions:
    """Changes of parameters by which momenta are differentiated.

    Attributes:
        weights: (n or 1, D, N, numbers of one rise) change of the parameters of each atom.
        screens: (n or 1, D) change of the screening.
    """

    weights: FloatArray
    screens: FloatArray


def follow(
    positions: FloatArray,
    charges: FloatArray,
    masses: FloatArray,
    charging: Charging,
    accuracy: Accuracy,
    *,
    single: bool = False,
    by_positions: bool = False,
    by_kicks: bool = False,
    directions: Directions | None = None,
    batch: int | None = None,
) -> tuple[FloatArray, FloatArray]:
    """Asymptotic momenta and their derivatives. Momenta are no numbers where atoms coincide.

    Args:
        positions: (n, N, 3) bohr.
        charges: (n, N) or (N) elementary charges.
        masses: (n, N) or (N) electron masses.
        charging: how the charges rise.
        accuracy: largest number of steps and their length.
        single: whether in single precision.
        by_positions: whether by the positions of all atoms but the last.
        by_kicks: whether by the momenta of all atoms at the start instead.
        directions: changes of parameters.
        batch: molecules in one call of compiled code.

    Returns:
        (n, N, 3) momenta in a.u., and (n, 3 N, columns) derivatives: by positions or kicks, then
        along the directions.
    """
    dtype = np.float32 if single else np.float64
    n, atoms = positions.shape[:2]
    rises = int(charging.rise.max()) + 1
    phases = 2 if charging.kind == TWO_STAGE else rises
    block = kernel.block(charging.rise, phases, charging.law.shape[1], charging.reach, dtype)
    given = directions or Directions(np.zeros((1, 0, atoms, 0)), np.zeros((1, 0)))
    aside: Tangents | None = None
    if by_positions or by_kicks or directions is not None:
        aside = tangents(
            atoms,
            dtype,
            coordinates=by_positions,
            kicks=by_kicks,
            directions=given.weights.shape[1],
            numbers=given.weights.shape[3],
            rises=rises,
        )
    columns = 0 if aside is None else aside.columns
    charges, masses = np.broadcast_to(charges, (n, atoms)), np.broadcast_to(masses, (n, atoms))
    momenta, changes = np.empty((n, atoms, 3)), np.empty((n, 3 * atoms, columns))
    size = batch or max(64, _PAIRS_PER_CALL // (atoms**2 * max(1, columns)))
    for part in parts(n, size):
        p: FloatArray = np.empty((part.stop - part.start, atoms, 3), dtype=dtype)
        d: FloatArray = np.empty((len(p), 3 * atoms, columns), dtype=dtype)
        x, q, m = (_plain(one[part], dtype) for one in (positions, charges, masses))
        law, screening = (_rows(one, part, dtype) for one in (charging.law, charging.screening))
        weights, screens = (_rows(one, part, dtype) for one in (given.weights, given.screens))
        start = (x, q, m, law, screening, charging.kind)
        step = (accuracy.steps, accuracy.fraction, LEFT * accuracy.fraction**2)
        kernel.explode_blocks(*start, *step, block, aside, weights, screens, p, d)
        momenta[part], changes[part] = p, d
    return momenta, changes


def parts(n: int, size: int) -> Iterator[slice]:
    """The batches one after the other; an interruption is noticed between them."""
    for start in range(0, n, size):
        interruption.check()
        yield slice(start, min(start + size, n))


def _plain(values: FloatArray, dtype: type) -> FloatArray:
    return np.array(values, dtype=dtype, order="C")


def _rows(values: FloatArray, part: slice, dtype: type) -> FloatArray:
    return _plain(values[part] if len(values) > 1 else values, dtype)
