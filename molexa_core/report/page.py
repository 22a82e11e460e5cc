"""The report as one self-contained HTML file with style, figures and molecule viewer."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import jinja2
from markupsafe import Markup

from molexa_core import __version__
from molexa_core.base.errors import InputFileError
from molexa_core.base.fields import (
    SPECTRUM_IMAGE,
    SPECTRUM_KER,
    SPECTRUM_PIPICO,
    SPECTRUM_SUM,
    SPECTRUM_TOF,
)
from molexa_core.base.spectrum import Spectrum
from molexa_core.base.storage.resources import shipped_folder
from molexa_core.report import figure_data as numbers
from molexa_core.report import figures
from molexa_core.report import text_tables as tables
from molexa_core.report.content import (
    ComparedSpectra,
    Comparison,
    LengthRow,
    ReportContent,
    SeriesContent,
    SingleEvents,
    Structure,
)
from molexa_core.report.plot_style import pretty_ions
from molexa_core.report.structure import projection, scene

TEMPLATE: Final = "report.html.j2"
STYLE: Final = "report.css"
SCRIPTS: Final = ("viewer.js", "report.js")
"""Files beside the template that go into the page as they are."""

_IN_WORDS: Final = {"fwhm": "full width at half maximum"}
_MOST_DIHEDRALS: Final = 4
"""More are folded away."""


@dataclass(frozen=True)
class Picture:
    """A figure on the page.

    Attributes:
        svg: the drawing.
        name: of the files in which figure and numbers are saved, unique on the page.
        caption: below it.
        alt: what it is, for those who do not see it.
        data: its numbers.
    """

    svg: Markup
    name: str
    caption: str
    alt: str
    data: numbers.Data


@dataclass(frozen=True)
class Shown:
    """A table on the page with its numbers."""

    table: tables.Table
    name: str
    data: numbers.Data


def render(content: ReportContent) -> str:
    """The HTML text of the page.

    Text from files is escaped; the only scripts are the page's own.

    Args:
        content: the contents; missing parts are listed as missing.

    Raises:
        InputFileError: the installation lacks the template, its style or its scripts.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(shipped_folder("templates")),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["ions"] = _with_ions
    structure = content.structure
    parts: dict[str, Any] = {
        "detection": _detection(content),
        "sums": _sums(content),
        "covariances": _covariances(content),
        "ker": _ker(content),
        "newton": [
            _picture(
                figures.newton(item, name := f"newton-{number}"),
                name,
                item.caption,
                "Newton map",
                numbers.of_spectrum(item.spectrum, "ions"),
            )
            for number, item in enumerate(content.newton, start=1)
        ],
        "centroids": None
        if content.centroids is None
        else Shown(
            tables.centroid_table(content.centroids),
            "mean-momenta",
            numbers.of_numbers(tables.centroid_numbers(content.centroids)),
        ),
        "structure": None if structure is None else _structure(structure),
        "events": None if content.events is None else _events(content.events),
        "series": [_series(item, number) for number, item in enumerate(content.series, start=1)],
        "comparison": None if content.comparison is None else _comparison(content.comparison),
    }
    data: dict[str, numbers.Data] = {}
    _collect(parts, data)
    return environment.get_template(TEMPLATE).render(
        content=content,
        version=__version__,
        parts=parts,
        steps=[tables.step_record(record) for record in content.provenance],
        style=_as_it_is(STYLE),
        scripts=[_as_it_is(name) for name in SCRIPTS],
        scene=None if structure is None else _json(scene(structure, content.comparison)),
        data=_json(data),
    )


def _with_ions(text: object) -> object:
    """Plain text with superscripts at its ions; what is no text, or markup already, as it is."""
    return pretty_ions(text) if isinstance(text, str) and not isinstance(text, Markup) else text


def _as_it_is(name: str) -> Markup:
    """A file of the page, which is no input."""
    path = Path(shipped_folder("templates")) / name
    if not path.is_file():
        raise InputFileError(
            f"{name} of the report is missing from the installation",
            where=path,
            do="Install molexa again.",
        )
    return Markup(path.read_text(encoding="utf-8"))  # noqa: S704  shipped, not input


def _json(values: object) -> Markup:
    """Values as JSON inside a script: nothing in them can end it."""
    text = json.dumps(values, allow_nan=False, separators=(",", ":"), ensure_ascii=False)
    for letter in "<>&\u2028\u2029":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return Markup(text)  # noqa: S704  escaped above


