"""The source of the GPU kernel, built by a C++ compiler, against the compiled CPU path."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from molexa_core.base.cuda import compiler as cuda_compiler
from molexa_core.base.errors import ComputationError, UsageError
from molexa_core.base.forward_model import ModelOptions, Pulse
from molexa_core.base.matter.elements import ELEMENTS
from molexa_core.base.progress import CollectingProgress
from molexa_core.physics.mcmd import state as at
from molexa_core.physics.mcmd import trajectories
from molexa_core.physics.mcmd.combinations import Combinations, combine, merge
from molexa_core.physics.mcmd.gpu import launch as gpu
from molexa_core.physics.mcmd.gpu.device_combinations import combine_batch
from molexa_core.physics.mcmd.gpu.kernel import (
    MOST_ATOMS,
    Shape,
    inputs_of,
    launch_of,
    shape_for,
    source,
)
from molexa_core.physics.mcmd.mixed_job import MixedJob, prepare_mixed, run_mixed_on_cpu
from molexa_core.physics.mcmd.photon_tables import PhotonTables, pack_photon_tables
from molexa_core.physics.mcmd.trajectories import Job, Trajectories, prepare, run_on_cpu
from molexa_core.physics.molecules.library import molecule
from tests.fakes.made_up_atoms import Row, made_up_job, per_fs

KNOWN = (
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
)
"""Known answers of the authors of Philox (Random123, kat_vectors: philox4x32 10)."""
Library = Callable[..., ctypes.CDLL]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    """Builds the kernel for a number of atoms."""
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("no g++ here")
    folder: Path = tmp_path_factory.mktemp("kernel")
    built: dict[tuple[int, bool], ctypes.CDLL] = {}

    def build(atoms: int, *, own: bool = False) -> ctypes.CDLL:
        if (atoms, own) not in built:
            target = folder / f"kernel{atoms}-{own}.so"
            command = [compiler, "-x", "c++", "-std=c++17", "-DMOLEXA_HOST"]
            command += [*Shape(atoms, 1, 1, own).defines, "-O1", "-Wall", "-Wextra", "-Werror"]
            command += ["-Wno-unused-function", "-shared", "-fPIC", "-o", str(target), "-"]
            subprocess.run(command, input=source(), text=True, check=True)
            built[atoms, own] = ctypes.CDLL(str(target))
        return built[atoms, own]

    return build


def job_of(name: str, count: int, seed: int = 7, **options: Any) -> Job:
    geometry = molecule(name).geometry
    scales = np.array([1.0, 1.3])[:, None, None]
    rng = np.random.default_rng(5)
    velocities = 1e-4 * rng.normal(size=(2, len(geometry.symbols), 3))
    return prepare(
        geometry.positions * scales,
        geometry.symbols,
        Pulse(2000.0),
        ModelOptions(**options),
        trajectories=count,
        seed=seed,
        velocities=velocities,
        first_trajectory=2**32 - 100,  # the numbers of some trajectories need both words
    )


def outputs_on_host(
    job: Job | MixedJob, library: Library, places: np.ndarray | None = None
) -> dict[str, Any]:
    """What the kernel writes for all trajectories of a job, or for those at some places."""
    geometries, n = job.positions.shape[:2]
    total = geometries * job.trajectories if places is None else len(places)
    outputs: dict[str, Any] = {
        "charges": np.full((total, n), -1, np.int8),
        "momenta": np.full((total, n, 3), np.nan, np.float32),
        "factors": np.full(total, np.nan, np.float32),
        "counts": np.full((total, at.COUNTS), -1, np.int16),
        "energies": np.full((total, at.ENERGIES), np.nan, np.float32),
        "rows": np.full((total, n), -1, np.int32),
    }
    arrays = {name: np.ascontiguousarray(array) for name, array in inputs_of(job).items()}
    arrays |= outputs | ({} if places is None else {"places": places})
    addresses = {name: array.ctypes.data for name, array in arrays.items()}
    built = library(n, own=isinstance(job, MixedJob))
    built.run_on_host(ctypes.byref(launch_of(job, addresses, 0, total)))
    return outputs


def run_on_host(job: Job, library: Library, places: np.ndarray | None = None) -> Trajectories:
    """What the kernel gives for all trajectories of a job, or for those at some places."""
    outputs = outputs_on_host(job, library, places)
    n, total = len(job.tables.symbols), len(outputs["charges"])
    shape = (len(job.positions), job.trajectories) if places is None else (1, total)
    return Trajectories(
        symbols=job.tables.symbols,
        mass=job.model.mass,
        charges=outputs["charges"].reshape(*shape, n),
        momenta=outputs["momenta"].reshape(*shape, n, 3),
        fluence_factor=outputs["factors"].reshape(shape),
        counts=outputs["counts"].reshape(*shape, at.COUNTS),
        energies=outputs["energies"].reshape(*shape, at.ENERGIES),
        rows=outputs["rows"].reshape(*shape, n),
    )


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN)
def test_random_numbers_are_those_of_the_known_answers(
    counter: tuple[int, ...], key: tuple[int, ...], expected: tuple[int, ...], library: Library
) -> None:
    words = ctypes.c_uint32 * 4
    out = words()
    library(3).philox_on_host(words(*counter), (ctypes.c_uint32 * 2)(*key), out)
    assert tuple(out) == expected


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("water", {}),
        ("water", {"focus": "volume", "transfer": "none"}),
        ("cf4", {"transfer": "full", "transfer_time_fs": 0.0, "recapture": True}),
        ("cf4", {"transfer": "pair", "double_auger": 0.3, "shake_off": 0.3}),
        ("cf4", {"transfer": "low", "transfer_time_fs": 5.0, "until_fs": 60.0}),
    ],
)
def test_the_kernel_follows_the_same_trajectories(
    name: str, options: dict[str, Any], library: Library
) -> None:
    job = job_of(name, 150, **options)
    expected, found = run_on_cpu(job, workers=1), run_on_host(job, library)
    np.testing.assert_allclose(found.fluence_factor, expected.fluence_factor, rtol=1e-5)
    # Where two acceptors are all but equally good, rounding decides which gets the electron.
    alike = (found.counts == expected.counts).all(-1) & (found.rows == expected.rows).all(-1)
    assert alike.mean() > 0.97
    size = np.abs(expected.momenta).max((-2, -1)) + 1e-6
    error = np.abs(found.momenta - expected.momenta).max((-2, -1)) / size
    assert np.median(error[alike]) < 1e-5
    assert np.quantile(error[alike], 0.9) < 1e-4
    np.testing.assert_array_equal(found.charges[alike], expected.charges[alike])
    photons = [at.ABSORBED]
    np.testing.assert_allclose(
        found.energies[alike][:, photons], expected.energies[alike][:, photons], rtol=1e-5
    )


def test_the_loop_is_loaded_before_threads_share_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads that call a compiled loop for the first time at once disturb the compiler."""
    calls: list[tuple[int, int]] = []

    def follow(*arguments: Any) -> None:
        calls.append((threading.get_ident(), len(arguments[9])))
        for array in arguments[9:]:
            array[:] = 0

    monkeypatch.setattr(trajectories, "compiled", SimpleNamespace(follow=follow))
    run_on_cpu(job_of("water", 2000), workers=4)
    assert calls[0] == (threading.get_ident(), 0)
    assert threading.get_ident() not in {thread for thread, _ in calls[1:]}
    assert sum(size for _, size in calls) == 2 * 2000


