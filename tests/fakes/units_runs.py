"""Runs long enough for several units of work, and what is the same however they are reduced."""

from __future__ import annotations

import hashlib
from pathlib import Path

import h5py
import numpy as np
import yaml

from molexa_core.base.fields import META, PROVENANCE, TAG_TIMESTAMP
from molexa_core.base.settings import Channel, Setup
from molexa_core.base.tables import Hits
from molexa_core.io.run import write_hits
from tests.fakes.root_runs import make_channel, make_run, make_setup

IONS = ("O+", "H+", "H+")
SHOTS = 90_000
"""Five stretches and a rest."""


def write_run(
    folder: Path, *, layout: str = "root-jagged", setup: Setup | None = None, seed: int = 3
) -> Path:
    """A run of water with accidental coincidences, time stamps, and its setup and channel."""
    setup = make_setup() if setup is None else setup
    channel = make_channel(("O+", 1), ("H+", 2))
    run = make_run(
        IONS, setup, shots=SHOTS, per_shot=0.25, efficiency=0.8, noise_per_shot=0.4,
        recoil=(1.8, 0.9, 0.6), seed=seed,
    )  # fmt: skip
    time = np.arange(SHOTS) * 1e-3 + 40.0 * (np.arange(SHOTS) > 50_000)
    hits = Hits(
        0, run.hits.offsets, run.hits.x_mm, run.hits.y_mm, run.hits.t_ns, run.hits.method,
        {TAG_TIMESTAMP: time},
    )  # fmt: skip
    path = folder / f"run.{ {'hdf5': 'h5'}.get(layout, 'root') }"
    write_hits(path, hits.in_chunks(7001), layout)
    write_settings(folder, channel, setup)
    return path


def write_settings(folder: Path, channel: Channel, setup: Setup) -> None:
    """`channel.yaml` and `setup.yaml`."""
    for name, of in (("channel", channel), ("setup", setup)):
        values = of.model_dump(mode="json", exclude_unset=True)
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(values))


def content_hash(path: Path) -> str:
    """A digest of every value in a result; not of the record of when and by what it was made."""
    state = hashlib.sha256()

    def add(name: str, item: h5py.Group | h5py.Dataset) -> None:
        state.update(name.encode())
        for key in sorted(item.attrs):
            if (name, key) != (META, PROVENANCE):
                state.update(f"{key}={item.attrs[key]!r}".encode())
        if isinstance(item, h5py.Dataset):
            values = item[()]
            texts = isinstance(values, bytes) or values.dtype.kind == "O"
            state.update(repr(values).encode() if texts else np.ascontiguousarray(values))

    with h5py.File(path) as file:
        names: list[str] = []
        file.visit(names.append)
        for name in sorted(names):
            add(name, file[name])
    return state.hexdigest()
