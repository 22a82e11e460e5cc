"""Trajectories on a GPU against the compiled CPU path: one by one, and their distributions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import ks_2samp

from molexa_core.base.forward_model import ModelOptions, Pulse
from molexa_core.base.matter.elements import ELEMENTS
from molexa_core.base.progress import CollectingProgress
from molexa_core.physics.mcmd import state as at
from molexa_core.physics.mcmd.combinations import combine
from molexa_core.physics.mcmd.gpu import launch as gpu
from molexa_core.physics.mcmd.gpu.device_combinations import combinations_on_gpu
from molexa_core.physics.mcmd.gpu.kernel import MOST_ATOMS
from molexa_core.physics.mcmd.mixed_job import prepare_mixed
from molexa_core.physics.mcmd.molecule_tables import pack_molecule
from molexa_core.physics.mcmd.photon_tables import pack_photon_tables
from molexa_core.physics.mcmd.trajectories import Job, prepare, run_on_cpu, run_trajectories
from molexa_core.physics.molecules.library import molecule

pytestmark = pytest.mark.gpu
LEAST_P = 1e-4
"""Distributions differ if a difference as large is less probable than this."""


def job_of(name: str, count: int, geometries: int = 1, seed: int = 3, **options: Any) -> Job:
    geometry = molecule(name).geometry
    scales = np.linspace(1.0, 1.4, geometries)[:, None, None]
    rng = np.random.default_rng(5)
    velocities = 1e-4 * rng.normal(size=(geometries, len(geometry.symbols), 3))
    return prepare(
        geometry.positions * scales,
        geometry.symbols,
        Pulse(2000.0),
        ModelOptions(**options),
        trajectories=count,
        seed=seed,
        velocities=velocities,
    )


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("water", {}),
        ("cf4", {"transfer": "full", "transfer_time_fs": 0.0, "recapture": True}),
        ("cf4", {"transfer": "pair", "double_auger": 0.3, "shake_off": 0.3, "focus": "volume"}),
        ("ethanol", {}),
        ("ethanol", {"transfer": "low", "transfer_time_fs": 5.0}),
    ],
)
def test_same_seeds_give_the_same_trajectories(name: str, options: dict[str, Any]) -> None:
    job = job_of(name, 1000, 2, **options)
    expected, found = run_on_cpu(job), gpu.run_on_gpu(job, 0)
    np.testing.assert_allclose(found.fluence_factor, expected.fluence_factor, rtol=1e-5)
    alike = (found.counts == expected.counts).all(-1) & (found.charges == expected.charges).all(-1)
    assert alike.mean() > 0.97
    size = np.abs(expected.momenta).max((-2, -1)) + 1e-6
    error = np.abs(found.momenta - expected.momenta).max((-2, -1)) / size
    assert np.median(error[alike]) < 1e-5
    assert np.quantile(error[alike], 0.9) < 1e-4


@pytest.mark.parametrize(("name", "count"), [("water", 20000), ("cf4", 10000), ("ethanol", 5000)])
def test_other_seeds_give_the_same_distributions(name: str, count: int) -> None:
    cpu, there = run_on_cpu(job_of(name, count, seed=1)), gpu.run_on_gpu(job_of(name, count), 0)
    for atom in range(len(cpu.symbols)):
        charges = (cpu.charges[0, :, atom], there.charges[0, :, atom])
        assert ks_2samp(*charges, method="asymp").pvalue > LEAST_P
        energies = (cpu.kinetic[0, :, atom], there.kinetic[0, :, atom])
        assert ks_2samp(*energies, method="asymp").pvalue > LEAST_P
    for place in (at.ELECTRONS, at.COULOMB):
        shares = (cpu.energies[0, :, place], there.energies[0, :, place])
        assert ks_2samp(*shares, method="asymp").pvalue > LEAST_P


def test_results_do_not_depend_on_the_batches() -> None:
    job = job_of("water", 700, 3)
    whole = gpu.run_on_gpu(job, 0)
    momenta = whole.momenta.reshape(-1, 3, 3)
    for batch in gpu.batches(job, 0, size=256):
        part = slice(batch.begin, batch.begin + len(batch))
        np.testing.assert_array_equal(batch.momenta.cpu().numpy(), momenta[part])
    ends = [
        batch.begin + len(batch) for batch in gpu.batches(job, 0, size=1500, whole_geometries=True)
    ]
    assert ends == [1400, 2100]


def test_combinations_summed_there_are_those_summed_here() -> None:
    job = job_of("cf4", 20000, 3)
    whole = gpu.run_on_gpu(job, 0)
    for at_least in (1, 50):
        for row, found in enumerate(combinations_on_gpu(job, 0, at_least=at_least)):
            expected = combine(whole, row).at_least(at_least)
            for name in ("charges", "count", "sums", "squares", "charge_states", "photons"):
                np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
            assert found.ker.sum() == expected.ker.sum() == 20000


def test_a_full_gpu_means_smaller_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    job, progress, launch = job_of("water", 6000), CollectingProgress(), gpu._launch

    def launch_little(*arguments: Any) -> gpu.Batch:
        if arguments[-1] > 2000:
            raise torch.cuda.OutOfMemoryError
        return launch(*arguments)

    expected = gpu.run_on_gpu(job, 0)
    monkeypatch.setattr(gpu, "_launch", launch_little)
    found = gpu.run_on_gpu(job, 0, progress=progress)
    np.testing.assert_array_equal(found.momenta, expected.momenta)
    assert progress.said == [
        "GPU 0 ran out of memory; going on with batches of 3000",
        "GPU 0 ran out of memory; going on with batches of 1500",
    ]


def test_the_device_is_chosen_by_name_and_the_stream_is_kept() -> None:
    water = molecule("water").geometry
    tables = pack_molecule(water.symbols, 2000.0)
    call = (water.positions, water.symbols, Pulse(2000.0))
    named = run_trajectories(*call, trajectories=500, seed=1, device="cuda:0", tables=tables)
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        other = run_trajectories(*call, trajectories=500, seed=1, device="auto", tables=tables)
    np.testing.assert_array_equal(named.momenta, other.momenta)


def test_every_size_of_molecule_has_a_kernel_that_runs() -> None:
    for atoms in (1, 2, 14, 15, MOST_ATOMS):
        line = np.zeros((atoms, 3))
        line[:, 0] = 2.5 * np.arange(atoms)
        job = prepare(
            line,
            ["C"] * atoms,
            Pulse(2000.0),
            ModelOptions(transfer="none", until_fs=50.0),
            trajectories=64,
            seed=1,
        )
        expected, found = run_on_cpu(job), gpu.run_on_gpu(job, 0)
        assert (found.charges == expected.charges).all(-1).mean() > 0.97


def test_momenta_that_are_not_numbers_are_counted_and_left_out() -> None:
    job = job_of("water", 100)
    job.model.mass[0] = np.nan
    assert gpu.run_on_gpu(job, 0).lost.all()
    for part in combinations_on_gpu(job, 0):
        assert (part.total, part.lost, len(part)) == (0, 100, 0)


def test_geometries_in_their_own_settings_give_what_launches_of_their_own_give() -> None:
    rows: list[tuple[str, Pulse, dict[str, Any]]] = [
        ("water", Pulse(2000.0), {}),
        ("carbon_dioxide", Pulse(2000.0, duration_fs=4.0), {"transfer": "none"}),
        (
            "water",
            Pulse(600.0, duration_fs=2.0, fluence_um2=2e12),
            {"transfer": "full", "transfer_time_fs": 0.0, "recapture": True},
        ),
        (
            "carbon_dioxide",
            Pulse(600.0, duration_fs=25.0, fluence_um2=1e13),
            {"transfer": "low", "transfer_time_fs": 4.0, "focus": "volume", "shake_off": 0.2},
        ),
    ]
    geometries = [molecule(name).geometry for name, _, _ in rows]
    job = prepare_mixed(
        np.array([[ELEMENTS[symbol].number for symbol in g.symbols] for g in geometries]),
        np.array([g.positions for g in geometries]),
        [pulse for _, pulse, _ in rows],
        [ModelOptions(**options) for _, _, options in rows],
        pack_photon_tables([600.0, 2000.0], ["H", "C", "O"], workers=1),
        trajectories=640,
        seed=7,
    )
    (batch,) = gpu.batches(job, 0)
    for row, (name, pulse, options) in enumerate(rows):
        alone = prepare(
            geometries[row].positions,
            geometries[row].symbols,
            pulse,
            ModelOptions(**options),
            trajectories=640,
            seed=7,
            first_trajectory=row * 640,
        )
        expected = gpu.run_on_gpu(alone, 0)
        part = slice(row * 640, (row + 1) * 640)
        charges, momenta = batch.charges[part].cpu().numpy(), batch.momenta[part].cpu().numpy()
        alike = (charges == expected.charges[0]).all(-1)
        assert alike.mean() > 0.97, name
        size = np.abs(expected.momenta[0]).max((-2, -1)) + 1e-6
        error = np.abs(momenta - expected.momenta[0]).max((-2, -1)) / size
        assert np.median(error[alike]) < 1e-5, name
