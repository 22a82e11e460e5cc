"""`setup.yaml`: spectrometer, detector, calibration, jet, and the columns of the run.

Laboratory axes: z along the extraction field towards the ion detector, x along the light beam,
y along the jet.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field, ValidationInfo, field_validator, model_validator

from molexa_core.base.errors import SettingsError
from molexa_core.base.matter.flight_map import FlightPieces, flight_pieces
from molexa_core.base.matter.ions import parse_ion
from molexa_core.base.settings.anode import Anode
from molexa_core.base.settings.columns import Columns, EdgeColumns, Facility
from molexa_core.base.settings.explosion_block import Explosion
from molexa_core.base.settings.schema import (
    Fraction,
    IonName,
    NotNegative,
    Positive,
    Schema,
)
from molexa_core.base.settings.virtual import VirtualExperiment
from molexa_core.base.tables import FloatArray


class Region(Schema):
    """A stretch of the spectrometer with a homogeneous field along z.

    Attributes:
        length_mm: length along z; the first region starts at the interaction point.
        field_v_per_cm: field, positive towards the ion detector; 0 for a drift tube.
    """

    length_mm: Positive
    field_v_per_cm: NotNegative


class FlightMap(Schema):
    """Time of flight against pz and scale of the image, for a spectrometer with lenses.

    For one ion; other ions follow, because a purely electric spectrometer knows only the energy
    over the charge (`base.matter.flight_map`). Either a table, through which cubic splines run, or
    polynomials sum of c_k pz^k.

    Attributes:
        ion: the ion that the map is of.
        pz_au: momenta along z of the table, ascending, positive towards the detector; with
            polynomials the smallest and the largest for which they hold.
        time_ns: (table) time of flight at each of them.
        time_polynomial_ns: coefficients of pz^0, pz^1 ..., instead of `time_ns`.
        position_scale: (table) place of landing over transverse velocity times time of flight, at
            each momentum, or one value for all.
        scale_polynomial: coefficients, instead of `position_scale`.
        time_per_mm_ns: how much later the ion arrives per mm that it starts behind the interaction
            point, seen from the detector; 0 where the spectrometer focuses the start in time.
    """

    ion: IonName
    pz_au: tuple[float, ...]
    time_ns: tuple[Positive, ...] | None = None
    time_polynomial_ns: tuple[float, ...] | None = Field(default=None, min_length=2)
    position_scale: tuple[Positive, ...] = (1.0,)
    scale_polynomial: tuple[float, ...] | None = Field(default=None, min_length=1)
    time_per_mm_ns: float = 0.0

    @property
    def pieces(self) -> FlightPieces:
        """The map as polynomials between break points."""
        ion = parse_ion(self.ion)
        polynomial = self.time_polynomial_ns is not None
        scale = self.position_scale if self.scale_polynomial is None else self.scale_polynomial
        return flight_pieces(
            float(ion.charge),
            ion.mass,
            self.pz_au,
            self.time_polynomial_ns or self.time_ns or (),
            scale,
            polynomial=polynomial,
            time_per_mm=self.time_per_mm_ns,
        )

    @model_validator(mode="after")
    def _one_form(self) -> FlightMap:
        if (self.time_ns is None) == (self.time_polynomial_ns is None):
            msg = "give either time_ns or time_polynomial_ns"
            raise ValueError(msg)
        if self.time_ns is not None and self.scale_polynomial is not None:
            msg = "scale_polynomial goes with time_polynomial_ns; a table takes position_scale"
            raise ValueError(msg)
        if self.time_ns is None and len(self.position_scale) > 1:
            msg = "position_scale: with time_polynomial_ns one number, or scale_polynomial"
            raise ValueError(msg)
        try:
            _ = self.pieces
        except SettingsError as error:
            raise ValueError(error.what) from error
        return self


class Spectrometer(Schema):
    """The way from the interaction point to the ion detector: field regions or a flight map.

    Attributes:
        magnetic_field_gauss: homogeneous magnetic field along z, positive towards the ion
            detector. An observer at the ion detector who looks back to the source, with x to the
            right and y up, sees a positive field turn positive ions clockwise.
        flight_map: instead of regions, for spectrometers with lenses.
        regions: in the order an ion passes them; the first must extract (field above 0).
    """

    magnetic_field_gauss: Annotated[float, Field(ge=-1e5, le=1e5)] = 0.0
    flight_map: FlightMap | None = None
    regions: tuple[Region, ...] = Field(default=(), validate_default=True)

    @property
    def pieces(self) -> FlightPieces | None:
        """The flight map as polynomials between break points, where there is one."""
        return None if self.flight_map is None else self.flight_map.pieces

    @field_validator("regions")
    @classmethod
    def _extracts(cls, regions: tuple[Region, ...], info: ValidationInfo) -> tuple[Region, ...]:
        if info.data.get("flight_map") is not None:
            if regions:
                msg = "give either regions or flight_map"
                raise ValueError(msg)
            if info.data.get("magnetic_field_gauss"):
                msg = (
                    "a flight_map cannot go with magnetic_field_gauss, since lenses and magnetic "
                    "field do not act one after the other; give regions"
                )
                raise ValueError(msg)
        elif "flight_map" in info.data and not regions:
            msg = "missing; give at least one region, or a flight_map"
            raise ValueError(msg)
        elif regions and regions[0].field_v_per_cm <= 0:
            msg = "the first region needs a field above 0 V/cm: ions flying away must turn round"
            raise ValueError(msg)
        return regions


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
        scale_x, scale_y: factors on the rotated image; a negative one mirrors it.
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

    def to_laboratory(
        self, x_mm: FloatArray, y_mm: FloatArray, t_ns: FloatArray
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Recorded positions and times in laboratory coordinates."""
        x, y = x_mm - self.centre_x_mm, y_mm - self.centre_y_mm
        if self.rotation_deg:
            angle = np.deg2rad(self.rotation_deg)
            x, y = np.cos(angle) * x - np.sin(angle) * y, np.sin(angle) * x + np.cos(angle) * y
        return x * self.scale_x, y * self.scale_y, t_ns - self.time_zero_ns

    def as_recorded(
        self, x_mm: FloatArray, y_mm: FloatArray, t_ns: FloatArray
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Laboratory coordinates as they are recorded: the inverse of `to_laboratory`."""
        x, y = x_mm / self.scale_x, y_mm / self.scale_y
        angle = np.deg2rad(self.rotation_deg)
        cosine, sine = np.cos(angle), np.sin(angle)
        return (
            cosine * x + sine * y + self.centre_x_mm,
            -sine * x + cosine * y + self.centre_y_mm,
            t_ns + self.time_zero_ns,
        )


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


class Calibrated(Schema):
    """How well a setup is known, as `molexa calibrate spectrometer` wrote it.

    Attributes:
        uncertainty: standard error of each quantity found, in the unit of its key; of fields and
            lengths that of the first region.
        not_determined: sentences on what the data do not tell.
    """

    uncertainty: dict[str, NotNegative] = Field(default_factory=dict)
    not_determined: tuple[str, ...] = ()


class Setup(Schema):
    """The apparatus: spectrometer, detector, calibration and jet.

    Attributes:
        name: of the apparatus, for people.
        spectrometer: the fields that the ions pass.
        detector: size and limits of the ion detector.
        calibration: from recorded to laboratory coordinates.
        jet: velocity of the molecules.
        detection_efficiency: probability that an ion is detected (virtual experiment).
        anode: the delay-line anode, for runs that hold wire-end signals instead of hits. In a
            file it may be the name of a `detector.yaml`, beside the setup.
        columns: column map, only for runs that no preset reads.
        edge_columns: the same for trees of edges.
        facility: what to take from the files of European XFEL and FLASH.
        virtual: imperfections of the virtual experiment; ignored for real runs.
        calibrated: how well spectrometer, calibration and jet are known.
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
    calibrated: Calibrated | None = None
    explosion: Explosion | None = None
    detection_efficiency: Fraction = 0.6
