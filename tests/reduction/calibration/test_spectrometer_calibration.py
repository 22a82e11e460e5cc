"""Calibration of a spectrometer from break-ups of known momenta."""

from __future__ import annotations

import numpy as np
import pytest

from molexa_core.base.errors import ComputationError, UsageError
from molexa_core.base.matter.flight import flight_time
from molexa_core.base.matter.ions import parse_ion
from molexa_core.base.settings import Channel, Setup, load_channel, parse_settings
from molexa_core.base.storage.resources import find
from molexa_core.base.tables import Hits
from molexa_core.base.units import HARTREE_EV
from molexa_core.pipeline.runs.mock import mock
from molexa_core.reduction.calibration.beam_line import beam_line
from molexa_core.reduction.calibration.quantities import (
    QUANTITIES,
    changed,
    chosen,
    value_of,
)
from molexa_core.reduction.calibration.spectrometer import (
    SpectrometerCalibration,
    calibrate_spectrometer,
)
from molexa_core.reduction.calibration.time_peaks import TimePeak, from_peaks, refined
from tests.fakes.root_runs import fly, make_channel, make_setup

WATER = load_channel(find("channels", "water", ".yaml"))
NITROGEN = load_channel(find("channels", "nitrogen", ".yaml"))
WRONG = {
    "time_zero": 5.0,
    "field": 0.02,
    "centre_x": 1.0,
    "centre_y": -1.0,
    "rotation": 3.0,
    "jet": 200.0,
}


def setup_of(**blocks: object) -> Setup:
    values: dict[str, object] = {
        "spectrometer": {"regions": [{"length_mm": 110.0, "field_v_per_cm": 250.0}]},
        "detection_efficiency": 0.9,
        "virtual": {"molecules_per_shot": 0.5},
    }
    return parse_settings(Setup, values | blocks, where="setup")


TRUTH = setup_of()


@pytest.fixture(scope="module")
def water() -> Hits:
    return mock(WATER, 8_000, setup=TRUTH, seed=11).hits


@pytest.fixture(scope="module")
def calibrated(water: Hits) -> SpectrometerCalibration:
    return calibrate_spectrometer([water], [WATER], changed(TRUTH, WRONG))


def pulls(found: SpectrometerCalibration, truth: Setup) -> dict[str, float]:
    return {
        one.name: (one.after - value_of(truth, one.name)) / one.error
        for one in found.findings
        if one.error is not None
    }


def test_a_wrong_setup_is_put_right(calibrated: SpectrometerCalibration) -> None:
    assert set(pulls(calibrated, TRUTH)) == set(WRONG)
    assert max(abs(value) for value in pulls(calibrated, TRUTH).values()) < 4.0
    errors = {one.name: one.error for one in calibrated.findings}
    # the bars for 1e5 coincidences, scaled to the 4000 of this run
    assert errors["time_zero"] < 0.5
    assert errors["field"] < 0.0025 * 250
    assert errors["centre_x"] < 0.25
    assert errors["rotation"] < 0.5
    assert errors["jet"] < 100.0
    assert calibrated.probability > 1e-4
    assert not calibrated.warnings


def test_what_one_run_cannot_tell_is_said(calibrated: SpectrometerCalibration) -> None:
    said = " ".join(calibrated.not_determined)
    assert "mirror image" in said
    assert "taken as given: the lengths" in said


def test_the_line_of_the_residual_gas_shows_the_light(water: Hits) -> None:
    turned = changed(TRUTH, {"rotation": 3.0})
    line = beam_line([water], turned)
    assert line is not None
    assert line.tilt_deg(turned) == pytest.approx(3.0, abs=5 * line.error_deg)
    assert line.error_deg < 0.2


def test_without_a_jet_and_a_line_the_rotation_is_not_determined() -> None:
    truth = setup_of(
        jet={"velocity_m_per_s": 0.0}, virtual={"molecules_per_shot": 0.5, "residual_gas": []}
    )
    hits = mock(WATER, 4000, setup=truth, seed=2).hits
    found = calibrate_spectrometer([hits], [WATER], changed(truth, {"rotation": 2.0}))
    by_name = {one.name: one for one in found.findings}
    assert by_name["rotation"].error is None
    assert any("not determined: rotation" in text for text in found.not_determined)
    assert by_name["field"].error is not None


@pytest.mark.slow
def test_lengths_and_field_are_free_together(water: Hits) -> None:
    found = calibrate_spectrometer(
        [water], [WATER], changed(TRUTH, {"field": 0.02, "lengths": 0.01}), free=("lengths",)
    )
    assert max(abs(value) for value in pulls(found, TRUTH).values()) < 4.0
    place = {name: number for number, name in enumerate(found.free)}
    assert found.correlations[place["field"], place["lengths"]] > 0.9
    of = found.setup.spectrometer.regions[0]
    assert of.length_mm / of.field_v_per_cm == pytest.approx(110.0 / 250.0, rel=1e-3)