def test_energy_is_balanced_and_momentum_conserved(library: Library) -> None:
    job = job_of("cf4", 200, recapture=True, double_auger=0.2)
    found = run_on_host(job, library)
    absorbed = found.energies[..., at.ABSORBED]
    spent = found.energies[..., at.ABSORBED + 1 :].sum(-1)
    np.testing.assert_allclose(spent, absorbed, rtol=1e-5, atol=1e-3)
    start = (job.velocities * job.model.mass[:, None]).sum(1)
    lost = found.momenta.astype(np.float64).sum(2) - start[:, None]
    assert np.abs(lost).max() < 2e-3 * np.abs(found.momenta).max()


@pytest.mark.parametrize("distance", [0.297, 0.303])
def test_ions_charged_within_each_other_are_noticed(distance: float, library: Library) -> None:
    rows = [Row(moves=[(1, at.AUGER, per_fs(1.0), 5.0)]), Row(charge=1), Row(charge=2)]
    options = ModelOptions(transfer="none", until_fs=300.0)
    place = [[0, 0, 0], [0, 0, distance]]
    job = made_up_job(rows, [2, 0], place, options=options, trajectories=20)
    expected, found = run_on_cpu(job, workers=1), run_on_host(job, library)
    assert (expected.lost == (distance < at.CORE_BOHR)).all()
    np.testing.assert_array_equal(found.counts, expected.counts)
    np.testing.assert_array_equal(found.lost, expected.lost)


