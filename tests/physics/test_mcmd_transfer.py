"""Electron transfer over the barrier: closed forms of the isolated pair, rates, conservation."""

from __future__ import annotations

import math

import pytest

from molexa_core.base.forward_model import ModelOptions, Pulse
from molexa_core.physics.mcmd import state as at
from molexa_core.physics.mcmd.plain import run_plain
from molexa_core.physics.mcmd.trajectories import run_on_cpu
from tests.fakes.made_up_atoms import Row, made_up_job

HEAVY = 1e9
"""Mass in dalton of atoms that do not move."""


def pair(donor_charge: int, acceptor_charge: int, binding: float, capture: float) -> list[Row]:
    return [
        Row(charge=donor_charge, removed=1, binding=binding),
        Row(charge=donor_charge + 1),
        Row(charge=acceptor_charge, added=3, capture=capture),
        Row(charge=acceptor_charge - 1),
    ]


def transfers(rows: list[Row], distance: float, rule: str) -> int:
    """Transfers between a donor (row 0) and an acceptor (row 2) held at a distance."""
    options = ModelOptions(transfer=rule, transfer_time_fs=0.0, until_fs=10.0, step_fs=1.0)
    x = [[0, 0, 0], [distance, 0, 0]]
    job = made_up_job(rows, [0, 2], x, masses_da=[HEAVY, HEAVY], options=options)
    found = run_on_cpu(job, workers=1)
    assert run_plain(job).charges.tolist() == found.charges.tolist()
    return int(found.counts[0, 0, at.TRANSFERS])


@pytest.mark.parametrize("rule", ["full", "pair"])
@pytest.mark.parametrize(("donor", "acceptor"), [(0, 1), (0, 12), (2, 5)])
def test_electrons_go_within_the_critical_distance(rule: str, donor: int, acceptor: int) -> None:
    binding = 0.5
    critical = ((donor + 1) + 2.0 * math.sqrt((donor + 1) * acceptor)) / binding
    rows = pair(donor, acceptor, binding, capture=5.0)
    assert transfers(rows, critical * 0.999, rule) == 1
    assert transfers(rows, critical * 1.001, rule) == 0


def test_critical_distances_of_hydrogen() -> None:
    binding = 13.598 / 27.2114
    for charge, angstrom in ((1, 3.2), (2, 4.1), (4, 5.3), (8, 7.1), (12, 8.4)):
        rows = pair(0, charge, binding, capture=5.0)
        assert transfers(rows, (angstrom - 0.06) / 0.529177, "neutral") == 1
        assert transfers(rows, (angstrom + 0.06) / 0.529177, "neutral") == 0


@pytest.mark.parametrize(
    ("rule", "donors"), [("none", ()), ("neutral", (0,)), ("low", (0, 1)), ("full", (0, 1, 2))]
)
def test_which_atoms_give_electrons(rule: str, donors: tuple[int, ...]) -> None:
    for charge in range(3):
        rows = pair(charge, 9, binding=0.6, capture=30.0)
        assert transfers(rows, 4.0, rule) == (1 if charge in donors else 0)


def test_electrons_only_go_down() -> None:
    # Level of the donor -0.5 - 3/R; after it -capture - 1/R: at R = 4 equal for capture = 1.
    assert transfers(pair(0, 3, 0.5, capture=0.99), 4.0, "full") == 0
    assert transfers(pair(0, 3, 0.5, capture=1.01), 4.0, "full") == 1


def test_no_electron_goes_where_there_is_no_room() -> None:
    rows = pair(0, 5, 0.5, capture=5.0)
    rows[2] = Row(charge=5)
    assert transfers(rows, 3.0, "full") == 0


def test_the_deepest_place_wins() -> None:
    rows = [*pair(0, 3, 0.5, capture=3.0), Row(charge=3, added=5, capture=4.0), Row(charge=2)]
    options = ModelOptions(transfer="neutral", transfer_time_fs=0.0, until_fs=10.0)
    x = [[0, 0, 0], [3.0, 0, 0], [-3.0, 0, 0]]
    job = made_up_job(rows, [0, 2, 4], x, masses_da=[HEAVY] * 3, options=options)
    assert run_on_cpu(job, workers=1).charges[0, 0].tolist() == [1, 3, 2]


def test_the_field_of_a_third_ion_lowers_the_barrier() -> None:
    rows = [*pair(0, 1, 0.5, capture=5.0), Row(charge=6)]
    critical = (1.0 + 2.0) / 0.5
    x = [[0, 0, 0], [critical * 1.15, 0, 0], [critical * 1.15 / 2, 4.0, 0]]
    moved = {}
    for rule in ("full", "pair"):
        options = ModelOptions(transfer=rule, transfer_time_fs=0.0, until_fs=10.0)
        job = made_up_job(rows, [0, 2, 4], x, masses_da=[HEAVY] * 3, options=options)
        moved[rule] = int(run_on_cpu(job, workers=1).counts[0, 0, at.TRANSFERS])
    assert moved == {"full": 1, "pair": 0}


def test_waiting_times_are_exponential() -> None:
    # The acceptor decays at a known rate into a state without room: the share of electrons that
    # came in time is that of two competing exponentials.
    rate = 1.0 / 40.0
    rows = [
        *pair(0, 5, 0.5, capture=5.0)[:2],
        Row(charge=5, added=3, capture=5.0, moves=[(4, at.FLUORESCENCE, rate, 1.0)]),
        Row(charge=4),
        Row(charge=5),
    ]
    options = ModelOptions(
        transfer="neutral", transfer_time_fs=1.0, step_fs=0.02, growth=0.005, until_fs=20.0
    )
    job = made_up_job(
        rows,
        [0, 2],
        [[0, 0, 0], [3.0, 0, 0]],
        masses_da=[HEAVY, HEAVY],
        options=options,
        trajectories=4000,
        pulse=Pulse(1000.0, duration_fs=0.5),
    )
    found = run_on_cpu(job, workers=1)
    share = float((found.counts[0, :, at.TRANSFERS] == 1).mean())
    expected = 1.0 / (1.0 + rate * options.transfer_time)
    assert share == pytest.approx(expected, abs=4.0 * math.sqrt(0.25 / 4000))
