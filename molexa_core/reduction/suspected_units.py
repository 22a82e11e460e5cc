"""Detection of wrong units in a run or its setup, by results that are physically impossible.

A file seldom states its units. Wrong units give impossible results: an image far smaller or larger
than the detector, times at which no ion of the channel arrives, energies that depend on the
direction of flight, molecules that drift. Each is reported as a warning; nothing is corrected.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from molexa_core.base.errors import listing
from molexa_core.base.known_explosion import unusual
from molexa_core.base.matter.ions import Ion
from molexa_core.base.matter.release import LEAST_EV, MOST_EV, doubtful_release
from molexa_core.base.numbers import percent
from molexa_core.base.settings import Setup
from molexa_core.base.tables import BoolArray, Coincidences, FloatArray, Hits
from molexa_core.base.units import ATOMIC_VELOCITY_M_S, ATOMIC_VELOCITY_MM_NS
from molexa_core.reduction.calibration.doubts import calibration_doubt
from molexa_core.reduction.calibration.moment_fit import ChannelSample
from molexa_core.reduction.calibration.vanishing import first_state
from molexa_core.reduction.momentum import momentum_per_time
from molexa_core.reduction.peak import Peak

MOST_HITS: Final = 100_000
MOST_ROWS: Final = 20_000
"""Number of hits and of coincidences used, from the beginning of the run."""
_FOR_CALIBRATION: Final = 10_000
FEWEST_HITS: Final = 100
FEWEST_ROWS: Final = 20
_SMALL: Final = 0.03
"""Least radius that holds 99 % of the hits, in radii of the detector."""
_OFF: Final = 0.5
"""Largest share of hits off the detector."""
_CUT: Final = 0.02
"""Share of hits off the detector from which the image does not fit it."""
_INSIDE: Final = 0.01
"""Least share of hits at times of flight of the channel's ions."""
_DRIFT_M_S: Final = 400.0
"""Largest plausible velocity of the molecules beside that of the jet."""
_LATE_NS: Final = 5.0
"""Largest plausible error of the time zero, from the momentum sum along z."""
_OFF_ERRORS: Final = 7.0
_OFF_WIDTHS: Final = 0.3
_OFF_SIZES: Final = 0.03
"""Momentum sums are off centre if they differ from zero by this many standard errors, widths of the
peak and typical momenta of the slowest ion."""
_SHARPEST_MM: Final = 0.003
"""Best plausible position resolution, from the width of the momentum sums."""
_SCALE: Final = 1.04
_SIGMAS: Final = 5.0
"""Momenta along one axis are reported beyond this factor and this many standard errors."""
_EDGE: Final = 0.85
"""Share of the detector's radius within which ions of an energy land, whatever their direction."""
_SLOW: Final = 0.2
"""Ions below this share of the mean energy do not test the scales."""
_USUAL: Final = 4.0
"""Coincidences this many median deviations off the median release do not test the scales."""
_GROUPS: Final = 20
_SOFT: Final = 0.05
"""Energies far below this share of the median are noise and weigh little."""
_MOST_SINGULAR: Final = 1e6
_SETUP: Final = (
    ("detector -> radius_mm", 5.0, 250.0, "mm"),
    ("the length of all regions", 5.0, 5000.0, "mm"),
    ("the field of the first region", 0.5, 30_000.0, "V/cm"),
)
_JET_M_S: Final = (50.0, 5000.0)


def setup_doubts(setup: Setup) -> list[str]:
    """Warnings about lengths, fields, a jet velocity or a light pulse that nobody has."""
    regions = setup.spectrometer.regions
    values = [setup.detector.radius_mm]
    if regions:
        values += [sum(region.length_mm for region in regions), regions[0].field_v_per_cm]
    doubts = [
        f"setup: {name} is {value:g} {unit}, which no reaction microscope has; check its unit"
        for (name, low, high, unit), value in zip(_SETUP, values, strict=False)
        if not low <= value <= high
    ]
    jet = abs(setup.jet.velocity_m_per_s)
    if jet and not _JET_M_S[0] <= jet <= _JET_M_S[1]:
        doubts.append(
            f"setup: jet -> velocity_m_per_s is {setup.jet.velocity_m_per_s:g}, which no gas jet "
            "has; is it in m/s?"
        )
    if setup.explosion is not None:
        doubts += [f"setup: {doubt}" for doubt in unusual(setup.explosion.told)]
    return doubts


