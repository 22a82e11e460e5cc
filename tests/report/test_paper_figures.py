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
        for symbol, label, place in zip("OHH", ("O", "H(1)", "H(2)"), places, strict=True)
    ]
    view = plots.StructureView("x", "y", atoms, [(0, 1), (0, 2)])
    plots.structure(figure, [view, view], ("geom.json", "known.xyz"))


def _training(figure: Any, at: float = 1.0) -> None:
    steps = np.arange(1.0, 60.0)
    plots.curves(figure, steps, {"loss": at / steps, "rest": 0.1 / steps}, "step", "loss", log=True)


DRAWN: Final[dict[str, tuple[Callable[..., None], float]]] = {
    "tof": (_tof, 1.3),
    "ker": (_ker, 1.0),
    "energies": (_energies, 0.5),
    "over": (_over, 1.0),
    "sums": (_sums, 0.8),
    "newton": (_newton, -1.0),
    "pipico": (_pipico, -1.0),
    "dalitz": (_dalitz, -0.15),
    "momenta": (_momenta, -10.0),
    "structure": (_structure, 0.4),
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
    width, height = WIDTH_CM * CM, WIDTH_CM * CM * 0.85
    with drawing(width, height, FOR_PAPERS) as figure:
        draw(figure)
        figure.canvas.draw()
        around = figure.get_tightbbox()
    room = 0.02  # inches
    assert around.x0 > -room
    assert around.y0 > -room
    assert around.x1 < width + room
    assert around.y1 < height + room


if __name__ == "__main__":
    PICTURES.mkdir(parents=True, exist_ok=True)
    for name, (draw, _) in DRAWN.items():
        _picture(draw).save(PICTURES / f"{name}.png", optimize=True)
