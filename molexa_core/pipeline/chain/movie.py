"""Movie: a series of structures of one molecule as frames in which every atom can be followed.

Each frame is turned onto the frame before, with like atoms assigned such that they move least
(`geometry.superposition`). Distances and angles keep the error bars of their reconstruction.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from molexa_core.base.errors import InputFileError, UsageError
from molexa_core.base.progress import SILENT, Progress
from molexa_core.base.shown import Shown
from molexa_core.base.storage.files import UNWRITABLE, atomic_path
from molexa_core.base.storage.outputs import FileKind
from molexa_core.base.storage.provenance import Provenance
from molexa_core.base.tables import FloatArray, Geometry, IntArray
from molexa_core.geometry.bonds import bonds
from molexa_core.geometry.measures import pair_distances, triplet_angles
from molexa_core.geometry.superposition import superpose
from molexa_core.io.results.geometry_json import ReconstructionRecord, read_geometry_json
from molexa_core.io.xyz import read_xyz, write_xyz
from molexa_core.pipeline.output_guard import beside_output, discards, require_outputs

MOST_FRAMES: Final = 2000
MOST_DISTANCES: Final = 8
MOST_ANGLES: Final = 6
"""Curves of the figure."""


@dataclass(frozen=True)
class Value:
    """A distance (bohr) or angle (degrees) of one frame.

    Attributes:
        value: the median of the reconstruction, or that of the structure.
        half_width: half of the 68 % interval; None where it is not known.
    """

    value: float
    half_width: float | None = None


@dataclass(frozen=True)
class Frame:
    """One structure of a series.

    Attributes:
        geometry: turned onto the frame before, atoms in the order of the first.
        at: delay, or number of the frame from 1.
        source: the file.
        assignment: (N) the atom of the file that each is, from 0.
        distances: N (N - 1) / 2 in the order of `geometry.measures.pair_distances`.
        angles: in the order of `geometry.measures.triplet_angles`.
        rmsd: distance from the frame before, bohr; 0 for the first.
        exact: whether all assignments of like atoms were tried.
        known: the known structure turned onto this one, where given.
    """

    geometry: Geometry
    at: float
    source: str
    assignment: IntArray
    distances: tuple[Value, ...]
    angles: tuple[Value, ...]
    rmsd: float
    exact: bool
    known: Geometry | None = None


@dataclass(frozen=True, repr=False)
class Movie(Shown):
    """A series of structures.

    Attributes:
        frames: in the order given.
        unit: of the delays; empty where frames are numbered.
        names: (N) element and number of each atom.
    """

    frames: tuple[Frame, ...]
    unit: str
    names: tuple[str, ...]

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """Atoms of each distance."""
        one, two = np.triu_indices(len(self.names), k=1)
        return list(zip(one.tolist(), two.tolist(), strict=True))

    @property
    def triplets(self) -> list[tuple[int, int, int]]:
        """Atoms of each angle, its vertex in the middle."""
        n = len(self.names)
        return [
            (i, vertex, j)
            for vertex in range(n)
            for i in range(n)
            for j in range(i + 1, n)
            if vertex not in (i, j)
        ]

    def shown(self) -> tuple[list[int], list[int]]:
        """Distances and angles to look at: bonds of any frame, and what changes most of them."""
        joined = [set(bonds(frame.geometry)) for frame in self.frames]
        ever = set().union(*joined)
        length = np.array([[one.value for one in frame.distances] for frame in self.frames])
        chosen = [n for n, pair in enumerate(self.pairs) if pair in ever]
        chosen.sort(key=lambda n: -np.ptp(length[:, n]))
        angle = np.array([[one.value for one in frame.angles] for frame in self.frames])
        always = set.intersection(*joined)

        def held(i: int, vertex: int, j: int) -> bool:
            return (min(i, vertex), max(i, vertex)) in always and (
                min(j, vertex),
                max(j, vertex),
            ) in always

        bent = [n for n, triplet in enumerate(self.triplets) if held(*triplet)]
        bent.sort(key=lambda n: -np.ptp(angle[:, n]))
        return sorted(chosen[:MOST_DISTANCES]), sorted(bent[:MOST_ANGLES])

    def to_dict(self) -> dict[str, Any]:
        """Plain values by name; lengths in bohr, angles in degrees, atoms from 0."""
        pairs, triplets = self.pairs, self.triplets
        distances, angles = self.shown()
        return {
            "unit": self.unit,
            "atoms": list(self.names),
            "frames": [
                {
                    "at": frame.at,
                    "source": frame.source,
                    "assignment": frame.assignment.tolist(),
                    "rmsd_to_the_frame_before": frame.rmsd,
                    "distances": {
                        "-".join(self.names[a] for a in pairs[n]): vars(frame.distances[n])
                        for n in distances
                    },
                    "angles": {
                        "-".join(self.names[a] for a in triplets[n]): vars(frame.angles[n])
                        for n in angles
                    },
                }
                for frame in self.frames
            ],
        }


@dataclass(frozen=True)
class _Given:
    """A structure as it was read."""

    geometry: Geometry
    source: str
    record: ReconstructionRecord | None = None


def movie_of(
    structures: Sequence[Geometry],
    *,
    at: Sequence[float] | None = None,
    unit: str = "fs",
    records: Sequence[ReconstructionRecord | None] | None = None,
    known: Sequence[Geometry] = (),
    sources: Sequence[str] | None = None,
    allow_mirror: bool = False,
) -> Movie:
    """Put structures of one molecule in a row.

    Args:
        structures: in the order of time, atoms of each in any order, in any frame.
        at: delays; frames are numbered where not given.
        unit: of the delays.
        records: reconstructions that the structures are of, for their error bars.
        known: known structures, as many.
        sources: files, for the record.
        allow_mirror: whether a frame may be mirrored onto the one before.

    Raises:
        UsageError: fewer than two structures, other atoms, or other numbers of delays.
    """
    count = len(structures)
    if not 2 <= count <= MOST_FRAMES:
        raise UsageError(
            f"{count} structure{'s' * (count != 1)} for a movie",
            do=f"Give two to {MOST_FRAMES}.",
        )
    if at is not None and (len(at) != count or not all(math.isfinite(one) for one in at)):
        raise UsageError(
            f"{len(at)} delays for {count} structures",
            setting="at",
            do="Give one number for each, or leave them out.",
        )
    if known and len(known) != count:
        raise UsageError(f"{len(known)} known structures for {count}", do="Give one of each frame.")
    frames: list[Frame] = []
    for number, structure in enumerate(structures):
        name = f"frame {number + 1}" if sources is None else sources[number]
        _require_same(structures[0], structure, name)
        frames.append(
            _frame(
                structure,
                frames[-1].geometry if frames else None,
                at=float(number + 1) if at is None else float(at[number]),
                source=name,
                record=None if records is None else records[number],
                known=known[number] if known else None,
                mirror=allow_mirror,
            )
        )
    names = tuple(f"{name}{n + 1}" for n, name in enumerate(frames[0].geometry.names))
    return Movie(tuple(frames), "" if at is None else unit, names)


def _require_same(first: Geometry, other: Geometry, name: str) -> None:
    if sorted(first.symbols) != sorted(other.symbols):
        raise UsageError(
            f"{' '.join(other.symbols)} are other atoms than {' '.join(first.symbols)} of the "
            "first frame",
            where=name,
            do="Give structures of one molecule.",
        )


def _frame(
    structure: Geometry,
    before: Geometry | None,
    *,
    at: float,
    source: str,
    record: ReconstructionRecord | None,
    known: Geometry | None,
    mirror: bool,
) -> Frame:
    n = len(structure)
    if before is None:
        order, rmsd, exact = np.arange(n), 0.0, True
        placed = replace(structure, positions=structure.positions - structure.positions.mean(0))
    else:
        found = superpose(
            before.positions,
            structure.positions,
            before.symbols,
            symbols_b=structure.symbols,
            allow_mirror=mirror,
        )
        order, rmsd, exact = found.assignment, found.rmsd, found.exact
        placed = _ordered(structure, order, found.moved, found.rotation)
    beside = None
    if known is not None:
        _require_same(structure, known, f"known structure of {source}")
        there = superpose(
            placed.positions, known.positions, placed.symbols, symbols_b=known.symbols
        )
        beside = Geometry(placed.symbols, there.moved)
    return Frame(
        geometry=placed,
        at=at,
        source=source,
        assignment=order,
        distances=_distances(placed, record, order),
        angles=_angles(placed, record, order),
        rmsd=rmsd,
        exact=exact,
        known=beside,
    )


def _ordered(
    structure: Geometry, order: IntArray, positions: FloatArray, rotation: FloatArray
) -> Geometry:
    """The structure in another order and frame, with everything that belongs to its atoms."""
    uncertainty = structure.uncertainty
    if uncertainty is not None:
        # Errors of coordinates as if independent: their variances turn with the frame.
        uncertainty = np.sqrt(np.square(uncertainty[order]) @ np.square(rotation).T)

    def moved(values: tuple[Any, ...] | None) -> tuple[Any, ...] | None:
        return None if values is None else tuple(values[atom] for atom in order)

    return Geometry(
        symbols=tuple(structure.symbols[atom] for atom in order),
        positions=positions,
        charges=moved(structure.charges),
        uncertainty=uncertainty,
        isotopes=moved(structure.isotopes),
    )


def _distances(
    placed: Geometry, record: ReconstructionRecord | None, order: IntArray
) -> tuple[Value, ...]:
    n = len(placed)
    values = pair_distances(placed.positions[None])[0]
    rows = () if record is None else record.distances
    if len(rows) != len(values):
        return tuple(Value(float(one)) for one in values)
    one_of, other = np.triu_indices(n, k=1)
    pairs = zip(one_of.tolist(), other.tolist(), strict=True)
    place = {pair: k for k, pair in enumerate(pairs)}
    found = []
    for (i, j), value in zip(place, values, strict=True):
        one, two = sorted((int(order[i]), int(order[j])))
        found.append(_value(rows[place[one, two]], float(value)))
    return tuple(found)


def _angles(
    placed: Geometry, record: ReconstructionRecord | None, order: IntArray
) -> tuple[Value, ...]:
    n = len(placed)
    if n < 3:
        return ()
    values = triplet_angles(placed.positions[None])[0]
    triplets = [
        (vertex, i, j)
        for vertex in range(n)
        for i in range(n)
        for j in range(i + 1, n)
        if vertex not in (i, j)
    ]
    rows = () if record is None else record.angles
    if len(rows) != len(values):
        return tuple(Value(float(one)) for one in values)
    place = {triplet: k for k, triplet in enumerate(triplets)}
    found = []
    for (vertex, i, j), value in zip(triplets, values, strict=True):
        one, two = sorted((int(order[i]), int(order[j])))
        found.append(_value(rows[place[int(order[vertex]), one, two]], float(value)))
    return tuple(found)


def _value(row: Any, structure: float) -> Value:
    """What a reconstruction says of a distance or angle."""
    value, half = row.get("median", row.get("mean")), row.get("half_width")
    return Value(
        float(value) if isinstance(value, int | float) else structure,
        float(half) if isinstance(half, int | float) else None,
    )


def movie_files(
    paths: Sequence[Path | str],
    out: Path | str,
    *,
    at: Sequence[float] | None = None,
    unit: str = "fs",
    known: Path | str | None = None,
    allow_mirror: bool = False,
    progress: Progress = SILENT,
) -> Movie:
    """Turn files into a movie: frames as XYZ, a figure and a page with a viewer beside it.

    Args:
        paths: XYZ files, of which all structures count, and `geom.json` of reconstructions.
        out: the XYZ file; figure (`.svg`) and page (`.html`) have the same name.
        at: delays, one for each structure.
        unit: of the delays.
        known: XYZ file of known structures, one for each frame.
        allow_mirror: see `movie_of`.
        progress: display of the progress.

    Raises:
        InputFileError: a file is missing or has another format.
        UsageError: as `movie_of`, or the name of the output does not end in `.xyz`.
        OutputError: a result cannot be written.
    """
    target = Path(out)
    if target.suffix != ".xyz" and not discards(target):
        raise UsageError(f"{target} does not end in .xyz", do="Name an XYZ file with `out=`.")
    figure, page = (beside_output(target, suffix) for suffix in (".svg", ".html"))
    require_outputs(
        (target, FileKind.GEOMETRY),
        (figure, FileKind.FIGURE),
        (page, FileKind.REPORT),
        inputs=[*paths, known],
    )
    given = [one for path in paths for one in _read(Path(path), progress)]
    truth = [] if known is None else read_xyz(known, progress)
    found = movie_of(
        [one.geometry for one in given],
        at=at,
        unit=unit,
        records=[one.record for one in given],
        known=truth,
        sources=[one.source for one in given],
        allow_mirror=allow_mirror,
    )
    if not all(frame.exact for frame in found.frames):
        progress.warn("too many like atoms to try all assignments; the best one found is shown")
    inputs = [*paths] if known is None else [*paths, known]
    made = Provenance.of(
        inputs=inputs, settings={"at": None if at is None else list(at), "unit": unit}
    )
    write_xyz(
        target, [replace(one.geometry, comment=_comment(found, one)) for one in found.frames], made
    )
    _draw(found, figure, page, made)
    return found


def _comment(movie: Movie, frame: Frame) -> str:
    where = f"{frame.at:g} {movie.unit}" if movie.unit else f"frame {frame.at:g}"
    return f"{where}, {frame.source}"


def _read(path: Path, progress: Progress) -> list[_Given]:
    if path.suffix == ".json":
        record, _ = read_geometry_json(path)
        return [_Given(record.geometry(), path.name, record)]
    found = read_xyz(path, progress)
    if not found:
        raise InputFileError("no structure in this file", where=path)
    if len(found) == 1:
        return [_Given(found[0], path.name)]
    return [_Given(one, f"{path.name}, {number}") for number, one in enumerate(found, start=1)]


def _draw(movie: Movie, figure: Path, page: Path, made: Provenance) -> None:
    # matplotlib takes a second to import.
    from molexa_core.report.movie import movie_page  # noqa: PLC0415
    from molexa_core.report.style import save_svg  # noqa: PLC0415

    content = content_of(movie)
    uri = movie_page.curves(content)
    if not discards(figure):
        save_svg(uri, figure, made)
    text = movie_page.page(content, uri, made)
    with atomic_path(page) as temporary:
        temporary.write_text(text, encoding="utf-8", errors=UNWRITABLE)


def content_of(movie: Movie) -> Any:
    """The values that figure and page show."""
    from molexa_core.report.movie.movie_content import Curve, MovieContent, MovieFrame  # noqa: PLC0415

    pairs, triplets = movie.pairs, movie.triplets
    distances, angles = movie.shown()
    axis = [frame.at for frame in movie.frames]
    known_lengths = [
        None if one.known is None else pair_distances(one.known.positions[None])[0]
        for one in movie.frames
    ]
    known_angles = [
        None
        if one.known is None or len(one.known) < 3
        else triplet_angles(one.known.positions[None])[0]
        for one in movie.frames
    ]

    def curve(place: int, atoms: tuple[int, ...], *, is_angle: bool) -> Curve:
        rows = [(one.angles if is_angle else one.distances)[place] for one in movie.frames]
        truth = known_angles if is_angle else known_lengths
        there = [float(one[place]) for one in truth if one is not None]
        return Curve(
            name="-".join(movie.names[atom] for atom in atoms),
            values=[one.value for one in rows],
            half_widths=[one.half_width for one in rows],
            known=there if len(there) == len(rows) else None,
        )

    return MovieContent(
        names=movie.names,
        symbols=movie.frames[0].geometry.symbols,
        unit=movie.unit,
        at=axis,
        frames=[
            MovieFrame(
                positions=one.geometry.positions,
                uncertainty=one.geometry.uncertainty,
                bonds=bonds(one.geometry),
                known=None if one.known is None else one.known.positions,
                source=one.source,
            )
            for one in movie.frames
        ],
        distances=[curve(n, pairs[n], is_angle=False) for n in distances],
        angles=[curve(n, triplets[n], is_angle=True) for n in angles],
    )
