"""Derivatives of what a `ChargeNetwork` predicts, by distances and by settings.

A distance enters the messages of its two atoms alone, and through them everything else. The
derivatives are written out so that each part is computed as often as it differs, once for every
pair where only the pair matters: a tenth of the work of differentiating along every distance.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from molexa_core.physics.surrogate.charge_network import (
    DECAY_FS,
    LONGEST,
    MIDDLE_SHARE,
    SHORTEST,
    WIDEST,
    ChargeNetwork,
    Encoded,
    EncoderLayer,
    Predicted,
)


@dataclass(frozen=True)
class Slopes:
    """Derivatives for B molecules of N atoms along K directions.

    Attributes:
        log_tau: [B, N, K] of the windows.
        middle: [B, N, K] of the middles in fs.
        impulse: [B, N, N, K].
    """

    log_tau: Tensor
    middle: Tensor
    impulse: Tensor


def _slope_of_silu(x: Tensor) -> Tensor:
    gate = x.sigmoid()
    return gate * (1.0 + x * (1.0 - gate))


@torch.no_grad()
def by_distances(  # noqa: PLR0915  (one derivation, line by line that of `ChargeNetwork.forward`)
    model: ChargeNetwork, encoded: Encoded, log_distance: Tensor
) -> tuple[Predicted, Slopes]:
    """Prediction, and derivatives by ln of the distance of each pair.

    Args:
        model: the network.
        encoded: of B molecules.
        log_distance: [B, N, N].

    Returns:
        The prediction and its derivatives along the pairs `torch.triu_indices(N, N, 1)`.
    """
    silu = nn.functional.silu
    n, c = log_distance.shape[1], model.size.channels
    one, two = torch.triu_indices(n, n, 1)
    pairs = torch.arange(len(one))
    bell = model.bells(log_distance)
    width = (math.log(LONGEST) - math.log(SHORTEST)) / (model.size.radial - 1)
    away = (log_distance.unsqueeze(-1) - model.centres) / width
    off = (1.0 - torch.eye(n)).unsqueeze(-1)
    inner = encoded.pairs + model.near(bell)
    message = model.message(silu(inner)) * off
    steep = _slope_of_silu(inner) * (model.near(-bell * away / width))
    change = nn.functional.linear(steep, model.message.weight) * off  # of each ordered pair
    a1 = model.atom_hidden(encoded.atoms) + model.first(message[..., :c].sum(dim=2))
    u1 = silu(a1)
    a2 = model.mix(u1)
    u = u1 + silu(a2)
    # How the atom i of the ordered pair (i, j) changes with its distance.
    du1 = _slope_of_silu(a1).unsqueeze(2) * model.first(change[..., :c])
    du = du1 + _slope_of_silu(a2).unsqueeze(2) * nn.functional.linear(du1, model.mix.weight)
    sent = model.send(u)
    dsent = nn.functional.linear(du, model.send.weight)
    second = message[..., c : 2 * c]
    gathered = (second * sent.unsqueeze(1)).sum(dim=2)
    # [B, N, pairs, c]: the atom i hears both atoms of every pair ...
    dgathered = second[:, :, one] * dsent[:, one, two].unsqueeze(1)
    dgathered += second[:, :, two] * dsent[:, two, one].unsqueeze(1)
    # ... and where it is in the pair itself, the message changes.
    own = change[..., c : 2 * c]
    dgathered[:, one, pairs] += own[:, one, two] * sent[:, two]
    dgathered[:, two, pairs] += own[:, two, one] * sent[:, one]
    a3 = model.mix2(u) + model.receive(gathered)
    dmixed = nn.functional.linear(du, model.mix2.weight)
    da3 = model.receive(dgathered)
    da3[:, one, pairs] += dmixed[:, one, two]
    da3[:, two, pairs] += dmixed[:, two, one]
    v1 = u + silu(a3)
    dv = da3.mul_(_slope_of_silu(a3).unsqueeze(2))
    dv[:, one, pairs] += du[:, one, two]
    dv[:, two, pairs] += du[:, two, one]
    a4 = model.mix3(v1)
    v = v1 + silu(a4)
    dmix3 = nn.functional.linear(dv, model.mix3.weight)
    dv = dv.addcmul_(dmix3, _slope_of_silu(a4).unsqueeze(2).expand_as(dmix3))
    rise = model.rise(v) + encoded.start
    drise = nn.functional.linear(dv, model.rise.weight)
    bent = torch.tanh(rise[..., 0] / WIDEST)
    decay = (-log_distance).clamp_max(0.0).exp() * off[..., 0]
    sides = model.to_pair(v)
    dsides = nn.functional.linear(dv, model.to_pair.weight)
    raw = message[..., 2 * c] + message[..., 2 * c].transpose(1, 2)
    raw = raw + (sides.unsqueeze(2) * sides.unsqueeze(1)).sum(-1)
    half = torch.einsum("bimk,bjk->bijm", dsides, sides)
    dimpulse = (half + half.transpose(1, 2)) * decay.unsqueeze(-1)
    direct = change[..., 2 * c] + change[..., 2 * c].transpose(1, 2)
    fades = torch.where(log_distance > 0.0, -1.0, 0.0)
    own_pair = (direct * decay + raw * decay * fades)[:, one, two]
    dimpulse[:, one, two, pairs] += own_pair
    dimpulse[:, two, one, pairs] += own_pair
    unit = encoded.window * MIDDLE_SHARE
    predicted = Predicted(
        log_tau=encoded.window.log().unsqueeze(1) + WIDEST * bent,
        middle=rise[..., 1],
        unit=unit,
        impulse=raw * decay,
        hidden=v,
        atoms=encoded.atoms,
    )
    slopes = Slopes(
        log_tau=drise[..., 0] * (1.0 - bent.square()).unsqueeze(-1),
        middle=drise[..., 1] * unit[:, None, None],
        impulse=dimpulse,
    )
    return predicted, slopes


@torch.no_grad()
def by_settings(
    model: ChargeNetwork,
    elements: Tensor,
    charges: Tensor,
    settings: Tensor,
    which: Tensor,
    log_distance: Tensor,
    columns: Sequence[int],
) -> Slopes:
    """Derivatives along columns of the settings.

    Args:
        model: the network.
        elements: [U, N] places of the elements.
        charges: [U, N].
        settings: [U, 9] different settings.
        which: [B] which of them each molecule has.
        log_distance: [B, N, N].
        columns: those of the settings.
    """
    encoded, moved = _encode(model, elements, charges, settings, columns)
    one = Encoded(*(value[which] for value in _fields(encoded)))
    far = Encoded(*(value[:, which] for value in _fields(moved)))
    return _along_settings(model, one, far, log_distance)


def _fields(encoded: Encoded) -> tuple[Tensor, ...]:
    return encoded.atoms, encoded.pairs, encoded.start, encoded.window


def _encode(
    model: ChargeNetwork,
    elements: Tensor,
    charges: Tensor,
    settings: Tensor,
    columns: Sequence[int],
) -> tuple[Encoded, Encoded]:
    """`ChargeNetwork.encode`, and its derivatives, along K columns: [K, ...]."""
    atom, whole = model.features(elements, charges, settings)
    datom, dwhole = model.feature_slopes(elements, settings, columns)
    for part in model.global_in:
        if isinstance(part, nn.Linear):
            whole, dwhole = part(whole), _turn(part, dwhole)
        else:
            whole, dwhole = nn.functional.silu(whole), dwhole * _slope_of_silu(whole)
    x = model.embed(elements, charges, atom, whole)
    d = _turn(model.atom_in, datom) + dwhole.unsqueeze(2)
    for layer in model.layers:
        if isinstance(layer, EncoderLayer):
            x, d = _through(layer, x, d)
    x, d = _normalised(x, d)
    encoded = model.encoded(x, settings)
    duration2 = (2.0 * settings[:, 2]).exp()
    by_duration = encoded.window * duration2 / (duration2 + DECAY_FS**2)
    window = torch.stack([by_duration * float(column == 2) for column in columns])
    left, right = _turn(model.left, d), _turn(model.right, d)
    pairs = left.unsqueeze(3) + right.unsqueeze(2)
    return encoded, Encoded(d, pairs, _turn(model.start, d), window)


def _turn(linear: nn.Module, d: Tensor) -> Tensor:
    """A change through a linear layer."""
    weight: Tensor = linear.weight  # type: ignore[assignment]
    return nn.functional.linear(d, weight)


def _normalised(x: Tensor, d: Tensor) -> tuple[Tensor, Tensor]:
    centred = x - x.mean(-1, keepdim=True)
    inverse = (centred.square().mean(-1, keepdim=True) + 1e-5).rsqrt()
    unit = centred * inverse
    dcentred = d - d.mean(-1, keepdim=True)
    dunit = inverse * (dcentred - unit * (unit * dcentred).mean(-1, keepdim=True))
    return unit, dunit


def _through(layer: EncoderLayer, x: Tensor, d: Tensor) -> tuple[Tensor, Tensor]:
    """One layer of the encoder: x [U, N, w], changes d [K, U, N, w]."""
    u, n, w = x.shape
    heads = layer.heads
    y, dy = _normalised(x, d)
    q, k, v = layer.qkv(y).reshape(u, n, 3, heads, -1).unbind(2)
    dq, dk, dv = _turn(layer.qkv, dy).reshape(-1, u, n, 3, heads, w // heads).unbind(3)
    root = math.sqrt(q.shape[-1])
    weight = (torch.einsum("uihc,ujhc->uijh", q, k) / root).softmax(dim=2)
    dscore = torch.einsum("suihc,ujhc->suijh", dq, k) + torch.einsum("uihc,sujhc->suijh", q, dk)
    dscore = dscore / root
    dweight = weight * (dscore - (weight * dscore).sum(3, keepdim=True))
    out = torch.einsum("uijh,ujhc->uihc", weight, v).reshape(u, n, w)
    dout = torch.einsum("suijh,ujhc->suihc", dweight, v)
    dout = dout + torch.einsum("uijh,sujhc->suihc", weight, dv)
    x = x + layer.out(out)
    d = d + _turn(layer.out, dout.reshape(-1, u, n, w))
    y, dy = _normalised(x, d)
    inner = layer.up(y)
    dinner = _turn(layer.up, dy) * _slope_of_silu(inner)
    x = x + layer.down(nn.functional.silu(inner))
    return x, d + _turn(layer.down, dinner)


def _along_settings(
    model: ChargeNetwork, encoded: Encoded, moved: Encoded, log_distance: Tensor
) -> Slopes:
    """`ChargeNetwork.forward` along changes [K, B, ...] of what was encoded."""
    silu = nn.functional.silu
    n, c = log_distance.shape[1], model.size.channels
    off = (1.0 - torch.eye(n)).unsqueeze(-1)
    inner = encoded.pairs + model.near(model.bells(log_distance))
    message = model.message(silu(inner)) * off
    dmessage = _turn(model.message, moved.pairs * _slope_of_silu(inner)) * off
    a1 = model.atom_hidden(encoded.atoms) + model.first(message[..., :c].sum(dim=2))
    da1 = _turn(model.atom_hidden, moved.atoms) + model.first(dmessage[..., :c].sum(dim=3))
    u1, du1 = silu(a1), da1 * _slope_of_silu(a1)
    a2 = model.mix(u1)
    u, du = u1 + silu(a2), du1 + _turn(model.mix, du1) * _slope_of_silu(a2)
    second, dsecond = message[..., c : 2 * c], dmessage[..., c : 2 * c]
    sent, dsent = model.send(u), _turn(model.send, du)
    gathered = (second * sent.unsqueeze(1)).sum(dim=2)
    dgathered = (dsecond * sent.unsqueeze(1)).sum(dim=3) + (second * dsent.unsqueeze(2)).sum(dim=3)
    a3 = model.mix2(u) + model.receive(gathered)
    da3 = _turn(model.mix2, du) + model.receive(dgathered)
    v1, dv = u + silu(a3), du + da3 * _slope_of_silu(a3)
    a4 = model.mix3(v1)
    v, dv = v1 + silu(a4), dv + _turn(model.mix3, dv) * _slope_of_silu(a4)
    rise = model.rise(v) + encoded.start
    drise = _turn(model.rise, dv) + moved.start
    bent = torch.tanh(rise[..., 0] / WIDEST)
    relative = (moved.window / encoded.window).unsqueeze(-1)
    unit = (encoded.window * MIDDLE_SHARE).unsqueeze(-1)
    decay = (-log_distance).clamp_max(0.0).exp() * off[..., 0]
    sides, dsides = model.to_pair(v), _turn(model.to_pair, dv)
    half = torch.einsum("sbik,bjk->sbij", dsides, sides) + dmessage[..., 2 * c]
    found = (
        relative + drise[..., 0] * (1.0 - bent.square()),
        unit * (drise[..., 1] + rise[..., 1] * relative),
        (half + half.transpose(2, 3)) * decay,
    )
    return Slopes(*(value.movedim(0, -1) for value in found))
