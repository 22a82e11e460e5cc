"""Time zero and mass scale from the times of flight of known ions.

Where all voltages are changed by one factor f, the time of flight of an ion at rest is T / sqrt(f),
T being that of the setup; recorded is t = t0 + T / sqrt(f). Two peaks fix t0 and f, one peak only
one of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from molexa_core.base.errors import ComputationError, UsageError
from molexa_core.base.matter.flight import flight_time
from molexa_core.base.matter.ions import parse_ion
from molexa_core.base.settings import Setup
from molexa_core.base.tables import FloatArray, Hits
from molexa_core.reduction.calibration.quantities import changed
from molexa_core.reduction.peak import fit_peak

_NEAR: Final = 0.03
"""A named peak is looked for within this share of its time."""
_FEWEST: Final = 200
_MOST_FIELD: Final = np.log(100.0)


@dataclass(frozen=True)
class TimePeak:
    """A peak in the times of flight.

    Attributes:
        ion: its ion.
        time_ns: recorded time of ions at rest.
        error_ns: standard error; 0 where it was given and not found in the data.
    """

    ion: str
    time_ns: float
    error_ns: float


def refined(chunks: Sequence[Hits], named: Mapping[str, float]) -> list[TimePeak]:
    """The named peaks as found in the data near the times given, or as given.

    Args:
        chunks: hits as recorded.
        named: recorded time in ns of each ion.

    Raises:
        UsageError: a time that is not positive.
    """
    times = np.concatenate([chunk.t_ns for chunk in chunks]) if chunks else np.empty(0)
    return [_refined(times, ion, time) for ion, time in named.items()]


def _refined(times: FloatArray, ion: str, time: float) -> TimePeak:
    if not np.isfinite(time):
        raise UsageError(f"the time of the peak {ion} is {time}", do="Give it in ns.")
    ion = str(parse_ion(ion))
    half = max(_NEAR * abs(time), 20.0)
    near = times[np.abs(times - time) < half]
    if len(near) < _FEWEST:
        return TimePeak(ion, time, 0.0)
    found = fit_peak(near, time - half, time + half, time, half / 5.0)
    clear = found.gain > 25.0 and abs(found.centre - time) < 0.5 * half
    if not clear or not np.isfinite(found.centre_error):
        return TimePeak(ion, time, 0.0)
    return TimePeak(ion, found.centre, found.centre_error)


def from_peaks(setup: Setup, peaks: Sequence[TimePeak]) -> tuple[Setup, list[str]]:
    """The setup with time zero and field from peaks, and sentences on what they fix.

    Args:
        setup: as known so far; with one peak its time zero is kept.
        peaks: of different mass over charge.

    Raises:
        ComputationError: the peaks contradict each other, or no field gives these times.
    """
    if not peaks:
        return setup, []
    times = np.array([peak.time_ns for peak in peaks])
    flights = np.array(
        [
            float(flight_time(0.0, float(ion.charge), ion.mass, setup.spectrometer))
            for ion in (parse_ion(peak.ion) for peak in peaks)
        ]
    )
    zero = setup.calibration.time_zero_ns
    one = len(peaks) == 1 or np.ptp(flights) < 1e-3 * flights.max()
    if one:
        stretch = float(np.mean((times - zero) / flights))
    else:
        stretch, zero = (float(value) for value in np.polyfit(flights, times, 1))
    if stretch <= 0.0 or abs(2.0 * np.log(stretch)) > _MOST_FIELD:
        raise ComputationError(
            "no electric field gives the times of the peaks "
            + ", ".join(f"{peak.ion} {peak.time_ns:g} ns" for peak in peaks),
            do="Check which ion is which, and lengths and fields of the setup.",
        )
    field = -2.0 * float(np.log(stretch))
    now = changed(setup, {"field": field, "time_zero": zero - setup.calibration.time_zero_ns})
    said = []
    if one:
        said.append(
            f"one peak ({peaks[0].ion}) fixes only one of time zero and electric field: the time "
            f"zero of the setup, {zero:g} ns, was kept for the start"
        )
    elif len(peaks) > 2:
        rest = times - zero - stretch * flights
        worst = int(np.argmax(np.abs(rest)))
        if abs(rest[worst]) > max(0.002 * times[worst], 3.0):
            said.append(
                f"the peaks do not fit together: {peaks[worst].ion} at {times[worst]:g} ns is off "
                f"by {rest[worst]:.3g} ns; is it this ion?"
            )
    return now, said
