"""The files of a folder that a report is of: one of each stage, those that belong together.

Where a folder holds several files of coincidences (runs that were joined, several channels of one
run), the report is of those from which the later results were made, or of the one that is named.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from molexa_core.base.errors import InputFileError, listing
from molexa_core.base.progress import SILENT, Progress
from molexa_core.base.storage.files import digest
from molexa_core.base.storage.outputs import FileKind
from molexa_core.base.storage.provenance import Provenance
from molexa_core.io.results.channel_csv import read_channel_csv
from molexa_core.io.results.events import EventsFile
from molexa_core.io.results.geometry_json import read_geometry_json
from molexa_core.io.results.kinds import kind_of_result
from molexa_core.io.results.series_file import read_series
from molexa_core.io.results.structures import read_structures_file
from molexa_core.io.xyz import read_provenance
from molexa_core.pipeline.chain.centroid import CHANNEL_FILE
from molexa_core.pipeline.chain.pick import ALIGNED_SUFFIX, EVENTS_SUFFIX

SERIES_SUFFIX: Final = "series.json"
GEOMETRY_JSON: Final = "geom.json"
GEOMETRY_XYZ: Final = "geom.xyz"
STRUCTURES_FILE: Final = "structures.h5"


@dataclass(frozen=True)
class Sources:
    """The files of the stages; None where there is none.

    Attributes:
        folder: where they lie.
        events: of `reduce` or `join`.
        aligned: of `align`.
        centroids: of `centroid`.
        geometry: of `reconstruct`, as JSON or XYZ.
        structures: of `reconstruct` of single events.
        series: of all stages with bins.
        left_out: names of files of stages that the report is not of.
    """

    folder: Path
    events: Path | None
    aligned: Path | None
    centroids: Path | None
    geometry: Path | None
    structures: Path | None
    series: tuple[Path, ...]
    left_out: tuple[str, ...]


def sources_of(place: Path | str, progress: Progress = SILENT) -> Sources:
    """The files that a report is of.

    Args:
        place: the folder of the results, or a file of coincidences in it; then results that were
            not made from that file are left out.
        progress: told which files are left out.

    Raises:
        InputFileError: no such folder, another kind of file, or several files of a stage of which
            no later result was made, or more than one.
    """
    place, folder = Path(place), folder_of(place)
    all_events, all_aligned = (_all(folder, end) for end in (EVENTS_SUFFIX, ALIGNED_SUFFIX))
    geometry = next(
        (folder / name for name in (GEOMETRY_JSON, GEOMETRY_XYZ) if (folder / name).is_file()), None
    )
    centroids, structures = (
        folder / name if (folder / name).is_file() else None
        for name in (CHANNEL_FILE, STRUCTURES_FILE)
    )
    series = tuple(sorted(folder.glob(f"*{SERIES_SUFFIX}")))
    later = [path for path in (centroids, geometry, structures, *series) if path is not None]
    if place.is_dir():
        aligned = _used(all_aligned, later, ALIGNED_SUFFIX, folder)
        behind = later if aligned is None else [aligned, *later]
        events = _used(all_events, behind, EVENTS_SUFFIX, folder)
        taken = [events, aligned, *later]
    else:
        kind = kind_of_result(place)
        if kind is FileKind.EVENTS:
            events = place
            behind = [path for path in all_aligned if _made_from(path, [place])]
            aligned = _used(behind, later, ALIGNED_SUFFIX, folder)
        elif kind is FileKind.ALIGNED:
            aligned = place
            events = next((path for path in all_events if _made_from(place, [path])), None)
        else:
            raise InputFileError(
                "this is no file of coincidences",
                where=place,
                do="Name the folder of the results, or an events file or aligned file in it.",
            )
        taken = [path for path in (events, aligned) if path is not None]
        for path in later:  # in the order of the stages
            if _made_from(path, [one for one in taken if one is not None]):
                taken.append(path)
    left_out = tuple(path.name for path in (*all_events, *all_aligned, *later) if path not in taken)
    if left_out:
        progress.say(f"not in the report: {listing(left_out)}")
    return Sources(
        folder,
        events,
        aligned,
        centroids if centroids in taken else None,
        geometry if geometry in taken else None,
        structures if structures in taken else None,
        tuple(path for path in series if path in taken),
        left_out,
    )


def folder_of(place: Path | str) -> Path:
    """The folder that a report is of: the one that is named, or that of the file that is named.

    Raises:
        InputFileError: there is neither.
    """
    place = Path(place)
    if not place.exists():
        raise InputFileError(
            "no such folder or file", where=place, do="Name the folder of the results."
        )
    return place if place.is_dir() else place.parent


def _all(folder: Path, suffix: str) -> list[Path]:
    found = folder.glob(f"*{suffix}")
    return sorted(path for path in found if not path.name.startswith("."))


def _used(found: Sequence[Path], later: Sequence[Path], suffix: str, folder: Path) -> Path | None:
    """The only one of the files, or the only one from which a later result was made."""
    if len(found) > 1:
        used = [path for path in found if any(_made_from(one, [path]) for one in later)]
        if len(used) != 1:
            raise InputFileError(
                f"there are {len(found)} files *{suffix}: {listing(path.name for path in found)}",
                where=folder.resolve(),
                do=f"Name the one to be shown: molexa report {(used or found)[0]}.",
            )
        return used[0]
    return found[0] if found else None


def _made_from(path: Path, sources: Sequence[Path]) -> bool:
    """Whether a result names one of these files as its input, by content or by name."""
    record = _record(path)
    if record is None:
        return False
    names = {Path(name).name for name in record.inputs}
    digests = set(record.inputs.values())
    return any(one.name in names or digest(one) in digests for one in sources)


def _record(path: Path) -> Provenance | None:
    """What a result says of itself."""
    if path.name.endswith((EVENTS_SUFFIX, ALIGNED_SUFFIX)):
        return EventsFile(path).provenance
    if path.name == CHANNEL_FILE:
        return read_channel_csv(path)[1]
    if path.name == STRUCTURES_FILE:
        return read_structures_file(path).provenance
    if path.name == GEOMETRY_JSON:
        return read_geometry_json(path)[1]
    return read_provenance(path) if path.suffix == ".xyz" else read_series(path)[1]
