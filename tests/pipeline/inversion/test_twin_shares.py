"""Shares of twins: the posterior of exact momenta against Bayes' rule, density / |det dp/dx|."""

from __future__ import annotations

import numpy as np
import pytest

from molexa_core.base.known_explosion import ClassicalExplosion
from molexa_core.base.matter.elements import ELEMENTS
from molexa_core.base.settings import Explosion
from molexa_core.base.tables import FloatArray
from molexa_core.base.uncertain import Uncertain
from molexa_core.physics.family.family import Fragments
from molexa_core.pipeline.evaluation.ambiguity import (
    determinant,
    exact_momenta,
    modes_of,
    nearest_modes,
)
from molexa_core.pipeline.explosions.knowledge import knowledge_of
from molexa_core.pipeline.inversion.geometry_prior import GeometryPrior
from molexa_core.pipeline.inversion.posterior import infer
from molexa_core.pipeline.inversion.residuals import MeasuredChannel

TAU_FS = 45.0
ERROR = 1e-3
KNOWLEDGE = knowledge_of(Explosion.of(ClassicalExplosion(Uncertain(TAU_FS))))


def _drawn(
    random: np.random.Generator, atoms: int
) -> tuple[GeometryPrior, Fragments, FloatArray, FloatArray]:
    """A geometry of the prior with its exact momenta."""
    symbols = tuple(str(one) for one in random.choice(["C", "N", "O", "F", "S"], atoms))
    prior = GeometryPrior.of(symbols)
    x = prior.draw(random, 1)[0]
    charges = 1.0 + (random.random(atoms) < 0.4)
    masses = np.array([ELEMENTS[one].isotope_mass for one in symbols]) - charges
    momenta = exact_momenta(x[None], charges[None], masses[None], TAU_FS)[0]
    return prior, Fragments(symbols, charges, masses), x, momenta


def _shares(
    prior: GeometryPrior, ions: Fragments, modes: FloatArray, momenta: FloatArray, seed: int
) -> tuple[FloatArray, FloatArray]:
    """Of each mode: by Bayes' rule, and of the draws."""
    density = prior.log_density(modes)
    slope = [determinant(one, ions.charges, ions.masses, tau_fs=TAU_FS) for one in modes]
    expected = np.exp(density - density.max()) / np.array(slope)
    sigma = ERROR * float(np.sqrt((momenta**2).mean()))
    channel = MeasuredChannel(ions, momenta, sigma**2 * np.eye(momenta.size))
    found = infer([channel], KNOWLEDGE, geometry=prior, draws=1000, seed=seed)
    drawn = found.positions - found.positions.mean(axis=1, keepdims=True)
    near, _, _ = nearest_modes(drawn, modes)
    share = np.bincount(near, weights=found.weights, minlength=len(modes))
    return expected / expected.sum(), share


def _compared(seed: int, atoms: tuple[int, ...], cases: int) -> list[float]:
    """Mean deviation of the shares of each molecule that has twins."""
    random = np.random.default_rng(seed)
    off = []
    for case in range(cases):
        prior, ions, x, momenta = _drawn(random, atoms[case % len(atoms)])
        known = (ions.charges[None], ions.masses[None], momenta[None])
        (modes,) = modes_of(x[None], *known, tau_fs=TAU_FS, starts=36, seed=case)
        if len(modes) > 1:
            expected, share = _shares(prior, ions, modes, momenta, case)
            off.append(float(np.abs(share - expected).mean()))
    return off


@pytest.mark.slow
def test_twins_get_their_shares() -> None:
    off = _compared(5, (3, 4), 16)
    assert len(off) >= 8
    assert np.mean(off) < 0.06
    assert np.median(off) < 0.02


def test_both_twins_beside_a_fold_are_found() -> None:
    """Two structures 0.12 bohr apart, which a search with broad errors takes for one."""
    symbols, charges = ("S", "O", "N"), np.array([2.0, 1.0, 2.0])
    prior = GeometryPrior.of(symbols)
    masses = np.array([ELEMENTS[one].isotope_mass for one in symbols]) - charges
    r, s, cosine = 3.32, 2.92, (3.32**2 + 2.92**2 - 2.41**2) / (2.0 * 3.32 * 2.92)
    x = np.array([[0.0, 0.0, 0.0], [r, 0.0, 0.0], [s * cosine, s * np.sqrt(1 - cosine**2), 0.0]])
    momenta = exact_momenta(x[None], charges[None], masses[None], TAU_FS)[0]
    known = (charges[None], masses[None], momenta[None])
    (modes,) = modes_of(x[None], *known, tau_fs=TAU_FS, starts=60, seed=1)
    apart = np.abs(modes[1:] - modes[0]).mean(axis=(1, 2))
    assert apart.min() < 0.2
    expected, share = _shares(prior, Fragments(symbols, charges, masses), modes, momenta, 0)
    twin = 1 + int(apart.argmin())
    assert share[0] == pytest.approx(expected[0], abs=0.1)
    assert share[twin] == pytest.approx(expected[twin], abs=0.1)
    assert expected[[0, twin]].min() > 0.2
