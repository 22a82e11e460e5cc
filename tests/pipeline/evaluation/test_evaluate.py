"""Evaluation: errors, baselines, files; the shipped weights on few molecules."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from molexa_core.base.errors import InputFileError, OutputError, UsageError
from molexa_core.base.storage.checksums import sealed
from molexa_core.network.weights import calibration_of, default_weights, load_network, read_card
from molexa_core.pipeline.evaluation.calibrate_weights import Part, calibrate, calibrate_weights
from molexa_core.pipeline.evaluation.evaluate import BEST, FIRST, ORACLE, ZEROS, evaluate
from molexa_core.pipeline.evaluation.evaluate_weights import (
    _seen_in_training,
    evaluate_weights,
    read_evaluation,
)
from molexa_core.pipeline.evaluation.evaluation_sets import molecule_set, random_set
from molexa_core.pipeline.training.stage1 import StageOneData


def test_the_shipped_network_beats_trivial_answers() -> None:
    network, _ = load_network(default_weights())
    sets = random_set(StageOneData(largest=4), 24, seed=5)
    found = evaluate(network, sets, samples=2)
    mae = {name: groups["all"]["mae"]["mean"] for name, groups in found.rows.items()}
    assert mae[FIRST] < 0.5 * min(value for name, value in mae.items() if name == ZEROS)
    assert mae[BEST] <= mae[FIRST] + 0.1
    assert mae[ORACLE] <= min(mae[FIRST], mae[BEST])
    assert found.spread["all"]["difference"] > 0
    assert found.rows[FIRST]["2"].keys() == {
        "entries", "mae", "mean_distance_error", "max_distance_error",
    }  # fmt: skip
    assert found.diatomics["network"] < found.diatomics["c / KER with c fitted"]
    assert found.diatomics["c / KER with c fitted"] <= found.diatomics["c / KER with c = 1"]
    assert sum(row["entries"] for row in found.by_uncertainty) == 72


def test_the_same_seed_gives_the_same_molecules_and_another_does_not() -> None:
    one, two, three = (random_set(StageOneData(largest=3), 8, seed=seed) for seed in (1, 1, 2))
    assert (one[3].batch.momenta == two[3].batch.momenta).all()
    assert (one[3].batch.momenta != three[3].batch.momenta).any()


def test_molecules_come_grouped_and_named() -> None:
    sets = molecule_set(("H", "O"), 3, 45.0)
    assert "water" in sets[3].label
    assert set(sets[3].batch.numbers.unique().tolist()) <= {1, 8}


def test_a_run_writes_its_result(tmp_path: Path) -> None:
    run = evaluate_weights(
        data="stage1",
        samples=1,
        limit=16,
        largest=4,
        out=tmp_path / "result.json",
        figures=tmp_path / "figures",
    )
    values = read_evaluation(tmp_path / "result.json")
    assert values["conditions"]["weights"] == run.conditions["weights"]
    assert values["errors"][FIRST]["all"]["entries"] == 15
    assert {path.name for path in (tmp_path / "figures").iterdir()} == {
        "figures.json", "overview.svg", "true-and-predicted.svg", "errors-by-size.svg",
        "reliability.svg",
    }  # fmt: skip


def test_a_record_that_has_changed_is_refused(tmp_path: Path) -> None:
    values = sealed({"conditions": {"samples": 1}, "errors": {"water": 0.1}})
    path = tmp_path / "result.json"
    path.write_text(json.dumps(values))
    assert read_evaluation(path) == {"conditions": {"samples": 1}, "errors": {"water": 0.1}}
    path.write_text(json.dumps({**values, "errors": {"water": 0.2}}))
    with pytest.raises(InputFileError, match="its checksum does not fit"):
        read_evaluation(path)
    del values["checksum"]  # as molexa 0.1 wrote it
    path.write_text(json.dumps(values))
    assert read_evaluation(path)["errors"] == {"water": 0.1}
    path.write_text("{}")
    with pytest.raises(InputFileError, match="not a record of an evaluation"):
        read_evaluation(path)


def test_bad_input() -> None:
    with pytest.raises(UsageError, match="at least 1"):
        evaluate_weights(data="stage1", samples=0)
    with pytest.raises(InputFileError, match="no such folder"):
        evaluate_weights(data="no-such-set")
    with pytest.raises(UsageError, match="numbers of atoms cannot be chosen for stage2"):
        evaluate_weights(data="stage2", largest=14)
    with pytest.raises(UsageError, match="names are of shipped molecules, not of stage1"):
        evaluate_weights(data="stage1", names=["water"])
    with pytest.raises(UsageError, match="5 to 4 is no range"):
        evaluate_weights(smallest=5, largest=4)
    with pytest.raises(UsageError, match="no shipped molecule has 15 to 20 atoms"):
        evaluate_weights(smallest=15, largest=20)
    with pytest.raises(UsageError, match="iodobenzene has I, which the network does not know"):
        evaluate_weights(names=["iodobenzene"])
    with pytest.raises(InputFileError, match="cyclohexadiene"):
        evaluate_weights(names=["1,3-cyclohexadien"])
    with pytest.raises(OutputError, match="the folder does not exist"):
        evaluate_weights(out="no-such-folder/result.json")


def test_more_atoms_than_in_training_are_answered_with_a_warning() -> None:
    run = evaluate_weights(names=["1,3-cyclohexadiene", "water"], samples=2, steps=2)
    (warning,) = run.conditions["warnings"]
    assert "1 molecules have 14 to 14 atoms, but the network was made for up to 9" in warning
    assert [(one["name"], one["atoms"]) for one in run.evaluation.named] == [
        ("water", 3), ("1,3-cyclohexadiene", 14),
    ]  # fmt: skip
    large = run.evaluation.named[1]
    assert large[ORACLE] <= large[FIRST]
    assert "warnings" not in evaluate_weights(names=["water"], samples=1, steps=2).conditions


@pytest.mark.parametrize(
    ("trained_by", "by", "split", "warned"),
    [
        ("molecule", "molecule", "test", False),
        ("molecule", "geometry", "test", True),
        ("molecule", "entry", "test", True),
        ("geometry", "geometry", "test", False),
        ("geometry", "molecule", "test", False),
        ("entry", "molecule", "test", True),
        ("entry", "entry", "set_aside", False),
        (None, "entry", "test", False),
    ],
)
def test_what_the_training_saw_is_told(
    trained_by: str | None, by: str, split: str, warned: bool
) -> None:
    card, _ = read_card(default_weights())
    card = replace(card, data={"split_by": trained_by} if trained_by else {})
    assert bool(_seen_in_training(card, split, by)) == warned


def test_calibration_is_stored_with_the_weights(tmp_path: Path) -> None:
    card, path = read_card(default_weights())
    for name in (path.name, *card.files):
        shutil.copy(path.parent / name, tmp_path / name)
    copied = tmp_path / path.name
    _, written = calibrate_weights(str(copied), molecules=12, device="cpu")
    assert written == copied
    again, _ = read_card(str(copied))
    found = calibration_of(again)
    assert found is not None
    assert found.parts["all"].molecules == 8 * 12
    assert found.sampler == again.network.sampler
    coverage = again.metrics["calibration"]["all"]["coverage_68"]
    assert set(coverage) == {*map(str, range(2, 10)), "all"}
    assert all(0 <= one["low"] <= one["mean"] <= one["high"] <= 1 for one in coverage.values())


@pytest.mark.slow
def test_coverage_where_it_was_not_fitted() -> None:
    network, _ = load_network(default_weights())
    sets = random_set(StageOneData(largest=3), 1024, seed=77)
    found = calibrate(network, {"all": Part(sets, "a test")})
    fresh = evaluate(
        network, random_set(StageOneData(largest=3), 1024, seed=78), calibration=found.calibrations
    )
    for size in ("2", "3", "all"):
        claimed = [one.mean for one in found.coverage["all"][size]]
        assert claimed == pytest.approx([0.68, 0.95], abs=0.03)
        assert fresh.coverage[size] == pytest.approx([0.68, 0.95], abs=0.04)
