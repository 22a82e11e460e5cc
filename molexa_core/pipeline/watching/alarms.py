"""Alarms of a measurement that runs: rates lost, momentum sums and peaks that drift.

What drifts must be both significant and large: more than five standard errors of the newest
coincidences, and more than what changes a result.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from molexa_core.reduction.growing import KER as _KER
from molexa_core.reduction.growing import SUM as _SUM
from molexa_core.reduction.growing import GrowingReduction
from molexa_core.reduction.history import FOUND, HITS, SHOTS

NEWEST: Final = 300
"""Newest coincidences that are compared with those before."""
NEWEST_SHOTS: Final = 2000
FEWEST_BEFORE: Final = 300
SIGNIFICANT: Final = 5.0
"""Standard errors."""
_HALF: Final = 0.5
"""A rate per shot that has fallen below this share of the earlier one is lost."""
_SUM_SIGMAS: Final = 0.5
_TIME_NS: Final = 1.0
_KER_SHARE: Final = 0.03
_LEAST_PURITY: Final = 0.5


@dataclass(frozen=True)
class Alarm:
    """Something that somebody should look at.

    Attributes:
        about: what it is about, one word: `data`, `gate`, `rate`, `sums`, `peaks`, `purity`,
            `file`.
        text: a sentence.
        serious: whether data may be lost or wrong; otherwise it is a remark.
    """

    about: str
    text: str
    serious: bool = True


def alarms(reduction: GrowingReduction, *, silent_s: float | None, quiet_s: float) -> list[Alarm]:
    """What is wrong now.

    Args:
        reduction: all that was read.
        silent_s: seconds without new data; None before the first.
        quiet_s: so many of them are too many.
    """
    found: list[Alarm] = []
    if silent_s is not None and silent_s > quiet_s:
        found.append(Alarm("data", f"no new data for {_duration(silent_s)}"))
    if reduction.trouble:
        few = reduction.trouble.startswith(("too few", "only"))
        found.append(Alarm("gate", f"no momentum-sum gate: {reduction.trouble}", serious=not few))
    found += _rates(reduction)
    found += _drifts(reduction)
    purity = reduction.purity
    if purity is not None and purity.purity + purity.purity_error < _LEAST_PURITY:
        share = 100.0 * purity.purity
        found.append(Alarm("purity", f"only {share:.0f} % of the coincidences are true ones"))
    return found


def _rates(reduction: GrowingReduction) -> list[Alarm]:
    """Hits and coincidences per shot, the newest against those before."""
    rows = reduction.history.last(NEWEST_SHOTS, of=SHOTS)[1]
    (before, newest), found = rows, []
    for column, name in ((HITS, "hits"), (FOUND, "coincidences")):
        if before[column] < FEWEST_BEFORE or newest[SHOTS] < NEWEST_SHOTS:
            continue
        usual, now = before[column] / before[SHOTS], newest[column] / newest[SHOTS]
        expected = usual * newest[SHOTS]
        lacking = (expected - newest[column]) / math.sqrt(expected)
        if now < _HALF * usual and lacking > SIGNIFICANT:
            found.append(
                Alarm("rate", f"{name} per shot have fallen from {usual:.3g} to {now:.3g}")
            )
    return found


def _drifts(reduction: GrowingReduction) -> list[Alarm]:
    """Sums, energies and times of flight of the newest coincidences."""
    means, rows = reduction.history.last(NEWEST)
    if rows[0, FOUND] < FEWEST_BEFORE or rows[1, FOUND] < NEWEST:
        return []
    found, names = [], reduction.history.columns
    (before, newest), (error_before, error) = means.mean, means.error
    gate = reduction.gate
    for column, name in enumerate(names):
        kind, _, of = name.partition(" ")
        middle, wide = float(before[column]), float(error_before[column])
        least = {_KER: _KER_SHARE * abs(middle), _SUM: math.inf}.get(kind, _TIME_NS)
        if kind == _SUM and gate is not None:
            middle, wide = float(gate.centre[column]), 0.0
            least = _SUM_SIGMAS * float(gate.deviation[column])
        moved = float(newest[column]) - middle
        if abs(moved) > max(least, SIGNIFICANT * math.hypot(float(error[column]), wide)):
            found.append(_drift(kind, of, moved, middle))
    return found


def _drift(kind: str, of: str, moved: float, middle: float) -> Alarm:
    if kind == _SUM:
        text = f"the momentum sum along {of} has moved by {moved:+.2f} a.u. from the gate's centre"
        return Alarm("sums", text)
    if kind == _KER:
        text = f"the kinetic energy release has moved by {moved:+.2f} eV from {middle:.2f} eV"
        return Alarm("peaks", text)
    text = f"the time of flight of {of} has moved by {moved:+.2f} ns from {middle:.1f} ns"
    return Alarm("peaks", text)


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
