"""Charge states of one atom from rate equations over all configurations (no Monte Carlo)."""

from __future__ import annotations

from typing import Final

import numpy as np
from scipy.linalg import expm

from molexa_core.base.forward_model import Pulse
from molexa_core.base.tables import FloatArray
from molexa_core.physics.atomic.element_tables import AtomicTables
from molexa_core.physics.atomic.rows import PHOTO

INTERVALS: Final = 150
_SIGMAS: Final = 5.0
_LONGEST_CHAIN: Final = 40


def rate_equations(
    table: AtomicTables, pulse: Pulse, *, intervals: int = INTERVALS
) -> tuple[FloatArray, FloatArray]:
    """Probabilities of the charges of an isolated atom after the pulse and all decays.

    The flux is constant within short intervals, in each of which dP/dt = (F s + A) P is solved
    exactly by a matrix exponential; remaining decays follow from branching ratios. The matrices are
    dense: for atoms with up to a few hundred configurations.

    Args:
        table: configurations and transitions of the atom.
        pulse: the pulse.
        intervals: number of intervals.

    Returns:
        (Z + 1) probabilities of the charges, and (intervals + 1) mean charge at their ends.
    """
    n = len(table)
    start = np.repeat(np.arange(n), np.diff(table.first))
    photo, decay = np.zeros((n, n)), np.zeros((n, n))
    for matrix, some in ((photo, table.kind == PHOTO), (decay, table.kind != PHOTO)):
        np.add.at(matrix, (table.target[some], start[some]), table.value[some])
        np.add.at(matrix, (start[some], start[some]), -table.value[some])
    edges = np.linspace(-_SIGMAS, _SIGMAS, intervals + 1) * pulse.sigma
    middle, length = (edges[1:] + edges[:-1]) / 2.0, edges[1] - edges[0]
    flux = np.exp(-0.5 * (middle / pulse.sigma) ** 2)
    flux *= pulse.fluence / (flux.sum() * length)
    share = np.zeros(n)
    share[0] = 1.0
    mean = [0.0]
    for value in flux:
        share = expm((photo * value + decay) * length) @ share
        mean.append(float(share @ table.charge))
    rate = -np.diag(decay)
    branch = decay / np.where(rate > 0.0, rate, 1.0)
    np.fill_diagonal(branch, np.where(rate > 0.0, 0.0, 1.0))
    for _ in range(_LONGEST_CHAIN):
        share = branch @ share
    number = int(table.charge[0] + table.occupation[0].sum())
    charges = np.bincount(table.charge, weights=share, minlength=number + 1)
    return charges.astype(np.float64), np.array(mean)
