"""Where the network runs."""

from __future__ import annotations

import torch

from molexa_core.base.errors import UsageError


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
