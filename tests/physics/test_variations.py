"""Variations of a molecule: closed forms of the Wigner function, contacts, independent draws."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from molexa_core.base.errors import ComputationError, InputFileError, UsageError
from molexa_core.base.matter.elements import element
from molexa_core.base.tables import Geometry
from molexa_core.base.units import BOHR_ANGSTROM, BOLTZMANN_HARTREE_K, WAVENUMBER_HARTREE
from molexa_core.physics.molecules.draws import PUBLISHED, Variations
from molexa_core.physics.molecules.library import molecule, molecules
from molexa_core.physics.molecules.variations import (
    CLASH,
    HARD,
    NEAREST,
    REACH,
    trajectory_variations,
    variations,
)
from molexa_core.physics.molecules.vibrations import SOFT_CM, sample_wigner

DRAWS = 40_000
FIVE_SIGMA = 5 * np.sqrt(2 / DRAWS)
"""Five standard errors of a relative variance."""


def _modes_of(
    name: str, temperature_k: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Frequencies, and coordinates and momenta of the modes of drawn structures."""
    entry = molecule(name)
    modes = entry.modes()
    assert modes is not None
    x, v = sample_wigner(
        entry.geometry.positions, modes, DRAWS, np.random.default_rng(1), temperature_k
    )
    weighted = modes.displacement * entry.masses[:, None]
    q = np.einsum("nac,mac->nm", x - entry.geometry.positions, weighted)
    p = np.einsum("nac,mac->nm", v, weighted)
    return modes.frequency, q, p


@pytest.mark.parametrize("temperature_k", [0.0, 300.0, 1500.0])
def test_wigner_moments_meet_the_closed_form(temperature_k: float) -> None:
    omega, q, p = _modes_of("formaldehyde", temperature_k)
    factor = np.ones_like(omega)
    if temperature_k:
        factor = 1 / np.tanh(omega / (2 * BOLTZMANN_HARTREE_K * temperature_k))
    np.testing.assert_allclose(q.var(axis=0), factor / (2 * omega), rtol=FIVE_SIGMA)
    np.testing.assert_allclose(p.var(axis=0), factor * omega / 2, rtol=FIVE_SIGMA)
    # Coordinates and momenta, and different modes, are not correlated.
    both = np.hstack([q, p])
    correlation = np.corrcoef(both.T) - np.eye(both.shape[1])
    assert np.abs(correlation).max() < 6 / np.sqrt(DRAWS)


def test_mean_energy_is_the_zero_point_energy() -> None:
    omega, q, p = _modes_of("ethanol", 0.0)
    energy = 0.5 * (p**2 + (omega * q) ** 2).sum(axis=1)
    modes = molecule("ethanol").modes()
    assert modes is not None
    error = energy.std() / np.sqrt(DRAWS)
    assert energy.mean() == pytest.approx(modes.zero_point_energy, abs=5 * error)
    assert modes.zero_point_energy == pytest.approx(0.5 * omega.sum(), rel=1e-12)


def test_kinetic_and_potential_energy_are_shared_equally_when_hot() -> None:
    temperature = 4000.0
    omega, q, p = _modes_of("ccl4", temperature)
    thermal = BOLTZMANN_HARTREE_K * temperature
    assert omega.max() < 0.5 * thermal
    # coth(x) = 1/x + x/3 - ...: equipartition with the first quantum correction.
    expected = thermal * (1 + (omega / thermal) ** 2 / 12)
    np.testing.assert_allclose((p**2).mean(axis=0), expected, rtol=FIVE_SIGMA)
    np.testing.assert_allclose((omega**2 * q**2).mean(axis=0), expected, rtol=FIVE_SIGMA)


