"""Name of a data set in model cards: that of its recipe, not of its folder."""

from __future__ import annotations

from pathlib import Path

from molexa_core.base.errors import InputFileError
from molexa_core.pipeline.datasets.recipe import recipe_of


def data_set_name(folder: Path | str) -> dict[str, str]:
    """Name and recipe digest of a data set; the name of the folder if it holds no recipe.

    Raises:
        SettingsError: the recipe is damaged.
    """
    try:
        recipe = recipe_of(folder)
    except InputFileError:
        return {"data_set": Path(folder).name}
    return {"data_set": recipe.name, "recipe": recipe.digest()}
