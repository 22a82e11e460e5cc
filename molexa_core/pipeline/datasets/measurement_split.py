"""Molecules and pulses that a training leaves out, so that its weights can be measured on them.

Molecules: those of the split `held-out` of the library and those of 8 and 9 atoms that surrogates
are not trained on (`family_draws.LARGE_HELD_OUT`), with all their isomers; and further sum
formulas, in the order of the SHA-256 of `RULE` and the formula, until `SHARE` of the molecules of
each size are held out. Pulses: the neighbourhoods of B to E of `PULSES`, and the photon energy
of F.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from molexa_core.base.forward_model import BOHR_PER_UM, Pulse
from molexa_core.physics.mcmd.photon_tables import ELEMENTS_OF_TABLES
from molexa_core.physics.molecules.library import molecules
from molexa_core.pipeline.datasets.family_draws import LARGE_HELD_OUT, Box, LeftOut
from molexa_core.pipeline.datasets.splits import hashed

RULE: Final = "molexa measurement"
SHARE: Final = 0.28
MOST_ATOMS: Final = 14


@lru_cache(maxsize=8)
def measured_molecules(
    elements: tuple[str, ...] = ELEMENTS_OF_TABLES, share: float = SHARE
) -> frozenset[str]:
    """Names of the molecules that are held out, of up to `MOST_ATOMS` atoms.

    Args:
        elements: the only elements of the molecules.
        share: of the molecules of each size; with 0 only those that are held out in any case.
    """
    all_of_them = list(molecules(elements=elements, atoms=(2, MOST_ATOMS)))
    kept_out = {one.formula for one in all_of_them if one.split == "held-out"}
    for atoms in range(2, MOST_ATOMS + 1):
        of_size = [one for one in all_of_them if len(one.geometry.symbols) == atoms]
        formulas = sorted({one.formula for one in of_size}, key=lambda text: hashed(RULE, text))
        for formula in formulas:
            held = sum(one.formula in kept_out for one in of_size)
            if held >= share * len(of_size):
                break
            kept_out.add(formula)
    kept_out |= {one.formula for one in all_of_them if one.name in LARGE_HELD_OUT}
    return frozenset(one.name for one in all_of_them if one.formula in kept_out)


@lru_cache(maxsize=256)
def molecules_of(
    atoms: int,
    *,
    held_out: bool | None,
    elements: tuple[str, ...] = ELEMENTS_OF_TABLES,
    share: float = SHARE,
) -> tuple[str, ...]:
    """Names of the molecules with this number of atoms: held out, not held out, or (None) all."""
    held = measured_molecules(elements, share)
    found = molecules(elements=elements, atoms=(atoms, atoms))
    return tuple(one.name for one in found if held_out is None or (one.name in held) == held_out)


@dataclass(frozen=True)
class MeasuredPulse:
    """A pulse for the measurement.

    Attributes:
        name: a letter.
        pulse: photon energy, pulse energy, duration and focus.
        left_out: whether its neighbourhood is left out of the training.
        energy_left_out: whether its photon energy is left out.
    """

    name: str
    pulse: Pulse
    left_out: bool = False
    energy_left_out: bool = False

    @property
    def fluence_um2(self) -> float:
        """Photons per square micrometre on the axis."""
        return self.pulse.fluence * BOHR_PER_UM**2


PULSES: Final = (
    MeasuredPulse("A", Pulse(2000.0, 1.0, 15.0, 1.0)),
    MeasuredPulse("B", Pulse(1500.0, 1.0, 25.0, 1.0), left_out=True),
    MeasuredPulse("C", Pulse(2000.0, 1.0, 40.0, 1.0), left_out=True),
    MeasuredPulse("D", Pulse(2000.0, 1.0, 5.0, 1.0), left_out=True),
    MeasuredPulse("E", Pulse(600.0, 0.3, 25.0, 1.5), left_out=True),
    MeasuredPulse("F", Pulse(1200.0, 0.3, 12.0, 1.0), energy_left_out=True),
)


def measurement_box() -> Box:
    """The box of settings without the pulses that are measured as left out."""
    return Box(
        left_out=tuple(
            LeftOut(one.pulse.photon_ev, one.pulse.duration_fs, one.fluence_um2)
            for one in PULSES
            if one.left_out
        ),
        left_out_ev=tuple(one.pulse.photon_ev for one in PULSES if one.energy_left_out),
    )
