"""Movies in the recipe of a data set: user-supplied structures of one molecule, frame by frame.

A recipe file names XYZ files; the resolved recipe contains their structures, so that the data set
can be built on a machine without the files.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from molexa_core.base.errors import SettingsError, listing
from molexa_core.base.matter.elements import ELEMENTS, known_elements
from molexa_core.base.tables import Geometry

MOST_ATOMS: Final = 64
"""Largest number of atoms of a molecule in a data set."""
MOST_COORDINATES: Final = 500_000
"""Largest total number of coordinates in the movies of a recipe: 18 000 frames of nine atoms."""
_KEYS: Final = ("name", "symbols", "held_out", "frames")


@dataclass(frozen=True)
class Movie:
    """One molecule in given structures, in contrast to randomly drawn ones.

    Attributes:
        name: name of the molecule.
        symbols: element of each atom.
        frames: for each structure x, y, z of the first atom, of the second, ..., bohr.
        held_out: whether the molecule is kept out of training in the splits by geometry and by
            molecule.
    """

    name: str
    symbols: tuple[str, ...]
    frames: tuple[tuple[float, ...], ...]
    held_out: bool = True

    def geometries(self) -> list[Geometry]:
        """The structures."""
        positions = np.array(self.frames, np.float64).reshape(len(self.frames), -1, 3)
        return [Geometry(self.symbols, frame, comment=self.name) for frame in positions]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for `from_dict`."""
        return {
            "name": self.name,
            "symbols": list(self.symbols),
            "held_out": self.held_out,
            "frames": [list(frame) for frame in self.frames],
        }

    @classmethod
    def from_dict(cls, values: Any, *, where: object = None) -> Movie:
        """The movie from the plain values of `to_dict`.

        Raises:
            SettingsError: a key is missing or unknown, a value has the wrong type, an element is
                unknown, or a frame has another number of coordinates.
        """
        if not isinstance(values, Mapping) or set(values) != set(_KEYS):
            raise SettingsError(f"movies: expected the keys {listing(_KEYS)}", where=where)
        name, symbols, frames = values["name"], values["symbols"], values["frames"]
        if not isinstance(name, str) or not name or not isinstance(values["held_out"], bool):
            raise SettingsError("movies: expected a name, and held_out true or false", where=where)
        if not isinstance(symbols, list) or not 2 <= len(symbols) <= MOST_ATOMS:
            raise SettingsError(
                f"movies -> {name}: expected 2 to {MOST_ATOMS} elements", where=where
            )
        for symbol in symbols:
            if not isinstance(symbol, str) or symbol not in ELEMENTS:
                raise SettingsError(
                    f"movies -> {name}: unknown element {symbol!r}",
                    where=where,
                    do=known_elements(str(symbol)),
                )
        good = isinstance(frames, list) and bool(frames)
        if not good or not all(_is_frame(frame, 3 * len(symbols)) for frame in frames):
            raise SettingsError(
                f"movies -> {name}: expected frames of {3 * len(symbols)} numbers each", where=where
            )
        exact = tuple(tuple(float(value) for value in frame) for frame in frames)
        return cls(name, tuple(symbols), exact, values["held_out"])


def _is_frame(values: Any, length: int) -> bool:
    return (
        isinstance(values, list)
        and len(values) == length
        and all(type(value) in (float, int) and math.isfinite(value) for value in values)
    )