@pytest.mark.slow
def test_two_channels_at_once() -> None:
    truth = setup_of(virtual={"molecules_per_shot": 0.4})
    both = Hits.concatenate(
        [
            mock(WATER, 6000, setup=truth, seed=5).hits,
            mock(NITROGEN, 6000, setup=truth, seed=6).hits,
        ]
    )
    found = calibrate_spectrometer([both], [WATER, NITROGEN], changed(truth, WRONG))
    assert set(found.coincidences) == {"water", "nitrogen"}
    assert max(abs(value) for value in pulls(found, truth).values()) < 4.0


@pytest.mark.slow
def test_a_magnetic_field_is_found() -> None:
    regions = [{"length_mm": 110.0, "field_v_per_cm": 250.0}]
    truth = setup_of(spectrometer={"regions": regions, "magnetic_field_gauss": 40.0})
    hits = mock(WATER, 6000, setup=truth, seed=3).hits
    found = calibrate_spectrometer([hits], [WATER], changed(truth, {"magnetic_field": -20.0}))
    assert abs(pulls(found, truth)["magnetic_field"]) < 4.0
    assert not any("mirror" in text for text in found.not_determined)


@pytest.mark.slow
def test_a_quantity_taken_as_given_that_is_wrong_is_warned_about(water: Hits) -> None:
    found = calibrate_spectrometer([water], [WATER], changed(TRUTH, {"lengths": 0.04}))
    assert "no values of the free quantities" in found.warnings[0]


def test_two_peaks_fix_time_zero_and_field() -> None:
    start = changed(TRUTH, {"field": 0.3, "time_zero": -40.0})
    truth = changed(TRUTH, {"time_zero": 37.0})
    peaks = []
    for name in ("H+", "O+"):
        ion = parse_ion(name)
        time = 37.0 + float(flight_time(0.0, 1, ion.mass, truth.spectrometer))
        peaks.append(TimePeak(name, time, 0.1))
    found, said = from_peaks(start, peaks)
    assert found.calibration.time_zero_ns == pytest.approx(37.0, abs=1e-9)
    assert found.spectrometer.regions[0].field_v_per_cm == pytest.approx(250.0, rel=1e-9)
    assert not said
    alone, said = from_peaks(start, peaks[:1])
    assert "fixes only one of time zero and electric field" in said[0]
    assert alone.calibration.time_zero_ns == start.calibration.time_zero_ns


def test_a_newcomer_who_knows_the_peaks_only(water: Hits) -> None:
    ions = {name: parse_ion(name) for name in ("H+", "O+")}
    peaks = {
        name: round(float(flight_time(0.0, 1, ion.mass, TRUTH.spectrometer)), 0)
        for name, ion in ions.items()
    }
    start = changed(TRUTH, {"field": 0.5, "time_zero": 80.0, "rotation": 90.0, "jet": -400.0})
    found = calibrate_spectrometer([water], [WATER], start, peaks=peaks)
    assert any("axes" in text for text in found.remarks)
    assert max(abs(value) for value in pulls(found, TRUTH).values()) < 4.0


def test_peaks_are_found_near_the_times_given(water: Hits) -> None:
    ion = parse_ion("O+")
    time = float(flight_time(0.0, 1, ion.mass, TRUTH.spectrometer))
    (peak,) = refined([water], {"O+": time + 8.0})
    assert peak.time_ns == pytest.approx(time, abs=1.5)


@pytest.mark.slow
def test_the_voltages_of_a_flight_map_are_found() -> None:
    ion = parse_ion("O+")
    pz = np.linspace(-300.0, 300.0, 161)
    table = {
        "ion": "O+",
        "pz_au": pz.tolist(),
        "time_ns": flight_time(pz, ion.charge, ion.mass, TRUTH.spectrometer).tolist(),
        "position_scale": [0.8],
    }
    truth = setup_of(spectrometer={"flight_map": table})
    hits = mock(WATER, 6000, setup=truth, seed=2).hits
    found = calibrate_spectrometer([hits], [WATER], changed(truth, {"field": 0.02, "jet": 150.0}))
    field = next(one for one in found.findings if one.name == "field")
    assert field.after == pytest.approx(np.exp(-0.02), abs=1e-3)
    assert field.unit == "of the map"


