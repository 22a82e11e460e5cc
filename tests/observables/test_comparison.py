from __future__ import annotations

import numpy as np
import pytest

from molexa_core.base.errors import UsageError
from molexa_core.base.spectrum import Spectrum
from molexa_core.observables.comparison import compare_spectra

EDGES = np.linspace(0.0, 10.0, 41)


def spectrum(counts: np.ndarray, errors: np.ndarray | None = None) -> Spectrum:
    return Spectrum(counts, (EDGES,), ("energy",), ("eV",), errors=errors)


@pytest.mark.parametrize("mean", [0.7, 4.0, 60.0])
@pytest.mark.parametrize("factor", [1.0, 3.0])
def test_pulls_of_alike_counts_have_mean_zero_and_width_one(mean: float, factor: float) -> None:
    rng = np.random.default_rng(3)
    pulls, small = [], []
    for _ in range(400):
        one, two = rng.poisson(mean * factor, 40), rng.poisson(mean, 40)
        found = compare_spectra(spectrum(one), spectrum(two), scale=factor)
        pulls.append(found.pull.counts)
        assert found.p_value is not None
        small.append(found.p_value < 0.05)
    values = np.concatenate(pulls)
    values = values[np.isfinite(values)]
    assert abs(values.mean()) < 4.0 / np.sqrt(values.size)
    assert abs(values.std() - 1.0) < 0.03
    assert 0.02 < np.mean(small) < 0.09


def test_a_scale_found_from_the_sums_costs_one_degree_of_freedom() -> None:
    rng = np.random.default_rng(5)
    found = [
        compare_spectra(spectrum(rng.poisson(30, 40)), spectrum(rng.poisson(90, 40)))
        for _ in range(300)
    ]
    assert {one.degrees for one in found} == {39}
    assert np.mean([one.chi_square for one in found]) == pytest.approx(39.0, abs=1.5)
    pulls = [(one.scale - 1 / 3) / one.scale_error for one in found]
    assert np.std(pulls) == pytest.approx(1.0, abs=0.13)


def test_difference_ratio_and_their_errors_in_closed_form() -> None:
    one, two = np.full(40, 16.0), np.full(40, 4.0)
    found = compare_spectra(spectrum(one), spectrum(two), scale=2.0)
    assert np.allclose(found.difference.counts, 8.0)
    assert found.difference.errors is not None
    assert np.allclose(found.difference.errors, np.sqrt(16 + 4 * 4))
    assert np.allclose(found.ratio.counts, 2.0)
    assert found.ratio.errors is not None
    assert np.allclose(found.ratio.errors, 2.0 * np.sqrt(1 / 16 + 1 / 4))
    assert np.allclose(found.pull.counts, 8.0 / np.sqrt(2 * 20))
    header, rows = found.rows()
    assert header[:2] == ("energy from (eV)", "energy to (eV)")
    assert rows.shape == (40, len(header))
    assert rows[3, 0] == EDGES[3]


def test_given_errors_are_used_and_a_real_change_is_seen() -> None:
    rng = np.random.default_rng(1)
    error = np.full(40, 2.0)
    alike = compare_spectra(
        spectrum(rng.normal(20, 2.0, 40), error), spectrum(rng.normal(20, 2.0, 40), error)
    )
    assert alike.p_value is not None
    assert alike.p_value > 1e-3
    other = 20.0 + 10.0 * np.sin(EDGES[1:])
    found = compare_spectra(spectrum(np.full(40, 20.0), error), spectrum(other, error))
    assert found.p_value is not None
    assert found.p_value < 1e-9


def test_two_dimensions_and_empty_bins() -> None:
    counts = np.zeros((40, 40))
    counts[1, 2] = 9.0
    one = Spectrum(counts, (EDGES, EDGES), ("x", "y"), ("", "mm"))
    found = compare_spectra(one, one)
    assert found.pull.counts[1, 2] == 0.0
    assert np.isnan(found.pull.counts[0, 0])
    assert found.degrees == 0
    assert found.p_value is None
    header, rows = found.rows()
    assert header[:4] == ("x from", "x to", "y from (mm)", "y to (mm)")
    assert rows[40 + 2, 4] == 9.0


def test_other_bins_and_empty_histograms_are_refused() -> None:
    one = spectrum(np.ones(40))
    other = Spectrum(np.ones(40), (EDGES + 1.0,), ("energy",), ("eV",))
    with pytest.raises(UsageError, match="different bins"):
        compare_spectra(one, other)
    with pytest.raises(UsageError, match="without counts"):
        compare_spectra(one, spectrum(np.zeros(40)))
    with pytest.raises(UsageError, match="scale of -1"):
        compare_spectra(one, one, scale=-1.0)
