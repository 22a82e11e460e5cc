"""The stream of a training on a GPU: the same physics as on a processor, and a few steps."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from molexa_core.network.config import TOLD
from molexa_core.network.network import Network
from molexa_core.network.training.loop import TrainingRun, train
from molexa_core.physics.mcmd.photon_tables import pack_photon_tables
from molexa_core.pipeline.training.classical_stream import ClassicalRecipe
from molexa_core.pipeline.training.stream_entries import StreamEntries
from molexa_core.pipeline.training.told_stream import StreamRecipe, ToldSource
from molexa_core.pipeline.training.xray_pairs import PairRecipe, explode_pairs, prepare_pairs
from tests.fakes.networks import small_settings

LIGHT = ("H", "C", "N", "O")
ENERGIES = (600.0, 2000.0)
PAIRS = PairRecipe(
    trajectories=dict.fromkeys(range(2, 11), 2048),
    explosions=8192,
    least_count=60,
    atoms={2: 1.0, 3: 1.0},
    random_share=0.0,
    elements=LIGHT,
)
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.filterwarnings("default"),  # the compiler of torch warns of its own parts
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here"),
]


def _by_name(entries: StreamEntries) -> dict[tuple[int, ...], int]:
    """Rows of the means by pair and charges."""
    return {
        (int(entries.pair[row]), *entries.charges[row].tolist()): row
        for row in range(len(entries))
        if entries.data[row] != 2
    }


def test_means_are_those_of_a_processor() -> None:
    tables = pack_photon_tables(ENERGIES, LIGHT, workers=1)
    still = replace(PAIRS, vibrating=0.0)  # frames of vibrating ones are drawn on the device
    compared = 0
    for number in range(4):
        block = prepare_pairs(still, number, tables)
        here = explode_pairs(still, block, tables, device="cpu", workers=4)
        there = explode_pairs(still, block, tables, device="cuda").to("cpu")
        one, two = _by_name(here), _by_name(there)
        for name in one.keys() & two.keys():
            a, b = one[name], two[name]
            error = torch.hypot(here.errors[a], there.errors[b])[:, None].clamp_min(1e-3)
            off = (here.momenta[a] - there.momenta[b]).abs() / error
            assert off.max() < 8.0
            torch.testing.assert_close(here.positions[a], there.positions[b])
            compared += 1
    assert compared > 5


def test_processes_beside_change_nothing_and_the_network_learns() -> None:
    recipe = StreamRecipe(
        pairs=replace(PAIRS, least_count=6),
        classical=ClassicalRecipe(entries=128, chunk=4, atoms={2: 1.0, 3: 1.0}),
        pair_blocks=3,
        pair_every=2,
        classical_blocks=2,
        classical_every=2,
        photon_ev=ENERGIES,
    )
    alone = ToldSource(recipe, 256, "cuda", 1)
    helped = ToldSource(recipe, 256, "cuda", 1, workers=2)
    try:
        for step in (0, 3):
            one, two = alone(step), helped(step)
            torch.testing.assert_close(one.momenta, two.momenta)
            assert one.told is not None
            assert two.told is not None
            torch.testing.assert_close(one.told.values, two.told.values)
        torch.manual_seed(1)
        network = Network(replace(small_settings("atoms"), told=True)).to("cuda")
        settings = replace(TOLD.training, batch=256, warm_up=2, learning_rate=2e-3)
        run = TrainingRun(settings, 30, report_every=10, compile=True)
        train(network, helped, run)
        assert run.reports[-1]["position_loss"] < run.reports[0]["position_loss"]
    finally:
        helped.close()
