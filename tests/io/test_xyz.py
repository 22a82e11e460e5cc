"""XYZ files: round trips, files from elsewhere, and every fault that a hand can make."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from molexa_core.base.errors import InputFileError, OutputError, UsageError
from molexa_core.base.matter.lengths import length_warning
from molexa_core.base.progress import CollectingProgress
from molexa_core.base.storage.provenance import Provenance
from molexa_core.base.tables import Geometry
from molexa_core.base.units import BOHR_ANGSTROM
from molexa_core.io.xyz import read_provenance, read_xyz, write_xyz
from molexa_core.physics.molecules.library import molecule, molecules

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


ANGSTROM = "3\n{}\nO 0 0 0.1173\nH 0 0.7572 -0.4692\nH 0 -0.7572 -0.4692\n"
OTHER_UNITS = {"bohr": 1 / BOHR_ANGSTROM, "nm": 0.1, "pm": 100.0}


def water_in(unit: str, comment: str, behind: str = "") -> str:
    scale = OTHER_UNITS[unit]
    rows = [(0, 0, 0.1173), (0, 0.7572, -0.4692), (0, -0.7572, -0.4692)]
    lines = [
        f"{symbol} {x * scale:.9f} {y * scale:.9f} {z * scale:.9f}"
        for symbol, (x, y, z) in zip("OHH", rows, strict=True)
    ]
    return "\n".join([f"3{behind}", comment, *lines]) + "\n"


@pytest.mark.parametrize(
    ("unit", "comment", "behind"),
    [
        ("bohr", "water, coordinates in bohr", ""),
        ("bohr", "units=bohr", ""),
        ("bohr", 'energy=-76.1 units="Bohr"', ""),
        ("bohr", "Properties=species:S:1:pos:R:3 pos_unit=a.u.", ""),
        ("bohr", "(a.u.)", ""),
        ("bohr", "positions [au]", ""),
        ("bohr", "unit: au, energy -76.3 hartree", ""),
        ("bohr", "in atomic units", ""),
        ("bohr", "water", " bohr"),
        ("bohr", "water", " atomic"),
        ("nm", "coordinates / nm", ""),
        ("pm", "lengths in pm, 800 nm pulse", ""),
    ],
)
def test_a_stated_unit_is_read_and_said(
    tmp_path: Path, unit: str, comment: str, behind: str
) -> None:
    path = tmp_path / "w.xyz"
    path.write_text(water_in(unit, comment, behind))
    progress = CollectingProgress()
    (water,) = read_xyz(path, progress)
    np.testing.assert_allclose(water.positions[1, 1] * BOHR_ANGSTROM, 0.7572, atol=1e-6)
    assert progress.said == [f"{path}, line 2: coordinates in {unit}, converted"]
    assert progress.warned == []
    write_xyz(tmp_path / "again.xyz", [water], Provenance.of("molexa test"))
    (again,) = read_xyz(tmp_path / "again.xyz", progress)
    np.testing.assert_allclose(again.positions, water.positions, atol=1e-8)
    assert len(progress.said) == 1


@pytest.mark.parametrize(
    "comment",
    [
        "",
        "water at 300 K",
        "in Angstrom",
        "units = Å",
        "(A)",
        "E = -76.1 a.u.",
        "energy -76.3 hartree, units angstrom",
        "800 nm pump, 50 fs",
        "on Au, atomic positions of the unit cell",
        "energy unit: eV",
    ],
)
def test_comments_that_leave_angstrom(tmp_path: Path, comment: str) -> None:
    path = tmp_path / "w.xyz"
    path.write_text(ANGSTROM.format(comment))
    progress = CollectingProgress()
    (water,) = read_xyz(path, progress)
    np.testing.assert_allclose(water.positions[1, 1] * BOHR_ANGSTROM, 0.7572, atol=1e-9)
    assert progress.said == progress.warned == []


@pytest.mark.parametrize(
    ("comment", "message"),
    [
        ("units=furlong", "unknown unit 'furlong'"),
        ("angstrom (bohr)", "two units of length, angstrom and bohr"),
        ("units=bohr, positions in nm", "two units of length, bohr and nm"),
        ("energies in a.u.", "of the coordinates or of something else"),
    ],
)
def test_units_that_cannot_be_told(tmp_path: Path, comment: str, message: str) -> None:
    path = tmp_path / "w.xyz"
    path.write_text(ANGSTROM.format(comment))
    with pytest.raises(InputFileError, match=message):
        read_xyz(path)


@pytest.mark.parametrize(
    ("factor", "message"),
    [
        (1.0, None),
        (1.25, None),
        (1 / BOHR_ANGSTROM, "those of bonds: coordinates in bohr"),
        (BOHR_ANGSTROM, "those of bonds: coordinates in Å read as bohr"),
        (0.1, "those of bonds: coordinates in nm"),
        (10.0, "those of bonds: coordinates in Å read as nm"),
        (100.0, "check the unit of length"),
    ],
)
def test_distances_that_no_molecule_has(tmp_path: Path, factor: float, message: str | None) -> None:
    for name in ("water", "ethanol", "cf4", "nitrogen"):
        geometry = molecule(name).geometry
        moved = replace(geometry, positions=geometry.positions * factor)
        write_xyz(tmp_path / "m.xyz", [moved])
        progress = CollectingProgress()
        read_xyz(tmp_path / "m.xyz", progress)
        assert len(progress.warned) == (message is not None)
        assert message is None or message in progress.warned[0]


def test_no_shipped_molecule_is_suspected() -> None:
    assert [found.name for found in molecules() if length_warning(found.geometry)] == []


def test_atoms_that_have_no_bonds_are_not_suspected(tmp_path: Path) -> None:
    path = tmp_path / "ar2.xyz"
    path.write_text("2\n\nAr 0 0 0\nAr 0 0 3.76\n")
    progress = CollectingProgress()
    read_xyz(path, progress)
    assert progress.warned == []


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("O1", "O"),
        ("h12", "H"),
        ("C_3", "C"),
        ("cl1", "Cl"),
        ("8", "O"),
        ("D", "D"),
        ("D2", "D"),
        ("2H", "D"),
        ("13C", "13C"),
        ("H(iso=2)", "D"),
        ("C1(Iso=13)", "13C"),
        ("H(Fragment=1)", "H"),
    ],
)
def test_labels_of_other_programs(tmp_path: Path, label: str, name: str) -> None:
    path = tmp_path / "l.xyz"
    path.write_text(f"2\n\nF\t0 0 0\n{label}  1.0D+00 .5e0 -0.1*^1\n")
    (found,) = read_xyz(path)
    assert found.names == ("F", name)
    np.testing.assert_allclose(found.positions[1] * BOHR_ANGSTROM, [1.0, 0.5, -1.0])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("@H 1 0 0", "ghost atom"),
        ("Gh(H) 1 0 0", "ghost atom"),
        ("X 1 0 0", "ghost atom"),
        ("Bq1 1 0 0", "ghost atom"),
        ("0 1 0 0", "ghost atom"),
        ("H 0,957 0 0", "decimal point"),
        ("15O 1 0 0", "no isotope 15 of O"),
        ("H 1_0 0 0", "'1_0' is not a finite number"),
        ("H 1e999 0 0", "'1e999' is not a finite number"),
    ],
)
def test_atoms_that_are_refused(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "a.xyz"
    path.write_text(f"2\n\nO 0 0 0\n{line}\n")
    with pytest.raises(InputFileError, match=message) as caught:
        read_xyz(path)
    assert "line 4" in str(caught.value)


def test_isotopes_from_masses_and_back(tmp_path: Path) -> None:
    path = tmp_path / "m.xyz"
    path.write_text(
        "4\nProperties=species:S:1:pos:R:3:masses:R:1\n"
        "O 0 0 0 15.999\nH 1 0 0 2.014\nH 0 1 0 1.00783\nCl 0 0 2 36.966\n"
    )
    (found,) = read_xyz(path)
    assert found.names == ("O", "D", "H", "37Cl")
    write_xyz(tmp_path / "again.xyz", [found])
    assert read_xyz(tmp_path / "again.xyz")[0].isotopes == found.isotopes
    assert "\nH " in (tmp_path / "again.xyz").read_text()
    path.write_text("1\nProperties=species:S:1:pos:R:3:masses:R:1\nO 0 0 0 16.5\n")
    with pytest.raises(InputFileError, match=r"line 3: no isotope of O has the mass 16\.5 u"):
        read_xyz(path)
    path.write_text("1\nProperties=species:S:1:pos:R:3:masses:R:1\nD 0 0 0 1.008\n")
    with pytest.raises(InputFileError, match="the atom is D, but its mass"):
        read_xyz(path)


def test_text_behind_the_last_structure(tmp_path: Path) -> None:
    path = tmp_path / "q.xyz"
    progress = CollectingProgress()
    path.write_text(WATER + "1341.3 1562.6\nO\tO\nInChI=1S/H2O/h1H2\n")
    assert len(read_xyz(path, progress)) == 1
    assert progress.said == [f"{path}, line 6: text behind the last structure, 3 lines left out"]
    path.write_text(WATER + "some words\n" + WATER)
    with pytest.raises(InputFileError, match="line 6: expected the number of atoms"):
        read_xyz(path)
    path.write_text("2\n\nO 8.0 0 0 0\nH 1.0 0 0 0.96\n")
    with pytest.raises(InputFileError, match="the second column holds the atomic numbers"):
        read_xyz(path)


def test_comments_in_latin_1(tmp_path: Path) -> None:
    path = tmp_path / "l.xyz"
    path.write_bytes(ANGSTROM.format("water (Å)").encode("latin-1"))
    (found,) = read_xyz(path)
    assert found.comment == "water (Å)"


ATOMS = "O 0 0 0\nH 0.7586 0 0.5859\nH -0.7586 0 0.5859\n"


@pytest.mark.parametrize(
    "content",
    [
        b"3\nwater\x85 at rest\n" + ATOMS.encode(),
        f"3\nwater\x0c at rest\u2028\n{ATOMS}".encode(),
        f"3\r\nwater at rest\r\n{ATOMS}".encode("utf-16"),
        f"3\nwater, gradient in hartree/bohr, 0.3 eV/bohr\n{ATOMS}".encode(),
    ],
)
def test_signs_in_a_comment_are_no_ends_of_lines_and_gradients_no_lengths(
    tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "water.xyz"
    path.write_bytes(content)
    found = read_xyz(path)[0]
    assert found.symbols == ("O", "H", "H")
    apart = np.linalg.norm(found.positions[0] - found.positions[1]) * BOHR_ANGSTROM
    assert apart == pytest.approx(np.hypot(0.7586, 0.5859), rel=1e-9)
    assert not found.warnings
