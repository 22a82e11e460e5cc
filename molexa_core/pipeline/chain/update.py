"""Update: which results in a folder are missing or outdated, and the commands that make them.

Every result records the command that made it and the digests of what it was made from, and the
same of every step before. So a folder describes its own analysis: a result is outdated if one of
its inputs (run, result of an earlier stage, setup, channel, regions) has another content now or
will be made anew, and it is missing if a later result was made from it and it is not there. What
nothing in the folder was made from is not known, and raw runs are never made.
"""

from __future__ import annotations

import html
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from molexa_core.base import interruption
from molexa_core.base.errors import ComputationError, InputFileError, MolexaError
from molexa_core.base.options.gate_options import SeriesOptions
from molexa_core.base.options.work_options import WorkOptions
from molexa_core.base.parameter import parameters
from molexa_core.base.shown import Shown
from molexa_core.base.storage.files import digest
from molexa_core.base.storage.outputs import FileKind
from molexa_core.base.storage.provenance import COMMAND_MARK, Provenance
from molexa_core.io.results.channel_csv import read_channel_csv
from molexa_core.io.results.events import EventsFile
from molexa_core.io.results.geometry_json import read_geometry_json
from molexa_core.io.results.kinds import kind_of_result
from molexa_core.io.results.series_file import read_series
from molexa_core.io.results.structures import read_structures_file
from molexa_core.io.run import find_files

PROGRAM: Final = "molexa"
REDUCE: Final = "reduce"
RECONSTRUCT: Final = "reconstruct"
STAGES: Final = (REDUCE, "join", "align", "centroid", RECONSTRUCT, "report")
"""Commands that are run again; what came before, such as a virtual run, is a source."""
WHO_COMPUTES: Final = ("workers", "dask", "slurm", "slurm_array", "slurm_option")
"""Fields of `WorkOptions` that an update hands on; the others decide what is left on the disk."""
WARNING: Final = "warning: "
"""Before a warning of a command."""
_HEAD: Final = 64 * 1024


@dataclass
class Target:
    """A result of the folder.

    Attributes:
        name: of the file.
        command: the words behind `molexa` that make it.
        inputs: digest of each input by its name, as recorded.
        depth: steps before it.
    """

    name: str
    command: tuple[str, ...]
    inputs: Mapping[str, str]
    depth: int


@dataclass(frozen=True)
class Step:
    """A command that has to be run.

    Attributes:
        command: the words behind `molexa`.
        makes: the results.
        why: the reason, as a clause.
    """

    command: tuple[str, ...]
    makes: tuple[str, ...]
    why: str

    @property
    def line(self) -> str:
        """The command as it is typed."""
        return shlex.join([PROGRAM, *self.command])


@dataclass(frozen=True, repr=False)
class Plan(Shown):
    """What an update does.

    Attributes:
        steps: commands in their order.
        current: results that are up to date.
        remarks: sentences on results that cannot be judged or made.
    """

    steps: tuple[Step, ...]
    current: tuple[str, ...]
    remarks: tuple[str, ...]

    def computed_by(self, work: Mapping[str, Any]) -> Plan:
        """The same plan, where commands that work in units are told who computes.

        Args:
            work: fields of `WorkOptions` that are given; they replace those of the commands.
        """
        if not work:
            return self
        steps = [
            replace(step, command=_told(step.command, work)) if _in_units(step.command) else step
            for step in self.steps
        ]
        return replace(self, steps=tuple(steps))


@dataclass
class _Found:
    """The results of a folder while they are collected."""

    targets: dict[str, Target] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    reports: list[Path] = field(default_factory=list)


