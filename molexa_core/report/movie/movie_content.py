"""The values that the page of a movie shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from molexa_core.base.tables import FloatArray


@dataclass(frozen=True)
class Curve:
    """A distance (bohr) or angle (degrees) over the frames.

    Attributes:
        name: of the atoms.
        values: of each frame.
        half_widths: of 68 % intervals; None where not known.
        known: of the known structures, where there are any.
    """

    name: str
    values: Sequence[float]
    half_widths: Sequence[float | None]
    known: Sequence[float] | None


@dataclass(frozen=True)
class MovieFrame:
    """One structure; positions in bohr.

    Attributes:
        positions: (N, 3).
        uncertainty: (N, 3) where known.
        bonds: pairs of atoms.
        known: (N, 3) of the known structure.
        source: the file.
    """

    positions: FloatArray
    uncertainty: FloatArray | None
    bonds: Sequence[tuple[int, int]]
    known: FloatArray | None
    source: str


@dataclass(frozen=True)
class MovieContent:
    """A movie as it is shown.

    Attributes:
        names: of the atoms, with their numbers.
        symbols: their elements.
        unit: of the delays; empty where frames are numbered.
        at: delay of each frame.
        frames: structures.
        distances, angles: those that are shown.
    """

    names: Sequence[str]
    symbols: Sequence[str]
    unit: str
    at: Sequence[float]
    frames: Sequence[MovieFrame]
    distances: Sequence[Curve]
    angles: Sequence[Curve]
