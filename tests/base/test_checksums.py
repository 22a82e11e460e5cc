"""Checksums: every change is seen, and what was not changed is not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from molexa_core.base.errors import InputFileError
from molexa_core.base.storage.checksums import (
    CHECKSUM,
    TRAILER_BYTES,
    append_trailer,
    check_trailer,
    digest_of,
    digest_of_parts,
    sealed,
    unsealed,
)

VALUES = {"b": (1, 2.5), "a": {"text": "Å", "none": None, "flag": True}, "tiny": 5e-324}


def test_a_seal_survives_writing_and_reading_in_any_layout() -> None:
    for indent in (None, 2):
        text = json.dumps(sealed(VALUES), indent=indent)
        rest, there = unsealed(json.loads(text), where="x.json")
        assert there
        assert rest == {"b": [1, 2.5], "a": VALUES["a"], "tiny": 5e-324}


def test_values_without_a_seal_are_said_to_have_none() -> None:
    assert unsealed({"a": 1}, where="x.json") == ({"a": 1}, False)
    with pytest.raises(InputFileError, match="checksum is missing"):
        unsealed({"a": 1}, where="x.json", required=True)


@pytest.mark.parametrize("change", [{"tiny": 1e-323}, {"b": [1, 2]}, {"more": 0}, {CHECKSUM: ""}])
def test_a_change_breaks_the_seal(change: dict[str, object]) -> None:
    with pytest.raises(InputFileError, match=r"x\.json.*changed since molexa wrote it"):
        unsealed({**sealed(VALUES), **change}, where="x.json")


def test_the_order_of_keys_is_nothing_and_the_order_of_parts_is_something() -> None:
    assert digest_of({"a": 1, "b": 2}) == digest_of({"b": 2, "a": 1})
    parts = [("one", b"12"), ("two", b"3")]
    assert digest_of_parts(parts) != digest_of_parts(parts[::-1])
    assert digest_of_parts(parts) != digest_of_parts([("one", b"1"), ("two", b"23")])


def test_a_trailer_shows_every_change_of_the_bytes_before_it(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    content = bytes(range(256)) * 20
    path.write_bytes(content)
    assert not check_trailer(path)
    append_trailer(path)
    assert check_trailer(path)
    whole = path.read_bytes()
    assert whole.startswith(content)
    for at in range(0, len(content), 97):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(InputFileError, match="does not fit"):
            check_trailer(path)


def test_damage_to_the_trailer_leaves_none_or_one_that_does_not_fit(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"content")
    append_trailer(path)
    whole = path.read_bytes()
    for at in range(len(whole) - TRAILER_BYTES, len(whole)):
        for damaged in (whole[:at], whole[:at] + b"\xff" + whole[at + 1 :]):
            path.write_bytes(damaged)
            try:
                assert not check_trailer(path)
            except InputFileError as error:
                assert "does not fit" in str(error)


def test_an_empty_file_has_no_trailer(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.touch()
    assert not check_trailer(path)
