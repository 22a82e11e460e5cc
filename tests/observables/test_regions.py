"""Regions hold the points that geometry says, edges included."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from molexa_core.base.errors import SettingsError
from molexa_core.base.settings import Channel, Region, load_regions, parse_settings
from molexa_core.observables.regions import contains

POINTS = np.random.default_rng(5).uniform(-2.0, 2.0, (2, 20_000))
INSIDE = 16.0 / POINTS.shape[1]
"""Area that a point stands for."""


def region(**form: object) -> Region:
    return parse_settings(Region, {"x": "ker", "y": "psum"} | form, where="test")


corner = st.tuples(st.floats(-1.9, 1.9), st.floats(-1.9, 1.9))


@given(corner, corner, corner)
def test_a_triangle_holds_the_points_on_its_side_of_all_edges(
    a: tuple[float, float], b: tuple[float, float], c: tuple[float, float]
) -> None:
    twice = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
    if abs(twice) < 0.01:
        return
    x, y = POINTS
    sides = [
        ((q[0] - p[0]) * (y - p[1]) - (q[1] - p[1]) * (x - p[0])) * np.sign(twice)
        for p, q in ((a, b), (b, c), (c, a))
    ]
    clear = np.min(np.abs(sides), axis=0) > 1e-9
    expected = np.all(np.array(sides) > 0, axis=0)
    found = contains(region(polygon=[a, b, c]), x, y)
    np.testing.assert_array_equal(found[clear], expected[clear])


def test_a_concave_polygon_and_a_star() -> None:
    square = [[-1, -1], [1, -1], [1, 1], [-1, 1]]
    notched = [[-1, -1], [1, -1], [1, 1], [0, 0], [-1, 1]]
    x, y = POINTS
    assert contains(region(polygon=square), x, y).sum() * INSIDE == pytest.approx(4.0, abs=0.1)
    assert contains(region(polygon=notched), x, y).sum() * INSIDE == pytest.approx(3.0, abs=0.1)
    assert not contains(region(polygon=notched), np.array([0.0]), np.array([0.5]))[0]
    angles = np.pi / 2 + np.arange(5) * 4 * np.pi / 5
    star = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    centre = contains(region(polygon=star.tolist()), np.zeros(1), np.zeros(1))
    assert not centre[0]  # what the outline goes round twice is outside


def test_corners_and_edges_belong_to_the_region() -> None:
    square = region(polygon=[[0, 0], [2, 0], [2, 1], [0, 1]])
    box = region(box={"x": [0, 2], "y": [0, 1]})
    x = np.array([0.0, 2.0, 2.0, 0.0, 1.0, 1.0, 0.0, 2.0])
    y = np.array([0.0, 0.0, 1.0, 1.0, 0.0, 1.0, 0.5, 0.5])
    for one in (square, box):
        assert contains(one, x, y).all()
        assert not contains(one, x + 3.0, y).any()
        assert not contains(one, np.array([-0.5, 2.5, 1.0]), np.array([0.0, 1.0, -1e-9])).any()


def test_an_ellipse_of_given_axes_and_angle() -> None:
    turned = region(ellipse={"centre": [0.2, -0.1], "half_axes": [1.5, 0.4], "angle_deg": 30.0})
    x, y = POINTS
    found = contains(turned, x, y)
    assert found.sum() * INSIDE == pytest.approx(np.pi * 1.5 * 0.4, abs=0.08)
    tip = 0.2 + 1.5 * np.cos(np.pi / 6), -0.1 + 1.5 * np.sin(np.pi / 6)
    ends = contains(turned, np.array([0.999, 1.001]) * (tip[0] - 0.2) + 0.2,
                    np.array([0.999, 1.001]) * (tip[1] + 0.1) - 0.1)  # fmt: skip
    assert ends.tolist() == [True, False]
    assert not contains(turned, np.array([np.nan]), np.array([0.0]))[0]


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ({}, "one of box, polygon and ellipse"),
        ({"box": {"x": [0, 1], "y": [0, 1]}, "polygon": [[0, 0], [1, 0], [0, 1]]}, "not box and"),
        ({"polygon": [[0, 0], [1, 1], [2, 2], [3, 3]]}, "one line"),
        ({"polygon": [[0, 0], [1, 1]]}, "polygon"),
        ({"box": {"x": [1, 0], "y": [0, 1]}}, "below the second"),
        ({"ellipse": {"centre": [0, 0], "half_axes": [0, 1]}}, "half_axes"),
        ({"circle": 3}, "circle"),
    ],
)
def test_impossible_regions_are_refused(form: dict[str, object], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        region(**form)


def test_channels_name_their_regions(tmp_path: object) -> None:
    block = {"here": {"x": "ker", "y": "psum", "box": {"x": [0, 1], "y": [0, 1]}}}
    values = {"name": "a", "ions": [{"ion": "O+"}, {"ion": "C+"}], "regions": block}
    channel = parse_settings(Channel, values | {"gates": {"use": ["here"]}}, where="a")
    assert channel.regions["here"].form == "box"
    again = parse_settings(Channel, channel.model_dump(mode="json"), where="b")
    assert again == channel
    with pytest.raises(SettingsError, match="gates use the region there, but regions are here"):
        parse_settings(Channel, values | {"gates": {"use": ["there"]}}, where="a")
    with pytest.raises(SettingsError, match="two words"):
        parse_settings(Channel, values | {"regions": {"two words": block["here"]}}, where="a")


def test_regions_stand_in_a_file_of_their_own_or_in_a_channel(tmp_path) -> None:
    text = "regions:\n  here:\n    x: ker\n    y: psum\n    polygon: [[0, 0], [1, 0], [1, 1]]\n"
    (tmp_path / "regions.yaml").write_text(text)
    (tmp_path / "channel.yaml").write_text(f"name: a\nions:\n  - ion: O+\n{text}")
    assert load_regions(tmp_path / "regions.yaml") == load_regions(tmp_path / "channel.yaml")
