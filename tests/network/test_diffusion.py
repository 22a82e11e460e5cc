"""The sampler, tested with denoisers whose answer is known in closed form."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import pytest
import torch

from molexa_core.network.batch import Batch
from molexa_core.network.config import MOLEXA, PAPER, SamplerSettings
from molexa_core.network.diffusion import noise_levels, sample


@dataclass
class ExactDenoiser:
    """The ideal denoiser of points at `centres` (K, 3) with equal weights and spread `width`."""

    centres: torch.Tensor
    width: float

    def centre(self, positions: torch.Tensor, batch: Batch) -> torch.Tensor:
        del batch
        return positions

    def noise_levels(self, levels: list[float], device: torch.device) -> list[torch.Tensor]:
        return list(torch.tensor(levels, device=device).split(1))

    def denoise(self, noisy: torch.Tensor, sigma: torch.Tensor, conditioning: Any) -> torch.Tensor:
        del conditioning
        variance = sigma[:, None, None] ** 2 + self.width**2
        distance = ((noisy - self.centres[None]) ** 2).sum(2, keepdim=True)
        weight = (-distance / (2 * variance)).softmax(1)
        mean = (weight * self.centres[None]).sum(1, keepdim=True)
        pull = (self.width**2 / variance) * (noisy - self.centres[None])
        return mean + (weight * pull).sum(1, keepdim=True)


@dataclass
class _Conditioning:
    batch: Batch


def _run(denoiser: ExactDenoiser, settings: SamplerSettings, count: int) -> torch.Tensor:
    empty = torch.zeros(count, 1)
    batch = Batch(empty.long(), empty, empty + 1, torch.zeros(count, 1, 3))
    noise = torch.randn(count, 1, 3, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(1)  # of the noise that is added on the way
    return sample(denoiser, _Conditioning(batch), noise, settings)[:, 0]  # type: ignore[arg-type]


def test_noise_levels_run_from_the_largest_to_zero() -> None:
    levels = noise_levels(PAPER.network.sampler)
    assert len(levels) == 6
    assert levels[0] == pytest.approx(80.0)
    assert levels[-2] == pytest.approx(0.002)
    assert levels[-1] == 0.0
    assert levels == sorted(levels, reverse=True)


def test_the_middle_noise_level_follows_its_equation() -> None:
    levels = noise_levels(SamplerSettings(steps=3, sigma_max=8.0, sigma_min=1.0, rho=3.0))
    assert levels[1] == pytest.approx(1.5**3)


@pytest.mark.parametrize("second_order", [False, True])
def test_the_sampler_reproduces_a_normal_distribution(second_order: bool) -> None:
    settings = SamplerSettings(steps=60, sigma_max=40.0, sigma_min=0.002, second_order=second_order)
    found = _run(ExactDenoiser(torch.zeros(1, 3), 0.5), settings, 4000)
    # The spread of 12000 numbers is known to 0.65 %; Euler's steps add about 2 %.
    assert found.std().item() == pytest.approx(0.5, rel=0.01 if second_order else 0.05)
    assert found.mean().abs().item() < 4 * 0.5 / math.sqrt(12000)


def test_both_of_two_structures_are_found_in_proportion() -> None:
    centres = torch.tensor([[1.0, 0, 0], [-1.0, 0, 0]])
    settings = SamplerSettings(steps=40, sigma_max=20.0, sigma_min=0.002)
    found = _run(ExactDenoiser(centres, 0.02), settings, 4000)
    right = (found[:, 0] > 0).double().mean().item()
    assert right == pytest.approx(0.5, abs=4 * 0.5 / math.sqrt(4000))
    assert (found[:, 0].abs() - 1.0).abs().mean() < 0.05


def test_churning_keeps_the_distribution() -> None:
    settings = SamplerSettings(
        steps=60,
        sigma_max=40.0,
        sigma_min=0.002,
        churn=0.1,
        churn_from=0.01,
        churn_to=10.0,
        second_order=True,
    )
    found = _run(ExactDenoiser(torch.zeros(1, 3), 0.5), settings, 4000)
    assert found.std().item() == pytest.approx(0.5, rel=0.02)


@pytest.mark.parametrize(
    ("multistep", "extrapolation", "order"), [(False, 1.0, 1), (True, 0.0, 1), (True, 1.0, 2)]
)
def test_order_of_convergence(multistep: bool, extrapolation: float, order: int) -> None:
    """A normal distribution of width w: x follows sqrt(w^2 + sigma^2) down to the last level."""
    width, high, low = 0.5, 4.0, 0.02
    errors = []
    for steps in (25, 50, 100):
        settings = SamplerSettings(
            steps=steps,
            sigma_max=high,
            sigma_min=low,
            multistep=multistep,
            extrapolation=extrapolation,
        )
        denoiser = ExactDenoiser(torch.zeros(1, 3, dtype=torch.float64), width)
        found = _run(denoiser, settings, 50)
        start = high * torch.randn(50, 1, 3, generator=torch.Generator().manual_seed(0))[:, 0]
        exact = start * math.sqrt((width**2 + low**2) / (width**2 + high**2))
        exact = exact * width**2 / (width**2 + low**2)  # the last step returns what is denoised
        errors.append(((found - exact).norm() / exact.norm()).item())
    for coarse, fine in pairwise(errors):
        assert math.log2(coarse / fine) == pytest.approx(order, abs=0.15)


def test_the_sampler_that_ships_spreads_as_sixteen_euler_steps() -> None:
    """On a normal distribution; with more extrapolation samples spread more, in the limit fully."""

    def spread(settings: SamplerSettings) -> float:
        data = MOLEXA.network.sigma_data
        return _run(ExactDenoiser(torch.zeros(1, 3), data), settings, 4000).std().item() / data

    ships = MOLEXA.network.sampler
    euler = SamplerSettings(steps=16, sigma_max=10.0, sigma_min=0.001, rho=5.0)
    assert spread(ships) == pytest.approx(spread(euler), rel=0.01)
    spreads = [spread(replace(ships, extrapolation=share)) for share in (0.0, 0.25, 1.0)]
    assert spreads == sorted(spreads)
    assert spreads[0] < 0.9
    assert abs(spreads[2] - 1.0) < abs(spreads[0] - 1.0)
