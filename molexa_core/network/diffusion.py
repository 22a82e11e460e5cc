"""Diffusion: losses of the training and the sampler (Karras et al., NeurIPS 2022, "EDM").

Noise levels and positions are in the scaled units of the network.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from molexa_core.network.batch import Batch
from molexa_core.network.config import SamplerSettings, TrainingSettings
from molexa_core.network.network import Conditioning, Network


@dataclass(frozen=True)
class Losses:
    """The loss of one training step and its two parts.

    Attributes:
        total: c_x * position + c_u * uncertainty.
        position: weighted squared error (paper, equation 1).
        uncertainty: cross-entropy of the error bins (paper, equation 3), 0 where not trained.
    """

    total: Tensor
    position: Tensor
    uncertainty: Tensor


@dataclass(frozen=True)
class StepNoise:
    """The random numbers of one training step, drawn before the batch is divided into parts.

    Attributes:
        levels: (B * draws) standard normal numbers that give the noise levels.
        positions: (B * draws, N, 3) standard normal numbers that displace the atoms.
        sampler: (S, N, 3) start of the sampler for the S molecules of the uncertainty loss.
        churned: noise of the sampler's churned steps, each as `sampler`.
    """

    levels: Tensor
    positions: Tensor
    sampler: Tensor
    churned: tuple[Tensor, ...]

    @classmethod
    def of(
        cls,
        batch: Batch,
        draws: int,
        judged: int,
        sampler: SamplerSettings,
        generator: torch.Generator | None,
    ) -> StepNoise:
        """Draw the random numbers.

        Args:
            batch: molecules of the step.
            draws: noise draws per molecule; 0 if positions are not trained.
            judged: number of molecules in the uncertainty loss; 0 if it is not trained.
            sampler: settings of the sampler of the network.
            generator: source of the random numbers.
        """
        device, count, width = batch.momenta.device, len(batch) * draws, batch.atoms
        levels = torch.randn(count, device=device, generator=generator)
        positions = torch.randn((count, width, 3), device=device, generator=generator)
        start = torch.randn((judged, width, 3), device=device, generator=generator)
        churned = churn_noise(sampler, start, generator) if judged else []
        return cls(levels, positions, start, tuple(churned))


def position_loss(
    network: Network,
    conditioning: Conditioning,
    settings: TrainingSettings,
    levels: Tensor,
    noise: Tensor,
) -> Tensor:
    """The denoising loss with the weights of paper equations 1 and 2.

    ln(sigma) is normal with `noise_mean` and `noise_std`, shifted by ln(2 sigma_data), so that
    the published values mean the same at any sigma_data.

    Args:
        network: in training mode.
        conditioning: the conditioning of B molecules whose positions are known.
        settings: distribution of the noise levels.
        levels: (B) standard normal numbers.
        noise: (B, N, 3) standard normal numbers.
    """
    target = _target(conditioning) / conditioning.scale
    data = network.settings.sigma_data
    sigma = (levels * settings.noise_std + settings.noise_mean).exp() * (2.0 * data)
    present = conditioning.batch.present
    noise = network.centre(noise * present, conditioning.batch) * sigma[:, None, None]
    clean = network.denoise(target + noise, sigma, conditioning)
    weight = (sigma**2 + data**2) / (sigma * data) ** 2
    squared = ((clean - target) ** 2 * present).sum((1, 2)) / (3.0 * present.sum((1, 2)))
    return (weight * squared).mean()


def uncertainty_loss(
    network: Network, conditioning: Conditioning, noise: Tensor, churned: Sequence[Tensor]
) -> Tensor:
    """Cross-entropy of the bins of the absolute error of one sample (paper, equation 3).

    The sample is drawn here, unless the batch contains predicted positions. It is not
    differentiated: the loss trains the uncertainty module and, through the conditioning, the
    dynamics module.

    Args:
        network: in training mode.
        conditioning: the conditioning of B molecules whose positions are known.
        noise: (B, N, 3) standard normal numbers that the sampler starts from.
        churned: noise added in its churned steps.
    """
    target = _target(conditioning)
    with torch.no_grad():
        predicted = conditioning.batch.predicted
        if predicted is None:
            settings = network.settings.sampler
            predicted = sample(network, conditioning, noise, settings, fresh=churned)
        else:
            predicted = predicted / conditioning.scale
        error = (predicted * conditioning.scale - target).abs()
        width, bins = network.settings.uncertainty_bin_width, network.settings.uncertainty_bins
        true_bin = (error / width).round().long().clamp(0, bins - 1)
    logits = network.uncertainty_logits(predicted, conditioning)
    cross_entropy = torch.nn.functional.cross_entropy(
        logits.flatten(0, 2), true_bin.flatten(), reduction="none"
    )
    present = conditioning.batch.present.expand(-1, -1, 3).flatten()
    return (cross_entropy * present).sum() / present.sum()


def _target(conditioning: Conditioning) -> Tensor:
    target = conditioning.batch.positions
    if target is None:
        msg = "training needs positions"
        raise ValueError(msg)
    return target


def noise_levels(settings: SamplerSettings) -> list[float]:
    """The noise levels of the reverse diffusion, descending to zero (Karras et al., equation 5)."""
    steps, rho = settings.steps, settings.rho
    high, low = settings.sigma_max ** (1.0 / rho), settings.sigma_min ** (1.0 / rho)
    span = max(steps - 1, 1)
    return [(high + i / span * (low - high)) ** rho for i in range(steps)] + [0.0]


@torch.no_grad()
def sample(
    network: Network,
    conditioning: Conditioning,
    noise: Tensor,
    settings: SamplerSettings,
    generator: torch.Generator | None = None,
    *,
    fresh: Sequence[Tensor] | None = None,
) -> Tensor:
    """Run the reverse diffusion once for each molecule.

    Args:
        network: in evaluation mode for inference.
        conditioning: the conditioning of B molecules.
        noise: (B, N, 3) standard normal numbers to start from.
        settings: of the sampler.
        generator: source of the noise that churning adds.
        fresh: that noise, if it has been drawn already (`churn_noise`).

    Returns:
        (B, N, 3) scaled positions, centred.
    """
    batch = conditioning.batch
    levels = noise_levels(settings)
    evaluated = sorted({_raised(settings, level) for level in levels[:-1]} | {*levels[:-1]})
    prepared = dict(zip(evaluated, network.noise_levels(evaluated, noise.device), strict=True))
    churned = iter(churn_noise(settings, noise, generator) if fresh is None else fresh)
    x = network.centre(noise * batch.present, batch) * levels[0]
    steps: list[_Step] = []
    for level, following in pairwise(levels):
        raised = _raised(settings, level)
        if raised > level:
            extra = network.centre(next(churned) * batch.present, batch) * settings.churn_noise
            x = x + extra * (raised**2 - level**2) ** 0.5
        clean = network.denoise(x, prepared[raised], conditioning)
        if settings.centred and level == levels[0]:
            # Of so noisy positions the denoised ones are the mean of all structures.
            x = x + clean
        if settings.multistep:
            if settings.corrected and steps and raised == level:
                x = _corrected(steps, clean, level)
            estimate = clean
            if steps and following > 0:
                before = steps[-1]
                extrapolated = _extrapolated(clean, before.clean, before.level, raised, following)
                estimate = clean + settings.extrapolation * (extrapolated - clean)
            steps = [*steps[-1:], _Step(raised, x, clean)]
            x = x * (following / raised) + estimate * (1.0 - following / raised)
            continue
        slope = (x - clean) / raised
        next_x = x + slope * (following - raised)
        if settings.second_order and following > 0:
            clean = network.denoise(next_x, prepared[following], conditioning)
            slope_at_end = (next_x - clean) / following
            next_x = x + 0.5 * (slope + slope_at_end) * (following - raised)
        x = next_x
    return x


def churn_noise(
    settings: SamplerSettings, like: Tensor, generator: torch.Generator | None
) -> list[Tensor]:
    """The noise that churning adds in one reverse diffusion, drawn in the order of the steps."""
    return [
        torch.randn(like.shape, device=like.device, generator=generator)
        for level in noise_levels(settings)[:-1]
        if _churned(settings, level)
    ]


def _raised(settings: SamplerSettings, level: float) -> float:
    """The noise level at which the network is evaluated in a step that starts at `level`."""
    return level * (1.0 + settings.churn) if _churned(settings, level) else level


def _churned(settings: SamplerSettings, level: float) -> bool:
    return settings.churn > 0 and settings.churn_from <= level <= settings.churn_to


@dataclass(frozen=True)
class _Step:
    """A step of the reverse diffusion: its noise level, its start, the denoised positions there."""

    level: float
    start: Tensor
    clean: Tensor


def _corrected(steps: Sequence[_Step], clean: Tensor, level: float) -> Tensor:
    """The end of the last step, made anew with the denoised positions that were found there.

    Between noise levels s and s' < s, with t = ln(s / sigma) and h = ln(s / s'),

        x(s') = s' / s x(s) + int_0^h exp(t - h) D(t) dt

    exactly; D is interpolated through its values at the end, at the start and one step before (W.
    Zhao et al., NeurIPS 2023, "UniPC", the corrector). It costs no evaluation: the denoised
    positions at the end are needed for the next step anyway.

    Args:
        steps: the last two steps, or the first one alone.
        clean: the denoised positions at the end as it was predicted.
        level: the noise level there.
    """
    last = steps[-1]
    ratio = level / last.level
    h = -math.log(ratio)
    zeroth = 1.0 - ratio
    first = h - zeroth
    slope = (clean - last.clean) / h
    x = ratio * last.start + zeroth * last.clean + first * slope
    if len(steps) > 1:
        before = math.log(steps[-2].level / last.level)
        earlier = (last.clean - steps[-2].clean) / before
        second = h * h - 2.0 * first
        x = x + (second - h * first) / (h + before) * (slope - earlier)
    return x


def _extrapolated(
    clean: Tensor, earlier: Tensor, previous: float, level: float, following: float
) -> Tensor:
    """The denoised positions extrapolated to the middle of a step in ln(noise level)."""
    ratio = 0.5 * math.log(following / level) / math.log(level / previous)
    return clean + ratio * (clean - earlier)
