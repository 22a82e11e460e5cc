"""Style of figures for papers: text stays text, fonts are embedded, labels have superscripts."""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from molexa_core.base.errors import InputFileError, UnknownIonError, UsageError, listing
from molexa_core.base.fields import MOMENTUM
from molexa_core.base.matter.ions import parse_ion
from molexa_core.base.storage.files import UNWRITABLE, atomic_path
from molexa_core.base.storage.provenance import PICTURE_MARK, Provenance
from molexa_core.report.style import SETTINGS, with_provenance

CM: Final = 1.0 / 2.54
"""One centimetre in inches."""
WIDTH_CM: Final = 8.6
"""Width of a column of most journals."""
SUFFIXES: Final = (".pdf", ".svg", ".png")
LARGEST_STYLE: Final = 64 * 1024
Style = Any
"""Settings of matplotlib by name."""
FOR_PAPERS: Final[Style] = {
    **SETTINGS,
    "font.size": 7.5,
    "axes.labelsize": 8,
    "axes.titlesize": 8,
    "legend.fontsize": 7,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "text.parse_math": True,
    "mathtext.fontset": "dejavusans",
    "mathtext.default": "it",
    "svg.fonttype": "none",
    "pdf.fonttype": 42,
    "savefig.dpi": 600,
}
FOR_SCREEN: Final[Style] = {
    **FOR_PAPERS,
    "font.size": 9,
    "axes.labelsize": 9.5,
    "axes.titlesize": 9.5,
    "legend.fontsize": 8.5,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "figure.dpi": 110,
}
SCREEN_WIDTH: Final = 4.9
"""Width of a figure on a screen, inches."""
_SUPERSCRIPT: Final = str.maketrans("0123456789+-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻")
_SUBSCRIPT: Final = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")
_ION_IN_TEXT: Final = re.compile(
    r"(?<![\w./])(?:\d{1,3})?(?:\([A-Z][A-Za-z0-9]*\)|[A-Z][A-Za-z0-9]*)\d*\+(?:#\d+)?(?![\w+])"
)
_OF_ION: Final = re.compile(r"(?P<name>[a-z_]+)\((?P<ions>[^()]*)\)")
_SYMBOLS: Final = {
    "p": "$|p|$",
    **{name: f"$p_{name[1]}$" for name in MOMENTUM},
    "psum": "$|\\Sigma p|$",
    "psumx": "$\\Sigma p_x$",
    "psumy": "$\\Sigma p_y$",
    "psumz": "$\\Sigma p_z$",
    "ker": "kinetic energy release",
    "energy": "$E$",
    "tof": "$t$",
    "x": "$x$",
    "y": "$y$",
    "z": "$z$",
    "dalitzx": "$((\\epsilon_1-\\epsilon_2)/\\sqrt{3})$",
    "dalitzy": "$(\\epsilon_3-1/3)$",
    "angle": "angle",
    "cosine": "cos",
}


def pretty_ion(text: str) -> str:
    """An ion with superscripts and subscripts: `O2+` as O²⁺, `(N2)+` as N₂⁺, `13C+` as ¹³C⁺.

    Example:
        >>> [pretty_ion(ion) for ion in ("O+", "O2+", "(N2)+", "CH3+", "13C+", "H+#2")]
        ['O⁺', 'O²⁺', 'N₂⁺', 'CH₃⁺', '¹³C⁺', 'H⁺ 2']
    """
    kind, _, number = text.partition("#")
    try:
        ion = parse_ion(kind)
    except UnknownIonError:
        return text
    atoms = "".join(_pretty_atom(name, count) for name, count in ion.composition)
    charge = str(ion.charge).translate(_SUPERSCRIPT) if ion.charge > 1 else ""
    return f"{atoms}{charge}⁺ {number}".rstrip()


def pretty_ions(text: str) -> str:
    """A text with its ions as `pretty_ion` writes them; all else as it is.

    Example:
        >>> pretty_ions("O2+, H+#2 (second) and C++ of run.O2+.h5")
        'O²⁺, H⁺ 2 (second) and C++ of run.O2+.h5'
    """
    return _ION_IN_TEXT.sub(lambda match: pretty_ion(match.group()), text)


def _pretty_atom(name: str, count: int) -> str:
    match = re.fullmatch(r"(\d*)(.*)", name)
    isotope, symbol = (match[1], match[2]) if match else ("", name)
    many = str(count).translate(_SUBSCRIPT) if count > 1 else ""
    return f"{isotope.translate(_SUPERSCRIPT)}{symbol}{many}"


def pretty_label(written: str, unit: str = "") -> str:
    """An observable as an axis label with its unit: `px(O+)` as p_x(O⁺) (a.u.)."""
    text = _SYMBOLS.get(written) or _OF_ION.sub(_pretty_observable, written.replace(" * ", " "))
    if text == written:
        text = written.replace("_", " ")
    return f"{text} ({unit})" if unit else text


def _pretty_observable(match: re.Match[str]) -> str:
    ions = ", ".join(pretty_ion(ion.strip()) for ion in match["ions"].split(","))
    name = _SYMBOLS.get(match["name"], match["name"])
    return f"{name}({ions})"


def width_of(text: str | None) -> float:
    """A width such as `8.6cm`, `86mm` or `3.4in`, in inches.

    Raises:
        UsageError: no width, or one that no paper has.
    """
    if text is None:
        return WIDTH_CM * CM
    match = re.fullmatch(r"\s*(\d+(?:\.\d*)?)\s*(cm|mm|in)?\s*", text)
    factor = {"cm": CM, "mm": 0.1 * CM, "in": 1.0, None: CM}
    inches = float(match[1]) * factor[match[2]] if match else 0.0
    if not 0.999 <= inches <= 40.0:
        raise UsageError(
            f"{text!r} is no width of a figure", setting="width", do="Write 8.6cm, 86mm or 3.4in."
        )
    return inches


