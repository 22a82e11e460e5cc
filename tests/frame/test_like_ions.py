"""Roles of like ions from all events together: known truths, symmetry, order of hits and events."""

from __future__ import annotations

import numpy as np
import pytest

from molexa_core.base.settings import Frame
from molexa_core.base.tables import Coincidences, FloatArray
from molexa_core.frame.align import align_events
from molexa_core.frame.centroid import centroids, scatter
from molexa_core.frame.like_ions import find_roles
from tests.fakes.momenta import TETRAHEDRON, WATER, shuffled, turned

PYRAMID = np.array([[0.0, 0, 120], [100.0, 0, -40], [-50.0, 86.6025, -40], [-50.0, -86.6025, -40]])
"""Ammonia: N and three equivalent H."""
METHANOL = np.array(
    [
        [200.0, 0, 0],
        [-170.0, 30, 0],
        [60.0, 90, 0],
        [-40.0, -80, 0],
        [-30.0, -20, 75],
        [-30.0, -20, -75],
    ]
)
"""O, C and H of a hydroxyl group and of a methyl group; H 4 and 5 are mirror images."""


def events(mean: FloatArray, like: slice, width: float, count: int, seed: int) -> FloatArray:
    noise = np.random.default_rng(seed).normal(scale=width, size=(count, *mean.shape))
    return shuffled(turned(mean + noise, seed + 1), like, seed + 2)


@pytest.mark.parametrize(
    ("names", "mean", "like", "order"),
    [
        (["O+", "H+", "H+"], WATER, slice(1, 3), 2),
        (["N+", "H+", "H+", "H+"], PYRAMID, slice(1, 4), 3),
        (
            ["C+", "F+", "F+", "F+", "F+"],
            np.vstack([np.zeros(3), 300 * TETRAHEDRON]),
            slice(1, 5),
            12,
        ),
        (["O+", "C+", *["H+"] * 4], METHANOL, slice(2, 6), 1),
    ],
    ids=["water", "ammonia", "cf4", "methanol"],
)
@pytest.mark.parametrize("relative", [0.03, 0.15])
def test_the_symmetry_is_found_and_exact(
    names: list[str], mean: FloatArray, like: slice, order: int, relative: float
) -> None:
    width = relative * float(np.linalg.norm(mean, axis=1).max())
    given = events(mean, like, width, 800, 3)
    roles = find_roles(given, np.ones(len(given)), names)
    assert len(roles.group) == order
    found = roles.choices(given)
    assert np.allclose(np.bincount(found.event, found.share), 1.0)
    share = found.share.reshape(-1, order)
    assert np.array_equal(share, np.repeat(share[:, :1], order, axis=1))
    # Distances between the means of equivalent ions are those of each other.
    apart = np.linalg.norm(roles.mean[:, None] - roles.mean[None], axis=2)
    for one in roles.group:
        assert np.allclose(apart[one][:, one], apart, rtol=1e-6, atol=1e-6 * apart.max())


def test_equivalent_protons_are_not_sorted() -> None:
    """The means of both protons of water are alike, although in each event one is faster."""
    given = events(WATER, slice(1, 3), 12.0, 4000, 5)
    table = Coincidences.of(["O+", "H+", "H+"], given)
    rows = centroids(align_events(table, Frame(reference="O+")).table)
    mean = rows[["px", "py", "pz"]].to_numpy()
    assert np.allclose(mean[1] * [1, -1, 1], mean[2], atol=1e-9)
    sorted_ = align_events(table, Frame(reference="O+", like="equivalent"))
    other = centroids(sorted_.table)[["px", "py", "pz"]].to_numpy()
    assert abs(other[1, 0] - other[2, 0]) > 2.0  # the more orthogonal one is another ion


def test_known_roles_are_recovered_and_means_are_those_of_known_roles() -> None:
    """Means with roles from the events are those with the roles the events were made with."""
    random = np.random.default_rng(8)
    made = METHANOL + random.normal(scale=10.0, size=(3000, 6, 3))
    made -= made.mean(axis=1, keepdims=True)
    order = np.tile(np.arange(6), (len(made), 1))
    order[:, 2:] = random.permuted(order[:, 2:], axis=1)
    mixed = np.take_along_axis(turned(made, 9), order[:, :, None], axis=1)
    names = ["O+", "C+", *["H+"] * 4]
    found = find_roles(mixed, np.ones(len(mixed)), names)
    choices = found.choices(mixed)
    atom = np.take_along_axis(order[choices.event], choices.order, axis=1)
    # One atom for each role, in nearly all events.
    for role in range(6):
        share = np.bincount(atom[:, role], choices.share, minlength=6) / len(mixed)
        assert share.max() > 0.99
    x = made[:, 0] / np.linalg.norm(made[:, 0], axis=1, keepdims=True)
    across = made[:, 2] - (made[:, 2] * x).sum(axis=1, keepdims=True) * x
    y = across / np.linalg.norm(across, axis=1, keepdims=True)
    axes = np.stack([x, y, np.cross(x, y)], axis=1)
    known = np.einsum("exc,enc->enx", axes, made)
    aligned = align_events(
        Coincidences.of(names, mixed), Frame(reference="O+", second="H+"), recoil="keep"
    )
    mean = centroids(aligned.table)[["px", "py", "pz"]].to_numpy()
    assert aligned.summary["assignment"]["second_best"] < 0.01
    nearest = np.linalg.norm(mean[:, None] - known.mean(axis=0)[None], axis=2)
    assert sorted(nearest.argmin(axis=1)) == list(range(6))
    assert nearest.min(axis=1).max() < 0.6  # a seventeenth of the width; sorted: up to the width


