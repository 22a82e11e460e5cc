"""Reduce: from the hits of a raw run to the ion momenta of coincidences."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from molexa_core.base.compiled import announced
from molexa_core.base.errors import InputFileError, MolexaError, UsageError, listing
from molexa_core.base.fields import EXPLOSION, GATES, WARNINGS
from molexa_core.base.matter.isotopes import Masses
from molexa_core.base.options.gate_options import EVERYTHING, Selection, Solutions
from molexa_core.base.options.work_options import HERE, WorkOptions
from molexa_core.base.progress import SILENT, Progress
from molexa_core.base.settings import (
    Channel,
    Explosion,
    Setup,
    load_channel,
    load_project,
    load_setup,
    parse_settings,
)
from molexa_core.base.spectrum import Spectrum
from molexa_core.base.storage.outputs import FileKind
from molexa_core.base.storage.provenance import Provenance
from molexa_core.base.storage.resources import available
from molexa_core.base.tables import Coincidences, Hits
from molexa_core.detector.health import HitHealth
from molexa_core.io.formats import without_suffix
from molexa_core.io.held_run import HeldRun
from molexa_core.io.results.events import EventsWriter
from molexa_core.io.stored_run import StoredRun
from molexa_core.observables.gating import Gating
from molexa_core.pipeline.chain.channel_limits import beyond_network, other_molecule
from molexa_core.pipeline.chain.pick import EVENTS_SUFFIX
from molexa_core.pipeline.chain.reduce_units import (
    SMALL_UNITS,
    ReduceUnits,
    Request,
    number_of_units,
)
from molexa_core.pipeline.chain.selected import gating_of, settings_read
from molexa_core.pipeline.devices import card_or_processor
from molexa_core.pipeline.output_guard import require_outputs, settings_inputs
from molexa_core.pipeline.runs.open_run import OpenRun, open_run, size_of
from molexa_core.pipeline.two_passes import TwoPasses
from molexa_core.pipeline.work.executor_choice import executor_of
from molexa_core.pipeline.work.folder import UnitFolder
from molexa_core.reduction.reducer import Reducer
from molexa_core.reduction.summary import ReduceSummary

__all__ = ["Reduction", "reduce", "reduce_channels", "reduce_files"]

_CHANNEL: Final = "channel"
_SETUP: Final = "setup"
_FIRST_SHOTS: Final = 200_000
"""Number of shots that are examined if the first pass over a run fails."""


@dataclass(frozen=True)
class Reduction:
    """The result of `reduce`.

    Attributes:
        table: one row per coincidence; `meta` holds channel, setup and summary as plain values.
        summary: numbers of hits, combinations and coincidences, gate, background.
        spectra: histograms by name.
    """

    table: Coincidences
    summary: ReduceSummary
    spectra: Mapping[str, Spectrum]


def reduce(
    run: Iterable[Hits],
    channel: Channel,
    setup: Setup,
    *,
    selection: Selection = EVERYTHING,
    mixing: bool | None = None,
    rivals: Sequence[Channel] = (),
    solutions: Solutions = "best",
    device: str = "cpu",
    progress: Progress = SILENT,
) -> Reduction:
    """Find the coincidences of a channel in a run.

    Hits are calibrated and converted into momenta for each ion of the channel, and all combinations
    of hits in a shot are formed. The gate on the sum of the momenta is that of the channel or is
    found from the data in a first pass; in a second pass the combinations inside the gate are kept.
    Like ions in a row are ordered by time of flight.

    Args:
        run: chunks of shots, read twice: a list, or an open run.
        channel: ions, windows and gates.
        setup: spectrometer, detector, calibration and jet.
        selection: further gates, behind those of the channel.
        mixing: whether to build the false coincidences by mixing hits of different shots, which all
            later stages subtract; None: if the channel is complete. All combinations inside the
            gate are kept then; without mixing those that share a hit with a better one are dropped.
        rivals: other channels that compete for the hits, so that each is in one explosion; nothing
            is mixed then.
        solutions: `best`: of combinations that share hits the most probable set; `all`: every one,
            with its probability as weight; nothing is mixed then.
        device: what searches shots with few combinations: `cpu`, `cuda`, `cuda:N`, or `auto`, which
            takes a graphics card where there is one. The result is the same.
        progress: display of the progress and of the choices made.

    Returns:
        The table, the summary and the spectra.

    Raises:
        UsageError: the run can be read only once, such as a generator.
        InputFileError: the run has no shots, or no hit that can be an ion.
        ComputationError: the sum of the momenta has no peak, and no gate is given.
        NoEventsError: no coincidence, or none that passes the gates.
    """
    if iter(run) is run:
        raise UsageError(
            "the run can be read only once", do="Give a list of chunks or an open run."
        )
    gates = gating_of(selection, "reduce", channel=channel, of_channel=True)
    reducer = Reducer(
        channel,
        setup,
        progress,
        gates.select if gates else None,
        mixing=mixing,
        rivals=rivals,
        solutions=solutions,
        card=card_or_processor(device, progress),
    )
    n_shots = run.n_shots if isinstance(run, OpenRun) else None
    health = HitHealth(setup.detector)
    with announced(progress.say), _reporting_faults(run, reducer, health):
        reducer.find_gate(run, n_shots)
        tables = list(reducer.blocks(run, n_shots, look=health.add))
        _finish(gates, reducer)
        for remark in health.remarks():
            reducer.say(remark)
        for warning in health.warnings():
            reducer.warn(warning)
    summary = replace(reducer.summary(), health=health.as_dict())
    meta = gates.meta(_meta(channel, setup, summary))
    table = Coincidences.concatenate(tables, meta=meta)
    if table.false is not None:
        weight = table.false.weight * reducer.false_scale
        table = replace(table, false=replace(table.false, weight=weight))
    return Reduction(table, summary, reducer.spectra())


def reduce_files(
    paths: Sequence[Path | str],
    *,
    channel: Channel | str | None = None,
    setup: Setup | str | None = None,
    out: Path | str | None = None,
    gate_sum: tuple[float, float, float] | None = None,
    mixing: bool | None = None,
    rivals: Sequence[str] = (),
    solutions: Solutions = "best",
    masses: Masses = "isotope",
    selection: Selection = EVERYTHING,
    work: WorkOptions = HERE,
    device: str = "cpu",
    progress: Progress = SILENT,
) -> tuple[Path, ReduceSummary]:
    """Reduce the files of a run to one events file, in bounded memory.

    The format is recognised by content (docs/formats.md); edges of a delay-line anode are sorted
    into hits according to `anode` of the setup. Channel and setup are taken from the arguments,
    from `molexa.yaml` in the working folder, or from the metadata of the first file, in this order.

    Args:
        paths: the files of one run, in order; patterns, or a folder.
        channel: the channel, its name or file.
        setup: the setup or its file.
        out: the events file; `RUN.events.h5` in the working folder if not given.
        gate_sum: half widths of the momentum-sum gate in a.u., instead of those of the channel.
        mixing: see `reduce`.
        rivals: names or files of the other channels; see `reduce`.
        solutions: see `reduce`.
        masses: of ions without a stated isotope: `isotope` (the most abundant one, which a
            spectrometer detects) or `average` (standard atomic weights); the average mass appears
            in the names of the ions, such as `Cl+@35.45`.
        selection: further gates, behind those of the channel.
        work: who computes; a large run is searched in units of work (docs/units-of-work.md), which
            an interrupted call leaves for the next.
        device: see `reduce`; every process uses the same graphics card.
        progress: display of the progress and of the choices made.

    Returns:
        The path written and the summary.

    Raises:
        InputFileError, ColumnError: a file cannot be read, or channel or setup are not known.
        SettingsError: channel or setup are not valid.
        ComputationError, NoEventsError: as `reduce`.
        OutputError: the file cannot be written there.
    """
    if gate_sum is not None and not all(0 < width < float("inf") for width in gate_sum):
        raise UsageError(
            f"half widths must be above 0, not {listing(gate_sum)}", setting="gate_sum"
        )
    run, found, chosen_setup, read = channel_and_setup(paths, channel, setup, progress)
    chosen = _gated(found, gate_sum).with_masses(masses)
    target = Path(out) if out is not None else _default_output(run)
    others = [load_channel(name).with_masses(masses) for name in rivals]
    read = [*read, *(path for name in rivals for path in settings_inputs(channel=name, setup=None))]
    require_outputs((target, FileKind.EVENTS), inputs=[*run.paths, selection.regions, *read])
    summary = write_reduced(
        run,
        chosen,
        chosen_setup,
        target,
        mixing=mixing,
        rivals=others,
        solutions=solutions,
        selection=selection,
        work=work,
        device=device,
        inputs=[*run.paths, *_settings_files(selection, _name(channel), _name(setup))],
        progress=progress,
    )
    return target, summary


def write_reduced(
    run: OpenRun | HeldRun,
    chosen: Channel,
    chosen_setup: Setup,
    target: Path,
    *,
    mixing: bool | None = None,
    rivals: Sequence[Channel] = (),
    solutions: Solutions = "best",
    selection: Selection = EVERYTHING,
    work: WorkOptions = HERE,
    device: str = "cpu",
    inputs: Sequence[Path] = (),
    progress: Progress = SILENT,
) -> ReduceSummary:
    """Reduce a run to an events file, with the tags of all shots, in bounded memory.

    Args:
        run: of files, or in memory (`io.held_run.HeldRun`).
        chosen: the channel.
        chosen_setup: the apparatus.
        target: the events file.
        mixing: see `reduce`.
        rivals: see `reduce`.
        solutions: see `reduce`.
        selection: further gates.
        work: see `reduce_files`.
        device: see `reduce`.
        inputs: files that were read, for the provenance.
        progress: display of the progress and of the choices made.

    Raises:
        ComputationError, NoEventsError, OutputError: as `reduce_files`.
    """
    others = rivals
    gates = gating_of(selection, "reduce", channel=chosen, of_channel=True)
    card = card_or_processor(device, progress)
    request = Request(chosen_setup, chosen, others, solutions, mixing, device)
    with ExitStack() as stack:
        units = stack.enter_context(_units(run, request, target, work, progress))
        writer = stack.enter_context(EventsWriter(target, chosen.wanted_ions))
        reducer = Reducer(
            chosen,
            chosen_setup,
            progress,
            select=gates.select if gates else None,
            mixing=mixing,
            note_shots=writer.append_shots,
            rivals=others,
            solutions=solutions,
            card=card,
        )
        if (other := other_molecule(chosen)) is not None:
            reducer.warn(other)
        for limit in beyond_network(chosen):
            reducer.say(f"molexa reconstruct cannot take these ions later: {limit}")
        health = HitHealth(chosen_setup.detector)
        stack.enter_context(announced(progress.say))
        stack.enter_context(_reporting_faults(run, reducer, health))
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
) -> list[tuple[Path, ReduceSummary]]:
    """Reduce a run for several channels, to one events file `RUN.CHANNEL.events.h5` each.

    Every channel is searched by itself: a hit may count in several of them.

    Args:
        paths: see `reduce_files`, as all that follows.
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
        The path written and the summary of each channel.

    Raises:
        UsageError: two channels of one name.
        InputFileError, SettingsError, ComputationError, NoEventsError, OutputError: as
            `reduce_files`; the other channels are reduced all the same.
    """
    names = [load_channel(name).name for name in channels]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UsageError(
            f"several channels are called {listing(twice)}", setting="channel",
            do="Give each channel a name of its own.",
        )  # fmt: skip
    run = without_suffix(open_run(paths, _given_setup(setup)).paths[0].name)
    done: list[tuple[Path, ReduceSummary]] = []
    failed: list[MolexaError] = []
    for name, channel in zip(names, channels, strict=True):
        progress.say(f"channel {name}")
        try:
            done.append(
                reduce_files(
                    paths,
                    channel=channel,
                    setup=setup,
                    out=Path(f"{run}.{name}{EVENTS_SUFFIX}"),
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
    number = number_of_units(run) if isinstance(run, OpenRun) else 0
    if number < SMALL_UNITS or not isinstance(run, OpenRun):
        yield None
        return
    executor = executor_of(work, number, progress)
    with UnitFolder.of_result(target, progress, keep=work.keep_units) as folder:
        yield ReduceUnits(run, request, folder, executor, progress)


def _settings_files(selection: Selection, channel: str | None, setup: str | None) -> list[Path]:
    """The files of the user that say how the run is reduced."""
    project = load_project()
    return settings_read(
        selection, channel=channel or project.channel, setup=setup or project.setup
    )


def _finish(gates: Gating, reducer: Reducer) -> None:
    """Refuse gates that left nothing, and say what each did."""
    gates.finish()
    for sentence in gates.sentences():
        reducer.say(sentence)


def channel_and_setup(
    paths: Sequence[Path | str],
    channel: Channel | str | None,
    setup: Setup | str | None,
    progress: Progress = SILENT,
) -> tuple[OpenRun, Channel, Setup, list[Path]]:
    """A run with its channel and setup, found as `reduce_files` finds them.

    Returns:
        The open run, channel and setup, and the settings files that were read.
    """
    known = _given_setup(setup)
    run = open_run(paths, known, progress=progress)
    chosen = _choose_channel(channel, run)
    named = channel or run.metadata().get(_CHANNEL)
    read = settings_inputs(channel=_name(named), setup=_name(setup))
    return run, chosen, _telling(run.setup, run), list(read)


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


def _name(of: object) -> str | None:
    """The name or file by which something is given; None for what is given itself."""
    return of if isinstance(of, str) else None


def _given_setup(name: Setup | str | None) -> Setup | None:
    """The setup that is given, or named by the argument or by `molexa.yaml`, if any."""
    if isinstance(name, Setup):
        return name
    name = name or load_project().setup
    return None if name is None else load_setup(name)


def _telling(setup: Setup, run: StoredRun) -> Setup:
    """The setup; where it does not say what the explosion is, a virtual run says it."""
    stored = run.metadata().get(_SETUP)
    block = stored.get(EXPLOSION) if isinstance(stored, Mapping) else None
    if setup.explosion is not None or not isinstance(block, Mapping):
        return setup
    where = f"explosion in the metadata of {run.paths[0]}"
    told = parse_settings(Explosion, dict(block), where=where)
    return setup.model_copy(update={EXPLOSION: told})


def _choose_channel(name: Channel | str | None, run: OpenRun) -> Channel:
    if isinstance(name, Channel):
        return name
    name = name or load_project().channel
    if name is not None:
        return load_channel(name)
    stored = run.metadata().get(_CHANNEL)
    if isinstance(stored, str):
        return load_channel(stored)
    if stored is None:
        raise InputFileError(
            "no channel: the run does not name one",
            where=run.paths[0],
            do=f"Give `channel=`, or name it in molexa.yaml; there are "
            f"{listing(sorted(available('channels', '.yaml')))}.",
        )
    return parse_settings(Channel, stored, where=f"channel in the metadata of {run.paths[0]}")


def _gated(channel: Channel, gate_sum: tuple[float, float, float] | None) -> Channel:
    if gate_sum is None:
        return channel
    gates = channel.gates.model_copy(update={"sum_half_width": gate_sum})
    return channel.model_copy(update={"gates": gates})


def _default_output(run: OpenRun) -> Path:
    return Path(f"{without_suffix(run.paths[0].name)}{EVENTS_SUFFIX}")


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