def test_vibrations_carry_no_momentum_and_obey_the_eckart_conditions() -> None:
    entry = molecule("ethanol")
    mass, rest = entry.masses, entry.geometry.positions
    recipe = Variations(equilibrium=False, displaced=0, zero_point=20, thermal=20)
    for found in variations(entry, recipe, seed=5):
        assert found.velocities is not None
        assert np.abs(mass @ found.velocities).max() < 1e-9
        assert np.abs(mass @ found.geometry.positions / mass.sum()).max() < 1e-12
        turning = (mass[:, None] * np.cross(rest, found.velocities)).sum(axis=0)
        assert np.abs(turning).max() < 1e-4 * np.abs(mass[:, None] * found.velocities).max()


def test_published_protocol_has_ten_draws_for_every_k() -> None:
    found = variations(molecule("methanol"), PUBLISHED, seed=1)
    assert [(v.kind, v.k) for v in found[:2]] == [("equilibrium", 0), ("displaced", 1)]
    assert [v.k for v in found[1:]] == [k for k in range(1, 6) for _ in range(10)]
    assert len({v.label for v in found}) == len(found) == 51
    assert all(v.velocities is None for v in found)


def test_displaced_atoms_are_k_and_keep_their_distance() -> None:
    for name in ("water", "ethanol", "pcl3", "nitrogen"):
        entry = molecule(name)
        rest, mass = entry.geometry.positions, entry.masses
        sums = _radii_sum(entry.geometry.symbols)
        limit = np.maximum(CLASH * sums, NEAREST)
        for found in variations(entry, Variations(equilibrium=False, displaced=40), seed=2):
            x = found.geometry.positions
            assert np.abs(mass @ x / mass.sum()).max() < 1e-12
            moved = _moved(x, rest, found.k)
            assert moved.sum() == found.k
            distance = np.linalg.norm(x[:, None] - x, axis=-1) + 1e3 * np.eye(len(x))
            concerned = moved[:, None] | moved
            assert (distance[concerned] >= limit[concerned]).all()


def test_displacements_are_uniform_in_length_and_direction_where_nothing_is_near() -> None:
    # Two atoms far apart: no draw is refused, so the bare distribution shows.
    far = replace(
        molecule("nitrogen"), geometry=Geometry(("N", "N"), np.array([[0, 0, 0], [0, 0, 50.0]]))
    )
    found = variations(far, Variations(equilibrium=False, displaced=4000), seed=3)
    x = np.array([v.geometry.positions for v in found])
    shift = (x[:, 1] - x[:, 0]) - np.array([0, 0, 50.0])
    length = np.linalg.norm(shift, axis=1)
    assert length.max() <= REACH
    steps = np.abs(np.sort(length) / REACH - (np.arange(4000) + 0.5) / 4000)
    assert steps.max() < 1.95 / np.sqrt(4000)  # Kolmogorov-Smirnov, one in a thousand
    cosine = np.sort((shift / length[:, None])[:, 2])
    assert np.abs((cosine + 1) / 2 - (np.arange(4000) + 0.5) / 4000).max() < 1.95 / np.sqrt(4000)


def test_bonds_break_and_protons_migrate() -> None:
    entry = molecule("ethanol")
    radii = _radii_sum(entry.geometry.symbols)
    oxygen = entry.geometry.symbols.index("O")
    hydrogens = [i for i, s in enumerate(entry.geometry.symbols) if s == "H"]
    at_rest = {j for i, j in entry.bonds if i == oxygen} | {
        i for i, j in entry.bonds if j == oxygen
    }
    broken = migrated = 0
    for found in variations(entry, Variations(equilibrium=False, displaced=100), seed=4):
        x = found.geometry.positions
        near = np.linalg.norm(x[:, None] - x, axis=-1) < 1.35 * radii
        broken += any(not near[i, j] for i, j in entry.bonds)
        migrated += any(near[oxygen, h] for h in hydrogens if h not in at_rest)
    assert broken > 400
    assert migrated > 20


