from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from molexa_core.base.errors import NoEventsError
from molexa_core.base.settings import Frame
from molexa_core.base.tables import Coincidences
from molexa_core.frame.align import align_events
from molexa_core.frame.centroid import centroids, energy_kept
from tests.fakes.momenta import cf4

MOMENTUM, ERROR = ["px", "py", "pz"], ["px_err", "py_err", "pz_err"]


def test_one_row_per_event_gives_the_textbook_error(rng: np.random.Generator) -> None:
    table = Coincidences.of(["O+", "H+"], rng.normal(size=(400, 2, 3)))
    rows = centroids(table)
    np.testing.assert_allclose(rows[MOMENTUM], table.momentum.mean(axis=0))
    np.testing.assert_allclose(rows[ERROR], table.momentum.std(axis=0, ddof=1) / 20.0)
    assert rows["count"].tolist() == [400.0, 400.0]
    assert rows["label"].tolist() == ["O+", "H+"]


def test_repeating_an_event_does_not_make_it_more_precise(rng: np.random.Generator) -> None:
    table = Coincidences.of(["O+", "H+"], rng.normal(size=(50, 2, 3)))
    copies = table.select(np.repeat(np.arange(50), 12))
    copies = dataclasses.replace(copies, weight=np.full(600, 1 / 12))
    one, many = centroids(table), centroids(copies)
    np.testing.assert_allclose(many[MOMENTUM], one[MOMENTUM])
    np.testing.assert_allclose(many[ERROR], one[ERROR])
    assert many["count"].tolist() == [50.0, 50.0]


def test_errors_are_the_scatter_of_repeated_experiments() -> None:
    frame = Frame(reference="F+", second="F+", plane="xz", like="equivalent")
    results = []
    for seed in range(0, 600, 10):
        table = align_events(cf4(60, size=300.0, width=20.0, seed=seed), frame).table
        rows = centroids(table)
        results.append((rows[MOMENTUM].to_numpy(), rows[ERROR].to_numpy()))
    means, errors = (np.stack(part) for part in zip(*results, strict=True))
    scatter, claimed = means.std(axis=0, ddof=1), errors.mean(axis=0)
    # 60 repetitions know a standard deviation to about 9 %; C+ is left out: it averages to zero
    # within each event by symmetry.
    for ion, axis in ((1, 0), (2, 0), (2, 2), (3, 1), (4, 2)):
        assert claimed[ion, axis] == pytest.approx(scatter[ion, axis], rel=0.35)


def test_weights_enter_mean_and_count() -> None:
    momentum = np.zeros((2, 1, 3))
    momentum[1] = 4.0
    table = dataclasses.replace(Coincidences.of(["O+"], momentum), weight=np.array([3.0, 1.0]))
    rows = centroids(table)
    assert rows["px"].tolist() == [1.0]
    assert rows["count"].tolist() == [1.6]


def test_one_event_has_no_error_and_none_is_refused() -> None:
    rows = centroids(Coincidences.of(["O+"], np.ones((1, 1, 3))))
    assert rows["px"].tolist() == [1.0]
    assert rows["px_err"].isna().all()
    with pytest.raises(NoEventsError, match="no events to average"):
        centroids(Coincidences.of(["O+"], np.ones((0, 1, 3))))


def test_labels_carry_the_roles() -> None:
    table = cf4(20, size=300.0, width=5.0, seed=1)
    rows = centroids(align_events(table, Frame(reference="F+", second="F+")).table)
    assert rows["label"].tolist() == [
        "C+",
        "F+ (reference)",
        "F+#2 (second)",
        "F+#3 (lobe 1)",
        "F+#4 (lobe 2)",
    ]


def test_averaging_loses_the_energy_of_the_scatter(rng: np.random.Generator) -> None:
    table = Coincidences.of(["O+", "H+"], rng.normal((3.0, 0, 0), size=(20_000, 2, 3)))
    kept = energy_kept(table)
    assert kept is not None
    # |mean|^2 = 9 of <p^2> = 9 + 3.
    assert abs(kept.ratio - 0.75) < 0.01
    assert kept.low
    assert "reconstruct the events" in kept.sentence
    alike = energy_kept(table.select(np.zeros(5, dtype=np.int64)))
    assert alike is not None
    assert abs(alike.ratio - 1.0) < 1e-12
    assert "reconstruct" not in alike.sentence
    assert energy_kept(table.select(np.zeros(0, dtype=np.int64))) is None
