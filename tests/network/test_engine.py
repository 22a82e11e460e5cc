"""The engine answers as the plain network does, whatever the size of the pieces."""

from __future__ import annotations

import pytest
import torch

from molexa_core.network.config import SamplerSettings
from molexa_core.network.diffusion import churn_noise
from molexa_core.network.inference.engine import Engine, draw, lean_copy
from molexa_core.network.layouts.half import halved
from molexa_core.network.network import Network
from molexa_core.pipeline.training.stage1 import StageOneData, StageOneSource
from tests.fakes.networks import small_settings

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]
pytestmark = pytest.mark.filterwarnings("default::UserWarning")


def _network(tokens: str, device: str) -> Network:
    torch.manual_seed(0)
    return Network(small_settings(tokens)).to(device).eval()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("tokens", ["atoms", "pairs"])
def test_pieces_and_repetition_change_nothing(tokens: str, device: str) -> None:
    network = _network(tokens, device)
    batch = StageOneSource(StageOneData(largest=4, block=1), 11, device, 1)(0)
    settings = network.settings.sampler
    generator = torch.Generator(device).manual_seed(0)
    noise = torch.randn(22, 4, 3, device=device, generator=generator)
    fresh = churn_noise(settings, noise, generator)
    wanted = draw(network, batch, noise, settings, fresh=fresh, samples=2)
    engine = Engine(network, rows=8, reduced=False)
    for _ in range(3):  # as it is, captured, replayed
        found = engine(batch, noise, fresh=fresh, samples=2)
        torch.testing.assert_close(found.positions, wanted.positions, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(found.expected, wanted.expected, rtol=1e-4, atol=1e-4)


def test_every_churned_step_gets_its_noise() -> None:
    settings = SamplerSettings(steps=4, sigma_max=8.0, churn=1.0, churn_from=1.0, churn_to=5.0)
    like = torch.zeros(2, 3, 3)
    drawn = churn_noise(settings, like, torch.Generator().manual_seed(1))
    again = torch.Generator().manual_seed(1)
    assert len(drawn) == 1
    torch.testing.assert_close(drawn[0], torch.randn(2, 3, 3, generator=again))
    assert churn_noise(SamplerSettings(steps=4), like, None) == []


def test_a_lean_copy_rounds_only_what_autocast_would() -> None:
    network = _network("atoms", "cpu")
    lean = lean_copy(network)
    assert lean.denoiser.blocks[0].feed_in.weight.dtype == torch.bfloat16
    assert lean.denoiser.position.weight.dtype == torch.float32
    assert lean.denoiser.blocks[0].feed_norm.weight.dtype == torch.float32
    assert network.denoiser.blocks[0].feed_in.weight.dtype == torch.float32


def test_on_a_cpu_weights_are_halved_only_where_nothing_is_lost() -> None:
    layer = torch.nn.Linear(256, 256)
    assert halved(layer) is layer  # drawn in single precision, fp16 would round them
    with torch.no_grad():
        layer.weight.copy_(layer.weight.bfloat16().float())
    x = torch.randn(5, 256, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(halved(layer)(x), layer(x), rtol=1e-5, atol=1e-5)
    small = torch.nn.Linear(8, 8)
    assert halved(small) is small


@pytest.mark.gpu
@pytest.mark.filterwarnings("default")  # the compiler of torch warns of its own parts
@pytest.mark.parametrize("tokens", ["atoms", "pairs"])
def test_reduced_and_compiled_stays_close(tokens: str) -> None:
    network = _network(tokens, "cuda")
    data = StageOneData(smallest=5, largest=5, uniform_atoms=True, block=1)
    batch = StageOneSource(data, 64, "cuda", 1)(0)
    settings = SamplerSettings(steps=3)
    wanted = Engine(network, reduced=False).predict(batch, seed=0, sampler=settings)
    engine = Engine(network, reduced=True, compiled=True)
    for _ in range(3):
        found = engine.predict(batch, seed=0, sampler=settings)
        difference = (found.positions - wanted.positions).abs().median()
        assert difference < 0.03 * wanted.positions.abs().median()
