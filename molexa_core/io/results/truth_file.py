"""`truth.h5`: the exploded molecules of a virtual run and the origin of every hit.

Layout: `molecules/{shot, momentum, position, detected, charge}`, one row per exploded molecule;
`hits/{molecule, ion}`, one row per hit in the order of the run; `equilibrium/{element, position}`
and `ion`, one row per ion; provenance as an attribute of `meta`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np
from numpy.typing import NDArray

from molexa_core.base.errors import InputFileError
from molexa_core.base.fields import (
    EVENT_ION,
    EVENT_MOMENTUM,
    TAG_SHOT,
    TRUTH_CHARGE,
    TRUTH_DETECTED,
    TRUTH_ELEMENT,
    TRUTH_EQUILIBRIUM,
    TRUTH_HITS,
    TRUTH_MOLECULE,
    TRUTH_MOLECULES,
    TRUTH_POSITION,
    UNITS,
)
from molexa_core.base.matter.ions import Ion, parse_ion
from molexa_core.base.storage.provenance import Provenance
from molexa_core.base.tables import Geometry
from molexa_core.base.truth import VirtualTruth
from molexa_core.io.hdf5.file import (
    append_rows,
    new_column,
    new_hdf5,
    open_hdf5,
    read_array,
    read_provenance,
    read_strings,
    write_provenance,
    write_strings,
)

_MOST_IONS: Final = 1000
_ROWS: Final = 4096
"""Rows of a chunk of the file."""
_MOLECULE_COLUMNS: Final = {
    TAG_SHOT: ("i8", False, "1"),
    EVENT_MOMENTUM: ("f8", True, "a.u."),
    TRUTH_POSITION: ("f8", True, "bohr"),
}


class TruthWriter:
    """An open truth.h5; `truth_writer` makes it."""

    def __init__(self, file: h5py.File, ions: tuple[Ion, ...], equilibrium: Geometry) -> None:
        self._file, self._ions = file, ions
        write_strings(file, EVENT_ION, ions)
        group = file.create_group(TRUTH_EQUILIBRIUM)
        write_strings(group, TRUTH_ELEMENT, equilibrium.names)
        place = group.create_dataset(TRUTH_POSITION, data=equilibrium.positions)
        place.attrs[UNITS] = "bohr"
        for name, (kind, vectors, unit) in _MOLECULE_COLUMNS.items():
            shape = (len(ions), 3) if vectors else ()
            self._create(f"{TRUTH_MOLECULES}/{name}", kind, shape, unit)
        self._create(f"{TRUTH_MOLECULES}/{TRUTH_DETECTED}", "?", (len(ions),), "1")
        self._create(f"{TRUTH_MOLECULES}/{TRUTH_CHARGE}", "i1", (len(ions),), "1")
        self._create(f"{TRUTH_HITS}/{TRUTH_MOLECULE}", "i8", (), "1")
        self._create(f"{TRUTH_HITS}/{EVENT_ION}", "i8", (), "1")

    def append(self, truth: VirtualTruth) -> None:
        """Add a stretch, already numbered after those before it."""
        self._extend(f"{TRUTH_MOLECULES}/{TAG_SHOT}", truth.shot)
        self._extend(f"{TRUTH_MOLECULES}/{EVENT_MOMENTUM}", truth.momentum)
        self._extend(f"{TRUTH_MOLECULES}/{TRUTH_POSITION}", truth.position)
        self._extend(f"{TRUTH_MOLECULES}/{TRUTH_DETECTED}", truth.detected)
        self._extend(f"{TRUTH_MOLECULES}/{TRUTH_CHARGE}", truth.charges)
        self._extend(f"{TRUTH_HITS}/{TRUTH_MOLECULE}", truth.hit_molecule)
        self._extend(f"{TRUTH_HITS}/{EVENT_ION}", truth.hit_ion)

    def _create(self, name: str, kind: str, shape: tuple[int, ...], unit: str) -> None:
        new_column(self._file, name, np.empty((0, *shape), kind), unit, chunk_rows=_ROWS)

    def _extend(self, name: str, values: NDArray[Any]) -> None:
        append_rows(self._file[name], values)


@contextmanager
def truth_writer(
    path: Path | str, ions: tuple[Ion, ...], equilibrium: Geometry, provenance: Provenance
) -> Iterator[TruthWriter]:
    """A truth.h5 to append to; it gets its name when the block ends without an error.

    Args:
        path: the file to write.
        ions: the ions of the channel.
        equilibrium: the geometry at rest, in the order of the ions.
        provenance: the record of the run.

    Raises:
        OutputError: the file cannot be written there.
    """
    with new_hdf5(path) as file:
        write_provenance(file, provenance)
        yield TruthWriter(file, ions, equilibrium)


def read_truth(path: Path | str) -> tuple[VirtualTruth, Provenance]:
    """The truth of a virtual run and its provenance.

    Raises:
        InputFileError: no such file, or not a truth.h5.
    """
    with open_hdf5(path) as file:
        ions = tuple(parse_ion(text) for text in read_strings(file, EVENT_ION, limit=_MOST_IONS))
        symbols = read_strings(file, f"{TRUTH_EQUILIBRIUM}/{TRUTH_ELEMENT}", limit=_MOST_IONS)
        place = f"{TRUTH_EQUILIBRIUM}/{TRUTH_POSITION}"
        rest = read_array(file, place, kinds="f", ndim=2, unit="bohr", finite=True)
        columns = {
            name: read_array(
                file,
                f"{TRUTH_MOLECULES}/{name}",
                kinds=kind[0],
                ndim=3 if vectors else 1,
                unit=unit,
                finite=True,
                least=None if vectors else 0,
            )
            for name, (kind, vectors, unit) in _MOLECULE_COLUMNS.items()
        }
        seen = read_array(file, f"{TRUTH_MOLECULES}/{TRUTH_DETECTED}", kinds="b", ndim=2)
        charge = _charges(file, ions)
        rows = read_array(file, f"{TRUTH_HITS}/{TRUTH_MOLECULE}", kinds="i", ndim=1)
        column = read_array(file, f"{TRUTH_HITS}/{EVENT_ION}", kinds="i", ndim=1)
        record = read_provenance(file)
    shape = (len(columns[TAG_SHOT]), len(ions))
    fits = (
        columns[EVENT_MOMENTUM].shape == (*shape, 3)
        and columns[TRUTH_POSITION].shape == (*shape, 3)
        and seen.shape == shape
        and (charge is None or charge.shape == shape)
        and rest.shape == (len(ions), 3)
        and len(symbols) == len(ions)
        and len(rows) == len(column)
        and (len(rows) == 0 or (rows.max() < shape[0] and column.max() < shape[1]))
    )
    if not fits:
        raise InputFileError(
            "the columns do not fit each other", where=path, do="Make the run again."
        )
    truth = VirtualTruth(
        ions=ions,
        equilibrium=Geometry.of_atoms(symbols, rest, where=path),
        shot=columns[TAG_SHOT],
        momentum=columns[EVENT_MOMENTUM],
        position=columns[TRUTH_POSITION],
        detected=seen,
        hit_molecule=rows,
        hit_ion=column,
        charge=charge,
    )
    return truth, record


def _charges(file: h5py.File, ions: tuple[Ion, ...]) -> NDArray[np.int8] | None:
    """Final charges; None if they are those of the channel, or in older files without them."""
    name = f"{TRUTH_MOLECULES}/{TRUTH_CHARGE}"
    if name not in file:
        return None
    charges = read_array(file, name, kinds="i", ndim=2, least=0, most=118).astype(np.int8)
    if charges.shape[1] == len(ions) and (charges == [ion.charge for ion in ions]).all():
        return None
    return charges
