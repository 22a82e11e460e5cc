"""The report in a real browser: no script error, no request, nothing wider than the window."""

from __future__ import annotations

import csv
import html
import io
import json
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from molexa_core.base.fields import SPECTRUM_PIPICO
from molexa_core.base.options.compare_options import Comparing
from molexa_core.base.spectrum import Spectrum
from molexa_core.io.results.events import read_spectra
from molexa_core.io.results.geometry_json import read_geometry_json, write_geometry_json
from molexa_core.pipeline.chain.report import report_folder
from molexa_core.report.content import (
    EventRow,
    ReportContent,
    SeriesContent,
    SeriesLine,
    SingleEvents,
)
from molexa_core.report.page import render
from tests.fakes.chain import make_folder

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
WIDTHS = (1280, 800, 500)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine"),
]
PROBE = Path(__file__).with_name("probe.js")
"""Looks at the page from inside."""


def browse(
    page: Path, folder: Path, width: int, *, extra: str = "none", switch: str = ""
) -> tuple[Mapping[str, Any], list[str]]:
    """What the probe says of a copy of the page, and the messages on the console."""
    probe = PROBE.read_text(encoding="utf-8").replace("EXTRA", json.dumps(extra))
    text = page.read_text(encoding="utf-8")
    text = text.replace("</body>", f"<script>{probe}</script></body>")
    probed = folder / "probed.html"
    probed.write_text(text, encoding="utf-8")
    done = chromium(
        folder, f"--window-size={width},900", *([switch] if switch else []), "--dump-dom", probed
    )
    found = re.search(r'<pre id="said">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found is not None, done.stderr
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return json.loads(html.unescape(found[1])), console


def chromium(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    page = Path(str(arguments[-1])).resolve().as_uri()
    command = [
        str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
        f"--user-data-dir={folder / 'profile'}", "--hide-scrollbars", "--virtual-time-budget=6000",
        "--enable-logging=stderr", "--v=0", *map(str, arguments[:-1]), page,
    ]  # fmt: skip
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def with_alternatives(folder: Path) -> None:
    """Add momenta and two other structures to the reconstruction in a folder."""
    record, made = read_geometry_json(folder / "geom.json")
    rng = np.random.default_rng(3)
    others = [
        {
            "positions_bohr": (record.positions_bohr + rng.normal(0, 0.4, (5, 3))).tolist(),
            "residual": 0.001,
            "share_of_samples": share,
            "objections": [f"a rule that is broken {number}" for number in range(4)],
            "distance_from_answer_bohr": 0.4,
        }
        for share in (0.1, 0.3)
    ]
    momenta = rng.normal(0, 40, (5, 3)).tolist()
    inputs = {**record.input, "momenta": momenta, "chemistry": True}
    values = {**record.__dict__, "alternatives": tuple(others), "input": inputs}
    write_geometry_json(folder / "geom.json", type(record)(**values), made)


def of_wide_tables() -> ReportContent:
    """Single events, a series of many quantities, and windows of ions that overlap."""
    rng = np.random.default_rng(4)
    rows = tuple(
        EventRow(
            of=of, unit=unit, mean=size, statistical=0.002 * size, systematic=0.05 * size,
            deviation=0.1 * size, quantiles=(0.9 * size, size, 1.1 * size), from_means=beside,
            from_means_error=1.2, values=rng.normal(size, 0.1 * size, 400), weight=np.ones(400),
        )
        for of, unit, size, beside in (
            ("C1-Cl2", "Å", 1.77, 6.53),
            ("Cl2-C1-Cl3", "°", 111.2, 5.33),
            ("C1-H4", "Å", 1.1, 1.15),
        )
    )  # fmt: skip
    at = np.arange(0.0, 120.0, 20.0)
    names = ("O+-C+", "C+-S+", "O+-S+", "C+-O+-S+", "O+-C+-S+", "KER")
    lines = tuple(
        SeriesLine(name, unit, at, 100.0 + at / 7.0, 0.3 + at / 300.0)
        for name, unit in zip(names, ("Å", "Å", "Å", "°", "°", "eV"), strict=True)
    )
    header = ("delay (fs)", "events", "signal", *(f"{one.name} ({one.unit})" for one in lines))
    cells = [("20", "437", "172 ± 23", *["163.170 ± 0.019"] * len(lines)) for _ in at]
    series = SeriesContent("delay (fs)", lines, header, tuple(cells), (("file", "series.json"),))
    edges = np.linspace(700.0, 1800.0, 111)
    windows = {"O2+": (877.0, 1250.0), "C2+": (740.0, 1114.0), "S2+": (1303.0, 1677.0)}
    marks = {
        f"{ion} {end}": window[place]
        for ion, window in windows.items()
        for place, end in enumerate(("first", "last"))
    }
    labels = ("time of flight of the first ion", "time of flight of the second ion")
    map_of = Spectrum(rng.poisson(0.2, (110, 110)), (edges, edges), labels, ("ns", "ns"), marks)
    return ReportContent(
        title="ocs: O2+ C2+ S2+",
        events=SingleEvents(rows, (("events", "864"),), ("the mean momenta led elsewhere",)),
        series=(series,),
        spectra={SPECTRUM_PIPICO: map_of},
    )


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    found = {}
    for name in ("water", "cf4"):
        folder = make_folder(tmp_path_factory.mktemp(name), name, events=300)
        if name == "cf4":
            with_alternatives(folder)
        found[name], _ = report_folder(folder)
    wide = tmp_path_factory.mktemp("wide") / "report.html"
    wide.write_text(render(of_wide_tables()), encoding="utf-8")
    found["wide"] = wide
    other = make_folder(tmp_path_factory.mktemp("other"), "water", events=250, seed=7)
    found["compared"], _ = report_folder(
        found["water"].parent, out=other / "both.html", comparing=Comparing(compare=str(other))
    )
    return found


@pytest.mark.parametrize("name", ["water", "cf4", "compared", "wide"])
@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_overflows_or_overlaps(
    pages: dict[str, Path], tmp_path: Path, name: str, width: int
) -> None:
    said, console = browse(pages[name], tmp_path, width)
    assert console == []
    assert said["requests"] == []
    assert said["scroll"] == 0
    assert said["outside"] == []
    assert said["clipped"] == []
    assert said["scrolled"] == [] or width < 820  # tables of many columns scroll by themselves
    assert said["overlaps"] == []
    assert said["texts"] == []
    assert said["over"] == []
    assert said["names"] == {"cf4": 5, "wide": 0}.get(name, 3)
    assert pages[name].stat().st_size < 2_000_000


def test_numbers_and_pictures_come_out_as_they_are_in_the_files(
    pages: dict[str, Path], tmp_path: Path
) -> None:
    folder = pages["water"].parent
    said, console = browse(pages["water"], tmp_path, 1280, extra="measured")
    assert console == []
    spectra = read_spectra(folder / "run.events.h5")
    for name, key in (("time-of-flight", "tof"), ("detector-image", "detector_image")):
        header, *rows = csv.reader(io.StringIO(said["csv"][name]))
        numbers = np.array(rows, dtype=float)
        spectrum = spectra[key]
        axes = spectrum.counts.ndim
        assert len(header) == 2 * axes + 1
        assert np.array_equal(numbers[:, -1], np.asarray(spectrum.counts).ravel())
        places = np.meshgrid(*(edges[:-1] for edges in spectrum.edges), indexing="ij")
        assert np.allclose(
            numbers[:, : 2 * axes : 2], np.stack([p.ravel() for p in places], axis=1)
        )
    record, _ = read_geometry_json(folder / "geom.json")
    bohr = 0.529177210903
    header, *rows = csv.reader(io.StringIO(said["csv"]["coordinates"]))
    assert np.allclose(np.array(rows)[:, 1:4].astype(float), bohr * record.positions_bohr)
    bond = bohr * float(np.linalg.norm(record.positions_bohr[0] - record.positions_bohr[1]))
    assert said["distance"].startswith(f"O1\N{EN DASH}H2: {bond:.3f} Å")
    assert re.match(r"O1\N{EN DASH}H2\N{EN DASH}H3: \d+\.\d° \(", said["angle"])
    assert said["svg"].startswith("<svg")
    assert "var(" not in said["svg"]
    assert said["picture"].startswith('<svg xmlns="http://www.w3.org/2000/svg"')
    assert said["ellipses"] == 3
    assert set("xyz") <= set(said["axes"])


def test_alternatives_are_drawn_and_shown_in_their_order(
    pages: dict[str, Path], tmp_path: Path
) -> None:
    extra = "alternatives"
    said, console = browse(pages["cf4"], tmp_path, 1280, extra=extra)
    assert console == []
    assert said["drawn"] == [5, 5]
    assert said["changed"]
    assert said["note"] == "10 % of the samples"
    assert said["column"] == "table-cell"
    assert all(re.fullmatch(r"-?\d+\.\d+", cell) for cell in said["cells"])
    assert said["arrows"] == [0, 5]


@pytest.mark.parametrize("switch", ["", "--blink-settings=preferredColorScheme=0"])
def test_the_page_follows_the_colours_of_the_system_and_the_switch(
    pages: dict[str, Path], tmp_path: Path, switch: str
) -> None:
    extra = "colours"
    said, console = browse(pages["water"], tmp_path, 800, extra=extra, switch=switch)
    assert console == []
    light, dark = "rgb(255, 255, 255)", "rgb(18, 23, 29)"
    system = dark if switch else light
    assert said["colours"] == [system, light, dark, system]


def test_it_prints_with_the_settings(pages: dict[str, Path], tmp_path: Path) -> None:
    target = tmp_path / "page.pdf"
    chromium(tmp_path, f"--print-to-pdf={target}", pages["cf4"])
    content = target.read_bytes()
    assert content.startswith(b"%PDF")
    assert 3 <= len(re.findall(rb"/Type\s*/Page\b", content)) <= 12
    extra = "printed"
    said, _ = browse(pages["cf4"], tmp_path, 800, extra=extra)
    assert said["rules"]
    assert said["theme"] == "light"
