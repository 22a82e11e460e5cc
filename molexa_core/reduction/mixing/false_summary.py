"""What event mixing says of a run, for summaries: yield, purity, side band, efficiencies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from molexa_core.reduction.mixing.mixer import MixingTally

_CLEAR: Final = 3.0
"""Standard errors by which the side band must differ from the mixed shots to set their scale."""
_FEWEST: Final = 50
"""Fewest combinations in the side band that can set the scale."""
_FEWEST_MIXED: Final = 20.0
"""Fewest mixed rows there, in effect: below, their noise is far from a normal distribution."""


@dataclass(frozen=True)
class Efficiency:
    """Detection efficiency of one kind of ion, from coincidences with and without it.

    Attributes:
        ion: which.
        efficiency: true coincidences of all ions over those of all but one of this kind.
        error: its standard error.
    """

    ion: str
    efficiency: float
    error: float

    @property
    def impossible(self) -> bool:
        """Whether it is clearly above 1, so that it is no efficiency."""
        return self.efficiency - _CLEAR * self.error > 1.0


@dataclass(frozen=True)
class FalseCoincidences:
    """False coincidences of a run, built by mixing hits of different shots.

    Attributes:
        found: combinations of hits inside the gate, those that share hits included.
        false: expected number of false ones among them.
        true: found less false.
        true_error: standard error of `true`: counting statistics, hits that combinations share, the
            sampling of mixed shots, and the normalisation.
        per_shot: true coincidences per shot; `per_shot_error` its standard error.
        purity: true over found; `purity_error` its standard error.
        rows: false coincidences made.
        side_band: combinations found beside the gate over those of mixed shots; None without a
            gate or without any.
        side_band_error: its standard error.
        scale: factor on the weights: 1, or the ratio of the side band where it is clearly not 1.
        scale_error: its standard error; 0 if the normalisation is by the number of shots.
        shots: shots that were mixed.
        alone: shots without enough alike ones; nothing is subtracted from their coincidences.
        gated: coincidences by gating alone, each hit in one of them at most.
        dead_time_off: whether the dead time of the setup was not taken into account, because the
            run has the pairs of hits that it forbids.
        efficiencies: detection efficiencies, where they can be determined.
    """

    found: int
    false: float
    true: float
    true_error: float
    per_shot: float
    per_shot_error: float
    purity: float
    purity_error: float
    rows: int
    side_band: float | None
    side_band_error: float | None
    scale: float
    scale_error: float
    shots: int
    alone: int
    gated: int
    dead_time_off: bool
    efficiencies: tuple[Efficiency, ...] = ()


def side_band(tally: MixingTally) -> tuple[float, float] | None:
    """Combinations beside the gate over those of mixed shots, and the error; None if unknown.

    The error is that of the ratio: of both numbers, what they share at a ratio of 1, and what the
    sampling of the mixed rows adds where it is another.
    """
    if tally.beside_false <= 0.0 or tally.beside < 1:
        return None
    ratio = tally.beside / tally.beside_false
    sampling = max(ratio**2 - 1.0, 0.0) * tally.beside_square
    error = float(np.sqrt(max(tally.beside_variance + sampling, 1.0))) / tally.beside_false
    return ratio, error


def scale_of(tally: MixingTally) -> tuple[float, float]:
    """Factor on the weights of the false coincidences, and its error.

    Mixed shots need no factor if their rates are alike: 1, without an error. Where the side band
    differs from it by more than three standard errors, its ratio is taken: the rate varies between
    the shots in a way that no tag of theirs shows. Few mixed rows set no scale.
    """
    ratio = side_band(tally)
    if tally.beside_false**2 < _FEWEST_MIXED * tally.beside_square:
        return 1.0, 0.0
    if ratio is None or tally.beside < _FEWEST or abs(ratio[0] - 1.0) <= _CLEAR * ratio[1]:
        return 1.0, 0.0
    return ratio


def false_coincidences(tally: MixingTally, kinds: tuple[str, ...], gated: int) -> FalseCoincidences:
    """The summary of the sums of event mixing.

    Args:
        tally: sums over the run.
        kinds: the kinds of ions.
        gated: coincidences by gating alone.
    """
    scale, scale_error = scale_of(tally)
    false = scale * tally.false
    true = tally.found - false
    error = float(np.sqrt(tally.variance + (scale_error * tally.false) ** 2))
    # Of the false ones among those found: what is expected, and its Poisson fluctuation.
    expected = tally.false_variance * scale**2 + (scale_error * tally.false) ** 2
    spread = float(np.sqrt(expected + max(false, 0.0)))
    ratio = side_band(tally)
    shots, found = max(tally.shots, 1), max(tally.found, 1)
    return FalseCoincidences(
        found=tally.found,
        false=false,
        true=true,
        true_error=error,
        per_shot=true / shots,
        per_shot_error=error / shots,
        purity=true / found,
        purity_error=spread / found,
        rows=tally.rows,
        side_band=None if ratio is None else ratio[0],
        side_band_error=None if ratio is None else ratio[1],
        scale=scale,
        scale_error=scale_error,
        shots=tally.shots,
        alone=tally.alone,
        gated=gated,
        dead_time_off=tally.dead_time_off,
        efficiencies=tuple(_efficiencies(tally, kinds)),
    )


def _efficiencies(tally: MixingTally, kinds: tuple[str, ...]) -> list[Efficiency]:
    found = []
    for kind, (name, number) in enumerate(zip(kinds, tally.wanted, strict=True)):
        whole, fewer = tally.ratio_sums[kind]
        (var_whole, both), (_, var_fewer) = tally.ratio_covariance[kind]
        if whole <= 0.0 or fewer <= 0.0:
            continue
        value = number * whole / fewer
        relative = var_whole / whole**2 + var_fewer / fewer**2 - 2.0 * both / (whole * fewer)
        error = value * float(np.sqrt(max(relative, 0.0)))
        if value > error:
            found.append(Efficiency(name, float(value), float(error)))
    return found
