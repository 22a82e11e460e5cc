"""Ions charged inside each other: counted by every path alike, and nothing else is."""

from __future__ import annotations

import numpy as np
import pytest

from molexa_core.base.errors import ComputationError
from molexa_core.base.forward_model import ModelOptions, Pulse
from molexa_core.base.tables import Geometry
from molexa_core.physics.coulomb.batches import CLOSEST_BOHR
from molexa_core.physics.mcmd import state as at
from molexa_core.physics.mcmd.combinations import combine
from molexa_core.physics.mcmd.job import Job, prepare
from molexa_core.physics.mcmd.plain import run_plain
from molexa_core.physics.mcmd.summaries import energies_of, outcomes_of
from molexa_core.physics.mcmd.trajectories import run_on_cpu
from molexa_core.physics.molecules.library import molecule
from tests.fakes.made_up_atoms import Row, made_up_job, per_fs

DECAY = Row(moves=[(1, at.AUGER, per_fs(1.0), 5.0)])
"""A neutral atom that loses an electron after about a femtosecond."""
ATOMS = [DECAY, Row(charge=1), Row(charge=2)]
QUIET = ModelOptions(transfer="none", until_fs=300.0)


def lost(job: Job) -> bool:
    """Whether the only trajectory is lost, by both paths."""
    found = [bool(run(job).lost[0, 0]) for run in (run_on_cpu, run_plain)]
    assert found[0] == found[1]
    return found[0]


def test_starting_geometries_are_never_within_a_core() -> None:
    assert at.CORE_BOHR < CLOSEST_BOHR


@pytest.mark.parametrize(("factor", "expected"), [(0.99, True), (1.01, False)])
def test_an_atom_charged_within_the_core_of_an_ion_is_noticed(
    factor: float, expected: bool
) -> None:
    distance = factor * at.CORE_BOHR
    job = made_up_job(ATOMS, [2, 0], [[0, 0, 0], [0, 0, distance]], options=QUIET)
    assert lost(job) is expected
    if not expected:
        release = float(run_on_cpu(job).kinetic.sum())
        assert release == pytest.approx(2.0 / distance, rel=0.01)


def test_neutral_atoms_within_each_other_are_fine() -> None:
    place = [[0, 0, 0], [0, 0, 0.1], [0, 0, 5.0]]
    assert not lost(made_up_job([Row(), *ATOMS[1:]], [0, 0, 1], place, options=QUIET))
    # One of them is charged, and an ion far away.
    assert not lost(made_up_job([DECAY, Row(charge=1), Row()], [0, 2, 1], place, options=QUIET))


@pytest.mark.parametrize(("charge", "expected"), [(1, False), (2, True)])
def test_an_electron_given_within_the_core(charge: int, expected: bool) -> None:
    """H + H+ stays a pair of an atom and an ion; H + He2+ becomes a pair of ions."""
    rows = [
        Row(removed=1, binding=0.5),
        Row(charge=1),
        Row(charge=charge, added=3, capture=8.0),
        Row(charge=charge - 1),
    ]
    options = ModelOptions(transfer_time_fs=0.0, until_fs=300.0)
    job = made_up_job(rows, [0, 2], [[0, 0, 0], [0, 0, 0.2]], options=options)
    assert run_on_cpu(job).counts[0, 0, at.TRANSFERS] == 1
    assert lost(job) is expected


def test_atoms_at_the_same_place_end_nothing() -> None:
    job = made_up_job(ATOMS, [2, 0], [[0, 0, 0], [0, 0, 0]], options=QUIET, trajectories=3)
    found = combine(run_on_cpu(job))
    assert (found.total, found.lost) == (0, 3)
    with pytest.raises(ComputationError, match="none of 3 trajectories gave momenta"):
        outcomes_of(found, Geometry(("He", "He"), np.zeros((2, 3))))


WILD = 89948
"""Of a linear molecule at rest: a carbon ion flies exactly through a carbon atom that is ionized at
that moment."""


def wild_job(first: int = WILD - 2, count: int = 5) -> Job:
    found = molecule("cyanogen").geometry
    return prepare(
        found.positions,
        found.symbols,
        Pulse(2000.0),
        ModelOptions(),
        trajectories=count,
        seed=7621456713256010406,
        first_trajectory=first,
    )


def test_a_wild_trajectory_is_lost_and_its_neighbours_are_not() -> None:
    trajectories = run_on_cpu(wild_job())
    assert trajectories.lost.tolist() == [[False, False, True, False, False]]
    assert np.abs(trajectories.momenta[0, 2]).max() > 1e4
    found = molecule("cyanogen").geometry
    outcomes = outcomes_of(combine(trajectories), found, energies_of(trajectories, 0))
    assert (outcomes.trajectories, outcomes.lost) == (4, 1)
    assert outcomes.counts.sum() == outcomes.spectra["ker"].counts.sum() == 4
    assert np.abs(outcomes.momenta).max() < 1500.0
