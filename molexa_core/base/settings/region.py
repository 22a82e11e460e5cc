"""Regions in two observables: boxes, polygons and ellipses, named in a channel or in a file."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field, StringConstraints, model_validator

from molexa_core.base.settings.schema import Positive, Schema

MOST_CORNERS: Final = 1000
RegionName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,59}$")]
"""Letters, digits and underscores, so that conditions can name it."""
Range = tuple[float, float]


class Box(Schema):
    """A rectangle.

    Attributes:
        x: from the lower to the upper limit along x.
        y: the same along y.
    """

    x: Range
    y: Range

    @model_validator(mode="after")
    def _ascending(self) -> Box:
        for name, (low, high) in (("x", self.x), ("y", self.y)):
            if not low < high:
                msg = f"{name} {[low, high]}: the first value must be below the second"
                raise ValueError(msg)
        return self


class Ellipse(Schema):
    """An ellipse.

    Attributes:
        centre: x and y of its centre.
        half_axes: its half axes, along x and y before it is turned.
        angle_deg: turned counter-clockwise by this angle. In two observables of different units it
            is the angle in the plane of their numbers.
    """

    centre: tuple[float, float]
    half_axes: tuple[Positive, Positive]
    angle_deg: float = 0.0


class Region(Schema):
    """A region in two observables, of one form; its edge belongs to it.

    Attributes:
        x: observable along x, such as `tof(O+)`.
        y: observable along y.
        box: a rectangle.
        polygon: corners in order, each [x, y]; where the outline crosses itself, what it goes
            round twice is outside.
        ellipse: an ellipse.
        note: what it is, for people.
    """

    x: str
    y: str
    box: Box | None = None
    polygon: tuple[tuple[float, float], ...] | None = Field(
        default=None, min_length=3, max_length=MOST_CORNERS
    )
    ellipse: Ellipse | None = None
    note: str = ""

    @model_validator(mode="after")
    def _of_one_form(self) -> Region:
        given = [name for name in ("box", "polygon", "ellipse") if getattr(self, name) is not None]
        if len(given) != 1:
            msg = f"give one of box, polygon and ellipse, not {' and '.join(given) or 'none'}"
            raise ValueError(msg)
        if self.polygon is not None and _area(self.polygon) == 0.0:
            msg = "polygon: its corners lie on one line"
            raise ValueError(msg)
        return self

    @property
    def form(self) -> str:
        """`box`, `polygon` or `ellipse`."""
        return next(n for n in ("box", "polygon", "ellipse") if getattr(self, n) is not None)


class RegionsFile(Schema):
    """A file of named regions, `regions.yaml`.

    Attributes:
        regions: the regions by name.
    """

    regions: dict[RegionName, Region] = Field(min_length=1)


def _area(corners: tuple[tuple[float, float], ...]) -> float:
    """Extent of the corners off the line through the first and the one farthest from it."""
    (x0, y0) = corners[0]
    x1, y1 = max(corners, key=lambda c: (c[0] - x0) ** 2 + (c[1] - y0) ** 2)
    return max(abs((x1 - x0) * (y - y0) - (y1 - y0) * (x - x0)) for x, y in corners)
