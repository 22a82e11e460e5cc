"""The GPU kernel of point charges: its source built by a C++ compiler, and on a GPU."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from molexa_core.base.errors import UsageError
from molexa_core.base.matter.elements import element
from molexa_core.base.tables import FloatArray
from molexa_core.base.units import ATOMIC_TIME_FS
from molexa_core.physics.coulomb.batches import explode_many
from molexa_core.physics.coulomb.build_up import AtomRises, BuildUp, ErrorFunctionRise, Instant
from molexa_core.physics.coulomb.explosion import Accuracy, accuracy_of, steps_of
from molexa_core.physics.coulomb.follow import LEFT
from molexa_core.physics.coulomb.gpu import explosions as gpu
from molexa_core.physics.coulomb.gpu.explosion_kernel import (
    MOST_ATOMS,
    PER_ATOM,
    Launch,
    shape_for,
    source,
)

SYMBOLS = ("C", "O", "H", "H", "S")
RISES: dict[str, BuildUp] = {
    "instant": Instant(),
    "common": ErrorFunctionRise(45.0),
    "per_atom": AtomRises((45.0, 45.0, 20.0, 20.0, 60.0), (8.0, 8.0, 0.0, 0.0, 3.0)),
}
Explode = Callable[..., FloatArray]


def molecules(count: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Random places, charges and masses; some atoms are not charged."""
    random = np.random.default_rng(3)
    places: list[FloatArray] = []
    while len(places) < count:
        x = random.uniform(-3.5, 3.5, (len(SYMBOLS), 3))
        if (np.linalg.norm(x[:, None] - x, axis=-1) + 9.0 * np.eye(len(x))).min() > 1.8:
            places.append(x)
    charges = random.integers(1, 4, (count, len(SYMBOLS))).astype(float)
    charges[::10, 2] = 0.0
    masses = np.tile([element(symbol).isotope_mass for symbol in SYMBOLS], (count, 1))
    return np.array(places), charges, masses


@pytest.fixture(scope="module")
def explode_on_host(tmp_path_factory: pytest.TempPathFactory) -> Explode:
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("no g++ here")
    folder: Path = tmp_path_factory.mktemp("kernel")

    def explode(
        x: FloatArray, q: FloatArray, m: FloatArray, rise: BuildUp, cut: Accuracy, dtype: type
    ) -> FloatArray:
        kind, tau, onset = gpu.rise_of(rise, x.shape[1])
        shape = shape_for(x.shape[1], kind, double=dtype is np.float64)
        target = folder / f"{shape.atoms}-{kind}-{shape.double}.so"
        command = [compiler, "-x", "c++", "-std=c++17", "-DMOLEXA_HOST", *shape.defines, "-O2"]
        command += ["-Wall", "-Wextra", "-Werror", "-Wno-unused-function", "-Wno-unused-parameter"]
        command += ["-shared", "-fPIC", "-o", str(target), "-"]
        if not target.exists():
            subprocess.run(command, input=source(), text=True, check=True)
        n = x.shape[1]
        arrays = {"positions": x, "charges": q, "masses": m, "tau": tau, "onset": onset}
        arrays = {name: np.array(values, dtype=dtype, order="C") for name, values in arrays.items()}
        momenta = np.full(x.shape, np.nan, dtype=dtype)
        argument = Launch(
            **{name: array.ctypes.data for name, array in arrays.items()},
            momenta=momenta.ctypes.data,
            total=len(x),
            charge_step=n,
            mass_step=n,
            rise_step=0,
            fraction=cut.fraction,
            left=LEFT * cut.fraction**2,
            steps=steps_of(cut, rise),
        )
        ctypes.CDLL(str(target)).explode_on_host(ctypes.byref(argument))
        return np.asarray(momenta, dtype=np.float64)

    return explode


def mean_relative_error(found: FloatArray, exact: FloatArray) -> float:
    """Of the momenta of charged atoms."""
    size = np.linalg.norm(exact, axis=2)
    off = np.linalg.norm(found - exact, axis=2)
    return float((off[size > 0] / size[size > 0]).mean())


@pytest.mark.parametrize("name", RISES)
def test_the_source_explodes_as_the_compiled_path(name: str, explode_on_host: Explode) -> None:
    x, q, m = molecules(150)
    rise, cut = RISES[name], accuracy_of("fast")
    expected = explode_many(x, q, m, build_up=rise, accuracy=cut)
    found = explode_on_host(x, q, m, rise, cut, np.float64)
    assert (found[q == 0.0] == 0.0).all()
    assert mean_relative_error(found, expected) < 1e-7
    single = explode_on_host(x, q, m, rise, cut, np.float32)
    assert mean_relative_error(single, expected) < 2e-6


