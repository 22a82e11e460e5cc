"""Structures of a user's own in a data set: every frame is a geometry, wherever it is built."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from molexa_cli.main import main
from molexa_core.base.errors import InputFileError, MolexaError, SettingsError, UsageError
from molexa_core.base.fields import SPLITS, VARIATION_KINDS
from molexa_core.base.forward_model import Pulse
from molexa_core.base.tables import FloatArray, Geometry
from molexa_core.io.xyz import write_xyz
from molexa_core.physics.molecules.draws import Variations
from molexa_core.physics.molecules.library import molecule
from molexa_core.pipeline.datasets.blocks import plan, resolve
from molexa_core.pipeline.datasets.build import build
from molexa_core.pipeline.datasets.info import check, describe_folder, pack
from molexa_core.pipeline.datasets.movies import Movie
from molexa_core.pipeline.datasets.read import read_dataset
from molexa_core.pipeline.datasets.recipe import Recipe, Splits, write_recipe
from molexa_core.pipeline.evaluation.baselines import NEAREST
from molexa_core.pipeline.evaluation.evaluate import FIRST
from molexa_core.pipeline.evaluation.evaluate_weights import evaluate_weights
from tests.fakes.mcmd import fake_explosions

SYMBOLS = ("C", "C", "O", "H")
FRAMES = 7
TEXT = (
    "molecules: {names: [nitrogen, chlorine]}\n"
    "variations: {displaced: 1, least: {2: 12}}\n"
    "movies: [opening.xyz, {file: sub/kept.xyz, held_out: false}]\n"
    "trajectories: 200\nminimum_count: 3\ngeometries_per_shard: 3\nseed: 5\n"
    "splits: {validation: 0.2, test: 0.2}\n"
)


def opening(frames: int = FRAMES, stretch: float = 0.3) -> FloatArray:
    """(frames, 4, 3) a chain that opens, bohr, far from the origin."""
    x = np.array([[0.0, 0, 0], [2.4, 0, 0], [4.0, 1.5, 0.2], [-1.2, 1.6, 0.1]]) + 7.0
    moved = np.repeat(x[None], frames, axis=0)
    moved[:, 2] += np.arange(frames)[:, None] * [stretch, 0.05, -0.1]
    return moved


def write_movie(path: Path, positions: FloatArray, symbols: tuple[str, ...] = SYMBOLS) -> None:
    path.parent.mkdir(exist_ok=True)
    write_xyz(path, [Geometry(symbols, frame) for frame in positions])


def write_all(folder: Path, text: str = TEXT) -> Path:
    write_movie(folder / "opening.xyz", opening())
    write_movie(folder / "sub" / "kept.xyz", opening(4)[:, :2], ("S", "Cl"))
    recipe = folder / "mine.yaml"
    recipe.write_text(text)
    return recipe


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from the resolved recipe, in another folder, after the XYZ files are gone."""
    folder = tmp_path_factory.mktemp("data")
    resolved = folder / "resolved.json"
    assert main(["dataset", "resolve", "--recipe", str(write_all(folder)), "--out",
                 str(resolved), "--quiet"]) == 0  # fmt: skip
    (folder / "opening.xyz").unlink()
    (folder / "sub" / "kept.xyz").unlink()
    report = build(resolve(resolved), folder / "set", engine=fake_explosions)
    assert report.failed == ()
    assert report.trajectories == 200 * (12 + 12 + FRAMES + 4)
    return folder / "set"


def test_every_frame_is_a_geometry(built: Path) -> None:
    assert check(built).sound
    table = read_dataset(built)
    assert set(table.names) == {"nitrogen", "chlorine", "opening", "kept"}
    rows = table.molecule == table.names.index("opening")
    assert set(table.variation[rows]) == set(range(FRAMES))
    assert (table.kind[rows] == VARIATION_KINDS.index("trajectory")).all()
    assert (table.numbers[rows] == [6, 6, 8, 1]).all()
    # About the centre of mass, not turned; an explosion does not depend on where it happens.
    masses = np.array([12.0, 12.0, 15.9949, 1.0078])
    x = opening()
    x -= (np.einsum("n,fni->fi", masses, x) / masses.sum())[:, None]
    assert np.abs(table.positions[rows] - x[table.variation[rows]]).max() < 1e-4
    kinds = {row["kind"]: row["geometries"] for row in describe_folder(built).by_kind}
    assert kinds == {"equilibrium": 2, "displaced": 22, "trajectory": FRAMES + 4}


def test_the_engine_is_given_the_frames_of_a_block(built: Path) -> None:
    table = read_dataset(built)
    rows = (table.molecule == table.names.index("opening")) & (table.variation == 5)
    recipe = resolve(built / "recipe.json")
    frame = np.reshape(recipe.movies[0].frames[5], (4, 3))
    from molexa_core.pipeline.datasets.blocks import stream_seed

    (truth,) = fake_explosions(
        SYMBOLS,
        frame[None],
        None,
        None,
        None,
        trajectories=200,
        seed=stream_seed(recipe, "opening"),
        first_trajectory=5 * 200,
    )
    kept = (truth.counts > 3) & (truth.charges > 0).all(axis=1)
    assert rows.sum() == kept.sum() > 0
    assert (table.charges[rows] == truth.charges[kept]).all()
    near = np.abs(table.momenta[rows] - truth.momenta[kept]) <= truth.errors[kept] / 30 + 1e-4
    assert near.all()


