"""Decay of inner-shell holes: Auger and Coster-Kronig decay, fluorescence.

Rates are per channel and averaged over the terms of the configuration. They use the orbitals of the
decaying configuration; those of the neutral atom would give K widths that are 40 % too small.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from molexa_core.base.compiled import compiled
from molexa_core.base.tables import FloatArray
from molexa_core.base.units import FINE_STRUCTURE
from molexa_core.physics.atomic.angular import auger_weights
from molexa_core.physics.atomic.continuum import AtomOnMesh
from molexa_core.physics.atomic.scf import Orbitals
from molexa_core.physics.atomic.shells import SUBSHELLS, outermost

Kind = Literal["auger", "fluorescence"]


@dataclass(frozen=True, slots=True)
class Decay:
    """One decay channel of a configuration.

    Attributes:
        kind: `auger` (Coster-Kronig included) or `fluorescence`.
        hole: index of the subshell that is filled.
        first: index of the subshell whose electron fills it.
        second: index of the subshell whose electron is emitted; -1 for fluorescence.
        rate: per atomic unit of time.
        energy: of the emitted electron or photon, hartree.
    """

    kind: Kind
    hole: int
    first: int
    second: int
    rate: float
    energy: float


def decays(orbitals: Orbitals, atom: AtomOnMesh) -> list[Decay]:
    """All energetically allowed decays, Auger first, by subshell.

    Args:
        orbitals: the configuration.
        atom: the same on a mesh for its fastest Auger electrons.
    """
    return [*auger_decays(orbitals, atom), *fluorescence_decays(orbitals)]


def auger_decays(orbitals: Orbitals, atom: AtomOnMesh) -> list[Decay]:
    """Auger and Coster-Kronig decays.

    Gamma = pi / (2 l_i + 1) N_i^H W_jj' sum over L, S, l' of (2L+1)(2S+1) |M_LS|^2, with the
    energy e_j + e_j' - e_i of orbital energies (Son, Young and Santra, Phys. Rev. A 83, 033402
    (2011)); W is the probability that both electrons are present.
    """
    found = []
    pairs = _PairPotentials(atom)
    size = outermost(orbitals.occupation) + 1
    for i, shell in enumerate(SUBSHELLS[:size]):
        holes = shell.capacity - orbitals.occupation[i]
        if holes == 0:
            continue
        for j in range(i + 1, size):
            for k in range(j, size):
                energy = float(orbitals.energy[j] + orbitals.energy[k] - orbitals.energy[i])
                present = _pair_probability(orbitals.occupation, j, k)
                if present > 0.0 and energy > 0.0:
                    strength = _auger_strength(atom, pairs, i, j, k, energy)
                    rate = np.pi / (2 * shell.l + 1) * holes * present * strength
                    found.append(Decay("auger", i, j, k, float(rate), energy))
    return found


def fluorescence_decays(orbitals: Orbitals) -> list[Decay]:
    """Radiative decays.

    Gamma = (4/3) alpha^3 w^3 N_i^H N_j / (4 l_j + 2) l_> / (2 l_i + 1) |<i | r | j>|^2.
    """
    grid = orbitals.grid
    found = []
    size = outermost(orbitals.occupation) + 1
    for i, lower in enumerate(SUBSHELLS[:size]):
        holes = lower.capacity - orbitals.occupation[i]
        for j in range(i + 1, size):
            upper, electrons = SUBSHELLS[j], orbitals.occupation[j]
            energy = float(orbitals.energy[j] - orbitals.energy[i])
            if abs(lower.l - upper.l) != 1 or holes * electrons == 0 or energy <= 0.0:
                continue
            dipole = float(grid.weight @ (grid.r * orbitals.u[i] * orbitals.u[j]))
            angular = max(lower.l, upper.l) / (2 * lower.l + 1) * holes
            rate = (
                (4.0 / 3.0 * FINE_STRUCTURE**3 * energy**3)
                * (angular * electrons / upper.capacity)
                * dipole**2
            )
            found.append(Decay("fluorescence", i, j, -1, rate, energy))
    return found


def _pair_probability(occupation: tuple[int, ...], j: int, k: int) -> float:
    """Probability that two given spin-orbitals of the subshells j and k are occupied."""
    if j == k:
        size = SUBSHELLS[j].capacity
        return occupation[j] * (occupation[j] - 1) / (size * (size - 1))
    return (occupation[j] / SUBSHELLS[j].capacity) * (occupation[k] / SUBSHELLS[k].capacity)


class _PairPotentials:
    """step * (multipole potential of u_j u_i) on the mesh, each computed once."""

    def __init__(self, atom: AtomOnMesh) -> None:
        self._atom = atom
        self._known: dict[tuple[int, int, int], FloatArray] = {}

    def radial(self, j: int, i: int, k: int, order: int, free: FloatArray) -> float:
        """R^K(j k; i c), the wave c given on the mesh."""
        key = (j, i, order)
        if key not in self._known:
            atom = self._atom
            self._known[key] = multipole(atom.u[j], atom.u[i], atom.r, atom.step, order)
        return triple(self._known[key], self._atom.u[k], free)


@compiled
def multipole(
    first: FloatArray, second: FloatArray, r: FloatArray, step: FloatArray, order: int
) -> FloatArray:
    """Step times the integral of first second (s) r_<^K / r_>^(K+1) ds, on a mesh even in x.

    Running integrals of fourth order: over one interval (-f_-1 + 13 f_0 + 13 f_1 - f_2) / 24.

    Args:
        first: (k) radial function.
        second: (k) radial function; the product vanishes at both ends.
        r: (k) radii.
        step: (k) dr/dx.
        order: K.
    """
    size = r.shape[0]
    power, inner, outer = np.empty(size), np.empty(size), np.empty(size)
    for k in range(size):
        power[k] = r[k] ** order
        inner[k] = step[k] * first[k] * second[k] * power[k]
        outer[k] = step[k] * first[k] * second[k] / (power[k] * r[k])
    result = np.empty(size)
    total = 0.0
    for k in range(size):
        if k > 0:
            total += _interval(inner, k)
        result[k] = total / (power[k] * r[k])
    total = 0.0
    for k in range(size - 1, -1, -1):
        if k < size - 1:
            total += _interval(outer, k + 1)
        result[k] = (result[k] + total * power[k]) * step[k]
    return result


@compiled
def _interval(f: FloatArray, k: int) -> float:
    """The integral from point k - 1 to point k; f vanishes beyond the ends."""
    left = f[k - 2] if k > 1 else 0.0
    right = f[k + 1] if k + 1 < f.shape[0] else 0.0
    return float((13.0 * (f[k - 1] + f[k]) - left - right) / 24.0)


@compiled
def triple(first: FloatArray, second: FloatArray, third: FloatArray) -> float:
    """The sum of the product of three arrays."""
    total = 0.0
    for k in range(first.shape[0]):
        total += first[k] * second[k] * third[k]
    return total


def _auger_strength(
    atom: AtomOnMesh, pairs: _PairPotentials, i: int, j: int, k: int, energy: float
) -> float:
    """Sum over L, S and l' of (2L+1)(2S+1) |M_LS|^2 for one channel."""
    hole, first, second = SUBSHELLS[i].l, SUBSHELLS[j].l, SUBSHELLS[k].l
    total = 0.0
    for wave in range(first + second + hole + 1):
        weights = auger_weights(hole, first, second, wave, same=j == k)
        if (wave + hole + first + second) % 2 or not weights.matrix.any():
            continue
        free = atom.wave(energy, wave)
        radial = [pairs.radial(j, i, k, order, free) for order in weights.direct]
        radial += [pairs.radial(k, i, j, order, free) for order in weights.exchange]
        r = np.array(radial)
        total += float(r @ weights.matrix @ r)
    return total
