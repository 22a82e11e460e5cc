"""Histograms of observables of coincidences, false ones subtracted, with errors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from molexa_core.base.errors import NoEventsError, UsageError
from molexa_core.base.spectrum import Spectrum
from molexa_core.base.subtraction import scale_error_of
from molexa_core.base.tables import Coincidences, FloatArray
from molexa_core.observables.expression import parse_number

Limits = tuple[float, float]
_COVERED: Final = 0.998
_MARGIN: Final = 0.06
MOST_BINS: Final = 20_000


def histogram_of(
    table: Coincidences, written: str, *, bins: int = 120, limits: Limits | None = None
) -> Spectrum:
    """Histogram of an observable, such as `ker` or `energy(O+)`.

    Args:
        table: coincidences; its false ones are subtracted.
        written: the observable, or a formula of observables and tags.
        bins: number of bins.
        limits: from where to where; 99.8 % of the values, with a margin, if not given.

    Returns:
        Counts with standard errors: square roots of the sums of squared weights, and the error of
        the normalisation of false coincidences.

    Raises:
        ExpressionError: the events lack what it names.
        NoEventsError: no coincidence has a value.
    """
    formula = parse_number(written)
    values, weights, of_false = _values(table, [written])
    edges = _edges(values[0], bins, limits, written)
    counts, variance, taken = _filled(values, weights, of_false, [edges])
    errors = np.sqrt(variance + (scale_error_of(table.meta) * taken) ** 2)
    return Spectrum(
        counts=counts, edges=(edges,), labels=(written,), units=(formula.unit,), errors=errors
    )


def map_of(
    table: Coincidences,
    across: str,
    up: str,
    *,
    bins: int = 160,
    limits: tuple[Limits | None, Limits | None] = (None, None),
) -> Spectrum:
    """Two-dimensional histogram of two observables.

    Args:
        table: coincidences; its false ones are subtracted.
        across: the observable on the horizontal axis.
        up: the one on the vertical axis.
        bins: number of bins of each axis.
        limits: of each axis; 99.8 % of the values, with a margin, if not given.

    Raises:
        ExpressionError: the events lack what one of them names.
        NoEventsError: no coincidence has a value.
    """
    values, weights, of_false = _values(table, [across, up])
    edges = [
        _edges(column, bins, limit, name)
        for column, limit, name in zip(values, limits, (across, up), strict=True)
    ]
    counts, variance, taken = _filled(values, weights, of_false, edges)
    units = (parse_number(across).unit, parse_number(up).unit)
    errors = np.sqrt(variance + (scale_error_of(table.meta) * taken) ** 2)
    return Spectrum(
        counts=counts, edges=(edges[0], edges[1]), labels=(across, up), units=units, errors=errors
    )


def dalitz_map(
    table: Coincidences, columns: Sequence[int] = (0, 1, 2), *, bins: int = 120
) -> Spectrum:
    """Dalitz plot of three ions: how the energy is shared.

    With e_i = E_i / (E_1 + E_2 + E_3), across (e_1 - e_2) / sqrt 3, up e_3 - 1/3 (R. H. Dalitz,
    Phil. Mag. 44, 1068 (1953)). Momentum conservation of equal masses keeps all points within a
    circle of radius 1/3.

    Raises:
        UsageError: not three ions.
        NoEventsError: no coincidences.
    """
    if len(set(columns)) != 3 or max(columns) >= len(table.ions):
        raise UsageError(
            "a Dalitz plot needs three ions",
            do=f"The events have {len(table.ions)}; name three of them.",
        )
    tables = [table] if table.false is None else [table, table.false]
    filled = []
    for one in tables:
        energy = one.kinetic_energy()[:, list(columns)]
        with np.errstate(invalid="ignore", divide="ignore"):
            share = energy / energy.sum(axis=1, keepdims=True)
        filled.append(np.stack([(share[:, 0] - share[:, 1]) / np.sqrt(3.0), share[:, 2] - 1.0 / 3]))
    if not len(table):
        raise NoEventsError("no events for a Dalitz plot")
    edges = [_edges(column, bins, None, "share") for column in filled[0]]
    false = None if len(tables) < 2 else (filled[1], tables[1].weight)
    counts, variance, taken = _filled(filled[0], table.weight, false, edges)
    names = [str(table.ions[column]) for column in columns]
    return Spectrum(
        counts=counts,
        edges=(edges[0], edges[1]),
        labels=(f"(e({names[0]}) - e({names[1]})) / √3", f"e({names[2]}) - 1/3"),
        units=("", ""),
        errors=np.sqrt(variance + (scale_error_of(table.meta) * taken) ** 2),
    )


_Filling = tuple[FloatArray, FloatArray]


def _values(
    table: Coincidences, written: Sequence[str]
) -> tuple[FloatArray, FloatArray, _Filling | None]:
    """(axes, n) values and (n) weights of the coincidences, and the same of the false ones."""
    if not len(table):
        raise NoEventsError("no coincidences to draw")
    formulas = [parse_number(text) for text in written]
    values = np.stack([formula.values(table) for formula in formulas])
    if not np.isfinite(values).all(axis=0).any():
        raise NoEventsError(f"no coincidence has a value of {' and '.join(written)}")
    if table.false is None or not len(table.false):
        return values, table.weight, None
    false = np.stack([formula.values(table.false) for formula in formulas])
    return values, table.weight, (false, table.false.weight)


def _edges(values: FloatArray, bins: int, limits: Limits | None, name: str) -> FloatArray:
    if not 1 <= bins <= MOST_BINS:
        raise UsageError(f"{bins} bins", setting="bins", do=f"Choose 1 to {MOST_BINS}.")
    if limits is not None:
        if not limits[0] < limits[1]:
            raise UsageError(
                f"{name} from {limits[0]:g} to {limits[1]:g}", do="Give the smaller value first."
            )
        return np.linspace(*limits, bins + 1)
    known = values[np.isfinite(values)]
    low, high = (float(one) for one in np.quantile(known, [1.0 - _COVERED, _COVERED]))
    room = _MARGIN * (high - low) or 0.5
    start = 0.0 if low >= 0.0 and low < 0.5 * high else low - room
    return np.linspace(start, high + room, bins + 1)


def _filled(
    values: FloatArray,
    weights: FloatArray,
    false: _Filling | None,
    edges: Sequence[FloatArray],
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Counts less false ones, variance of counting, and the false ones that were taken off."""
    counts = np.histogramdd(values.T, edges, weights=weights)[0]
    variance = np.histogramdd(values.T, edges, weights=weights**2)[0]
    taken = np.zeros_like(counts)
    if false is not None:
        taken = np.histogramdd(false[0].T, edges, weights=false[1])[0]
        variance = variance + np.histogramdd(false[0].T, edges, weights=false[1] ** 2)[0]
    return counts - taken, variance, taken
