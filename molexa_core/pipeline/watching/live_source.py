"""Sources that send shots while they are taken, instead of files: Karabo bridge over ZeroMQ.

A live source gives blocks of hits; what it sent while nobody listened is lost, so a watch of it is
a display, and the files are what is reduced afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np

from molexa_core.base.errors import InputFileError, UsageError, listing
from molexa_core.base.tables import Hits, offsets_of

HITS: Final = "rec.hits"
"""Key of the hits in a delay-line detector of European XFEL: (pulses, slots) of x, y, t."""
_AXES: Final = ("x", "y", "t")
_ARRAYS: Final = ("array", "ImageData")
Train = Mapping[str, Mapping[str, Any]]
"""What a sender has of a train: values by key, by source."""


class LiveSource(Protocol):
    """Something that sends shots.

    Attributes:
        name: as it is shown, and under which its shots are counted.
    """

    name: str

    def blocks(self, wait_s: float) -> Iterator[Hits]:
        """The shots that come, block by block; ends when none came for so many seconds."""

    def close(self) -> None:
        """End the connection."""


@dataclass
class TrainSource:
    """A live source of trains, whichever way they come.

    Attributes:
        name: of the source.
        detector: name, or a part of it that only one has, of the delay-line detector.
        receive: the next train, or None if none came within these seconds.
        ended: called at the end.
    """

    name: str
    detector: str
    receive: Callable[[float], Train | None]
    ended: Callable[[], None] = lambda: None
    _shots: int = 0

    def blocks(self, wait_s: float) -> Iterator[Hits]:
        """See `LiveSource`."""
        while (train := self.receive(wait_s)) is not None:
            hits = hits_of_train(train, self.detector, self._shots)
            self._shots += hits.n_shots
            yield hits

    def close(self) -> None:
        """See `LiveSource`."""
        self.ended()


def hits_of_train(train: Train, detector: str, first_shot: int = 0) -> Hits:
    """The hits of the pulses of a train; slots without a hit are NaN.

    Args:
        train: values by key, by source; `rec.hits` as records or as `rec.hits.x`, `.y`, `.t`,
            (pulses, slots) in mm and ns.
        detector: name, or a part of it that only one source with hits has.
        first_shot: number of its first pulse.

    Raises:
        InputFileError: no such source, several of them, or arrays that do not fit together.
    """
    found = [name for name in train if detector in name and _columns(train[name]) is not None]
    if len(found) != 1:
        raise InputFileError(
            f"{len(found) or 'no'} sources with hits fit {detector!r}; what is sent: "
            f"{listing(train, limit=6)}",
            do="Name one of them.",
        )
    columns = _columns(train[found[0]]) or ()
    shapes = {column.shape for column in columns}
    if len(shapes) != 1 or columns[0].ndim != 2:
        raise InputFileError(f"the hits of {found[0]} are no arrays of pulses and slots")
    x, y, t = (np.asarray(column, np.float64) for column in columns)
    is_hit = np.isfinite(x) & np.isfinite(y) & np.isfinite(t)
    return Hits(
        first_shot,
        offsets_of(is_hit.sum(axis=1)),
        x[is_hit],
        y[is_hit],
        t[is_hit],
        np.zeros(int(is_hit.sum()), np.int16),
    )


def _columns(values: Mapping[str, Any]) -> tuple[Any, ...] | None:
    records = values.get(HITS)
    if isinstance(records, np.ndarray) and set(_AXES) <= set(records.dtype.names or ()):
        return tuple(records[axis] for axis in _AXES)
    arrays = [values.get(f"{HITS}.{axis}") for axis in _AXES]
    return None if any(array is None for array in arrays) else tuple(map(np.asarray, arrays))


def train_of_frames(
    frames: Sequence[bytes], unpack: Callable[[bytes], Any]
) -> dict[str, dict[str, Any]]:
    """The train in a message of Karabo bridge, protocol 2.2: pairs of a header and its content.

    Args:
        frames: of the message.
        unpack: of MessagePack, such as `msgpack.unpackb`.

    Raises:
        InputFileError: the frames do not fit together.
    """
    train: dict[str, dict[str, Any]] = {}
    if len(frames) % 2:
        raise InputFileError("a message of the bridge has a header without content")
    for head, body in zip(frames[0::2], frames[1::2], strict=True):
        told = unpack(head)
        values = train.setdefault(str(told["source"]), {})
        if told["content"] == "msgpack":
            values.update(unpack(body))
        elif told["content"] in _ARRAYS:
            array = np.frombuffer(body, np.dtype(told["dtype"]))
            if array.size != int(np.prod(told["shape"])):
                raise InputFileError(f"{told['path']} has {array.size} values, not its shape")
            values[str(told["path"])] = array.reshape(told["shape"])
        else:
            raise InputFileError(f"the bridge sends {told['content']!r}, which is not known")
    return train


def karabo_bridge(endpoint: str, detector: str) -> TrainSource:
    """A Karabo bridge that answers requests for trains.

    Args:
        endpoint: such as `tcp://exflonc12:45000`.
        detector: see `hits_of_train`.

    Raises:
        UsageError: pyzmq or msgpack are not installed, or the address is none.
    """
    try:
        import msgpack  # noqa: PLC0415  # optional
        import zmq  # noqa: PLC0415  # optional
    except ImportError as error:
        raise UsageError(
            f"a live source needs the package {error.name}", do="pip install pyzmq msgpack"
        ) from error
    context = zmq.Context()
    socket = context.socket(zmq.REQ)
    socket.setsockopt(zmq.LINGER, 0)
    try:
        socket.connect(endpoint)
    except zmq.ZMQError as error:
        socket.close()
        context.term()
        raise UsageError(f"{endpoint}: {error}", do="Write tcp://HOST:PORT.") from error
    asked = False

    def receive(wait_s: float) -> Train | None:
        nonlocal asked
        if not asked:
            socket.send(b"next")
            asked = True
        if not socket.poll(int(1000 * wait_s)):
            return None
        asked = False
        return train_of_frames(socket.recv_multipart(), msgpack.unpackb)

    def end() -> None:
        socket.close()
        context.term()

    return TrainSource(endpoint, detector, receive, end)
