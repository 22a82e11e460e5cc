"""The blocks of `setup.yaml` that say where hits or edges stand in runs of other makers."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from molexa_core.base.settings.schema import Positive, Schema

SLOT = "{i}"
"""Stands for the number of the slot in the names of a flat layout."""


class Columns(Schema):
    """Column names of a run that follows none of the presets.

    Attributes:
        layout: `flat` (one row per shot, one column per hit slot; names contain `{i}`, counted from
            `first`), `jagged` (one row per shot, one variable-length column per quantity) or
            `rows` (one row per hit, in the order of shots).
        tree: name of the tree (ROOT) or of the group that the names begin in (HDF5); not needed
            where a file has only one table.
        x, y, time: names of the columns.
        count: name of the column with the number of hits of a shot. Jagged layout: where a shot is
            a row that is filled up, and in HDF5 where the hits of all shots follow each other.
        shot: name of the column with the number of the shot (`rows`), or two names: that of the
            train and that of the pulse in it.
        method: name of the column with the resort method, if there is one.
        empty: the time of a place without a hit, such as -999. Places in which x, y and time are
            0 or not numbers are empty in any case.
        tags: names of columns with a value per shot that travels with the coincidences.
        first: number of the first slot.
        x_unit_mm, time_unit_ns: value of one unit of the columns. Where they are not given, the
            units that the file states count, else mm and ns.
        y_unit_mm: value of one unit of `y`, where it differs from that of `x`.
    """

    layout: Literal["flat", "jagged", "rows"]
    tree: str | None = None
    x: str
    y: str
    time: str
    count: str | None = None
    shot: str | tuple[str, str] | None = None
    method: str | None = None
    empty: float | None = None
    tags: tuple[str, ...] = ()
    first: int = 1
    x_unit_mm: Positive | None = None
    y_unit_mm: Positive | None = None
    time_unit_ns: Positive | None = None

    @model_validator(mode="after")
    def _names(self) -> Columns:
        if self.layout == "flat":
            for name in (self.x, self.y, self.time, self.method or SLOT):
                if SLOT not in name:
                    msg = f"{name!r}: flat column names need {{i}} where the slot number stands"
                    raise ValueError(msg)
        if self.layout == "rows" and self.shot is None:
            msg = "the layout `rows` needs `shot`, the column with the number of the shot"
            raise ValueError(msg)
        return self

    @property
    def shots(self) -> tuple[str, ...]:
        """The columns that tell the shot: none, one, or two."""
        return shot_names(self.shot)

    def slot(self, name: str, number: int) -> str:
        """The name of a column in the slot of this number, counted from 0."""
        return name.replace(SLOT, str(self.first + number))


class EdgeColumns(Schema):
    """Column names of a ROOT tree with the edges of a delay-line anode.

    Without `shot`, a row is a shot and both columns are lists of the same length; with it, a row is
    an edge, in the order of shots.

    Attributes:
        tree: name of the tree; not needed where a file has only one.
        channel: name of the column with the input of each edge, counted from 0.
        time: name of the column with its time, relative to the trigger of its shot.
        shot: name of the column with the number of the shot, or two names: train and pulse.
        tags: names of columns with a value per shot that travels with the coincidences.
        time_unit_ns: value of one unit of `time`; as the file states it, else ns, where not given.
    """

    tree: str | None = None
    channel: str
    time: str
    shot: str | tuple[str, str] | None = None
    tags: tuple[str, ...] = ()
    time_unit_ns: Positive | None = None


def shot_names(shot: str | tuple[str, str] | None) -> tuple[str, ...]:
    """The columns that tell the shot: none, one, or two."""
    if shot is None:
        return ()
    return (shot,) if isinstance(shot, str) else shot


class SourceKeys(Schema):
    """Keys of a source of European XFEL that hold hits, in arrays filled up to one length.

    All have the shape (rows, slots). Slots in which x, y and time are 0 or not numbers hold no hit.

    Attributes:
        x, y, time: keys below the source, such as `data/dldPosX`.
        pulse: key with the number of the pulse of each hit; a row is then a train, and a shot a
            pulse of it. Without it, a row is a shot.
        method: key with the resort method, if there is one.
    """

    x: str
    y: str
    time: str
    pulse: str | None = None
    method: str | None = None

    @property
    def named(self) -> dict[str, str]:
        """The keys by what they hold, with slashes."""
        held = {name: getattr(self, name) for name in ("x", "y", "time", "pulse", "method")}
        return {name: key.replace(".", "/") for name, key in held.items() if key is not None}


class Facility(Schema):
    """What to take from the files of European XFEL and FLASH.

    Attributes:
        source: name, or a part of it that only one has, of the delay-line detector: `TOP`,
            `SQS_REMI_DLD6/DET/TOP:output`, `DLD1`. Needed where a run has several.
        data: `hits` that the facility reconstructed, or `edges` to sort here; hits if there are
            any, where not given.
        pulses: `fel` leaves out pulses in which the laser did not fire; `all` keeps them.
        trains: `good` leaves out trains of European XFEL whose number is not that of the time
            server (`INDEX/flag`); `all` keeps them.
        keys: where the hits stand in a source of European XFEL that has no `rec/hits`, such as a
            detector with a time-to-digital converter of its own; not needed otherwise.
        pulse_energy: source and key of the energy per pulse, as `SOURCE/KEY`; the one X-ray gas
            monitor of the run where not given, `none` for none.
        delay: source and key of the pump-probe delay per train or per pulse, as `SOURCE/KEY`.
        delay_unit_fs, delay_zero: one unit of the delay in fs, and its value at zero delay.
        x_unit_mm, time_unit_ns: value of one unit of the detector (FLASH and `keys`: steps).
    """

    source: str | None = None
    data: Literal["hits", "edges"] | None = None
    pulses: Literal["fel", "all"] = "fel"
    trains: Literal["good", "all"] = "good"
    keys: SourceKeys | None = None
    pulse_energy: str | None = None
    delay: str | None = None
    delay_unit_fs: float = Field(default=1.0)
    delay_zero: float = 0.0
    x_unit_mm: Positive = 1.0
    time_unit_ns: Positive = 1.0

    @model_validator(mode="after")
    def _keys(self) -> Facility:
        if self.keys is not None and self.data == "edges":
            msg = "`keys` name hits, and `data` asks for edges"
            raise ValueError(msg)
        return self
