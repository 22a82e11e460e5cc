"""Momenta of an explosion and their derivatives with respect to the initial positions.

Along the path x(t) a small change of the initial positions evolves as J'' = G(t, x) J, where G is
the gradient of the accelerations (the variational equation: Hairer, Norsett, Wanner, Solving
Ordinary Differential Equations I, section I.14). Both are integrated by the method of `explosion`
in the same steps, whose lengths are not differentiated. A step of J is a product of small matrices,
several times cheaper than exploding once per coordinate for finite differences.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from molexa_core.physics.coulomb.build_up import BuildUp
from molexa_core.physics.coulomb.explosion import (
    NODES,
    POSITION_WEIGHTS,
    SELF_DISTANCE2,
    STAGES,
    VELOCITY_WEIGHTS,
    Accuracy,
    State,
    acceleration,
    accuracy_of,
    combine,
    first_stage,
    initial_state,
    remaining_velocity,
    steps_of,
)

PRECISION: Final = torch.float32
"""Type of the derivatives: their rounding error, 1e-6, is negligible in a refinement."""


def explode_with_derivatives(
    positions: Tensor,
    charges: Tensor,
    masses: Tensor,
    *,
    build_up: BuildUp,
    accuracy: str | Accuracy,
) -> tuple[Tensor, Tensor]:
    """Asymptotic momenta and their derivatives. Every atom must be charged.

    Args:
        positions: [B, N, 3] bohr.
        charges: [B, N] elementary charges, not 0.
        masses: [B, N] electron masses.
        build_up: charge build-up.
        accuracy: a name in `explosion.ACCURACIES` or an `Accuracy`.

    Returns:
        [B, N, 3] momenta in a.u., those of `explosion.explode`; [B, 3 N, 3 N] their derivatives
        (rows: momenta, columns: positions), in `PRECISION`.
    """
    cut = accuracy_of(accuracy)
    charge, mass = charges.T.contiguous(), masses.T.contiguous()
    state = initial_state(positions, charge)
    change = _Change(charges, masses)
    for _ in range(steps_of(cut, build_up)):
        length, first = first_stage(state, charge, mass, build_up, cut.fraction)
        change.begin(length)
        x, v, kicks = state.position, state.velocity, [first]
        change.kick(x, build_up.factor(state.time))
        for node, row in zip(NODES[1:], STAGES[1:], strict=True):
            at = x + length * (node * v + length * combine(row, kicks))
            factor = build_up.factor(state.time + node * length)
            kicks.append(acceleration(at, charge, mass, factor))
            change.kick(at, factor, node, row)
        change.end()
        drift = combine(POSITION_WEIGHTS, kicks)
        state = State(
            x + length * (v + length * drift),
            v + length * combine(VELOCITY_WEIGHTS, kicks),
            state.time + length,
        )
    velocity = state.velocity + remaining_velocity(state, charge, mass)
    return (velocity * mass).permute(2, 1, 0), change.of_momenta(state)


class _Change:
    """The derivatives of positions and velocities during the integration.

    The batch is the first axis, for matrix products; rows are all x, then all y, then all z, so
    that quantities of pairs are contiguous in memory.
    """

    def __init__(self, charges: Tensor, masses: Tensor) -> None:
        batch, atoms = charges.shape
        self.atoms = atoms
        self.mass = masses.to(PRECISION)
        charge = charges.to(PRECISION)
        self.same = torch.eye(atoms, dtype=PRECISION)
        self.products = charge[:, :, None] * charge[:, None, :] * (1.0 - self.same)
        self.inertia = self.products / self.mass[:, :, None]
        # A translation does not change the momenta, which gives the derivatives of the last atom.
        start = torch.eye(3 * atoms, dtype=PRECISION).view(3 * atoms, 3, atoms)[:, :, :-1]
        self.position = start.reshape(1, 3 * atoms, -1).repeat(batch, 1, 1)
        # Of the velocities, times the length of the step; the kicks, times its square.
        self.drift = torch.zeros_like(self.position)
        self.length = torch.ones_like(self.mass[:, 0])
        self.kicks: list[Tensor] = []

    def begin(self, length: Tensor) -> None:
        """Begin a step of this length [B]."""
        length = length.to(PRECISION)
        self.drift = self.drift * (length / self.length)[:, None, None]
        self.length, self.kicks = length, []

    def kick(
        self, x: Tensor, factor: Tensor, node: float = 0.0, row: tuple[float, ...] = ()
    ) -> None:
        """One stage of the step, at positions x [3, N, B] and build-up [B] or [N, B]."""
        moved = torch.add(self.position, self.drift, alpha=node) if node else self.position
        scale = factor.to(PRECISION) * self.length
        each = scale.T.unsqueeze(2) if scale.dim() == 2 else scale[:, None, None]
        strength = self.inertia * each * each.transpose(1, 2)
        self.kicks.append(torch.bmm(self._gradient(x, strength), self._plus(moved, row)))

    def end(self) -> None:
        """End the step."""
        self.position = self._plus(self.position + self.drift, POSITION_WEIGHTS)
        self.drift = self._plus(self.drift, VELOCITY_WEIGHTS)

    def of_momenta(self, state: State) -> Tensor:
        """[B, 3 N, 3 N] derivatives of the asymptotic momenta, from the last state."""
        speed = self.drift / self.length[:, None, None]
        near, fast = self._behind(state)
        free = self.mass.repeat(1, 3)[:, :, None] * speed
        free = free + torch.bmm(near, self.position) + torch.bmm(fast, speed)
        free = free.view(len(free), 3, self.atoms, 3, self.atoms - 1)
        every = torch.cat([free, -free.sum(dim=4, keepdim=True)], dim=4)
        return every.permute(0, 2, 1, 4, 3).reshape(len(free), 3 * self.atoms, 3 * self.atoms)

    def _plus(self, start: Tensor, weights: tuple[float, ...]) -> Tensor:
        for weight, kick in zip(weights, self.kicks, strict=False):
            start = torch.add(start, kick, alpha=weight)
        return start

    def _gradient(self, x: Tensor, strength: Tensor) -> Tensor:
        """[B, 3 N, 3 N] derivatives of the forces strength_ij d / |d|^3."""
        d = _differences(x)
        inverse2 = (d.square().sum(1) + SELF_DISTANCE2 * self.same).reciprocal()
        level = strength * inverse2 * inverse2.sqrt()
        return self._assembled(_times(d, d, 3.0 * level * inverse2), level)

    def _behind(self, state: State) -> tuple[Tensor, Tensor]:
        """Derivatives of mass * `remaining_velocity` by position and velocity, [B, 3 N, 3 N] each.

        With r, v of a pair, c = |v| |r| + r . v and u = r/|r| + v/|v| the impulse is u / c; it
        changes with r by (1 - r r/|r|^2) / (|r| c) - |v| u u / c^2, and with v likewise.
        """
        d, w = _differences(state.position), _differences(state.velocity)
        r = (d.square().sum(1) + self.same).sqrt()
        s = (w.square().sum(1) + self.same).clamp_min(torch.finfo(PRECISION).tiny).sqrt()
        closing = s * r + (d * w).sum(1)
        to, along = d / r.unsqueeze(1), w / s.unsqueeze(1)
        u = to + along
        both = self.products / closing.square()
        found = []
        for direction, size, factor in ((to, r, s), (along, s, r)):
            level = self.products / (size * closing)
            blocks = _times(direction, direction, level) + _times(u, u, both * factor)
            found.append(self._assembled(blocks, level))
        return found[0], found[1]

    def _assembled(self, blocks: Tensor, level: Tensor) -> Tensor:
        """Blocks [B, 3, N, 3, N] less level [B, N, N] times 1, and what keeps the sum zero."""
        blocks.diagonal(dim1=1, dim2=3).sub_(level.unsqueeze(3))
        blocks.diagonal(dim1=2, dim2=4).sub_(blocks.sum(dim=4).permute(0, 1, 3, 2))
        return blocks.view(len(blocks), 3 * self.atoms, 3 * self.atoms)


def _differences(x: Tensor) -> Tensor:
    """[B, 3, N, N] x_i - x_j from [3, N, B]."""
    first = x.permute(2, 0, 1).to(PRECISION, memory_format=torch.contiguous_format)
    return first.unsqueeze(3) - first.unsqueeze(2)


def _times(one: Tensor, two: Tensor, factor: Tensor) -> Tensor:
    """[B, 3, N, 3, N] one two^T times a factor of the pair [B, N, N], of [B, 3, N, N] both."""
    return (one * factor.unsqueeze(1)).unsqueeze(3) * two.transpose(1, 2).contiguous().unsqueeze(1)
