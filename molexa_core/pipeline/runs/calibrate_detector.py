"""Calibrate a delay-line anode with a run of edges; writes a `detector.yaml` for later runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from molexa_core.base.errors import InputFileError
from molexa_core.base.progress import SILENT, Progress
from molexa_core.base.settings import (
    Anode,
    DetectorFile,
    Setup,
    load_project,
    load_setup,
    parse_settings,
)
from molexa_core.base.storage.files import UNWRITABLE, atomic_path
from molexa_core.base.storage.outputs import FileKind
from molexa_core.base.storage.provenance import Provenance
from molexa_core.detector.anode_calibration import MOST_HITS, DetectorCalibration, calibrate
from molexa_core.pipeline.output_guard import beside_output, require_outputs, settings_inputs
from molexa_core.pipeline.runs.open_run import SETUP, open_stored
from molexa_core.report.detector_figures import calibration_svg

__all__ = ["DEFAULT_OUTPUT", "calibrate", "calibrate_detector_files"]

DEFAULT_OUTPUT: Final = "detector.yaml"


def calibrate_detector_files(
    paths: Sequence[Path | str],
    *,
    setup: Path | str | None = None,
    out: Path | str = DEFAULT_OUTPUT,
    picture: Path | str | None = None,
    most_hits: int = MOST_HITS,
    progress: Progress = SILENT,
) -> tuple[list[Path], DetectorCalibration]:
    """Calibrate the anode of a run of edges and write its settings and a picture.

    To use the settings, write `anode: detector.yaml` in the setup.

    Args:
        paths: the files of the run.
        setup: setup with the anode as known so far; that of `molexa.yaml` or of the metadata of
            the run if not given.
        out: the YAML file.
        picture: SVG file with the detector before and after; beside `out` if not given.
        most_hits: largest number of clean hits to use.
        progress: display of the progress.

    Returns:
        The files written and the calibration.

    Raises:
        InputFileError: the run cannot be read, holds hits instead of edges, or there is no anode.
        SettingsError: the setup is not valid.
        ComputationError: the time sums have no peak, or there are too few clean hits.
        OutputError: a result cannot be written.
    """
    out = Path(out)
    picture = beside_output(out, ".svg") if picture is None else Path(picture)
    name = setup or load_project().setup
    known = None if name is None else load_setup(name)
    run = open_stored(paths, known)
    require_outputs(
        (out, FileKind.DETECTOR),
        (picture, FileKind.FIGURE),
        inputs=[*run.paths, *settings_inputs(setup=name)],
    )
    if not run.edges:
        raise InputFileError(
            "the run holds hits, not signals of wire ends: there is nothing to calibrate from",
            where=run.paths[0],
            do="Give a run of edges, such as an .lmf file.",
        )
    anode = _anode(run.metadata(), run.paths[0]) if known is None else known.anode
    if anode is None:
        raise InputFileError(
            "the setup has no anode",
            where=name or run.paths[0],
            do="Give `setup=` with `anode`: kind, channels and rough scales (docs/detectors.md).",
        )
    found = calibrate(
        run.signals,
        anode,
        most_hits=most_hits,
        n_shots=run.n_shots,
        progress=progress,
    )
    record = Provenance.of(
        inputs=[*run.paths, *([] if name is None else [name])],
        settings={"anode": anode.model_dump(mode="json"), "most_hits": most_hits},
    )
    write_detector(out, found, record)
    calibration_svg(picture, found.spectra, found.curves, record)
    for remark in (*run.remarks, *found.remarks):
        progress.say(remark)
    for warning in run.warnings:
        progress.warn(warning)
    return [out, picture], found


def _anode(metadata: dict[str, Any], where: Path) -> Anode | None:
    """The anode in the metadata of a virtual run."""
    stored = metadata.get(SETUP)
    if stored is None:
        return None
    return parse_settings(Setup, stored, where=f"setup in the metadata of {where}").anode


def write_detector(path: Path | str, found: DetectorCalibration, record: Provenance) -> None:
    """Write the settings of a calibrated anode with their uncertainties.

    Raises:
        OutputError: the file cannot be written there.
    """
    errors = {item.name: item.error for item in found.findings} | found.table_errors
    content = DetectorFile(
        anode=found.anode,
        uncertainty={name: float(f"{error:.3g}") for name, error in errors.items()},
        provenance=record.own_record(),
    )
    values: dict[str, Any] = content.model_dump(mode="json", exclude_none=True)
    text = yaml.safe_dump(values, sort_keys=False, default_flow_style=None, width=100)
    head = (
        f"# The anode as calibrated from {found.hits} hits; taken up by `anode: {Path(path).name}` "
        "in the setup.\n"
    )
    with atomic_path(path) as temporary:
        temporary.write_text(head + text, encoding="utf-8", errors=UNWRITABLE)
