"""Structures of single events in the report."""

from __future__ import annotations

import numpy as np
import pytest

from molexa_core.base.matter.ions import parse_ion
from molexa_core.base.units import BOHR_ANGSTROM
from molexa_core.io.results.structures import EventStructures, StructuresFile
from molexa_core.pipeline.chain.report_parts.report_events import single_events
from molexa_core.pipeline.reconstruction.event_means import statistics


def test_histograms_lie_where_the_mean_over_all_explosions_is() -> None:
    """Events are stored for one explosion; others shift the mean of all by 0.3 bohr."""
    rng = np.random.default_rng(7)
    count = 400
    lengths, weight = rng.normal(3.0, 0.1, count), rng.uniform(0.5, 1.0, count)
    positions = np.zeros((count, 2, 3))
    positions[:, 1, 0] = lengths
    row = statistics(
        "C+-O+", (0, 1), lengths, weight, bond=True, shift=(0.01, 0.0, 0.0), common=(0.3, 0.2)
    )
    ions = (parse_ion("C+"), parse_ion("O+"))
    events = EventStructures(ions, np.arange(count), positions, positions, np.zeros(count), weight)
    file = StructuresFile(events, {"distances_bohr": [row], "angles_degree": []}, (), None)
    page = single_events(file)
    assert page is not None
    (shown,) = page.rows
    mean = np.average(shown.values, weights=shown.weight)
    assert mean == pytest.approx(shown.mean + BOHR_ANGSTROM * 0.01, abs=1e-9)
    assert shown.quantiles[0] < shown.mean < shown.quantiles[2]
    low, high = np.quantile(shown.values, [0.01, 0.99])
    assert low < shown.mean < high
