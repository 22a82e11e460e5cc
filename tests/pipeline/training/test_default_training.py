"""A training of which nothing is said: data set, start, length; it goes on when repeated."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from molexa_core.base.errors import ComputationError, UsageError
from molexa_core.base.storage.checksums import sealed
from molexa_core.pipeline.datasets.blocks import plan as blocks_of
from molexa_core.pipeline.datasets.blocks import resolve
from molexa_core.pipeline.datasets.recipe import RECIPE_FILE, write_recipe
from molexa_core.pipeline.training.default_training import (
    CPU_BATCH,
    SECONDS,
    Chosen,
    default_training,
)
from molexa_core.pipeline.training.training_plan import training_plan

NOTHING: dict[str, Any] = dict.fromkeys(
    ("steps", "seconds", "batch", "learning_rate", "init", "data")
) | {"recipe": (), "device": "cpu"}


class Maker:
    """Makes the files of a data set, without explosions."""

    def __init__(self, left: int = 0) -> None:
        self.left = left
        self.calls: list[str] = []

    def __call__(self, recipe: Any, folder: Path, **_: object) -> SimpleNamespace:
        self.calls.append(str(folder))
        folder.mkdir(exist_ok=True)
        write_recipe(folder / RECIPE_FILE, recipe)
        blocks = blocks_of(recipe)
        for block in blocks[self.left :]:
            (folder / f"{block.name}.h5").write_bytes(b"")
        return SimpleNamespace(failed=(), left=self.left, blocks=len(blocks), entries=7)


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def _chosen(maker: Maker, stage: str = "2", **told: object) -> Chosen:
    return default_training(stage, "molexa", None, NOTHING | told, builder=maker)


def test_everything_is_chosen_and_said(tmp_path: Path) -> None:
    said: list[str] = []

    class Progress:
        def say(self, text: str) -> None:
            said.append(text)

    maker = Maker()
    found = default_training("2", "molexa", None, NOTHING, builder=maker, progress=Progress())  # type: ignore[arg-type]
    assert found.folder == Path("training-stage2")
    assert not found.resume
    assert maker.calls == ["dataset-small"]
    plan = training_plan("molexa", "2", **found.arguments)
    assert (plan.data, plan.init, plan.seconds) == (
        "dataset-small",
        "molexa-stage1",
        SECONDS["cpu"],
    )
    assert plan.preset.training.batch == CPU_BATCH
    text = " ".join(said)
    assert "shipped weights molexa-stage1" in text
    assert "7 molecules" in text
    assert "minutes" in text or "seconds" in text
    # The second time the data set is found.
    assert _chosen(maker).arguments["data"] == "dataset-small"
    assert maker.calls == ["dataset-small"]


def test_a_begun_data_set_is_completed_and_the_published_one_preferred() -> None:
    with pytest.raises(ComputationError, match="2 of 7 blocks of the data set are missing"):
        _chosen(Maker(left=2))
    maker = Maker()
    _chosen(maker)
    assert maker.calls == ["dataset-small"]
    published = Path("dataset-stage2")
    published.mkdir()
    write_recipe(published / RECIPE_FILE, resolve("stage2"))
    assert _chosen(maker).arguments["data"] == "dataset-small"
    (published / "pack-000.h5").write_bytes(b"")
    assert _chosen(maker).arguments["data"] == "dataset-stage2"


def test_what_is_told_stays() -> None:
    told = {"steps": 5, "batch": 8, "init": "mine", "data": "there", "recipe": ("warm_up=3",)}
    maker = Maker()
    arguments = _chosen(maker, **told).arguments
    assert {name: arguments[name] for name in told} == told
    assert not maker.calls
    assert _chosen(maker, stage="1").arguments == NOTHING
    assert _chosen(maker, stage="1").folder == Path("training-stage1")


def test_a_training_goes_on_as_it_was_begun() -> None:
    maker = Maker()
    begun = training_plan("molexa", "2", **_chosen(maker, seconds=12.0).arguments)
    folder = Path("training-stage2")
    folder.mkdir()
    values = sealed(json.loads(json.dumps(begun.to_dict(), default=str)))
    (folder / "settings.json").write_text(json.dumps(values))
    (folder / "checkpoint.safetensors").write_bytes(b"")
    again = _chosen(maker)
    assert again.resume
    assert training_plan("molexa", "2", **again.arguments) == begun
    # A folder that is named goes on with `resume=` only.
    assert not default_training("2", "molexa", folder, NOTHING, builder=maker).resume


def test_a_stage_that_is_not_there_is_told_before_all_else() -> None:
    with pytest.raises(UsageError, match="no training stage '9'"):
        default_training("9", "molexa", None, NOTHING)


def test_processes_do_not_make_a_data_set_together(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match="need a data set that is there"):
        _chosen(Maker())
