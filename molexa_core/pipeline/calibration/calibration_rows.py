"""A calibration in rows of text, for the terminal and for JSON."""

from __future__ import annotations

from typing import Any

import numpy as np

from molexa_core.base.belief import Coordinate
from molexa_core.base.numbers import percent
from molexa_core.pipeline.calibration.calibration import Calibration, Fit

PARAMETERS = ("parameter", "before", "after", "unit")
PULLS = ("reference", "pair of ions", "measured", "calibrated", "+-", "sigma")


def interval(coordinate: Coordinate, mean: float, width: float) -> str:
    """A value with its 68 % interval, such as `15.2 (13.1 to 17.6)`."""
    middle, low, high = (float(coordinate.values(mean + s * width)) for s in (0.0, -1.0, 1.0))
    if width == 0.0:
        return f"{middle:.3g} (exact)"
    return f"{middle:.3g} ({low:.3g} to {high:.3g})"


def parameter_rows(fit: Fit) -> tuple[list[str], list[list[str]]]:
    """Header and rows: every parameter before and after, and what each reference tells of it.

    What a reference tells is the share of the variance before that it alone takes away.
    """
    labels = list(dict.fromkeys(one.reference for one in fit.pulls))
    told = fit.information.told()
    rows = []
    for row, coordinate in enumerate(fit.coordinates):
        before = interval(coordinate, fit.prior.mean[row], fit.prior.width[row])
        after = interval(coordinate, fit.here.mean[row], fit.here.width[row])
        shares = [f"{100.0 * told[number, row]:.0f} %" for number in range(len(labels))]
        rows.append([coordinate.meaning, before, after, coordinate.unit, *shares])
    return [*PARAMETERS, *labels], rows


def pull_rows(fit: Fit) -> tuple[list[str], list[list[str]]]:
    """Header and rows: what was measured beside what the calibrated family gives."""
    rows = []
    for one in fit.pulls:
        measured, predicted, error = one.measured, one.predicted, one.error
        digits = 3 if one.is_yield else max(0, min(4, 1 - int(np.floor(np.log10(error)))))
        rows.append(
            [
                one.reference,
                one.name,
                f"{measured:.{digits}f}",
                f"{predicted:.{digits}f}",
                f"{error:.{digits}f}",
                f"{one.pull:+.1f}",
            ]
        )
    return list(PULLS), rows


def sentences(found: Calibration) -> list[str]:
    """What to know besides the tables."""
    best = found.best
    squares, free = best.residual
    texts = [
        (
            f"p-value of the references: {found.p_value:.2g} (chi-square {best.chi_square:.1f} of "
            f"{best.values} values; residuals alone {squares:.1f}, {free:.1f} degrees of freedom)"
        ),
        (
            f"relative error of momenta that no parameter removes: {percent(found.misfit)} %, "
            "beside the error of the family; later reconstructions add it"
        ),
    ]
    if len(found.fits) > 1 or best.weight[0] < 1.0:
        shares = ", ".join(f"{fit.family.name} {100.0 * fit.weight[1]:.1f} %" for fit in found.fits)
        texts.append(f"models: {shares}")
    return [*texts, *found.notes]


def as_plain(found: Calibration) -> dict[str, Any]:
    """The calibration as plain values."""
    return {
        "p_value": found.p_value,
        "misfit": found.misfit,
        "notes": list(found.notes),
        "warnings": list(found.warnings),
        "models": [
            {
                "family": fit.family.name,
                "probability": fit.weight[1],
                "log_evidence": float(fit.log_evidence),
                "chi_square": fit.chi_square,
                "values": fit.values,
                "effective_samples": fit.effective,
                "parameters": [
                    {
                        "name": coordinate.name,
                        "unit": coordinate.unit,
                        "before": _numbers(coordinate, fit.prior.mean[row], fit.prior.width[row]),
                        "after": _numbers(coordinate, fit.here.mean[row], fit.here.width[row]),
                        "told": [float(share) for share in fit.information.told()[:, row]],
                    }
                    for row, coordinate in enumerate(fit.coordinates)
                ],
                "values_measured": [
                    {
                        "reference": one.reference,
                        "name": one.name,
                        "measured": one.measured,
                        "calibrated": one.predicted,
                        "error": one.error,
                        "sigma": one.pull,
                    }
                    for one in fit.pulls
                ],
            }
            for fit in found.fits
        ],
    }


def _numbers(coordinate: Coordinate, mean: float, width: float) -> dict[str, float]:
    return {
        "value": float(coordinate.values(mean)),
        "low": float(coordinate.values(mean - width)),
        "high": float(coordinate.values(mean + width)),
    }
