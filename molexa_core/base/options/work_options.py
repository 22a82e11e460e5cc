"""What a call says about who computes a long job, and what becomes of its units of work."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final

from molexa_core.base.parameter import Parameter, Parameters


@dataclass(frozen=True)
class WorkOptions(Parameters):
    """Who computes the units of a long job.

    Attributes:
        workers: processes of this machine; one for each core if not given.
        keep_units: whether the files of finished units stay after the result is written.
        skip_failed: whether the result is made without the units that failed.
    """

    workers: Annotated[
        int | None,
        Parameter(
            "number of processes of this machine that compute",
            low=1,
            high=4096,
            note="one for each core if not given; a small run is computed by one",
            option="--workers",
        ),
    ] = None
    keep_units: Annotated[
        bool,
        Parameter(
            "the folder NAME.units with the finished units stays beside the result",
            option="--keep-units",
        ),
    ] = False
    skip_failed: Annotated[
        bool,
        Parameter(
            "the result is made without the units that failed, and says what is missing",
            option="--skip-failed",
        ),
    ] = False


HERE: Final = WorkOptions()
"""The processes of this machine."""