def test_neither_the_order_of_hits_nor_of_events_matters() -> None:
    given = events(METHANOL, slice(2, 6), 15.0, 600, 11)
    names = ["O+", "C+", *["H+"] * 4]
    frame = Frame(reference="O+")
    mean = centroids(align_events(Coincidences.of(names, given), frame).table)
    moved = shuffled(turned(given, 12), slice(2, 6), 13)
    moved = moved[np.random.default_rng(14).permutation(len(moved))]
    other = centroids(align_events(Coincidences.of(names, moved), frame).table)
    columns = ["px", "py", "pz"]
    assert np.allclose(mean[columns], other[columns], atol=0.02)


def test_a_second_ion_is_the_same_atom_in_every_event() -> None:
    """Two ions of about the same angle to the reference: event by event the second would change."""
    mean = np.array([[150.0, 0, 0], [-60.0, 100, 0], [-60.0, -40, 90], [-30.0, -60, -90]])
    given = events(mean, slice(1, 1), 20.0, 1500, 17)
    names = ["O+", "C+", "N+", "F+"]
    table = Coincidences.of(names, given)
    fixed = align_events(table, Frame(reference="O+"), recoil="keep")
    second = fixed.roles.index("second")
    assert (fixed.table.momentum[:, second, 2] == 0.0).all()
    each = align_events(table, Frame(reference="O+", like="equivalent"), recoil="keep")
    assert (each.table.momentum[:, 1:, 2] == 0.0).any(axis=0).sum() > 1


def nearest(mean: FloatArray) -> float:
    """Distance of the two H that are nearest to each other."""
    apart = np.linalg.norm(mean[2:, None] - mean[None, 2:], axis=2)
    return float(apart[np.triu_indices(4, 1)].min())


def test_overlapping_roles_are_neither_sorted_nor_pulled_together() -> None:
    """Two ions 2.9 widths apart: the best assignment of each event would push them apart."""
    mean, width = METHANOL.copy(), 14.0
    mean[4:, 2] = [20.0, -20.0]
    given = events(mean, slice(2, 6), width, 4000, 19)
    names = ["O+", "C+", *["H+"] * 4]
    roles = find_roles(given, np.ones(len(given)), names)
    assert len(roles.group) == 1
    found = roles.choices(given)
    told = roles.decided(found, np.ones(len(given)))
    assert told.second_best > 0.01
    assert told.undecided > told.second_best
    turned_ = found.turned(given)
    means = np.einsum("r,raj->aj", found.share, turned_) / len(given)
    apart = nearest(means)
    first = np.flatnonzero(np.diff(found.event, prepend=-1))
    top = np.array([part.argmax() for part in np.split(found.share, first[1:])]) + first
    best = turned_[top].mean(axis=0)
    assert abs(apart - 40.0) < 1.0
    assert nearest(best) > apart + 0.15


def test_false_coincidences_do_not_decide_the_roles() -> None:
    given = events(METHANOL, slice(2, 6), 10.0, 900, 29)
    random = np.random.default_rng(30)
    other = given[random.integers(0, 900, 600)]
    strange = np.where(random.random((600, 6, 1)) < 0.4, given[random.integers(0, 900, 600)], other)
    both = np.concatenate([given, strange - strange.mean(axis=1, keepdims=True)])
    names = ["O+", "C+", *["H+"] * 4]
    clean = find_roles(given, np.ones(900), names)
    mixed = find_roles(both, np.ones(1500), names)
    assert len(mixed.group) == len(clean.group) == 1
    told = mixed.decided(mixed.choices(given), np.ones(900))
    assert told.second_best < 0.005


def test_one_event_and_events_without_weight() -> None:
    table = Coincidences.of(["O+", "H+", "H+"], events(WATER, slice(1, 3), 5.0, 1, 23))
    aligned = align_events(table, Frame(reference="O+"))
    assert aligned.summary["aligned"] == 1
    assert np.isclose(aligned.table.weight.sum(), 1.0)


def test_scatter_is_that_of_single_events_whatever_the_number_of_assignments() -> None:
    """Both assignments of water lower the errors of the means, not the scatter of the events."""
    made = WATER + np.random.default_rng(31).normal(scale=8.0, size=(4000, 3, 3))
    given = shuffled(turned(made, 32), slice(1, 3), 33)
    frame = Frame(reference="O+", second="H+")
    both = align_events(Coincidences.of(["O+", "H+", "H+"], given), frame, recoil="keep").table
    assert len(both) == 2 * len(given)
    one = both.select(np.arange(0, len(both), 2))
    assert np.allclose(scatter(both)[0], scatter(one)[0], rtol=1e-9)
    assert np.allclose(np.sum(np.square(scatter(both))), np.sum(np.square(scatter(one))), rtol=0.02)
    errors = centroids(both)[["px_err", "py_err", "pz_err"]].to_numpy()
    naive = np.array(scatter(both)) / np.sqrt(len(given))
    assert np.sqrt(np.square(errors).mean(axis=1))[1] < 0.9 * naive[1]
