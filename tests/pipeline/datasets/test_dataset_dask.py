"""A data set on Dask workers: the same files as without."""

from __future__ import annotations

import atexit
import dataclasses
import logging
import time
from pathlib import Path
from typing import Any

import pytest

from molexa_core.base.errors import ComputationError, UsageError
from molexa_core.base.forward_model import Pulse
from molexa_core.base.options.work_options import WorkOptions
from molexa_core.base.progress import CollectingProgress
from molexa_core.physics.molecules.draws import Variations
from molexa_core.pipeline.datasets.build import Workers, build
from molexa_core.pipeline.datasets.read import read_dataset
from molexa_core.pipeline.datasets.recipe import Recipe
from tests.fakes.mcmd import fake_explosions

pytest.importorskip("distributed")
RECIPE = Recipe(
    name="test",
    seed=3,
    molecules=("water", "nitrogen", "carbon_monoxide"),
    variations=Variations(displaced=1),
    pulse=Pulse(2000.0),
    trajectories=500,
    minimum_count=10,
    geometries_per_shard=2,
)


@pytest.mark.slow
# The cluster's own threads and sockets may outlive the test by a moment.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_workers_of_a_local_cluster_give_the_same_entries(tmp_path: Path) -> None:
    progress = CollectingProgress()
    workers = Workers("cpu", work=WorkOptions(dask="local:2"))
    build(RECIPE, tmp_path / "a", workers=workers, engine=fake_explosions, progress=progress)
    build(RECIPE, tmp_path / "b", engine=fake_explosions)
    one, two = read_dataset(tmp_path / "a"), read_dataset(tmp_path / "b")
    for field in dataclasses.fields(one):
        if field.name not in ("names", "statistics"):
            assert (getattr(one, field.name) == getattr(two, field.name)).all()
    assert any(text.startswith("Dask: 2 workers") for text in progress.said)


def fails_for_two(symbols: Any, *arguments: Any, **options: Any) -> Any:
    if tuple(symbols) == ("N", "N"):
        raise ComputationError("it does not converge")
    return fake_explosions(symbols, *arguments, **options)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_block_that_fails_on_a_worker_is_told_and_the_others_go_on(tmp_path: Path) -> None:
    workers = Workers("cpu", work=WorkOptions(dask="local:1"))
    report = build(RECIPE, tmp_path / "a", workers=workers, engine=fails_for_two)
    (sentence,) = report.failed
    assert sentence == "block nitrogen.0000 (nitrogen) failed: it does not converge."
    assert (report.made, report.left) == (report.blocks - 1, 0)


def ends_slowly(*arguments: Any, **options: Any) -> Any:
    """Makes its process take longer to end than Dask waits by itself."""
    atexit.register(time.sleep, 6.0)
    return fake_explosions(*arguments, **options)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_no_worker_is_killed_that_is_about_to_end(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    recipe = dataclasses.replace(RECIPE, molecules=("nitrogen",))
    began = time.monotonic()
    with caplog.at_level(logging.WARNING):
        build(
            recipe,
            tmp_path / "a",
            workers=Workers("cpu", work=WorkOptions(dask="local:1")),
            engine=ends_slowly,
        )
    assert time.monotonic() - began > 6.0
    assert "still alive" not in caplog.text


def test_a_number_of_workers_must_be_one(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="local:4 for four workers"):
        build(
            RECIPE,
            tmp_path / "a",
            workers=Workers(work=WorkOptions(dask="local:x")),
            engine=fake_explosions,
        )


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_no_scheduler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("molexa_core.pipeline.work.dask_cluster.CONNECT_S", 1)
    with pytest.raises(UsageError, match="no Dask scheduler answers"):
        build(
            RECIPE,
            tmp_path,
            workers=Workers(work=WorkOptions(dask="tcp://127.0.0.1:9")),
            engine=fake_explosions,
        )
