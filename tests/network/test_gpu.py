"""The same numbers on a GPU as on the CPU, compiled or not."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from molexa_core.network.config import MOLEXA, PAPER
from molexa_core.network.inference.answers import predict_batch
from molexa_core.network.inference.engine import Engine
from molexa_core.network.network import Network
from molexa_core.network.training.gradients import StepGradients
from molexa_core.network.training.loop import TrainingRun, train
from molexa_core.physics.coulomb.build_up import ErrorFunctionRise
from molexa_core.physics.coulomb.explosion import explode
from molexa_core.pipeline.training.stage1 import StageOneData, StageOneSource
from tests.fakes.networks import small_settings

pytestmark = [pytest.mark.gpu, pytest.mark.filterwarnings("default")]


@pytest.fixture(params=["molexa", "paper"])
def network(request: pytest.FixtureRequest) -> Network:
    torch.manual_seed(0)
    settings = MOLEXA.network if request.param == "molexa" else PAPER.network
    return Network(settings).eval()


def test_predictions_agree_with_the_cpu(network: Network) -> None:
    batch = StageOneSource(StageOneData(largest=7, block=1), 32, "cpu", 1)(0)
    # The first denoising step from the same noise: random numbers differ between devices.
    conditioning = network.condition(batch)
    sigma = torch.full((32,), 0.5)
    noise = torch.randn(32, 7, 3, generator=torch.Generator().manual_seed(0))
    wanted = network.denoise(noise, sigma, conditioning)
    network.cuda()
    there = network.condition(batch.to("cuda"))
    found = network.denoise(noise.cuda(), sigma.cuda(), there).cpu()
    torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-3)


def test_compiled_reduced_precision_stays_close(network: Network) -> None:
    network.cuda()
    source = StageOneSource(StageOneData(smallest=7, largest=7, uniform_atoms=True), 64, "cuda", 1)
    plain, _, _ = predict_batch(Engine(network, reduced=False), source(0), seed=0)
    network.compile_parts()
    reduced, _, _ = predict_batch(network, source(0), seed=0)
    assert (plain - reduced).abs().median() < 0.02 * plain.abs().median()


def test_compiled_explosion_agrees_with_double_precision() -> None:
    source = StageOneSource(StageOneData(block=1), 4096, "cuda", 1, compiled=True)
    batch = source(0)
    assert batch.positions is not None
    wanted = explode(
        batch.positions.cpu().double(),
        batch.charges.cpu().double(),
        batch.masses.cpu().double(),
        build_up=ErrorFunctionRise(45.0),
    )
    scale = wanted.norm(dim=2).amax(1)[:, None, None]
    assert ((batch.momenta.cpu() - wanted) / scale).abs().max() < 5e-5


@pytest.mark.parametrize("tokens", ["atoms", "pairs"])
def test_a_fixed_batch_is_learned_on_the_gpu(tokens: str) -> None:
    torch.manual_seed(0)
    network = Network(small_settings(tokens)).cuda()
    batch = StageOneSource(StageOneData(largest=4, block=2), 8, "cuda", 1, compiled=True)(0)
    recipe = replace(
        MOLEXA.training,
        batch=8,
        warm_up=5,
        learning_rate=4e-3,
        ema=0.9,
        noise_std=0.3,
        noise_mean=0.0,
    )
    run = TrainingRun(recipe, 150, report_every=15, compile=True)
    train(network, lambda step: batch, run)
    assert run.reports[-1]["loss"] < 0.5 * run.reports[0]["loss"]


def test_recorded_steps_train_like_those_that_run_as_written() -> None:
    source = StageOneSource(StageOneData(largest=5, block=2), 64, "cuda", 1, compiled=True)
    batches = [source(step) for step in range(12)]
    recipe = replace(MOLEXA.training, batch=64, warm_up=2, uncertainty_weight=0.0, ema=0.0)
    losses, weights = [], []
    for recorded in (True, False):
        torch.manual_seed(0)
        network = Network(small_settings("atoms")).cuda()
        network.train()
        gradients = StepGradients(network, recipe, record=recorded)
        optimizer = torch.optim.SGD(network.parameters(), lr=1e-3)
        found = []
        for step, batch in enumerate(batches):
            found.append(gradients(batch, 3, step))
            optimizer.step()
        losses.append(torch.stack(found))
        weights.append(torch.cat([one.detach().flatten() for one in network.parameters()]))
    torch.testing.assert_close(*losses, rtol=2e-2, atol=1e-3)
    assert (weights[0] - weights[1]).norm() < 1e-3 * weights[1].norm()
    assert losses[0][:, 0].unique().numel() == len(batches)  # each step has seen its own batch
