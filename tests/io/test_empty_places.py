"""Places without a hit in tables that are filled up: one rule in every layout and format."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from molexa_core.base.errors import InputFileError
from molexa_core.base.settings.columns import Columns
from molexa_core.io.run import open_stored_run

COUNTS = [2, 0, 1, 3]
WIDTH = 4


def arrays(fill: float) -> dict[str, Any]:
    """x, y, t of four shots, each in a row filled up."""
    place = np.arange(WIDTH) < np.array(COUNTS)[:, None]
    values = 1.0 + np.arange(4.0 * WIDTH).reshape(4, WIDTH)
    return {name: np.where(place, values + k, fill) for k, name in enumerate("xyt")}


def to_hdf5(path: Path, columns: dict[str, Any]) -> None:
    with h5py.File(path, "w") as file:
        for name, values in columns.items():
            file[name] = values


def test_the_number_of_hits_has_a_fixed_rank_that_is_said(tmp_path: Path) -> None:
    """Not the first in the file: `hit` may be anything, `nhits` is what it says."""
    wrong = np.array([4, 4, 4, 4])
    for order in (("hit", "count", "nhits"), ("nhits", "count", "hit")):
        path = tmp_path / f"{order[0]}.h5"
        to_hdf5(path, arrays(7.0) | dict.fromkeys(order, wrong) | {"nhits": np.array(COUNTS)})
        run = open_stored_run(path)
        assert "number of hits in 'nhits'" in run.choice
        assert "'count', 'hit' left aside" in run.choice or "'count' and 'hit' left" in run.choice
        assert np.concatenate([np.diff(chunk.offsets) for chunk in run]).tolist() == COUNTS


def test_two_numbers_of_hits_of_one_rank_are_a_question(tmp_path: Path) -> None:
    path = tmp_path / "run.h5"
    to_hdf5(path, arrays(0.0) | {"n_hits": np.array(COUNTS), "numhits": np.full(4, 4)})
    with pytest.raises(InputFileError, match="can be the same: 'n_hits' or 'numhits'"):
        open_stored_run(path)


def to_npy(path: Path, columns: dict[str, Any]) -> None:
    kinds = [(name, "f8", np.shape(values)[1:]) for name, values in columns.items()]
    rows = np.zeros(4, kinds)
    for name, values in columns.items():
        rows[name] = values
    with path.open("wb") as stream:
        np.save(stream, rows)


def to_parquet(path: Path, columns: dict[str, Any]) -> None:
    stored = {
        name: pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), WIDTH)
        if np.ndim(values) == 2
        else pa.array(values)
        for name, values in columns.items()
    }
    pq.write_table(pa.table(stored), path)


def to_slots(path: Path, columns: dict[str, Any]) -> None:
    flat: dict[str, Any] = {}
    for name, values in columns.items():
        if np.ndim(values) == 2:
            flat |= {f"{name}_{i}": values[:, i] for i in range(WIDTH)}
        else:
            flat[name] = values
    pd.DataFrame(flat).to_csv(path, index=False)


WRITERS = {"hdf5": to_hdf5, "npy": to_npy, "parquet": to_parquet, "slots": to_slots}


def counts(path: Path, columns: Columns | None = None) -> list[int]:
    run = open_stored_run(path, columns=columns)
    return [int(n) for chunk in run for n in chunk.counts]


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("fill", [0.0, np.nan])
@pytest.mark.parametrize("counted", [False, True])
def test_filled_up_rows(tmp_path: Path, kind: str, fill: float, counted: bool) -> None:
    columns = arrays(fill) | ({"nhits": np.array(COUNTS)} if counted else {})
    WRITERS[kind](tmp_path / "run", columns)
    run = open_stored_run(tmp_path / "run")
    assert ("number of hits in 'nhits'" in run.choice) == counted
    assert counts(tmp_path / "run") == COUNTS
    assert run.warnings == []


@pytest.mark.parametrize("kind", WRITERS)
def test_more_hits_than_places(tmp_path: Path, kind: str) -> None:
    WRITERS[kind](tmp_path / "run", arrays(0.0) | {"nhits": np.array([2, 0, 5, 3])})
    with pytest.raises(InputFileError, match=r"'nhits' says 5 hits in shot 2.*0 to 4"):
        counts(tmp_path / "run")


def test_another_filling_must_be_declared(tmp_path: Path) -> None:
    to_hdf5(tmp_path / "run", arrays(-999.0))
    run = open_stored_run(tmp_path / "run")
    list(run)
    assert "empty: -999" in run.warnings[0]
    columns = Columns(layout="jagged", x="x", y="y", time="t", empty=-999)
    assert counts(tmp_path / "run", columns) == COUNTS
    to_hdf5(tmp_path / "stated", arrays(-999.0))
    with h5py.File(tmp_path / "stated", "r+") as file:
        file["t"].attrs["_FillValue"] = -999.0
    assert counts(tmp_path / "stated") == COUNTS


def test_rows_behind_the_last_hit(tmp_path: Path) -> None:
    """A table that was made too long, the rest of it zeros."""
    rows = np.zeros(9, [(name, "f8") for name in ("shot", "x", "y", "t")])
    for name in rows.dtype.names or ():
        rows[name][:4] = [4, 4, 5, 7]
    with (tmp_path / "run").open("wb") as stream:
        np.save(stream, rows)
    run = open_stored_run(tmp_path / "run")
    assert [int(n) for chunk in run for n in chunk.counts] == [2, 1, 0, 1]
    assert "left out 5 rows" in run.remarks[0]


def test_axes_of_trains_and_pulses(tmp_path: Path) -> None:
    """x, y and t per train, pulse and place; numbers of hits per train and pulse."""
    columns = {name: values.reshape(2, 2, WIDTH) for name, values in arrays(0.0).items()}
    to_hdf5(tmp_path / "run", columns)
    assert counts(tmp_path / "run") == COUNTS
    to_hdf5(tmp_path / "counted", columns | {"nhits": np.array(COUNTS).reshape(2, 2)})
    run: Any = open_stored_run(tmp_path / "counted")
    assert "number of hits in 'nhits'" in run.choice
    for chunk in (None, 1, 3):
        found = [int(n) for part in run.iterate(chunk) for n in part.counts]
        assert found == COUNTS


def test_numbers_of_hits_that_do_not_fit_the_hits(tmp_path: Path) -> None:
    to_hdf5(tmp_path / "rows", arrays(0.0) | {"nhits": np.array(COUNTS[:3])})
    with pytest.raises(InputFileError, match="x has 4 rows, but nhits has 3"):
        open_stored_run(tmp_path / "rows")
    flat = {name: np.arange(1.0, 7.0) for name in "xyt"}
    to_hdf5(tmp_path / "flat", flat | {"n": np.array([2, 1])})
    columns = Columns(layout="jagged", x="x", y="y", time="t", count="n")
    with pytest.raises(InputFileError, match="n adds up to 3 hits, but x has 6"):
        counts(tmp_path / "flat", columns)


def test_numbers_of_detectors_are_no_slots(tmp_path: Path) -> None:
    names = [f"det{i}_{name}" for i in (1, 2) for name in "xyt"]
    (tmp_path / "run.csv").write_text(",".join(names) + "\n1,2,3,4,5,6\n")
    with pytest.raises(InputFileError, match="'det1_x' or 'det2_x'"):
        open_stored_run(tmp_path / "run.csv")


def test_values_behind_the_number_of_hits(tmp_path: Path) -> None:
    to_hdf5(tmp_path / "run", arrays(0.0) | {"nhits": np.array([2, 0, 1, 2])})
    run = open_stored_run(tmp_path / "run")
    assert sum(chunk.n_hits for chunk in run) == 5
    assert "1 places hold values behind the number of hits" in run.warnings[0]
