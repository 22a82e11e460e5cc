"""The whole chain at small size, against the truth of the virtual experiment.

Water with every imperfection on: what comes out of every stage is compared with what really
happened, which no stage gets to see.
"""

from __future__ import annotations

import itertools
import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from molexa_core.base.matter.ions import Ion
from molexa_core.base.settings import load_channel
from molexa_core.base.tables import Coincidences, FloatArray
from molexa_core.base.units import ATOMIC_VELOCITY_M_S, HARTREE_EV
from molexa_core.io.results.channel_csv import read_channel_csv
from molexa_core.io.results.events import read_events
from molexa_core.io.results.geometry_json import read_geometry_json
from molexa_core.io.xyz import read_xyz
from molexa_core.pipeline.chain.align import align
from molexa_core.pipeline.chain.centroid import centroid
from molexa_core.pipeline.chain.demo import EXAMPLES, demo_verdict
from molexa_core.pipeline.chain.reduce import Reduction, reduce
from molexa_core.pipeline.chain.score import score
from molexa_core.pipeline.runs.mock import default_setup, mock
from molexa_core.pipeline.runs.mock_run import MockRun
from tests.conftest import Run

SHOTS = 40_000
SAME_EVENT = 20.0
"""Largest difference of a component, a.u., between a measured momentum and the true one: five
standard deviations of the widest, the x component of O+ with its unknown point of interaction."""


@pytest.fixture(scope="module")
def run() -> MockRun:
    return mock(load_channel("water"), SHOTS, setup=default_setup(), seed=11)


@pytest.fixture(scope="module")
def reduction(run: MockRun) -> Reduction:
    return reduce([run.hits], load_channel("water"), default_setup())


def without_jet(momentum: FloatArray, ions: tuple[Ion, ...]) -> FloatArray:
    """Momenta (n, ions, 3) in the frame that moves with the jet."""
    velocity = default_setup().jet.velocity_m_per_s / ATOMIC_VELOCITY_M_S
    return momentum - np.array([ion.mass for ion in ions])[:, None] * velocity * np.array([0, 1, 0])


@pytest.fixture(scope="module")
def truth(run: MockRun) -> Coincidences:
    """What really happened, all molecules, whether detected or not."""
    return Coincidences.of(run.truth.ions, without_jet(run.truth.momentum, run.truth.ions))


def mismatch(measured: FloatArray, true: FloatArray, ions: tuple[Ion, ...]) -> float:
    """Largest difference of a component, like ions in the order that fits best."""
    names = [str(ion) for ion in ions]
    orders = [
        order
        for order in itertools.permutations(range(len(ions)))
        if [names[i] for i in order] == names
    ]
    return min(float(np.abs(measured[list(order)] - true).max()) for order in orders)


def test_coincidences_are_what_really_happened(
    run: MockRun, reduction: Reduction, truth: Coincidences
) -> None:
    table = reduction.table
    complete = run.truth.detected.all(axis=1)
    by_shot: dict[int, list[int]] = {}
    for row in np.flatnonzero(complete):
        by_shot.setdefault(int(run.truth.shot[row]), []).append(int(row))
    found = set()
    for shot, measured in zip(table.tags["shot"], table.momentum, strict=True):
        for row in by_shot.get(int(shot), []):
            if mismatch(measured, truth.momentum[row], table.ions) < SAME_EVENT:
                found.add(row)
                break
    purity = len(found) / len(table)
    assert purity >= 0.95
    # the gate of three standard deviations on three axes keeps 99 % of the complete molecules
    assert len(found) / complete.sum() >= 0.95
    assert reduction.summary.purity is not None
    assert reduction.summary.purity.purity == pytest.approx(purity, abs=0.02)


def test_kinetic_energy_release(reduction: Reduction, truth: Coincidences) -> None:
    true = truth.kinetic_energy().sum(axis=1) * HARTREE_EV
    measured = reduction.table.kinetic_energy().sum(axis=1) * HARTREE_EV
    assert np.median(measured) == pytest.approx(np.median(true), rel=0.01)


