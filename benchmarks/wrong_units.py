"""Which wrong units pass without a warning, and how often does a correct run give a false alarm?

Virtual runs are written in wrong units, setups hold numbers in wrong units, structures and momenta
too; each goes through the stage that reads it. A kind of mistake that changes the kinetic energy
release, a mean momentum or a distance by more than 3 % must be refused or warned about. Correct
runs of many molecules, spectrometers and seeds must give no warning.

    python benchmarks/wrong_units.py [--healthy 50] [--events 4000]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from molexa_core.base.errors import MolexaError
from molexa_core.base.options.reconstruct_options import ReconstructOptions
from molexa_core.base.progress import CollectingProgress
from molexa_core.base.settings import Channel, Setup, parse_settings
from molexa_core.base.tables import Geometry, Hits
from molexa_core.base.units import ATOMIC_MOMENTUM_SI, BOHR_ANGSTROM
from molexa_core.frame.centroid import centroids
from molexa_core.io.xyz import write_xyz
from molexa_core.physics.molecules.library import molecule
from molexa_core.pipeline.chain.align import align
from molexa_core.pipeline.chain.reduce import Reduction, reduce
from molexa_core.pipeline.explosions.simulate import simulate
from molexa_core.pipeline.reconstruction.reconstruct import reconstruct
from molexa_core.pipeline.runs.mock import mock

ALLOWED = 0.03
"""Largest relative change of a result that may pass without a word."""
SPECTROMETERS = (
    ((110.0, 250.0),),
    ((60.0, 120.0),),
    ((40.0, 250.0), (70.0, 600.0)),
    ((40.0, 300.0), (80.0, 0.0)),
    ((200.0, 400.0),),
)
MOLECULES = (
    "water", "nitrogen", "carbon_monoxide", "co2", "hcn", "cf4", "ammonia", "ocs", "methane",
    "hydrogen_fluoride", "acetylene", "formaldehyde", "oxygen", "carbon_disulfide", "hcl",
)  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """What came of one mistake.

    Attributes:
        kind: the mistake, in words.
        how: `refused`, `warned` or `silent`.
        change: largest relative change of a result; not a number where there is none.
        said: the sentence.
    """

    kind: str
    how: str
    change: float
    said: str

    @property
    def passes(self) -> bool:
        """Whether no mistake passed without a warning."""
        return self.how != "silent" or self.change <= ALLOWED


def setup_of(regions: tuple[tuple[float, float], ...], **blocks: object) -> Setup:
    """A setup with these lengths in mm and fields in V/cm; blocks replace the defaults."""
    values = {
        "spectrometer": {
            "regions": [{"length_mm": mm, "field_v_per_cm": field} for mm, field in regions]
        }
    }
    return parse_settings(Setup, values | blocks, where="setup")


def channel_of(name: str) -> Channel:
    """The complete break-up of a molecule into singly charged ions."""
    symbols = molecule(name).geometry.symbols
    ions = [
        {"ion": f"{symbol}+", "count": symbols.count(symbol)}
        for symbol in dict.fromkeys(sorted(symbols, key=lambda one: one == "H"))
    ]
    values = {"name": name, "molecule": name, "ions": ions, "gates": {"max_momentum": 300.0}}
    return parse_settings(Channel, values, where="channel")


def results(reduction: Reduction, channel: Channel) -> np.ndarray:
    """KER, then the sizes of the mean momenta in the molecular frame, of like ions in order."""
    table = align(reduction.table, channel=channel).table
    rows = centroids(table)
    sizes = np.linalg.norm(rows[["px", "py", "pz"]].to_numpy(float), axis=1)
    kinds = np.array([str(ion) for ion in table.ions])
    for kind in np.unique(kinds):  # which of two like ions is called the first changes nothing
        sizes[kinds == kind] = np.sort(sizes[kinds == kind])
    return np.array([reduction.summary.ker.peak, *sizes])


def through_reduce(
    kind: str, hits: Hits, setup: Setup, channel: Channel, right: np.ndarray
) -> Outcome:
    """Reduce a run in wrong units and compare with the right results."""
    progress = CollectingProgress()
    try:
        reduction = reduce([hits], channel, setup, progress=progress)
        with np.errstate(all="ignore"):
            change = float(np.max(np.abs(results(reduction, channel) / right - 1.0)))
    except MolexaError as error:
        return Outcome(kind, "refused", np.nan, str(error))
    warned = progress.warned
    return Outcome(kind, "warned" if warned else "silent", change, "; ".join(warned))


def scaled(hits: Hits, place: float = 1.0, time: float = 1.0) -> Hits:
    """The same hits with positions and times in another unit."""
    return replace(hits, x_mm=hits.x_mm * place, y_mm=hits.y_mm * place, t_ns=hits.t_ns * time)


def scaled_setup(setup: Setup, length: float = 1.0, field: float = 1.0) -> Setup:
    """The same spectrometer with lengths and fields in another unit."""
    values = setup.model_dump()
    for region in values["spectrometer"]["regions"]:
        region["length_mm"] *= length
        region["field_v_per_cm"] *= field
    return parse_settings(Setup, values, where="setup")


def wrong_runs(name: str, events: int, seed: int = 3) -> Iterator[Outcome]:
    """Every mistake in a run or in a setup."""
    channel = channel_of(name)
    truth = setup_of(SPECTROMETERS[0])
    hits = mock(channel, events, setup=truth, seed=seed).hits
    right = results(reduce([hits], channel, truth), channel)
    places = {"m": 1e-3, "cm": 0.1, "µm": 1e3, "inches": 1 / 25.4, "pixels of 0.25 mm": 4.0}
    for unit, factor in places.items():
        yield through_reduce(
            f"positions in {unit}", scaled(hits, place=factor), truth, channel, right
        )
    times = {"s": 1e-9, "µs": 1e-3, "ps": 1e3, "TDC bins of 25 ps": 40.0, "half ns": 2.0}
    for unit, factor in times.items():
        yield through_reduce(f"times in {unit}", scaled(hits, time=factor), truth, channel, right)
    for unit, factor in {"V/m": 100.0, "kV/cm": 1e-3, "V/mm": 0.1}.items():
        setup = scaled_setup(truth, field=factor)
        yield through_reduce(f"fields in {unit}", hits, setup, channel, right)
    for unit, factor in {"cm": 0.1, "m": 1e-3, "inches": 1 / 25.4}.items():
        setup = scaled_setup(truth, length=factor)
        yield through_reduce(f"lengths in {unit}", hits, setup, channel, right)
    for unit, factor in {"km/s": 1e-3, "mm/ns": 1e-6, "cm/s": 100.0}.items():
        jet = {"velocity_m_per_s": truth.jet.velocity_m_per_s * factor}
        setup = setup_of(SPECTROMETERS[0], jet=jet)
        yield through_reduce(f"jet velocity in {unit}", hits, setup, channel, right)
    turned = turned_run(hits, 30.0)
    for unit, angle in {"radians": float(np.deg2rad(30.0))}.items():
        setup = setup_of(SPECTROMETERS[0], calibration={"rotation_deg": angle})
        yield through_reduce(f"rotation in {unit}", turned, setup, channel, right)
    late = replace(hits, t_ns=hits.t_ns + 40.0)
    setup = setup_of(SPECTROMETERS[0], calibration={"time_zero_ns": 0.04})
    yield through_reduce("time zero of 40 ns in µs", late, setup, channel, right)
    for factor in (1.1, 1.3):
        yield through_reduce(f"positions {factor} times too large", scaled(hits, place=factor),
                             truth, channel, right)  # fmt: skip


def turned_run(hits: Hits, degrees: float) -> Hits:
    """The image turned so that a rotation by `degrees` puts it right."""
    angle = -np.deg2rad(degrees)
    x = np.cos(angle) * hits.x_mm - np.sin(angle) * hits.y_mm
    y = np.sin(angle) * hits.x_mm + np.cos(angle) * hits.y_mm
    return replace(hits, x_mm=x, y_mm=y)


def wrong_structures(name: str) -> Iterator[Outcome]:
    """Structures in other units than angstrom, through simulate."""
    geometry = molecule(name).geometry
    ions = [f"{symbol}+" for symbol in geometry.symbols]
    right = simulate(geometry, ions).ker_ev
    for unit, factor in {"bohr": 1 / BOHR_ANGSTROM, "nm": 0.1, "pm": 100.0}.items():
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "structure.xyz"
            write_xyz(path, [Geometry(geometry.symbols, geometry.positions * factor)])
            progress = CollectingProgress()
            kind = f"structure of {name} in {unit}"
            try:
                found = simulate(path, ",".join(ions), progress=progress)
            except MolexaError as error:
                yield Outcome(kind, "refused", np.nan, str(error))
                continue
            change = abs(found.ker_ev / right - 1.0)
            how = "warned" if progress.warned else "silent"
            yield Outcome(kind, how, change, "; ".join(progress.warned))


def wrong_momenta(name: str) -> Iterator[Outcome]:
    """Mean momenta in other units than atomic ones, through reconstruct."""
    geometry = molecule(name).geometry
    table = simulate(geometry, [f"{symbol}+" for symbol in geometry.symbols]).table
    units = {
        "kg m/s": ATOMIC_MOMENTUM_SI,
        "g cm/s": ATOMIC_MOMENTUM_SI * 1e5,
        "amu km/s": ATOMIC_MOMENTUM_SI / 1.66053906892e-27 * 1e-3,
        "amu m/s": ATOMIC_MOMENTUM_SI / 1.66053906892e-27,
        "eV/c": 3728.9,
        "keV/c": 3.7289,
    }
    right = reconstruct(table, options=ReconstructOptions(samples=4, search=4)).positions_bohr
    for unit, factor in units.items():
        wrong = table.copy()
        wrong[["px", "py", "pz"]] *= factor
        kind = f"momenta of {name} in {unit}"
        try:
            record = reconstruct(wrong, options=ReconstructOptions(samples=4, search=4))
        except MolexaError as error:
            yield Outcome(kind, "refused", np.nan, str(error))
            continue
        change = float(np.abs(record.positions_bohr - right).max() / np.abs(right).max())
        how = "warned" if record.warnings else "silent"
        yield Outcome(kind, how, change, "; ".join(record.warnings))


def healthy_runs(
    number: int, events: int, *, seed: int = 0, among: Sequence[str] = MOLECULES
) -> Iterator[tuple[str, list[str]]]:
    """Warnings of correct runs: name of the run, and the text."""
    for place in range(seed, seed + number):
        name = among[place % len(among)]
        regions = SPECTROMETERS[(place // 3 + place) % len(SPECTROMETERS)]
        radius = (60.0, 40.0, 80.0)[place % 3]
        jet = {"velocity_m_per_s": (1000.0, 400.0, 1800.0, 0.0)[place % 4]}
        setup = setup_of(regions, detector={"radius_mm": radius}, jet=jet)
        channel = channel_of(name)
        progress = CollectingProgress()
        label = f"{name}, spectrometer {regions}, radius {radius:g} mm, seed {place}"
        try:
            hits = mock(channel, events, setup=setup, seed=place).hits
            reduce([hits], channel, setup, progress=progress)
        except MolexaError as error:
            progress.said.append(f"refused: {error}")
            label += " (no result)"
        yield label, progress.warned


def main(arguments: list[str] | None = None) -> int:
    """Print the tables; the exit code is 1 where something wrong passes or a healthy run warns."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--healthy", type=int, default=50, help="healthy runs")
    parser.add_argument("--events", type=int, default=20_000, help="shots of each run")
    parser.add_argument("--molecules", default="water,cf4", help="for the mistakes, with commas")
    parser.add_argument(
        "--seed", type=int, default=0, help="other runs than the limits were set on"
    )
    parser.add_argument("--among", help="molecules of the healthy runs, with commas")
    parser.add_argument("--words", action="store_true", help="show what was said")
    chosen = parser.parse_args(arguments)
    write = sys.stdout.write
    faults = 0
    makers: list[Callable[[str], Iterator[Outcome]]] = [
        lambda name: wrong_runs(name, chosen.events, seed=3 + chosen.seed),
        wrong_structures,
        wrong_momenta,
    ]
    for name in chosen.molecules.split(","):
        for make in makers:
            for found in make(name):
                faults += not found.passes
                mark = "" if found.passes else "  <-- passes"
                change = "" if np.isnan(found.change) else f"{100 * found.change:.3g} %"
                write(f"{name:8} {found.kind:34} {found.how:8} {change:>10}{mark}\n")
                if chosen.words:
                    write(f"         {found.said}\n")
    alarms = 0
    among = chosen.among.split(",") if chosen.among else MOLECULES
    for label, warned in healthy_runs(chosen.healthy, chosen.events, seed=chosen.seed, among=among):
        alarms += bool(warned)
        if warned or label.endswith("(no result)"):
            write(f"healthy: {label}: {warned}\n")
    write(f"{faults} mistakes pass; {alarms} false alarms in {chosen.healthy} healthy runs\n")
    return int(bool(faults or alarms))


if __name__ == "__main__":
    sys.exit(main())
