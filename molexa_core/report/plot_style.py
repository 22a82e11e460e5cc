"""Style of figures for papers: text stays text, fonts are embedded, labels have superscripts."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
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
_SUPERSCRIPT: Final = str.maketrans("0123456789+-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻")
_SUBSCRIPT: Final = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")
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
def drawing(width: float, height: float, style: Style) -> Iterator[Figure]:
    """A figure of this size in inches in a style; the state of pyplot does not change."""
    with mpl.rc_context(style):
        found = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(found)
        yield found


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
