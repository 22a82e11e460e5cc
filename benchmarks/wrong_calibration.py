"""Wrong calibrations: does `molexa reduce` say so, and is it silent about right ones?

Virtual runs are reduced with setups and channels that are wrong in one thing: time zero, field,
lengths, order of regions, mass, charge, m/q, centre, jet, signs and swap of axes, scales, magnetic
field, radius of the detector, trigger slot, clock. Each kind comes in several sizes. A mistake that
changes the kinetic energy release or the size of any mean momentum by more than 3 % must be warned
about or refused. Healthy runs must raise no warning.

    python benchmarks/wrong_calibration.py --healthy 100 --workers 2

A case takes about three seconds with 20 000 shots; 140 cases for each molecule.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from benchmarks.wrong_units import (
    ALLOWED,
    MOLECULES,
    Outcome,
    channel_of,
    healthy_runs,
    results,
    setup_of,
)
from molexa_core.base.errors import MolexaError
from molexa_core.base.progress import CollectingProgress
from molexa_core.base.settings import Channel, Setup, parse_settings
from molexa_core.base.tables import Hits
from molexa_core.pipeline.chain.reduce import reduce
from molexa_core.pipeline.runs.mock import mock
from molexa_core.reduction.calibration.quantities import changed

REGIONS = (
    ((110.0, 250.0),),
    ((30.0, 150.0), (25.0, 450.0), (80.0, 0.0)),
)
"""Spectrometers: one region; a three-region one with a drift, for the order of regions."""
RADIUS = 60.0
SMALL = 0.1
"""Mean momenta below this share of the largest are zero but for noise."""


@dataclass(frozen=True)
class Case:
    """One mistake of one size.

    Attributes:
        kind: what is wrong.
        size: how much, as text.
        molecule: of the run.
        spectrometer: index into `REGIONS`.
        change: makes hits, setup and channel wrong.
    """

    kind: str
    size: str
    molecule: str
    spectrometer: int
    change: str
    amount: float


Change = Callable[[Hits, Setup, Channel, float], tuple[Hits, Setup, Channel]]


def _quantity(**names: float) -> Change:
    """A change of quantities of the setup, in units of the amount."""

    def change(
        hits: Hits, setup: Setup, channel: Channel, amount: float
    ) -> tuple[Hits, Setup, Channel]:
        parts = {name: amount * share for name, share in names.items()}
        return hits, changed(setup, parts), channel

    return change


def _jet(hits: Hits, setup: Setup, channel: Channel, amount: float) -> tuple[Hits, Setup, Channel]:
    speed = setup.jet.velocity_m_per_s * (amount - 1.0)
    return hits, changed(setup, {"jet": speed}), channel


def _radius(
    hits: Hits, setup: Setup, channel: Channel, amount: float
) -> tuple[Hits, Setup, Channel]:
    values = setup.model_dump()
    values["detector"]["radius_mm"] *= amount
    return hits, parse_settings(Setup, values, where="setup"), channel


def _sign(axis: str) -> Change:
    def change(
        hits: Hits, setup: Setup, channel: Channel, amount: float
    ) -> tuple[Hits, Setup, Channel]:
        del amount
        values = setup.model_dump()
        values["calibration"][f"scale_{axis}"] *= -1.0
        return hits, parse_settings(Setup, values, where="setup"), channel

    return change


def _swap(hits: Hits, setup: Setup, channel: Channel, amount: float) -> tuple[Hits, Setup, Channel]:
    del amount
    return replace(hits, x_mm=hits.y_mm, y_mm=hits.x_mm), setup, channel


def _order(
    hits: Hits, setup: Setup, channel: Channel, amount: float
) -> tuple[Hits, Setup, Channel]:
    values = setup.model_dump()
    regions = list(values["spectrometer"]["regions"])
    one, other = ((0, 1), (1, 2))[int(amount)]
    regions[one], regions[other] = regions[other], regions[one]
    values["spectrometer"]["regions"] = regions
    return hits, parse_settings(Setup, values, where="setup"), channel


def _clock(
    hits: Hits, setup: Setup, channel: Channel, amount: float
) -> tuple[Hits, Setup, Channel]:
    return replace(hits, t_ns=hits.t_ns * amount), setup, channel


def _slot(hits: Hits, setup: Setup, channel: Channel, amount: float) -> tuple[Hits, Setup, Channel]:
    return replace(hits, t_ns=hits.t_ns + amount), setup, channel


def _ion(make: Callable[[str, float], dict[str, Any]]) -> Change:
    """Another mass or charge of the first ion of the channel, which is heavy."""

    def change(
        hits: Hits, setup: Setup, channel: Channel, amount: float
    ) -> tuple[Hits, Setup, Channel]:
        values = channel.model_dump(mode="json", exclude_none=True)
        first = values["ions"][0]
        values["ions"][0] = first | make(first["ion"], amount)
        values["molecule"] = None
        return hits, setup, parse_settings(Channel, values, where="channel")

    return change


_MASSES = {"H": 1.00783, "C": 12.0, "N": 14.00307, "O": 15.99491, "F": 18.9984, "S": 31.97207}


def _mass(ion: str, amount: float) -> dict[str, Any]:
    return {"mass_u": _MASSES[ion.rstrip("+0123456789")] + amount}


def _charge(ion: str, amount: float) -> dict[str, Any]:
    """The same element with another charge."""
    return {"ion": f"{ion.rstrip('+')}{int(amount)}+"}


def _same_ratio(ion: str, amount: float) -> dict[str, Any]:
    """An ion of the same mass over charge and a multiple of both."""
    mass = _MASSES[ion.rstrip("+0123456789")]
    return {"ion": f"{ion.rstrip('+')}{int(amount)}+", "mass_u": amount * mass}


CHANGES: dict[str, tuple[Change, tuple[float, ...]]] = {
    "time zero (ns)": (_quantity(time_zero=1.0), (-30.0, -10.0, -4.0, 4.0, 10.0, 30.0)),
    "field (log)": (_quantity(field=1.0), (-0.15, -0.06, -0.02, 0.02, 0.06, 0.15)),
    "lengths (log)": (_quantity(lengths=1.0), (-0.15, -0.06, -0.02, 0.02, 0.06, 0.15)),
    "field and lengths (log)": (_quantity(field=1.0, lengths=1.0), (-0.1, -0.04, 0.04, 0.1)),
    "order of regions": (_order, (0.0, 1.0)),
    "mass of an ion (u)": (_ion(_mass), (-1.0, 0.5, 1.0)),
    "charge of an ion": (_ion(_charge), (2.0,)),
    "ion of the same m/q": (_ion(_same_ratio), (2.0,)),
    "centre along x (mm)": (_quantity(centre_x=1.0), (0.5, 1.5, 5.0)),
    "centre along y (mm)": (_quantity(centre_y=1.0), (-5.0, -1.5, 0.5)),
    "jet (factor)": (_jet, (-1.0, 0.0, 0.5, 2.0)),
    "sign of x": (_sign("x"), (1.0,)),
    "sign of y": (_sign("y"), (1.0,)),
    "x and y swapped": (_swap, (1.0,)),
    "rotation (deg)": (_quantity(rotation=1.0), (-60.0, 10.0, 90.0, 180.0)),
    "scale of x (log)": (_quantity(scale_x=1.0), (-0.2, -0.1, -0.05, 0.05, 0.1, 0.2)),
    "scale of y (log)": (_quantity(scale_y=1.0), (-0.2, -0.1, -0.05, 0.05, 0.1, 0.2)),
    "scale of x and y (log)": (
        _quantity(scale_x=1.0, scale_y=1.0),
        (-0.15, -0.07, -0.03, 0.03, 0.07, 0.15),
    ),
    "magnetic field (G)": (_quantity(magnetic_field=1.0), (-100.0, -30.0, 10.0, 30.0, 300.0)),
    "detector radius (factor)": (_radius, (0.4, 0.55, 0.7, 0.85, 1.5)),
    "trigger slot (ns)": (_slot, (-100.0, 222.0)),
    "clock (factor)": (_clock, (0.93, 0.98, 1.02, 1.07)),
}
"""What is wrong, and the sizes that are tried."""


def cases(molecules: list[str]) -> Iterator[Case]:
    """Every mistake of every size; the order of regions where there are several."""
    for name in molecules:
        for spectrometer, regions in enumerate(REGIONS):
            for kind, (_, amounts) in CHANGES.items():
                if kind == "order of regions" and len(regions) == 1:
                    continue
                for amount in amounts:
                    yield Case(kind, f"{amount:g}", name, spectrometer, kind, amount)


@lru_cache(maxsize=2)
def _run(
    name: str, spectrometer: int, shots: int, seed: int
) -> tuple[Hits, Setup, Channel, np.ndarray]:
    """A run with its right setup, and the right results."""
    channel = channel_of(name)
    setup = setup_of(REGIONS[spectrometer], detector={"radius_mm": RADIUS})
    hits = mock(channel, shots, setup=setup, seed=seed).hits
    return hits, setup, channel, results(reduce([hits], channel, setup), channel)


def outcome(case: Case, shots: int, seed: int) -> tuple[Case, Outcome]:
    """What reduce says of one mistake."""
    hits, setup, channel, right = _run(case.molecule, case.spectrometer, shots, seed)
    change, _ = CHANGES[case.change]
    try:
        wrong_hits, wrong, other = change(hits, setup, channel, case.amount)
    except MolexaError as error:
        return case, Outcome(case.kind, "refused", np.nan, str(error))
    return case, _through(case.kind, wrong_hits, wrong, other, right)


def _through(kind: str, hits: Hits, setup: Setup, channel: Channel, right: np.ndarray) -> Outcome:
    """Reduce with a wrong setup and compare; mean momenta near zero (C+ of CF4) do not count."""
    progress = CollectingProgress()
    try:
        found = results(reduce([hits], channel, setup, progress=progress), channel)
    except MolexaError as error:
        return Outcome(kind, "refused", np.nan, str(error))
    counts = right > SMALL * right[1:].max()
    counts[0] = True  # the release
    change = float(np.abs(found / right - 1.0)[counts].max())
    how = "warned" if progress.warned else "silent"
    return Outcome(kind, how, change, "; ".join(progress.warned))


def _healthy(place: int, shots: int, among: tuple[str, ...]) -> tuple[str, list[str]]:
    return next(iter(healthy_runs(1, shots, seed=place, among=among)))


def main(arguments: list[str] | None = None) -> int:
    """Print the tables; the exit code is 1 where something wrong passes or a healthy run warns."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--healthy", type=int, default=100, help="healthy runs")
    parser.add_argument("--events", type=int, default=20_000, help="shots of each run")
    parser.add_argument("--molecules", default="water,cf4", help="for the mistakes, with commas")
    parser.add_argument("--among", help="molecules of the healthy runs, with commas")
    parser.add_argument("--kinds", default="", help="kinds that contain this text only")
    parser.add_argument("--seed", type=int, default=0, help="of the runs")
    parser.add_argument("--workers", type=int, default=1, help="processes")
    parser.add_argument("--words", action="store_true", help="show what was said")
    chosen = parser.parse_args(arguments)
    write = sys.stdout.write
    wanted = [case for case in cases(chosen.molecules.split(",")) if chosen.kinds in case.kind]
    faults = 0
    with ProcessPoolExecutor(chosen.workers) as pool:
        found = pool.map(
            outcome,
            wanted,
            [chosen.events] * len(wanted),
            [chosen.seed + 3] * len(wanted),
            chunksize=8,
        )
        for case, one in found:
            faults += not one.passes
            mark = "" if one.passes else "  <-- passes"
            change = "" if np.isnan(one.change) else f"{100 * one.change:.3g} %"
            write(
                f"{case.molecule:6} {len(REGIONS[case.spectrometer])} region(s)  {case.kind:26} "
                f"{case.size:>6} {one.how:8} {change:>10}{mark}\n"
            )
            if chosen.words:
                write(f"         {one.said}\n")
            sys.stdout.flush()
        alarms = 0
        places = range(chosen.seed, chosen.seed + chosen.healthy)
        among = tuple(chosen.among.split(",")) if chosen.among else MOLECULES
        told = [chosen.events] * len(places), [among] * len(places)
        for label, warned in pool.map(_healthy, places, *told):
            alarms += bool(warned)
            if warned or label.endswith("(no result)"):
                write(f"healthy: {label}: {warned}\n")
                sys.stdout.flush()
    write(
        f"{faults} of {len(wanted)} mistakes pass (limit {100 * ALLOWED:.0f} %); {alarms} false "
        f"alarms in {chosen.healthy} healthy runs\n"
    )
    return int(bool(faults or alarms))


if __name__ == "__main__":
    sys.exit(main())
