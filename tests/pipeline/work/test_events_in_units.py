"""Single events inverted in units of work: the same bits by however many processes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from molexa_core.base.errors import InputFileError
from molexa_core.base.options.reconstruct_options import ReconstructOptions
from molexa_core.base.options.work_options import HERE, WorkOptions
from molexa_core.base.progress import CollectingProgress
from molexa_core.base.storage.provenance import Provenance
from molexa_core.io.results.events import write_events
from molexa_core.pipeline.explosions.assumed import Changes
from molexa_core.pipeline.reconstruction import event_units
from molexa_core.pipeline.reconstruction.events_answer import EventsAnswer, answer_of_events
from molexa_core.pipeline.work.unit import Content
from tests.pipeline.reconstruction.test_reconstruct_events import exploded

EVENTS = 2300
"""Three units of one block."""
TOLD = Changes("classical", {"classical": {"tau_fs": 45.0}})


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Events of water, enough for three units of one block."""
    monkeypatch.setattr(event_units, "UNIT_EVENTS", event_units.BLOCK)
    monkeypatch.setattr(event_units, "SMALL_UNITS", 2)
    events, _ = exploded(EVENTS, 0.1)
    path = tmp_path / "run.events.h5"
    write_events(path, events, Provenance.of("a test"))
    return path


def answer_of(
    source: Path, work: WorkOptions = HERE, progress: CollectingProgress | None = None
) -> EventsAnswer:
    return answer_of_events(
        source,
        options=ReconstructOptions(samples=4, search=2),
        out=source.with_name("answer.h5"),
        changes=TOLD,
        centroids=False,
        work=work,
        progress=progress or CollectingProgress(),
    )


def bits_of(answer: EventsAnswer) -> str:
    """A digest of every number."""
    found = answer.found
    state = hashlib.sha256(repr(found.to_dict()).encode())
    for name in ("positions", "uncertainty", "closure", "column", "event_id"):
        state.update(np.ascontiguousarray(getattr(found.structures, name)).tobytes())
    return state.hexdigest()


def test_units_give_the_bits_of_one_go(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = source.with_name("answer.h5.units")
    by_units = answer_of(source, WorkOptions(workers=1, keep_units=True))
    assert len(list(folder.glob("*.unit"))) >= 3
    assert len(by_units.found.structures) == EVENTS

    def never(*_: Any) -> None:
        msg = "computed again"
        raise AssertionError(msg)

    monkeypatch.setattr(event_units._Descending, "__call__", never)
    assert bits_of(answer_of(source, WorkOptions(workers=1))) == bits_of(by_units)
    assert not folder.exists()
    monkeypatch.setattr(event_units, "SMALL_UNITS", 1000)
    assert bits_of(answer_of(source)) == bits_of(by_units)


def test_a_unit_that_fails_is_told_and_the_rest_is_kept(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed: list[int] = []
    original = event_units._Descending.__call__

    def fails(self: Any, values: Mapping[str, Any]) -> Content:
        computed.append(values["first"])
        if values["first"] == event_units.BLOCK:
            raise InputFileError("damaged", where="its input")
        return original(self, values)

    progress = CollectingProgress()
    with monkeypatch.context() as patched:
        patched.setattr(event_units._Descending, "__call__", fails)
        with pytest.raises(InputFileError, match="damaged"):
            answer_of(source, WorkOptions(workers=1), progress)
    assert computed == [0, 1024, 2048]
    assert any("events 1024 to 2047: its input: damaged" in text for text in progress.warned)
    assert not source.with_name("answer.h5").exists()
    with monkeypatch.context() as patched:
        patched.setattr(event_units._Descending, "__call__", fails)
        lacking = answer_of(source, WorkOptions(workers=1, skip_failed=True))
    assert any("possible: events 1024 to 2047" in text for text in lacking.found.warnings)
    assert len(lacking.found.structures) + sum(lacking.found.left_out.values()) == EVENTS
    again = answer_of(source, WorkOptions(workers=1))
    assert len(again.found.structures) == EVENTS


@pytest.mark.slow
def test_two_and_three_processes_give_the_bits_of_one(source: Path) -> None:
    one = bits_of(answer_of(source, WorkOptions(workers=1)))
    assert bits_of(answer_of(source, WorkOptions(workers=2))) == one
    assert bits_of(answer_of(source, WorkOptions(workers=3))) == one
