"""Recipes of data sets: closed, checked, with every fault named."""

from __future__ import annotations

from pathlib import Path

import pytest

from molexa_core.base.errors import InputFileError, SettingsError, UsageError
from molexa_core.base.storage.resources import find
from molexa_core.physics.molecules.library import molecule
from molexa_core.pipeline.datasets.blocks import block_name, plan, resolve
from molexa_core.pipeline.datasets.recipe import Recipe, write_recipe
from molexa_core.pipeline.datasets.recipe_file import RecipeFile


def test_the_shipped_recipe_makes_what_it_says() -> None:
    recipe = resolve("stage2")
    blocks = plan(recipe)
    total = sum(block.trajectories for block in blocks)
    assert 2.5e8 < total < 4e9
    assert len({block.name for block in blocks}) == len(blocks)
    assert recipe.trajectories == 100_000
    assert recipe.minimum_count == 300
    assert all(2 <= block.atoms <= 9 for block in blocks)
    sizes = [block.atoms for block in blocks]
    assert sizes == sorted(sizes, reverse=True)
    assert resolve(find("templates", "stage2", ".yaml")).digest() == recipe.digest()


def test_variations_of_a_molecule_fill_its_blocks(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(
        "molecules: {names: [ethanol]}\nvariations: {displaced: 2, zero_point: 3}\n"
        "geometries_per_shard: 6\n"
    )
    blocks = sorted(plan(resolve(path)), key=lambda block: block.first)
    assert [(block.first, block.last) for block in blocks] == [(0, 6), (6, 12), (12, 18), (18, 20)]


def test_names_and_other_names_mean_the_same(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text("molecules: {names: [carbon_dioxide, water]}\n")
    assert resolve(path).molecules == (molecule("co2").name, "water")


def test_block_names_are_file_names() -> None:
    assert block_name("water", 16) == "water.0016"
    odd = {block_name(name, 0) for name in ("1,3-x", "1-3,x", "1_3_x", "a/b")}
    assert len(odd) == 4
    assert not any(set(name) & set("/, ") for name in odd)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("trajectorys: 5", "trajectorys: unknown key (did you mean trajectories"),
        ("pulse: {photon_kev: 2}", "pulse -> photon_kev: unknown key (did you mean photon_ev?)"),
        ("model: {transfer: some}", "model -> transfer: must be"),
        ("trajectories: 0", "trajectories: must be a whole number from 1"),
        ("molecules: {names: [watr]}", "no molecule named 'watr'. Did you mean water"),
        ("molecules: {smallest: 5, largest: 3}", "no molecule fits"),
        ("molecules: {elements: [Xe]}", "no shipped molecule meets all conditions"),
        ("splits: {validation: 0.5, test: 0.5}", "leaves nothing to train on"),
        ("variations: {equilibrium: false, displaced: 0}", "no geometry is asked for"),
        ("pulse: {energy_mj: 1.0e+30}", "pulse -> energy_mj: must be a number from 1e-15 to"),
        ("pulse: {focus_um: 1000.0, energy_mj: 1.0e-9}", "photons/µm² on its axis"),
        (
            "pulse: {photon_ev: 2000, duration_fs: 1.0e+6}",
            "pulse -> duration_fs: must be a number from 0.01 to 2000",
        ),
        ("variations: {least: {1: 5}}", "variations -> least -> 1"),
        ("variations: {least: {2: 0}}", "variations -> least -> 2: must be a whole number from 1"),
        ("variations: {least: 80}", "variations -> least: must be a block"),
        ("seed: -1", "seed: must be a whole number from 0"),
        ("name: a/b", "the name of the data set is 'a/b'. Use letters"),
        ("[1, 2]", "expected keys and values"),
        ("a: [", "not readable as YAML"),
    ],
)
def test_faults_of_a_recipe(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    with pytest.raises((SettingsError, UsageError)) as caught:
        resolve(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


def test_least_travels_and_is_absent_where_nothing_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    text = "molecules: {names: [water, nitrogen, methanol]}\nvariations: {displaced: 2%s}\n"
    path.write_text(text % "")
    bare = resolve(path)
    assert "least" not in bare.to_dict()["variations"]
    path.write_text(text % ", least: {10: 4, 2: 30, 3: 9}")
    recipe = resolve(path)
    write_recipe(tmp_path / "r.json", recipe)
    again = resolve(tmp_path / "r.json")
    assert again == recipe
    assert again.digest() == recipe.digest() != bare.digest()
    assert [sum(block.last - block.first for block in plan(again) if block.molecule == name)
            for name in ("nitrogen", "water", "methanol")] == [30, 9, 11]  # fmt: skip
    values = recipe.to_dict()
    for least in ({"two": 3}, {"2": 0}, {"2": "3"}, [2, 3]):
        values["variations"]["least"] = least
        with pytest.raises(SettingsError, match="variations -> least: expected numbers of geom"):
            Recipe.from_dict(values)


def test_no_such_recipe() -> None:
    with pytest.raises(InputFileError, match="There are"):
        resolve("stage3x")
    with pytest.raises(InputFileError, match="no such file"):
        resolve("none.json")


def test_defaults_are_the_published_pulse() -> None:
    pulse = RecipeFile().pulse
    assert (pulse.photon_ev, pulse.energy_mj, pulse.duration_fs, pulse.focus_um) == (2000, 1, 15, 1)


@pytest.mark.parametrize("name", ["setup", "nosuch", "stage3"])
def test_what_is_offered_in_place_of_an_unknown_recipe_is_a_recipe(name: str) -> None:
    with pytest.raises(InputFileError) as caught:
        resolve(name)
    assert f"no recipe named {name!r}" in str(caught.value)
    assert "There are: small, stage2." in str(caught.value)
    with pytest.raises(InputFileError, match="no such recipe file"):
        resolve("folder/mine.yaml")
