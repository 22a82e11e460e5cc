"""Entries of a data set, made of molecules of stage 1."""

from __future__ import annotations

import numpy as np

from molexa_core.pipeline.datasets.entries import EntryTable
from molexa_core.pipeline.training.stage1 import StageOneData, StageOneSource


def table_of(count: int = 12, *, seed: int = 5) -> EntryTable:
    """Exploded molecules of 2 to 4 atoms as the entries of a data set."""
    batch = StageOneSource(StageOneData(largest=4, block=1), count, "cpu", seed)(0)
    assert batch.mask is not None
    assert batch.positions is not None
    zeros = np.zeros(count, np.int64)
    return EntryTable(
        names=("molecule",),
        held_out=np.zeros(1, bool),
        numbers=batch.numbers.numpy().astype(np.uint8),
        charges=batch.charges.numpy().astype(np.int8),
        momenta=batch.momenta.numpy(),
        errors=np.zeros((count, 4, 3), np.float32),
        positions=(batch.positions * batch.present).numpy(),
        mask=batch.mask.numpy(),
        counts=np.full(count, 300),
        molecule=zeros,
        variation=zeros,
        kind=zeros.astype(np.uint8),
        geometry=zeros,
        split=zeros.astype(np.uint8),
        statistics={},
    )
