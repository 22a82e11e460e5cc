"""A quick stand-in for the Monte-Carlo model: charges drawn atom by atom, classical explosions.

Signature and promises of `pipeline.explosions.explode.explode_geometries`: what a trajectory gives
depends on its number and the seed alone, and momenta add up to zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from molexa_core.base.charge_combinations import Outcomes
from molexa_core.base.matter.elements import element
from molexa_core.base.spectrum import Spectrum
from molexa_core.base.tables import FloatArray, Geometry
from molexa_core.base.units import HARTREE_EV
from molexa_core.physics.coulomb.batches import explode_many
from molexa_core.physics.coulomb.build_up import ErrorFunctionRise
from molexa_core.physics.coulomb.explosion import Accuracy

TAU_FS = 30.0
"""Window of the charge build-up of the stand-in."""
SPREAD = 0.05
"""Relative standard deviation of the size of all momenta of an explosion."""
ROUGH = Accuracy(30, 0.6)


def fake_explosions(
    symbols: Sequence[str],
    positions: FloatArray,
    velocities: FloatArray | None,
    pulse: Any,
    options: Any,
    *,
    trajectories: int,
    seed: int,
    first_trajectory: int = 0,
    **others: Any,
) -> list[Outcomes]:
    """See `forward.explode_geometries`; pulse and options are not looked at."""
    return [
        _outcomes(symbols, x, trajectories, seed, first_trajectory + row * trajectories)
        for row, x in enumerate(positions)
    ]


def _outcomes(
    symbols: Sequence[str], x: FloatArray, trajectories: int, seed: int, first: int
) -> Outcomes:
    rng = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, first])))
    number = np.array([element(symbol).number for symbol in symbols])
    share = np.where(number == 1, 0.97, 0.35)
    most = np.minimum(number, 3)
    charges = rng.binomial(most, share, size=(trajectories, len(symbols))).astype(np.int8)
    size = 1.0 + SPREAD * rng.normal(size=trajectories)
    found, row_of, counts = np.unique(charges, axis=0, return_inverse=True, return_counts=True)
    order = np.lexsort((*found.T[::-1], -counts))
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    found, counts, row_of = found[order], counts[order], place[row_of.ravel()]
    mass = np.array([element(symbol).isotope_mass for symbol in symbols]) - found
    direction = explode_many(
        np.repeat(x[None], len(found), axis=0),
        found.astype(float),
        mass,
        build_up=ErrorFunctionRise(TAU_FS),
        accuracy=ROUGH,
    )
    scale = np.bincount(row_of, size, len(found)) / counts
    scale2 = np.bincount(row_of, size**2, len(found)) / counts
    scale4 = np.bincount(row_of, size**4, len(found)) / counts
    spread = np.maximum(scale2 - scale**2, 0.0) * counts / np.maximum(counts - 1, 1)
    release = (direction**2).sum(axis=2) / (2 * mass)
    release1 = release.sum(axis=1)
    edges = np.linspace(0.0, 300.0, 151)
    every = release1[row_of] * size**2 * HARTREE_EV
    states = np.stack([np.bincount(column, minlength=8) for column in charges.T])
    return Outcomes(
        geometry=Geometry(tuple(symbols), x),
        trajectories=trajectories,
        charges=found,
        counts=counts.astype(np.int64),
        momenta=direction * scale[:, None, None],
        covariance=np.einsum("c,cia,cib->ciab", spread, direction, direction),
        charge_states=states.astype(np.int64),
        release=release1 * scale2,
        release_spread=release1 * np.sqrt(np.maximum(scale4 - scale2**2, 0.0)),
        spectra={
            "ker": Spectrum(
                np.histogram(every, edges)[0], (edges,), ("kinetic energy release",), ("eV",)
            )
        },
        photons=2.5,
        occurred=len(found),
        neutral=int(counts[(found == 0).any(axis=1)].sum()),
    )
