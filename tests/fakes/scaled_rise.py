"""A small family of forward models for tests of the inversion: one rise common to all atoms.

Explosions with a common rise look alike: lengths times s and times times s^(3/2) give momenta times
s^(-1/2). So one compiled call with one window serves every window, with exact derivatives.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from molexa_core.base.belief import Coordinate
from molexa_core.base.tables import FloatArray
from molexa_core.physics.coulomb.batches import explode_many, linearise_many
from molexa_core.physics.coulomb.build_up import ErrorFunctionRise
from molexa_core.physics.family.error_size import ErrorSize
from molexa_core.physics.family.family import Fragments, Linearised

TAU_FS = 45.0


@dataclass(frozen=True)
class ScaledRise:
    """Charges rise together; optionally each explosion has an energy of its own and a model error.

    Attributes:
        strength: whether a second parameter multiplies all momenta.
        model_error: standard deviation of each momentum component, share of the rms momentum.
        varying: the same depends on the window: twice as large at half of `TAU_FS`.
        freedom: degrees of freedom of the size of that error.
    """

    strength: bool = False
    model_error: float = 0.0
    varying: bool = False
    freedom: float = math.inf

    @property
    def error_size(self) -> ErrorSize:
        return ErrorSize(self.freedom)

    @property
    def name(self) -> str:
        return "charges that rise together"

    @property
    def coordinates(self) -> tuple[Coordinate, ...]:
        first = Coordinate("tau_fs", "window of the rise", "fs")
        return (first, Coordinate("strength", "strength")) if self.strength else (first,)

    def explode(
        self, fragments: Fragments, positions: FloatArray, parameters: FloatArray
    ) -> FloatArray:
        s, scale = self._scales(parameters)
        found = explode_many(
            positions * s, fragments.charges, fragments.masses,
            build_up=ErrorFunctionRise(TAU_FS), accuracy="draft", strict=False,
        )  # fmt: skip
        return np.asarray(found * np.sqrt(s) * scale)

    def linearise(
        self, fragments: Fragments, positions: FloatArray, parameters: FloatArray
    ) -> Linearised:
        s, scale = self._scales(parameters)
        momenta, change = linearise_many(
            positions * s, fragments.charges, fragments.masses,
            build_up=ErrorFunctionRise(TAU_FS), accuracy="draft",
        )  # fmt: skip
        momenta, change = momenta * np.sqrt(s) * scale, change * s**1.5 * scale
        n = len(positions)
        flat = positions.reshape(n, -1, 1)
        by_tau = -2.0 / 3.0 * (0.5 * momenta.reshape(n, -1, 1) + change @ flat)
        columns = [by_tau, momenta.reshape(n, -1, 1)] if self.strength else [by_tau]
        return Linearised(momenta, change, np.concatenate(columns, axis=2))

    def error(
        self, fragments: Fragments, positions: FloatArray, parameters: FloatArray
    ) -> FloatArray:
        size = 3 * len(fragments)
        if not self.model_error:
            return np.zeros((len(positions), size, size))
        momenta = self.explode(fragments, positions, parameters)
        share = np.full(len(positions), self.model_error)
        if self.varying:
            share = share * TAU_FS / np.exp(parameters[:, 0])
        variance = (momenta**2).mean(axis=(1, 2)) * share**2
        return np.asarray(variance[:, None, None] * np.eye(size))

    def _scales(self, parameters: FloatArray) -> tuple[FloatArray, FloatArray]:
        s = np.exp(2.0 / 3.0 * (np.log(TAU_FS) - parameters[:, 0]))
        scale = np.exp(parameters[:, 1]) if self.strength else np.ones(len(s))
        return s[:, None, None], scale[:, None, None]