@pytest.mark.parametrize("name", RISES)
def test_single_precision_is_right_to_five_in_a_million(
    name: str, explode_on_host: Explode
) -> None:
    x, q, m = molecules(300)
    rise = RISES[name]
    cut = Accuracy(56, 0.36) if name == "per_atom" else accuracy_of("draft")
    exact = explode_many(x, q, m, build_up=rise, accuracy=Accuracy(1600, 1 / 64))
    found = explode_on_host(x, q, m, rise, cut, np.float32)
    assert mean_relative_error(found, exact) < 5e-6


def test_two_ions_fly_apart_with_the_energy_of_their_distance(explode_on_host: Explode) -> None:
    x = np.array([[[0.0, 0.0, 0.0], [0.0, 0.0, 2.0]]])
    q, m = np.array([[2.0, 3.0]]), np.array([[2000.0, 9000.0]])
    found = explode_on_host(x, q, m, Instant(), accuracy_of("fast"), np.float64)[0]
    reduced = 2000.0 * 9000.0 / 11000.0
    assert found[1, 2] == pytest.approx(np.sqrt(2.0 * reduced * 6.0 / 2.0), rel=1e-6)
    np.testing.assert_allclose(found[0], -found[1])


def test_atoms_in_one_place_have_momenta_that_are_not_numbers(explode_on_host: Explode) -> None:
    x, q, m = molecules(2)
    x[0, 1] = x[0, 0]
    found = explode_on_host(x, q, m, Instant(), accuracy_of("draft"), np.float32)
    assert not np.isfinite(found[0]).all()
    assert np.isfinite(found[1]).all()


def test_what_the_kernel_cannot_do_is_refused() -> None:
    with pytest.raises(UsageError, match=r"31 atoms: the GPU kernel explodes molecules of 1 to 30"):
        shape_for(MOST_ATOMS + 1, 0)
    with pytest.raises(UsageError, match=r"the build-up is for 5 atoms, the molecule has 3"):
        gpu.rise_of(RISES["per_atom"], 3)
    with pytest.raises(UsageError, match=r"positions are torch.float32 on cpu"):
        gpu.explode_on_gpu(torch.zeros(1, 2, 3), torch.ones(2), torch.ones(2))


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", RISES)
def test_explosions_on_a_gpu_are_those_of_the_processor(name: str, dtype: torch.dtype) -> None:
    x, q, m = molecules(3000)
    rise = RISES[name]
    exact = explode_many(x, q, m, build_up=rise, accuracy=Accuracy(1600, 1 / 64))
    cut = Accuracy(56, 0.36) if name == "per_atom" else accuracy_of("draft")
    given = [torch.from_numpy(values).to("cuda", dtype) for values in (x, q, m)]
    found = gpu.explode_on_gpu(*given, build_up=rise, accuracy=cut).double().cpu().numpy()
    assert mean_relative_error(found, exact) < 5e-6
    fine = gpu.explode_on_gpu(*given, build_up=rise, accuracy="fast").double().cpu().numpy()
    assert mean_relative_error(fine, exact) < 2e-6
    one = gpu.explode_on_gpu(given[0], given[1], given[2][0], build_up=rise, accuracy=cut)
    np.testing.assert_array_equal(one.double().cpu().numpy(), found)


@pytest.mark.gpu
def test_rises_of_each_molecule_by_itself_on_a_gpu() -> None:
    x, q, m = molecules(40)
    random = np.random.default_rng(1)
    tau, onset = random.uniform(10, 80, (40, 5)), random.uniform(0, 10, (40, 5))
    given = [torch.from_numpy(values).cuda() for values in (x, q, m)]
    times = [torch.from_numpy(values / ATOMIC_TIME_FS).cuda() for values in (tau, onset)]
    found = gpu.explode_with_rises(*given, *times, kind=PER_ATOM, steps=800, fraction=0.25).cpu()
    for row in range(40):
        rise = AtomRises(tuple(tau[row]), tuple(onset[row]))
        expected = explode_many(x[row][None], q[row], m[row], build_up=rise)
        assert mean_relative_error(found[row][None].numpy(), expected) < 1e-6


@pytest.mark.gpu
@pytest.mark.parametrize("atoms", [1, 2, 9, 10, 13, MOST_ATOMS])
def test_molecules_of_any_size_on_a_gpu(atoms: int) -> None:
    random = np.random.default_rng(atoms)
    x = 2.5 * np.array(list(np.ndindex(4, 3, 3)), dtype=float)[:atoms]
    x = x + random.uniform(-0.3, 0.3, (20, atoms, 3))
    q = random.integers(1, 4, (20, atoms)).astype(float)
    m = random.uniform(2000.0, 50000.0, (20, atoms))
    given = [torch.from_numpy(values).to("cuda", torch.float32) for values in (x, q, m)]
    found = gpu.explode_on_gpu(*given).double().cpu().numpy()
    expected = explode_many(x, q, m, accuracy="fine")
    if atoms == 1:
        assert (found == 0.0).all()
    else:
        assert mean_relative_error(found, expected) < 5e-6
