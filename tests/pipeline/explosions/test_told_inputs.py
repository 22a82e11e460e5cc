"""What is told of an explosion becomes the right inputs, and samples answer to it."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from molexa_core.base.errors import UnknownIonError, UsageError
from molexa_core.base.known_explosion import (
    BuildUpExplosion,
    ClassicalExplosion,
    InstantExplosion,
    LaserExplosion,
    XrayExplosion,
)
from molexa_core.base.matter.ions import parse_ions
from molexa_core.base.uncertain import Uncertain
from molexa_core.network.conditions import CHOICES, KINDS, QUANTITIES, Told
from molexa_core.network.network import Network
from molexa_core.physics.mcmd.photon_tables import PhotonTables, pack_photon_tables
from molexa_core.pipeline.explosions.told_inputs import AT, MOST_EVENTS, told_of
from molexa_core.pipeline.reconstruction.told_samples import ToldEntry, sample
from tests.fakes.networks import small_settings

CO = torch.tensor([[6, 8]])
PULSE = XrayExplosion(
    photon_ev=Uncertain(2000.0),
    energy_mj=Uncertain(1.0, 0.3),
    duration_fs=Uncertain(15.0, 3.0),
    focus_um=Uncertain(1.0),
    transmission=Uncertain(1.0),
)


def _value(told: Told, name: str) -> tuple[float, bool, float]:
    quantity, place = QUANTITIES[AT[name]], AT[name]
    coordinate = float(told.values[0, place]) * quantity.scale
    value = math.exp(coordinate) * quantity.centre if quantity.log else coordinate
    return value, bool(told.known[0, place]), float(told.widths[0, place])


def test_a_pulse_is_told_with_its_uncertainties() -> None:
    told = told_of([PULSE], CO, data="still")
    assert KINDS[int(told.kind[0])] == "xray"
    assert _value(told, "photon_ev") == (pytest.approx(2000.0), True, 0.0)
    assert _value(told, "duration_fs") == (pytest.approx(15.0), True, pytest.approx(0.2))
    assert _value(told, "fluence_um2") == (
        pytest.approx(2.75e12, rel=0.01),
        True,
        pytest.approx(0.3),
    )
    assert not _value(told, "transfer_time_fs")[1]
    assert (told.choices == -1).all()


@pytest.mark.parametrize("more", [0.25, 1.0, 9.0])
def test_more_events_than_were_learned_are_told_as_fewer_with_their_errors(more: float) -> None:
    count, errors = torch.tensor([more * MOST_EVENTS]), torch.tensor([[0.3, -1.0]])
    told = told_of([PULSE], CO, count=count, errors=errors)
    assert told.count.item() == pytest.approx(min(more, 1.0) * MOST_EVENTS)
    # The scatter of a single event is the same, and an error that is not known stays so.
    scatter = told.errors[0, 0] * told.count.sqrt()
    assert scatter.item() == pytest.approx(0.3 * math.sqrt(more * MOST_EVENTS))
    assert told.errors[0, 1].item() == -1.0
    exact = told_of([ClassicalExplosion()], CO, count=count, errors=errors)
    assert exact.count.item() == count.item()
    assert torch.equal(exact.errors, errors)


def test_switches_are_told_by_their_positions() -> None:
    pulse = replace(
        PULSE, transfer="full", recapture=False, focus="volume", shake_off=Uncertain(0.1)
    )
    told = told_of([pulse], CO)
    assert told.choices.tolist() == [[2, 0, 1]]
    assert list(CHOICES) == ["transfer", "recapture", "focus"]
    assert _value(told, "shake_off") == (pytest.approx(0.1), True, 0.0)


def test_photons_are_those_of_the_monte_carlo_model() -> None:
    tables: PhotonTables = pack_photon_tables([2000.0], ["C", "O"], workers=1)
    told = told_of([PULSE], CO)
    sigma = tables.cross_section()[0, [6, 8]]
    fluence = _value(told, "fluence_um2")[0] * (0.529177e-4) ** 2
    np.testing.assert_allclose(told.photons[0, :, 0].exp(), sigma * fluence, rtol=0.02)
    # Most of it in the K shell, far above its edge.
    share = (told.photons[0, :, 1] - told.photons[0, :, 0]).exp()
    assert (share > 0.85).all()
    assert (share < 1.0).all()


def test_photons_need_energy_and_fluence() -> None:
    assert told_of([replace(PULSE, photon_ev=None)], CO).photons.isnan().all()
    assert told_of([None], CO).photons.isnan().all()
    assert told_of([PULSE], torch.tensor([[6, 35]])).photons.isnan()[0].tolist() == [
        [False, False],
        [True, True],
    ]


def test_rises_are_told_relative_to_their_window() -> None:
    told = told_of([BuildUpExplosion(Uncertain(40.0, 8.0), hydrogen_tau_fs=Uncertain(20.0))], CO)
    assert _value(told, "tau_fs") == (pytest.approx(40.0), True, pytest.approx(0.2))
    assert _value(told, "hydrogen_window")[0] == pytest.approx(0.5)
    classical = told_of([ClassicalExplosion()], CO)
    assert _value(classical, "tau_fs")[0] == pytest.approx(45.0)
    assert _value(classical, "hydrogen_window")[:2] == (pytest.approx(1.0), True)
    width = BuildUpExplosion(Uncertain(40.0), tau_width=0.5)
    assert _value(told_of([width], CO), "tau_fs")[2] == pytest.approx(0.5)
    assert _value(told_of([LaserExplosion(Uncertain(30.0))], CO), "laser_duration_fs")[1]
    assert KINDS[int(told_of([InstantExplosion()], CO).kind[0])] == "instant"


def test_what_is_not_told_is_not_known() -> None:
    told = told_of([None, BuildUpExplosion()], CO.expand(2, 2))
    common, _ = told.inputs(torch.ones(2, 2, 3))
    assert not common[0].any()
    assert common[1].sum() == 1.0  # the kind alone


def test_samples_of_entries_of_several_kinds() -> None:
    torch.manual_seed(1)
    network = Network(replace(small_settings("atoms"), told=True)).eval()
    pair, water = parse_ions("C+,O+"), parse_ions("O+,H+,H+")
    entries = [
        ToldEntry(
            pair, np.array([[80.0, 0, 0], [-80.0, 0, 0]]), "event", 1.0, np.array([2.0, 2.0])
        ),
        ToldEntry(water, np.array([[0.0, 60, 0], [40.0, -30, 0], [-40.0, -30, 0]])),
        ToldEntry(pair, np.array([[0.0, 90, 0], [0.0, -90, 0]]), "still", 500.0),
    ]
    found = sample(network, entries, PULSE, 3, 5)
    assert [one.shape for one in found] == [(3, 2, 3), (3, 3, 3), (3, 2, 3)]
    for one in found:
        assert np.isfinite(one).all()
        np.testing.assert_allclose(one.mean(axis=1), 0.0, atol=1e-4)
    again = sample(network, entries, [PULSE] * 3, 3, 5)
    np.testing.assert_array_equal(found[1], again[1])
    with pytest.raises(UsageError, match="2 explosions"):
        sample(network, entries, [None, None], 1, 1)
    strange = [ToldEntry(parse_ions("Br+,H+"), np.ones((2, 3)))]
    with pytest.raises(UnknownIonError):
        sample(network, strange, None, 1, 1)
