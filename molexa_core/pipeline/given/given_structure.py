"""A structure that a call is given: an object, an XYZ file, or a shipped molecule by name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from molexa_core.base.errors import InputFileError, UsageError
from molexa_core.base.progress import SILENT, Progress
from molexa_core.base.tables import Geometry
from molexa_core.io.xyz import read_xyz
from molexa_core.physics.molecules.library import Molecule, molecule

if TYPE_CHECKING:
    from molexa_core.io.results.geometry_json import ReconstructionRecord
    from molexa_core.pipeline.reconstruction.events_answer import EventsAnswer

Structure: TypeAlias = "Geometry | Molecule | ReconstructionRecord | EventsAnswer | Path | str"
"""A structure, or the file or name of one."""


def find_geometry(
    source: Path | str, progress: Progress = SILENT
) -> tuple[Geometry, tuple[Path, ...]]:
    """The geometry of an XYZ file or of a shipped molecule, and the files that were read.

    Raises:
        InputFileError: the name is neither a file nor a molecule.
    """
    path = Path(source)
    if not path.exists() and path.suffix.lower() != ".xyz" and len(path.parts) == 1:
        try:
            found = molecule(str(source))
        except InputFileError as error:
            raise InputFileError(
                f"{str(source)!r} is neither a file nor a shipped molecule", do=error.do
            ) from error
        return found.geometry, ()
    geometries = read_xyz(path, progress)
    if len(geometries) > 1:
        progress.say(f"{path} has {len(geometries)} structures; the first is used")
    return geometries[0], (path,)


def structure_of(
    given: Structure, progress: Progress = SILENT
) -> tuple[Geometry, tuple[Path, ...]]:
    """A structure: itself, that of a reconstruction or a molecule, of a file, or by name.

    Args:
        given: a geometry, a reconstruction, a molecule, an XYZ file (its first structure) or
            `geom.json`, or the name of a shipped molecule.
        progress: told if a file has several structures.

    Returns:
        The structure, and the files that were read.

    Raises:
        UsageError: it is none.
        InputFileError: no such file or molecule.
    """
    if isinstance(given, Path | str):
        if Path(given).suffix.lower() != ".json":
            return find_geometry(given, progress)
        from molexa_core.io.results.geometry_json import read_geometry_json  # noqa: PLC0415

        return read_geometry_json(given)[0].geometry(), (Path(given),)
    if isinstance(given, Geometry):
        return given, ()
    held: Any = getattr(given, "record", given)  # of single events the mean structure
    inner = getattr(held, "geometry", None)
    found = inner() if callable(inner) else inner
    if not isinstance(found, Geometry):
        raise UsageError(
            f"no structure: {type(given).__name__}",
            do="Give a geometry, a reconstruction, an XYZ file, or the name of a molecule.",
        )
    return found, ()