def plan_update(folder: Path | str = ".", runs: Sequence[Path] | None = None) -> Plan:
    """Which results of a folder are missing or outdated.

    Commands are those that are recorded, so the folder must be the one they were typed in.

    Args:
        folder: of the results.
        runs: files of runs; only results that were made from them, directly or not.

    Raises:
        InputFileError: no such folder, no result in it, or an input that nothing makes is missing.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputFileError("no such folder", where=folder, do="Name the folder of the results.")
    found = _collected(folder)
    if not found.targets and not found.reports:
        raise InputFileError(
            "no result that tells how it was made",
            where=folder.resolve(),
            do="Run molexa reduce, align, centroid or reconstruct in it first.",
        )
    steps: dict[tuple[str, ...], Step] = {}
    made: set[str] = set()
    current = []
    only = None if runs is None else {path.resolve() for path in runs}
    for target in _in_order(found):
        if only is not None and not only & _sources(target, found.targets):
            continue
        why = _reason(folder, target, made)
        if why is None:
            current.append(target.name)
            continue
        made.add(target.name)
        before = steps.get(target.command)
        makes = (target.name,) if before is None else (*before.makes, target.name)
        steps[target.command] = Step(target.command, makes, why if before is None else before.why)
    for report in found.reports if runs is None else ():
        why = _report_reason(report, [folder / name for name in found.targets], made)
        if why is None:
            current.append(report.name)
        elif (command := _report_command(report)) is not None:
            steps[command] = Step(command, (report.name,), why)
        else:
            found.remarks.append(
                f"{report.name} is outdated ({why}) and does not tell its command: write it again "
                "with molexa report"
            )
    return Plan(tuple(steps.values()), tuple(current), tuple(found.remarks))


def update(
    folder: Path | str = ".",
    *,
    runs: Sequence[Path | str] | Path | str | None = None,
    dry_run: bool = False,
) -> Plan:
    """Make the results of a folder that are missing or outdated, and nothing else.

    Every result tells the command that made it and what it was made from. Those whose run, setup,
    channel, regions or earlier result have changed are made again by their own commands, in order.

    Args:
        folder: of the results, in which the commands were typed.
        runs: files of runs, patterns or folders; only what was made from them.
        dry_run: whether nothing is made, only the plan returned.

    Returns:
        What was made and why, what was up to date already, and warnings of the commands.

    Raises:
        InputFileError: no such folder, no result in it, or an input that nothing makes is missing.
        ComputationError: a command failed; nothing that comes after it was made.
    """
    files = None if runs is None else find_files(runs)
    plan = plan_update(folder, files)
    told = [text for step in plan.steps for text in run_step(step, folder)] if not dry_run else []
    return replace(plan, remarks=(*plan.remarks, *told))


def run_step(step: Step, folder: Path | str = ".", *, stdout: int | None = None) -> list[str]:
    """Run one command of a plan.

    Args:
        step: the command.
        folder: in which it is run.
        stdout: descriptor of the file that gets what it prints, while its messages are shown; if
            None, both are held back.

    Returns:
        The warnings that were held back.

    Raises:
        ComputationError: it failed; with its last sentence, if that was held back.
    """
    held = subprocess.PIPE if stdout is None else None
    line = [sys.executable, "-m", "molexa_cli.main", *step.command]
    done = subprocess.run(  # noqa: S603
        line, cwd=folder, stdout=held if stdout is None else stdout, stderr=held, text=True,
        check=False,
    )  # fmt: skip
    interruption.check()
    said = (done.stderr or "").strip().splitlines()
    if done.returncode:
        last = f" ({said[-1]})" if said else ""
        raise ComputationError(
            f"molexa {step.command[0]} failed with exit code {done.returncode}{last}",
            do="Nothing that comes after it was made.",
        )
    return [text.removeprefix(WARNING) for text in said if text.startswith(WARNING)]


def judged_results(folder: Path | str = ".") -> list[tuple[Target, str | None]]:
    """The results of a folder in the order in which they are made, and why each must be made anew.

    Returns:
        Each result with the reason, None if it is current; also where an input is missing.

    Raises:
        InputFileError: no such folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputFileError("no such folder", where=folder, do="Name the folder of the results.")
    made: set[str] = set()
    judged: list[tuple[Target, str | None]] = []
    for target in _in_order(_collected(folder)):
        try:
            why = _reason(folder, target, made)
        except InputFileError as error:
            why = error.what
        if why is not None:
            made.add(target.name)
        judged.append((target, why))
    return judged


def _in_order(found: _Found) -> list[Target]:
    return sorted(found.targets.values(), key=lambda one: (one.depth, one.name))


def _collected(folder: Path) -> _Found:
    found = _Found()
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or not path.is_file():
            continue
        if path.suffix not in {".h5", ".csv", ".json", ".html"}:
            continue
        try:
            kind = kind_of_result(path)
            if kind is FileKind.REPORT:
                found.reports.append(path)
                continue
            record = _record(path, kind)
        except MolexaError as error:
            found.remarks.append(f"{path.name} cannot be read ({error.what}) and is left alone")
            continue
        if record is not None:
            _add(found, path.name, record)
    return found


def _sources(target: Target, targets: Mapping[str, Target]) -> set[Path]:
    """The inputs of a result and of all that it was made from, as far as the folder tells."""
    found: set[Path] = set()
    waiting = list(target.inputs)
    while waiting:
        name = waiting.pop()
        place = Path(name).resolve()
        if place in found:
            continue
        found.add(place)
        if name in targets:
            waiting += targets[name].inputs
    return found


def made_from(
    files: Sequence[Path], judged: Sequence[tuple[Target, str | None]]
) -> list[tuple[str, str | None]]:
    """The results that were made from files, directly or not, and why they must be made anew.

    Args:
        files: such as those of a run.
        judged: `judged_results` of the working folder.
    """
    wanted = {path.resolve() for path in files}
    targets = {target.name: target for target, _ in judged}
    return [(one.name, why) for one, why in judged if wanted & _sources(one, targets)]


