"""Contents of a report as plain tables, from `pipeline.chain.report` to `report.page`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import pandas as pd

from molexa_core.base.intervals import calibrated
from molexa_core.base.spectrum import Spectrum
from molexa_core.base.storage.provenance import Provenance
from molexa_core.base.tables import FloatArray, Geometry


@dataclass(frozen=True)
class Source:
    """The result file of a stage.

    Attributes:
        stage: the command that writes it, such as `align`.
        what: description of its content.
        file: its name; None where the stage is missing.
    """

    stage: str
    what: str
    file: str | None


@dataclass(frozen=True)
class Lobe:
    """Mark of the mean momentum of an ion in a Newton plot, a.u."""

    name: str
    across: float
    up: float


@dataclass(frozen=True)
class NewtonMap:
    """A Newton plot with the mean momenta to be marked in it."""

    spectrum: Spectrum
    caption: str
    lobes: tuple[Lobe, ...] = ()


Tone = Literal["good", "doubt", "bad", "plain"]
"""How an answer is to be taken; `plain` judges nothing."""


@dataclass(frozen=True)
class Finding:
    """One question about the result, and its answer in words.

    Attributes:
        question: such as `Is it the only structure?`.
        tone: how the answer is to be taken.
        answer: a few words.
        details: sentences.
    """

    question: str
    tone: Tone
    answer: str
    details: tuple[str, ...] = ()


@dataclass(frozen=True)
class LengthRow:
    """A distance in Å, or an angle or a dihedral in degrees.

    Attributes:
        kind: `distance`, `angle` or `dihedral`.
        atoms: numbers of the atoms.
        of: their names, such as `O1-H2`.
        bonded: whether neighbours are bonded.
        value: median of a posterior, else that of the structure.
        error: half of the 68 % interval; None where there is none.
        region: the intervals of the 68 % region where there are several, as text.
        known: of the known structure.
    """

    kind: str
    atoms: tuple[int, ...]
    of: str
    bonded: bool
    value: float
    error: float | None = None
    region: str = ""
    known: float | None = None

    @property
    def unit(self) -> str:
        """Å or °."""
        return "Å" if self.kind == "distance" else "°"


@dataclass(frozen=True)
class ComparedSpectra:
    """Two histograms over the same bins.

    Attributes:
        title: what they are of.
        first, second: both with errors, the second scaled.
        difference, ratio, pull: of every bin.
        sentence: what the test of the shape says.
    """

    title: str
    first: Spectrum
    second: Spectrum
    difference: Spectrum
    ratio: Spectrum
    pull: Spectrum
    sentence: str


@dataclass(frozen=True)
class ComparedLength:
    """A distance (Å), an angle or a dihedral (degrees) of two structures.

    Attributes:
        of: names of the atoms in the first structure.
        unit: Å or °.
        bonded: whether neighbours are bonded.
        first, second: (value, error or None).
        difference: (second less first, error or None).
        pull: difference over its error.
    """

    of: str
    unit: str
    bonded: bool
    first: tuple[float, float | None]
    second: tuple[float, float | None]
    difference: tuple[float, float | None]
    pull: float | None


@dataclass(frozen=True)
class Comparison:
    """This result beside another one.

    Attributes:
        first, second: names of both.
        facts: (name, first, second, difference) of numbers, as text.
        lengths: of both structures; empty where one has none.
        positions: (atoms, 3) the second structure superposed on the first, bohr.
        spectra: histograms of both.
        notes: what the errors and pulls mean here, and what could not be compared.
    """

    first: str
    second: str
    facts: tuple[tuple[str, str, str, str], ...] = ()
    lengths: tuple[ComparedLength, ...] = ()
    positions: FloatArray | None = None
    spectra: tuple[ComparedSpectra, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Structure:
    """A reconstructed structure.

    Attributes:
        geometry: positions and uncertainties in bohr.
        bonds: bonds to be drawn, as pairs of atoms.
        spread: (atoms, 3) standard deviation over samples in bohr.
        uncertainty_reason: why there are no uncertainties, as a sentence.
        closure, model, input: quality of the fit to the momenta, network and input of the
            reconstruction, as in `geom.json`.
        alternatives: other structures that fit the momenta, as in `geom.json`, in the order that
            `order` states.
        order: by what the alternatives are ordered, in words.
        of_events: whether it is the mean over single events; else it is that of mean momenta.
        exact: whether the explosion was told without any uncertainty.
        warnings: warnings of the reconstruction.
        known: (atoms, 3) the known structure superposed on this one, in bohr.
        known_name: origin of the known structure.
        errors: (name, value, unit) of errors against the known structure.
        errors_note: how these errors were determined.
        explosion: the explosion that was assumed, as in `geom.json`.
        distances, angles, dihedrals: with their half-widths, as in `geom.json`.
        lengths: distances, angles and dihedrals for the page, bonded ones of each kind first.
        momenta: (atoms, 3) measured momenta of the ions, a.u.
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
    explosion: Mapping[str, Any] = field(default_factory=dict)
    distances: tuple[Mapping[str, Any], ...] = ()
    angles: tuple[Mapping[str, Any], ...] = ()
    dihedrals: tuple[Mapping[str, Any], ...] = ()
    lengths: tuple[LengthRow, ...] = ()
    momenta: FloatArray | None = None
    order: str = ""
    of_events: bool = False
    exact: bool = False

    @property
    def intervals(self) -> str:
        """What the uncertainties contain, in words."""
        if self.of_events:
            return "the number of events" + (
                "" if self.exact else " and all that is not known about the explosion"
            )
        if self.distances and "calibration" not in self.model:
            return "the errors of the momenta" + (
                "" if self.exact else " and all that is not known about the explosion"
            )
        of_network = (
            f"the error that the network expects, {calibrated(self.model.get('calibration'))}, and "
            "the scatter from the errors of the momenta"
        )
        if not self.distances:
            return of_network
        return f"{of_network}; of distances and angles, what follows from those of coordinates"


