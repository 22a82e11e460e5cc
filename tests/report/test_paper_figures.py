"""Figures for papers against small pictures of them, coarse enough for other versions and fonts.

`python -m tests.report.test_paper_figures` writes the pictures anew; look at them before.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image

from molexa_core.base.spectrum import Spectrum
from molexa_core.pipeline.chain.plot import PLOTS
from molexa_core.report import paper_figures as plots
from molexa_core.report.plot_style import CM, FOR_PAPERS, WIDTH_CM, drawing

PICTURES: Final = Path(__file__).parent.parent / "data" / "figures"
SIZE: Final = (84, 64)
"""Pixels of a picture: one is the mean over a millimetre of the figure."""
MEAN: Final = 0.02
"""Largest mean difference of the grey values, from 0 to 1."""


def _peaks(*middles: float, width: float = 0.1) -> Spectrum:
    edges = np.linspace(0.0, 3.0, 121)
    at = 0.5 * (edges[1:] + edges[:-1])
    counts = sum(200.0 * np.exp(-0.5 * ((at - one) / width) ** 2) for one in middles)
    return Spectrum(np.round(counts), (edges,), ("ker",), ("eV",), errors=np.sqrt(counts + 1.0))


def _spot(across: float, up: float, half: float = 3.0) -> Spectrum:
    edges = np.linspace(-half, half, 61)
    at = 0.5 * (edges[1:] + edges[:-1])
    counts = 300.0 * np.exp(-((at[:, None] - across) ** 2) - (at - up) ** 2)
    return Spectrum(np.round(counts), (edges, edges), ("px", "pz"), ("a.u.", "a.u."))


def _tof(figure: Any, at: float = 1.0) -> None:
    spectrum = _peaks(at, 2.0, width=0.03)
    spectrum = Spectrum(spectrum.counts, spectrum.edges, ("time of flight",), ("ns",))
    peaks = [plots.Peak("H+", at), plots.Peak("O+", 2.0), plots.Peak("H2O+", 2.1, of_channel=False)]
    plots.time_of_flight(figure, spectrum, peaks, [(1.0, 1.0), (16.0, 2.0)], log=True)


def _ker(figure: Any, at: float = 1.5) -> None:
    plots.histogram(figure, [_peaks(at)], ["ker"], fits=[plots.Fit(at, 0.1, 200.0)])


def _energies(figure: Any, at: float = 1.0) -> None:
    names = ["O+", "C+"]
    plots.histogram(figure, [_peaks(at), _peaks(2.0)], names, fits=[None, plots.Fit(2.0, 0.1, 200)])


def _over(figure: Any, at: float = 1.5) -> None:
    first, second = _peaks(at), _peaks(1.55)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(second.counts > 0, first.counts / second.counts, np.nan)
    pull = (first.counts - second.counts) / np.sqrt(first.counts + second.counts + 1.0)
    ratio_of = Spectrum(ratio, first.edges, ("ker",), ("eV",), errors=np.full(120, 0.2))
    pulls = Spectrum(pull, first.edges, ("ker",), ("eV",))
    plots.overlay(figure, plots.Over(first, second, 1.0, ratio_of, pulls), ("a", "b"), log=False)


def _sums(figure: Any, at: float = 1.5) -> None:
    spectra = []
    for axis in "xyz":
        one = _peaks(at if axis == "x" else 1.5)
        marks = {"gate low": 1.2, "gate high": 1.8}
        label = f"momentum sum along {axis}"
        spectra.append(Spectrum(one.counts, one.edges, (label,), ("a.u.",), marks))
    plots.sums(figure, spectra)


def _histogram(figure: Any, at: float = 1.5) -> None:
    wide = _peaks(at, at + 0.4)
    spectrum = Spectrum(wide.counts, wide.edges, ("energy(O2+)",), ("eV",), errors=wide.errors)
    plots.histogram(figure, [spectrum], ["energy(O2+)"], log=True)


def _map(figure: Any, at: float = 1.0) -> None:
    spot = _spot(at, -0.5)
    labels = ("energy(O2+)", "energy(S2+)")
    spectrum = Spectrum(spot.counts, spot.edges, labels, ("eV", "eV"))
    plots.density(figure, spectrum, log=False, equal=False)


def _image(figure: Any, at: float = 1.0) -> None:
    spot = _spot(at, 1.0, half=40.0)
    spectrum = Spectrum(spot.counts, spot.edges, ("x", "y"), ("mm", "mm"))
    plots.density(figure, spectrum, log=True, equal=True)


def _triion(figure: Any, at: float = 1.0) -> None:
    spot = _spot(at, -at)
    labels = ("tof(O2+) + tof(C2+)", "tof(S2+)")
    spectrum = Spectrum(spot.counts, spot.edges, labels, ("ns", "ns"))
    line = np.array([[-3.0, 3.0], [3.0, -3.0]])
    plots.density(figure, spectrum, log=True, equal=False, line=line)


def _newton(figure: Any, at: float = 1.0) -> None:
    plots.density(figure, _spot(at, 1.0), log=False, equal=True, arrow="O+")


def _pipico(figure: Any, at: float = 1.0) -> None:
    line = np.array([[-3.0, 3.0], [3.0, -3.0]])
    one = plots.PairMap(_spot(at, -at), line, ((-2.0, 2.0), None), (line + 0.3, line - 0.3))
    plots.pairs(figure, [one, one, one])


def _dalitz(figure: Any, at: float = 0.1) -> None:
    spot = _spot(10 * at, 0.5)
    edges = tuple(0.1 * one for one in spot.edges)
    narrow = Spectrum(spot.counts * (spot.counts > 100), edges, spot.labels, ("", ""))
    plots.dalitz(figure, narrow, ["O+", "H+", "H+#2"], log=False)


def _momenta(figure: Any, at: float = 10.0) -> None:
    cloud = np.random.default_rng(1).normal(size=(400, 3))
    plots.momenta(
        figure, {"O+": cloud + np.array([at, 0, 0]), "H+": cloud - np.array([10.0, 0, -10.0])}
    )


def _structure(figure: Any, at: float = 1.0) -> None:
    places = [np.array([0.0, 0.0]), np.array([at, 0.6]), np.array([-1.0, 0.6])]
    atoms = [
        plots.Atom(symbol, label, place, 0.01 * np.eye(2), place + 0.1)
        for symbol, label, place in zip("OHH", ("O1", "H2", "H3"), places, strict=True)
    ]
    view = plots.StructureView("x", "y", atoms, [(0, 1), (0, 2)])
    plots.structure(figure, [view, view], ("geom.json", "known.xyz"))


def _score(figure: Any, at: float = 1.0) -> None:
    names = ["O1-H2", "O1-H3", "H2-H3", "O1-C4", "C4-H3"]
    errors = at * np.array([0.01, -0.02, 0.04, -0.03, 0.0])
    half_widths = np.array([0.01, 0.02, 0.02, np.nan, 0.015])
    plots.deviations(figure, names, errors, half_widths, "mean absolute error 0.02 Å")


def _training(figure: Any, at: float = 1.0) -> None:
    steps = np.arange(1.0, 60.0)
    plots.curves(figure, steps, {"loss": at / steps, "rest": 0.1 / steps}, "step", "loss", log=True)


DRAWN: Final[dict[str, tuple[Callable[..., None], float]]] = {
    "tof": (_tof, 1.3),
    "ker": (_ker, 1.0),
    "energies": (_energies, 0.5),
    "over": (_over, 1.0),
    "sums": (_sums, 0.8),
    "histogram": (_histogram, 0.7),
    "map": (_map, -1.0),
    "image": (_image, -20.0),
    "triion": (_triion, -1.5),
    "newton": (_newton, -1.0),
    "pipico": (_pipico, -1.0),
    "dalitz": (_dalitz, -0.15),
    "momenta": (_momenta, -10.0),
    "structure": (_structure, 0.4),
    "score": (_score, -1.0),
    "training": (_training, 0.1),
}
"""Each figure, and what a wrong one is drawn with."""


def _picture(draw: Callable[..., None], *told: float) -> Image.Image:
    """A figure of the width of a column as a small grey picture."""
    with drawing(WIDTH_CM * CM, WIDTH_CM * CM * SIZE[1] / SIZE[0], FOR_PAPERS) as figure:
        draw(figure, *told)
        stream = io.BytesIO()
        with mpl.rc_context({**FOR_PAPERS, "savefig.dpi": 150}):
            figure.savefig(stream, format="png", facecolor="white")
    stream.seek(0)
    return Image.open(stream).convert("L").resize(SIZE, Image.Resampling.BOX)


def _difference(one: Image.Image, other: Image.Image) -> float:
    """Mean difference, after a blur of a pixel so that letters may move by one."""
    grey = []
    for picture in (one, other):
        values = np.asarray(picture, dtype=float) / 255.0
        padded = np.pad(values, 1, mode="edge")
        rows = [padded[i : i + SIZE[1], j : j + SIZE[0]] for i in range(3) for j in range(3)]
        grey.append(np.mean(rows, axis=0))
    return float(np.abs(grey[0] - grey[1]).mean())


@pytest.mark.parametrize("name", DRAWN)
def test_figures_look_like_their_pictures(name: str) -> None:
    draw, wrong = DRAWN[name]
    with Image.open(PICTURES / f"{name}.png") as reference:
        assert _difference(_picture(draw), reference) < 0.4 * MEAN
        # The tolerance is small enough to see that something else is drawn.
        assert _difference(_picture(draw, wrong), reference) > _difference(
            _picture(draw), reference
        )


def test_a_figure_is_unlike_every_other_picture() -> None:
    pictures = {name: _picture(draw) for name, (draw, _) in DRAWN.items()}
    for name, picture in pictures.items():
        for other in DRAWN:
            with Image.open(PICTURES / f"{other}.png") as reference:
                assert (_difference(picture, reference) < MEAN) == (name == other)


def test_pictures_are_small() -> None:
    assert sum(path.stat().st_size for path in PICTURES.glob("*.png")) < 50_000


@pytest.mark.parametrize("name", DRAWN)
def test_nothing_lies_outside_a_figure(name: str) -> None:
    """Nothing is cut off at the width of a column."""
    draw, _ = DRAWN[name]
    aspect = PLOTS[name].aspect if name in PLOTS else PLOTS["ker"].aspect
    width, height = WIDTH_CM * CM, WIDTH_CM * CM * aspect
    with drawing(width, height, FOR_PAPERS) as figure:
        draw(figure)
        figure.canvas.draw()
        around = figure.get_tightbbox()
    room = 0.02  # inches
    assert around.x0 > -room
    assert around.y0 > -room
    assert around.x1 < width + room
    assert around.y1 < height + room


def test_every_figure_has_a_picture() -> None:
    assert set(DRAWN) == {*PLOTS, "over"}
    assert {path.stem for path in PICTURES.glob("*.png")} == set(DRAWN)


def test_names_of_atoms_behind_each_other_stand_apart() -> None:
    """Four atoms of which two pairs fall together in the plane."""
    places = ((0.0, 0.0), (0.02, 0.01), (1.5, 0.0), (1.5, 0.02))
    atoms = [
        plots.Atom("H", f"H{number}", np.array(place)) for number, place in enumerate(places, 1)
    ]
    with drawing(WIDTH_CM * CM, 5.0 * CM, FOR_PAPERS) as figure:
        plots.structure(figure, [plots.StructureView("x", "y", atoms, [(0, 2)])])
        figure.canvas.draw()
        (axes,) = figure.axes
        boxes = [text.get_window_extent() for text in axes.texts]
    assert len(boxes) == len(places)
    for number, one in enumerate(boxes):
        for other in boxes[number + 1 :]:
            assert not one.overlaps(other)


@pytest.mark.parametrize(("gaussian", "told"), [(True, "1.50 eV"), (False, "highest at 1.5 eV")])
def test_a_curve_is_drawn_only_where_it_describes_the_peak(gaussian: bool, told: str) -> None:
    with drawing(WIDTH_CM * CM, 5.0 * CM, FOR_PAPERS) as figure:
        fit = plots.Fit(1.5, 0.1, 200.0, gaussian=gaussian)
        plots.histogram(figure, [_peaks(1.5)], ["ker"], fits=[fit])
        (axes,) = figure.axes
        (text,) = axes.get_legend().get_texts()
        drawn = [line for line in axes.lines if len(line.get_xdata()) > 0]
    assert text.get_text().startswith(told)
    assert len(drawn) == gaussian


if __name__ == "__main__":
    PICTURES.mkdir(parents=True, exist_ok=True)
    for name, (draw, _) in DRAWN.items():
        _picture(draw).save(PICTURES / f"{name}.png", optimize=True)