def test_the_same_trajectories_are_lost(library: Library) -> None:
    """Of a linear molecule, where an ion flies exactly through an atom."""
    found = molecule("cyanogen").geometry
    job = prepare(
        found.positions,
        found.symbols,
        Pulse(2000.0),
        ModelOptions(),
        trajectories=5,
        seed=7621456713256010406,
        first_trajectory=89946,
    )
    assert run_on_host(job, library).lost.tolist() == [[False, False, True, False, False]]


def test_chosen_places_give_the_same_as_the_whole(library: Library) -> None:
    job = job_of("water", 60)
    whole = run_on_host(job, library)
    places = np.array([119, 3, 60, 59, 7], dtype=np.int64)
    some = run_on_host(job, library, places)
    np.testing.assert_array_equal(some.momenta[0], whole.momenta.reshape(-1, 3, 3)[places])
    np.testing.assert_array_equal(some.energies[0], whole.energies.reshape(120, -1)[places])


MIXED: list[tuple[str, Pulse, dict[str, Any]]] = [
    ("water", Pulse(2000.0), {}),
    ("carbon_dioxide", Pulse(2000.0, duration_fs=4.0), {"transfer": "none"}),
    (
        "water",
        Pulse(600.0, duration_fs=2.0, fluence_um2=2e12),
        {"transfer": "full", "transfer_time_fs": 0.0, "recapture": True},
    ),
    (
        "hydrogen_cyanide",
        Pulse(600.0, duration_fs=25.0, fluence_um2=1e13),
        {"transfer": "low", "transfer_time_fs": 4.0, "focus": "volume", "masses": "average"},
    ),
    (
        "carbon_dioxide",
        Pulse(2000.0, duration_fs=25.0),
        {"transfer": "pair", "shake_off": 0.3, "double_auger": 0.3},
    ),
]
"""Molecules of three atoms, with pulses and switches that differ in whatever can differ."""
EACH = 40


@pytest.fixture(scope="module")
def tables() -> PhotonTables:
    return pack_photon_tables([600.0, 2000.0], ["H", "C", "N", "O"], workers=1)


def mixed_job(tables: PhotonTables, rows: list[tuple[str, Pulse, dict[str, Any]]]) -> MixedJob:
    geometries = [molecule(name).geometry for name, _, _ in rows]
    rng = np.random.default_rng(5)
    return prepare_mixed(
        np.array([[ELEMENTS[symbol].number for symbol in g.symbols] for g in geometries]),
        np.array([g.positions for g in geometries]),
        [pulse for _, pulse, _ in rows],
        [ModelOptions(**options) for _, _, options in rows],
        tables,
        trajectories=EACH,
        seed=7,
        first_trajectory=2**32 - 100,
        velocities=1e-4 * rng.normal(size=(len(rows), 3, 3)),
    )


