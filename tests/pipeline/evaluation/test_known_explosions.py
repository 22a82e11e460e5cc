"""Explosions of known geometry by the Monte-Carlo model: kinds of sets, one entry per geometry."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from molexa_core.base.errors import UsageError
from molexa_core.base.forward_model import ModelOptions, Pulse
from molexa_core.base.known_explosion import ClassicalExplosion
from molexa_core.base.uncertain import Uncertain
from molexa_core.network.weights import read_card
from molexa_core.physics.mcmd.photon_tables import PhotonTables, pack_photon_tables
from molexa_core.physics.molecules.library import molecule_names
from molexa_core.pipeline.datasets.measurement_split import measured_molecules
from molexa_core.pipeline.evaluation.calibration_run import population_of
from molexa_core.pipeline.evaluation.known_explosions import (
    FAMILY,
    HELD_OUT,
    LEARNED,
    PHYSICS,
    SLOW_TRANSFER,
    Population,
    family_explosions,
    random_explosions,
)
from molexa_core.pipeline.explosions.told_inputs import told_of
from tests.fakes.cards import card_of_one_pulse

LIGHT = ("H", "C", "N", "O")
PULSE = Pulse(photon_ev=2000.0, duration_fs=10.0, fluence_um2=2e12)


@pytest.fixture(scope="module")
def tables() -> PhotonTables:
    """At two photon energies."""
    return pack_photon_tables([600.0, 2000.0], LIGHT, workers=1)


@pytest.mark.parametrize("kind", [FAMILY, HELD_OUT, PHYSICS, LEARNED])
def test_each_geometry_is_there_once_with_its_setting(kind: str, tables: PhotonTables) -> None:
    of = Population(elements=LIGHT, pulse=PULSE, options=ModelOptions(transfer_time_fs=1.0))
    found = family_explosions(
        kind,
        12,
        atoms=(2, 3),
        seed=4,
        device="cpu",
        trajectories=128,
        population=of,
        tables=tables,
    )
    assert sum(map(len, found.values())) >= 10
    names, held = molecule_names(), measured_molecules()
    for atoms, one in found.items():
        assert one.positions.shape[1:] == (atoms, 3)
        assert len({one.positions[row].tobytes() for row in range(len(one))}) == len(one)
        assert np.abs(one.momenta.sum(axis=1)).max() < 1e-3
        assert (one.charges >= 1).all()
        assert (one.errors > 0.0).any()
        left_out = [names[n] in held for n in one.molecule if n >= 0]
        assert all(left_out) if kind != FAMILY else not any(left_out)
        energy, time = np.exp(one.settings[:, 0]), np.exp(one.settings[:, 4])
        assert np.isin(energy.round(), [600, 2000]).all()
        slow = (time > SLOW_TRANSFER[0] - 1e-6) & (time < SLOW_TRANSFER[1] + 1e-6)
        assert slow.all() if kind == PHYSICS else not slow.any()
        if kind == LEARNED:
            expected = np.log([2000.0, 2e12, 10.0])
            assert one.settings[:, :3] == pytest.approx(np.tile(expected, (len(one), 1)), rel=1e-6)


def test_sets_of_weights_are_those_of_their_card() -> None:
    one = population_of(card_of_one_pulse())
    assert one.pulse is not None
    assert one.pulse.photon_ev == 2000.0
    assert one.pulse.duration_fs == 15.0
    assert population_of(read_card("molexa-stage1")[0]).pulse is None


def test_the_window_of_the_classical_model_is_told() -> None:
    known = random_explosions(8, atoms=(3, 3), tau_fs=60.0, seed=1)[3].rows(np.arange(4))
    numbers = torch.from_numpy(known.numbers)
    kind = ClassicalExplosion(Uncertain(60.0))
    expected = told_of([kind] * 4, numbers, data="still", errors=torch.zeros(4, 3))
    found = known.told("everything")
    assert (found.kind == expected.kind).all()
    assert torch.equal(found.known, expected.known)
    assert torch.equal(found.values[found.known], expected.values[found.known])
    assert not known.told("nothing").known.any()


def test_what_there_is_not_is_refused(tables: PhotonTables) -> None:
    with pytest.raises(UsageError, match="did not learn one pulse"):
        family_explosions(LEARNED, 5, atoms=(2, 2), seed=0, tables=tables)
    with pytest.raises(UsageError, match="no set 'far away'"):
        family_explosions("far away", 5, atoms=(2, 2), seed=0, tables=tables)
