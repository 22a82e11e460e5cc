"""`stage2.yaml`: the recipe of a data set of simulated explosions, as people write it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from molexa_core.base.settings.forward import ModelSettings, PulseSettings
from molexa_core.base.settings.load import parse_settings
from molexa_core.base.settings.schema import NotNegative, Schema
from molexa_core.base.settings.yaml_file import read_yaml

Share = Annotated[float, Field(ge=0, lt=1)]
Atoms = Annotated[int, Field(ge=2, le=64)]
Geometries = Annotated[int, Field(ge=1, le=10_000)]


class MoleculeChoice(Schema):
    """Which of the shipped molecules; all conditions hold together.

    Attributes:
        names: `all`, or a list of names.
        exclude: names to leave out.
        elements: molecules with any other element are left out.
        splits: what the molecules are for (`molexa molecules` shows it): `train`, `held-out`,
            `large`, `other`.
        smallest, largest: numbers of atoms.
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
    """Structures of the user's own; a path alone stands for this with the default.

    Attributes:
        file: XYZ file, relative to the recipe; every structure of it is a geometry. Its name
            becomes that of the molecule.
        held_out: whether the splits by geometry and by molecule keep the molecule out of training.
    """

    file: Path
    held_out: bool = True

    @model_validator(mode="before")
    @classmethod
    def _path_alone(cls, value: Any) -> Any:
        return {"file": value} if isinstance(value, str) else value


class VariationSettings(Schema):
    """How many geometries of each molecule.

    Attributes:
        equilibrium: whether the equilibrium geometry is one of them.
        displaced: draws for each number k = 1 .. N - 1 of displaced atoms.
        zero_point: draws from the vibrational ground state.
        thermal: draws from the thermal distribution at `temperature_k`.
        velocities: whether vibrating molecules start with the velocities that were drawn with
            their positions, or at rest.
        least: geometries that a molecule has at least, by its number of atoms, such as
            `{2: 80, 3: 20}`: further displaced draws are made where the other keys give fewer.
    """

    equilibrium: bool = True
    displaced: int = Field(default=1, ge=0, le=10_000)
    zero_point: int = Field(default=0, ge=0, le=10_000)
    thermal: int = Field(default=0, ge=0, le=10_000)
    temperature_k: NotNegative = 300.0
    velocities: bool = False
    least: dict[Atoms, Geometries] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _something(self) -> VariationSettings:
        each = self.equilibrium or self.displaced or self.zero_point or self.thermal
        if not (each or self.least):
            msg = "no geometry is asked for: give a number of draws or equilibrium: true"
            raise ValueError(msg)
        return self


class SplitSettings(Schema):
    """How the entries are divided.

    Attributes:
        validation, test: shares of the entries, or of the geometries where they are split; the rest
            is for training.
        set_aside_atoms: molecules of this many atoms and more are set aside.
    """

    validation: Share = 0.1
    test: Share = 0.1
    set_aside_atoms: int = Field(default=8, ge=2)

    @model_validator(mode="after")
    def _rest(self) -> SplitSettings:
        if self.validation + self.test >= 1.0:
            taken = self.validation + self.test
            msg = f"validation and test together take {taken:g}, which leaves nothing to train on"
            raise ValueError(msg)
        return self


class RecipeSettings(Schema):
    """A data set of simulated explosions.

    Attributes:
        name: of the data set.
        seed: of every draw.
        molecules: which of the shipped molecules; `{names: []}` for none.
        movies: XYZ files of the user with further molecules.
        variations: which geometries of each shipped molecule.
        pulse: the X-ray pulse.
        model: switches of the model.
        trajectories: explosions per geometry.
        minimum_count: a combination of charges is kept where more explosions than this end in it.
        neutral_atoms: whether combinations with atoms that stay neutral are kept.
        splits: how the entries are divided.
        geometries_per_shard: geometries of one molecule that are written together; what an
            interrupted build loses at most, for each worker.
    """

    name: str = Field(default="stage2", pattern=r"^[A-Za-z0-9._-]+$")
    seed: int = Field(default=0, ge=0, lt=2**63)
    molecules: MoleculeChoice = MoleculeChoice()
    movies: tuple[MovieFile, ...] = ()
    variations: VariationSettings = VariationSettings()
    pulse: PulseSettings = PulseSettings()
    model: ModelSettings = ModelSettings()
    trajectories: int = Field(default=100_000, ge=1, le=10**9)
    minimum_count: int = Field(default=300, ge=1)
    neutral_atoms: bool = False
    splits: SplitSettings = SplitSettings()
    geometries_per_shard: int = Field(default=16, ge=1, le=4096)


def load_recipe(path: Path | str) -> RecipeSettings:
    """The recipe in a YAML file.

    Raises:
        InputFileError: no such file.
        SettingsError: the file is not a valid recipe.
    """
    return parse_settings(RecipeSettings, read_yaml(Path(path)), where=path)
