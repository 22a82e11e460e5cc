"""What a data set is called in model cards: by its recipe, not by the folder it lies in."""

from __future__ import annotations

from pathlib import Path

from molexa_core.base.errors import InputFileError
from molexa_core.pipeline.datasets.recipe import recipe_of


def data_set_name(folder: Path | str) -> dict[str, str]:
    """Name and recipe digest of a data set; the folder's own name where it holds no recipe.

    Raises:
        SettingsError: the recipe is damaged.
    """
    try:
        recipe = recipe_of(folder)
    except InputFileError:
        return {"data_set": Path(folder).name}
    return {"data_set": recipe.name, "recipe": recipe.digest()}
