"""How many photons an atom would absorb: cross sections of the shells at any photon energy.

The cross sections are those of the Monte-Carlo model for neutral atoms
(`atomic.cross_section_curves`), kept on a grid for each shell, above its edge. They tell a network
what a photon energy means: how often each shell loses an electron, and which shells cannot.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import Tensor

from molexa_core.base.matter.elements import ELEMENTS
from molexa_core.base.units import BOHR_ANGSTROM, HARTREE_EV
from molexa_core.physics.atomic.cross_section_curves import neutral_cross_sections
from molexa_core.physics.atomic.scf import solve_orbitals
from molexa_core.physics.atomic.shells import SUBSHELLS, ground_occupation

SYMBOLS: Final = ("H", "C", "N", "O", "F", "Si", "P", "S", "Cl")
"""Elements of the surrogate."""
SHELLS: Final = 3
"""K, L and M."""
POINTS: Final = 40
CLOSED: Final = -30.0
"""ln of the photons that a shell absorbs which the photons cannot open."""
LOWEST_EV: Final = 200.0
HIGHEST_EV: Final = 12_000.0
UM2_PER_BOHR2: Final = (BOHR_ANGSTROM * 1e-4) ** 2


@dataclass(frozen=True)
class AbsorptionTable:
    """Cross sections of the shells of `SYMBOLS`.

    Attributes:
        low: [elements, shells] ln of the photon energy in eV at which each grid begins: the edge,
            or `LOWEST_EV`.
        log_sigma: [elements, shells, points] ln of the cross section in um^2, on `POINTS` energies
            with equal distances in ln E up to `HIGHEST_EV`; -100 where the shell is empty.
    """

    low: Tensor
    log_sigma: Tensor

    def log_photons(self, elements: Tensor, log_energy: Tensor, log_fluence: Tensor) -> Tensor:
        """[B, N, 3] ln of fluence times cross section of each shell, `CLOSED` where it is closed.

        Args:
            elements: [B, N] places in `SYMBOLS`.
            log_energy: [B] ln of the photon energy in eV.
            log_fluence: [B] ln of the photons per um^2.
        """
        value, _ = self._interpolated(elements, log_energy)
        value = value + log_fluence[:, None, None]
        open_ = log_energy[:, None, None] >= self.low[elements]
        return torch.where(open_, value, CLOSED).clamp_min(CLOSED)

    def slopes(self, elements: Tensor, log_energy: Tensor) -> Tensor:
        """[B, N, 3] derivatives of `log_photons` by ln of the photon energy, for open shells."""
        return self._interpolated(elements, log_energy)[1]

    def _interpolated(self, elements: Tensor, log_energy: Tensor) -> tuple[Tensor, Tensor]:
        low = self.low[elements]
        step = (float(np.log(HIGHEST_EV)) - low) / (POINTS - 1)
        place = ((log_energy[:, None, None] - low) / step).clamp(0.0, POINTS - 1.001)
        below = place.floor().long()
        table = self.log_sigma[elements]
        left = table.gather(-1, below.unsqueeze(-1)).squeeze(-1)
        rise = table.gather(-1, (below + 1).unsqueeze(-1)).squeeze(-1) - left
        return left + (place - below) * rise, rise / step


def absorption_table() -> AbsorptionTable:
    """Compute the cross sections; some seconds on one core."""
    low = np.full((len(SYMBOLS), SHELLS), np.log(LOWEST_EV))
    log_sigma = np.full((len(SYMBOLS), SHELLS, POINTS), -100.0)
    for place, symbol in enumerate(SYMBOLS):
        number = ELEMENTS[symbol].number
        orbitals = solve_orbitals(number, ground_occupation(number))
        for shell in range(SHELLS):
            chosen = [
                index
                for index, electrons in enumerate(orbitals.occupation)
                if electrons and SUBSHELLS[index].n == shell + 1
            ]
            if not chosen:
                continue
            edge = float(-orbitals.energy[chosen].min()) * HARTREE_EV
            low[place, shell] = np.log(max(edge * (1.0 + 1e-6), LOWEST_EV))
            energies = np.exp(np.linspace(low[place, shell], np.log(HIGHEST_EV), POINTS))
            sigma = neutral_cross_sections(symbol, energies * (1.0 + 1e-6))[:, chosen].sum(axis=1)
            log_sigma[place, shell] = np.log(sigma * UM2_PER_BOHR2)
    return AbsorptionTable(
        torch.tensor(low, dtype=torch.float32), torch.tensor(log_sigma, dtype=torch.float32)
    )
