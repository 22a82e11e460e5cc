"""The device that a stage computes on."""

from __future__ import annotations

from molexa_core.base.cuda.driver import number_of_cards
from molexa_core.base.cuda.graphics_card import Card
from molexa_core.base.device import Device
from molexa_core.base.progress import SILENT, Progress


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


def card_or_processor(wanted: str, progress: Progress = SILENT) -> Card | None:
    """The graphics card of this name without torch; None where the processor computes.

    Where there is no such card the processor computes, and that is said: for stages whose result is
    the same on both.

    Args:
        wanted: `auto`, `cpu`, `cuda` or `cuda:1`.
        progress: receives the remark.

    Raises:
        UsageError: another name.
    """
    device, cards = Device.parse(wanted), 0
    if device.kind != "cpu":
        cards = number_of_cards()
    if device.kind == "cuda" and (device.index or 0) >= cards:
        which = "" if device.index is None else f" {device.index}"
        progress.say(
            f"no CUDA device{which} found here: the processor searches, with the same result"
        )
        return None
    index = device.among(cards).index
    return None if index is None else Card(index)
