"""Entries of the Monte-Carlo model over its family: drawn in the box, averaged, reproducible."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace
from itertools import islice

import numpy as np
import pytest
import torch

from molexa_core.base.errors import UsageError
from molexa_core.base.matter.elements import ELEMENTS
from molexa_core.physics.mcmd.mixed_entries import combination_means
from molexa_core.physics.mcmd.photon_tables import PhotonTables, pack_photon_tables
from molexa_core.physics.molecules.library import molecule, molecule_names, molecules
from molexa_core.physics.surrogate.entries import RULES, FamilyEntries
from molexa_core.pipeline.datasets.family_draws import (
    ATOMS,
    Box,
    draw_geometries,
    draw_settings,
    family_molecules,
    held_out_molecules,
    molecule_number,
)
from molexa_core.pipeline.datasets.family_entries import (
    FamilyRecipe,
    exact_recipe,
    family_block,
    family_blocks,
)

LIGHT = ("H", "C", "N", "O")
RECIPE = FamilyRecipe(
    seed=4,
    box=Box(duration_fs=(1.0, 6.0), fluence_um2=(1e12, 1e13)),
    trajectories={2: 128, 3: 128},
    explosions=1024,
    least_count=5,
    most=3,
    random_share=0.0,
    elements=LIGHT,
    atoms={2: 1.0, 3: 1.0},
)


@pytest.fixture(scope="module")
def tables() -> PhotonTables:
    return pack_photon_tables([600.0, 2000.0], LIGHT, workers=1)


@pytest.fixture(scope="module")
def blocks(tables: PhotonTables) -> list[FamilyEntries]:
    return list(islice(family_blocks(RECIPE, device="cpu", tables=tables), 3))


def test_a_block_depends_on_recipe_and_number_alone(
    blocks: list[FamilyEntries], tables: PhotonTables
) -> None:
    again = family_block(RECIPE, 2, device="cpu", tables=tables)
    for item in fields(FamilyEntries):
        torch.testing.assert_close(
            getattr(again, item.name), getattr(blocks[2], item.name), rtol=0, atol=0, equal_nan=True
        )
    other = family_block(replace(RECIPE, seed=5), 2, device="cpu", tables=tables)
    assert len(other) != len(again) or not torch.equal(other.settings, again.settings)


def test_entries_are_charge_combinations_of_their_geometries(blocks: list[FamilyEntries]) -> None:
    assert sum(len(block) for block in blocks) > 20
    for block in blocks:
        assert block.width == ATOMS[1]
        mask = block.numbers > 0
        assert ((block.charges > 0) == mask).all()
        assert (block.charges <= block.numbers).all()
        assert (block.count >= RECIPE.least_count).all()
        assert (block.trajectories <= 128).all()
        _, per_geometry = torch.unique(block.geometry, return_counts=True)
        assert per_geometry.max() <= RECIPE.most
        torch.testing.assert_close(
            block.errors, block.spread / block.count.sqrt().view(-1, 1, 1), rtol=1e-6, atol=1e-6
        )
        # Electrons leave without recoil: ions alone conserve momentum.
        size = block.momenta.abs().amax((1, 2), keepdim=True)
        assert (block.momenta.sum(1, keepdim=True).abs() < 2e-3 * size).all()
        assert block.positions.sum(1).abs().max() < 1e-4
        for row in range(len(block)):
            name = molecule_names()[int(block.molecule[row])]
            numbers = [ELEMENTS[symbol].number for symbol in molecule(name).geometry.symbols]
            assert block.numbers[row, : len(numbers)].tolist() == numbers
    everything = torch.cat([block.geometry for block in blocks]).unique()
    assert len(everything) == sum(len(block.geometry.unique()) for block in blocks)


def test_held_out_molecules_and_their_isomers_are_in_no_training() -> None:
    held = held_out_molecules()
    assert 60 <= len(held) <= 90
    formulas = {molecule(name).formula for name in held}
    trained = [name for n in range(ATOMS[0], ATOMS[1] + 1) for name in family_molecules(n, "train")]
    assert not {molecule(name).formula for name in trained} & formulas
    assert {found.name for found in molecules(splits=["held-out"])} <= held
    for n in range(ATOMS[0], ATOMS[1] + 1):
        assert len(family_molecules(n, "held-out")) >= 3
    assert molecule_names()[molecule_number("water")] == "water"


def test_geometries_are_free_of_contacts_and_of_every_kind() -> None:
    random = np.random.default_rng(1)
    drawn = draw_geometries(random, 5, 400, "train")
    x = drawn.positions
    distance = np.linalg.norm(x[:, :, None] - x[:, None], axis=-1) + 10.0 * np.eye(5)
    assert distance.min() > 0.9
    np.testing.assert_allclose(x.mean(axis=1), 0.0, atol=1e-6)
    clusters = (drawn.molecule == -1).mean()
    assert 0.13 < clusters < 0.27
    known = drawn.molecule >= 0
    apart = np.where(distance > 9.9, 0, distance).max((1, 2))[known]
    assert (apart > 8.0).mean() > 0.02  # some fall apart
    # Some lie close to the equilibrium: a tenth of a bohr in all distances.
    names = molecule_names()
    shifts = []
    for row in np.flatnonzero(known):
        rest = molecule(names[drawn.molecule[row]]).geometry.positions
        there = np.linalg.norm(rest[:, None] - rest, axis=-1) + 10.0 * np.eye(5)
        shifts.append(np.abs(distance[row] - there).max())
    assert 0.03 < (np.array(shifts) < 0.15).mean() < 0.4
    only = draw_geometries(random, 2, 50, "held-out", random_share=1.0)
    assert (only.molecule == -1).all()
    with pytest.raises(UsageError, match=r"no molecule of 9 atoms"):
        draw_geometries(random, 9, 5, "train", elements=("H",))


def test_settings_fill_the_box(tables: PhotonTables) -> None:
    numbers = np.tile([8, 1, 1], (3000, 1))
    found = draw_settings(np.random.default_rng(1), numbers, tables, Box())
    photon, fluence, duration, rule, transfer, recapture, shake, auger, volume = found.columns.T
    assert set(np.exp(photon).round(3)) == {600.0, 2000.0}
    for values, (low, high) in (
        (fluence, (np.log(10**9.5), np.log(10**13.5))),
        (duration, (0.0, np.log(60.0))),
        (transfer[np.isfinite(transfer)], (np.log(0.2), np.log(5.0))),
    ):
        assert low <= values.min() and values.max() <= high  # noqa: PT018
        share = (values - low) / (high - low)
        assert share.mean() == pytest.approx(0.5, abs=0.03)
        assert share.std() == pytest.approx(12**-0.5, abs=0.02)
    assert np.isneginf(transfer).mean() == pytest.approx(0.1, abs=0.03)
    assert [(rule == n).mean() for n in range(3)] == pytest.approx([1 / 3] * 3, abs=0.04)
    for values, highest in ((shake, 0.2), (auger, 0.15)):
        assert (values == 0.0).mean() == pytest.approx(0.3, abs=0.04)
        assert 0.9 * highest < values.max() <= highest
    for row in range(0, 3000, 100):
        pulse, options = found.pulses[row], found.options[row]
        assert pulse.fluence_um2 == pytest.approx(np.exp(fluence[row]))
        assert RULES[int(rule[row])] == options.transfer
        assert (options.focus == "volume") == bool(volume[row])
        assert options.recapture == bool(recapture[row])
        assert options.transfer_time_fs == pytest.approx(np.exp(transfer[row]))


def test_pulses_too_weak_to_charge_every_atom_are_left_out(tables: PhotonTables) -> None:
    """At least a photon is needed; the chance of none follows from cross section and fluence."""
    numbers = np.tile([8, 1, 1], (2000, 1))
    found = draw_settings(np.random.default_rng(1), numbers, tables, Box(), least_share=1e-2)
    seen = tables.cross_section()[:, numbers[0]].sum(1)
    place = np.searchsorted(tables.photon_ev, np.exp(found.columns[:, 0]) - 1.0)
    photons = seen[place] * np.array([pulse.fluence for pulse in found.pulses])
    assert 1.0 - np.exp(-photons.min()) >= 1e-2
    assert photons.min() < 0.03  # nothing else is left out


def test_means_and_their_errors_are_those_of_the_trajectories() -> None:
    generator = torch.Generator().manual_seed(3)
    geometries, each = 6, 4000
    shape = (geometries * each, 2)
    charges = torch.randint(0, 3, shape, generator=generator, dtype=torch.int8)
    centre = 100.0 * charges[..., None].float() + torch.tensor([1.0, -2.0, 300.0])
    momenta = centre + 5.0 * torch.randn(*shape, 3, generator=generator)
    lost = torch.rand(shape[0], generator=generator) < 0.1
    momenta[lost] = torch.nan
    momenta[lost.nonzero()[::2, 0]] = 1e7
    found = combination_means(
        charges, momenta, lost, geometries=geometries, least=2, most=99, rarity=0.5, seed=1, first=7
    )
    assert found.geometry.tolist() == sorted([7, 8, 9, 10, 11, 12] * 4)
    assert found.charges.min() >= 1
    place = torch.arange(geometries).repeat_interleave(each) + 7
    for row in range(len(found.count)):
        here = (charges == found.charges[row]).all(1) & (place == found.geometry[row]) & ~lost
        some = momenta[here].double()
        assert int(found.count[row]) == len(some)
        assert int(found.trajectories[row]) == int((~lost & (place == found.geometry[row])).sum())
        torch.testing.assert_close(found.mean[row].double(), some.mean(0), rtol=0, atol=1e-3)
        torch.testing.assert_close(found.spread[row].double(), some.std(0), rtol=1e-3, atol=0)
    true = 100.0 * found.charges[..., None].float() + torch.tensor([1.0, -2.0, 300.0])
    pulls = (found.mean - true) / found.error
    assert pulls.square().mean().item() == pytest.approx(1.0, abs=0.35)


@pytest.mark.parametrize(("rarity", "share"), [(1.0, 0.80), (0.0, 0.20)])
def test_rare_combinations_are_drawn_as_their_weight_says(rarity: float, share: float) -> None:
    """One combination holds 80 % of the explosions, four others 5 % each; one of five is drawn."""
    geometries, each = 2000, 200
    one = torch.ones(each, 1, dtype=torch.int8)
    one[160:] = torch.arange(2, 6, dtype=torch.int8).repeat_interleave(10)[:, None]
    charges = one.repeat(geometries, 1)
    found = combination_means(
        charges,
        torch.zeros(len(charges), 1, 3),
        torch.zeros(len(charges), dtype=torch.bool),
        geometries=geometries,
        least=10,
        most=1,
        rarity=rarity,
        seed=2,
    )
    assert found.geometry.tolist() == list(range(geometries))
    expected = 4 * (share * (1 - share) / geometries) ** 0.5
    assert (found.charges == 1).float().mean().item() == pytest.approx(share, abs=expected)
    few = combination_means(
        charges,
        torch.zeros(len(charges), 1, 3),
        torch.zeros(len(charges), dtype=torch.bool),
        geometries=geometries,
        least=11,
        most=3,
        rarity=rarity,
        seed=2,
    )
    assert (few.charges == 1).all()


def test_a_block_without_entries_is_empty(tables: PhotonTables) -> None:
    weak = replace(RECIPE, box=Box(fluence_um2=(1e6, 1e7)), trajectories={2: 128}, atoms={2: 1.0})
    found = family_block(weak, 0, device="cpu", tables=tables)
    assert len(found) == 0
    assert found.momenta.shape == (0, ATOMS[1], 3)


def test_recipes_that_make_no_entry_are_refused() -> None:
    with pytest.raises(UsageError, match=r"no blocks of \[10\] atoms"):
        FamilyRecipe(atoms={10: 1.0})
    with pytest.raises(UsageError, match=r"least count 1"):
        FamilyRecipe(least_count=1)
    exact = exact_recipe()
    assert exact.split == "held-out"
    assert all(count % 128 == 0 for count in exact.trajectories.values())


@pytest.mark.gpu
def test_blocks_made_on_a_gpu_are_those_of_the_processor(tables: PhotonTables) -> None:
    """The same draws; trajectories differ by rounding in single precision."""

    def both() -> Iterator[tuple[FamilyEntries, FamilyEntries]]:
        recipe = replace(RECIPE, explosions=8192, trajectories={2: 1024, 3: 1024}, most=99)
        for number in range(3):
            yield tuple(  # type: ignore[misc]
                family_block(recipe, number, device=device, tables=tables).to("cpu")
                for device in ("cpu", "cuda")
            )

    for here, there in both():
        keys = [
            {
                (int(block.geometry[row]), tuple(block.charges[row].tolist())): row
                for row in range(len(block))
            }
            for block in (here, there)
        ]
        common = [key for key in keys[0] if key in keys[1]]
        assert len(common) > 0.8 * len(keys[0])
        rows = [[place[key] for key in common] for place in keys]
        one, two = here.select(torch.tensor(rows[0])), there.select(torch.tensor(rows[1]))
        torch.testing.assert_close(one.settings, two.settings, rtol=0, atol=0)
        torch.testing.assert_close(one.positions, two.positions, rtol=0, atol=0)
        # Nearly all trajectories are the same ones (one in thirty goes another way): means agree
        # better than their errors say.
        off = ((one.momenta - two.momenta) / (one.errors + 1e-2))[one.numbers > 0]
        assert off.abs().median() < 0.3
        assert off.square().mean().sqrt() < 1.0
        assert (one.count - two.count).abs().float().mean() < 0.15 * one.count.float().mean()
