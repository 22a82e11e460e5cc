"""Run formats of European XFEL and FLASH."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from molexa_core.base.errors import listing
from molexa_core.base.fields import TAG_FEL, TAG_PULSE, TAG_PULSE_ENERGY, TAG_PUMP, TAG_TRAIN
from molexa_core.io import marks
from molexa_core.io.run_format import Places, RunFormat, Writer
from molexa_core.io.table_formats import hdf5_of_molexa

if TYPE_CHECKING:
    import h5py

    from molexa_core.base.tables import Edges, Hits
    from molexa_core.io.candidate import Candidate, HowToRead
    from molexa_core.io.stored_run import StoredRun

_KEPT: Final = frozenset({TAG_FEL, TAG_PUMP, TAG_PULSE_ENERGY})


def _probe_xfel(file: Candidate) -> tuple[Path, h5py.File] | None:
    if not file.head.startswith(marks.HDF5):
        return None
    from molexa_core.io.hdf5.file import open_handle, reading_hdf5  # noqa: PLC0415

    handle = file.opened(open_handle)
    with reading_hdf5(file.path):
        if "INDEX/trainId" in handle and ("INSTRUMENT" in handle or "CONTROL" in handle):
            return file.path, handle
    return None


def _open_xfel(found: Sequence[tuple[Path, h5py.File]], how: HowToRead) -> StoredRun:
    paths, handles = [path for path, _ in found], [handle for _, handle in found]
    facility = how.facility
    if facility is not None and facility.keys is not None:
        from molexa_core.io.facilities.xfel_keys import KeyedRun  # noqa: PLC0415

        return KeyedRun(paths, facility, handles)
    from molexa_core.io.facilities.xfel import XfelRun  # noqa: PLC0415

    return XfelRun(paths, facility, handles)


def _written(file: Candidate) -> str | None:
    handle = hdf5_of_molexa(file)
    if handle is None or "INDEX" not in handle:
        return None
    from molexa_core.io.facilities.xfel_write import SOURCE  # noqa: PLC0415

    return "edges" if f"INSTRUMENT/{SOURCE}/raw/edges" in handle else "xfel"


def _probe_flash(file: Candidate) -> tuple[Path, h5py.File] | None:
    if not file.head.startswith(marks.HDF5) or file.how.columns is not None:
        return None
    from molexa_core.io.facilities.flash import flash_detectors  # noqa: PLC0415
    from molexa_core.io.hdf5.file import open_handle, reading_hdf5  # noqa: PLC0415

    handle = file.opened(open_handle)
    with reading_hdf5(file.path):
        return (file.path, handle) if flash_detectors(handle) else None


def _open_flash(found: Sequence[tuple[Path, h5py.File]], how: HowToRead) -> StoredRun:
    from molexa_core.io.facilities.flash import FlashRun  # noqa: PLC0415

    return FlashRun([path for path, _ in found], how.facility, [handle for _, handle in found])


def _hits(path: Path, chunks: Iterable[Hits], places: Places, meta: Mapping[str, Any]) -> None:
    from molexa_core.io.facilities.xfel_write import write_xfel_run  # noqa: PLC0415

    write_xfel_run(path, chunks, slots=places.slots, meta=meta)


def _edges(path: Path, chunks: Iterable[Edges], places: Places, meta: Mapping[str, Any]) -> None:
    from molexa_core.io.facilities.xfel_write import write_xfel_run  # noqa: PLC0415

    write_xfel_run(path, chunks, slots=places.slots, n_channels=places.channels, meta=meta)


def _unheld(tags: Collection[str]) -> list[str]:
    renumbered = set(tags) & {TAG_TRAIN, TAG_PULSE}
    lost = [f"numbers of trains and pulses ({listing(sorted(renumbered))})"] * bool(renumbered)
    others = sorted(set(tags) - _KEPT - renumbered)
    return lost + ([f"values per shot: {listing(others)}"] if others else [])


XFEL: Final = RunFormat(
    name="xfel",
    words="file of European XFEL",
    sought=("HDF5", "European XFEL"),
    probe=_probe_xfel,
    open=_open_xfel,
    written=_written,
    suffixes=(".h5",),
    in_folders=True,
    at_facility=True,
    hits=(Writer(name="xfel", write=_hits, counted=True, unheld=_unheld),),
    edges=(
        Writer(
            name="edges",
            words="as European XFEL writes them",
            write=_edges,
            counted=True,
            unheld=_unheld,
        ),
    ),
)
FLASH: Final = RunFormat(
    name="flash",
    words="file of FLASH",
    sought=("HDF5", "FLASH"),
    probe=_probe_flash,
    open=_open_flash,
    suffixes=(".h5",),
    in_folders=True,
    at_facility=True,
)
