"""Covariance: cumulants of the ions of a channel, and maps of them, for high rates."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from molexa_core.base.errors import MolexaError, UsageError, listing
from molexa_core.base.fields import TAG_PULSE_ENERGY
from molexa_core.base.progress import SILENT, Progress
from molexa_core.base.settings import Channel, Setup
from molexa_core.base.shown import Shown
from molexa_core.base.spectrum import Spectrum
from molexa_core.base.storage.outputs import FileKind
from molexa_core.base.storage.provenance import Provenance
from molexa_core.base.tables import FloatArray, Hits, IntArray
from molexa_core.io.results.covariance_file import write_covariance
from molexa_core.pipeline.chain.reduce import reduce
from molexa_core.pipeline.given.given_run import GivenRun, Run, given_run
from molexa_core.pipeline.output_guard import require_outputs
from molexa_core.reduction.coincidences import Search
from molexa_core.reduction.cumulants.cumulant_maps import CumulantMap, Kind
from molexa_core.reduction.cumulants.windows import (
    CumulantRow,
    HiddenPairs,
    counts_of,
    cumulants,
    require_separate,
)
from molexa_core.reduction.laboratory import calibrate
from molexa_core.reduction.mixing.false_summary import FalseCoincidences

BINS: Final = 120
SLICES: Final = 8
_MOST_BINS: Final = 1000
_AXIS: Final = re.compile(r"^\s*(tof|px|py|pz|p)\s*(?:\(\s*([^()]+?)\s*\))?\s*$")
_ROOM: Final = 1.02


@dataclass(frozen=True, repr=False)
class Covariances(Shown):
    """The result of `covariance`.

    Attributes:
        ions: the ions of the channel.
        rows: cumulants of all combinations of two to four of them.
        maps: maps by name, with errors.
        shots: shots used.
        control: name of the control variable, if there is one.
        coincidences: true coincidences of all ions of the channel by event mixing, where that could
            be done.
        warnings: reasons for doubt.
    """

    ions: tuple[str, ...]
    rows: tuple[CumulantRow, ...]
    maps: Mapping[str, Spectrum]
    shots: int
    control: str | None
    coincidences: FalseCoincidences | None
    warnings: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain values, without the maps."""
        return {
            "shots": self.shots,
            "control": self.control,
            "cumulants": [asdict(row) | {"false": row.false} for row in self.rows],
            "coincidences": None if self.coincidences is None else asdict(self.coincidences),
            "maps": sorted(self.maps),
            "warnings": list(self.warnings),
        }


@dataclass(frozen=True)
class _Axis:
    """One axis of the maps: the time of flight of any hit, or an observable of one kind of ion."""

    name: str
    kind: int | None
    component: int | None
    edges: FloatArray
    unit: str

    @classmethod
    def of(cls, text: str, search: Search, bins: int) -> _Axis:
        found = _AXIS.match(text)
        kinds = list(search.windows)
        if found is None or (found[2] is None) != (found[1] == "tof"):
            raise UsageError(
                f"{text!r} is not an axis of a map",
                setting="axes",
                do="Use tof, or px, py, pz, p of an ion of the channel, such as pz(O+).",
            )
        if found[1] == "tof":
            last = _ROOM * max(high for _, high in search.windows.values())
            first = min(low for low, _ in search.windows.values()) / _ROOM
            return cls("time of flight", None, None, np.linspace(first, last, bins + 1), "ns")
        if found[2] not in kinds:
            raise UsageError(
                f"{found[2]} is not an ion of the channel",
                setting="axes",
                do=f"There are {listing(kinds)}.",
            )
        size = search.sum_range
        low = 0.0 if found[1] == "p" else -size
        component = None if found[1] == "p" else "xyz".index(found[1][1])
        edges = np.linspace(low, size, bins + 1)
        return cls(text.strip(), kinds.index(found[2]), component, edges, "a.u.")

    def bins_of(self, hits: Hits, found: list[tuple[IntArray, FloatArray]]) -> IntArray:
        """(hits) bin of each hit, -1 for none."""
        if self.kind is None:
            return self._placed(hits.t_ns, np.arange(hits.n_hits), hits.n_hits)
        rows, momenta = found[self.kind]
        size = np.linalg.norm(momenta, axis=1)
        values = size if self.component is None else momenta[:, self.component]
        return self._placed(values, rows, hits.n_hits)

    def _placed(self, values: FloatArray, rows: IntArray, hits: int) -> IntArray:
        place = np.full(hits, -1, np.int64)
        bins = np.searchsorted(self.edges, values, side="right") - 1
        inside = (bins >= 0) & (bins < len(self.edges) - 1)
        place[rows[inside]] = bins[inside]
        return place


