"""Score: the errors of a structure relative to a known one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from molexa_core.base.errors import InputFileError, UsageError
from molexa_core.base.progress import SILENT, Progress
from molexa_core.base.storage.provenance import Provenance
from molexa_core.base.tables import Geometry
from molexa_core.geometry.compare import StructureErrors, Superposition, superposed_errors
from molexa_core.io.xyz import read_provenance, read_xyz
from molexa_core.pipeline.chain.stale import require_fresh


@dataclass(frozen=True)
class Score:
    """The errors of a structure relative to a known one, after the best superposition.

    Attributes:
        symbols: element of each atom, in the order of the structure.
        errors: lengths in bohr, angles in degrees.
        superposition: the assignment of like atoms, and the known structure superposed on the
            other.
    """

    symbols: tuple[str, ...]
    errors: StructureErrors
    superposition: Superposition

    def to_dict(self) -> dict[str, Any]:
        """Plain values by name, for JSON; atoms counted from 0."""
        return {
            **self.errors.to_dict(),
            "length_unit": "bohr",
            "angle_unit": "degree",
            "assignment": self.superposition.assignment.tolist(),
            "mirrored": self.superposition.mirrored,
            "exact": self.superposition.exact,
        }


def score(structure: Geometry, known: Geometry, *, allow_mirror: bool = False) -> Score:
    """Compare a structure with a known one.

    The known structure is superposed on the other by the rotation, translation and assignment of
    like atoms with the smallest RMSD; then the errors of the paper are computed
    (`geometry.measures`). The MAE is therefore the one after optimal superposition, in the frame of
    the structure. A mirror image counts as a different structure unless it is allowed.

    Args:
        structure: the structure to compare; a reconstruction in the frame of its momenta.
        known: the known structure, atoms in any order, any frame.
        allow_mirror: whether the mirror image of the known structure may be used.

    Returns:
        Errors, assignment and superposition.

    Raises:
        UsageError: the structures have different atoms.

    Example:
        >>> import numpy as np
        >>> water = Geometry(("O", "H", "H"), np.array([[0, 0, 0], [1.8, 0, 0], [0, 1.8, 0.0]]))
        >>> round(score(water, water).errors.mae, 12)
        0.0
    """
    errors, superposition = superposed_errors(
        structure.positions,
        known.positions,
        structure.symbols,
        symbols_b=known.symbols,
        allow_mirror=allow_mirror,
    )
    return Score(structure.symbols, errors, superposition)


def score_files(
    structure: Path | str,
    known: Path | str,
    *,
    allow_mirror: bool = False,
    progress: Progress = SILENT,
) -> Score:
    """Compare the structures in two XYZ files; of several structures in a file the first is used.

    The first may be structures of single events (`structures.h5`): their mean is compared.

    Raises:
        InputFileError: a file is missing or is not an XYZ file.
        UsageError: the structures have different atoms.
    """
    two = _first(known, progress)
    if Path(structure).suffix == ".h5":
        one, record = _mean_of_events(structure, progress)
    else:
        one, record = _first(structure, progress), read_provenance(structure)
    require_fresh(structure, record, refuse=False, progress=progress)
    try:
        return score(one, two, allow_mirror=allow_mirror)
    except UsageError as error:
        error.where = f"{structure} and {known}"
        raise


def _mean_of_events(path: Path | str, progress: Progress) -> tuple[Geometry, Provenance | None]:
    """The mean structure of single events, and how it was made.

    Raises:
        InputFileError: the file is of an older version, without a mean.
    """
    from molexa_core.io.results.structures import read_structures_file  # noqa: PLC0415

    file = read_structures_file(path)
    positions = file.summary.get("positions_bohr")
    symbols = tuple(ion.element.symbol for ion in file.structures.ions)
    if not isinstance(positions, list) or len(positions) != len(symbols):
        raise InputFileError(
            "no mean structure in this file", where=path, do="Reconstruct the events again."
        )
    progress.say(f"{path}: the mean of {len(file.structures)} structures of single events")
    return Geometry(symbols, np.array(positions, dtype=np.float64)), file.provenance


def _first(path: Path | str, progress: Progress) -> Geometry:
    geometries = read_xyz(path, progress)
    if not geometries:
        raise InputFileError("no structure in this file", where=path)
    if len(geometries) > 1:
        progress.say(f"{path} has {len(geometries)} structures; the first is used")
    return geometries[0]
