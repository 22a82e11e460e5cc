"""How many photons the shells absorb, for any photon energy."""

import math

import numpy as np
import pytest
import torch

from molexa_core.physics.atomic.cross_section_curves import neutral_cross_sections
from molexa_core.physics.surrogate.absorption import (
    CLOSED,
    SYMBOLS,
    UM2_PER_BOHR2,
    AbsorptionTable,
)
from molexa_core.physics.surrogate.surrogate_card import load_surrogate


@pytest.fixture(scope="module")
def table() -> AbsorptionTable:
    """That of the shipped weights."""
    return load_surrogate().network.momenta.absorption


@pytest.mark.parametrize("symbol", ["C", "O", "S"])
def test_photons_are_fluence_times_cross_section(table: AbsorptionTable, symbol: str) -> None:
    energies = np.array([310.0, 700.0, 1999.0, 2600.0, 8000.0])
    elements = torch.full((len(energies), 1), SYMBOLS.index(symbol))
    fluence = torch.full((len(energies),), math.log(1e12))
    log_energy = torch.from_numpy(np.log(energies)).float()
    found = table.log_photons(elements, log_energy, fluence)[:, 0].exp().sum(-1).numpy()
    expected = neutral_cross_sections(symbol, energies).sum(axis=1) * UM2_PER_BOHR2 * 1e12
    assert found == pytest.approx(expected, rel=0.03)


def test_a_shell_is_closed_below_its_edge(table: AbsorptionTable) -> None:
    chlorine = torch.tensor([[SYMBOLS.index("Cl")], [SYMBOLS.index("Cl")]])
    found = table.log_photons(chlorine, torch.tensor([2500.0, 3000.0]).log(), torch.zeros(2))
    assert float(found[0, 0, 0]) == CLOSED
    assert float(found[1, 0, 0]) > CLOSED
    hydrogen = torch.tensor([[SYMBOLS.index("H")]])
    found = table.log_photons(hydrogen, torch.tensor([2500.0]).log(), torch.tensor([27.0]))
    assert found[0, 0, 1:].tolist() == [CLOSED, CLOSED]


def test_slopes_are_those_of_differences(table: AbsorptionTable) -> None:
    oxygen = torch.tensor([[SYMBOLS.index("O")]])
    energy, step = torch.tensor([7.3]), 1e-3
    both = [table.log_photons(oxygen, energy + s, torch.zeros(1)) for s in (step, -step)]
    slope = (both[0] - both[1])[0, 0, :2] / (2 * step)
    assert slope.tolist() == pytest.approx(table.slopes(oxygen, energy)[0, 0, :2].tolist(), rel=0.1)
    assert -3.6 < float(slope[0]) < -2.0  # cross sections fall by about E^-3
