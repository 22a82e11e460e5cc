"""Molecules in the pulse: the plain twin, conservation, seeds, and input that cannot be used."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from molexa_core.base.errors import UnknownIonError, UsageError
from molexa_core.base.forward_model import ModelOptions, Pulse
from molexa_core.base.progress import SilentProgress
from molexa_core.physics.mcmd import state as at
from molexa_core.physics.mcmd.molecule_tables import MoleculeTables, pack_molecule
from molexa_core.physics.mcmd.plain import run_plain
from molexa_core.physics.mcmd.time_grid import step_grid
from molexa_core.physics.mcmd.trajectories import (
    Trajectories,
    prepare,
    run_on_cpu,
    run_trajectories,
)
from molexa_core.physics.molecules.library import molecule

WATER = molecule("water").geometry
CF4 = molecule("cf4").geometry
PULSE = Pulse(2000.0)


@pytest.fixture(scope="module")
def tables() -> dict[str, MoleculeTables]:
    return {
        "water": pack_molecule(WATER.symbols, 2000.0),
        "cf4": pack_molecule(CF4.symbols, 2000.0),
    }


def explode_water(
    tables: dict[str, MoleculeTables], count: int, pulse: Pulse = PULSE, **options: Any
) -> Trajectories:
    return run_trajectories(
        WATER.positions,
        WATER.symbols,
        pulse,
        ModelOptions(**options),
        trajectories=count,
        seed=11,
        workers=1,
        tables=tables["water"],
    )


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("water", {}),
        ("water", {"transfer": "none", "focus": "volume"}),
        ("cf4", {"transfer": "full", "transfer_time_fs": 0.0, "recapture": True}),
        ("cf4", {"transfer": "pair", "double_auger": 0.3, "shake_off": 0.3}),
        ("cf4", {"transfer": "low", "transfer_time_fs": 5.0, "until_fs": 60.0}),
    ],
)
def test_the_plain_twin_follows_the_same_trajectories(
    tables: dict[str, MoleculeTables], name: str, options: dict[str, Any]
) -> None:
    geometry = molecule(name).geometry
    x = geometry.positions + 0.1 * np.random.default_rng(2).normal(
        size=(2, *geometry.positions.shape)
    )
    job = prepare(
        x,
        geometry.symbols,
        PULSE,
        ModelOptions(**options),
        velocities=1e-4 * np.ones_like(x),
        trajectories=20,
        seed=3,
        tables=tables[name],
    )
    fast, plain = run_on_cpu(job, workers=1), run_plain(job)
    # Sums in another order may shift an event across a step in one of many trajectories.
    same = (fast.charges == plain.charges).all(axis=-1) & (fast.counts == plain.counts).all(axis=-1)
    assert same.mean() >= 0.95
    largest = np.abs(fast.momenta[same]).max()
    assert np.abs(fast.momenta - plain.momenta)[same].max() < 1e-4 * largest
    assert np.abs(fast.energies - plain.energies)[same].max() < 1e-3
    assert (fast.fluence_factor == plain.fluence_factor).all()
    for place in (at.SECONDS, at.RECAPTURED):
        wanted = options.get("double_auger" if place == at.SECONDS else "recapture", False)
        assert wanted or not fast.counts[..., place].any()
    if options.get("double_auger"):
        assert fast.counts[..., at.SECONDS].any()


def test_momenta_add_up_to_zero_and_energy_is_kept(tables: dict[str, MoleculeTables]) -> None:
    found = explode_water(tables, 400)
    assert np.abs(found.momenta.sum(axis=2)).max() < 1e-4
    energy = found.energies[0].astype(float)
    assert energy[:, 1:].sum(axis=1) == pytest.approx(energy[:, at.ABSORBED], abs=1e-3)
    # What the charges gained as Coulomb energy is what the ions carry away: to 1 % with steps of
    # 0.1 fs, because charges change in the middle of a step and are booked at its end.
    kinetic = found.kinetic[0].sum(axis=1)
    assert energy[:, at.COULOMB].mean() == pytest.approx(kinetic.mean(), rel=0.01)
    fine = explode_water(tables, 400, step_fs=0.02)
    booked = fine.energies[0, :, at.COULOMB].astype(float).mean()
    assert booked == pytest.approx(fine.kinetic[0].sum(axis=1).mean(), rel=0.002)
    assert fine.kinetic.sum(axis=2).mean() == pytest.approx(kinetic.mean(), rel=0.02)
    counts = found.counts[0].astype(int)
    electrons = counts[:, at.PHOTONS] + counts[:, at.AUGERS] + counts[:, at.SECONDS]
    assert (found.charges[0].sum(axis=1) == electrons - counts[:, at.RECAPTURED]).all()
    assert (energy[:, at.EXCESS] >= -1e-5).all()


def test_transfer_charges_the_hydrogen_that_absorbs_nothing(
    tables: dict[str, MoleculeTables],
) -> None:
    without, with_ = explode_water(tables, 300, transfer="none"), explode_water(tables, 300)
    assert without.charges[..., 1:].mean() < 0.01
    assert with_.charges[..., 1:].mean() > 0.9
    assert with_.charges.sum(axis=-1).mean() > without.charges.sum(axis=-1).mean()


def test_slow_electrons_are_recaptured_where_asked(tables: dict[str, MoleculeTables]) -> None:
    def run(recapture: bool) -> Trajectories:
        chlorine = molecule("ch2cl2").geometry
        return run_trajectories(
            chlorine.positions,
            chlorine.symbols,
            PULSE,
            ModelOptions(recapture=recapture),
            trajectories=100,
            seed=4,
            workers=1,
        )

    off, on = run(recapture=False), run(recapture=True)
    assert off.counts[..., at.SLOW].sum() > 20
    assert not off.counts[..., at.RECAPTURED].any()
    assert 0 < on.counts[..., at.RECAPTURED].sum() <= on.counts[..., at.SLOW].sum()
    lost = off.energies[..., at.ELECTRONS]
    assert on.charges.sum(axis=-1).mean() < off.charges.sum(axis=-1).mean()
    assert np.isfinite(lost).all()


def test_results_depend_on_number_and_seed_alone(tables: dict[str, MoleculeTables]) -> None:
    x = np.stack([WATER.positions, 1.1 * WATER.positions])

    def run(positions: np.ndarray, count: int, first: int, **more: Any) -> Trajectories:
        return run_trajectories(
            positions,
            WATER.symbols,
            PULSE,
            None,
            trajectories=count,
            first_trajectory=first,
            tables=tables["water"],
            **({"seed": 2**63 + 5, "workers": 1} | more),
        )

    whole = run(x, 60, 2**40)
    threads = run(x, 60, 2**40, workers=3)
    for name in ("charges", "momenta", "counts", "energies"):
        assert (getattr(whole, name) == getattr(threads, name)).all()
        second = getattr(run(x[1], 25, 2**40 + 60 + 35), name)[0]
        assert (getattr(whole, name)[1, 35:] == second).all()
    other = run(x, 60, 2**40, seed=2**63 + 6)
    assert (whole.momenta != other.momenta).any()


def test_turning_the_molecule_turns_the_momenta(tables: dict[str, MoleculeTables]) -> None:
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
    found = explode_water(tables, 40)
    turned = run_trajectories(
        WATER.positions @ turn.T + 3.0,
        WATER.symbols,
        PULSE,
        trajectories=40,
        seed=11,
        workers=1,
        tables=tables["water"],
    )
    assert (turned.charges == found.charges).all()
    assert turned.momenta == pytest.approx(found.momenta @ turn.T, abs=0.02)


class CountingProgress(SilentProgress):
    """Adds up what is reported."""

    def __init__(self) -> None:
        self.total, self.done = 0.0, 0.0

    @contextmanager
    def task(self, label: str, total: float | None, unit: str) -> Iterator[Any]:
        self.total = total or 0.0
        yield self

    def advance(self, amount: float = 1.0) -> None:
        self.done += amount


@pytest.mark.parametrize("workers", [1, 2])
def test_progress_counts_every_trajectory(tables: dict[str, MoleculeTables], workers: int) -> None:
    progress = CountingProgress()
    run_trajectories(
        np.stack([WATER.positions] * 2),
        WATER.symbols,
        Pulse(2000.0, duration_fs=1.0),
        trajectories=450,
        seed=1,
        workers=workers,
        tables=tables["water"],
        progress=progress,
    )
    assert progress.done == progress.total == 900


def test_the_pulse_in_numbers() -> None:
    assert PULSE.photons == pytest.approx(3.12e12, rel=2e-3)
    per_um2 = PULSE.fluence / (0.529177210544e-4) ** 2
    assert per_um2 == pytest.approx(2.75e12, rel=2e-3)
    assert Pulse(2000.0, fluence_um2=per_um2).fluence == pytest.approx(PULSE.fluence)
    half = Pulse(2000.0, transmission=0.5, energy_mj=2.0)
    assert half.fluence == pytest.approx(PULSE.fluence)


@pytest.mark.parametrize("duration", [0.1, 1.0, 15.0, 200.0])
def test_the_grid_holds_every_photon(duration: float) -> None:
    grid = step_grid(Pulse(2000.0, duration_fs=duration), step_fs=0.1, growth=0.02, until_fs=1000.0)
    assert grid.fraction.sum() == pytest.approx(1.0, abs=1e-12)
    assert (grid.fraction >= 0.0).all()
    assert grid.fraction.max() < 0.05
    middle = (grid.times[1:] + grid.times[:-1]) / 2.0
    assert grid.fraction @ middle == pytest.approx(0.0, abs=1e-3 * grid.times[-1] * 1e-3)
    width = np.sqrt(grid.fraction @ middle**2) * 2.3548
    assert width * 0.02418884 == pytest.approx(duration, rel=0.01)
    assert grid.times[-1] * 0.02418884 >= 1000.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"photon_ev": -1.0}, "photon energy is -1 eV"),
        ({"energy_mj": 0.0}, "energy of the pulse is 0 mJ"),
        ({"focus_um": float("nan")}, "focus is nan µm"),
        ({"transmission": 1.5}, "reaches the focus is 1.5"),
        ({"duration_fs": 0.0}, "duration of the pulse is 0 fs"),
        ({"fluence_um2": 0.0}, "0 photons/µm² on its axis"),
        ({"fluence_um2": 1e20}, "1e\\+20 photons/µm"),
        ({"energy_mj": 1e-15}, "on its axis"),
    ],
)
def test_pulses_that_cannot_be_meant(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Pulse(**({"photon_ev": 2000.0} | change))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"transfer": "fulll"}, "unknown transfer 'fulll'. Did you mean full"),
        ({"focus": "volumes"}, "Did you mean volume"),
        ({"masses": "x"}, "isotope, average"),
        ({"double_auger": 1.5}, "double_auger: .* is 1.5, which is out of range"),
        ({"transfer_time_fs": -1.0}, "transfer_time_fs: .* is -1"),
        ({"step_fs": float("nan")}, "step_fs: .* is nan"),
    ],
)
def test_options_out_of_range(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        ModelOptions(**change)


def test_molecules_that_cannot_be_used(tables: dict[str, MoleculeTables]) -> None:
    def run(
        positions: Any, symbols: tuple[str, ...], photon_ev: float = 2000.0, **more: Any
    ) -> None:
        arguments = {"trajectories": 1, "seed": 1} | more
        prepare(np.array(positions, float), symbols, Pulse(photon_ev), ModelOptions(), **arguments)

    pair = [[0, 0, 0], [0, 0, 0.3]]
    with pytest.raises(UsageError, match=r"atoms 1 \(O\) and 2 \(H\) overlap.* 0\.3 bohr"):
        run(pair, ("O", "H"))
    with pytest.raises(UsageError, match="not a number"):
        run([[0, 0, 0], [0, 0, np.nan]], ("O", "H"))
    with pytest.raises(UsageError, match="3 atoms"):
        run(pair, ("O", "H", "H"))
    with pytest.raises(UnknownIonError, match="covers: H, He"):
        run([[0, 0, 0], [0, 0, 3]], ("U", "H"))
    with pytest.raises(UsageError, match="lowest edge"):
        run([[0, 0, 0], [0, 0, 3]], ("O", "H"), photon_ev=5.0)
    with pytest.raises(UsageError, match="seed"):
        run([[0, 0, 0], [0, 0, 3]], ("O", "H"), seed=-1)
    with pytest.raises(UsageError, match="trajectories"):
        run([[0, 0, 0], [0, 0, 3]], ("O", "H"), trajectories=0)
    with pytest.raises(UsageError, match="another molecule"):
        run(CF4.positions, CF4.symbols, tables=tables["water"])
