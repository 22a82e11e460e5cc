"""Kill what reduces a run in units of work, at random, and compare the result in the end.

    python tools/killed_units.py --repeats 50 --both --small FOLDER

Every repeat starts a reduction by two processes, kills it or one of its processes (`kill -9`) at a
random moment, one to three times, or lets the disk run full, and starts the same command again
until it ends by itself. The result must have the hash of a reduction that nothing disturbed. What
is started is `reduce` with units of one stretch of shots, so that a short run has several.

With `--dask` the units are computed by a cluster of Dask (a scheduler and two workers, each a
process of its own), and what is killed is the scheduler, a worker, the client, or all of them.
Where the scheduler died, the command must end by itself and say so; the same command goes on with
another one. With `--both` every second repeat is one of these.

A full disk needs a place that can be filled: `--small FOLDER`, a small file system of its own
(`mount -t tmpfs -o size=40m none FOLDER`); without it, only processes are killed.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.fakes.units_runs import content_hash, write_run  # noqa: E402  (of the project)

PROGRAM = """
import sys
from molexa_core.base import interruption
from molexa_core.base.errors import UsageError, WorkError
from molexa_core.base.options.work_options import WorkOptions
from molexa_core.pipeline.chain import reduce as stage, reduce_units
reduce_units.UNIT_BYTES, stage.SMALL_UNITS = 1, 2
work = WorkOptions(dask=sys.argv[4]) if sys.argv[4:] else WorkOptions(workers=2)
interruption.listen()
try:
    stage.reduce([sys.argv[1]], channel=sys.argv[2] + "/channel.yaml",
                 setup=sys.argv[2] + "/setup.yaml", out=sys.argv[3], work=work)
except (UsageError, WorkError) as error:
    print(error, file=sys.stderr)
    sys.exit(8)
except OSError as error:
    print(error, file=sys.stderr)
    sys.exit(7)
"""
FULL, GONE = 7, 8
LONGEST_S = 600


def start(run: Path, out: Path, dask: str | None = None) -> subprocess.Popen[str]:
    """Begin a reduction, by two processes or by a cluster of Dask."""
    more = [] if dask is None else [dask]
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(run), str(run.parent), str(out), *more],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        text=True,
    )


def workers_of(process: int) -> list[int]:
    """The processes that a process started, and those that they did."""
    try:
        text = Path(f"/proc/{process}/task/{process}/children").read_text()
    except OSError:
        return []
    own = [int(number) for number in text.split()]
    return own + [one for number in own for one in workers_of(number)]


def disturbed(run: Path, out: Path, longest: float, rng: random.Random) -> tuple[str, list[str]]:
    """The hash of a result made in spite of kills, and what was killed."""
    killed: list[str] = []
    kills = rng.randint(1, 3)
    while True:
        process = start(run, out)
        if len(killed) < kills:
            time.sleep(rng.uniform(0.2, longest))
            whom = rng.choice(["worker", "client", "group"])
            victims = workers_of(process.pid) if whom != "client" else []
            if whom == "worker" and victims:
                victims = [rng.choice(victims)]
            if whom != "worker":
                victims = [*victims, process.pid]
            for victim in victims:
                try:
                    os.kill(victim, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            killed.append(whom)
        told = process.communicate(timeout=LONGEST_S)[1]
        if process.returncode == 0:
            return content_hash(out), killed
        if process.returncode != -signal.SIGKILL:
            raise SystemExit(f"it ended with {process.returncode}: {told}")


class Cluster:
    """A scheduler of Dask and two workers; each is a process of its own."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "scheduler.json"
        self._log = (folder / "dask.txt").open("ab")
        self.scheduler: subprocess.Popen[bytes] | None = None
        self.workers: list[subprocess.Popen[bytes]] = []

    def ready(self) -> str:
        """The address of a scheduler that lives and has two workers that live."""
        if self.scheduler is None or self.scheduler.poll() is not None:
            self.end()
            self._file.unlink(missing_ok=True)
            self.scheduler = self._begin("dask_scheduler", "--host", "127.0.0.1", "--port", "0")
            deadline = time.monotonic() + 120
            while not self._file.exists():
                if time.monotonic() > deadline:
                    raise SystemExit("the scheduler of Dask does not begin")
                time.sleep(0.1)
        self.workers = [worker for worker in self.workers if worker.poll() is None]
        while len(self.workers) < 2:
            self.workers.append(self._begin("dask_worker", "--nthreads", "1", "--no-nanny"))
        return str(json.loads(self._file.read_text())["address"])

    def _begin(self, program: str, *options: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", f"distributed.cli.{program}", *options, "--no-dashboard",
             "--scheduler-file", str(self._file)],
            env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=self._log, stderr=self._log,
        )  # fmt: skip

    def end(self) -> None:
        """End all of them."""
        for process in [*self.workers, *filter(None, [self.scheduler])]:
            process.kill()
            process.wait()
        self.scheduler, self.workers = None, []


