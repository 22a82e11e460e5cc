"""Stage-1 batches: right physics, from (seed, step) alone."""

from __future__ import annotations

import torch

from molexa_core.physics.coulomb.build_up import ErrorFunctionRise
from molexa_core.physics.coulomb.explosion import explode
from molexa_core.pipeline.training.stage1 import StageOneData, StageOneSource


def _source(*, uniform: bool = False, seed: int = 2) -> StageOneSource:
    return StageOneSource(StageOneData(block=3, uniform_atoms=uniform), 16, "cpu", seed)


def test_momenta_are_those_of_the_explosion() -> None:
    batch = _source()(0)
    assert batch.positions is not None
    wanted = explode(
        batch.positions.double(),
        batch.charges.double(),
        batch.masses.double(),
        build_up=ErrorFunctionRise(45.0),
        accuracy="fine",
    )
    scale = wanted.norm(dim=2).amax(1)[:, None, None]
    assert ((batch.momenta - wanted) / scale).abs().max() < 2e-5
    assert (batch.momenta.sum(1) / scale[:, 0]).abs().max() < 1e-5


def test_a_step_does_not_depend_on_the_steps_before() -> None:
    straight = _source()
    for step in range(5):
        batch = straight(step)
    assert batch.momenta.equal(_source()(4).momenta)
    assert not batch.momenta.equal(_source()(3).momenta)


def test_other_seeds_give_other_molecules() -> None:
    assert not _source()(0).momenta.equal(_source(seed=3)(0).momenta)


def test_uniform_batches_have_one_size_and_no_mask() -> None:
    source = _source(uniform=True)
    sizes = set()
    for step in range(9):
        batch = source(step)
        assert batch.mask is None
        assert (batch.numbers > 0).all()
        sizes.add(batch.atoms)
    assert len(sizes) > 2


def test_mixed_batches_have_all_sizes() -> None:
    mask = torch.cat([_source()(step).mask for step in range(6)])  # type: ignore[misc]
    assert set(mask.sum(1).tolist()) == set(range(2, 10))
