"""Coulomb explosion of point charges: from a geometry at rest to asymptotic momenta.

Equations of motion (atomic units): m_i x_i'' = q_i f_i sum_j q_j f_j (x_i - x_j) / r_ij^3, started
at rest, with the build-up f(t) of `build_up`, which is one for all atoms or one for each.

Method. Nystrom's method of order 5 for x'' = a(t, x) (four force evaluations per step; E. J.
Nystrom, Acta Soc. Sci. Fenn. 50 (1925); Hairer, Norsett, Wanner, Solving Ordinary Differential
Equations I, table II.14.2). The number of steps is fixed; the length of each step is set, per
molecule, by the state at its beginning, so that there is no data-dependent control flow and the
whole loop can be compiled or captured. Steps are short while the forces are strong or the charges
rise, and grow in proportion to the elapsed time once the ions fly apart.

After the last step the remaining impulse is added in closed form, for pairs on straight lines:
with relative position r and relative velocity v,

    int_0^inf (r + v t) / |r + v t|^3 dt = (r/|r| + v/|v|) / (|v| |r| + r . v).

It is antisymmetric in the pair, so the sum of momenta stays zero; its error is of second order in
the potential energy that is left relative to the kinetic energy, which is below 1e-4.

The batch is the last axis of state tensors, [3, N, B], and of pair tensors, [3, N, N, B]: memory
access is then contiguous on a CPU and coalesced on a GPU.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from molexa_core.base.errors import UsageError, listing
from molexa_core.physics.coulomb.build_up import STEEPNESS, AtomRises, BuildUp, Instant

ORDER: Final = 5
"""Order of the integrator."""
SELF_DISTANCE2: Final = 1e24
"""Added to the squared distance of an atom from itself; the force on itself is still 0."""
# Nystrom's method: times within the step at which accelerations are evaluated, and weights.
NODES: Final = (0.0, 1.0 / 5.0, 2.0 / 3.0, 1.0)
STAGES: Final = (
    (),
    (1.0 / 50.0,),
    (-1.0 / 27.0, 7.0 / 27.0),
    (3.0 / 10.0, -2.0 / 35.0, 9.0 / 35.0),
)
POSITION_WEIGHTS: Final = (14.0 / 336.0, 100.0 / 336.0, 54.0 / 336.0)
VELOCITY_WEIGHTS: Final = (14.0 / 336.0, 125.0 / 336.0, 162.0 / 336.0, 35.0 / 336.0)


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Resolution of the time steps.

    Attributes:
        steps: number of steps.
        fraction: length of a step as a fraction of the shortest time scale of the molecule.
    """

    steps: int
    fraction: float

    def refined(self, factor: int) -> Accuracy:
        """`factor` times as many steps, each shorter by that factor."""
        return Accuracy(self.steps * factor, self.fraction / factor)


ACCURACIES: Final[dict[str, Accuracy]] = {
    "draft": Accuracy(50, 0.4),
    "fast": Accuracy(100, 0.25),
    "fine": Accuracy(400, 0.0625),
}
"""Errors of the largest momentum of a molecule, median over random molecules of 2 to 9 atoms:
`draft` 4e-6 (below what any detector resolves), `fast` 5e-7 (what fp32 can hold), `fine` 6e-10 in
fp64. One step costs four force evaluations."""
ROUGH: Final = Accuracy(16, 1.2)
"""Accuracy of the explosions on which the search for structures begins, and of all derivatives: the
momenta are right to 1e-3, the derivatives to about a per cent."""
Step = Callable[["State", Tensor, Tensor, BuildUp, float], "State"]
"""The signature of `step`, for a compiled version of it."""


def accuracy_of(accuracy: str | Accuracy) -> Accuracy:
    """The accuracy of this name.

    Raises:
        UsageError: no such name.
    """
    if isinstance(accuracy, Accuracy):
        return accuracy
    if accuracy not in ACCURACIES:
        raise UsageError(f"unknown accuracy {accuracy!r}", do=f"Choose from {listing(ACCURACIES)}.")
    return ACCURACIES[accuracy]


