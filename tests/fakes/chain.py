"""A folder as the stages leave it: small, with known content, for the report and its command."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from molexa_core.base.fields import (
    SPECTRUM_IMAGE,
    SPECTRUM_KER,
    SPECTRUM_PIPICO,
    SPECTRUM_SUM,
    SPECTRUM_TOF,
)
from molexa_core.base.matter.flight import flight_time
from molexa_core.base.settings import load_channel
from molexa_core.base.settings.setup import Region
from molexa_core.base.spectrum import Spectrum
from molexa_core.base.storage.provenance import Provenance, made_by
from molexa_core.base.tables import Coincidences, Geometry
from molexa_core.frame.maps import kinetic_energy_release
from molexa_core.io.results.events import write_events
from molexa_core.io.results.geometry_json import ReconstructionRecord, write_geometry_json
from molexa_core.io.xyz import write_xyz
from molexa_core.pipeline.chain.align import align
from molexa_core.pipeline.chain.centroid import centroid
from tests.fakes.momenta import WATER, cf4, shuffled, turned

SPECTRA_OF_REDUCE = (SPECTRUM_TOF, SPECTRUM_IMAGE, SPECTRUM_PIPICO, *SPECTRUM_SUM, SPECTRUM_KER)
"""Names of the histograms that a reduction stores."""
REGIONS = (Region(length_mm=110, field_v_per_cm=250),)
SYMBOLS = {"water": ("O", "H", "H"), "cf4": ("C", "F", "F", "F", "F")}
KNOWN = {
    "water": np.array([[0.0, 0.0, 0.0], [1.11, 0.0, 1.43], [1.11, 0.0, -1.43]]),
    "cf4": 2.5
    * np.array(
        [
            [0, 0, 0],
            [1, 0, 0],
            [-1 / 3, 0, np.sqrt(8) / 3],
            [-1 / 3, np.sqrt(2 / 3), -np.sqrt(2) / 3],
            [-1 / 3, -np.sqrt(2 / 3), -np.sqrt(2) / 3],
        ]
    ),
}
"""Known structures in bohr."""


def momenta(name: str, events: int, seed: int) -> Coincidences:
    """Coincidences of a molecule with random orientation."""
    if name == "cf4":
        return cf4(events, size=250.0, width=14.0, seed=seed)
    noise = np.random.default_rng(seed).normal(scale=4.0, size=(events, 3, 3))
    momentum = shuffled(turned(WATER + noise, seed + 1), slice(1, 3), seed + 2)
    return Coincidences.of(("O+", "H+", "H+"), momentum)


def spectra(table: Coincidences, seed: int) -> dict[str, Spectrum]:
    """Histograms like those that `reduce` stores, with some ions of other origin."""
    rng = np.random.default_rng(seed)
    charge = np.array([ion.charge for ion in table.ions], dtype=float)
    mass = np.array([ion.mass for ion in table.ions])
    time = flight_time(table.momentum[:, :, 2], charge, mass, REGIONS)
    place = table.momentum[:, :, :2] / mass[:, None] * 2.19 * time[:, :, None]
    background = rng.uniform(500, 9000, size=5 * len(table))
    marks: dict[str, float] = {}
    for column, ion in enumerate(table.ions):
        low, high = time[:, column].min(), time[:, column].max()
        marks |= {f"{ion} first": float(low) - 40, f"{ion} last": float(high) + 40}
    edges, mm = np.linspace(0, 9000, 2001), np.linspace(-60, 60, 121)
    coarse = np.linspace(0, 1.05 * float(time.max()), 201)
    first, last = np.sort(time[:, :2], axis=1).T
    found = {
        "tof": Spectrum(
            np.histogram(np.concatenate([time.ravel(), background]), edges)[0],
            (edges,),
            ("time of flight",),
            ("ns",),
            marks,
        ),
        "detector_image": Spectrum(
            np.histogram2d(place[..., 0].ravel(), place[..., 1].ravel(), (mm, mm))[0],
            (mm, mm),
            ("x", "y"),
            ("mm", "mm"),
        ),
        "pipico": Spectrum(
            np.histogram2d(first, last, (coarse, coarse))[0],
            (coarse, coarse),
            ("time of flight of the first ion", "time of flight of the second ion"),
            ("ns", "ns"),
            marks,
        ),
        "ker": kinetic_energy_release(table),
    }
    bins = np.linspace(-60, 60, 121)
    for axis in range(3):
        values = np.concatenate(
            [rng.normal(0, 5, len(table)), rng.uniform(-60, 60, len(table) // 2)]
        )
        found[f"momentum_sum_{'xyz'[axis]}"] = Spectrum(
            np.histogram(values, bins)[0],
            (bins,),
            (f"momentum sum along {'xyz'[axis]}",),
            ("a.u.",),
            {"gate low": -15.0, "gate high": 15.0, "centre": 0.0, "sigma": 5.0},
        )
    return found


def make_folder(folder: Path, name: str = "water", *, events: int = 500, seed: int = 1) -> Path:
    """Write `run.events.h5`, `run.aligned.h5`, `channel.csv`, `geom.json` and `known.xyz`."""
    rng = np.random.default_rng(seed)
    table = momenta(name, events, seed)
    meta = {
        "channel": load_channel(name).model_dump(mode="json"),
        "summary": {
            "shots": 20000,
            "hits": 31234,
            "coincidences": events,
            "purity": {"purity": 0.971, "purity_error": 0.004},
            "momentum_sums": [{"axis": "x", "centre": -0.25, "centre_error": 0.11}],
            "remarks": ["left out 4 hits"],
            "later": 17,
        },
    }
    table = dataclasses.replace(table, meta=meta)
    record = Provenance.of("molexa reduce run.root", settings={"channel": name}, seed=seed)
    write_events(folder / "run.events.h5", table, record, spectra=spectra(table, seed))
    with made_by("molexa align run.events.h5"):
        align(folder / "run.events.h5", out=folder / "run.aligned.h5")
    with made_by("molexa centroid run.aligned.h5"):
        centroid(folder / "run.aligned.h5", out=folder / "channel.csv")
    known, symbols = KNOWN[name], SYMBOLS[name]
    structure = ReconstructionRecord(
        symbols=symbols,
        positions_bohr=known - known.mean(axis=0) + rng.normal(scale=0.08, size=known.shape),
        charges=(1,) * len(symbols),
        uncertainty_bohr=np.full(known.shape, 0.1) + rng.uniform(0, 0.05, known.shape),
        closure={"relative_momentum_residual": 0.021, "rms_au": 1.3},
        model={"name": "spine", "steps": 5, "samples": 16},
        input={"file": "channel.csv"},
    )
    after = Provenance.of("molexa reconstruct channel.csv", seed=seed)
    write_geometry_json(folder / "geom.json", structure, after)
    write_xyz(folder / "known.xyz", [Geometry(symbols, known)])
    return folder
