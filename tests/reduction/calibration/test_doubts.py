"""What `reduce` says of wrong calibrations, and that it is silent about a right one."""

from __future__ import annotations

import numpy as np
import pytest

from molexa_core.base.progress import CollectingProgress
from molexa_core.base.settings import Setup, load_channel, parse_settings
from molexa_core.base.storage.resources import find
from molexa_core.base.tables import Hits
from molexa_core.pipeline.chain.reduce import reduce
from molexa_core.pipeline.runs.mock import mock
from molexa_core.reduction.calibration.moment_fit import Linear
from molexa_core.reduction.calibration.quantities import changed

WATER = load_channel(find("channels", "water", ".yaml"))
TRUTH = parse_settings(
    Setup,
    {
        "spectrometer": {"regions": [{"length_mm": 110.0, "field_v_per_cm": 250.0}]},
        "detection_efficiency": 0.8,
        "virtual": {"molecules_per_shot": 0.6},
    },
    where="setup",
)


@pytest.fixture(scope="module")
def water() -> Hits:
    return mock(WATER, 6000, setup=TRUTH, seed=21).hits


def said(hits: Hits, setup: Setup) -> tuple[list[str], list[str]]:
    progress = CollectingProgress()
    reduce([hits], WATER, setup, progress=progress)
    return progress.warned, progress.said


def test_a_right_setup_is_not_doubted_and_what_no_run_tells_is_said_once(water: Hits) -> None:
    warned, remarks = said(water, TRUTH)
    assert warned == []
    (unseen,) = [text for text in remarks if text.startswith("not determined by a single run")]
    assert "mirror image" in unseen


@pytest.mark.parametrize(
    ("changes", "likely"),
    [
        ({"time_zero": 4.0}, "time zero (-3.9"),
        ({"scale_x": 0.08}, "scale of x (-"),
        ({"field": 0.05, "lengths": 0.05}, "between z and the other axes"),
        ({"magnetic_field": 60.0}, "magnetic field (-"),
        ({"jet": -300.0}, "jet velocity"),
    ],
)
def test_a_wrong_setup_is_told_with_the_likely_cause(
    water: Hits, changes: dict[str, float], likely: str
) -> None:
    warned, _ = said(water, changed(TRUTH, changes))
    assert any(likely in text for text in warned), warned


def test_a_detector_smaller_than_the_image_is_told(water: Hits) -> None:
    values = TRUTH.model_dump() | {"detector": {"radius_mm": 14.0}}
    warned, _ = said(water, parse_settings(Setup, values, where="setup"))
    assert any("lie off the detector" in text for text in warned)


def test_no_quantity_explains_more_than_all_conditions_have(rng: np.random.Generator) -> None:
    """The reason why small contradictions need no derivatives."""
    slopes, root = rng.normal(size=(7, 4)), rng.normal(size=(7, 7))
    weight = root @ root.T
    for values in (rng.normal(size=7), 3.0 * slopes[:, 2]):
        found = Linear((), values, np.linalg.inv(weight), weight, slopes)
        assert found.explained.max() <= (values @ weight @ values) * (1.0 + 1e-12)
    assert found.explained[2] == pytest.approx(values @ weight @ values, rel=1e-12)
