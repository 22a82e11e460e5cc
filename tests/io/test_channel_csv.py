from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from molexa_core.base.errors import ColumnError, InputFileError, MolexaError, OutputError
from molexa_core.base.provenance import Provenance
from molexa_core.io.channel_csv import read_channel_csv, write_channel_csv

TABLE = pd.DataFrame(
    {
        "ion": ["O+", "H+", "H+"],
        "px": [55.125, -27.5, -27.625],
        "py": [0.0, 0.0, 0.0],
        "pz": [0.0, 40.0, -40.0],
        "px_err": [0.01, 0.02, np.nan],
        "py_err": [0.0, 0.0, 0.0],
        "pz_err": [0.0, 1 / 3, 0.03],
        "count": [1234.0, 1234.0, 1234.0],
        "label": ["reference", "second, in the plane", "H+ #2"],
    }
)


def write(folder: Path, text: str) -> Path:
    path = folder / "channel.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "channel.csv"
    record = Provenance.of("molexa centroid", seed=3, settings={"frame": "O+"})
    write_channel_csv(path, TABLE, record)
    table, provenance = read_channel_csv(path)
    pd.testing.assert_frame_equal(table, TABLE)
    assert provenance == record


def test_a_hand_written_file_with_four_columns(tmp_path: Path) -> None:
    text = "# by hand\n\n px , ion,py,pz\n1,O1+,2,-3e1\n\n  # a remark\n-1,H+,-2,30\n"
    table, provenance = read_channel_csv(write(tmp_path, text))
    assert provenance is None
    assert list(table.columns) == ["ion", "px", "py", "pz"]
    assert list(table["ion"]) == ["O+", "H+"]
    assert table["pz"].to_list() == [-30.0, 30.0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        ("# only a comment\n", "the file is empty"),
        ("ion,px,py,pz\n", "no ions below the header"),
        ("ion,px,py\nO+,1,2\n", "line 1: column pz is missing"),
        ("ion,px,px,py,pz\nO+,1,1,2,3\n", "line 1: column px is there twice"),
        ("# c\nion,px,py,pz,px_er\nO+,1,2,3,4\n", "line 2: unknown column 'px_er'. Did you mean"),
        ("ion,px,py,pz,px_err\nO+,1,2,3,4\n", "only px_err of the three errors"),
        ("ion,px,py,pz\nO+,1,2,3\nH+,1,two,3\n", "line 3: 'two' in column py is not a finite"),
        ("ion,px,py,pz\nO+,1,nan,3\n", "line 2: 'nan' in column py is not a finite number"),
        ("ion,px,py,pz\nO+,1,,3\n", "line 2: '' in column py is not a finite number"),
        ("ion,px,py,pz,count\nO+,1,2,3,-4\n", "line 2: -4 in column count is negative"),
        ("ion,px,py,pz\n\nQ+,1,2,3\n", "line 3: unknown element 'Q'"),
        ("ion,px,py,pz\nO,1,2,3\n", "line 2: 'O' is not an ion"),
        ("ion,px,py,pz\nO+,1,2\n", "line 2: 3 values for 4 columns"),
        ("# provenance: {broken\nion,px,py,pz\nO+,1,2,3\n", "the provenance line is damaged"),
        ("# provenance: [1]\nion,px,py,pz\nO+,1,2,3\n", "the provenance line is damaged"),
    ],
)
def test_faults_are_named_with_their_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(MolexaError) as error:
        read_channel_csv(write(tmp_path, text))
    assert message in str(error.value)
    assert "channel.csv" in str(error.value)
    assert "\n" not in str(error.value)


def test_not_text_and_far_too_long(tmp_path: Path) -> None:
    path = tmp_path / "channel.csv"
    path.write_bytes(b"root\xff\xfe\x00")
    with pytest.raises(InputFileError, match="not a text file"):
        read_channel_csv(path)
    path.write_bytes(b"ion,px,py,pz\n" + b"O+,1,2,3\n" * 600_000)
    with pytest.raises(InputFileError, match="too many for a table"):
        read_channel_csv(path)


def test_nothing_is_written_where_the_table_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(ColumnError, match="column pz is missing"):
        write_channel_csv(tmp_path / "a.csv", TABLE[["ion", "px", "py"]])
    with pytest.raises(OutputError, match="folder does not exist"):
        write_channel_csv(tmp_path / "no" / "a.csv", TABLE)
    assert list(tmp_path.iterdir()) == []
