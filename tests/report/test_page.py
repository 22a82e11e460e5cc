from __future__ import annotations

import dataclasses
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from molexa_core.base.errors import InputFileError
from molexa_core.base.progress import CollectingProgress
from molexa_core.base.spectrum import Spectrum
from molexa_core.base.storage.provenance import Provenance
from molexa_core.base.tables import Coincidences, Geometry
from molexa_core.io.results.events import write_events
from molexa_core.io.results.geometry_json import ReconstructionRecord
from molexa_core.io.xyz import write_xyz
from molexa_core.pipeline.chain.align import align
from molexa_core.pipeline.chain.report import Results, read_results, report, report_folder
from molexa_core.report.figures import detector_image, time_of_flight
from tests.fakes.chain import KNOWN, make_folder

SECTIONS = (
    "Structure",
    "Coordinates",
    "Reconstruction",
    "Mean momenta",
    "Molecular frame",
    "Kinetic energy release",
    "Coincidences",
    "Detected ions",
    "Files",
    "Provenance and settings",
)
OF_STRUCTURE = ("Coordinates", "Reconstruction")
EVIL = '<script>alert("x")</script>&<img src=http://example.org/a.png onerror=alert(1)>'


class Page(HTMLParser):
    """What a browser would load and show."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.handlers: list[str] = []
        self.headings: list[str] = []
        self.shown: list[str] = []
        self.scripts: list[str] = []
        self.figures: list[str] = []
        self.saves: list[str] = []
        self._open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in {"meta", "img", "input", "br", "link"}:
            self._open.append(tag)
        for name, value in attrs:
            if name in {"src", "href", "xlink:href", "srcset", "action", "data", "poster"}:
                self.links.append(value or "")
            if name.startswith("on"):
                self.handlers.append(name)
            if name == "aria-label" and tag == "figure":
                self.figures.append(value or "")
            if name == "data-save":
                self.saves.append(f"{value} of {dict(attrs)['data-of']}")

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        inside = self._open[-1] if self._open else ""
        if inside == "h2":
            self.headings.append(data)
        if inside == "script":
            self.scripts.append(data)
        elif inside != "style":
            self.shown.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.shown).split())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder(tmp_path_factory.mktemp("cf4"), "cf4", events=300)


@pytest.fixture(scope="module")
def page(folder: Path) -> Page:
    target, _ = report_folder(folder)
    return Page(target.read_text(encoding="utf-8"))


def test_every_section_and_figure_is_there(page: Page) -> None:
    assert tuple(page.headings) == SECTIONS
    assert "Missing" not in page.text
    assert set(page.figures) == {
        "time-of-flight spectrum",
        "detector image",
        "coincidence map of two ions",
        "momentum sum along x with its gate",
        "momentum sum along y with its gate",
        "momentum sum along z with its gate",
        "kinetic energy release",
        "Newton map",
        "reconstructed structure, x and y",
        "reconstructed structure, x and z",
    }


def test_every_figure_and_table_of_numbers_can_be_saved(page: Page, folder: Path) -> None:
    text = (folder / "report.html").read_text(encoding="utf-8")
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text)
    assert found is not None
    names = set(json.loads(found[1]))
    assert names >= {"time-of-flight", "newton-1", "coordinates", "distances-and-angles"}
    assert len(page.saves) == len(set(page.saves))
    assert {save.removeprefix("csv of ") for save in page.saves if save.startswith("csv")} == names
    figures = re.findall(r'<figure data-name="([^"]*)"', text)
    assert sorted(figures) == sorted(
        save.removeprefix("svg of ") for save in page.saves if save.startswith("svg")
    )
    assert text.count("<style") == 1, "a figure would change the whole page"
    identifiers = re.findall(r'\bid="([^"]*)"', text)
    assert len(identifiers) == len(set(identifiers))


def test_nothing_is_fetched(page: Page) -> None:
    assert page.links
    assert all(link.startswith(("#", "data:image/png;base64,")) for link in page.links)
    assert not {"link", "iframe", "object", "embed", "base", "img"} & set(page.tags)


def test_the_page_forbids_the_network(folder: Path) -> None:
    text = (folder / "report.html").read_text(encoding="utf-8")
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)
    assert policy is not None
    assert "default-src 'none'" in policy[1]
    assert "http" not in policy[1]
    outside = re.sub(r"<script>.*?</script>", "", text, flags=re.DOTALL)
    assert re.findall(r"@import|url\((?!#)", outside) == []


def test_the_numbers_on_the_page_are_those_of_the_files(page: Page, folder: Path) -> None:
    results = read_results(folder)
    assert results.centroids is not None
    assert results.record is not None
    first = results.centroids.iloc[0]
    assert first["label"] in page.text
    for symbol_index in range(len(results.record.symbols)):
        assert f"{results.record.symbols[symbol_index]}{symbol_index + 1}" in page.text
    for command in ("molexa reduce run.root", "molexa align run.events.h5", "molexa reconstruct"):
        assert command in page.text
    assert "MAE after superposition" in page.text
    assert "relative momentum residual 0.021" in page.text
    assert "estimated purity (%) 97.10 ± 0.40" in page.text
    assert "momentum sum along x, centre (a.u.) −0.25 ± 0.11" in page.text
    assert "later 17" in page.text
    assert "remark left out 4 hits" in page.text


def test_the_same_files_give_the_same_page(folder: Path, page: Page) -> None:
    assert page.links
    assert report(read_results(folder)) == (folder / "report.html").read_text(encoding="utf-8")


def test_every_step_stands_once_and_in_order(folder: Path) -> None:
    commands = [record.command.split()[1] for record in read_results(folder).provenance]
    assert commands == ["reduce", "align", "centroid", "reconstruct"]


def test_what_comes_from_files_is_escaped(tmp_path: Path) -> None:
    make_folder(tmp_path, "water", events=50)
    results = read_results(tmp_path)
    assert results.events is not None
    assert results.aligned is not None
    assert results.record is not None
    assert results.centroids is not None
    meta = {"channel": {"description": EVIL}, "summary": {EVIL: EVIL}}
    bad = {"</script><b>": 1, EVIL: EVIL}
    poisoned = dataclasses.replace(
        results,
        events=dataclasses.replace(results.events, meta=meta),
        aligned=dataclasses.replace(results.aligned, meta={**results.aligned.meta, **meta}),
        record=dataclasses.replace(results.record, warnings=(EVIL,), closure=bad, model=bad),
        centroids=results.centroids.assign(label=EVIL),
        provenance=(Provenance(EVIL, inputs={EVIL: EVIL}, settings=bad),),
        files={"reduce": EVIL},
    )
    dirty = Page(report(poisoned))
    assert dirty.tags.count("script") == 3
    assert dirty.tags.count("img") == 0
    assert dirty.tags.count("figure") == len(dirty.figures) == 10
    assert dirty.handlers == []
    assert all(link.startswith(("#", "data:image/png;")) for link in dirty.links)
    assert not any("<script" in script or "<img" in script for script in dirty.scripts)
    assert EVIL in "".join(dirty.shown)


def test_labels_with_dollars_are_no_formula() -> None:
    edges = np.arange(11.0)
    marks = {"$\\bad{$ first": 2.0, "$\\bad{$ last": 4.0}
    spectrum = Spectrum(np.arange(10), (edges,), ("$\\frac{$",), ("<ns>",), marks)
    assert time_of_flight(spectrum).startswith("<svg ")
    empty = Spectrum(np.zeros((3, 3)), (np.arange(4.0),) * 2, ("x", "y"), ("mm", "mm"))
    assert detector_image(empty).startswith("<svg ")


def test_missing_stages_are_said_plainly(tmp_path: Path) -> None:
    make_folder(tmp_path, "water", events=50)
    for name in ("run.events.h5", "run.aligned.h5", "geom.json", "known.xyz"):
        (tmp_path / name).unlink()
    target, _ = report_folder(tmp_path)
    page = Page(target.read_text(encoding="utf-8"))
    assert tuple(page.headings) == tuple(name for name in SECTIONS if name not in OF_STRUCTURE)
    for missing, command in (
        ("time-of-flight spectrum", "molexa reduce"),
        ("Newton map in the molecular frame", "molexa align"),
        ("structure", "molexa reconstruct"),
    ):
        assert f"Missing: {missing}. It comes from {command} ." in page.text
    assert page.text.count("not found") == 4
    assert page.figures == []
    assert target.stat().st_size < 60_000


def test_a_bare_structure_is_enough(tmp_path: Path) -> None:
    geometry = Geometry(("O", "H", "H"), KNOWN["water"], uncertainty=np.full((3, 3), 0.1))
    write_xyz(tmp_path / "geom.xyz", [geometry])
    said = CollectingProgress()
    target, results = report_folder(tmp_path, progress=said)
    assert said.said == ["reconstruct: geom.xyz"]
    assert results.record is not None
    text = Page(target.read_text(encoding="utf-8")).text
    assert "No known structure was given." in text
    assert "The reconstruction has no closure." in text


def test_errors_recorded_by_the_reconstruction_are_shown_without_a_known_structure() -> None:
    record = ReconstructionRecord(("H",), np.zeros((1, 3)), errors={"mae": 0.456, "other": "x"})
    page = Page(report(Results(record=record)))
    assert "MAE after superposition 0.241 Å" in page.text
    assert "As recorded by the reconstruction." in page.text


def test_another_molecule_as_known_structure_is_not_compared() -> None:
    record = ReconstructionRecord(("H",), np.zeros((1, 3)))
    page = Page(report(Results(record=record, known=Geometry(("C",), np.zeros((1, 3))))))
    assert "other atoms than the reconstruction" in page.text
    assert "MAE" not in page.text


def test_two_ions_have_no_newton_map() -> None:
    momentum = np.random.default_rng(1).normal(size=(30, 2, 3))
    aligned = align(Coincidences.of(["C+", "O+"], momentum), reference="O+").table
    page = Page(report(Results(aligned=aligned, files={"align": "a.aligned.h5"})))
    assert "No Newton map: two ions define an axis only" in page.text
    assert page.figures == ["kinetic energy release"]


def test_an_empty_folder_and_several_runs_are_errors(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match="nothing to report"):
        report_folder(tmp_path)
    with pytest.raises(InputFileError, match="no such folder"):
        report_folder(tmp_path / "none")
    table = Coincidences.of(["O+"], np.ones((1, 1, 3)))
    for name in ("a", "b"):
        write_events(tmp_path / f"{name}.events.h5", table, Provenance.of("test"))
    with pytest.raises(
        InputFileError, match=r"2 files \*\.events\.h5: a\.events\.h5, b\.events"
    ) as told:
        report_folder(tmp_path)
    assert "molexa report" in str(told.value)
    assert not (tmp_path / "report.html").exists()
