"""What a call says about the coincidences it takes: conditions and named regions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

from molexa_core.base.parameter import Parameter, Parameters

REGIONS_FILE: Final = "regions.yaml"
"""Where `molexa gate` writes regions, and where they are looked for."""


@dataclass(frozen=True)
class Selection(Parameters):
    """The coincidences that a stage takes; all of them if nothing is given.

    Attributes:
        where: conditions, all of which must hold.
        gate: names of regions, in all of which a coincidence must lie.
        regions: the file with the regions.
    """

    where: Annotated[
        list[str] | None,
        Parameter(
            "condition on every coincidence, such as 'ker in 20..26 and tof(O+) < 1240'",
            note="may be given several times",
            option="--where",
        ),
    ] = None
    gate: Annotated[
        list[str] | None,
        Parameter(
            "name of a region in which every coincidence must lie",
            note="may be given several times",
            option="--gate",
        ),
    ] = None
    regions: Annotated[
        Path | None,
        Parameter(
            "file with the regions, of molexa gate or a channel",
            note=f"those of the channel and of {REGIONS_FILE} if not given",
            option="--regions",
        ),
    ] = None

    @property
    def is_empty(self) -> bool:
        """Whether it takes everything."""
        return not self.where and not self.gate


EVERYTHING: Final = Selection()
"""The selection that takes every coincidence."""
