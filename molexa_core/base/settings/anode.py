"""The `anode` block of `setup.yaml`: geometry and timing of a delay-line anode.

A layer measures a position by the difference of the times at its two ends,
`scale * (t1 - t2) + offset`, and has the time sum `t1 + t2 - 2 t_mcp`. Layers of a hexanode:
`u = x`, `v = (x - sqrt3 y) / 2`, `w = (x + sqrt3 y) / 2`, so that `u - v - w = 0`; of a quad:
`u = x`, `v = y`. Swap the channels of two ends where the cabling turns a layer round.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field, model_validator

from molexa_core.base.settings.schema import NotNegative, Positive, Schema

LAYERS: Final = ("u", "v", "w")
SIGNALS: Final = ("u1", "u2", "v1", "v2", "w1", "w2", "mcp")
"""The signals of a hit in the order used everywhere; a quad has no `w1` and `w2`."""
LARGEST_METHOD: Final = 17
"""Number of the method with the fewest signals; see `molexa_core.detector.methods`."""


def _ascending(
    points: tuple[tuple[float, float], ...],
) -> tuple[tuple[float, float], ...]:
    positions = [position for position, _ in points]
    if len(positions) == 1:
        msg = "a table needs two points or more, or none"
        raise ValueError(msg)
    if any(later <= earlier for earlier, later in pairwise(positions)):
        msg = "the positions of a table must ascend"
        raise ValueError(msg)
    return points


Table = Annotated[tuple[tuple[float, float], ...], AfterValidator(_ascending)]
"""Points (position, correction), straight between them and constant beyond; empty for none."""


class Channels(Schema):
    """TDC channel of each signal, counted from 0 as `molexa inspect` lists them.

    Attributes:
        u1, u2, v1, v2, w1, w2, mcp: signals of the detector; no `w1`, `w2` for a quad.
        trigger: signal of the light pulse; times of flight count from its first edge. Without it
            they count from the trigger of the acquisition.
    """

    u1: int = Field(ge=0, le=255)
    u2: int = Field(ge=0, le=255)
    v1: int = Field(ge=0, le=255)
    v2: int = Field(ge=0, le=255)
    w1: int | None = Field(default=None, ge=0, le=255)
    w2: int | None = Field(default=None, ge=0, le=255)
    mcp: int = Field(ge=0, le=255)
    trigger: int | None = Field(default=None, ge=0, le=255)

    @model_validator(mode="after")
    def _distinct(self) -> Channels:
        seen: dict[int, str] = {}
        for name in (*SIGNALS, "trigger"):
            channel = getattr(self, name)
            if channel is None:
                continue
            if channel in seen:
                msg = f"{name} and {seen[channel]} are both channel {channel}"
                raise ValueError(msg)
            seen[channel] = name
        return self


class Layer(Schema):
    """One layer of wires.

    Attributes:
        scale_mm_per_ns: see `Anode.scale_of`.
        run_time_ns: longest possible |t1 - t2|: the time a pulse takes along the whole layer.
        time_sum_ns: t1 + t2 - 2 t_mcp.
        time_sum_half_width_ns: largest accepted deviation from it, corrections applied.
        offset_mm: added to the position of the layer; for `w` the w-layer offset.
        time_sum_correction: points (position in mm, ns) added to `time_sum_ns`; the position is
            that from the difference of times alone, without offset and correction.
        position_correction: points (position in mm, correction in mm) added to the position; the
            first position is again that without offset and correction.
    """

    scale_mm_per_ns: Positive
    run_time_ns: Positive
    time_sum_ns: float
    time_sum_half_width_ns: Positive = 1.5
    offset_mm: float = 0.0
    time_sum_correction: Table = ()
    position_correction: Table = ()

    @model_validator(mode="after")
    def _one_to_one(self) -> Layer:
        points = [position + change for position, change in self.position_correction]
        if any(later <= earlier for earlier, later in pairwise(points)):
            msg = "position_correction folds the layer: corrected positions must ascend"
            raise ValueError(msg)
        return self


class Anode(Schema):
    """A delay-line anode behind a micro-channel plate.

    Attributes:
        kind: `quad` (two layers at right angles) or `hexanode` (three layers).
        scale_of: what a scale multiplies: `difference` for scale * (t1 - t2), `half_difference`
            for scale * (t1 - t2) / 2 (as in CoboldPC and resort64c).
        channels: where the signals are.
        u, v, w: the layers; no `w` for a quad.
        mcp_radius_mm: radius of the plate; hits outside are not accepted.
        dead_time_anode_ns, dead_time_mcp_ns: an edge can hide a later one of the same channel
            for so long.
        layer_consistency_mm: largest accepted distance of a layer's position from that of the hit.
        max_method: hits with a higher method number are not accepted.
    """

    kind: Literal["quad", "hexanode"]
    scale_of: Literal["difference", "half_difference"] = "difference"
    channels: Channels
    u: Layer
    v: Layer
    w: Layer | None = None
    mcp_radius_mm: Positive
    dead_time_anode_ns: NotNegative = 15.0
    dead_time_mcp_ns: NotNegative = 15.0
    layer_consistency_mm: Positive = 1.5
    max_method: int = Field(default=LARGEST_METHOD, ge=0, le=LARGEST_METHOD)

    @model_validator(mode="after")
    def _layers(self) -> Anode:
        third = [self.w, self.channels.w1, self.channels.w2]
        if self.kind == "hexanode" and None in third:
            msg = "a hexanode needs the layer `w` and the channels `w1` and `w2`"
            raise ValueError(msg)
        if self.kind == "quad" and third != [None] * 3:
            msg = "a quad has no layer `w` and no channels `w1` and `w2`; is it a hexanode?"
            raise ValueError(msg)
        return self

    @property
    def layers(self) -> tuple[Layer, ...]:
        """Its two or three layers in order."""
        return (self.u, self.v) if self.w is None else (self.u, self.v, self.w)

    @property
    def signal_channels(self) -> tuple[int, ...]:
        """(7) TDC channel of each of `SIGNALS`, -1 where there is none."""
        found = (getattr(self.channels, name) for name in SIGNALS)
        return tuple(-1 if channel is None else channel for channel in found)

    def mm_per_ns(self, layer: Layer) -> float:
        """Scale of the full difference t1 - t2, independent of `scale_of`."""
        return layer.scale_mm_per_ns * (0.5 if self.scale_of == "half_difference" else 1.0)


class DetectorFile(Schema):
    """`detector.yaml`: an anode as `molexa calibrate detector` found it.

    Attributes:
        anode: the settings.
        uncertainty: standard error of each number that was found, by name; of tables the largest.
        provenance: what it was made from.
    """

    anode: Anode
    uncertainty: dict[str, float] = Field(default_factory=dict)
    provenance: dict[str, Any] = Field(default_factory=dict)
