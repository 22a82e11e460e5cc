"""The recipe of a data set of simulated explosions, resolved to plain values.

Users write a recipe as YAML (`pipeline.datasets.recipe_file`). The resolved recipe is plain data in
JSON, so that a machine that only computes does not need the schema library.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, Any, Final

from molexa_core.base.errors import InputFileError, SettingsError, UsageError
from molexa_core.base.forward_model import ModelOptions, Pulse
from molexa_core.base.parameter import SEED, Parameter, Parameters, of_plain, require_keys
from molexa_core.base.storage.checksums import digest_of, sealed, unsealed
from molexa_core.base.storage.files import require_folder
from molexa_core.base.storage.json_file import read_json
from molexa_core.physics.molecules.draws import Variations
from molexa_core.pipeline.datasets.movies import Movie

RECIPE_FORMAT: Final = 1
"""Version: changes when the same recipe would give another data set."""
_LATER: Final = "least"
_MOVIES: Final = "movies"
"""Keys that are missing in older resolved recipes."""
RECIPE_FILE: Final = "recipe.json"
"""File name of the resolved recipe in the folder of a data set."""
FOLDER_WANTED: Final = "Name the folder of a data set."
LARGEST_RECIPE: Final = 32 * 2**20
"""Largest size of a resolved recipe, bytes."""


@dataclass(frozen=True)
class Splits(Parameters):
    """Division of the entries into training, validation and test.

    Attributes:
        validation, test: shares of the entries, or of the geometries if the split is by geometry;
            the rest is for training.
        set_aside_atoms: molecules with at least this number of atoms are set aside.

    Raises:
        UsageError: a share is out of range, or nothing is left for training.
    """

    validation: Annotated[float, Parameter("share of the validation", "", 0.0, 1.0)] = 0.1
    test: Annotated[float, Parameter("share of the test", "", 0.0, 1.0)] = 0.1
    set_aside_atoms: Annotated[
        int, Parameter("number of atoms from which molecules are set aside", "", 2, 1000)
    ] = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.validation + self.test >= 1.0:
            taken = self.validation + self.test
            raise UsageError(
                f"validation and test together take {taken:g}, which leaves nothing to train on",
                do="Give shares with a sum below 1.",
            )


@dataclass(frozen=True, kw_only=True)
class Explosions(Parameters):
    """The part of a recipe on geometries, explosions and kept results, without the molecules.

    Attributes:
        name: name of the data set.
        seed: of all random draws.
        variations: the geometries of each shipped molecule.
        pulse: the X-ray pulse.
        model: switches of the model.
        trajectories: number of explosions per geometry.
        minimum_count: a combination of charges is kept if more explosions than this end in it.
        neutral_atoms: whether combinations with atoms that stay neutral are kept.
        splits: division of the entries.
        geometries_per_shard: number of geometries of one molecule that are computed and written
            together; an interrupted build loses at most these, for each worker.

    Raises:
        UsageError: a value is out of range.
    """

    name: Annotated[str, Parameter("name of the data set")] = "stage2"
    seed: Annotated[int, SEED] = 0
    variations: Variations = field(default_factory=Variations)
    pulse: Pulse = field(default_factory=Pulse)
    model: ModelOptions = field(default_factory=ModelOptions)
    trajectories: Annotated[int, Parameter("number of explosions per geometry", "", 1, 10**9)] = (
        100_000
    )
    minimum_count: Annotated[
        int, Parameter("least count of a combination of charges", "", 1, 10**9)
    ] = 300
    neutral_atoms: Annotated[bool, Parameter("keep combinations with neutral atoms")] = False
    splits: Splits = field(default_factory=Splits)
    geometries_per_shard: Annotated[
        int, Parameter("number of geometries that are written together", "", 1, 4096)
    ] = 16

    def __post_init__(self) -> None:
        super().__post_init__()
        if not re.fullmatch(r"[A-Za-z0-9._-]+", self.name):
            raise UsageError(
                f"the name of the data set is {self.name!r}",
                where="name",
                do="Use letters, digits, dot, dash and underscore.",
            )


_PARTS: Final[Mapping[str, type]] = {
    "variations": Variations,
    "pulse": Pulse,
    "model": ModelOptions,
    "splits": Splits,
}
"""The blocks of a recipe."""


@dataclass(frozen=True, kw_only=True)
class Recipe(Explosions):
    """The complete recipe of a data set; it determines every random draw.

    Attributes:
        molecules: names of the shipped molecules, each once.
        movies: further molecules in user-supplied structures, without variations.
    """

    molecules: tuple[str, ...]
    movies: tuple[Movie, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values for `from_dict`."""
        values = asdict(replace(self, movies=()))
        values["molecules"] = list(self.molecules)
        # Keys that were added later are left out if they are empty, so that the digests of older
        # recipes do not change.
        del values[_MOVIES]
        if self.movies:
            values[_MOVIES] = [movie.to_dict() for movie in self.movies]
        # As in JSON, where keys are strings.
        least = values["variations"].pop(_LATER)
        if least:
            values["variations"][_LATER] = {str(n): least[n] for n in sorted(least)}
        return values

    def digest(self) -> str:
        """A digest of everything in the recipe."""
        return digest_of({"format": RECIPE_FORMAT, "recipe": self.to_dict()})

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], *, where: object = None) -> Recipe:
        """The recipe from the plain values of `to_dict`.

        Raises:
            SettingsError: a key is missing or unknown, or a value has the wrong type or is out of
                range.
        """
        known = [entry.name for entry in fields(cls)]
        require_keys(values, known, where, "", optional=(_MOVIES,))
        parts: dict[str, Any] = {_MOVIES: [], **values}
        variations = parts["variations"]
        if isinstance(variations, dict) and _LATER in variations:
            least = _by_atoms(variations[_LATER], where)
            parts["variations"] = {**variations, _LATER: least}
        for name, kind in _PARTS.items():
            parts[name] = of_plain(kind, parts[name], where=where, key=name, optional=(_LATER,))
        names = parts["molecules"]
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise SettingsError("molecules: expected a list of names", where=where)
        parts["molecules"] = tuple(names)
        if not isinstance(parts[_MOVIES], list):
            raise SettingsError(f"{_MOVIES}: expected a list", where=where)
        parts[_MOVIES] = tuple(Movie.from_dict(item, where=where) for item in parts[_MOVIES])
        return of_plain(cls, parts, where=where, key="recipe", optional=(_MOVIES,))


