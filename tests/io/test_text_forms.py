"""Text tables as spreadsheets, R, numpy, Fortran and acquisitions write them."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from molexa_core.base.errors import ColumnError, InputFileError
from molexa_core.base.settings.columns import Columns, EdgeColumns
from molexa_core.io.run import open_stored_run
from molexa_core.io.tables.text_table import TextTable

ROWS = [(1, 7.09, 5.94, 1103.35), (1, -6.61, -3.74, 1159.01), (4, -2.48, 10.44, 1112.5)]
NAMES = ("shot", "x", "y", "t")


def lines(separator: str = ",", decimal: str = ".", head: str | None = None) -> str:
    body = [separator.join(str(value).replace(".", decimal) for value in row) for row in ROWS]
    return "\n".join([separator.join(NAMES) if head is None else head, *body]) + "\n"


FORMS = {
    "semicolon": lines(";", ","),
    "tab and comma": lines("\t", ","),
    "blanks and comma": lines(" ", ","),
    "bar": lines("|"),
    "commas and blanks": lines(", "),
    "CRLF": lines().replace("\n", "\r\n"),
    "CR": lines().replace("\n", "\r"),
    "blank lines": lines().replace("\n", "\n\n"),
    "no last end of line": lines().rstrip(),
    "savetxt": lines(" ", head="# shot x y t"),
    "savetxt, percent": lines(" ", head="% shot x y t"),
    "savetxt, slashes": lines(" ", head="// shot x y t"),
    "no blank behind the sign": lines(",", head="#shot,x,y,t"),
    "commas above blanks": lines(" ", head="# shot, x, y, t"),
    "names behind a word": lines(" ", head="# columns: shot x y t"),
    "names among comments": lines(" ", head="# run 17 of Tuesday\n# shot x y t\n# a b c d"),
    "units in the comment": lines(" ", head="# shot x [mm] y [mm] t [ns]"),
    "a line of units": lines(",", head="shot,x,y,t\n,mm,mm,ns"),
    "a line of units in brackets": lines("\t", head="shot\tx\ty\tt\n[]\t[mm]\t[mm]\t[ns]"),
    "text above the names": lines(",", head="Run 17\nnitrogen, 40 Hz\nshot,x,y,t"),
    "quotes": lines(",", head='"shot","x","y","t"'),
    "all quoted": "\n".join(",".join(f'"{v}"' for v in row) for row in [NAMES, *ROWS]),
    "decimal commas in quotes": "shot,x,y,t\n"
    + "".join(",".join(f'"{v}"'.replace(".", ",") for v in row) + "\n" for row in ROWS),
    "single quotes": lines(",", head="'shot','x','y','t'").replace("'", '"'),
    "R": '"shot" "x" "y" "t"\n'
    + "".join(f'"{i}" {" ".join(map(str, row))}\n' for i, row in enumerate(ROWS, 1)),
    "R without quotes": "shot x y t\n"
    + "".join(f"{i} {' '.join(map(str, row))}\n" for i, row in enumerate(ROWS, 1)),
    "an index of pandas": ",shot,x,y,t\n"
    + "".join(f"{i},{','.join(map(str, row))}\n" for i, row in enumerate(ROWS)),
    "separators at the end": lines().replace("\n", ",\n"),
    "separators at the end of values": lines().replace("\n", ",\n").replace("t,\n", "t\n", 1),
    "Fortran": "shot x y t\n"
    + "".join(f"{row[0]} " + " ".join(f"{v:.4E}".replace("E", "D") for v in row[1:]) + "\n"
              for row in [(1, 7.09, 5.94, 1103.35), *ROWS[1:]]),
    "plus signs": lines().replace("1,7.09", "1,+7.09"),
    "behind the values": lines().replace("5.94,1103.35", "5.94,1103.35  # good"),
}  # fmt: skip


@pytest.mark.parametrize("name", FORMS)
def test_forms_of_text(tmp_path: Path, name: str) -> None:
    path = tmp_path / "run.txt"
    path.write_bytes(FORMS[name].encode())
    chunks = list(open_stored_run(path))
    counts = [int(n) for chunk in chunks for n in chunk.counts]
    assert counts == [2, 0, 0, 1]
    values = np.concatenate([np.stack([c.x_mm, c.y_mm, c.t_ns], axis=1) for c in chunks])
    np.testing.assert_allclose(values, [row[1:] for row in ROWS], rtol=1e-4)


@pytest.mark.parametrize("code", ["utf-8-sig", "utf-16", "utf-16-le", "latin-1", "utf-8"])
def test_codes_of_text(tmp_path: Path, code: str) -> None:
    path = tmp_path / "run.csv"
    path.write_bytes(
        ("# Durchlauf für µm\n" + lines(head="shot,x (µm),y (µm),t (ns)")).encode(code)
    )
    run = open_stored_run(path)
    assert "x and y in µm" in run.choice
    assert next(iter(run)).x_mm[0] == pytest.approx(7.09e-3)


def test_packed_text(tmp_path: Path) -> None:
    path = tmp_path / "run.csv.gz"
    path.write_bytes(gzip.compress(lines().encode()))
    assert sum(chunk.n_hits for chunk in open_stored_run(path)) == 3
    path.write_bytes(path.read_bytes()[:-12])
    with pytest.raises(InputFileError, match="ended before|damaged or truncated"):
        list(open_stored_run(path))
    path.write_bytes(b"PK\x03\x04" + bytes(40))
    with pytest.raises(InputFileError, match="packed with zip"):
        open_stored_run(path)


@pytest.mark.parametrize(
    ("comment", "hit"),
    [
        ("# units: m, us", (7090, 5940, 1103350)),
        ("# x, y in cm; t in ps", (70.9, 59.4, 1.10335)),
        ("# positions in um, times in ns", (7.09e-3, 5.94e-3, 1103.35)),
        ("# - {name: x, unit: m}\n# - {name: y, unit: cm}", (7090, 59.4, 1103.35)),
    ],
)
def test_units_in_comments(tmp_path: Path, comment: str, hit: tuple[float, ...]) -> None:
    path = tmp_path / "run.csv"
    path.write_text(f"{comment}\n{lines()}")
    chunk = next(iter(open_stored_run(path)))
    found = (chunk.x_mm[0], chunk.y_mm[0], chunk.t_ns[0])
    assert found == pytest.approx(hit)


BAD = {
    "one name short": ("shot,x,y,t\n1,2,3,4,5\n7,2,3,4,5\n", "line 1 has 4 names.*5 values"),
    "two names short": ("shot,x,y,t\n1,2,3,4,5,6\n", "line 1 has 4 names.*6 values"),
    "one name more": ("shot,x,y,z,t\n1,2,3,4\n", "line 1 has 5 names.*4 values"),
    "too short": ("shot,x,y,t\n1,2,3,4\n1,2,3\n", "line 3 has 3 values, those before it have 4"),
    "too long": (
        "shot,x,y,t\n1,2,3,4\n" + "1,2,3,4\n" * 300 + "1,2,3,4,5\n",
        "line 303 has 5 values",
    ),
    "blank too short": ("# a\nshot x y t\n1 2 3 4\n\n1 2 3\n", "line 5 has 3 values"),
    "thousands": ('shot,x,y,t\n1,2,3,"1,103.35"\n1,2,3,"1,159.01"\n', "separators of thousands"),
    "German thousands": ("shot;x;y;t\n1;7,09;3,2;1.103,35\n", "separators of thousands"),
    "mixed decimals": ("shot;x;y;t\n1;7.09;3.2;4,5\n1;7.1;3;4,5\n", "decimal comma"),
    "duplicate": ("shot,x,x,y,t\n1,2,3,4,5\n", "2 columns named 'x'"),
    "no shot": ("x,y,t\n1,2,3\n", "no column whose name tells the shot"),
    "footer": ("shot,x,y,t\n1,2,3,4\nend of run\n", "line 3 has 1 value"),
}


@pytest.mark.parametrize("name", BAD)
def test_text_that_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "run.csv"
    text, message = BAD[name]
    path.write_text(text)
    with pytest.raises(InputFileError, match=message) as caught:
        list(open_stored_run(path))
    assert str(path) in str(caught.value)
    assert caught.value.do


def test_what_the_setup_names_is_a_header(tmp_path: Path) -> None:
    path = tmp_path / "run.txt"
    path.write_text(lines(" ", head="# laser a b c"))
    columns = Columns(layout="rows", shot="laser", x="a", y="b", time="c")
    assert next(iter(open_stored_run(path, columns=columns))).x_mm[0] == 7.09
    assert list(TextTable(path).kinds) == ["0", "1", "2", "3"]


def test_unknown_columns_keep_the_remedy(tmp_path: Path) -> None:
    path = tmp_path / "run.csv"
    path.write_text("a;b;c\n1;zwei;3\n")
    with pytest.raises(InputFileError, match=r"not numbers: b \(text\).*`columns` of the setup"):
        open_stored_run(path)
    path.write_text("shot;x;y;t\n1;one;2;3\n")
    with pytest.raises(
        InputFileError, match=r"'x' does not hold numbers \(type text, such as 'one'"
    ):
        open_stored_run(path)
    columns = Columns(layout="rows", shot="shot", x="x", y="y", time="t")
    with pytest.raises(ColumnError, match=r"type text \(such as 'one'\)"):
        open_stored_run(path, columns=columns)


def test_settings_that_are_not_used_are_said(tmp_path: Path) -> None:
    path = tmp_path / "run.csv"
    path.write_text(lines())
    edges = EdgeColumns(channel="channel", time="t_ns", shot="event")
    run = open_stored_run(path, edge_columns=edges)
    assert not run.edges
    assert "`edge_columns` of the setup is not used for these hits" in run.choice


def test_lines_in_which_nothing_stands(tmp_path: Path) -> None:
    """Shots without hits, the first among them, in a table with a column per slot."""
    path = tmp_path / "run.csv"
    path.write_text("x1,y1,t1,x2,y2,t2\n,,,,,\n,,,,,\n1,2,3,,,\n,,,,,\n1,2,3,4,5,6\n")
    chunks = list(open_stored_run(path))
    assert [int(n) for chunk in chunks for n in chunk.counts] == [0, 0, 1, 0, 2]
    path.write_text("n,x1,y1,t1\n0,,,\n1,2,3,4\n")
    chunks = list(open_stored_run(path))
    assert [int(n) for chunk in chunks for n in chunk.counts] == [0, 1]


def test_a_comment_about_units_that_is_not_understood(tmp_path: Path) -> None:
    path = tmp_path / "run.csv"
    path.write_text("# units as in the logbook\n" + lines())
    assert "units as in the logbook" in open_stored_run(path).warnings[0]
    path.write_text("# units: mm, ns\n" + lines())
    assert open_stored_run(path).warnings == []