def test_each_geometry_in_its_own_setting_gives_what_a_launch_of_its_own_gives(
    library: Library, tables: PhotonTables
) -> None:
    """Bit for bit: pulse, step grid, tables, switches and masses of others change nothing."""
    together = mixed_job(tables, MIXED)
    found = outputs_on_host(together, library)
    for row, (name, pulse, options) in enumerate(MIXED):
        geometry = molecule(name).geometry
        alone = prepare(
            geometry.positions,
            geometry.symbols,
            pulse,
            ModelOptions(**options),
            trajectories=EACH,
            seed=7,
            first_trajectory=2**32 - 100 + row * EACH,
            velocities=together.velocities[row],
        )
        expected = outputs_on_host(alone, library)
        part = slice(row * EACH, (row + 1) * EACH)
        for field in ("charges", "momenta", "factors", "counts", "energies"):
            np.testing.assert_array_equal(found[field][part], expected[field], err_msg=name)
        assert (expected["charges"] > 0).any(), "nothing happened: the comparison says nothing"


def test_mixed_settings_on_the_processor_follow_the_same_trajectories(
    library: Library, tables: PhotonTables
) -> None:
    job = mixed_job(tables, MIXED)
    found, host = run_mixed_on_cpu(job, workers=2), outputs_on_host(job, library)
    n = job.start.shape[1]
    alike = (found.counts.reshape(-1, at.COUNTS) == host["counts"]).all(-1)
    alike &= (found.charges.reshape(-1, n) == host["charges"]).all(-1)
    assert alike.mean() > 0.95
    momenta = found.momenta.reshape(-1, n, 3)
    size = np.abs(momenta).max((-2, -1)) + 1e-6
    error = np.abs(momenta - host["momenta"]).max((-2, -1)) / size
    assert np.median(error[alike]) < 1e-5


def test_mixed_settings_that_do_not_fit_are_refused(tables: PhotonTables) -> None:
    name, _, options = MIXED[0]
    with pytest.raises(UsageError, match=r"no tables for photons of 1999 eV.*600, 2000 eV"):
        mixed_job(tables, [(name, Pulse(1999.0), options)])
    with pytest.raises(UsageError, match=r"no tables for S"):
        mixed_job(tables, [("hydrogen_sulfide", Pulse(2000.0), options)])
    with pytest.raises(UsageError, match=r"the time steps of geometries differ"):
        mixed_job(tables, [MIXED[0], (name, Pulse(2000.0), {"step_fs": 0.2})])
    with pytest.raises(UsageError, match=r"geometry 2: atoms 2 \(H\) and 3 \(H\) overlap"):
        prepare_mixed(
            np.array([[6, 7, 8], [8, 1, 1]]),
            np.array([[[0.0, 0, 0], [0, 0, 2], [0, 2, 0]], [[0, 0, 0], [0, 0, 2], [0, 0, 2.2]]]),
            [Pulse(2000.0)] * 2,
            [ModelOptions()] * 2,
            tables,
            trajectories=1,
            seed=0,
        )


def as_batch(found: Trajectories, begin: int, end: int) -> gpu.Batch:
    """A stretch of trajectories as a batch, on the CPU."""
    n = len(found.symbols)
    arrays = (
        found.charges.reshape(-1, n),
        found.momenta.reshape(-1, n, 3),
        found.fluence_factor.reshape(-1),
        found.counts.reshape(-1, at.COUNTS),
        found.energies.reshape(-1, at.ENERGIES),
    )
    return gpu.Batch(begin, *(torch.from_numpy(array[begin:end]) for array in arrays))


