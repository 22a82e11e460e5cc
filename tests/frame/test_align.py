from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from molexa_core.base.errors import NoEventsError, UnknownIonError, UsageError
from molexa_core.base.settings import Frame, load_channel
from molexa_core.base.tables import Coincidences
from molexa_core.frame.align import Flag, align_events, heaviest_frame
from molexa_core.frame.axes import rows_of_axes, without_recoil
from molexa_core.frame.centroid import centroids
from tests.fakes.momenta import TETRAHEDRON, WATER, cf4, shuffled, turned

WATER_IONS = ("O+", "H+", "H+")
WATER_FRAME = Frame(reference="O+", second="H+", plane="xz")
CF4_FRAME = Frame(reference="F+", second="F+", plane="xz")
ETHANOL_FRAME = Frame(reference="O+", second="C+", plane="xy", like="distinct")
ETHANOL_IONS = ("O+", "C+", "C+", *["H+"] * 6)
ETHANOL = np.array(
    [
        [250.0, 0.0, 0.0],
        [-10.0, 120.0, 0.0],
        [-200.0, -80.0, 0.0],
        [80.0, -40.0, 0.0],
        [10.0, 50.0, 70.0],
        [10.0, 50.0, -70.0],
        [-60.0, -100.0, 0.0],
        [-90.0, 10.0, 65.0],
        [-90.0, 10.0, -65.0],
    ]
)


def water(events: int, width: float, seed: int) -> Coincidences:
    noise = np.random.default_rng(seed).normal(scale=width, size=(events, 3, 3))
    momentum = shuffled(turned(WATER + noise, seed + 1), slice(1, 3), seed + 2)
    return Coincidences.of(WATER_IONS, momentum)


def ethanol(events: int, width: float, seed: int) -> Coincidences:
    noise = np.random.default_rng(seed).normal(scale=width, size=(events, 9, 3))
    momentum = turned(ETHANOL + noise, seed + 1)
    momentum = shuffled(shuffled(momentum, slice(3, 9), seed + 2), slice(1, 3), seed + 3)
    return Coincidences.of(ETHANOL_IONS, momentum)


@given(st.integers(0, 10**6), st.sampled_from(["xy", "xz"]))
@settings(max_examples=30, deadline=None)
def test_axes_are_right_handed_and_hold_the_second_in_the_plane(seed: int, plane: str) -> None:
    one, two = np.random.default_rng(seed).normal(size=(2, 4, 3))
    axes = rows_of_axes(one, two, plane)  # type: ignore[arg-type]
    np.testing.assert_allclose(
        axes @ axes.transpose(0, 2, 1), np.tile(np.eye(3), (4, 1, 1)), atol=1e-12
    )
    np.testing.assert_allclose(np.linalg.det(axes), 1.0)
    first, second = np.einsum("nij,nj->ni", axes, one), np.einsum("nij,nj->ni", axes, two)
    np.testing.assert_allclose(first[:, 1:], 0.0, atol=1e-12)
    inside, outside = (1, 2) if plane == "xy" else (2, 1)
    np.testing.assert_allclose(second[:, outside], 0.0, atol=1e-12)
    assert (second[:, inside] > 0).all()


def test_recoil_is_shared_by_mass_and_the_sum_becomes_zero(rng: np.random.Generator) -> None:
    mass, momentum = np.array([1.0, 16.0, 12.0]), rng.normal(size=(50, 3, 3))
    drift = rng.normal(size=(50, 1, 3))
    centred = without_recoil(momentum, mass)
    np.testing.assert_allclose(centred.sum(axis=1), 0.0, atol=1e-12)
    boosted = without_recoil(momentum + mass[:, None] * drift, mass)
    np.testing.assert_allclose(boosted, centred, atol=1e-12)


