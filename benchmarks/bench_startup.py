"""How long does `molexa --help` take? Compared with starting the interpreter and doing nothing."""

from __future__ import annotations

import subprocess
import sys

from _record import store, time_runs

REPEATS = 15


def start(*arguments: str) -> None:
    """Run Python with these arguments to its end."""
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True)


if __name__ == "__main__":
    store(
        "startup",
        "How long does `molexa --help` take?",
        time_runs(lambda: start("-m", "molexa_cli.main", "--help"), repeats=REPEATS),
        amount=1,
        unit="starts",
        sizes={"repeats": REPEATS},
        baseline=(
            "starting Python and doing nothing",
            time_runs(lambda: start("-c", "pass"), repeats=REPEATS),
        ),
        notes="the bar is 0.4 s; the files are in the operating system's cache",
    )
