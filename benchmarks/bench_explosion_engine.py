"""How many explosions of point charges per second does one core follow, and how exactly?

Random molecules of five atoms (four hydrogens and a carbon) and of ten; instant charges, the common
rise, and a rise of its own for each atom (hydrogens first); then the families of explosions, each
molecule with parameters of its own, drawn from the prior: rises with screened pairs, laser pulses
of 7, 40 and 200 fs and of unknown duration, impact of ions. Seconds are processor time of one
thread: other jobs on the machine count only through the cache and the clock that they share. The
error is the mean over atoms and molecules of the relative error of the momentum, against 1600 steps
of a sixty-fourth in double precision. The baseline is the plain torch engine in the same run; for
the families it is instant charges, compiled, so that other jobs on the machine count for both.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import numpy as np
import torch
from _record import store

from molexa_core.base.belief import Belief
from molexa_core.base.matter.elements import element
from molexa_core.base.tables import FloatArray
from molexa_core.physics.coulomb.batches import explode_many
from molexa_core.physics.coulomb.build_up import AtomRises, BuildUp, ErrorFunctionRise, Instant
from molexa_core.physics.coulomb.explosion import ACCURACIES, Accuracy, explode
from molexa_core.physics.family.build_up_family import BUILD_UP_PRIOR, BuildUpFamily
from molexa_core.physics.family.family import Fragments
from molexa_core.physics.family.ion_impact import ION_IMPACT_PRIOR, IonImpactFamily
from molexa_core.physics.family.laser_family import LaserFamily, laser_prior
from molexa_core.physics.family.point_charges import PointCharges

MOLECULES = 16_000
PLAIN = 1_600
EXACT = 1_600
SEED = 12
REPEATS = 7
PART = 800
FINER = Accuracy(56, 0.36)
"""Where `draft` would miss the mean relative error of 5e-6."""
TITLES = {
    "instant": "charged at once",
    "common": "with one rise of the charges",
    "per_atom": "with rises atom by atom",
    "family_build_up": "with rises and screening drawn from their prior",
    "family_laser_7": "in laser pulses of 7 fs drawn from their prior",
    "family_laser_40": "in laser pulses of 40 fs drawn from their prior",
    "family_laser_200": "in laser pulses of 200 fs drawn from their prior",
    "family_laser": "in unknown laser pulses drawn from their prior",
    "family_ion": "after the impact of ions drawn from their prior",
}
FAMILIES: dict[str, tuple[type[PointCharges], Belief]] = {
    "family_build_up": (BuildUpFamily, BUILD_UP_PRIOR),
    "family_laser_7": (LaserFamily, laser_prior(7.0)),
    "family_laser_40": (LaserFamily, laser_prior(40.0)),
    "family_laser_200": (LaserFamily, laser_prior(200.0)),
    "family_laser": (LaserFamily, laser_prior()),
    "family_ion": (IonImpactFamily, ION_IMPACT_PRIOR),
}
BARS = {(5, False): 400_000, (5, True): 200_000, (10, False): 120_000, (10, True): 60_000}
"""Explosions per second, by number of atoms and whether charges rise."""
NEAREST = 1.8
"""Bohr; atoms in a molecule are no closer."""


def molecules(count: int, symbols: str) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Random places in a cube, charges 1 to 3 (hydrogen 1), masses of the isotopes."""
    random = np.random.default_rng(SEED)
    atoms = len(symbols)
    side = 2.5 * atoms ** (1 / 3) + 1.5
    places: list[FloatArray] = []
    while len(places) < count:
        x = random.uniform(-side / 2, side / 2, (atoms, 3))
        apart = np.linalg.norm(x[:, None] - x[None], axis=-1) + 99.0 * np.eye(atoms)
        if apart.min() > NEAREST:
            places.append(x)
    heavy = np.array([symbol != "H" for symbol in symbols])
    charges = np.where(heavy, random.integers(1, 4, (count, atoms)), 1).astype(float)
    masses = np.tile([element(symbol).isotope_mass for symbol in symbols], (count, 1))
    return np.array(places), charges, masses


def processor_seconds(work: Callable[[], object], repeats: int) -> list[float]:
    """Processor time of each run, after one that is not counted."""
    work()
    runs = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        runs.append(time.process_time() - start)
    return runs


