"""HDF5 tables as other programs write numbers: packed with scale and offset, vectors of MATLAB."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from molexa_core.base.errors import InputFileError
from molexa_core.base.settings.columns import Columns
from molexa_core.base.tables import Hits
from molexa_core.io.run import open_stored_run

X = np.array([1.25, -2.5, 3.75, 4.0, -1.5])
Y = np.array([0.5, 1.5, -2.5, 3.5, 2.0])
T = np.array([1100.0, 1101.0, 1102.5, 1104.0, 1105.0])
SHOT = np.array([1, 1, 4, 6, 6])


def _written(path: Path, shape: Callable[[np.ndarray], np.ndarray], shot: str = "shot") -> Path:
    with h5py.File(path, "w") as file:
        for name, values in ((shot, SHOT), ("x", X), ("y", Y), ("t", T)):
            file[name] = shape(values)
    return path


def _read(path: Path, columns: Columns | None = None) -> tuple[np.ndarray, ...]:
    hits = [one for one in open_stored_run(path, columns=columns) if isinstance(one, Hits)]
    x, y, t, counts = (
        np.concatenate([np.asarray(getattr(one, name)) for one in hits])
        for name in ("x_mm", "y_mm", "t_ns", "counts")
    )
    return x, y, t, counts


def _check(read: tuple[np.ndarray, ...]) -> None:
    x, y, t, counts = read
    for values, true in ((x, X), (y, Y), (t, T)):
        assert values == pytest.approx(true)
    assert counts.tolist() == [2, 0, 0, 1, 0, 2]


@pytest.mark.parametrize("shape", [lambda v: v, lambda v: v[None, :], lambda v: v[:, None]])
def test_vectors_with_a_second_axis_of_one_are_columns(
    shape: Callable[[np.ndarray], np.ndarray], tmp_path: Path
) -> None:
    _check(_read(_written(tmp_path / "run.h5", shape)))
    named = Columns(layout="rows", shot="zaehler", x="x", y="y", time="t")
    _check(_read(_written(tmp_path / "named.h5", shape, "zaehler"), named))


def test_lists_of_one_hit_without_a_shot_stay_lists(tmp_path: Path) -> None:
    path = tmp_path / "run.h5"
    with h5py.File(path, "w") as file:
        for name, values in (("x", X), ("y", Y), ("t", T)):
            file[name] = values[:, None]
    assert _read(path)[3].tolist() == [1] * 5


def test_packed_numbers_are_unpacked_by_scale_and_offset(tmp_path: Path) -> None:
    path = tmp_path / "run.h5"
    with h5py.File(path, "w") as file:
        file["shot"] = SHOT
        for name, values, scale, offset in (("x", X, 0.25, 2.0), ("y", Y, 0.5, 0.0)):
            file[name] = np.round((values - offset) / scale).astype(np.int16)
            file[name].attrs["scale_factor"], file[name].attrs["add_offset"] = scale, offset
        file["t"] = np.round((T - 1000.0) / 0.5).astype(np.int32)
        file["t"].attrs["scale_factor"] = np.array([0.5])
        file["t"].attrs["add_offset"] = 1000.0
    run = open_stored_run(path)
    _check(_read(path))
    assert "by scale_factor and add_offset" in run.choice


def test_the_number_for_missing_values_is_a_stored_one(tmp_path: Path) -> None:
    path = tmp_path / "run.h5"
    with h5py.File(path, "w") as file:
        for name, values in (("x", X), ("y", Y), ("t", T)):
            stored = np.full((5, 2), -32768, np.int16)
            stored[:, 0] = np.round(values / 0.1)
            file[name] = stored
            file[name].attrs["scale_factor"], file[name].attrs["_FillValue"] = 0.1, -32768
    assert _read(path)[3].tolist() == [1] * 5


@pytest.mark.parametrize("value", [0.0, np.nan, np.array([1.0, 2.0]), "0.1"])
def test_a_scale_that_is_none_is_refused(value: object, tmp_path: Path) -> None:
    path = _written(tmp_path / "run.h5", lambda v: v)
    with h5py.File(path, "r+") as file:
        file["x"].attrs["scale_factor"] = value
    with pytest.raises(InputFileError, match="scale_factor of x"):
        open_stored_run(path)
