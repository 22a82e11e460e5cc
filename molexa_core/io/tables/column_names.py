"""Parsing of column names into prefix, quantity, unit and slot number."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from molexa_core.base.settings.columns import SLOT
from molexa_core.io.tables.column_units import Dimension, Unit, unit_of

_QUANTITIES: Final = {
    "x": (("x", "xpos", "posx", "pos_x", "x_pos", "x_position", "position_x", "xposition"),),
    "y": (("y", "ypos", "posy", "pos_y", "y_pos", "y_position", "position_y", "yposition"),),
    "time": (
        ("tof", "time_of_flight", "timeofflight", "flight_time", "flighttime"),
        ("t",),
        ("time",),
    ),
    "method": (("method",), ("rekmeth",), ("flag",), ("m",)),
}
"""Words by quantity, in the order in which they are preferred; words of one rank are equals."""
_WORDS: Final = sorted(
    (
        (word, quantity, rank)
        for quantity, ranks in _QUANTITIES.items()
        for rank, words in enumerate(ranks)
        for word in words
    ),
    key=lambda item: -len(item[0]),
)
IONS: Final = ("", "ion", "ions", "r", "recoil", "hit", "hits", "i", "fiionhits", "rec")
"""Prefixes of the quantities of the ion detector."""
_RAW: Final = ("raw", "uncal", "uncorr", "uncalibrated", "uncorrected", "orig", "original")
_MADE: Final = ("cal", "calib", "calibrated", "corr", "corrected", "cor", "new", "final")
_BEHIND: Final = tuple(
    re.compile(rf"(?P<base>.+?){unit}\s*")
    for unit in (
        r"\s*[\[({<](?P<sure>[^\[\](){}<>]*)[\])}>]",
        r"[\s_]+in[\s_]+(?P<unit>\S.*)",
        r"\s*/\s*(?P<unit>[^/\s]+)",
        r"\s*,\s*(?P<unit>\S+)",
        r"[\s_.:-]+(?P<word>[^\s_.:()\[\]-]+)",
    )
)
"""A unit behind a name: `x (mm)`, `x [mm]`, `x in mm`, `x/mm`, `x, mm`, `x_mm`, `x mm`."""
_WORDS_TOO: Final = ("in", "ch", "count", "counts", "sample", "samples", "step", "steps")
"""Units that are also words of names: `x_in` may be an input."""


@dataclass(frozen=True)
class Name:
    """A parsed column name.

    Attributes:
        written: the whole name.
        prefix: folder and prefix of the quantity, which distinguish sets of columns.
        suffix: the slot behind the quantity, if there is one.
        quantity: `x`, `y`, `time` or `method`.
        rank: rank of the word, 0 for the preferred ones.
        level: -1 if the name states uncalibrated values, 1 if calibrated ones, else 0.
        unit: the unit in the name.
    """

    written: str
    prefix: str
    suffix: str
    quantity: str
    rank: int
    level: int
    unit: Unit | None

    @property
    def detector(self) -> str:
        """The prefix of the quantity, without folder and slot."""
        return self.prefix.rpartition("/")[2].replace(SLOT, "").strip("._ ")


def dimension_of(quantity: str) -> Dimension:
    """The dimension of a quantity of a hit."""
    return "time" if quantity == "time" else "length"


def also_called(name: str) -> tuple[str, ...]:
    """Words that attributes of a table use for a column of this name: `length_unit`."""
    part = apart(name)
    if part is None or part.quantity == "method":
        return ()
    if part.quantity == "time":
        return ("tof", "t", "time")
    return (part.quantity, "position", "length", "pos", "coordinate")


@lru_cache(maxsize=4096)
def apart(name: str) -> Name | None:
    """The parsed name, or None if it names no quantity of a hit."""
    for base, unit, _ in _readings(name):
        folder, _, leaf = base.rpartition("/")
        found = _quantity(name, folder, leaf, unit)
        if found is not None:
            return found
    return None


def unit_in(name: str, dimension: Dimension) -> Unit | None:
    """The unit that a column name states for this dimension.

    Unknown units are accepted only in brackets, which cannot contain anything else.
    """
    for _, unit, sure in _readings(name):
        if unit is not None and (sure or unit.dimension in {None, dimension}):
            return unit
    return None


def _readings(name: str) -> Iterable[tuple[str, Unit | None, bool]]:
    """All ways to split a name into base and unit, and the whole name without a unit.

    Each comes with a flag: whether the unit is certain (in brackets).
    """
    for pattern in _BEHIND:
        match = pattern.fullmatch(name.strip())
        if match is None:
            continue
        way = str(match.lastgroup)
        unit = unit_of(match[way])
        if way == "sure" and not match[way].strip().isdigit():
            yield match["base"], unit, True
        elif way != "sure" and unit is not None and _told(unit, way):
            yield match["base"], unit, False
    yield name.strip(), None, False


def _told(unit: Unit, way: str) -> bool:
    """Whether a word behind a name is meant as a unit."""
    if way == "word" and unit.text.lower() in _WORDS_TOO:
        return False
    return unit.dimension is not None or unit.is_step


def _quantity(name: str, folder: str, leaf: str, unit: Unit | None) -> Name | None:
    lower = re.sub(r"[\s-]+", "_", leaf.strip().lower()).replace(f"[{SLOT}]", SLOT)
    tail = ""
    if lower.endswith(SLOT):  # the slot behind the quantity: x{i}, x_{i}
        lower, tail = lower.removesuffix(SLOT).rstrip("_"), SLOT
    lower, level = _qualified(lower)
    for word, quantity, rank in _WORDS:
        if not lower.endswith(word):
            continue
        before = lower.removesuffix(word)
        clean = not before or before[-1] in "._}]" or len(word) > 1 or before in IONS
        if not clean:
            continue
        wanted = None if quantity == "method" else dimension_of(quantity)
        if unit is not None and unit.dimension not in {None, wanted}:
            continue
        if unit is not None and wanted is None:
            continue
        front = before.rstrip("_.")
        before = "" if _level(front) else before
        return Name(
            written=name,
            prefix=f"{folder}/{before}",
            suffix=tail,
            quantity=quantity,
            rank=rank,
            level=level or _level(front),
            unit=unit,
        )
    return None


def _qualified(lower: str) -> tuple[str, int]:
    """The name without an ending such as `_raw` or `_cal`, and its level."""
    base, _, word = lower.rpartition("_")
    level = _level(word)
    return (base, level) if base and level else (lower, 0)


def _level(word: str) -> int:
    return -1 if word in _RAW else 1 if word in _MADE else 0


_SHOTS: Final = (
    ("shot", "lasershot"),
    ("trigger", "trig"),
    ("event", "evt", "ev"),
    ("pulse", "tag", "bunch", "macrobunch", "frame"),
    ("train",),
)
"""Names of the shot number, in order of preference."""
_ENDINGS: Final = (
    *("", "s", "id", "ids", "nr", "no", "num", "number", "index", "idx", "ix", "counter"),
    *("count", "tag", "nummer"),
)
_OUTER: Final = ("train", "macrobunch", "macrobunchpulse", "macropulse", "spill")
_INNER: Final = ("pulse", "microbunch", "dldmicrobunch", "micropulse", "bunch")


def _stem(name: str, stems: tuple[str, ...]) -> bool:
    return re.sub(r"[\W_]+", "", name.rpartition("/")[2].lower()) in _with_endings(stems)


@lru_cache
def _with_endings(stems: tuple[str, ...]) -> frozenset[str]:
    return frozenset(f"{stem}{ending}" for stem in stems for ending in _ENDINGS)


def shot_options(names: Sequence[str]) -> list[list[tuple[str, ...]]]:
    """The columns that can be the shot number, each one name or a pair of train and pulse.

    Returns:
        Options of one rank in a list, the preferred ranks first.
    """
    pairs = [
        (train, pulse)
        for train in names
        if _stem(train, _OUTER)
        for pulse in names
        if _stem(pulse, _INNER) and pulse != train
    ]
    ranks: list[list[tuple[str, ...]]] = []
    for stems in _SHOTS:
        if "pulse" in stems:
            ranks.append(list(pairs))
        ranks.append([(name,) for name in names if _stem(name, stems)])
    return [options for options in ranks if options]
