"""Training of a network that is told the experiment: plans, cards, stopping and resuming."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from molexa_core.base.errors import UsageError
from molexa_core.base.known_explosion import XrayExplosion
from molexa_core.base.uncertain import Uncertain
from molexa_core.network.config import ELEMENTS as ALL
from molexa_core.network.config import TOLD, Preset
from molexa_core.network.network import Network
from molexa_core.network.weights import forward_of, load_network, save_weights
from molexa_core.pipeline.datasets.measurement_split import measured_molecules, measurement_box
from molexa_core.pipeline.explosions.told_inputs import AT
from molexa_core.pipeline.training.stage2 import StageTwoData, StageTwoSource, batch_of
from molexa_core.pipeline.training.told_stream import StreamRecipe
from molexa_core.pipeline.training.train import train_in_folder
from molexa_core.pipeline.training.training_plan import TrainingPlan, training_plan
from tests.fakes.entries import table_of
from tests.fakes.networks import small_settings

LIGHT = ("H", "C", "N", "O")
SMALL = Preset(
    "told",
    replace(small_settings("atoms"), told=True, max_atoms=14, elements=LIGHT),
    replace(TOLD.training, batch=16, learning_rate=1e-3),
)


def _small(stream: StreamRecipe) -> StreamRecipe:
    """A stream of two and three atoms, few explosions."""
    atoms = {2: 1.0, 3: 1.0}
    pairs, classical = stream.pairs, stream.classical
    assert classical is not None
    if pairs is not None:
        pairs = replace(
            pairs,
            box=replace(pairs.box, duration_fs=(1.0, 4.0), fluence_um2=(3e12, 1e13)),
            trajectories=dict.fromkeys(range(2, 11), 128),
            explosions=512,
            least_count=3,
            atoms=atoms,
            random_share=0.0,
        )
    return replace(
        stream,
        pairs=pairs,
        classical=replace(classical, entries=32, chunk=4, atoms=atoms),
        pair_blocks=3,
        pair_every=2,
        classical_blocks=2,
        classical_every=2,
        photon_ev=(600.0, 2000.0),
    )


def _plan(stage: str, steps: int, **further: object) -> TrainingPlan:
    plan = training_plan("told", stage, steps, elements=LIGHT, validation=16, **further)  # type: ignore[arg-type]
    assert plan.stream is not None
    return replace(plan, preset=SMALL, stream=_small(plan.stream))


def test_plans_of_the_stream_follow_their_arguments() -> None:
    plan = training_plan("told", "2", 4, largest=6, seed=7)
    assert plan.stream is not None
    assert plan.stream.pairs is not None
    assert max(plan.stream.pairs.atoms) == 6
    assert plan.stream.pairs.seed == 7
    assert plan.stream.pairs.box == measurement_box()
    classical = training_plan("told", "1", 4).stream
    assert classical is not None
    assert classical.pairs is None
    assert classical.largest == 10
    whole = training_plan("told", "2", 4, held_out_share=0.0).stream
    assert whole is not None
    assert whole.pairs is not None
    assert not whole.pairs.box.left_out
    assert training_plan("told", "2", 4, data="made up").stream is None
    assert training_plan("molexa", "1", 4).stream is None


def test_plans_that_make_no_sense() -> None:
    with pytest.raises(UsageError, match="too large"):
        training_plan("molexa", "1", 4, largest=10)
    with pytest.raises(UsageError, match="elements"):
        training_plan("molexa", "1", 4, elements=LIGHT)
    with pytest.raises(UsageError, match="data set"):
        training_plan("molexa", "2", 4)
    with pytest.raises(UsageError, match="simulates"):
        training_plan("told", "2", 4, data="made up", simulated=0.5)


@pytest.mark.slow
def test_a_training_that_is_resumed_equals_a_straight_one(tmp_path: Path) -> None:
    straight, stopped = tmp_path / "one", tmp_path / "two"
    plan = _plan("2", 14)
    card, metrics = train_in_folder(plan, straight, name="whole", resume=False)
    assert card is not None
    assert metrics["all"]["molecules"] == 16
    first, _ = train_in_folder(replace(plan, stop_after_s=0.0), stopped, name="parts", resume=False)
    assert first is None  # stopped at the first look at the clock
    train_in_folder(plan, stopped, name="parts", resume=True)
    one, two = (load_network(str(p))[0] for p in (straight / "whole.json", stopped / "parts.json"))
    for name, value in one.state_dict().items():
        assert torch.equal(value, two.state_dict()[name]), name
    assert card.network.told
    assert forward_of(card) == "mcmd"
    held = card.data["held_out"]["molecules"]
    assert held == sorted(measured_molecules(LIGHT))
    assert "told the experiment" in card.limits
    assert set(card.data["ranges"]) == {"2", "3"}


def test_stage_one_begins_from_weights_that_are_not_told(tmp_path: Path) -> None:
    torch.manual_seed(1)
    plain = Network(replace(SMALL.network, told=False))
    save_weights(tmp_path, "plain", plain, data={}, training={}, metrics={})
    plan = _plan("1", 2, init=str(tmp_path / "plain.json"))
    card, _ = train_in_folder(plan, tmp_path / "run", name="told", resume=False)
    assert card is not None
    assert forward_of(card) == "classical"
    assert card.network.told


def test_the_error_estimate_of_a_told_network_is_trained(tmp_path: Path) -> None:
    torch.manual_seed(1)
    save_weights(tmp_path, "small", Network(SMALL.network), data={}, training={}, metrics={})
    plan = _plan("uncertainty", 2, weights=str(tmp_path / "small.json"), pool=32, batch=16)
    before, _ = load_network(str(tmp_path / "small.json"))
    card, _ = train_in_folder(plan, tmp_path / "run", name="small", resume=False)
    assert card is not None
    after, _ = load_network(str(tmp_path / "run" / "small.json"))
    for name, value in before.state_dict().items():
        same = torch.equal(value, after.state_dict()[name])
        assert same or name.startswith("uncertainty."), name


def test_a_data_set_tells_its_pulse() -> None:
    pulse = XrayExplosion(photon_ev=Uncertain(2000.0), duration_fs=Uncertain(15.0))
    entries = batch_of(table_of(60), replace(SMALL.network, elements=ALL), "cpu", "x", told=pulse)
    assert entries.told is not None
    assert entries.told.known[:, AT["duration_fs"]].all()
    data = StageTwoData(folder="x", by="entry", entries=len(entries))
    source = StageTwoSource(entries, data, 32, 3)
    batch, again = source(1), StageTwoSource(entries, data, 32, 3)(1)
    assert batch.told is not None
    assert again.told is not None
    known = batch.told.known[:, AT["duration_fs"]].float().mean()
    assert 0.2 < known < 0.95  # some are told less
    torch.testing.assert_close(batch.told.values, again.told.values)
    common, each = batch.told.inputs(batch.momenta)
    assert common.isfinite().all()
    assert each.isfinite().all()