def rises(symbols: str) -> dict[str, BuildUp]:
    """The build-ups that are timed."""
    hydrogen = [symbol == "H" for symbol in symbols]
    return {
        "instant": Instant(),
        "common": ErrorFunctionRise(45.0),
        "per_atom": AtomRises(
            tuple(20.0 if light else 45.0 for light in hydrogen),
            tuple(0.0 if light else 8.0 for light in hydrogen),
        ),
    }


def measure(symbols: str, name: str, rise: BuildUp, *, single: bool) -> None:
    """Time one size, build-up and precision, and store it."""
    x, q, m = molecules(MOLECULES, symbols)
    kind = "float32" if single else "float64"
    accuracy = FINER if name == "per_atom" else ACCURACIES["draft"]
    few = [torch.from_numpy(one[:PLAIN]).to(getattr(torch, kind)) for one in (x, q, m)]

    def compiled() -> FloatArray:
        return explode_many(x, q, m, build_up=rise, accuracy=accuracy, single=single)

    def plain() -> None:
        with torch.no_grad():
            for start in range(0, PLAIN, PART):
                part = (one[start : start + PART] for one in few)
                explode(*part, build_up=rise, accuracy=accuracy)

    runs = processor_seconds(compiled, REPEATS)
    baseline = [run * MOLECULES / PLAIN for run in processor_seconds(plain, 3)]
    exact = explode_many(
        x[:EXACT], q[:EXACT], m[:EXACT], build_up=rise, accuracy=Accuracy(1600, 1 / 64)
    )
    off = np.linalg.norm(compiled()[:EXACT] - exact, axis=2)
    error = float((off / np.linalg.norm(exact, axis=2)).mean())
    store(
        f"explosion_engine_{len(symbols)}_{name}_{kind}",
        f"How many explosions of {len(symbols)} atoms does one core follow, {TITLES[name]}?",
        runs,
        amount=MOLECULES,
        unit="explosions",
        sizes={
            "atoms": len(symbols),
            "molecules": MOLECULES,
            "step": accuracy.fraction,
            "seed": SEED,
            "mean_relative_error": float(f"{error:.1e}"),
        },
        baseline=(f"the plain torch engine in {kind} on one thread", baseline),
        notes=f"processor time of one core; the bar is {BARS[len(symbols), name != 'instant']} per "
        f"second in single precision; load average {os.getloadavg()[0]:.1f} on "
        f"{os.cpu_count()} cores",
        dtype=kind,
    )


def measure_family(symbols: str, name: str) -> None:
    """Time one family in single precision against instant charges, and store it."""
    x, charges, masses = molecules(MOLECULES, symbols)
    ions = Fragments(tuple(symbols), charges[0], masses[0])
    kind, prior = FAMILIES[name]
    parameters = prior.draw(np.random.default_rng(SEED), MOLECULES)
    family = kind()

    def instant() -> FloatArray:
        return explode_many(x, ions.charges, ions.masses, accuracy="draft", single=True)

    runs = processor_seconds(lambda: family.explode(ions, x, parameters), REPEATS)
    baseline = processor_seconds(instant, REPEATS)
    fine = kind(single=False, accuracy=Accuracy(3200, 1 / 64))
    exact = fine.explode(ions, x[:EXACT], parameters[:EXACT])
    off = np.linalg.norm(family.explode(ions, x[:EXACT], parameters[:EXACT]) - exact, axis=2)
    error = float(np.nanmean(off / np.linalg.norm(exact, axis=2)))
    bar = BARS[len(symbols), name != "family_ion"]
    store(
        f"explosion_engine_{len(symbols)}_{name}_float32",
        f"How many explosions of {len(symbols)} atoms does one core follow, {TITLES[name]}?",
        runs,
        amount=MOLECULES,
        unit="explosions",
        sizes={
            "atoms": len(symbols),
            "molecules": MOLECULES,
            "step": family.accuracy.fraction,
            "seed": SEED,
            "mean_relative_error": float(f"{error:.1e}"),
        },
        baseline=("instant charges, compiled, in the same run", baseline),
        notes=f"processor time of one core; the bar is {bar} per second in single precision; "
        f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores",
        dtype="float32",
    )


if __name__ == "__main__":
    torch.set_num_threads(1)
    for chosen in ("CHHHH", "CCCNOHHHHH"):
        for title, rise_of in rises(chosen).items():
            measure(chosen, title, rise_of, single=True)
        measure(chosen, "common", ErrorFunctionRise(45.0), single=False)
        for family_name in FAMILIES:
            measure_family(chosen, family_name)
