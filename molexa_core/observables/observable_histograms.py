"""Histograms of observables of coincidences as spectra, false ones subtracted, with errors."""

from __future__ import annotations

from collections.abc import Sequence

from molexa_core.base.errors import UsageError
from molexa_core.base.spectrum import Spectrum
from molexa_core.base.tables import Coincidences, ion_labels
from molexa_core.observables.expression import parse_number
from molexa_core.observables.spread import Limits, bin_edges, histogram, rows_of


def spectrum_of(
    table: Coincidences,
    axes: Sequence[str],
    *,
    bins: int = 100,
    limits: Sequence[Limits | None] = (None, None),
) -> Spectrum:
    """The histogram of an observable, or the map of two.

    Args:
        table: coincidences; its false ones are subtracted.
        axes: one or two observables, or formulas of observables and tags, such as `energy(O+)`.
        bins: number of bins of each axis.
        limits: of each axis; nearly all values, with a margin, if None.

    Returns:
        Counts with standard errors (`spread.histogram`).

    Raises:
        ExpressionError: the events lack what an axis names.
        NoEventsError: no coincidence has a value.
        UsageError: bins or limits that cannot be.
    """
    formulas = tuple(parse_number(text) for text in axes)
    rows = rows_of(table, formulas)
    edges = tuple(
        bin_edges(values[~rows.false], bins, limit)
        for values, limit in zip(rows.values, limits, strict=False)
    )
    counts, errors = histogram(rows, edges)
    return Spectrum(
        counts=counts,
        edges=edges,
        labels=tuple(formula.text for formula in formulas),
        units=tuple(formula.unit for formula in formulas),
        errors=errors,
    )


def dalitz_map(
    table: Coincidences, columns: Sequence[int] = (0, 1, 2), *, bins: int = 120
) -> Spectrum:
    """Dalitz plot of three ions: how the energy is shared (`dalitzx`, `dalitzy`).

    Raises:
        UsageError: not three ions.
        NoEventsError: no coincidences.
    """
    if len(set(columns)) != 3 or max(columns) >= len(table.ions):
        raise UsageError(
            "a Dalitz plot needs three ions",
            do=f"The events have {len(table.ions)}; name three of them.",
        )
    labels = ion_labels(table.ions)
    ions = ", ".join(labels[column] for column in columns)
    return spectrum_of(table, [f"dalitzx({ions})", f"dalitzy({ions})"], bins=bins)
