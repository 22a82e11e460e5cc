"""`structures.h5`: one reconstructed structure per event.

Layout: `structures/event_id (n)`, `structures/position (n, ions, 3)` and `structures/uncertainty
(n, ions, 3)` in bohr, in the frame of the momenta, `structures/weight (n)`, `structures/closure
(n)`, `structures/ion (ions)`; `meta` with provenance and warnings (JSON). Each
dataset has a `units` attribute.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from molexa_core.base.errors import InputFileError
from molexa_core.base.fields import (
    EVENT_ID,
    EVENT_ION,
    EVENT_WEIGHT,
    POSITION,
    UNITS,
    WARNINGS,
)
from molexa_core.base.matter.ions import Ion, parse_ion
from molexa_core.base.storage.provenance import Provenance
from molexa_core.base.tables import FloatArray, IntArray
from molexa_core.io.hdf5.file import (
    new_hdf5,
    open_hdf5,
    read_array,
    read_provenance,
    read_strings,
    write_provenance,
    write_strings,
)

STRUCTURES: Final = "structures"
UNCERTAINTY: Final = "uncertainty"
CLOSURE: Final = "closure"
MAX_IONS: Final = 512


@dataclass(frozen=True)
class EventStructures:
    """One structure per event, in the frame of the momenta.

    Attributes:
        ions: the ion of each column.
        event_id: (n).
        positions: (n, ions, 3) bohr, centred.
        uncertainty: (n, ions, 3) half-width of the 68 % interval of each coordinate, bohr.
        closure: (n) rms misfit of the momenta of the exploded structure over their rms.
        weight: (n) weight of the event in averages.
    """

    ions: tuple[Ion, ...]
    event_id: IntArray
    positions: FloatArray
    uncertainty: FloatArray
    closure: FloatArray
    weight: FloatArray

    def __len__(self) -> int:
        return len(self.event_id)


def write_structures(
    path: Path | str,
    structures: EventStructures,
    provenance: Provenance,
    *,
    warnings: Sequence[str] = (),
) -> None:
    """Write the structures of events.

    Args:
        path: the file to write.
        structures: the structures of all events.
        provenance: how they were made.
        warnings: what may make them wrong, as sentences.

    Raises:
        OutputError: the file cannot be written.
    """
    columns = {
        EVENT_ID: (structures.event_id, ""),
        POSITION: (structures.positions, "bohr"),
        UNCERTAINTY: (structures.uncertainty, "bohr"),
        CLOSURE: (structures.closure, ""),
        EVENT_WEIGHT: (structures.weight, ""),
    }
    with new_hdf5(path) as file:
        group = file.create_group(STRUCTURES)
        for name, (values, unit) in columns.items():
            stored = values.astype(np.float32) if values.ndim == 3 else values
            dataset = group.create_dataset(
                name, data=stored, chunks=True if len(stored) else None,
                compression="gzip" if len(stored) else None,
            )  # fmt: skip
            dataset.attrs[UNITS] = unit
        write_strings(group, EVENT_ION, structures.ions, unit="")
        meta = write_provenance(file, provenance)
        meta.attrs[WARNINGS] = json.dumps(list(warnings))


def read_structures(path: Path | str) -> EventStructures:
    """Read the structures of events.

    Raises:
        InputFileError: no such file, or not of this form.
    """
    with open_hdf5(path) as file:
        read_provenance(file)

        def column(
            name: str, kinds: str, ndim: int, unit: str | None = None, **limits: Any
        ) -> NDArray[Any]:
            path = f"{STRUCTURES}/{name}"
            return read_array(file, path, kinds=kinds, ndim=ndim, unit=unit, **limits)

        names = read_strings(file, f"{STRUCTURES}/{EVENT_ION}", limit=MAX_IONS)
        structures = EventStructures(
            ions=tuple(parse_ion(name) for name in names),
            event_id=column(EVENT_ID, "iu", 1).astype(np.int64),
            positions=column(POSITION, "f", 3, "bohr", finite=True).astype(np.float64),
            uncertainty=column(UNCERTAINTY, "f", 3, "bohr", least=0).astype(np.float64),
            closure=column(CLOSURE, "f", 1, least=0).astype(np.float64),
            weight=column(EVENT_WEIGHT, "f", 1, finite=True, least=0).astype(np.float64),
        )
    rows, shape = len(structures), (len(structures), len(structures.ions), 3)
    fits = structures.positions.shape == structures.uncertainty.shape == shape
    if not fits or len(structures.closure) != rows or len(structures.weight) != rows:
        raise InputFileError(
            "the columns do not fit together", where=path, do="Make the file again."
        )
    return structures
