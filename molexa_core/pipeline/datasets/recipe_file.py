"""The recipe file of a data set of simulated explosions, such as `stage2.yaml`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from molexa_core.base.settings.load import parse_settings
from molexa_core.base.settings.schema import Schema
from molexa_core.base.settings.yaml_file import read_yaml
from molexa_core.pipeline.datasets.recipe import Explosions


class MoleculeChoice(Schema):
    """Choice of shipped molecules; a molecule must meet all conditions.

    Attributes:
        names: `all`, or a list of names.
        exclude: names to leave out.
        elements: molecules with any other element are left out.
        splits: groups of molecules (shown by `molexa molecules`): `train`, `held-out`, `large`,
            `other`.
        smallest, largest: limits of the number of atoms.
    """

    names: Literal["all"] | tuple[str, ...] = "all"
    exclude: tuple[str, ...] = ()
    elements: tuple[str, ...] = ("H", "C", "N", "O", "F", "Si", "P", "S", "Cl")
    splits: tuple[Literal["train", "held-out", "large", "other"], ...] = (
        "train",
        "held-out",
        "large",
    )
    smallest: int = Field(default=2, ge=2)
    largest: int = Field(default=9, ge=2, le=64)

    @model_validator(mode="after")
    def _sizes(self) -> MoleculeChoice:
        if self.smallest > self.largest:
            msg = f"smallest is {self.smallest}, largest is {self.largest}: no molecule fits"
            raise ValueError(msg)
        return self


class MovieFile(Schema):
    """A movie of the user; in the recipe a path alone means this with the default values.

    Attributes:
        file: XYZ file, relative to the recipe; every structure in it is a geometry. The name of
            the file is that of the molecule.
        held_out: whether the molecule is kept out of training in the splits by geometry and by
            molecule.
    """

    file: Path
    held_out: bool = True

    @model_validator(mode="before")
    @classmethod
    def _path_alone(cls, value: Any) -> Any:
        return {"file": value} if isinstance(value, str) else value


@dataclass(frozen=True, kw_only=True)
class RecipeFile(Explosions):
    """The contents of a recipe file.

    Attributes:
        molecules: choice of shipped molecules; `{names: []}` for none.
        movies: XYZ files of the user with further molecules.
    """

    molecules: MoleculeChoice = field(default_factory=MoleculeChoice)
    movies: tuple[MovieFile, ...] = ()


def load_recipe(path: Path | str) -> RecipeFile:
    """Read a recipe from a YAML file.

    Raises:
        InputFileError: no such file.
        SettingsError: the file is not a valid recipe.
    """
    return parse_settings(RecipeFile, read_yaml(Path(path)), where=path)
