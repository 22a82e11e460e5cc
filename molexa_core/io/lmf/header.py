"""The LMF header: content of both headers of a Cobold list-mode file, and the event layout."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

HAS_DAQ_SOURCE: Final = 0x80000000
HAS_ANALYSIS_SOURCE: Final = 0x40000000
HAS_HISTORY: Final = 0x20000000
VARIABLE_LENGTH: Final = -1
"""`data_format` of events of variable length."""
TDC8HP: Final = 0x8
TDC8HPRAW: Final = 0x10
DAQ_NAMES: Final = {
    1: "HM1",
    2: "TDC8",
    3: "CAMAC",
    4: "2xHM1",
    5: "2xTDC8",
    6: "HM1_ABM",
    TDC8HP: "TDC8HP",
    9: "TCPIP",
    TDC8HPRAW: "TDC8HPRAW",
    0x11: "fADC8",
    0x12: "fADC4",
    100: "RAW32BIT",
    101: "SIMPLE",
}
"""Data acquisitions by their `DAQ_ID`."""
VERSIONS: Final = range(8, 13)
"""Values of `LMF_Version` that are known; newer ones are read if their events chain."""
MOST_CHANNELS: Final = 256
INL_BYTES: Final = 8192 * 4
DNL_BYTES: Final = 8192 * 2
FIRST_PARAMETER: Final = 901
"""Cobold's number of the first parameter that can change from event to event."""
PARAMETERS: Final = 32


@dataclass(frozen=True)
class TdcCard:
    """One TDC card.

    Attributes:
        index, channels, first_channel, high_channels, first_high, low_channels, first_low:
            where its inputs stand among all.
        resolution_ns: width of a bin.
        serial, version, fifo: as reported by the driver.
        inl, dnl: tables of non-linearity as stored, 8192 int32 and 8192 uint16.
        flash_valid: whether the tables came from the card.
    """

    index: int = 0
    channels: int = 8
    first_channel: int = 0
    high_channels: int = 8
    first_high: int = 0
    low_channels: int = 1
    first_low: int = 8
    resolution_ns: float = 0.025
    serial: int = 0
    version: int = 0
    fifo: int = 0
    inl: bytes = bytes(INL_BYTES)
    dnl: bytes = bytes(DNL_BYTES)
    flash_valid: bool = False


@dataclass(frozen=True)
class LmfHeader:
    """General and user header; the defaults are those of a file of one card without extras.

    Attributes:
        flags: the three flags in the first word; the writer adds those that are needed.
        data_format: -1 for events of variable length, the only kind read here.
        n_coordinates: informative, as the acquisition wrote it.
        n_events: as stated; 0 or wrong where the acquisition was interrupted.
        start, stop: unix time.
        long_times: whether the times are stored in the form with marker.
        producer: version of Cobold.
        path, comment: as typed there.
        history: commands; analysis_sources: source files of the analysis, where flagged.
        daq_version: 20080507 for Cobold 2008, 20110208 for Cobold 2011.
        daq_id: `TDC8HP` or `TDC8HPRAW`.
        frequency: ticks of the time stamp per second.
        stamp_format: words of the time stamp: 0, 1 or 2.
        lmf_version: 8 to 12, or newer; says what should follow the hits of an event.
        daq_sources: source files of the acquisition.
        resolution_ns: width of a bin.
        grouping: whether events are grouped words; this decides, not the configuration text.
        vhr: whether bins are 25 ps wide; otherwise stored times count quarters of a bin.
        config_text, inl_text, dnl_text: texts of the files that the acquisition read.
        switches, integers, doubles: the lists at the end of the user header, as stored.

    The other attributes are settings of the TDC card, in ns where they are times.
    """

    flags: int = 0
    data_format: int = VARIABLE_LENGTH
    n_coordinates: int = 0
    n_events: int = 0
    start: int = 0
    stop: int = 0
    long_times: bool = True
    producer: str = ""
    path: str = ""
    comment: str = ""
    history: tuple[bytes, ...] = ()
    analysis_sources: tuple[bytes, ...] = ()
    daq_version: int = 20110208
    daq_id: int = TDC8HP
    frequency: float = 4e10
    io_address: int = 0
    stamp_format: int = 2
    daq_info: str = ""
    lmf_version: int = 12
    daq_sources: tuple[bytes, ...] = ()
    time_reference: int = 0
    resolution_ns: float = 0.025
    tdc_data_type: int = 1
    n_channels: int = 8
    max_hits: int = 64
    tdc_data_format: int = VARIABLE_LENGTH
    no_config_file: bool = False
    rising_mask: int = 0
    falling_mask: int = 0xFF
    trigger_edge: int = 0
    trigger_channel: int = 8
    output_level: bool = False
    grouping: bool = False
    allow_overlap: bool = False
    dead_time_ns: float = 0.0
    range_start_ns: float = 0.0
    range_end_ns: float = 0.0
    external_clock: bool = False
    output_rollovers: bool = True
    delay_taps: tuple[int, ...] = (0, 0, 0, 0)
    use_inl: bool = False
    use_dnl: bool = False
    config_text: str = ""
    inl_text: str = ""
    dnl_text: str = ""
    sync_channel: int = 0
    vhr: bool = True
    group_timeout_s: float = 0.0
    sse: bool = False
    mmx: bool = False
    dma: bool = False
    cards: tuple[TdcCard, ...] = ()
    switches: tuple[bool, ...] = ()
    integers: tuple[int, ...] = (1, 0, 0, 0, 0)
    doubles: tuple[float, ...] = (0.0,)

    @property
    def raw(self) -> bool:
        """Whether events are grouped words of the card instead of decoded hits."""
        return self.grouping

    @property
    def has_level(self) -> bool:
        """Whether decoded events end with the levels of the inputs."""
        return not self.raw and self.daq_id == TDC8HP and self.lmf_version >= 9

    @property
    def has_scan(self) -> bool:
        """Whether events tell which parameters changed."""
        return self.lmf_version >= 11

    @property
    def has_post(self) -> bool:
        """Whether events carry bytes after their hits."""
        return self.lmf_version >= 10 and (self.raw or self.daq_id == TDC8HP)

    @property
    def generation(self) -> str:
        """The generation of Cobold that wrote the file."""
        return "Cobold 2011" if self.daq_version >= 20110208 else "Cobold 2008"

    def layout(self) -> NDArray[np.int64]:
        """The event layout for the compiled loops; see `kernels`."""
        values = (
            self.raw,
            self.n_channels,
            0 if self.raw else self.stamp_format,
            self.has_level,
            self.has_scan,
            self.has_post,
            self.vhr,
            0,
        )
        return np.array(values, dtype=np.int64)

    def faults(self) -> list[str]:
        """Values that cannot be; empty for a sound header."""
        found = []
        if self.stamp_format not in {0, 1, 2}:
            found.append(f"time stamp format {self.stamp_format}, allowed are 0, 1, 2")
        if not (math.isfinite(self.resolution_ns) and 1e-4 <= self.resolution_ns <= 100):
            found.append(f"resolution {self.resolution_ns:g} ns")
        if not 1 <= self.n_channels <= MOST_CHANNELS:
            found.append(f"{self.n_channels} channels, allowed are 1 to {MOST_CHANNELS}")
        if self.stamp_format and not (math.isfinite(self.frequency) and self.frequency > 0):
            found.append(f"{self.frequency:g} ticks of the time stamp per second")
        return found
