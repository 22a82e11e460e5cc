"""A partial channel from events to mean momenta of all ions, file by file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from molexa_core.base.fields import ENERGY, MOMENTUM, PARTIAL, TAG_TURN
from molexa_core.base.progress import CollectingProgress
from molexa_core.base.settings import parse_settings
from molexa_core.base.settings.channel import Channel
from molexa_core.base.storage.provenance import Provenance
from molexa_core.io.results.channel_csv import read_channel_csv
from molexa_core.io.results.events import read_events, write_events
from molexa_core.pipeline.chain.align import align
from molexa_core.pipeline.chain.centroid import centroid
from molexa_core.pipeline.chain.channel_limits import channel_of_record, require_complete
from molexa_core.pipeline.chain.reduce import reduce
from molexa_core.pipeline.runs.mock import default_setup, mock, with_virtual
from tests.fakes.partial_events import angular, channel_of, partial_events


def test_files_of_a_partial_channel(tmp_path: Path, rng: np.random.Generator) -> None:
    molecule = angular()
    channel = channel_of(molecule, {"H+": 1})
    table = partial_events(molecule, channel, rng, molecules=500)
    source = tmp_path / "run.events.h5"
    settings = {"channel": channel.model_dump(mode="json")}
    write_events(source, table, Provenance.of("test", settings=settings))
    aligned = tmp_path / "run.aligned.h5"
    align(source, out=aligned)
    assert set(TAG_TURN) <= set(read_events(aligned)[0].tags)
    progress = CollectingProgress()
    written = tmp_path / "channel.csv"
    centroid(aligned, out=written, progress=progress)
    assert any("true events of" in text for text in progress.said)
    rows, record = read_channel_csv(written)
    assert rows["ion"].tolist() == ["O+", "C+", "H+", "H+", "H+"]
    np.testing.assert_allclose(rows[list(MOMENTUM)].sum(), 0.0, atol=1e-6)
    assert rows.attrs[PARTIAL]["sum_share"] < 0.02
    assert 0.97 < rows.attrs[ENERGY]["ratio"] < 1.01
    require_complete(channel_of_record(record), written, ions=rows["ion"].tolist())


@pytest.mark.slow
def test_a_virtual_run_of_methanol_with_one_proton_detected() -> None:
    ions = [{"ion": "O+"}, {"ion": "C+"}, {"ion": "H+", "count": 4, "detected": 1}]
    values = {"name": "methanol", "molecule": "methanol", "ions": ions}
    channel = parse_settings(Channel, values, where="test")
    setup = with_virtual(default_setup(), {"molecules_per_shot": 0.3})
    setup = setup.model_copy(update={"detection_efficiency": 0.4})
    run = mock(channel, 30_000, setup=setup, seed=2)
    rows = centroid(align(reduce([run.hits], channel, setup).table, channel=channel).table)
    found = rows[list(MOMENTUM)].to_numpy()
    mass = np.array([ion.mass for ion in channel.all_ions])
    share = mass / mass.sum()
    true = run.truth.momentum
    true = true - share[:, None] * true.sum(axis=1, keepdims=True)
    # Sizes and the angle between the heavy ions do not depend on a frame.
    size = np.linalg.norm(true, axis=2).mean(axis=0)
    np.testing.assert_allclose(np.linalg.norm(found[:2], axis=1), size[:2], rtol=0.02)
    protons = np.linalg.norm(found[2:], axis=1)
    np.testing.assert_allclose(np.sort(protons), np.sort(size[2:]), rtol=0.03)
    cosine = (true[:, 0] * true[:, 1]).sum(axis=1) / np.prod(
        np.linalg.norm(true[:, :2], axis=2), axis=1
    )
    angle = np.degrees(np.arccos(cosine)).mean()
    of_means = found[0] @ found[1] / np.prod(np.linalg.norm(found[:2], axis=1))
    assert np.degrees(np.arccos(of_means)) == pytest.approx(angle, abs=4.0)
