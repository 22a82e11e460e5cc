from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from molexa_core.base.storage.provenance import Provenance
from molexa_core.base.tables import Geometry
from molexa_core.report.content import LengthRow, Structure
from molexa_core.report.text_tables import (
    alternatives_table,
    centroid_table,
    closure_rows,
    coordinate_table,
    decimal,
    explosion_rows,
    length_numbers,
    length_value,
    plain_rows,
    region_text,
    step_record,
    text_of,
    with_uncertainty,
)


@pytest.mark.parametrize(
    ("value", "uncertainty", "text"),
    [
        (55.1234, 0.0213, "55.123 ± 0.021"),
        (-27.5, 1.26, "−27.5 ± 1.3"),
        (1234.5, 25.0, "1234 ± 25"),
        (0.0, 0.0, "0"),
        (3.25, 0.0, "3.250"),
        (3.25, None, "3.250"),
        (3.25, float("nan"), "3.250"),
    ],
)
def test_numbers_have_as_many_places_as_their_uncertainty(
    value: float, uncertainty: float | None, text: str
) -> None:
    assert with_uncertainty(value, uncertainty) == text


def test_no_minus_before_zero() -> None:
    assert decimal(-0.0004, 3) == "0.000"
    assert decimal(-0.0006, 3) == "−0.001"


def test_centroids_with_and_without_optional_columns() -> None:
    rows = pd.DataFrame({"ion": ["O+"], "px": [3.0], "py": [4.0], "pz": [0.0]})
    table = centroid_table(rows)
    assert table.rows == (("O+", "3.000", "4.000", "0.000", "5.00"),)
    rows = rows.assign(px_err=0.01, py_err=0.01, pz_err=0.0, count=12345.0, label="O+ (reference)")
    table = centroid_table(rows)
    assert table.rows == (
        ("O+ (reference)", "3.000 ± 0.010", "4.000 ± 0.010", "0", "5.00", "12\u202f345"),
    )
    assert len(table.header) == len(table.rows[0]) == len(table.numeric)


def test_coordinates_with_the_known_structure() -> None:
    geometry = Geometry(("H",), np.array([[1.0, 0, 0]]), (1,), np.array([[0.1, 0.1, 0.1]]))
    table = coordinate_table(Structure(geometry, known=np.array([[1.0, 0.3, -0.4]])))
    assert table.rows == (
        (
            "H1",
            "1+",
            "0.529 ± 0.053",
            "0.000 ± 0.053",
            "0.000 ± 0.053",
            "0.529, 0.159, −0.212",
            "0.265",
        ),
    )
    assert len(table.header) == len(table.rows[0])


def test_plain_settings_become_rows() -> None:
    values = {"shots": 20000, "purity": 0.97123, "gate": {"x": [1.0, 2.5]}, "ok": True, "no": None}
    assert plain_rows(values) == (
        ("shots", "20\u202f000"),
        ("purity", "0.9712"),
        ("gate: x", "1, 2.5"),
        ("ok", "yes"),
        ("no", "-"),
    )


def test_step_records_shorten_digests_and_name_the_seed() -> None:
    record = Provenance("molexa align", inputs={"a.h5": "sha256:" + "0123456789abcdef" * 4}, seed=3)
    step = step_record(record)
    assert step.inputs == (("a.h5", "sha256:0123456789ab"),)
    assert step.made.endswith("seed 3")
    assert step.settings == ""


def test_a_long_list_of_numbers_is_shown_by_its_range() -> None:
    assert text_of([0.1, 0.2]) == "0.1, 0.2"
    assert text_of([0.5, 0.25, 1.0, 0.5, 0.5, 0.5, 0.5]) == "7 values, 0.25 to 1"


