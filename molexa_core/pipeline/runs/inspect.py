"""Inspect: format and contents of a file, without a setup and without conversion."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from molexa_core.base.errors import InputFileError, MolexaError
from molexa_core.base.progress import SILENT, Progress
from molexa_core.base.settings import Setup, load_setup
from molexa_core.base.units import BOHR_ANGSTROM
from molexa_core.io import formats
from molexa_core.io.candidate import Candidate
from molexa_core.io.lmf_format import LMF, open_lmf
from molexa_core.io.results.events import read_events, read_spectra
from molexa_core.io.results.geometry_json import read_geometry_json
from molexa_core.io.results.inspected import (
    EVENTS,
    HDF5,
    OF_EVENTS,
    RECONSTRUCTION,
    TRUTH,
    describe_hdf5,
)
from molexa_core.io.results.structures import read_structures_file
from molexa_core.io.results.truth_file import read_truth
from molexa_core.io.root_format import ROOT_RESULT
from molexa_core.io.run import find_files, open_found
from molexa_core.pipeline.runs.inspect_lmf import inspect_lmf
from molexa_core.pipeline.runs.inspect_root import inspect_result
from molexa_core.pipeline.runs.inspect_run import add_sorted, inspect_run, setup_of
from molexa_core.pipeline.runs.inspection import Inspection
from molexa_core.pipeline.runs.open_run import how_to_read

__all__ = ["Inspection", "inspect_file", "inspect_files"]


def inspect_files(
    paths: Sequence[Path | str],
    *,
    setup: Path | str | None = None,
    verify: bool = False,
    progress: Progress = SILENT,
) -> list[Inspection]:
    """Inspect files of any known format, which is recognised by content.

    Args:
        paths: the files; patterns, or a folder.
        setup: setup file with column map, facility or anode, if the files need them.
        verify: read the whole files and list every fault; otherwise spectra and rates are taken
            from the beginning of each file.
        progress: display of the progress.

    Raises:
        InputFileError: a file is missing or has an unknown format, or its header cannot be read.
    """
    known = None if setup is None else load_setup(setup)
    return [
        inspect_file(path, setup=known, verify=verify, progress=progress)
        for path in find_files(paths)
    ]


def inspect_file(
    path: Path | str,
    *,
    setup: Setup | None = None,
    verify: bool = False,
    progress: Progress = SILENT,
) -> Inspection:
    """Inspect one file; see `inspect_files`."""
    path = Path(path)
    known = formats.recognise(path, how_to_read(setup))
    kind = known.format
    found = Inspection(path, kind.name, verified=verify)
    found.rows = [("format", kind.words, ""), ("size", path.stat().st_size, "bytes")]
    with known.file:
        if kind == LMF:
            _inspect_lmf(found, setup, verify=verify, progress=progress)
        elif kind in formats.RUNS:
            inspect_run(found, open_found([known]), setup, verify=verify, progress=progress)
        elif kind == RECONSTRUCTION:
            _inspect_reconstruction(found)
        elif kind == ROOT_RESULT:
            inspect_result(found, known.file, verify=verify)
        else:
            found.verified = verify and kind != HDF5
            _inspect_hdf5(found, known.file, verify=found.verified)
    return found


def _inspect_lmf(
    found: Inspection, setup: Setup | None, *, verify: bool, progress: Progress
) -> None:
    run = open_lmf([found.path], how_to_read(setup))
    inspect_lmf(found, run.files[0], verify=verify, progress=progress)
    try:
        add_sorted(found, run, setup or setup_of(run.metadata()))
    except InputFileError as error:  # most of it cannot be read, which the faults say
        found.remarks.append(f"no detector image: {error.what}")


def _inspect_reconstruction(found: Inspection) -> None:
    """Atoms, error bars, and the explosion that was assumed."""
    record, provenance = read_geometry_json(found.path)
    explosion = record.explosion
    rows: list[tuple[str, Any]] = [
        ("atoms", " ".join(record.symbols)),
        ("error bars", record.uncertainty_reason or "yes"),
        ("closure", record.closure.get("residual")),
        ("assumed explosion", explosion.get("statement", "not recorded")),
        ("said by", explosion.get("source")),
        ("expected of the geometry", explosion.get("geometry_prior")),
        *(
            ("explosion computed with", f"{one['name']}, SHA-256 {one['sha256']}")
            for one in explosion.get("weights", ())
        ),
        ("p-value", explosion.get("p_value")),
        ("other structures", len(record.alternatives)),
        ("warnings", len(record.warnings)),
    ]
    found.rows += [(label, value, "") for label, value in rows if value is not None]
    found.details = {"explosion": dict(explosion), "warnings": list(record.warnings)}
    if provenance is not None:
        found.rows.append(("command", provenance.command, ""))


def _inspect_hdf5(found: Inspection, file: Candidate, *, verify: bool) -> None:
    described = describe_hdf5(file, found.format)
    found.details = described
    labels = {
        "rows": "rows",
        "hits": "hits",
        "ions": "ions",
        "tags": "tags",
        "aligned": "in the molecular frame",
        "groups": "groups",
        "datasets": "datasets",
    }
    for key, label in labels.items():
        if key in described:
            value = described[key]
            text = " ".join(value) if isinstance(value, list) else value
            if isinstance(value, bool):
                text = "yes" if value else "no"
            found.rows.append((label, text, ""))
    if "checksum" in described:
        text = "fits" if described["checksum"] else "without checksum: damage would not be seen"
        found.rows.append(("checksum", text, ""))
    record = described.get("provenance", {})
    for key in ("command", "version", "created"):
        if key in record:
            found.rows.append((key, str(record[key]), ""))
    if found.format == OF_EVENTS.name:
        _describe_structures(found)
    if found.format == EVENTS.name:
        found.spectra = read_spectra(found.path)
    reader = _READERS.get(found.format)
    if verify and reader is not None:
        try:
            reader(found.path)
        except MolexaError as error:
            found.faults.append(str(error))


_READERS: Final[dict[str, Callable[[Path], object]]] = {
    EVENTS.name: read_events,
    TRUTH.name: read_truth,
}
"""What reads the whole of a file of each kind; structures of events are read in any case."""


def _describe_structures(found: Inspection) -> None:
    """Explosion, mean bond lengths and warnings of structures of single events."""
    try:
        file = read_structures_file(found.path)
    except MolexaError as error:
        found.faults.append(str(error))
        return
    if "explosion" in file.summary:
        found.rows.append(("explosion", str(file.summary["explosion"]), ""))
    for row in file.summary.get("distances_bohr", ()):
        if row.get("bond"):
            half = math.hypot(row["error_of_mean"], row["systematic"] or 0.0) * BOHR_ANGSTROM
            text = f"{row['mean'] * BOHR_ANGSTROM:.4f} +- {half:.4f}"
            found.rows.append((f"mean length {row['of']}", text, "Å"))
    found.remarks += file.warnings
    found.details["summary"] = dict(file.summary)
