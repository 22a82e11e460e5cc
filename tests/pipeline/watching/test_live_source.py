"""Shots that are sent while they are taken, by a fake sender with the messages of Karabo bridge."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from molexa_core.base import interruption
from molexa_core.base.errors import InputFileError, UsageError
from molexa_core.base.tables import Hits
from molexa_core.pipeline.chain.reduce import reduce
from molexa_core.pipeline.watching.live_source import (
    TrainSource,
    hits_of_train,
    karabo_bridge,
    train_of_frames,
)
from molexa_core.pipeline.watching.watch import Watch, WatchOptions
from tests.fakes.root_runs import make_channel, make_run, make_setup

SETUP = make_setup()
WATER = make_channel(("O+", 1), ("H+", 2))
DETECTOR = "SQS_REMI_DLD6/DET/TOP:output"
PULSES, SLOTS = 50, 20


def unpack(data: bytes) -> Any:
    """Stands in for MessagePack."""
    return json.loads(data)


def frames_of(hits: Hits, pack: Any) -> list[bytes]:
    """A train as the bridge sends it: protocol 2.2."""
    arrays = {axis: np.full((hits.n_shots, SLOTS), np.nan) for axis in "xyt"}
    place = np.arange(hits.n_hits) - np.repeat(hits.offsets[:-1], hits.counts)
    rows = np.repeat(np.arange(hits.n_shots), hits.counts)
    for axis, column in zip("xyt", (hits.x_mm, hits.y_mm, hits.t_ns), strict=True):
        arrays[axis][rows, place] = column
    frames = [
        pack({"source": "SA3_XTD10_XGM/XGM/DOOCS", "content": "msgpack"}),
        pack({"pulseEnergy": 1.0}),
        pack({"source": DETECTOR, "content": "msgpack"}),
        pack({"timestamp": 5}),
    ]
    for axis, array in arrays.items():
        head = {"source": DETECTOR, "content": "array", "path": f"rec.hits.{axis}"}
        frames += [pack({**head, "dtype": "float64", "shape": array.shape}), array.tobytes()]
    return frames


def packed(values: Any) -> bytes:
    return json.dumps(values).encode()


@pytest.fixture(scope="module")
def hits() -> Hits:
    return make_run(["O+", "H+", "H+"], SETUP, shots=3000, recoil=(1.5, 1.0, 0.5)).hits


def same(one: Hits, other: Hits) -> None:
    for name in ("offsets", "x_mm", "y_mm", "t_ns"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def test_a_train_gives_its_hits(hits: Hits) -> None:
    some = hits.shots(100, 100 + PULSES)
    train = train_of_frames(frames_of(some, packed), unpack)
    assert train["SA3_XTD10_XGM/XGM/DOOCS"] == {"pulseEnergy": 1.0}
    same(hits_of_train(train, "TOP"), some)
    records = np.zeros((1, 2), [("x", "f8"), ("y", "f8"), ("t", "f8"), ("m", "i4")])
    records["x"][0, 1] = np.nan
    assert hits_of_train({DETECTOR: {"rec.hits": records}}, "TOP").counts.tolist() == [1]
    with pytest.raises(InputFileError, match="no sources"):
        hits_of_train(train, "BOTTOM")
    with pytest.raises(InputFileError, match="without content"):
        train_of_frames([b"{}"], unpack)


def test_a_live_watch_finds_what_a_reduction_finds(working_folder: Path, hits: Hits) -> None:
    chunks = list(hits.in_chunks(PULSES))
    waiting = [frames_of(chunk, packed) for chunk in chunks]
    ended: list[bool] = []

    def receive(_: float) -> Any:
        return train_of_frames(waiting.pop(0), unpack) if waiting else None

    for name, model in (("setup", SETUP), ("fake", WATER)):
        text = yaml.safe_dump(model.model_dump(mode="json", exclude_none=True))
        Path(f"{name}.yaml").write_text(text, encoding="utf-8")
    source = TrainSource("tcp://fake:1", "TOP", receive, lambda: ended.append(True))
    options = WatchOptions(working_folder, channel="fake.yaml", setup="setup.yaml", structure=False)
    last = Watch(options, lambda _: None, live=source).run(once=True)
    whole = reduce([hits], WATER, SETUP, mixing=False)
    assert last["shots"] == 3000
    assert last["coincidences"] == whole.summary.coincidences
    assert ended == [True]
    assert not interruption.requested()
    with pytest.raises(UsageError, match="does not tell"):
        Watch(WatchOptions(working_folder), lambda _: None, live=source).run(once=True)


def test_a_real_bridge_is_asked_for_trains(hits: Hits) -> None:
    zmq = pytest.importorskip("zmq")
    msgpack = pytest.importorskip("msgpack")
    context = zmq.Context()
    socket = context.socket(zmq.REP)
    port = socket.bind_to_random_port("tcp://127.0.0.1")
    chunks = list(hits.shots(0, 3 * PULSES).in_chunks(PULSES))

    def send() -> None:
        for chunk in chunks:
            assert socket.recv() == b"next"
            socket.send_multipart(frames_of(chunk, msgpack.packb))

    thread = threading.Thread(target=send)
    thread.start()
    source = karabo_bridge(f"tcp://127.0.0.1:{port}", "TOP")
    found = list(source.blocks(2.0))
    source.close()
    thread.join()
    socket.close(0)
    context.term()
    assert len(found) == 3
    for one, other in zip(found, chunks, strict=True):
        same(one, other)