def test_mean_momenta(reduction: Reduction, truth: Coincidences) -> None:
    channel = load_channel("water")
    columns = ["px", "py", "pz"]
    measured = centroid(align(reduction.table, channel=channel).table)
    true = centroid(align(truth, channel=channel).table)
    assert measured["ion"].tolist() == true["ion"].tolist()
    difference = measured[columns].to_numpy() - true[columns].to_numpy()
    size = np.linalg.norm(true[columns].to_numpy(), axis=1)
    assert np.all(np.linalg.norm(difference, axis=1) <= 0.01 * size)


def test_the_order_of_hits_in_a_shot_does_not_matter(run: MockRun, reduction: Reduction) -> None:
    hits = run.hits
    rng = np.random.default_rng(5)
    order = np.lexsort((rng.random(hits.n_hits), hits.shot))
    shuffled = replace(hits, **{name: getattr(hits, name)[order] for name in hits.VALUES})
    again = reduce([shuffled], load_channel("water"), default_setup())
    np.testing.assert_array_equal(again.table.tags["shot"], reduction.table.tags["shot"])
    np.testing.assert_allclose(again.table.momentum, reduction.table.momentum, rtol=1e-12)


def texts_of(folder: Path, name: str) -> list[str]:
    """The commands that the provenance of a result names, oldest first."""
    record = json.loads((folder / name).read_text(encoding="utf-8"))["provenance"]
    return [step["command"] for step in record["history"]] + [record["command"]]


def check_demo(folder: Path, said: str, largest_mae: float) -> dict[str, Any]:
    """What every finished demo must have; returns its errors."""
    commands = re.findall(r"^\$ (molexa .*)$", said, re.MULTILINE)
    assert [command.split()[1] for command in commands] == [
        *("mock", "reduce", "align", "centroid", "reconstruct", "report")
    ]
    # provenance names the very commands that were shown
    assert texts_of(folder, "geom.json") == commands[:5]
    verdict = demo_verdict(folder)
    assert f"({verdict.errors['mae']:.3f} a.u.)" in said
    assert said.strip().splitlines()[-1].startswith(f"Report: {folder.name}/report.html")

    momenta, _ = read_channel_csv(folder / "channel.csv")
    assert momenta["count"].min() > 500
    (structure,), (known,) = read_xyz(folder / "geom.xyz"), read_xyz(folder / "known.xyz")
    assert structure.uncertainty is not None
    errors = score(structure, known).to_dict()
    assert errors["mae"] == pytest.approx(verdict.errors["mae"], abs=1e-4)
    assert errors["mae"] <= largest_mae

    page = (folder / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"""<(script|link|img)[^>]*(src|href)=["']?(https?:)?//""", page)
    for command in commands[:5]:
        assert command.split()[1] in page
    assert sorted(path.name for path in folder.iterdir() if path.name.startswith(".")) == []
    return verdict.errors


def test_the_quick_demo_from_raw_run_to_report(molexa: Run, tmp_path: Path) -> None:
    done = molexa("demo", "--quick", "--out", "demo")
    assert done.returncode == 0, done.stderr
    check_demo(tmp_path / "demo", done.stdout, largest_mae=0.2)
    table, _ = read_events(tmp_path / "demo" / "run.aligned.h5")
    record, _ = read_geometry_json(tmp_path / "demo" / "geom.json")
    assert [str(ion) for ion in table.ions] == ["O+", "H+", "H+"]
    assert record.symbols == ("O", "H", "H")


@pytest.mark.slow
@pytest.mark.parametrize("name", EXAMPLES)
def test_every_demo(molexa: Run, tmp_path: Path, name: str) -> None:
    done = molexa("demo", name, "--out", "demo", "--seed", "3")
    assert done.returncode == 0, done.stderr
    check_demo(tmp_path / "demo", done.stdout, {"water": 0.1, "cf4": 0.1, "ethanol": 0.5}[name])


def test_a_failing_step_says_which(molexa: Run, tmp_path: Path) -> None:
    done = molexa("demo", "watr")
    assert done.returncode == 2
    assert "Did you mean water?" in done.stderr
    assert molexa("demo", "--seed", str(2**70)).returncode == 2
    full = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000)); "
        "from molexa_cli.main import main; sys.exit(main(['demo', '--quick', '--out', 'broken']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", full], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "step 1 of 6, `molexa mock water" in done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(path.name for path in (tmp_path / "broken").iterdir()) == [
        "known.xyz",
        "setup.yaml",
    ]