@pytest.mark.parametrize(
    ("table", "frame"),
    [
        (water(60, 4.0, 1), WATER_FRAME),
        (cf4(60, size=300.0, width=20.0, seed=1), CF4_FRAME),
        (ethanol(60, 6.0, 1), ETHANOL_FRAME),
        (ethanol(60, 6.0, 1), heaviest_frame(ethanol(1, 0.0, 1).ions)),
    ],
    ids=["water", "cf4", "ethanol", "most orthogonal"],
)
def test_nothing_depends_on_orientation_or_on_the_order_of_like_ions(
    table: Coincidences, frame: Frame
) -> None:
    names = [str(ion) for ion in table.ions]
    other = turned(table.momentum, 77)
    for kind in set(names):
        start = names.index(kind)
        other = shuffled(other, slice(start, start + names.count(kind)), 78)
    first = align_events(table, frame)
    second = align_events(Coincidences.of(table.ions, other), frame)

    def rows(table: Coincidences) -> np.ndarray:
        # The rows of one event come in the order of the input ions: compare them as a set.
        flat = np.round(table.momentum.reshape(len(table), -1), 6) + 0.0
        return flat[np.lexsort([*flat.T[::-1], table.event_id])]

    np.testing.assert_allclose(rows(first.table), rows(second.table), atol=1e-5)
    assert first.roles == second.roles


def test_the_order_of_events_does_not_matter() -> None:
    table = ethanol(300, 6.0, 2)
    order = np.random.default_rng(3).permutation(len(table))
    first = align_events(table, ETHANOL_FRAME).table.momentum
    second = align_events(table.select(order), ETHANOL_FRAME).table.momentum
    np.testing.assert_allclose(second, first[order], atol=1e-9)


def test_every_event_has_the_same_weight_and_distances_are_kept() -> None:
    table = cf4(40, size=300.0, width=15.0, seed=4)
    aligned = align_events(table, CF4_FRAME, recoil="keep").table
    assert len(aligned) == 12 * len(table)
    np.testing.assert_allclose(np.bincount(aligned.event_id, weights=aligned.weight), 1.0)
    np.testing.assert_allclose(
        aligned.kinetic_energy().sum(axis=1), np.repeat(table.kinetic_energy().sum(axis=1), 12)
    )
    # Proper rotations: the handedness of C and the first three F in each row is one of the input's.
    volume = np.linalg.det(aligned.momentum[:, 1:4])
    np.testing.assert_allclose(
        np.unique(np.round(np.abs(volume), 3)),
        np.unique(
            np.round(
                [
                    abs(np.linalg.det(np.delete(event[1:], left, axis=0)))
                    for event in table.momentum
                    for left in range(4)
                ],
                3,
            )
        ),
        rtol=1e-6,
    )


def test_cf4_centroids_are_unbiased_and_fastest_first_is_not() -> None:
    size, width = 300.0, 15.0
    table = cf4(20000, size=size, width=width, seed=5)
    aligned = align_events(table, CF4_FRAME, recoil="keep")
    rows = centroids(aligned.table)
    mean, error = (
        rows[["px", "py", "pz"]].to_numpy(),
        rows[["px_err", "py_err", "pz_err"]].to_numpy(),
    )

    # Closed form to second order in width / size: a frame fixed to the ion along x makes that one
    # longer by width^2 / size and shrinks the projection of the others on it by the same fraction.
    fraction = (width / size) ** 2
    assert abs(mean[1, 0] - size * (1 + fraction)) < 4 * error[1, 0]
    for ion in (2, 3, 4):
        assert abs(mean[ion, 0] + size / 3 * (1 - fraction)) < 4 * error[ion, 0]
    # Within the second order, the centroids are the tetrahedron.
    axes = rows_of_axes(size * TETRAHEDRON[[0]], size * TETRAHEDRON[[1]], "xz")[0]
    ideal = size * TETRAHEDRON @ axes.T
    assert np.abs(mean[[1, 2]] - ideal[:2]).max() < 1.5 * fraction * size
    left = ideal[2:][np.argsort(-ideal[2:, 1])]
    found = mean[3:][np.argsort(-mean[3:, 1])]
    assert np.abs(found - left).max() < 1.5 * fraction * size
    np.testing.assert_allclose(np.linalg.norm(mean[1:], axis=1), size, rtol=2 * fraction)

    # The fastest F+ as x, the next fastest in the plane: longer by about one width (the mean of
    # the largest of four normal deviates is 1.03), twenty times the second-order shift.
    fastest = np.argsort(-np.linalg.norm(table.momentum[:, 1:], axis=2), axis=1)[:, 0] + 1
    naive = np.linalg.norm(table.momentum[np.arange(len(table)), fastest], axis=1).mean()
    assert naive - size > 0.9 * width
    assert naive - size > 15 * abs(mean[1, 0] - size)


