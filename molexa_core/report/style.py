"""Common style of all figures, and their output as SVG."""

from __future__ import annotations

import base64
import html
import io
import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Colormap, LinearSegmentedColormap
from matplotlib.figure import Figure

from molexa_core.base.storage.files import UNWRITABLE, atomic_path
from molexa_core.base.storage.provenance import FIGURE_MARK, Provenance

INK: Final = "#1f2a37"
LINE: Final = "#24557a"
FILL: Final = "#d5e3ee"
ACCENT: Final = "#b5482f"
GRID: Final = "#dfe4ea"
MUTED: Final = "#6b7785"
STICK: Final = "#b9c0ca"

SETTINGS: Final[Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 8.5,
    "axes.labelsize": 9,
    "axes.titlesize": 9,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "text.color": INK,
    # Labels come from files: a dollar sign in them must not start a formula.
    "text.parse_math": False,
    "svg.fonttype": "path",
    "svg.hashsalt": "molexa",
    "legend.frameon": False,
    "legend.fontsize": 8,
    "figure.dpi": 100,
    "savefig.dpi": 170,
}

ELEMENT_COLOURS: Final = {
    "H": "#c9ced6",
    "C": "#4a4f57",
    "N": "#3b63c4",
    "O": "#c8352b",
    "F": "#4fb3bf",
    "Si": "#a9825a",
    "P": "#e08a1e",
    "S": "#d8b42c",
    "Cl": "#4d9a3f",
    "Br": "#8c3b2a",
    "I": "#6f2f8e",
}
_PLACE: Final = re.compile(r'\b(?:d|x|y)="[^"]*"|translate\([^)]*\)')
_DIGITS: Final = re.compile(r"(\d+\.\d\d)\d+")
_COMMENT: Final = re.compile(r"<!--.*?-->", re.DOTALL)
_BEGIN: Final = re.compile(r"<svg\b[^>]*>")
_BLANK: Final = re.compile(r"\s*\n\s*")
_METADATA: Final = re.compile(r"<metadata>.*?</metadata>|<\?xml[^>]*>|<!DOCTYPE[^>]*>", re.DOTALL)
_SHEET: Final = re.compile(r"<style\b.*?</style>", re.DOTALL)
_LINES: Final = 'stroke-linejoin="round" stroke-linecap="butt"'
_GROUP: Final = re.compile(r'<g id="[^"]*">')
_REFERENCE: Final = re.compile(r'(\bid="|href="#|url\(#)([^")]+)')
_COLOUR: Final = re.compile(r"#[0-9a-f]{6}\b")
_VARIABLES: Final = {
    INK: "ink",
    LINE: "line",
    FILL: "fill",
    ACCENT: "accent",
    GRID: "grid",
    MUTED: "muted",
    "#ffffff": "paper",
    STICK: "stick",
}
_CUSTOM: Final = "-" * 2
"""How names of variables of a style sheet begin."""
_LIKE_DEJAVU: Final = "Verdana, sans-serif"
"""Fonts as wide as the one in which the figure was laid out."""
_SUPERSCRIPT: Final = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_OTHER_ELEMENT: Final = "#8f7a9b"


def element_colour(symbol: str) -> str:
    """The conventional colour of an element."""
    return ELEMENT_COLOURS.get(symbol, _OTHER_ELEMENT)


def map_colours() -> Colormap:
    """Colours of two-dimensional histograms: white for empty bins, then light to dark."""
    stops = ["#ffffff", "#cfe3ee", "#7fb2cf", "#3a7aa8", "#1d3f6e", "#12203f"]
    return LinearSegmentedColormap.from_list("molexa", stops)


@contextmanager
def figure(width: float, height: float, **layout: Any) -> Iterator[tuple[Figure, Any]]:
    """A figure of this size in inches and its axes, in the common style.

    The figure has its own canvas: the state of pyplot does not change.
    """
    with mpl.rc_context(SETTINGS):
        drawing = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(drawing)
        yield drawing, drawing.subplots(**layout)


def as_uri(drawing: Figure) -> str:
    """The figure as an SVG data URI; dense maps are embedded as pixel images."""
    stream = io.BytesIO()
    # No date in the file: the same data give the same page.
    with mpl.rc_context(SETTINGS):
        drawing.savefig(
            stream,
            format="svg",
            bbox_inches="tight",
            pad_inches=0.04,
            metadata={"Date": None, "Creator": None},
        )
    return f"data:image/svg+xml;base64,{base64.b64encode(stream.getvalue()).decode('ascii')}"


