"""The network: conditioning, preconditioned denoiser and uncertainty estimate.

The interface is the same for the published pair-token layout and the atom-token layout; a setting
chooses between them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import torch
from torch import Tensor, nn

from molexa_core.network.batch import Batch
from molexa_core.network.config import NetworkSettings
from molexa_core.network.features import energy_size
from molexa_core.network.layouts.atom_tokens import (
    AtomBlock,
    AtomConditioning,
    AtomDenoiser,
    AtomDynamics,
    AtomLevel,
    AtomUncertainty,
)
from molexa_core.network.layouts.pair_layers import Block, Memory, PairMerge
from molexa_core.network.layouts.pair_tokens import PairDenoiser, PairDynamics, PairUncertainty

HALF_WIDTHS: Final = (23.60, 19.97, 15.76)
"""Half-widths of the published training positions in the molecular frame, bohr."""


@dataclass(frozen=True)
class Conditioning:
    """The input of the network in the form that the denoiser uses.

    Attributes:
        batch: the batch in the model frame.
        dynamics: output of the dynamics module.
        prepared: the part of the denoiser that is the same for all noise levels.
        scale: (B, 1, 1) or (1, 1, 3), bohr: positions = scale * scaled positions.
    """

    batch: Batch
    dynamics: Tensor | AtomConditioning
    prepared: tuple[Tensor, Tensor] | AtomConditioning
    scale: Tensor

    def repeat(self, draws: int) -> Conditioning:
        """The same conditioning for several noise draws per molecule, consecutive in the batch."""
        if draws == 1:
            return self
        batch = self.batch
        repeated: dict[str, Any] = {
            name: value.repeat_interleave(draws, 0)
            for name in ("numbers", "charges", "masses", "momenta", "mask", "positions")
            if (value := getattr(batch, name)) is not None
        }
        if batch.told is not None:
            repeated["told"] = batch.told.repeated(draws)
        return Conditioning(
            replace(batch, **repeated),
            _repeat(self.dynamics, draws),
            _repeat(self.prepared, draws),
            self.scale if self.scale.shape[0] == 1 else self.scale.repeat_interleave(draws, 0),
        )


@dataclass(frozen=True)
class NoiseLevel:
    """A noise level, and the part of the denoiser that depends on it alone.

    Attributes:
        sigma: (B) or (1) standard deviation of the noise.
        prepared: result of `at_level` of the denoiser.
    """

    sigma: Tensor
    prepared: Tensor | AtomLevel


def _repeat(value: Any, draws: int) -> Any:
    if isinstance(value, tuple):
        return tuple(_repeat(part, draws) for part in value)
    if isinstance(value, AtomConditioning):
        return value.repeat(draws)
    return value.repeat_interleave(draws, 0)


class Network(nn.Module):
    """The network that predicts structures from momenta."""

    bin_centres: Tensor
    half_widths: Tensor

    def __init__(self, settings: NetworkSettings) -> None:
        super().__init__()
        self.settings = settings
        pairs = settings.tokens == "pairs"
        self.dynamics = PairDynamics(settings) if pairs else AtomDynamics(settings)
        self.denoiser = PairDenoiser(settings) if pairs else AtomDenoiser(settings)
        self.uncertainty = PairUncertainty(settings) if pairs else AtomUncertainty(settings)
        bins = torch.arange(settings.uncertainty_bins) * settings.uncertainty_bin_width
        self.register_buffer("bin_centres", bins, persistent=False)
        self.register_buffer("half_widths", torch.tensor([[HALF_WIDTHS]]), persistent=False)

    @property
    def parameter_count(self) -> int:
        """Number of trained values."""
        return sum(parameter.numel() for parameter in self.parameters())

    def condition(self, batch: Batch) -> Conditioning:
        """Run the dynamics module on a batch in the model frame."""
        if self.settings.scaling == "box":
            scale = self.half_widths
        else:
            _, size = energy_size(batch.charges, batch.masses, batch.momenta)
            scale = size[:, None, None]
        dynamics = self.dynamics(batch)
        return Conditioning(batch, dynamics, self.denoiser.prepare(dynamics), scale)

    def noise_levels(self, levels: Sequence[float], device: torch.device) -> list[NoiseLevel]:
        """Noise levels common to all molecules, prepared at once for a whole reverse diffusion."""
        # Filled on the device: a copy from the host cannot be captured in a CUDA graph.
        sigma = torch.cat([torch.full((1,), level, device=device) for level in levels])
        prepared: Sequence[AtomLevel | Tensor] = self.denoiser.at_levels(sigma)
        return [NoiseLevel(sigma[k : k + 1], one) for k, one in enumerate(prepared)]

    def denoise(
        self, noisy: Tensor, sigma: Tensor | NoiseLevel, conditioning: Conditioning
    ) -> Tensor:
        """The denoised scaled positions (Karras et al. 2022, equation 7).

        Args:
            noisy: (B, N, 3) scaled positions plus noise.
            sigma: (B), or (1) if it is the same for all: standard deviation of the noise; or a
                level prepared by `noise_levels`.
            conditioning: the conditioning of the same B molecules.
        """
        data = self.settings.sigma_data
        if isinstance(sigma, Tensor):
            sigma = NoiseLevel(sigma, self.denoiser.at_level(sigma))
        level = sigma.sigma[:, None, None]
        total = (level**2 + data**2).sqrt()
        raw = self.denoiser(
            noisy / total, sigma.prepared, conditioning.prepared, conditioning.batch
        )
        clean = data**2 / total**2 * noisy + level * data / total * raw.to(noisy.dtype)
        return self.centre(clean, conditioning.batch)

    def uncertainty_logits(self, predicted: Tensor, conditioning: Conditioning) -> Tensor:
        """(B, N, 3, bins) logits of the error of scaled predicted positions (B, N, 3)."""
        if isinstance(self.uncertainty, AtomUncertainty):
            size = conditioning.scale.expand(len(predicted), 1, -1).mean(2, keepdim=True)
            out: Tensor = self.uncertainty(
                predicted, conditioning.dynamics, conditioning.batch, size
            )
        else:
            out = self.uncertainty(predicted, conditioning.dynamics, conditioning.batch)
        return out.float()

    def expected_error(self, logits: Tensor) -> Tensor:
        """(B, N, 3) probability-weighted mean of the bins, bohr (paper, "Uncertainty")."""
        out: Tensor = (logits.softmax(-1) * self.bin_centres).sum(-1)
        return out

    @staticmethod
    def centre(positions: Tensor, batch: Batch) -> Tensor:
        """Positions with the mean of each molecule at the origin and padding at zero."""
        if batch.mask is None:
            return positions - positions.mean(1, keepdim=True)
        present = batch.present
        mean = (positions * present).sum(1, keepdim=True) / present.sum(1, keepdim=True)
        return (positions - mean) * present

    def compile_parts(self) -> None:
        """Compile the repeated parts in place; blocks of one kind share one compiled graph."""
        _compile_blocks(self, dynamic=None)

    def compile_for_inference(self) -> None:
        """Compile for fixed shapes: the atom layout's denoiser as a whole, else the blocks.

        Compiled as a whole the denoiser of the pair layout is a sixth slower than by blocks.
        """
        if self.settings.tokens == "atoms":
            self.denoiser.compile(dynamic=False)
        else:
            _compile_blocks(self.denoiser, dynamic=False)
        _compile_blocks(self.dynamics, dynamic=False)
        _compile_blocks(self.uncertainty, dynamic=False)


def _compile_blocks(part: nn.Module, *, dynamic: bool | None) -> None:
    torch._dynamo.config.recompile_limit = 64  # noqa: SLF001
    for module in part.modules():
        if isinstance(module, Block | AtomBlock | Memory | PairMerge):
            module.compile(dynamic=dynamic)
