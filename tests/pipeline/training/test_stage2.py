"""Stage-2 batches: every entry once per epoch, physics untouched by the variations."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from molexa_core.base.errors import InputFileError, UsageError, WeightsError
from molexa_core.network.batch import Batch
from molexa_core.network.config import MOLEXA, Preset
from molexa_core.network.molecule_frame import batch_frames
from molexa_core.network.network import Network
from molexa_core.network.training.team import Team
from molexa_core.network.weights import save_weights
from molexa_core.pipeline.datasets.entries import EntryTable
from molexa_core.pipeline.training import train as pipeline_train
from molexa_core.pipeline.training.stage1 import StageOneData, StageOneSource
from molexa_core.pipeline.training.stage2 import (
    StageTwoData,
    StageTwoSource,
    batch_of,
    joined,
    varied,
)
from molexa_core.pipeline.training.train import TrainingPlan, train_in_folder, training_plan
from tests.fakes.entries import table_of
from tests.fakes.networks import small_settings


def _entries(count: int = 12) -> Batch:
    return batch_of(table_of(count), MOLEXA.network, "cpu", "made up")


def _energies(batch: Batch) -> list[float]:
    return ((batch.momenta**2).sum((1, 2)) * 1e-4).tolist()


@pytest.mark.parametrize("uniform", [False, True])
def test_an_epoch_holds_every_entry(uniform: bool) -> None:
    entries = _entries()
    data = StageTwoData("made up", "entry", 12, uniform_atoms=uniform)
    source = StageTwoSource(entries, data, 4, 1)
    seen: list[float] = []
    for step in range(source.steps_per_epoch):
        batch = source(step)
        if uniform:
            assert batch.mask is None
            assert (batch.numbers > 0).all()
        seen += _energies(batch)
    for energy in _energies(entries):
        assert min(abs(energy - other) for other in seen) < 1e-4 * energy
    assert len(seen) == 4 * source.steps_per_epoch


def test_processes_share_a_batch_without_overlap() -> None:
    entries = _entries()
    data = StageTwoData("made up", "entry", 12)
    both = [
        e
        for rank in (0, 1)
        for e in _energies(StageTwoSource(entries, data, 6, 1, team=Team(rank, 2))(1))
    ]
    whole = _energies(StageTwoSource(entries, data, 6, 1)(1))
    assert sorted(both) == pytest.approx(sorted(whole), rel=1e-4)


def test_a_batch_follows_from_seed_and_step_alone() -> None:
    data = StageTwoData("made up", "entry", 12)
    straight = StageTwoSource(_entries(), data, 5, 3)
    for step in range(6):
        wanted = straight(step)
    found = StageTwoSource(_entries(), data, 5, 3)(5)
    torch.testing.assert_close(found.momenta, wanted.momenta, rtol=0, atol=0)


def test_variations_are_turns_and_mirrors_of_the_same_molecule() -> None:
    entries = _entries(400)
    changed = varied(entries, torch.Generator().manual_seed(0), mirror=True)
    torch.testing.assert_close(
        changed.momenta.norm(dim=2).sort(1).values, entries.momenta.norm(dim=2).sort(1).values
    )
    assert entries.positions is not None
    assert changed.positions is not None
    assert changed.mask is not None
    # Momenta and positions turn together: their products do not change.
    product = (changed.momenta * changed.positions).sum(2) * changed.mask
    before = (entries.momenta * entries.positions).sum(2) * entries.present[..., 0]
    torch.testing.assert_close(product.sum(1), before.sum(1), rtol=1e-4, atol=1e-2)
    assert (changed.charges.sum(1) == entries.charges.sum(1)).all()

    def handedness(batch: Batch) -> torch.Tensor:
        turned = batch.with_frame(batch_frames(batch.numbers, batch.momenta)).momenta
        return turned.prod(2).sum(1)

    chiral = handedness(entries).abs() > 1e3
    assert chiral.sum() > 50
    # Frames of symmetric molecules are ties, which a turn may decide the other way.
    plain = varied(entries, torch.Generator().manual_seed(0), mirror=False)
    ratio = (handedness(plain) / handedness(entries))[chiral]
    assert ((ratio - 1.0).abs() < 0.02).double().mean() > 0.9
    ratio = (handedness(changed) / handedness(entries))[chiral]
    assert ((ratio.abs() - 1.0).abs() < 0.02).double().mean() > 0.9
    assert 0.3 < (ratio < 0).double().mean() < 0.7


def test_simulated_molecules_are_mixed_in() -> None:
    data = StageTwoData("made up", "entry", 12, simulated=0.25)
    simulated = StageOneSource(StageOneData(largest=6, block=1), 2, "cpu", 1)
    batch = StageTwoSource(_entries(), data, 8, 1, simulated=simulated)(0)
    assert len(batch) == 8
    assert batch.atoms == 6
    assert batch.mask is not None
    assert (batch.mask == (batch.numbers > 0)).all()
    assert (batch.masses[~batch.mask] == 1).all()
    wider = joined(batch, _entries())
    assert wider.numbers.shape == (20, 6)


def test_other_elements_are_refused() -> None:
    table = table_of()
    numbers = table.numbers.copy()
    numbers[0, 0] = 35
    with pytest.raises(InputFileError, match="holds Br, which this network does not know"):
        batch_of(replace(table, numbers=numbers), MOLEXA.network, "cpu", "made up")


def test_larger_molecules_and_broken_numbers_are_refused() -> None:
    table = table_of()
    few = replace(MOLEXA.network, max_atoms=3)
    with pytest.raises(InputFileError, match="molecules of 4 atoms"):
        batch_of(table, few, "cpu", "made up")
    momenta = table.momenta.copy()
    momenta[0, 0, 0] = np.nan
    with pytest.raises(InputFileError, match="momenta are not numbers"):
        batch_of(replace(table, momenta=momenta), MOLEXA.network, "cpu", "made up")


def test_stage_two_needs_data() -> None:
    with pytest.raises(UsageError, match="stage 2 needs a data set"):
        training_plan("molexa", "2", 10)
    with pytest.raises(UsageError, match="stage 1 simulates"):
        training_plan("molexa", "1", 10, data="somewhere")


def _plan(init: str) -> TrainingPlan:
    small = Preset(
        "molexa",
        small_settings("atoms"),
        replace(MOLEXA.training, batch=4, warm_up=2, learning_rate=1e-3),
    )
    plan = training_plan("molexa", "2", 4, data="made up", validation=8, init=init)
    return replace(plan, preset=small)


def test_stage_two_trains_from_stage_one_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def read(folder: str, split: str, *, by: str) -> EntryTable:
        asked.append(split)
        return table_of(seed=5 if split == "train" else 6)

    monkeypatch.setattr(pipeline_train, "read_dataset", read)
    torch.manual_seed(0)
    before = Network(small_settings("atoms"))
    save_weights(tmp_path, "before", before, data={}, training={}, metrics={})
    plan = _plan(init=str(tmp_path / "before.json"))
    # Starting weights, not new ones: with no learning they come out as they went in.
    still = replace(plan.preset.training, learning_rate=0.0, ema=0.0)
    frozen = replace(plan, preset=replace(plan.preset, training=still))
    card, metrics = train_in_folder(frozen, tmp_path / "still", name="still", resume=False)
    assert card is not None
    # The test split is never looked at; the training split once more, for its ranges.
    assert set(asked) == {"train", "validation"}
    assert card.training["before"]["name"] == "before"
    assert card.data["kind"] == "stage 2, data set"
    assert metrics["all"]["molecules"] == 8
    after, _ = pipeline_train.load_network(str(tmp_path / "still" / "still.json"))
    for name, value in before.state_dict().items():
        torch.testing.assert_close(after.state_dict()[name], value, rtol=1e-2, atol=1e-3)


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    other = Network(replace(small_settings("atoms"), width=64))
    save_weights(tmp_path, "other", other, data={}, training={}, metrics={})
    plan = _plan(init=str(tmp_path / "other.json"))
    with pytest.raises(WeightsError, match=r"another network \(width differ\)"):
        train_in_folder(plan, tmp_path / "out", name="out", resume=False)
