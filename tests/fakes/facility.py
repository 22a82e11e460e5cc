"""Fake files of European XFEL and FLASH, with values that can be told from where they stand.

European XFEL: `CORR-R0052-REMI01-S00000.h5` as described by EXtra (`components/dld.py`): 50 hit
slots per pulse, fillers NaN and m = -1, one row of `raw/triggers` per pulse. Written here apart
from the writer of virtual runs. FLASH: as the package sed of OpenCOMPES reads it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np

TOP = "SQS_REMI_DLD6/DET/TOP:output"
BOTTOM = "SQS_REMI_DLD6/DET/BOTTOM:output"
XGM = "SA3_XTD10_XGM/XGM/DOOCS:output"
STAGE = "SQS_ILH_LAS/MOTOR/DELAY"
FIRST = 1_400_000_000
HIT = np.dtype([("x", "f8"), ("y", "f8"), ("t", "f8"), ("m", "i4")])
TRIGGER = np.dtype(
    [("start", "i4"), ("stop", "i4"), ("offset", "f8"), ("pulse", "i2"), ("fel", "?"), ("ppl", "?")]
)


def hits_of(pulse: int) -> list[tuple[float, float, float, int]]:
    """The hits of the n-th pulse of a run: 0 to 3 of them, methods 0 to 17."""
    return [(pulse + 0.25 * k, -float(k), 1000.0 + 10 * pulse + k, (3 * pulse + k) % 18)
            for k in range(pulse % 4)]  # fmt: skip


def write_xfel(
    path: Path,
    pulses: Sequence[int],
    *,
    first_train: int = FIRST,
    first_pulse: int = 0,
    sources: Sequence[str] = (TOP,),
    fel: Sequence[bool] | None = None,
    old: bool = False,
    energy_trains: Sequence[int] | None = None,
    delay: bool = False,
    fillers: int = 0,
) -> Path:
    """A processed file.

    Args:
        path: the file.
        pulses: number of pulses in each train; 0 for an empty one.
        first_train: number of the first train.
        first_pulse: number of the first pulse in the run, which says its hits.
        sources: the detectors.
        fel: whether the laser fired, for each pulse.
        old: as before October 2022, without pulse numbers and flags.
        energy_trains: places of the trains that the gas monitor has; None for no monitor.
        delay: whether there is a delay stage: 100 + its place for each train.
        fillers: trains of number 0 at the end.
    """
    count = np.array([*pulses, *[0] * fillers], np.uint64)
    first = (np.cumsum(count) - count).astype(np.uint64)
    n = int(count.sum())
    trains = np.array([*(first_train + np.arange(len(pulses))), *[0] * fillers], np.uint64)
    rows = np.zeros((n, 50), HIT)
    rows[:] = (np.nan, np.nan, np.nan, -1)
    triggers = np.zeros(n, TRIGGER)
    within = np.concatenate([np.arange(k) for k in pulses]) if n else np.zeros(0, int)
    triggers["pulse"] = 4 * within
    triggers["fel"] = True if fel is None else np.array(fel)
    triggers["ppl"] = within % 2 == 1
    edges = np.full((n, 7, 12), np.nan)
    for row in range(n):
        for slot, hit in enumerate(hits_of(first_pulse + row)):
            rows[row, slot] = hit
            edges[row, :, slot] = 500.0 + row + np.arange(7) + 100 * slot
    with h5py.File(path, "w") as file:
        file["INDEX/trainId"] = trains
        file["INDEX/flag"] = np.ones(len(trains), np.int32)
        file["METADATA/creationDate"] = np.array([b"20220701T101500Z"])
        file["METADATA/dataFormatVersion"] = np.array([b"1.2"])
        for source in sources:
            for group in ("raw", "rec"):
                file[f"INDEX/{source}/{group}/first"] = first
                file[f"INDEX/{source}/{group}/count"] = count
            file[f"INSTRUMENT/{source}/rec/hits"] = rows
            file[f"INSTRUMENT/{source}/raw/edges"] = edges
            stored = triggers[["start", "stop", "offset"]] if old else triggers
            file[f"INSTRUMENT/{source}/raw/triggers"] = np.array(stored.tolist(), stored.dtype)
            file[f"RUN/{source.partition(':')[0]}/detector/max_hits/value"] = np.array([50])
        if energy_trains is not None:
            write_energy(file, trains, energy_trains)
        if delay:
            file[f"CONTROL/{STAGE}/actualPosition/value"] = 100.0 + np.arange(len(trains))
            file[f"INDEX/{STAGE}/first"] = np.arange(len(trains), dtype=np.uint64)
            file[f"INDEX/{STAGE}/count"] = np.ones(len(trains), np.uint64)
    return path


def write_energy(file: h5py.File, trains: np.ndarray, places: Sequence[int]) -> None:
    """A gas monitor that has some of the trains: 10 * place of the train + place of the pulse."""
    count = np.zeros(len(trains), np.uint64)
    count[list(places)] = 1
    values = np.ones((len(places), 1000), np.float32)
    values[:, :40] = 10.0 * np.array(places)[:, None] + np.arange(40)
    file[f"INSTRUMENT/{XGM}/data/intensityTD"] = values
    file[f"INDEX/{XGM}/data/first"] = (np.cumsum(count) - count).astype(np.uint64)
    file[f"INDEX/{XGM}/data/count"] = count


def write_flash(path: Path, trains: int = 6, slots: int = 9) -> Path:
    """Hits of FLASH: train k has k hits, in pulses 5, 7, 9, ... of the train, in falling order."""
    value = np.full((trains, 5, slots), np.nan, np.float32)
    for train in range(trains):
        for k in range(train):
            pulse = 5 + 2 * (train - 1 - k)
            value[train, :, k] = (100 + k, 200 + train, pulse, 3000 + 10 * train + k, 0.5)
    base = "uncategorised/FLASH.EXP/HEXTOF.DAQ/DLD1"
    with h5py.File(path, "w") as file:
        file[f"{base}/index"] = np.arange(1000, 1000 + trains, dtype=np.uint32)
        file[f"{base}/value"] = value
        file["zraw/DELAY/dGroup/index"] = np.arange(1000, 1000 + trains, dtype=np.uint32)
        file["zraw/DELAY/dGroup/value"] = np.linspace(0, 5, trains).astype(np.float32)
        energy = np.zeros((trains, 8, 60), np.float32)
        energy[:, 0] = np.arange(trains)[:, None] * 100 + np.arange(60)
        file["FL1/GMD/energy tunnel/value"] = energy
    return path
