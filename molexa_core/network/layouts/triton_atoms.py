"""The atom layout in two kernels, for the GPU (Triton); for inference only.

Matrix libraries are slow for thousands of products of nine rows. Here one program computes scores,
softmax, values and pair values of rows of one molecule, and a second kernel computes pair features
from positions without storing intermediate results.

`attention` has the same functions in plain torch and chooses between the two.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.library import triton_op, wrap_triton

MOST_ATOMS = 16
"""Largest molecule that fits in one tile."""
MANY = 512
"""Number of molecules from which on one program per molecule, for all heads, fills the GPU."""
ROWS = 64
"""Number of pairs of atoms that one program handles."""


@triton.jit
def _weights_kernel(
    packed,
    bias,
    hide,
    weights,
    out,
    tokens,
    bias_row,
    SCALE: tl.constexpr,
    HEADS: tl.constexpr,
    WIDTH: tl.constexpr,
    OUT_ROW: tl.constexpr,
    EACH: tl.constexpr,
):
    """EACH heads of one molecule: attention weights, and the weighted means of the values."""
    molecule = tl.program_id(0).to(tl.int64)
    size: tl.constexpr = HEADS * WIDTH
    atoms = tl.arange(0, 16)
    columns = tl.arange(0, WIDTH)
    inside = atoms < tokens
    here = inside[:, None]
    both = here & inside[None, :]
    first = molecule * tokens
    rows = packed + (first + atoms[:, None]) * (3 * size) + columns[None, :]
    pair = (first + atoms[:, None]) * tokens + atoms[None, :]
    hidden = tl.load(hide + first + atoms, mask=inside, other=-1e30)
    for step in tl.static_range(EACH):
        head = tl.program_id(1) * EACH + step
        q = tl.load(rows + head * WIDTH, mask=here, other=0.0)
        k = tl.load(rows + size + head * WIDTH, mask=here, other=0.0)
        v = tl.load(rows + 2 * size + head * WIDTH, mask=here, other=0.0)
        near = tl.load(bias + pair * bias_row + head, mask=both, other=0.0).to(tl.float32)
        scores = tl.dot(q, tl.trans(k)) * SCALE + near + hidden[None, :]
        share = tl.exp(scores - tl.max(scores, 1)[:, None])
        share = (share / tl.sum(share, 1)[:, None]).to(v.dtype)
        mixed = tl.dot(share, v).to(out.dtype.element_ty)
        target = out + (first + atoms[:, None]) * OUT_ROW + head * WIDTH + columns[None, :]
        tl.store(target, mixed, mask=here)
        kept = weights + ((first + atoms[:, None]) * HEADS + head) * 16 + atoms[None, :]
        tl.store(kept, share, mask=here)


@triton.jit
def _paired_kernel(
    weights,
    pairs,
    out,
    tokens,
    HEADS: tl.constexpr,
    PAIRS: tl.constexpr,
    OUT_ROW: tl.constexpr,
):
    """One atom: the weighted means of its pair features for all heads at once."""
    molecule = tl.program_id(0).to(tl.int64)
    keys = tl.arange(0, 16)
    heads = tl.arange(0, 16)
    features = tl.arange(0, PAIRS)
    inside = (keys < tokens)[:, None]
    real = (heads < HEADS)[:, None]
    row = molecule * tokens + tl.program_id(1)
    kept = weights + (row * HEADS + heads[:, None]) * 16 + keys[None, :]
    share = tl.load(kept, mask=real, other=0.0)
    place = pairs + (row * tokens + keys[:, None]) * PAIRS + features[None, :]
    around = tl.load(place, mask=inside, other=0.0)
    paired = tl.dot(share, around).to(out.dtype.element_ty)
    target = out + row * OUT_ROW + (OUT_ROW - HEADS * PAIRS)
    tl.store(target + heads[:, None] * PAIRS + features[None, :], paired, mask=real)


@triton.jit
def _gelu(x):
    """The tanh form of GELU."""
    inner = 1.5957691216057308 * (x + 0.044715 * x * x * x)
    return x * tl.sigmoid(inner)


@triton.jit
def _relative_kernel(
    positions,
    inner,
    inner_bias,
    outer,
    outer_bias,
    known,
    out,
    total,
    tokens,
    PAIRS: tl.constexpr,
    ROWS: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """ROWS pairs of atoms: features of the relative position, two layers, sum with given ones."""
    rows = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    present = rows < total
    molecule = rows // (tokens * tokens)
    first = positions + (molecule * tokens + rows // tokens % tokens) * 3
    second = positions + (molecule * tokens + rows % tokens) * 3
    x = tl.load(first, mask=present, other=0.0) - tl.load(second, mask=present, other=0.0)
    y = tl.load(first + 1, mask=present, other=0.0) - tl.load(second + 1, mask=present, other=0.0)
    z = tl.load(first + 2, mask=present, other=0.0) - tl.load(second + 2, mask=present, other=0.0)
    distance = tl.sqrt(x * x + y * y + z * z + 1e-6)
    near = 0.3 / (distance + 0.1)
    far = tl.log(distance + 0.01)
    wide = tl.arange(0, 2 * PAIRS)
    weight = inner + wide * 6
    hidden = tl.load(inner_bias + wide)[None, :] + x[:, None] * tl.load(weight)[None, :]
    hidden += y[:, None] * tl.load(weight + 1)[None, :]
    hidden += z[:, None] * tl.load(weight + 2)[None, :]
    hidden += distance[:, None] * tl.load(weight + 3)[None, :]
    hidden += far[:, None] * tl.load(weight + 4)[None, :]
    hidden += near[:, None] * tl.load(weight + 5)[None, :]
    features = tl.arange(0, PAIRS)
    to_out = tl.load(outer + features[None, :] * (2 * PAIRS) + wide[:, None])
    made = tl.dot(_gelu(hidden), to_out, input_precision=PRECISION)
    place = rows[:, None] * PAIRS + features[None, :]
    before = tl.load(known + place, mask=present[:, None], other=0.0).to(tl.float32)
    made += before + tl.load(outer_bias + features)[None, :]
    tl.store(out + place, made.to(out.dtype.element_ty), mask=present[:, None])


@triton_op(
    "molexa::atom_attention",
    mutates_args=(),
    schema="(Tensor packed, Tensor pairs, Tensor bias, Tensor hide) -> Tensor",
)
def atom_attention(packed: Tensor, pairs: Tensor, bias: Tensor, hide: Tensor) -> Tensor:
    """Attention among the atoms of each molecule, with pair features as bias and as values.

    Args:
        packed: (B, N, 3, H, W) queries, keys and values, contiguous; N and H up to 16, W and P
            powers of two from 16 on.
        pairs: (B, N, N, P), contiguous, of the same type.
        bias: (B, N, N, H) added to the scores; a slice of a contiguous (B * N * N, stride)
            table.
        hide: (B, 1, 1, N) float32 added to the scores of an atom.

    Returns:
        (B, N, H * W + H * P): weighted means of the values and of the pair features.
    """
    batch, tokens, _, heads, width = packed.shape
    features = pairs.shape[3]
    row = heads * (width + features)
    out = torch.empty((batch, tokens, row), dtype=packed.dtype, device=packed.device)
    # Rows of 16 stay aligned; they are filled with zeros after the last atom.
    weights = torch.empty(
        (batch, tokens, heads, MOST_ATOMS), dtype=packed.dtype, device=packed.device
    )
    each = heads if batch >= MANY else 1
    wrap_triton(_weights_kernel)[(batch, heads // each)](
        packed,
        bias,
        hide,
        weights,
        out,
        tokens,
        bias.stride(2),
        SCALE=width**-0.5,
        HEADS=heads,
        WIDTH=width,
        OUT_ROW=row,
        EACH=each,
        num_warps=1,
    )
    wrap_triton(_paired_kernel)[(batch, tokens)](
        weights,
        pairs,
        out,
        tokens,
        HEADS=heads,
        PAIRS=features,
        OUT_ROW=row,
        num_warps=1,
    )
    return out


@triton_op(
    "molexa::relative_pairs",
    mutates_args=(),
    schema=(
        "(Tensor positions, Tensor known, Tensor inner, Tensor inner_bias, Tensor outer, "
        "Tensor outer_bias, bool reduced) -> Tensor"
    ),
)
def relative_pairs(
    positions: Tensor,
    known: Tensor,
    inner: Tensor,
    inner_bias: Tensor,
    outer: Tensor,
    outer_bias: Tensor,
    reduced: bool,
) -> Tensor:
    """Pair features of relative positions, added to given ones; in bf16 if `reduced`.

    Args:
        positions: (B, N, 3) float32, contiguous.
        known: (B, N, N, P) features to which they are added, contiguous.
        inner: (2 P, 6) float32 weights of the first layer.
        inner_bias: (2 P) float32.
        outer: (P, 2 P) float32 weights of the second layer.
        outer_bias: (P) float32.
        reduced: whether the result is in bf16; products are then in tf32, which is more
            precise.

    Returns:
        (B, N, N, P).
    """
    tokens, features = known.shape[1], known.shape[3]
    total = known.shape[0] * tokens * tokens
    out = torch.empty_like(known, dtype=torch.bfloat16 if reduced else torch.float32)
    wrap_triton(_relative_kernel)[(triton.cdiv(total, ROWS),)](
        positions,
        inner,
        inner_bias,
        outer,
        outer_bias,
        known,
        out,
        total,
        tokens,
        PAIRS=features,
        ROWS=ROWS,
        PRECISION="tf32" if reduced else "ieee",
        num_warps=4,
    )
    return out