def test_a_movie_is_wholly_on_one_side_of_the_harder_splits(built: Path) -> None:
    table = read_dataset(built)

    def entries(name: str, split: str, by: str) -> int:
        part = read_dataset(built, split, by=by)
        return int((part.molecule == part.names.index(name)).sum())

    total = {name: int((table.molecule == n).sum()) for n, name in enumerate(table.names)}
    parts = SPLITS[:3]
    assert entries("opening", "test", "molecule") == total["opening"] > 0
    assert [entries("opening", split, "molecule") for split in parts[:2]] == [0, 0]
    assert [entries("opening", split, "geometry") for split in parts] == [0, 0, 0]
    assert sorted(entries("kept", split, "geometry") for split in parts) == [0, 0, total["kept"]]
    assert entries("kept", "test", "molecule") == 0
    assert sum(entries("opening", split, "entry") for split in parts) == total["opening"]
    assert entries("opening", "train", "entry") > 0


def test_molecules_that_are_large_are_set_aside(tmp_path: Path) -> None:
    recipe = dataclasses.replace(
        resolve(write_all(tmp_path)), splits=Splits(set_aside_atoms=4), molecules=()
    )
    build(recipe, tmp_path / "set", engine=fake_explosions)
    table = read_dataset(tmp_path / "set", "set_aside")
    assert {table.names[n] for n in table.molecule} == {"opening"}


def test_the_size_of_shards_and_packing_change_no_entry(built: Path, tmp_path: Path) -> None:
    recipe = resolve(built / "recipe.json")
    build(dataclasses.replace(recipe, geometries_per_shard=50), tmp_path / "one",
          engine=fake_explosions)  # fmt: skip
    pack(tmp_path / "one", tmp_path / "packed")
    assert check(tmp_path / "packed").sound
    one, two = read_dataset(built), read_dataset(tmp_path / "packed")
    for name in ("opening", "nitrogen"):
        a, b = one.molecule == one.names.index(name), two.molecule == two.names.index(name)
        assert (one.momenta[a] == two.momenta[b]).all()
        assert (one.split[a] == two.split[b]).all()


def test_a_movie_changes_nothing_else(built: Path, tmp_path: Path) -> None:
    recipe = resolve(built / "recipe.json")
    bare = dataclasses.replace(recipe, movies=())
    assert "movies" not in bare.to_dict()
    assert bare.digest() != recipe.digest()
    with pytest.raises(UsageError, match="they differ in movies"):
        build(bare, built, engine=fake_explosions)
    digests = {block.name: block.digest for block in plan(recipe)}
    assert {block.name: block.digest for block in plan(bare)}.items() < digests.items()
    moved = [list(frame) for frame in recipe.movies[0].frames]
    moved[4][0] += 1e-9
    first = dataclasses.replace(recipe.movies[0], frames=tuple(map(tuple, moved)))
    other = dataclasses.replace(recipe, movies=(first, *recipe.movies[1:]))
    changed = {block.name for block in plan(other) if digests[block.name] != block.digest}
    assert changed == {"opening.0003"}


def test_one_changed_coordinate_is_found(built: Path, tmp_path: Path) -> None:
    recipe = resolve(built / "recipe.json")
    for path in built.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    frames = [list(frame) for frame in recipe.movies[0].frames]
    frames[4][0] += 0.01
    first = dataclasses.replace(recipe.movies[0], frames=tuple(map(tuple, frames)))
    write_recipe(
        tmp_path / "recipe.json", dataclasses.replace(recipe, movies=(first, *recipe.movies[1:]))
    )
    faults = "\n".join(check(tmp_path).faults)
    assert "block opening.0003: made by other settings, another geometry" in faults


def test_movies_alone(tmp_path: Path) -> None:
    text = TEXT.replace("[nitrogen, chlorine]", "[]")
    recipe = resolve(write_all(tmp_path, text))
    assert recipe.molecules == ()
    assert {block.molecule for block in plan(recipe)} == {"opening", "kept"}
    (tmp_path / "none.yaml").write_text("molecules: {names: []}\n")
    with pytest.raises(SettingsError, match="no shipped molecule meets all conditions"):
        resolve(tmp_path / "none.yaml")


def test_weights_are_evaluated_on_a_movie_alone(tmp_path: Path) -> None:
    movie = resolve(write_all(tmp_path)).movies[0]
    recipe = dataclasses.replace(resolve(tmp_path / "mine.yaml"), molecules=(), movies=(movie,))
    build(recipe, tmp_path / "set", engine=fake_explosions)
    run = evaluate_weights(
        data=str(tmp_path / "set"), by="molecule", split="test", samples=1, limit=6, steps=2,
        device="cpu",
    )  # fmt: skip
    rows = run.evaluation.rows
    assert rows[FIRST]["4"]["entries"] == 6
    assert NEAREST not in rows  # there is nothing in training


