"""Solutions: all structures with the measured momenta, the likeliest first."""

from __future__ import annotations

import numpy as np
import pytest

from molexa_core.base.errors import UsageError
from molexa_core.base.matter.ions import Ion, parse_ion
from molexa_core.base.tables import FloatArray
from molexa_core.base.units import BOHR_ANGSTROM
from molexa_core.physics.coulomb.batches import explode_many
from molexa_core.physics.coulomb.build_up import ErrorFunctionRise
from molexa_core.physics.molecules.library import molecule
from molexa_core.pipeline.reconstruction.solutions import solutions

TAU_FS = 45.0


def exploded(name: str) -> tuple[FloatArray, list[Ion], FloatArray]:
    """Centred positions, ions and momenta of a shipped molecule, all ions singly charged."""
    shipped = molecule(name)
    positions = shipped.geometry.positions - shipped.geometry.positions.mean(axis=0)
    ions = [parse_ion(f"{symbol}+") for symbol in shipped.geometry.symbols]
    rise = ErrorFunctionRise(TAU_FS)
    charges, masses = np.ones(len(ions)), np.array([ion.mass for ion in ions])
    momenta = explode_many(positions[None], charges, masses, build_up=rise, accuracy="fine")[0]
    return positions, ions, momenta


def test_pf3_has_a_tall_twin_and_chemistry_prefers_the_true_one() -> None:
    truth, ions, momenta = exploded("pf3")
    order = np.argsort([ion.element.symbol != "P" for ion in ions], kind="stable")
    truth, ions, momenta = truth[order], [ions[k] for k in order], momenta[order]
    # Started from the wrong one only: the true one must come from the search.
    (wrong,) = solutions(elongated(truth)[None], ions, momenta, tau_fs=TAU_FS)
    assert wrong.explains
    assert np.abs(wrong.positions - truth).mean() > 0.3
    found = solutions(wrong.positions[None], ions, momenta, tau_fs=TAU_FS, search=24, seed=0)
    best = found[0]
    assert best.plausible
    assert best.sample is None
    assert np.abs(best.positions - truth).max() < 1e-3
    assert any(np.abs(one.positions - wrong.positions).max() < 1e-3 for one in found)
    assert all(one.residual < 1e-3 for one in found)
    drawn_first = solutions(
        wrong.positions[None], ions, momenta, tau_fs=TAU_FS, search=24, seed=0, chemistry=False
    )
    assert drawn_first[0].share == 1.0


def elongated(truth: FloatArray) -> FloatArray:
    """PF3 as a tall pyramid: bonds of 2.0 angstrom, fluorines 1.8 angstrom apart."""
    fluorines = truth[1:] - truth[1:].mean(axis=0)
    outward = fluorines / np.linalg.norm(fluorines, axis=1, keepdims=True)
    axis = truth[0] - truth[1:].mean(axis=0)
    axis /= np.linalg.norm(axis)
    positions = np.vstack([1.75 * axis, 1.03 * outward]) / BOHR_ANGSTROM
    return np.asarray(positions - positions.mean(axis=0))


def test_samples_are_gathered_and_their_shares_counted() -> None:
    truth, ions, momenta = exploded("water")
    generator = np.random.default_rng(3)
    samples = truth + 0.02 * generator.standard_normal((10, *truth.shape))
    found = solutions(samples, ions, momenta, tau_fs=TAU_FS)
    assert len(found) == 1
    assert found[0].share == 1.0
    assert np.abs(found[0].positions - truth).max() < 1e-3


def test_noisy_momenta_give_error_bars_that_shrink_with_the_noise() -> None:
    truth, ions, momenta = exploded("water")
    scatter = []
    for relative in (0.02, 0.002):
        errors = np.full_like(momenta, relative * np.abs(momenta).max())
        width = np.full((1, *truth.shape), 0.3)
        (one,) = solutions(truth[None], ions, momenta, errors=errors, width=width, tau_fs=TAU_FS)
        scatter.append(one.scatter.mean())
    assert 0 < scatter[1] < scatter[0]


def test_without_refinement_samples_stay_as_they_are() -> None:
    truth, ions, momenta = exploded("water")
    sample = truth + 0.1
    sample[1, 0] += 0.3
    (one,) = solutions(sample[None], ions, momenta, tau_fs=TAU_FS, refined=False, search=5)
    assert np.abs(one.positions - (sample - sample.mean(axis=0))).max() == 0
    assert not one.explains


def test_no_samples() -> None:
    _, ions, momenta = exploded("water")
    with pytest.raises(UsageError, match="no samples"):
        solutions(np.zeros((0, 3, 3)), ions, momenta, tau_fs=TAU_FS)


def test_components_that_the_frame_sets_to_zero_do_not_hold_a_solution_back() -> None:
    """Averaged momenta are off by more than their errors, and three have no error at all."""
    truth, ions, momenta = exploded("ethanol")
    first = momenta[2] / np.linalg.norm(momenta[2])  # of the oxygen: the x axis
    second = momenta[1] - (momenta[1] @ first) * first
    second /= np.linalg.norm(second)
    axes = np.stack([first, second, np.cross(first, second)])
    truth, momenta = truth @ axes.T, momenta @ axes.T
    biased = momenta + 0.01 * np.sqrt((momenta**2).mean()) * np.sin(np.arange(27.0)).reshape(9, 3)
    fixed = np.zeros((9, 3), dtype=bool)
    fixed[2, 1:] = fixed[1, 2] = True
    biased -= biased.mean(axis=0)
    # Turned back into the frame that is defined by the biased momenta themselves.
    biased[fixed] = 0.0
    free = [0, *range(3, 9)]
    biased[free] -= biased.sum(axis=0) / len(free)
    errors = np.where(fixed, 0.0, 0.0015 * np.sqrt((momenta**2).mean()))
    (found,) = solutions(
        truth[None], ions, biased, errors=errors, width=np.full((1, 9, 3), 0.2), tau_fs=TAU_FS
    )
    assert found.explains
    assert found.residual < 2e-3
    assert np.abs(found.positions - truth).mean() < 0.2