@pytest.mark.slow
def test_an_image_that_is_mirrored_is_told_by_the_magnetic_field() -> None:
    regions = [{"length_mm": 110.0, "field_v_per_cm": 250.0}]
    truth = setup_of(spectrometer={"regions": regions, "magnetic_field_gauss": 60.0})
    hits = mock(WATER, 6000, setup=truth, seed=3).hits
    mirrored = Hits(0, hits.offsets, -hits.x_mm, hits.y_mm, hits.t_ns, hits.method)
    found = calibrate_spectrometer([mirrored], [WATER], truth)
    assert any("mirrored" in text for text in found.warnings)


def test_changes_of_all_voltages_of_a_map_are_those_of_the_regions() -> None:
    ion = parse_ion("N2+")
    pz = np.linspace(-200.0, 200.0, 161)
    table = {
        "ion": "N2+",
        "pz_au": pz.tolist(),
        "time_ns": flight_time(pz, ion.charge, ion.mass, TRUTH.spectrometer).tolist(),
    }
    mapped = setup_of(spectrometer={"flight_map": table})
    for name in ("H+", "O+"):
        one = parse_ion(name)
        times = [
            flight_time([-5.0, 0.0, 9.0], 1, one.mass, changed(setup, {"field": 0.1}).spectrometer)
            for setup in (TRUTH, mapped)
        ]
        np.testing.assert_allclose(times[1], times[0], rtol=1e-7)


def test_every_quantity_is_changed_and_read() -> None:
    for name, one in QUANTITIES.items():
        setup = changed(TRUTH, {name: 0.5 * one.plausible})
        expected = value_of(TRUTH, name)
        expected = (
            expected * np.exp(0.5 * one.plausible)
            if one.relative
            else (expected + 0.5 * one.plausible)
        )
        assert value_of(setup, name) == pytest.approx(expected, rel=1e-12)


def test_faults_are_told() -> None:
    with pytest.raises(UsageError, match="unknown quantity 'lenghts'"):
        chosen(TRUTH, ("lenghts",), ())
    with pytest.raises(UsageError, match="free and fixed"):
        chosen(TRUTH, ("jet",), ("jet",))
    values = WATER.model_dump()
    values["ions"][1]["detected"] = 1
    partial = parse_settings(Channel, values, where="channel")
    hits = mock(WATER, 50, setup=TRUTH, seed=1).hits
    with pytest.raises(UsageError, match="does not ask for all ions"):
        calibrate_spectrometer([hits], [partial], TRUTH)
    with pytest.raises(ComputationError, match="too few|no coincidence"):
        calibrate_spectrometer([hits], [WATER], TRUTH)


def pairs_of_nitrogen(aligned: float) -> Hits:
    """Hits of N+ pairs that share 12 eV and prefer the z axis, with errors of the detector."""
    random = np.random.default_rng(5)
    ion, setup, n = parse_ion("N+"), make_setup(), 4000
    size = np.sqrt(random.normal(12.0, 0.8, n) / HARTREE_EV * ion.mass)
    cosine = random.uniform(-1.0, 1.0, n)
    cosine = np.sign(cosine) * np.abs(cosine) ** (1.0 / (1.0 + aligned))
    angle = random.uniform(0.0, 2.0 * np.pi, n)
    sine = np.sqrt(1.0 - cosine**2)
    one = size[:, None] * np.stack([sine * np.cos(angle), sine * np.sin(angle), cosine], axis=1)
    x, y, t = (part.reshape(-1) for part in fly(np.stack([one, -one], axis=1), [ion] * 2, setup))
    noise = random.normal(size=(3, 2 * n)) * np.array([[0.1], [0.1], [0.3]])
    offsets = np.arange(n + 1) * 2
    return Hits(0, offsets, x + noise[0], y + noise[1], t + noise[2], np.zeros(2 * n, np.int16))


@pytest.mark.slow
def test_one_kind_of_ion_tells_centre_and_jet_only_together_also_of_aligned_molecules() -> None:
    channel, truth = make_channel(("N+", 2), max_momentum=250.0), make_setup()
    start = changed(truth, {"time_zero": 3.0, "field": 0.01, "jet": 100.0})
    found = calibrate_spectrometer([pairs_of_nitrogen(2.0)], [channel], start)
    by_name = {one.name: one for one in found.findings}
    for name in ("jet", "centre_y", "rotation"):
        assert by_name[name].error is None, name
    assert max(abs(value) for value in pulls(found, truth).values()) < 4.0
    told = " ".join(found.not_determined)
    assert "jet velocity" in told
    assert "centre along y" in told
    assert any("directions of flight are not uniform" in text for text in found.remarks)
    # with the jet known, the centre is found
    fixed = calibrate_spectrometer(
        [pairs_of_nitrogen(2.0)], [channel], changed(start, {"jet": -100.0}), fixed=("jet",)
    )
    assert max(abs(value) for value in pulls(fixed, truth).values()) < 4.0
    assert {one.name: one for one in fixed.findings}["centre_y"].error is not None
