"""Description of files given in place of a run: results of molexa and other HDF5 files."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from molexa_core.base.fields import (
    EVENT_GROUP,
    EVENT_ID,
    EVENT_ION,
    EVENT_MOMENTUM,
    EVENT_TAG,
    META,
    POSITION,
    PROVENANCE,
    SPECTRA,
    STRUCTURES,
    TRUTH_HITS,
    TRUTH_MOLECULE,
    TRUTH_MOLECULES,
)
from molexa_core.io import marks
from molexa_core.io.run_format import FileFormat, Turn

if TYPE_CHECKING:
    import h5py

    from molexa_core.io.candidate import Candidate

_MOST_IONS: Final = 512


def holds_events(file: h5py.File) -> bool:
    """Whether an HDF5 file has the momenta of coincidences."""
    return f"{EVENT_GROUP}/{EVENT_MOMENTUM}" in file and META in file


def holds_truth(file: h5py.File) -> bool:
    """Whether an HDF5 file has the truth of a virtual run."""
    return TRUTH_MOLECULES in file and TRUTH_HITS in file


def holds_structures(file: h5py.File) -> bool:
    """Whether an HDF5 file has structures of single events."""
    return f"{STRUCTURES}/{POSITION}" in file and META in file


def _anything(file: h5py.File) -> bool:
    del file
    return True


def _hdf5_with(holds: Callable[[h5py.File], bool]) -> Callable[[Candidate], h5py.File | None]:
    def probe(file: Candidate) -> h5py.File | None:
        if not file.head.startswith(marks.HDF5):
            return None
        from molexa_core.io.hdf5.file import open_handle, reading_hdf5  # noqa: PLC0415

        handle = file.opened(open_handle)
        with reading_hdf5(file.path):
            return handle if holds(handle) else None

    return probe


TRUTH: Final = FileFormat(
    name="truth",
    words="truth of a virtual run of molexa (HDF5)",
    probe=_hdf5_with(holds_truth),
    do="Give the run that it belongs to.",
)
EVENTS: Final = FileFormat(
    name="events",
    words="coincidences of molexa (HDF5)",
    sought=("HDF5", "files of molexa"),
    probe=_hdf5_with(holds_events),
    do="It is reduced already: go on with molexa align.",
)
OF_EVENTS: Final = FileFormat(
    name="structures",
    words="structures of single events of molexa (HDF5)",
    probe=_hdf5_with(holds_structures),
    do="It is a result: look at it with molexa report or molexa score.",
)
HDF5: Final = FileFormat(
    name="hdf5",
    words="HDF5 file without a known layout",
    probe=_hdf5_with(_anything),
    turn=Turn.CONTAINER,
    do="Name its columns in `columns` of the setup.",
)


def _reconstruction(file: Candidate) -> dict[str, Any] | None:
    if not file.head.lstrip().startswith(b"{") or file.path.suffix.lower() != ".json":
        return None
    from molexa_core.base.errors import MolexaError  # noqa: PLC0415
    from molexa_core.io.results.geometry_json import read_geometry_json  # noqa: PLC0415

    try:
        record, provenance = read_geometry_json(file.path)
    except MolexaError:
        return None
    return {"record": record, "provenance": provenance}


RECONSTRUCTION: Final = FileFormat(
    name="reconstruction",
    words="reconstruction of molexa (JSON)",
    probe=_reconstruction,
    do="It is a result: look at it with molexa report or molexa score.",
)


_OF_MOLEXA: Final = frozenset({EVENTS.name, TRUTH.name, OF_EVENTS.name})


def describe_hdf5(file: Candidate, kind: str) -> dict[str, Any]:
    """Contents of an HDF5 file; for files of molexa rows, ions, tags, spectra and provenance.

    `checksum` is true if the file has a checksum, which is then verified.

    Args:
        file: the file.
        kind: name of its format.

    Raises:
        InputFileError: the file is damaged.
    """
    from molexa_core.io.hdf5.file import has_checksum, open_handle, reading_hdf5  # noqa: PLC0415

    handle = file.opened(open_handle)
    with reading_hdf5(file.path):
        found = _described(handle, kind)
    sealed = has_checksum(file.path)
    if kind in _OF_MOLEXA or sealed:
        found["checksum"] = sealed
    if kind in _OF_MOLEXA:
        with reading_hdf5(file.path):
            found |= _origin(handle)
    return found


def _described(file: h5py.File, kind: str) -> dict[str, Any]:
    import h5py  # noqa: PLC0415

    from molexa_core.io.hdf5.file import member, read_strings  # noqa: PLC0415

    if kind == EVENTS.name:
        group = file[EVENT_GROUP]
        return {
            "rows": len(member(group, EVENT_ID)),
            "ions": read_strings(file, f"{EVENT_GROUP}/{EVENT_ION}", limit=_MOST_IONS),
            "tags": sorted(group.get(EVENT_TAG, ())),
            "spectra": sorted(file.get(SPECTRA, ())),
            "aligned": "frame" in file[META],
        }
    if kind == TRUTH.name:
        columns = [
            item for item in file[TRUTH_MOLECULES].values() if isinstance(item, h5py.Dataset)
        ]
        return {
            "rows": min(map(len, columns), default=0),
            "hits": len(member(file, f"{TRUTH_HITS}/{TRUTH_MOLECULE}")),
            "ions": read_strings(file, EVENT_ION, limit=_MOST_IONS),
        }
    if kind == OF_EVENTS.name:
        return {
            "rows": len(member(file, f"{STRUCTURES}/{EVENT_ID}")),
            "ions": read_strings(file, f"{STRUCTURES}/{EVENT_ION}", limit=_MOST_IONS),
        }
    groups = [name for name, item in file.items() if isinstance(item, h5py.Group)]
    datasets = [name for name in file if name not in groups]
    return {"groups": sorted(groups), "datasets": sorted(datasets)}


def _origin(file: h5py.File) -> dict[str, Any]:
    from molexa_core.base.storage.provenance import Provenance  # noqa: PLC0415
    from molexa_core.io.hdf5.file import attribute, read_json  # noqa: PLC0415

    record = attribute(file[META], PROVENANCE) if META in file else None
    if record is None:
        return {}
    values = read_json(file, record, PROVENANCE)
    fields = Provenance.__dataclass_fields__
    return {"provenance": {name: of for name, of in values.items() if name in fields}}
