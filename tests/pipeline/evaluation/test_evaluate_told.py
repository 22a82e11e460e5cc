"""Measurement of weights that are told the experiment: known posteriors, and a whole run."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from molexa_core.base.errors import UsageError
from molexa_core.base.forward_model import Pulse
from molexa_core.network.conditions import DATA_KINDS, QUANTITIES
from molexa_core.network.network import Network
from molexa_core.network.weights import save_weights
from molexa_core.pipeline.datasets.measurement_split import MeasuredPulse, measured_molecules
from molexa_core.pipeline.evaluation.evaluate_told import (
    DRAWS,
    TELLINGS,
    ToldMeasurement,
    _distances,
    evaluate_told,
    row_of,
    told_as,
)
from molexa_core.pipeline.explosions.told_inputs import AT
from molexa_core.pipeline.training.stream_entries import XRAY, StreamEntries, values_of
from tests.fakes.networks import small_settings

LIGHT = ("H", "C", "N", "O")
PLAN = ToldMeasurement(
    pulses=(MeasuredPulse("A", Pulse(2000.0, 1.0, 3.0, 1.0)),),
    geometries=1,
    entries=1,
    atoms=(2, 2),
    elements=LIGHT,
)


def _entries(count: int, seed: int = 1) -> StreamEntries:
    """Diatomic molecules of various lengths, told an X-ray pulse."""
    draw = torch.Generator().manual_seed(seed)
    room = StreamEntries.room(count, 2, "cpu")
    length = 2.0 + torch.rand(count, generator=draw)
    positions = torch.zeros(count, 2, 3)
    positions[:, 0, 0], positions[:, 1, 0] = 0.5 * length, -0.5 * length
    values, applies = values_of(
        count,
        {
            "photon_ev": np.full(count, 2000.0),
            "fluence_um2": np.full(count, 1e12),
            "duration_fs": np.full(count, 15.0),
            "transfer_time_fs": np.full(count, 1.0),
            "shake_off": np.zeros(count),
            "double_auger": np.zeros(count),
        },
    )
    return replace(
        room,
        numbers=torch.tensor([[6, 8]], dtype=torch.int8).expand(count, 2),
        charges=torch.ones(count, 2, dtype=torch.int8),
        positions=positions,
        momenta=100.0 * positions,
        count=torch.full((count,), 100.0),
        kind=torch.full((count,), XRAY, dtype=torch.int8),
        values=values,
        applies=applies,
        data=torch.full((count,), DATA_KINDS.index("still"), dtype=torch.int8),
        molecule=torch.arange(count) // 10,
    )


def _drawn(entries: StreamEntries, spread: float, error: float) -> torch.Tensor:
    """Samples with a spread about centres with an error, along the molecule."""
    draw = torch.Generator().manual_seed(5)
    count = len(entries)
    off = error * torch.randn(count, 1, generator=draw)
    off = off + spread * torch.randn(count, DRAWS, generator=draw)
    found = entries.positions[:, None].repeat(1, DRAWS, 1, 1)
    found[:, :, 0, 0] += 0.5 * off
    found[:, :, 1, 0] -= 0.5 * off
    return found


@pytest.mark.parametrize(("spread", "inside"), [(0.1, 0.68), (0.05, 0.38)])
def test_honest_samples_are_found_honest(spread: float, inside: float) -> None:
    entries = _entries(4000)
    row = row_of(_distances(entries, _drawn(entries, spread, 0.1), torch.arange(4000)))
    assert row["nominal"] == pytest.approx(0.68)
    assert row["inside"] == pytest.approx(inside, abs=0.025)
    assert row["ratio"] == pytest.approx(0.1 / spread, rel=0.05)
    assert row["mean"] == pytest.approx(
        np.hypot(0.1, spread / 8**0.5) * (2.0 / np.pi) ** 0.5, rel=0.05
    )
    assert row["low"]["inside"] < row["inside"] < row["high"]["inside"]
    assert row["molecules"] == 400


def test_what_is_told_in_a_measurement() -> None:
    entries, draw = _entries(5000), torch.Generator().manual_seed(1)
    told = {one: told_as(entries, one, draw) for one in TELLINGS}
    everything = told["everything"]
    assert everything.known[:, AT["transfer_time_fs"]].all()
    assert not everything.photons.isnan().any()
    pulse = told["pulse"]
    assert pulse.known[:, AT["duration_fs"]].all()
    assert not pulse.known[:, AT["transfer_time_fs"]].any()
    assert (pulse.choices == -1).all()
    assert not told["kind"].known.any()
    assert (told["kind"].kind == XRAY).all()
    assert (told["nothing"].kind == -1).all()
    rough, place = told["30 %"], AT["duration_fs"]
    off = (rough.values - everything.values)[:, place] * QUANTITIES[place].scale
    assert off.std() == pytest.approx(0.3, rel=0.05)
    torch.testing.assert_close(rough.widths[:, place], torch.full((5000,), 0.3))
    assert not rough.widths[:, AT["photon_ev"]].any()


@pytest.mark.slow
def test_weights_are_measured_on_held_out_molecules(tmp_path: Path) -> None:
    torch.manual_seed(1)
    settings = replace(small_settings("atoms"), told=True, elements=LIGHT)
    held = sorted(measured_molecules(LIGHT))
    save_weights(
        *(tmp_path, "small", Network(settings)),
        data={"held_out": {"molecules": held}},
        training={},
        metrics={},
    )
    out = tmp_path / "measured.json"
    found = evaluate_told(str(tmp_path / "small.json"), PLAN, device="cpu", out=out)
    assert set(found["pulses"]["A"]) == set(TELLINGS)
    row = found["pulses"]["A"]["everything"]["2"]
    assert row["entries"] >= 2
    assert row["ratio"] > 0
    assert set(found["conditions"]["molecules"]) <= set(held)
    written = json.loads(out.read_text())
    assert written["pulses"]["A"]["everything"]["2"] == row
    with pytest.raises(UsageError, match="too few"):
        evaluate_told(str(tmp_path / "small.json"), replace(PLAN, samples=2), device="cpu")
