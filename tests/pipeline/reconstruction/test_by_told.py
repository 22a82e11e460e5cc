"""Structures from weights told the experiment, without refinement: their own error bars."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from molexa_core.base.known_explosion import LaserExplosion
from molexa_core.base.settings import Explosion
from molexa_core.base.storage.provenance import Provenance
from molexa_core.base.uncertain import Uncertain
from molexa_core.geometry.measures import pair_distances
from molexa_core.io.results.channel_csv import write_channel_csv
from molexa_core.network.card import ModelCard
from molexa_core.network.network import Network
from molexa_core.network.weights import DEFAULT, read_card
from molexa_core.physics.molecules.library import molecule
from molexa_core.pipeline.explosions.simulate import simulate
from molexa_core.pipeline.reconstruction.by_told import (
    DRAWS,
    EVENT_BY_EVENT,
    errors_of_means,
    widened,
)
from molexa_core.pipeline.reconstruction.reconstruct import reconstruct
from tests.fakes.networks import small_settings

LASER = Explosion.of(LaserExplosion(duration_fs=Uncertain(30.0)))


@pytest.fixture(scope="module")
def loaded() -> tuple[Network, ModelCard]:
    """A small network that was not trained."""
    torch.manual_seed(3)
    settings = replace(small_settings("atoms"), told=True)
    card, _ = read_card(DEFAULT)
    stored = replace(card, name="told", network=settings, calibration={})
    return Network(settings).eval(), stored


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return simulate(molecule("water").geometry, ["O+", "H+", "H+"], tau_fs=45.0).table


def test_error_bars_are_those_of_the_samples(
    loaded: tuple[Network, ModelCard], table: pd.DataFrame
) -> None:
    record = reconstruct(table, network=loaded, explosion=LASER, refined=False)
    assert record.samples_bohr is not None
    assert len(record.samples_bohr) == DRAWS
    lengths = pair_distances(record.samples_bohr)
    low, median, high = np.quantile(lengths, [0.15865, 0.5, 0.84135], axis=0)
    for n, row in enumerate(record.distances):
        size = float(high[n] - low[n])
        assert row["median"] == pytest.approx(median[n], abs=0.05 * size)
        assert row["half_width"] == pytest.approx(0.5 * size, rel=0.1)
    assert record.uncertainty_bohr is not None
    # The answer is one of the samples, in the middle of their distances.
    answer = pair_distances(record.positions_bohr[None])[0]
    away = np.square(lengths - median).sum(axis=1)
    assert np.square(answer - median).sum() == pytest.approx(away.min(), rel=0.05)


def test_frame_of_the_momenta_does_not_matter(
    loaded: tuple[Network, ModelCard], table: pd.DataFrame
) -> None:
    turned = table.copy()
    turned[["px", "py", "pz"]] = table[["py", "pz", "px"]].to_numpy()
    one, other = (
        reconstruct(some, network=loaded, explosion=LASER, refined=False)
        for some in (table, turned)
    )
    for a, b in zip(one.distances, other.distances, strict=True):
        assert a["median"] == pytest.approx(b["median"], rel=1e-3)


def test_without_error_bars_the_reason_is_told(
    loaded: tuple[Network, ModelCard], table: pd.DataFrame
) -> None:
    strange = table.copy()
    strange[["px", "py", "pz"]] *= 4.0  # as if in another unit
    record = reconstruct(strange, network=loaded, explosion=LASER, refined=False)
    assert record.uncertainty_bohr is None
    assert "no error bars" in str(record.uncertainty_reason)
    assert all(row["half_width"] is None for row in record.distances)


def test_means_over_events_with_like_ions_carry_the_measured_factor(
    loaded: tuple[Network, ModelCard], table: pd.DataFrame
) -> None:
    """The samples are the same; only what is claimed of them is wider, and says why."""
    over_events = table.assign(count=1000.0)
    record = reconstruct(over_events, network=loaded, explosion=LASER, refined=False)
    assert record.closure["widened"]["factor"] == EVENT_BY_EVENT
    assert record.samples_bohr is not None
    assert record.uncertainty_bohr is not None
    lengths = pair_distances(record.samples_bohr)
    low, high = np.quantile(lengths, [0.15865, 0.84135], axis=0)
    for n, row in enumerate(record.distances):
        assert row["half_width"] == pytest.approx(
            0.5 * EVENT_BY_EVENT * (high[n] - low[n]), rel=0.1
        )
        assert row["low"] < low[n] < high[n] < row["high"]
    coordinates = record.samples_bohr.reshape(len(record.samples_bohr), -1)
    ends = np.quantile(coordinates, [0.15865, 0.84135], axis=0)
    expected = 0.5 * EVENT_BY_EVENT * (ends[1] - ends[0])
    assert record.uncertainty_bohr.ravel() == pytest.approx(expected, rel=0.1, abs=1e-3)


@pytest.mark.parametrize(("like", "wider"), [("measured", False), ("distinct", True)])
def test_same_roles_in_all_events_need_no_factor(
    loaded: tuple[Network, ModelCard], table: pd.DataFrame, like: str, wider: bool
) -> None:
    over_events = table.assign(count=1000.0)
    over_events.attrs["frame"] = {"reference": "O+", "like": like}
    record = reconstruct(over_events, network=loaded, explosion=LASER, refined=False)
    assert ("widened" in record.closure) == wider


def test_errors_told_to_the_network_are_the_scatter_of_events(table: pd.DataFrame) -> None:
    some = table.assign(count=400.0)
    errors = np.full((3, 3), 0.1)
    assert errors_of_means(some, errors) == pytest.approx([0.1, 0.1, 0.1])
    some.attrs["energy"] = {"scatter_au": [2.0, 4.0, 6.0]}
    assert errors_of_means(some, errors) == pytest.approx([0.1, 0.2, 0.3])
    some.attrs["energy"] = {"scatter_au": [2.0, 4.0]}
    assert errors_of_means(some, errors) == pytest.approx([0.1, 0.1, 0.1])
    assert errors_of_means(some, None) is None


def test_a_file_says_how_its_frames_were_made(
    loaded: tuple[Network, ModelCard], table: pd.DataFrame, tmp_path: Path
) -> None:
    for like, wider in (("measured", False), ("equivalent", True)):
        frame = {"reference": "O+", "second": None, "plane": "xy", "like": like}
        path = tmp_path / f"{like}.csv"
        record = Provenance.of(settings={"frame": frame})
        write_channel_csv(path, table.assign(count=1000.0), record)
        found = reconstruct(path, network=loaded, explosion=LASER, refined=False)
        assert ("widened" in found.closure) == wider


def test_ions_of_different_kinds_are_not_widened(loaded: tuple[Network, ModelCard]) -> None:
    table = simulate(molecule("ocs").geometry, ["O+", "C+", "S+"], tau_fs=45.0).table
    record = reconstruct(table.assign(count=1000.0), network=loaded, explosion=LASER, refined=False)
    assert "widened" not in record.closure


def test_parts_of_a_region_that_meet_become_one_and_limits_hold() -> None:
    row = {"of": "a", "median": 20.0, "half_width": 16.0, "low": 4.0, "high": 176.0}
    row["region"] = [[1.0, 9.0], [10.0, 14.0], [160.0, 179.0]]  # type: ignore[assignment]
    none = {"of": "b", "median": 1.0, "half_width": None, "low": None, "high": None}
    first, second = widened([row, none], 180.0)
    assert second == none
    assert first["half_width"] == pytest.approx(EVENT_BY_EVENT * 16.0)
    assert first["low"] == 0.0
    assert first["high"] == 180.0
    # Of each part the half-width about its middle.
    ends = [12.0 + 2.0 * EVENT_BY_EVENT, 169.5 - 9.5 * EVENT_BY_EVENT]
    assert np.ravel(first["region"]).tolist() == pytest.approx([0.0, *ends, 180.0])
