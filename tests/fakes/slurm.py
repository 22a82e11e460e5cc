"""A stand-in for Slurm: `sbatch`, `squeue` and `scancel` that run array jobs on this machine.

It knows what molexa uses: `--parsable`, `--array=0-N%M`, `--output` with %A and %a, and refuses
options that it does not know, as Slurm does.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

KNOWN = ("--parsable", "--array=", "--job-name=", "--output=", "--partition=", "--time=", "--mem=")


def install(folder: Path) -> dict[str, str]:
    """The environment in which there is a Slurm, whose state is in the folder."""
    programs = folder / "bin"
    programs.mkdir(parents=True)
    for name in ("sbatch", "squeue", "scancel"):
        program = programs / name
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{__file__}" {name} "$@"\n')
        program.chmod(0o755)
    return {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", "FAKE_SLURM": str(folder)}


def state() -> Path:
    return Path(os.environ["FAKE_SLURM"])


def sbatch(words: list[str]) -> int:
    *options, script = words
    unknown = [word for word in options if not word.startswith(KNOWN)]
    if unknown:
        sys.stderr.write(f"sbatch: unrecognized option '{unknown[0]}'\n")
        return 1
    job = str(1000 + len(list(state().glob("*.job"))))
    (state() / f"{job}.job").write_text("\n".join(options))
    array = next(word for word in options if word.startswith("--array="))
    match = re.fullmatch(r"--array=0-(\d+)%(\d+)", array)
    assert match is not None
    output = next(word.removeprefix("--output=") for word in options if "--output=" in word)
    line = [sys.executable, __file__, "run", job, match[1], match[2], output, script]
    runner = subprocess.Popen(
        line, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    (state() / f"{job}.pid").write_text(str(runner.pid))
    sys.stdout.write(f"{job};cluster\n")
    return 0


def run(words: list[str]) -> int:
    """The tasks of a job, so many at a time."""
    job, last, most, output, script = words
    waiting, running, peak = list(range(int(last) + 1)), [], 0
    while waiting or running:
        while waiting and len(running) < int(most):
            task = waiting.pop(0)
            environment = {**os.environ, "SLURM_ARRAY_TASK_ID": str(task)}
            with Path(output.replace("%A", job).replace("%a", str(task))).open("ab") as log:
                running.append(
                    subprocess.Popen(["sh", script], env=environment, stdout=log, stderr=log)
                )
        if len(running) > peak:
            peak = len(running)
            (state() / f"{job}.peak").write_text(str(peak))
        running = [task for task in running if task.poll() is None]
        time.sleep(0.02)
    (state() / f"{job}.over").touch()
    return 0


def squeue(words: list[str]) -> int:
    job = next(word.removeprefix("--jobs=") for word in words if word.startswith("--jobs="))
    if not (state() / f"{job}.job").exists():
        sys.stderr.write("slurm_load_jobs error: Invalid job id specified\n")
        return 1
    if not (state() / f"{job}.over").exists():
        sys.stdout.write(f"{job}_0\n")
    return 0


def scancel(words: list[str]) -> int:
    (state() / f"{words[0]}.over").touch()
    os.killpg(int((state() / f"{words[0]}.pid").read_text()), signal.SIGTERM)
    return 0


if __name__ == "__main__":
    program = {"sbatch": sbatch, "squeue": squeue, "scancel": scancel, "run": run}[sys.argv[1]]
    sys.exit(program(sys.argv[2:]))
