"""What a data set of simulated explosions is made of: a recipe, resolved to plain values.

A recipe is read from YAML and checked by `base.settings.recipe`; here it is plain data, so that a
machine that only computes needs no schema library: it takes the resolved recipe as JSON.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Final

from molexa_core.base.checksums import digest_of
from molexa_core.base.errors import InputFileError, SettingsError, listing
from molexa_core.base.files import require_file, require_folder
from molexa_core.base.movies import Movie

RECIPE_FORMAT: Final = 1
"""Changes where the same recipe would mean another data set."""
_LATER: Final = "least"
_MOVIES: Final = "movies"
"""Keys that older resolved recipes do not have."""
RECIPE_FILE: Final = "recipe.json"
"""The resolved recipe in the folder of a data set."""
FOLDER_WANTED: Final = "Name the folder of a data set."
LARGEST_RECIPE: Final = 32 * 2**20
"""A longer file, in bytes, is not a resolved recipe."""


@dataclass(frozen=True)
class Variations:
    """How many geometries of a molecule are exploded.

    Attributes:
        equilibrium: whether the equilibrium geometry is one of them.
        displaced: draws for each number k = 1 .. N - 1 of displaced atoms.
        zero_point: draws from the vibrational ground state.
        thermal: draws from the thermal distribution.
        temperature_k: of the thermal draws.
        velocities: whether vibrating molecules start with the velocities that were drawn with
            their positions. The model has no bonds, and mean momenta are compared with geometries:
            at rest is the better choice for training.
        least: geometries that a molecule has at least, by its number of atoms; further displaced
            draws where the numbers above give fewer.
    """

    equilibrium: bool = True
    displaced: int = 1
    zero_point: int = 0
    thermal: int = 0
    temperature_k: float = 300.0
    velocities: bool = False
    least: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Splits:
    """How the entries are divided.

    Attributes:
        validation, test: shares of the entries, or of the geometries where they are split.
        set_aside_atoms: molecules of this many atoms and more are set aside.
    """

    validation: float = 0.1
    test: float = 0.1
    set_aside_atoms: int = 8


@dataclass(frozen=True)
class Recipe:
    """A data set, down to the last draw.

    Attributes:
        name: of the data set.
        seed: of every draw.
        molecules: names of the molecules, each once.
        variations: the geometries of each.
        pulse: arguments of `physics.mcmd.pulse.Pulse`.
        model: arguments of `physics.mcmd.options.Options`.
        trajectories: explosions per geometry.
        minimum_count: a combination of charges is kept where more explosions than this end in it.
        neutral_atoms: whether combinations with atoms that stay neutral are kept.
        splits: how the entries are divided.
        geometries_per_shard: geometries of one molecule that are computed and written together.
        movies: further molecules, in structures of the user's own; they have no variations.
    """

    name: str
    seed: int
    molecules: tuple[str, ...]
    variations: Variations = field(default_factory=Variations)
    pulse: Mapping[str, Any] = field(default_factory=dict)
    model: Mapping[str, Any] = field(default_factory=dict)
    trajectories: int = 100_000
    minimum_count: int = 300
    neutral_atoms: bool = False
    splits: Splits = field(default_factory=Splits)
    geometries_per_shard: int = 16
    movies: tuple[Movie, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as `from_dict` takes them."""
        values = asdict(replace(self, movies=()))
        values["molecules"] = list(self.molecules)
        # What came later is left out where it asks for nothing, so that the digests of recipes from
        # before there was such a key stay what they are.
        del values[_MOVIES]
        if self.movies:
            values[_MOVIES] = [movie.to_dict() for movie in self.movies]
        # As in JSON, where keys are texts.
        least = values["variations"].pop(_LATER)
        if least:
            values["variations"][_LATER] = {str(n): least[n] for n in sorted(least)}
        return values

    def digest(self) -> str:
        """A digest of everything in the recipe."""
        return digest_of({"format": RECIPE_FORMAT, "recipe": self.to_dict()})

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], *, where: object = None) -> Recipe:
        """The recipe of plain values that `to_dict` gave.

        Raises:
            SettingsError: a key is missing or unknown, or a value is of the wrong type.
        """
        _same_keys(values, [entry.name for entry in fields(cls)], where, "", optional=(_MOVIES,))
        parts: dict[str, Any] = {_MOVIES: [], **values}
        for name, kind in (("variations", Variations), ("splits", Splits)):
            known = [entry.name for entry in fields(kind)]
            _same_keys(parts[name], known, where, f"{name} -> ", optional=(_LATER,))
            parts[name] = kind(**parts[name])
        variations = parts["variations"]
        parts["variations"] = replace(variations, least=_by_atoms(variations.least, where))
        names = parts["molecules"]
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise SettingsError("molecules: expected a list of names", where=where)
        parts["molecules"] = tuple(names)
        if not isinstance(parts[_MOVIES], list):
            raise SettingsError(f"{_MOVIES}: expected a list", where=where)
        parts[_MOVIES] = tuple(Movie.from_dict(item, where=where) for item in parts[_MOVIES])
        for name in ("seed", "trajectories", "minimum_count", "geometries_per_shard"):
            if not isinstance(parts[name], int) or parts[name] < 0:
                raise SettingsError(
                    f"{name}: expected a whole number, found {parts[name]!r}", where=where
                )
        for name in ("pulse", "model"):
            if not isinstance(parts[name], dict):
                raise SettingsError(f"{name}: expected keys and values", where=where)
        return cls(**parts)


def write_recipe(path: Path, recipe: Recipe) -> None:
    """Write a resolved recipe as JSON."""
    values = {"format": RECIPE_FORMAT, "recipe": recipe.to_dict()}
    path.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


def read_recipe(path: Path | str) -> Recipe:
    """The resolved recipe in a JSON file.

    Raises:
        InputFileError: no such file.
        SettingsError: the file is not a resolved recipe, or of another format.
    """
    path = require_file(path)
    again = "Write it again with `molexa dataset resolve`."
    if path.stat().st_size > LARGEST_RECIPE:
        raise SettingsError("too large for a recipe", where=path, do=again)
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, UnicodeDecodeError) as error:
        raise SettingsError("not readable as JSON", where=path, do=again) from error
    if not isinstance(values, dict) or set(values) != {"format", "recipe"}:
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
        InputFileError: no such folder, or it has none.
        SettingsError: it is damaged.
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
    """Numbers of geometries by number of atoms, from the keys of JSON."""
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


def _same_keys(
    values: Any, known: list[str], where: object, prefix: str, *, optional: Sequence[str] = ()
) -> None:
    if not isinstance(values, dict):
        raise SettingsError(
            f"{prefix or 'recipe'}: expected keys and values, found {type(values).__name__}",
            where=where,
        )
    unknown = sorted(set(values) - set(known))
    missing = sorted(set(known) - set(values) - set(optional))
    if unknown or missing:
        what = f"unknown key {listing(unknown)}" if unknown else f"missing {listing(missing)}"
        raise SettingsError(f"{prefix}{what}", where=where, do=f"Allowed: {listing(known)}.")
