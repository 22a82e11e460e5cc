"""Cases in which a reconstructed structure has no error bars, and the reasons.

The error bars of the network are valid for inputs like those of the calibration, and only if the
structure explains the momenta. In all other cases a number would be misleading; the result states
the reason instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from molexa_core.base.errors import InputFileError, listing
from molexa_core.base.matter.elements import BY_NUMBER
from molexa_core.base.matter.ions import Ion
from molexa_core.base.matter.lengths import distances_over_bonds
from molexa_core.base.matter.release import LEAST_EV, MOST_EV, doubtful_release, release_of
from molexa_core.base.numbers import percent
from molexa_core.base.tables import FloatArray, Geometry
from molexa_core.base.units import ATOMIC_MOMENTUM_SI
from molexa_core.network.weights import ModelCard, calibration_of

UNEXPLAINED: Final = 0.05
"""Closure above which a structure that does not explain the momenta has no error bars."""
UNEXPLAINED_SAMPLE: Final = 0.5
"""The same for structures that were not refined, or with a network trained on another model."""
MISSING_SUM: Final = 0.3
"""Sum of the mean momenta, as a share of the largest momentum, above which ions are missing."""
_SHORT, _LONG = 0.75, 1.4
"""Limits of possible bond lengths, in sums of covalent radii."""
_SAME_MASS: Final = 1e-3


def require_possible(ions: Sequence[Ion], momenta: FloatArray) -> None:
    """Check that momenta (ions, 3) in a.u. can be those of a Coulomb explosion.

    Raises:
        InputFileError: their kinetic energy release is impossible.
    """
    release = release_of(ions, momenta)
    if LEAST_EV <= release <= MOST_EV or not momenta.any():
        return
    raise InputFileError(
        f"the momenta give a kinetic energy release of {release:.2g} eV, which no explosion has: "
        "they are not in atomic units",
        do=f"Write them in a.u. (1 a.u. is {ATOMIC_MOMENTUM_SI:.5e} kg m/s), or name their unit in "
        "the header, such as px (kg m/s).",
    )


def doubts_of_momenta(ions: Sequence[Ion], momenta: FloatArray) -> list[str]:
    """A warning if the momenta are implausible for an explosion in atomic units."""
    doubt = doubtful_release(ions, release_of(ions, momenta)) if momenta.any() else None
    return [] if doubt is None else [f"{doubt}: are the momenta in atomic units?"]


def doubts_of_lengths(geometry: Geometry) -> list[str]:
    """A warning if all distances of a structure are off by a factor, as with wrong units."""
    ratio = distances_over_bonds(geometry)
    if not len(ratio) or not (ratio.max() < _SHORT or ratio.min() > _LONG):
        return []
    size = f"about {float(np.median(ratio)):.2g} times that of a bond"
    question = "are the momenta in atomic units, or had the molecule fallen apart?"
    return [f"every distance between neighbours is {size}: {question}"]


def uncalibrated(card: ModelCard, ions: Sequence[Ion]) -> str | None:
    """The reason why these weights have no error bars for these ions; None if they have."""
    found = calibration_of(card)
    if found is None:
        return f"the error bars of {card.name} are not calibrated"
    atoms = len(ions)
    sizes = sorted(set[int]().union(*(part.edges for part in found.parts.values())))
    if atoms not in sizes:
        return (
            f"the error bars of {card.name} are calibrated for {listing(sizes)} atoms, not {atoms}"
        )
    others = sorted(
        {
            str(ion)
            for ion in ions
            if abs((ion.mass + ion.charge) / _usual_mass(ion) - 1.0) > _SAME_MASS
        }
    )
    if others:
        what = f"other isotopes than the most abundant ones ({listing(others)})"
        return f"the error bars of {card.name} are not calibrated for {what}"
    return None


def _usual_mass(ion: Ion) -> float:
    """Mass of the neutral atom of the most abundant isotope of the element, electron masses."""
    return BY_NUMBER[ion.element.number].isotope_mass


def not_a_molecule(ions: Sequence[Ion], measured: FloatArray, momenta: FloatArray) -> str | None:
    """The reason why momenta cannot be those of a molecule, as a sentence; None if they can.

    Args:
        ions: ions of the input.
        measured: (N, 3) momenta as given, a.u.
        momenta: (N, 3) momenta with the centre-of-mass motion removed, a.u.
    """
    largest = float(np.linalg.norm(measured, axis=1).max())
    total = float(np.linalg.norm(measured.sum(axis=0)))
    if total > MISSING_SUM * largest:
        return (
            "no error bars: the momenta do not cancel, as if ions of the molecule were missing; "
            "the structure is that of another molecule"
        )
    if (doubt := doubtful_release(ions, release_of(ions, momenta))) is not None:
        return f"no error bars: {doubt}"
    return None


def without_error_bars(
    *,
    ions: Sequence[Ion],
    card: ModelCard,
    measured: FloatArray,
    momenta: FloatArray,
    unlike: Sequence[str],
    residual: float,
    explains: bool,
    judged: bool,
) -> str | None:
    """The reason why a structure has no error bars, as a sentence; None if it has error bars.

    Args:
        ions: ions of the input.
        card: card of the weights.
        measured: (N, 3) momenta as given, a.u.
        momenta: (N, 3) momenta with the centre-of-mass motion removed, a.u.
        unlike: warnings on differences between the input and the training.
        residual: closure residual of the structure.
        explains: whether the structure explains the momenta.
        judged: whether the structure was refined on the forward model of the training.
    """
    if (why := not_a_molecule(ions, measured, momenta)) is not None:
        return why
    limit = UNEXPLAINED if judged else UNEXPLAINED_SAMPLE
    if not explains and residual > limit:
        return (
            "no error bars: no structure explains the momenta; this one misses them by "
            f"{percent(residual)} % (rms)"
        )
    if unlike:
        return (
            "no error bars: the network was not trained, nor its errors calibrated, on such input"
        )
    return None if (why := uncalibrated(card, ions)) is None else f"no error bars: {why}"
