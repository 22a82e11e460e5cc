"""What a call says about who computes a long job, and what becomes of its units of work."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final

from molexa_core.base.errors import UsageError
from molexa_core.base.parameter import Parameter, Parameters

SLURM_ARRAY: Final = 64
"""Tasks of an array job that run at a time, where nothing else is said."""


@dataclass(frozen=True)
class WorkOptions(Parameters):
    """Who computes the units of a long job.

    Attributes:
        workers: processes of this machine; one for each core if not given.
        dask: a scheduler of Dask, whose workers see the same files.
        slurm: whether an array job of Slurm computes.
        slurm_array: tasks of the array job that run at a time.
        slurm_option: further options of sbatch.
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
    dask: Annotated[
        str | None,
        Parameter(
            "Dask cluster that computes: address of its scheduler, local, or local:4",
            note="its workers see the same files; needs the extra cluster",
            option="--dask",
        ),
    ] = None
    slurm: Annotated[
        bool,
        Parameter(
            "an array job of Slurm computes",
            note="this command waits for it; its nodes see the same files",
            option="--slurm",
        ),
    ] = False
    slurm_array: Annotated[
        int,
        Parameter(
            "number of tasks of the array job that run at a time",
            low=1,
            high=100_000,
            option="--slurm-array",
        ),
    ] = SLURM_ARRAY
    slurm_option: Annotated[
        list[str] | None,
        Parameter(
            "further option of sbatch, such as --partition=short",
            note="may be given several times",
            option="--slurm-option",
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

    def __post_init__(self) -> None:
        Parameters.__post_init__(self)
        if sum((self.workers is not None, self.dask is not None, self.slurm)) > 1:
            raise UsageError(
                "processes of this machine, Dask and Slurm together",
                do="Give one of `workers=`, `dask=` and `slurm=`.",
            )

    @property
    def others(self) -> str:
        """The option that hands the work to others; empty if none does."""
        given = {"workers": (self.workers or 1) > 1, "dask": self.dask, "slurm": self.slurm}
        return next((name for name, value in given.items() if value), "")


HERE: Final = WorkOptions()
"""The processes of this machine."""
