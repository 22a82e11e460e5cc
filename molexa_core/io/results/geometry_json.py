"""`geom.json`: a reconstructed structure with uncertainties, samples and alternatives, in bohr."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from itertools import combinations
from pathlib import Path
from typing import Any, Final

import numpy as np

from molexa_core.base.errors import InputFileError
from molexa_core.base.fields import FORMAT, PROVENANCE
from molexa_core.base.matter.isotopes import nuclide_name
from molexa_core.base.shown import Shown
from molexa_core.base.storage.checksums import sealed, unsealed
from molexa_core.base.storage.files import UNWRITABLE, atomic_path
from molexa_core.base.storage.json_file import read_json
from molexa_core.base.storage.provenance import Provenance
from molexa_core.base.tables import FloatArray, Geometry

LARGEST: Final = 64 * 2**20
"""A longer file, in bytes, is refused: 4096 samples of 64 atoms take a quarter of it."""
MOST_ATOMS: Final = 512
"""Largest molecule of a reconstruction."""
_MOST_CHARGE: Final = 118
_SEALED_FORMAT: Final = 2
"""Files of this format have a checksum; those of 1, which do not name a format, have none."""


@dataclass(frozen=True, repr=False)
class ReconstructionRecord(Shown):
    """A reconstructed structure; the attributes are the keys of the file.

    Attributes:
        symbols: element of each atom.
        positions_bohr: (atoms, 3) in the frame of the input momenta.
        charges: final charge of each atom.
        uncertainty_bohr: (atoms, 3) one standard uncertainty of each coordinate; null where there
            is none.
        uncertainty_reason: why there is none, as a sentence.
        isotopes: mass number of each atom, 0 where it is not stated; absent where none is.
        spread_bohr: (atoms, 3) standard deviation over the samples.
        samples_bohr: (samples, atoms, 3) every sample drawn.
        closure: agreement of the momenta from an explosion of the structure with the measured ones.
        model: the network: name, format, relevant settings.
        input: the input: file, ions, momenta.
        alternatives: the other structures found whose explosion explains the momenta, best
            first: positions, closure, share of the samples, chemical rules that they break.
        warnings: warnings as sentences.
        errors: errors against a known structure, where one was given.
        explosion: the explosion that was assumed: `statement`, `origin` (told, calibrated,
            unknown), `source`; and whether it can give these momenta: `chi_square`, `degrees`,
            `p_value`, `worst` (ion and direction), `residuals_sigma`; see docs/files.md.
        distances: between atoms in bohr, `of`, `median`, `half_width` (68 %), `low`, `high`; from a
            posterior also `region`, the shortest set of 68 % as a list of intervals.
        angles: the same in degrees.
        dihedrals: the same of four bonded atoms each, `atoms`: the median direction in degrees,
            -180 to 180; `low` and `high` count on from there and may lie beyond.
        events: where the structure is the mean over single events: distributions of distances and
            angles, statistical and systematic errors, and what the mean momenta give; else absent.
    """

    symbols: tuple[str, ...]
    positions_bohr: FloatArray
    charges: tuple[int, ...] | None = None
    uncertainty_bohr: FloatArray | None = None
    uncertainty_reason: str | None = None
    spread_bohr: FloatArray | None = None
    samples_bohr: FloatArray | None = None
    closure: Mapping[str, Any] = field(default_factory=dict)
    model: Mapping[str, Any] = field(default_factory=dict)
    input: Mapping[str, Any] = field(default_factory=dict)
    alternatives: tuple[Mapping[str, Any], ...] = ()
    warnings: tuple[str, ...] = ()
    errors: Mapping[str, Any] | None = None
    isotopes: tuple[int, ...] | None = None
    explosion: Mapping[str, Any] = field(default_factory=dict)
    distances: tuple[Mapping[str, Any], ...] = ()
    angles: tuple[Mapping[str, Any], ...] = ()
    dihedrals: tuple[Mapping[str, Any], ...] = ()
    events: Mapping[str, Any] | None = None

    def rows_by_atoms(self) -> dict[tuple[int, ...], Mapping[str, Any]]:
        """Distances, angles (vertex in the middle) and dihedrals by the numbers of their atoms.

        Only of those kinds of which a row is recorded for every pair or angle; dihedrals in both
        directions.
        """
        count = len(self.symbols)
        pairs: list[tuple[int, ...]] = list(combinations(range(count), 2))
        angles: list[tuple[int, ...]] = [
            (i, at, j) for at in range(count) for i, j in pairs if at not in (i, j)
        ]
        found: dict[tuple[int, ...], Mapping[str, Any]] = {}
        for atoms, rows in ((pairs, self.distances), (angles, self.angles)):
            if len(atoms) == len(rows):
                found |= dict(zip(atoms, rows, strict=True))
        for row in self.dihedrals:
            chain = row.get("atoms")
            if isinstance(chain, Sequence) and len(chain) == 4:
                found[tuple(chain)] = found[tuple(chain)[::-1]] = row
        return found

    def values(self) -> dict[tuple[int, ...], float | None]:
        """Distances, angles and dihedrals by atoms, bohr and degrees; those that are recorded.

        Of single events these are means of the distances, which are not those between mean places.
        """
        return {
            atoms: float(value)
            for atoms, row in self.rows_by_atoms().items()
            if isinstance(value := row.get("median", row.get("mean")), int | float)
        }

    def half_widths(self) -> dict[tuple[int, ...], float | None]:
        """Half-widths of 68 % by atoms, bohr and degrees; those that are recorded."""
        return {
            atoms: float(row["half_width"])
            for atoms, row in self.rows_by_atoms().items()
            if isinstance(row.get("half_width"), int | float)
        }

    def geometry(self) -> Geometry:
        """The structure as the table that other stages take."""
        return Geometry(
            symbols=self.symbols,
            positions=self.positions_bohr,
            charges=self.charges,
            uncertainty=self.uncertainty_bohr,
            comment=self.uncertainty_reason or "",
            isotopes=self.isotopes,
        )


def write_geometry_json(
    path: Path | str, record: ReconstructionRecord, provenance: Provenance | None = None
) -> None:
    """Write a reconstruction; unknown values are left out.

    Args:
        path: the file to write.
        record: the reconstruction.
        provenance: how it was made.

    Raises:
        OutputError: the file cannot be written.
    """
    values: dict[str, Any] = {FORMAT: _SEALED_FORMAT}
    for item in fields(record):
        value = getattr(record, item.name)
        if value is not None:
            values[item.name] = _plain(value)
    if record.uncertainty_reason is not None:
        values["uncertainty_bohr"] = None
    if provenance is not None:
        values[PROVENANCE] = json.loads(provenance.to_json())
    with atomic_path(path) as temporary:
        text = json.dumps(sealed(values), indent=1, allow_nan=False)
        temporary.write_text(f"{text}\n", encoding="utf-8", errors=UNWRITABLE)


def read_geometry_json(path: Path | str) -> tuple[ReconstructionRecord, Provenance | None]:
    """The reconstruction in a file; keys other than `symbols` and `positions_bohr` may be absent.

    Raises:
        InputFileError: no such file, not JSON of this form, or lengths that do not fit together.
    """
    path = Path(path)
    values = _load(path)
    for name in ("symbols", "positions_bohr"):
        if name not in values:
            raise InputFileError(
                f"key {name!r} is missing", where=path, do="Name a file of molexa reconstruct."
            )
    try:
        symbols = tuple(str(symbol) for symbol in values["symbols"])
        if not 1 <= len(symbols) <= MOST_ATOMS:
            raise InputFileError(
                f"{len(symbols)} atoms, expected 1 to {MOST_ATOMS}",
                where=path,
                do="Name a file of molexa reconstruct.",
            )
        atoms = (len(symbols), 3)
        record = ReconstructionRecord(
            symbols=symbols,
            positions_bohr=_array(values, "positions_bohr", atoms, path),
            charges=_charges(values, symbols, path),
            uncertainty_bohr=_optional(values, "uncertainty_bohr", atoms, path, least=0),
            uncertainty_reason=_sentence(values.get("uncertainty_reason")),
            spread_bohr=_optional(values, "spread_bohr", atoms, path, least=0),
            samples_bohr=_optional(values, "samples_bohr", (-1, *atoms), path),
            closure=dict(values.get("closure") or {}),
            model=dict(values.get("model") or {}),
            input=dict(values.get("input") or {}),
            alternatives=tuple(dict(one) for one in values.get("alternatives") or ()),
            warnings=tuple(str(text) for text in values.get("warnings") or ()),
            errors=None if values.get("errors") is None else dict(values["errors"]),
            isotopes=_isotopes(values, symbols, path),
            explosion=dict(values.get("explosion") or {}),
            distances=tuple(dict(one) for one in values.get("distances") or ()),
            angles=tuple(dict(one) for one in values.get("angles") or ()),
            dihedrals=tuple(dict(one) for one in values.get("dihedrals") or ()),
            events=None if values.get("events") is None else dict(values["events"]),
        )
        text = values.get(PROVENANCE)
        provenance = None if text is None else Provenance.from_json(json.dumps(text))
    except (TypeError, ValueError, AttributeError) as error:
        if isinstance(error, InputFileError):
            raise
        detail = " ".join(str(error).split())
        raise InputFileError(
            f"a value has the wrong form ({detail})", where=path, do="Reconstruct again."
        ) from error
    return record, provenance


def _isotopes(
    values: Mapping[str, Any], symbols: Sequence[str], path: Path
) -> tuple[int, ...] | None:
    numbers = values.get("isotopes")
    if numbers is None:
        return None
    found = tuple(int(number) for number in numbers)
    if len(found) != len(symbols):
        raise InputFileError(f"{len(found)} isotopes for {len(symbols)} atoms", where=path)
    names = [nuclide_name(s, n) for s, n in zip(symbols, found, strict=True)]
    return Geometry.of_atoms(names, np.zeros((len(names), 3)), where=path).isotopes


def _load(path: Path) -> dict[str, Any]:
    values = read_json(
        path, largest=LARGEST, what="a reconstruction", do="Name a file of molexa reconstruct."
    )
    version = values.get(FORMAT, 1)
    if type(version) is not int or not 1 <= version <= _SEALED_FORMAT:
        raise InputFileError(
            f"format {version!r} is not known here",
            where=path,
            do=f"This molexa reads formats up to {_SEALED_FORMAT}; update it.",
        )
    return unsealed(values, where=path, required=version >= _SEALED_FORMAT)[0]


def _charges(values: Mapping[str, Any], symbols: tuple[str, ...], path: Path) -> Any:
    charges = values.get("charges")
    if charges is None:
        return None
    if len(charges) != len(symbols):
        raise InputFileError(f"{len(charges)} charges for {len(symbols)} atoms", where=path)
    for symbol, charge in zip(symbols, charges, strict=True):
        if type(charge) is not int or not 0 <= charge <= _MOST_CHARGE:
            raise InputFileError(
                f"{charge!r} cannot be the charge of {symbol}", where=path, do="Reconstruct again."
            )
    return tuple(charges)


def _sentence(value: Any) -> str | None:
    return None if value is None else str(value)


def _optional(
    values: Mapping[str, Any],
    name: str,
    shape: tuple[int, ...],
    path: Path,
    *,
    least: float = -math.inf,
) -> FloatArray | None:
    if values.get(name) is None:
        return None
    array = _array(values, name, shape, path)
    if (array < least).any():
        raise InputFileError(
            f"{name} has a value of {array.min():g}", where=path, do="Reconstruct again."
        )
    return array


def _array(values: Mapping[str, Any], name: str, shape: tuple[int, ...], path: Path) -> FloatArray:
    array = np.asarray(values[name], dtype=np.float64)
    fits = array.ndim == len(shape) and all(
        want in {-1, found} for want, found in zip(shape, array.shape, strict=True)
    )
    if not fits or not np.isfinite(array).all():
        wanted = " x ".join("any" if size == -1 else str(size) for size in shape)
        raise InputFileError(
            f"{name} is not {wanted} finite numbers", where=path, do="Reconstruct again."
        )
    return array


def _plain(value: Any) -> Any:
    """Plain JSON values; what is not a finite number becomes null."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