def steps_of(cut: Accuracy, rise: BuildUp) -> int:
    """Number of steps of this accuracy: more where atoms have rises of their own."""
    if not isinstance(rise, AtomRises):
        return cut.steps
    further = len(set(zip(rise.tau_fs, rise.onset_fs, strict=True))) - 1
    return cut.steps + further * math.ceil(3.0 * STEEPNESS / cut.fraction)


@dataclass(frozen=True, slots=True)
class State:
    """Positions and velocities of the atoms; the batch is the last axis.

    Attributes:
        position, velocity: [3, N, B].
        time: [B].
    """

    position: Tensor
    velocity: Tensor
    time: Tensor


def explode(
    positions: Tensor,
    charges: Tensor,
    masses: Tensor,
    *,
    build_up: BuildUp | None = None,
    accuracy: str | Accuracy = "fast",
    advance: Step | None = None,
) -> Tensor:
    """Asymptotic momenta of exploding molecules.

    Differentiable with respect to positions, charges and masses. Atoms of charge 0 (padding with
    mass 1, or neutral atoms) feel and exert no force and keep momentum 0. The input is not checked
    here, which would wait for the device; see `batches.require_explosive`.

    Args:
        positions: [B, N, 3] bohr.
        charges: [B, N] elementary charges.
        masses: [B, N] electron masses, above 0.
        build_up: charge build-up, `Instant()` by default.
        accuracy: a name in `ACCURACIES` or an `Accuracy`.
        advance: a compiled version of `step`, such as `torch.compile(step)`; `step` by default.

    Returns:
        [B, N, 3] momenta in a.u., of the dtype of the positions.
    """
    rise = Instant() if build_up is None else build_up
    resolution = accuracy_of(accuracy)
    charge, mass = charges.T.contiguous(), masses.T.contiguous()
    state = initial_state(positions, charge)
    advance_state = step if advance is None else advance
    for _ in range(steps_of(resolution, rise)):
        state = advance_state(state, charge, mass, rise, resolution.fraction)
    velocity = state.velocity + remaining_velocity(state, charge, mass)
    return (velocity * mass).permute(2, 1, 0)


def initial_state(positions: Tensor, charge: Tensor) -> State:
    """The molecules at rest at time 0.

    Uncharged atoms are moved to separate positions far away: padding often lies at the origin, and
    two atoms at the same position would give 0 times infinity.

    Args:
        positions: [B, N, 3] bohr.
        charge: [N, B].
    """
    x = positions.permute(2, 1, 0).contiguous()
    count = x.shape[1]
    far_away = 1e3 * torch.arange(1, count + 1, device=x.device, dtype=x.dtype)
    x = torch.where(charge == 0, far_away.view(1, count, 1), x)
    return State(x, torch.zeros_like(x), torch.zeros_like(x[0, 0]))


def step(state: State, charge: Tensor, mass: Tensor, rise: BuildUp, fraction: float) -> State:
    """One step of Nystrom's method, its length chosen from the state.

    Args:
        state: positions, velocities, time.
        charge: [N, B].
        mass: [N, B].
        rise: charge build-up.
        fraction: length of the step relative to the shortest time scale.
    """
    length, first = first_stage(state, charge, mass, rise, fraction)
    return nystrom_step(state, charge, mass, rise, length, first)


def nystrom_step(
    state: State, charge: Tensor, mass: Tensor, rise: BuildUp, length: Tensor, first: Tensor
) -> State:
    """One step of a given length.

    Args:
        state: positions, velocities, time.
        charge: [N, B].
        mass: [N, B].
        rise: charge build-up.
        length: [B] length of the step.
        first: [3, N, B] accelerations at its beginning.
    """
    x, v, time = state.position, state.velocity, state.time
    kicks = [first]
    for node, row in zip(NODES[1:], STAGES[1:], strict=True):
        shift = row[0] * kicks[0]
        for weight, kick in zip(row[1:], kicks[1:], strict=True):
            shift = shift + weight * kick
        at = x + length * (node * v + length * shift)
        kicks.append(acceleration(at, charge, mass, rise.factor(time + node * length)))
    drift = combine(POSITION_WEIGHTS, kicks)
    return State(
        x + length * (v + length * drift),
        v + length * combine(VELOCITY_WEIGHTS, kicks),
        time + length,
    )


