"""JSON files that lie, and values that do not fit a dataclass: one sentence each."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest

from molexa_core.base.errors import InputFileError, WeightsError
from molexa_core.base.storage.bounded import MisfitError, Within, from_values
from molexa_core.base.storage.json_file import read_json


def read(path: Path, content: bytes) -> dict[str, Any]:
    path.write_bytes(content)
    return read_json(path, largest=300_000, what="a card", do="Fetch it again.")


def test_values_come_back(tmp_path: Path) -> None:
    found = read(tmp_path / "a.json", '{"a": [1, 2.5e3, "Å\\u00e9"], "b": null}'.encode())
    assert found == {"a": [1, 2500.0, "Åé"], "b": None}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "line 1, column 1: expecting value"),
        (b'{"a": 1,}', "line 1, column"),
        (b'{"a": NaN}', "NaN is not a number"),
        (b'{"a": -Infinity}', "-Infinity is not a number"),
        (b'{"a": 1e400}', "1e400 is no finite number"),
        (b'{"a": ' + b"9" * 5000 + b"}", "a number of 5000 digits"),
        (b'{"a": 1, "a": 2}', "twice the same key: a"),
        (b'{"a": ' + b"[" * 100_000, "brackets within brackets without end"),
        (b'{"a": "\xff"}', "byte 7 is no text in UTF-8"),
        (b'{"a": "\\ud800"}', "half a letter"),
        (b"[1]", "no keys and values in it"),
        (b" " * 300_001, "too large for a card"),
    ],
)
def test_what_is_no_json_of_molexa_is_one_sentence(
    tmp_path: Path, content: bytes, message: str
) -> None:
    with pytest.raises(InputFileError, match=message) as caught:
        read(tmp_path / "a.json", content)
    assert "\n" not in str(caught.value)
    assert "a.json" in str(caught.value)


def test_the_error_is_that_of_the_caller(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("{")
    with pytest.raises(WeightsError):
        read_json(path, largest=10, what="a card", do="", error=WeightsError)


@dataclass(frozen=True)
class Inner:
    share: Annotated[float, Within(0, 1)]


@dataclass(frozen=True)
class Outer:
    count: Annotated[int, Within(1, 9)]
    inner: Inner = field(default_factory=lambda: Inner(0.5))
    kind: Literal["a", "b"] = "a"
    names: Annotated[tuple[str, ...], Within(0, 2)] = ()
    maybe: Annotated[float, Within(0, 1)] | None = None
    table: dict[str, int] = field(default_factory=dict)
    flag: bool = False


def test_values_become_a_dataclass() -> None:
    values = {"count": 3, "inner": {"share": 1}, "names": ["x"], "table": {"k": 2}, "maybe": None}
    assert from_values(Outer, values) == Outer(3, Inner(1.0), "a", ("x",), None, {"k": 2})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "the file: missing count"),
        ({"count": 3, "cuont": 1}, "the file: unknown key 'cuont'"),
        ({"count": 10}, "count: found 10, expected 1 to 9"),
        ({"count": True}, "count: expected a whole number, found True"),
        ({"count": 3.0}, "count: expected a whole number, found 3.0"),
        ({"count": 3, "inner": {"share": float("nan")}}, "inner -> share: expected a finite"),
        ({"count": 3, "inner": {"share": 1.5}}, "inner -> share: found 1.5, expected 0 to 1"),
        ({"count": 3, "inner": 1}, "inner: expected keys and values, found 1"),
        ({"count": 3, "kind": "c"}, "kind: expected a, b, found 'c'"),
        ({"count": 3, "names": "x"}, "names: expected a list, found 'x'"),
        ({"count": 3, "names": ["x"] * 3}, "names: 3 items, expected 0 to 2"),
        ({"count": 3, "names": [1]}, r"names\[0\]: expected a text, found 1"),
        ({"count": 3, "maybe": 2}, "maybe: found 2, expected 0 to 1"),
        ({"count": 3, "table": {"k": "2"}}, "table -> k: expected a whole number"),
        ({"count": 3, "flag": 1}, "flag: expected true or false, found 1"),
        ([], "the file: expected keys and values, found a list"),
    ],
)
def test_what_does_not_fit_is_named(values: Any, message: str) -> None:
    with pytest.raises(MisfitError, match=message):
        from_values(Outer, values)
