"""The blocks of `setup.yaml` that name the columns of hits or edges in other programs' files."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field, model_validator

from molexa_core.base.settings.schema import Positive, Schema

SLOT = "{i}"
"""Stands for the number of the slot in the names of a flat layout."""


_TYPE: Final = re.compile(r"u?int(8|16|32|64)|float(32|64)|[iu][1248]|f[48]|skip[1-9]\d{0,5}")


def _field_type(text: str) -> str:
    if _TYPE.fullmatch(text) is None:
        msg = (
            "must be a type of number: int8 to int64, uint8 to uint64, float32 or float64, "
            "or skip4 for 4 bytes to leave out"
        )
        raise ValueError(msg)
    return text


FieldType = Annotated[str, AfterValidator(_field_type)]
"""`int32`, `uint16`, `float64`, ... or their short forms `i4`, `u2`, `f8`; `skip4` for 4 bytes."""


class Record(Schema):
    """Raw records without a header.

    Attributes:
        fields: names and types of what a hit (or a record) consists of, in order; `skip4` leaves
            out 4 bytes.
        count: type of the number of hits that each shot begins with; not given where records have
            one size and need none.
        head: names and types of what each shot begins with, if it is more than `count`; one of
            them is called `count`.
        byte_order: of all numbers.
        skip_bytes: bytes before the first record.
    """

    fields: dict[str, FieldType] = Field(min_length=1)
    count: FieldType | None = None
    head: dict[str, FieldType] = Field(default_factory=dict)
    byte_order: Literal["little", "big"] = "little"
    skip_bytes: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _counted(self) -> Record:
        if self.count is not None and self.head:
            msg = "give `count`, or `head` with a field called count, not both"
            raise ValueError(msg)
        if self.heads and not self.heads.get("count", "f4").startswith(("i", "u")):
            msg = "`head` needs a field called count, a whole number"
            raise ValueError(msg)
        if set(self.heads) & set(self.fields):
            msg = "`head` and `fields` have names in common"
            raise ValueError(msg)
        if all(kind.startswith("skip") for kind in self.fields.values()):
            msg = "`fields` leaves out everything"
            raise ValueError(msg)
        return self

    @property
    def heads(self) -> dict[str, str]:
        """What each shot begins with; empty where records have one size."""
        return dict(self.head) if self.count is None else {"count": self.count}


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
            a padded row, and in HDF5 where the hits of all shots are stored end to end.
        shot: name of the column with the number of the shot (`rows`), or two names: that of the
            train and that of the pulse in it.
        method: name of the column with the resort method, if there is one.
        empty: the time of a place without a hit, such as -999. Places in which x, y and time are
            0 or not numbers are empty in any case.
        tags: names of columns with a value per shot that travels with the coincidences.
        first: number of the first slot.
        record: raw records in a file without a header. Where a layout, x, y, time and shot are not
            given, they are found from the names of its fields.
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
    record: Record | None = None
    x_unit_mm: Positive | None = None
    y_unit_mm: Positive | None = None
    time_unit_ns: Positive | None = None

    @model_validator(mode="before")
    @classmethod
    def _of_record(cls, values: Any) -> Any:
        """Layout, x, y, time and shot from the names of the fields of a record."""
        record = values.get("record") if isinstance(values, dict) else None
        fields = record.get("fields") if isinstance(record, dict) else None
        if not isinstance(record, dict) or not isinstance(fields, dict):
            return values
        in_shots = bool(record.get("count") or record.get("head"))
        told: dict[str, Any] = {"layout": "jagged" if in_shots else "rows"}
        wanted = {"x": ("x",), "y": ("y",), "time": ("tof", "t", "time")}
        if not in_shots:
            wanted["shot"] = ("shot", "trigger", "event")
        for quantity, words in wanted.items():
            named = [name for word in words for name in fields if _first_word(name) == word]
            if named:
                told[quantity] = named[0]
        return told | values

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
        """The columns that number the shots: none, one, or two."""
        return shot_names(self.shot)

    def slot(self, name: str, number: int) -> str:
        """The name of a column in the slot of this number, counted from 0."""
        return name.replace(SLOT, str(self.first + number))


class EdgeColumns(Schema):
    """Column names of a table with the edges of a delay-line anode.

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

    @property
    def shots(self) -> tuple[str, ...]:
        """The columns that number the shots: none, one, or two."""
        return shot_names(self.shot)


def _first_word(name: object) -> str:
    return re.split(r"[\W_]", str(name).lower(), maxsplit=1)[0]


def shot_names(shot: str | tuple[str, str] | None) -> tuple[str, ...]:
    """The columns that number the shots: none, one, or two."""
    if shot is None:
        return ()
    return (shot,) if isinstance(shot, str) else shot


class SourceKeys(Schema):
    """Keys of a source of European XFEL that hold hits, in arrays padded to one length.

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
        keys: keys of the hits in a source of European XFEL that has no `rec/hits`, such as a
            detector with its own time-to-digital converter; not needed otherwise.
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
