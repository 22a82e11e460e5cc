"""The numbers behind a figure or a table, small enough to travel in the page.

Equal bins are stored as first edge, width and number, and histograms that are mostly empty as their
filled bins; the script of the page (`templates/report.js`) writes them out as comma-separated
values.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from molexa_core.base.spectrum import Spectrum
from molexa_core.base.tables import FloatArray
from molexa_core.report.text_tables import Numbers

Data = Mapping[str, Any]
_DIGITS: Final = 9
_SPARSE: Final = 0.5
"""Share of empty bins from which only filled ones are stored."""


def of_spectrum(spectrum: Spectrum, name: str = "counts") -> Data:
    """A histogram, with its errors where they are not the square roots of the counts."""
    columns = {name: spectrum.counts}
    if spectrum.errors is not None:
        columns[f"{name} error"] = spectrum.errors
    return of_histograms(spectrum, columns)


def of_histograms(bins: Spectrum, columns: Mapping[str, Any]) -> Data:
    """Several histograms over the same bins.

    Args:
        bins: whose axes are used.
        columns: values of all bins by name.
    """
    return {
        "axes": [
            {"name": name, "unit": unit, "edges": _edges(edges)}
            for name, unit, edges in zip(bins.labels, bins.units, bins.edges, strict=True)
        ],
        "columns": [
            {"name": name, "values": _values(np.asarray(values, dtype=float))}
            for name, values in columns.items()
        ],
    }


def of_curves(across: str, at: FloatArray, columns: Mapping[str, FloatArray]) -> Data:
    """Points with their values, such as a series."""
    header = (across, *columns)
    parts = [np.asarray(at, float), *(np.asarray(values, float) for values in columns.values())]
    return of_numbers(Numbers(header, tuple(map(tuple, np.stack(parts, axis=1).tolist()))))


def of_numbers(numbers: Numbers) -> Data:
    """A table."""
    return {
        "header": list(numbers.header),
        "rows": [[_plain(value) for value in row] for row in numbers.rows],
    }


def _edges(edges: FloatArray) -> Any:
    count = len(edges) - 1
    first, width = float(edges[0]), float(edges[-1] - edges[0]) / count
    if np.allclose(edges, first + width * np.arange(count + 1), rtol=0.0, atol=1e-9 * abs(width)):
        return {"first": first, "width": width, "count": count}
    return [_plain(value) for value in edges.tolist()]


def _values(values: FloatArray) -> Any:
    flat = values.ravel()
    filled = np.flatnonzero(flat != 0.0)  # also where it is not a number
    if len(filled) > (1.0 - _SPARSE) * len(flat):
        return [_plain(value) for value in flat.tolist()]
    return {
        "count": len(flat),
        "steps": np.diff(filled, prepend=0).tolist(),
        "values": [_plain(value) for value in flat[filled].tolist()],
    }


def _plain(value: Any) -> Any:
    """A number as short as it may be; what is not a number becomes nothing."""
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, np.integer):
        return int(value)
    number = float(value)
    if not math.isfinite(number):
        return None
    if number == int(number) and abs(number) < 10**_DIGITS:
        return int(number)
    return float(f"{number:.{_DIGITS}g}")
