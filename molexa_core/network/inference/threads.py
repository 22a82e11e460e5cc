"""How many processor cores share the work of a network."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import torch

WORTH_SHARING: Final = 8192
"""Atoms that go through the network at once from which on several threads pay."""


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
