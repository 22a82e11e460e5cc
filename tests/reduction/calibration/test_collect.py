"""Which coincidences a calibration uses."""

from __future__ import annotations

import numpy as np
import pytest

from molexa_core.base.settings import Channel, Setup, load_channel, parse_settings
from molexa_core.base.storage.resources import find
from molexa_core.base.tables import Hits
from molexa_core.pipeline.runs.mock import mock
from molexa_core.reduction.calibration.collect import collect
from molexa_core.reduction.coincidences import Search


def water() -> Channel:
    return load_channel(find("channels", "water", ".yaml"))


def setup_of(**virtual: object) -> Setup:
    regions = [{"length_mm": 110.0, "field_v_per_cm": 250.0}]
    values = {"spectrometer": {"regions": regions}, "virtual": virtual}
    return parse_settings(Setup, values, where="setup")


def crowded_in(hits: Hits, setup: Setup) -> set[float]:
    """Times of the hits of shots in which more than three hits lie in the windows of water."""
    windows = Search(water(), setup).windows.values()
    times: set[float] = set()
    for shot in range(hits.n_shots):
        own = hits.t_ns[hits.offsets[shot] : hits.offsets[shot + 1]]
        if sum(any(first <= one <= last for first, last in windows) for one in own) > 3:
            times |= set(map(float, own))
    return times


@pytest.mark.slow
@pytest.mark.parametrize(("rate", "alone"), [(0.5, True), (6.0, False)])
def test_crowded_shots_are_left_out_where_enough_others_remain(rate: float, alone: bool) -> None:
    setup = setup_of(molecules_per_shot=rate, efficiency={"O+": 0.8, "H+": 0.8})
    hits = mock(water(), round(20_000 / min(rate, 1.0) / max(rate, 1.0)), setup=setup, seed=4).hits
    sample = collect([hits], water(), setup, most=10**6)
    used = set(map(float, sample.t_ns.ravel()))
    assert used <= set(map(float, hits.t_ns))
    crowded = used & crowded_in(hits, setup)
    # a few of the further hits are outside the active area and not seen
    assert len(crowded) < 0.01 * len(used) if alone else len(crowded) > 0.5 * len(used)
    assert len(sample) > 700
    assert np.isfinite(sample.momenta(setup)).any()
