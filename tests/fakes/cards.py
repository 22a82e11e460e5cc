"""Cards of weights that do not ship."""

from __future__ import annotations

from dataclasses import replace

from molexa_core.network.card import ModelCard
from molexa_core.network.weights import DEFAULT, read_card


def card_of_one_pulse() -> ModelCard:
    """The card of weights that learned the X-ray explosions of the data set `stage2`."""
    card, _ = read_card(DEFAULT)
    data = {"kind": "stage 2, data set", "data_set": "stage2", "split_by": "geometry"}
    return replace(card, name="one-pulse", data=data, training={"stage": "2"})
