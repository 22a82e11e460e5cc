"""Summary of a reduction: counts, gate, purity, kinetic energy release, warnings."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from molexa_core.base.intervals import plus_minus
from molexa_core.reduction.energy import FEWEST, KineticEnergyRelease
from molexa_core.reduction.laboratory import Dropped
from molexa_core.reduction.mixing.false_summary import FalseCoincidences
from molexa_core.reduction.peak import Peak
from molexa_core.reduction.purity import Purity, purity_text


@dataclass(frozen=True)
class SumAxis:
    """The momentum sum along one axis, a.u.

    Attributes:
        axis: `x`, `y` or `z`.
        centre: centre of the fitted peak, None where none was found.
        centre_error: its standard error.
        sigma: standard deviation of the fitted peak.
        sigma_error: its standard error.
        gate_centre: centre of the gate.
        gate_half_width: half width of the gate.
    """

    axis: str
    centre: float | None
    centre_error: float | None
    sigma: float | None
    sigma_error: float | None
    gate_centre: float
    gate_half_width: float

    @classmethod
    def of(cls, axis: int, peak: Peak | None, centre: float, half_width: float) -> SumAxis:
        """The summary of one axis from its peak and its gate."""
        return cls(
            axis="xyz"[axis],
            centre=None if peak is None else peak.centre,
            centre_error=None if peak is None else _known(peak.centre_error),
            sigma=None if peak is None else peak.sigma,
            sigma_error=None if peak is None else _known(peak.sigma_error),
            gate_centre=float(centre),
            gate_half_width=float(half_width),
        )


@dataclass(frozen=True)
class ReduceSummary:
    """The numbers of a reduction.

    Attributes:
        channel: name of the channel.
        ions: the ions of a coincidence.
        shots: shots read.
        hits: hits in them.
        dropped: hits that cannot be ions, by reason.
        crowded_shots: shots left out because of too many combinations of hits.
        combinations: combinations of hits that can be the ions, before the momentum-sum gate.
        coincidences: combinations accepted by the gate, without those that share a hit with a
            better one.
        windows_ns: time-of-flight window of each kind of ion.
        momentum_sums: peak and gate of each axis; empty for partial channels, which have no gate.
        purity: share of true coincidences, from side bands of the peak; None for partial channels.
        ker: kinetic energy release of the ions of the channel.
        false: false coincidences built by mixing shots; None where that was not done. The
            coincidences then are all combinations inside the gate, those that share hits included.
        remarks: further remarks.
        warnings: reasons why the numbers may be wrong.
        sorter: counts of the sorter of edges (`detector.sorter.SortCounts.as_dict`); empty for runs
            of hits.
        health: anomalies of the hits (`detector.health.HitHealth.as_dict`); only non-zero counts.
    """

    channel: str
    ions: tuple[str, ...]
    shots: int
    hits: int
    dropped: Dropped
    crowded_shots: int
    combinations: int
    coincidences: int
    windows_ns: dict[str, tuple[float, float]]
    momentum_sums: tuple[SumAxis, ...]
    purity: Purity | None
    ker: KineticEnergyRelease
    remarks: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    false: FalseCoincidences | None = None
    sorter: Mapping[str, Any] = field(default_factory=dict)
    health: Mapping[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, with the rates per shot."""
        values = asdict(self)
        values["hits_per_shot"] = self.hits / self.shots
        values["coincidences_per_shot"] = self.coincidences / self.shots
        return values

    def rows(self) -> list[tuple[str, str, str]]:
        """Name, value and unit of each number, for a table."""
        shots = self.shots
        rows = [
            ("channel", f"{self.channel} ({' '.join(self.ions)})", ""),
            ("shots", f"{shots}", ""),
            ("hits", f"{self.hits} ({self.hits / shots:.4g} per shot)", ""),
            ("hits left out", f"{self.dropped.total}", ""),
            *self._sorter_rows(),
            ("shots left out", f"{self.crowded_shots}", ""),
            ("candidates", f"{self.combinations} ({self.combinations / shots:.4g} per shot)", ""),
            ("coincidences", f"{self.coincidences} ({self.coincidences / shots:.4g} per shot)", ""),
        ]
        if self.false is not None:
            rows += _false_rows(self.false)
        if self.purity is not None:
            name = "estimated purity"
            if self.false is not None:
                rows.append(("by gating alone, each hit once", f"{self.false.gated}", ""))
                name = "estimated purity of these, from side bands"
            rows.append((name, purity_text(asdict(self.purity)), "%"))
        ker = self.ker
        rows += [
            ("KER peak", f"{ker.peak:.3f}", "eV"),
            ("KER full width at half maximum", _width(ker.fwhm), "eV"),
            ("KER mean", _mean(ker), "eV"),
        ]
        for axis in self.momentum_sums:
            if axis.centre is not None:
                text = plus_minus(axis.centre, axis.centre_error)
                rows.append((f"momentum sum {axis.axis}: centre", text, "a.u."))
                text = plus_minus(axis.sigma, axis.sigma_error)
                rows.append((f"momentum sum {axis.axis}: std", text, "a.u."))
            gate = plus_minus(axis.gate_centre, axis.gate_half_width)
            rows.append((f"momentum sum {axis.axis}: gate", gate, "a.u."))
        for name, (first, last) in self.windows_ns.items():
            rows.append((f"time of flight of {name}", f"{first:.1f} to {last:.1f}", "ns"))
        return rows

    def _sorter_rows(self) -> list[tuple[str, str, str]]:
        """Rows on the sorting of edges into hits."""
        if not self.sorter:
            return []
        hits = max(self.sorter["hits"], 1)
        share = {
            "from all signals (method 0)": self.sorter["methods"].get("0", 0),
            "checked at least twice (to 10)": self.sorter["safe_hits"],
            "not checked (above 14)": self.sorter["unchecked_hits"],
        }
        missing = ", ".join(
            f"{name} {100 * signal['missing_fraction']:.2f}"
            for name, signal in self.sorter["signals"].items()
        )
        unused = ", ".join(
            f"{name} {signal['unused']}" for name, signal in self.sorter["signals"].items()
        )
        rows = [
            *((f"hits {name}", f"{100 * n / hits:.2f}", "%") for name, n in share.items()),
            ("sorting: signals missing", missing, "% of hits"),
            ("sorting: edges unused", unused, ""),
        ]
        for key, label in (
            ("shots_without_trigger", "shots without trigger"),
            ("shots_over_limit", "shots with too many edges"),
            ("clusters_over_limit", "clusters cut off"),
        ):
            if self.sorter[key]:
                rows.append((f"sorting: {label}", f"{self.sorter[key]}", ""))
        return rows


