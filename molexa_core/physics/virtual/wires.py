"""Signals at the wire ends of a delay-line anode, as a time-to-digital converter records them.

The effects in order: run times along the wires, jitter, lost signals, pulses on the tail of the
previous one, dead time, noise, bins of the converter. Geometry and sign conventions are those of
`base.settings.anode`; they are implemented here a second time, so that the test of the sorter uses
independent code.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from molexa_core.base.compiled import compiled
from molexa_core.base.settings.anode import Anode, Layer
from molexa_core.base.settings.virtual import WireSignals
from molexa_core.base.tables import BoolArray, FloatArray, IntArray

NO_HIT: Final = -1
_ITERATIONS: Final = 40
_N_SIGNALS: Final = 7
_MCP: Final = 6


@dataclass(frozen=True)
class Recorded:
    """Edges of a block of shots, sorted by shot, channel and time.

    Attributes:
        shot: (edges) number of the shot within its block.
        channel: (edges) TDC channel.
        bins: (edges) time in bins of the converter.
        hit: (edges) row of the hit that caused the edge, -1 for noise.
        lost: (hits, 7) whether a signal was not recorded, in the order of `SIGNALS`.
    """

    shot: IntArray
    channel: NDArray[np.int16]
    bins: IntArray
    hit: IntArray
    lost: BoolArray


def layer_positions(anode: Anode, x_mm: FloatArray, y_mm: FloatArray) -> list[FloatArray]:
    """Position of hits on each layer in mm, the distance along its normal."""
    degrees = (0.0, 90.0) if anode.kind == "quad" else (0.0, -60.0, 60.0)
    angles = np.deg2rad(degrees)
    return [np.cos(angle) * x_mm + np.sin(angle) * y_mm for angle in angles]


def end_times(
    anode: Anode, signals: WireSignals, x_mm: FloatArray, y_mm: FloatArray, t_ns: FloatArray
) -> FloatArray:
    """(hits, 7) exact times of all signals; NaN if the anode has no such signal."""
    times = np.full((len(t_ns), _N_SIGNALS), np.nan)
    times[:, _MCP] = t_ns
    places = layer_positions(anode, x_mm, y_mm)
    for row, (layer, place) in enumerate(zip(anode.layers, places, strict=True)):
        plain = plain_position(anode, layer, signals, place)
        difference = plain / anode.mm_per_ns(layer)
        total = layer.time_sum_ns + _table(layer.time_sum_correction, plain)
        total = total + signals.walk_ns * (plain / anode.mcp_radius_mm) ** 2
        times[:, 2 * row] = t_ns + 0.5 * (total + difference)
        times[:, 2 * row + 1] = t_ns + 0.5 * (total - difference)
    return times


def plain_position(
    anode: Anode, layer: Layer, signals: WireSignals, place: FloatArray
) -> FloatArray:
    """Scale * (t1 - t2) of pulses at these positions, by iteration, since corrections are small."""
    plain = place - layer.offset_mm
    for _ in range(_ITERATIONS):
        change = _table(layer.position_correction, plain)
        change = change + bend(plain / anode.mcp_radius_mm, signals.bend_mm)
        plain = place - layer.offset_mm - change
    return plain


def bend(part: FloatArray, largest_mm: float) -> FloatArray:
    """Non-linearity of a layer: true minus linear position, for positions in units of the radius.

    It is the Chebyshev polynomial U3 / 4, which has no linear part on an evenly illuminated plate,
    so that the scale factor of such a layer is well defined.
    """
    inside = np.clip(part, -1.0, 1.0)
    return largest_mm * (2.0 * inside**3 - inside)


def record(
    anode: Anode,
    signals: WireSignals,
    shot: IntArray,
    place: tuple[FloatArray, FloatArray, FloatArray],
    shots: int,
    window_ns: float,
    random: np.random.Generator,
) -> Recorded:
    """The edges of hits and noise.

    Args:
        anode: geometry, time sums, dead times, channels.
        signals: imperfections.
        shot: (hits) number of the shot within the block.
        place: x and y in mm and t in ns of the hits on the detector, each (hits).
        shots: shots of the block.
        window_ns: noise occurs between 0 and this time.
        random: random generator of the block.
    """
    n = len(shot)
    times = end_times(anode, signals, *place)
    jitter = np.full(_N_SIGNALS, signals.anode_jitter_ns)
    jitter[_MCP] = signals.mcp_jitter_ns
    times += jitter * random.normal(size=(n, _N_SIGNALS))
    seen = random.uniform(size=(n, _N_SIGNALS)) >= signals.missing
    seen &= ~np.isnan(times)
    row, signal = np.nonzero(seen)
    noise_shot, noise_signal, noise_time = _noise(anode, signals, shots, window_ns, random)
    all_shot = np.concatenate([shot[row], noise_shot])
    all_signal = np.concatenate([signal, noise_signal]).astype(np.int64)
    all_time = np.concatenate([times[row, signal], noise_time])
    hit = np.concatenate([row, np.full(len(noise_shot), NO_HIT)]).astype(np.int64)
    order = np.lexsort((all_time, all_signal, all_shot))
    all_shot, all_signal, all_time = all_shot[order], all_signal[order], all_time[order]
    hit = hit[order]
    dead = np.full(_N_SIGNALS, anode.dead_time_anode_ns)
    dead[_MCP] = anode.dead_time_mcp_ns
    kept = np.ones(len(order), np.bool_)
    pass_electronics(
        all_shot * _N_SIGNALS + all_signal, all_time, dead[all_signal],
        signals.pile_up_ns, signals.pile_up_decay_ns, kept,
    )  # fmt: skip
    lost = np.ones((n, _N_SIGNALS), np.bool_)
    from_hit = kept & (hit >= 0)
    lost[hit[from_hit], all_signal[from_hit]] = False
    channel = np.array(anode.signal_channels, np.int16)[all_signal[kept]]
    bins = np.rint(all_time[kept] / signals.bin_ns).astype(np.int64)
    final = np.lexsort((bins, channel, all_shot[kept]))
    return Recorded(all_shot[kept][final], channel[final], bins[final], hit[kept][final], lost)


@compiled
def pass_electronics(
    line: IntArray, time: FloatArray, dead: FloatArray, shift: float, decay: float, kept: BoolArray
) -> None:
    """Apply pile-up and dead time to pulses sorted by line and time, in place.

    A pulse within the dead time of the last recorded edge of its line is not recorded; a later one
    is delayed by `shift * exp(-(delay - dead) / decay)`, where the delay is measured from the
    previous pulse.
    """
    last_edge = 0.0
    for k in range(len(line)):
        if k == 0 or line[k] != line[k - 1]:
            last_edge = time[k]
            last_pulse = time[k]
            continue
        delay = time[k] - last_pulse
        last_pulse = time[k]
        if time[k] - last_edge < dead[k]:
            kept[k] = False
            continue
        last_edge = time[k]
        time[k] += shift * np.exp(-max(delay - dead[k], 0.0) / decay)


def _noise(
    anode: Anode, signals: WireSignals, shots: int, window_ns: float, random: np.random.Generator
) -> tuple[IntArray, IntArray, FloatArray]:
    """Shot, signal and time of noise edges."""
    there = np.array(anode.signal_channels) >= 0
    counts = random.poisson(signals.noise_per_shot, size=(shots, _N_SIGNALS))
    counts[:, ~there] = 0
    shot, signal = np.nonzero(counts)
    repeats = counts[shot, signal]
    shot, signal = np.repeat(shot, repeats), np.repeat(signal, repeats)
    return shot, signal, random.uniform(0.0, window_ns, size=len(shot))


def _table(points: tuple[tuple[float, float], ...], place: FloatArray) -> FloatArray:
    if not points:
        return np.zeros_like(place)
    positions, values = zip(*points, strict=True)
    found: FloatArray = np.interp(place, positions, values)
    return found
