"""Units that files state, and names of columns: read, or refused with what contradicts."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from molexa_core.base.errors import ColumnError, InputFileError
from molexa_core.base.settings.columns import Columns
from molexa_core.io.run import open_stored_run
from molexa_core.io.tables.column_names import apart
from molexa_core.io.tables.column_units import unit_in_title, unit_of

ROWS = {"shot": [1, 1, 2], "x": [1.0, 2.0, 3.0], "y": [-4.0, 5.0, 6.0], "t": [7.0, 8.0, 9.0]}
COLUMNS = Columns(layout="rows", shot="shot", x="x", y="y", time="t")


def first_hit(path: Path, columns: Columns | None = None) -> tuple[float, float, float]:
    chunk = next(iter(open_stored_run(path, columns=columns)))
    return float(chunk.x_mm[0]), float(chunk.y_mm[0]), float(chunk.t_ns[0])


def csv(path: Path, header: str) -> Path:
    path.write_text(header + "\n1,1,-4,7\n1,2,5,8\n2,3,6,9\n")
    return path


def hdf5(path: Path, attributes: dict[str, dict[str, Any]], group: dict[str, Any]) -> Path:
    with h5py.File(path, "w") as file:
        made = file.create_group("run")
        made.attrs.update(group)
        for name, values in ROWS.items():
            made[name] = np.array(values)
            made[name].attrs.update(attributes.get(name, {}))
    return path


@pytest.mark.parametrize(
    ("text", "factor"),
    [
        ("m", 1e3), ("cm", 10), ("mm", 1), ("um", 1e-3), ("µm", 1e-3), ("μm", 1e-3),
        ("micron", 1e-3),
        ("nm", 1e-6), ("inch", 25.4), ("Millimetres", 1), ("s", 1e9), ("ms", 1e6), ("µs", 1e3),
        ("ns", 1), ("ps", 1e-3), ("fs", 1e-6), ("25 ps", 0.025), ("1e-9 s", 1), ("10^-9 s", 1),
        ("[mm]", 1), ("(ns)", 1),
    ],
)  # fmt: skip
def test_units_in_words(text: str, factor: float) -> None:
    unit = unit_of(text)
    assert unit is not None
    assert unit.factor == pytest.approx(factor)


@pytest.mark.parametrize(
    ("name", "quantity", "factor"),
    [
        ("x (mm)", "x", 1), ("x [mm]", "x", 1), ("x/mm", "x", 1), ("x_mm", "x", 1),
        ("x in mm", "x", 1),
        ("X(µm)", "x", 1e-3), ("t / ns", "time", 1), ("tof_us", "time", 1e3), ("y, cm", "y", 10),
        ("Time of flight [µs]", "time", 1e3), ("pos_x_mm", "x", 1), ("x", "x", None),
        ("hits/x", "x", None), ("hits/m", "method", None),
    ],
)  # fmt: skip
def test_units_in_names(name: str, quantity: str, factor: float | None) -> None:
    part = apart(name)
    assert part is not None
    assert part.quantity == quantity
    assert (None if part.unit is None else part.unit.factor) == factor


@pytest.mark.parametrize(
    ("header", "hit"),
    [
        ("shot,x (mm),y (mm),t (ns)", (1, -4, 7)),
        ("shot,x [cm],y [mm],t [ns]", (10, -4, 7)),
        ("shot,X/µm,Y/µm,T/ps", (1e-3, -4e-3, 7e-3)),
        ("shot,x in m,y in m,tof_us", (1e3, -4e3, 7e3)),
    ],
)
def test_text_states_its_units(tmp_path: Path, header: str, hit: tuple[float, ...]) -> None:
    assert first_hit(csv(tmp_path / "a.csv", header)) == pytest.approx(hit)


ATTRIBUTES: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"units": "m"}, {}),
    ({"unit": b"m"}, {}),
    ({"Units": np.array(["m"], object)}, {}),
    ({"UNITS": np.bytes_("m")}, {}),
    ({}, {"x_unit": "m", "y_units": "m"}),
    ({}, {"units": json.dumps({"x": "m", "y": "m", "t": "ns"})}),
]


@pytest.mark.parametrize(("own", "group"), ATTRIBUTES)
def test_attributes_state_the_unit(
    tmp_path: Path, own: dict[str, Any], group: dict[str, Any]
) -> None:
    path = hdf5(tmp_path / "a.h5", {"x": own, "y": own}, group)
    assert first_hit(path) == (1e3, -4e3, 7)
    assert "x and y in m, time in ns" in open_stored_run(path).choice
    assert first_hit(path, COLUMNS.model_copy(update={"tree": None, **moved("run/")}))[0] == 1e3


def moved(folder: str) -> dict[str, str]:
    return {"x": f"{folder}x", "y": f"{folder}y", "time": f"{folder}t", "shot": f"{folder}shot"}


def test_a_stated_unit_against_the_setup(tmp_path: Path) -> None:
    path = hdf5(tmp_path / "a.h5", {"x": {"units": "m"}, "y": {"units": "m"}}, {})
    columns = COLUMNS.model_copy(update={**moved("run/"), "x_unit_mm": 1.0})
    with pytest.raises(InputFileError, match=r"'run/x'.*is in 'm'.*x_unit_mm.*says 1 mm"):
        open_stored_run(path, columns=columns)
    good = columns.model_copy(update={"x_unit_mm": 1000.0})
    assert first_hit(path, good) == (1e3, -4e3, 7)


@pytest.mark.parametrize(
    ("unit", "match"),
    [("furlong", r"'furlong'.*not known.*known are m, cm, mm"), ("ns", "no length"),
     ("bins", "steps of the detector.*x_unit_mm")],
)  # fmt: skip
def test_units_that_cannot_be_used(tmp_path: Path, unit: str, match: str) -> None:
    path = hdf5(tmp_path / "a.h5", {"x": {"units": unit}}, {})
    with pytest.raises(InputFileError, match=match):
        open_stored_run(path)


def test_steps_need_their_size_from_the_setup(tmp_path: Path) -> None:
    path = csv(tmp_path / "a.csv", "shot,x,y,t (bins)")
    with pytest.raises(InputFileError, match=r"'bins'.*time_unit_ns"):
        open_stored_run(path)
    columns = COLUMNS.model_copy(update={"time": "t (bins)", "time_unit_ns": 0.025})
    assert first_hit(path, columns) == pytest.approx((1, -4, 0.175))


def by_field(path: Path) -> Path:
    fields = [
        pa.field(name, pa.from_numpy_dtype(np.asarray(values).dtype),
                 metadata={b"unit": b"m"} if name in "xy" else {})
        for name, values in ROWS.items()
    ]  # fmt: skip
    pq.write_table(pa.table(ROWS, schema=pa.schema(fields)), path)
    return path


def by_pandas(path: Path) -> Path:
    frame = pd.DataFrame(ROWS)
    frame.attrs["units"] = {"x": "m", "y": "m"}
    frame.to_parquet(path)
    return path


@pytest.mark.parametrize("write", [by_field, by_pandas])
def test_metadata_of_parquet_state_the_unit(tmp_path: Path, write: Callable[[Path], Path]) -> None:
    assert first_hit(write(tmp_path / "a.parquet")) == (1e3, -4e3, 7)


@pytest.mark.parametrize("order", [1, -1])
def test_the_order_of_columns_decides_nothing(tmp_path: Path, order: int) -> None:
    frame = pd.DataFrame(ROWS | {"tof": [70.0, 80.0, 90.0], "time": [1.0, 2.0, 3.0]})
    frame[frame.columns[::order]].to_csv(tmp_path / "a.csv", index=False)
    run = open_stored_run(tmp_path / "a.csv")
    assert [t for chunk in run for t in chunk.t_ns] == [70, 80, 90]
    assert "time from 'tof'" in run.choice
    assert "left aside" in run.choice
    assert "'t'" in run.choice


@pytest.mark.parametrize(
    ("header", "match"),
    [
        ("shot,x,X,y,t", "'x' or 'X'"),
        ("shot,x_raw,x_cal,y,t", "'x_raw' or 'x_cal'"),
        ("shot,x,x_corrected,y,t", "'x' or 'x_corrected'"),
        ("shot,x,y,tof_ns,tof_ps", "'tof_ns' or 'tof_ps'"),
        ("shot,shot_nr,x,y,t", "'shot' or 'shot_nr'"),
    ],
)
def test_two_columns_that_can_be_one(tmp_path: Path, header: str, match: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text(f"{header}\n1,2,3,4,5\n")
    with pytest.raises(InputFileError, match=match):
        open_stored_run(path)


def test_raw_columns_beside_those_of_the_usual_name(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("shot,x_raw,x,y,t\n1,2,3,4,5\n")
    assert first_hit(tmp_path / "a.csv") == (3, 4, 5)
    assert "'x_raw' left aside" in open_stored_run(tmp_path / "a.csv").choice


def test_columns_that_hold_no_numbers_are_told(tmp_path: Path) -> None:
    frame = pd.DataFrame(ROWS)
    frame["t"] = frame["t"].astype(str) + " ns"
    frame.to_parquet(tmp_path / "a.parquet")
    with pytest.raises(ColumnError, match=r"'t' does not hold numbers.*columns") as caught:
        open_stored_run(tmp_path / "a.parquet")
    assert "lacks" not in str(caught.value)


@pytest.mark.parametrize(
    ("title", "unit"),
    [("position [mm]", "mm"), ("x (µm)", "µm"), ("x[m]/F", None), ("x/D", None), ("x [n]", None)],
)
def test_titles_of_branches(title: str, unit: str | None) -> None:
    assert unit_in_title(title) == unit


def test_words_for_the_units_of_a_group(tmp_path: Path) -> None:
    path = hdf5(tmp_path / "a.h5", {}, {"length_unit": "m", "time_unit": "us"})
    assert first_hit(path) == (1e3, -4e3, 7e3)
    pixels = csv(tmp_path / "a.csv", f"shot,x_{'p'}x,y_{'p'}x,t")
    with pytest.raises(InputFileError, match=r"steps of the detector.*x_unit_mm"):
        open_stored_run(pixels)
