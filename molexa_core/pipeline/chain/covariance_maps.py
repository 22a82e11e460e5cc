"""Covariance: cumulants of the ions of a channel, and maps of them, for high rates."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from molexa_core.base.errors import MolexaError, OutputError, UsageError, listing
from molexa_core.base.fields import TAG_PULSE_ENERGY
from molexa_core.base.options.work_options import HERE, WorkOptions
from molexa_core.base.progress import SILENT, Progress
from molexa_core.base.settings import Channel, Setup
from molexa_core.base.shown import Shown
from molexa_core.base.spectrum import Spectrum
from molexa_core.base.storage.outputs import FileKind
from molexa_core.base.storage.provenance import Provenance
from molexa_core.base.tables import FloatArray, Hits, IntArray
from molexa_core.io.results.covariance_file import write_covariance
from molexa_core.pipeline.chain.covariance_parts.covariance_sums import (
    Axis,
    BlockCounts,
    Counting,
    MapPlan,
    MapSums,
    blocks,
    stretches_of_block,
)
from molexa_core.pipeline.chain.covariance_parts.covariance_units import CovarianceUnits, ReadCounts
from molexa_core.pipeline.chain.reduce import reduce
from molexa_core.pipeline.chain.reduce_units import (
    SMALL_UNITS,
    index_if_large,
    number_of_units,
)
from molexa_core.pipeline.given.given_run import GivenRun, Run, given_run
from molexa_core.pipeline.output_guard import require_outputs
from molexa_core.pipeline.runs.open_run import OpenRun
from molexa_core.pipeline.work.executor_choice import executor_of
from molexa_core.pipeline.work.folder import UnitFolder
from molexa_core.reduction.coincidences import Search
from molexa_core.reduction.cumulants.windows import (
    CumulantRow,
    HiddenPairs,
    cumulants,
    require_separate,
)
from molexa_core.reduction.mixing.false_summary import FalseCoincidences
from molexa_core.reduction.stretches import stretches

BINS: Final = 120
SLICES: Final = 8
_MOST_BINS: Final = 1000


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
    work: WorkOptions = HERE,
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
        work: who computes, where a file is written; a large run is worked off in units
            (docs/units-of-work.md), which an interrupted call leaves for the next.
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
    with nullcontext() if out is None else _units(given, Path(out), work, progress) as units:
        found = _covariance(
            given,
            units,
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


@contextmanager
def _units(
    given: GivenRun, target: Path, work: WorkOptions, progress: Progress
) -> Iterator[CovarianceUnits | None]:
    """The sums over a run in units of work; None for a small run, which needs none."""
    run = given.hits
    if isinstance(run, OpenRun):
        index_if_large(run, progress)
    number = number_of_units(run) if isinstance(run, OpenRun) else 0
    if number < SMALL_UNITS or not isinstance(run, OpenRun):
        yield None
        return
    with (
        closing(executor_of(work, number, progress)) as executor,
        UnitFolder.of_result(target, progress, keep=work.keep_units) as folder,
    ):
        yield CovarianceUnits(run, given.setup, given.channel, folder, executor, work, progress)


def _covariance(
    given: GivenRun,
    units: CovarianceUnits | None,
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
    _require_beside(beside, kinds)
    for text in axes:
        Axis.of(text, search, bins)  # refuses what is none
    sums = _Here(run, channel, setup, progress) if units is None else units
    counts, values, hidden = _counted(sums, Counting(bins, control))
    warnings: list[str] = []
    name = None if values is None else control or TAG_PULSE_ENERGY
    finite = np.empty(0) if values is None else values[np.isfinite(values)]
    if values is not None and not (len(finite) and np.ptp(finite) > 0.0):
        warnings.append(f"{name} is the same in all shots: it is not used as a control")
        name, values = None, None
    plan = MapPlan.of(
        counts, kinds, values, axes=axes, bins=bins, beside=beside, name=name, slices=slices
    )
    of_slices = plan.slices_of(values, 0, plan.shots)
    rows = cumulants(counts, kinds, search.wanted, control=values, slices=of_slices)
    warnings += _doubts(rows, hidden)
    maps = MapSums(plan, search, setup)
    for arrays in sums.mapped(plan):
        maps.absorb(arrays)
    found = None
    try:
        found = sums.coincidences()
    except OutputError:
        raise
    except MolexaError as error:
        warnings.append(f"coincidences are not shown beside: {error.what}")
    ions = tuple(map(str, search.ions))
    return Covariances(
        ions, tuple(rows), maps.spectra(), counts.shape[1], name, found, tuple(warnings)
    )


def _require_beside(beside: Sequence[str], kinds: Sequence[str]) -> None:
    for ion in beside:
        if ion not in kinds:
            raise UsageError(
                f"{ion} is not an ion of the channel", setting="beside",
                do=f"There are {listing(kinds)}.",
            )  # fmt: skip
    if len(beside) > 2 or len(set(beside)) < len(beside):
        raise UsageError("maps have at most two different further ions", setting="beside")


def _counted(
    sums: _Here | CovarianceUnits, wanted: Counting
) -> tuple[IntArray, FloatArray | None, HiddenPairs]:
    """(kinds, shots) hits in the windows, the control variable, and pairs that are lost."""
    blocks_read: list[BlockCounts | ReadCounts] = list(sums.counted(wanted))
    if not blocks_read:
        raise UsageError("there are no shots in the run", do="Check how it was written.")
    hidden = blocks_read[0].hidden
    for block in blocks_read[1:]:
        hidden = hidden.and_of(block.hidden)
    known = [block.values for block in blocks_read if block.values is not None]
    values = np.concatenate(known) if len(known) == len(blocks_read) else None
    return np.concatenate([block.counts for block in blocks_read], axis=1), values, hidden


def _doubts(rows: Sequence[CumulantRow], hidden: HiddenPairs) -> list[str]:
    """Warnings about a rate that varies, and about pairs that are lost in the dead time."""
    warnings = [
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
    return warnings


class _Here:
    """The sums over a run, by this process and in one go."""

    def __init__(
        self, run: Iterable[Hits], channel: Channel, setup: Setup, progress: Progress
    ) -> None:
        self._run, self._channel, self._setup = run, channel, setup
        self._progress = progress
        self._search = Search(channel, setup)

    def counted(self, wanted: Counting) -> Iterator[BlockCounts]:
        """The numbers of ions, block by block."""
        size, block, number = stretches_of_block(wanted.bins), None, -1
        for of_block, _, hits in self._blocks("counting ions", size):
            if of_block != number:
                if block is not None:
                    yield block
                number = of_block
                block = BlockCounts(self._search, self._setup, wanted.control, size * number)
            if block is not None:
                block.add(hits)
        if block is not None:
            yield block

    def mapped(self, plan: MapPlan) -> Iterator[Mapping[str, NDArray[Any]]]:
        """The sums of the maps, block by block."""
        size, block, number = stretches_of_block(plan.bins), None, -1
        for of_block, first, hits in self._blocks("maps", size):
            if of_block != number:
                if block is not None:
                    yield block.as_arrays()
                number, block = of_block, MapSums(plan, self._search, self._setup)
            if block is not None:
                block.add(hits, first)
        if block is not None:
            yield block.as_arrays()

    def coincidences(self) -> FalseCoincidences | None:
        """True coincidences by event mixing."""
        run = list_of(self._run)
        return reduce(run, self._channel, self._setup, progress=self._progress).summary.false

    def _blocks(self, what: str, size: int) -> Iterator[tuple[int, int, Hits]]:
        with self._progress.task(what, getattr(self._run, "n_shots", None), "shots") as task:
            for number, first, hits in blocks(stretches(self._run), size):
                yield number, first, hits
                task.advance(hits.n_shots)


def list_of(run: Iterable[Hits]) -> Iterable[Hits]:
    """The run, which can be read again."""
    if iter(run) is run:
        raise UsageError("the run can be read only once", do="Give a list of chunks.")
    return run
