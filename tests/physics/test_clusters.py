"""The random molecules of the training: bounds, kinds, seeds."""

from __future__ import annotations

import pytest
import torch

from molexa_core.base.matter.elements import BY_NUMBER
from molexa_core.base.units import BOHR_ANGSTROM
from molexa_core.physics.molecules.clusters import (
    BOX,
    NEAREST,
    Clusters,
    ClusterSource,
    Mixture,
)

KINDS = {
    "box": Mixture(box=1.0, chemical=0.0, symmetric=0.0),
    "chemical": Mixture(box=0.0, chemical=1.0, symmetric=0.0, displaced=0.0),
    "symmetric": Mixture(box=0.0, chemical=0.0, symmetric=1.0),
    "mixed": Mixture(),
}


def _draw(mixture: Mixture, count: int = 512, seed: int = 5) -> Clusters:
    atoms = 2 + torch.arange(count) % 8
    return ClusterSource(mixture, "cpu", seed).draw(count, atoms, 9)


def _distances(clusters: Clusters) -> torch.Tensor:
    x = clusters.positions
    distance = (x[:, :, None] - x[:, None]).norm(dim=3)
    hide = torch.eye(9, dtype=torch.bool) | ~(clusters.mask[:, :, None] & clusters.mask[:, None])
    return distance.masked_fill(hide, 1e9)


@pytest.mark.parametrize("kind", KINDS)
def test_atoms_keep_apart_and_padding_is_empty(kind: str) -> None:
    clusters = _draw(KINDS[kind])
    assert _distances(clusters).amin() > NEAREST * 0.999
    padding = ~clusters.mask
    for values in (clusters.numbers, clusters.charges, clusters.positions):
        assert values[padding].abs().max() == 0
    assert (clusters.masses[padding] == 1).all()
    assert (clusters.mask.sum(1) == 2 + torch.arange(512) % 8).all()


@pytest.mark.parametrize("kind", KINDS)
def test_charges_and_masses_belong_to_the_elements(kind: str) -> None:
    clusters = _draw(KINDS[kind])
    mask = clusters.mask
    assert (clusters.charges[mask] >= 1).all()
    assert (clusters.charges <= clusters.numbers).all()
    assert clusters.charges.max() == 8
    number, mass = int(clusters.numbers[0, 0]), float(clusters.masses[0, 0])
    assert mass == pytest.approx(BY_NUMBER[number].isotope_mass, rel=1e-6)


def test_boxes_fill_the_cube_evenly() -> None:
    clusters = _draw(KINDS["box"], count=4096)
    x = clusters.positions[clusters.mask]
    assert x.abs().max() <= BOX
    # A uniform distribution of half-width L has variance L^2 / 3; contacts push it up slightly.
    assert x.std().item() == pytest.approx(BOX / 3**0.5, rel=0.02)


def test_undisplaced_chemical_clusters_are_bonded() -> None:
    """Every atom has a neighbour within 1.3 sums of the radii (1.4 after scaling up crowded ones),

    and the cluster is connected through such contacts.
    """
    clusters = _draw(KINDS["chemical"])
    radius = torch.zeros(60)
    for number, element in BY_NUMBER.items():
        radius[number] = element.covalent_radius_angstrom / BOHR_ANGSTROM
    radii = radius[clusters.numbers]
    bonded = _distances(clusters) < 1.4 * (radii[:, :, None] + radii[:, None])
    reach = bonded.float() + torch.eye(9)
    for _ in range(4):
        reach = (reach @ reach > 0).float()
    pairs = clusters.mask[:, :, None] & clusters.mask[:, None]
    connected = ((reach > 0) | ~pairs).all(2).all(1)
    assert connected.float().mean() > 0.97


def test_displacement_breaks_bonds_of_some() -> None:
    still = _distances(_draw(KINDS["chemical"])).amin(2)
    moved = _distances(_draw(Mixture(box=0, chemical=1, symmetric=0, displaced=1.0))).amin(2)
    mask = still < 1e8
    assert moved[mask].mean() > still[mask].mean() + 0.1


def test_symmetric_molecules_balance_their_ligands() -> None:
    """Some are exact: equal ligands whose directions from the centre add up to zero."""
    clusters = _draw(KINDS["symmetric"], count=2048)
    five = clusters.mask.sum(1) == 5
    x = clusters.positions[five][:, :5]
    balance = (5 * x - x.sum(1, keepdim=True)).norm(dim=2).amin(1) / x.norm(dim=2).amax(1)
    exact = (balance < 1e-4).float().mean()
    assert 0.1 < exact < 0.6


def test_the_same_seed_gives_the_same_molecules() -> None:
    one, two, other = _draw(Mixture()), _draw(Mixture()), _draw(Mixture(), seed=6)
    assert one.positions.equal(two.positions)
    assert one.charges.equal(two.charges)
    assert not one.positions.equal(other.positions)
