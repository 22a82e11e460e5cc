"""What a user tells of an apparatus and of a run, for the setup file to begin with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Final

from molexa_core.base.errors import UsageError, listing
from molexa_core.base.parameter import Parameter, Parameters

SLOT_MARK: Final = "{i}"
_COLUMNS: Final = (
    "x", "y", "time", "shot", "count", "tree", "tags", "empty", "x_unit_mm", "time_unit_ns",
)  # fmt: skip


@dataclass(frozen=True)
class Apparatus(Parameters):
    """The spectrometer as far as it is told, and columns of a run that is not recognised.

    Attributes:
        regions: of the spectrometer; where none is given, the file holds question marks.
        radius_mm: of the detector; as far as the hits of the run reach if not given.
        jet_m_per_s: velocity of the jet.
        x, y, time: columns of a hit; with `{i}` where the number of the slot stands.
        shot: column with the number of the shot, where a row is a hit.
        count: column with the number of hits of a shot.
        tree: name of the tree or group.
        tags: columns with a value per shot.
        empty: the time of a place without a hit; found in the run if not given.
        x_unit_mm, time_unit_ns: value of one unit of the named columns.

    Raises:
        UsageError: a region that is no length and field, or a value out of range.
    """

    regions: Annotated[
        list[str] | None,
        Parameter(
            "region of the spectrometer as LENGTH_MM,V_PER_CM, such as 40.5,150",
            note="one option for each, in the order an ion passes them",
            option="--region",
        ),
    ] = None
    radius_mm: Annotated[
        float | None,
        Parameter(
            "radius of the detector",
            "mm",
            1e-3,
            1e4,
            note="as far as the hits of the run reach if not given",
            option="--radius-mm",
        ),
    ] = None
    jet_m_per_s: Annotated[
        float | None, Parameter("velocity of the jet", "m/s", option="--jet-m-per-s")
    ] = None
    x: Annotated[
        str | None,
        Parameter(
            "column with x, {i} for the slot", note="where it is not recognised", option="--x"
        ),
    ] = None
    y: Annotated[str | None, Parameter("column with y", option="--y")] = None
    time: Annotated[str | None, Parameter("column with the time of flight", option="--time")] = None
    shot: Annotated[
        str | None, Parameter("column with the shot, where a row is a hit", option="--shot")
    ] = None
    count: Annotated[
        str | None, Parameter("column with the number of hits of a shot", option="--count")
    ] = None
    tree: Annotated[str | None, Parameter("tree (ROOT) or group (HDF5)", option="--tree")] = None
    tags: Annotated[
        list[str] | None,
        Parameter(
            "column with a value per shot, such as a delay",
            note="may be given several times",
            option="--tag",
        ),
    ] = None
    empty: Annotated[
        float | None,
        Parameter(
            "time of a place without a hit",
            note="found in the run if not given",
            option="--empty",
        ),
    ] = None
    x_unit_mm: Annotated[
        float | None,
        Parameter(
            "unit of the columns x and y",
            "mm",
            1e-9,
            1e9,
            note="0.001 for µm",
            option="--x-unit-mm",
        ),
    ] = None
    time_unit_ns: Annotated[
        float | None,
        Parameter(
            "unit of the column with the time of flight",
            "ns",
            1e-9,
            1e9,
            note="0.001 for ps",
            option="--time-unit-ns",
        ),
    ] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        _ = self.fields

    @property
    def fields(self) -> tuple[tuple[float, float], ...]:
        """Length in mm and field in V/cm of each region."""
        return tuple(map(_region, self.regions or ()))

    @property
    def names_columns(self) -> bool:
        """Whether it says anything about columns."""
        return any(getattr(self, name) not in (None, []) for name in _COLUMNS)

    def columns(self) -> dict[str, Any] | None:
        """The block `columns` of a setup; None where nothing is said about it.

        Raises:
            UsageError: x, y or time is missing.
        """
        if not self.names_columns:
            return None
        missing = [name for name in ("x", "y", "time") if getattr(self, name) is None]
        if missing:
            verb = "is" if len(missing) == 1 else "are"
            raise UsageError(
                f"of the columns, {listing(missing)} {verb} not named",
                do="Name `x=`, `y=` and `time=`, with {i} for the number of a slot: ion{i}_x.",
            )
        layout = "flat" if SLOT_MARK in str(self.x) else "rows" if self.shot else "jagged"
        values = {"layout": layout} | {name: getattr(self, name) for name in _COLUMNS}
        return {name: value for name, value in values.items() if value not in (None, [])}


def _region(text: str) -> tuple[float, float]:
    try:
        length, field = (float(part) for part in text.replace(";", ",").split(","))
    except ValueError:
        raise UsageError(
            f"{text!r} is not a length and a field",
            setting="regions",
            do="Write length in mm and field in V/cm, such as 40.5,150.",
        ) from None
    return length, field
