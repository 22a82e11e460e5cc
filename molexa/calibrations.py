"""Calibration of the detector, the spectrometer and the explosion from data."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, get_args

from molexa.files import Files
from molexa_core.base.errors import UsageError, listing

Of = Literal["detector", "spectrometer", "explosion"]


def calibrate(of: Of, source: Files, **options: Any) -> Any:
    """Determine settings from data, and write them.

    Args:
        of: `detector` (time sums, scales of a delay-line anode), `spectrometer` (time zero, fields,
            centre, jet), or `explosion` (from molecules of known geometry).
        source: the files of a run; for the explosion references such as `n2.csv=N2`.
        options: as those of `molexa calibrate`: `setup`, `out`, and others.

    Returns:
        The file or files written, and what was found with its uncertainties.

    Raises:
        MolexaError: as `molexa calibrate`.
    """
    if of not in get_args(Of):
        raise UsageError(
            f"a calibration of {of!r}", setting="of", do=f"There are: {listing(get_args(Of))}."
        )
    files = [source] if isinstance(source, str | Path) else list(source)
    if of == "detector":
        from molexa_core.pipeline.runs.calibrate_detector import (  # noqa: PLC0415
            calibrate_detector_files,
        )

        return calibrate_detector_files(files, **options)
    if of == "spectrometer":
        from molexa_core.pipeline.runs.calibrate_spectrometer import (  # noqa: PLC0415
            calibrate_spectrometer_files,
        )

        return calibrate_spectrometer_files(files, **options)
    from molexa_core.pipeline.calibration.calibrate_explosion import (  # noqa: PLC0415
        calibrate_explosion_files,
    )

    return calibrate_explosion_files([str(one) for one in files], **options)
