"""Figures for papers: fonts, text, size, numbers, refusals."""

from __future__ import annotations

import re
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from molexa_core.base.errors import InputFileError, MolexaError, UsageError
from molexa_core.base.options.compare_options import SecondGate
from molexa_core.base.spectrum import Spectrum
from molexa_core.base.storage.outputs import FileKind
from molexa_core.base.storage.provenance import Provenance
from molexa_core.base.tables import Coincidences, Geometry
from molexa_core.base.units import BOHR_ANGSTROM, HARTREE_EV
from molexa_core.io.results.events import write_events
from molexa_core.io.results.geometry_json import ReconstructionRecord, write_geometry_json
from molexa_core.io.results.kinds import kind_of_result
from molexa_core.io.xyz import write_xyz
from molexa_core.observables.observable_histograms import dalitz_map, spectrum_of
from molexa_core.pipeline.chain import plot as plotting
from molexa_core.pipeline.chain.align import align
from molexa_core.pipeline.chain.plot import PLOTS, Options, plot, plot_file
from molexa_core.pipeline.chain.reduce import reduce
from molexa_core.pipeline.runs.mock import mock
from molexa_core.report import paper_figures as plots
from molexa_core.report.plot_style import pretty_ion, width_of

WATER = np.array([[0.0, 0.0, 0.0], [1.11, 0.0, 1.43], [1.11, 0.2, -1.43]])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("plots")
    run = place / "run.root"
    mock("water", 5000, out=run, seed=3)
    events = place / "run.events.h5"
    reduce([run], channel="water", out=events)
    align(events, out=place / "run.aligned.h5")
    (place / "training").mkdir()
    lines = [f'{{"step": {n}, "loss": {1.0 / n}, "uncertainty_loss": 0.0}}' for n in range(1, 9)]
    (place / "training" / "log.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return place


def _source(folder: Path, name: str) -> Path:
    if name == "training":
        return folder / "training"
    return folder / ("run.aligned.h5" if name == "newton" else "run.events.h5")


OF_EVENTS = [name for name in PLOTS if name not in {"structure", "score"}]


@pytest.mark.parametrize("name", OF_EVENTS)
def test_every_figure_is_drawn_with_its_numbers(name: str, folder: Path, tmp_path: Path) -> None:
    options = Options(x="ker", y="tof(O+)")
    written = plot_file(name, _source(folder, name), tmp_path / f"{name}.pdf", options)
    content = written[0].read_bytes()
    assert content.startswith(b"%PDF-")
    assert b"/FontFile2" in content  # TrueType, embedded
    assert b"/Subtype /Type3" not in content
    for path in written[1:]:
        assert len(pd.read_csv(path, comment="#")) > 0
        assert kind_of_result(path) == FileKind.FIGURE_NUMBERS
    assert kind_of_result(written[0]) == FileKind.FIGURE
    plot_file(name, _source(folder, name), written[0], options)  # replaces its own kind


def test_text_in_a_pdf_can_be_selected(folder: Path, tmp_path: Path) -> None:
    """Glyphs are shown by text operators, and a map leads from them to characters."""
    path = plot_file("ker", folder / "run.events.h5", tmp_path / "ker.pdf")[0]
    content = path.read_bytes()
    pieces = re.findall(rb"stream\r?\n(.*?)\r?\nendstream", content, re.DOTALL)
    streams = []
    for piece in pieces:
        try:
            streams.append(zlib.decompress(piece))
        except zlib.error:
            continue
    assert any(b" Tj" in one or b"] TJ" in one for one in streams)


def test_text_in_an_svg_stays_text_and_its_width_is_as_asked(folder: Path, tmp_path: Path) -> None:
    options = Options(width="8.6cm")
    path = plot_file("tof", folder / "run.events.h5", tmp_path / "tof.svg", options)[0]
    text = path.read_text(encoding="utf-8")
    assert ">time of flight (ns)<" in text
    assert "O⁺" in text
    width = re.search(r'width="([\d.]+)pt"', text)
    assert width is not None
    assert float(width[1]) == pytest.approx(8.6 / 2.54 * 72, abs=0.01)


def test_the_same_data_give_the_same_file(folder: Path) -> None:
    drawings = [plot("ker", folder / "run.events.h5") for _ in range(2)]
    pd.testing.assert_frame_equal(drawings[0].tables["ker"], drawings[1].tables["ker"])
    assert drawings[0].figure.axes[0].get_xlabel() == "kinetic energy release (eV)"


def test_the_numbers_are_those_of_the_events(folder: Path) -> None:
    table = plot("ker", folder / "run.events.h5").tables["ker"]
    middle = 0.5 * (table.iloc[:, 0] + table.iloc[:, 1])
    mean = float((middle * table["counts"]).sum() / table["counts"].sum())
    assert 20 < mean < 39.2  # three charges at the bonds of water, there at once, have 39.2 eV


@pytest.mark.parametrize("name", ["fig.html", "fig.txt", "fig", "fig.eps"])
def test_another_ending_is_refused(name: str, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"\.pdf"):
        plot_file("ker", folder / "run.events.h5", tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_refusals_say_what_to_do(folder: Path, tmp_path: Path) -> None:
    events = folder / "run.events.h5"
    with pytest.raises(UsageError, match="Did you mean"):
        plot("kre", events)
    with pytest.raises(InputFileError, match="molexa align"):
        plot("newton", events)
    with pytest.raises(UsageError, match="three ions"):
        plot("dalitz", events, Options(ions=("O+", "H+")))
    with pytest.raises(UsageError, match="width"):
        plot("ker", events, Options(width="3 parsec"))
    with pytest.raises(MolexaError):
        plot("map", events, Options(x="ker", y="tof(Xe+)"))
    style = tmp_path / "mine.mplstyle"
    style.write_text("font.size: 9\nfont.colour: red\n", encoding="utf-8")
    with pytest.raises(InputFileError, match="line 2"):
        plot("ker", events, Options(style=style))


def test_a_style_file_acts(folder: Path, tmp_path: Path) -> None:
    style = tmp_path / "mine.mplstyle"
    style.write_text("# mine\naxes.labelsize: 11\nlines.color: '#ff0000'\n", encoding="utf-8")
    drawn = plot("ker", folder / "run.events.h5", Options(style=style))
    assert drawn.figure.axes[0].xaxis.label.get_fontsize() == 11


@pytest.mark.parametrize(
    ("written", "pretty"),
    [("O+", "O⁺"), ("O2+", "O²⁺"), ("(N2)+", "N₂⁺"), ("CH3+", "CH₃⁺"), ("13C+", "¹³C⁺")],
)
def test_ions_have_superscripts(written: str, pretty: str) -> None:
    assert pretty_ion(written) == pretty


def test_widths() -> None:
    assert width_of("8.6cm") == pytest.approx(width_of("86mm"))
    assert width_of("5.08") == pytest.approx(2.0)
    assert width_of("3.4in") == 3.4


def _events(n: int = 4000) -> Coincidences:
    rng = np.random.default_rng(1)
    table = Coincidences.of(["O+", "C+", "N+"], rng.normal(0.0, 50.0, (n, 3, 3)))
    false = table.select(np.arange(n) < n // 4)
    return Coincidences(
        table.ions,
        table.event_id,
        table.momentum,
        table.weight,
        {"shot": np.arange(n)},
        {},
        false=Coincidences(
            table.ions,
            false.event_id,
            false.momentum,
            false.weight,
            {"shot": np.arange(n // 4)},
            {},
        ),
    )


def test_histograms_subtract_false_coincidences() -> None:
    """The false rows are the first quarter itself: what is left is the rest, bin by bin."""
    table = _events()
    rest = table.select(np.arange(len(table)) >= len(table) // 4)
    spectrum = spectrum_of(table, ["ker"], bins=40, limits=[(0.0, 60.0)])
    energy = rest.kinetic_energy().sum(axis=1) * HARTREE_EV
    expected = np.histogram(energy, spectrum.edges[0])[0]
    assert np.allclose(spectrum.counts, expected)
    assert spectrum.errors is not None
    assert np.all(spectrum.errors**2 >= spectrum.counts)
    both = spectrum_of(table, ["ker", "px(O+)"], bins=30, limits=[(0.0, 60.0), (-300.0, 300.0)])
    assert both.counts.sum() == pytest.approx((energy < 60).sum())


def test_a_dalitz_plot_of_equal_energies_is_a_point() -> None:
    table = Coincidences.of(["O+", "O+", "O+"], np.ones((50, 3, 3)))
    spectrum = dalitz_map(table, bins=21)
    (across, up) = np.unravel_index(int(np.argmax(spectrum.counts)), spectrum.counts.shape)
    assert abs(spectrum.centres[0][across]) < 0.03
    assert abs(spectrum.centres[1][up]) < 0.03
    assert spectrum.counts.sum() == 50


def test_events_without_hits_say_what_is_missing(tmp_path: Path) -> None:
    table = Coincidences.of(["O+", "C+"], np.ones((20, 2, 3)))
    path = tmp_path / "a.events.h5"
    write_events(path, table, Provenance.of("test"))
    with pytest.raises(InputFileError, match="histogram"):
        plot("tof", path)


def test_two_gates_over_each_other_are_compared_as_they_are(folder: Path, tmp_path: Path) -> None:
    options = Options(second_gate=SecondGate(["energy(O+) > 0.45"]), bins=40)
    figure, numbers = plot_file("ker", folder / "run.events.h5", tmp_path / "two.svg", options)
    table = pd.read_csv(numbers, comment="#")
    # Part of the first gate, but for false coincidences that it leaves out: less than one a bin.
    assert (table["second"] < table["first"] + 0.9).all()
    assert table["second"].sum() < 0.9 * table["first"].sum()
    np.testing.assert_allclose(table["difference"], table["first"] - table["second"])
    text = figure.read_text(encoding="utf-8")
    assert ">ratio<" in text
    assert ">pull<" in text
    assert "energy(O⁺) &gt; 0.45" in text


def test_a_run_over_itself_has_no_pulls(folder: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.events.h5"
    again.write_bytes((folder / "run.events.h5").read_bytes())
    for name, told in (("ker", {}), ("tof", {}), ("energies", {"ions": ("O+",)})):
        options = Options(beside=again, **told)  # type: ignore[arg-type]
        (table,) = plot(name, folder / "run.events.h5", options).tables.values()
        assert np.nan_to_num(table["pull"]).max() == pytest.approx(0.0, abs=1e-9)
    with pytest.raises(UsageError, match="the figure newton is of one file"):
        plot("newton", folder / "run.aligned.h5", Options(beside=again))
    with pytest.raises(UsageError, match="one ion"):
        plot("energies", folder / "run.events.h5", Options(beside=again))


def test_two_structures_are_superposed(tmp_path: Path) -> None:
    record = ReconstructionRecord(("O", "H", "H"), WATER, uncertainty_bohr=np.full((3, 3), 0.02))
    write_geometry_json(tmp_path / "geom.json", record)
    turned = record.geometry().positions[[1, 0, 2]][:, [2, 0, 1]] + 5.0
    write_xyz(tmp_path / "known.xyz", [Geometry(("H", "O", "H"), turned)])
    options = Options(beside=tmp_path / "known.xyz")
    table = plot("structure", tmp_path / "geom.json", options).tables["structure"]
    for axis in "xyz":
        np.testing.assert_allclose(
            table[f"second_{axis}_angstrom"], table[f"{axis}_angstrom"], atol=1e-6
        )
    assert list(table["atom"]) == ["O1", "H2", "H3"]


def test_a_score_shows_every_distance_with_its_claim(tmp_path: Path) -> None:
    geometry = Geometry(("O", "H", "H"), WATER)
    known = WATER[[1, 0, 2]][:, [2, 0, 1]] + 5.0  # turned, in another order
    known[1] += [0.0, 0.0, 0.1]
    write_xyz(tmp_path / "known.xyz", [Geometry(("H", "O", "H"), known)])
    distances = [
        {"of": "any", "mean": float(np.linalg.norm(WATER[i] - WATER[j])), "half_width": 0.05}
        for i, j in ((0, 1), (0, 2), (1, 2))
    ]
    record = ReconstructionRecord(("O", "H", "H"), WATER, distances=tuple(distances))
    write_geometry_json(tmp_path / "geom.json", record)
    write_xyz(tmp_path / "geom.xyz", [geometry])
    options = Options(beside=tmp_path / "known.xyz")
    claimed, plain = (
        plot("score", tmp_path / name, options).tables["score"]
        for name in ("geom.json", "geom.xyz")
    )
    expected = [
        np.linalg.norm(WATER[i] - WATER[j]) - np.linalg.norm(known[a] - known[b])
        for (i, j), (a, b) in zip(((0, 1), (0, 2), (1, 2)), ((1, 0), (1, 2), (0, 2)), strict=True)
    ]
    for table in (claimed, plain):
        assert list(table["distance"]) == ["O1-H2", "O1-H3", "H2-H3"]
        np.testing.assert_allclose(
            table["error_angstrom"], np.array(expected) * BOHR_ANGSTROM, atol=2e-6
        )
    np.testing.assert_allclose(claimed["half_width_angstrom"], 0.05 * BOHR_ANGSTROM)
    assert plain["half_width_angstrom"].isna().all()
    with pytest.raises(UsageError, match="needs a known structure"):
        plot("score", tmp_path / "geom.json")


def test_only_ions_that_are_all_of_the_break_up_have_a_line_of_conservation(
    folder: Path, tmp_path: Path
) -> None:
    """Of three ions no two have momenta that cancel."""
    three = plot("pipico", folder / "run.events.h5")
    assert not any(len(line.get_xdata()) > 2 for axes in three.figure.axes for line in axes.lines)
    mock("carbon_monoxide", 3000, out=tmp_path / "co.root", seed=3)
    reduce([tmp_path / "co.root"], channel="carbon_monoxide", out=tmp_path / "co.events.h5")
    drawn = plot("pipico", tmp_path / "co.events.h5")
    table = next(iter(drawn.tables.values()))
    line = max(drawn.figure.axes[0].lines, key=lambda one: len(one.get_xdata()))
    assert len(line.get_xdata()) > 10
    across = 0.5 * (table.iloc[:, 0] + table.iloc[:, 1])
    up = 0.5 * (table.iloc[:, 2] + table.iloc[:, 3])
    order = np.argsort(line.get_xdata())
    off = up - np.interp(across, line.get_xdata()[order], line.get_ydata()[order])
    assert abs(np.average(off, weights=table["counts"])) < 0.1 * np.ptp(up)


def test_the_line_of_momentum_conservation_goes_through_the_data(folder: Path) -> None:
    """Sums of two times against the third: the line is where all three momenta cancel."""
    drawn = plot("triion", folder / "run.events.h5")
    table = drawn.tables["triion"]
    (line,) = drawn.figure.axes[0].get_lines()
    across = 0.5 * (table.iloc[:, 0] + table.iloc[:, 1])
    up = 0.5 * (table.iloc[:, 2] + table.iloc[:, 3])
    order = np.argsort(line.get_xdata())
    on_line = np.interp(across, line.get_xdata()[order], line.get_ydata()[order])
    off = np.average(up - on_line, weights=table["counts"])
    assert abs(off) < 0.1 * np.ptp(up)


def test_a_peak_that_is_no_gaussian_is_told_by_its_width_at_half_maximum() -> None:
    edges = np.linspace(0.0, 10.0, 201)
    at = 0.5 * (edges[1:] + edges[:-1])

    def fitted(counts: np.ndarray) -> plots.Fit:
        found = plotting._fit(Spectrum(np.round(counts), (edges,), ("ker",), ("eV",)))
        assert found is not None
        return found

    normal = fitted(400.0 * np.exp(-0.5 * ((at - 4.0) / 0.5) ** 2))
    assert normal.gaussian
    assert abs(normal.centre - 4.0) < 0.01
    assert abs(normal.fwhm - 2.3548 * 0.5) < 0.01
    # A triangle from its top at 3 to zero at 7 and from 2 to 3.
    skew = fitted(400.0 * np.clip(np.minimum(at - 2.0, (7.0 - at) / 4.0), 0.0, None))
    assert not skew.gaussian
    assert abs(skew.centre - 3.0) < 0.15
    assert abs(skew.fwhm - 2.5) < 0.15
