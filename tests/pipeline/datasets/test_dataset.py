"""Building a data set: what is in it, the same whoever computes it, resumed, verified, packed."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from molexa_cli.main import main
from molexa_core.base.errors import ComputationError, InputFileError, SettingsError, UsageError
from molexa_core.base.fields import SPLITS
from molexa_core.base.forward_model import Pulse
from molexa_core.base.options.work_options import WorkOptions
from molexa_core.base.progress import CollectingProgress
from molexa_core.physics.molecules.draws import Variations
from molexa_core.physics.molecules.library import molecule
from molexa_core.pipeline.datasets.blocks import geometries_of, plan, split_of
from molexa_core.pipeline.datasets.build import Workers, build, compute_block
from molexa_core.pipeline.datasets.info import check, describe_folder, pack
from molexa_core.pipeline.datasets.read import data_files, read_dataset
from molexa_core.pipeline.datasets.recipe import Recipe, Splits, read_recipe, write_recipe
from molexa_core.pipeline.datasets.shard_file import read_blocks
from tests.fakes.hdf5_edits import edited
from tests.fakes.mcmd import fake_explosions

RECIPE = Recipe(
    name="test",
    seed=3,
    molecules=("water", "nitrogen", "ammonia", "ethanol"),
    variations=Variations(equilibrium=True, displaced=1),
    pulse=Pulse(2000.0),
    trajectories=1000,
    minimum_count=12,
    geometries_per_shard=2,
)
"""Four molecules of 3, 2, 4 and 9 atoms: 3 + 2 + 4 + 9 geometries in 2 + 1 + 2 + 5 blocks."""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "set"
    report = build(RECIPE, folder, engine=fake_explosions)
    assert (report.blocks, report.made, report.left, report.found) == (10, 10, 0, 0)
    assert report.trajectories == 18 * 1000
    return folder


def contents(folder: Path) -> dict[str, Any]:
    """Every number in the shards of a folder."""
    found: dict[str, Any] = {}
    for path in data_files(folder):
        with h5py.File(path) as file:
            file.visititems(
                lambda name, item, stem=path.stem: (
                    found.update({f"{stem}:{name}": item[()].tobytes()})
                    if isinstance(item, h5py.Dataset) and item.dtype != object
                    else None
                )
            )
    return found


def test_entries_are_what_the_engine_gave(built: Path) -> None:
    table = read_dataset(built)
    drawn = geometries_of(RECIPE, molecule("ammonia"))
    place = table.names.index("ammonia")
    chosen = (table.molecule == place) & (table.variation == 2)
    assert chosen.sum() >= 3
    (truth,) = fake_explosions(
        molecule("ammonia").geometry.symbols,
        drawn[2].geometry.positions[None],
        None,
        None,
        None,
        trajectories=1000,
        seed=_seed("ammonia"),
        first_trajectory=2 * 1000,
    )
    kept = (truth.counts > 12) & (truth.charges > 0).all(axis=1)
    assert (table.charges[chosen][:, :4] == truth.charges[kept]).all()
    assert (table.counts[chosen] == truth.counts[kept]).all()
    error = truth.errors[kept]
    assert (np.abs(table.momenta[chosen][:, :4] - truth.momenta[kept]) <= error / 30 + 1e-4).all()
    assert np.allclose(table.errors[chosen][:, :4], error, rtol=2e-3, atol=1e-6)
    assert np.allclose(table.positions[chosen][0, :4], drawn[2].geometry.positions, atol=1e-5)
    assert not table.momenta[chosen][:, 4:].any()
    assert not table.mask[chosen][:, 4:].any()


def _seed(name: str) -> int:
    from molexa_core.pipeline.datasets.blocks import stream_seed

    return stream_seed(RECIPE, name)


def test_every_process_of_a_torchrun_gives_the_same_files(built: Path, tmp_path: Path) -> None:
    made = 0
    for rank in (2, 0, 1):
        workers = Workers("cpu", rank=rank, world=3)
        made += build(RECIPE, tmp_path / "three", workers=workers, engine=fake_explosions).made
    assert made == 10
    assert contents(tmp_path / "three") == contents(built)


def test_other_processes_write_the_same_files(built: Path, tmp_path: Path) -> None:
    workers = Workers("cpu", work=WorkOptions(workers=2))
    report = build(RECIPE, tmp_path / "two", workers=workers, engine=fake_explosions)
    assert (report.made, report.left, report.failed) == (10, 0, ())
    assert contents(tmp_path / "two") == contents(built)
    assert [path.name for path in tmp_path.iterdir()] == ["two"]  # no folder of units stays


def test_the_size_of_the_shards_changes_no_entry(built: Path, tmp_path: Path) -> None:
    other = dataclasses.replace(RECIPE, geometries_per_shard=5)
    build(other, tmp_path / "other", engine=fake_explosions)
    one, two = read_dataset(built), read_dataset(tmp_path / "other")
    assert (one.counts == two.counts).all()
    assert (one.momenta == two.momenta).all()
    assert (one.split == two.split).all()


def test_more_geometries_change_none_of_the_others(built: Path, tmp_path: Path) -> None:
    more = dataclasses.replace(RECIPE.variations, least={2: 6, 3: 5})
    other = dataclasses.replace(RECIPE, variations=more)
    build(other, tmp_path / "more", engine=fake_explosions)
    assert check(tmp_path / "more").sound
    one, two = read_dataset(built), read_dataset(tmp_path / "more")
    protocol = {"water": 3, "nitrogen": 2, "ammonia": 4, "ethanol": 9}
    geometries = {}
    for number, name in enumerate(two.names):
        rows = np.flatnonzero((two.molecule == number) & (two.variation < protocol[name]))
        old = one.molecule == one.names.index(name)
        for column in ("charges", "counts", "momenta", "errors", "positions", "split"):
            assert (getattr(one, column)[old] == getattr(two, column)[rows]).all()
        geometries[name] = int((two.statistics["molecule"] == number).sum())
    assert geometries == protocol | {"nitrogen": 6, "water": 5}


def test_an_interrupted_build_goes_on(built: Path, tmp_path: Path) -> None:
    calls: list[str] = []

    def engine(symbols: Any, *arguments: Any, **options: Any) -> Any:
        calls.append("".join(symbols))
        if len(calls) == 4:
            raise KeyboardInterrupt
        return fake_explosions(symbols, *arguments, **options)

    folder = tmp_path / "set"
    with pytest.raises(KeyboardInterrupt):
        build(RECIPE, folder, engine=engine)
    assert len(data_files(folder)) == 3
    assert not list(folder.glob(".*"))
    report = check(folder)
    assert len(report.missing) == 7
    assert not report.sound
    again = build(RECIPE, folder, engine=engine)
    assert (again.found, again.made) == (3, 7)
    assert len(calls) == 4 + 7
    assert contents(folder) == contents(built)


def failing_for(atoms: int, error: Exception) -> Any:
    """An engine that fails for molecules of so many atoms."""

    def engine(symbols: Any, *arguments: Any, **options: Any) -> Any:
        if len(symbols) == atoms:
            raise error
        return fake_explosions(symbols, *arguments, **options)

    return engine


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (ComputationError("it does not converge", do="Try again."), "it does not converge. Try"),
        (IndexError("index 9\nis out of bounds"), "IndexError: index 9 is out of bounds."),
    ],
)
def test_a_block_that_fails_is_told_and_the_others_go_on(
    error: Exception, why: str, built: Path, tmp_path: Path
) -> None:
    folder, progress = tmp_path / "set", CollectingProgress()
    report = build(RECIPE, folder, engine=failing_for(4, error), progress=progress)
    assert (report.made, report.left, len(report.failed)) == (8, 0, 2)
    for sentence, name in zip(report.failed, ("ammonia.0000", "ammonia.0002"), strict=True):
        assert sentence.startswith(f"block {name} (ammonia) failed: {why}")
    assert [text.split(" failed")[0] for text in progress.said] == [
        text.split(" failed")[0] for text in report.failed
    ]
    again = build(RECIPE, folder, engine=fake_explosions)
    assert (again.found, again.made, again.failed) == (8, 2, ())
    assert contents(folder) == contents(built)


def test_a_build_gives_up_where_every_block_fails(tmp_path: Path) -> None:
    engine = failing_for(9, ComputationError("the device is gone"))
    with pytest.raises(ComputationError, match="the device is gone"):
        build(RECIPE, tmp_path / "set", engine=engine)


def test_the_command_lists_what_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tmp_path / "recipe.json"
    write_recipe(recipe, RECIPE)
    engine = failing_for(2, ComputationError("it does not converge"))
    monkeypatch.setattr(
        "molexa_core.pipeline.datasets.build.build.__kwdefaults__",
        {**build.__kwdefaults__, "engine": engine},
    )
    call = ["dataset", "build", "--recipe", str(recipe), "--out", str(tmp_path / "set")]
    assert main(call) == 1
    shown = capsys.readouterr()
    assert "block nitrogen.0000 (nitrogen) failed: it does not converge." in shown.out
    assert "nothing that was made is lost" in shown.err
    assert main([*call, "--json", "--quiet"]) == 1
    assert json.loads(capsys.readouterr().out)["failed"][0].startswith("block nitrogen.0000")


def test_lost_explosions_are_kept_apart(built: Path, tmp_path: Path) -> None:
    def engine(*arguments: Any, **options: Any) -> Any:
        found = fake_explosions(*arguments, **options)
        return [dataclasses.replace(item, lost=3) for item in found]

    build(RECIPE, tmp_path / "set", engine=engine)
    pack(tmp_path / "set", tmp_path / "packed")
    assert describe_folder(tmp_path / "packed").totals["trajectories lost"] == 18 * 3
    # Files from before they were counted.
    folder = tmp_path / "old"
    folder.mkdir()
    for path in built.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    old = data_files(folder)[0]
    with edited(old) as file:
        geometries = len(file["geometries/lost"])
        del file["geometries/lost"]
    assert check(folder).sound
    pack(folder, tmp_path / "repacked")
    totals = describe_folder(tmp_path / "repacked").totals
    assert totals["trajectories lost"] == 0
    assert totals["geometries where they were not counted"] == geometries


def test_minutes_stop_between_blocks(tmp_path: Path) -> None:
    report = build(RECIPE, tmp_path / "set", engine=fake_explosions, minutes=0.0)
    assert (report.made, report.left) == (0, 10)


def test_damaged_and_foreign_shards_are_made_again(built: Path, tmp_path: Path) -> None:
    folder = tmp_path / "set"
    build(RECIPE, folder, engine=fake_explosions)
    first, second, third = data_files(folder)[:3]
    first.write_bytes(first.read_bytes()[:3000])
    with edited(second) as file:
        file["blocks/digest"][0] = "sha256:other"
    third.unlink()
    progress = CollectingProgress()
    report = build(RECIPE, folder, engine=fake_explosions, progress=progress)
    assert (report.found, report.made) == (7, 3)
    assert any("truncated or damaged" in text for text in progress.said)
    assert any(second.stem in text and "other settings" in text for text in progress.said)
    assert contents(folder) == contents(built)


def test_a_folder_of_another_recipe_is_refused(built: Path) -> None:
    other = dataclasses.replace(RECIPE, seed=4, trajectories=10)
    with pytest.raises(UsageError, match="another recipe; they differ in seed, trajectories"):
        build(other, built, engine=fake_explosions)


def test_splits(built: Path) -> None:
    table = read_dataset(built)
    aside = table.split == SPLITS.index("set_aside")
    assert (aside == (table.atoms >= 8)).all()
    sizes = {name: len(read_dataset(built, name)) for name in SPLITS}
    assert sum(sizes.values()) == len(table)
    held = read_dataset(built, "test", by="molecule")
    names = {table.names[n] for n in np.unique(held.molecule)}
    kept = read_dataset(built, "train", by="molecule")
    others = {table.names[n] for n in np.unique(kept.molecule)}
    known = {name for name in RECIPE.molecules if molecule(name).split == "held-out"}
    assert names == known
    assert others == {"water", "nitrogen", "ammonia"} - known
    with pytest.raises(UsageError, match="Did you mean train"):
        read_dataset(built, "trian")


def test_split_has_the_shares_of_the_recipe_and_ignores_the_others() -> None:
    recipe = dataclasses.replace(RECIPE, splits=Splits(validation=0.2, test=0.1))
    charges = np.stack(np.meshgrid(*[np.arange(8)] * 4), axis=-1).reshape(-1, 4).astype(np.int8)
    split = split_of(recipe, "ammonia", "displaced-1-0", charges)
    n = len(charges)
    for name, share in (("train", 0.7), ("validation", 0.2), ("test", 0.1)):
        count = (split == SPLITS.index(name)).sum()
        assert abs(count - share * n) < 4 * np.sqrt(n * share * (1 - share))
    some = np.random.default_rng(1).permutation(n)[:100]
    assert (split_of(recipe, "ammonia", "displaced-1-0", charges[some]) == split[some]).all()
    assert (split_of(recipe, "ammonia", "displaced-1-1", charges) != split).any()


def test_statistics_add_up(built: Path) -> None:
    report = describe_folder(built)
    table = read_dataset(built)
    assert report.totals["geometries"] == 18
    assert report.totals["trajectories"] == 18 * 1000
    assert report.totals["entries"] == len(table)
    assert sum(row["entries"] for row in report.by_atoms) == len(table)
    assert sum(row["entries"] for row in report.by_kind) == len(table)
    hydrogen = next(row for row in report.by_element if row["element"] == "H")
    assert (hydrogen["lowest"], hydrogen["highest"]) == (1, 1)
    assert list(report.splits) == ["by entry", "by geometry", "by molecule"]
    assert sum(report.splits["by entry"].values()) == len(table)
    for by, counts in report.splits.items():
        for split, count in counts.items():
            assert count == len(read_dataset(built, split, by=by.removeprefix("by ")))
    assert table.counts.min() > RECIPE.minimum_count


def test_a_sound_set_and_every_fault(built: Path, tmp_path: Path) -> None:
    report = check(built)
    assert report.sound
    assert report.entries == len(read_dataset(built))

    def spoil(change: Callable[[h5py.File], None]) -> str:
        folder = tmp_path / f"set{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        for path in built.iterdir():
            (folder / path.name).write_bytes(path.read_bytes())
        with edited(folder / "ammonia.0000.h5") as file:
            change(file)
        found = check(folder)
        assert not found.sound
        return "\n".join(found.faults)

    def add(name: str, value: float) -> Callable[[h5py.File], None]:
        def change(file: h5py.File) -> None:
            values = file[name][()]
            values.reshape(-1)[0] += value
            file[name][...] = values

        return change

    def flip(name: str) -> Callable[[h5py.File], None]:
        def change(file: h5py.File) -> None:
            file[name][...] = 1 - file[name][()]

        return change

    assert "do not add up to zero" in spoil(add("entries/momentum", 40.0))
    assert "impossible counts" in spoil(add("entries/count", 10**9))
    assert "entries/count lie below 1" in spoil(add("entries/count", -100000))
    assert "entries/error lie below 0" in spoil(add("entries/error", -1e4))
    assert "molecules/number lie above 118" in spoil(add("molecules/number", 200))
    assert "held out otherwise" in spoil(flip("molecules/held_out"))
    assert "other elements" in spoil(add("molecules/number", 1))
    assert "impossible charges" in spoil(add("entries/charge", 60))
    assert "not the geometry" in spoil(add("geometries/position", 0.1))
    assert "do not fit each other" in spoil(add("entries/geometry", 99))
    assert "not numbers" in spoil(add("entries/momentum", np.nan))


def test_packs_hold_the_same(built: Path, tmp_path: Path) -> None:
    out = tmp_path / "packed"
    files = pack(built, out, largest_mib=0.06)
    assert files[-1].name == "recipe.json"
    packs = [path for path in files if path.suffix == ".h5"]
    assert 1 < len(packs) < 10
    assert max(path.stat().st_size for path in packs) <= 0.06 * 2**20
    (whole, _) = pack(built, tmp_path / "one")
    with h5py.File(whole) as file:
        momentum = file["entries/momentum"]
        assert momentum.compression == "gzip"
        assert momentum.chunks == momentum.shape  # axes together, in one piece
    one, two = read_dataset(built), read_dataset(out)
    assert (one.momenta == two.momenta).all()
    assert (one.split == two.split).all()
    assert check(out).sound
    report = build(RECIPE, out, engine=fake_explosions)
    assert (report.found, report.made) == (10, 0)
    with pytest.raises(UsageError, match="same"):
        pack(built, built)
    for path in built.glob("water*.h5"):
        (out / path.name).write_bytes(path.read_bytes())
    with pytest.raises(InputFileError, match="also in"):
        read_dataset(out)


def test_a_block_read_is_the_block_written(built: Path) -> None:
    wanted = next(block for block in plan(RECIPE) if block.molecule == "water")
    block = compute_block(RECIPE, wanted, engine=fake_explosions)
    (again,), digest = read_blocks(built / f"{wanted.name}.h5")
    assert digest == RECIPE.digest()
    assert (again.molecule, again.held_out) == ("water", block.held_out)
    for one, two in zip(block.geometries, again.geometries, strict=True):
        assert (one.counts == two.counts).all()
        assert (one.charges == two.charges).all()
        assert (one.variation, one.kind, one.displaced) == (two.variation, two.kind, two.displaced)
        assert (one.combinations, one.neutral) == (two.combinations, two.neutral)


@pytest.mark.parametrize(
    ("rank", "world", "message"),
    [("5", "2", "RANK is 5"), ("x", "2", "RANK and WORLD_SIZE")],
)
def test_odd_environments(
    monkeypatch: pytest.MonkeyPatch, rank: str, world: str, message: str
) -> None:
    monkeypatch.setenv("RANK", rank)
    monkeypatch.setenv("WORLD_SIZE", world)
    with pytest.raises(UsageError, match=message):
        Workers.of_environment()


def test_a_torchrun_process_knows_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("RANK", "1"), ("WORLD_SIZE", "2"), ("LOCAL_RANK", "1")):
        monkeypatch.setenv(name, value)
    found = Workers.of_environment("cpu")
    assert (found.device, found.rank, found.world) == ("cpu", 1, 2)
    with pytest.raises(UsageError, match="`dask=` inside torchrun"):
        Workers.of_environment("cpu", WorkOptions(dask="local"))


def test_every_process_names_itself_in_its_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tmp_path / "recipe.json"
    write_recipe(recipe, RECIPE)
    engine = failing_for(2, ComputationError("it does not converge"))
    monkeypatch.setattr(
        "molexa_core.pipeline.datasets.build.build.__kwdefaults__",
        {**build.__kwdefaults__, "engine": engine},
    )
    call = ["dataset", "build", "--recipe", str(recipe), "--out", str(tmp_path / "set")]
    monkeypatch.setenv("WORLD_SIZE", "2")
    shown, made = [], 0
    for rank in ("0", "1"):
        monkeypatch.setenv("RANK", rank)
        main([*call, "--device", "cpu"])
        shown.append(capsys.readouterr().out)
        assert shown[-1].startswith(f"process {rank} of 2 (counted from 0), its share\n")
        made += int(next(line for line in shown[-1].splitlines() if "made" in line).split()[-1])
    assert made == 9
    failed = [text for text in shown if "failed: it does" in text]
    assert len(failed) == 1
    assert f"process {shown.index(failed[0])}: block nitrogen.0000 (nitrogen) failed" in failed[0]
    main([*call, "--json", "--quiet"])
    report = json.loads(capsys.readouterr().out)
    assert (report["rank"], report["world"], report["found"]) == (1, 2, 9)
    monkeypatch.delenv("WORLD_SIZE")
    main(call)
    assert capsys.readouterr().out.startswith("what ")


@pytest.mark.parametrize("command", ["check", "info", "pack", "fit-tau"])
def test_what_is_no_folder_of_a_data_set(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, bare = tmp_path / "set.h5", tmp_path / "bare"
    file.write_text("x")
    bare.mkdir()
    more = ["--out", str(tmp_path / "out")] if command == "pack" else []
    for path, what in (
        (tmp_path / "none", "no such folder"),
        (file, "this is a file, not a folder"),
        (bare, "no recipe.json in this folder"),
    ):
        assert main(["dataset", command, str(path), *more]) == 1
        said = capsys.readouterr().err
        assert f"{path}: {what}. " in said
        assert "data set" in said


def test_a_resolved_recipe_goes_round(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    write_recipe(path, RECIPE)
    assert read_recipe(path) == RECIPE
    values = json.loads(path.read_text())
    values["recipe"]["wrong"] = 1
    path.write_text(json.dumps(values))
    with pytest.raises(InputFileError, match="changed since molexa wrote it"):
        read_recipe(path)
    del values["checksum"]
    path.write_text(json.dumps(values))
    with pytest.raises(SettingsError, match="unknown key wrong"):
        read_recipe(path)
    path.write_text("{}")
    with pytest.raises(SettingsError, match="not a resolved recipe"):
        read_recipe(path)


def test_info_and_check_as_commands(built: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dataset", "info", str(built), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["totals"]["geometries"] == 18
    assert main(["dataset", "info", str(built)]) == 0
    assert "by element" in capsys.readouterr().out
    assert main(["dataset", "check", str(built), "--quiet"]) == 0
    assert "sound: 10 of 10 blocks" in capsys.readouterr().out
    assert main(["dataset", "check", str(built / "none")]) == 1
    assert "no such folder" in capsys.readouterr().err


@pytest.mark.parametrize("velocities", [False, True])
def test_vibrating_molecules_start_at_rest_unless_asked(velocities: bool) -> None:
    wanted = Variations(displaced=1, zero_point=1, velocities=velocities)
    recipe = dataclasses.replace(RECIPE, molecules=("water",), variations=wanted)
    seen: list[Any] = []

    def engine(symbols: Any, positions: Any, start: Any, *others: Any, **options: Any) -> Any:
        seen.append(start)
        return fake_explosions(symbols, positions, start, *others, **options)

    for block in plan(recipe):
        compute_block(recipe, block, engine=engine)
    if not velocities:
        assert seen == [None, None]
        return
    assert seen[0] is None or seen[1] is None
    start = next(item for item in seen if item is not None)
    still, moving = start
    assert not still.any()
    assert moving.any()
