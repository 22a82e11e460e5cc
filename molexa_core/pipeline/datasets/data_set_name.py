"""Name of a data set in model cards: that of its recipe, not of its folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from molexa_core.base.errors import InputFileError
from molexa_core.base.fields import EXPLOSION
from molexa_core.base.known_explosion import block_of, simulated
from molexa_core.pipeline.datasets.recipe import recipe_of


def data_set_name(folder: Path | str) -> dict[str, Any]:
    """Name, recipe digest and explosion of a data set; the name of the folder without a recipe.

    Raises:
        SettingsError: the recipe is damaged.
    """
    try:
        recipe = recipe_of(folder)
    except InputFileError:
        return {"data_set": Path(folder).name}
    told = simulated("mcmd", pulse=recipe.pulse, options=recipe.model)
    return {"data_set": recipe.name, "recipe": recipe.digest(), EXPLOSION: block_of(told)}
