"""The report as one self-contained HTML file with style, figures and molecule viewer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypedDict

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
from molexa_core.base.storage.resources import shipped_folder
from molexa_core.report import figures
from molexa_core.report import text_tables as tables
from molexa_core.report.content import ReportContent, SingleEvents, Structure
from molexa_core.report.structure import Scene, projections, scene

TEMPLATE: Final = "report.html.j2"
_VIEWER: Final = Path(__file__).resolve().parent / "vendor" / "3Dmol-min.js"
_MADE_BY: Final = "molexa"


@dataclass(frozen=True)
class Picture:
    """A figure on the page: data URI, caption and alternative text."""

    uri: str
    caption: str
    alt: str


def render(content: ReportContent) -> str:
    """The HTML text of the page.

    Text from files is escaped; the only scripts are the vendored viewer and the page's own.

    Args:
        content: the contents; missing parts are listed as missing.

    Raises:
        InputFileError: the installation lacks the template or the viewer.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(shipped_folder("templates")),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    structure = content.structure
    return environment.get_template(TEMPLATE).render(
        content=content,
        version=__version__,
        detection=_detection(content),
        coincidences=_coincidences(content),
        covariances=[
            Picture(
                figures.covariance(spectrum),
                f"{name[:1].upper()}{name[1:]} of the hits in both bins, in its standard errors: "
                "red where ions come from the same explosion.",
                "map of covariances",
            )
            for name, spectrum in content.covariances.items()
        ],
        ker=_ker(content),
        newton=[
            Picture(figures.newton(item), item.caption, "Newton map") for item in content.newton
        ],
        centroids=None if content.centroids is None else tables.centroid_table(content.centroids),
        structure=None if structure is None else _structure(structure),
        events=None if content.events is None else _events(content.events),
        series=[
            {
                "picture": Picture(
                    figures.series(item),
                    f"Means of the signal against {item.by}, with standard errors.",
                    "series",
                ),
                "table": tables.Table(item.header, item.rows, (True,) * len(item.header)),
                "facts": item.facts,
                "warnings": item.warnings,
            }
            for item in content.series
        ],
        steps=[tables.step_record(record) for record in content.provenance],
        viewer=Markup(viewer_script()) if structure is not None else "",  # noqa: S704  vendored, not input
    )


def _detection(content: ReportContent) -> list[Picture]:
    pictures = []
    if (spectrum := content.spectra.get(SPECTRUM_TOF)) is not None:
        pictures.append(
            Picture(
                figures.time_of_flight(spectrum),
                "Time of flight of all hits, with the windows in which the ions of the channel are "
                "searched.",
                "time-of-flight spectrum",
            )
        )
    return pictures


def _coincidences(content: ReportContent) -> dict[str, Picture | None]:
    spectra = content.spectra
    pictures: dict[str, Picture | None] = {"image": None, "pipico": None, "sums": None}
    if (spectrum := spectra.get(SPECTRUM_IMAGE)) is not None:
        pictures["image"] = Picture(
            figures.detector_image(spectrum),
            "Detector image: positions of all hits.",
            "detector image",
        )
    if (spectrum := spectra.get(SPECTRUM_PIPICO)) is not None:
        pictures["pipico"] = Picture(
            figures.pipico(spectrum),
            "PIPICO map: times of flight of two ions of the same shot. Ions that share their "
            "momentum lie on diagonal lines. Frames: windows of the ions of the channel.",
            "coincidence map of two ions",
        )
    sums = [spectra[name] for name in SPECTRUM_SUM if name in spectra]
    if sums:
        pictures["sums"] = Picture(
            figures.momentum_sums(sums),
            "Momentum sum along each laboratory axis with its gate, of combinations in the gate on "
            "the other two axes. True coincidences form the peak, false ones the ground below it.",
            "momentum sums with gates",
        )
    return pictures


class Energies(TypedDict):
    """The kinetic energy release on the page."""

    picture: Picture
    rows: list[tuple[str, str]]


def _ker(content: ReportContent) -> Energies | None:
    """KER of the reduced coincidences, or of the aligned events where those are missing."""
    spectrum, caption = content.spectra.get(SPECTRUM_KER), "selected coincidences"
    if spectrum is None:
        spectrum, caption = content.ker, "aligned events"
    if spectrum is None:
        return None
    unit = spectrum.units[0]
    rows = [(name, f"{value:.3f} {unit}") for name, value in spectrum.marks.items()]
    return {
        "picture": Picture(
            figures.kinetic_energy(spectrum),
            f"Kinetic energy release of the {caption}.",
            "kinetic energy release",
        ),
        "rows": [*rows, ("events", tables.text_of(round(spectrum.total)))],
    }


class StructureParts(TypedDict):
    """The reconstructed structure on the page: picture, viewer and tables."""

    picture: Picture
    scene: Scene
    table: tables.Table
    alternatives: tables.Table | None
    lengths: tables.Table | None
    explosion: tuple[tuple[str, str], ...]
    closure: tuple[tuple[str, str], ...]
    model: tuple[tuple[str, str], ...]
    input: tuple[tuple[str, str], ...]
    errors: list[tuple[str, str, str]]


class EventParts(TypedDict):
    """Single events on the page."""

    picture: Picture
    table: tables.Table


def _events(events: SingleEvents) -> EventParts:
    return {
        "picture": Picture(
            figures.distributions(events.rows),
            "Distances and angles of single events, with their mean and what the mean momenta "
            "give.",
            "distributions of distances and angles",
        ),
        "table": tables.events_table(events),
    }


def _structure(structure: Structure) -> StructureParts:
    return {
        "picture": Picture(
            projections(structure),
            "The structure seen along z (left) and along y (right), in the frame of the momenta.",
            "reconstructed structure",
        ),
        "scene": scene(structure),
        "table": tables.coordinate_table(structure),
        "alternatives": tables.alternatives_table(structure),
        "lengths": tables.lengths_table(structure),
        "explosion": tables.explosion_rows(structure.explosion),
        "closure": tables.plain_rows(structure.closure),
        "model": tables.plain_rows(structure.model),
        "input": tables.plain_rows(structure.input),
        "errors": [
            (name, tables.decimal(value, 3), unit) for name, value, unit in structure.errors
        ],
    }


def viewer_script() -> str:
    """The script of the molecule viewer.

    Raises:
        InputFileError: the installation lacks it.
    """
    if not _VIEWER.is_file():
        raise InputFileError(
            "the molecule viewer is missing from the installation",
            where=_VIEWER,
            do=f"Install {_MADE_BY} again.",
        )
    return _VIEWER.read_text(encoding="utf-8")
