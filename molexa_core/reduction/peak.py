"""Fit of a Gaussian peak on a smooth background by the Poisson likelihood of a histogram."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.optimize import least_squares

from molexa_core.base.tables import FloatArray

_BINS_PER_SIGMA: Final = 2.0
_MOST_BINS: Final = 400
_TINY: Final = 1e-9
_LOWER: Final = (-30.0, -2.0, -2.0)
_UPPER: Final = (30.0, 2.0, 2.0)
"""Limits of the background: a background narrower than half the window could fit the peak."""


@dataclass(frozen=True)
class Peak:
    """A fitted peak.

    Attributes:
        centre: position of the maximum.
        sigma: standard deviation.
        signal: number of values in the peak.
        centre_error: standard error of the centre; NaN where it is not determined.
        sigma_error: standard error of the standard deviation; NaN where it is not determined.
        gain: reduction of the deviance compared with a fit of the background alone; 25 is five
            standard deviations for one more parameter. NaN where it was not computed.
    """

    centre: float
    sigma: float
    signal: float
    centre_error: float
    sigma_error: float
    gain: float


def fit_peak(
    values: FloatArray,
    low: float,
    high: float,
    centre: float,
    sigma: float,
    *,
    with_gain: bool = True,
) -> Peak:
    """Fit a Gaussian on a background exp(b0 + b1 u + b2 u^2) to values between two limits.

    The fit is the maximum of the Poisson likelihood of the counts in bins: its deviance residuals
    (McCullagh and Nelder, Generalized Linear Models, 2nd ed., section 2.4) are handed to least
    squares, so that bins with few counts are treated correctly.

    Args:
        values: the values; those outside the limits are ignored.
        low: lower limit.
        high: upper limit.
        centre: first guess of the position.
        sigma: first guess of the standard deviation; sets the bin width.
        with_gain: also fit the background alone.
    """
    bins = int(np.clip((high - low) * _BINS_PER_SIGMA / sigma, 12, _MOST_BINS))
    counts, edges = np.histogram(values, bins=bins, range=(low, high))
    middle, half = 0.5 * (high + low), 0.5 * (high - low)
    place = (0.5 * (edges[1:] + edges[:-1]) - middle) / half
    width = edges[1] - edges[0]
    outside = np.abs(place * half + middle - centre) > 3.0 * sigma
    level = np.log(max(float(counts[outside].mean()) if outside.any() else 0.0, 0.1))
    above = max(float(counts[~outside].sum()) - np.exp(level) * (~outside).sum(), 3.0)
    start = np.array([(centre - middle) / half, np.log(sigma / half), np.log(above), level, 0, 0])
    lower = np.array([-1.0, np.log(0.2 * width / half), np.log(0.1), *_LOWER])
    upper = np.array([1.0, 0.0, np.log(10.0 * len(values) + 10.0), *_UPPER])

    def background(parameters: FloatArray) -> FloatArray:
        b0, b1, b2 = parameters
        exponent: FloatArray = np.exp(b0 + b1 * place + b2 * place**2)
        return exponent

    def model(parameters: FloatArray) -> FloatArray:
        where, log_sigma, log_signal = parameters[:3]
        scaled = (place - where) / np.exp(log_sigma)
        height = np.exp(log_signal - log_sigma) * width / half / np.sqrt(2.0 * np.pi)
        total: FloatArray = height * np.exp(-0.5 * scaled**2) + background(parameters[3:])
        return total

    def misfit(parameters: FloatArray) -> FloatArray:
        return _residuals(counts, model(parameters))

    def misfit_without(parameters: FloatArray) -> FloatArray:
        return _residuals(counts, background(parameters))

    full = least_squares(misfit, np.clip(start, lower, upper), bounds=(lower, upper), max_nfev=100)
    gain = float("nan")
    if with_gain:
        level = np.log(max(counts.mean(), 0.01))
        bounds = (_LOWER, _UPPER)
        without = least_squares(misfit_without, [level, 0.0, 0.0], bounds=bounds, max_nfev=100)
        gain = float(2.0 * (without.cost - full.cost))
    where, log_sigma, log_signal = full.x[:3]
    slopes = np.asarray(full.jac, np.float64)
    variances = np.diag(np.linalg.pinv(slopes.T @ slopes))
    # A parameter not determined by the counts has no variance in the pseudo-inverse: no error.
    errors = np.sqrt(np.where(variances > 0.0, variances, np.nan))
    return Peak(
        centre=float(where * half + middle),
        sigma=float(np.exp(log_sigma) * half),
        signal=float(np.exp(log_signal)),
        centre_error=float(errors[0] * half),
        sigma_error=float(errors[1] * np.exp(log_sigma) * half),
        gain=gain,
    )


def _residuals(counts: FloatArray, expected: FloatArray) -> FloatArray:
    """Signed square roots of each bin's share of the Poisson deviance."""
    expected = expected + _TINY
    with np.errstate(divide="ignore", invalid="ignore"):
        logarithm = np.where(counts > 0, counts * np.log(counts / expected), 0.0)
    deviance = np.maximum(2.0 * (logarithm - counts + expected), 0.0)
    signed: FloatArray = np.sign(counts - expected) * np.sqrt(deviance)
    return signed
