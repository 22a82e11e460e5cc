"""The device that a computation runs on, written as `auto`, `cpu`, `cuda` or `cuda:1`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

from molexa_core.base.errors import UsageError
from molexa_core.base.parameter import Parameter

DEVICE: Final = Parameter(
    "device that computes",
    note="auto, cpu, cuda or cuda:N; auto takes a GPU where there is one",
    option="--device",
)


@dataclass(frozen=True)
class Device:
    """A processor or one graphics card.

    Attributes:
        kind: `auto` is not decided yet.
        index: number of the graphics card; None for the one in use.
    """

    kind: Literal["auto", "cpu", "cuda"]
    index: int | None = None

    @classmethod
    def parse(cls, text: str) -> Device:
        """The device of this name.

        Raises:
            UsageError: another name.

        Example:
            >>> Device.parse("cuda:1")
            Device(kind='cuda', index=1)
        """
        match = re.fullmatch(r"cuda(?::(\d{1,3}))?", text)
        if match:
            return cls("cuda", None if match[1] is None else int(match[1]))
        if text == "auto":
            return cls("auto")
        if text == "cpu":
            return cls("cpu")
        raise UsageError(f"no device named {text!r}", do="Choose auto, cpu, cuda or cuda:N.")

    def among(self, cards: int, *, current: int = 0) -> Device:
        """The processor, or one graphics card with its number.

        Args:
            cards: number of graphics cards.
            current: number of the one in use.

        Raises:
            UsageError: no such graphics card.
        """
        if self.kind == "cpu" or (self.kind == "auto" and cards == 0):
            return Device("cpu")
        index = current if self.index is None else self.index
        if index >= cards:
            what = "no CUDA device found" if cards == 0 else f"no CUDA device {index} found"
            raise UsageError(what, setting="device", do=f"There are {cards}; choose cpu or auto.")
        return Device("cuda", index)

    def __str__(self) -> str:
        """The name, as `parse` and PyTorch take it."""
        return self.kind if self.index is None else f"{self.kind}:{self.index}"
