"""Electron detectors in the files of a run: they are recognised, said, and not analysed."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from molexa_core.base.errors import listing

_NAMES: Final = re.compile(
    r"""
    e\d+_?(x|y|t|tof|mcp|time)(_mm|_ns)?      # LMF2Root, py_coltrims: e1x, e1tof
    | (.*[./])?elec(tron)?s?_?(x|y|t|tof|time)_?\d*(_mm|_ns)?   # sp8: ElecX0, electron_x
    | (.*[./])?f?i?electron_?hits?([./].*)?   # Go4: fElectronHits.fX
    | .*DET/BOTTOM.*                          # European XFEL: SQS_REMI_DLD6/DET/BOTTOM:output
    | .*\b(elec|electrons?)\b.*
    """,
    re.VERBOSE | re.IGNORECASE,
)


def electron_names(names: Iterable[str]) -> list[str]:
    """Those of the columns, branches or sources that hold hits of an electron detector."""
    return [name for name in names if _NAMES.fullmatch(name)]


def electron_remark(names: Iterable[str]) -> str | None:
    """A sentence if there is an electron detector among the names that are not read, else None.

    Example:
        >>> electron_remark(["r1x", "e1x", "e1y", "e1tof"])
        'electrons are not analysed: the file holds an electron detector (e1x, e1y, e1tof), which is left out'
    """  # noqa: E501
    found = electron_names(names)
    if not found:
        return None
    return (
        f"electrons are not analysed: the file holds an electron detector "
        f"({listing(found, limit=3)}), which is left out"
    )