def test_water_lies_in_the_xz_plane_and_sums_to_zero() -> None:
    aligned = align_events(water(500, 3.0, 6), WATER_FRAME)
    momentum = aligned.table.momentum
    assert aligned.roles == ("reference", "second", "other")
    np.testing.assert_allclose(momentum.sum(axis=1), 0.0, atol=1e-9)
    assert (momentum[:, 0, 0] > 0).all()
    assert (momentum[:, 0, 1:] == 0).all()
    assert (momentum[:, 1, 1] == 0).all()
    assert (momentum[:, 1, 2] > 0).all()
    # Both protons enter as second: their centroids are mirror images in z.
    mean = centroids(aligned.table)[["px", "py", "pz"]].to_numpy()
    np.testing.assert_allclose(mean[1] * [1, 1, -1], mean[2], atol=1e-9)


def test_exact_ethanol_comes_back_as_it_was() -> None:
    aligned = align_events(ethanol(30, 0.0, 7), ETHANOL_FRAME, recoil="keep")
    mean = aligned.table.momentum.mean(axis=0)
    np.testing.assert_allclose(mean[:3], ETHANOL[:3], atol=1e-9)
    distance = np.linalg.norm(mean[3:, None] - ETHANOL[None, 3:], axis=2)
    assert sorted(np.argmin(distance, axis=1)) == list(range(6))
    assert distance.min(axis=1).max() < 1e-9
    assert aligned.roles[:3] == ("reference", "second", "other")
    assert aligned.roles[3:] == tuple(f"lobe {number}" for number in range(1, 7))


def test_six_like_ions_with_spread_keep_their_lobes() -> None:
    width = 12.0
    aligned = align_events(ethanol(3000, width, 8), ETHANOL_FRAME, recoil="keep")
    rows = centroids(aligned.table)
    mean = rows[["px", "py", "pz"]].to_numpy()
    distance = np.linalg.norm(mean[3:, None] - ETHANOL[None, 3:], axis=2)
    assert sorted(np.argmin(distance, axis=1)) == list(range(6))
    # second order of the frame: (12 / 120)^2 of about 120 a.u., and statistics
    assert distance.min(axis=1).max() < 2.0


def test_the_second_is_the_more_orthogonal_one_whatever_its_size() -> None:
    momentum = np.array([[[10.0, 0, 0], [0.0, 1.0, 0], [-30.0, 5.0, 9.0]]])
    aligned = align_events(
        Coincidences.of(["O+", "C+", "C+"], momentum),
        Frame(reference="O+", second="C+", like="distinct"),
        recoil="keep",
    )
    np.testing.assert_allclose(aligned.table.momentum[0], momentum[0], atol=1e-12)
    assert aligned.summary["median_angle_deg"] == pytest.approx(90.0)


def test_zero_collinear_and_broken_events_are_flagged_counted_and_left_out() -> None:
    good = WATER
    zero = WATER.copy()
    zero[0] = 0.0
    line = np.array([[30.0, 0, 0], [-12.0, 0, 0], [-18.0, 0, 0]])
    # one of the two protons is collinear: the event goes as a whole
    half = np.array([[30.0, 0, 0], [-12.0, 0, 0], [-18.0, 3.0, 0]])
    broken = WATER.copy()
    broken[2, 1] = np.nan
    table = Coincidences.of(WATER_IONS, np.stack([zero, good, line, half, broken, good]))
    aligned = align_events(table, WATER_FRAME, recoil="keep")
    assert aligned.flag.tolist() == [
        Flag.ZERO_MOMENTUM,
        Flag.GOOD,
        Flag.COLLINEAR,
        Flag.COLLINEAR,
        Flag.NOT_A_NUMBER,
        Flag.GOOD,
    ]
    assert aligned.table.event_id.tolist() == [1, 1, 5, 5]
    assert aligned.summary["flagged"] == {"not_a_number": 1, "zero_momentum": 1, "collinear": 2}
    assert "4 of 6 events" in aligned.warnings[-1]
    assert np.isfinite(aligned.table.momentum).all()