@pytest.mark.parametrize(
    ("movies", "message"),
    [
        ("[nosuch.xyz]", "nosuch.xyz: no such file"),
        ("[mine.yaml]", "expected the number of atoms"),
        ("[mixed.xyz]", "mixed.xyz, structure 2 of the trajectory: the atoms are C, O, C, H, not"),
        ("[near.xyz]", "near.xyz, structure 3 of the trajectory: atoms 3 and 4 are 0.300 bohr"),
        ("[odd.xyz]", "odd.xyz, line 3: unknown element 'Qq'"),
        ("[single.xyz]", "one atom does not explode"),
        ("[big.xyz]", "big.xyz: 14 atoms, but molecules -> largest is 9. Write molecules: {larg"),
        ("[water.xyz]", "movies -> water: another molecule has this name. Rename the file"),
        ("[opening.xyz, sub/opening.xyz]", "movies -> opening: another molecule has this name"),
        ("[far.xyz]", "far: structure 1 of the trajectory: an atom is more than 1000 bohr"),
        (
            "[{file: isomer.xyz, held_out: false}]",
            "movies -> isomer: HO is held out from training (hydroxyl)",
        ),
        ("[{fil: a.xyz}]", "movies -> entry 1 -> fil: unknown key (did you mean file?)"),
        ("[3]", "movies -> entry 1: must be a block"),
    ],
)
def test_movies_that_are_refused(tmp_path: Path, movies: str, message: str) -> None:
    path = write_all(tmp_path, f"molecules: {{names: [nitrogen]}}\nmovies: {movies}\n")
    x = opening()
    write_movie(tmp_path / "sub" / "opening.xyz", x)
    write_movie(tmp_path / "water.xyz", x[:, :3], ("O", "H", "H"))
    write_movie(tmp_path / "single.xyz", x[:, :1], ("N",))
    write_movie(tmp_path / "big.xyz", 3.0 * np.arange(42.0).reshape(1, 14, 3), ("C",) * 14)
    write_movie(tmp_path / "far.xyz", x[:1] + 3000.0 * np.eye(4, 3))
    held = molecule("hydroxyl")
    write_movie(tmp_path / "isomer.xyz", 1.1 * held.geometry.positions[None], held.geometry.symbols)
    write_xyz(tmp_path / "mixed.xyz", [Geometry(s, x[0]) for s in (SYMBOLS, ("C", "O", "C", "H"))])
    near = x[:3].copy()
    near[2, 3] = near[2, 2] + [0.3, 0, 0]
    write_movie(tmp_path / "near.xyz", near)
    (tmp_path / "odd.xyz").write_text("2\n\nQq 0 0 0\nH 0 0 1\n")
    with pytest.raises((SettingsError, InputFileError)) as caught:
        resolve(path)
    assert message in str(caught.value)


def test_damaged_movies_in_a_resolved_recipe(tmp_path: Path) -> None:
    movie = Movie("m", ("C", "O"), ((0.0, 0, 0, 2, 0, 0), (0.0, 0, 0, 3, 0, 0)))
    recipe = Recipe(name="a", seed=1, molecules=(), variations=Variations(), movies=(movie,),
                    pulse=Pulse(2000.0))  # fmt: skip
    values = json.loads(json.dumps(recipe.to_dict()))
    assert Recipe.from_dict(values) == recipe
    for key, value, message in (
        ("frames", [[0.0, 0, 0, 2, 0]], "expected frames of 6 numbers each"),
        ("frames", [[0.0, 0, 0, float("nan"), 0, 0]], "expected frames of 6 numbers each"),
        ("frames", [], "expected frames"),
        ("symbols", ["C", "Qq"], "unknown element 'Qq'"),
        ("symbols", ["C"], "expected 2 to 64 elements"),
        ("held_out", 1, "held_out true or false"),
        ("name", "", "expected a name"),
        ("extra", 1, "expected the keys"),
    ):
        broken = {**values, "movies": [{**values["movies"][0], key: value}]}
        with pytest.raises(SettingsError, match=message):
            Recipe.from_dict(broken)
    with pytest.raises(SettingsError, match="movies: expected a list"):
        Recipe.from_dict({**values, "movies": 3})
    path = tmp_path / "r.json"
    overlapping = dataclasses.replace(movie, frames=((0.0, 0, 0, 0.2, 0, 0),))
    write_recipe(path, dataclasses.replace(recipe, movies=(overlapping,)))
    with pytest.raises(MolexaError, match="movies -> m: structure 1 .* 0.200 bohr apart"):
        resolve(path)


def test_too_many_coordinates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("molexa_core.pipeline.datasets.movie_molecules.MOST_COORDINATES", 20)
    with pytest.raises(SettingsError, match="movies: more than 20 coordinates in all"):
        resolve(write_all(tmp_path))
