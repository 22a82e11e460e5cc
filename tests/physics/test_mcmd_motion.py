"""Point charges in motion: closed forms, conservation, an integrator of another kind."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from molexa_core.base.forward_model import ModelOptions
from molexa_core.base.units import BOHR_ANGSTROM, DALTON_ME, HARTREE_EV
from molexa_core.physics.coulomb.explosion import explode
from molexa_core.physics.mcmd.trajectories import Trajectories, run_on_cpu
from tests.fakes.made_up_atoms import Row, made_up_job

IONS = [Row(charge=charge) for charge in range(13)]
NO_PULSE = ModelOptions(transfer="none")


def explosion(
    positions: object, charges: list[int], masses: list[float], options: ModelOptions = NO_PULSE
) -> Trajectories:
    """The explosion of ions that were there from the beginning."""
    job = made_up_job(IONS, charges, positions, masses_da=masses, options=options)
    return run_on_cpu(job, workers=1)


@pytest.mark.parametrize(("q1", "q2"), [(1, 1), (3, 2), (12, 1)])
def test_two_ions_get_all_of_their_coulomb_energy(q1: int, q2: int) -> None:
    found = explosion([[0, 0, 0], [0, 0, 1.098 / BOHR_ANGSTROM]], [q1, q2], [14.003, 14.003])
    release = float(found.kinetic.sum()) * HARTREE_EV
    assert release == pytest.approx(13.114 * q1 * q2, rel=3e-4)
    assert release == pytest.approx(q1 * q2 / 1.098 * BOHR_ANGSTROM * HARTREE_EV, rel=3e-4)


def test_shorter_steps_conserve_energy_better() -> None:
    x = [[0, 0, 0], [0, 0, 2.0]]
    errors = []
    for accuracy in (0.2, 0.1, 0.05):
        options = ModelOptions(
            transfer="none", accuracy=accuracy, step_fs=accuracy, growth=accuracy / 5
        )
        release = float(explosion(x, [4, 4], [1.0, 12.0], options).kinetic.sum())
        errors.append(abs(release / 8.0 - 1.0))
    assert errors[1] < errors[0] / 2.5
    assert errors[2] < errors[1] / 2.5
    assert errors[2] < 1e-4


def test_the_same_momenta_as_the_integrator_of_the_classical_model() -> None:
    generator = np.random.default_rng(5)
    charges, masses = [6, 2, 1, 1, 9], [12.0, 16.0, 1.008, 1.008, 35.0]
    for _ in range(5):
        x = generator.normal(size=(5, 3)) * 3.0
        distance = np.linalg.norm(x[:, None] - x[None], axis=-1) + 9.0 * np.eye(5)
        if distance.min() < 1.5:
            continue
        found = explosion(x, charges, masses).momenta[0, 0]
        other = explode(
            torch.tensor(x)[None],
            torch.tensor([charges], dtype=torch.float64),
            torch.tensor([masses]).double() * DALTON_ME,
            accuracy="fine",
        )[0].numpy()
        assert found == pytest.approx(other, abs=2e-3 * np.abs(other).max())
        assert np.abs(found.sum(axis=0)).max() < 1e-5 * np.abs(found).max()


def test_atoms_that_fly_keep_their_momentum_and_add_to_the_release() -> None:
    v = np.array([[1e-3, 0, 0], [1e-3, 0, 0]])
    job = made_up_job(IONS, [2, 2], [[0, 0, 0], [0, 0, 3.0]], masses_da=[10.0, 10.0], velocities=v)
    p = run_on_cpu(job, workers=1).momenta[0, 0]
    assert p[:, 0] == pytest.approx(np.full(2, 1e-3 * 10.0 * DALTON_ME + 2e-3), rel=1e-5)
    assert p[1, 2] == pytest.approx(math.sqrt(2 * 10.0 * DALTON_ME * 4 / 3.0 / 2), rel=5e-4)


def test_ions_charged_at_the_very_end_still_fly_apart() -> None:
    late = [Row(moves=[(1, 1, 1e-9, 0.5)]), Row(charge=1)]  # decays only when forced to
    job = made_up_job(
        late, [0, 0], [[0, 0, 0], [0, 0, 2.0]], masses_da=[1.0, 1.0], options=NO_PULSE
    )
    found = run_on_cpu(job, workers=1)
    assert found.charges[0, 0].tolist() == [1, 1]
    assert float(found.kinetic.sum()) == pytest.approx(0.5, rel=2e-3)
    assert found.counts[0, 0, 7] == 2


def test_uncharged_atoms_stay() -> None:
    found = explosion([[0, 0, 0], [0, 0, 2.0], [0, 3.0, 0]], [0, 0, 5], [1.0, 1.0, 1.0])
    assert not found.momenta.any()
