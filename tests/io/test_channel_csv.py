from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from molexa_core.base.errors import ColumnError, InputFileError, MolexaError, OutputError
from molexa_core.base.progress import CollectingProgress
from molexa_core.base.storage.provenance import Provenance
from molexa_core.base.units import (
    ATOMIC_MOMENTUM_SI,
    ATOMIC_VELOCITY_M_S,
    DALTON_ME,
    FINE_STRUCTURE,
    HARTREE_EV,
)
from molexa_core.io.results.channel_csv import read_channel_csv, write_channel_csv

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


ROWS = (("O+", -1.0, 30.0, 2.0), ("H+", 0.5, -20.0, 1.5))


def table_in(value: float, header: str, comment: str = "") -> str:
    lines = [f"{ion},{','.join(repr(p / value) for p in rest)}" for ion, *rest in ROWS]
    return "\n".join([*([comment] if comment else []), header, *lines]) + "\n"


@pytest.mark.parametrize(
    ("value", "unit", "header", "comment"),
    [
        (1 / ATOMIC_MOMENTUM_SI, "kg m/s", "ion,px (kg m/s),py (kg m/s),pz (kg m/s)", ""),
        (1 / ATOMIC_MOMENTUM_SI, "kg m/s", "ion,px [kg*m/s],py [kg m s^-1],pz/kg·m·s⁻¹", ""),
        (1 / ATOMIC_MOMENTUM_SI, "kg m/s", "ion,px_si,py_SI,pz_si", ""),
        (1 / ATOMIC_MOMENTUM_SI, "kg m/s", "ion,px,py,pz", "# kg m/s"),
        (FINE_STRUCTURE / HARTREE_EV * 1e3, "keV/c", "ion,px (keV/c),py (keV/c),pz (keV/c)", ""),
        (DALTON_ME / ATOMIC_VELOCITY_M_S, "u m/s", "ion,px (u m/s),py (amu m/s),pz (u m/s)", ""),
        (DALTON_ME / ATOMIC_VELOCITY_M_S, "u m/s", "ion,px,py,pz", "# units: amu m/s"),
        (1e3 * DALTON_ME / ATOMIC_VELOCITY_M_S, "u mm/us", "ion,px,py,pz", "# in mm/µs u"),
        (1e-24 / ATOMIC_MOMENTUM_SI, "1e-24 kg m/s", "ion,px,py,pz", "# in 10^-24 kg m/s"),
        (1e-24 / ATOMIC_MOMENTUM_SI, "1e-24 kg m/s", "ion,px,py,pz", "# p (1e-24 kg·m/s)"),
        (2e-24 / ATOMIC_MOMENTUM_SI, "2e-24 kg m/s", "ion,px,py,pz", "# unit: 2x10⁻²⁴ kg m s⁻¹"),
        (
            1e-24 / ATOMIC_MOMENTUM_SI,
            "1e-24 kg m/s",
            "ion,px [1e-24 kg m/s],py (10^-24 kg m/s),pz (10**-24 kg m/s)",
            "",
        ),
        (1 / ATOMIC_MOMENTUM_SI, "kg m/s", "ion,px,py,pz", "# kg m/s, errors below 1e-26 kg m/s"),
    ],
)
def test_stated_units_are_converted_and_said(
    tmp_path: Path, value: float, unit: str, header: str, comment: str
) -> None:
    path = write(tmp_path, table_in(value, header, comment))
    progress = CollectingProgress()
    table, _ = read_channel_csv(path, progress)
    for row, (ion, *momentum) in zip(table.itertuples(index=False), ROWS, strict=True):
        assert row.ion == ion
        assert [row.px, row.py, row.pz] == pytest.approx(momentum, rel=1e-9)
    assert progress.said == [f"{path}: momenta in {unit}, converted"]


