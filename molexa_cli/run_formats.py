"""Formats of runs, as options name them."""

from __future__ import annotations

from typing import Literal

RunFormat = Literal[
    "root", "root-jagged", "hdf5", "parquet", "csv", "xfel", "lmf", "lmf-raw", "edges", "root-edges"
]
