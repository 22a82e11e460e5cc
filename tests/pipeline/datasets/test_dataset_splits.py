"""Splits of a data set by whole geometries: none in two of them, the same in any set."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from molexa_core.base.errors import InputFileError, UsageError
from molexa_core.base.fields import SPLITS
from molexa_core.base.forward_model import Pulse
from molexa_core.physics.molecules.draws import Variations
from molexa_core.physics.molecules.library import molecule
from molexa_core.pipeline.datasets.blocks import geometries_of
from molexa_core.pipeline.datasets.build import build
from molexa_core.pipeline.datasets.entries import EntryTable
from molexa_core.pipeline.datasets.read import data_files, read_dataset
from molexa_core.pipeline.datasets.recipe import Recipe, Splits, read_recipe, write_recipe
from molexa_core.pipeline.datasets.splits import rows_of
from tests.fakes.mcmd import fake_explosions

RECIPE = Recipe(
    name="test",
    seed=3,
    molecules=("nitrogen", "chlorine", "hydroxyl", "ammonia"),
    variations=Variations(displaced=1, zero_point=1, least={2: 60}),
    pulse=Pulse(2000.0),
    splits=Splits(validation=0.2, test=0.2, set_aside_atoms=4),
    trajectories=100,
    minimum_count=3,
    geometries_per_shard=15,
)


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Diatomic molecules in many geometries, one of them held out; one molecule set aside."""
    folder = tmp_path_factory.mktemp("data") / "many"
    build(RECIPE, folder, engine=fake_explosions)
    return folder


def geometries_in(table: EntryTable) -> set[tuple[str, int]]:
    """Molecule and number of the variation of every entry."""
    names = [table.names[number] for number in table.molecule]
    return set(zip(names, table.variation.tolist(), strict=True))


def test_no_geometry_is_in_two_splits_by_geometry(many: Path) -> None:
    whole = read_dataset(many)
    parts = {split: read_dataset(many, split, by="geometry") for split in SPLITS}
    sets = {split: geometries_in(part) for split, part in parts.items()}
    known = {item for item in geometries_in(whole) if item[0] in ("nitrogen", "chlorine")}
    assert sets["train"] | sets["validation"] | sets["test"] == known
    assert sum(len(sets[split]) for split in ("train", "validation", "test")) == len(known)
    # All entries of a geometry are there, and those of other molecules are not.
    names = np.array([whole.names[number] for number in whole.molecule])
    inside = np.isin(names, ["nitrogen", "chlorine"])
    assert sum(len(parts[s]) for s in ("train", "validation", "test")) == inside.sum()
    assert len(parts["set_aside"]) == (names == "ammonia").sum()
    for split, share in (("validation", 0.2), ("test", 0.2)):
        expected = share * len(known)
        assert abs(len(sets[split]) - expected) < 4 * np.sqrt(expected * (1 - share))
    # By entry the same geometries are in all splits: that is the difference.
    by_entry = [geometries_in(read_dataset(many, split)) for split in ("train", "test")]
    assert len(by_entry[0] & by_entry[1]) > 0.5 * len(by_entry[1])


def test_a_split_by_geometry_does_not_depend_on_the_rest_of_the_set(
    many: Path, tmp_path: Path
) -> None:
    test = geometries_in(read_dataset(many, "test", by="geometry"))
    # Half of the files.
    folder = tmp_path / "half"
    folder.mkdir()
    for path in [many / "recipe.json", *data_files(many)[1::2]]:
        (folder / path.name).write_bytes(path.read_bytes())
    part = geometries_in(read_dataset(folder))
    assert 0 < len(part & test) < len(test)
    assert geometries_in(read_dataset(folder, "test", by="geometry")) == part & test
    # Other geometries beside them: numbers change, labels and splits do not.
    recipe = read_recipe(many / "recipe.json")
    more = dataclasses.replace(
        recipe, variations=Variations(displaced=5, thermal=2), molecules=("nitrogen", "chlorine")
    )
    build(more, tmp_path / "more", engine=fake_explosions)
    table = read_dataset(tmp_path / "more")
    again = read_dataset(tmp_path / "more", "test", by="geometry")

    def called(recipe: Recipe, items: set[tuple[str, int]]) -> set[tuple[str, str]]:
        return {(name, recipe.variations.labels(2)[number]) for name, number in items}

    shared = called(recipe, known_pairs(many)) & called(more, geometries_in(table))
    assert len(shared) == 2 * (1 + 5)
    assert called(recipe, test) & shared == called(more, geometries_in(again)) & shared


def known_pairs(folder: Path) -> set[tuple[str, int]]:
    """Geometries of the molecules that are not held out."""
    return {item for item in geometries_in(read_dataset(folder)) if item[0] != "hydroxyl"}


@pytest.mark.parametrize(
    "variations",
    [
        Variations(displaced=3, zero_point=2, thermal=1, least={2: 9, 3: 20, 4: 3}),
        Variations(equilibrium=False, displaced=0, least={2: 3, 3: 4, 4: 7}),
    ],
)
def test_labels_are_those_of_the_geometries(variations: Variations) -> None:
    recipe = dataclasses.replace(RECIPE, variations=variations)
    for name, atoms in (("nitrogen", 2), ("water", 3), ("ammonia", 4)):
        drawn = [item.label for item in geometries_of(recipe, molecule(name))]
        assert variations.labels(atoms) == drawn
        assert len(set(drawn)) == len(drawn)


def test_a_split_by_geometry_needs_the_recipe_of_the_set(many: Path, tmp_path: Path) -> None:
    folder = tmp_path / "bare"
    folder.mkdir()
    for path in data_files(many):
        (folder / path.name).write_bytes(path.read_bytes())
    assert len(read_dataset(folder, "test"))
    with pytest.raises(InputFileError, match=r"no recipe\.json in this folder"):
        read_dataset(folder, "test", by="geometry")
    write_recipe(folder / "recipe.json", dataclasses.replace(RECIPE, seed=4))
    with pytest.raises(InputFileError, match=r"made by another recipe than recipe\.json"):
        read_dataset(folder, "test", by="geometry")
    with pytest.raises(UsageError, match="no split by 'geometri'. Did you mean geometry"):
        read_dataset(folder, "test", by="geometri")
    few = dataclasses.replace(RECIPE, variations=Variations(displaced=0))
    with pytest.raises(InputFileError, match="geometries that its recipe does not ask for"):
        rows_of(read_dataset(many), "test", "geometry", few)
    with pytest.raises(UsageError, match="needs the recipe"):
        rows_of(read_dataset(many), "test", "geometry")