def as_svg(drawing: Figure, name: str) -> str:
    """The figure as an `<svg>` element of a page: text stays text, colours follow the page.

    Colours of the style become variables of the page with the style's own colour behind them, such
    as `var(--ink,#1f2a37)`; `light` gives a file of its own.

    Args:
        drawing: the figure.
        name: unique on the page; identifiers of the element begin with it.
    """
    stream = io.BytesIO()
    with mpl.rc_context({**SETTINGS, "svg.fonttype": "none"}):
        drawing.savefig(
            stream,
            format="svg",
            bbox_inches="tight",
            pad_inches=0.04,
            transparent=True,
            metadata={"Date": None, "Creator": None, "Format": None, "Type": None},
        )
    text = stream.getvalue().decode("utf-8")
    # A style sheet in a figure would be one of the whole page.
    text = _COMMENT.sub("", _METADATA.sub("", text[text.index("<svg") :]))
    text = _SHEET.sub("", text).replace("<svg ", f"<svg {_LINES} ", 1)
    text = _PLACE.sub(lambda match: _DIGITS.sub(r"\1", match.group()), text)
    text = _GROUP.sub("<g>", _BLANK.sub(" ", text)).replace("> <", "><")
    text = _REFERENCE.sub(rf"\g<1>{name}-\g<2>", text)
    text = _COLOUR.sub(lambda match: _variable(match.group()), text)
    return text.replace("'DejaVu Sans'", f"'DejaVu Sans', {_LIKE_DEJAVU}").strip()


def _variable(colour: str) -> str:
    if colour not in _VARIABLES:
        return colour
    return f"var({_CUSTOM}{_VARIABLES[colour]},{colour})"


def save_svg(uri: str, path: Path | str, record: Provenance | None = None) -> None:
    """Write a figure of `as_uri` as an SVG file, coordinates rounded to a hundredth of a point.

    Args:
        uri: the figure.
        path: the file.
        record: provenance, written into the file, which then counts as a result of molexa.

    Raises:
        OutputError: the file cannot be written.
    """
    text = base64.b64decode(uri.split(",", 1)[1]).decode("utf-8")
    # Invisible digits, indentation and comments make up half of a file.
    text = _PLACE.sub(lambda match: _DIGITS.sub(r"\1", match.group()), text)
    text = _BLANK.sub("\n", _COMMENT.sub("", text)).replace("DejaVuSans-", "g")
    if record is not None:
        text = with_provenance(text, record)
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors=UNWRITABLE)


def with_provenance(text: str, record: Provenance) -> str:
    """An SVG file with its provenance, by which it counts as a result of molexa."""
    stored = f"\n{FIGURE_MARK}{html.escape(record.to_json(), quote=False)}</metadata>"
    return _BEGIN.sub(lambda match: match.group() + stored, text, count=1)


def axis_label(name: str, unit: str) -> str:
    """`name (unit)`, or the name alone for a dimensionless quantity."""
    return f"{name} ({unit})" if unit else name


def plain_powers(value: float, position: float = 0.0) -> str:
    """A power of ten on a logarithmic axis as plain text (formulas are switched off)."""
    del position
    if value <= 0:
        return ""
    exponent = round(math.log10(value))
    if not math.isclose(value, 10.0**exponent, rel_tol=1e-6):
        return ""
    if 0 <= exponent <= 3:
        return str(10**exponent)
    return f"10{str(exponent).translate(_SUPERSCRIPT)}"


def colour_bar(axes: Axes, image: Any, label: str, *, logarithmic: bool) -> None:
    """A colour bar as high as the axes, even if their aspect ratio is fixed."""
    beside = axes.inset_axes((1.03, 0.0, 0.035, 1.0))
    bar = axes.get_figure(root=True).colorbar(image, cax=beside, label=label)  # type: ignore[union-attr]
    if logarithmic:
        bar.ax.yaxis.set_major_formatter(plain_powers)
        bar.ax.yaxis.set_minor_formatter("")
    bar.outline.set_visible(False)
    if bar.solids is not None:
        bar.solids.set_rasterized(True)
        bar.solids.set_edgecolor("face")


def common_area(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    """The area that two boxes (left, low, right, top) share."""
    across = min(one[2], other[2]) - max(one[0], other[0])
    up = min(one[3], other[3]) - max(one[1], other[1])
    return max(across, 0.0) * max(up, 0.0)


def grid(axes: Axes) -> None:
    """Faint lines behind the data."""
    axes.grid(visible=True, color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
