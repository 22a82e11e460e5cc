from __future__ import annotations

import numpy as np
import pytest

from molexa_core.base.matter.ions import parse_ion, parse_ions
from molexa_core.base.matter.release import release_range
from molexa_core.base.settings import Setup, parse_settings
from molexa_core.base.tables import Hits
from molexa_core.base.units import HARTREE_EV
from molexa_core.physics.molecules.library import molecule
from molexa_core.pipeline.chain.reduce import Reduction, reduce
from molexa_core.pipeline.runs.mock import mock
from molexa_core.reduction.suspected_units import axis_scales, setup_doubts
from tests.fakes.root_runs import fly, make_channel, make_setup

N_PLUS = parse_ion("N+")
PAIR = make_channel(("N+", 2), max_momentum=250.0)


def pairs(rng: np.random.Generator, *, aligned: float = 0.0, n: int = 3000) -> np.ndarray:
    """(n, 2, 3) momenta of two N+ that share 12 eV; `aligned` prefers the z axis."""
    size = np.sqrt(rng.normal(12.0, 0.8, n) / HARTREE_EV * N_PLUS.mass)
    cosine = rng.uniform(-1.0, 1.0, n)
    cosine = np.sign(cosine) * np.abs(cosine) ** (1.0 / (1.0 + aligned))
    angle = rng.uniform(0.0, 2.0 * np.pi, n)
    sine = np.sqrt(1.0 - cosine**2)
    way = np.stack([sine * np.cos(angle), sine * np.sin(angle), cosine], axis=1)
    recoil = rng.normal(0.0, [3.0, 2.0, 1.0], (n, 3))
    one = size[:, None] * way
    return np.stack([one + 0.5 * recoil, -one + 0.5 * recoil], axis=1)


def reduced(
    momenta: np.ndarray, *, place: float = 1.0, later: float = 0.0, setup: Setup | None = None
) -> Reduction:
    x, y, t = (one.reshape(-1) for one in fly(momenta, [N_PLUS] * 2, make_setup()))
    offsets = np.arange(len(momenta) + 1) * 2
    method = np.zeros(len(x), np.int16)
    hits = Hits(0, offsets, x * place, y * place, t + later, method)
    return reduce([hits], PAIR, setup or make_setup())


@pytest.mark.parametrize("aligned", [0.0, 2.0])
def test_right_units_raise_no_doubt_however_the_molecules_are_aligned(
    rng: np.random.Generator, aligned: float
) -> None:
    assert reduced(pairs(rng, aligned=aligned)).summary.warnings == ()


@pytest.mark.parametrize("place", [1e-3, 0.1, 1 / 25.4, 0.9, 1.1, 2.0])
def test_positions_in_another_unit_are_told(rng: np.random.Generator, place: float) -> None:
    result = reduced(pairs(rng), place=place)
    assert any("mm" in text for text in result.summary.warnings)
    assert result.table.meta["warnings"] == list(result.summary.warnings)


def test_a_time_zero_in_another_unit_is_told(rng: np.random.Generator) -> None:
    assert any("time_zero" in one for one in reduced(pairs(rng), later=30.0).summary.warnings)


def test_a_jet_in_another_unit_is_told(rng: np.random.Generator) -> None:
    setup = make_setup(jet={"velocity_m_per_s": 0.8})
    warnings = reduced(pairs(rng), setup=setup).summary.warnings
    assert any("is it in m/s?" in text for text in warnings)
    assert any("beside the jet" in text for text in warnings)


@pytest.mark.parametrize("length", [0.11, 1.1, 110_000.0])
def test_a_spectrometer_of_impossible_size_is_told(length: float) -> None:
    values = {"spectrometer": {"regions": [{"length_mm": length, "field_v_per_cm": 250.0}]}}
    (doubt,) = setup_doubts(parse_settings(Setup, values, where="setup"))
    assert "length of all regions" in doubt


def test_axis_scales_find_the_factor_in_aligned_molecules(rng: np.random.Generator) -> None:
    momenta = pairs(rng, aligned=3.0)[:, 0] * [1.3, 1.3, 1.0]
    found = axis_scales(momenta)
    assert found is not None
    scales, errors = found
    np.testing.assert_allclose(scales / scales[2], [1.3, 1.3, 1.0], rtol=0.03)
    assert (errors < 0.02).all()


@pytest.mark.parametrize("momenta", [np.zeros((50, 3)), np.ones((50, 3)), np.ones((3, 3))])
def test_directions_that_do_not_tell_give_no_scales(momenta: np.ndarray) -> None:
    assert axis_scales(momenta) is None


@pytest.mark.parametrize(
    ("ions", "release_ev"), [("N+,N+", 11.96), ("O+,H+,H+", 39.6), ("O+,H+,H+", 24.0),
                             ("C+,F+,F+,F+,F+", 60.0), ("I5+,I5+", 130.0)],
)  # fmt: skip
def test_the_range_of_releases_holds_known_ones(ions: str, release_ev: float) -> None:
    low, high = release_range(parse_ions(ions))
    assert low < release_ev < high


def test_isotopes_and_molecular_ions_have_a_range() -> None:
    low, high = release_range(parse_ions("D+,D+,O+"))
    assert (low, high) == release_range(parse_ions("H+,H+,O+"))
    low, high = release_range(parse_ions("(CH3)+,I+"))
    assert low < 5.0 < high


@pytest.mark.slow
@pytest.mark.parametrize(
    ("names", "regions", "radius"),
    [
        (("N", "N", "O"), ((40.0, 250.0), (70.0, 600.0)), 60.0),
        (("N", "N", "C", "C"), ((40.0, 300.0), (80.0, 0.0)), 80.0),
    ],
    ids=["one ion at rest", "ions of similar mass"],
)
def test_molecules_that_say_little_about_scales_raise_no_alarm(
    names: tuple[str, ...], regions: tuple[tuple[float, float], ...], radius: float
) -> None:
    """Of N2O the middle ion hardly moves; of C2N2 carbon and nitrogen are taken for each other."""
    from benchmarks.wrong_units import channel_of, setup_of
    from molexa_core.pipeline.runs.mock import mock

    channel = channel_of("n2o" if "O" in names else "cyanogen")
    setup = setup_of(regions, detector={"radius_mm": radius}, jet={"velocity_m_per_s": 1000.0})
    hits = mock(channel, 12_000, setup=setup, seed=1004).hits
    found = reduce([hits], channel, setup)
    assert not [text for text in found.summary.warnings if "direction of flight" in text]
    wrong = Hits(0, hits.offsets, hits.x_mm * 1.3, hits.y_mm * 1.3, hits.t_ns, hits.method)
    told = reduce([wrong], channel, setup).summary.warnings
    assert [text for text in told if "direction of flight" in text or "release" in text], told


@pytest.mark.slow
def test_ions_that_are_taken_for_each_other_are_named_before_the_calibration() -> None:
    """N+ and C+ of cyanogen arrive together in a weak field: their roles are often exchanged."""
    regions = [{"length_mm": 60.0, "field_v_per_cm": 120.0}]
    values = {"spectrometer": {"regions": regions}, "detector": {"radius_mm": 80.0}}
    setup = parse_settings(Setup, values, where="setup")
    channel = make_channel(("N+", 2), ("C+", 2), max_momentum=300.0)
    hits = mock(channel, 10_000, setup=setup, structure=molecule("cyanogen"), seed=9020).hits
    first, *others = reduce([hits], channel, setup).summary.warnings
    assert first.startswith("N+ and C+ are hard to tell apart (")
    assert "momentum sum along z" in others[0]
