"""Test that nothing is lost when commands are stopped, or the disk is full, during writing.

    python tools/disturbed_writing.py kill --trials 200
    python tools/disturbed_writing.py disk
    python tools/disturbed_writing.py kill disk --quick        # what CI has time for

`kill` sends SIGINT, SIGTERM (once or twice), SIGHUP or SIGKILL at random moments, half of them
while a temporary file is open. `disk` lets the disk be full at the first byte, in the middle and at
the last block: on a small file system in memory where it may mount one (root), else by a limit of
the file size. Each trial begins with inputs and an earlier result of the same command, and asks:

- every file that was there is as it was, or a whole new one;
- no signal ends in exit code 0, every fault is one sentence and exit code 1, no traceback;
- no temporary file is left; after SIGKILL, none after the next run.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

import h5py
import uproot
from disturbed_commands import COMMANDS, INPUTS, QUICK, Command
from safetensors import safe_open

ROOT: Final = Path(__file__).parents[1]
LONGEST_S: Final = 600.0
SIGNALS: Final = ("SIGINT", "SIGTERM", "SIGHUP", "SIGTERM twice", "SIGKILL")
MOMENTS: Final = ("first byte", "middle", "last block")
PAGE: Final = 4096
START_S: Final = 0.5
"""Before this the interpreter itself starts, and has its own words for Ctrl-C."""


@dataclass
class Reference:
    """A command that nobody disturbed: how long it took and what it wrote, with sizes."""

    seconds: float
    written: dict[str, int]


@dataclass
class Tally:
    """What came of the trials of one command."""

    trials: int = 0
    faults: list[str] = field(default_factory=list)
    codes: Counter[str] = field(default_factory=Counter)
    slowest_s: float = 0.0


def start(words: tuple[str, ...], folder: Path, limit: int | None = None) -> subprocess.Popen[str]:
    """Start the program in a folder; words behind `>` name the file for its standard output."""
    out: int | None = subprocess.PIPE
    if ">" in words:
        at = words.index(">")
        out = os.open(folder / words[at + 1], os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
        words = words[:at]

    def limited() -> None:
        import resource  # noqa: PLC0415  (a module of Unix)

        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))

    found = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    environment = os.environ | {"PYTHONPATH": found, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "molexa_cli.main", *words],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=out,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=limited,  # noqa: PLW1509  (one thread)
    )
    if out != subprocess.PIPE:
        os.close(out)
    return process


def files(folder: Path, *, digests: bool = True) -> dict[str, str]:
    """Digest of every file, by its path below the folder."""
    return {
        str(path.relative_to(folder)): (
            hashlib.sha256(path.read_bytes()).hexdigest() if digests else ""
        )
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def leftovers(folder: Path) -> list[str]:
    """Temporary files in a folder."""
    return [name for name in files(folder, digests=False) if ".part-" in name or ".lock" in name]


def is_whole(path: Path) -> bool:
    """Whether a file can be read to its end by the usual program for its kind."""
    try:
        if path.suffix == ".h5":
            with h5py.File(path) as file:
                file.visititems(_read_dataset)
        elif path.suffix == ".root":
            with uproot.open(path) as file:
                for key in file.keys(filter_classname="TTree"):
                    file[key].arrays()
        elif path.suffix == ".safetensors":
            with safe_open(path, framework="numpy") as stream:
                stream.keys()
        elif path.suffix == ".json":
            json.loads(path.read_text(encoding="utf-8"))
        elif path.suffix in (".csv", ".xyz", ".yaml", ".html", ".svg", ".jsonl"):
            return path.read_text(encoding="utf-8").endswith(("\n", ">"))
        else:
            return path.stat().st_size > 0
    except Exception:  # noqa: BLE001  (whatever it is, the file is not whole)
        return False
    return True


def _read_dataset(name: str, item: h5py.Dataset | h5py.Group) -> None:
    del name
    if isinstance(item, h5py.Dataset):
        item[()]


def judged(
    command: Command, folder: Path, before: dict[str, str], err: str, *, killed: bool
) -> Iterator[str]:
    """What is wrong after a disturbed command."""
    after = files(folder)
    for name, content in before.items():
        mine = command.writes(name)
        whole = mine and (command.appends(name) or is_whole(folder / name))
        if name not in after:
            yield f"{name} is gone"
        elif after[name] != content and not whole:
            yield f"{name} was changed" if not mine else f"{name} is neither old nor whole"
    for name in after.keys() - before.keys():
        if ".part-" in name or ".lock" in name:
            if not killed:
                yield f"left {name}"
        elif not command.writes(name):
            yield f"strange file {name}"
        elif not is_whole(folder / name) and not command.appends(name):
            yield f"{name} is not whole"
    if "Traceback" in err:
        yield f"traceback: {err.strip().splitlines()[-1][:120]}"


class Bench:
    """Inputs, and what each command makes of them undisturbed."""

    def __init__(self, folder: Path, commands: list[Command]) -> None:
        self.folder, self.commands = folder, commands
        self.inputs = folder / "inputs"
        self.inputs.mkdir(parents=True, exist_ok=True)
        for name, text in INPUTS.items():
            (self.inputs / name).write_text(text, encoding="utf-8")
        self.references: dict[str, Reference] = {}

    def prepare(self) -> None:
        """Run every command once; its results are inputs of those behind it."""
        kept = self.folder / "references.json"
        if kept.exists():
            values = json.loads(kept.read_text(encoding="utf-8"))
            self.references = {name: Reference(**one) for name, one in values.items()}
        for command in self.commands:
            if command.name in self.references:
                continue
            before = files(self.inputs)
            began = time.monotonic()
            with start(command.words, self.inputs) as process:
                _, err = process.communicate(timeout=LONGEST_S)
            if process.returncode != 0:
                sys.exit(f"{command.name} fails without being disturbed: {err}")
            after = files(self.inputs)
            written = {
                name: (self.inputs / name).stat().st_size
                for name in after
                if after[name] != before.get(name)
            }
            self.references[command.name] = Reference(time.monotonic() - began, written)
            values = {name: asdict(one) for name, one in self.references.items()}
            kept.write_text(json.dumps(values, indent=1), encoding="utf-8")
            unknown = [name for name in written if not command.writes(name)]
            if unknown or not written:
                sys.exit(f"{command.name} writes {unknown or 'nothing'}: correct COMMANDS")

    @contextmanager
    def workplace(self, command: Command, where: Path | None = None) -> Iterator[Path]:
        """A folder with all inputs and an earlier result."""
        folder = Path(tempfile.mkdtemp(dir=where or self.folder))
        try:
            for name in sorted(files(self.inputs, digests=False)):
                fresh = any(name.startswith(f"{one}/") for one in command.fresh)
                mine = command.writes(name) and not command.appends(name)
                if (command.needs(name) or mine) and not fresh:
                    (folder / name).parent.mkdir(exist_ok=True)
                    shutil.copyfile(self.inputs / name, folder / name)
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def wait_for_moment(
    process: subprocess.Popen[str], folder: Path, seconds: float, *, early: bool
) -> None:
    """Wait some time, or until a temporary file is there and a part of it."""
    deadline = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < deadline:
        if not early and any(folder.rglob(".*.part-*")):
            time.sleep(random.random() * 0.15)  # noqa: S311
            return
        time.sleep(0.02)


def kill_once(bench: Bench, command: Command, chance: random.Random, tally: Tally) -> None:
    """One trial with a signal."""
    kind, early = chance.choice(SIGNALS), chance.random() < 0.5
    seconds = bench.references[command.name].seconds * (chance.random() if early else 2.0)
    seconds = max(START_S, seconds)
    with bench.workplace(command) as folder:
        before = files(folder)
        process = start(command.words, folder)
        wait_for_moment(process, folder, seconds, early=early)
        running = process.poll() is None
        number = getattr(signal, kind.split()[0])
        began = time.monotonic()
        process.send_signal(number)
        if kind.endswith("twice"):
            time.sleep(0.4)
            process.send_signal(number)
        _, err = process.communicate(timeout=LONGEST_S)
        took = time.monotonic() - began
        if not running:
            tally.codes["had ended"] += 1
            return
        tally.trials += 1
        tally.slowest_s = max(tally.slowest_s, took)
        tally.codes[f"{kind}: {process.returncode}"] += 1
        killed = kind == "SIGKILL"
        faults = list(judged(command, folder, before, err or "", killed=killed))
        if process.returncode == 0:
            faults.append("swallowed")
        if killed and leftovers(folder):
            with start(command.again or command.words, folder) as following:
                following.communicate(timeout=LONGEST_S)
            faults += [f"still there after the next run: {name}" for name in leftovers(folder)]
        tally.faults += [f"{command.name}, {kind} after {seconds:.2f} s: {one}" for one in faults]


def fill_once(bench: Bench, command: Command, moment: str, disk: Path | None, tally: Tally) -> None:
    """One trial with a full disk."""
    written = bench.references[command.name].written
    largest = max(written.values())
    limits = {"first byte": 0, "middle": largest // 2, "last block": largest - 1}
    rooms = {"first byte": 0, "middle": largest // 2, "last block": (largest - 1) // PAGE * PAGE}
    limit = limits[moment] if disk is None else None
    with bench.workplace(command, disk) as folder:
        before = files(folder)
        if disk is not None:
            _leave_room(disk, rooms[moment])
        with start(command.words, folder, limit) as process:
            _, err = process.communicate(timeout=LONGEST_S)
        tally.trials += 1
        tally.codes[f"{moment}: {process.returncode}"] += 1
        faults = list(judged(command, folder, before, err, killed=False))
        if process.returncode != 1:
            faults.append(f"exit code {process.returncode}: {err.strip()[-200:]}")
        said = [line for line in err.splitlines() if line.startswith("molexa: ")]
        if len(said) != 1 or not err.splitlines()[-1].startswith("molexa: "):
            faults.append(f"not one sentence: {err.strip()[-300:]}")
        elif not any(word in said[0] for word in ("No space left", "File too large")):
            faults.append(f"the cause is not told: {said[0]}")
        tally.faults += [f"{command.name}, full at the {moment}: {one}" for one in faults]
    if disk is not None:
        (disk / "filler").unlink(missing_ok=True)


def _leave_room(disk: Path, room: int) -> None:
    """Fill a file system up to so many bytes."""
    with (disk / "filler").open("wb") as filler:
        free = os.statvfs(disk).f_bavail * PAGE
        left = max(0, free - room)
        try:
            while left > 0:
                left -= filler.write(bytes(min(left, 2**20)))
        except OSError:
            return


@contextmanager
def small_disk(folder: Path) -> Iterator[Path | None]:
    """A file system of 256 MB in memory; None where that is not allowed."""
    place = folder / "disk"
    place.mkdir(exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", "size=256m", "tmpfs", str(place)]
    try:
        made = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    except OSError:
        made = False
    try:
        yield place if made else None
    finally:
        if made:
            subprocess.run(["umount", str(place)], check=False)


def report(title: str, tallies: dict[str, Tally], note: str = "") -> int:
    """Print a table; the number of faults."""
    print(f"\n{title}{note}\n")
    print("| command | trials | exit codes | longest to the end | faults |\n|---|---|---|---|---|")
    for name, tally in tallies.items():
        codes = ", ".join(f"{code} ({count})" for code, count in sorted(tally.codes.items()))
        slow = f"{tally.slowest_s:.1f} s"
        print(f"| {name} | {tally.trials} | {codes} | {slow} | {len(tally.faults)} |")
    faults = [fault for tally in tallies.values() for fault in tally.faults]
    trials = sum(tally.trials for tally in tallies.values())
    print(f"\n{trials} trials, {len(faults)} faults")
    for fault in faults:
        print(f"- {fault}")
    return len(faults)


def each(commands: list[Command], work: Callable[[Command, Tally], None]) -> dict[str, Tally]:
    """A tally of every command."""
    tallies = {}
    for command in commands:
        tallies[command.name] = Tally()
        work(command, tallies[command.name])
        done = tallies[command.name]
        print(f"{command.name}: {done.trials}, faults {done.faults}", file=sys.stderr, flush=True)
    return tallies


def main() -> None:
    """Run the trials and print their results."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", nargs="+", choices=("kill", "disk"))
    parser.add_argument("--trials", type=int, default=200, help="signals over all commands")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", action="append", help="name of a command; may be repeated")
    parser.add_argument("--keep", help="folder in which inputs are made, or lie from before")
    parser.add_argument("--limit", action="store_true", help="disk: a limit of the file size")
    parser.add_argument("--quick", action="store_true", help="few commands, few trials")
    options = parser.parse_args()
    # Started by nohup, this process and all that it starts would ignore the signal.
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    chosen = set(options.only) if options.only else None
    names = QUICK if options.quick else None
    trials = min(options.trials, 12) if options.quick else options.trials
    faults = 0
    with tempfile.TemporaryDirectory() as scratch:
        place = options.keep or scratch
        needed = [one for one in COMMANDS if names is None or one.name in names]
        bench = Bench(Path(place), needed)
        bench.prepare()
        tried = [one for one in needed if chosen is None or one.name in chosen]
        if "disk" in options.what:
            with small_disk(bench.folder) as mounted:
                disk = None if options.limit else mounted
                how = " (limit of the file size)" if disk is None else " (file system in memory)"

                def fill(command: Command, tally: Tally) -> None:
                    for moment in MOMENTS:
                        fill_once(bench, command, moment, disk, tally)

                faults += report("Disk full, three moments each", each(tried, fill), how)
        if "kill" in options.what:
            chance = random.Random(options.seed)  # noqa: S311
            rounds = -(-trials // len(tried))

            def kill(command: Command, tally: Tally) -> None:
                for _ in range(rounds):
                    kill_once(bench, command, chance, tally)

            faults += report("Signals at random moments", each(tried, kill))
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