def covariance(
    run: Run,
    channel: Channel | str | Path | None = None,
    setup: Setup | str | Path | None = None,
    *,
    axes: tuple[str, str] = ("tof", "tof"),
    bins: int = BINS,
    beside: Sequence[str] = (),
    control: str | None = None,
    slices: int = SLICES,
    out: Path | str | None = None,
    progress: Progress = SILENT,
) -> Covariances:
    """Which ions come from the same explosion, where rates are too high for coincidences.

    The numbers of hits in the windows of the ions vary from shot to shot; their joint factorial
    cumulants are the true coincidences per shot, at any rate (`reduction.cumulants`).

    Args:
        run: files, pattern or folder; an open run; a virtual run; or hits, read several times.
        channel: ions and windows: a channel, its name or file, a formula, or ions; that of the
            run, or of `molexa.yaml`, if not given.
        setup: the apparatus, or its file; that of the run, or of `molexa.yaml`, if not given.
        axes: of the maps: `tof`, or `px`, `py`, `pz`, `p` of an ion, such as `pz(O+)`.
        bins: of each axis.
        beside: one or two ions whose hits make the maps those of order three or four; their hits
            are left out on the axes.
        control: tag whose linear effect is taken off; the pulse energy if the run has it.
        slices: number of slices of alike values of the control, or of time without one; 0 for none.
        out: covariance file to write.
        progress: display of the progress.

    Returns:
        Cumulants of up to four ions, and maps, with errors.

    Raises:
        UsageError: windows that overlap, unknown axes or tags, impossible numbers.
        InputFileError, SettingsError: the run, the channel or the setup cannot be read.
        OutputError: the file cannot be written there.
    """
    given = given_run(run, channel, setup, progress)
    require_outputs((out, FileKind.COVARIANCE), inputs=given.files)
    found = _covariance(
        given,
        axes=axes,
        bins=bins,
        beside=beside,
        control=control,
        slices=slices,
        progress=progress,
    )
    if out is not None:
        settings = {
            "channel": given.channel.model_dump(mode="json"),
            "setup": given.setup.model_dump(mode="json"),
            "axes": list(axes),
            "bins": bins,
            "beside": list(beside),
            "slices": slices,
        }
        record = Provenance.of(inputs=given.files, settings=settings)
        write_covariance(Path(out), found.as_dict(), found.maps, record)
    return found


