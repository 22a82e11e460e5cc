"""How wide samples are: for normal distributions the sampler can be followed in closed form."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, cast

import pytest
import torch
from torch import Tensor

from molexa_core.network.batch import Batch
from molexa_core.network.config import TOLD, SamplerSettings
from molexa_core.network.diffusion import sample
from molexa_core.network.network import Conditioning, Network
from molexa_core.network.weights import read_card


@dataclass(frozen=True)
class _Normal:
    """In place of a network: the best denoiser if positions are normal with these widths.

    The mean of x given y = x + noise is m + (y - m) w^2 / (w^2 + sigma^2) with the mean m.
    """

    widths: Tensor
    mean: float = 0.0

    def noise_levels(self, levels: list[float], device: torch.device) -> list[float]:
        del device
        return levels

    def centre(self, positions: Tensor, batch: Batch) -> Tensor:
        del batch
        return positions

    def denoise(self, noisy: Tensor, sigma: float, conditioning: Conditioning) -> Tensor:
        del conditioning
        square = self.widths[:, None, None] ** 2
        return self.mean + (noisy - self.mean) * square / (square + sigma**2)


def _widths_over_truth(settings: SamplerSettings, widths: list[float]) -> Tensor:
    """Standard deviation of the samples over that of the distribution, exactly.

    The sampler is linear here: noise of one standard deviation becomes that of the samples.
    """
    return _from_noise(settings, widths, 1.0) / torch.tensor(widths, dtype=torch.float64)


def _from_noise(
    settings: SamplerSettings, widths: list[float], noise: float, mean: float = 0.0
) -> Tensor:
    """Where noise of so many standard deviations ends."""
    count = len(widths)
    true = torch.tensor(widths, dtype=torch.float64)
    unit = torch.full((count, 1, 3), noise, dtype=torch.float64)
    batch = Batch(
        numbers=torch.ones(count, 1, dtype=torch.int64),
        charges=torch.ones(count, 1),
        masses=torch.ones(count, 1),
        momenta=torch.zeros(count, 1, 3),
    )
    given = Conditioning(batch, torch.zeros(()), (torch.zeros(()), torch.zeros(())), torch.ones(()))
    network = cast("Network", cast("Any", _Normal(true, mean)))
    return sample(network, given, unit, settings, fresh=[])[:, 0, 0]


def test_many_small_steps_give_the_true_width() -> None:
    many = SamplerSettings(
        steps=256, sigma_max=80.0, sigma_min=1e-4, rho=50.0, multistep=True, extrapolation=1.0
    )
    found = _widths_over_truth(many, [0.005, 0.02, 0.1, 0.35])
    assert found.tolist() == pytest.approx([1.0] * 4, abs=2e-3)


def test_the_last_step_narrows_what_is_narrower_than_the_lowest_noise() -> None:
    """From sigma to none a sample is replaced by the mean of all structures that are as near."""
    one = SamplerSettings(steps=1, sigma_max=0.01, sigma_min=0.01)
    found = _widths_over_truth(one, [0.01, 0.1])
    assert found.tolist() == pytest.approx([0.5, 10.0 * 0.01 / 1.01], rel=1e-9)


def _many(steps: int, *, corrected: bool) -> SamplerSettings:
    return SamplerSettings(
        steps=steps,
        sigma_max=8.0,
        sigma_min=0.02,
        rho=50.0,
        multistep=True,
        corrected=corrected,
    )


@pytest.mark.parametrize(("corrected", "order"), [(False, 2), (True, 3)])
def test_order_of_the_steps(*, corrected: bool, order: int) -> None:
    widths = [0.1, 0.2, 0.35]
    limit = _widths_over_truth(_many(4000, corrected=True), widths)
    error = [
        (_widths_over_truth(_many(steps, corrected=corrected), widths) - limit).abs().max()
        for steps in (64, 128)
    ]
    assert float(torch.log2(error[0] / error[1])) == pytest.approx(order, abs=0.5)


def test_nine_corrected_steps_give_the_width() -> None:
    nine = SamplerSettings(
        steps=9, sigma_max=5.0, sigma_min=0.001, rho=100.0, multistep=True, extrapolation=0.8
    )
    widths = [0.01, 0.02, 0.05, 0.1, 0.2, 0.35]
    found = _widths_over_truth(replace(nine, corrected=True), widths)
    assert found.tolist() == pytest.approx([1.0] * 6, abs=0.025)
    without = _widths_over_truth(replace(nine, extrapolation=1.0), widths)
    assert (without - 1.0).abs().max() > 2.0 * (found - 1.0).abs().max()


def test_a_centred_start_does_not_shift_the_mean() -> None:
    widths, mean = [0.02, 0.1, 0.35], 1.5
    nine = SamplerSettings(
        steps=9, sigma_max=5.0, sigma_min=0.001, rho=100.0, multistep=True, extrapolation=0.8
    )
    true = torch.tensor(widths, dtype=torch.float64)
    for settings, shift in ((nine, mean / 5.0), (replace(nine, centred=True), 0.0)):
        corrected = replace(settings, corrected=True)
        off = (_from_noise(corrected, widths, 0.0, mean) - mean) / true
        assert (-off).tolist() == pytest.approx([shift] * 3, abs=0.02)


@pytest.mark.parametrize("of", ["preset", "shipped"])
def test_samples_of_told_weights_have_mean_and_width(of: str) -> None:
    shipped = read_card("molexa-told")[0].network.sampler
    settings = TOLD.network.sampler if of == "preset" else shipped
    found = _widths_over_truth(settings, [0.02, 0.05, 0.1, 0.2, 0.35])
    assert found.tolist() == pytest.approx([1.0] * 5, abs=0.02)
    # Scatter near the lowest noise is lost in part.
    assert _widths_over_truth(settings, [0.005, 0.01]).min() > 0.9
    off = _from_noise(settings, [0.02, 0.1, 0.35], 0.0, 1.5) - 1.5
    assert (off / torch.tensor([0.02, 0.1, 0.35])).abs().max() < 0.02
