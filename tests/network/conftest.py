"""Small networks of both layouts and small batches of exploded molecules."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from molexa_core.network.batch import Batch
from molexa_core.network.network import Network
from molexa_core.pipeline.training.stage1 import StageOneData, StageOneSource
from tests.fakes.networks import small_settings


@pytest.fixture(params=["pairs", "atoms"])
def network(request: pytest.FixtureRequest) -> Network:
    torch.manual_seed(7)
    return Network(small_settings(request.param)).double().eval()


@pytest.fixture
def batch() -> Batch:
    """Sixteen molecules of 2 to 5 atoms, padded to 5, double precision."""
    source = StageOneSource(StageOneData(largest=5, block=1), 16, "cpu", 3)
    return in_double(source(0))


def in_double(batch: Batch) -> Batch:
    positions = batch.positions
    assert positions is not None
    return replace(
        batch,
        charges=batch.charges.double(),
        masses=batch.masses.double(),
        momenta=batch.momenta.double(),
        positions=positions.double(),
    )
