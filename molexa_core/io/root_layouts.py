"""The column layouts of ROOT runs that molexa knows by themselves.

Sources: the tree that LMF2Root 3.34 (A. Czasch) writes, and the one of sp8-analysis; see
docs/conventions.md.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from molexa_core.base.settings.setup import Columns

LMF2ROOT: Final = Columns(
    layout="flat",
    tree="Data",
    x="r{i}x",
    y="r{i}y",
    time="r{i}tof",
    count="rhit",
    method="r{i}flag",
    first=1,
)
"""TNtupleD `Data` of LMF2Root: doubles, mm and ns, recoil slots counted from 1."""
JAGGED: Final = Columns(layout="jagged", tree="hits", x="x", y="y", time="t", method="method")
"""Tree `hits`: one variable-length column per quantity, mm and ns."""
SP8: Final = Columns(
    layout="flat",
    tree="resortedData",
    x="IonX{i}",
    y="IonY{i}",
    time="IonT{i}",
    count="IonNum",
    method="IonFlag{i}",
    first=0,
)
"""Tree `resortedData` of sp8-analysis: mm and ns; slots counted from 0 (from 1 in some files)."""
PRESETS: Final = {"lmf2root": LMF2ROOT, "jagged": JAGGED, "sp8": SP8}
"""Layouts by name, in the order in which they are tried."""

LMF2ROOT_HEAD: Final = (
    "reaction",
    "ehit",
    "rhit",
    "phit",
    "bunchmarker",
    "timestamp",
    "LMFStart",
    "LMFStop",
)
"""Leading columns of the LMF2Root tree, one value per shot."""
TAG_NAMES: Final = ("timestamp", "bunchmarker")
TAG_PREFIX: Final = "scanval"
METADATA_KEY: Final = "molexa"
"""Name of the string in the file that holds what molexa knows about the run, as JSON."""


def is_tag(name: str) -> bool:
    """Whether a column holds a per-shot value that travels with the coincidences."""
    return name in TAG_NAMES or name.startswith(TAG_PREFIX)


def preset_for(trees: Collection[str]) -> str | None:
    """The name of the preset whose tree is among these, or None."""
    return next((name for name, preset in PRESETS.items() if preset.tree in trees), None)


def numbered_from(columns: Columns, branches: Collection[str]) -> Columns:
    """The layout with `first` corrected to 0 or 1 where the file counts its slots otherwise."""
    if columns.layout == "jagged":
        return columns
    for first in (columns.first, 1, 0):
        if columns.x.format(i=first) in branches:
            return columns.model_copy(update={"first": first})
    return columns