def write_recipe(path: Path, recipe: Recipe) -> None:
    """Write a resolved recipe as JSON, with its checksum."""
    values = {"format": RECIPE_FORMAT, "recipe": recipe.to_dict()}
    path.write_text(json.dumps(sealed(values), indent=2) + "\n", encoding="utf-8")


def read_recipe(path: Path | str) -> Recipe:
    """Read a resolved recipe from a JSON file; files of early versions have no checksum.

    Raises:
        InputFileError: the file does not exist, or has changed since it was written.
        SettingsError: the file is not a resolved recipe, or of another format.
    """
    again = "Write it again with `molexa dataset resolve`."
    stored = read_json(
        path, largest=LARGEST_RECIPE, what="a resolved recipe", do=again, error=SettingsError
    )
    values, _ = unsealed(stored, where=path)
    if set(values) != {"format", "recipe"}:
        raise SettingsError("this is not a resolved recipe", where=path, do=again)
    if values["format"] != RECIPE_FORMAT:
        raise SettingsError(
            f"recipe format {values['format']!r}, this molexa knows {RECIPE_FORMAT}",
            where=path,
            do=again,
        )
    return Recipe.from_dict(values["recipe"], where=path)


def recipe_of(folder: Path | str) -> Recipe:
    """The recipe of the data set in a folder.

    Raises:
        InputFileError: the folder does not exist or has no recipe.
        SettingsError: the recipe is damaged.
    """
    path = require_folder(folder, do=FOLDER_WANTED) / RECIPE_FILE
    if not path.is_file():
        raise InputFileError(f"no {RECIPE_FILE} in this folder", where=folder, do=FOLDER_WANTED)
    return read_recipe(path)


def differences(one: Recipe, other: Recipe) -> list[str]:
    """The names of the parts in which two recipes differ."""
    a, b = one.to_dict(), other.to_dict()
    return [name for name in a | b if a.get(name) != b.get(name)]


def _by_atoms(values: Any, where: object) -> dict[int, int]:
    """Numbers of geometries by number of atoms; in JSON the keys are strings."""
    good = isinstance(values, dict) and all(
        str(atoms).isdecimal() and type(count) is int and count > 0
        for atoms, count in values.items()
    )
    if not good:
        raise SettingsError(
            f"variations -> {_LATER}: expected numbers of geometries by number of atoms, "
            f"found {values!r}",
            where=where,
        )
    return {int(atoms): count for atoms, count in values.items()}
