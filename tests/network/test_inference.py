"""Reconstruction with the shipped weights: symmetries of the answer, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from molexa_core.base.errors import UnknownIonError, UsageError
from molexa_core.base.matter.ions import parse_ions
from molexa_core.network.inference.answers import check_ions, reconstruct_structures
from molexa_core.network.network import Network
from molexa_core.network.weights import default_weights, load_network
from molexa_core.physics.coulomb.batches import explode_many
from molexa_core.physics.coulomb.build_up import ErrorFunctionRise
from molexa_core.physics.molecules.library import molecule

CASES = {
    "carbon_monoxide": "a diatomic",
    "co2": "all momenta on one line, the carbon at rest",
    "water": "two equal protons",
    "methane": "the heaviest ion at rest, four equal protons",
    "cf4": "four equal heaviest ions",
    "methanol": "nothing special",
}


@pytest.fixture(scope="module")
def shipped() -> Network:
    return load_network(default_weights())[0]


def _exploded(name: str) -> tuple[str, np.ndarray, np.ndarray]:
    geometry = molecule(name).geometry
    ions = ",".join(f"{symbol}+" for symbol in geometry.symbols)
    masses = np.array([ion.element.isotope_mass for ion in parse_ions(ions)])
    momenta = explode_many(
        geometry.positions[None], np.ones(len(masses)), masses, build_up=ErrorFunctionRise(45.0)
    )[0]
    return ions, momenta, geometry.positions


@pytest.mark.parametrize("name", CASES)
def test_turned_and_exchanged_input_gives_the_same_structure(shipped: Network, name: str) -> None:
    ions, momenta, _ = _exploded(name)
    parsed = parse_ions(ions)
    first = reconstruct_structures(shipped, parsed, momenta, samples=2, seed=3).samples
    rng = np.random.default_rng(1)
    order = rng.permutation(len(parsed))
    turn = Rotation.random(random_state=2).as_matrix()
    moved = reconstruct_structures(
        shipped,
        [parsed[index] for index in order],
        momenta[order] @ turn.T,
        samples=2,
        seed=3,
    ).samples
    np.testing.assert_allclose(moved, first[:, order] @ turn.T, atol=1e-4)


def test_momenta_on_a_line_give_a_structure_on_that_line(shipped: Network) -> None:
    ions, momenta, _ = _exploded("co2")
    found = reconstruct_structures(shipped, parse_ions(ions), momenta, samples=1, seed=0)
    assert found.collinear
    axis = momenta[0] / np.linalg.norm(momenta[0])
    off = found.samples[0] - np.outer(found.samples[0] @ axis, axis)
    assert np.abs(off).max() < 1e-6


def test_a_sample_does_not_depend_on_how_many_are_drawn(shipped: Network) -> None:
    ions, momenta, _ = _exploded("water")
    parsed = parse_ions(ions)
    few = reconstruct_structures(shipped, parsed, momenta, samples=2, seed=9).samples
    many = reconstruct_structures(shipped, parsed, momenta, samples=7, seed=9).samples
    np.testing.assert_allclose(many[:2], few, atol=1e-5)


def test_samples_and_seeds_differ(shipped: Network) -> None:
    ions, momenta, _ = _exploded("methanol")
    parsed = parse_ions(ions)
    one = reconstruct_structures(shipped, parsed, momenta, samples=2, seed=0).samples
    two = reconstruct_structures(shipped, parsed, momenta, samples=1, seed=1).samples
    assert np.abs(one[0] - one[1]).max() > 1e-6
    assert np.abs(one[0] - two[0]).max() > 1e-6


@pytest.mark.parametrize(
    ("ions", "error", "message"),
    [
        ("O+", UsageError, "1 ion: a structure needs at least two"),
        ("Xe2+,H+", UnknownIonError, "the network does not know Xe"),
        ("H2O+,H+", UnknownIonError, "H2O\\+ is a molecule"),
        ("H+," * 10, UsageError, "10 ions, but the network was made for up to 9"),
    ],
)
def test_ions_that_the_network_cannot_take(
    shipped: Network, ions: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        check_ions(shipped, parse_ions(ions))


def test_unknown_elements_are_answered_with_the_known_ones(shipped: Network) -> None:
    with pytest.raises(UnknownIonError) as caught:
        check_ions(shipped, parse_ions("Br+,H+"))
    assert "It knows H, C, N, O, F, Si, P, S, Cl" in str(caught.value)


def test_momenta_that_are_all_zero_are_refused(shipped: Network) -> None:
    with pytest.raises(UsageError, match="all momenta are zero"):
        reconstruct_structures(shipped, parse_ions("O+,H+"), np.zeros((2, 3)), samples=1, seed=0)
