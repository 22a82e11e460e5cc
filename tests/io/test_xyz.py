"""XYZ files: round trips, files from elsewhere, and every fault that a hand can make."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from molexa_core.base.errors import InputFileError, OutputError, UsageError
from molexa_core.base.provenance import Provenance
from molexa_core.base.tables import Geometry
from molexa_core.base.units import BOHR_ANGSTROM
from molexa_core.io.xyz import read_provenance, read_xyz, write_xyz

WATER = "3\na comment\nO 0 0 0\nH 0.958 0 0\nh -0.24 0.927 0 extra\n"


def test_a_plain_file_is_in_angstrom(tmp_path: Path) -> None:
    path = tmp_path / "water.xyz"
    path.write_text(WATER)
    (water,) = read_xyz(path)
    assert water.symbols == ("O", "H", "H")
    assert water.comment == "a comment"
    assert water.charges is None
    assert water.positions[1, 0] == pytest.approx(0.958 / BOHR_ANGSTROM)
    assert read_provenance(path) is None


def test_round_trip_keeps_everything(tmp_path: Path, rng: np.random.Generator) -> None:
    path = tmp_path / "out.xyz"
    written = [
        Geometry(("O", "Cl"), rng.normal(size=(2, 3)), comment='say "hello" \\ twice'),
        Geometry(
            ("Si", "H", "H"),
            rng.normal(size=(3, 3)),
            charges=(4, 1, 0),
            uncertainty=rng.uniform(size=(3, 3)),
        ),
    ]
    record = Provenance.of('molexa simulate "a b.xyz"', settings={"tau": 45.0}, seed=3)
    write_xyz(path, written, record)
    read = read_xyz(path)
    assert len(read) == 2
    for one, other in zip(written, read, strict=True):
        assert (other.symbols, other.charges, other.comment) == (
            one.symbols,
            one.charges,
            one.comment,
        )
        np.testing.assert_allclose(other.positions, one.positions, atol=2e-10)
    assert read[0].uncertainty is None
    assert written[1].uncertainty is not None
    assert read[1].uncertainty is not None
    np.testing.assert_allclose(read[1].uncertainty, written[1].uncertainty, atol=2e-10)
    assert read_provenance(path) == record


def test_other_programs_read_the_file(tmp_path: Path) -> None:
    ase_io = pytest.importorskip("ase.io")
    path = tmp_path / "out.xyz"
    geometry = Geometry(("O", "H"), np.array([[0.0, 0, 0], [1.8, 0, 0]]), charges=(1, 1))
    write_xyz(path, [geometry], Provenance.of("molexa simulate 'a' \"b\""))
    atoms = ase_io.read(path, format="extxyz")
    np.testing.assert_allclose(atoms.get_positions(), geometry.positions * BOHR_ANGSTROM, atol=1e-9)
    assert atoms.get_chemical_symbols() == ["O", "H"]


def test_columns_in_any_order_and_unknown_ones(tmp_path: Path) -> None:
    path = tmp_path / "in.xyz"
    path.write_text(
        '2\nLattice="1 0 0 0 1 0 0 0 1" Properties=id:I:1:pos:R:3:species:S:1:tag:L:1 energy=-1\n'
        "1 0 0 1 O T\n2 0 0 2 6 F\n\n\n"
    )
    (geometry,) = read_xyz(path)
    assert geometry.symbols == ("O", "C")
    np.testing.assert_allclose(geometry.positions[:, 2] * BOHR_ANGSTROM, [1, 2])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        ("water\n", "expected the number of atoms"),
        ("4\nc\nO 0 0 0\nH 1 0 0\nH 0 1 0\n", "4 atoms announced, but only 3 lines follow"),
        ("2\nc\nO 0 0 0\nH 1 0 0\nH 0 1 0\n", "line 5: expected the number of atoms"),
        ("0\nc\n", "no possible number of atoms"),
        ("99999999999999\nc\n", "no possible number of atoms"),
        ("1\nc\nXq 0 0 0\n", "unknown element 'Xq'"),
        ("1\nc\nO 0 0\n", "expected 4 columns, found 3"),
        ("1\nc\nO 0 zero 0\n", "'zero' is not a finite number"),
        ("1\nc\nO 0 nan 0\n", "'nan' is not a finite number"),
        ("1\nProperties=species:S:1:pos:R:2\nO 0 0\n", "species and pos"),
        ("1\nProperties=species:S:1:pos:R:3:charge:I:1\nO 0 0 0 1.5\n", "'1.5' is not a charge"),
    ],
)
def test_faults_are_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "bad.xyz"
    path.write_text(text)
    with pytest.raises(InputFileError, match=message):
        read_xyz(path)


def test_missing_binary_and_unwritable_files(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match="no such file"):
        read_xyz(tmp_path / "none.xyz")
    path = tmp_path / "binary.xyz"
    path.write_bytes(b"\xff\xfe\x00\x9f")
    with pytest.raises(InputFileError, match="not a text file"):
        read_xyz(path)
    geometry = Geometry(("O",), np.zeros((1, 3)))
    with pytest.raises(OutputError, match="folder does not exist"):
        write_xyz(tmp_path / "no" / "out.xyz", [geometry])
    with pytest.raises(UsageError, match="no structure"):
        write_xyz(tmp_path / "out.xyz", [])
    assert not list(tmp_path.glob("*out*"))


@given(text=st.text(max_size=200))
def test_any_text_is_read_or_refused_in_one_sentence(
    text: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("any") / "any.xyz"
    path.write_text(text, encoding="utf-8", errors="replace")
    try:
        read_xyz(path)
    except InputFileError as error:
        assert str(path) in str(error)
