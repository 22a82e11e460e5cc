"""Where the network runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import torch

from molexa_core.base.errors import UsageError

WORTH_SHARING: Final = 8192
"""Atoms that go through the network at once from which on several threads pay."""


def choose_device(wanted: str) -> str:
    """`cpu` or `cuda` from `auto`, `cpu` or `cuda`.

    Raises:
        UsageError: another name, or no such device.
    """
    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if wanted == "cpu":
        return "cpu"
    if wanted == "cuda":
        if torch.cuda.is_available():
            return "cuda"
        raise UsageError("no CUDA device found", do="Use --device cpu or --device auto.")
    raise UsageError(f"no device named {wanted!r}", do="Choose auto, cpu or cuda.")


@contextmanager
def threads_for(atoms: int) -> Iterator[None]:
    """One CPU thread where so few atoms go through the network that threads only wait.

    Few molecules make small matrices. Split between two threads on two cores that another job
    used as well, they took seven times as long as on one thread.
    """
    before = torch.get_num_threads()
    if atoms < WORTH_SHARING:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
