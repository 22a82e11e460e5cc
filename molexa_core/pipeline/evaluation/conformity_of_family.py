"""The test that recognises inputs unlike the training, made from explosions of its family."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from molexa_core.base.known_explosion import Kind, XrayExplosion
from molexa_core.base.matter.ions import Ion
from molexa_core.base.tables import FloatArray, IntArray
from molexa_core.base.units import BOHR_ANGSTROM
from molexa_core.network.inference.conformity import SUSPECT, Conformity, features, fit_conformity
from molexa_core.physics.mcmd.photon_tables import PhotonTables
from molexa_core.pipeline.evaluation.known_explosions import Sizes

CONFORMITY: Final = "conformity"
"""Key in the `data` of a card."""
MOST_NAMED: Final = 3
_UM2: Final = (1e4 / BOHR_ANGSTROM) ** 2


def photons_absorbed(numbers: IntArray, pulse: FloatArray, tables: PhotonTables) -> FloatArray:
    """(B) ln of the photons that neutral molecules absorb on the axis.

    Args:
        numbers: (B, N) atomic numbers.
        pulse: (B, 3) ln of photon energy, fluence and duration.
        tables: cross sections, taken at the nearest photon energy; the energies of a family are
            among them.
    """
    known = np.isfinite(pulse[:, 0]) & np.isfinite(pulse[:, 1])
    found = np.full(len(numbers), np.nan)
    energy = np.exp(pulse[known, 0])
    apart = np.abs(np.log(tables.photon_ev)[None] - np.log(energy)[:, None])
    section = tables.cross_section()[apart.argmin(axis=1)[:, None], numbers[known]].sum(axis=1)
    found[known] = np.log(np.maximum(section, 1e-30)) + pulse[known, 1] - math.log(_UM2)
    return found


def features_of(sizes: Sizes, tables: PhotonTables) -> tuple[FloatArray, IntArray]:
    """(B, M) features of all explosions, and (B) their number of atoms."""
    found, atoms = [], []
    for count, one in sorted(sizes.items()):
        pulse = one.settings[:, :3]
        photons = photons_absorbed(one.numbers, pulse, tables)
        found.append(features(one.numbers, one.charges, one.masses, one.momenta, pulse, photons))
        atoms.append(np.full(len(one), count))
    return np.concatenate(found), np.concatenate(atoms)


def conformity_of(sizes: Sizes, tables: PhotonTables, *, seed: int = 0) -> Conformity:
    """The test from explosions of the training, one of each geometry.

    Args:
        sizes: such as `known_explosions.family_explosions` gives; a thousand or more.
        tables: cross sections.
        seed: of the division into fit and comparison.

    Raises:
        UsageError: too few explosions.
    """
    values, atoms = features_of(sizes, tables)
    return fit_conformity(values, atoms, np.arange(len(values)), seed=seed)


def pulse_of(told: Kind | None) -> FloatArray:
    """(3) ln of photon energy, fluence and duration that are told; not numbers where not."""
    if not isinstance(told, XrayExplosion):
        return np.full(3, np.nan)
    values = (told.photon_ev, told.on_axis, told.duration_fs)
    return np.array([math.nan if one is None else math.log(one.value) for one in values])


def unlike_training(
    data: Mapping[str, Any],
    ions: Sequence[Ion],
    momenta: FloatArray,
    told: Kind | None,
    tables: PhotonTables | None = None,
) -> str | None:
    """A sentence if an input is unlike the training; None if it is not, or cannot be told.

    Args:
        data: `data` of the card of the weights.
        ions: (N).
        momenta: (N, 3) a.u. in the centre-of-mass frame.
        told: what is told of the explosion.
        tables: cross sections; without them the photons absorbed are left out.

    Raises:
        WeightsError: the test in the card is damaged.
    """
    stored = data.get(CONFORMITY)
    if not stored:
        return None
    test = Conformity.from_dict(stored)
    numbers = np.array([[ion.element.number for ion in ions]])
    pulse = pulse_of(told)[None]
    none = np.full(1, np.nan)
    photons = none if tables is None else photons_absorbed(numbers, pulse, tables)
    values = features(
        numbers,
        np.array([[float(ion.charge) for ion in ions]]),
        np.array([[ion.mass for ion in ions]]),
        momenta[None],
        pulse,
        photons,
    )
    p_value = float(test.p_values(values, len(ions))[0])
    if p_value >= SUSPECT:
        return None
    named = test.strangest(values[0])[:MOST_NAMED]
    most = f"; most of all: {', '.join(named)}" if named else ""
    return (
        f"fewer than {100 * max(p_value, 1e-3):.2g} % of the explosions of the training are as "
        f"unusual as this one{most}"
    )
