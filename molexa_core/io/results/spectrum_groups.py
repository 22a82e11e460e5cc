"""Reading and writing of histograms in HDF5 files, one group per histogram."""

from __future__ import annotations

import json

import h5py
import numpy as np

from molexa_core.base.errors import InputFileError, UsageError
from molexa_core.base.fields import UNITS
from molexa_core.base.spectrum import Spectrum
from molexa_core.io.hdf5.file import attribute, member, read_array, read_json


def write_spectrum(group: h5py.Group, spectrum: Spectrum) -> None:
    """Write a histogram into a separate group."""
    group.create_dataset(
        "counts", data=spectrum.counts, compression="gzip", compression_opts=1, shuffle=True
    )
    group["counts"].attrs[UNITS] = ""
    if spectrum.errors is not None:
        group.create_dataset("errors", data=spectrum.errors)
        group["errors"].attrs[UNITS] = ""
    for axis, edges in enumerate(spectrum.edges):
        group.create_dataset(f"edges{axis}", data=edges)
        group[f"edges{axis}"].attrs[UNITS] = spectrum.units[axis]
    group.attrs["labels"] = json.dumps(spectrum.labels)
    group.attrs["units"] = json.dumps(spectrum.units)
    if spectrum.outside:
        group.attrs["outside"] = float(spectrum.outside)
    group.attrs["marks"] = json.dumps({key: float(value) for key, value in spectrum.marks.items()})


def read_spectrum(file: h5py.File, name: str) -> Spectrum:
    """The histogram in a group.

    Raises:
        InputFileError: it is missing or damaged.
    """
    group = member(file, name)
    axes = 2 if "edges1" in group else 1
    described = {
        key: read_json(file, attribute(group, key), f"attribute {key} of {name}")
        for key in ("labels", "units", "marks")
    }
    errors, least = None, 0.0
    if "errors" in group:  # counts after a subtraction, which can be negative
        errors = read_array(file, f"{name}/errors", kinds="f", ndim=axes, finite=True, least=0)
        least = -np.inf
    try:
        return Spectrum(
            counts=read_array(
                file, f"{name}/counts", kinds="iuf", ndim=axes, finite=True, least=least
            ),
            errors=errors,
            edges=tuple(
                read_array(file, f"{name}/edges{axis}", kinds="f", ndim=1, finite=True)
                for axis in range(axes)
            ),
            labels=tuple(described["labels"]),
            units=tuple(described["units"]),
            marks=described["marks"],
            outside=_outside(group),
        )
    except (UsageError, TypeError) as error:
        raise InputFileError(f"{name}: {error}", where=file.filename) from error


def _outside(group: h5py.Group) -> float:
    """Number of values beyond the edges; 0 in files that do not state it."""
    value = group.attrs.get("outside", 0.0)
    if not isinstance(value, int | float | np.number) or not 0.0 <= float(value) < np.inf:
        raise UsageError("attribute outside is not a number of values")
    return float(value)
