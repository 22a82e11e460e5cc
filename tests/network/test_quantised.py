"""Eight-bit weights: the rounding error is bounded, and damage is told."""

from __future__ import annotations

import pytest
import torch

from molexa_core.network.layouts.quantised import GROUP, SCALE, dequantise, quantise


def test_each_value_is_within_half_a_step_of_its_group() -> None:
    generator = torch.Generator().manual_seed(1)
    matrix = torch.randn(400, 256, generator=generator) * torch.logspace(-2, 2, 400)[:, None]
    matrix[7] = 0.0
    again = dequantise(quantise({"matrix": matrix}))["matrix"]
    groups, found = (one.view(400, -1, GROUP) for one in (matrix, again))
    step = groups.abs().amax(dim=2, keepdim=True) / 127
    # Scales of four bits are up to an eighth longer than the shortest that would do.
    assert ((groups - found).abs() <= 0.5 * step * 1.125 + 1e-12).all()
    assert (found.half().float() == found).all()
    assert (again[7] == 0).all()


def test_small_and_odd_tensors_stay_in_bf16() -> None:
    tensors = {"bias": torch.randn(300), "small": torch.randn(64, 64), "odd": torch.randn(3000, 33)}
    stored = quantise(tensors)
    assert set(stored) == set(tensors)
    assert all(value.dtype == torch.bfloat16 for value in stored.values())
    again = dequantise(stored)
    assert all((again[name] == tensors[name].bfloat16().float()).all() for name in tensors)


def test_it_takes_about_half_of_bf16() -> None:
    stored = quantise({"matrix": torch.randn(512, 512)})
    assert sum(one.nbytes for one in stored.values()) == 512 * 512 * (1 + 2 / GROUP)


@pytest.mark.parametrize("fault", ["lost matrix", "other shape"])
def test_damage(fault: str) -> None:
    stored = quantise({"matrix": torch.randn(512, 512)})
    if fault == "lost matrix":
        del stored["matrix"]
    else:
        stored["matrix" + SCALE] = stored["matrix" + SCALE][:-1]
    with pytest.raises(ValueError, match="matrix"):
        dequantise(stored)
