"""Two results side by side: known differences, the scatter of pulls, refusals."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from molexa_core.base.errors import UsageError
from molexa_core.base.matter.ions import parse_ion
from molexa_core.base.options.compare_options import SecondGate
from molexa_core.base.storage.provenance import Provenance
from molexa_core.base.tables import Coincidences
from molexa_core.base.units import BOHR_ANGSTROM, HARTREE_EV
from molexa_core.io.results.events import write_events
from molexa_core.io.results.geometry_json import ReconstructionRecord, write_geometry_json
from molexa_core.pipeline.chain.compare_files import compare_files
from molexa_core.pipeline.reconstruction.dihedrals import propagated_dihedrals
from molexa_core.pipeline.reconstruction.from_coordinates import propagated_lengths

IONS = tuple(parse_ion(text) for text in ("H+", "O+", "O+", "H+"))


def _peroxide(degrees: float, bond: float = 1.46) -> np.ndarray:
    angle = np.radians(degrees)
    up, out = 0.97 * np.cos(np.radians(80.0)), 0.97 * np.sin(np.radians(80.0))
    end = [out * np.cos(angle), -out * np.sin(angle), -up]
    return np.array([[out, 0, bond + up], [0, 0, bond], [0, 0, 0], end]) / BOHR_ANGSTROM


def _record(positions: np.ndarray, width: float | None) -> ReconstructionRecord:
    half = None if width is None else np.full((4, 3), width)
    distances, angles = propagated_lengths(positions, half, IONS)
    return ReconstructionRecord(
        symbols=("H", "O", "O", "H"),
        positions_bohr=positions,
        uncertainty_bohr=half,
        uncertainty_reason=None if half is not None else "none",
        distances=distances,
        angles=angles,
        dihedrals=propagated_dihedrals(positions, half, IONS),
    )


def _structure(path: Path, positions: np.ndarray, width: float | None = 0.02) -> Path:
    write_geometry_json(path, _record(positions, width))
    return path


def test_differences_and_pulls_of_structures(tmp_path: Path) -> None:
    one = _structure(tmp_path / "a.json", _peroxide(175.0))
    turned = _peroxide(-170.0, bond=1.50)[[3, 2, 1, 0]][:, [1, 2, 0]]  # another order and frame
    other = _structure(tmp_path / "b.json", turned)
    rows = {row.of: row for row in compare_files(one, other).rows}
    bond = rows["O2-O3"]
    assert bond.difference == pytest.approx(0.04)
    assert bond.first_error == pytest.approx(0.02 * np.sqrt(2) * BOHR_ANGSTROM, rel=1e-3)
    assert bond.pull == pytest.approx(0.04 / (0.04 * BOHR_ANGSTROM), rel=1e-3)
    assert bond.ratio == pytest.approx(1.50 / 1.46)
    dihedral = rows["H1-O2-O3-H4"]
    assert dihedral.difference == pytest.approx(15.0)  # not -345
    assert dihedral.ratio is None


def test_recorded_errors_belong_to_their_atoms() -> None:
    record = _record(_peroxide(110.0), 0.02)
    errors = record.half_widths()
    names = {1: "H+", 2: "O+", 3: "O+#2", 4: "H+#2"}
    for row in (*record.distances, *record.angles, *record.dihedrals):
        (own,) = [
            atoms for atoms in errors if "-".join(names[atom + 1] for atom in atoms) == row["of"]
        ]
        assert errors[own] == row["half_width"]


def test_a_known_structure_counts_as_exact(tmp_path: Path) -> None:
    one = _structure(tmp_path / "a.json", _peroxide(110.0))
    known = _structure(tmp_path / "b.json", _peroxide(112.0), None)
    found = compare_files(one, known)
    assert "second structure has no error bars" in found.notes[0]
    row = next(row for row in found.rows if row.kind == "dihedral")
    assert row.pull == pytest.approx(2.0 / row.first_error)  # type: ignore[operator]
    bare = compare_files(known, known)
    assert all(row.pull is None for row in bare.rows)


def _events(path: Path, seed: int, count: int, energy_ev: float = 10.0) -> Path:
    """O+ and C+ back to back, with a normal distribution of the energy."""
    random = np.random.default_rng(seed)
    ions = tuple(parse_ion(text) for text in ("O+", "C+"))
    reduced = 1.0 / sum(1.0 / ion.mass for ion in ions)
    energy = random.normal(energy_ev, 1.0, count) / HARTREE_EV
    way = random.normal(size=(count, 3))
    way /= np.linalg.norm(way, axis=1, keepdims=True)
    momentum = np.sqrt(2.0 * reduced * energy)[:, None] * way
    table = Coincidences(
        ions, np.arange(count), np.stack([momentum, -momentum], axis=1), weight=np.ones(count)
    )
    table = replace(table, meta={"summary": {"shots": 10 * count}})
    write_events(path, table, Provenance.of("test"))
    return path


def test_energies_and_yields_of_runs(tmp_path: Path) -> None:
    one = _events(tmp_path / "a.h5", 1, 4000)
    other = _events(tmp_path / "b.h5", 2, 1000, energy_ev=10.5)
    rows = {row.of: row for row in compare_files(one, other).rows}
    assert rows["coincidences"].ratio == pytest.approx(0.25)
    assert rows["coincidences"].second_error == pytest.approx(np.sqrt(1000))
    assert rows["coincidences per 1000 shots"].difference == pytest.approx(0.0)
    ker = rows["kinetic energy release"]
    assert ker.difference == pytest.approx(0.5, abs=0.12)
    assert ker.difference_error == pytest.approx(np.hypot(4000**-0.5, 1000**-0.5), rel=0.15)
    assert ker.pull is not None
    assert ker.pull > 8.0


def test_pulls_of_alike_runs_have_the_variance_of_a_normal_distribution(tmp_path: Path) -> None:
    pulls = []
    for seed in range(30):
        one = _events(tmp_path / "a.h5", 100 + seed, 300)
        other = _events(tmp_path / "b.h5", 200 + seed, 500)
        rows = {row.of: row for row in compare_files(one, other).rows}
        pulls.append(rows["kinetic energy release"].pull)
    # 30 values: the relative error of their sum of squares is sqrt(2 / 30).
    assert np.square(np.array(pulls, float)).mean() == pytest.approx(1.0, abs=3 * np.sqrt(2 / 30))


def test_two_gates_say_what_they_share(tmp_path: Path) -> None:
    one = _events(tmp_path / "a.h5", 1, 1000)
    found = compare_files(one, second_gate=SecondGate(["ker > 10"]))
    rows = {row.of: row for row in found.rows}
    assert rows["coincidences"].second == pytest.approx(500, abs=80)
    assert rows["kinetic energy release"].difference > 0.5
    assert "share" in found.notes[0]
    assert str(int(rows["coincidences"].second)) in found.notes[0]


def test_refusals(tmp_path: Path) -> None:
    events = _events(tmp_path / "a.h5", 1, 100)
    structure = _structure(tmp_path / "a.json", _peroxide(110.0))
    with pytest.raises(UsageError, match="nothing to compare"):
        compare_files(structure)
    with pytest.raises(UsageError, match="cannot be compared with a structure"):
        compare_files(structure, events)
    with pytest.raises(UsageError, match="no coincidences to gate"):
        compare_files(structure, structure, second_gate=SecondGate(["ker > 1"]))
