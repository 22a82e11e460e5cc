"""Results for other programs: awkward arrays, Parquet, and the numbers of a run for DAMNIT."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from molexa_core.base.errors import InputFileError

if TYPE_CHECKING:
    from molexa_core.base.tables import Coincidences


def to_awkward(events: Coincidences | str | Path) -> Any:
    """Coincidences as an awkward array: a record each, with a list of ions.

    Args:
        events: coincidences, or their file.

    Example:
        >>> ions = mx.to_awkward("run.events.h5").ions  # doctest: +SKIP
        >>> (ions.px**2 + ions.py**2 + ions.pz**2) ** 0.5  # doctest: +SKIP
    """
    from molexa_core.io.results.awkward_events import to_awkward as converted  # noqa: PLC0415

    return converted(_events(events))


def to_parquet(events: Coincidences | str | Path, out: str | Path) -> Path:
    """Write coincidences as a table in Parquet, for pandas, polars, DuckDB, R and others.

    False coincidences are rows with a negative weight and `false` true: weighted means and
    histograms are those of true coincidences.

    Args:
        events: coincidences, or their file.
        out: the file to write.

    Raises:
        InputFileError: pyarrow is not installed, or the file holds no coincidences.
        OutputError: the file cannot be written there.
    """
    from molexa_core.io.results.awkward_events import write_events_parquet  # noqa: PLC0415

    write_events_parquet(out, _events(events))
    return Path(out)


def run_numbers(events: Coincidences | str | Path) -> dict[str, float]:
    """The numbers of a reduction, one value each: for the table of DAMNIT, or any logbook.

    Args:
        events: coincidences that `reduce` found, or their file.

    Returns:
        `shots`, `hits_per_shot`, `coincidences`, `coincidences_per_shot`, `purity_percent` with
        `purity_error_percent`, `ker_peak_ev`, `ker_fwhm_ev`, `sum_x_au` (centre) and
        `sum_x_sigma_au` ...; `true_coincidences` with its error where false ones were built by
        mixing. What was not determined is absent.

    Raises:
        InputFileError: the coincidences do not tell how they were found.
    """
    table = _events(events)
    told = table.meta.get("summary")
    if not isinstance(told, Mapping):
        raise InputFileError(
            "the coincidences have no summary of a reduction", do="Name a file of molexa reduce."
        )
    false = told.get("false") or {}
    purity, ker = false or told.get("purity") or {}, told.get("ker") or {}
    found: dict[str, Any] = {
        name: told.get(name)
        for name in ("shots", "hits_per_shot", "coincidences", "coincidences_per_shot")
    }
    found |= {
        "true_coincidences": false.get("true"),
        "true_coincidences_error": false.get("true_error"),
        "purity_percent": _times(100.0, purity.get("purity")),
        "purity_error_percent": _times(100.0, purity.get("purity_error")),
        "ker_peak_ev": ker.get("peak"),
        "ker_fwhm_ev": ker.get("fwhm"),
        "ker_mean_ev": ker.get("mean"),
    }
    for axis in told.get("momentum_sums") or ():
        found[f"sum_{axis['axis']}_au"] = axis.get("centre")
        found[f"sum_{axis['axis']}_sigma_au"] = axis.get("sigma")
    return {
        name: float(value)
        for name, value in found.items()
        if value is not None and math.isfinite(float(value))
    }


def _times(factor: float, value: Any) -> float | None:
    return None if value is None else factor * float(value)


def _events(events: Coincidences | str | Path) -> Coincidences:
    if isinstance(events, str | Path):
        from molexa_core.io.results.events import read_events  # noqa: PLC0415

        return read_events(events)[0]
    return events
