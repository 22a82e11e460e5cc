"""Every reader of HDF5 refuses data that stand in other files or unpack without bound."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from molexa_core.base.errors import InputFileError
from molexa_core.base.matter.ions import parse_ion
from molexa_core.base.settings.columns import Facility
from molexa_core.base.storage.provenance import Provenance
from molexa_core.base.tables import Coincidences, Geometry
from molexa_core.base.truth import VirtualTruth
from molexa_core.io.facilities.flash import FlashRun
from molexa_core.io.facilities.xfel import XfelRun
from molexa_core.io.results.events import EventsFile, read_events, write_events
from molexa_core.io.results.structures import EventStructures, read_structures, write_structures
from molexa_core.io.results.truth_file import read_truth, truth_writer
from molexa_core.pipeline.datasets.shard_file import read_blocks, write_blocks
from tests.fakes.facility import STAGE, TOP, XGM, write_flash, write_xfel
from tests.fakes.hdf5_edits import edited

IONS = tuple(parse_ion(ion) for ion in ("O+", "H+", "H+"))
MADE = Provenance.of("test")
SAMPLE = Path(__file__).parent.parent / "data" / "sample"


def make_events(path: Path) -> None:
    write_events(path, Coincidences.of(IONS, np.ones((5, 3, 3))), MADE)


def make_structures(path: Path) -> None:
    n, shape = 4, (4, 3, 3)
    found = EventStructures(
        IONS, np.arange(n), np.ones(shape), np.ones(shape), np.ones(n), np.ones(n)
    )
    write_structures(path, found, MADE)


def make_pack(path: Path) -> None:
    blocks, recipe = read_blocks(next(SAMPLE.glob("*.h5")))
    write_blocks(path, blocks, recipe, MADE)


def make_truth(path: Path) -> None:
    rest = Geometry(("O", "H", "H"), np.ones((3, 3)))
    with truth_writer(path, IONS, rest, MADE) as writer:
        writer.append(
            VirtualTruth(
                ions=IONS,
                equilibrium=rest,
                shot=np.arange(2),
                momentum=np.ones((2, 3, 3)),
                position=np.ones((2, 3, 3)),
                detected=np.ones((2, 3), np.bool_),
                hit_molecule=np.zeros(2, np.int64),
                hit_ion=np.zeros(2, np.int64),
            )
        )


def make_xfel(path: Path) -> None:
    write_xfel(path, [3, 2], energy_trains=[0, 1], delay=True)


def read_xfel(path: Path) -> object:
    run = XfelRun([path], Facility(delay=f"{STAGE}/actualPosition"))
    return list(run)


def read_flash(path: Path) -> object:
    return list(FlashRun([path], Facility(delay="zraw/DELAY/dGroup")))


PLACES: list[tuple[Callable[[Path], Any], Callable[[Path], Any], Iterable[str]]] = [
    (make_events, read_events, ("events/momentum", "events/event_id", "events/ion", "meta/x")),
    (make_events, EventsFile, ("events/weight",)),
    (make_structures, read_structures, ("structures/position", "structures/ion")),
    (make_truth, read_truth, ("molecules/momentum", "hits/ion", "equilibrium/position")),
    (make_pack, read_blocks, ("entries/momentum", "geometries/position", "blocks/name")),
    (
        make_xfel,
        read_xfel,
        (
            "INDEX/trainId",
            f"INSTRUMENT/{TOP}/rec/hits",
            f"INSTRUMENT/{TOP}/raw/triggers",
            f"INSTRUMENT/{XGM}/data/intensityTD",
            f"CONTROL/{STAGE}/actualPosition/value",
        ),
    ),
    (
        write_flash,
        read_flash,
        (
            "uncategorised/FLASH.EXP/HEXTOF.DAQ/DLD1/value",
            "uncategorised/FLASH.EXP/HEXTOF.DAQ/DLD1/index",
            "zraw/DELAY/dGroup/value",
        ),
    ),
]


def link_out(file: h5py.File, name: str, shape: Any, dtype: Any, other: Path) -> None:
    file[name] = h5py.ExternalLink(str(other), name)


def stand_outside(file: h5py.File, name: str, shape: Any, dtype: Any, other: Path) -> None:
    size = int(np.prod(shape)) * dtype.itemsize
    other.with_suffix(".bin").write_bytes(bytes(size))
    file.create_dataset(name, shape, dtype, external=[(str(other.with_suffix(".bin")), 0, size)])


def stand_elsewhere(file: h5py.File, name: str, shape: Any, dtype: Any, other: Path) -> None:
    layout = h5py.VirtualLayout(shape, dtype)
    layout[...] = h5py.VirtualSource(str(other), name, shape)
    file.create_virtual_dataset(name, layout)


def unpack_boundlessly(file: h5py.File, name: str, shape: Any, dtype: Any, other: Path) -> None:
    chunk = (2**28, *shape[1:])
    kept = (None, *shape[1:])
    file.create_dataset(name, shape, dtype, chunks=chunk, maxshape=kept, compression="gzip")


FORMS = {
    link_out: "is a link to another file",
    stand_outside: "stand in another file",
    stand_elsewhere: "is a virtual dataset",
    unpack_boundlessly: "is stored in chunks of",
}
CASES = [
    pytest.param(make, read, name, form, id=f"{read.__name__}-{name}-{form.__name__}")
    for make, read, names in PLACES
    for name in names
    for form in FORMS
    if name != "meta/x" or form is link_out
]


@pytest.mark.parametrize(("make", "read", "name", "form"), CASES)
def test_data_that_stand_elsewhere_are_refused(
    tmp_path: Path,
    make: Callable[[Path], Any],
    read: Callable[[Path], Any],
    name: str,
    form: Callable[..., None],
) -> None:
    path, other = tmp_path / "a.h5", tmp_path / "other.h5"
    make(path)
    read(path)
    make(other)
    with edited(path) as file:
        shape, dtype = (3,), np.dtype("i8")
        if name in file:
            shape, dtype = file[name].shape, file[name].dtype
            del file[name]
        if h5py.check_string_dtype(dtype) and form is not link_out:
            dtype = np.dtype("S3")
        form(file, name, shape, dtype, other)
    with pytest.raises(InputFileError, match=FORMS[form]) as caught:
        read(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