def _collect(part: Any, data: dict[str, numbers.Data]) -> None:
    """The numbers of all figures and tables by the names of their files."""
    if isinstance(part, Picture | Shown):
        data[part.name] = part.data
    elif isinstance(part, dict):
        for one in part.values():
            _collect(one, data)
    elif isinstance(part, list | tuple):
        for one in part:
            _collect(one, data)


def _picture(svg: str, name: str, caption: str, alt: str, data: numbers.Data) -> Picture:
    # The drawing is matplotlib's: it escapes the text in it.
    return Picture(Markup(svg), name, caption, alt, data)  # noqa: S704


def _detection(content: ReportContent) -> dict[str, Picture | None]:
    spectra = content.spectra
    pictures: dict[str, Picture | None] = {"tof": None, "image": None, "pipico": None}
    if (spectrum := spectra.get(SPECTRUM_TOF)) is not None:
        pictures["tof"] = _picture(
            figures.time_of_flight(spectrum),
            "time-of-flight",
            "Time of flight of all hits, with the windows in which the ions of the channel are "
            "searched.",
            "time-of-flight spectrum",
            numbers.of_spectrum(spectrum, "hits"),
        )
    if (spectrum := spectra.get(SPECTRUM_IMAGE)) is not None:
        pictures["image"] = _picture(
            figures.detector_image(spectrum),
            "detector-image",
            "Detector image: positions of all hits.",
            "detector image",
            numbers.of_spectrum(spectrum, "hits"),
        )
    if (spectrum := spectra.get(SPECTRUM_PIPICO)) is not None:
        pictures["pipico"] = _picture(
            figures.pipico(spectrum),
            "pipico",
            "PIPICO map: times of flight of two ions of the same shot. Ions that share their "
            "momentum lie on diagonal lines. Frames: windows of the ions of the channel.",
            "coincidence map of two ions",
            numbers.of_spectrum(spectrum, "pairs"),
        )
    return pictures


def _sums(content: ReportContent) -> list[Picture]:
    return [
        _picture(
            figures.momentum_sum(spectrum, name := f"momentum-sum-{'xyz'[axis]}"),
            name,
            "",
            f"{spectrum.labels[0]} with its gate",
            numbers.of_spectrum(spectrum, "candidates"),
        )
        for axis, key in enumerate(SPECTRUM_SUM)
        if (spectrum := content.spectra.get(key)) is not None
    ]


def _covariances(content: ReportContent) -> list[Picture]:
    return [
        _picture(
            figures.covariance(spectrum, file := f"covariance-{number}"),
            file,
            f"{name[:1].upper()}{name[1:]} of the hits in both bins, in its standard errors: "
            "red where ions come from the same explosion.",
            "map of covariances",
            numbers.of_spectrum(spectrum, "covariance"),
        )
        for number, (name, spectrum) in enumerate(content.covariances.items(), start=1)
    ]


def _ker(content: ReportContent) -> dict[str, Any] | None:
    """KER of the reduced coincidences, or of the aligned events where those are missing."""
    spectrum, caption = content.spectra.get(SPECTRUM_KER), "selected coincidences"
    if spectrum is None:
        spectrum, caption = content.ker, "aligned events"
    if spectrum is None:
        return None
    unit = spectrum.units[0]
    rows = [
        (_IN_WORDS.get(name, name), f"{tables.decimal(value, 2)} {unit}")
        for name, value in spectrum.marks.items()
    ]
    return {
        "picture": _picture(
            figures.kinetic_energy(spectrum),
            "kinetic-energy-release",
            f"Kinetic energy release of the {caption}.",
            "kinetic energy release",
            numbers.of_spectrum(spectrum, "events"),
        ),
        "rows": [*rows, ("events", tables.text_of(round(spectrum.total)))],
    }


def _events(events: SingleEvents) -> dict[str, Any]:
    table = tables.events_table(events)
    return {
        "pictures": [
            _picture(
                figures.distribution(row, name := f"single-events-{number}"),
                name,
                "",
                f"distribution of {row.of} over single events",
                numbers.of_spectrum(figures.distribution_spectrum(row), "events"),
            )
            for number, row in enumerate(events.rows, start=1)
        ],
        "table": Shown(table, "single-events", numbers.of_numbers(tables.events_numbers(events))),
    }


