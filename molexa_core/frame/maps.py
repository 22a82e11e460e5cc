"""Histograms of aligned events: Newton plot and kinetic energy release."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import boost_histogram as bh
import numpy as np

from molexa_core.base.errors import NoEventsError, UsageError
from molexa_core.base.fields import MOMENTUM
from molexa_core.base.spectrum import Spectrum
from molexa_core.base.subtraction import scale_error_of, true_mean
from molexa_core.base.tables import Coincidences
from molexa_core.base.units import HARTREE_EV

NEWTON_BINS: Final = 160
KER_BINS: Final = 120
_AXES: Final = "xyz"
_MARGIN: Final = 1.1
_COVERED: Final = 0.998


def newton_map(
    table: Coincidences,
    *,
    plane: str = "xy",
    ions: Sequence[int] | None = None,
    bins: int = NEWTON_BINS,
    limit: float | None = None,
) -> Spectrum:
    """Newton plot: momenta of all ions of aligned events in one plane of the molecular frame.

    The momenta are in a.u., not scaled to that of the reference; an event counts once per ion, with
    its weight. False coincidences of the table are subtracted.

    Args:
        table: aligned events.
        plane: two of the axes x, y, z: the horizontal and the vertical one.
        ions: columns to fill; all where not given.
        bins: number of bins of each axis.
        limit: half width of the map in a.u.; where not given it covers 99.8 % of the ions.

    Raises:
        UsageError: `plane` is not two axes.
        NoEventsError: no events.
    """
    if len(plane) != 2 or any(axis not in _AXES for axis in plane):
        raise UsageError(f"{plane!r} is not a plane", do="Use two of x, y, z, such as xz.")
    if not len(table):
        raise NoEventsError("no events for a Newton map")
    chosen = list(range(len(table.ions))) if ions is None else list(ions)
    first, second = (_AXES.index(axis) for axis in plane)
    across = table.momentum[:, chosen, first].ravel()
    up = table.momentum[:, chosen, second].ravel()
    half = limit
    if half is None:
        half = _MARGIN * float(np.quantile(np.maximum(np.abs(across), np.abs(up)), _COVERED))
    half = half or 1.0
    axis = bh.axis.Regular(bins, -half, half)
    histogram = bh.Histogram(axis, axis, storage=bh.storage.Double())
    histogram.fill(across, up, weight=np.repeat(table.weight, len(chosen)))
    if (false := table.false) is not None:
        across, up = (false.momentum[:, chosen, axis].ravel() for axis in (first, second))
        histogram.fill(across, up, weight=-np.repeat(false.weight, len(chosen)))
    edges = np.asarray(axis.edges)
    return Spectrum(
        counts=np.asarray(histogram.view()),
        edges=(edges, edges.copy()),
        labels=(MOMENTUM[first], MOMENTUM[second]),
        units=("a.u.", "a.u."),
    )


def kinetic_energy_release(table: Coincidences, *, bins: int = KER_BINS) -> Spectrum:
    """Histogram of the kinetic energy release, the sum of p^2 / 2m over all ions, in eV.

    Aligned events are in the centre-of-mass frame unless the recoil was kept. False coincidences of
    the table are subtracted; the spectrum then has errors: counts, weights of the false rows and
    their normalisation.

    Raises:
        NoEventsError: no events.
    """
    if not len(table):
        raise NoEventsError("no events for the kinetic energy release")
    energy = table.kinetic_energy().sum(axis=1) * HARTREE_EV
    top = _MARGIN * float(np.quantile(energy, _COVERED)) or 1.0
    edges = np.linspace(0.0, top, bins + 1)
    counts = np.histogram(energy, edges, weights=table.weight)[0]
    errors = None
    mean = float(np.average(energy, weights=table.weight))
    if (false := table.false) is not None and len(false):
        of_false = false.kinetic_energy().sum(axis=1) * HARTREE_EV
        taken = np.histogram(of_false, edges, weights=false.weight)[0]
        variance = np.histogram(energy, edges, weights=table.weight**2)[0]
        variance += np.histogram(of_false, edges, weights=false.weight**2)[0]
        errors = np.sqrt(variance + (scale_error_of(table.meta) * taken) ** 2)
        counts = counts - taken
        mean = float(true_mean(table, energy, of_false).mean[0])
    return Spectrum(
        counts=counts,
        edges=(edges,),
        labels=("kinetic energy release",),
        units=("eV",),
        marks={"mean": mean},
        errors=errors,
    )
