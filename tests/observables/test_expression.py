"""Conditions give the rows that numpy gives, and every fault is one sentence with its place."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from molexa_core.base.errors import InputFileError, MolexaError
from molexa_core.base.settings import Region
from molexa_core.base.tables import Coincidences, DetectorValues
from molexa_core.base.units import HARTREE_EV
from molexa_core.observables.catalogue import CATALOGUE
from molexa_core.observables.expression import parse_condition, parse_number
from molexa_core.observables.syntax import DEEPEST, ExpressionError

ROWS = 500


def table() -> Coincidences:
    rng = np.random.default_rng(2)
    values = rng.normal(size=(3, ROWS, 3))
    return Coincidences.of(
        ["O+", "H+", "H+"],
        rng.normal(0.0, 30.0, (ROWS, 3, 3)),
        tags={
            "delay_fs": rng.choice(np.array([-33.3, 0.0, 100.0], np.float32), ROWS),
            "train_id": 10**9 + np.arange(ROWS),
            "laser": rng.random(ROWS) < 0.5,
            "gmd energy": rng.random(ROWS),
            "gaps": np.where(np.arange(ROWS) % 5 == 0, np.nan, 1.0),
        },
        detector=DetectorValues(1000.0 + 50.0 * values[0], values[1], values[2]),
    )


TABLE = table()


def test_observables_are_those_of_the_definitions() -> None:
    momentum = TABLE.momentum
    energy = np.square(momentum).sum(axis=2) / 2.0
    energy = energy / [ion.mass for ion in TABLE.ions] * HARTREE_EV
    detector = TABLE.detector
    assert detector is not None
    along = momentum[:, 0] / np.linalg.norm(momentum[:, 0], axis=1)[:, None]
    other = momentum[:, 2] / np.linalg.norm(momentum[:, 2], axis=1)[:, None]
    expected = {
        "ker": energy.sum(axis=1),
        "energy(H+#2)": energy[:, 2],
        "p(O+)": np.linalg.norm(momentum[:, 0], axis=1),
        "py(H+)": momentum[:, 1, 1],
        "psumz": momentum[:, :, 2].sum(axis=1),
        "psum": np.linalg.norm(momentum.sum(axis=1), axis=1),
        "tof(H+#2)": detector.tof_ns[:, 2],
        "x(O+)": detector.x_mm[:, 0],
        "r(H+)": np.sqrt(detector.x_mm[:, 1] ** 2 + detector.y_mm[:, 1] ** 2),
        "angle(O+, H+#2)": np.degrees(np.arccos((along * other).sum(axis=1))),
        "cosine(O+,H+#2)": (along * other).sum(axis=1),
        "-2*(pz(O+) - 1)/4": -0.5 * (momentum[:, 0, 2] - 1.0),
        "min(abs(px(O+)), sqrt(ker))": np.minimum(
            np.abs(momentum[:, 0, 0]), np.sqrt(energy.sum(axis=1))
        ),
        'tag("gmd energy") * 2': 2.0 * TABLE.tags["gmd energy"],
    }
    for text, values in expected.items():
        np.testing.assert_allclose(parse_number(text).values(TABLE), values, atol=1e-9)


def test_angles_are_exact_along_a_line_and_unknown_at_rest() -> None:
    momentum = np.array(
        [[[1.0, 2, 3], [-2, -4, -6]], [[1, 2, 3], [1, 2, 3]], [[0, 0, 0], [1, 0, 0]]]
    )
    lines = Coincidences.of(["C+", "O+"], momentum)
    np.testing.assert_allclose(
        parse_number("angle(C+, O+)").values(lines), [180.0, 0.0, np.nan], atol=1e-12
    )
    assert not parse_condition("not angle(C+, O+) > 90").mask(lines)[2]


def test_break_ups_in_two_steps_have_the_angles_and_energies_of_the_second_step() -> None:
    """AB+ flies off C+ with K, turns to an angle, and breaks up with a given energy."""
    rng = np.random.default_rng(11)
    table = Coincidences.of(["C+", "O+", "S+"], np.zeros((400, 3, 3)))
    c, o, s = (ion.mass for ion in table.ions)
    theta, size = rng.uniform(0.05, np.pi - 0.05, 400), rng.uniform(20.0, 60.0, 400)
    recoil = np.array([0.0, 0.0, 80.0])
    inner = size[:, None] * np.stack([np.sin(theta), np.zeros(400), np.cos(theta)], axis=1)
    momentum = np.stack(
        [inner + c / (c + o) * recoil, -inner + o / (c + o) * recoil, np.tile(-recoil, (400, 1))],
        axis=1,
    )
    turned = replace(table, momentum=momentum)
    np.testing.assert_allclose(
        parse_number("native(C+, O+, S+)").values(turned), np.degrees(theta), atol=1e-9
    )
    energy = size**2 / 2.0 * (1.0 / c + 1.0 / o) * HARTREE_EV
    np.testing.assert_allclose(parse_number("erel(C+, O+)").values(turned), energy)
    whole = energy + 80.0**2 / 2.0 * (1.0 / (c + o) + 1.0 / s) * HARTREE_EV
    np.testing.assert_allclose(parse_number("ker").values(turned), whole)
    shares = [parse_number(f"energy({ion}) / ker").values(turned) for ion in ("C+", "O+", "S+")]
    x, y = (parse_number(f"dalitz{axis}(C+, O+, S+)").values(turned) for axis in "xy")
    np.testing.assert_allclose(x, (shares[0] - shares[1]) / np.sqrt(3.0))
    np.testing.assert_allclose(y, shares[2] - 1.0 / 3.0)
    along, across = (parse_number(f"newton{axis}(S+, C+)").values(turned) for axis in "xy")
    np.testing.assert_allclose(along, -momentum[:, 0, 2] / 80.0)
    np.testing.assert_allclose(across, np.abs(momentum[:, 0, 0]) / 80.0)


def test_equal_masses_lie_in_the_circle_of_the_dalitz_plot() -> None:
    momentum = np.random.default_rng(12).normal(0.0, 30.0, (500, 3, 3))
    momentum -= momentum.mean(axis=1, keepdims=True)
    table = Coincidences.of(["N+", "N+", "N+"], momentum)
    x, y = (parse_number(f"dalitz{axis}(N+, N+#2, N+#3)").values(table) for axis in "xy")
    assert (x**2 + y**2 <= 1.0 / 9.0 + 1e-12).all()


def test_every_observable_can_be_written_as_the_catalogue_says() -> None:
    for observable in CATALOGUE.values():
        ions = ", ".join(("O+", "H+", "H+#2")[: observable.ions])
        text = f"{observable.name}({ions})" if ions else observable.name
        assert parse_number(text).values(TABLE).shape == (ROWS,)
        assert observable.meaning


KER = parse_number("ker").values(TABLE)
PX = TABLE.momentum[:, 0, 0]
DELAY = TABLE.tags["delay_fs"]
CONDITIONS = {
    "ker in 2..6": (KER >= 2) & (KER <= 6),
    "ker not in 2..6": (KER < 2) | (KER > 6),
    "2 < ker <= 6": (KER > 2) & (KER <= 6),
    "px(O+) < 0 or ker > 3 and not laser": (PX < 0) | ((KER > 3) & ~TABLE.tags["laser"]),
    "(px(O+) < 0 or ker > 3) and laser": ((PX < 0) | (KER > 3)) & TABLE.tags["laser"],
    "delay_fs == -33.3": DELAY == np.float32(-33.3),
    "delay_fs != -33.3": DELAY != np.float32(-33.3),
    "delay_fs in -33.3..0": DELAY <= 0,
    "train_id == 1000000003": np.arange(ROWS) == 3,
    "laser == 1": TABLE.tags["laser"],
    "gaps == 1": np.arange(ROWS) % 5 != 0,
    "not gaps == 2": np.arange(ROWS) % 5 != 0,
    "gaps or ker > 0": np.arange(ROWS) % 5 != 0,
    "p(H+) > p(H+#2)": np.linalg.norm(TABLE.momentum[:, 1], axis=1)
    > np.linalg.norm(TABLE.momentum[:, 2], axis=1),
}


@pytest.mark.parametrize("text", CONDITIONS)
def test_conditions_mean_what_they_say(text: str) -> None:
    np.testing.assert_array_equal(parse_condition(text).mask(TABLE), CONDITIONS[text])


def test_ions_of_every_notation_can_be_named() -> None:
    names = ["O2+", "(CO)2+", "H2O+", "CH3++", "13C+", "C[18O]+", "Cl+@35.45", "(O2)+"]
    one = Coincidences.of(names, np.arange(2.0 * len(names) * 3).reshape(2, len(names), 3))
    for column, name in enumerate(names):
        found = parse_number(f"py( {name} ) + 0").values(one)
        np.testing.assert_array_equal(found, one.momentum[:, column, 1])
    np.testing.assert_array_equal(
        parse_number("px(O1+)").values(Coincidences.of(["O+"], np.ones((1, 1, 3)))), [1.0]
    )


FAULTS = {
    "": (0, "empty"),
    "ker in 20..": (11, "missing"),
    "ker in 20": (9, "two dots"),
    "ker in 26..20": (7, "is empty"),
    "ker = 3": (4, "Write =="),
    "ker > 3 & p(O+) > 2": (8, "Write and"),
    "ker": (0, "a condition is needed"),
    "ker and laser": (0, "a condition is needed"),
    "(ker > 3) + 2 > 1": (5, "a number is needed"),
    "ker > 3) and laser": (7, "not expected"),
    "(ker > 3": (0, "not closed"),
    "tof(O+ > 3": (3, "not closed"),
    "kr > 3": (0, "Did you mean ker"),
    "enrgy(O+) > 3": (0, "Did you mean energy"),
    "tof > 3": (0, "tof needs an ion"),
    "angle(O+) > 3": (0, "2 ions, not 1"),
    "ker(O+) > 3": (0, "whole coincidence"),
    "p(Cl+) > 3": (2, "no ion Cl"),
    "p(H+#3) > 3": (2, "the events have 2"),
    "angle(O+, Qq+) > 3": (10, "unknown element"),
    "dely_fs > 3": (0, "Did you mean delay_fs"),
    "inside(here)": (0, "no region 'here'"),
    "min(ker) > 3": (0, "takes 2 numbers, not 1"),
    "ker ** 2 > 3": (5, "Write a product"),
    "__import__('os')": (0, "unknown observable"),
    "ker > 3; laser": (7, "not expected"),
}


@pytest.mark.parametrize("text", FAULTS)
def test_faults_are_said_at_their_place(text: str) -> None:
    place, words = FAULTS[text]
    with pytest.raises(ExpressionError) as caught:
        parse_condition(text).mask(TABLE)
    lines = str(caught.value).splitlines()
    assert words in lines[0]
    assert caught.value.at == place, str(caught.value)
    assert lines[1] == f"    {text}"
    assert lines[2] == " " * (4 + place) + "^"


def test_the_place_is_shown_in_a_long_condition_too() -> None:
    text = " and ".join(["ker > 1"] * 30) + " and kr > 2"
    with pytest.raises(ExpressionError) as caught:
        parse_condition(text).mask(TABLE)
    _, shown, caret = str(caught.value).splitlines()
    assert len(shown) < 90
    assert shown[caret.index("^") :].startswith("kr > 2")


@given(st.text(alphabet="ker()<>=.! andornti0123456789tofOH+#,-*/&|'\"\\x\u00e9", max_size=40))
def test_any_text_is_a_condition_or_one_error(text: str) -> None:
    try:
        mask = parse_condition(text).mask(TABLE)
    except MolexaError as error:
        assert str(error)
    else:
        assert mask.shape == (ROWS,)


def test_nesting_and_length_have_an_end() -> None:
    for text in ("(" * 5000 + "ker", "not " * 900 + "laser", "-" * (DEEPEST + 2) + "1 > ker"):
        with pytest.raises(MolexaError, match="levels|letters"):
            parse_condition(text)


def test_events_without_hits_say_so() -> None:
    with pytest.raises(InputFileError, match="no times of flight"):
        parse_condition("tof(O+) > 3").mask(replace(TABLE, detector=None))


def test_regions_are_conditions() -> None:
    regions = {"fast": Region(x="ker", y="px(O+)", box={"x": (2.0, 6.0), "y": (-20.0, 30.0)})}
    mask = parse_condition("not inside(fast) and laser", regions).mask(TABLE)
    within = (KER >= 2) & (KER <= 6) & (PX >= -20) & (PX <= 30)
    np.testing.assert_array_equal(mask, ~within & TABLE.tags["laser"])
