"""Read data sets of simulated explosions: a folder of HDF5 files into dense arrays."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from molexa_core.base import fields
from molexa_core.base.errors import InputFileError
from molexa_core.base.storage.files import require_folder
from molexa_core.pipeline.datasets.entries import EntryTable, padded
from molexa_core.pipeline.datasets.recipe import FOLDER_WANTED, RECIPE_FILE, recipe_of
from molexa_core.pipeline.datasets.shard_file import MOST_ATOMS, STRINGS, Content, read_content
from molexa_core.pipeline.datasets.splits import check_split, rows_of

_G, _E, _M = fields.GEOMETRIES, fields.ENTRIES, fields.MOLECULES
_STATISTICS: Final = (
    fields.MOLECULE,
    fields.VARIATION_KIND,
    fields.DISPLACED,
    fields.TRAJECTORIES,
    fields.COMBINATIONS,
    fields.NEUTRAL,
    fields.PHOTONS,
    fields.LOST,
)


def data_files(folder: Path | str) -> list[Path]:
    """The HDF5 files of a data set, sorted by name.

    Raises:
        InputFileError: the folder does not exist or has no HDF5 file.
    """
    folder = require_folder(folder, do=FOLDER_WANTED)
    found = sorted(path for path in folder.glob("*.h5") if not path.name.startswith("."))
    if not found:
        raise InputFileError(
            "no .h5 files in this folder",
            where=folder,
            do="Make the data set with `molexa dataset build`.",
        )
    return found


def read_dataset(folder: Path | str, split: str | None = None, *, by: str = "entry") -> EntryTable:
    """The entries of a data set as dense arrays.

    Args:
        folder: folder of a data set, with shards or packs.
        split: `train`, `validation`, `test` or `set_aside`; all entries if not given.
        by: `entry`: the split is by entry, as published. `geometry`: all entries of a geometry
            are in the same split, and the held-out molecules are in none. `molecule`: the test
            set consists of all entries of the held-out molecules, none of which is in training
            or validation.

    Raises:
        UsageError: no such split.
        InputFileError: no data set, a damaged file, files of different recipes, or a block that
            occurs twice; for `geometry` also a missing recipe, or that of another data set.
    """
    check_split(split, by)
    contents = [read_content(path) for path in data_files(folder)]
    table = _joined(contents)
    if split is None:
        return table
    recipe = None
    if by == "geometry":
        recipe = recipe_of(folder)
        if recipe.digest() != contents[0].recipe:
            raise InputFileError(
                f"made by another recipe than {RECIPE_FILE}", where=contents[0].path
            )
    return table.select(rows_of(table, split, by, recipe))


def _joined(contents: Sequence[Content]) -> EntryTable:
    """All files as one table, molecules merged by name, geometries numbered consecutively."""
    _require_one_set(contents)
    names: dict[str, int] = {}
    held: list[bool] = []
    parts: dict[str, list[NDArray[Any]]] = {}
    width = max((int(item.entry_atoms.max(initial=0)) for item in contents), default=0)
    geometries = 0
    for item in contents:
        c = item.columns
        here = item.strings[STRINGS[2]]
        for name, out in zip(here, c[f"{_M}/{fields.HELD_OUT}"], strict=True):
            if name not in names:
                names[name] = len(names)
                held.append(bool(out))
        place = np.array([names[name] for name in here], np.int32)
        molecule = place[c[f"{_G}/{fields.MOLECULE}"]]
        row, atoms = c[f"{_E}/{fields.GEOMETRY}"], item.entry_atoms
        number = padded(c[f"{_M}/{fields.ATOMIC_NUMBER}"], c[f"{_M}/{fields.ATOMS}"], MOST_ATOMS)
        position = padded(c[f"{_G}/{fields.POSITION}"], item.geometry_atoms, width)
        columns = {
            "numbers": number[c[f"{_G}/{fields.MOLECULE}"]][row][:, :width],
            "charges": padded(c[f"{_E}/{fields.CHARGE}"], atoms, width),
            "momenta": padded(c[f"{_E}/{fields.EVENT_MOMENTUM}"], atoms, width),
            "errors": padded(c[f"{_E}/{fields.ERROR}"].astype("f4"), atoms, width),
            "positions": position[row],
            "mask": np.arange(width) < atoms[:, None],
            "counts": c[f"{_E}/{fields.COUNT}"].astype(np.int64),
            "molecule": molecule[row],
            "variation": c[f"{_G}/{fields.VARIATION}"][row],
            "kind": c[f"{_G}/{fields.VARIATION_KIND}"][row],
            "geometry": row + np.int32(geometries),
            "split": c[f"{_E}/{fields.SPLIT}"],
        }
        statistics = {name: c[f"{_G}/{name}"] for name in _STATISTICS}
        statistics |= {fields.MOLECULE: molecule, fields.ATOMS: item.geometry_atoms}
        columns |= {f"statistics/{name}": column for name, column in statistics.items()}
        for name, column in columns.items():
            parts.setdefault(name, []).append(column)
        geometries += len(molecule)
    whole = {name: np.concatenate(columns) for name, columns in parts.items()}
    statistics = {
        name.removeprefix("statistics/"): whole.pop(name)
        for name in list(whole)
        if name.startswith("statistics/")
    }
    return EntryTable(
        names=tuple(names), held_out=np.array(held, np.bool_), statistics=statistics, **whole
    )


def _require_one_set(contents: Iterable[Content]) -> None:
    """Check that the files have the same recipe and that no block occurs in two files."""
    seen: dict[str, Path] = {}
    first: Content | None = None
    for item in contents:
        first = first or item
        if item.recipe != first.recipe:
            raise InputFileError(
                f"made by another recipe than {first.path.name}",
                where=item.path,
                do="Keep the files of one recipe in a folder.",
            )
        for name in item.strings[STRINGS[0]]:
            if name in seen:
                raise InputFileError(
                    f"block {name} is also in {seen[name].name}",
                    where=item.path,
                    do="Delete one of the two files.",
                )
            seen[name] = item.path
