"""An array job of Slurm that computes units: one job, some tasks at a time, each some units.

The tasks write the files of their units; this process asks Slurm from time to time which tasks are
left. Ctrl-C cancels the job. Where this process is killed, the job goes on, and the same command
finds it again by the number in `slurm.json` of the folder.
"""

from __future__ import annotations

import json
import math
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Generator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import molexa_core
from molexa_core.base import interruption
from molexa_core.base.errors import UsageError, WorkError
from molexa_core.base.progress import SILENT, Progress
from molexa_core.base.storage.files import atomic_path
from molexa_core.pipeline.work.executors import Done, Executor
from molexa_core.pipeline.work.failures import Failure
from molexa_core.pipeline.work.folder import UnitFolder, read_phase
from molexa_core.pipeline.work.worker import ONE_THREAD

MOST_TASKS: Final = 1000
"""Tasks of an array, at most: Slurm allows 1001 where nothing else is set."""
_JOB, _SCRIPT = "slurm.json", "slurm.sh"
_LOOK_S: Final = 5.0
_GRACE_S: Final = 30.0
"""How long a file may take to be seen here after the end of its task (network drives)."""
_PATIENCE: Final = 5
"""How often in a row Slurm may not answer."""
_TAIL: Final = 300


@dataclass(frozen=True)
class Slurm(Executor):
    """Computes units by an array job.

    Attributes:
        at_a_time: tasks that run at a time.
        options: further options of sbatch, one each.
        progress: told about the job.
        look_s: seconds between two questions to Slurm.
        grace_s: how long a file may take to be seen here.
    """

    at_a_time: int
    options: Sequence[str] = ()
    progress: Progress = SILENT
    look_s: float = _LOOK_S
    grace_s: float = _GRACE_S

    def compute(self, phase: Path, numbers: Sequence[int]) -> Generator[Done, None, None]:
        """See `Executor.compute`.

        Raises:
            UsageError: there is no Slurm here, or it refuses the job.
            WorkError: Slurm does not answer any more.
        """
        if not numbers:
            return
        folder, values = UnitFolder(phase.parent), read_phase(phase)
        keys: list[str] = values["keys"]
        left = dict.fromkeys(numbers)
        job = self._running(phase) or self._submit(phase, numbers)
        try:
            while left:
                over = not _tasks_left(job)
                yield from self._seen(left, keys, folder)
                if over and left:
                    yield from self._late(left, keys, folder)
                    yield from self._without_file(left, phase.parent)
                    return
                for _ in range(max(1, math.ceil(self.look_s / 0.2)) if left else 0):
                    interruption.check()
                    time.sleep(min(0.2, self.look_s))
        except (interruption.Interruption, GeneratorExit):
            _call(["scancel", job])
            (phase.parent / _JOB).unlink(missing_ok=True)
            raise
        finally:
            if not left:
                (phase.parent / _JOB).unlink(missing_ok=True)

    def _seen(
        self, left: dict[int, None], keys: Sequence[str], folder: UnitFolder
    ) -> Generator[Done, None, None]:
        """Units whose files are there."""
        for number in list(left):
            failure = None if folder.has(keys[number]) else folder.failure(keys[number])
            if folder.has(keys[number]) or failure is not None:
                del left[number]
                yield Done(number, failure)

    def _late(
        self, left: dict[int, None], keys: Sequence[str], folder: UnitFolder
    ) -> Generator[Done, None, None]:
        """Units of finished tasks whose files are seen later, on a network drive."""
        deadline = time.monotonic() + self.grace_s
        while left and time.monotonic() < deadline:
            interruption.check()
            os.scandir(folder.path).close()  # drives of a network look again
            yield from self._seen(left, keys, folder)
            time.sleep(0.2)

    def _without_file(self, left: dict[int, None], folder: Path) -> Generator[Done, None, None]:
        """Units whose task ended without a file."""
        (folder / _JOB).unlink(missing_ok=True)
        logs = sorted(folder.glob("log-slurm-*.txt"), key=lambda path: path.stat().st_mtime)
        tail = " ".join(logs[-1].read_text(errors="replace")[-_TAIL:].split()) if logs else ""
        told = f"; the last log ends: {tail}" if tail else ""
        for number in list(left):
            del left[number]
            reason = f"its task of Slurm ended without a result{told}"
            yield Done(number, Failure("WorkError", reason, do=f"See log-slurm-*.txt in {folder}."))

    def _running(self, phase: Path) -> str | None:
        """The number of a job for this phase that an earlier call started and that still runs."""
        try:
            known: dict[str, Any] = json.loads((phase.parent / _JOB).read_text())
        except (OSError, ValueError):
            return None
        if known.get("phase") != phase.name or not _tasks_left(str(known.get("job"))):
            return None
        self.progress.say(f"Slurm: job {known['job']} still runs")
        return str(known["job"])

    def _submit(self, phase: Path, numbers: Sequence[int]) -> str:
        """Start an array job for these units.

        Raises:
            UsageError: there is no Slurm here, or it refuses the job.
        """
        if shutil.which("sbatch") is None:
            raise UsageError(
                "there is no sbatch here", do="Run the command where jobs of Slurm are submitted."
            )
        folder = phase.parent.absolute()
        each = math.ceil(len(numbers) / MOST_TASKS)
        parts = [numbers[start : start + each] for start in range(0, len(numbers), each)]
        script = folder / _SCRIPT
        with atomic_path(script) as temporary:
            temporary.write_text(_script(phase.absolute(), parts))
        done = _call(
            [
                "sbatch",
                "--parsable",
                f"--array=0-{len(parts) - 1}%{self.at_a_time}",
                "--job-name=molexa",
                f"--output={folder}/log-slurm-%A-%a.txt",
                *self.options,
                str(script),
            ]
        )
        if done.returncode:
            raise UsageError(
                f"Slurm refuses the job: {' '.join(done.stderr.split())}",
                do="Check `slurm_option=`.",
            )
        job = done.stdout.strip().partition(";")[0]
        with atomic_path(folder / _JOB) as temporary:
            temporary.write_text(json.dumps({"job": job, "phase": phase.name}))
        self.progress.say(
            f"Slurm: job {job}, {len(parts)} tasks, {min(self.at_a_time, len(parts))} at a time"
        )
        return job


