"""Commands that write files, short enough to be stopped hundreds of times by
`disturbed_writing.py`.

The results of a command are inputs of later ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatch
from typing import Final


@dataclass(frozen=True)
class Command:
    """A command that writes.

    Attributes:
        name: for the table.
        words: the command line; what stands behind `>` gets its standard output.
        outputs: patterns of the files that it writes.
        reads: patterns of its inputs.
        logs: patterns of files that grow line by line or are no result yet.
        fresh: folders that it must not find.
        again: the command line of the next run, where it is another one.
    """

    name: str
    words: tuple[str, ...]
    outputs: tuple[str, ...]
    reads: tuple[str, ...] = ()
    logs: tuple[str, ...] = ()
    fresh: tuple[str, ...] = ()
    again: tuple[str, ...] | None = None

    def writes(self, name: str) -> bool:
        """Whether a file is one of its results."""
        return any(fnmatch(name, pattern) for pattern in (*self.outputs, *self.logs))

    def needs(self, name: str) -> bool:
        """Whether a file is one of its inputs."""
        return any(fnmatch(name, pattern) for pattern in self.reads)

    def appends(self, name: str) -> bool:
        """Whether a file may end anywhere."""
        return any(fnmatch(name, pattern) for pattern in self.logs)


def _command(name: str, line: str, *outputs: str, **others: tuple[str, ...]) -> Command:
    again = others.pop("again", None)
    return Command(name, tuple(line.split()), outputs, again=again, **others)


def _mock(layout: str, suffix: str) -> Command:
    run = f"run-{layout}{suffix}"
    line = f"mock nitrogen --events 12000 --seed 1 --format {layout} --out {run}"
    return _command(f"mock, {layout}", line, run)


INPUTS: Final = {
    "one.yaml": "name: one\nmolecules:\n  names: [nitrogen]\nvariations:\n  displaced: 1\n"
    "trajectories: 300\n",
}
"""Files that are there from the beginning."""

_TRAIN: Final = "train --stage 1 --preset molexa --steps 4 --batch 8 --validation 16 --largest 3 "

COMMANDS: Final[tuple[Command, ...]] = (
    _command(
        "mock",
        "mock water --events 30000 --seed 1 --out run.root --truth truth.h5",
        "run.root",
        "truth.h5",
    ),
    _mock("root-jagged", ".root"),
    _mock("hdf5", ".h5"),
    _mock("parquet", ".parquet"),
    _mock("csv", ".csv"),
    _mock("xfel", ".h5"),
    _mock("lmf", ".lmf"),
    _mock("lmf-raw", ".lmf"),
    _mock("edges", ".h5"),
    _mock("root-edges", ".root"),
    _command(
        "convert", "convert run.root run-converted.csv", "run-converted.csv", reads=("run.root",)
    ),
    _command(
        "reduce",
        "reduce run.root --channel water --out run.events.h5",
        "run.events.h5",
        reads=("run.root",),
    ),
    _command("align", "align run.events.h5", "run.aligned.h5", reads=("run.events.h5",)),
    _command("centroid", "centroid run.aligned.h5", "channel.csv", reads=("run.aligned.h5",)),
    _command(
        "reconstruct",
        "reconstruct channel.csv --samples 4 --search 0 --out geom.xyz",
        "geom.xyz",
        "geom.json",
        reads=("channel.csv",),
    ),
    _command(
        "reconstruct, events",
        "reconstruct run.aligned.h5 --events --out structures.h5",
        "structures.h5",
        reads=("run.aligned.h5",),
    ),
    _command(
        "report",
        "report . --out report.html",
        "report.html",
        reads=("run.*.h5", "channel.csv", "geom.*"),
    ),
    _command(
        "simulate, classical",
        "simulate water --charges O+,H+,H+ --out m.csv --trajectory movie.xyz",
        "m.csv",
        "movie.xyz",
    ),
    _command(
        "simulate, mcmd",
        "simulate water --model mcmd --trajectories 400 --out c.h5 --figure c.svg",
        "c.h5",
        "c.svg",
    ),
    _command("molecules", "molecules ethanol --xyz ethanol.xyz", "ethanol.xyz"),
    _command(
        "calibrate detector",
        "calibrate detector run-lmf.lmf --out detector.yaml",
        "detector.yaml",
        "detector.svg",
        reads=("run-lmf.lmf",),
    ),
    _command(
        "dataset resolve",
        "dataset resolve --recipe one.yaml --out one.json",
        "one.json",
        reads=("one.yaml",),
    ),
    _command(
        "dataset build",
        "dataset build --recipe one.json --out set",
        "set/*",
        reads=("one.json",),
        fresh=("set",),
    ),
    _command("dataset pack", "dataset pack set --out packed", "packed/*", reads=("set/*",)),
    _command(
        "train",
        f"{_TRAIN} --out training",
        "training/*",
        logs=("training/log.jsonl",),
        fresh=("training",),
        again=tuple(f"{_TRAIN} --out training --resume".split()),
    ),
    _command(
        "weights shrink",
        "weights shrink training/molexa-stage1.json --out small",
        "small/*",
        reads=("training/*",),
    ),
    _command(
        "evaluate",
        "evaluate --data stage1 --limit 8 --samples 2 --largest 3 --out accuracy.json "
        "--figures figures",
        "accuracy.json",
        "figures/*",
    ),
    _command(
        "standard output",
        "inspect run.root --json > inspection.json",
        reads=("run.root",),
        logs=("inspection.json",),
    ),
)
"""Every command that writes, and every format."""
QUICK: Final = (
    "mock",
    "mock, parquet",
    "mock, lmf",
    "reduce",
    "align",
    "centroid",
    "dataset resolve",
)
"""Those of them for which CI has time."""
