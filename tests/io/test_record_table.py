"""Raw records without a header, described by the setup; nothing is trusted before it fits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from molexa_core.base.errors import InputFileError, SettingsError
from molexa_core.base.settings.columns import Columns
from molexa_core.base.settings.load import parse_settings
from molexa_core.io.run import open_stored_run

COUNTS = [2, 0, 3]


def columns(**values: Any) -> Columns:
    return parse_settings(Columns, values, where="setup")


def counted(path: Path, order: str, head: list[tuple[str, str]]) -> Path:
    """Shots that begin with a head, the last field of which is the number of hits."""
    data, value = b"\xaa" * 5, 0
    for shot, count in enumerate(COUNTS):
        row = np.zeros(1, [(name, order + kind) for name, kind in head])
        row[head[0][0]], row[head[-1][0]] = 100 + shot, count
        hits = np.arange(value, value + 3 * count, dtype=np.int32) * 1000
        data += row.tobytes() + hits.astype(order + "i4").tobytes()
        value += 3 * count
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("byte_order", ["little", "big"])
@pytest.mark.parametrize("chunk", [None, 1, 2])
def test_shots_that_begin_with_their_number_of_hits(
    tmp_path: Path, byte_order: str, chunk: int | None
) -> None:
    order = "<" if byte_order == "little" else ">"
    path = counted(tmp_path / "run.bin", order, [("n", "i4")])
    record = {
        "count": "int32",
        "fields": {"x": "int32", "y": "int32", "tof": "int32"},
        "byte_order": byte_order,
        "skip_bytes": 5,
    }
    layout = columns(record=record, x_unit_mm=1e-3, time_unit_ns=1e-3)
    chunks = list(open_stored_run(path, columns=layout).iterate(chunk))  # type: ignore[attr-defined]
    assert [int(n) for part in chunks for n in part.counts] == COUNTS
    x = [value for part in chunks for value in part.x_mm]
    assert x == pytest.approx([0, 3, 6, 9, 12])
    t = [value for part in chunks for value in part.t_ns]
    assert t == pytest.approx([2, 5, 8, 11, 14])


def test_a_head_with_more_than_the_number_of_hits(tmp_path: Path) -> None:
    path = counted(tmp_path / "run.bin", "<", [("trigger", "u8"), ("n", "u2")])
    record = {
        "head": {"trigger": "uint64", "count": "uint16"},
        "fields": {"x": "i4", "y": "i4", "t": "i4"},
        "skip_bytes": 5,
    }
    run = open_stored_run(path, columns=columns(record=record, tags=["trigger"]))
    chunk = next(iter(run))
    assert chunk.counts.tolist() == COUNTS
    assert chunk.tags["trigger"].tolist() == [100, 101, 102]


@pytest.mark.parametrize("kind", ["float32", "f8"])
def test_records_of_one_size(tmp_path: Path, kind: str) -> None:
    rows = np.array([[3, 1, 2, 10], [3, 4, 5, 20], [7, 7, 8, 30]], kind if kind == "f8" else "f4")
    (tmp_path / "run.bin").write_bytes(rows.tobytes())
    fields = dict.fromkeys(("shot", "x", "y", "t"), kind)
    layout = columns(record={"fields": fields})
    chunk = next(iter(open_stored_run(tmp_path / "run.bin", columns=layout)))
    assert chunk.first_shot == 3
    assert chunk.x_mm.tolist() == [1, 4]


def test_records_with_a_column_per_slot(tmp_path: Path) -> None:
    rows = np.arange(21, dtype="<f4").reshape(3, 7)
    (tmp_path / "run.bin").write_bytes(rows.tobytes())
    names = ["delay", "x1", "y1", "tof1", "x2", "y2", "tof2"]
    layout = columns(
        record={"fields": dict.fromkeys(names, "float32")},
        layout="flat", x="x{i}", y="y{i}", time="tof{i}", x_unit_mm=1000, time_unit_ns=1e9,
    )  # fmt: skip
    chunk = next(iter(open_stored_run(tmp_path / "run.bin", columns=layout)))
    assert chunk.counts.tolist() == [2, 2, 2]
    assert chunk.x_mm[:2].tolist() == [1000, 4000]


def test_lengths_that_do_not_fit(tmp_path: Path) -> None:
    path = counted(tmp_path / "run.bin", "<", [("n", "i4")])
    fields = {"x": "int32", "y": "int32", "tof": "int32"}
    good = path.read_bytes()
    layout = columns(record={"count": "int32", "fields": fields, "skip_bytes": 5})
    path.write_bytes(good[:-1])
    with pytest.raises(InputFileError, match="shot 2 at byte 37 says 3 hits, but 35 bytes are"):
        open_stored_run(path, columns=layout)
    path.write_bytes(good + b"\1\2")
    with pytest.raises(InputFileError, match="shot 3 at byte 77 is cut off"):
        open_stored_run(path, columns=layout)
    path.write_bytes(good[:5] + b"\xff\xff\xff\xff" + good[9:])
    with pytest.raises(InputFileError, match="shot 0 at byte 5 says -1 hits"):
        open_stored_run(path, columns=layout)
    plain = columns(record={"fields": {"shot": "int32", **fields}})
    with pytest.raises(InputFileError, match="no multiple of the 16"):
        open_stored_run(path, columns=plain)


def test_an_unknown_file_names_the_way_in(tmp_path: Path) -> None:
    (tmp_path / "run.bin").write_bytes(bytes(range(48)))
    with pytest.raises(InputFileError, match=r"not known.*columns: \{record:.*docs/formats.md"):
        open_stored_run(tmp_path / "run.bin")


@pytest.mark.parametrize(
    "record",
    [
        {"fields": {}},
        {"fields": {"x": "complex64", "y": "f4", "t": "f4"}},
        {"fields": {"x": "f4", "y": "f4", "t": "f4"}, "head": {"n": "i4"}},
        {"fields": {"x": "f4", "y": "f4", "t": "f4"}, "count": "f4"},
        {"fields": {"x": "f4", "y": "f4", "t": "f4"}, "skip_bytes": -1},
    ],
)
def test_records_that_cannot_be(record: dict[str, Any]) -> None:
    with pytest.raises(SettingsError):
        columns(record=record)
