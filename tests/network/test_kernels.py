"""The GPU kernels against their twins in plain torch, in double precision."""

from __future__ import annotations

import pytest
import torch

from molexa_core.network.layouts import attention

pytestmark = [pytest.mark.gpu, pytest.mark.filterwarnings("default")]
BFLOAT = 6e-3
"""Relative error of sums of bf16 products whose inputs and results are bf16."""


def _error(found: torch.Tensor, wanted: torch.Tensor) -> float:
    assert torch.isfinite(found).all()
    return ((found.double() - wanted).norm() / wanted.norm()).item()


def _normal(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, device="cuda")


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("tokens", [4, 9, 16, 25, 36, 49, 64, 81, 100])
def test_token_attention_and_its_gradient(tokens: int, padded: bool) -> None:
    torch.manual_seed(tokens)
    packed = _normal(5, tokens, 3, 32, 16).bfloat16()
    bias = None
    if padded:
        bias = torch.zeros(5, 1, 1, tokens, device="cuda")
        bias[::2, ..., (tokens + 1) // 2 :] = -1e9
    twin = packed.double().requires_grad_()
    wanted = attention.token_attention(twin, bias)
    upstream = torch.randn_like(wanted)
    wanted.backward(upstream)
    packed.requires_grad_()
    found = attention.token_attention(packed, bias)
    found.backward(upstream.bfloat16())
    assert _error(found.detach(), wanted.detach()) < BFLOAT
    assert packed.grad is not None
    assert twin.grad is not None
    assert _error(packed.grad, twin.grad) < BFLOAT


@pytest.mark.parametrize("atoms", [2, 3, 7, 9, 16])
@torch.no_grad()
def test_atom_attention(atoms: int) -> None:
    torch.manual_seed(atoms)
    packed = _normal(6, atoms, 3, 8, 32)
    pairs = _normal(6, atoms, atoms, 64)
    # A slice, as the bias of one block among several.
    bias = _normal(6, atoms, atoms, 24)[..., 8:16]
    hide = torch.zeros(6, 1, 1, atoms, device="cuda")
    hide[::2, ..., -1] = -1e9
    wanted = attention.atom_attention(packed.double(), pairs.double(), bias.double(), hide.double())
    found = attention.atom_attention(packed.bfloat16(), pairs.bfloat16(), bias.bfloat16(), hide)
    assert _error(found, wanted) < BFLOAT


@pytest.mark.parametrize("atoms", [2, 9])
@torch.no_grad()
def test_relative_pairs(atoms: int) -> None:
    torch.manual_seed(atoms)
    layers = torch.nn.Sequential(
        torch.nn.Linear(attention.RELATIVE_FEATURES, 128),
        torch.nn.GELU(approximate="tanh"),
        torch.nn.Linear(128, 64),
    ).cuda()
    positions, known = _normal(7, atoms, 3), _normal(7, atoms, atoms, 64)
    with torch.autocast("cuda", torch.bfloat16):
        found = attention.relative_pairs(positions, known, layers)
    assert found.dtype == torch.bfloat16
    wanted = attention.relative_pairs(positions.double(), known.double(), layers.double())
    assert _error(found, wanted) < BFLOAT


@torch.no_grad()
def test_linear_gelu() -> None:
    torch.manual_seed(0)
    layer = torch.nn.Linear(64, 256).cuda()
    x = _normal(30, 5, 64)
    wanted = attention.linear_gelu(x.double(), layer.double())
    found = attention.linear_gelu(x.bfloat16(), layer.bfloat16())
    assert _error(found, wanted) < BFLOAT
