"""Self-attention over few tokens in one kernel, for the GPU (Triton).

The pair layout has 4 to 81 tokens per molecule and heads of width 16. Kernels for long sequences
spend their time on reading and writing tiles that are mostly padding. Here one program handles one
head of one molecule, with queries, keys and values in registers.

`attention.token_attention` computes the same in plain torch and chooses between the two.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.library import triton_op, wrap_triton

LOG2E: tl.constexpr = tl.constexpr(1.4426950408889634)


@triton.jit
def _forward_kernel(
    packed,
    bias,
    out,
    tokens,
    SCALE: tl.constexpr,
    HEADS: tl.constexpr,
    WIDTH: tl.constexpr,
    BIASED: tl.constexpr,
    QUERIES: tl.constexpr,
    KEYS: tl.constexpr,
    MORE: tl.constexpr,
):
    """One head of one molecule: KEYS + MORE keys in registers, QUERIES queries at a time."""
    molecule = (tl.program_id(0) // HEADS).to(tl.int64)
    head = tl.program_id(0) % HEADS
    row: tl.constexpr = 3 * HEADS * WIDTH
    base = packed + molecule * tokens * row + head * WIDTH
    target = out + molecule * tokens * (HEADS * WIDTH) + head * WIDTH
    columns = tl.arange(0, WIDTH)
    keys = tl.arange(0, KEYS)
    inside = keys < tokens
    place = base + keys[:, None] * row + columns[None, :]
    k = tl.load(place + HEADS * WIDTH, mask=inside[:, None], other=0.0)
    v = tl.load(place + 2 * HEADS * WIDTH, mask=inside[:, None], other=0.0)
    hide = tl.where(inside, 0.0, -1e30)
    if BIASED:
        hide += tl.load(bias + molecule * tokens + keys, mask=inside, other=0.0) * LOG2E
    if MORE > 0:
        further = KEYS + tl.arange(0, MORE)
        beyond = further < tokens
        place = base + further[:, None] * row + columns[None, :]
        k_more = tl.load(place + HEADS * WIDTH, mask=beyond[:, None], other=0.0)
        v_more = tl.load(place + 2 * HEADS * WIDTH, mask=beyond[:, None], other=0.0)
        hide_more = tl.where(beyond, 0.0, -1e30)
        if BIASED:
            loaded = tl.load(bias + molecule * tokens + further, mask=beyond, other=0.0)
            hide_more += loaded * LOG2E
    for start in range(0, tokens, QUERIES):
        rows = start + tl.arange(0, QUERIES)
        present = (rows < tokens)[:, None]
        q = tl.load(base + rows[:, None] * row + columns[None, :], mask=present, other=0.0)
        scores = tl.dot(q, tl.trans(k)) * (SCALE * LOG2E) + hide[None, :]
        highest = tl.max(scores, 1)
        if MORE > 0:
            scores_more = tl.dot(q, tl.trans(k_more)) * (SCALE * LOG2E) + hide_more[None, :]
            highest = tl.maximum(highest, tl.max(scores_more, 1))
        weights = tl.exp2(scores - highest[:, None])
        total = tl.sum(weights, 1)
        mixed = tl.dot(weights.to(v.dtype), v)
        if MORE > 0:
            weights_more = tl.exp2(scores_more - highest[:, None])
            total += tl.sum(weights_more, 1)
            mixed += tl.dot(weights_more.to(v.dtype), v_more)
        mixed = (mixed / total[:, None]).to(out.dtype.element_ty)
        here = target + rows[:, None] * (HEADS * WIDTH) + columns[None, :]
        tl.store(here, mixed, mask=present)


@triton.jit
def _backward_kernel(
    packed,
    bias,
    upstream,
    gradient,
    tokens,
    SCALE: tl.constexpr,
    HEADS: tl.constexpr,
    WIDTH: tl.constexpr,
    BIASED: tl.constexpr,
    QUERIES: tl.constexpr,
    KEYS: tl.constexpr,
):
    """One head of one molecule: all keys at once, queries in turn, weights recomputed."""
    molecule = (tl.program_id(0) // HEADS).to(tl.int64)
    head = tl.program_id(0) % HEADS
    row: tl.constexpr = 3 * HEADS * WIDTH
    base = packed + molecule * tokens * row + head * WIDTH
    target = gradient + molecule * tokens * row + head * WIDTH
    above = upstream + molecule * tokens * (HEADS * WIDTH) + head * WIDTH
    columns = tl.arange(0, WIDTH)
    keys = tl.arange(0, KEYS)
    inside = keys < tokens
    place = keys[:, None] * row + columns[None, :]
    k = tl.load(base + place + HEADS * WIDTH, mask=inside[:, None], other=0.0)
    v = tl.load(base + place + 2 * HEADS * WIDTH, mask=inside[:, None], other=0.0)
    hide = tl.zeros((KEYS,), tl.float32)
    if BIASED:
        loaded = tl.load(bias + molecule * tokens + keys, mask=inside, other=0.0)
        hide = loaded.to(tl.float32) * LOG2E
    hide = tl.where(inside, hide, -1e30)
    to_k = tl.zeros((KEYS, WIDTH), tl.float32)
    to_v = tl.zeros((KEYS, WIDTH), tl.float32)
    for start in range(0, tokens, QUERIES):
        rows = start + tl.arange(0, QUERIES)
        present = (rows < tokens)[:, None]
        here = rows[:, None] * row + columns[None, :]
        q = tl.load(base + here, mask=present, other=0.0)
        wanted = tl.load(
            above + rows[:, None] * (HEADS * WIDTH) + columns[None, :], mask=present, other=0.0
        )
        scores = tl.dot(q, tl.trans(k)) * (SCALE * LOG2E) + hide[None, :]
        weights = tl.exp2(scores - tl.max(scores, 1)[:, None])
        weights = weights / tl.sum(weights, 1)[:, None]
        to_weights = tl.dot(wanted, tl.trans(v))
        to_scores = weights * (to_weights - tl.sum(weights * to_weights, 1)[:, None]) * SCALE
        to_scores = to_scores.to(q.dtype)
        to_v += tl.dot(tl.trans(weights.to(q.dtype)), wanted)
        to_k += tl.dot(tl.trans(to_scores), q)
        to_q = tl.dot(to_scores, k)
        tl.store(target + here, to_q.to(gradient.dtype.element_ty), mask=present)
    kind = gradient.dtype.element_ty
    tl.store(target + place + HEADS * WIDTH, to_k.to(kind), mask=inside[:, None])
    tl.store(target + place + 2 * HEADS * WIDTH, to_v.to(kind), mask=inside[:, None])


def forward_shape(tokens: int) -> tuple[int, int, int, int]:
    """Queries at a time, keys in the first and second block, and warps of a program."""
    keys = max(16, triton.next_power_of_2(tokens))
    half = keys // 2
    for more in (16, 32):
        if half >= more and half + more < keys and tokens <= half + more:
            return 16, half, more, 1
    return min(32, keys), keys, 0, 1


@triton_op(
    "molexa::token_attention", mutates_args=(), schema="(Tensor packed, Tensor? bias) -> Tensor"
)
def token_attention(packed: Tensor, bias: Tensor | None) -> Tensor:
    """Softmax attention of every head of every molecule.

    Args:
        packed: (B, T, 3, H, W) queries, keys and values, contiguous; W a power of two from 16 on.
        bias: (B, T) added to the scores of a key, or None.

    Returns:
        (B, T, H * W).
    """
    batch, tokens, _, heads, width = packed.shape
    out = torch.empty((batch, tokens, heads * width), dtype=packed.dtype, device=packed.device)
    queries, keys, more, warps = forward_shape(tokens)
    wrap_triton(_forward_kernel)[(batch * heads,)](
        packed,
        packed if bias is None else bias,
        out,
        tokens,
        SCALE=width**-0.5,
        HEADS=heads,
        WIDTH=width,
        BIASED=bias is not None,
        QUERIES=queries,
        KEYS=keys,
        MORE=more,
        num_warps=warps,
    )
    return out


@triton_op(
    "molexa::token_attention_backward",
    mutates_args=(),
    schema="(Tensor packed, Tensor? bias, Tensor upstream) -> Tensor",
)
def token_attention_backward(packed: Tensor, bias: Tensor | None, upstream: Tensor) -> Tensor:
    """Gradient with respect to `packed` from the gradient with respect to the result."""
    batch, tokens, _, heads, width = packed.shape
    gradient = torch.empty_like(packed)
    keys = max(16, triton.next_power_of_2(tokens))
    wrap_triton(_backward_kernel)[(batch * heads,)](
        packed,
        packed if bias is None else bias,
        upstream,
        gradient,
        tokens,
        SCALE=width**-0.5,
        HEADS=heads,
        WIDTH=width,
        BIASED=bias is not None,
        QUERIES=min(32, keys),
        KEYS=keys,
        num_warps=1 if keys <= 32 else 4 if keys > 64 else 2,
    )
    return gradient


def _remember(ctx, inputs, output):
    del output
    packed, bias = inputs
    ctx.save_for_backward(packed, bias)


def _backward(ctx, upstream):
    packed, bias = ctx.saved_tensors
    return torch.ops.molexa.token_attention_backward(packed, bias, upstream.contiguous()), None


token_attention.register_autograd(_backward, setup_context=_remember)
