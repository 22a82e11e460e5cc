"""Exponential moving average of the weights of a training."""

from __future__ import annotations

import torch

from molexa_core.network.network import Network


class WeightAverage:
    """Exponential moving average of the weights, with a warm-up that forgets the start."""

    def __init__(self, network: Network, decay: float) -> None:
        self.decay = decay
        self.weights = (
            {name: value.detach().clone() for name, value in network.named_parameters()}
            if decay > 0
            else {}
        )

    @torch.no_grad()
    def update(self, network: Network, step: int) -> None:
        """Include the weights after a step."""
        if not self.weights:
            return
        decay = min(self.decay, (step + 1.0) / (step + 10.0))
        now = [value.detach() for value in network.parameters()]
        torch._foreach_lerp_(list(self.weights.values()), now, 1.0 - decay)

    @torch.no_grad()
    def copy_to(self, network: Network) -> None:
        """Copy the averaged weights into the network."""
        for name, value in network.named_parameters():
            if name in self.weights:
                value.copy_(self.weights[name])