def test_a_draw_does_not_depend_on_what_else_is_drawn() -> None:
    entry = molecule("so2")
    few = variations(entry, Variations(displaced=2, zero_point=1), seed=7)
    many = {
        v.label: v
        for v in variations(entry, Variations(displaced=9, zero_point=30, thermal=3), seed=7)
    }
    for found in few:
        twin = many[found.label]
        np.testing.assert_array_equal(found.geometry.positions, twin.geometry.positions)
        if found.velocities is not None:
            assert twin.velocities is not None
            np.testing.assert_array_equal(found.velocities, twin.velocities)
    other = variations(entry, Variations(displaced=2, zero_point=1), seed=8)
    assert np.abs(other[1].geometry.positions - few[1].geometry.positions).max() > 0.01
    # Same atoms, another molecule: other displacements.
    ozone = variations(molecule("ozone"), Variations(displaced=1), seed=7)
    assert ozone[1].geometry.symbols == ("O", "O", "O")


def test_small_molecules_get_as_many_as_asked_for_and_the_others_stay() -> None:
    entry = molecule("water")
    protocol = Variations(displaced=3, zero_point=1)
    few = variations(entry, protocol, seed=7)
    wanted = Variations(displaced=3, zero_point=1, least={2: 40, 3: 21})
    many = variations(entry, wanted, seed=7)
    assert len(few) == protocol.count(3) == 8
    assert len(many) == wanted.count(3) == 21
    # What comes first is the same in number and place: its trajectories stay the same, too.
    for one, two in zip(few, many[:8], strict=True):
        assert one.label == two.label
        np.testing.assert_array_equal(one.geometry.positions, two.geometry.positions)
    # What is added are the draws that another protocol has under the same label.
    added = many[8:]
    assert [v.k for v in added] == [1, 2] * 6 + [1]
    assert len({v.label for v in many}) == 21
    twins = {v.label: v for v in variations(entry, Variations(displaced=10), seed=7)}
    for found in added:
        twin = twins[found.label].geometry.positions
        np.testing.assert_array_equal(found.geometry.positions, twin)
    # Where the protocol gives enough, and for sizes that are not named, nothing is added.
    assert Variations(displaced=3, least={4: 5}).count(4) == 10
    assert wanted.count(5) == 14
    assert len(variations(molecule("nitrogen"), wanted, seed=7)) == 40


def test_geometries_of_diatomic_molecules_lie_close_along_the_bond() -> None:
    for name in ("hydrogen", "nitrogen", "hcl", "chlorine"):
        found = variations(molecule(name), Variations(displaced=3, least={2: 80}), seed=1)
        lengths = [np.linalg.norm(np.diff(v.geometry.positions, axis=0)) for v in found]
        bond = lengths[0]
        assert (np.abs(np.array(lengths) - bond) < 0.3).mean() > 0.25
        inner = np.sort(lengths)[:-8]
        assert inner[-1] > bond + 1.3
        assert np.diff(inner).max() < 0.35


def test_the_numbers_of_a_seed_stay_the_same() -> None:
    found = variations(molecule("water"), Variations(displaced=1), seed=11)
    moved = found[1].geometry.positions
    # From the first build; a change means that data sets cannot be continued.
    assert np.linalg.norm(moved[0] - moved[1]) == pytest.approx(1.836855, abs=2e-5)


def test_every_molecule_of_the_library_can_be_varied() -> None:
    recipe = Variations(displaced=1, zero_point=2, thermal=2, temperature_k=300.0)
    for entry in molecules():
        limit = HARD * _radii_sum(entry.geometry.symbols)
        found = variations(entry, recipe, seed=6)
        assert len(found) == 1 + (len(entry.geometry) - 1) + 4
        for item in found:
            x = item.geometry.positions
            assert np.isfinite(x).all()
            distance = np.linalg.norm(x[:, None] - x, axis=-1) + 1e3 * np.eye(len(x))
            assert (distance >= limit).all(), (entry.name, item.label)