@pytest.mark.parametrize("header", ["ion,px (a.u.),py [au],pz/a.u.", "ion,px_au,py_au,pz_au"])
def test_atomic_units_may_be_stated(tmp_path: Path, header: str) -> None:
    progress = CollectingProgress()
    table, _ = read_channel_csv(write(tmp_path, table_in(1.0, header)), progress)
    assert table["py"].to_list() == [30.0, -20.0]
    assert progress.said == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (table_in(1, "ion,px (furlong),py,pz"), "unknown unit 'furlong' in column 'px (furlong)'"),
        (table_in(1, "ion,px (a.u.),py,pz"), "some momenta have a unit in their names"),
        (table_in(1, "ion,px (a.u.),py (kg m/s),pz (a.u.)"), "contradict each other: a.u., kg m/s"),
        (table_in(1, "ion,px,py,pz", "# kg m/s, once in a.u."), "contradict each other"),
        ("ion,px,py,pz\nO+,1,5,2,3\n", "Are there decimal commas?"),
        ('ion,px,py,pz\nO+,"1,5",2,3\n', "decimal point"),
    ],
)
def test_units_and_numbers_that_cannot_be_told(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(MolexaError) as error:
        read_channel_csv(write(tmp_path, text))
    assert message in str(error.value)


def test_forms_of_other_programs(tmp_path: Path) -> None:
    path = tmp_path / "channel.csv"
    path.write_bytes("# Ångström\nion;px;py;pz\nO+;1,5;-2D+00;.5\n".encode("latin-1"))
    table, _ = read_channel_csv(path)
    assert table.iloc[0].to_list() == ["O+", 1.5, -2.0, 0.5]
    table, _ = read_channel_csv(write(tmp_path, "ion\tpx\tpy\tpz\nD+\t1\t2\t3\n18O2+\t1\t1\t1\n"))
    assert table["ion"].to_list() == ["D+", "18O2+"]


def test_isotopes_and_masses_are_written_and_read(tmp_path: Path) -> None:
    ions = ["D+", "13C2+", "37Cl+", "Cl+@35.45", "T+"]
    written = pd.DataFrame({"ion": ions, "px": 1.0, "py": 2.0, "pz": 3.0})
    write_channel_csv(tmp_path / "channel.csv", written)
    table, _ = read_channel_csv(tmp_path / "channel.csv")
    pd.testing.assert_frame_equal(table, written)


def test_labels_that_a_spreadsheet_would_compute_are_harmless_and_come_back(
    tmp_path: Path,
) -> None:
    label = '=HYPERLINK("http://a.b","c")'
    table = pd.DataFrame(
        {"ion": ["O+", "H+"], "px": [-1.0, 1.0], "py": [0.0, 0.0], "pz": [0.0, 0.0]}
    ).assign(label=[label, "+1"])
    record = Provenance.of("molexa centroid a,=1+1.h5", settings={"=x": ",@y"})
    write_channel_csv(tmp_path / "a.csv", table, record)
    text = (tmp_path / "a.csv").read_text(encoding="utf-8")
    assert ",=" not in text
    assert ",@" not in text
    assert ",+" not in text
    assert '"=' not in text.split("\n", 2)[2]
    again, found = read_channel_csv(tmp_path / "a.csv")
    assert list(again["label"]) == [label, "+1"]
    assert list(again["px"]) == [-1.0, 1.0]
    assert found == record


def test_an_endless_line_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "channel.csv"
    path.write_text("ion,px,py,pz\nH+,1,2," + "3" * 200_000 + "\n", encoding="utf-8")
    with pytest.raises(InputFileError, match="line 2: not a line of a table"):
        read_channel_csv(path)


@pytest.mark.parametrize("comment", ["# units: furlongs", "# momenta in stones km/h"])
def test_a_unit_in_a_comment_that_is_not_understood_is_a_warning(
    tmp_path: Path, comment: str
) -> None:
    table, _ = read_channel_csv(write(tmp_path, table_in(1.0, "ion,px,py,pz", comment)))
    assert "is not understood" in table.attrs["warnings"][0]
    told = table_in(1.0, "ion,px (a.u.),py (a.u.),pz (a.u.)", comment)
    assert read_channel_csv(write(tmp_path, told))[0].attrs["warnings"] == []
