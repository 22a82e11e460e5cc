from __future__ import annotations

import dataclasses
import html
import re
from pathlib import Path

import numpy as np
import pytest

from molexa_core.base.errors import InputFileError
from molexa_core.base.options.compare_options import Comparing
from molexa_core.base.options.gate_options import Selection
from molexa_core.base.tables import Coincidences, Geometry
from molexa_core.io.results.geometry_json import ReconstructionRecord
from molexa_core.io.xyz import write_xyz
from molexa_core.pipeline.chain.report import report_folder
from molexa_core.pipeline.chain.report_parts.report_compare import Side, compared, mean_energy
from tests.fakes.chain import KNOWN, make_folder, momenta


def record(bond: float, error: float) -> ReconstructionRecord:
    positions = np.array([[0.0, 0, 0], [0, 0, bond]])
    row = {"of": "C+-O+", "median": bond, "half_width": error}
    return ReconstructionRecord(("C", "O"), positions, distances=(row,))


def test_structures_have_the_recorded_errors_and_the_difference_a_pull() -> None:
    found = compared(Side("one", record=record(2.1, 0.03)), Side("two", record=record(2.3, 0.04)))
    (row,) = found.lengths
    assert row.of == "C1-O2"
    assert row.unit == "Å"
    assert row.first == pytest.approx((0.529177 * 2.1, 0.529177 * 0.03), rel=1e-5)
    assert row.difference == pytest.approx((0.529177 * 0.2, 0.529177 * 0.05), rel=1e-5)
    assert row.pull == pytest.approx(0.2 / 0.05)


def test_beside_a_structure_without_errors_pulls_are_in_those_of_the_first() -> None:
    exact = Geometry(("O", "C"), np.array([[0.0, 0, 2.16], [0, 0, 0]]))
    found = compared(Side("one", record=record(2.1, 0.03)), Side("known", structure=exact))
    (row,) = found.lengths
    assert row.second[1] is None
    assert row.pull == pytest.approx(0.06 / 0.03)
    assert any("no error bars" in note for note in found.notes)


def test_two_runs_of_one_molecule_agree_and_of_two_widths_do_not() -> None:
    one, alike = momenta("water", 900, 1), momenta("water", 700, 11)
    found = compared(Side("one", one), Side("two", alike))
    titles = [item.title for item in found.spectra]
    assert titles[0] == "Kinetic energy release"
    assert titles[-1] == "Newton map"
    assert "the shapes agree" in found.spectra[0].sentence
    pull = np.asarray(found.spectra[0].pull.counts)
    assert float(np.nanstd(pull)) == pytest.approx(1.0, abs=0.35)
    faster = dataclasses.replace(alike, momentum=1.1 * alike.momentum)
    differs = compared(Side("one", one), Side("two", faster))
    assert "the shapes differ" in differs.spectra[0].sentence
    facts = {name: difference for name, _, _, difference in differs.facts}
    assert re.search(r"\(\d\d+\.\d σ\)", facts["mean KER (eV)"])


def test_other_ions_are_said_and_not_compared() -> None:
    one, other = momenta("water", 60, 1), momenta("cf4", 60, 1)
    found = compared(Side("one", one), Side("two", other))
    assert found.spectra == ()
    assert any("different ions" in note for note in found.notes)


def test_rows_of_one_coincidence_count_once_in_the_error_of_the_mean_energy() -> None:
    table = momenta("water", 400, 3)
    twice = Coincidences.concatenate([table, table])
    aligned = dataclasses.replace(twice, meta={"align": {}})
    assert mean_energy(aligned) == mean_energy(table)
    assert mean_energy(twice) != mean_energy(table)


def text_of(page: Path) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", page.read_text("utf-8"))).split())


def test_two_gates_of_one_folder_say_what_they_share(tmp_path: Path) -> None:
    make_folder(tmp_path, "water", events=200)
    page, _ = report_folder(
        tmp_path,
        selection=Selection(where=["ker > 20"]),
        comparing=Comparing(second_where=["ker > 22"]),
    )
    text = text_of(page)
    assert "ker > 20 beside ker > 22" in text
    assert re.search(r"share \d+ coincidences", text)
    assert 'data-name="comparison-1"' in page.read_text("utf-8")


def test_a_structure_beside_another_of_a_file(tmp_path: Path) -> None:
    make_folder(tmp_path, "water", events=60)
    other = tmp_path / "other.xyz"
    write_xyz(other, [Geometry(("H", "O", "H"), KNOWN["water"][[1, 0, 2]])])
    page, _ = report_folder(tmp_path, comparing=Comparing(compare=str(other)))
    text = text_of(page)
    assert "beside other.xyz" in text
    assert "O1-H2 (Å)" in text
    with pytest.raises(InputFileError, match="neither a file nor a shipped molecule"):
        report_folder(tmp_path, comparing=Comparing(compare="nothing_of_that_name"))
