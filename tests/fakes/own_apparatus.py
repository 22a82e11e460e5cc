"""A run of OCS as another group stores it: two field regions, a tree and columns of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import uproot

from molexa_core.base.settings import Channel, Setup, parse_settings
from molexa_core.pipeline.runs.mock import mock

SLOTS = 8
NOT_THERE = -9999.0
TRUE_SETUP: dict[str, Any] = {
    "name": "theirs",
    "spectrometer": {
        "regions": [
            {"length_mm": 40.5, "field_v_per_cm": 151.1},
            {"length_mm": 81.0, "field_v_per_cm": 423.2},
        ]
    },
    "detector": {"radius_mm": 40.0},
    "calibration": {"time_zero_ns": 21.7, "centre_x_mm": 0.4, "centre_y_mm": -0.8},
    "jet": {"velocity_m_per_s": 820.0},
}
"""What the drawing of the apparatus does not say: time zero, centre, and fields to a per cent."""


def write_their_run(path: Path, shots: int, seed: int) -> None:
    """Simulate OCS into O2+ C2+ S2+ and write it as a ROOT tree of another program."""
    channel = parse_settings(
        Channel,
        {
            "name": "ocs",
            "molecule": "ocs",
            "ions": "O2+ C2+ S2+",
            "gates": {"max_momentum": 300.0},
        },
        where="test",
    )
    setup = parse_settings(Setup, TRUE_SETUP, where="test")
    hits = mock(channel, shots, setup=setup, seed=seed).hits
    counts = np.diff(hits.offsets)
    columns: dict[str, Any] = {
        "bunch": np.arange(shots),
        "nIon": np.minimum(counts, SLOTS).astype(np.int32),
    }
    for slot in range(SLOTS):
        there = counts > slot
        rows = hits.offsets[:-1][there] + slot
        for name, values in (("Xion", hits.x_mm), ("Yion", hits.y_mm), ("Tion", hits.t_ns)):
            column = np.full(shots, NOT_THERE)
            column[there] = values[rows]
            columns[f"{name}{slot + 1}"] = column
    with uproot.recreate(path) as file:
        tree = file.mktree("sorted", {name: column.dtype for name, column in columns.items()})
        tree.extend(columns)
