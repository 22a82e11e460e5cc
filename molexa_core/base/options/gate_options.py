"""What a call says about the coincidences it takes: conditions, regions, and series of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal

from molexa_core.base.parameter import Parameter, Parameters

Solutions = Literal["best", "all"]
"""What `reduce` keeps of combinations that share hits."""
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


@dataclass(frozen=True)
class SeriesOptions(Parameters):
    """How results are computed one by one, such as for each delay of pump and probe.

    Attributes:
        by: what tells the results apart.
        bins: how its values are divided; every value for itself if not given.
        background: conditions of coincidences that hold only static background, each of which is
            subtracted, scaled by the numbers of shots.
        background_scale: shots of a bin over shots of the background, in place of those counted.
    """

    by: Annotated[
        str | None,
        Parameter(
            "tag or number by which results are computed one by one, such as delay_fs",
            option="--by",
        ),
    ] = None
    bins: Annotated[
        str | None,
        Parameter(
            "bins of --by: a number of them (20), edges (0,50,200), or start:stop:width (0:400:20)",
            note="every value for itself if not given",
            option="--bins",
        ),
    ] = None
    background: Annotated[
        list[str] | None,
        Parameter(
            "condition of the static background that is subtracted, such as 'pump_laser == 0'",
            note="scaled by the numbers of shots; may be given several times",
            option="--background",
        ),
    ] = None
    background_scale: Annotated[
        float | None,
        Parameter(
            "shots of a bin over shots of the background",
            low=0.0,
            note="in place of the shots that molexa reduce counted",
            option="--background-scale",
        ),
    ] = None

    def plain(self) -> dict[str, object]:
        """Plain values by name, those that were given."""
        return {name: value for name, value in vars(self).items() if value is not None}