def test_soft_modes_are_drawn_as_if_they_were_stiffer() -> None:
    modes = molecule("methyl_formate").modes()
    assert modes is not None
    assert modes.wavenumber_cm[0] < SOFT_CM
    stiff = modes.stiffened()
    assert stiff.frequency.min() == pytest.approx(SOFT_CM * WAVENUMBER_HARTREE)
    hard = modes.wavenumber_cm > SOFT_CM
    np.testing.assert_array_equal(stiff.frequency[hard], modes.frequency[hard])


def test_trajectories_are_taken_as_they_are() -> None:
    frames = [
        Geometry(("O", "H", "H"), molecule("water").geometry.positions * scale + 3.0)
        for scale in (1.0, 1.2, 2.0)
    ]
    found = variations(
        molecule("water"), Variations(displaced=0), trajectory=frames, seed=1
    )  # fmt: skip
    assert [v.label for v in found] == [
        "equilibrium", "trajectory-0", "trajectory-1", "trajectory-2",
    ]  # fmt: skip
    for frame, item in zip(frames, found[1:], strict=True):
        assert item.geometry is frame
        assert item.velocities is None


def test_frames_that_do_not_fit_are_named() -> None:
    water = molecule("water").geometry
    other = Geometry(("H", "O", "H"), water.positions)
    with pytest.raises(
        InputFileError, match="structure 2 of the trajectory: the atoms are H, O, H"
    ):
        trajectory_variations([water, other])
    with pytest.raises(InputFileError, match="structure 1 .* not O, C, O"):
        trajectory_variations([water], symbols=("O", "C", "O"))
    with pytest.raises(InputFileError, match=r"atoms 1 and 3 are 0\.\d+ bohr apart"):
        trajectory_variations([water, Geometry(water.symbols, water.positions * 0.2)])
    with pytest.raises(InputFileError, match="not a number"):
        trajectory_variations([Geometry(water.symbols, water.positions * np.nan)])
    with pytest.raises(InputFileError, match="no structure"):
        trajectory_variations([])


def test_impossible_recipes_are_refused() -> None:
    with pytest.raises(UsageError, match="displaced: .* is -1"):
        Variations(displaced=-1)
    for temperature in (-1.0, 1e5, float("nan")):
        with pytest.raises(UsageError, match="temperature_k: "):
            Variations(temperature_k=temperature)
    with pytest.raises(UsageError, match="least is -3 for 2 atoms"):
        Variations(least={2: -3})
    with pytest.raises(UsageError, match="least is 3 for 1 atoms"):
        Variations(least={1: 3})
    with pytest.raises(UsageError, match="the seed is -1"):
        variations(molecule("water"), seed=-1)
    bare = replace(molecule("water"), hessian=None)
    with pytest.raises(UsageError, match="the vibrations of water are not known"):
        variations(bare, Variations(zero_point=1), seed=1)


def test_where_atoms_cannot_get_out_of_contact_it_is_said() -> None:
    grid = np.array([[i, j, k] for i in (0, 1) for j in (0, 1) for k in (0, 1, 2)], dtype=float)
    crowd = replace(molecule("water"), geometry=Geometry(("Cl",) * 12, grid * 0.1))
    with pytest.raises(ComputationError, match="without contacts was found for displaced-[1-4]-0"):
        variations(crowd, Variations(displaced=1), seed=1)


def _moved(x: NDArray[np.float64], rest: NDArray[np.float64], k: int) -> NDArray[np.bool_]:
    """Which atoms moved against the others, whose mutual distances stay."""
    shift = x - rest
    for reference in shift:
        moved = np.linalg.norm(shift - reference, axis=1) > 1e-9
        if moved.sum() == k:
            return np.asarray(moved)
    raise AssertionError("no common shift")


def _radii_sum(symbols: tuple[str, ...]) -> NDArray[np.float64]:
    radius = np.array([element(s).covalent_radius_angstrom for s in symbols]) / BOHR_ANGSTROM
    return radius[:, None] + radius
