"""The explosion against closed forms, conservation laws, symmetries and scaling laws."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.func import jacfwd, jacrev

from molexa_core.base.errors import ComputationError, MolexaError, UsageError
from molexa_core.base.matter.elements import element
from molexa_core.base.units import ATOMIC_TIME_FS, HARTREE_EV
from molexa_core.physics.coulomb.batches import explode_many, path_of, require_explosive
from molexa_core.physics.coulomb.build_up import BuildUp, ErrorFunctionRise, Instant, build_up
from molexa_core.physics.coulomb.explosion import (
    ORDER,
    Accuracy,
    acceleration,
    explode,
    initial_state,
    nystrom_step,
    remaining_velocity,
    step,
)
from molexa_core.physics.coulomb.trajectory import trajectory

torch.set_num_threads(1)
RISES = (Instant(), ErrorFunctionRise(45.0))


def clusters(
    n: int, atoms: int, seed: int, *, highest_charge: int = 3
) -> tuple[Tensor, Tensor, Tensor]:
    """Random molecules without contacts below 1.5 bohr."""
    random = np.random.default_rng(seed)
    side = 2.2 * atoms ** (1 / 3) + 1.5
    accepted: list[NDArray[np.float64]] = []
    while len(accepted) < n:
        x = random.uniform(-side / 2, side / 2, (atoms, 3))
        distance = np.linalg.norm(x[:, None] - x[None], axis=-1) + 9 * np.eye(atoms)
        if distance.min() > 1.5:
            accepted.append(x)
    kinds = [element(symbol).isotope_mass for symbol in ("H", "C", "N", "O", "F", "Cl")]
    return (
        torch.tensor(np.array(accepted)),
        torch.tensor(random.integers(1, highest_charge + 1, (n, atoms)).astype(float)),
        torch.tensor(random.choice(kinds, (n, atoms))),
    )


def kinetic(p: Tensor, mass: Tensor) -> Tensor:
    return (p.square().sum(-1) / (2 * mass)).sum(-1)


def coulomb(x: Tensor, q: Tensor) -> Tensor:
    distance = torch.cdist(x, x)
    i, j = torch.triu_indices(x.shape[1], x.shape[1], 1)
    return (q[:, i] * q[:, j] / distance[:, i, j]).sum(-1)


@pytest.mark.parametrize(
    ("first", "second", "q1", "q2", "distance"),
    [("N", "N", 1, 1, 2.074), ("H", "Cl", 1, 11, 2.409), ("C", "O", 2, 3, 2.132)],
)
def test_two_bodies_meet_the_closed_form(
    first: str, second: str, q1: int, q2: int, distance: float
) -> None:
    m1, m2 = element(first).isotope_mass, element(second).isotope_mass
    x = torch.tensor([[[0.0, 0, 0], [0, 0, distance]]], dtype=torch.float64)
    q = torch.tensor([[q1, q2]], dtype=torch.float64)
    m = torch.tensor([[m1, m2]], dtype=torch.float64)
    p = explode(x, q, m, accuracy="fast")
    expected = np.sqrt(2 * m1 * m2 / (m1 + m2) * q1 * q2 / distance)
    assert p[0, 1, 2].item() == pytest.approx(expected, rel=1e-6)
    assert p[0, 0, 2].item() == pytest.approx(-expected, rel=1e-6)


def test_energy_release_of_nitrogen_in_electronvolt() -> None:
    mass = element("N").isotope_mass
    x = np.array([[[0.0, 0, 0], [0, 0, 1.098 / 0.529177210544]]])
    p = explode_many(x, np.array([1.0, 1.0]), np.array([mass, mass]), accuracy="fine")
    assert np.sum(p**2) / (2 * mass) * HARTREE_EV == pytest.approx(14.39964548 / 1.098, rel=1e-8)


@pytest.mark.parametrize("rise", RISES)
@pytest.mark.parametrize("atoms", [2, 3, 9])
def test_momentum_is_conserved(rise: BuildUp, atoms: int) -> None:
    x, q, m = clusters(50, atoms, seed=atoms)
    for dtype, tolerance in ((torch.float64, 1e-13), (torch.float32, 2e-6)):
        p = explode(x.to(dtype), q.to(dtype), m.to(dtype), build_up=rise)
        largest = p.norm(dim=-1).amax(-1)
        assert (p.sum(1).norm(dim=-1) / largest).max().item() < tolerance


@pytest.mark.parametrize("atoms", [2, 3, 5, 9])
def test_an_instant_explosion_conserves_energy(atoms: int) -> None:
    x, q, m = clusters(50, atoms, seed=10 + atoms, highest_charge=8)
    released = kinetic(explode(x, q, m, accuracy="fine"), m)
    assert ((released / coulomb(x, q) - 1).abs()).max().item() < 1e-6
    fast = kinetic(explode(x, q, m, accuracy="fast"), m)
    assert ((fast / coulomb(x, q) - 1).abs()).median().item() < 2e-6


@pytest.mark.parametrize("rise", RISES)
def test_the_integrator_has_its_declared_order(rise: BuildUp) -> None:
    # Slope of log(error) over log(step) after a fixed time, on uniform steps.
    x, q, m = clusters(1, 3, seed=5)
    charge, mass = q.T, m.T
    counts = np.array([160, 320, 640])

    def endpoint(steps: int) -> Tensor:
        state = initial_state(x, charge)
        length = torch.tensor([2500.0 / steps], dtype=x.dtype)
        for _ in range(steps):
            first = acceleration(state.position, charge, mass, rise.factor(state.time))
            state = nystrom_step(state, charge, mass, rise, length, first)
        return torch.cat([state.position.flatten(), 1e3 * state.velocity.flatten()])

    exact = endpoint(2560)
    error = [(endpoint(int(n)) - exact).norm().item() for n in counts]
    slope = -np.polyfit(np.log(counts), np.log(error), 1)[0]
    assert slope == pytest.approx(ORDER, abs=0.15)


def test_halving_the_steps_gains_the_declared_order_in_momenta() -> None:
    x, q, m = clusters(40, 4, seed=6)
    exact = explode(x, q, m, accuracy=Accuracy(4800, 0.0125))
    refinement = np.array([4, 8, 16])
    error = [
        (explode(x, q, m, accuracy=Accuracy(100, 0.4).refined(int(n))) - exact).norm().item()
        for n in refinement
    ]
    slope = -np.polyfit(np.log(refinement), np.log(error), 1)[0]
    assert slope == pytest.approx(ORDER, abs=0.35)


@pytest.mark.parametrize("rise", RISES)
def test_rotation_translation_permutation_and_batch(rise: BuildUp) -> None:
    x, q, m = clusters(8, 5, seed=7)
    p = explode(x, q, m, build_up=rise)
    random = np.random.default_rng(1)
    turn, _ = np.linalg.qr(random.normal(size=(3, 3)))
    rotation = torch.tensor(turn)
    scale = p.abs().max().item()
    turned = explode(x @ rotation.T + torch.tensor([5.0, -3.0, 2.0]), q, m, build_up=rise)
    assert (turned - p @ rotation.T).abs().max().item() < 1e-11 * scale
    order = torch.tensor([3, 1, 4, 0, 2])
    shuffled = explode(x[:, order], q[:, order], m[:, order], build_up=rise)
    assert (shuffled - p[:, order]).abs().max().item() < 1e-11 * scale
    alone = torch.cat([explode(x[i : i + 1], q[i : i + 1], m[i : i + 1], build_up=rise)
                       for i in range(8)])  # fmt: skip
    assert (alone - p).abs().max().item() < 1e-12 * scale


def test_batches_of_any_size_give_the_same_momenta() -> None:
    x, q, m = (values.numpy() for values in clusters(70, 4, seed=8))
    whole = explode_many(x, q, m, batch=70, accuracy="draft")
    for batch in (9, 64):
        parts = explode_many(x, q, m, batch=batch, accuracy="draft")
        np.testing.assert_allclose(parts, whole, rtol=1e-12, atol=1e-9)


def test_padding_changes_nothing() -> None:
    x, q, m = clusters(10, 4, seed=9)
    zeros = torch.zeros(10, 3, 3, dtype=x.dtype)
    padded = explode(
        torch.cat([x, zeros], 1),
        torch.cat([q, zeros[..., 0]], 1),
        torch.cat([m, 1 + zeros[..., 0]], 1),
        build_up=RISES[1],
    )
    p = explode(x, q, m, build_up=RISES[1])
    assert (padded[:, :4] - p).abs().max().item() < 1e-12 * p.abs().max().item()
    assert padded[:, 4:].abs().max().item() == 0.0


def test_an_ion_may_fly_straight_at_the_place_of_padding() -> None:
    state = initial_state(torch.zeros(1, 3, 3), torch.tensor([[1.0], [1.0], [0.0]]))
    state.position[0, 0] = -2.0
    state.velocity[:, 1] = state.position[:, 2] / 2048.0
    state.velocity[0, 0] = -0.1
    gained = remaining_velocity(
        state, torch.tensor([[1.0], [1.0], [0.0]]), torch.tensor([[2e3], [2e3], [1.0]])
    )
    assert gained.isfinite().all()
    assert (gained[:, 2] == 0).all()
    assert (gained[:, 0] == -gained[:, 1]).all()


def test_far_too_many_steps_in_single_precision_do_no_harm() -> None:
    # Far out, field and rate underflow: the steps must stay finite and the momenta the same.
    # Numbers below 1e-38 become 0, as compiled code on a GPU may treat them.
    x, q, m = clusters(30, 4, seed=18)
    torch.set_flush_denormal(True)
    try:
        many = explode(x.float(), q.float(), m.float(), accuracy=Accuracy(260, 0.25))
    finally:
        torch.set_flush_denormal(False)
    fast = explode(x.float(), q.float(), m.float(), accuracy="fast")
    assert (many - fast).abs().max().item() < 1e-5 * fast.abs().max().item()


def test_one_step_is_one_graph_for_a_compiler() -> None:
    x, q, m = clusters(4, 3, seed=17)
    traced = torch.compile(step, backend="eager", fullgraph=True)
    p = explode(x, q, m, build_up=RISES[1], accuracy="draft", advance=traced)
    assert torch.equal(p, explode(x, q, m, build_up=RISES[1], accuracy="draft"))


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")
@pytest.mark.parametrize("rise", RISES)
def test_gradient_meets_finite_differences(rise: BuildUp) -> None:
    x, q, m = clusters(1, 3, seed=11)

    def momenta(y: Tensor) -> Tensor:
        n = len(y)
        return explode(
            y, q.expand(n, -1), m.expand(n, -1), build_up=rise, accuracy=Accuracy(120, 0.2)
        )

    reverse = jacrev(momenta)(x)[0, :, :, 0]
    forward = jacfwd(momenta)(x)[0, :, :, 0]
    largest = reverse.abs().max().item()
    assert (reverse - forward).abs().max().item() < 1e-9 * largest
    h = 1e-3
    shift = h * torch.eye(9, dtype=x.dtype).view(9, 3, 3)
    difference = (momenta(x + shift) - momenta(x - shift)) / (2 * h)
    error = difference.view(3, 3, 3, 3).permute(2, 3, 0, 1) - reverse
    assert error.abs().max().item() < 2e-5 * largest


def test_gradient_is_finite_beside_padding() -> None:
    x, q, m = clusters(3, 4, seed=12)
    q[:, 2:], m[:, 2:], x[:, 2:] = 0.0, 1.0, 0.0
    x.requires_grad_()
    explode(x, q, m, build_up=RISES[1]).square().sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()
    assert x.grad[:, 2:].abs().max().item() == 0.0


@pytest.mark.parametrize("rise", RISES)
def test_single_precision_follows_double(rise: BuildUp) -> None:
    x, q, m = clusters(200, 6, seed=13)
    exact = explode(x, q, m, build_up=rise, accuracy="fine")
    single = explode(x.float(), q.float(), m.float(), build_up=rise, accuracy="fast").double()
    error = (single - exact).norm(dim=-1).amax(-1) / exact.norm(dim=-1).amax(-1)
    assert error.median().item() < 1e-6
    assert error.max().item() < 1e-5


def test_scaling_laws() -> None:
    # x -> a x, q -> b q, m -> c m: times scale by sqrt(a^3 c) / b, momenta by b sqrt(c / a).
    x, q, m = clusters(20, 4, seed=14)
    a, b, c = 1.7, 2.0, 3.0
    factor = b * (c / a) ** 0.5
    stretch = (a**3 * c) ** 0.5 / b
    p = explode(x, q, m)
    assert (explode(a * x, b * q, c * m) / p - factor).abs().max().item() < 1e-7
    tau = 30.0
    soft = explode(x, q, m, build_up=ErrorFunctionRise(tau))
    scaled = explode(a * x, b * q, c * m, build_up=ErrorFunctionRise(tau * stretch))
    assert (scaled - factor * soft).abs().max().item() < 1e-9 * soft.abs().max().item()


def test_the_rise_softens_the_explosion_and_vanishes_with_tau() -> None:
    x, q, m = clusters(20, 4, seed=15)
    instant = kinetic(explode(x, q, m, accuracy="fine"), m)
    released = [
        kinetic(explode(x, q, m, build_up=ErrorFunctionRise(tau), accuracy="fine"), m) / instant
        for tau in (0.001, 5.0, 20.0, 45.0, 90.0)
    ]
    assert (released[0] - 1).abs().max().item() < 1e-6
    for harder, softer in itertools.pairwise(released):
        assert (softer < harder).all()


def test_the_rise_is_read_as_a_window() -> None:
    rise = ErrorFunctionRise(45.0)
    times = torch.tensor([0.0, 22.5, 45.0], dtype=torch.float64) / ATOMIC_TIME_FS
    start, middle, end = rise.factor(times).tolist()
    assert start < 1e-5
    assert middle == pytest.approx(0.5)
    assert end > 1 - 1e-5
    grid = torch.linspace(0, 45, 4501, dtype=torch.float64)
    f = rise.factor(grid / ATOMIC_TIME_FS)
    rise_time = (grid[f > 0.9][0] - grid[f > 0.1][0]).item()
    assert rise_time == pytest.approx(12.95, abs=0.05)


def test_trajectory_meets_the_closed_form_of_two_bodies() -> None:
    # Radial Kepler problem: r = r0 cosh(s)^2 at t = sqrt(mu r0^3 / (2 q1 q2)) (s + sinh(2s)/2).
    m1, m2, q1, q2, r0 = 20000.0, 30000.0, 2.0, 3.0, 2.5
    mu = m1 * m2 / (m1 + m2)
    s = np.linspace(0.0, 4.0, 37)
    t = np.sqrt(mu * r0**3 / (2 * q1 * q2)) * (s + np.sinh(2 * s) / 2)
    path = path_of(np.array([[0.0, 0, 0], [r0, 0, 0]]), np.array([q1, q2]), np.array([m1, m2]), t)
    distance = path[:, 1, 0] - path[:, 0, 0]
    np.testing.assert_allclose(distance, r0 * np.cosh(s) ** 2, rtol=1e-8)


def test_trajectory_ends_with_the_asymptotic_momenta() -> None:
    x, q, m = clusters(1, 4, seed=16)
    q[0, 3] = 0.0
    times = torch.tensor([-5.0, 1e8, 1.01e8], dtype=torch.float64)
    path = trajectory(x[0], q[0], m[0], times, build_up=RISES[1])
    p = explode(x, q, m, build_up=RISES[1], accuracy="fine")[0]
    speed = (path[2] - path[1]) / (times[2] - times[1])
    # Beyond the last step the path is straight; what the last impulse adds is a few parts in 1e6.
    assert (speed * m[0].unsqueeze(1) - p).abs().max().item() < 1e-5 * p.abs().max().item()
    assert (path[0] - x[0]).abs().max().item() == 0.0
    assert (path[2, 3] - x[0, 3]).abs().max().item() == 0.0


def test_bad_geometries_are_named() -> None:
    x = np.array([[0.0, 0, 0], [0, 0, 0.1], [0, 0, 3]])
    with pytest.raises(UsageError, match=r"atoms 1 \(O\) and 2 \(H\) overlap"):
        require_explosive("OHH", x, [1, 1, 1], where="a.xyz")
    with pytest.raises(UsageError, match="at least two charged atoms"):
        require_explosive("OHH", x, [1, 0, 0], where="a.xyz")
    with pytest.raises(UsageError, match="not a number"):
        require_explosive("OHH", x * np.nan, [1, 1, 1], where="a.xyz")
    with pytest.raises(ComputationError, match="molecule 1 gave momenta"):
        explode_many(np.stack([x, x * 0]), np.ones(3), np.full(3, 2e4))


@pytest.mark.parametrize("tau", [0.0, -1.0, float("nan"), float("inf")])
def test_an_impossible_tau_is_refused(tau: float) -> None:
    with pytest.raises(MolexaError, match="tau is"):
        build_up("classical", tau)


def test_unknown_names_are_refused() -> None:
    x, q, m = clusters(1, 2, seed=1)
    with pytest.raises(UsageError, match="unknown accuracy"):
        explode(x, q, m, accuracy="finest")
    with pytest.raises(UsageError, match="unknown explosion model"):
        build_up("quantum", 45.0)
