"""The prior of geometries: normalisation, draws, bonds of the shipped molecules."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from molexa_core.base.matter.elements import element
from molexa_core.base.units import BOHR_ANGSTROM
from molexa_core.geometry.measures import pair_distances
from molexa_core.physics.molecules.library import molecules
from molexa_core.pipeline.inversion.geometry_prior import CORE, GeometryPrior


def test_two_atoms_have_a_log_normal_distance() -> None:
    prior = GeometryPrior.of(("C", "O"))
    r = np.linspace(0.3, 30.0, 20001)
    x = np.zeros((len(r), 2, 3))
    x[:, 1, 2] = r
    density = 4.0 * np.pi * r**2 * np.exp(prior.log_density(x))
    total = density.sum() * (r[1] - r[0])
    # The core takes away what log-normal lengths have inside it.
    normal = np.random.default_rng(0).standard_normal(200_000)
    ratio = np.exp(prior.centre + prior.width * normal)
    outside = np.exp(-((CORE / ratio) ** 12))
    assert total == pytest.approx(outside.mean(), abs=0.003)
    sums = (0.75 + 0.63) / BOHR_ANGSTROM
    mean = (density * np.log(r / sums)).sum() / density.sum()
    assert mean == pytest.approx((outside * np.log(ratio)).mean() / outside.mean(), abs=0.003)


def test_the_sum_over_trees_is_that_of_all_trees() -> None:
    """Of three atoms there are three trees, of four sixteen: they are added up one by one."""
    random = np.random.default_rng(1)
    for atoms, trees in ((3, 3), (4, 16)):
        prior = GeometryPrior.of(("C", "O", "S", "N")[:atoms])
        log_weight = random.normal(size=len(prior.radii_sums)) * 4.0
        total, count = 0.0, 0
        for chosen in combinations(range(len(log_weight)), atoms - 1):
            part = list(range(atoms))
            for pair in chosen:
                one, two = part[prior.pairs[0][pair]], part[prior.pairs[1][pair]]
                part = [two if name == one else name for name in part]
            if len(set(part)) == 1:
                total += np.exp(log_weight[list(chosen)].sum())
                count += 1
        assert count == trees
        assert prior._log_trees(log_weight) == pytest.approx(np.log(total), rel=1e-12)


def test_draws_have_the_density() -> None:
    """Draws of one prior, weighted by the ratio of densities, are draws of another."""
    random = np.random.default_rng(2)
    wide = GeometryPrior.of(("O", "H", "H"), width=0.4)
    narrow = GeometryPrior.of(("O", "H", "H"), width=0.3, centre=0.1)
    x = wide.draw(random, 6000)
    weight = np.exp(narrow.log_density(x) - wide.log_density(x))
    there = pair_distances(narrow.draw(random, 6000))
    here = pair_distances(x)
    mean = (weight[:, None] * here).sum(axis=0) / weight.sum()
    error = np.sqrt(there.var(axis=0) / 6000 * 4.0)
    assert (np.abs(mean - there.mean(axis=0)) < 4.0 * error).all()


def test_the_scale_free_prior_is_flat_in_the_logarithm_of_size() -> None:
    random = np.random.default_rng(3)
    prior = GeometryPrior.scale_free(("O", "C", "S"))
    x = prior.draw(random, 1)
    scales = np.array([1.0, 1.5, 2.0])
    # Six coordinates relative to one atom: a density flat in ln(size) falls with size^-6.
    height = prior.log_density(x / pair_distances(x).min() * 10.0 * scales[:, None, None])
    assert height + 6.0 * np.log(scales) == pytest.approx(np.full(3, height[0]), abs=0.02)


def test_shipped_molecules_are_likely_and_overlapping_atoms_are_not() -> None:
    for molecule in molecules(atoms=(2, 5)):
        prior = GeometryPrior.of(molecule.geometry.symbols)
        x = molecule.geometry.positions[None]
        tree = prior.tree(x[0])
        assert np.abs(prior.bond_residuals(x, tree)[0]).max() < 1.6, molecule.name
        assert (prior.core_residuals(x)[0] ** 2).max() < 0.3, molecule.name
    prior = GeometryPrior.of(("C", "C"))
    radius = 2.0 * element("C").covalent_radius_angstrom / BOHR_ANGSTROM
    pair = np.zeros((2, 2, 3))
    pair[:, 1, 0] = np.array([1.0, 0.5 * CORE]) * radius
    usual, overlapping = prior.log_density(pair)
    assert overlapping < usual - 100.0


def test_derivatives_of_bonds_and_cores_are_those_of_differences() -> None:
    random = np.random.default_rng(4)
    for prior in (
        GeometryPrior.of(("O", "C", "H", "H")),
        GeometryPrior.scale_free(("O", "C", "S")),
    ):
        x = prior.draw(random, 2)
        tree = prior.tree(x[0])
        moved = np.zeros(x[0].size)
        for column in range(len(moved)):
            step = moved.copy()
            step[column] = 1e-5
            there, here = x + step.reshape(-1, 3), x - step.reshape(-1, 3)
            bonds = prior.bond_residuals(there, tree)[0] - prior.bond_residuals(here, tree)[0]
            cores = prior.core_residuals(there)[0] - prior.core_residuals(here)[0]
            change = prior.bond_residuals(x, tree)[1][:, :, column]
            assert change == pytest.approx(bonds / 2e-5, rel=1e-5, abs=1e-7)
            change = prior.core_residuals(x)[1][:, :, column]
            assert change == pytest.approx(cores / 2e-5, rel=1e-5, abs=1e-7)
