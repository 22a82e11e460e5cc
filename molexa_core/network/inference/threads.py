"""How many processor cores share the work of a network."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import torch

WORTH_SHARING: Final = 8192
"""Number of atoms in one pass from which on several threads are faster than one."""


@contextmanager
def threads_for(atoms: int) -> Iterator[None]:
    """Use one CPU thread if a pass has so few atoms that threads would mostly wait.

    Few molecules give small matrices. Split between two threads on two cores that another job
    used as well, they took seven times as long as on one thread.
    """
    before = torch.get_num_threads()
    if atoms < WORTH_SHARING:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
