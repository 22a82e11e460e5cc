from __future__ import annotations

import numpy as np
import pytest

from molexa_core.base.intervals import plus_minus
from molexa_core.base.units import HARTREE_EV
from molexa_core.reduction.coincidences import BOXES, SumGate
from molexa_core.reduction.energy import EnergySpectrum
from molexa_core.reduction.peak import fit_peak
from molexa_core.reduction.purity import purity, purity_text

WIDTH = 2.0


def spectrum_of(energies_ev: np.ndarray) -> EnergySpectrum:
    found = EnergySpectrum(1300.0)
    found.fill(np.asarray(energies_ev, np.float64) / HARTREE_EV)
    return found


def peak(rng: np.random.Generator, n: int) -> np.ndarray:
    return rng.normal(24.0, WIDTH / 2.354820045, n)


@pytest.mark.parametrize(
    ("n", "off"), [(12, 3.0), (50, 0.6), (300, 0.4), (3000, 0.2), (50_000, 0.05)]
)
@pytest.mark.parametrize("share", [0.0, 0.1, 1.0])
def test_the_width_is_that_of_the_peak_whatever_lies_far_away(
    rng: np.random.Generator, n: int, off: float, share: float
) -> None:
    far = rng.uniform(0.0, 1300.0, int(share * n))
    release = spectrum_of(np.concatenate([peak(rng, n), far])).release()
    assert release.fwhm == pytest.approx(WIDTH, rel=off)
    assert release.peak == pytest.approx(24.0, abs=2.0 * off)


def test_the_axis_is_on_the_peak_and_what_lies_beyond_is_counted(rng: np.random.Generator) -> None:
    far = rng.uniform(100.0, 1300.0, 700)
    histogram = spectrum_of(np.concatenate([peak(rng, 2000), far])).spectrum()
    low, high = histogram.edges[0][[0, -1]]
    assert high < 24.0 + 12.0 * WIDTH
    assert low >= 0.0
    assert histogram.outside >= 690
    assert histogram.counts.sum() + histogram.outside == histogram.total == 2700


def test_few_or_equal_energies_have_no_width() -> None:
    assert spectrum_of(np.array([24.0, 25.0, 23.0])).release().fwhm is None
    assert spectrum_of(np.full(500, 24.0)).release().fwhm is None
    assert spectrum_of(np.empty(0)).release().fwhm is None


def test_of_two_peaks_the_higher_has_its_own_width(rng: np.random.Generator) -> None:
    both = np.concatenate([rng.normal(5.0, 0.2, 3000), rng.normal(12.0, 0.4, 2000)])
    release = spectrum_of(both).release()
    assert release.peak == pytest.approx(5.0, abs=0.05)
    assert release.fwhm == pytest.approx(0.2 * 2.355, rel=0.1)


def gate() -> SumGate:
    return SumGate(np.zeros(3), np.full(3, 5.0), np.full(3, 5.0 / 3.0), np.full(3, 60.0))


@pytest.mark.parametrize(("found", "least"), [(5, 0.4), (77, 0.95), (5000, 0.999)])
def test_without_false_ones_the_purity_is_a_limit(found: int, least: float) -> None:
    counts = np.zeros(BOXES, np.int64)
    counts[0] = found
    result = purity(counts, gate())
    assert result.at_least is not None
    assert least <= result.at_least < 1.0
    assert purity_text(vars(result)).startswith("above ")


def test_with_false_ones_the_purity_has_an_error() -> None:
    counts = np.full(BOXES, 30, np.int64)
    counts[0] = 1000
    assert "+-" in purity_text(vars(purity(counts, gate())))


def test_no_coincidence_has_no_purity() -> None:
    assert purity_text(vars(purity(np.zeros(BOXES, np.int64), gate()))) == "not determined"


@pytest.mark.parametrize(("value", "error"), [(1e-4, 1e-5), (0.0, 1e-7), (3.0, 0.1), (1.0, 0.0)])
def test_no_error_is_written_as_zero(value: float, error: float) -> None:
    text = plus_minus(value, error)
    assert "+- 0.000" not in text or float(text.split("+- ")[1]) > 0.0


@pytest.mark.parametrize(
    "values",
    [np.empty(0), np.zeros(1), np.zeros(500), np.full(3, 1e9), np.array([np.nan, 0.1, 0.2])],
)
def test_a_fit_of_little_makes_no_noise(values: np.ndarray) -> None:
    for low, high, sigma in ((-1.0, 1.0, 0.1), (-1e-6, 1e-6, 1e-9), (-1e6, 1e6, 1e-3)):
        fit_peak(values, low, high, 0.0, sigma)
