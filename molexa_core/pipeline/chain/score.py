"""Score: the errors of a structure relative to a known one."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from molexa_core.base.errors import InputFileError, UsageError
from molexa_core.base.progress import SILENT, Progress
from molexa_core.base.shown import Shown
from molexa_core.base.storage.provenance import Provenance
from molexa_core.base.tables import Geometry
from molexa_core.geometry.compare import StructureErrors, Superposition, superposed_errors
from molexa_core.geometry.measures import pair_distances
from molexa_core.io.results.geometry_json import ReconstructionRecord, read_geometry_json
from molexa_core.io.xyz import read_provenance
from molexa_core.pipeline.chain.stale import require_fresh
from molexa_core.pipeline.given.given_structure import Structure, find_geometry, structure_of


@dataclass(frozen=True)
class Claim:
    """One distance as a reconstruction claims it, beside the known one.

    Attributes:
        of: the two atoms.
        value, half_width: bohr; half of the 68 % interval.
        known: bohr.
    """

    of: str
    value: float
    half_width: float
    known: float

    @property
    def pull(self) -> float:
        """Error over half-width."""
        return (self.value - self.known) / self.half_width if self.half_width else math.inf


@dataclass(frozen=True, repr=False)
class Score(Shown):
    """The errors of a structure relative to a known one, after the best superposition.

    Attributes:
        symbols: element of each atom, in the order of the structure.
        errors: lengths in bohr, angles in degrees.
        superposition: the assignment of like atoms, and the known structure superposed on the
            other.
        claims: distances with half-widths, where the structure has them.
    """

    symbols: tuple[str, ...]
    errors: StructureErrors
    superposition: Superposition
    claims: tuple[Claim, ...] = ()

    @property
    def ratio(self) -> float | None:
        """The rms error of the distances over their rms half-width: 1 on average, if honest."""
        if not self.claims:
            return None
        width = sum(one.half_width**2 for one in self.claims)
        error = sum((one.value - one.known) ** 2 for one in self.claims)
        return math.sqrt(error / width) if width else None

    def to_dict(self) -> dict[str, Any]:
        """Plain values by name, for JSON; atoms counted from 0."""
        return {
            **self.errors.to_dict(),
            "length_unit": "bohr",
            "angle_unit": "degree",
            "assignment": self.superposition.assignment.tolist(),
            "mirrored": self.superposition.mirrored,
            "exact": self.superposition.exact,
            **({"claims": [asdict(one) for one in self.claims]} if self.claims else {}),
            **({} if self.ratio is None else {"error_over_half_width": self.ratio}),
        }


def score(
    structure: Structure,
    known: Structure,
    *,
    allow_mirror: bool = False,
    progress: Progress = SILENT,
) -> Score:
    """The errors of a structure relative to a known one.

    The known structure is superposed on the other by the rotation, translation and assignment of
    like atoms with the smallest RMSD; then the errors of the paper are computed
    (`geometry.measures`). The MAE is therefore the one after optimal superposition, in the frame of
    the structure. A mirror image counts as a different structure unless it is allowed.

    Args:
        structure: a geometry, a molecule, a reconstruction in the frame of its momenta (whose
            claimed half-widths of distances are compared with the errors), or the file or name of
            one: XYZ, `geom.json`, or structures of single events (`structures.h5`), whose mean is
            compared.
        known: the known structure, atoms in any order, any frame; of several in a file the first.
        allow_mirror: whether the mirror image of the known structure may be used.
        progress: receives remarks and warnings.

    Returns:
        Errors, assignment and superposition.

    Raises:
        InputFileError: a file is missing or holds no structure, or there is no such molecule.
        UsageError: the structures have different atoms.

    Example:
        >>> import numpy as np
        >>> water = Geometry(("O", "H", "H"), np.array([[0, 0, 0], [1.8, 0, 0], [0, 1.8, 0.0]]))
        >>> round(score(water, water).errors.mae, 12)
        0.0
    """
    two = _scored(known, progress)
    one = _scored(structure, progress)
    three = one.geometry() if isinstance(one, ReconstructionRecord) else one
    if isinstance(two, ReconstructionRecord):
        two = two.geometry()
    try:
        errors, superposition = superposed_errors(
            three.positions,
            two.positions,
            three.symbols,
            symbols_b=two.symbols,
            allow_mirror=allow_mirror,
        )
    except UsageError as error:
        named = [str(of) for of in (structure, known) if isinstance(of, Path | str)]
        error.where = " and ".join(named) if len(named) == 2 else error.where
        raise
    found = Score(three.symbols, errors, superposition)
    if isinstance(one, ReconstructionRecord):
        return replace(found, claims=_claims(one, found))
    return found


def _scored(given: Structure, progress: Progress) -> Geometry | ReconstructionRecord:
    """A structure, or a reconstruction with what it claims; outdated files warn."""
    if not isinstance(given, Path | str):
        held = getattr(given, "record", given)
        return held if isinstance(held, ReconstructionRecord) else structure_of(given, progress)[0]
    found: Geometry | ReconstructionRecord
    if Path(given).suffix == ".h5":
        found, record = _mean_of_events(given, progress)
    elif Path(given).suffix == ".json":
        found, record = read_geometry_json(given)
    else:
        found, files = find_geometry(given, progress)
        record = read_provenance(files[0]) if files else None
    if Path(given).exists():
        require_fresh(given, record, refuse=False, progress=progress)
    return found


def _claims(record: ReconstructionRecord, found: Score) -> tuple[Claim, ...]:
    """The distances of a reconstruction that have half-widths, beside the known ones."""
    known = pair_distances(found.superposition.moved[None])[0]
    if len(record.distances) != len(known):
        return ()
    claims = []
    for one, length in zip(record.distances, known.tolist(), strict=True):
        value, half = one.get("median", one.get("mean")), one.get("half_width")
        if isinstance(value, int | float) and isinstance(half, int | float):
            claims.append(Claim(str(one.get("of")), float(value), float(half), length))
    return tuple(claims)


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


def structure_in(path: Path | str, progress: Progress = SILENT) -> Geometry:
    """The structure in an XYZ file, in `geom.json` or `structures.h5`, or of a shipped molecule.

    Raises:
        InputFileError: the name is neither a file with a structure nor a molecule.
    """
    if Path(path).suffix == ".h5":
        return _mean_of_events(path, progress)[0]
    if Path(path).suffix == ".json":
        return read_geometry_json(path)[0].geometry()
    return find_geometry(path, progress)[0]