def _series(item: SeriesContent, number: int) -> dict[str, Any]:
    return {
        "pictures": [
            _picture(
                figures.series_line(item, line, name := f"series-{number}-{place}"),
                name,
                "",
                f"{line.name} against {item.by}",
                numbers.of_curves(
                    item.by,
                    line.at,
                    {f"{line.name} ({line.unit})": line.value, "error": line.error},
                ),
            )
            for place, line in enumerate(item.lines, start=1)
        ],
        "table": Shown(
            tables.Table(item.header, item.rows, (True,) * len(item.header)),
            f"series-{number}",
            numbers.of_numbers(tables.Numbers(item.header, item.rows)),
        ),
        "facts": item.facts,
        "warnings": item.warnings,
    }


def _structure(structure: Structure) -> dict[str, Any]:
    positions = tables.coordinate_numbers(structure)
    return {
        "projections": [
            _picture(
                projection(structure, up, name := f"structure-x{up}"),
                name,
                f"The structure seen along {depth}, in the frame of the momenta.",
                f"reconstructed structure, x and {up}",
                numbers.of_numbers(positions),
            )
            for up, depth in (("y", "z"), ("z", "y"))
        ],
        "table": Shown(
            tables.coordinate_table(structure), "coordinates", numbers.of_numbers(positions)
        ),
        "lengths": Shown(
            tables.Table((), (), ()),
            "distances-and-angles",
            numbers.of_numbers(tables.length_numbers(structure.lengths)),
        ),
        "groups": _groups(structure.lengths),
        "alternatives": tables.alternatives_table(structure),
        "explosion": tables.explosion_rows(structure.explosion),
        "closure": tables.closure_rows(structure.closure),
        "model": tables.plain_rows(structure.model),
        "input": tables.plain_rows(structure.input),
        "errors": [
            (name, tables.decimal(value, 3), unit) for name, value, unit in structure.errors
        ],
    }


def _groups(rows: Sequence[LengthRow]) -> list[dict[str, Any]]:
    """Lengths as they stand beside the viewer: along bonds first, the others to be unfolded."""
    names = {"distance": "Bond lengths", "angle": "Angles", "dihedral": "Dihedral angles"}
    others = {"distance": "Other distances", "angle": "Other angles"}
    found = []
    anything_bonded = any(row.bonded for row in rows)
    for kind, title in names.items():
        for bonded in (True, False):
            chosen = [row for row in rows if row.kind == kind and row.bonded is bonded]
            if not chosen:
                continue
            found.append(
                {
                    "title": title if bonded else others.get(kind, title),
                    "folded": (not bonded and anything_bonded)
                    or (kind == "dihedral" and len(chosen) > _MOST_DIHEDRALS),
                    "printed": bonded or not anything_bonded,
                    "unit": chosen[0].unit,
                    "rows": [
                        {
                            "of": row.of,
                            "atoms": ",".join(map(str, row.atoms)),
                            "value": tables.length_value(row),
                            "known": ""
                            if row.known is None
                            else tables.decimal(row.known, 3 if kind == "distance" else 1),
                        }
                        for row in chosen
                    ],
                }
            )
    return sorted(found, key=lambda group: bool(group["folded"]))


def _comparison(comparison: Comparison) -> dict[str, Any]:
    table = tables.compared_table(comparison)
    return {
        "table": None
        if table is None
        else Shown(
            table,
            "comparison-structures",
            numbers.of_numbers(tables.compared_numbers(comparison)),
        ),
        "pictures": [
            _compared(item, comparison, number)
            for number, item in enumerate(comparison.spectra, start=1)
        ],
    }


def _compared(item: ComparedSpectra, comparison: Comparison, number: int) -> Picture:
    name = f"comparison-{number}"
    columns: dict[str, Any] = {}
    both: tuple[tuple[str, Spectrum], ...] = (
        ("first", item.first),
        ("second, scaled", item.second),
        ("difference", item.difference),
        ("ratio", item.ratio),
    )
    for label, spectrum in both:
        columns |= {label: spectrum.counts, f"{label} error": spectrum.errors}
    columns["pull"] = item.pull.counts
    return _picture(
        figures.compared(item, (comparison.first, comparison.second), name),
        name,
        f"{item.title}. {item.sentence}",
        f"{item.title} of both",
        numbers.of_histograms(item.first, columns),
    )