def _covariance(
    given: GivenRun,
    *,
    axes: tuple[str, str],
    bins: int,
    beside: Sequence[str],
    control: str | None,
    slices: int,
    progress: Progress,
) -> Covariances:
    run, channel, setup = given.hits, given.channel, given.setup
    if not 2 <= bins <= _MOST_BINS:
        raise UsageError(f"{bins} bins", setting="bins", do=f"Use 2 to {_MOST_BINS}.")
    search = Search(channel, setup)
    require_separate(search.windows)
    kinds = list(search.windows)
    for ion in beside:
        if ion not in kinds:
            raise UsageError(
                f"{ion} is not an ion of the channel", setting="beside",
                do=f"There are {listing(kinds)}.",
            )  # fmt: skip
    if len(beside) > 2 or len(set(beside)) < len(beside):
        raise UsageError("maps have at most two different further ions", setting="beside")
    detector = setup.detector
    hidden = HiddenPairs(kinds, detector.dead_time_ns, detector.dead_radius_mm)
    counts, tags = _counted(run, search, setup, control, hidden, progress)
    warnings: list[str] = []
    name = control or (TAG_PULSE_ENERGY if TAG_PULSE_ENERGY in tags else None)
    values = None if name is None else tags[name]
    if values is not None and not np.ptp(values[np.isfinite(values)]) > 0.0:
        warnings.append(f"{name} is the same in all shots: it is not used as a control")
        name, values = None, None
    of_slices = _slices(values, counts.shape[1], slices)
    rows = cumulants(counts, kinds, search.wanted, control=values, slices=of_slices)
    warnings += [
        f"{row.label}: the cumulant rises with the rate to the power of {row.exponent:.1f} +- "
        f"{row.exponent_error:.1f}, that of an explosion to the power of 1: the rate varies from "
        "shot to shot in a way that the slices do not take off"
        for row in rows
        if row.false
    ]
    for name_of, lost in hidden.lost().items():
        pair = next((row for row in rows if row.ions == (name_of, name_of)), None)
        if pair is not None and lost > pair.error:
            warnings.append(
                f"{lost:.2g} unrelated pairs of {name_of} per shot are lost in the dead time of "
                f"the detector: cumulants with {name_of} are too small, those with two of them by "
                "at least as much; event mixing (molexa reduce) takes it into account"
            )
    drawn = tuple(_Axis.of(text, search, bins) for text in axes)
    maps = _maps(run, search, setup, drawn, beside, counts, values, of_slices, name, progress)
    found = None
    try:
        found = reduce(list_of(run), channel, setup, progress=progress).summary.false
    except MolexaError as error:
        warnings.append(f"coincidences are not shown beside: {error.what}")
    ions = tuple(map(str, search.ions))
    return Covariances(ions, tuple(rows), maps, counts.shape[1], name, found, tuple(warnings))


def list_of(run: Iterable[Hits]) -> Iterable[Hits]:
    """The run, which can be read again."""
    if iter(run) is run:
        raise UsageError("the run can be read only once", do="Give a list of chunks.")
    return run


def _counted(
    run: Iterable[Hits],
    search: Search,
    setup: Setup,
    control: str | None,
    hidden: HiddenPairs,
    progress: Progress,
) -> tuple[IntArray, dict[str, FloatArray]]:
    """(kinds, shots) hits in the windows, and the control variables of all shots."""
    counts, tags = [], []
    with progress.task("counting ions", getattr(run, "n_shots", None), "shots") as task:
        for chunk in run:
            hits, _ = calibrate(chunk, setup)
            counts.append(counts_of(hits, search))
            hidden.add(hits, search)
            if control is not None and control not in chunk.tags:
                raise UsageError(
                    f"the run has no tag {control!r}", setting="control",
                    do=f"There are {listing(sorted(chunk.tags)) or 'none'}.",
                )  # fmt: skip
            name = control or TAG_PULSE_ENERGY
            if name in chunk.tags:
                tags.append((name, np.asarray(chunk.tags[name], np.float64)))
            task.advance(chunk.n_shots)
    if not counts:
        raise UsageError("there are no shots in the run", do="Check how it was written.")
    found = {}
    if tags and len(tags) == len(counts):
        found[tags[0][0]] = np.concatenate([values for _, values in tags])
    return np.concatenate(counts, axis=1), found


