"""What a report shows, as plain tables: `pipeline.chain.report` fills it, `report.page` draws."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from molexa_core.base.intervals import calibrated
from molexa_core.base.spectrum import Spectrum
from molexa_core.base.storage.provenance import Provenance
from molexa_core.base.tables import FloatArray, Geometry


@dataclass(frozen=True)
class Source:
    """A file that belongs to a stage.

    Attributes:
        stage: the command that makes it, such as `align`.
        what: what it holds.
        file: its name; None where the stage is missing.
    """

    stage: str
    what: str
    file: str | None


@dataclass(frozen=True)
class Lobe:
    """A mark in a Newton map: the centroid of an ion, a.u."""

    name: str
    across: float
    up: float


@dataclass(frozen=True)
class NewtonMap:
    """A Newton map with the centroids to be marked in it."""

    spectrum: Spectrum
    caption: str
    lobes: tuple[Lobe, ...] = ()


@dataclass(frozen=True)
class Structure:
    """A reconstructed structure.

    Attributes:
        geometry: positions and uncertainties in bohr.
        bonds: pairs of atoms that a stick joins.
        spread: (atoms, 3) standard deviation over samples in bohr.
        uncertainty_reason: why there are no uncertainties, as a sentence.
        closure, model, input: what the reconstruction says about itself.
        alternatives: other structures that fit the momenta, as in `geom.json`, best first.
        warnings: sentences.
        known: (atoms, 3) the known structure on top of this one, in bohr.
        known_name: where the known structure comes from.
        errors: (name, value, unit) of errors against the known structure.
        errors_note: how these errors were taken.
    """

    geometry: Geometry
    bonds: tuple[tuple[int, int], ...] = ()
    spread: FloatArray | None = None
    uncertainty_reason: str | None = None
    closure: Mapping[str, Any] = field(default_factory=dict)
    model: Mapping[str, Any] = field(default_factory=dict)
    input: Mapping[str, Any] = field(default_factory=dict)
    alternatives: tuple[Mapping[str, Any], ...] = ()
    warnings: tuple[str, ...] = ()
    known: FloatArray | None = None
    known_name: str = ""
    errors: tuple[tuple[str, float, str], ...] = ()
    errors_note: str = ""

    @property
    def calibrated(self) -> str:
        """Whom the uncertainties were calibrated for."""
        return calibrated(self.model.get("calibration"))


@dataclass(frozen=True)
class ReportContent:
    """Everything on the page; what is None was not found and is said to be missing.

    Attributes:
        title: of the page.
        sources: files by stage, in the order of the chain.
        headline: (name, value) of the figures at the top.
        spectra: the histograms that `reduce` stored, by name.
        reduction: (name, value) of the summary of `reduce`.
        ker: kinetic energy release of the selected events.
        alignment: (name, value) of the summary of `align`.
        newton: maps in the molecular frame.
        centroids: the table of `centroid`.
        structure: the reconstruction.
        provenance: the record of every step, oldest first.
        warnings: sentences about the chain.
    """

    title: str
    sources: tuple[Source, ...] = ()
    headline: tuple[tuple[str, str], ...] = ()
    spectra: Mapping[str, Spectrum] = field(default_factory=dict)
    reduction: tuple[tuple[str, str], ...] = ()
    ker: Spectrum | None = None
    alignment: tuple[tuple[str, str], ...] = ()
    newton: tuple[NewtonMap, ...] = ()
    centroids: pd.DataFrame | None = None
    structure: Structure | None = None
    provenance: tuple[Provenance, ...] = ()
    warnings: tuple[str, ...] = ()
