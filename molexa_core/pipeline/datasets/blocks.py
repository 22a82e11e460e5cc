"""The geometries of a data set, divided into blocks that are computed independently.

A block consists of consecutive variations of one molecule. Its result depends on the seed of the
recipe, the molecule and the numbers of the variations, not on other blocks. Blocks can therefore be
computed in any order and on any machine, and those of an earlier build are reused.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from molexa_core import __version__
from molexa_core.base.errors import InputFileError, SettingsError
from molexa_core.base.fields import SPLITS, VARIATION_KINDS
from molexa_core.base.matter.elements import element
from molexa_core.base.storage.checksums import digest_of
from molexa_core.base.storage.resources import find
from molexa_core.base.tables import FloatArray
from molexa_core.physics.molecules.library import Molecule, molecule, molecules
from molexa_core.physics.molecules.variations import Variation, variations
from molexa_core.pipeline.datasets.movie_molecules import (
    all_names,
    check_movies,
    frames_of,
    molecule_named,
    movie_named,
    read_movie,
)
from molexa_core.pipeline.datasets.recipe import (
    RECIPE_FORMAT,
    Explosions,
    Recipe,
    read_recipe,
)
from molexa_core.pipeline.datasets.splits import hashed, places, uniform

_NO_RECIPES: Final = ("setup",)
"""Shipped templates that are not recipes."""
SPLIT_STREAM: Final = "split"
TRAJECTORY_STREAM: Final = "trajectories"


@dataclass(frozen=True)
class BlockPlan:
    """Consecutive variations of one molecule.

    Attributes:
        name: file name without suffix.
        digest: of everything that the result depends on.
        molecule: name of the molecule.
        atoms: its number of atoms.
        first: number of the first variation.
        last: number of the last variation plus one.
        trajectories: number of explosions of all variations together.
    """

    name: str
    digest: str
    molecule: str
    atoms: int
    first: int
    last: int
    trajectories: int


def resolve(path: Path | str) -> Recipe:
    """Read a recipe: a YAML file, or JSON as written by `molexa dataset resolve`.

    Args:
        path: the file, or the name of a shipped recipe, such as `stage2`.

    Raises:
        InputFileError: no such file.
        SettingsError: the recipe is not valid, or names molecules that do not exist.
    """
    path = Path(path)
    if path.suffix == ".json":
        recipe = read_recipe(path)
        _check(recipe, path)
        return recipe
    # The schema library is imported only here: a machine with a resolved recipe does not need
    # it.
    from molexa_core.pipeline.datasets.recipe_file import load_recipe  # noqa: PLC0415

    path = find("templates", str(path), ".yaml", what="recipe", but=_NO_RECIPES)
    settings = load_recipe(path)
    choice = settings.molecules
    wanted = None if choice.names == "all" else _canonical_names(choice.names, path)
    left_out = _canonical_names(choice.exclude, path)
    chosen = [
        found.name
        for found in molecules(
            splits=choice.splits, elements=choice.elements, atoms=(choice.smallest, choice.largest)
        )
        if (wanted is None or found.name in wanted) and found.name not in left_out
    ]
    movies = tuple(
        read_movie(path.parent / item.file, held_out=item.held_out, largest=choice.largest)
        for item in settings.movies
    )
    # A recipe without shipped molecules is valid if it has movies.
    if not chosen and not (movies and choice.names == ()):
        raise SettingsError(
            "molecules: no shipped molecule meets all conditions",
            where=path,
            do="`molexa molecules` lists them.",
        )
    stated = {entry.name: getattr(settings, entry.name) for entry in fields(Explosions)}
    recipe = Recipe(**stated, molecules=tuple(chosen), movies=movies)
    _check(recipe, path)
    return recipe


def recipe_inputs(path: Path | str) -> list[Path]:
    """The files that `resolve` reads: the recipe and the movies named in it.

    Raises:
        InputFileError, SettingsError: as `resolve`.
    """
    path = Path(path)
    if path.suffix == ".json":
        return [path]
    from molexa_core.pipeline.datasets.recipe_file import load_recipe  # noqa: PLC0415

    path = find("templates", str(path), ".yaml", what="recipe", but=_NO_RECIPES)
    return [path, *(path.parent / item.file for item in load_recipe(path).movies)]


def plan(recipe: Recipe) -> list[BlockPlan]:
    """The blocks of a data set, large molecules first, so that workers finish together.

    Raises:
        InputFileError: a molecule is not in the shipped library.
    """
    blocks = []
    for name in all_names(recipe):
        found = molecule_named(recipe, name)
        movie = movie_named(recipe, name)
        total = len(movie.frames) if movie else variation_count(recipe, len(found.geometry))
        for first in range(0, total, recipe.geometries_per_shard):
            last = min(first + recipe.geometries_per_shard, total)
            blocks.append(
                BlockPlan(
                    name=block_name(name, first),
                    digest=_digest(recipe, found, first, last),
                    molecule=name,
                    atoms=len(found.geometry),
                    first=first,
                    last=last,
                    trajectories=(last - first) * recipe.trajectories,
                )
            )
    return sorted(blocks, key=lambda block: (-block.atoms, block.name))


def variation_count(recipe: Recipe, atoms: int) -> int:
    """Number of geometries of a shipped molecule with this number of atoms."""
    return recipe.variations.count(atoms)


def geometries_of(recipe: Recipe, found: Molecule) -> list[Variation]:
    """All variations of a molecule; the number of a variation is its index."""
    movie = movie_named(recipe, found.name)
    if movie is not None:
        return frames_of(movie)
    return variations(found, recipe.variations, seed=recipe.seed)


def stream_seed(recipe: Recipe, name: str) -> int:
    """The seed of all trajectories of a molecule, 63 bits."""
    return int.from_bytes(hashed(recipe.seed, TRAJECTORY_STREAM, name)[:8], "little") >> 1


def split_of(recipe: Recipe, name: str, label: str, charges: NDArray[np.int8]) -> NDArray[np.uint8]:
    """(entries) the split of each entry of a geometry, as index into `fields.SPLITS`.

    It is a function of seed, molecule, label of the variation and charges alone.

    Args:
        recipe: gives the seed and the shares of the splits.
        name: name of the molecule.
        label: label of the variation.
        charges: (entries, atoms).
    """
    shares = recipe.splits
    if charges.shape[1] >= shares.set_aside_atoms:
        return np.full(len(charges), SPLITS.index("set_aside"), np.uint8)
    texts = [",".join(str(int(charge)) for charge in row) for row in charges]
    drawn = [uniform(recipe.seed, SPLIT_STREAM, name, label, text) for text in texts]
    return places(np.array(drawn, np.float64), shares)


def kind_number(variation: Variation) -> int:
    """Index of the kind of a variation in `fields.VARIATION_KINDS`."""
    return VARIATION_KINDS.index(variation.kind)


def block_name(name: str, first: int) -> str:
    """File name of a block: the name of the molecule in characters valid on any file system."""
    plain = re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_")
    # A hash distinguishes names that differ only in replaced characters.
    mark = "" if plain == name else f"-{hashlib.sha256(name.encode()).hexdigest()[:6]}"
    return f"{plain}{mark}.{first:04d}"


def _check(recipe: Recipe, path: Path) -> None:
    """Check everything that would otherwise fail later, after hours of computation."""
    nothing = not (recipe.molecules or recipe.movies)
    if len(set(recipe.molecules)) != len(recipe.molecules) or nothing:
        raise SettingsError("molecules: names must be there once each", where=path)
    check_movies(recipe, path)
    _canonical_names(recipe.molecules, path)
    for name in recipe.molecules:
        if variation_count(recipe, len(molecule(name).geometry)) == 0:
            raise SettingsError("variations: no geometry is asked for", where=path)


def _canonical_names(names: Sequence[str], path: Path) -> set[str]:
    """The names of the molecules given by name, alias or formula."""
    try:
        return {molecule(name).name for name in names}
    except InputFileError as error:
        raise SettingsError(f"molecules: {error.what}", where=path, do=error.do) from error


def _digest(recipe: Recipe, found: Molecule, first: int, last: int) -> str:
    movie = movie_named(recipe, found.name)
    values: dict[str, Any] = replace(recipe, movies=()).to_dict()
    for name in ("name", "molecules", "geometries_per_shard"):
        del values[name]
    exact = [value.hex() for value in found.geometry.positions.ravel().tolist()]
    if movie is not None:
        exact = [value.hex() for frame in movie.frames[first:last] for value in frame]
    return digest_of(
        {
            "format": RECIPE_FORMAT,
            "version": __version__,
            "recipe": values,
            "molecule": found.name,
            "symbols": list(found.geometry.symbols),
            "positions": exact,
            "variations": [first, last],
        }
    )


def numbers_of(found: Molecule) -> NDArray[np.uint8]:
    """(atoms) atomic numbers."""
    symbols = found.geometry.symbols
    return np.array([element(symbol).number for symbol in symbols], np.uint8)


def velocities_of(recipe: Recipe, chosen: list[Variation]) -> FloatArray | None:
    """(geometries, atoms, 3) initial velocities; None where all are at rest."""
    if not recipe.variations.velocities or all(item.velocities is None for item in chosen):
        return None
    still = np.zeros_like(chosen[0].geometry.positions)
    return np.array([still if item.velocities is None else item.velocities for item in chosen])
