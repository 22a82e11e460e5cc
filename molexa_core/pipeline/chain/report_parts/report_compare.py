"""Two results side by side: numbers, structures and histograms, as the report shows them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from molexa_core.base.errors import MolexaError
from molexa_core.base.intervals import plus_minus
from molexa_core.base.spectrum import Spectrum
from molexa_core.base.subtraction import shots_of
from molexa_core.base.tables import Coincidences, Geometry, ion_labels
from molexa_core.base.units import BOHR_ANGSTROM
from molexa_core.geometry.side_by_side import BesideRow, SideBySide, side_by_side
from molexa_core.io.results.geometry_json import ReconstructionRecord
from molexa_core.observables.comparison import SpectrumComparison, compare_spectra
from molexa_core.observables.event_numbers import mean_of, number_of
from molexa_core.observables.gating import recorded
from molexa_core.observables.observable_histograms import spectrum_of
from molexa_core.report.content import ComparedLength, ComparedSpectra, Comparison
from molexa_core.report.text_tables import decimal, text_of, with_uncertainty

BINS: Final = 60
MAP_BINS: Final = 60
_LEAST_P: Final = 1e-4
MOST_IONS: Final = 4
"""Single-ion energies that are compared."""
Pair = tuple[float, float | None]


@dataclass(frozen=True)
class Side:
    """One of two results.

    Attributes:
        name: how the page calls it.
        events: coincidences in the laboratory frame, or in the molecular frame where those are
            missing.
        record: the reconstruction.
        structure: a structure without a record, such as a known one.
    """

    name: str
    events: Coincidences | None = None
    record: ReconstructionRecord | None = None
    structure: Geometry | None = None

    @property
    def geometry(self) -> Geometry | None:
        """The structure, if there is one."""
        return self.structure if self.record is None else self.record.geometry()


def compared(first: Side, second: Side, *, same_events: bool = False) -> Comparison:
    """What can be compared of two results.

    Args:
        first: the result of the page.
        second: the other one.
        same_events: whether the coincidences of both come from one file, so that two gates may
            share some.
    """
    notes: list[str] = []
    lengths: tuple[ComparedLength, ...] = ()
    positions = None
    one, other = first.geometry, second.geometry
    if one is not None and other is not None:
        if sorted(one.symbols) == sorted(other.symbols):
            found = _structures(first, second, one, other)
            positions = found.superposition.moved
            exact = second.record is None and other.uncertainty is None
            lengths = tuple(_length(row, exact=exact) for row in found.rows)
            notes.append(
                f"Lengths: {second.name} has no error bars; pulls are in those of {first.name}."
                if exact
                else "Lengths: the error of a difference is that of independent results. Two "
                "reconstructions under one assumed explosion share its error and differ less."
            )
        else:
            notes.append("The structures have different atoms and are not compared.")
    facts = _facts(first, second)
    spectra: tuple[ComparedSpectra, ...] = ()
    if first.events is not None and second.events is not None:
        spectra = _spectra(first.events, second.events, notes)
        if same_events:
            notes.append(_shared(first.events, second.events))
    return Comparison(first.name, second.name, facts, lengths, positions, spectra, tuple(notes))


def is_gated(table: Coincidences) -> bool:
    """Whether the report took a part of the coincidences, to which no summary applies."""
    return any(row.get("stage") == "report" for row in recorded(table.meta))


def mean_energy(table: Coincidences) -> str:
    """Mean kinetic energy release with its standard error, as text."""
    pair = mean_of(table, "ker")
    return "not determined" if pair is None else f"{with_uncertainty(*pair)} eV"


def _structures(first: Side, second: Side, one: Geometry, other: Geometry) -> SideBySide:
    return side_by_side(
        one,
        other,
        first_errors=None if first.record is None else first.record.half_widths(),
        second_errors=None if second.record is None else second.record.half_widths(),
        first_values=None if first.record is None else first.record.values(),
        second_values=None if second.record is None else second.record.values(),
    )


def _length(row: BesideRow, *, exact: bool) -> ComparedLength:
    """A row in Å and degrees; beside an exact structure the error is that of the first."""
    factor = BOHR_ANGSTROM if row.kind == "distance" else 1.0
    error = row.first_error if exact else row.difference_error

    def pair(value: float, error: float | None) -> Pair:
        return factor * value, None if error is None else factor * error

    return ComparedLength(
        of=row.of,
        unit="Å" if row.kind == "distance" else "°",
        bonded=row.bonded,
        first=pair(row.first, row.first_error),
        second=pair(row.second, row.second_error),
        difference=pair(row.difference, error),
        pull=row.difference / error if error else None,
    )


def _facts(first: Side, second: Side) -> tuple[tuple[str, str, str, str], ...]:
    one, other = first.events, second.events
    if one is None or other is None:
        return ()
    rows = [("coincidences", text_of(len(one)), text_of(len(other)), "")]
    rates = [_rate(table) for table in (one, other)]
    if rates[0] is not None and rates[1] is not None:
        rows.append(_fact("coincidences per 1000 shots", rates[0], rates[1], ""))
    purity = [_purity(table) for table in (one, other)]
    if purity[0] is not None and purity[1] is not None:
        rows.append(_fact("purity (%)", purity[0], purity[1], ""))
    if list(one.ions) == list(other.ions):
        names = [
            ("mean KER", "ker"),
            *(
                (f"mean energy of {label}", f"energy({label})")
                for label in ion_labels(one.ions)[:MOST_IONS]
            ),
        ]
        for name, text in names:
            pairs = [mean_of(table, text) for table in (one, other)]
            if pairs[0] is not None and pairs[1] is not None:
                rows.append(_fact(f"{name} (eV)", pairs[0], pairs[1], ""))
    return tuple(rows)


def _rate(table: Coincidences) -> Pair | None:
    """True coincidences per 1000 shots."""
    shots = shots_of(table.meta)
    if not shots:
        return None
    number, error = number_of(table)
    return 1000.0 * number / shots, 1000.0 * error / shots


def _purity(table: Coincidences) -> Pair | None:
    summary = table.meta.get("summary")
    if not isinstance(summary, Mapping) or is_gated(table):
        return None
    for block in (summary.get("false"), summary.get("purity")):
        value, error = _number(block, "purity"), _number(block, "purity_error")
        if value:
            return 100.0 * value, 100.0 * error
    return None


def _number(values: Any, name: str) -> float:
    value = values.get(name) if isinstance(values, Mapping) else None
    return float(value) if isinstance(value, int | float) else 0.0


def _fact(name: str, one: Pair, other: Pair, unit: str) -> tuple[str, str, str, str]:
    texts = [with_uncertainty(*pair) for pair in (one, other)]
    if one[1] is None or other[1] is None:
        return name, *texts, ""  # type: ignore[return-value]
    error = float(np.hypot(one[1], other[1]))
    difference = with_uncertainty(other[0] - one[0], error)
    pull = f" ({decimal((other[0] - one[0]) / error, 1)} σ)" if error > 0.0 else ""
    return name, texts[0], texts[1], f"{difference}{pull}{unit}"


def _spectra(
    one: Coincidences, other: Coincidences, notes: list[str]
) -> tuple[ComparedSpectra, ...]:
    if list(one.ions) != list(other.ions):
        notes.append("The coincidences have different ions and are not compared.")
        return ()
    labels = ion_labels(one.ions)
    wanted: list[tuple[str, tuple[str, ...]]] = [("Kinetic energy release", ("ker",))]
    wanted += [(f"Energy of {label}", (f"energy({label})",)) for label in labels[:MOST_IONS]]
    if len(labels) > 2:
        pair = f"{labels[0]}, {labels[1]}"
        wanted.append(("Newton map", (f"newtonx({pair})", f"newtony({pair})")))
    found = []
    for title, axes in wanted:
        bins = BINS if len(axes) == 1 else MAP_BINS
        try:
            both = same_bins(one, other, axes, bins)
            found.append(_compared(title, compare_spectra(*both)))
        except MolexaError as error:
            notes.append(f"{title}: not compared, {error.what}.")
    return tuple(found)


def same_bins(
    one: Coincidences, other: Coincidences, axes: tuple[str, ...], bins: int
) -> tuple[Spectrum, Spectrum]:
    """The histograms of an observable, or of two, of both tables over the same bins.

    Raises:
        ExpressionError, NoEventsError: as of `spectrum_of`.
    """
    rough = [spectrum_of(table, axes, bins=10) for table in (one, other)]
    limits = [
        (
            min(float(spectrum.edges[axis][0]) for spectrum in rough),
            max(float(spectrum.edges[axis][-1]) for spectrum in rough),
        )
        for axis in range(len(axes))
    ]
    first, second = (spectrum_of(table, axes, bins=bins, limits=limits) for table in (one, other))
    return first, second


def _compared(title: str, found: SpectrumComparison) -> ComparedSpectra:
    scale = plus_minus(found.scale, found.scale_error).replace("+-", "±")
    sentence = f"The second is scaled by {scale}, to the same sum."
    if found.p_value is not None:
        alike = (
            "the shapes agree"
            if found.p_value >= 0.05
            else ("the shapes hardly agree" if found.p_value >= 0.001 else "the shapes differ")
        )
        sentence += (
            f" Chi-square {found.chi_square:.0f} for {found.degrees} degrees of freedom, p "
            f"{'< 0.0001' if found.p_value < _LEAST_P else f'= {found.p_value:.2g}'}: {alike}."
        )
    return ComparedSpectra(
        title, found.first, found.second, found.difference, found.ratio, found.pull, sentence
    )


def _shared(one: Coincidences, other: Coincidences) -> str:
    both = len(np.intersect1d(one.event_id, other.event_id))
    if not both:
        return "Both gates are of the same file and share no coincidence."
    return (
        f"Both gates are of the same file and share {text_of(both)} coincidences: differences "
        "scatter less than the errors say, and pulls are too small."
    )
