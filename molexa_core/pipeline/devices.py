"""The device that a stage computes on."""

from __future__ import annotations

from molexa_core.base.device import Device


def take_device(wanted: str) -> str:
    """The device of this name, made the current one of PyTorch: `cpu`, or `cuda:0` and so on.

    Args:
        wanted: `auto`, `cpu`, `cuda` (the current GPU) or `cuda:1`.

    Raises:
        UsageError: another name, or no such GPU.
    """
    import torch  # noqa: PLC0415  # takes a second, which many stages do not need

    cards = torch.cuda.device_count() if torch.cuda.is_available() else 0
    device = Device.parse(wanted).among(cards, current=torch.cuda.current_device() if cards else 0)
    if device.index is not None:
        torch.cuda.set_device(device.index)
    return str(device)
