"""The virtual experiment: exact with every effect off, and each effect by itself as stated."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from molexa_core.base.errors import InputFileError, SettingsError, UsageError
from molexa_core.base.matter.ions import parse_ion
from molexa_core.base.progress import CollectingProgress
from molexa_core.base.settings import Channel, Setup, load_channel, parse_settings
from molexa_core.base.tables import Geometry
from molexa_core.base.units import (
    ACCELERATION_MM_NS2,
    ATOMIC_VELOCITY_M_S,
    ATOMIC_VELOCITY_MM_NS,
    BOLTZMANN_HARTREE_K,
)
from molexa_core.physics.molecules.library import molecule
from molexa_core.physics.virtual.experiment import BLOCK_SHOTS, make_block, run_blocks, target_of
from molexa_core.physics.virtual.ion_flight import (
    Arrivals,
    as_written,
    survives_dead_time,
    within_slots,
)
from molexa_core.physics.virtual.sources import draw_molecules, random_rotations, residual_ions
from molexa_core.pipeline.explosions.simulate import simulate
from molexa_core.pipeline.runs.mock import default_setup, mock
from molexa_core.pipeline.runs.mock_run import MockRun

LENGTH_MM, FIELD = 110.0, 250.0
OFF: dict[str, Any] = {
    "spectrometer": {"regions": [{"length_mm": LENGTH_MM, "field_v_per_cm": FIELD}]},
    "detector": {
        "radius_mm": 1000.0,
        "dead_time_ns": 0.0,
        "dead_radius_mm": 0.0,
        "time_resolution_ns": 0.0,
        "position_resolution_mm": 0.0,
    },
    "jet": {"velocity_m_per_s": 0.0, "spread_m_per_s": 0.0, "transverse_spread_m_per_s": 0.0},
    "virtual": {
        "statistics": "one",
        "orientation": "fixed",
        "zero_point": "off",
        "interaction_size_mm": [0.0, 0.0, 0.0],
        "residual_gas": [],
        "dark_counts_per_shot": 0.0,
    },
    "detection_efficiency": 1.0,
}
"""Every effect off: one molecule per shot, all ions seen exactly."""


def setup_with(**changes: dict[str, Any] | float) -> Setup:
    """Everything off but for these changes of blocks."""
    values = {
        key: value | changes[key] if isinstance(value, dict) and key in changes
        else changes.get(key, value)
        for key, value in OFF.items()
    }  # fmt: skip
    values |= {key: value for key, value in changes.items() if key not in OFF}
    return parse_settings(Setup, values, where="test")


def water() -> Channel:
    return load_channel("water")


def run(shots: int, *, name: str = "water", seed: int = 1, **changes: dict[str, Any]) -> MockRun:
    return mock(load_channel(name), shots, setup=setup_with(**changes), seed=seed)


def parabola(pz: float, charge: float, mass: float) -> float:
    """Root of L = v t + a t^2 / 2: the flight time in a homogeneous field."""
    v = pz / mass * ATOMIC_VELOCITY_MM_NS
    a = ACCELERATION_MM_NS2 * charge / mass * FIELD
    return float(max(np.roots([a / 2, v, -LENGTH_MM]).real))


def test_with_every_effect_off_hits_are_exact() -> None:
    result = run(20)
    geometry = molecule("water").geometry
    exact = simulate(geometry, ["O+", "H+", "H+"], model="classical", tau_fs=45.0)
    expected = []
    for ion, p in zip(exact.ions, exact.momentum, strict=True):
        t = parabola(p[2], ion.charge, ion.mass)
        x, y = p[:2] / ion.mass * ATOMIC_VELOCITY_MM_NS * t
        expected.append((t, x, y))
    expected.sort()
    hits = result.hits
    assert hits.n_shots == 20
    assert (hits.counts == 3).all()
    found = np.stack([hits.t_ns, hits.x_mm, hits.y_mm], axis=1).reshape(20, 3, 3)
    np.testing.assert_allclose(
        found[:, :, 0], np.tile([e[0] for e in expected], (20, 1)), rtol=1e-6
    )
    np.testing.assert_allclose(found[0, :, 1:], [e[1:] for e in expected], atol=2e-4)
    assert np.ptp(found, axis=0).max() < 1e-9
    assert result.truth.detected.all()
    np.testing.assert_allclose(result.truth.momentum[0], exact.momentum, atol=1e-3)


def test_several_regions_add_up() -> None:
    regions = [
        {"length_mm": 40.0, "field_v_per_cm": 100.0},
        {"length_mm": 60.0, "field_v_per_cm": 0.0},
        {"length_mm": 10.0, "field_v_per_cm": 900.0},
    ]
    result = run(3, name="nitrogen", spectrometer={"regions": regions})
    ion = parse_ion("N+")
    momenta = result.truth.momentum[0]
    times = []
    for p in momenta:
        z, v, t = 0.0, p[2] / ion.mass * ATOMIC_VELOCITY_MM_NS, 0.0
        for region in regions:
            a = ACCELERATION_MM_NS2 * ion.charge / ion.mass * region["field_v_per_cm"]
            length = region["length_mm"]
            step = length / v if a == 0 else max(np.roots([a / 2, v, -length]).real)
            t, v, z = t + step, v + a * step, z + length
        times.append(t)
    np.testing.assert_allclose(result.hits.t_ns[:2], np.sort(times), rtol=1e-12)


def test_a_start_along_z_shortens_the_first_region() -> None:
    size = {"virtual": OFF["virtual"] | {"interaction_size_mm": [0.0, 0.0, 0.5]}}
    result = run(400, name="nitrogen", **size)
    spread = result.hits.t_ns.reshape(400, 2)
    # dt/dz = 1/v at the detector: sigma_t = sigma_z / v_end for an ion at rest.
    ion = parse_ion("N+")
    a = ACCELERATION_MM_NS2 * ion.charge / ion.mass * FIELD
    end = np.sqrt(2 * a * LENGTH_MM)
    first = result.truth.momentum[0, :, 2] / ion.mass * ATOMIC_VELOCITY_MM_NS
    expected = 0.5 / np.sqrt(end**2 + first**2)
    found = np.sort(spread.std(axis=0))
    np.testing.assert_allclose(found, np.sort(expected), rtol=0.15)
    with pytest.raises(UsageError, match="behind the first region"):
        run(5, virtual=OFF["virtual"] | {"interaction_size_mm": [0.0, 0.0, 200.0]})


def test_efficiency_is_recovered_for_each_ion() -> None:
    values = {"efficiency": {"H+": 0.3}}
    setup = setup_with(virtual=values, detection_efficiency=0.7)
    seen = mock(water(), 8000, setup=setup, seed=3).truth.detected
    for column, expected in enumerate((0.7, 0.3, 0.3)):
        error = np.sqrt(expected * (1 - expected) / len(seen))
        assert seen[:, column].mean() == pytest.approx(expected, abs=4 * error)
    both = (seen[:, 1] & seen[:, 2]).mean()
    assert both == pytest.approx(0.09, abs=4 * np.sqrt(0.09 * 0.91 / len(seen)))


def test_molecules_per_shot_follow_poisson() -> None:
    values = {"statistics": "poisson", "molecules_per_shot": 0.8}
    result = run(2 * BLOCK_SHOTS, name="nitrogen", virtual=values)
    counts = np.bincount(result.truth.shot, minlength=2 * BLOCK_SHOTS)
    n = len(counts)
    assert counts.mean() == pytest.approx(0.8, abs=4 * np.sqrt(0.8 / n))
    assert counts.var() == pytest.approx(0.8, abs=5 * np.sqrt(0.8 * 2.6 / n))
    for k, share in enumerate(np.exp(-0.8) * np.array([1, 0.8, 0.32, 0.08533])):
        assert (counts == k).mean() == pytest.approx(share, abs=4 * np.sqrt(share / n))
    assert (result.hits.counts == 2 * counts).all()


def test_orientations_are_isotropic() -> None:
    rotations = random_rotations(20_000, np.random.default_rng(5))
    product = np.einsum("nab,ncb->nac", rotations, rotations)
    np.testing.assert_allclose(product, np.broadcast_to(np.eye(3), product.shape), atol=1e-12)
    np.testing.assert_allclose(np.linalg.det(rotations), 1.0, atol=1e-12)
    assert np.abs(rotations.mean(axis=0)).max() < 4 / np.sqrt(3 * 20_000)
    assert np.abs((rotations**2).mean(axis=0) - 1 / 3).max() < 4 * np.sqrt(4 / 45 / 20_000)
    # The angle of a uniform rotation has the density (1 - cos) / pi: mean pi/2 + 2/pi.
    angle = np.arccos(np.clip((np.trace(rotations, axis1=1, axis2=2) - 1) / 2, -1, 1))
    assert angle.mean() == pytest.approx(np.pi / 2 + 2 / np.pi, abs=0.02)
    p = run(6000, virtual={"orientation": "random"}).truth.momentum
    for column in range(3):
        direction = p[:, column] / np.linalg.norm(p[:, column], axis=1)[:, None]
        assert np.abs(direction.mean(axis=0)).max() < 4 / np.sqrt(3 * 6000)
        assert np.abs((direction**2).mean(axis=0) - 1 / 3).max() < 4 * np.sqrt(4 / 45 / 6000)


def test_the_zero_point_spread_of_the_drawn_structures() -> None:
    target = target_of(water(), molecule("water"))
    for kind in ("modes", "gaussian"):
        setup = setup_with(virtual={"zero_point": kind, "zero_point_sigma_bohr": 0.1})
        drawn = draw_molecules(target, setup, 40_000, np.random.default_rng(6)).position
        if kind == "modes":
            assert target.modes is not None
            weights = target.modes.displacement**2
            expected = np.sqrt(np.einsum("m,mac->ac", target.modes.variance, weights))
        else:
            light = 0.1 * np.sqrt(1 / np.array([15.9949, 1.00783, 1.00783]))
            expected = np.repeat(light[:, None], 3, axis=1)
        np.testing.assert_allclose(drawn.std(axis=0), expected, rtol=0.03, atol=1e-9)


def test_the_jet_moves_the_centre_of_mass() -> None:
    jet = {"velocity_m_per_s": 900.0, "spread_m_per_s": 50.0, "transverse_spread_m_per_s": 8.0}
    truth = run(4000, jet=jet).truth
    mass = sum(ion.mass for ion in truth.ions)
    velocity = truth.momentum.sum(axis=1) / mass * ATOMIC_VELOCITY_M_S
    error = 5 / np.sqrt(4000)
    np.testing.assert_allclose(velocity.mean(axis=0), [0, 900, 0], atol=50 * error)
    np.testing.assert_allclose(velocity.std(axis=0), [8, 50, 8], rtol=error)


def test_the_interaction_point_has_its_size() -> None:
    size = [0.4, 0.2, 0.0]
    result = run(4000, name="nitrogen", virtual={"interaction_size_mm": size})
    # The two like ions fly apart symmetrically, so that their mean position is where they began.
    x, y = (column.reshape(-1, 2).mean(axis=1) for column in (result.hits.x_mm, result.hits.y_mm))
    t = result.hits.t_ns.reshape(-1, 2)
    assert np.ptp(t, axis=0).max() < 1e-9
    assert x.std() == pytest.approx(0.4, rel=0.06)
    assert y.std() == pytest.approx(0.2, rel=0.06)


def test_resolution_is_gaussian_noise_on_the_exact_hits() -> None:
    exact = run(3000, name="nitrogen")
    noisy = run(
        3000,
        name="nitrogen",
        detector={"time_resolution_ns": 0.4, "position_resolution_mm": 0.2},
    )
    # Noise may change the order of the two hits of a shot: compare ion by ion.
    rows = [np.lexsort((r.truth.hit_ion, r.truth.hit_molecule)) for r in (noisy, exact)]
    for name, sigma in (("t_ns", 0.4), ("x_mm", 0.2), ("y_mm", 0.2)):
        difference = getattr(noisy.hits, name)[rows[0]] - getattr(exact.hits, name)[rows[1]]
        assert difference.std() == pytest.approx(sigma, rel=0.06)
        assert difference.mean() == pytest.approx(0.0, abs=5 * sigma / np.sqrt(6000))


def test_dead_time_removes_exactly_the_hits_within_both_limits() -> None:
    hits = Arrivals(
        shot=np.array([0, 0, 0, 0, 0, 1, 1, 2], np.int64),
        x_mm=np.array([0.0, 3.0, 0.0, 9.0, 9.0, 0.0, 0.0, 0.0]),
        y_mm=np.array([0.0, 0.0, 8.0, 0.0, 0.0, 0.0, 0.0, 0.0]),
        t_ns=np.array([100.0, 105.0, 108.0, 118.0, 133.0, 100.0, 115.0, 100.0]),
        molecule=np.full(8, -1),
        ion=np.full(8, -1),
    )
    alive = survives_dead_time(hits, 15.0, 7.0)
    # 1: 5 ns and 3 mm behind 0. 2: far away in space. 3: 13 ns and 6 mm behind 1, which is itself
    # lost but left its charge. 4: exactly 15 ns behind 3. 6: exactly 15 ns. 7: another shot.
    assert alive.tolist() == [True, False, True, False, True, True, True, True]
    assert survives_dead_time(hits, 0.0, 7.0).all()
    assert survives_dead_time(hits, 15.0, 0.0).all()


def test_dead_time_in_a_run_takes_the_second_of_two_close_hits() -> None:
    everything = run(300, virtual={"orientation": "random"}, detector={"dead_time_ns": 0.0})
    dead = run(
        300,
        virtual={"orientation": "random"},
        detector={"dead_time_ns": 200.0, "dead_radius_mm": 1000.0},
    )
    t = everything.hits.t_ns.reshape(-1, 3)
    kept = np.concatenate([np.ones((300, 1), bool), np.diff(t, axis=1) >= 200.0], axis=1)
    np.testing.assert_array_equal(dead.hits.t_ns, t[kept])
    assert dead.counts["lost_dead_time"] == (~kept).sum()


def test_hits_off_the_area_behind_the_window_and_beyond_the_slots_are_lost() -> None:
    everything = run(500, virtual={"orientation": "random"})
    small = run(500, virtual={"orientation": "random"}, detector={"radius_mm": 12.0})
    radius = np.hypot(everything.hits.x_mm, everything.hits.y_mm)
    np.testing.assert_array_equal(small.hits.t_ns, everything.hits.t_ns[radius <= 12.0])
    assert small.counts["lost_off_area"] == (radius > 12.0).sum() > 0
    early = run(500, virtual={"orientation": "random", "window_ns": 800.0})
    assert early.hits.t_ns.max() <= 800.0
    assert early.counts["lost_late"] == (everything.hits.t_ns > 800.0).sum() > 0
    two = run(500, virtual={"orientation": "random"}, detector={"slots": 2})
    assert two.counts["lost_slots"] == 500
    np.testing.assert_array_equal(
        two.hits.t_ns.reshape(500, 2), everything.hits.t_ns.reshape(500, 3)[:, :2]
    )
    few = within_slots(everything_arrivals(), 1)
    assert few.tolist() == [True, False, True]


def everything_arrivals() -> Arrivals:
    zero = np.zeros(3)
    return Arrivals(np.array([0, 0, 4]), zero, zero, zero, np.zeros(3, int), np.zeros(3, int))


def test_dark_counts_are_uniform_over_area_and_window() -> None:
    result = run(
        3 * BLOCK_SHOTS,
        detector={"radius_mm": 50.0},
        virtual={
            "statistics": "poisson",
            "molecules_per_shot": 0.0,
            "dark_counts_per_shot": 0.5,
            "window_ns": 9000.0,
        },
    )
    hits, n = result.hits, result.hits.n_hits
    assert len(result.truth) == 0
    assert n == pytest.approx(1.5 * BLOCK_SHOTS, abs=4 * np.sqrt(1.5 * BLOCK_SHOTS))
    for values in ((hits.x_mm**2 + hits.y_mm**2) / 50.0**2, hits.t_ns / 9000.0):
        assert (values > 0).all()
        assert (values <= 1).all()
        steps = np.abs(np.sort(values) - (np.arange(n) + 0.5) / n).max()
        assert steps < 1.95 / np.sqrt(n)  # Kolmogorov-Smirnov, one in a thousand
    assert (result.truth.hit_molecule == -1).all()


def test_residual_gas_is_thermal_and_along_the_beam() -> None:
    residual = [{"ion": "H2O+", "per_shot": 0.7}, {"ion": "(N2)+", "per_shot": 0.2}]
    setup = setup_with(virtual={"residual_gas": residual}, detector={"radius_mm": 40.0})
    ions = residual_ions(setup, 30_000, np.random.default_rng(7))
    heavy = ions.mass > parse_ion("H2O+").mass * 1.01
    assert heavy.sum() == pytest.approx(6000, abs=4 * np.sqrt(6000))
    assert (~heavy).sum() == pytest.approx(21_000, abs=4 * np.sqrt(21_000))
    for chosen, name in ((heavy, "(N2)+"), (~heavy, "H2O+")):
        energy = np.sum(ions.momentum[chosen] ** 2, axis=1) / (2 * parse_ion(name).mass)
        expected = 1.5 * BOLTZMANN_HARTREE_K * 300
        assert energy.mean() == pytest.approx(expected, rel=5 * np.sqrt(2 / 3 / chosen.sum()))
    assert np.abs(ions.start_mm[:, 0]).max() <= 40.0
    assert ions.start_mm[:, 0].std() == pytest.approx(80 / np.sqrt(12), rel=0.02)
    assert (ions.start_mm[:, 1:] == 0).all()


def test_calibration_is_applied_backwards() -> None:
    calibration = {
        "time_zero_ns": 35.0,
        "centre_x_mm": 1.5,
        "centre_y_mm": -0.7,
        "rotation_deg": 33.0,
        "scale_x": 1.1,
        "scale_y": -0.9,
    }
    plain, shifted = run(50), run(50, calibration=calibration)
    angle = np.deg2rad(33.0)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    raw = np.stack([shifted.hits.x_mm - 1.5, shifted.hits.y_mm + 0.7])
    x, y = np.array([[1.1], [-0.9]]) * (turn @ raw)
    np.testing.assert_allclose(x, plain.hits.x_mm, atol=1e-10)
    np.testing.assert_allclose(y, plain.hits.y_mm, atol=1e-10)
    np.testing.assert_allclose(shifted.hits.t_ns - 35.0, plain.hits.t_ns, atol=1e-10)
    alone = as_written(everything_arrivals(), setup_with(calibration=calibration).calibration)
    assert [values[0] for values in alone] == pytest.approx([1.5, -0.7, 35.0])


def test_truth_says_where_each_hit_comes_from() -> None:
    result = mock(water(), 6000, setup=default_setup(), seed=11)
    truth, hits = result.truth, result.hits
    known = truth.hit_molecule >= 0
    assert 0.5 < known.mean() < 1.0
    np.testing.assert_array_equal(truth.shot[truth.hit_molecule[known]], hits.shot[known])
    seen = np.zeros_like(truth.detected)
    seen[truth.hit_molecule[known], truth.hit_ion[known]] = True
    np.testing.assert_array_equal(seen, truth.detected)
    # Times follow from the true momenta within resolution and the size of the interaction.
    p = truth.momentum[truth.hit_molecule[known], truth.hit_ion[known]]
    ions = [truth.ions[column] for column in truth.hit_ion[known]]
    t = [parabola(pz, ion.charge, ion.mass) for pz, ion in zip(p[:, 2], ions, strict=True)]
    assert np.std(hits.t_ns[known] - t) < 0.6
    assert np.abs(hits.t_ns[known] - t).max() < 4.0
    order = np.lexsort((hits.t_ns, hits.shot))
    np.testing.assert_array_equal(order, np.arange(hits.n_hits))


def test_same_seed_same_run_whatever_its_length() -> None:
    setup = default_setup()
    long = mock(water(), BLOCK_SHOTS + 700, setup=setup, seed=5)
    again = mock(water(), BLOCK_SHOTS + 700, setup=setup, seed=5)
    short = mock(water(), 300, setup=setup, seed=5)
    other = mock(water(), 300, setup=setup, seed=6)
    np.testing.assert_array_equal(long.hits.t_ns, again.hits.t_ns)
    n = short.hits.n_hits
    np.testing.assert_array_equal(short.hits.x_mm, long.hits.x_mm[:n])
    np.testing.assert_array_equal(short.hits.offsets, long.hits.offsets[:301])
    np.testing.assert_array_equal(short.truth.momentum, long.truth.momentum[: len(short.truth)])
    assert n != other.hits.n_hits or not np.array_equal(short.hits.t_ns, other.hits.t_ns)
    target = target_of(water(), molecule("water"))
    alone = make_block(target, setup, 5, 1)
    np.testing.assert_array_equal(alone.hits.t_ns[:50], long.hits.t_ns[-long_tail(long) :][:50])
    assert sum(block.hits.n_shots for block in run_blocks(target, setup, 5, 5000)) == 5000
    assert short.counts["shots"] == 300
    assert short.counts["hits"] == n
    assert short.counts["molecules"] == len(short.truth)


def long_tail(run: MockRun) -> int:
    return int(run.hits.offsets[-1] - run.hits.offsets[BLOCK_SHOTS])


def test_switching_an_effect_off_leaves_the_other_draws_alone() -> None:
    full = setup_with(virtual={"orientation": "random"})
    dark = setup_with(virtual={"orientation": "random", "dark_counts_per_shot": 0.5})
    one, other = (mock(water(), 500, setup=setup, seed=8) for setup in (full, dark))
    np.testing.assert_array_equal(one.truth.momentum, other.truth.momentum)
    np.testing.assert_array_equal(one.hits.t_ns, other.hits.t_ns[other.truth.hit_molecule >= 0])


def test_ions_go_to_atoms_by_element() -> None:
    target = target_of(load_channel("ethanol"), molecule("ethanol"))
    assert [str(ion) for ion in target.ions] == ["O+", "C+", "C+", *["H+"] * 6]
    geometry = molecule("ethanol").geometry
    oxygen = geometry.positions[geometry.symbols.index("O")]
    np.testing.assert_allclose(target.positions[0], oxygen, atol=1e-6)
    distances = np.linalg.norm(target.positions[1:3] - target.positions[0], axis=1)
    assert np.sort(distances) == pytest.approx([2.67, 4.5], abs=0.15)


def test_a_bare_geometry_gets_the_stated_gaussian() -> None:
    progress = CollectingProgress()
    bent = Geometry(("H", "O", "H"), np.array([[1.8, 0, 0], [0, 0, 0], [0, 1.8, 0.0]]))
    result = mock(water(), 10, setup=default_setup(), structure=bent, progress=progress)
    assert result.truth.equilibrium.symbols == ("O", "H", "H")
    assert "0.13 bohr" in progress.said[0]


def test_what_cannot_work_is_said() -> None:
    with pytest.raises(UsageError, match="0 shots"):
        mock(water(), 0, setup=default_setup())
    with pytest.raises(UsageError, match="seed -1"):
        mock(water(), 5, setup=default_setup(), seed=-1)
    with pytest.raises(UsageError, match="are not the atoms of methane"):
        mock(water(), 5, setup=default_setup(), structure=molecule("methane"))
    with pytest.raises(UsageError, match="are not the atoms of hydrogen"):
        mock(
            parse_settings(Channel, {"name": "h", "ions": [{"ion": "H+"}]}, where="test"),
            5,
            setup=default_setup(),
            structure=molecule("hydrogen"),
        )
    fragments = {"name": "f", "ions": [{"ion": "(CH3)+"}, {"ion": "H+"}]}
    with pytest.raises(UsageError, match="is not an atomic ion"):
        mock(
            parse_settings(Channel, fragments, where="test"),
            5,
            setup=default_setup(),
            structure=molecule("methane"),
        )
    with pytest.raises(InputFileError, match="names no molecule"):
        mock(
            parse_settings(Channel, {"name": "n", "ions": [{"ion": "N+", "count": 2}]}, where="t"),
            5,
            setup=default_setup(),
        )
    with pytest.raises(SettingsError, match="molecules_per_shot"):
        setup_with(virtual={"molecules_per_shot": -1.0})
