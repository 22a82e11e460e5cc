"""Calibrate a spectrometer with raw runs; writes a new setup, the numbers and a figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from molexa_core.base.errors import InputFileError, UsageError, listing
from molexa_core.base.progress import SILENT, Progress
from molexa_core.base.settings import (
    Channel,
    Setup,
    load_channel,
    load_project,
    load_setup,
    parse_settings,
)
from molexa_core.base.storage.files import UNWRITABLE, atomic_path
from molexa_core.base.storage.outputs import FileKind
from molexa_core.base.storage.provenance import SETUP_MARK, Provenance
from molexa_core.base.tables import Hits
from molexa_core.io.results.spectrometer_json import write_spectrometer_json
from molexa_core.pipeline.output_guard import beside_output, require_outputs, settings_inputs
from molexa_core.pipeline.runs.open_run import OpenRun, open_run
from molexa_core.reduction.calibration.spectrometer import (
    MOST,
    SpectrometerCalibration,
    calibrate_spectrometer,
)
from molexa_core.report.spectrometer_figures import spectrometer_svg

__all__ = ["DEFAULT_OUTPUT", "calibrate_spectrometer", "calibrate_spectrometer_files"]

DEFAULT_OUTPUT: Final = "setup.calibrated.yaml"
MOST_HITS: Final = 6_000_000
"""Hits that are read at most, from the beginning of the run."""


def calibrate_spectrometer_files(
    paths: Sequence[Path | str],
    *,
    channels: Sequence[str] = (),
    setup: Path | str | None = None,
    peaks: Sequence[tuple[str, float]] = (),
    free: Sequence[str] = (),
    fixed: Sequence[str] = (),
    isotropic: bool = False,
    most: int = MOST,
    out: Path | str = DEFAULT_OUTPUT,
    picture: Path | str | None = None,
    progress: Progress = SILENT,
) -> tuple[list[Path], SpectrometerCalibration]:
    """Calibrate a spectrometer and write a new setup, a JSON file and a figure.

    Args:
        paths: the files of one run, in order; patterns, or a folder.
        channels: names or files of complete channels; that of `molexa.yaml` or of the run if none.
        setup: setup as known so far; that of `molexa.yaml` or of the run if not given.
        peaks: ions and their recorded times of flight in ns.
        free: quantities that are free beside the usual ones.
        fixed: quantities taken as given.
        isotropic: molecules are oriented at random.
        most: largest number of coincidences of each channel.
        out: the new setup; the JSON file has the same name with `.json`.
        picture: SVG file; beside `out` if not given.
        progress: display of the progress.

    Returns:
        The files written and the calibration.

    Raises:
        InputFileError: the run cannot be read, or there is no setup or channel.
        SettingsError: setup or channel are not valid.
        UsageError: unknown quantities, an ion named twice, a partial channel.
        ComputationError: no peak in the momentum sums, or too few coincidences.
        OutputError: a result cannot be written.
    """
    out = Path(out)
    picture = beside_output(out, ".svg") if picture is None else Path(picture)
    numbers = beside_output(out, ".json")
    named = [ion for ion, _ in peaks]
    if len(set(named)) < len(named):
        raise UsageError(f"the peak of {max(named, key=named.count)} is given twice")
    name = setup or load_project().setup
    known = None if name is None else load_setup(name)
    run = open_run(paths, known, progress=progress)
    chosen = _channels(channels, run)
    read = [path for one in channels for path in settings_inputs(channel=one)]
    inputs = [*run.paths, *read, *settings_inputs(setup=None if name is None else str(name))]
    require_outputs(
        (out, FileKind.SETUP),
        (numbers, FileKind.SPECTROMETER),
        (picture, FileKind.FIGURE),
        inputs=inputs,
    )
    chunks = _first_hits(run, progress)
    found = calibrate_spectrometer(
        chunks,
        chosen,
        run.setup,
        peaks=dict(peaks),
        free=tuple(free),
        fixed=tuple(fixed),
        isotropic=isotropic,
        most=most,
        progress=progress,
    )
    record = Provenance.of(
        inputs=[*run.paths, *read],
        settings={
            "setup": run.setup.model_dump(mode="json"),
            "channels": [one.model_dump(mode="json") for one in chosen],
            "peaks": dict(peaks),
            "free": list(found.free),
            "isotropic": isotropic,
            "most": most,
        },
    )
    write_setup(out, found, record)
    write_spectrometer_json(numbers, found.as_dict(), record)
    spectrometer_svg(picture, found.curves, record)
    for remark in run.remarks:
        progress.say(remark)
    for warning in (*run.warnings, *found.warnings):
        progress.warn(warning)
    return [out, numbers, picture], found


def _first_hits(run: OpenRun, progress: Progress) -> list[Hits]:
    chunks, n = [], 0
    with progress.task("hits", run.n_shots, "shots") as task:
        for chunk in run:
            chunks.append(chunk)
            n += chunk.n_hits
            task.advance(chunk.n_shots)
            if n >= MOST_HITS:
                progress.say(f"the first {n} hits are used")
                break
    if n == 0:
        raise InputFileError("there are no hits in the run", where=run.paths[0])
    return chunks


def _channels(names: Sequence[str], run: OpenRun) -> list[Channel]:
    if names:
        return [load_channel(name) for name in names]
    name = load_project().channel or run.metadata().get("channel")
    if isinstance(name, str):
        return [load_channel(name)]
    if isinstance(name, Mapping):
        where = f"channel in the metadata of {run.paths[0]}"
        return [parse_settings(Channel, dict(name), where=where)]
    raise InputFileError(
        "no channel: the run does not name one",
        where=run.paths[0],
        do="Give `channel=` a complete break-up that occurs in the run.",
    )


def write_setup(path: Path | str, found: SpectrometerCalibration, record: Provenance) -> None:
    """Write the calibrated setup with the errors of its quantities and its provenance.

    Raises:
        OutputError: the file cannot be written there.
    """
    errors = {
        one.name: float(f"{one.error:.3g}") for one in found.findings if one.error is not None
    }
    values = _shortened(found.setup.model_dump(mode="json", exclude_defaults=True))
    values["calibrated"] = {
        "uncertainty": errors,
        "not_determined": list(found.not_determined),
    }
    parse_settings(Setup, values, where=path)
    text = yaml.safe_dump(values, sort_keys=False, default_flow_style=None, width=100)
    used = listing(f"{count} of {name}" for name, count in found.coincidences.items())
    said = [f"Calibrated from {used} coincidences.", *found.remarks, *found.warnings]
    notes = "".join(f"# {line}\n" for line in said)
    with atomic_path(path) as temporary:
        temporary.write_text(
            f"{SETUP_MARK}{record.to_json()}\n{notes}{text}", encoding="utf-8", errors=UNWRITABLE
        )


def _shortened(values: Any) -> Any:
    """Numbers to eight digits."""
    if isinstance(values, dict):
        return {key: _shortened(value) for key, value in values.items()}
    if isinstance(values, list):
        return [_shortened(value) for value in values]
    return float(f"{values:.8g}") if isinstance(values, float) else values
