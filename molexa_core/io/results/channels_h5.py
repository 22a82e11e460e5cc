"""`channels.h5`: final charge combinations of many explosions of one geometry.

    geometry/{element (atoms), position (atoms, 3)}
    combinations/{charge (C, atoms), count (C), momentum (C, atoms, 3), error, spread,
                  covariance (C, atoms, 3, 3), release (C), release_spread (C)}
    charge_states (atoms, charges from 0)      spectra/NAME
    meta: attributes `format`, `kind`, `provenance`, `trajectories`, `photons`, `lost`, `warnings`

Combinations are sorted by their counts, the most frequent first.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np
from numpy.typing import NDArray

from molexa_core.base import fields
from molexa_core.base.charge_combinations import Outcomes
from molexa_core.base.errors import InputFileError
from molexa_core.base.storage.provenance import Provenance
from molexa_core.base.tables import Geometry
from molexa_core.io.hdf5.file import (
    attribute,
    member,
    new_hdf5,
    open_hdf5,
    read_array,
    read_provenance,
    read_strings,
    write_provenance,
    write_strings,
)
from molexa_core.io.results.events import read_spectrum, write_spectrum

_MOST_ATOMS: Final = 1000
_C: Final = fields.COMBINATIONS
_PLACE: Final = f"{fields.GEOMETRY}/{fields.POSITION}"
_ELEMENTS: Final = f"{fields.GEOMETRY}/{fields.TRUTH_ELEMENT}"
_AGAIN: Final = "Make it again with `molexa simulate`."


def write_channels(path: Path | str, outcomes: Outcomes, provenance: Provenance) -> None:
    """Write all combinations of one geometry.

    Raises:
        OutputError: the file cannot be written there.
    """
    columns: dict[str, tuple[NDArray[Any], str]] = {
        fields.CHARGE: (outcomes.charges, "1"),
        fields.COUNT: (outcomes.counts, "1"),
        fields.EVENT_MOMENTUM: (outcomes.momenta, "a.u."),
        fields.ERROR: (outcomes.errors, "a.u."),
        fields.SPREAD: (outcomes.spread, "a.u."),
        fields.COVARIANCE: (outcomes.covariance, "a.u.^2"),
        fields.RELEASE: (outcomes.release, "hartree"),
    }
    if outcomes.release_spread is not None:
        columns[fields.RELEASE_SPREAD] = (outcomes.release_spread, "hartree")
    with new_hdf5(path) as file:
        meta = write_provenance(file, provenance, kind=fields.CHANNELS_KIND)
        meta.attrs[fields.TRAJECTORIES] = outcomes.trajectories
        meta.attrs[fields.PHOTONS] = outcomes.photons
        meta.attrs[fields.LOST] = outcomes.lost
        if outcomes.geometry.warnings:
            meta.attrs[fields.WARNINGS] = json.dumps(outcomes.geometry.warnings)
        write_strings(file, _ELEMENTS, outcomes.geometry.names)
        place = file.create_dataset(_PLACE, data=outcomes.geometry.positions)
        place.attrs[fields.UNITS] = "bohr"
        for name, (values, unit) in columns.items():
            packing = {"compression": "gzip", "shuffle": True} if values.size else {}
            file.create_dataset(f"{_C}/{name}", data=values, **packing).attrs[fields.UNITS] = unit
        states = file.create_dataset(fields.CHARGE_STATES, data=outcomes.charge_states)
        states.attrs[fields.UNITS] = "1"
        for name, spectrum in outcomes.spectra.items():
            write_spectrum(file.create_group(f"{fields.SPECTRA}/{name}"), spectrum)


def read_channels(path: Path | str) -> tuple[Outcomes, Provenance]:
    """All combinations of one geometry, and where they came from.

    Raises:
        InputFileError: the file is missing, damaged, or of another kind.
    """
    with open_hdf5(path) as file:
        meta = member(file, fields.META)
        if attribute(meta, fields.KIND) != fields.CHANNELS_KIND:
            raise InputFileError("not a file of combinations", where=path, do=_AGAIN)
        symbols = tuple(read_strings(file, _ELEMENTS, limit=_MOST_ATOMS))
        spectra = file.get(fields.SPECTRA, ())
        outcomes = Outcomes(
            geometry=Geometry.of_atoms(
                symbols,
                read_array(file, _PLACE, kinds="f", ndim=2, unit="bohr", finite=True),
                where=path,
            ),
            trajectories=_number(meta, fields.TRAJECTORIES),
            charges=read_array(file, f"{_C}/{fields.CHARGE}", kinds="i", ndim=2, least=0, most=118),
            counts=read_array(file, f"{_C}/{fields.COUNT}", kinds="i", ndim=1, least=0),
            momenta=_momenta(file, fields.EVENT_MOMENTUM, 3),
            covariance=read_array(file, f"{_C}/{fields.COVARIANCE}", kinds="f", ndim=4),
            charge_states=read_array(file, fields.CHARGE_STATES, kinds="i", ndim=2, least=0),
            release=read_array(file, f"{_C}/{fields.RELEASE}", kinds="f", ndim=1),
            release_spread=_release_spread(file),
            spectra={name: read_spectrum(file, f"{fields.SPECTRA}/{name}") for name in spectra},
            photons=float(_number(meta, fields.PHOTONS)),
            occurred=0,
            neutral=0,
            lost=int(_number(meta, fields.LOST)) if fields.LOST in meta.attrs else 0,
        )
        provenance = read_provenance(file)
    n, atoms = len(outcomes), len(symbols)
    shapes = (
        outcomes.charges.shape == (n, atoms)
        and outcomes.momenta.shape == (n, atoms, 3)
        and outcomes.covariance.shape == (n, atoms, 3, 3)
        and len(outcomes.charge_states) == atoms
        and len(outcomes.release) == n
        and (outcomes.release_spread is None or len(outcomes.release_spread) == n)
    )
    if not shapes:
        raise InputFileError("the columns do not fit each other", where=path, do=_AGAIN)
    neutral = int(outcomes.counts[(outcomes.charges == 0).any(axis=1)].sum())
    outcomes = replace(outcomes, occurred=n, neutral=neutral)
    return outcomes, provenance


def _momenta(file: h5py.File, name: str, ndim: int) -> NDArray[Any]:
    return read_array(file, f"{_C}/{name}", kinds="f", ndim=ndim, unit="a.u.", finite=True)


def _release_spread(file: h5py.File) -> NDArray[Any] | None:
    name = f"{_C}/{fields.RELEASE_SPREAD}"
    return read_array(file, name, kinds="f", ndim=1, least=0) if name in file else None


def _number(meta: h5py.Group, name: str) -> Any:
    value = attribute(meta, name)
    if not isinstance(value, int | float | np.number) or not np.isfinite(value) or value < 0:
        raise InputFileError(
            f"attribute {name} is not a number of 0 or more", where=meta.file.filename, do=_AGAIN
        )
    return value
