"""Fake runs with known momenta, in the form that a reaction microscope delivers them.

The ions of each molecule fly through the spectrometer with `base.matter.flight.flight_time`; jet,
interaction point and resolution are drawn on top where a spread is asked for. Written to a file,
the hits mirror the tree `Data` of LMF2Root or the tree `hits` with variable-length columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from molexa_core.base.matter.flight import flight_time
from molexa_core.base.matter.ions import Ion, parse_ion
from molexa_core.base.settings import Channel, Setup, parse_settings
from molexa_core.base.tables import Hits, offsets_of
from molexa_core.base.units import ATOMIC_VELOCITY_M_S, ATOMIC_VELOCITY_MM_NS

REGIONS = {
    1: ((110.0, 250.0),),
    2: ((40.0, 250.0), (70.0, 250.0)),
    3: ((30.0, 300.0), (25.0, 900.0), (80.0, 0.0)),
    4: ((20.0, 200.0), (15.0, 600.0), (10.0, 1500.0), (50.0, 0.0)),
}
"""Length in mm and field in V/cm of spectrometers of one to four regions."""


def make_setup(regions: int = 1, **blocks: object) -> Setup:
    """A setup with this many field regions and a jet of 800 m/s; blocks replace the defaults."""
    spectrometer = {
        "regions": [{"length_mm": mm, "field_v_per_cm": field} for mm, field in REGIONS[regions]]
    }
    values = {"spectrometer": spectrometer, "jet": {"velocity_m_per_s": 800.0}}
    return parse_settings(Setup, values | blocks, where="fake setup")


def make_channel(*ions: tuple[str, int], **gates: object) -> Channel:
    """A channel of these ions and numbers of each."""
    values = {
        "name": "fake",
        "ions": [{"ion": ion, "count": count} for ion, count in ions],
        "gates": {"max_momentum": 120.0} | gates,
    }
    return parse_settings(Channel, values, where="fake channel")


def break_ups(ions: Sequence[Ion], n: int, rng: np.random.Generator, size: float) -> np.ndarray:
    """(n, ions, 3) random momenta with a momentum sum of zero."""
    momenta = rng.normal(0.0, size, (n, len(ions), 3))
    return momenta - momenta.mean(axis=1, keepdims=True)


def fly(
    momenta: np.ndarray, ions: Sequence[Ion], setup: Setup
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Position in mm and time in ns (n, ions) of ions of these momenta, without imperfections."""
    mass = np.array([ion.mass for ion in ions])
    charge = np.array([ion.charge for ion in ions])
    t = flight_time(momenta[..., 2], charge, mass, setup.spectrometer.regions)
    jet = setup.jet.velocity_m_per_s / ATOMIC_VELOCITY_M_S
    x = momenta[..., 0] / mass * ATOMIC_VELOCITY_MM_NS * t
    y = (momenta[..., 1] / mass + jet) * ATOMIC_VELOCITY_MM_NS * t
    return x, y, t


@dataclass(frozen=True)
class FakeRun:
    """A run that is held in memory.

    Attributes:
        hits: all shots as one chunk.
        molecule: (hits) number of the molecule that a hit came from, -1 for none.
        ion: (hits) place of the ion among those of the channel.
        momenta: (molecules, ions, 3) true momenta with the recoil of the molecule, a.u.
        shot: (molecules) the shot of each.
    """

    hits: Hits
    molecule: np.ndarray
    ion: np.ndarray
    momenta: np.ndarray
    shot: np.ndarray

    def chunks(self, shots: int) -> list[Hits]:
        """The run cut into chunks."""
        return list(self.hits.in_chunks(shots))


def make_run(
    ions: Sequence[str],
    setup: Setup,
    *,
    shots: int,
    per_shot: float = 0.3,
    efficiency: float = 1.0,
    noise_per_shot: float = 0.0,
    momentum: float = 45.0,
    recoil: tuple[float, float, float] = (0.0, 0.0, 0.0),
    seed: int = 1,
) -> FakeRun:
    """Molecules that explode at random, some ions lost, and hits without meaning.

    Args:
        ions: of the complete break-up.
        setup: spectrometer and jet.
        shots: number of shots.
        per_shot: mean number of molecules per shot.
        efficiency: chance of each ion to be detected.
        noise_per_shot: mean number of hits anywhere on the detector within the longest time of
            flight.
        momentum: standard deviation of each momentum component, a.u.
        recoil: standard deviation of the momentum sum along x, y, z, a.u., shared by mass.
        seed: of every draw.
    """
    rng = np.random.default_rng(seed)
    parsed = [parse_ion(ion) for ion in ions]
    mass = np.array([ion.mass for ion in parsed])
    molecules = rng.poisson(per_shot, shots)
    shot = np.repeat(np.arange(shots), molecules)
    momenta = break_ups(parsed, len(shot), rng, momentum)
    total = rng.normal(0.0, 1.0, (len(shot), 3)) * np.array(recoil)
    momenta = momenta + total[:, None, :] * (mass / mass.sum())[:, None]
    x, y, t = fly(momenta, parsed, setup)
    seen = (rng.random(x.shape) < efficiency) & (np.hypot(x, y) < setup.detector.radius_mm)
    noise = rng.poisson(noise_per_shot, shots)
    n_noise = int(noise.sum())
    radius = setup.detector.radius_mm * np.sqrt(rng.random(n_noise))
    angle = 2 * np.pi * rng.random(n_noise)
    rows, columns = np.nonzero(seen)
    hit_shot = np.concatenate([shot[rows], np.repeat(np.arange(shots), noise)])
    order = np.lexsort((rng.random(len(hit_shot)), hit_shot))  # hits of a shot in random order
    joined = [
        np.concatenate([ours, theirs])[order]
        for ours, theirs in (
            (x[seen], radius * np.cos(angle)),
            (y[seen], radius * np.sin(angle)),
            (t[seen], rng.random(n_noise) * t.max(initial=1500.0)),
            (rows, np.full(n_noise, -1)),
            (columns, np.full(n_noise, -1)),
        )
    ]
    counts = np.bincount(hit_shot, minlength=shots)
    hits = Hits(
        first_shot=0,
        offsets=offsets_of(counts),
        x_mm=joined[0],
        y_mm=joined[1],
        t_ns=joined[2],
        method=np.zeros(len(hit_shot), np.int16),
        tags={"timestamp": np.arange(shots) * 1e-3},
    )
    return FakeRun(hits, joined[3], joined[4], momenta, shot)
