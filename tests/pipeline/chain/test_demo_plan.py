"""What a demo prepares: a folder of its own, a setup that loads, the known structure, the steps."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from molexa_cli.wording import line_of
from molexa_core.base.errors import OutputError, UsageError
from molexa_core.base.settings import load_channel, load_setup
from molexa_core.base.storage.outputs import FileKind
from molexa_core.base.storage.resources import shipped_folder
from molexa_core.io.results.kinds import kind_of_result
from molexa_core.io.xyz import read_xyz
from molexa_core.physics.molecules.library import molecule
from molexa_core.pipeline.chain.demo import EXAMPLES, KNOWN, SETUP, DemoStep, prepare_demo

STAGES = ["mock", "reduce", "align", "centroid", "reconstruct", "report"]


@pytest.mark.parametrize("name", EXAMPLES)
def test_folder_setup_and_known_structure(name: str, working_folder: Path) -> None:
    demo = prepare_demo(name)
    assert demo.folder == Path(f"demo-{name}")
    setup = load_setup(demo.folder / SETUP)
    assert setup.detection_efficiency == (0.95 if name == "ethanol" else 0.6)
    (known,) = read_xyz(demo.folder / KNOWN)
    np.testing.assert_allclose(known.positions, molecule(name).geometry.positions, atol=1e-6)
    symbols = [ion.element.symbol for ion in load_channel(name).all_ions]
    assert sorted(known.symbols) == sorted(symbols)


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_steps_are_the_whole_chain_in_order(name: str, working_folder: Path) -> None:
    demo = prepare_demo(name, seed=7)
    assert [step.name for step in demo.steps] == STAGES
    mock, reconstruct = demo.steps[0].settings, demo.steps[4].settings
    assert mock["seed"] == reconstruct["seed"] == "7"
    # every file that a step reads is there or was written by a step before it
    written = {SETUP, KNOWN}
    for step in demo.steps:
        words = _words(step)
        inputs = [word for word in words if word in {"run.root", "channel.csv", KNOWN, SETUP}]
        outputs = [b for a, b in pairwise(words) if a == "--out"]
        assert set(inputs) - set(outputs) <= written
        written |= set(outputs)


def _words(step: DemoStep) -> list[str]:
    return line_of(step.name, step.inputs, step.settings)


def test_quick_means_fewer_shots_and_nothing_else(working_folder: Path) -> None:
    full, quick = prepare_demo(), prepare_demo(quick=True)
    different = [
        (a, b)
        for one, two in zip(full.steps, quick.steps, strict=True)
        for a, b in zip(_words(one), _words(two), strict=True)
        if a != b
    ]
    assert len(different) == 1
    assert int(different[0][0]) > int(different[0][1])


def test_a_folder_is_never_reused(working_folder: Path) -> None:
    folders = [prepare_demo("water").folder for _ in range(3)]
    assert [folder.name for folder in folders] == ["demo-water", "demo-water-2", "demo-water-3"]
    (working_folder / "mine").mkdir()
    assert prepare_demo(out="mine").folder == Path("mine")
    with pytest.raises(OutputError, match="mine: the folder is not empty"):
        prepare_demo(out="mine")
    assert prepare_demo(out="deep/inside").folder.is_dir()
    (working_folder / "file").write_text("x")
    with pytest.raises(OutputError, match="cannot make the folder"):
        prepare_demo(out="file")


def test_unknown_example() -> None:
    with pytest.raises(UsageError, match=r"no demo of 'watr'\. Did you mean water\?"):
        prepare_demo("watr")


def test_ethanol_says_that_its_detector_is_better_than_usual(working_folder: Path) -> None:
    assert "95 %" in prepare_demo("ethanol").remark
    assert prepare_demo("water").remark == ""


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_setup_is_known_as_a_file_of_molexa(name: str, working_folder: Path) -> None:
    path = prepare_demo(name).folder / SETUP
    assert kind_of_result(path) is FileKind.SETUP
    assert load_setup(path).detector.radius_mm > 0
    assert kind_of_result(shipped_folder("templates") / SETUP) is None
