"""Errors: what, where, what to do; exit codes; the builtin a caller would catch."""

from __future__ import annotations

import inspect

import pytest

from molexa_core.base import errors
from molexa_core.base.errors import ColumnError, MolexaError, UsageError, listing, near_matches

CLASSES = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, MolexaError) and kind is not MolexaError
]


@pytest.mark.parametrize("kind", CLASSES)
def test_one_sentence_with_what_where_and_what_to_do(kind: type[MolexaError]) -> None:
    error = kind("column 'px' is missing", where="channel.csv", do="Add it.")
    assert str(error) == "channel.csv: column 'px' is missing. Add it."
    assert (error.what, error.where, error.do) == (
        "column 'px' is missing",
        "channel.csv",
        "Add it.",
    )
    assert error.exit_code == (2 if issubclass(kind, UsageError) else 1)


@pytest.mark.parametrize("kind", CLASSES)
def test_callers_can_catch_a_builtin(kind: type[MolexaError]) -> None:
    assert issubclass(kind, ValueError | KeyError | OSError | RuntimeError)


def test_parts_may_be_missing() -> None:
    assert str(ColumnError("no rows")) == "no rows"
    assert str(ColumnError("no rows.", do="Write some.")) == "no rows. Write some."
    assert str(ColumnError("no rows", where="a.csv")) == "a.csv: no rows"


def test_near_matches() -> None:
    assert near_matches("ethanl", ["water", "ethanol", "methanol"])[0] == "ethanol"
    assert near_matches("zzz", ["water"]) == []


def test_listing() -> None:
    assert listing([]) == "none"
    assert listing(range(14)) == "0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, ... (2 more)"


def test_names_from_files_stay_on_one_line() -> None:
    assert errors.listing(["a\nb", "c\x00", "\udcec", "µ (mm)"]) == "a\\nb, c\\x00, \\udcec, µ (mm)"
    assert len(errors.listing(["x" * 5000])) < 200
