"""The explosions on which weights learned, and for which alone their error bars are calibrated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Final

from molexa_core.base.errors import MolexaError
from molexa_core.base.fields import EXPLOSION
from molexa_core.base.forward_model import ChargeBuildUp
from molexa_core.base.known_explosion import ClassicalExplosion, Kind, XrayExplosion, simulated
from molexa_core.base.settings import Explosion, parse_settings
from molexa_core.base.storage.resources import find
from molexa_core.base.uncertain import Uncertain
from molexa_core.network.weights import (
    TOLD,
    ModelCard,
    default_weights,
    forward_of,
    learned_from,
    read_card,
    tau_of,
    weights_available,
)
from molexa_core.pipeline.datasets.recipe_file import load_recipe
from molexa_core.pipeline.explosions.knowledge import told_in_words
from molexa_core.pipeline.output_guard import settings_inputs

CLOSE: Final = 0.02
"""Largest relative difference and uncertainty of a number with which the conditions are those of
the training: 2 % of the duration of a pulse move distances by less than their error bars."""


def learned_explosion(card: ModelCard) -> Kind | None:
    """The explosions that these weights were trained on; None if they are not known here.

    Cards of earlier versions name their data set alone; its recipe may be a shipped one.
    """
    if forward_of(card) == "classical":
        return simulated("classical", rises=ChargeBuildUp(tau_fs=tau_of(card)))
    data = learned_from(card)
    block, name = data.get(EXPLOSION), data.get("data_set")
    if not isinstance(block, Mapping) and not isinstance(name, str):
        return None
    try:
        if isinstance(block, Mapping):
            return parse_settings(Explosion, dict(block), where=card.name).told
        recipe = load_recipe(Path(find("templates", str(name), ".yaml")))
    except MolexaError:
        return None
    return simulated("mcmd", pulse=recipe.pulse, options=recipe.model)


def weights_for(explosion: Explosion, atoms: int) -> str:
    """The weights for an explosion where none are named.

    The default weights, which have calibrated error bars, for the explosion that they learned;
    those that are told the experiment, if they are installed, for every other one, and for
    molecules that are too large for the others.

    Args:
        explosion: what is known about the explosion.
        atoms: number of ions.

    Raises:
        InputFileError: no weights are installed.
        WeightsError: a card is damaged.
    """
    usual = default_weights()
    if TOLD not in weights_available():
        return usual
    card, _ = read_card(usual)
    learned = explosion.calibrated is None and not_as_learned(card, explosion.told) is None
    return usual if learned and atoms <= card.network.max_atoms else TOLD


def weights_files(weights: str | None) -> list[Path]:
    """Files of the weights that a reconstruction reads, or may read where none are named."""
    names = [default_weights(), TOLD] if weights is None else [weights]
    return [path for name in names for path in settings_inputs(weights=name)]


def not_as_learned(card: ModelCard, told: Kind | None) -> str | None:
    """The reason why error bars of these weights do not hold for an explosion; None if they do."""
    learned = learned_explosion(card)
    if learned is None:
        return f"it is not known for which explosions the error bars of {card.name} are calibrated"
    what = f"the error bars of {card.name} are calibrated for a {told_in_words(learned)}"
    if told is None:
        return f"{what}; what exploded here is not known"
    if type(told) is type(learned) and _agree(told, learned):
        return None
    return f"{what}; here it is: {told_in_words(told)}"


def _agree(told: Kind, learned: Kind) -> bool:
    if isinstance(told, ClassicalExplosion) and isinstance(learned, ClassicalExplosion):
        return told.common and learned.common and _close(told.window, learned.window)
    given = _by_fluence(told)
    return all(
        _close(getattr(told, field.name), getattr(learned, field.name))
        for field in fields(learned)
        if not (given and field.name in ("energy_mj", "focus_um", "transmission", "fluence_um2"))
    ) and (not given or _same_fluence(told, learned))


def _close(told: object, learned: object) -> bool:
    """Whether a value is told as it was in the training."""
    if isinstance(learned, Uncertain):
        if not isinstance(told, Uncertain):
            return False
        size = CLOSE * abs(learned.value)
        return abs(told.value - learned.value) <= size and told.uncertainty <= size
    return told == learned


def _by_fluence(told: Kind) -> bool:
    return isinstance(told, XrayExplosion) and told.fluence_um2 is not None


def _same_fluence(told: Kind, learned: Kind) -> bool:
    if not isinstance(told, XrayExplosion) or not isinstance(learned, XrayExplosion):
        return False
    return _close(told.fluence_um2, learned.on_axis)