def test_no_event_left_is_an_error() -> None:
    line = np.array([[[30.0, 0, 0], [-12.0, 0, 0], [-18.0, 0, 0]]])
    with pytest.raises(NoEventsError, match="none of 1 events has a molecular frame .1 collinear"):
        align_events(Coincidences.of(WATER_IONS, line), WATER_FRAME)
    with pytest.raises(NoEventsError, match="no events to align"):
        align_events(Coincidences.of(WATER_IONS, np.empty((0, 3, 3))), WATER_FRAME)


def test_two_ions_have_only_an_axis(rng: np.random.Generator) -> None:
    momentum = rng.normal(size=(200, 2, 3)) + np.array([[40.0, 0, 0], [-40.0, 0, 0]])
    table = Coincidences.of(["N+", "N+"], momentum)
    aligned = align_events(table, Frame(reference="N+"))
    assert len(aligned.table) == 400
    assert (aligned.table.momentum[:, :, 1:] == 0).all()
    np.testing.assert_allclose(aligned.table.momentum.sum(axis=1), 0.0, atol=1e-12)
    assert (aligned.table.momentum[:, 0, 0] > 0).all()
    assert aligned.summary["discarded_perpendicular_rms"] == pytest.approx(0.0, abs=1e-12)
    kept = align_events(table, Frame(reference="N+"), recoil="keep")
    # Only the ion opposite to x has a perpendicular part: 2 components of sqrt 2 each, over 2 ions.
    assert kept.summary["discarded_perpendicular_rms"] == pytest.approx(np.sqrt(2.0), rel=0.15)


@pytest.mark.parametrize(
    ("ions", "frame", "error", "message"),
    [
        (["O+"], Frame(reference="O+"), UsageError, "one ion alone"),
        (WATER_IONS, Frame(reference="C+"), UnknownIonError, "C+ is not among the ions"),
        (WATER_IONS, Frame(reference="O+", second="O+"), UsageError, "the only O+"),
        (["C+", "O+"], Frame(reference="O+", second="C+"), UsageError, "two ions define an axis"),
        (
            WATER_IONS,
            Frame(reference="H+", second="O+", like="distinct"),
            UsageError,
            "2 H+ that differ",
        ),
    ],
)
def test_impossible_choices(
    ions: list[str], frame: Frame, error: type[Exception], message: str
) -> None:
    table = Coincidences.of(ions, np.ones((2, len(ions), 3)))
    with pytest.raises(error) as raised:
        align_events(table, frame)
    assert message in str(raised.value)


def test_a_reference_at_rest_and_a_line_are_warned_of() -> None:
    table = cf4(200, size=300.0, width=3.0, seed=9)
    at_rest = align_events(table, Frame(reference="C+", second="F+"), recoil="keep")
    assert "nearly at rest" in at_rest.warnings[0]
    line = np.array([[0.1, 0, 0], [300.0, 0, 0], [-300.0, 0, 0]])
    noise = np.random.default_rng(1).normal(scale=2.0, size=(200, 3, 3))
    table = Coincidences.of(["C+", "O+", "O+"], line + noise)
    assert "nearly collinear" in align_events(table, Frame(reference="O+", second="O+")).warnings[0]


def test_shipped_channels_align() -> None:
    for name in ("water", "cf4", "ethanol", "carbon_monoxide", "nitrogen"):
        channel = load_channel(name)
        assert channel.frame is not None
        momentum = np.random.default_rng(1).normal(size=(20, len(channel.all_ions), 3))
        aligned = align_events(Coincidences.of(channel.all_ions, momentum), channel.frame)
        assert len(aligned.roles) == len(channel.all_ions)
        assert all(aligned.roles)


def test_weights_and_tags_travel_with_their_event() -> None:
    table = water(4, 2.0, 10)
    table = Coincidences(
        ions=table.ions,
        event_id=np.array([7, 3, 9, 1]),
        momentum=table.momentum,
        weight=np.array([1.0, 0.5, 0.0, 2.0]),
        tags={"shot": np.array([70, 30, 90, 10])},
    )
    aligned = align_events(table, WATER_FRAME).table
    assert aligned.event_id.tolist() == [7, 7, 3, 3, 1, 1]
    assert aligned.tags["shot"].tolist() == [70, 70, 30, 30, 10, 10]
    assert aligned.weight.tolist() == [0.5, 0.5, 0.25, 0.25, 1.0, 1.0]
