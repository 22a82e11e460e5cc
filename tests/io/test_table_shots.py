"""The number of the shot: which column tells it, and what cannot be one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest

from molexa_core.base.errors import InputFileError
from molexa_core.base.settings.columns import Columns
from molexa_core.io.run import open_stored_run

XYT = {"x": 1.0, "y": 2.0, "t": 3.0}


def table(path: Path, **columns: Any) -> Path:
    pd.DataFrame(columns | XYT).to_csv(path, index=False)
    return path


def counts(path: Path, **options: Any) -> list[int]:
    return [int(n) for chunk in open_stored_run(path, **options) for n in chunk.counts]


@pytest.mark.parametrize(
    "name", ["shot", "trigger nr", "trigger_nr", "TriggerNr", "trig", "bunch", "bunch_id",
             "pulse_id", "pulseId", "event", "EventID", "evt", "eventNumber", "tagNumber"],
)  # fmt: skip
def test_names_of_the_shot(tmp_path: Path, name: str) -> None:
    assert counts(table(tmp_path / "a.csv", **{name: [3, 3, 5]})) == [2, 0, 1]


def test_a_fixed_order_of_names_that_is_said(tmp_path: Path) -> None:
    path = table(tmp_path / "a.csv", event=[0, 1, 2], trigger=[3, 3, 5])
    run = open_stored_run(path)
    assert "shots in 'trigger'" in run.choice
    assert "'event' left aside" in run.choice
    assert counts(path) == [2, 0, 1]


@pytest.mark.parametrize("names", [("trainId", "pulseId"), ("train_id", "pulse_id"),
                                   ("macroBunchPulseId", "dldMicrobunchId")])  # fmt: skip
def test_trains_and_pulses(tmp_path: Path, names: tuple[str, str]) -> None:
    """Every train has as many shots as there are pulses; those without a row are empty."""
    train, pulse = [10, 10, 10, 12, 12], [8, 8, 40, 8, 24]
    path = table(tmp_path / "a.csv", **{names[0]: train, names[1]: pulse})
    assert counts(path) == [2, 0, 1, 0, 0, 0, 1, 1]
    columns = Columns(layout="rows", shot=names, x="x", y="y", time="t")
    assert counts(path, columns=columns) == [2, 0, 1, 0, 0, 0, 1, 1]
    one = columns.model_copy(update={"shot": names[1]})
    with pytest.raises(InputFileError, match=r"goes back to 8.*shot: \[trainId, pulseId\]"):
        counts(path, columns=one)


def test_a_shot_that_never_repeats(tmp_path: Path) -> None:
    rows, twice = np.arange(40), np.arange(40) // 2
    path = table(tmp_path / "a.csv", trigger=rows, event=twice)
    with pytest.raises(InputFileError, match=r"'trigger'.*occurs twice.*'event'.*do"):
        open_stored_run(path)
    run = open_stored_run(table(tmp_path / "b.csv", event=rows, group=twice))
    assert len(run.warnings) == 1
    assert "'group'" in run.warnings[0]
    assert open_stored_run(table(tmp_path / "c.csv", event=twice)).warnings == []


@pytest.mark.parametrize(
    ("dtype", "first", "match"),
    [(np.float32, 2**24, "float32.*up to 16777216"), (np.float64, 2**53, "float64.*up to 9007"),
     (np.float16, 2**11, "float16.*up to 2048")],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["hdf5", "npy", "parquet"])
def test_numbers_that_a_type_cannot_tell_apart(
    tmp_path: Path, dtype: Any, first: int, match: str, kind: str
) -> None:
    for above in (0, 1):
        shots = (np.array([-2, -1, 0]) * (1 - above) - 8 + first * (1 + above)).astype(dtype)
        path = tmp_path / f"{kind}{above}"
        frame = pd.DataFrame({"shot": shots} | XYT)
        if kind == "hdf5":
            with h5py.File(path, "w") as file:
                file["table"] = frame.to_records(index=False)
        elif kind == "npy":
            with path.open("wb") as stream:
                np.save(stream, np.asarray(frame.to_records(index=False)))
        else:
            frame.to_parquet(path)
        if above:
            with pytest.raises(InputFileError, match=match):
                counts(path)
        else:
            assert counts(path) == [1, 1, 1]


def test_a_counter_of_32_bits_goes_on(tmp_path: Path) -> None:
    path = table(tmp_path / "a.csv", shot=[2**32 - 2, 2**32 - 2, 1, 1, 2])
    run = open_stored_run(path)
    assert [int(n) for chunk in run for n in chunk.counts] == [2, 0, 0, 2, 1]
    assert any("began again at 0 1 time" in remark for remark in run.remarks)
    with pytest.raises(InputFileError, match="a counter of 16 bits that began again"):
        counts(table(tmp_path / "b.csv", shot=[65534, 65535, 0, 1]))


@pytest.mark.parametrize("kind", ["nan", "negative"])
def test_numbers_that_are_none(tmp_path: Path, kind: str) -> None:
    shots = [1, 1, np.nan if kind == "nan" else -4]
    with pytest.raises(InputFileError, match="in row 2, which is no number of a shot"):
        counts(table(tmp_path / "a.csv", shot=shots))


@pytest.mark.parametrize(("form", "bad"), [("%.5e", True), ("%.18e", False)])
def test_numbers_written_with_too_few_digits(tmp_path: Path, form: str, bad: bool) -> None:
    rows = np.array([[1_700_000_001, 1, 2, 3], [1_700_000_002, 1, 2, 3]])
    np.savetxt(tmp_path / "a.txt", rows, fmt=form, header="shot x y t")
    if bad:
        with pytest.raises(InputFileError, match="with 6 digits"):
            counts(tmp_path / "a.txt")
    else:
        assert counts(tmp_path / "a.txt") == [1, 1]
