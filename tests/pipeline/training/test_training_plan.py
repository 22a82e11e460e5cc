"""Plans of trainings: recipes, memory blocks, a time instead of steps."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from molexa_core.base.errors import InputFileError, UsageError
from molexa_core.network.config import PAPER, Preset
from molexa_core.pipeline.datasets.entries import EntryTable
from molexa_core.pipeline.training import train as pipeline_train
from molexa_core.pipeline.training.train import train_in_folder
from molexa_core.pipeline.training.training_plan import TrainingPlan, training_plan
from tests.fakes.entries import table_of
from tests.fakes.networks import small_settings


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "Give one of `steps=` and `seconds=`"),
        ({"steps": 4, "seconds": 5.0}, "Give one of `steps=` and `seconds=`"),
        ({"steps": 4, "recipe": ["bach=4"]}, r"no part 'bach'.*Did you mean batch"),
        ({"steps": 4, "recipe": ["schedule=linear"]}, "constant, cosine"),
        ({"steps": 4, "recipe": ["batch=4.5"]}, "a whole number from 0"),
        ({"steps": 4, "recipe": ["clip=nan"]}, "clip cannot be 'nan'"),
        ({"steps": 4, "recipe": ["clip=-1"]}, "a number from 0"),
        ({"steps": 4, "recipe": ["uniform_atoms=yes"]}, "true, false"),
        ({"steps": 4, "memory": False}, "the molexa preset has no memory blocks"),
    ],
)
def test_plans_that_make_no_sense(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        training_plan("molexa", "1", **arguments)  # type: ignore[arg-type]


def test_parts_of_a_recipe_are_replaced() -> None:
    changes = ["schedule=cosine", "warm_up=7", "noise_mean=-2", "uniform_atoms=false", "clip=0.5"]
    plan = training_plan("paper", "1", 4, recipe=changes, batch=64, memory=False)
    recipe = plan.preset.training
    assert (recipe.schedule, recipe.warm_up, recipe.noise_mean) == ("cosine", 7, -2.0)
    assert (recipe.uniform_atoms, recipe.clip, recipe.batch) == (False, 0.5, 64)
    assert recipe.epsilon == PAPER.training.epsilon
    assert plan.preset.network == replace(PAPER.network, memory=False)


def test_the_published_noise_levels() -> None:
    """ln(sigma) has mean -1.2 itself, whatever sigma_data is."""
    shift = math.log(2.0 * PAPER.network.sigma_data)
    assert PAPER.training.noise_mean + shift == pytest.approx(-1.2, abs=1e-12)


def _plan(
    *, memory: bool = True, steps: int | None = None, seconds: float | None = None
) -> TrainingPlan:
    """Stage 2 of a small network of the published layout."""
    small = Preset(
        "paper",
        replace(small_settings("pairs"), memory=memory),
        replace(PAPER.training, batch=4, draws=2, learning_rate=1e-3),
    )
    plan = training_plan("paper", "2", steps, seconds=seconds, data="made up", validation=8)
    return replace(plan, preset=small)


@pytest.fixture
def highly_charged(monkeypatch: pytest.MonkeyPatch) -> None:
    """A data set of made-up entries with charges up to 13."""

    def read(folder: str, split: str, *, by: str) -> EntryTable:
        table = table_of(seed=5 if split == "train" else 6)
        charges = table.charges.copy()
        charges[:, 0] = 13
        return replace(table, charges=charges)

    monkeypatch.setattr(pipeline_train, "read_dataset", read)


@pytest.mark.usefixtures("highly_charged")
@pytest.mark.parametrize("memory", [True, False])
def test_the_published_layout_learns_stage_two(tmp_path: Path, memory: bool) -> None:
    plan = _plan(memory=memory, steps=3)
    card, metrics = train_in_folder(plan, tmp_path / "run", name="small", resume=False)
    assert card is not None
    assert card.network.memory is memory
    assert math.isfinite(metrics["all"]["mae_mean"])
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert lines[-1]["uncertainty_loss"] > 0
    # Samples are molecules times noise draws; both rates are rounded to a tenth.
    assert lines[-1]["samples_per_s"] == pytest.approx(2 * lines[-1]["molecules_per_s"], abs=0.2)
    assert card.training["device_s"] == lines[-1]["device_s"]


@pytest.mark.usefixtures("highly_charged")
def test_the_measured_steps_are_kept_for_going_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [6, 99]
    monkeypatch.setattr(pipeline_train, "steps_within", lambda *_, **__: found.pop(0))
    plan, folder = _plan(seconds=30.0), tmp_path / "run"
    # Time is over before it begins, but it is looked at every ten steps: that is too late here.
    card, _ = train_in_folder(plan, folder, name="small", resume=False)
    assert card is not None
    assert (card.training["steps"], card.training["planned_s"]) == (6, 30.0)
    settings = json.loads((folder / "settings.json").read_text())
    assert (settings["steps"], settings["seconds"]) == (6, 30.0)
    spent = card.training["device_s"]

    again, _ = train_in_folder(plan, folder, name="small", resume=True)
    assert again is not None
    assert again.training["steps"] == 6
    assert found == [99], "it was measured again"

    with pytest.raises(UsageError, match="planned for 30 s, not for 40 s"):
        train_in_folder(_plan(seconds=40.0), folder, name="small", resume=True)
    (folder / "settings.json").write_text("{")
    with pytest.raises(InputFileError, match="not the settings of a training"):
        train_in_folder(plan, folder, name="small", resume=True)
    assert spent > 0
