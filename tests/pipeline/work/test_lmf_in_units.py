"""A list-mode run in units: it is looked through once, then read and sorted from many places."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from molexa_core.base.fields import TAG_TIMESTAMP
from molexa_core.base.options.work_options import WorkOptions
from molexa_core.base.progress import CollectingProgress
from molexa_core.base.tables import Edges
from molexa_core.io.lmf import LmfFile
from molexa_core.io.lmf import reader as lmf_reader
from molexa_core.io.lmf import run as lmf_run
from molexa_core.io.lmf.run import write_lmf_run
from molexa_core.pipeline.chain import reduce as stage
from molexa_core.pipeline.chain import reduce_units
from molexa_core.pipeline.chain.reduce import reduce
from tests.fakes.anodes import HEXANODE, PERFECT, anode, run_of
from tests.fakes.root_runs import make_channel, make_run, make_setup
from tests.fakes.units_runs import content_hash, write_settings

SHOTS = 60_000
"""Three stretches and a rest."""


@pytest.fixture
def small_units(monkeypatch: pytest.MonkeyPatch) -> None:
    """Units of one stretch, and places in small files."""
    monkeypatch.setattr(stage, "SMALL_UNITS", 2)
    monkeypatch.setattr(reduce_units, "SMALL_UNITS", 2)
    monkeypatch.setattr(reduce_units, "UNIT_BYTES", 1)
    monkeypatch.setattr(lmf_reader, "PLACE_BYTES", 2**16)
    monkeypatch.setattr(lmf_run, "PLACE_BYTES", 2**16)


def write_run(folder: Path, *, raw: bool) -> Path:
    """A run of signal edges of water, of which some events are damaged."""
    known = anode(HEXANODE)
    setup = make_setup(anode=known.model_dump(mode="json", exclude_unset=True))
    run = make_run(
        ("O+", "H+", "H+"), setup, shots=SHOTS, per_shot=0.2, efficiency=0.8, noise_per_shot=0.1,
        recoil=(1.8, 0.9, 0.6), seed=2,
    )  # fmt: skip
    signals = PERFECT.model_copy(update={"bin_ns": 0.025})
    shot = np.repeat(np.arange(SHOTS), np.diff(run.hits.offsets))
    hits = run.hits
    made = run_of(known, signals, shot, hits.x_mm, hits.y_mm, hits.t_ns, shots=SHOTS)
    edges = made.edges
    stamped = Edges(
        0, edges.offsets, edges.channel, edges.t_ns, {TAG_TIMESTAMP: np.arange(SHOTS) * 1e-3}
    )
    path = folder / "run.lmf"
    write_lmf_run(path, [stamped], raw=raw)
    places = [int(at) for block in LmfFile(path) for at in block.position]
    data = bytearray(path.read_bytes())
    for event in (100, 30_000):
        data[places[event] : places[event] + 8] = b"\x77" * 8
    path.write_bytes(data)
    write_settings(folder, make_channel(("O+", 1), ("H+", 2)), setup)
    return path


def reduced(path: Path, out: str, work: WorkOptions) -> Any:
    """The digest of the result, and the summary."""
    target = path.parent / out
    found = reduce(
        [path], channel="channel.yaml", setup="setup.yaml", out=target, work=work,
        progress=CollectingProgress(),
    )  # fmt: skip
    return content_hash(target), found.summary


@pytest.mark.slow
@pytest.mark.parametrize("raw", [False, True], ids=["decoded", "words"])
@pytest.mark.usefixtures("small_units")
def test_units_give_the_bits_of_one_go(
    working_folder: Path, monkeypatch: pytest.MonkeyPatch, raw: bool
) -> None:
    """Hits, gates, counts of the sorter, and what was lost."""
    path = write_run(working_folder, raw=raw)
    here = WorkOptions(workers=1, keep_units=True)
    one, told = reduced(path, "units.h5", here)
    assert len(list((working_folder / "units.h5.units").glob("*.unit"))) >= 4
    assert told.sorter["hits"] > 10_000
    assert told.false.true > 100
    assert any("2 fault(s)" in warning for warning in told.warnings)
    two, again = reduced(path, "two.h5", WorkOptions(workers=2))
    assert (one, told) == (two, again)
    monkeypatch.setattr(stage, "SMALL_UNITS", 1000)
    monkeypatch.setattr(reduce_units, "SMALL_UNITS", 10**9)
    whole, summary = reduced(path, "whole.h5", here)
    assert one == whole
    assert summary == told
