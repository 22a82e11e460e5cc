from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from molexa_core.base.errors import NoEventsError
from molexa_core.base.fields import TAG_SHOT
from molexa_core.base.subtraction import true_mean
from molexa_core.base.tables import Coincidences
from molexa_core.frame.centroid import centroids, energy_kept
from molexa_core.frame.maps import kinetic_energy_release, newton_map
from molexa_core.observables.gating import select_where

IONS = ("O+", "H+", "H+")
TRUE = np.array([[60.0, 0.0, 0.0], [-30.0, 20.0, 5.0], [-30.0, -20.0, -5.0]])


def contaminated(rng: np.random.Generator, scale_error: float = 0.0) -> Coincidences:
    """600 true events around `TRUE`, 400 false ones without a preferred direction."""
    n_true, n_false = rng.poisson(600), rng.poisson(400)
    true = TRUE + rng.normal(0.0, 8.0, (n_true, 3, 3))
    false, mixed = (rng.normal(0.0, 40.0, (n, 3, 3)) for n in (n_false, 3200))
    n = n_true + n_false
    meta = {
        "summary": {"shots": 10**6, "false": {"scale": 1.0, "scale_error": scale_error}},
    }
    source = 10**6 + np.arange(3200)[:, None] * 3 + np.arange(3)
    of_false = Coincidences.of(IONS, mixed, tags={TAG_SHOT: source[:, 0]})
    of_false = replace(of_false, source=source, weight=np.full(3200, 400 / 3200))
    table = Coincidences.of(
        IONS, np.concatenate([true, false]), tags={TAG_SHOT: np.arange(n)}, meta=meta
    )
    return replace(table, false=of_false)


def test_means_and_energy_are_those_of_the_true_events() -> None:
    pulls, energies = [], []
    for seed in range(60):
        table = contaminated(np.random.default_rng(seed))
        rows = centroids(table)
        means = rows[["px", "py", "pz"]].to_numpy()
        errors = rows[["px_err", "py_err", "pz_err"]].to_numpy()
        pulls.append((means - TRUE) / errors)
        kept = energy_kept(table)
        assert kept is not None
        energies.append(kept.mean)
    pulls_array = np.array(pulls)
    assert np.abs(pulls_array.mean(axis=0)).max() < 4.0 / np.sqrt(60)
    assert pulls_array.std() == pytest.approx(1.0, abs=0.12)
    mass = np.array([ion.mass for ion in table.ions])
    expected = ((np.square(TRUE).sum(axis=1) + 3 * 64.0) / (2 * mass)).sum() * 27.2114
    assert np.mean(energies) == pytest.approx(expected, abs=4.0 * np.std(energies) / np.sqrt(60))


def test_an_uncertain_normalisation_adds_to_the_errors() -> None:
    sure, unsure = (contaminated(np.random.default_rng(1), error) for error in (0.0, 0.2))
    flat = sure.momentum.reshape(len(sure), -1)
    assert sure.false is not None
    false = sure.false.momentum.reshape(3200, -1)
    one, other = true_mean(sure, flat, false), true_mean(unsure, flat, false)
    np.testing.assert_allclose(one.mean, other.mean)
    added = np.sqrt(other.number_error**2 - one.number_error**2)
    assert added == pytest.approx(0.2 * 400)
    assert other.error[0] > 1.2 * one.error[0]
    assert centroids(unsure)["px_err"][0] == pytest.approx(other.error[0])


def test_spectra_and_maps_hold_what_is_left() -> None:
    table = contaminated(np.random.default_rng(2))
    release = kinetic_energy_release(table)
    assert release.errors is not None
    assert release.counts.sum() == pytest.approx(600, abs=5 * np.sqrt(1000))
    plain = kinetic_energy_release(replace(table, false=None))
    assert (release.errors**2 >= plain.counts - 1e-9).all()
    assert release.marks["mean"] < plain.marks["mean"]
    full, left = newton_map(replace(table, false=None), limit=400.0), newton_map(table, limit=400.0)
    assert full.counts.sum() - left.counts.sum() == pytest.approx(3 * 400, rel=1e-6)


def test_gates_act_on_both() -> None:
    table = contaminated(np.random.default_rng(3))
    kept = select_where(table, "px(O+) > 0")
    assert kept.false is not None
    assert (kept.momentum[:, 0, 0] > 0).all()
    assert (kept.false.momentum[:, 0, 0] > 0).all()
    assert kept.false.weight.sum() == pytest.approx(200, rel=0.1)


def test_the_count_is_never_above_that_of_the_true_coincidences() -> None:
    """Half of the shots hold a coincidence: their number scatters less than its square root."""
    rng = np.random.default_rng(6)
    shots, few = 4000, 4
    n = shots // 2
    meta = {"summary": {"shots": shots, "false": {"scale": 1.0, "scale_error": 0.0}}}
    source = rng.integers(0, shots, (few, 3))
    false = Coincidences.of(IONS, rng.normal(0.0, 40.0, (few, 3, 3)), tags={TAG_SHOT: source[:, 0]})
    false = replace(false, source=source, weight=np.ones(few))
    momentum = TRUE + rng.normal(0.0, 5.0, (n, 3, 3))
    table = Coincidences.of(IONS, momentum, tags={TAG_SHOT: np.arange(n)}, meta=meta)
    count = centroids(replace(table, false=false))["count"]
    assert (count <= n - few).all()
    assert (count > 0.9 * n).all()


def test_where_all_is_false_there_is_no_mean() -> None:
    table = contaminated(np.random.default_rng(4))
    false_only = table.select(np.arange(len(table)) >= len(table) - 400)
    with pytest.raises(NoEventsError, match="true coincidences"):
        centroids(false_only)