def unseen(setup: Setup) -> str:
    """What a single run does not tell of its calibration, as a remark."""
    parts = ["a common factor in positions, lengths and fields"]
    if setup.spectrometer.magnetic_field_gauss == 0.0:
        parts.append("a mirror image")
    if setup.jet.velocity_m_per_s == 0.0:
        parts.append("a rotation of the image (no jet)")
    return f"not determined by a single run: {listing(parts)}"


class UnitCheck:
    """Check of the first hits and coincidences of a run for impossible values.

    Args:
        ions: the ions of a coincidence.
        windows: time-of-flight window of each kind of ion, ns.
        setup: spectrometer and detector.
        complete: whether the channel contains all ions, so that their momenta cancel.
    """

    def __init__(
        self,
        ions: Sequence[Ion],
        windows: dict[str, tuple[float, float]],
        setup: Setup,
        *,
        complete: bool,
    ) -> None:
        self._ions, self._windows, self._setup = tuple(ions), windows, setup
        self._complete = complete
        self._hits: list[tuple[FloatArray, FloatArray]] = []
        self._n_hits = 0
        self._rows: list[FloatArray] = []
        self._places: list[tuple[FloatArray, FloatArray, FloatArray]] = []
        self._n_rows = 0

    def add_hits(self, hits: Hits) -> None:
        """Add calibrated hits to the sample."""
        room = MOST_HITS - self._n_hits
        if room > 0 and hits.n_hits:
            part = slice(0, room)
            self._hits.append((np.hypot(hits.x_mm[part], hits.y_mm[part]), hits.t_ns[part]))
            self._n_hits += len(self._hits[-1][1])

    def hits_as_arrays(self) -> dict[str, NDArray[Any]]:
        """The sample of hits as arrays by name."""
        places, times = zip(*self._hits, strict=True) if self._hits else ((), ())
        return {
            "place": np.concatenate([np.empty(0), *places]),
            "time": np.concatenate([np.empty(0), *times]),
        }

    def add_arrays(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Add a sample of the hits that follow, as `hits_as_arrays` gave it."""
        part = slice(0, max(MOST_HITS - self._n_hits, 0))
        if len(times := arrays["time"][part]):
            self._hits.append((arrays["place"][part], times))
            self._n_hits += len(times)

    def add_rows(self, table: Coincidences) -> None:
        """Add coincidences to the sample."""
        room = MOST_ROWS - self._n_rows
        if room > 0 and len(table):
            self._rows.append(table.momentum[:room])
            self._n_rows += len(self._rows[-1])
            if table.detector is not None:
                of, part = table.detector, slice(0, room)
                self._places.append((of.x_mm[part], of.y_mm[part], of.tof_ns[part]))

    def about_hits(self, off_detector: int, all_hits: int) -> list[str]:
        """Warnings about positions and times.

        Args:
            off_detector: hits outside the active area.
            all_hits: hits read.
        """
        radius = self._setup.detector.radius_mm
        doubts = []
        if all_hits >= FEWEST_HITS and off_detector > _OFF * all_hits:
            doubts.append(
                f"{100 * off_detector / all_hits:.0f} % of the hits lie off the detector of "
                f"{radius:g} mm radius: are the positions in mm, and is the centre right?"
            )
        elif all_hits >= FEWEST_HITS and off_detector > max(_CUT * all_hits, 20):
            doubts.append(
                f"{100 * off_detector / all_hits:.1f} % of the hits lie off the detector of "
                f"{radius:g} mm radius and are dropped, so that fast ions are missing: is "
                "radius_mm too small, or the centre wrong?"
            )
        if self._n_hits < FEWEST_HITS:
            return doubts
        places, times = (np.concatenate(column) for column in zip(*self._hits, strict=True))
        extent = float(np.quantile(places, 0.99))
        if extent < _SMALL * radius:
            doubts.append(
                f"99 % of the hits lie within {extent:.2g} mm of the centre of a detector of "
                f"{radius:g} mm radius: are the positions in mm?"
            )
        inside = np.zeros(len(times), np.bool_)
        for first, last in self._windows.values():
            inside |= (times >= first) & (times <= last)
        if inside.mean() < _INSIDE:
            first = min(low for low, _ in self._windows.values())
            last = max(high for _, high in self._windows.values())
            doubts.append(
                f"only {percent(inside.mean())} % of the hits come when ions of the channel can "
                f"({first:.4g} to {last:.4g} ns; most hits come after {self.times()}): are the "
                "times in ns, counted from the light, and are lengths and fields of the setup "
                "right?"
            )
        return doubts

    def times(self) -> str | None:
        """The range of times that holds 80 % of the hits, as text; None without hits."""
        if not self._n_hits:
            return None
        times = np.concatenate([times for _, times in self._hits])
        low, high = np.quantile(times, [0.1, 0.9])
        return f"{low:.4g} to {high:.4g} ns"

    def about_momenta(
        self,
        peaks: Sequence[Peak] | None,
        release_ev: float,
        half_width: FloatArray | None = None,
    ) -> list[str]:
        """Warnings about the momenta.

        Args:
            peaks: peaks of the momentum sums along x, y and z, where they are known.
            release_ev: peak of the kinetic energy release, eV.
            half_width: (3) half widths of the gate on the sums, a.u.
        """
        doubts = []
        if self._n_rows >= FEWEST_ROWS and not LEAST_EV <= release_ev <= MOST_EV:
            doubts.append(
                f"a kinetic energy release of {release_ev:.2g} eV is none of an explosion: check "
                "the units of positions and times, of lengths and fields in the setup"
            )
        elif self._n_rows >= FEWEST_ROWS and len(self._ions) > 1 and self._complete:
            doubt = doubtful_release(self._ions, release_ev)
            if doubt is not None:
                doubts.append(
                    f"{doubt}: check the units of positions and times, of lengths and fields in "
                    "the setup"
                )
        if peaks is not None:
            doubts += self._about_sums(peaks)
        if self._n_rows >= FEWEST_ROWS and self._complete:
            doubts += self._about_directions()
            if peaks is not None and half_width is not None:
                doubt = self._about_calibration(peaks, half_width)
                doubts += [] if doubt is None else [doubt]
        return doubts

    def _about_calibration(self, peaks: Sequence[Peak], half_width: FloatArray) -> str | None:
        """What must vanish in true break-ups and does not, with the likely cause."""
        if not self._places or len(self._ions) < 2:
            return None
        x, y, t = (np.concatenate(parts) for parts in zip(*self._places, strict=True))
        momenta = np.concatenate(self._rows)
        usual = np.flatnonzero(self._of_the_usual_release(momenta))[:_FOR_CALIBRATION]
        x, y, t = self._setup.calibration.as_recorded(x[usual], y[usual], t[usual])
        state = first_state(
            momenta[usual].sum(axis=1),
            np.array([peak.sigma for peak in peaks]),
            np.array([peak.centre for peak in peaks]),
        )
        volume = float(np.prod(2.0 * half_width))
        sample = ChannelSample("", self._ions, x, y, t, volume, state)
        return calibration_doubt(sample, self._setup)

    def _about_sums(self, peaks: Sequence[Peak]) -> list[str]:
        doubts = []
        mass = sum(ion.mass for ion in self._ions)
        for axis, peak in zip("xy", peaks[:2], strict=True):
            velocity = peak.centre / mass * ATOMIC_VELOCITY_M_S
            clear = abs(peak.centre) > 3.0 * peak.sigma / np.sqrt(max(peak.signal, 1.0))
            if (abs(velocity) > _DRIFT_M_S and clear) or self._off_centre(peak):
                doubts.append(
                    f"the momentum sum along {axis} is {peak.centre:.3g} a.u., as if the molecules "
                    f"flew at {velocity:.0f} m/s beside the jet: check the jet velocity (m/s), the "
                    "centre (mm) and the rotation (degrees) in the setup"
                )
        late = peaks[2].centre / sum(
            momentum_per_time(ion, self._setup.spectrometer) for ion in self._ions
        )
        if abs(late) > _LATE_NS or self._off_centre(peaks[2]):
            doubts.append(
                f"the momentum sum along z is {peaks[2].centre:.3g} a.u., as if all times were "
                f"{abs(late):.3g} ns too {'early' if late > 0 else 'late'}: check time_zero_ns, "
                "lengths (mm) and fields (V/cm) of the setup"
            )
        weight = self._position_weight()
        if weight is not None:
            sharpness = min(peak.sigma for peak in peaks[:2]) / weight
            if sharpness < _SHARPEST_MM:
                doubts.append(
                    "the momentum sums are as sharp as if positions were measured to "
                    f"{1000 * sharpness:.2g} um, finer than any detector: are they in mm?"
                )
        return doubts

    def _off_centre(self, peak: Peak) -> bool:
        """Whether a momentum sum is off zero by more than errors, and by what matters."""
        if not self._complete or not self._rows:
            return False
        error = peak.sigma / np.sqrt(max(peak.signal, 1.0))
        sizes = np.median(np.linalg.norm(np.concatenate(self._rows), axis=2), axis=0)
        slowest = float(min(sizes[sizes > peak.sigma], default=peak.sigma))
        return bool(
            abs(peak.centre) > _OFF_ERRORS * error
            and abs(peak.centre) > _OFF_WIDTHS * peak.sigma
            and abs(peak.centre) > _OFF_SIZES * slowest
        )

    def _position_weight(self) -> float | None:
        """Width in a.u. of the momentum sum for a position error of 1 mm; None if not known."""
        squares = 0.0
        for ion in self._ions:
            first, last = self._windows[str(ion)]
            squares += (ion.mass / ATOMIC_VELOCITY_MM_NS / (0.5 * (first + last))) ** 2
        return float(np.sqrt(squares)) if squares > 0.0 else None

    def _about_directions(self) -> list[str]:
        momenta = np.concatenate(self._rows)
        momenta = momenta[self._of_the_usual_release(momenta)]
        measured: dict[str, tuple[FloatArray, FloatArray]] = {}
        for ion in self._ions:
            sample = momenta[:, self._columns(str(ion))].reshape(-1, 3)
            found = axis_scales(sample[self._seen_in_all_directions(ion, sample)])
            if found is not None:
                measured[str(ion)] = axis_factors(*found)
        worst = None
        for kind, (factors, errors) in measured.items():
            for axis in range(3):
                size = float(abs(factors[axis]))
                clear = size > np.log(_SCALE) and size > _SIGMAS * errors[axis]
                # A wrong scale shows in all ions alike, ions taken for each other in opposite ways.
                shared = all(
                    of[axis] * factors[axis] > 0 and abs(of[axis]) > size / 3.0
                    for of, spread in measured.values()
                    if _SIGMAS * spread[axis] < size
                )
                if clear and shared and (worst is None or size > worst[0]):
                    worst = (size, axis, float(np.exp(factors[axis])), kind)
        if worst is None:
            return []
        _, axis, factor, kind = worst
        along = f"momenta of {kind} along {'xyz'[axis]} are"
        size_text = (
            f"{factor:.3g} times too large" if factor > 1 else (f"{1 / factor:.3g} times too small")
        )
        advice = (
            "check the units of positions (mm) and times (ns), of lengths (mm) and fields (V/cm) "
            "in the setup, and the scales of the calibration"
        )
        told = f"{along} {size_text} for those along the other axes"
        return [f"{told} (an energy does not depend on the direction of flight): {advice}"]

    def _of_the_usual_release(self, momenta: FloatArray) -> BoolArray:
        """(n) which coincidences release about as much energy as most.

        Ions of similar mass that are taken for each other stand out; their momenta along z are
        wrong.
        """
        mass = np.array([ion.mass for ion in self._ions])
        release = ((momenta**2).sum(axis=2) / mass).sum(axis=1)
        middle = np.median(release)
        usual: BoolArray = abs(release - middle) <= _USUAL * np.median(abs(release - middle))
        return usual

    def _seen_in_all_directions(self, ion: Ion, momenta: FloatArray) -> BoolArray:
        """(n) which ions test the scales: those whose energy decides nothing else.

        Faster ions reach the detector only if they fly along its axis, and the direction of ions
        at rest is noise. Both are chosen by the energy alone, which keeps the test unbiased.
        """
        size = np.linalg.norm(momenta, axis=1)
        time = 0.5 * sum(self._windows[str(ion)])
        reach = self._setup.jet.velocity_m_per_s * 1e-6 + size / ion.mass * ATOMIC_VELOCITY_MM_NS
        inside = reach * time < _EDGE * self._setup.detector.radius_mm
        seen: BoolArray = inside & (size**2 > _SLOW * (size**2).mean())
        return seen

    def _columns(self, kind: str) -> BoolArray:
        return np.array([str(ion) == kind for ion in self._ions])


def axis_factors(scales: FloatArray, errors: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Scale of each axis relative to the other two.

    Args:
        scales: (3) from `axis_scales`.
        errors: (3) standard errors of their logarithms.

    Returns:
        (3) logarithms of the factors, and (3) their standard errors.
    """
    logs = np.log(scales)
    others = np.array([[1, 2], [2, 0], [0, 1]])
    factors: FloatArray = logs - logs[others].mean(axis=1)
    spread: FloatArray = np.sqrt(errors**2 + (errors[others] ** 2).sum(axis=1) / 4.0)
    return factors, spread


def axis_scales(momenta: FloatArray) -> tuple[FloatArray, FloatArray] | None:
    """Relative scale errors of the momenta of one kind of ion along x, y and z.

    The energy of an ion does not depend on its direction of flight, however the molecules are
    aligned. If the component a is s_a times too large, the sum of w_a p_a^2 with w_a = 1 / s_a^2
    does not depend on the direction, while the sum of p_a^2 does. The w are found by least squares
    of (sum of w_a p_a^2 - 1) / (sum of p_a^2): for energies that do not depend on the direction the
    solution is w, whatever the distributions of energies and of directions.

    Args:
        momenta: (n, 3) a.u.

    Returns:
        (3) factors, with a product of 1, and (3) standard errors of their logarithms (jackknife);
        None where the data do not determine them.
    """
    squares = momenta**2
    squares = squares[squares.sum(axis=1) > 0]
    means = squares.mean(axis=0) if len(squares) >= FEWEST_ROWS else np.zeros(3)
    if not (means > 0).all():
        return None
    squares = squares / means
    total = squares.sum(axis=1)
    weights = 1.0 / (total + _SOFT * np.median(total)) ** 2
    group = np.arange(len(total)) % _GROUPS
    products = np.zeros((_GROUPS, 3, 3))
    np.add.at(products, group, weights[:, None, None] * squares[:, :, None] * squares[:, None])
    sums = np.zeros((_GROUPS, 3))
    np.add.at(sums, group, weights[:, None] * squares)
    without = np.arange(_GROUPS + 1)[:, None] != np.arange(_GROUPS)  # the last leaves out none
    left, right = np.tensordot(without, products, 1), np.tensordot(without, sums, 1)
    if np.linalg.cond(left).max() > _MOST_SINGULAR:
        return None
    solved = np.linalg.solve(left, right[..., None])[..., 0] / means
    if not (solved > 0).all():
        return None
    logarithms = -0.5 * np.log(solved)
    logarithms -= logarithms.mean(axis=1, keepdims=True)
    spread = np.sqrt((_GROUPS - 1) * logarithms[:-1].var(axis=0))
    return np.exp(logarithms[-1]), spread