def require_suffix(path: Path) -> None:
    """Check that a figure can be written in the format that the name asks for.

    Raises:
        UsageError: another suffix.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(
            f"{path.name} is no figure that can be written",
            setting="out",
            do=f"Give it one of the endings {listing(SUFFIXES)}.",
        )


def style_of(path: Path | str | None) -> Style:
    """The settings of a style file of matplotlib on top of those for papers.

    Raises:
        InputFileError: no such file, or a setting that matplotlib does not know.
    """
    if path is None:
        return FOR_PAPERS
    path = Path(path)
    if not path.is_file() or path.stat().st_size > LARGEST_STYLE:
        raise InputFileError("no style file", where=path, do="Name a *.mplstyle of matplotlib.")
    settings: dict[str, Any] = dict(FOR_PAPERS)
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        text = line.split("#", 1)[0].strip() if not _COLOUR.search(line) else line.strip()
        if not text or text.startswith("#"):
            continue
        key, colon, value = text.partition(":")
        try:
            if not colon:
                raise ValueError("no colon")
            settings[key.strip()] = _checked(key.strip(), value.strip())
        except (KeyError, ValueError) as error:
            raise InputFileError(
                f"line {number}: {key.strip()!r} is no setting of matplotlib, or has a wrong value",
                where=path,
                do="Write lines such as `font.size: 9`.",
            ) from error
    return settings


def _checked(name: str, value: str) -> Any:
    """A setting as matplotlib understands it."""
    one: Any = mpl.RcParams
    return one({name: value})[name]


_COLOUR: Final = re.compile(r":\s*['\"]?#[0-9a-fA-F]{3,8}")


@contextmanager
def drawing(
    width: float,
    height: float,
    style: Style,
    *,
    on_screen: bool = False,
    within: Axes | None = None,
) -> Iterator[Any]:
    """A figure of this size in inches in a style; the state of pyplot does not change.

    Unless it is for the screen: it then is the current figure of pyplot, which shows it.

    Args:
        width: inches.
        height: inches.
        style: settings of matplotlib.
        on_screen: whether it is one of pyplot.
        within: axes of another figure, to draw into instead.
    """
    with mpl.rc_context(style):
        if within is not None:
            yield Within(within)
            return
        if on_screen:
            from matplotlib import pyplot as plt  # noqa: PLC0415

            yield plt.figure(figsize=(width, height), layout="constrained")
            return
        found = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(found)
        yield found


class Within:
    """Axes of another figure in place of an empty figure, for figures of a single panel."""

    def __init__(self, axes: Axes) -> None:
        self.axes = [axes]
        self.canvas = self

    def draw(self) -> None:
        """Nothing: the figure is drawn by its owner."""

    def get_figwidth(self) -> float:
        """Width of the axes in inches."""
        figure: Any = self.axes[0].figure
        return float(figure.get_figwidth() * self.axes[0].get_position().width)

    def subplots(self, *shape: int, **layout: Any) -> Any:
        """The axes.

        Raises:
            UsageError: the figure has several panels.
        """
        if np.prod(shape or (1,)) != 1:
            raise UsageError("this figure has several panels", setting="ax", do="Leave it out.")
        return np.array([self.axes], dtype=object) if "squeeze" in layout else self.axes[0]

    def add_subplot(self, **how: Any) -> Any:
        """The axes, if they are of this kind.

        Raises:
            UsageError: they have another projection.
        """
        name = how.get("projection", "rectilinear")
        if self.axes[0].name != name:
            raise UsageError(
                "this figure needs axes of another projection",
                setting="ax",
                do=f"Make them with the projection '{name}', or leave it out.",
            )
        return self.axes[0]


def panels_of(figure: Any) -> Any:
    """The axes of a figure without its colour bars: one, or an array of several."""
    panels = [axes for axes in figure.axes if axes.get_label() != "<colorbar>"]
    if len(panels) == 1:
        return panels[0]
    found = np.empty(len(panels), dtype=object)
    found[:] = panels
    return found


def as_png(figure: Figure, dpi: int = 110) -> str:
    """The figure as a data URI, small enough for a notebook."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=dpi)
    return f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode('ascii')}"


def save(figure: Figure, path: Path, style: Style, record: Provenance) -> None:
    """Write a figure with its provenance; its size stays what was asked for.

    Raises:
        OutputError: the file cannot be written.
    """
    kind = path.suffix.lower().removeprefix(".")
    made = PICTURE_MARK + json.dumps(json.loads(record.to_json()))  # in ASCII, which PDF wants
    metadata: dict[str, dict[str, Any]] = {
        "pdf": {"CreationDate": None, "ModDate": None, "Creator": "molexa", "Keywords": made},
        "svg": {"Date": None, "Creator": "molexa"},
        "png": {"Software": "molexa", "Comment": made},
    }
    stream = io.BytesIO()
    settings: Any = {**style, "svg.hashsalt": "molexa"}
    with mpl.rc_context(settings):
        figure.savefig(stream, format=kind, metadata=metadata[kind])
    content = stream.getvalue()
    if kind == "svg":
        content = with_provenance(content.decode("utf-8"), record).encode("utf-8", UNWRITABLE)
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)
