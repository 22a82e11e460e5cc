"""How often elements are bonded: the fit, the library, and what it does to the prior."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from molexa_core.base.tables import Geometry
from molexa_core.geometry.measures import pair_distances
from molexa_core.physics.molecules.library import molecule
from molexa_core.pipeline.inversion.bond_weights import FEW, bonds_of, kind, library_bonds
from molexa_core.pipeline.inversion.geometry_prior import GeometryPrior

SO2 = ("S", "O", "O")
_LIBRARY = molecule("sulfur_dioxide").geometry
_ORDER = [_LIBRARY.symbols.index("S"), *(i for i, s in enumerate(_LIBRARY.symbols) if s == "O")]
REST = Geometry(SO2, _LIBRARY.positions[_ORDER])
SIDE = np.array([[0.0, 0.0, 0.0], [3.97, 0.0, 0.0], [3.5, 1.72, 0.0]])
"""Both oxygen atoms bonded to each other, sulfur far away: what momenta of SO2 allow too."""


def test_the_weights_of_one_molecule_are_those_of_the_closed_form() -> None:
    """Of AB2 two bonds are A-B; resistances of a triangle of conductances a, a, b."""
    found = bonds_of([REST], "one").weights
    a, b = found["O", "S"], found["O", "O"]
    to_centre = 1.0 / (a + a * b / (a + b))
    across = 1.0 / (b + a / 2.0)
    assert a == pytest.approx((2.0 + FEW) / (2.0 * to_centre + FEW), rel=1e-6)
    assert b == pytest.approx(FEW / (across + FEW), rel=1e-6)
    # Kirchhoff: expected bonds add up to those of a tree.
    assert 2.0 * a * to_centre + b * across == pytest.approx(2.0, rel=1e-12)


def test_more_molecules_say_more_and_none_is_excluded() -> None:
    one, ten = bonds_of([REST], "one").weights, bonds_of([REST] * 10, "ten").weights
    assert ten["O", "O"] / ten["O", "S"] < 0.3 * one["O", "O"] / one["O", "S"]
    assert ten["O", "O"] > 0.0
    assert bonds_of([], "nothing").logarithms(SO2, GeometryPrior.of(SO2).pairs) == pytest.approx(0)


def test_the_library_knows_what_a_chemist_knows() -> None:
    known = library_bonds().weights
    assert known["O", "S"] > 50.0 * known["O", "O"]
    assert known["C", "H"] > 1000.0 * known["H", "H"]
    assert known["C", "F"] > 10.0 * known["F", "O"]
    assert min(known.values()) > 0.0
    # Peroxides, hydrazines and disulfides are in it.
    assert min(known["O", "O"], known["N", "N"], known["S", "S"]) > 0.01


def test_bonds_that_are_rare_are_less_probable_and_not_impossible() -> None:
    bonds = library_bonds()
    plain, library = GeometryPrior.of(SO2), GeometryPrior.of(SO2, bonds=bonds)
    x = np.stack([REST.positions, SIDE])
    before, after = plain.log_density(x), library.log_density(x)
    gain = (after[0] - after[1]) - (before[0] - before[1])
    ratio = np.log(bonds.weights["O", "S"] / bonds.weights["O", "O"])
    # Of three trees one holds no O-O bond; the power makes 290 times to less than 20.
    assert 1.0 < gain < bonds.power * ratio + np.log(2.0)
    # A molecule whose bond is twice as long as usual loses nothing to one at rest.
    stretched = REST.positions.copy()
    stretched[1] *= 1.9
    here = np.stack([REST.positions, stretched])
    lost = np.diff(library.log_density(here) - plain.log_density(here))[0]
    assert abs(lost) < 0.2


def test_draws_have_the_density_with_weights() -> None:
    random = np.random.default_rng(2)
    plain, library = GeometryPrior.of(SO2), GeometryPrior.of(SO2, bonds=library_bonds())
    x = plain.draw(random, 6000)
    weight = np.exp(library.log_density(x) - plain.log_density(x))
    there = pair_distances(library.draw(random, 6000))
    mean = (weight[:, None] * pair_distances(x)).sum(axis=0) / weight.sum()
    error = np.sqrt(there.var(axis=0) / 6000 * 4.0)
    assert (np.abs(mean - there.mean(axis=0)) < 4.0 * error).all()
    assert (there.mean(axis=0) - pair_distances(plain.draw(random, 6000)).mean(axis=0))[2] > 0.3


def test_power_zero_and_unknown_elements_change_nothing() -> None:
    bonds = library_bonds()
    x = np.stack([REST.positions, SIDE])
    none = GeometryPrior.of(SO2, bonds=replace(bonds, power=0.0))
    assert none.log_density(x) == pytest.approx(GeometryPrior.of(SO2).log_density(x))
    other = Geometry(("Xe", "Xe", "Xe"), SIDE)
    assert kind("Xe", "Xe") not in bonds.weights
    pairs = GeometryPrior.of(other.symbols).pairs
    assert bonds.logarithms(other.symbols, pairs) == pytest.approx(0.0)
