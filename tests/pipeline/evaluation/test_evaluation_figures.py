"""Figures of an evaluation: what they show survives storing, and they are light and complete."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from molexa_core.base.errors import InputFileError
from molexa_core.base.storage.checksums import sealed
from molexa_core.network.weights import default_weights, load_network
from molexa_core.pipeline.evaluation.evaluate import Evaluation, evaluate
from molexa_core.pipeline.evaluation.evaluation_drawing import draw
from molexa_core.pipeline.evaluation.evaluation_figures import (
    content_of,
    read_content,
    write_content,
)
from molexa_core.pipeline.evaluation.evaluation_sets import Explosions, molecule_set
from molexa_core.report.accuracy_content import AccuracyContent


@pytest.fixture(scope="module")
def evaluated() -> tuple[Evaluation, dict[int, Explosions]]:
    network, _ = load_network(default_weights())
    names = ("hydrogen_chloride", "carbon_monoxide", "water", "ozone", "ammonia", "formaldehyde")
    sets = molecule_set(network.settings.elements, 9, 45.0, names=names)
    # As if the four-atom molecules were geometries of one.
    sets[4] = replace(sets[4], label=("twin",) * len(sets[4].label))
    return evaluate(network, sets, samples=2), sets


def test_content_survives_storing(
    evaluated: tuple[Evaluation, dict[int, Explosions]], tmp_path: Path
) -> None:
    content = content_of(*evaluated)
    write_content(content, tmp_path / "figures.json")
    again = read_content(tmp_path / "figures.json")
    for one, other in zip(content.sizes, again.sizes, strict=True):
        assert (one.distances.counts == other.distances.counts).all()
        assert one.distances.edges[0] == pytest.approx(other.distances.edges[0])
        assert one.certain.truth == pytest.approx(other.certain.truth, abs=1e-3)
        assert one.certain.bonds == other.certain.bonds
    assert [size.distances.total for size in again.sizes] == [2, 6, 12]
    assert again.sizes[0].angles is None
    assert sum(size.distance_errors.total for size in again.sizes) == 6


def test_figures_are_drawn_and_light(
    evaluated: tuple[Evaluation, dict[int, Explosions]], tmp_path: Path
) -> None:
    content = replace(content_of(*evaluated), coverage={"2": [0.7, 0.9], "all": [0.68, 0.95]})
    paths = draw(content, tmp_path / "figures", prefix="set-")
    names = {"overview", "true-and-predicted", "errors-by-size", "reliability"}
    assert {path.stem for path in paths} == {f"set-{name}" for name in names}
    assert all(path.read_text("utf-8").startswith("<?xml") for path in paths)
    assert max(path.stat().st_size for path in paths) < 150_000


def test_several_geometries_of_one_molecule_are_shown(
    evaluated: tuple[Evaluation, dict[int, Explosions]], tmp_path: Path
) -> None:
    content = content_of(*evaluated)
    assert content.geometries == ()
    shown = tuple(size.certain for size in content.sizes)
    several = AccuracyContent(content.sizes, content.rows, {}, content.classical, shown)
    assert "geometries.svg" in {path.name for path in draw(several, tmp_path)}


@pytest.mark.parametrize(
    "change",
    [
        {"format": 9},
        {"sizes": [{"atoms": 2}]},
        {"sizes": None},
    ],
)
def test_damaged_values_are_refused(
    evaluated: tuple[Evaluation, dict[int, Explosions]], tmp_path: Path, change: dict[str, object]
) -> None:
    path = tmp_path / "figures.json"
    write_content(content_of(*evaluated), path)
    changed = json.loads(path.read_text()) | change
    path.write_text(json.dumps(changed))
    with pytest.raises(InputFileError, match="changed since molexa wrote it"):
        read_content(path)
    path.write_text(json.dumps(sealed(changed)))
    with pytest.raises(InputFileError, match="not the values of figures"):
        read_content(path)


def test_a_bin_outside_a_stored_histogram_is_refused(
    evaluated: tuple[Evaluation, dict[int, Explosions]], tmp_path: Path
) -> None:
    path = tmp_path / "figures.json"
    write_content(content_of(*evaluated), path)
    values = json.loads(path.read_text())
    values["sizes"][0]["distances"]["steps"][0] = -5
    path.write_text(json.dumps(sealed(values)))
    with pytest.raises(InputFileError, match="not the values of figures"):
        read_content(path)


def test_the_orientation_of_a_drawn_molecule_keeps_its_hand() -> None:
    from molexa_core.report.overlays import _view

    turn = _view(np.random.default_rng(3).normal(size=(5, 3)))
    assert np.linalg.det(turn) == pytest.approx(1.0)
    flat = _view(np.array([[0.0, 0, 0], [1.0, 0, 0]]))
    assert np.linalg.det(flat) == pytest.approx(1.0)
