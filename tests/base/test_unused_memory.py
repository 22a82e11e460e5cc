"""Memory is given back to the system, where its C library can do that."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from molexa_core.base import unused_memory

STATM = Path("/proc/self/statm")
GROWING = """
import os, sys
import numpy as np
from molexa_core.base.unused_memory import give_back, keep_no_large_blocks

def held_mib():
    pages = int(open("/proc/self/statm").read().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20

def work(times):
    for _ in range(times):  # arrays of changing size, with something between them that stays
        arrays = [np.ones(rng.integers(1_000, 200_000)) for _ in range(20)]
        small.extend(np.ones(100) for _ in range(20))
        del arrays

rng, small = np.random.default_rng(1), []
if sys.argv[1:]:
    keep_no_large_blocks()
work(1)
before = held_mib()
work(20)
if sys.argv[1:]:
    give_back()
print(held_mib() - before)
"""


@pytest.mark.skipif(
    not STATM.exists() or unused_memory._glibc("malloc_trim") is None,
    reason="needs /proc and the GNU C library",
)
def test_a_process_that_frees_all_is_as_small_as_before() -> None:
    grown = {}
    for gives_back in ((), ("gives back",)):
        done = subprocess.run(
            [sys.executable, "-c", GROWING, *gives_back], capture_output=True, text=True,
            check=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        grown[bool(gives_back)] = float(done.stdout)
    assert grown[True] < min(1.0, grown[False])


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unused_memory, "_glibc", lambda _: None)
    unused_memory.keep_no_large_blocks()
    unused_memory.give_back()


def test_a_function_that_is_not_there() -> None:
    assert unused_memory._glibc("no_such_function_of_any_library") is None