def _mean(ker: KineticEnergyRelease) -> str:
    return f"{ker.mean:.3f}" if ker.mean_error is None else plus_minus(ker.mean, ker.mean_error)


def _false_rows(false: FalseCoincidences) -> list[tuple[str, str, str]]:
    """Rows on the false coincidences."""
    rows = [
        ("false coincidences (mixed shots)", f"{false.false:.1f}", ""),
        ("true coincidences", plus_minus(false.true, false.true_error), ""),
        ("true coincidences per shot", plus_minus(false.per_shot, false.per_shot_error), ""),
        ("purity", plus_minus(100.0 * false.purity, 100.0 * false.purity_error), "%"),
    ]
    if false.side_band is not None:
        text = plus_minus(false.side_band, false.side_band_error)
        rows.append(("beside the gate: found over mixed", text, ""))
    rows += [
        (f"detection efficiency of {of.ion}", plus_minus(of.efficiency, of.error), "")
        for of in false.efficiencies
    ]
    return rows


def _width(fwhm: float | None) -> str:
    if fwhm is None:
        return f"not determined (fewer than {FEWEST} coincidences, or all alike)"
    return f"{fwhm:.3f}" if fwhm >= 0.001 else f"{fwhm:.2g}"


def _known(error: float) -> float | None:
    return error if math.isfinite(error) else None
