"""`covariance.h5`: cumulants of the ions of a channel, and maps of them.

maps/NAME/{counts, errors, edges0, edges1}     cumulant per shot and pair of bins
meta: attributes `format`, `kind`, `provenance`, and `cumulants` (JSON)
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from molexa_core.base.errors import InputFileError
from molexa_core.base.spectrum import Spectrum
from molexa_core.base.storage.provenance import Provenance
from molexa_core.io.hdf5.file import (
    attribute,
    member,
    new_hdf5,
    open_hdf5,
    read_json,
    read_provenance,
    write_provenance,
)
from molexa_core.io.results.spectrum_groups import read_spectrum, write_spectrum

KIND: Final = "covariance"
_MAPS: Final = "maps"
_CUMULANTS: Final = "cumulants"


def write_covariance(
    path: Path | str,
    cumulants: Mapping[str, Any],
    maps: Mapping[str, Spectrum],
    provenance: Provenance,
) -> None:
    """Write cumulants and maps.

    Raises:
        OutputError: the file cannot be written there.
    """
    with new_hdf5(path) as file:
        meta = write_provenance(file, provenance, kind=KIND)
        meta.attrs[_CUMULANTS] = json.dumps(dict(cumulants))
        for name, spectrum in maps.items():
            write_spectrum(file.create_group(f"{_MAPS}/{name}"), spectrum)


def is_covariance(meta: Any) -> bool:
    """Whether the group `meta` of a file is that of a file of covariances."""
    return bool(meta.attrs.get("kind") == KIND)


def read_covariance(
    path: Path | str,
) -> tuple[dict[str, Any], dict[str, Spectrum], Provenance]:
    """Cumulants as plain values, maps by name, and provenance.

    Raises:
        InputFileError: the file is missing, damaged, or of another kind.
    """
    with open_hdf5(path) as file:
        provenance = read_provenance(file)
        meta = member(file, "meta")
        if not is_covariance(meta):
            raise InputFileError("this is no file of covariances", where=path)
        values = read_json(file, attribute(meta, _CUMULANTS), _CUMULANTS)
        names = list(file[_MAPS]) if _MAPS in file else []
        return dict(values), {n: read_spectrum(file, f"{_MAPS}/{n}") for n in names}, provenance
