"""Magic numbers: the first bytes by which file formats are recognised."""

from __future__ import annotations

from typing import Final

HDF5: Final = b"\x89HDF\r\n\x1a\n"
ROOT: Final = b"root"
PARQUET: Final = b"PAR1"
PDF: Final = b"%PDF-"
PNG: Final = b"\x89PNG\r\n\x1a\n"
NPY: Final = b"\x93NUMPY"
ARROW_FILE: Final = b"ARROW1"
ARROW_STREAM: Final = b"\xff\xff\xff\xff"
FEATHER_1: Final = b"FEA1"
METADATA_LINE: Final = "# molexa "
"""Begins the line of a table of text that holds what molexa knows about the run, as JSON."""
GZIP: Final = b"\x1f\x8b"
ZIP: Final = b"PK\x03\x04"
PACKED: Final = {
    ZIP: "zip",
    GZIP: "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"(\xb5/\xfd": "zstd",
}
"""Files packed as a whole, and with what."""
ARCHIVE_2002: Final = 476758
ARCHIVE_2008: Final = 476759
ARCHIVE_MASK: Final = 0x1FFFFFFF
"""Bits of the first word of a list-mode file that tell its generation; the others are flags."""


def is_list_mode(head: bytes) -> bool:
    """Whether a file that begins so is a list-mode file of Cobold."""
    return int.from_bytes(head[:4], "little") & ARCHIVE_MASK in {ARCHIVE_2002, ARCHIVE_2008}