def assert_same(found: Combinations, expected: Combinations) -> None:
    for name in ("charges", "count", "sums", "squares", "charge_states", "ker", "photons"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), err_msg=name)
    assert (found.largest, found.lost) == (expected.largest, expected.lost)


@pytest.mark.parametrize("largest_code", [2**62, 40])
def test_combinations_in_torch_are_those_in_numpy(
    largest_code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "molexa_core.physics.mcmd.gpu.device_combinations._LARGEST_CODE", largest_code
    )
    job = job_of("water", 300)
    whole = run_on_cpu(job, workers=1)
    whole.counts[0, 3, at.CLOSE] = 1
    whole.momenta[1, 250:260, 1, 0] = np.nan
    for at_least in (1, 20):
        parts = combine_batch(job, as_batch(whole, 0, 600), at_least)
        assert len(parts) == 2
        for row, part in enumerate(parts):
            assert_same(part, combine(whole, row).at_least(at_least))
    # A batch that ends within a geometry, and one that begins there.
    first, second = (combine_batch(job, as_batch(whole, *ends)) for ends in ((0, 400), (400, 600)))
    assert (len(first), len(second)) == (2, 1)
    assert_same(first[0], combine(whole, 0))
    assert_same(merge([first[1], second[0]]), combine(whole, 1))


def test_shapes_fit_a_multiprocessor() -> None:
    for atoms in range(1, MOST_ATOMS + 1):
        shape = shape_for(atoms)
        assert shape.atoms == atoms
        assert shape.shared_bytes * shape.blocks <= 227 * 1024
    with pytest.raises(UsageError, match=r"31 atoms are more than the GPU kernel can follow, 30"):
        shape_for(31)


@pytest.mark.parametrize("device", ["tpu", "cuda:x", "cuda:99", "cuda:"])
def test_unusable_devices_are_named(device: str) -> None:
    with pytest.raises(UsageError, match=r"no device named|no CUDA device"):
        gpu.device_index(device)
    assert gpu.device_index("cpu") is None


def test_a_batch_that_does_not_fit_is_halved_with_a_notice() -> None:
    progress = CollectingProgress()
    assert gpu._halved(5000, 1, progress) == 2500
    assert progress.said == ["GPU 1 ran out of memory; going on with batches of 2500"]
    with pytest.raises(ComputationError, match=r"too little free memory for 1024 trajectories"):
        gpu._halved(gpu.SMALLEST_BATCH, 0, progress)


class FakeNvrtc:
    """Counts what it compiles."""

    def __init__(self) -> None:
        self.compiled: list[tuple[str, ...]] = []

    def version(self) -> str:
        return "13.0"

    def cubin(self, text: str, name: str, options: list[str]) -> bytes:
        self.compiled.append(tuple(options))
        return f"{text} {name}".encode()


def test_compiled_code_is_kept_and_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeNvrtc()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(cuda_compiler, "nvrtc", lambda: fake)

    def compile_it(text: str, option: str) -> bytes:
        return cuda_compiler.compile_cubin(text, "it", [option], "sm_90")

    assert compile_it("a", "-DN=1") == compile_it("a", "-DN=1") == b"a it"
    assert fake.compiled == [("--gpu-architecture=sm_90", "--std=c++17", "-DN=1")]
    compile_it("a", "-DN=2")
    compile_it("b", "-DN=2")
    assert len(fake.compiled) == 3
    for path in tmp_path.rglob("*.cubin"):
        path.write_bytes(path.read_bytes()[:-1] + b"?")
    assert compile_it("b", "-DN=2") == b"b it"
    assert len(fake.compiled) == 4


def test_a_missing_compiler_is_told_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda_compiler.nvrtc.cache_clear()
    monkeypatch.setattr(cuda_compiler, "_candidates", lambda: iter(["/nowhere/libnvrtc.so.13"]))
    with pytest.raises(ComputationError, match=r"no NVRTC library was found.*`device='cpu'`"):
        cuda_compiler.nvrtc()
