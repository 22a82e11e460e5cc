"""`setup.yaml`: spectrometer, detector, calibration, jet, and the columns of the run.

Laboratory axes: z along the extraction field towards the ion detector, x along the light beam,
y along the jet.
"""

from __future__ import annotations

from pydantic import Field, model_validator

from molexa_core.base.settings.anode import Anode
from molexa_core.base.settings.columns import Columns, EdgeColumns, Facility
from molexa_core.base.settings.explosion_block import Explosion
from molexa_core.base.settings.schema import Fraction, NotNegative, Positive, Schema
from molexa_core.base.settings.virtual import VirtualExperiment


class Region(Schema):
    """A stretch of the spectrometer with a homogeneous field along z.

    Attributes:
        length_mm: length along z; the first region starts at the interaction point.
        field_v_per_cm: field, positive towards the ion detector; 0 for a drift tube.
    """

    length_mm: Positive
    field_v_per_cm: NotNegative


class Spectrometer(Schema):
    """Field regions from the interaction point to the ion detector.

    Attributes:
        regions: in the order an ion passes them; the first must extract (field above 0).
    """

    regions: tuple[Region, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _extracts(self) -> Spectrometer:
        if self.regions[0].field_v_per_cm <= 0:
            msg = "the first region needs a field above 0 V/cm: ions flying away must turn round"
            raise ValueError(msg)
        return self


class Detector(Schema):
    """The ion detector.

    Attributes:
        radius_mm: radius of the active area; hits outside are dropped.
        dead_time_ns, dead_radius_mm: a hit is lost if an earlier one of the same shot lies within
            both (virtual experiment).
        time_resolution_ns, position_resolution_mm: one standard deviation (virtual experiment).
        slots: most hits stored per shot.
        max_method: hits with a higher resort method (fewer signals) are dropped; without a limit
            the methods are not read.
    """

    radius_mm: Positive = 60.0
    dead_time_ns: NotNegative = 15.0
    dead_radius_mm: NotNegative = 12.0
    time_resolution_ns: NotNegative = 0.3
    position_resolution_mm: NotNegative = 0.15
    slots: int = Field(default=16, ge=1, le=512)
    max_method: int | None = Field(default=None, ge=0)


class Calibration(Schema):
    """From recorded to laboratory coordinates: subtract the centre, rotate, scale.

    Attributes:
        time_zero_ns: time of the light pulse on the time-of-flight axis.
        centre_x_mm, centre_y_mm: detector position of an ion at rest without jet.
        rotation_deg: the image is rotated by this angle, counter-clockwise.
        scale_x, scale_y: factors on the rotated image.
    """

    time_zero_ns: float = 0.0
    centre_x_mm: float = 0.0
    centre_y_mm: float = 0.0
    rotation_deg: float = 0.0
    scale_x: float = Field(default=1.0)
    scale_y: float = Field(default=1.0)

    @model_validator(mode="after")
    def _scales(self) -> Calibration:
        if self.scale_x == 0 or self.scale_y == 0:
            msg = "scale_x and scale_y must not be 0"
            raise ValueError(msg)
        return self


class Jet(Schema):
    """The supersonic jet, along y.

    Attributes:
        velocity_m_per_s: mean velocity along y.
        spread_m_per_s: standard deviation along y (virtual experiment).
        transverse_spread_m_per_s: standard deviation along x and z (virtual experiment).
    """

    velocity_m_per_s: float = 1000.0
    spread_m_per_s: NotNegative = 40.0
    transverse_spread_m_per_s: NotNegative = 6.0


class Setup(Schema):
    """The apparatus: spectrometer, detector, calibration and jet.

    Attributes:
        anode: the delay-line anode, for runs that hold wire-end signals instead of hits. In a
            file it may be the name of a `detector.yaml`, beside the setup.
        columns: column map, only for runs that no preset reads.
        edge_columns: the same for trees of edges.
        facility: what to take from the files of European XFEL and FLASH.
        virtual: imperfections of the virtual experiment; ignored for real runs.
        explosion: what is known about the explosion, for reconstructions. In a file it may be the
            name of a file with such a block, beside the setup, or `unknown`.
    """

    name: str = "setup"
    spectrometer: Spectrometer
    detector: Detector = Detector()
    calibration: Calibration = Calibration()
    jet: Jet = Jet()
    anode: Anode | None = None
    columns: Columns | None = None
    edge_columns: EdgeColumns | None = None
    facility: Facility = Facility()
    virtual: VirtualExperiment = VirtualExperiment()
    explosion: Explosion | None = None
    detection_efficiency: Fraction = 0.6
