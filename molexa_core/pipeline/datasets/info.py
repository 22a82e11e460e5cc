"""Statistics of a data set, check of its files, and packing into fewer, larger files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from molexa_core.base import interruption
from molexa_core.base.errors import InputFileError, MolexaError, UsageError, listing
from molexa_core.base.fields import NOT_COUNTED, SPLITS, VARIATION_KINDS
from molexa_core.base.matter.elements import BY_NUMBER, element
from molexa_core.base.progress import SILENT, Progress
from molexa_core.base.storage.files import atomic_path, make_folder
from molexa_core.base.storage.outputs import FileKind
from molexa_core.base.storage.provenance import Provenance
from molexa_core.io.hdf5.file import has_checksum
from molexa_core.pipeline.datasets.blocks import BlockPlan, geometries_of, plan, split_of
from molexa_core.pipeline.datasets.entries import EntryBlock, EntryTable
from molexa_core.pipeline.datasets.movie_molecules import molecule_named
from molexa_core.pipeline.datasets.read import data_files, read_dataset
from molexa_core.pipeline.datasets.recipe import RECIPE_FILE, Recipe, recipe_of, write_recipe
from molexa_core.pipeline.datasets.shard_file import read_blocks, write_blocks
from molexa_core.pipeline.datasets.splits import SPLIT_WAYS, rows_of
from molexa_core.pipeline.output_guard import Output, data_set_inputs, require_outputs

MIB: Final = 2**20
_SUM_LIMIT: Final = 6.0
"""Largest deviation of the sum of the mean momenta of an entry from 0, in standard errors."""

Row = dict[str, str | int | float]
"""One row of a table: the values by the title of their column."""


@dataclass(frozen=True)
class DatasetReport:
    """The statistics of a data set.

    Attributes:
        name: name of the recipe.
        totals: total numbers by name.
        by_atoms: one row per number of atoms.
        by_element: one row per element.
        by_kind: one row per kind of variation.
        splits: entries of each split, by each of `pipeline.datasets.splits.SPLIT_WAYS`.
    """

    name: str
    totals: dict[str, float]
    by_atoms: list[Row]
    by_element: list[Row]
    by_kind: list[Row]
    splits: dict[str, dict[str, int]]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return dict(vars(self))


def describe(recipe: Recipe, table: EntryTable) -> DatasetReport:
    """The statistics of a data set.

    Args:
        recipe: recipe of the data set.
        table: all of its entries.
    """
    geometry = table.statistics
    trajectories = int(geometry["trajectories"].sum())
    kept = int(table.counts.sum())
    totals = {
        "molecules": len(table.names),
        "molecules held out": int(table.held_out.sum()),
        "geometries": len(geometry["trajectories"]),
        "trajectories": trajectories,
        "trajectories lost": int(np.maximum(geometry["lost"], 0).sum()),
        "geometries where they were not counted": int((geometry["lost"] == NOT_COUNTED).sum()),
        "combinations that occurred": int(geometry["combinations"].sum()),
        "entries": len(table),
        "trajectories in entries": kept,
        "share of trajectories in entries": kept / max(trajectories, 1),
        "share with a neutral atom": float(geometry["neutral"].sum()) / max(trajectories, 1),
        "photons per explosion": float(
            np.average(geometry["photons"], weights=geometry["trajectories"])
        ),
        "entries per geometry": len(table) / max(len(geometry["trajectories"]), 1),
        "median count of an entry": float(np.median(table.counts)) if len(table) else 0.0,
    }
    sizes = table.atoms
    by_atoms: list[Row] = [
        {
            "atoms": int(n),
            "molecules": len(np.unique(geometry["molecule"][geometry["atoms"] == n])),
            "geometries": int((geometry["atoms"] == n).sum()),
            "entries": int((sizes == n).sum()),
            "entries per geometry": float((sizes == n).sum() / (geometry["atoms"] == n).sum()),
            "mean total charge": _mean(table.charges[sizes == n].sum(axis=1)),
        }
        for n in np.unique(geometry["atoms"])
    ]
    return DatasetReport(
        name=recipe.name,
        totals=totals,
        by_atoms=by_atoms,
        by_element=list(_by_element(table)),
        by_kind=list(_by_kind(table)),
        splits=_splits(recipe, table),
    )


def tables_of(report: DatasetReport) -> list[tuple[str, list[str], list[list[Any]]]]:
    """Title, header and rows of each table of the statistics, for printing and for the docs."""
    totals: list[list[Any]] = [[name, _shown(value)] for name, value in report.totals.items()]
    splits: list[list[Any]] = [[by, *counts.values()] for by, counts in report.splits.items()]
    found = [(report.name, ["what", "number"], totals)]
    for title, items in (
        ("by number of atoms", report.by_atoms),
        ("by element", report.by_element),
        ("by kind of geometry", report.by_kind),
    ):
        header = list(items[0]) if items else []
        found.append((title, header, [[_shown(v) for v in item.values()] for item in items]))
    found.append(("splits (entries)", ["split", *SPLITS], splits))
    return found


def _shown(value: Any) -> Any:
    return f"{value:.4g}" if isinstance(value, float) else value


def describe_folder(folder: Path | str) -> DatasetReport:
    """The statistics of the data set in a folder.

    Raises:
        InputFileError: no data set, or a damaged file.
    """
    return describe(recipe_of(folder), read_dataset(folder))


@dataclass(frozen=True)
class CheckReport:
    """Result of `check`: is a data set complete and without faults?

    Attributes:
        blocks: number of blocks in the recipe.
        missing: names of missing blocks.
        faults: one sentence for every other fault.
        entries: number of entries that were checked.
        without_checksum: files without a checksum (up to version 0.1), whose damage would not be
            noticed.
    """

    blocks: int
    missing: tuple[str, ...]
    faults: tuple[str, ...]
    entries: int
    without_checksum: int = 0

    @property
    def sound(self) -> bool:
        """Nothing is missing or wrong."""
        return not self.missing and not self.faults


def check(folder: Path | str, *, progress: Progress = SILENT) -> CheckReport:
    """Read all files and compare them with the recipe.

    Checked are: every file agrees with its checksum; every block exists once, with the digest of
    recipe, molecule and version; geometries are those that the recipe draws; counts are above the
    minimum; charges are possible; momenta of an entry add up to zero within their errors; splits
    are those of the recipe.

    Raises:
        InputFileError: the folder holds no data set.
    """
    recipe = recipe_of(folder)
    expected = recipe.digest()
    wanted = {block.name: block for block in plan(recipe)}
    seen: set[str] = set()
    faults: list[str] = []
    entries = without_checksum = 0
    files = data_files(folder)
    with progress.task("checking", len(files), "files") as task:
        for path in files:
            try:
                blocks, digest = read_blocks(path)
                without_checksum += not has_checksum(path)
            except MolexaError as error:
                faults.append(str(error))
                continue
            if digest != expected:
                faults.append(f"{path}: made by another recipe than {RECIPE_FILE}")
            for block in blocks:
                if block.name in seen:
                    faults.append(f"{path}: block {block.name} is there twice")
                seen.add(block.name)
                entries += block.n_entries
                faults += [
                    f"{path}: block {block.name}: {fault}"
                    for fault in _faults(recipe, wanted.get(block.name), block)
                ]
            task.advance()
    missing = tuple(sorted(set(wanted) - seen))
    return CheckReport(len(wanted), missing, tuple(faults), entries, without_checksum)


def pack(
    folder: Path | str,
    out: Path | str,
    *,
    largest_mib: float = 15.0,
    progress: Progress = SILENT,
) -> list[Path]:
    """Write a data set into few files of limited size.

    Args:
        folder: folder of the data set, complete or not.
        out: another folder, created if it does not exist; earlier packs in it are replaced.
        largest_mib: largest size of a file in MiB, unless a single block is larger.
        progress: display of the progress.

    Returns:
        The files written, `recipe.json` last.

    Raises:
        UsageError: both folders are the same, or `out` holds other data.
        InputFileError: no data set, or a damaged file.
    """
    folder, out = Path(folder), Path(out)
    recipe = recipe_of(folder)
    if out.resolve() == folder.resolve():
        raise UsageError("both folders are the same", where=out, do="Name another folder.")
    packs: list[Output] = [(path, FileKind.DATASET) for path in out.glob("pack-*.h5")]
    require_outputs(
        (out / RECIPE_FILE, FileKind.RECIPE), *packs, inputs=data_set_inputs(folder), folder=out
    )
    make_folder(out)
    stray = sorted(path.name for path in out.glob("*.h5") if not path.name.startswith("pack-"))
    if stray:
        raise UsageError(
            f"this folder holds other data ({listing(stray)})", where=out, do="Name another folder."
        )
    record = Provenance.of(seed=recipe.seed)
    expected = recipe.digest()
    files = data_files(folder)
    groups = _groups(files, largest_mib * MIB)
    written: list[Path] = []
    # Earlier packs are replaced only after all new ones have been written.
    with ExitStack() as finished, progress.task("packing", len(files), "files") as task:
        for group in groups:
            blocks: list[EntryBlock] = []
            for path in group:
                found, digest = read_blocks(path)
                if digest != expected:
                    raise InputFileError("made by another recipe", where=path)
                blocks += found
                task.advance()
            left = [blocks]
            while left:
                target = out / f"pack-{len(written):03d}.h5"
                part = finished.enter_context(atomic_path(target))
                left += _write_pack(part, left.pop(), largest_mib * MIB, expected, record)
                written.append(target)
        interruption.check()
        with interruption.held():
            finished.close()
    for path in out.glob("pack-*.h5"):
        if path not in written:
            path.unlink()
    with atomic_path(out / RECIPE_FILE) as temporary:
        write_recipe(temporary, recipe)
    return [*written, out / RECIPE_FILE]


def _groups(files: list[Path], largest: float) -> list[list[Path]]:
    """Groups of consecutive files whose total size is at most `largest`.

    A pack is never larger than the sum of its files.
    """
    groups: list[list[Path]] = [[]]
    size = 0.0
    for path in files:
        this = path.stat().st_size
        if groups[-1] and size + this > largest:
            groups.append([])
            size = 0.0
        groups[-1].append(path)
        size += this
    return groups


def _write_pack(
    path: Path, blocks: list[EntryBlock], largest: float, digest: str, record: Provenance
) -> list[list[EntryBlock]]:
    """Write as many blocks as fit, by halving; returns the remaining ones, the last first."""
    left: list[list[EntryBlock]] = []
    while True:
        write_blocks(path, blocks, digest, record)
        if path.stat().st_size <= largest or len(blocks) == 1:
            return left
        middle = len(blocks) // 2
        left.append(blocks[middle:])
        blocks = blocks[:middle]


def _faults(recipe: Recipe, wanted: BlockPlan | None, block: EntryBlock) -> Iterator[str]:
    if wanted is None:
        yield "not in the recipe"
        return
    if block.digest != wanted.digest:
        yield "made by other settings, another geometry or another version"
        return
    if [item.variation for item in block.geometries] != list(range(wanted.first, wanted.last)):
        yield "other variations than the recipe's"
        return
    found = molecule_named(recipe, block.molecule)
    drawn = geometries_of(recipe, found)
    numbers = [element(symbol).number for symbol in found.geometry.symbols]
    if block.numbers.tolist() != numbers:
        yield "other elements than the molecule's"
        return
    if block.held_out != (found.split == "held-out"):
        yield "held out otherwise than by the recipe"
    most = np.array([element(symbol).number for symbol in found.geometry.symbols])
    for item, split in zip(block.geometries, block.splits, strict=True):
        label = drawn[item.variation].label
        expected = drawn[item.variation].geometry.positions
        if np.abs(item.positions - expected).max() > 1e-4:
            yield f"{label}: not the geometry that the recipe draws"
        if (item.counts <= recipe.minimum_count).any() or item.counts.sum() > item.trajectories:
            yield f"{label}: impossible counts"
        if ((item.charges < 0) | (item.charges > most)).any():
            yield f"{label}: impossible charges"
        if (split != split_of(recipe, block.molecule, label, item.charges)).any():
            yield f"{label}: another split than the recipe's"
        # Stored mean momenta are rounded individually to a fraction of their error.
        total = np.abs(item.momenta.astype(np.float64).sum(axis=1))
        allowed = _SUM_LIMIT * np.sqrt((item.errors.astype(np.float64) ** 2).sum(axis=1)) + 1e-3
        if (total > allowed).any():
            yield f"{label}: momenta that do not add up to zero"


def _by_element(table: EntryTable) -> Iterator[Row]:
    for number in np.unique(table.numbers[table.mask]):
        atoms = (table.numbers == number) & table.mask
        charges = table.charges[atoms].astype(np.int64)
        yield {
            "element": BY_NUMBER[int(number)].symbol,
            "entries": int(atoms.any(axis=1).sum()),
            "ions": int(atoms.sum()),
            "mean charge": float(charges.mean()),
            "lowest": int(charges.min()),
            "highest": int(charges.max()),
        }


def _by_kind(table: EntryTable) -> Iterator[Row]:
    kinds = table.statistics["kind"]
    for kind in np.unique(kinds):
        yield {
            "kind": VARIATION_KINDS[int(kind)],
            "geometries": int((kinds == kind).sum()),
            "entries": int((table.kind == kind).sum()),
        }


def _splits(recipe: Recipe, table: EntryTable) -> dict[str, dict[str, int]]:
    return {
        f"by {by}": {split: int(rows_of(table, split, by, recipe).sum()) for split in SPLITS}
        for by in SPLIT_WAYS
    }


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else 0.0
