"""What reduce says of a run that is damaged, empty after its filters, or odd."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from molexa_core.base.errors import InputFileError, MolexaError, NoEventsError
from molexa_core.base.progress import CollectingProgress
from molexa_core.base.settings import Setup
from molexa_core.base.tables import Edges, Hits
from molexa_core.io.lmf import LmfFile
from molexa_core.io.lmf.run import write_lmf_run
from molexa_core.io.results.events import read_events
from molexa_core.io.run import write_hits
from molexa_core.pipeline.chain.reduce import reduce
from molexa_core.pipeline.runs.mock import default_setup
from tests.fakes.root_runs import FakeRun, make_channel, make_run, make_setup

SETUP = make_setup()
WATER = make_channel(("O+", 1), ("H+", 2))


@pytest.fixture(scope="module")
def run() -> FakeRun:
    return make_run(("O+", "H+", "H+"), SETUP, shots=6000, per_shot=0.6)


def changed(**detector: float) -> Setup:
    return SETUP.model_copy(update={"detector": SETUP.detector.model_copy(update=detector)})


def test_filters_that_left_nothing_are_named(run: FakeRun) -> None:
    late = SETUP.model_copy(
        update={"calibration": SETUP.calibration.model_copy(update={"time_zero_ns": 9e4})}
    )
    for setup, said in (
        (changed(radius_mm=1e-3), r"off the detector \(radius_mm 0\.001\)"),
        (late, r"before the light pulse \(time_zero_ns 90000\)"),
    ):
        with pytest.raises(InputFileError, match=f"no hit of the run can be an ion .*{said}"):
            reduce(run.chunks(6000), WATER, setup)
    poor = [Hits(0, chunk.offsets, chunk.x_mm, chunk.y_mm, chunk.t_ns,
                 np.full(chunk.n_hits, 17, np.int16), chunk.tags)
            for chunk in run.chunks(6000)]  # fmt: skip
    with pytest.raises(InputFileError, match=r"made from too few signals \(max_method 10\)"):
        reduce(poor, WATER, changed(max_method=10))


def test_units_that_cannot_be_are_also_said_where_no_gate_is_found(run: FakeRun) -> None:
    """Metres, and a channel of which there is no coincidence."""
    small = [Hits(chunk.first_shot, chunk.offsets, chunk.x_mm / 1000, chunk.y_mm / 1000, chunk.t_ns,
                  chunk.method, chunk.tags) for chunk in run.chunks(6000)]  # fmt: skip
    progress = CollectingProgress()
    with pytest.raises(MolexaError):
        reduce(small, make_channel(("Xe+", 2)), SETUP, progress=progress)
    assert any("are the positions in mm?" in text for text in progress.warned)


def test_windows_are_named_with_the_hits_in_them() -> None:
    lonely = make_run(("H+", "H+", "H+"), SETUP, shots=500)
    with pytest.raises(NoEventsError) as caught:
        reduce(lonely.chunks(500), WATER, SETUP)
    hits = sum(chunk.n_hits for chunk in lonely.chunks(500))
    assert "O+" in str(caught.value.do)
    assert ": no hits" in str(caught.value.do)
    assert f": {hits} hits" in str(caught.value.do)


def test_doubled_hits_are_a_warning_in_the_summary_and_in_the_file(
    run: FakeRun, tmp_path: Path
) -> None:
    twice = Hits(
        0, 2 * run.hits.offsets, *(np.repeat(column, 2) for column in
        (run.hits.x_mm, run.hits.y_mm, run.hits.t_ns, run.hits.method)), run.hits.tags,
    )  # fmt: skip
    progress = CollectingProgress()
    found = reduce([twice], WATER, SETUP, progress=progress)
    assert any("a second time, to the last digit" in told for told in found.summary.warnings)
    assert found.summary.health["hits_twice_exactly"] == run.hits.n_hits
    assert progress.warned == list(found.summary.warnings)
    meta = {"setup": SETUP.model_dump(mode="json"), "channel": WATER.model_dump(mode="json")}
    write_hits(tmp_path / "run.h5", [twice], "hdf5", slots=64, meta=meta)
    path = tmp_path / "a.events.h5"
    summary = reduce([tmp_path / "run.h5"], out=path).summary
    table, _ = read_events(path)
    assert list(summary.warnings) == table.meta["warnings"]
    assert any("(50 %)" in told for told in summary.warnings)


def test_losses_are_said_where_the_reduction_fails(tmp_path: Path) -> None:
    setup = default_setup()
    meta = {"setup": setup.model_dump(mode="json"), "channel": WATER.model_dump(mode="json")}
    edges = Edges(0, 7 * np.arange(101), np.tile(np.arange(7, dtype=np.int16), 100),
                  np.tile(500.0 + 20 * np.arange(7), 100))  # fmt: skip
    path = tmp_path / "run.lmf"
    write_lmf_run(path, [edges], raw=False, meta=meta)
    places = [int(at) for block in LmfFile(path) for at in block.position]
    data = bytearray(path.read_bytes())
    for event in (10, 11, 40):
        data[places[event] + 7] = 0x55
    path.write_bytes(data)
    progress = CollectingProgress()
    with pytest.raises(MolexaError):
        reduce([path], progress=progress, out=tmp_path / "a.events.h5")
    (told,) = progress.warned
    assert "3 of the 100 events stated in the header lost" in told
    assert not (tmp_path / "a.events.h5").exists()