def remaining_velocity(state: State, charge: Tensor, mass: Tensor) -> Tensor:
    """[3, N, B] remaining change of the velocities if all ions fly on straight lines."""
    d = state.position.unsqueeze(2) - state.position.unsqueeze(1)
    w = state.velocity.unsqueeze(2) - state.velocity.unsqueeze(1)
    r = (d.square().sum(0) + _self_distance2(d)).sqrt()
    tiny = torch.finfo(r.dtype).tiny
    # For a pair without relative motion (an atom with itself, two uncharged atoms) the impulse
    # is undefined; since its charge product or direction is 0, the speed can be set to 1.
    speed2 = w.square().sum(0)
    at_rest = speed2 <= tiny
    speed = torch.where(at_rest, torch.ones_like(speed2), speed2).sqrt()
    # Repelling ions never meet head-on, but an ion may by chance fly exactly towards the
    # position of an uncharged atom, which would give 0 / 0.
    denominator = speed * r + (d * w).sum(0)
    uncharged = (charge.unsqueeze(0) * charge.unsqueeze(1)) == 0
    denominator = torch.where(uncharged, torch.ones_like(denominator), denominator)
    strength = charge.unsqueeze(0) / denominator
    direction = d / r + w / speed
    return (direction * strength).sum(2) * (charge / mass)


def first_stage(
    state: State, charge: Tensor, mass: Tensor, rise: BuildUp, fraction: float
) -> tuple[Tensor, Tensor]:
    """([B], [3, N, B]): length of the next step, and the accelerations at its beginning.

    The time scales are those of the harmonic force constant of each atom, of the change of its
    potential along its path, and of the build-up. The length is not differentiated: the solution
    does not depend on the time steps.
    """
    factor = rise.factor(state.time)
    current_charge = charge * factor
    d = state.position.unsqueeze(2) - state.position.unsqueeze(1)
    inverse = (d.square().sum(0) + _self_distance2(d)).rsqrt()
    potential = current_charge.unsqueeze(0) * inverse
    cubed = potential * inverse * inverse
    strength = current_charge / mass
    acceleration = (d * cubed).sum(2) * strength
    with torch.no_grad():
        stiffness = (cubed.sum(1) * strength).amax(0)
        # Field over potential, about 1 / distance, is formed before squaring: far out the square
        # of the field alone would underflow, and the step would become infinite.
        tiny = torch.finfo(cubed.dtype).tiny
        speed2 = state.velocity.square().sum(0)

        def flight(potential: Tensor) -> Tensor:
            field = (d * (potential * inverse * inverse)).sum(2)
            nearness = field / potential.sum(1).clamp_min(tiny)
            return (nearness.square().sum(0) * speed2).amax(0)

        rate2 = stiffness + flight(potential)
        if factor.dim() == 2:  # past atoms that are not charged yet, too
            rate2 = torch.maximum(rate2, flight(charge.unsqueeze(0) * inverse))
        rate2 = rate2 + rise.rate(state.time).square()
        length = (fraction * rate2.clamp_min(tiny).rsqrt()).detach()
    return length, acceleration


def acceleration(x: Tensor, charge: Tensor, mass: Tensor, factor: Tensor) -> Tensor:
    """[3, N, B] accelerations at positions x [3, N, B], charge and mass [N, B], f [B] or [N, B]."""
    current_charge = charge * factor
    d = x.unsqueeze(2) - x.unsqueeze(1)
    inverse = (d.square().sum(0) + _self_distance2(d)).rsqrt()
    cubed = current_charge.unsqueeze(0) * inverse * inverse * inverse
    return (d * cubed).sum(2) * (current_charge / mass)


def _self_distance2(d: Tensor) -> Tensor:
    eye = torch.eye(d.shape[1], device=d.device, dtype=d.dtype)
    return (eye * SELF_DISTANCE2).unsqueeze(-1)


def combine(weights: tuple[float, ...], kicks: list[Tensor]) -> Tensor:
    """Weighted sum, of as many as there are weights."""
    total = weights[0] * kicks[0]
    for weight, kick in zip(weights[1:], kicks[1:], strict=False):
        total = total + weight * kick
    return total
