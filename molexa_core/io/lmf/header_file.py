"""Reading and writing of the LMF header (general and user header), field by field.

One list of the fields of the user header serves both directions. Layout: docs/formats-lmf.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple
from typing import Any, Final

from molexa_core.base.errors import InputFileError, UsageError, listing
from molexa_core.io.lmf.cursor import Cursor, Packer
from molexa_core.io.lmf.header import (
    DAQ_NAMES,
    DNL_BYTES,
    HAS_ANALYSIS_SOURCE,
    HAS_DAQ_SOURCE,
    HAS_HISTORY,
    INL_BYTES,
    TDC8HP,
    TDC8HPRAW,
    VARIABLE_LENGTH,
    VERSIONS,
    LmfHeader,
    TdcCard,
)
from molexa_core.io.marks import ARCHIVE_2002, ARCHIVE_2008, ARCHIVE_MASK

_LONG_TIME: Final = 0x8000000A
"""First word of a time in the long form of MFC."""
EVENTS_OFFSET: Final = 32
"""Byte of the number of events."""
FIELDS: Final = (
    ("frequency", "d"),
    ("io_address", "i"),
    ("stamp_format", "i"),
    ("daq_info", "text"),
    ("lmf_version", "i"),
    ("daq_sources", "blocks"),
    ("time_reference", "i"),
    ("resolution_ns", "d"),
    ("tdc_data_type", "i"),
    ("n_channels", "Q"),
    ("max_hits", "Q"),
    ("tdc_data_format", "i"),
    ("no_config_file", "?"),
    ("rising_mask", "Q"),
    ("falling_mask", "Q"),
    ("trigger_edge", "i"),
    ("trigger_channel", "i"),
    ("output_level", "?"),
    ("grouping", "?"),
    ("allow_overlap", "?"),
    ("dead_time_ns", "d"),
    ("range_start_ns", "d"),
    ("range_end_ns", "d"),
    ("external_clock", "?"),
    ("output_rollovers", "?"),
    ("delay_taps", "taps"),
    ("use_inl", "?"),
    ("use_dnl", "?"),
    ("config_text", "text"),
    ("inl_text", "text"),
    ("dnl_text", "text"),
    ("sync_channel", "i"),
    ("vhr", "?"),
    ("group_timeout_s", "d"),
    ("sse", "?"),
    ("mmx", "?"),
    ("dma", "?"),
    ("cards", "cards"),
    ("switches", "list?"),
    ("integers", "listi"),
    ("doubles", "listd"),
)
"""Name and kind of the fields behind `DAQ_ID`, LMF_Version 8 to 12, in the order of the file."""


def read_header(cursor: Cursor) -> tuple[LmfHeader, int, list[str]]:
    """Both headers.

    Returns:
        The header, the byte at which the events begin, and faults that are not fatal.

    Raises:
        InputFileError: not a list-mode file, of a kind that is not supported, cut off or damaged.
    """
    values: dict[str, Any] = {}
    flag = _read_archive_flag(cursor)
    values["flags"] = flag & ~ARCHIVE_MASK
    values["data_format"] = cursor.number("i", "the data format")
    values["n_coordinates"] = cursor.number("Q", "the number of coordinates")
    header_size = int(cursor.number("Q", "the size of the header"))
    user_size = int(cursor.number("Q", "the size of the user header"))
    values["n_events"] = cursor.number("Q", "the number of events")
    _read_times(cursor, values)
    values["producer"] = cursor.string("the version")
    values["path"] = cursor.string("the path")
    values["comment"] = cursor.string("the comment")
    if flag & HAS_HISTORY:
        values["history"] = cursor.blocks("the history")
    if flag & HAS_ANALYSIS_SOURCE:
        values["analysis_sources"] = cursor.blocks("the analysis sources")
    notes = _find_user_header(cursor, header_size, flag)
    begin = cursor.position
    try:
        _read_user_header(cursor, values)
        header = LmfHeader(**values)
        wrong = header.faults()
        if wrong:
            raise cursor.fault(f"the user header says {listing(wrong)}")
    except InputFileError as error:
        version = values.get("lmf_version", 0)
        if version < VERSIONS.stop:
            raise
        raise InputFileError(
            f"LMF version {version} is newer than known ({VERSIONS.stop - 1}), and its header is "
            f"another one: {error.what}",
            where=cursor.path,
            do="Let the acquisition write an older version.",
        ) from error
    used = cursor.position - begin
    start = begin + user_size
    if user_size < used or start > cursor.size:
        notes.append(
            f"byte {begin}: the user header takes {used} bytes, but {user_size} are stated"
        )
        start = cursor.position
    elif user_size > used:
        notes.append(f"byte {cursor.position}: {user_size - used} unknown bytes in the user header")
    return header, start, notes


def _read_archive_flag(cursor: Cursor) -> int:
    if cursor.size == 0:
        raise InputFileError("the file is empty", where=cursor.path, do="Copy the file again.")
    flag = int(cursor.number("I", "the first word")) if cursor.size >= 4 else 0
    generation = flag & ARCHIVE_MASK
    if generation == ARCHIVE_2002:
        raise InputFileError(
            "this is a list-mode file of Cobold 2002, which is not supported",
            where=cursor.path,
            do="Files of Cobold 2008 and 2011 are read.",
        )
    if generation != ARCHIVE_2008:
        raise InputFileError(
            f"this is not a Cobold list-mode file (first word {flag}, expected {ARCHIVE_2008})",
            where=cursor.path,
            do="`molexa inspect` says what it is.",
        )
    return flag


def _read_times(cursor: Cursor, values: dict[str, Any]) -> None:
    """Start and stop: two words, or two times marker, seconds and high word."""
    first = int(cursor.number("I", "the start time"))
    values["long_times"] = first == _LONG_TIME
    if first != _LONG_TIME:
        values["start"] = first
        values["stop"] = cursor.number("I", "the stop time")
        return
    values["start"] = cursor.number("Q", "the start time")
    if cursor.number("I", "the stop time") != _LONG_TIME:
        raise cursor.fault("the stop time has another form than the start time")
    values["stop"] = cursor.number("Q", "the stop time")


def _find_user_header(cursor: Cursor, header_size: int, flag: int) -> list[str]:
    """Put the cursor on the user header: where it is stated, or else where the header ended."""
    end = cursor.position
    if header_size == end:
        return []
    for place in (header_size, end):
        if place + 4 <= cursor.size:
            cursor.seek(place)
            if cursor.number("I", "the user header") & ARCHIVE_MASK == flag & ARCHIVE_MASK:
                cursor.seek(place)
                return [f"byte {end}: the header ends here, but {header_size} bytes are stated"]
    cursor.seek(end)
    raise cursor.fault(f"the header ends here, but its size is stated as {header_size} bytes")


def _read_user_header(cursor: Cursor, values: dict[str, Any]) -> None:
    repeated = int(cursor.number("I", "the user header"))
    if repeated & ARCHIVE_MASK != ARCHIVE_2008:
        raise cursor.fault(f"the user header begins with {repeated}")
    cursor.number("Q", "the size of the user header")
    values["daq_version"] = cursor.number("I", "the DAQ version")
    values["daq_id"] = daq = int(cursor.number("I", "the DAQ number"))
    if daq not in {TDC8HP, TDC8HPRAW}:
        name = DAQ_NAMES.get(daq, "unknown")
        raise InputFileError(
            f"the file comes from the data acquisition {name} (DAQ_ID {daq}), not supported",
            where=cursor.path,
            do="TDC8HP and TDC8HPRAW are read.",
        )
    if values["data_format"] != VARIABLE_LENGTH:
        raise InputFileError(
            f"events of fixed length (data format {values['data_format']}) are not supported",
            where=cursor.path,
            do="Events of variable length (data format -1) are read.",
        )
    for name, kind in FIELDS:
        values[name] = _read_field(cursor, name, kind)
        if name == "lmf_version" and values[name] < VERSIONS.start:
            raise InputFileError(
                f"LMF version {values[name]} (Cobold before 2008) is not supported",
                where=cursor.path,
                do=f"Versions from {VERSIONS.start} on are read.",
            )


def _read_field(cursor: Cursor, name: str, kind: str) -> Any:
    what = name.replace("_", " ")
    if kind == "text":
        return cursor.text(what)
    if kind == "blocks":
        return cursor.blocks(what)
    if kind == "taps":
        return cursor.numbers("i", 4, what)
    if kind == "cards":
        return tuple(_read_card(cursor) for _ in range(cursor.count("the number of cards")))
    if kind.startswith("list"):
        return cursor.numbers(kind[-1], cursor.count(what), what)
    return cursor.number(kind, what)


def _read_card(cursor: Cursor) -> TdcCard:
    what = "a TDC card"
    values = (
        *cursor.numbers("i", 7, what),
        cursor.number("d", what),
        *cursor.numbers("i", 3, what),
        cursor.take(INL_BYTES, what),
        cursor.take(DNL_BYTES, what),
        cursor.number("?", what),
    )
    return TdcCard(**dict(zip(TdcCard.__dataclass_fields__, values, strict=True)))


def write_header(header: LmfHeader) -> bytes:
    """Both headers as bytes; the file goes on with its events.

    Raises:
        UsageError: a value cannot be stored, or a reader would refuse it.
    """
    _require_writable(header)
    flags = header.flags & ~ARCHIVE_MASK
    for items, bit in (
        (header.history, HAS_HISTORY),
        (header.analysis_sources, HAS_ANALYSIS_SOURCE),
        (header.daq_sources, HAS_DAQ_SOURCE),
    ):
        flags |= bit if items else 0
    user = Packer()
    for name, kind in FIELDS:
        _write_field(user, kind, getattr(header, name))
    user_size = 4 + 8 + 4 + 4 + user.position
    tail = Packer()
    _write_times(tail, header)
    for text in (header.producer, header.path, header.comment):
        tail.string(text)
    if flags & HAS_HISTORY:
        tail.blocks(header.history)
    if flags & HAS_ANALYSIS_SOURCE:
        tail.blocks(header.analysis_sources)
    both = Packer()
    both.number("I", ARCHIVE_2008 | flags)
    both.number("i", header.data_format)
    both.number("Q", header.n_coordinates, EVENTS_OFFSET + 8 + tail.position, user_size)
    both.number("Q", header.n_events)
    both.raw(tail.packed())
    both.number("I", ARCHIVE_2008 | flags)
    both.number("Q", user_size)
    both.number("I", header.daq_version, header.daq_id)
    both.raw(user.packed())
    return both.packed()


def _require_writable(header: LmfHeader) -> None:
    wrong = header.faults()
    if header.lmf_version not in VERSIONS:
        wrong.append(f"LMF version {header.lmf_version}")
    if header.daq_id not in {TDC8HP, TDC8HPRAW}:
        wrong.append(f"DAQ_ID {header.daq_id}")
    if header.data_format != VARIABLE_LENGTH:
        wrong.append(f"data format {header.data_format}")
    if len(header.delay_taps) != 4:
        wrong.append(f"{len(header.delay_taps)} delay taps")
    if any(len(c.inl) != INL_BYTES or len(c.dnl) != DNL_BYTES for c in header.cards):
        wrong.append("a card with tables of another length")
    if wrong:
        raise UsageError(f"an LMF header cannot have {listing(wrong)}")


def _write_times(packer: Packer, header: LmfHeader) -> None:
    for value in (header.start, header.stop):
        if header.long_times:
            packer.number("I", _LONG_TIME)
            packer.number("Q", value)
        else:
            packer.number("I", value)


def _write_field(packer: Packer, kind: str, value: Any) -> None:
    if kind == "text":
        packer.text(value)
    elif kind == "blocks":
        packer.blocks(value)
    elif kind == "taps":
        packer.number("i", *value)
    elif kind == "cards":
        packer.number("i", len(value))
        for card in value:
            _write_card(packer, card)
    elif kind.startswith("list"):
        packer.number("i", len(value))
        packer.number(kind[-1], *value)
    else:
        packer.number(kind, value)


def _write_card(packer: Packer, card: TdcCard) -> None:
    values = astuple(card)
    packer.number("i", *values[:7])
    packer.number("d", values[7])
    packer.number("i", *values[8:11])
    packer.raw(card.inl + card.dnl)
    packer.number("?", card.flash_valid)


def header_summary(header: LmfHeader) -> Mapping[str, Any]:
    """Every field as plain values, texts and tables by their length."""
    long = {"history", "analysis_sources", "daq_sources", "cards"}
    texts = {"config_text", "inl_text", "dnl_text"}
    values: dict[str, Any] = {}
    for name in header.__dataclass_fields__:
        value = getattr(header, name)
        if name in long or name in texts:
            value = len(value)
        values[name] = list(value) if isinstance(value, tuple) else value
    return values
