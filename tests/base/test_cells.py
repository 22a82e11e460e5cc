"""Texts that a spreadsheet would compute are harmless in CSV, and come back as they were."""

from __future__ import annotations

import csv
import json

import pytest

from molexa_core.base.storage.cells import as_written, harmless, harmless_json

TEXTS = (
    "=1+1",
    "+1",
    "-x",
    "@sum",
    "'=1",
    "''-1",
    " =1",
    "plain",
    "'quoted'",
    "a=b",
    "",
    "'",
    "-1",
)


@pytest.mark.parametrize("text", TEXTS)
def test_no_cell_is_a_formula_and_every_text_comes_back(text: str) -> None:
    assert not harmless(text).lstrip().startswith(("=", "+", "-", "@"))
    assert as_written(harmless(text)) == text


def test_json_on_a_line_has_no_cell_that_is_a_formula() -> None:
    values = {"file": 'a,=1+1;@x, -2 "q",=3', "numbers": [1, -2.5, -3e-4], "=k": ["x", ",+y"]}
    text = harmless_json(json.dumps(values))
    assert json.loads(text) == values
    for separator in (",", ";"):
        for cell in next(csv.reader([text], delimiter=separator)):
            try:
                float(cell.strip("[] }"))
            except ValueError:
                assert not cell.lstrip().startswith(("=", "+", "-", "@")), cell
