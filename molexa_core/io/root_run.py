"""Runs as ROOT trees: see `root_write` for the writer."""

from __future__ import annotations

from molexa_core.io.root_write import RunLayout, write_root_run

__all__ = ["RunLayout", "write_root_run"]