def _script(phase: Path, parts: Sequence[Sequence[int]]) -> str:
    """The script of the job: every task computes its part of the units."""
    root = Path(molexa_core.__file__).parent.parent
    lines = ["#!/bin/sh"]
    lines += [f"export {name}={value}" for name, value in ONE_THREAD.items()]
    lines += [f'export PYTHONPATH={shlex.quote(str(root))}"${{PYTHONPATH:+:$PYTHONPATH}}"']
    lines += ['case "$SLURM_ARRAY_TASK_ID" in']
    lines += [f"{task}) units='{' '.join(map(str, part))}' ;;" for task, part in enumerate(parts)]
    python, file = shlex.quote(sys.executable), shlex.quote(str(phase))
    lines += ["esac", "# shellcheck disable=SC2086  (a list of numbers)"]
    lines += [f"exec {python} -m molexa_core.pipeline.work.worker {file} $units", ""]
    return "\n".join(lines)


def _tasks_left(job: str) -> bool:
    """Whether tasks of a job wait or run.

    Raises:
        WorkError: Slurm does not answer.
    """
    for attempt in range(_PATIENCE):
        done = _call(["squeue", "--noheader", "--array", "--format=%i", f"--jobs={job}"])
        if done.returncode == 0:
            return bool(done.stdout.strip())
        if "invalid job id" in done.stderr.lower():
            return False  # Slurm has forgotten a job that ended a while ago
        interruption.check()
        time.sleep(2.0**attempt * 0.1)
    raise WorkError(
        f"Slurm does not answer: {' '.join(done.stderr.split())}",
        do="Run the same command again when it does; its job goes on, and finished units are kept.",
    )


def _call(line: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Call a program of Slurm; no shell reads what is written here."""
    with suppress(OSError):
        return subprocess.run(line, capture_output=True, text=True, check=False)  # noqa: S603
    return subprocess.CompletedProcess(line, 127, "", f"there is no {line[0]} here")
