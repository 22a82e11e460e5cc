"""Division of the entries of a data set into training, validation and test.

There are three ways, in order of increasing difficulty for the network:

* `entry`: entry by entry, as published. The same geometry, with other charges, may be in the
  training, so that a look-up would find it.
* `geometry`: all entries of a geometry together. The molecules are in the training in other
  geometries.
* `molecule`: all entries of a molecule and its isomers together; the test molecules do not occur in
  the training.

The split by entry is stored with the entries; the others are derived from it, from the molecules,
or from the recipe. Every draw is a function of names and of the seed alone.
"""

from __future__ import annotations

import hashlib
from typing import Final

import numpy as np
from numpy.typing import NDArray

from molexa_core.base.errors import InputFileError, UsageError, listing, near_matches
from molexa_core.base.fields import SPLITS, VARIATION_KINDS
from molexa_core.base.tables import BoolArray
from molexa_core.pipeline.datasets.entries import EntryTable
from molexa_core.pipeline.datasets.recipe import Recipe, Splits

SPLIT_WAYS: Final = ("entry", "geometry", "molecule")
"""The ways to split a data set."""
GEOMETRY_STREAM: Final = "split by geometry"


def hashed(*parts: object) -> bytes:
    """A hash of 32 bytes of the parts."""
    return hashlib.sha256("\n".join(str(part) for part in parts).encode()).digest()


def uniform(*parts: object) -> float:
    """A number in [0, 1) from the hash of the parts."""
    return int.from_bytes(hashed(*parts)[:6], "little") / 2.0**48


def places(drawn: NDArray[np.float64], shares: Splits) -> NDArray[np.uint8]:
    """Index into `fields.SPLITS` of each uniform number: `train`, `validation` or `test`."""
    split = np.full(len(drawn), SPLITS.index("train"), np.uint8)
    split[drawn < shares.validation + shares.test] = SPLITS.index("test")
    split[drawn < shares.validation] = SPLITS.index("validation")
    return split


def check_split(split: str | None, by: str) -> None:
    """Check that a split exists.

    Raises:
        UsageError: it does not; the message lists the splits.
    """
    for what, name, known in (("split by", by, SPLIT_WAYS), ("split", split, SPLITS)):
        if name is not None and name not in known:
            near = near_matches(name, known)
            hint = f"Did you mean {listing(near)}?" if near else f"There are: {listing(known)}."
            raise UsageError(f"no {what} {name!r}", do=hint)


def rows_of(table: EntryTable, split: str, by: str, recipe: Recipe | None = None) -> BoolArray:
    """(E) whether an entry is in a split.

    Args:
        table: all entries of a data set.
        split: one of `fields.SPLITS`.
        by: one of `SPLIT_WAYS`.
        recipe: recipe of the data set; needed only for `geometry`.

    Raises:
        UsageError: no such split, or the recipe is missing.
        InputFileError: the data set has geometries that are not in the recipe.
    """
    check_split(split, by)
    train, validation, test, aside = (table.split == n for n in range(len(SPLITS)))
    chosen: dict[str, BoolArray]
    if by == "entry" or split == "set_aside":
        chosen = dict(zip(SPLITS, (train, validation, test, aside), strict=True))
        return chosen[split]
    held = table.held_out[table.molecule]
    if by == "molecule":
        chosen = {
            "train": ~held & (train | test),
            "validation": ~held & validation,
            "test": held & ~aside,
        }
        return chosen[split]
    if recipe is None:
        raise UsageError("a split by geometry needs the recipe of the data set")
    drawn = _of_geometries(table, recipe)
    rows: BoolArray = ~held & ~aside & (drawn == SPLITS.index(split))
    return rows


def _of_geometries(table: EntryTable, recipe: Recipe) -> NDArray[np.uint8]:
    """(E) index into `fields.SPLITS` of the geometry of each entry."""
    if len(table) == 0:
        return np.zeros(0, np.uint8)
    _, first, geometry = np.unique(table.geometry, return_index=True, return_inverse=True)
    atoms = table.atoms[first]
    called = {int(n): recipe.variations.labels(int(n)) for n in np.unique(atoms)}
    # Consecutive frames of a movie are similar: they stay in one split.
    one_name = {item.name: [VARIATION_KINDS[-1]] * len(item.frames) for item in recipe.movies}
    names = [table.names[number] for number in table.molecule[first]]
    known = [one_name.get(name, called[int(n)]) for name, n in zip(names, atoms, strict=True)]
    variation = table.variation[first]
    if any(not 0 <= number < len(of) for number, of in zip(variation, known, strict=True)):
        raise InputFileError("it has geometries that its recipe does not ask for")
    drawn = [
        uniform(recipe.seed, GEOMETRY_STREAM, name, of[number])
        for name, of, number in zip(names, known, variation, strict=True)
    ]
    split: NDArray[np.uint8] = places(np.array(drawn, np.float64), recipe.splits)[geometry]
    return split
