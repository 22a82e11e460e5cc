"""Covariances in units of work are those of one go, to the last bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from molexa_core.base.errors import InputFileError
from molexa_core.base.options.work_options import WorkOptions
from molexa_core.base.progress import CollectingProgress
from molexa_core.pipeline.chain import covariance_maps, reduce_units
from molexa_core.pipeline.chain import reduce as stage
from molexa_core.pipeline.chain.covariance_maps import covariance
from molexa_core.pipeline.chain.covariance_parts import covariance_units
from molexa_core.pipeline.work.folder import UnitFolder
from tests.fakes.units_runs import content_hash, write_run

HERE = WorkOptions(workers=1)


@pytest.fixture
def small_units(monkeypatch: pytest.MonkeyPatch) -> None:
    """Units even for a run of some stretches."""
    monkeypatch.setattr(covariance_maps, "SMALL_UNITS", 2)
    monkeypatch.setattr(stage, "SMALL_UNITS", 2)
    monkeypatch.setattr(reduce_units, "UNIT_BYTES", 1)


def found(path: Path, out: str, work: WorkOptions = HERE, **more: Any) -> tuple[str, Any]:
    """The digest of the file, and what it tells."""
    target = path.parent / out
    told = covariance(
        [path], "channel.yaml", "setup.yaml", bins=16, out=target, work=work,
        progress=CollectingProgress(), **more,
    )  # fmt: skip
    return content_hash(target), told.as_dict()


WAYS: list[dict[str, Any]] = [
    {"control": "timestamp", "slices": 4},
    {"axes": ("pz(O+)", "pz(H+)"), "slices": 3},
    {"beside": ["O+"], "slices": 0},
]


@pytest.mark.parametrize("how", WAYS, ids=["control", "momenta", "beside"])
@pytest.mark.usefixtures("small_units")
def test_units_give_the_bits_of_one_go(
    working_folder: Path, monkeypatch: pytest.MonkeyPatch, how: dict[str, Any]
) -> None:
    """Maps with errors, cumulants, and the coincidences beside them."""
    path = write_run(working_folder)
    units = found(path, "units.h5", **how)
    assert not (working_folder / "units.h5.units").exists()
    assert units[1]["coincidences"]["true"] > 100
    for module in (covariance_maps, stage):
        monkeypatch.setattr(module, "SMALL_UNITS", 1000)
    assert found(path, "whole.h5", **how) == units


@pytest.mark.usefixtures("small_units")
def test_finished_units_are_not_computed_again(
    working_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_run(working_folder)
    keep = WorkOptions(workers=1, keep_units=True)
    first = found(path, "out.h5", keep)
    folder = working_folder / "out.h5.units"
    assert len(list(folder.glob("*.unit"))) == 4  # two blocks, two phases
    written: list[Path] = []
    write = UnitFolder.write

    def noted(self: UnitFolder, *arguments: Any) -> None:
        written.append(self.path)
        write(self, *arguments)

    monkeypatch.setattr(UnitFolder, "write", noted)
    assert found(path, "out.h5", keep) == first
    assert written == []
    next(iter(folder.glob("*.unit"))).write_bytes(b"damaged")
    assert found(path, "out.h5", keep) == first
    assert written == [folder]


@pytest.mark.usefixtures("small_units")
def test_a_unit_that_fails_leaves_the_others_and_no_result(
    working_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_run(working_folder)
    add = covariance_units.MapSums.add

    def failing(self: Any, chunk: Any, first: int) -> None:
        if first == 0:
            raise InputFileError("a basket is damaged", where="run.root")
        add(self, chunk, first)

    with monkeypatch.context() as broken:
        broken.setattr(covariance_units.MapSums, "add", failing)
        with pytest.raises(InputFileError, match="a basket is damaged"):
            found(path, "out.h5")
    assert not (working_folder / "out.h5").exists()
    assert len(list((working_folder / "out.h5.units").glob("*.unit"))) == 3
    again = found(path, "out.h5")
    assert not (working_folder / "out.h5.units").exists()
    assert again == found(path, "once.h5")


@pytest.mark.slow
@pytest.mark.usefixtures("small_units")
def test_two_processes_give_the_bits_of_one(working_folder: Path) -> None:
    path = write_run(working_folder)
    assert found(path, "two.h5", WorkOptions(workers=2)) == found(path, "one.h5")
