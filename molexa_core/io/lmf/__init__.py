"""List-mode files of CoboldPC (`.lmf`): TDC8HP events, decoded or as grouped words."""

from __future__ import annotations

from molexa_core.io.lmf.event_table import LmfEvents
from molexa_core.io.lmf.header import LmfHeader, TdcCard
from molexa_core.io.lmf.reader import Fault, LmfFile
from molexa_core.io.lmf.writer import LmfWriter

__all__ = ["Fault", "LmfEvents", "LmfFile", "LmfHeader", "LmfWriter", "TdcCard"]
