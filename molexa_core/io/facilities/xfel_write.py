"""Writer of virtual runs in the layout of European XFEL's processed files."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np
from numpy.typing import NDArray

from molexa_core.base.errors import UsageError
from molexa_core.base.fields import TAG_FEL, TAG_PULSE_ENERGY, TAG_PUMP
from molexa_core.base.tables import Edges, Hits
from molexa_core.io.hdf5.file import append_rows, new_hdf5
from molexa_core.io.tables.hdf5_table import METADATA_KEY

SOURCE: Final = "SQS_REMI_DLD6/DET/TOP:output"
MONITOR: Final = "SA3_XTD10_XGM/XGM/DOOCS:output"
FIRST_TRAIN: Final = 1_500_000_001
PULSES_PER_TRAIN: Final = 100
PULSE_STEP: Final = 8
"""Distance of the numbers of pulses: 4.5 MHz divided by this is the rate within a train."""
HIT: Final = np.dtype([("x", "f8"), ("y", "f8"), ("t", "f8"), ("m", "i4")])
TRIGGER: Final = np.dtype(
    [("start", "i4"), ("stop", "i4"), ("offset", "f8"), ("pulse", "i2"), ("fel", "?"), ("ppl", "?")]
)
_CHUNK_BYTES: Final = 2**20


def write_xfel_run(
    path: Path | str,
    chunks: Iterable[Hits] | Iterable[Edges],
    *,
    slots: int = 16,
    n_channels: int = 7,
    meta: Mapping[str, Any] | None = None,
) -> None:
    """Write `rec/hits` (from hits) or `raw/edges` (from edges), `raw/triggers` and the index.

    A train has 100 pulses, the last one the remaining pulses. Tags `fel`, `pump_laser` and
    `pulse_energy_uj` are stored, others have no place.

    Args:
        path: the file.
        chunks: consecutive shots.
        slots: most hits per pulse, or most edges per pulse and channel.
        n_channels: channels of the edges.
        meta: plain values, stored as JSON in an attribute of the file.

    Raises:
        UsageError: a pulse has more hits or edges than slots.
        OutputError: the file cannot be written there.
    """
    stream: Iterator[Hits | Edges] = iter(chunks)
    first = next(stream, None)
    with new_hdf5(path) as file:
        file.attrs[METADATA_KEY] = json.dumps(dict(meta or {}), default=str)
        base = f"INSTRUMENT/{SOURCE}"
        edges = isinstance(first, Edges)
        name = f"{base}/raw/edges" if edges else f"{base}/rec/hits"
        row: tuple[int, ...] = (n_channels, slots) if edges else (slots,)
        data = _growing(file, name, np.dtype("f8") if edges else HIT, row)
        triggers = _growing(file, f"{base}/raw/triggers", TRIGGER, ())
        energy: list[NDArray[np.float64]] = []
        shots = 0
        for chunk in chain([] if first is None else [first], stream):
            if isinstance(chunk, Edges):
                append_rows(data, _padded_edges(chunk, slots, n_channels))
            else:
                append_rows(data, _padded_hits(chunk, slots))
            append_rows(triggers, _triggers(chunk, shots))
            if TAG_PULSE_ENERGY in chunk.tags:
                energy.append(np.asarray(chunk.tags[TAG_PULSE_ENERGY], np.float64))
            shots += chunk.n_shots
        groups = ["raw"] if edges else ["raw", "rec"]
        _write_index(file, shots, groups)
        if energy:
            _write_energy(file, np.concatenate(energy), np.asarray(triggers["fel"]))


def _growing(
    file: h5py.File, name: str, dtype: np.dtype[Any], row: tuple[int, ...]
) -> h5py.Dataset:
    size = dtype.itemsize * int(np.prod(row, initial=1))
    return file.create_dataset(
        name,
        shape=(0, *row),
        maxshape=(None, *row),
        dtype=dtype,
        chunks=(max(1, _CHUNK_BYTES // size), *row),
        compression="gzip",
        compression_opts=1,
        shuffle=True,
    )


def _padded_hits(chunk: Hits, slots: int) -> NDArray[Any]:
    counts = chunk.counts
    _require_room(counts, slots, chunk.first_shot, "hits")
    rows = np.zeros((chunk.n_shots, slots), HIT)
    rows[:] = (np.nan, np.nan, np.nan, -1)
    shot = chunk.shot - chunk.first_shot
    slot = np.arange(chunk.n_hits) - np.repeat(chunk.offsets[:-1], counts)
    for name, values in (("x", chunk.x_mm), ("y", chunk.y_mm), ("t", chunk.t_ns)):
        rows[name][shot, slot] = values
    rows["m"][shot, slot] = np.maximum(chunk.method, 0)
    return rows


def _padded_edges(chunk: Edges, slots: int, n_channels: int) -> NDArray[Any]:
    shot = chunk.shot - chunk.first_shot
    if chunk.channel.max(initial=0) >= n_channels:
        raise UsageError(f"channel {chunk.channel.max()}: there are {n_channels}")
    key = shot * n_channels + chunk.channel
    order = np.lexsort((chunk.t_ns, key))
    key, times = key[order], chunk.t_ns[order]
    counts = np.bincount(key, minlength=chunk.n_shots * n_channels)
    _require_room(counts, slots, chunk.first_shot, "edges in a channel", n_channels)
    begins = np.cumsum(counts) - counts
    slot = np.arange(len(key)) - begins[key]
    rows = np.full((chunk.n_shots * n_channels, slots), np.nan)
    rows[key, slot] = times
    return rows.reshape(chunk.n_shots, n_channels, slots)


def _require_room(
    counts: NDArray[np.int64], slots: int, first_shot: int, what: str, per_shot: int = 1
) -> None:
    if len(counts) and counts.max() > slots:
        crowded = first_shot + int(np.argmax(counts)) // per_shot
        raise UsageError(
            f"shot {crowded} has {counts.max()} {what}, but the layout has {slots} slots",
            do="Raise the number of slots.",
        )


def _triggers(chunk: Hits | Edges, shots: int) -> NDArray[Any]:
    number = np.arange(shots, shots + chunk.n_shots)
    rows = np.zeros(chunk.n_shots, TRIGGER)
    rows["start"] = 1000 * (number % PULSES_PER_TRAIN)
    rows["stop"] = rows["start"] + 1000
    rows["pulse"] = PULSE_STEP * (number % PULSES_PER_TRAIN)
    rows["fel"] = chunk.tags.get(TAG_FEL, True)
    rows["ppl"] = chunk.tags.get(TAG_PUMP, False)
    return rows


def _write_index(file: h5py.File, shots: int, groups: list[str]) -> None:
    n_trains = -(-shots // PULSES_PER_TRAIN)
    first = PULSES_PER_TRAIN * np.arange(n_trains, dtype=np.uint64)
    count = np.minimum(shots - first.astype(np.int64), PULSES_PER_TRAIN).astype(np.uint64)
    file["INDEX/trainId"] = FIRST_TRAIN + np.arange(n_trains, dtype=np.uint64)
    file["INDEX/flag"] = np.ones(n_trains, np.int32)
    for group in groups:
        file[f"INDEX/{SOURCE}/{group}/first"] = first
        file[f"INDEX/{SOURCE}/{group}/count"] = count
    sources = [f"INSTRUMENT/{SOURCE}/{group}" for group in groups]
    text = h5py.string_dtype()
    file.create_dataset("METADATA/dataSources/dataSourceId", data=sources, dtype=text)
    file.create_dataset("METADATA/dataFormatVersion", data=["1.2"], dtype=text)


def _write_energy(file: h5py.File, energy: NDArray[np.float64], fel: NDArray[np.bool_]) -> None:
    """The n-th value of a train is its n-th pulse with light; 1 where there is none."""
    n_trains = -(-len(energy) // PULSES_PER_TRAIN)
    rows = np.ones((n_trains, 1000), np.float32)
    train = np.arange(len(energy)) // PULSES_PER_TRAIN
    before: NDArray[np.int64] = np.cumsum(fel) - fel
    place: NDArray[np.int64] = before - before[train * PULSES_PER_TRAIN]
    rows[train[fel], place[fel]] = energy[fel]
    file[f"INSTRUMENT/{MONITOR}/data/intensityTD"] = rows
    file[f"INDEX/{MONITOR}/data/first"] = np.arange(n_trains, dtype=np.uint64)
    file[f"INDEX/{MONITOR}/data/count"] = np.ones(n_trains, np.uint64)
