"""Reduce: from the hits of a raw run to the ion momenta of coincidences."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from molexa_core.base.compiled import announced
from molexa_core.base.errors import MolexaError, UsageError, listing
from molexa_core.base.fields import GATES, WARNINGS
from molexa_core.base.matter.isotopes import Masses
from molexa_core.base.options.gate_options import EVERYTHING, Selection, Solutions
from molexa_core.base.options.work_options import HERE, WorkOptions
from molexa_core.base.progress import SILENT, Progress
from molexa_core.base.settings import (
    Channel,
    Setup,
    load_channel,
)
from molexa_core.base.spectrum import Spectrum
from molexa_core.base.storage.outputs import FileKind
from molexa_core.base.storage.provenance import Provenance
from molexa_core.base.tables import Coincidences, Hits
from molexa_core.detector.health import HitHealth
from molexa_core.io.held_run import HeldRun
from molexa_core.io.results.events import EventsWriter, read_events, read_spectra
from molexa_core.io.stored_run import StoredRun
from molexa_core.observables.gating import Gating
from molexa_core.pipeline.chain.channel_limits import beyond_network, other_molecule
from molexa_core.pipeline.chain.pick import EVENTS_SUFFIX
from molexa_core.pipeline.chain.reduce_units import (
    SMALL_UNITS,
    ReduceUnits,
    Request,
    index_if_large,
    number_of_units,
)
from molexa_core.pipeline.chain.selected import gating_of
from molexa_core.pipeline.devices import card_or_processor
from molexa_core.pipeline.given.given_channel import channel as named_channel
from molexa_core.pipeline.given.given_run import Run, given_run, result_of_run
from molexa_core.pipeline.output_guard import require_outputs, settings_inputs
from molexa_core.pipeline.runs.open_run import OpenRun, size_of
from molexa_core.pipeline.two_passes import TwoPasses
from molexa_core.pipeline.work.executor_choice import cores, executor_of
from molexa_core.pipeline.work.folder import UnitFolder
from molexa_core.reduction.first_start import REDUCE
from molexa_core.reduction.reducer import Reducer
from molexa_core.reduction.summary import ReduceSummary

__all__ = ["Reduction", "reduce", "reduce_channels"]

_CHANNEL: Final = "channel"
_SETUP: Final = "setup"
_MOST_PACKERS: Final = 4
_MOST_PACKING: Final = 8
_SEARCHING_PER_PACKING: Final = 8
"""Processes that search for each that packs what they find."""
_FIRST_SHOTS: Final = 200_000
"""Number of shots that are examined if the first pass over a run fails."""


@dataclass(frozen=True)
class Reduction:
    """The result of `reduce`.

    Attributes:
        summary: numbers of hits, combinations and coincidences, gate, background.
        path: the events file; None if none was written.
        held: the coincidences, if they are in memory.
    """

    summary: ReduceSummary
    path: Path | None = None
    held: Coincidences | None = None

    @cached_property
    def table(self) -> Coincidences:
        """One row per coincidence; `meta` holds channel, setup and summary as plain values.

        Its `spectra` are the histograms by name. Read from the file when it is first asked for.
        """
        if self.path is None and self.held is not None:
            return self.held
        path = Path() if self.path is None else self.path
        return replace(read_events(path)[0], spectra=read_spectra(path))

    @property
    def spectra(self) -> Mapping[str, Spectrum]:
        """Histograms by name."""
        return self.table.spectra


def reduce(
    run: Run,
    channel: Channel | str | Path | None = None,
    setup: Setup | str | Path | None = None,
    *,
    gate_sum: tuple[float, float, float] | None = None,
    mixing: bool | None = None,
    rivals: Sequence[Channel | str] = (),
    solutions: Solutions = "best",
    masses: Masses = "isotope",
    selection: Selection = EVERYTHING,
    work: WorkOptions = HERE,
    device: str = "cpu",
    out: Path | str | None = None,
    progress: Progress = SILENT,
) -> Reduction:
    """Find the coincidences of a channel in a run.

    Hits are calibrated and converted into momenta for each ion of the channel, and all combinations
    of hits in a shot are formed. The gate on the sum of the momenta is that of the channel or is
    found from the data in a first pass; in a second pass the combinations inside the gate are kept.
    Like ions in a row are ordered by time of flight. Edges of a delay-line anode are sorted into
    hits according to `anode` of the setup.

    Args:
        run: files of one run in order, patterns, or a folder, of any known format
            (docs/formats.md); an open run; a virtual run; or hits, as chunks of shots that can be
            read twice.
        channel: ions, windows and gates; its name or file. Channel and setup are found as
            `pipeline.given.given_run` says if not given.
        setup: spectrometer, detector, calibration and jet; or its file.
        gate_sum: half widths of the momentum-sum gate in a.u., instead of those of the channel.
        mixing: whether to build the false coincidences by mixing hits of different shots, which all
            later stages subtract; None: if the channel is complete. All combinations inside the
            gate are kept then; without mixing those that share a hit with a better one are dropped.
        rivals: other channels that compete for the hits, so that each is in one explosion; nothing
            is mixed then.
        solutions: `best`: of combinations that share hits the most probable set; `all`: every one,
            with its probability as weight; nothing is mixed then.
        masses: of ions without a stated isotope: `isotope` (the most abundant one, which a
            spectrometer detects) or `average` (standard atomic weights); the average mass appears
            in the names of the ions, such as `Cl+@35.45`.
        selection: further gates, behind those of the channel.
        work: who computes, where a file is written; a large run is searched in units of work
            (docs/units-of-work.md), which an interrupted call leaves for the next.
        device: what searches shots with few combinations: `cpu`, `cuda`, `cuda:N`, or `auto`, which
            takes a graphics card where there is one. The result is the same; every process uses the
            same card.
        out: events file to write, in bounded memory, with the tags of all shots.
        progress: display of the progress and of the choices made.

    Returns:
        The coincidences, which are read from the file when they are asked for, and the summary.

    Raises:
        UsageError: the run can be read only once, such as a generator.
        InputFileError, ColumnError: a file cannot be read, channel or setup are not known, or the
            run has no shots, or no hit that can be an ion.
        SettingsError: channel or setup are not valid.
        ComputationError: the sum of the momenta has no peak, and no gate is given.
        NoEventsError: no coincidence, or none that passes the gates.
        OutputError: the file cannot be written there.
    """
    if gate_sum is not None and not all(0 < width < float("inf") for width in gate_sum):
        raise UsageError(
            f"half widths must be above 0, not {listing(gate_sum)}", setting="gate_sum"
        )
    given = given_run(run, channel, setup, progress)
    chosen = _gated(given.channel, gate_sum).with_masses(masses)
    others = [named_channel(rival).with_masses(masses) for rival in rivals]
    for other in others:
        if not other.is_complete:
            raise UsageError(
                f"channel {other.name} does not ask for all ions of its break-up, so that there is "
                "no gate on its momentum sum: it cannot compete for hits",
                setting="rivals",
                do="Name channels whose ions are all detected.",
            )
        if (other.ions, other.gates) == (chosen.ions, chosen.gates):
            raise UsageError(
                f"channel {other.name} is the one that is reduced, and no rival of itself",
                setting="rivals",
                do="Name another break-up.",
            )
    request = Request(given.setup, chosen, others, solutions, mixing, device)
    run = given.hits if isinstance(given.hits, OpenRun) else HeldRun(given.hits)
    gates = gating_of(selection, "reduce", channel=chosen, of_channel=True)
    if out is None:
        kept = _Kept()
        summary = _searched(run, request, gates, kept, None, HERE, (), progress)
        return Reduction(summary, held=kept.table())
    names = [name for name in rivals if isinstance(name, str)]
    read = [path for name in names for path in settings_inputs(channel=name, setup=None)]
    require_outputs((out, FileKind.EVENTS), inputs=[*given.files, selection.regions, *read])
    target, inputs = Path(out), given.inputs(selection)
    with (
        _units(run, request, target, work, progress) as units,
        EventsWriter(target, chosen.wanted_ions, **_packers(units, work)) as writer,
    ):
        summary = _searched(run, request, gates, writer, units, work, inputs, progress)
    return Reduction(summary, target)


class _Kept:
    """Coincidences kept in memory, as `EventsWriter` keeps them in a file."""

    def __init__(self) -> None:
        self._tables: list[Coincidences] = []
        self._factor = 1.0
        self._meta: dict[str, Any] = {}
        self._spectra: Mapping[str, Spectrum] = {}

    def append(self, table: Coincidences) -> None:
        """Add the rows of a table."""
        self._tables.append(table)

    def append_shots(self, tags: Mapping[str, Any]) -> None:
        """Tags of shots are kept in files only."""

    def scale_false(self, factor: float) -> None:
        """Multiply the weights of all false coincidences."""
        self._factor = factor

    def finish(
        self, _: Provenance, *, meta: dict[str, Any], spectra: Mapping[str, Spectrum]
    ) -> None:
        """Keep what describes the rows."""
        self._meta, self._spectra = meta, spectra

    def table(self) -> Coincidences:
        """All rows."""
        table = Coincidences.concatenate(self._tables, meta=self._meta)
        if table.false is not None:
            weight = table.false.weight * self._factor
            table = replace(table, false=replace(table.false, weight=weight))
        return replace(table, spectra=self._spectra)


def _searched(
    run: OpenRun | HeldRun,
    request: Request,
    gates: Gating,
    writer: EventsWriter | _Kept,
    units: ReduceUnits | None,
    work: WorkOptions,
    inputs: Sequence[Path],
    progress: Progress,
) -> ReduceSummary:
    """Write the coincidences of a run, with the tags of all shots, in bounded memory."""
    chosen, chosen_setup = request.channel, request.setup
    others, solutions = request.rivals, request.solutions
    reducer = Reducer(
        chosen,
        chosen_setup,
        progress,
        select=gates.select if gates else None,
        mixing=request.mixing,
        note_shots=writer.append_shots,
        rivals=others,
        solutions=solutions,
        card=card_or_processor(request.device, progress),
    )
    if (other := other_molecule(chosen)) is not None:
        reducer.warn(other)
    for limit in beyond_network(chosen):
        reducer.say(f"molexa reconstruct cannot take these ions later: {limit}")
    health = HitHealth(chosen_setup.detector)
    with announced(progress.say, REDUCE), _reporting_faults(run, reducer, health):
        if units is None:
            passes = TwoPasses(run.__iter__, size_of)
            reducer.find_gate(passes.first(), run.n_shots)
            tables = reducer.blocks(passes.second(), run.n_shots, look=health.add)
        else:
            units.find_gate(reducer)
            tables = units.tables(reducer, health, skip_failed=work.skip_failed)
        for table in tables:
            writer.append(table)
        writer.scale_false(reducer.false_scale)
        _finish(gates, reducer)
        for remark in (*run.remarks, *health.remarks()):
            reducer.say(remark)
        for warning in (*run.warnings, *health.warnings()):
            reducer.warn(warning)
        summary = replace(reducer.summary(), health=health.as_dict())
        if isinstance(run, OpenRun) and run.counts is not None:
            summary = replace(summary, sorter=run.counts.as_dict())
        meta = gates.meta(_meta(chosen, chosen_setup, summary) | _about_run(run))
        said = {GATES: meta[GATES]} if gates else {}
        if others:
            said["rivals"] = [other.model_dump(mode="json") for other in others]
        if solutions != "best":
            said["solutions"] = solutions
        provenance = Provenance.of(
            inputs=inputs,
            settings={_CHANNEL: meta[_CHANNEL], _SETUP: meta[_SETUP], **said},
            after=_history(run),
        )
        writer.finish(provenance, meta=meta, spectra=reducer.spectra())
    return summary


def reduce_channels(
    paths: Sequence[Path | str],
    channels: Sequence[str],
    *,
    setup: str | None = None,
    gate_sum: tuple[float, float, float] | None = None,
    mixing: bool | None = None,
    masses: Masses = "isotope",
    selection: Selection = EVERYTHING,
    work: WorkOptions = HERE,
    device: str = "cpu",
    progress: Progress = SILENT,
) -> list[Reduction]:
    """Reduce a run for several channels, to one events file `RUN.CHANNEL.events.h5` each.

    Every channel is searched by itself: a hit may count in several of them.

    Args:
        paths: the files of one run, in order; patterns, or a folder.
        channels: names or files of the channels.
        setup: setup file.
        gate_sum: half widths of the momentum-sum gate in a.u., of all channels.
        mixing: see `reduce`.
        masses: of ions without a stated isotope.
        selection: further gates.
        work: who computes.
        device: see `reduce`.
        progress: display of the progress and of the choices made.

    Returns:
        The summary of each channel, with its file.

    Raises:
        UsageError: two channels of one name.
        InputFileError, SettingsError, ComputationError, NoEventsError, OutputError: as
            `reduce`; the other channels are reduced all the same.
    """
    names = [load_channel(name).name for name in channels]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UsageError(
            f"several channels are called {listing(twice)}", setting="channel",
            do="Give each channel a name of its own.",
        )  # fmt: skip
    done: list[Reduction] = []
    failed: list[MolexaError] = []
    for name, channel in zip(names, channels, strict=True):
        progress.say(f"channel {name}")
        try:
            done.append(
                reduce(
                    paths,
                    channel,
                    setup,
                    out=result_of_run(paths, f".{name}{EVENTS_SUFFIX}"),
                    gate_sum=gate_sum,
                    mixing=mixing,
                    masses=masses,
                    selection=selection,
                    work=work,
                    device=device,
                    progress=progress,
                )
            )
        except MolexaError as error:
            error.where = f"channel {name}" if error.where is None else error.where
            failed.append(error)
            progress.warn(f"channel {name} is not reduced: {error.what}")
    if failed:
        raise failed[0]
    return done


@contextmanager
def _units(
    run: OpenRun | HeldRun, request: Request, target: Path, work: WorkOptions, progress: Progress
) -> Iterator[ReduceUnits | None]:
    """The passes over a run in units of work; None for a small run, which needs none."""
    if isinstance(run, OpenRun):
        index_if_large(run, progress)
    number = number_of_units(run) if isinstance(run, OpenRun) else 0
    if number < SMALL_UNITS or not isinstance(run, OpenRun):
        yield None
        return
    executor = executor_of(work, number, progress)
    with (
        closing(executor),
        UnitFolder.of_result(target, progress, keep=work.keep_units) as folder,
    ):
        yield ReduceUnits(run, request, folder, executor, progress)


def _packers(units: ReduceUnits | None, work: WorkOptions) -> dict[str, int]:
    """Who packs the events file: threads where others search, processes where many do."""
    if units is None or work.workers == 1:
        return {}
    here = 0 if work.others in ("dask", "slurm") else work.workers or cores()
    processes = min(_MOST_PACKING, here // _SEARCHING_PER_PACKING)
    return {"threads": min(_MOST_PACKERS, cores()), "processes": processes}


def _finish(gates: Gating, reducer: Reducer) -> None:
    """Refuse gates that left nothing, and say what each did."""
    gates.finish()
    for sentence in gates.sentences():
        reducer.say(sentence)


@contextmanager
def _reporting_faults(run: Iterable[Hits], reducer: Reducer, health: HitHealth) -> Iterator[None]:
    """If the reduction fails, first report faults of the run, which may be the reason."""
    try:
        yield
    except MolexaError:
        with suppress(MolexaError):  # the first pass failed: examine the first shots
            if health.shots == 0:
                for chunk in run:
                    health.add(chunk)
                    reducer.examine(chunk)
                    if health.shots >= _FIRST_SHOTS:
                        break
        reducer.warn_of_hits()
        warnings = run.warnings if isinstance(run, OpenRun) else ()
        for warning in (*warnings, *health.warnings()):
            reducer.warn(warning)
        raise


def _gated(channel: Channel, gate_sum: tuple[float, float, float] | None) -> Channel:
    if gate_sum is None:
        return channel
    gates = channel.gates.model_copy(update={"sum_half_width": gate_sum})
    return channel.model_copy(update={"gates": gates})


def _about_run(run: StoredRun) -> dict[str, Any]:
    """The format in which the run was read."""
    return {"run": {"layout": run.layout, "choice": run.choice}}


def _history(run: StoredRun) -> Provenance | None:
    stored = run.metadata().get("provenance")
    if not isinstance(stored, Mapping):
        return None
    try:
        return Provenance.from_values(stored)
    except ValueError:
        return None  # written by another program: no provenance


def _meta(channel: Channel, setup: Setup, summary: ReduceSummary) -> dict[str, Any]:
    return {
        _CHANNEL: channel.model_dump(mode="json"),
        _SETUP: setup.model_dump(mode="json"),
        "summary": summary.as_dict(),
        WARNINGS: list(summary.warnings),
    }
