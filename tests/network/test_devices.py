"""Threads of a network that are given back."""

from __future__ import annotations

import pytest
import torch

from molexa_core.network.inference.threads import WORTH_SHARING, threads_for


def test_few_atoms_run_on_one_thread_and_the_number_is_restored() -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        with threads_for(WORTH_SHARING - 1):
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 2
        with threads_for(WORTH_SHARING):
            assert torch.get_num_threads() == 2
        with pytest.raises(RuntimeError), threads_for(1):
            raise RuntimeError
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
