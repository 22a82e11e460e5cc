"""Two processes train one network; one that dies takes neither the checkpoint nor the words."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from molexa_core.base.errors import UsageError
from molexa_core.network.network import Network
from molexa_core.network.training.checkpoint import load_checkpoint
from molexa_core.network.training.team import Team
from tests.fakes import team_training
from tests.fakes.networks import small_settings


def _start(folder: Path, dies_at: int) -> list[tuple[int, str]]:
    """Exit code and standard error of both processes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    root = Path(team_training.__file__).parent.parent.parent
    processes = [
        subprocess.Popen(
            [sys.executable, str(team_training.__file__), str(folder), str(dies_at)],
            stderr=subprocess.PIPE,
            text=True,
            env={
                **os.environ,
                "PYTHONPATH": str(root),
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
                "WORLD_SIZE": "2",
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": str(port),
            },
        )
        for rank in (0, 1)
    ]
    said = [process.communicate(timeout=240)[1] for process in processes]
    return [(one.returncode, text) for one, text in zip(processes, said, strict=True)]


def test_two_processes_end_with_the_same_weights(tmp_path: Path) -> None:
    for code, text in _start(tmp_path, -1):
        assert code == 0, text
    first, second = (load_file(tmp_path / f"weights-{rank}.safetensors") for rank in (0, 1))
    for name, value in first.items():
        torch.testing.assert_close(second[name], value, rtol=0, atol=0, msg=name)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [2, 4, 6]
    assert lines[0]["processes"] == 2
    assert lines[0]["molecules"] == 16


def test_a_killed_process_leaves_a_message_and_the_last_checkpoint(tmp_path: Path) -> None:
    (code, text), (killed, _) = _start(tmp_path, 5)
    assert killed == team_training.KILLED
    assert code == 1
    assert "another process of this training has ended" in text
    assert "`resume=True`" in text
    network = Network(small_settings("atoms"))
    optimizer = torch.optim.AdamW(
        [
            {"params": [one for one in network.parameters() if one.ndim > 1]},
            {"params": [one for one in network.parameters() if one.ndim <= 1]},
        ]
    )
    average = {name: torch.zeros_like(value) for name, value in network.named_parameters()}
    assert load_checkpoint(tmp_path / "state.safetensors", network, optimizer, average) == 4


def test_a_batch_that_does_not_divide_is_refused() -> None:
    assert Team(1, 4).share(32) == 8
    with pytest.raises(UsageError, match="multiple of 4"):
        Team(1, 4).share(30)


def test_a_single_process_keeps_its_seed() -> None:
    assert Team().seed(7) == 7
    assert len({Team(rank, 4).seed(7) for rank in range(4)}) == 4