def test_alternatives_are_listed_with_their_objections() -> None:
    geometry = Geometry(("O", "H"), np.array([[0.0, 0, 0], [1.8, 0, 0]]))
    assert alternatives_table(Structure(geometry)) is None
    one = {
        "distance_from_answer_bohr": 0.4163,
        "residual": 2.7e-9,
        "share_of_samples": 0.25,
        "objections": ["O1 and H2 are too near"],
    }
    table = alternatives_table(Structure(geometry, alternatives=(one,)))
    assert table is not None
    assert table.header[1] == "samples (%)"
    assert table.rows == (("1", "25", "< 0.001", "0.220", "O1 and H2 are too near"),)


def test_lengths_are_shown_with_their_half_widths_or_regions() -> None:
    bond = LengthRow("distance", (0, 1), "H1-H2", True, 1.0583, 0.106, known=0.74)
    bare = LengthRow("angle", (0, 1, 2), "H1-C2-H3", True, 104.5)
    twin = LengthRow("distance", (0, 2), "H1-H3", False, 1.5, 0.3, "1.0 to 1.2 or 1.8 to 2.0")
    assert [length_value(row) for row in (bond, bare, twin)] == [
        "1.06 ± 0.11",
        "104.5",
        "1.0 to 1.2 or 1.8 to 2.0",
    ]
    numbers = length_numbers((bond, bare))
    assert numbers.rows[0] == ("distance", "H1-H2", "yes", 1.0583, 0.106, "angstrom", 0.74)
    assert numbers.rows[1][4] is None


def test_only_regions_of_several_intervals_are_written_out() -> None:
    assert region_text([[1.0, 2.0]], 1.0) == ""
    assert region_text(None, 1.0) == ""
    assert region_text([[1.0, 2.0], [3.0, 3.5]], 0.5) == "0.50 to 1.00 or 1.50 to 1.75"


def test_the_explosion_that_was_assumed_is_stated() -> None:
    worst = {"ion": "O+", "channel": "a.csv", "direction": [0.0, 1.0, 0.0]}
    rows = dict(explosion_rows({"statement": "a pulse", "p_value": 0.004, "worst": worst}))
    assert rows["assumed"] == "a pulse"
    assert rows["p-value"] == "0.004"
    assert rows["least explained"].startswith("O+ in a.csv, along ")
    assert explosion_rows({}) == ()
    used = {"weights": [{"name": "molexa-xray", "sha256": "ab" * 32}]}
    assert dict(explosion_rows(used))["computed with"] == f"molexa-xray, SHA-256 {'ab' * 32}"


def test_alternatives_of_a_posterior_have_shares_of_the_evidence() -> None:
    geometry = Geometry(("H", "H"), np.array([[0.0, 0, 0], [0, 0, 1.4]]))
    one = {"evidence_share": 0.25, "residual": 0.0, "distance_from_answer_bohr": 0.5}
    table = alternatives_table(Structure(geometry, alternatives=(one,)))
    assert table is not None
    assert table.header[1] == "evidence (%)"
    assert table.rows[0][1] == "25"


def test_the_closure_is_told_in_words_and_what_is_unknown_stays() -> None:
    closure = {
        "model": "classical",
        "tau_fs": 45.0,
        "residual": 6.3e-5,
        "residual_meaning": "rms difference of the momenta over their rms",
        "refined": True,
        "explains_momenta": None,
        "share_of_samples": 0.375,
        "residuals_of_samples": [0.006, 0.0088, 0.0071],
        "chosen_sample": None,
        "something_new": [1.5],
    }
    rows = dict(closure_rows(closure))
    assert rows["momenta missed by (rms)"] == "0.0063 %"
    assert rows["explains the momenta"] == "not judged"
    assert rows["share of the samples that led here (%)"] == "37.5"
    assert rows["3 samples, as drawn, miss by (rms)"] == "0.6 to 0.88 %"
    assert rows["began from"] == "the search"
    assert rows["something new"] == "1.5"
    assert len(rows) == 9
    assert closure_rows({}) == ()
    assert closure_rows({"residual": "x", "residuals_of_samples": []})[0] == ("residual", "x")


def test_four_digits_stand_together() -> None:
    assert [text_of(number) for number in (3874, 60000, -1234567)] == [
        "3874",
        "60\u202f000",
        "-1\u202f234\u202f567",
    ]