def _slices(values: FloatArray | None, shots: int, slices: int) -> IntArray | None:
    """(shots) slice of each shot: quantiles of the control, or stretches of time."""
    if slices < 1:
        return None
    if values is None:
        return (np.arange(shots) * slices // max(shots, 1)).astype(np.int64)
    place = np.full(shots, -1, np.int64)
    known = np.isfinite(values)
    edges = np.quantile(values[known], np.linspace(0.0, 1.0, slices + 1)[1:-1])
    place[known] = np.searchsorted(edges, values[known], side="right")
    return place


def _maps(
    run: Iterable[Hits],
    search: Search,
    setup: Setup,
    axes: tuple[_Axis, ...],
    beside: Sequence[str],
    counts: IntArray,
    control: FloatArray | None,
    slices: IntArray | None,
    name: str | None,
    progress: Progress,
) -> dict[str, Spectrum]:
    kinds = list(search.windows)
    shape = (len(axes[0].edges) - 1, len(axes[1].edges) - 1)
    shots = counts.shape[1]
    wanted: dict[str, tuple[Kind, FloatArray, IntArray]] = {}
    all_shots = np.zeros(shots, np.int64)
    if beside:
        further = counts[[kinds.index(ion) for ion in beside]].astype(np.float64).T
        kind: Kind = "three" if len(beside) == 1 else "four"
        title = f"cumulant with {' and '.join(beside)}"
        wanted[title] = (kind, further - further.mean(axis=0), all_shots)
    else:
        none = np.zeros((shots, 0))
        wanted["covariance"] = ("plain", none, all_shots)
        if control is not None and name is not None:
            known = np.where(np.isfinite(control), control, np.nanmean(control))
            away = (known - known.mean()) / known.std()
            wanted[f"partial covariance ({name})"] = ("partial", away[:, None], all_shots)
            if slices is not None:
                wanted[f"contingent covariance ({name})"] = ("plain", none, slices)
    sums = {
        title: [CumulantMap(shape, kind) for _ in range(int(of.max()) + 1)]
        for title, (kind, _, of) in wanted.items()
    }
    with progress.task("maps", shots, "shots") as task:
        start = 0
        for hits in _calibrated(run, setup):
            part = slice(start, start + hits.n_shots)
            start += hits.n_shots
            found = list(search.candidates(hits))
            x, y = (axis.bins_of(hits, found) for axis in axes)
            for ion in beside:
                x[found[kinds.index(ion)][0]] = -1
                y[found[kinds.index(ion)][0]] = -1
            for title, (_, centred, of) in wanted.items():
                _add(sums[title], hits, x, y, centred[part], of[part])
            task.advance(hits.n_shots)
    return {title: _spectrum(parts, axes) for title, parts in sums.items()}


def _calibrated(run: Iterable[Hits], setup: Setup) -> Iterator[Hits]:
    for chunk in run:
        yield calibrate(chunk, setup)[0]


def _add(
    maps: list[CumulantMap],
    hits: Hits,
    x: IntArray,
    y: IntArray,
    centred: FloatArray,
    of: IntArray,
) -> None:
    if len(maps) == 1:
        maps[0].add(hits.offsets, x, y, centred)
        return
    shot = hits.shot - hits.first_shot
    for number, one in enumerate(maps):
        inside = of == number
        offsets = np.concatenate([[0], np.cumsum(hits.counts[inside])])
        chosen = inside[shot]
        one.add(offsets, x[chosen], y[chosen], centred[inside])


def _spectrum(parts: list[CumulantMap], axes: tuple[_Axis, ...]) -> Spectrum:
    usable = [part for part in parts if part.shots >= 10]
    shots = float(sum(part.shots for part in usable))
    shape = tuple(len(axis.edges) - 1 for axis in axes)
    value, variance = np.zeros(shape), np.zeros(shape)
    for part in usable:
        found, error = part.result()
        value += part.shots / shots * found
        variance += (part.shots / shots * error) ** 2
    return Spectrum(
        counts=value,
        edges=tuple(axis.edges for axis in axes),
        labels=tuple(axis.name for axis in axes),
        units=tuple(axis.unit for axis in axes),
        errors=np.sqrt(variance),
    )