def disturbed_cluster(
    run: Path, out: Path, cluster: Cluster, rng: random.Random
) -> tuple[str, list[str]]:
    """The hash of a result made in spite of kills in a cluster of Dask, and what was killed."""
    killed: list[str] = []
    kills = rng.randint(1, 2)
    while True:
        process = start(run, out, cluster.ready())
        scheduler = cluster.scheduler
        if len(killed) < kills and scheduler is not None:
            wanted, units = rng.randint(0, 4), out.with_name(f"{out.name}.units")
            while process.poll() is None and len(list(units.glob("*.unit"))) < wanted:
                time.sleep(0.02)
            time.sleep(rng.uniform(0.0, 0.3))
            whom = rng.choice(["scheduler", "scheduler", "worker", "client", "all"])
            if process.poll() is not None:
                whom = "too late"
            if whom in {"scheduler", "all"}:
                scheduler.kill()
                scheduler.wait()
            if whom in {"worker", "all"}:
                cluster.workers[0].kill()
            if whom in {"client", "all"}:
                process.kill()
            killed.append(whom)
        told = process.communicate(timeout=LONGEST_S)[1]
        if process.returncode == 0:
            return content_hash(out), killed
        if process.returncode == GONE:
            if not any(text in told for text in ("scheduler is gone", "no Dask scheduler answers")):
                raise SystemExit(told)
            killed.append("told so")
        elif process.returncode != -signal.SIGKILL:
            raise SystemExit(f"it ended with {process.returncode}: {told}")


def filled_up(run: Path, small: Path, rng: random.Random) -> tuple[str, list[str]]:
    """The hash of a result whose first attempt met a full disk."""
    out, filler = small / "out.h5", small / "filler"
    free = os.statvfs(small).f_bavail * os.statvfs(small).f_frsize
    filler.write_bytes(b"\0" * max(0, free - rng.randint(20_000, 16_000_000)))
    process = start(run, out)
    told = process.communicate(timeout=LONGEST_S)[1]
    if process.returncode not in {0, FULL} or (process.returncode and "space" not in told):
        raise SystemExit(f"a full disk ended it with {process.returncode}: {told}")
    if process.returncode and out.exists():
        raise SystemExit("a result was written on a full disk")
    ended = "full disk" if process.returncode else "disk nearly full"
    filler.unlink()
    process = start(run, out)
    told = process.communicate(timeout=LONGEST_S)[1]
    if process.returncode:
        raise SystemExit(told)
    return content_hash(out), [ended]


@contextmanager
def closing_cluster(folder: Path) -> Iterator[Cluster]:
    """A cluster that ends with the block."""
    cluster = Cluster(folder)
    try:
        yield cluster
    finally:
        cluster.end()


def main() -> None:
    """All repeats."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--small", type=Path)
    parser.add_argument("--dask", action="store_true", help="a cluster of Dask computes")
    parser.add_argument("--both", action="store_true", help="it does in every second repeat")
    asked = parser.parse_args()
    rng = random.Random(asked.seed)  # noqa: S311  (kills, no secrets)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        run = write_run(folder)
        began = time.monotonic()
        first = start(run, folder / "whole.h5")
        if first.wait(LONGEST_S):
            raise SystemExit(first.communicate()[1])
        longest = time.monotonic() - began
        wanted = content_hash(folder / "whole.h5")
        cluster = stack.enter_context(closing_cluster(folder)) if asked.dask or asked.both else None
        if cluster is not None:
            first = start(run, folder / "dask.h5", cluster.ready())
            if first.wait(LONGEST_S) or content_hash(folder / "dask.h5") != wanted:
                raise SystemExit(f"Dask gives another result: {first.communicate()[1]}")
        met: Counter[str] = Counter()
        for repeat in range(asked.repeats):
            if asked.small is not None and repeat % 5 == 4:
                found, what = filled_up(run, asked.small, rng)
                out = asked.small / "out.h5"
            elif cluster is not None and (asked.dask or repeat % 2):
                out = folder / f"out{repeat}.h5"
                found, what = disturbed_cluster(run, out, cluster, rng)
            else:
                out = folder / f"out{repeat}.h5"
                found, what = disturbed(run, out, longest, rng)
            left = [path.name for path in out.parent.iterdir() if path.name.startswith(out.stem)]
            if found != wanted or left != [out.name]:
                raise SystemExit(f"repeat {repeat}: {what}: {found} instead of {wanted}; {left}")
            out.unlink()
            met.update(what)
            print(f"{repeat}: {', '.join(what)}: the same", flush=True)
        print(", ".join(f"{what} {number}" for what, number in sorted(met.items())))
        print(f"{asked.repeats} repeats ended with the same hash {wanted[:16]}")


if __name__ == "__main__":
    main()
