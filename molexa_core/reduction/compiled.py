"""How the inner loops of this room are compiled: as everywhere, see `base/compiled.py`."""

from __future__ import annotations

from molexa_core.base.compiled import compiled

__all__ = ["compiled"]
