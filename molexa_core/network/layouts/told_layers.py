"""The layers by which what is told of the experiment enters the atom layout.

A small perceptron of everything that is common to a molecule adds to the tokens of its atoms and to
the features of its pairs; a second one adds to each atom what is told of it alone. Their last
layers are zero at first: a network that gets these layers answers as it did before.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn

from molexa_core.network.conditions import ATOM_COLUMNS, COLUMNS

HIDDEN: Final = 192
"""Width of the perceptrons."""


class ToldLayers(nn.Module):
    """From what is told to additions to tokens and pair features.

    Args:
        width: of the tokens.
        pairs: width of the first layer of the pair features.
    """

    def __init__(self, width: int, pairs: int) -> None:
        super().__init__()
        self.common = nn.Sequential(
            nn.Linear(COLUMNS, HIDDEN),
            nn.GELU(approximate="tanh"),
            nn.Linear(HIDDEN, HIDDEN),
            nn.GELU(approximate="tanh"),
        )
        self.atoms = nn.Linear(HIDDEN, width)
        self.pairs = nn.Linear(HIDDEN, pairs)
        self.each = nn.Sequential(
            nn.Linear(HIDDEN + ATOM_COLUMNS, HIDDEN),
            nn.GELU(approximate="tanh"),
            nn.Linear(HIDDEN, width),
        )
        self.start_without_effect()

    def start_without_effect(self) -> None:
        """Set the last layers to zero."""
        for layer in (self.atoms, self.pairs, self.each[2]):
            if isinstance(layer, nn.Linear):
                nn.init.zeros_(layer.weight)
                nn.init.zeros_(layer.bias)

    def forward(self, common: Tensor, each: Tensor) -> tuple[Tensor, Tensor]:
        """Additions to the tokens (B, N, width) and to all pairs of a molecule (B, 1, 1, pairs).

        Args:
            common: (B, COLUMNS) of `Told.inputs`.
            each: (B, N, ATOM_COLUMNS) likewise.
        """
        hidden = self.common(common)
        spread = hidden[:, None].expand(-1, each.shape[1], -1)
        atoms = self.atoms(hidden)[:, None] + self.each(torch.cat((spread, each), dim=2))
        return atoms, self.pairs(hidden)[:, None, None]
