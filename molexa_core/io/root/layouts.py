"""Known column layouts of ROOT runs (presets).

Sources: the tree that LMF2Root 3.34 (A. Czasch) writes, the one of sp8-analysis, and the split
object branches of lma2root; see docs/formats.md.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Final

from molexa_core.base.fields import (
    TAG_BUNCH,
    TAG_DELAY,
    TAG_FEL,
    TAG_PULSE,
    TAG_PULSE_ENERGY,
    TAG_PUMP,
    TAG_SCAN,
    TAG_TIMESTAMP,
    TAG_TRAIN,
)
from molexa_core.base.settings.columns import Columns, EdgeColumns

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
EDGES: Final = EdgeColumns(tree="edges", channel="channel", time="t_ns")
"""Tree `edges`: lists of inputs, counted from 0, and of times in ns relative to the trigger."""
SACLA_TREE: Final = "SortedEvent"
"""Tree of lma2root (SACLA, FERMI): objects split into branches with a list per event."""
SACLA_HITS: Final = re.compile(r"(?P<hits>(?:.*fDetektors(?:\[\d+\])?\W)?.*[fF]Hits\.)fX_mm")
"""The branch with x of the hits of one detector; those of y, time and method have like names."""
PRESETS: Final = {"lmf2root": LMF2ROOT, "jagged": JAGGED, "sp8": SP8}
"""Layouts with fixed names, in the order in which they are tried."""

LMF2ROOT_HEAD: Final = (
    "reaction",
    "ehit",
    "rhit",
    "phit",
    TAG_BUNCH,
    TAG_TIMESTAMP,
    "LMFStart",
    "LMFStop",
)
"""Leading columns of the LMF2Root tree, one value per shot."""
TAG_NAMES: Final = (
    TAG_TIMESTAMP,
    TAG_BUNCH,
    TAG_TRAIN,
    TAG_PULSE,
    TAG_FEL,
    TAG_PUMP,
    TAG_PULSE_ENERGY,
    TAG_DELAY,
)
METADATA_KEY: Final = "molexa"
"""Name of the string in the file that holds what molexa knows about the run, as JSON."""


def is_tag(name: str) -> bool:
    """Whether a column holds a per-shot value that travels with the coincidences."""
    return name in TAG_NAMES or name.startswith(TAG_SCAN)


def preset_for(trees: Collection[str]) -> str | None:
    """The name of the preset whose tree is among these, or None."""
    return next((name for name, preset in PRESETS.items() if preset.tree in trees), None)


def numbered_from(columns: Columns, branches: Collection[str]) -> Columns:
    """The layout with `first` corrected to 0 or 1 where the file counts its slots otherwise."""
    if columns.layout != "flat":
        return columns
    for first in (columns.first, 1, 0):
        numbered = columns.model_copy(update={"first": first})
        if numbered.slot(columns.x, 0) in branches:
            return numbered
    return columns


def sacla_detectors(branches: Sequence[str]) -> list[Columns]:
    """The layouts of the detectors in a tree of lma2root, in the order of the file."""
    names = set(branches)
    found = []
    for name in branches:
        match = SACLA_HITS.fullmatch(name)
        if match is None:
            continue
        hits = match["hits"]
        time = f"{hits}fTof" if f"{hits}fTof" in names else f"{hits}fTime"
        method = f"{hits}fRekmeth" if f"{hits}fRekmeth" in names else None
        found.append(
            Columns(
                layout="jagged", tree=SACLA_TREE, x=name, y=f"{hits}fY_mm", time=time, method=method
            )
        )
    return found
