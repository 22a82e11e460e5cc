"""A structure that a user names: an XYZ file, or a shipped molecule."""

from __future__ import annotations

from pathlib import Path

from molexa_core.base.errors import InputFileError
from molexa_core.base.progress import SILENT, Progress
from molexa_core.base.tables import Geometry
from molexa_core.io.xyz import read_xyz
from molexa_core.physics.molecules.library import molecule


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
