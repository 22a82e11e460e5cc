"""Inputs unlike the explosions of the family: from stored explosions to the warning."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from molexa_core.base.known_explosion import XrayExplosion
from molexa_core.base.matter.ions import parse_ion
from molexa_core.base.uncertain import Uncertain
from molexa_core.network.inference.conformity import CONFORMITY, SUSPECT, Conformity
from molexa_core.physics.surrogate.entries import FamilyEntries
from molexa_core.pipeline.evaluation.conformity_of_family import conformity_of, features_of
from molexa_core.pipeline.evaluation.known_explosions import KnownExplosions, one_of_each
from molexa_core.pipeline.explosions.unlike_training import photons_absorbed, unlike_training

STORED = Path(__file__).parents[2] / "data" / "surrogate-held-out.safetensors"


@pytest.fixture(scope="module")
def known() -> dict[int, KnownExplosions]:
    """One explosion of each of 210 geometries, in pulses of the whole family."""
    entries = FamilyEntries.load(STORED)
    atoms = entries.atoms
    random = np.random.default_rng(0)
    return {
        int(n): one_of_each(entries.select(atoms == n), int(n), random) for n in np.unique(atoms)
    }


@pytest.fixture(scope="module")
def stored(known: dict[int, KnownExplosions]) -> dict[str, object]:
    """The `data` of a card with the test."""
    return {CONFORMITY: conformity_of(known).to_dict()}


def test_one_explosion_of_each_geometry_is_taken(known: dict[int, KnownExplosions]) -> None:
    assert sum(map(len, known.values())) == 210
    for atoms, one in known.items():
        assert one.numbers.shape[1] == atoms
        assert (one.numbers > 0).all()
        assert np.abs(one.momenta.sum(axis=1)).max() < 1e-3
        told = one.told("everything")
        assert told.known[:, :3].all()
        assert not one.told("nothing").known.any()
        assert one.told("pulse").known[:, :3].all()
        assert not one.told("pulse").known[:, 3:].any()


def test_photons_grow_with_fluence_and_are_not_known_without_it() -> None:
    numbers = np.array([[6, 8], [6, 8], [6, 8]])
    pulse = np.log([[600.0, 1e12, 15.0], [600.0, 1e13, 15.0], [600.0, 1e12, 15.0]])
    pulse[2, 1] = np.nan
    found = photons_absorbed(numbers, pulse)
    assert found[1] - found[0] == pytest.approx(np.log(10.0), abs=1e-5)
    assert np.isnan(found[2])
    # Carbon and oxygen at 600 eV: about 0.4 and 0.5 Mb (1 Mb is 1e-10 square micrometres).
    assert np.exp(found[0]) == pytest.approx(1e12 * 0.9e-10, rel=0.6)
    assert np.isnan(photons_absorbed(np.array([[53, 1]]), pulse[:1]))[0]


def test_explosions_of_the_family_are_rarely_called_unlike(
    known: dict[int, KnownExplosions], stored: dict[str, object]
) -> None:
    test = Conformity.from_dict(stored[CONFORMITY])  # type: ignore[arg-type]
    values, atoms = features_of(known)
    p = np.concatenate([test.p_values(values[atoms == n], int(n)) for n in np.unique(atoms)])
    assert (p < SUSPECT).mean() < 0.06


def test_a_pulse_far_from_the_family_and_impossible_energies_are_named(
    stored: dict[str, object],
) -> None:
    ions = [parse_ion(name) for name in ("C3+", "O3+")]
    momenta = np.array([[0.0, 0.0, 250.0], [0.0, 0.0, -250.0]])
    inside = XrayExplosion(
        photon_ev=Uncertain(1500.0), fluence_um2=Uncertain(1e12), duration_fs=Uncertain(10.0)
    )
    assert unlike_training(stored, ions, momenta, inside) is None
    long = XrayExplosion(
        photon_ev=Uncertain(1500.0), fluence_um2=Uncertain(1e12), duration_fs=Uncertain(80.0)
    )
    said = unlike_training(stored, ions, momenta, long)
    assert said is not None
    assert "duration of the pulse" in said
    said = unlike_training(stored, ions, 40.0 * momenta, None)
    assert said is not None
    assert "size that the energy implies" in said
    assert unlike_training({}, ions, 40.0 * momenta, None) is None
