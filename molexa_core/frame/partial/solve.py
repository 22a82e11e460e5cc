"""The mean momenta of all ions of a molecule from partial coincidences.

Paper, "Application of MOLEXA": the six protons of ethanol from the channel O+ C+ C+ H+. The steps:
rows to events (`groups`), gate on the ions that are always detected (`shape_gate`), mixture from
several starts (`fit`), symmetry (`symmetry`), checks, errors by leaving out parts of the events,
ions that are never detected and closing by momentum conservation (`closing`), the frame of the
channel.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from molexa_core.base.errors import (
    ComputationError,
    MolexaError,
    NoEventsError,
    UsageError,
    listing,
)
from molexa_core.base.matter.ions import Ion, parse_ion
from molexa_core.base.progress import SILENT, Progress
from molexa_core.base.settings import Channel, Frame
from molexa_core.base.tables import Coincidences, FloatArray, IntArray, ion_labels
from molexa_core.base.units import HARTREE_EV
from molexa_core.frame.axes import cosine_between, rows_of_axes
from molexa_core.frame.centroid import EnergyKept
from molexa_core.frame.partial.closing import Closed, close
from molexa_core.frame.partial.groups import Events, Kind, events_of, kinds_of
from molexa_core.frame.partial.mixture_fit import (
    ROUNDS,
    SAMPLE,
    Expectation,
    Peaks,
    begin,
    examine,
    grow,
    maximise,
    settle,
    templates,
    unexplained,
)
from molexa_core.frame.partial.shape_gate import gate_events
from molexa_core.frame.partial.symmetry import (
    UNDECIDED,
    Operation,
    imposed,
    operations,
    superpose,
    undecided,
)

STARTS: Final = 12
AGREEING: Final = 3
"""Starts with one result after which no more are made."""
SAME_PEAKS: Final = 0.06
"""Rms distance of two sets of peaks that are one result, in units of the rms momentum."""
MOST_EVENTS: Final = 40_000
MOST_LIKE: Final = 9
"""Most like ions of a molecule: the sums over assignments grow as 2 to their power."""
FEWEST: Final = 150
"""Fewest true events."""
FEWEST_IN_PEAK: Final = 40
SHARES: Final = (0.7, 1.4)
"""Counts of like peaks over their mean."""
WIDEST: Final = 0.3
"""Largest width of a peak (one component) over the rms momentum of its kind."""
APART: Final = 2.0
"""Least distance of like peaks in units of their width along the line between them."""
RIVAL: Final = 0.02
"""Difference in log likelihood per event below which two results are equally good."""
SUM_REFUSED: Final = 0.05
SUM_DOUBTED: Final = 0.02
LEAST_FRAME: Final = 0.15
MOST_STRETCH: Final = 0.1
"""Largest share by which a mean momentum is made longer. Directions that vary make the mean shorter
than the ions are fast; the mean size restores it. An ion nearly at rest has no direction."""
PLANAR: Final = 3
MOST_LOST: Final = 1.0
"""Log likelihood per event that an imposed symmetry may cost: peaks that are drawn apart take up
vibrations that the ions have in common, which is worth a few tenths."""
PARTS: Final = 10
"""Parts of the events that are left out in turn for the errors."""
FORM: Final = 0.005
"""Error of a component, in units of the momentum, because peaks are not normal distributions and a
mean depends on how the orientation of a vibrating molecule is defined; from virtual molecules."""
_JACKKNIFE_ROUNDS: Final = 5


@dataclass(frozen=True)
class PartialMeans:
    """Mean momenta of all ions of a molecule.

    Attributes:
        ions: the ions, in the order of the channel.
        momentum: (ions, 3) a.u., in the frame of the channel: direction of the mean momentum, mean
            size, closed.
        covariance: (ions, 3, 3) of each.
        count: (ions) number of detected ions behind each; 0 for one that conservation gave.
        labels: names for people.
        closed: what momentum conservation changed.
        energy: what averaging left of the kinetic energy release of the detected ions.
        summary: numbers for the user, plain values.
        warnings: reasons why the result may be poor.
    """

    ions: tuple[Ion, ...]
    momentum: FloatArray
    covariance: FloatArray
    count: FloatArray
    labels: tuple[str, ...]
    closed: Closed
    energy: EnergyKept
    summary: dict[str, Any]
    warnings: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """What was found, in words."""
        events = f"{self.summary['true_events']:.0f} true events of {self.summary['events']}"
        given = [ion for ion, n in zip(self.labels, self.count, strict=True) if n == 0]
        if given:
            return f"{events}; {given[0]}: minus the sum of the others"
        return (
            f"{events}; the mean momenta added up to {100.0 * self.closed.sum_share:.2f} % of the "
            f"sum of their sizes and were adjusted to zero by up to {self.closed.largest:.2g} a.u. "
            f"({self.closed.sigmas:.1f} standard deviations)"
        )


@dataclass(frozen=True)
class _Fit:
    peaks: Peaks
    found: Expectation
    mirror: bool = False
    symmetric: tuple[Operation, ...] = ()


def solve_partial(
    table: Coincidences, channel: Channel, *, progress: Progress = SILENT
) -> PartialMeans:
    """Find the mean momenta of all ions of a partial channel.

    Args:
        table: coincidences of the channel; the ions of a row in one frame, any one.
        channel: the channel, with the number of ions in a complete break-up.
        progress: display of the progress.

    Raises:
        UsageError: a channel that cannot be solved in principle.
        NoEventsError: too few events.
        ComputationError: the peaks do not give the ions of the molecule; the reason is stated.
    """
    if sorted(map(str, table.ions)) != sorted(map(str, channel.wanted_ions)):
        raise UsageError(
            f"channel {channel.name} asks for {listing(channel.wanted_ions)} per event, the events "
            f"have {listing(table.ions)}",
            do="Name the channel that the events were reduced with.",
        )
    missing = _never_detected(channel)
    kinds = kinds_of(channel)
    if (many := [kind.name for kind in kinds if kind.count > MOST_LIKE]) or not kinds:
        raise UsageError(
            f"channel {channel.name}: more than {MOST_LIKE} like ions ({listing(many)})",
            do="Partial coincidences are solved for fewer.",
        )
    everything = events_of(table, kinds)
    events = _gated(everything, channel)
    anchor = _anchor(kinds, channel)
    best, starts = _solved(events, kinds, anchor, channel, progress)
    extra = _another(events, kinds, best, anchor)
    frame = channel.frame or Frame(reference=max(kinds, key=lambda kind: kind.mass).name)
    names = [kinds[k].name for k in best.peaks.kind]
    turn, order, roles = _orientation(best.peaks.mean, names, frame)
    momentum = best.peaks.mean[order] @ turn.T
    with progress.task("errors", PARTS, "parts") as task:
        spread = []
        for part in range(PARTS):
            spread.append(_without(events, best, anchor, part, order, frame, names))
            task.advance(1)
    covariance = _with_form(_jackknife(np.array(spread)), momentum)
    count = best.found.counts[order]
    ions = [parse_ion(names[a]) for a in order]
    plain = momentum
    sizes = _mean_sizes(events, best)[order]
    momentum = momentum * _stretch(plain, sizes)[:, None]
    if missing is not None:
        ions.append(parse_ion(missing))
        plain = np.vstack([plain, -plain.sum(axis=0)])
        momentum = np.vstack([momentum, -momentum.sum(axis=0)])
        covariance = np.concatenate([covariance, covariance.sum(axis=0)[None]])
        count, roles = np.append(count, 0.0), [*roles, "from momentum conservation"]
    before = close(plain, covariance)
    closed = replace(
        close(momentum, covariance), sum_before=before.sum_before, sum_share=before.sum_share
    )
    warnings = _doubts(events, kinds, best, closed, channel, missing is not None, extra)
    place = _channel_order(ions, channel)
    whole = float((events.weight * best.found.true).sum())
    summary: dict[str, Any] = {
        "rows": len(table),
        "events": len(everything),
        "in_gate": len(events),
        "true_events": round(whole, 1),
        "purity": round(best.peaks.purity, 4),
        "efficiency": {
            k.name: round(float(best.peaks.efficiency[i]), 4)
            for i, k in enumerate(kinds)
            if not k.complete
        },
        "false_per_event": {
            k.name: round(float(best.peaks.false_rate[i]), 4)
            for i, k in enumerate(kinds)
            if not k.complete
        },
        "starts": starts,
        "symmetric": bool(best.symmetric),
        "mirror_images": best.mirror,
        "another_peak": extra,
        "sum_au": [round(float(v), 4) for v in closed.sum_before],
        "sum_share": None if missing else round(closed.sum_share, 5),
        "adjusted_au": round(closed.largest, 4),
        "adjusted_sigmas": round(closed.sigmas, 2),
    }
    labels = ion_labels(tuple(ions[i] for i in place))
    texts = tuple(f"{label} ({roles[i]})" for label, i in zip(labels, place, strict=True))
    return PartialMeans(
        ions=tuple(ions[i] for i in place),
        momentum=closed.momentum[place],
        covariance=closed.covariance[place],
        count=count[place],
        labels=texts,
        closed=closed,
        energy=_energy(best, kinds, _stretch(best.peaks.mean, _mean_sizes(events, best))),
        summary=summary,
        warnings=tuple(warnings),
    )


def _never_detected(channel: Channel) -> str | None:
    """The one ion that conservation gives, if any is never detected."""
    absent = [entry for entry in channel.ions if entry.wanted == 0]
    number = sum(entry.count for entry in absent)
    if number > 1:
        raise UsageError(
            f"channel {channel.name} detects none of {listing(e.ion for e in absent)}: momentum "
            "conservation gives one ion only",
            do="Ask for at least one of each kind (`detected: 1`).",
        )
    if sum(entry.wanted for entry in channel.ions) < 2:
        raise UsageError(
            f"channel {channel.name} asks for a single ion, which has no orientation",
            do="Ask for two ions or more.",
        )
    return absent[0].ion if absent else None


def _gated(everything: Events, channel: Channel) -> Events:
    inside, _, _ = gate_events(everything)
    kept = np.flatnonzero(inside)
    if len(kept) > MOST_EVENTS:
        kept = kept[np.linspace(0, len(kept) - 1, MOST_EVENTS).astype(int)]
    if len(kept) < FEWEST:
        raise NoEventsError(
            f"{len(kept)} events of channel {channel.name} have one shape, too few to find the "
            f"ions that are not always detected (at least {FEWEST})",
            do="Reduce more of the run, or look at windows and momenta of the channel.",
        )
    return everything.take(kept)


def _anchor(kinds: tuple[Kind, ...], channel: Channel) -> int:
    """The kind of the ion that orientations are searched from: heavy, complete, single."""
    wanted = channel.frame.reference if channel.frame is not None else ""
    ranked = sorted(
        range(len(kinds)),
        key=lambda k: (
            not kinds[k].complete,
            kinds[k].name != wanted,
            kinds[k].count,
            -kinds[k].mass,
        ),
    )
    return ranked[0]


def _solved(
    events: Events, kinds: tuple[Kind, ...], anchor: int, channel: Channel, progress: Progress
) -> tuple[_Fit, dict[str, Any]]:
    """The peaks, checked; of a chiral molecule together with its mirror image where both occur."""
    try:
        best, starts = _fitted(events, kinds, anchor, progress)
        best = _symmetrised(events, best, anchor)
        _check(events, kinds, best, channel)
    except MolexaError as reason:
        if sum(kind.count for kind in kinds) <= PLANAR:
            raise  # three momenta have no mirror image
        try:
            both, starts = _fitted(events, kinds, anchor, progress, mirror=True)
            _check(events, kinds, both, channel)
        except MolexaError:
            raise reason from None
        if operations(both.peaks, improper=True):
            raise  # the mirror image is the molecule itself: that was not the reason
        return both, starts
    if not operations(best.peaks, improper=True):
        peaks, found = settle(events, best.peaks, anchor, ROUNDS, mirror=True)
        both = _Fit(peaks, found, mirror=True)
        if found.likelihood > best.found.likelihood and _passes(events, kinds, both, channel):
            return both, starts
    return best, starts


def _passes(events: Events, kinds: tuple[Kind, ...], fit: _Fit, channel: Channel) -> bool:
    try:
        _check(events, kinds, fit, channel)
    except MolexaError:
        return False
    return True


def _fitted(
    events: Events,
    kinds: tuple[Kind, ...],
    anchor: int,
    progress: Progress,
    *,
    mirror: bool = False,
) -> tuple[_Fit, dict[str, Any]]:
    """The best of several starts, settled on all events."""
    number = min(SAMPLE, len(events))
    sample = events.take(np.linspace(0, len(events) - 1, number).astype(int))
    atoms = [kind.count for kind in kinds]
    results: list[_Fit] = []
    chosen = templates(sample, STARTS)
    with progress.task("peaks", len(chosen), "starts") as task:
        for event in chosen:
            one = sample.take(np.array([event]))
            start = begin(sample, one.kind.tolist(), one.momentum)
            grown = grow(sample, start, anchor, atoms, mirror=mirror)
            task.advance(1)
            if grown is not None and np.isfinite(grown[1].likelihood):
                results.append(_Fit(*grown))
            if len(results) > AGREEING and len(_agreeing(results, number)) >= AGREEING:
                break
    if not results:
        raise ComputationError(
            f"no peaks were found for {listing(k.name for k in kinds if not k.complete)}: the ions "
            "have no directions that the ions of the frame hold",
            do="Choose other ions that are always detected, or ask for two (`detected: 2`).",
        )
    best = max(results, key=lambda fit: fit.found.likelihood)
    agreeing = _agreeing(results, number)
    close_by = [
        fit
        for fit in results
        if best.found.likelihood - fit.found.likelihood < RIVAL * number
        and _distance(best.peaks, fit.peaks) > SAME_PEAKS
        and not _mirrored(best.peaks, fit.peaks)
    ]
    record = {"made": len(results), "agree": len(agreeing), "rivals": len(close_by)}
    peaks, found = settle(events, best.peaks, anchor, ROUNDS, mirror=mirror)
    return _Fit(peaks, found, mirror), record


def _agreeing(results: list[_Fit], number: int) -> list[_Fit]:
    best = max(results, key=lambda fit: fit.found.likelihood)
    return [
        fit
        for fit in results
        if best.found.likelihood - fit.found.likelihood < 0.2 * number
        and _distance(best.peaks, fit.peaks) < SAME_PEAKS
    ]


def _distance(one: Peaks, other: Peaks) -> float:
    """Rms distance of two sets of peaks over the rms momentum, like peaks in any order."""
    joined = replace(one, mean=one.mean)
    size = np.linalg.norm(one.mean, axis=1)
    anchor = int(np.argmax(size))
    second = int(np.argmax(np.linalg.norm(np.cross(one.mean[anchor], one.mean), axis=1)))
    best = np.inf
    for a in np.flatnonzero(other.kind == one.kind[anchor]):
        for b in np.flatnonzero(other.kind == one.kind[second]):
            if a == b:
                continue
            turn = superpose(joined.mean[[anchor, second]], other.mean[[a, b]])
            moved = joined.mean @ turn.T
            away = np.linalg.norm(moved[:, None] - other.mean[None], axis=2)
            away[one.kind[:, None] != other.kind[None]] = np.inf
            order = away.argmin(axis=1)
            if len(set(order.tolist())) < len(order):
                continue
            turn = superpose(joined.mean, other.mean[order])
            rest = np.square(joined.mean @ turn.T - other.mean[order]).sum(axis=1).mean()
            best = min(best, float(np.sqrt(rest)))
    return best / float(np.sqrt(np.square(size).mean()))


def _mirrored(one: Peaks, other: Peaks) -> bool:
    return _distance(replace(one, mean=one.mean * np.array([1.0, 1.0, -1.0])), other) < SAME_PEAKS


def _symmetrised(events: Events, best: _Fit, anchor: int) -> _Fit:
    """Impose those symmetries that the events do not decide against."""
    group = [
        item
        for item in operations(best.peaks)
        if undecided(events, best.peaks, anchor, best.found, item) > UNDECIDED
    ]
    if not group:
        return best
    start = imposed(best.peaks, group)
    peaks, found = settle(events, start, anchor, ROUNDS, impose=lambda now: imposed(now, group))
    lost = best.found.likelihood - found.likelihood
    if lost > MOST_LOST * float(best.found.true.sum()):
        return best
    return _Fit(peaks, found, symmetric=tuple(group))


def _check(events: Events, kinds: tuple[Kind, ...], best: _Fit, channel: Channel) -> None:
    """Refuse peaks that are not those of the molecule."""
    peaks, found = best.peaks, best.found
    whole = float((events.weight * found.true).sum())
    if whole < FEWEST:
        raise NoEventsError(
            f"{whole:.0f} events of channel {channel.name} are true, too few (at least {FEWEST})",
            do="Reduce more of the run.",
        )
    for k, kind in enumerate(kinds):
        mine = np.flatnonzero(peaks.kind == k)
        counts = found.counts[mine]
        mean = peaks.mean[mine]
        rms = float(np.sqrt(np.square(peaks.mean).sum(axis=1).mean()))
        size = max(float(np.sqrt(np.square(mean).sum(axis=1).mean())), 0.5 * rms * 0.5)
        width = np.sqrt(np.trace(peaks.covariance[mine], axis1=1, axis2=2) / 3.0)
        if counts.min() < FEWEST_IN_PEAK:
            raise NoEventsError(
                f"a peak of {kind.name} has {counts.min():.0f} ions, too few (at least "
                f"{FEWEST_IN_PEAK})",
                do="Reduce more of the run; or the molecule has fewer than the channel says.",
            )
        share = counts / counts.mean()
        if len(mine) > 1 and not SHARES[0] < share.min() <= share.max() < SHARES[1]:
            raise ComputationError(
                f"the {kind.count} peaks of {kind.name} have {listing(f'{c:.0f}' for c in counts)} "
                "ions, though every one should have as many: peaks overlap, or the molecule does "
                f"not have {kind.count}",
                do="Check `count`; choose other ions for the frame, or ask for two of them.",
            )
        if width.max() > WIDEST * size:
            raise ComputationError(
                f"a peak of {kind.name} is {width.max():.0f} a.u. wide at {size:.0f} a.u.: the "
                "ions that are detected do not hold it",
                do="Choose other ions that are always detected, or ask for two (`detected: 2`).",
            )
        for i in range(len(mine)):
            for j in range(i):
                line = mean[i] - mean[j]
                length = float(np.linalg.norm(line))
                along = line / max(length, 1e-9)
                both = peaks.covariance[mine[i]] + peaks.covariance[mine[j]]
                if length < APART * float(np.sqrt(0.5 * along @ both @ along)):
                    raise ComputationError(
                        f"two peaks of {kind.name} are {length:.1f} a.u. apart and as wide: they "
                        "cannot be told apart",
                        do="Ask for two of these ions (`detected: 2`), or reduce more of the run.",
                    )


def _another(
    events: Events, kinds: tuple[Kind, ...], best: _Fit, anchor: int
) -> dict[str, dict[str, float]]:
    """What one more peak of each partial kind would take: Bayesian information and its share."""
    number = min(SAMPLE, len(events))
    sample = events.take(np.linspace(0, len(events) - 1, number).astype(int))
    before = examine(sample, best.peaks, anchor, mirror=best.mirror)
    answers = {}
    for k, kind in enumerate(kinds):
        if kind.complete or kind.count >= MOST_LIKE:
            continue
        place = unexplained(sample, before, k)
        if place is None:
            continue
        size = max(float(np.linalg.norm(place)), 1.0)
        more = best.peaks.with_peak(k, place, np.square(0.1 * size) * np.eye(3))
        peaks, found = settle(sample, more, anchor, 8, mirror=best.mirror)
        mine = np.flatnonzero(peaks.kind == k)
        counts = found.counts[mine]
        gain = 2.0 * (found.likelihood - before.likelihood) - 9.0 * float(np.log(number))
        answers[kind.name] = {
            "information_gain": round(gain, 1),
            "share": round(float(counts[-1] / max(np.median(counts), 1e-9)), 3),
        }
    return answers


def _orientation(
    mean: FloatArray, names: list[str], frame: Frame
) -> tuple[FloatArray, IntArray, list[str]]:
    """Rotation into the frame of the channel, the order of the peaks, and their roles."""
    size = np.linalg.norm(mean, axis=1)
    first = [a for a, name in enumerate(names) if name == frame.reference]
    if not first:
        first = [int(np.argmax(size))]
    reference = max(first, key=lambda a: (round(float(size[a]), 3), -a))
    others = [a for a in range(len(names)) if a != reference]
    named = [a for a in others if frame.second in {None, names[a]}] or others
    cosine = np.abs(cosine_between(mean[[reference]], mean))
    second = min(named, key=lambda a: (round(float(cosine[a]), 3), a))
    if cosine[second] ** 2 > 1.0 - LEAST_FRAME**2:
        second = min(others, key=lambda a: (round(float(cosine[a]), 3), a))
    turn = rows_of_axes(mean[[reference]], mean[[second]], frame.plane)[0]
    turned = mean @ turn.T
    axes = (1, 2) if frame.plane == "xy" else (2, 1)
    azimuth = np.mod(np.degrees(np.arctan2(turned[:, axes[1]], turned[:, axes[0]])) + 30.0, 360.0)
    rank = {reference: -2, second: -1}
    order = sorted(
        range(len(names)), key=lambda a: (names[a], rank.get(a, 0), round(float(azimuth[a]), 6))
    )
    roles, seen = [], dict.fromkeys(names, 0)
    for a in order:
        if a == reference:
            roles.append("reference")
        elif a == second:
            roles.append("second")
        else:
            seen[names[a]] += 1
            roles.append(f"peak {seen[names[a]]}")
    return turn, np.array(order), roles


def _without(
    events: Events,
    best: _Fit,
    anchor: int,
    part: int,
    order: IntArray,
    frame: Frame,
    names: list[str],
) -> FloatArray:
    """The momenta in the frame of the channel from all events but one part."""
    kept = np.flatnonzero(np.arange(len(events)) % PARTS != part)
    fewer = events.take(kept)
    peaks = best.peaks
    rotation, handed = best.found.rotation[kept], best.found.handed[kept]
    for _ in range(_JACKKNIFE_ROUNDS):
        found = examine(fewer, peaks, anchor, mirror=best.mirror, orientation=(rotation, handed))
        peaks = maximise(fewer, peaks, found)
        if best.symmetric:
            peaks = imposed(peaks, list(best.symmetric))
        rotation = found.rotation
    mean = peaks.mean
    ordered = mean[order]
    roles = [names[a] for a in order]
    reference, second = _frame_pair(best.peaks.mean[order], roles, frame)
    turn = rows_of_axes(ordered[[reference]], ordered[[second]], frame.plane)[0]
    found_: FloatArray = ordered @ turn.T
    return found_


def _frame_pair(mean: FloatArray, names: list[str], frame: Frame) -> tuple[int, int]:
    _, order, roles = _orientation(mean, names, frame)
    return int(order[roles.index("reference")]), int(order[roles.index("second")])


def _jackknife(values: FloatArray) -> FloatArray:
    """(ions, 3, 3) covariance of the mean from values (parts, ions, 3) with a part left out."""
    parts = len(values)
    away = values - values.mean(axis=0)
    found: FloatArray = (parts - 1) / parts * np.einsum("pai,paj->aij", away, away)
    return found


def _with_form(covariance: FloatArray, momentum: FloatArray) -> FloatArray:
    """Covariances with what the form of the peaks leaves out, where the frame leaves it free."""
    share = np.square(FORM) * np.square(momentum).sum(axis=1)
    free = np.diagonal(covariance, axis1=1, axis2=2) > 1e-12
    found: FloatArray = covariance + (share[:, None] * free)[:, :, None] * np.eye(3)
    return found


def _channel_order(ions: list[Ion], channel: Channel) -> IntArray:
    """Places of the ions in the order of the channel."""
    left = list(range(len(ions)))
    order = []
    for wanted in channel.all_ions:
        place = next(i for i in left if str(ions[i]) == str(wanted))
        left.remove(place)
        order.append(place)
    return np.array(order)


def _mean_sizes(events: Events, best: _Fit) -> FloatArray:
    """(peaks) mean size of the momenta of the ions of each peak, a.u.; it needs no orientation."""
    peaks, found = best.peaks, best.found
    size = np.linalg.norm(events.momentum, axis=1)
    weight = events.weight[events.event]
    first = peaks.first(len(events.kinds))
    sizes = np.empty(len(peaks.kind))
    for p, k in enumerate(peaks.kind):
        share = np.where(events.kind == k, found.share[:, p - first[k]], 0.0) * weight
        sizes[p] = float((share * size).sum() / max(float(share.sum()), 1e-9))
    return sizes


def _stretch(mean: FloatArray, sizes: FloatArray) -> FloatArray:
    """Factors from the sizes of mean momenta to the mean sizes; 1 where they differ by much."""
    factor = sizes / np.maximum(np.linalg.norm(mean, axis=1), 1e-9)
    found: FloatArray = np.where(np.abs(factor - 1.0) < MOST_STRETCH, factor, 1.0)
    return found


def _energy(best: _Fit, kinds: tuple[Kind, ...], stretch: FloatArray) -> EnergyKept:
    mass = np.array([kinds[k].mass for k in best.peaks.kind])
    mean = best.peaks.mean
    square = np.square(mean).sum(axis=1)
    whole = square + np.trace(best.peaks.covariance, axis1=1, axis2=2)
    return EnergyKept(
        float((square * stretch**2 / (2.0 * mass)).sum()) * HARTREE_EV,
        float((whole / (2.0 * mass)).sum()) * HARTREE_EV,
    )


def _doubts(
    events: Events,
    kinds: tuple[Kind, ...],
    best: _Fit,
    closed: Closed,
    channel: Channel,
    given: bool,
    extra: dict[str, dict[str, float]],
) -> list[str]:
    """Warnings; refuses momenta that do not add up to zero."""
    found = []
    if not given and closed.sum_share > SUM_REFUSED:
        raise ComputationError(
            f"the momenta of the ions of channel {channel.name} add up to "
            f"{100.0 * closed.sum_share:.1f} % of the sum of their sizes instead of zero: ions are "
            "missing in the channel, or peaks are wrong",
            do="Check `count` of every ion.",
        )
    if not given and closed.sum_share > SUM_DOUBTED:
        found.append(
            f"the mean momenta added up to {100.0 * closed.sum_share:.1f} % of the sum of their "
            "sizes before they were adjusted to zero"
        )
    for name, one in extra.items():
        if one["information_gain"] > 0 and one["share"] > 0.5:
            found.append(
                f"{name} has one more peak than the channel has ions, with {one['share']:.2f} "
                "times the ions of another: a second structure, or `count` is too small"
            )
    del events, kinds, best
    return found
