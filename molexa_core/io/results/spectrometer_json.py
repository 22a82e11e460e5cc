"""The JSON file of a spectrometer calibration."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from molexa_core.base.fields import PROVENANCE
from molexa_core.base.storage.checksums import sealed
from molexa_core.base.storage.files import UNWRITABLE, atomic_path
from molexa_core.base.storage.provenance import Provenance


def write_spectrometer_json(
    path: Path | str, values: Mapping[str, Any], provenance: Provenance
) -> None:
    """Write the numbers of a calibration with checksum and provenance.

    Args:
        path: the file to write.
        values: plain values, as `SpectrometerCalibration.as_dict` gives them.
        provenance: how they were made.

    Raises:
        OutputError: the file cannot be written.
    """
    content = dict(values) | {PROVENANCE: json.loads(provenance.to_json())}
    with atomic_path(path) as temporary:
        text = json.dumps(sealed(content), indent=1, allow_nan=False)
        temporary.write_text(f"{text}\n", encoding="utf-8", errors=UNWRITABLE)
