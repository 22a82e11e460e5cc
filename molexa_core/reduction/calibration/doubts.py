"""Signs of a wrong calibration in the coincidences of a run, with the likely cause.

The conditions of `vanishing.py` are evaluated with the setup as it is. What must vanish and does
not is a sign of a wrong setup if it is significant and if putting it right would change momenta
noticeably. The likely cause is the quantity whose change alone removes most of the contradiction.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from molexa_core.base.errors import listing
from molexa_core.base.settings import Setup
from molexa_core.base.tables import FloatArray
from molexa_core.reduction.calibration.directions import condition_words
from molexa_core.reduction.calibration.moment_fit import ChannelSample, Linear, linear_at
from molexa_core.reduction.calibration.quantities import QUANTITIES, Quantity, changed

FEWEST: Final = 200
"""Coincidences below this number tell nothing of the calibration."""
_CLEAR: Final = 50.0
"""Chi-square that a single cause must explain: seven standard deviations."""
_CHANGE: Final = 0.012
"""Least change of the momenta of one kind of ion, relative to their size, that is reported."""
_ALSO: Final = 0.75
"""Causes that explain this share of what the best one explains are named too."""
_LARGEST: Final = 3.0
"""Changes are taken up to this many plausible ones."""


def calibration_doubt(sample: ChannelSample, setup: Setup) -> str | None:
    """A sentence where the momenta of a channel contradict the setup, else None.

    Args:
        sample: coincidences as recorded.
        setup: with which they were found.
    """
    if len(sample) < FEWEST:
        return None
    causes = _causes(setup)
    found = linear_at(sample, setup, causes, least=_CLEAR)
    if found is None:
        return None
    gains = found.explained
    best = int(np.argmax(gains))
    if gains[best] < _CLEAR or _relative_change(sample, setup, causes, found) < _CHANGE:
        return None
    pulls = found.slopes.T @ found.weight @ found.values
    steps = np.clip(-pulls / found.strength, -_LARGEST, _LARGEST)
    likely = [place for place in np.argsort(-gains) if gains[place] > _ALSO * gains[best]][:3]
    named = " or ".join(
        f"{causes[place].words} ({causes[place].shown(steps[place] * causes[place].plausible)})"
        for place in likely
    )
    errors = np.sqrt(np.maximum(np.diag(found.covariance), 1e-300))
    worst = np.argsort(-np.abs(found.values / errors))[:2]
    signs = listing(condition_words(found.conditions[place]) for place in worst)
    return (
        f"the calibration does not fit these break-ups: {signs}; what would put most of it right "
        f"is a change of {named}, unless regions are in the wrong order, axes swapped, or ions of "
        "another mass or charge: run molexa calibrate spectrometer"
    )


def _causes(setup: Setup) -> tuple[Quantity, ...]:
    left_out = {"rotation"}
    if setup.spectrometer.flight_map is not None:
        left_out |= {"lengths", "magnetic_field"}
    return tuple(one for name, one in QUANTITIES.items() if name not in left_out)


def _relative_change(
    sample: ChannelSample, setup: Setup, causes: tuple[Quantity, ...], found: Linear
) -> float:
    """How much the momenta of the most affected kind of ion change if all is put right.

    The root mean square of the change over the median size, with the sum taken out of both.
    """
    k = len(causes)
    information = found.slopes.T @ found.weight @ found.slopes + np.eye(k)
    step = -np.linalg.solve(information, found.slopes.T @ found.weight @ found.values)
    step = np.clip(step, -_LARGEST, _LARGEST)
    changes = {
        one.name: float(part * one.plausible) for one, part in zip(causes, step, strict=True)
    }
    few = sample.first(2000)
    before, after = few.momenta(setup), few.momenta(changed(setup, changes))
    mass = np.array([ion.mass for ion in sample.ions])
    before, after = _centred(before, mass), _centred(after, mass)
    with np.errstate(invalid="ignore"):
        moved = np.sqrt(np.nanmedian(((after - before) ** 2).sum(axis=2), axis=0))
        size = np.nanmedian(np.linalg.norm(before, axis=2), axis=0)
    fast = size > 0.3 * size.max()
    return float((moved / np.maximum(size, 1e-300))[fast].max())


def _centred(momenta: FloatArray, mass: FloatArray) -> FloatArray:
    """Momenta without the share of their sum that belongs to the mass of each ion."""
    total = momenta.sum(axis=1, keepdims=True)
    return np.asarray(momenta - total * (mass / mass.sum())[None, :, None])