@dataclass(frozen=True)
class EventRow:
    """One distance or angle over the events.

    Attributes:
        of: what it is between.
        unit: `Å` or `°`, of all numbers.
        mean, statistical, systematic: mean with the error of statistics and the one that all events
            share; None where none was propagated.
        deviation: standard deviation of single molecules.
        quantiles: 16, 50 and 84 per cent.
        from_means: the same from mean momenta; None where they give none.
        from_means_error: its error.
        values: (n) of the events, for the histogram.
        weight: (n) of the events.
    """

    of: str
    unit: str
    mean: float
    statistical: float
    systematic: float | None
    deviation: float
    quantiles: tuple[float, float, float]
    from_means: float | None
    from_means_error: float | None
    values: FloatArray
    weight: FloatArray


@dataclass(frozen=True)
class SingleEvents:
    """Structures of single events.

    Attributes:
        rows: bonds and angles between them.
        facts: (name, value) of events, explosion, resolution.
        warnings: of the reconstruction of the events.
    """

    rows: tuple[EventRow, ...]
    facts: tuple[tuple[str, str], ...]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class SeriesLine:
    """One quantity of a series.

    Attributes:
        name: what it is, such as `O+-C+`.
        unit: as printed.
        at: (bins) value of what the series runs over.
        value: (bins) not a number where there is no signal.
        error: (bins) standard error.
    """

    name: str
    unit: str
    at: FloatArray
    value: FloatArray
    error: FloatArray


@dataclass(frozen=True)
class SeriesContent:
    """Results in bins.

    Attributes:
        by: what it runs over, with its unit.
        lines: the quantities that are drawn.
        header, rows: the table.
        facts: (name, value) of background, explosion, events left out.
        warnings: of the series.
    """

    by: str
    lines: tuple[SeriesLine, ...]
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    facts: tuple[tuple[str, str], ...]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class ReportContent:
    """All contents of the page; parts that are None were not found and are listed as missing.

    Attributes:
        title: title of the page.
        sources: files by stage, in the order of the chain.
        findings: what the result says, in words.
        headline: (name, value) of the main results at the top.
        spectra: the histograms that `reduce` stored, by name.
        reduction: (name, value) of the summary of `reduce`.
        covariances: maps of covariances by name.
        cumulants: (name, value) of the cumulants of the ions.
        ker: kinetic energy release of the selected events.
        alignment: (name, value) of the summary of `align`.
        newton: Newton plots in the molecular frame.
        centroids: mean momenta, the table of `centroid`.
        structure: the reconstructed structure.
        events: structures of single events.
        series: results against what they were computed by, such as the delay.
        energy: what averaging left of the kinetic energy release, as a sentence.
        provenance: the record of every step, oldest first.
        command: the command line that writes the page.
        warnings: warnings of all stages.
        comparison: this result beside another one.
    """

    title: str
    sources: tuple[Source, ...] = ()
    findings: tuple[Finding, ...] = ()
    headline: tuple[tuple[str, str], ...] = ()
    spectra: Mapping[str, Spectrum] = field(default_factory=dict)
    reduction: tuple[tuple[str, str], ...] = ()
    covariances: Mapping[str, Spectrum] = field(default_factory=dict)
    cumulants: tuple[tuple[str, str], ...] = ()
    ker: Spectrum | None = None
    alignment: tuple[tuple[str, str], ...] = ()
    newton: tuple[NewtonMap, ...] = ()
    centroids: pd.DataFrame | None = None
    structure: Structure | None = None
    events: SingleEvents | None = None
    series: tuple[SeriesContent, ...] = ()
    energy: str = ""
    provenance: tuple[Provenance, ...] = ()
    command: str = ""
    warnings: tuple[str, ...] = ()
    comparison: Comparison | None = None
