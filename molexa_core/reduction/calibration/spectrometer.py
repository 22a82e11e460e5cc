"""Calibration of a spectrometer from a run: first guess, fit, what is determined."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np

from molexa_core.base.errors import ComputationError, UsageError, listing
from molexa_core.base.progress import SILENT, Progress
from molexa_core.base.settings import Channel, Setup
from molexa_core.base.tables import FloatArray, Hits
from molexa_core.reduction.calibration.beam_line import BeamLine, beam_line
from molexa_core.reduction.calibration.collect import collect, first_setup
from molexa_core.reduction.calibration.directions import (
    condition_words,
    correlated,
    correlations_of,
    undetermined,
)
from molexa_core.reduction.calibration.moment_fit import (
    ChannelSample,
    Fit,
    Measured,
    conditions_at,
    fit,
)
from molexa_core.reduction.calibration.quantities import (
    QUANTITIES,
    Quantity,
    changed,
    chosen,
    value_of,
)
from molexa_core.reduction.calibration.time_peaks import TimePeak, from_peaks, refined
from molexa_core.reduction.calibration.vanishing import columns_of

MOST: Final = 100_000
"""Coincidences of each channel that are used, where no other number is given."""
FEWEST: Final = 300
_ENOUGH: Final = 3000
"""Below, errors from the scatter of the coincidences are too small."""
_FEW: Final = 10_000
_ROUNDS: Final = 3
_STAYS: Final = 0.1
"""Steps below this many standard errors end the rounds."""
_TURNS: Final = (0.0, 90.0, 180.0, -90.0)
_CLEARLY: Final = 25.0
"""Gain in chi-square from which the image is turned by 90 degrees or more."""
_CONTRADICTION: Final = 1e-4
_WORST: Final = 3.5
_ANISOTROPIC: Final = 4.5
_BINS: Final = 12
_CLEAR_JET: Final = 6.0
"""Jet velocities of fewer standard errors show no direction."""
_HANDED: Final = 5.0
_WEAK: Final = 0.2
"""Errors above this share of a plausible change are pointed out."""


@dataclass(frozen=True)
class Finding:
    """One quantity before and after.

    Attributes:
        name: as options call it.
        words: what it is.
        unit: of the values.
        before, after: its value, that of the first region for fields and lengths.
        error: standard error; None where it is not determined or was not free.
        free: whether it was free.
    """

    name: str
    words: str
    unit: str
    before: float
    after: float
    error: float | None
    free: bool


@dataclass(frozen=True)
class SpectrometerCalibration:
    """The outcome of a calibration.

    Attributes:
        start: the setup at the beginning.
        setup: the setup found.
        findings: every quantity.
        correlations: (k, k) of the free quantities, in the order of `free`.
        free: names of the free quantities.
        coincidences: number used, by channel.
        in_peak: share of them in the peak of the momentum sums, by channel.
        chi_square, degrees, probability: agreement of the conditions with each other.
        not_determined: sentences on what the data do not tell.
        remarks: further sentences.
        warnings: reasons why the calibration may be wrong.
        peaks: peaks in the times of flight that were used.
        line: the line of residual-gas ions, where one was found.
        curves: for figures: by channel the momentum sums and sizes against direction, before and
            after.
    """

    start: Setup
    setup: Setup
    findings: tuple[Finding, ...]
    correlations: FloatArray
    free: tuple[str, ...]
    coincidences: dict[str, int]
    in_peak: dict[str, float]
    chi_square: float
    degrees: int
    probability: float
    not_determined: tuple[str, ...]
    remarks: tuple[str, ...]
    warnings: tuple[str, ...]
    peaks: tuple[TimePeak, ...] = ()
    line: BeamLine | None = None
    curves: dict[str, ChannelCurves] = field(default_factory=dict)

    def rows(self) -> list[tuple[str, str, str, str, str]]:
        """Quantity, before, after, error and unit as text."""
        return [
            (
                one.words,
                f"{one.before:.6g}",
                f"{one.after:.6g}" if one.error is None else _rounded(one.after, one.error),
                ("not determined" if one.free else "taken as given")
                if one.error is None
                else f"{one.error:.2g}",
                one.unit,
            )
            for one in self.findings
        ]

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "quantities": {
                one.name: {
                    "before": one.before,
                    "after": one.after,
                    "error": one.error,
                    "unit": one.unit,
                    "free": one.free,
                }
                for one in self.findings
            },
            "correlations": {"order": list(self.free), "matrix": self.correlations.tolist()},
            "coincidences": self.coincidences,
            "in_peak": self.in_peak,
            "chi_square": self.chi_square,
            "degrees_of_freedom": self.degrees,
            "probability": self.probability,
            "not_determined": list(self.not_determined),
            "remarks": list(self.remarks),
            "warnings": list(self.warnings),
            "peaks": [vars(peak) for peak in self.peaks],
            "line": None if self.line is None else vars(self.line),
        }


@dataclass(frozen=True)
class ChannelCurves:
    """What figures show of a channel, before and after the calibration.

    Attributes:
        sums: (2, n, 3) momentum sums, a.u.
        sizes: by kind of ion (2, 3, bins) mean size of the momentum over its median, against the
            component of the direction along x, y and z.
        errors: the same shape, standard errors.
        edges: (bins + 1) of the components.
    """

    sums: FloatArray
    sizes: dict[str, FloatArray]
    errors: dict[str, FloatArray]
    edges: FloatArray


def calibrate_spectrometer(
    chunks: Sequence[Hits],
    channels: Sequence[Channel],
    setup: Setup,
    *,
    peaks: Mapping[str, float] | None = None,
    free: tuple[str, ...] = (),
    fixed: tuple[str, ...] = (),
    isotropic: bool = False,
    most: int = MOST,
    progress: Progress = SILENT,
) -> SpectrometerCalibration:
    """Determine quantities of a setup from a run.

    Args:
        chunks: hits as recorded.
        channels: complete channels in the run.
        setup: as known so far.
        peaks: recorded time in ns of known ions.
        free: names of quantities that are free beside the usual ones.
        fixed: names of quantities taken as given.
        isotropic: molecules are oriented at random, so that directions of flight are uniform.
        most: largest number of coincidences of each channel.
        progress: display of the progress.

    Raises:
        UsageError: no channel, a partial channel, or unknown names.
        ComputationError: no peak in the momentum sums, too few coincidences, or nothing that the
            data determine.
    """
    if not channels:
        raise UsageError("no channel to calibrate with", do="Name one or several.")
    names = [channel.name for channel in channels]
    if len(set(names)) < len(names):
        raise UsageError(f"channel {max(names, key=names.count)} is named twice")
    quantities = chosen(setup, free, fixed)
    remarks: list[str] = []
    unseen: list[str] = []
    found_peaks = refined(chunks, peaks or {})
    begin, said = from_peaks(setup, found_peaks)
    remarks += said
    with progress.task("calibration", 2 + _ROUNDS, "rounds") as task:
        begin, samples, said = _first(chunks, channels, begin, most)
        remarks += said
        task.advance(1)
        begin, said = _rough(samples, begin, quantities)
        remarks += said
        task.advance(1)
        line = beam_line(chunks, begin)
        if line is None:
            begin, quantities, said = _without_direction(samples, begin, setup, quantities)
            unseen += said
        found, samples, line = _to_the_end(
            chunks, channels, begin, quantities, line, isotropic=isotropic, most=most
        )
        task.advance(_ROUNDS)
    outcome = _outcome(setup, found, samples, line, found_peaks, remarks, isotropic=isotropic)
    return replace(outcome, not_determined=(*unseen, *outcome.not_determined))


def _to_the_end(
    chunks: Sequence[Hits],
    channels: Sequence[Channel],
    setup: Setup,
    quantities: Sequence[Quantity],
    line: BeamLine | None,
    *,
    isotropic: bool,
    most: int,
) -> tuple[Fit, list[ChannelSample], BeamLine | None]:
    """Coincidences are found again with every better setup, until it stays."""
    turn = 0
    while True:
        samples = [collect(chunks, channel, setup, most=most) for channel in channels]
        line = beam_line(chunks, setup) if line is not None else None
        found = fit(samples, setup, quantities, further=_further(line), isotropic=isotropic)
        step = np.abs(found.changes) / np.sqrt(np.maximum(np.diag(found.covariance), 1e-300))
        setup = found.setup
        turn += 1
        if turn == _ROUNDS or (turn > 1 and step.max() < _STAYS):
            return found, samples, line


def _first(
    chunks: Sequence[Hits], channels: Sequence[Channel], setup: Setup, most: int
) -> tuple[Setup, list[ChannelSample], list[str]]:
    """Coincidences with the setup as it is, or with one near it that shows them."""
    few = min(most, _FEW)
    try:
        samples = [collect(chunks, channel, setup, most=few) for channel in channels]
    except ComputationError as error:
        trial = first_setup(chunks, channels[0], setup)
        if trial is None:
            raise ComputationError(
                f"no coincidence of channel {channels[0].name} is seen with this setup or one "
                f"near it ({error.what})",
                do="Name peaks whose ions you know (two or more of different mass over charge) "
                "with `peak=`, and check lengths and fields.",
            ) from error
        setup = trial
        samples = [collect(chunks, channel, setup, most=few) for channel in channels]
        zero = setup.calibration.time_zero_ns
        said = [f"coincidences were seen only after a search (time zero near {zero:.3g} ns)"]
    else:
        said = []
    for sample in samples:
        if len(sample) < FEWEST:
            raise ComputationError(
                f"only {len(sample)} coincidences of channel {sample.name}, too few for a "
                "calibration",
                do=f"At least {FEWEST} are needed; use a longer run.",
            )
    return setup, samples, said


def _rough(
    samples: Sequence[ChannelSample], setup: Setup, quantities: Sequence[Any]
) -> tuple[Setup, list[str]]:
    """A first guess by the centres of sums and momenta, also with the image turned."""
    states = [sample.state for sample in samples]
    turns = _TURNS if any(one.name == "rotation" for one in quantities) else (0.0,)
    best: tuple[float, Setup, float] | None = None
    for turn in turns:
        for sample, state in zip(samples, states, strict=True):
            sample.state = replace(state)
        begin = changed(setup, {"rotation": turn})
        try:
            found = fit(samples, begin, quantities, rough=True)
        except (ComputationError, np.linalg.LinAlgError):
            continue
        scaled = found.changes / np.array([one.plausible for one in found.quantities])
        cost = found.chi_square + float(scaled @ scaled)
        if found.setup.jet.velocity_m_per_s < 0.0 <= setup.jet.velocity_m_per_s:
            cost += _CLEARLY
        if best is None or cost < best[0] - _CLEARLY:
            best = cost, found.setup, turn
    if best is None:
        return setup, []
    said = []
    if best[2]:
        said.append(
            f"the jet shows that the image is turned by about {best[2]:.0f} degrees, or that axes "
            "are swapped or have the wrong sign"
        )
    return best[1], said


def _without_direction(
    samples: Sequence[ChannelSample],
    now: Setup,
    setup: Setup,
    quantities: tuple[Quantity, ...],
) -> tuple[Setup, tuple[Quantity, ...], list[str]]:
    """Leave the rotation as it was where neither a jet nor a line of residual gas shows it."""
    names = {one.name for one in quantities}
    if "rotation" not in names:
        return now, quantities, []
    moving = _moves(setup)
    if "jet" in names and moving:
        found = fit(samples, now, [one for one in quantities if one.name != "rotation"])
        place = [one.name for one in found.quantities].index("jet")
        error = float(np.sqrt(found.covariance[place, place]))
        moving = abs(found.setup.jet.velocity_m_per_s) > _CLEAR_JET * error
    if moving:
        return now, quantities, []
    left = tuple(one for one in quantities if one.name != "rotation")
    back = setup.calibration.rotation_deg - now.calibration.rotation_deg
    told = (
        "not determined: rotation; it stays as it was in the setup, since neither a jet nor a line "
        "of residual-gas ions shows a direction"
    )
    return _rough(samples, changed(now, {"rotation": back}), left)[0], left, [told]


def _further(line: BeamLine | None) -> list[Measured]:
    if line is None:
        return []
    words = "line of the residual gas not along x"
    return [Measured(words, line.tilt_deg, max(line.error_deg, 1e-3))]


def _outcome(
    start: Setup,
    found: Fit,
    samples: Sequence[ChannelSample],
    line: BeamLine | None,
    peaks: Sequence[TimePeak],
    remarks: list[str],
    *,
    isotropic: bool,
) -> SpectrometerCalibration:
    unknown, sentences = undetermined(found)
    stretch = 1.0
    warnings: list[str] = []
    if found.probability < _CONTRADICTION and found.degrees > 0:
        stretch = float(np.sqrt(found.chi_square / found.degrees))
        worst = np.argsort(-np.abs(found.values))[:3]
        named = listing(
            f"{condition_words(found.conditions[place])} ({abs(found.values[place]):.1f} standard "
            "errors)"
            for place in worst
            if abs(found.values[place]) > _WORST
        )
        warnings.append(
            "no values of the free quantities make everything vanish that should"
            + (f": {named} remain" if named else "")
            + f"; errors are enlarged by {stretch:.2g}. Likely causes: a quantity taken as given "
            "is wrong, ions are lost in some directions, or many false coincidences"
        )
    errors = stretch * np.sqrt(np.diag(found.covariance))
    free = [one.name for one in found.quantities]
    findings = []
    for name, one in QUANTITIES.items():
        before, after = value_of(start, name), value_of(found.setup, name)
        if name == "field":
            after *= _voltages(start, found.setup)
        error = None
        if name in free and name not in unknown:
            error = float(errors[free.index(name)]) * (abs(after) if one.relative else 1.0)
        unit = "of the map" if name in ("field", "lengths") and not _regions(start) else one.unit
        findings.append(Finding(name, one.words, unit, before, after, error, name in free))
    sentences += _never(found)
    warnings += _mirrored(start, found)
    weak = [
        one.words
        for one, error in zip(found.quantities, errors, strict=True)
        if error > _WEAK * one.plausible and one.name not in unknown
    ]
    if weak:
        remarks.append(f"{listing(weak)}: determined only roughly; fix what is known better")
    if sum(len(sample) for sample in samples) < _ENOUGH:
        remarks.append(
            f"fewer than {_ENOUGH} coincidences: in virtual runs of 1000 the errors were about a "
            "quarter too small"
        )
    remarks = remarks + correlated(found, unknown) + _directions(found, samples, isotropic)
    if line is not None:
        remarks.append(
            f"the line of {line.hits} residual-gas ions ({listing(line.ions)}) shows the direction "
            f"of the light to {line.error_deg:.2g} degrees"
        )
    return SpectrometerCalibration(
        start=start,
        setup=found.setup,
        findings=tuple(findings),
        correlations=correlations_of(found),
        free=tuple(free),
        coincidences={sample.name: len(sample) for sample in samples},
        in_peak={sample.name: float(sample.state.share) for sample in samples},
        chi_square=found.chi_square,
        degrees=found.degrees,
        probability=found.probability,
        not_determined=tuple(sentences),
        remarks=tuple(remarks),
        warnings=tuple(warnings),
        peaks=tuple(peaks),
        line=line,
        curves={sample.name: _curves(sample, start, found.setup) for sample in samples},
    )


def _never(found: Fit) -> list[str]:
    """What no run of this kind tells."""
    said = []
    setup = found.setup
    if not _handed(found):
        said.append(
            "not determined: whether the image is a mirror image (the sign of one scale); without "
            "a magnetic field nothing in these data has a handedness"
        )
    free = {one.name for one in found.quantities}
    if "lengths" not in free and setup.spectrometer.regions:
        said.append(
            "taken as given: the lengths; an error of 1 % in them changes the field found by 1 %"
        )
    return said


def _regions(setup: Setup) -> bool:
    return bool(setup.spectrometer.regions)


def _voltages(before: Setup, after: Setup) -> float:
    """By what the voltages of a flight map changed; 1 for regions, whose fields tell."""
    one, other = before.spectrometer.flight_map, after.spectrometer.flight_map
    if one is None or other is None:
        return 1.0
    return (other.pz_au[-1] / one.pz_au[-1]) ** 2


def _mirrored(start: Setup, found: Fit) -> list[str]:
    """Whether the magnetic field turns ions the other way than the setup says."""
    given = start.spectrometer.magnetic_field_gauss
    if given * found.setup.spectrometer.magnetic_field_gauss >= 0.0 or not _handed(found):
        return []
    told = (
        "ions turn the other way than the magnetic field of the setup says: the image is mirrored "
        "(change the sign of scale_x or scale_y), or the field has the other sign"
    )
    return [told]


def _handed(found: Fit) -> bool:
    """Whether a magnetic field shows which way ions turn, and so whether the image is mirrored."""
    gauss = found.setup.spectrometer.magnetic_field_gauss
    error = 0.0
    for one, variance in zip(found.quantities, np.diag(found.covariance), strict=True):
        if one.name == "magnetic_field":
            error = float(np.sqrt(variance))
    return abs(gauss) > _HANDED * error and gauss != 0.0


def _moves(setup: Setup) -> bool:
    return abs(setup.jet.velocity_m_per_s) >= 1.0


def _directions(found: Fit, samples: Sequence[ChannelSample], isotropic: bool) -> list[str]:
    """Whether directions of flight are uniform, which the fit does not assume unless told."""
    if isotropic:
        return ["directions of flight were taken as uniform, as asked for"]
    uneven = []
    for sample in samples:
        state = conditions_at(sample, found.setup, isotropic=True)
        errors = np.sqrt(np.diag(state.covariance))
        for one, value, error in zip(state.conditions, state.values, errors, strict=True):
            if one.kind == "direction" and abs(value) > _ANISOTROPIC * error:
                uneven.append((abs(value) / error, condition_words(one)))
    if not uneven:
        return []
    told = (
        f"directions of flight are not uniform ({max(uneven)[1]}): aligned molecules, or ions lost "
        "in some directions (dead time, efficiency); the calibration does not assume that they are"
    )
    return [told]


def _curves(sample: ChannelSample, before: Setup, after: Setup) -> ChannelCurves:
    edges = np.linspace(-1.0, 1.0, _BINS + 1)
    sums, sizes, errors = [], {}, {}
    kinds = columns_of(sample.ions)
    for kind in kinds:
        sizes[kind] = np.full((2, 3, _BINS), np.nan)
        errors[kind] = np.full((2, 3, _BINS), np.nan)
    for when, setup in enumerate((before, after)):
        momenta = sample.momenta(setup)
        total = momenta.sum(axis=1)
        sums.append(total)
        middle = np.nanmedian(total, axis=0)
        near = (np.abs(total - middle) < 3.0 * sample.state.sigma).all(axis=1)
        for kind, columns in kinds.items():
            own = momenta[near][:, columns].reshape(-1, 3)
            size = np.linalg.norm(own, axis=1)
            typical = float(np.median(size)) if len(size) else 1.0
            for axis in range(3):
                place = np.digitize(own[:, axis] / np.maximum(size, 1e-300), edges[1:-1])
                for one in range(_BINS):
                    values = size[place == one] / typical
                    if len(values) > 20:
                        sizes[kind][when, axis, one] = np.median(values)
                        errors[kind][when, axis, one] = 1.25 * values.std() / np.sqrt(len(values))
    return ChannelCurves(np.stack(sums), sizes, errors, edges)


def _rounded(value: float, error: float) -> str:
    """A value to two digits of its error."""
    digits = max(0, 1 - int(np.floor(np.log10(max(error, 1e-12)))))
    return f"{value:.{min(digits, 8)}f}"
