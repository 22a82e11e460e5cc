"""Build a data set without an installation: numpy, scipy, torch, h5py and numba are enough.

The recipe must be resolved beforehand, where molexa is installed:

    molexa dataset resolve --recipe stage2 --out stage2.json

Then, from the checkout, on one GPU, on all GPUs of a host, or on the CPU:

    python3 tools/build_dataset.py stage2.json stage2 --minutes 9 --pack packed
    torchrun --nproc-per-node 4 tools/build_dataset.py stage2.json stage2

To continue after `--minutes` or an interruption, run the same command again.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from molexa_core.base.errors import MolexaError
from molexa_core.base.progress import SilentProgress, Task
from molexa_core.base.storage.provenance import made_by
from molexa_core.pipeline.datasets.blocks import resolve
from molexa_core.pipeline.datasets.build import Workers, build
from molexa_core.pipeline.datasets.info import pack

EVERY_S = 10.0


class Lines(SilentProgress):
    """Progress as one line every ten seconds, for logs."""

    @contextmanager
    def task(self, label: str, total: float | None, unit: str) -> Iterator[Task]:
        """See `molexa_core.base.progress.Progress.task`."""
        yield _Counter(label, total, unit)

    def say(self, text: str) -> None:
        """A line of its own."""
        print(text, file=sys.stderr, flush=True)


class _Counter:
    def __init__(self, label: str, total: float | None, unit: str) -> None:
        self._label, self._total, self._unit = label, total, unit
        self._began = self._last = time.monotonic()
        self._done, self._note = 0.0, ""

    def advance(self, amount: float = 1.0) -> None:
        """Count, and print now and then."""
        self._done += amount
        now = time.monotonic()
        if now - self._last > EVERY_S:
            self._last = now
            rate = self._done / (now - self._began)
            of = f" of {self._total:.4g}" if self._total else ""
            print(
                f"{self._label}: {self._done:.4g}{of} {self._unit}, {rate:.4g}/s, {self._note}",
                file=sys.stderr,
                flush=True,
            )

    def note(self, text: str) -> None:
        """Shown in the next line."""
        self._note = text


def main() -> int:
    """Build, and pack if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipe", help="resolved recipe (.json)")
    parser.add_argument("out", help="folder of the data set")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:0")
    parser.add_argument("--minutes", type=float, help="begin no further block after this long")
    parser.add_argument("--pack", help="folder for packs of what is there when it ends")
    parser.add_argument("--largest-mib", type=float, default=15.0, help="size of a pack")
    chosen = parser.parse_args()
    progress = Lines()
    try:
        workers = Workers.of_environment(chosen.device)
        with made_by(" ".join(["tools/build_dataset.py", *sys.argv[1:]])):
            report = build(
                resolve(chosen.recipe),
                chosen.out,
                workers=workers,
                minutes=chosen.minutes,
                progress=progress,
            )
        print(report)
        if chosen.pack and workers.rank == 0:
            for path in pack(chosen.out, chosen.pack, largest_mib=chosen.largest_mib):
                print(f"{path} {path.stat().st_size / 2**20:.2f} MiB")
        for sentence in report.failed:
            print(f"build_dataset: {sentence}", file=sys.stderr)
        return 1 if report.failed else 0
    except MolexaError as error:
        print(f"build_dataset: {error}", file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
