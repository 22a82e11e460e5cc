"""Positions of the atoms at chosen times of an explosion, for a movie or a plot."""

from __future__ import annotations

import torch
from torch import Tensor

from molexa_core.physics.coulomb.build_up import BuildUp, Instant
from molexa_core.physics.coulomb.explosion import (
    Accuracy,
    acceleration,
    accuracy_of,
    initial_state,
    step,
    steps_of,
)


def trajectory(
    positions: Tensor,
    charges: Tensor,
    masses: Tensor,
    times: Tensor,
    *,
    build_up: BuildUp | None = None,
    accuracy: str | Accuracy = "fine",
) -> Tensor:
    """Positions of one exploding molecule at chosen times.

    Between the steps of the integrator the positions follow the quintic polynomial through
    positions, velocities and accelerations at both ends (error of sixth order in the step), after
    the last step straight lines.

    Args:
        positions: [N, 3] bohr.
        charges: [N] elementary charges.
        masses: [N] electron masses.
        times: [T] atomic units, in any order; before time 0 the atoms are at rest.
        build_up: charge build-up, `Instant()` by default.
        accuracy: a name in `ACCURACIES` or an `Accuracy`.

    Returns:
        [T, N, 3] bohr.
    """
    rise = Instant() if build_up is None else build_up
    cut = accuracy_of(accuracy)
    charge, mass = charges.unsqueeze(1), masses.unsqueeze(1)
    state = initial_state(positions.unsqueeze(0), charge)
    states = [state]
    for _ in range(steps_of(cut, rise)):
        state = step(state, charge, mass, rise, cut.fraction)
        states.append(state)
    knots = torch.stack([entry.time[0] for entry in states])
    x = torch.stack([entry.position[..., 0].T for entry in states])
    v = torch.stack([entry.velocity[..., 0].T for entry in states])
    a = torch.stack(
        [
            acceleration(entry.position, charge, mass, rise.factor(entry.time))[..., 0].T
            for entry in states
        ]
    )
    path = _interpolate(knots, x, v, a, times.clamp(min=0.0))
    return torch.where(charge == 0, positions, path)


def _interpolate(knots: Tensor, x: Tensor, v: Tensor, a: Tensor, times: Tensor) -> Tensor:
    last = len(knots) - 1
    left = (torch.searchsorted(knots, times.contiguous(), right=True) - 1).clamp(0, last - 1)
    length = (knots[left + 1] - knots[left]).view(-1, 1, 1)
    u = (times - knots[left]).view(-1, 1, 1) / length
    start, end = left, left + 1
    # Quintic Hermite: the Taylor polynomial at the left end plus three terms that meet the right.
    position = x[start] + length * u * (v[start] + 0.5 * length * u * a[start])
    miss_x = x[end] - (x[start] + length * (v[start] + 0.5 * length * a[start]))
    miss_v = length * (v[end] - v[start] - length * a[start])
    miss_a = length**2 * (a[end] - a[start])
    cubic = 10.0 * miss_x - 4.0 * miss_v + 0.5 * miss_a
    quartic = -15.0 * miss_x + 7.0 * miss_v - miss_a
    quintic = 6.0 * miss_x - 3.0 * miss_v + 0.5 * miss_a
    inside = position + u**3 * (cubic + u * (quartic + u * quintic))
    beyond = x[last] + v[last] * (times - knots[last]).view(-1, 1, 1)
    return torch.where((times > knots[last]).view(-1, 1, 1), beyond, inside)
