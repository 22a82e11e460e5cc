"""The stream of a training that is told the explosion: right physics, new pairs, reproducible."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from molexa_core.base.errors import UsageError
from molexa_core.network.conditions import DATA_KINDS, KINDS, QUANTITIES
from molexa_core.network.training.team import Team
from molexa_core.physics.mcmd.photon_tables import PhotonTables, pack_photon_tables
from molexa_core.physics.molecules.library import molecule, molecule_names, molecules
from molexa_core.pipeline.datasets.family_draws import draw_geometries, draw_settings
from molexa_core.pipeline.datasets.measurement_split import (
    PULSES,
    measured_molecules,
    measurement_box,
    molecules_of,
)
from molexa_core.pipeline.explosions.told_inputs import AT
from molexa_core.pipeline.training.classical_stream import ClassicalRecipe, classical_block
from molexa_core.pipeline.training.event_frames import axes, turned, usual_ions
from molexa_core.pipeline.training.stream_entries import (
    StreamEntries,
    batch_of_entries,
    everything_told,
    mirrored,
    partly_told,
    with_measurement,
)
from molexa_core.pipeline.training.told_stream import StreamRecipe, ToldSource
from molexa_core.pipeline.training.xray_pairs import (
    PairRecipe,
    explode_pairs,
    prepare_pairs,
    vibrating,
)

LIGHT = ("H", "C", "N", "O")
ENERGIES = (600.0, 2000.0)
PAIRS = PairRecipe(
    seed=3,
    box=replace(measurement_box(), duration_fs=(1.0, 6.0), fluence_um2=(1e12, 1e13)),
    trajectories=dict.fromkeys(range(2, 11), 256),
    explosions=1024,
    least_count=4,
    atoms={2: 1.0, 3: 1.0},
    random_share=0.0,
    elements=LIGHT,
)
CLASSICAL = ClassicalRecipe(seed=3, entries=64, chunk=4, atoms={2: 1.0, 3: 1.0, 4: 1.0})
RECIPE = StreamRecipe(
    pairs=PAIRS,
    classical=CLASSICAL,
    pair_blocks=2,
    pair_every=3,
    classical_blocks=2,
    classical_every=2,
    photon_ev=ENERGIES,
)


@pytest.fixture(scope="module")
def tables() -> PhotonTables:
    return pack_photon_tables(ENERGIES, LIGHT, workers=1)


@pytest.fixture(scope="module")
def blocks(tables: PhotonTables) -> dict[bool, StreamEntries]:
    """Entries of a block whose molecules stay, and of one whose molecules vibrate."""
    found: dict[bool, StreamEntries] = {}
    for number in range(40):
        block = prepare_pairs(PAIRS, number, tables)
        if block.drawn.numbers.shape[1] == 3 and block.vibrates not in found:
            found[block.vibrates] = explode_pairs(PAIRS, block, tables, device="cpu")
    return found


@pytest.fixture(scope="module")
def classical() -> StreamEntries:
    return classical_block(replace(CLASSICAL, entries=600), 0)


@pytest.fixture
def source() -> Iterator[ToldSource]:
    made = ToldSource(RECIPE, 32, "cpu", 5)
    yield made
    made.close()


def test_held_out_molecules_are_enough_and_of_all_sizes() -> None:
    held = measured_molecules()
    assert len(held) >= 150
    formulas = {molecule(name).formula for name in held}
    for atoms in range(2, 11):
        taught = molecules_of(atoms, held_out=False)
        assert len(molecules_of(atoms, held_out=True)) >= 5
        assert not {molecule(name).formula for name in taught} & formulas
    assert {one.name for one in molecules(splits=["held-out"])} <= held
    test_alone = measured_molecules(share=0.0)
    assert test_alone < held


def test_neighbourhoods_of_measured_pulses_are_left_out(tables: PhotonTables) -> None:
    box = replace(measurement_box(), left_out_ev=(600.0,))
    random = np.random.default_rng(1)
    drawn = draw_geometries(random, 2, 3000, "train", random_share=0.0, elements=LIGHT)
    settings = draw_settings(random, drawn.numbers, tables, box).columns
    photon, fluence, duration = np.exp(settings[:, :3]).T
    assert (photon > 1900.0).all()
    for one in PULSES[1:5]:
        near = np.abs(np.log(duration / one.pulse.duration_fs)) < np.log(1.35)
        near &= np.abs(np.log(fluence / one.fluence_um2)) < np.log(1.9)
        near &= np.abs(np.log(photon / one.pulse.photon_ev)) < np.log(1.25)
        assert not near.any()
    # Left out is a neighbourhood, not a range of durations.
    assert (np.abs(np.log(duration / 40.0)) < np.log(1.35)).any()


def test_entries_belong_to_their_geometries(blocks: dict[bool, StreamEntries]) -> None:
    for vibrates, entries in blocks.items():
        means = entries.data != DATA_KINDS.index("event")
        assert (entries.data[means] == DATA_KINDS.index("mean" if vibrates else "still")).all()
        mask = entries.numbers > 0
        assert ((entries.charges > 0) == mask).all()
        size = entries.momenta.abs().amax((1, 2), keepdim=True)
        assert (entries.momenta.sum(1, keepdim=True).abs() < 3e-3 * size).all()
        assert entries.positions.sum(1).abs().max() < 1e-3
        # Ions fly away from where they were.
        outwards = (entries.positions * entries.momenta).sum((1, 2))
        assert (outwards > 0).float().mean() > 0.95
        for row in range(len(entries)):
            name = molecule_names()[int(entries.molecule[row])]
            assert name in molecules_of(3, held_out=False, elements=LIGHT)
        assert (entries.count[means] >= PAIRS.least_count).all()
        assert (entries.errors[means] > 0)[mask[means]].all()
        assert not entries.errors[~means].any()


def test_means_of_vibrating_molecules_are_in_frames_of_their_events(
    blocks: dict[bool, StreamEntries],
) -> None:
    entries = blocks[True]
    means = entries.taken(entries.data == DATA_KINDS.index("mean"))
    p = means.momenta[:, :3]
    # One ion is on x exactly, and its partner in the x-y plane.
    off = p[..., 1:].abs().sum(2).amin(1)
    assert (off < 1e-3 * p.abs().amax((1, 2))).all()
    above = p[..., 2].abs().sort(1).values[:, 1]
    assert (above < 1e-3 * p.abs().amax((1, 2))).all()


def test_single_events_have_geometries_of_their_own(blocks: dict[bool, StreamEntries]) -> None:
    entries = blocks[True]
    events = entries.taken(entries.data == DATA_KINDS.index("event"))
    means = entries.taken(entries.data == DATA_KINDS.index("mean"))
    assert len(events) > 3

    def bonds(one: StreamEntries) -> torch.Tensor:
        x = one.positions[:, :3]
        return torch.stack([(x[:, i] - x[:, j]).norm(dim=1) for i, j in ((0, 1), (0, 2), (1, 2))])

    shared = [
        (events.taken(slice(row, row + 1)), means.taken(means.pair == events.pair[row]))
        for row in range(len(events))
    ]
    apart = torch.stack([(bonds(one) - bonds(of)[:, :1]).abs().max() for one, of in shared])
    assert (apart > 1e-3).float().mean() > 0.8  # vibrations
    assert apart.median() < 0.6


def test_blocks_depend_on_recipe_and_number_alone(tables: PhotonTables) -> None:
    one, two = (prepare_pairs(PAIRS, 4, tables) for _ in range(2))
    np.testing.assert_array_equal(one.job.positions, two.job.positions)
    other = prepare_pairs(PAIRS, 5, tables)
    assert other.job.positions.shape != one.job.positions.shape or not np.array_equal(
        other.job.positions, one.job.positions
    )
    first, again = classical_block(CLASSICAL, 2), classical_block(CLASSICAL, 2)
    for item in fields(StreamEntries):
        assert torch.equal(getattr(first, item.name), getattr(again, item.name))


def test_blocks_of_processes_that_wait_for_each_other_are_alike(tables: PhotonTables) -> None:
    found = [prepare_pairs(PAIRS, number, tables, alike=4) for number in range(8)]
    for turn in (found[:4], found[4:]):
        assert len({block.drawn.numbers.shape for block in turn}) == 1
        assert len({block.vibrates for block in turn}) == 1
        assert len({block.drawn.positions.tobytes() for block in turn}) == 4


def test_classical_explosions_are_of_all_kinds(classical: StreamEntries) -> None:
    assert {KINDS[int(kind)] for kind in classical.kind.unique()} == set(KINDS) - {"xray"}
    assert set(classical.data.tolist()) == {0, 1, 2}
    laser = classical.kind == KINDS.index("laser")
    assert classical.applies[laser][:, AT["laser_duration_fs"]].all()
    assert not classical.applies[~laser][:, AT["laser_duration_fs"]].any()


def test_instant_diatomics_have_their_coulomb_energy() -> None:
    only = replace(CLASSICAL, kinds={"instant": 1.0}, atoms={2: 1.0}, entries=200, random_share=0.0)
    found = classical_block(only, 1)
    found = found.taken(found.data == DATA_KINDS.index("still"))
    assert len(found) > 20
    x, q = found.positions, found.charges.float()
    potential = q[:, 0] * q[:, 1] / (x[:, 0] - x[:, 1]).norm(dim=1)

    masses = batch_of_entries(found, everything_told(found)).masses - q
    kinetic = (found.momenta.square().sum(2) / (2.0 * masses)).sum(1)
    torch.testing.assert_close(kinetic, potential, rtol=2e-3, atol=1e-4)


def test_what_is_told_is_drawn_in_the_stated_shares(classical: StreamEntries) -> None:
    generator = torch.Generator().manual_seed(1)
    many = classical.taken(torch.randint(len(classical), (20_000,), generator=generator))
    told = partly_told(many, generator)
    applies = many.applies.any(1)
    nothing = (~told.known.any(1))[applies].float().mean()
    assert 0.2 < nothing < 0.45
    assert 0.05 < (told.kind < 0).float().mean() < 0.3
    rough = told.widths > 0
    assert 0.02 < rough[told.known].float().mean() < 0.2
    assert not rough[~told.known].any()
    # Errors are those that are declared.
    step = torch.tensor([one.step for one in QUANTITIES])
    off = ((told.values - many.values) / step)[rough] / told.widths[rough]
    assert off.std() == pytest.approx(1.0, abs=0.1)
    exact = told.known & ~rough
    torch.testing.assert_close(told.values[exact], many.values[exact])


def test_measured_events_have_errors_that_are_told(blocks: dict[bool, StreamEntries]) -> None:
    entries = blocks[False]
    event = entries.data == DATA_KINDS.index("event")
    many = entries.taken(torch.arange(len(entries)).repeat(60))
    event = many.data == DATA_KINDS.index("event")
    found = with_measurement(many, torch.Generator().manual_seed(2))
    torch.testing.assert_close(found.momenta[~event], many.momenta[~event])
    off = (found.momenta - many.momenta)[event][:, :3] / found.errors[event][:, :3, None]
    assert off.std() == pytest.approx((2.0 / 3.0) ** 0.5, abs=0.05)  # without their sum
    assert found.momenta.sum(1).abs().max() < 3e-3 * many.momenta.abs().max()


def test_mirror_images_are_as_frequent(blocks: dict[bool, StreamEntries]) -> None:
    entries = blocks[False].taken(torch.zeros(2000, dtype=torch.long))
    found = mirrored(entries, torch.Generator().manual_seed(3))
    turned_over = (found.positions[:, :, 2] * entries.positions[:, :, 2]).sum(1) < 0
    assert 0.45 < turned_over.float().mean() < 0.55
    torch.testing.assert_close(
        (found.positions * found.momenta).sum((1, 2)),
        (entries.positions * entries.momenta).sum((1, 2)),
    )


def test_a_step_does_not_depend_on_the_steps_before(source: ToldSource) -> None:
    other = ToldSource(RECIPE, 32, "cpu", 5)
    for step in (0, 1, 2, 5):
        batch = source(step)
    again = other(5)
    torch.testing.assert_close(batch.momenta, again.momenta, rtol=0, atol=0)
    assert batch.told is not None
    assert again.told is not None
    torch.testing.assert_close(batch.told.values, again.told.values, rtol=0, atol=0)
    assert not torch.equal(source(0).momenta, again.momenta)


def test_pairs_are_replaced_and_visited_as_stated(source: ToldSource) -> None:
    early = set(source.entries(0).pair.tolist()) - {-1}
    late = set(source.entries(6).pair.tolist()) - {-1}
    assert early
    assert late
    assert not early & late
    recipe = StreamRecipe()
    assert 10 < recipe.visits(2048) < 100
    assert recipe.rows(2048) == (1638, 410)


def test_processes_of_a_team_have_pairs_of_their_own() -> None:
    found = [ToldSource(RECIPE, 16, "cpu", 5, team=Team(rank, 2)).entries(0) for rank in range(2)]
    one, two = (set(part.pair.tolist()) - {-1} for part in found)
    assert one
    assert not one & two


def test_a_stream_of_nothing_is_refused() -> None:
    with pytest.raises(UsageError, match="nothing"):
        StreamRecipe(pairs=None, classical=None).rows(4)


def test_frames_of_events_are_those_of_their_ions() -> None:
    generator = torch.Generator().manual_seed(1)
    p = torch.randn(50, 4, 3, generator=generator)
    numbers = torch.tensor([8, 6, 1, 1]).expand(50, 4)
    reference, second = usual_ions(numbers, p)
    assert (reference != second).all()
    frame = axes(p, reference, second)
    torch.testing.assert_close(
        frame @ frame.transpose(1, 2), torch.eye(3).expand(50, 3, 3), atol=1e-5, rtol=0
    )
    found = turned(p, frame)
    rows = torch.arange(50)
    assert found[rows, reference, 1:].abs().max() < 1e-5
    assert found[rows, second, 2].abs().max() < 1e-5
    assert (found[rows, second, 1] > 0).all()
    pair = torch.randn(5, 2, 3, generator=generator)
    along = turned(pair, axes(pair, torch.zeros(5).long(), torch.ones(5).long()))
    assert not along[..., 1:].any()


def test_vibrations_have_the_width_of_the_ground_state() -> None:
    random = np.random.default_rng(1)
    drawn = draw_geometries(random, 2, 1, "train", random_share=0.0, names=("nitrogen",))
    rest = molecule("nitrogen").geometry.positions
    moved = vibrating(random, replace(drawn, positions=rest[None]), 4000)[0]
    length = np.linalg.norm(moved[:, 0] - moved[:, 1], axis=1)
    modes = molecule("nitrogen").modes()
    assert modes is not None
    wanted = np.linalg.norm(modes.displacement[0, 0] - modes.displacement[0, 1])
    assert length.std() == pytest.approx(wanted * np.sqrt(modes.variance[0]), rel=0.05)
