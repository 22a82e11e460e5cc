"""Coincidences for a calibration: found with a setup that may be wrong, kept as recorded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from molexa_core.base.errors import ComputationError, UsageError
from molexa_core.base.settings import Channel, Setup
from molexa_core.base.tables import BoolArray, FloatArray, Hits, IntArray
from molexa_core.reduction.calibration.moment_fit import ChannelSample
from molexa_core.reduction.calibration.quantities import changed
from molexa_core.reduction.calibration.vanishing import first_state
from molexa_core.reduction.coincidences import Search, Tally
from molexa_core.reduction.gate import find_peak, gate_around
from molexa_core.reduction.laboratory import calibrate
from molexa_core.reduction.peak import Peak

_MOST_SUMS: Final = 100_000
_WIDER: Final = 1.3
"""Momenta up to this factor above the channel's limit are looked at: a wrong setup changes them."""
_SIGMAS: Final = 8.0
"""Half width of the box of momentum sums, in standard deviations of the peak."""
_UNCROWDED_SHARE: Final = 0.2
_FEWEST_UNCROWDED: Final = 3000
"""Coincidences of shots without further ions are used alone if they are this share, and so many."""
_SCAN_FIELDS: Final = np.exp(np.array([0.0, -0.04, 0.04, -0.08, 0.08, -0.13, 0.13]))
_SCAN_TIMES: Final = np.array([0.0, -8.0, 8.0, -16.0, 16.0, -25.0, 25.0, -40.0, 40.0])
_SCAN_HITS: Final = 60_000
"""Fields, times in ns and number of hits of the search for a first setup."""


def collect(chunks: Sequence[Hits], channel: Channel, setup: Setup, *, most: int) -> ChannelSample:
    """The coincidences of a channel around the peak of its momentum sums.

    If there are enough of them, only shots are used in which no other hit lies in the windows of
    the ions. In others an ion can be replaced by one of another molecule. Of two close ones the
    detector records the earlier, so that such sums are not centred at zero: at one molecule per
    shot the centre of all sums was off by a hundredth of their width.

    Args:
        chunks: hits as recorded.
        channel: a complete channel.
        setup: as known so far.
        most: largest number of coincidences.

    Raises:
        UsageError: a partial channel.
        ComputationError: no peak in the momentum sums.
        SettingsError: the spectrometer gives two momenta the same time of flight.
    """
    if not channel.is_complete:
        raise UsageError(
            f"channel {channel.name} does not ask for all ions of its break-up, so that their "
            "momenta need not cancel",
            do="Calibrate with a channel whose ions are all detected.",
        )
    search = Search(_wider(channel), setup)
    peaks = _peaks(search, chunks, setup)
    gate = gate_around(peaks, sigmas=_SIGMAS, centre=None, half_width=None)
    columns: list[tuple[FloatArray, FloatArray, FloatArray]] = []
    sums: list[FloatArray] = []
    uncrowded: list[BoolArray] = []
    found = alone = 0
    for chunk in chunks:
        hits, _ = calibrate(chunk, setup)
        shot, rows = search.find(hits, Tally(), gate)
        if len(rows):
            recorded = setup.calibration.as_recorded(
                hits.x_mm[rows], hits.y_mm[rows], hits.t_ns[rows]
            )
            columns.append(recorded)
            sums.append(search.momenta(hits, rows).sum(axis=1))
            uncrowded.append(_hits_in_windows(search, hits)[shot] == len(search.ions))
            found += len(rows)
            alone += int(uncrowded[-1].sum())
        if alone >= most or (found >= most and alone < _UNCROWDED_SHARE * found):
            break
    if not columns:
        raise ComputationError(f"no coincidence of channel {channel.name}")
    kept = np.concatenate(uncrowded)
    if alone < max(_UNCROWDED_SHARE * found, _FEWEST_UNCROWDED):
        kept[:] = True
    x, y, t = (np.concatenate(parts)[kept][:most] for parts in zip(*columns, strict=True))
    state = first_state(
        np.concatenate(sums)[kept][:most],
        np.array([peak.sigma for peak in peaks]),
        np.array([peak.centre for peak in peaks]),
    )
    volume = float(np.prod(2.0 * gate.half_width))
    return ChannelSample(channel.name, search.ions, x, y, t, volume, state)


def first_setup(chunks: Sequence[Hits], channel: Channel, setup: Setup) -> Setup | None:
    """A setup near this one with which the momentum sums have a peak; None if there is none.

    Electric field and time zero are changed in steps, those near the setup first; of all that show
    a peak the one with most coincidences in it is chosen.
    """
    few, n = [], 0
    for chunk in chunks:
        few.append(chunk)
        n += chunk.n_hits
        if n >= _SCAN_HITS:
            break
    best: tuple[float, Setup] | None = None
    for field in _SCAN_FIELDS:
        for late in _SCAN_TIMES:
            trial = changed(setup, {"field": float(np.log(field)), "time_zero": float(late)})
            try:
                peaks = _peaks(Search(_wider(channel), trial), few, trial)
            except ComputationError:
                continue
            signal = float(np.mean([peak.signal for peak in peaks]))
            if best is None or signal > best[0]:
                best = signal, trial
    return None if best is None else best[1]


def _hits_in_windows(search: Search, hits: Hits) -> IntArray:
    """(shots) number of hits whose time of flight lies in the window of any ion."""
    inside = np.zeros(hits.n_hits, np.bool_)
    for first, last in search.windows.values():
        inside |= (hits.t_ns >= first) & (hits.t_ns <= last)
    before = np.concatenate([[0], np.cumsum(inside)])
    return np.asarray(np.diff(before[hits.offsets]), np.int64)


def _wider(channel: Channel) -> Channel:
    limit = _WIDER * channel.gates.max_momentum
    gates = channel.gates.model_copy(update={"max_momentum": limit})
    return channel.model_copy(update={"gates": gates})


def _peaks(search: Search, chunks: Sequence[Hits], setup: Setup) -> tuple[Peak, Peak, Peak]:
    sums, filled, tally = np.empty((_MOST_SUMS, 6)), 0, Tally()
    for chunk in chunks:
        hits, _ = calibrate(chunk, setup)
        filled = search.collect_sums(hits, tally, sums, filled)
        if filled >= _MOST_SUMS:
            break
    return find_peak(sums[:filled], search.sum_range)
