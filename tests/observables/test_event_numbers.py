"""Numbers of events: false coincidences subtracted, several rows of a coincidence counted once."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from molexa_core.base.matter.ions import parse_ion
from molexa_core.base.tables import Coincidences
from molexa_core.base.units import HARTREE_EV
from molexa_core.observables.event_numbers import mean_of, number_of

IONS = tuple(parse_ion(name) for name in ("O+", "H+", "H+"))


def drawn(random: np.random.Generator, count: int, size: float, first: int = 0) -> Coincidences:
    momentum = size * random.normal(size=(count, 3, 3))
    return Coincidences.of(IONS, momentum, event_id=first + np.arange(count, dtype=np.int64))


def with_false(random: np.random.Generator, true: int, false: int, mixed: int) -> Coincidences:
    """True coincidences of size 10, and false ones of size 20; mixed ones stand for half a one."""
    real, wrong = drawn(random, true, 10.0), drawn(random, false, 20.0, first=true)
    built = replace(
        drawn(random, mixed, 20.0),
        weight=np.full(mixed, 0.5),
        source=np.arange(3 * mixed, dtype=np.int64).reshape(-1, 3) + 10**6,
    )
    return replace(
        real,
        event_id=np.concatenate([real.event_id, wrong.event_id]),
        momentum=np.concatenate([real.momentum, wrong.momentum]),
        weight=np.concatenate([real.weight, wrong.weight]),
        false=built,
    )


def exchanged(table: Coincidences) -> Coincidences:
    """As aligned: one row of half the weight for each way to name the two protons."""

    def both(one: Coincidences) -> Coincidences:
        swapped = one.momentum[:, [0, 2, 1]]
        return replace(
            one,
            event_id=np.tile(one.event_id, 2),
            momentum=np.concatenate([one.momentum, swapped]),
            weight=0.5 * np.tile(one.weight, 2),
            source=None if one.source is None else np.tile(one.source, (2, 1)),
            meta=one.meta | {"align": {}},
            false=None if one.false is None else both(one.false),
        )

    return both(table)


def test_several_rows_of_a_coincidence_change_nothing() -> None:
    for false in (0, 200):
        table = with_false(np.random.default_rng(1), 1000, 200, 400)
        table = table if false else drawn(np.random.default_rng(2), 1000, 10.0)
        twice = exchanged(table)
        assert number_of(twice) == pytest.approx(number_of(table))
        assert mean_of(twice, "ker") == pytest.approx(mean_of(table, "ker"))


def test_numbers_scatter_as_their_errors_say() -> None:
    pulls = []
    mass = np.array([ion.mass for ion in IONS])
    truth = float((3 * 10.0**2 / (2 * mass)).sum()) * HARTREE_EV
    for seed in range(200):
        random = np.random.default_rng([7, seed])
        counts = (int(random.poisson(mean)) for mean in (1000, 200, 400))
        table = with_false(random, *counts)
        number, energy = number_of(table), mean_of(table, "ker")
        assert energy is not None
        assert energy[1] is not None
        pulls.append([(number[0] - 1000) / number[1], (energy[0] - truth) / energy[1]])
    pulls_of = np.array(pulls)
    assert np.abs(pulls_of.mean(axis=0)).max() < 3.0 / np.sqrt(200)
    assert np.abs(pulls_of.std(axis=0) - 1.0).max() < 3.0 / np.sqrt(400)


def test_few_events_have_no_error_and_none_have_no_mean() -> None:
    few = drawn(np.random.default_rng(3), 10, 10.0)
    found = mean_of(few, "ker")
    assert found is not None
    assert found[1] is None
    assert mean_of(few.select(np.zeros(10, dtype=bool)), "ker") is None
