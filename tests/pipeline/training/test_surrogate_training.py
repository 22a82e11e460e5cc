"""The surrogate learns rises through the explosion, and errors on molecules set aside for them.

The entries here are explosions with a law of rises that is known: windows of 2 sqrt(T^2 + 64) fs,
T being the duration, and half as long for hydrogen.
"""

import math

import numpy as np
import pytest
import torch

from molexa_core.base.matter.elements import BY_NUMBER
from molexa_core.physics.surrogate.charge_network import NetworkSize
from molexa_core.physics.surrogate.entries import FamilyEntries
from molexa_core.physics.surrogate.rises import explode_rises
from molexa_core.pipeline.training.surrogate import (
    ASIDE,
    SurrogateTraining,
    buckets_of,
    new_network,
    predict,
    total_momenta,
    train_surrogate,
    uncertainty_loss,
)

SMALL = NetworkSize(width=16, layers=1, heads=2, radial=8, pair=16, channels=8, hidden=16)
COUNT = 240


def _entries() -> FamilyEntries:
    random = np.random.default_rng(8)
    numbers = np.array([[8, 1, 1]] * COUNT)
    charges = np.stack([random.integers(1, 7, COUNT), *np.ones((2, COUNT), int)], axis=1)
    base = np.array([[0.0, 0, 0], [1.43, 1.1, 0], [-1.43, 1.1, 0]])
    positions = base + 0.3 * random.normal(size=(COUNT, 3, 3))
    positions -= positions.mean(axis=1, keepdims=True)
    duration = np.exp(random.uniform(0.0, math.log(40.0), COUNT))
    window = 2.0 * np.sqrt(duration**2 + 64.0)
    log_tau = np.log(window)[:, None] + np.log([1.0, 0.5, 0.5])
    masses = np.vectorize(lambda z: BY_NUMBER[z].isotope_mass)(numbers) - charges
    momenta = explode_rises(positions, charges, masses, log_tau, np.zeros((COUNT, 3))).momenta
    settings = np.zeros((COUNT, 9))
    settings[:, :3] = np.stack([np.full(COUNT, 7.3), np.full(COUNT, 27.0), np.log(duration)], 1)
    error = 1e-3 * np.sqrt((momenta**2).mean(axis=(1, 2), keepdims=True))

    def tensor(values: object, kind: torch.dtype = torch.float32) -> torch.Tensor:
        return torch.tensor(np.asarray(values), dtype=kind)

    return FamilyEntries(
        numbers=tensor(numbers, torch.int8),
        charges=tensor(charges, torch.int8),
        positions=tensor(positions),
        momenta=tensor(momenta),
        errors=tensor(np.broadcast_to(error, momenta.shape)),
        spread=tensor(np.broadcast_to(100.0 * error, momenta.shape)),
        count=tensor(np.full(COUNT, 500), torch.int32),
        trajectories=tensor(np.full(COUNT, 8192), torch.int32),
        geometry=tensor(np.arange(COUNT), torch.int64),
        molecule=tensor(np.full(COUNT, -1), torch.int64),
        settings=tensor(settings),
    )


def test_entries_set_aside_are_one_in_eight_and_always_the_same() -> None:
    (bucket,) = buckets_of(_entries(), "cpu").values()
    (again,) = buckets_of(_entries(), "cpu").values()
    assert torch.equal(bucket.aside, again.aside)
    assert 0.5 / ASIDE < float(bucket.aside.float().mean()) < 2.0 / ASIDE


def test_momenta_are_linear_in_small_changes_of_the_rises() -> None:
    (bucket,) = buckets_of(_entries(), "cpu").values()
    how = SurrogateTraining(seconds=1.0, momenta=SMALL, yields=SMALL)
    network = new_network(how, "cpu")
    bucket.refresh(network, 1)
    found = predict(network, bucket)
    there = bucket.linearised(found.log_tau, found.middle)
    assert torch.allclose(there, bucket.base, atol=1e-2)
    tau, middle, expected = bucket.tau, bucket.middle, bucket.base.clone()
    moved = bucket.linearised(tau + 0.02, middle)
    masses, charges = bucket.masses.double().numpy(), bucket.charges.double().numpy()
    fs = middle.double().numpy() * found.unit[:, None].double().detach().numpy()
    exact = explode_rises(
        bucket.positions.double().numpy(), charges, masses, tau.double().numpy() + 0.02, fs
    ).momenta
    change = torch.from_numpy(exact).float() - expected
    assert float((moved - expected - change).abs().max()) < 0.03 * float(change.abs().max())


@pytest.mark.slow
def test_a_law_of_rises_is_learned_and_the_errors_are_those_that_occur() -> None:
    entries = _entries()
    how = SurrogateTraining(
        seconds=600.0,
        error_seconds=300.0,
        most_steps=160,
        rate=1e-2,
        batch=60,
        warm_up=20,
        average=0.98,
        momenta=SMALL,
        yields=SMALL,
    )
    said: list[str] = []
    network, told = train_surrogate([entries], how, device="cpu", say=said.append)
    assert told["steps"] >= 160
    (bucket,) = buckets_of(entries, "cpu").values()
    bucket.refresh(network, 1)
    with torch.no_grad():
        found = predict(network, bucket)
        off = total_momenta(bucket, found) - bucket.momenta
        relative = off.square().mean(dim=(1, 2)).sqrt() / bucket.scale
        assert float(relative[bucket.aside].median()) < 0.015
        light, heavy = found.log_tau[:, 1:].mean(1), found.log_tau[:, 0]
        assert float((heavy - light).median()) == pytest.approx(math.log(2.0), abs=0.35)
        aside = bucket.rows(torch.nonzero(bucket.aside)[:, 0])
        likely = uncertainty_loss(network, aside, predict(network, aside))
        for shift in (-1.5, 1.5):
            for part in (network.uncertainty.atom, network.uncertainty.whole):
                part[-1].bias += shift
            other = uncertainty_loss(network, aside, predict(network, aside))
            for part in (network.uncertainty.atom, network.uncertainty.whole):
                part[-1].bias -= shift
            assert float(other) > float(likely)
