"""Two histograms side by side: difference, ratio and pull of every bin, and a test of the shape.

Counts: the pull is the difference over its standard deviation if both came from one distribution.
Given n1 + n2 counts in a bin, n1 is then binomial with probability s / (1 + s), where s is the
factor of the second histogram, so that

    pull = (n1 - s n2) / sqrt(s (n1 + n2)),

which has mean zero and variance one at any number of counts (Cowan, Statistical Data Analysis,
section 2.2). Histograms with given errors: pull = (y1 - s y2) / sqrt(e1^2 + s^2 e2^2).

Errors are those of independent data. Two gates that share coincidences are not independent: their
differences scatter less than the errors say.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from scipy.stats import chi2

from molexa_core.base.errors import UsageError
from molexa_core.base.shown import Shown
from molexa_core.base.spectrum import Spectrum
from molexa_core.base.tables import FloatArray

FEWEST: Final = 10.0
"""For the test of the shape, neighbouring bins are joined until both together hold that many
counts: with fewer, chi-square is not distributed like one."""


@dataclass(frozen=True, repr=False)
class SpectrumComparison(Shown):
    """Two histograms over the same bins.

    Attributes:
        first: the first, with its errors.
        second: the second times `scale`, with its errors.
        scale: factor of the second.
        scale_error: its standard error; 0 where it was given.
        difference: first less second, with errors; without that of `scale`.
        ratio: first over second, with errors; not a number where the second is not positive.
        pull: the difference in its standard deviations if both are alike; not a number where
            neither has anything.
        chi_square: sum of the squared pulls, of counts with thin neighbouring bins joined.
        degrees: number of terms in it, less one where the scale was found from the data.
        p_value: probability of a larger chi-square for alike histograms; None without degrees of
            freedom.
    """

    first: Spectrum
    second: Spectrum
    scale: float
    scale_error: float
    difference: Spectrum
    ratio: Spectrum
    pull: Spectrum
    chi_square: float
    degrees: int
    p_value: float | None

    def rows(self) -> tuple[tuple[str, ...], FloatArray]:
        """Header and (bins, columns) of numbers: limits of the bins, both, difference, ratio, pull.

        The last axis runs fastest.
        """
        header: list[str] = []
        columns: list[FloatArray] = []
        shape = self.first.counts.shape
        for axis, edges in enumerate(self.first.edges):
            name, unit = self.first.labels[axis], self.first.units[axis]
            wide = [1] * len(shape)
            wide[axis] = shape[axis]
            for end, side in (("from", edges[:-1]), ("to", edges[1:])):
                header.append(f"{name} {end} ({unit})" if unit else f"{name} {end}")
                columns.append(np.broadcast_to(side.reshape(wide), shape))
        for name, one in (
            ("first", self.first),
            ("second", self.second),
            ("difference", self.difference),
            ("ratio", self.ratio),
        ):
            header += [name, f"{name} error"]
            columns += [np.asarray(one.counts, float), errors_of(one)]
        header.append("pull")
        columns.append(np.asarray(self.pull.counts, float))
        return tuple(header), np.stack([column.ravel() for column in columns], axis=1)


def compare_spectra(
    first: Spectrum, second: Spectrum, *, scale: float | None = None
) -> SpectrumComparison:
    """Difference, ratio and pull of two histograms.

    Args:
        first: the first.
        second: the second, over the same bins.
        scale: factor of the second, such as a ratio of shots; found from the sums of the bins if
            None, so that the shapes are compared.

    Raises:
        UsageError: other bins, a scale that is not positive, or no counts to scale by.
    """
    if first.counts.shape != second.counts.shape or not all(
        np.allclose(a, b) for a, b in zip(first.edges, second.edges, strict=True)
    ):
        raise UsageError(
            "the histograms have different bins", do="Fill both with the same limits and bins."
        )
    one, two = np.asarray(first.counts, float), np.asarray(second.counts, float)
    e1, e2 = errors_of(first), errors_of(second)
    factor, factor_error = _scale(one, two, e1, e2) if scale is None else (float(scale), 0.0)
    if not (np.isfinite(factor) and factor > 0.0):
        raise UsageError(f"a scale of {factor:g} cannot be used", setting="scale")
    counted = first.errors is None and second.errors is None
    variance = e1**2 + factor**2 * e2**2
    # Both counts estimate one rate: without either of them the error of no counts would be zero.
    alike = factor * (one + two) if counted else variance
    difference = one - factor * two
    with np.errstate(divide="ignore", invalid="ignore"):
        pull = np.where(alike > 0.0, difference / np.sqrt(alike), np.nan)
        ratio = np.where(two > 0.0, one / (factor * two), np.nan)
        ratio_error = np.where(
            two > 0.0, np.sqrt(e1**2 + (ratio * factor * e2) ** 2) / (factor * two), np.nan
        )
    squares = _joined(one, two, factor) if counted else np.square(pull[np.isfinite(pull)])
    degrees = max(len(squares) - (scale is None), 0)
    chi_square = float(squares.sum())
    return SpectrumComparison(
        first=replace(first, counts=one, errors=e1),
        second=replace(second, counts=factor * two, errors=factor * e2),
        scale=factor,
        scale_error=factor_error,
        difference=replace(first, counts=difference, errors=np.sqrt(variance), marks={}),
        ratio=replace(first, counts=ratio, errors=ratio_error, marks={}),
        pull=replace(first, counts=pull, errors=None, marks={}),
        chi_square=chi_square,
        degrees=degrees,
        p_value=float(chi2.sf(chi_square, degrees)) if degrees else None,
    )


def _joined(one: FloatArray, two: FloatArray, factor: float) -> FloatArray:
    """Squared pulls of groups of neighbouring bins, which the sums of both alone determine."""
    both = (one + two).ravel()
    group = np.zeros(both.size, dtype=np.int64)
    number, held_so_far = 0, 0.0
    for place, counts in enumerate(both.tolist()):
        if held_so_far >= FEWEST:
            number, held_so_far = number + 1, 0.0
        group[place] = number
        held_so_far += counts
    if number and held_so_far < FEWEST:  # what is left over at the end
        group[group == number] = number - 1
    total = np.bincount(group, both)
    difference = np.bincount(group, one.ravel() - factor * two.ravel())
    held = total > 0.0
    squares: FloatArray = np.square(difference[held]) / (factor * total[held])
    return squares


def errors_of(spectrum: Spectrum) -> FloatArray:
    """Standard error of every bin: the given one, or the square root of the counts."""
    if spectrum.errors is not None:
        return np.asarray(spectrum.errors, float)
    poisson: FloatArray = np.sqrt(np.clip(np.asarray(spectrum.counts, float), 0.0, None))
    return poisson


def _scale(one: FloatArray, two: FloatArray, e1: FloatArray, e2: FloatArray) -> tuple[float, float]:
    """Ratio of the sums and its standard error."""
    top, below = float(one.sum()), float(two.sum())
    if top <= 0.0 or below <= 0.0:
        raise UsageError(
            "a histogram without counts cannot be scaled to another", do="Widen its gate."
        )
    relative = np.hypot(np.sqrt((e1**2).sum()) / top, np.sqrt((e2**2).sum()) / below)
    return top / below, float(top / below * relative)
