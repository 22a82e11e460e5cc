"""A recipe of a data set of simulated explosions, with a comment on every key."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from molexa_core.base.settings import parse_settings
from molexa_core.base.settings.commented import commented
from molexa_core.base.settings.reference import plain
from molexa_core.physics.molecules.library import molecule
from molexa_core.pipeline.datasets.recipe_file import RecipeFile
from molexa_core.pipeline.starting.new_file import require_new, write_new

RECIPE_NAME: Final = "recipe"
_LIGHT: Final = {"trajectories": 2000, "minimum_count": 20}
"""Numbers for a first data set, made in minutes on a laptop."""


def new_recipe(
    molecules: Sequence[str] = (), *, name: str = RECIPE_NAME, out: Path | str | None = None
) -> Path:
    """Write a commented recipe.

    Args:
        molecules: names or formulas of shipped molecules; all that the network can take if none.
        name: of the data set.
        out: the file; `NAME.yaml` if not given.

    Returns:
        The path written.

    Raises:
        InputFileError: no such molecule.
        SettingsError: a name that cannot be one.
        OutputError: the file exists, or cannot be written.
    """
    path = require_new(f"{name}.yaml" if out is None else out)
    whole = parse_settings(RecipeFile, {"name": name}, where=path)
    blocks: dict[str, Any] = plain(whole)
    names = [molecule(text).name for text in molecules]
    chosen = {**blocks["molecules"], "names": names} if names else blocks["molecules"]
    values = {
        "name": name,
        "seed": blocks["seed"],
        "molecules": chosen,
        "variations": {key: one for key, one in blocks["variations"].items() if key != "least"},
        "pulse": {key: one for key, one in blocks["pulse"].items() if one is not None},
        "model": {},
        **_LIGHT,
    }
    parse_settings(RecipeFile, values, where=path)
    head = (
        "Recipe of a data set of simulated explosions in an X-ray pulse:\n"
        "molexa dataset build makes it.\n"
        "Keys with a # in front have the value shown as long as the # stands there."
    )
    return write_new(path, commented(RecipeFile, values, head=head))