def _record(path: Path, kind: object) -> Provenance | None:
    """The provenance of a result of the stages; None for all others."""
    if kind in {FileKind.EVENTS, FileKind.ALIGNED}:
        return EventsFile(path).provenance
    if kind is FileKind.MOMENTA:
        return read_channel_csv(path)[1]
    if kind is FileKind.RECONSTRUCTION:
        return read_geometry_json(path)[1]
    if kind is FileKind.SERIES:
        return read_series(path)[1]
    if kind is FileKind.STRUCTURES:
        return read_structures_file(path).provenance
    return None


def _add(found: _Found, name: str, record: Provenance) -> None:
    """Add a result, and those that it was made from."""
    steps: list[Mapping[str, Any]] = [*record.history, record.own_record()]
    for depth, step in enumerate(steps):
        last = depth == len(steps) - 1
        product = name if last else _product(step, steps[depth + 1])
        command = _words(step.get("command"))
        if command is None or product is None:
            if last:
                found.remarks.append(
                    f"{name} was not made by a command of molexa ({step.get('command')}) and is "
                    "left alone"
                )
            continue
        inputs = step.get("inputs")
        inputs = inputs if isinstance(inputs, Mapping) else {}
        if last or product not in found.targets:
            known = {str(key): str(value) for key, value in inputs.items()}
            found.targets[product] = Target(product, command, known, depth)


def _words(command: object) -> tuple[str, ...] | None:
    """The words behind `molexa` of a recorded command of a stage; None for anything else."""
    try:
        words = shlex.split(str(command))
    except ValueError:
        return None
    if len(words) < 2 or words[0] != PROGRAM or words[1] not in STAGES:
        return None
    return tuple(words[1:])


def _product(step: Mapping[str, Any], after: Mapping[str, Any]) -> str | None:
    """The file that a step made: the input of the next step that it does not read itself."""
    read = step.get("inputs")
    mine = set(read) if isinstance(read, Mapping) else set()
    inputs = after.get("inputs")
    names = [
        str(name)
        for name in (inputs if isinstance(inputs, Mapping) else {})
        if name not in mine and Path(name).suffix in {".h5", ".csv"}
    ]
    return names[0] if len(names) == 1 else None


def _reason(folder: Path, target: Target, made: set[str]) -> str | None:
    """Why a target must be made; None if it is up to date.

    Raises:
        InputFileError: it must, and one of its inputs is neither there nor made by a command.
    """
    why = None if (folder / target.name).is_file() else "it is missing"
    missing = []
    for name, then in target.inputs.items():
        path = folder / name
        if name in made:
            why = why or f"{name} is made anew"
        elif not path.is_file():
            missing.append(name)
        elif digest(path) != then:
            why = why or f"{name} has changed"
    if missing and why is not None:
        raise InputFileError(
            f"{target.name} must be made ({why}), but {missing[0]} is missing, which no result "
            "tells how to make",
            where=folder.resolve(),
            do="Put it back, or run the command that makes it.",
        )
    return why


def _report_reason(report: Path, results: Sequence[Path], made: set[str]) -> str | None:
    if made:
        return f"{min(made)} is made anew"
    written = report.stat().st_mtime
    newer = [path.name for path in results if path.is_file() and path.stat().st_mtime > written]
    return f"{newer[0]} is newer" if newer else None


def _report_command(report: Path) -> tuple[str, ...] | None:
    """The command that a page names; None for pages of earlier versions."""
    with report.open(encoding="utf-8", errors="replace") as stream:
        head = stream.read(_HEAD)
    match = re.search(re.escape(COMMAND_MARK) + r'"([^"]*)"', head)
    return None if match is None else _words(html.unescape(match[1]))


def _in_units(command: tuple[str, ...]) -> bool:
    """Whether a command may work in units: `reduce`, and `reconstruct` of single events."""
    series = str(parameters(SeriesOptions)["by"].parameter.option)
    of_events = any(Path(word).suffix == ".h5" for word in command) and series not in command
    return command[0] == REDUCE or (command[0] == RECONSTRUCT and of_events)


def _told(command: tuple[str, ...], work: Mapping[str, Any]) -> tuple[str, ...]:
    """A command that is told who computes, instead of whom it was told before."""
    stated = parameters(WorkOptions)
    takes_value = {
        str(stated[name].parameter.option): not isinstance(getattr(WorkOptions(), name), bool)
        for name in WHO_COMPUTES
    }
    kept, left = [], iter(command)
    for word in left:
        option, _, value = word.partition("=")
        if option not in takes_value:
            kept.append(word)
        elif takes_value[option] and not value:
            next(left, None)
    told: list[str] = []
    for name, value in work.items():
        option = str(stated[name].parameter.option)
        several = value if isinstance(value, list) else [value]
        told += [option if one is True else f"{option}={one}" for one in several]
    return (kept[0], *told, *kept[1:])
