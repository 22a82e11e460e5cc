"""Series: results in bins of a tag, as JSON with provenance and checksum, and as a table.

`NAME.json` holds everything; `NAME.csv` beside it one row per bin, values in the units of its
header, for other programs.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from molexa_core.base.errors import InputFileError
from molexa_core.base.fields import FORMAT, PROVENANCE
from molexa_core.base.storage.checksums import sealed, unsealed
from molexa_core.base.storage.files import UNWRITABLE, atomic_path
from molexa_core.base.storage.json_file import read_json
from molexa_core.base.storage.provenance import SERIES_MARK, Provenance
from molexa_core.base.units import BOHR_ANGSTROM

LARGEST: Final = 256 * 2**20
UNITS: Final = {"distance": ("angstrom", BOHR_ANGSTROM), "angle": ("degrees", 1.0)}
"""Unit in the table, and its size in the unit of the JSON file; other kinds are kept."""
NEEDED: Final = ("by", "unit", "background", "bins")
_VERSION: Final = 1


def write_series(path: Path | str, values: Mapping[str, Any], provenance: Provenance) -> None:
    """Write a series as JSON.

    Args:
        path: the file.
        values: plain values, as `StructureSeries.to_dict` gives them.
        provenance: how it was made.

    Raises:
        OutputError: the file cannot be written.
    """
    whole = {FORMAT: _VERSION, **values, PROVENANCE: json.loads(provenance.to_json())}
    with atomic_path(path) as temporary:
        text = json.dumps(sealed(whole), indent=1, allow_nan=False)
        temporary.write_text(f"{text}\n", encoding="utf-8", errors=UNWRITABLE)


def read_series(path: Path | str) -> tuple[dict[str, Any], Provenance]:
    """The values of a series and its provenance.

    Raises:
        InputFileError: no such file, no series, or its checksum does not fit.
    """
    do = "Name a series that molexa wrote."
    values = read_json(path, largest=LARGEST, what="a series", do=do)
    missing = [name for name in (*NEEDED, PROVENANCE) if name not in values]
    if missing or not isinstance(values.get("bins"), list):
        raise InputFileError(
            f"no series: {', '.join(missing) or 'bins'} missing", where=path, do=do
        )
    plain, _ = unsealed(values, where=path, required=True)
    try:
        return plain, Provenance.from_values(plain[PROVENANCE])
    except ValueError as error:
        raise InputFileError(f"the provenance is damaged: {error}", where=path, do=do) from error


def write_series_table(path: Path | str, values: Mapping[str, Any], provenance: Provenance) -> None:
    """Write a series as a table with one row per bin.

    Args:
        path: the file.
        values: as in `write_series`.
        provenance: how it was made.

    Raises:
        OutputError: the file cannot be written.
    """
    stream = io.StringIO()
    stream.write(f"{SERIES_MARK}{provenance.to_json()}\n")
    writer = csv.writer(stream, lineterminator="\n")
    unit = f" ({values['unit']})" if values["unit"] else ""
    header = [f"{values['by']}{unit}", "low", "high", "events", "signal", "signal_error"]
    header += ["ker (eV)", "ker_error (eV)"]
    first = values["bins"][0]["quantities"] if values["bins"] else []
    for one in first:
        name = f"{one['of']} ({UNITS.get(one['kind'], (one['kind'], 1.0))[0]})"
        header += [name, f"{name} statistical", f"{name} systematic"]
    writer.writerow(header)
    for row in values["bins"]:
        cells = [row[name] for name in ("value", "low", "high", "events", "signal", "signal_error")]
        cells += [row["ker_ev"], row["ker_error_ev"]]
        for one in row["quantities"]:
            factor = UNITS.get(one["kind"], ("", 1.0))[1]
            cells += [
                None if one[name] is None else factor * one[name]
                for name in ("mean", "statistical", "systematic")
            ]
        writer.writerow([_cell(value) for value in cells])
    with atomic_path(path) as temporary:
        temporary.write_text(stream.getvalue(), encoding="utf-8", errors=UNWRITABLE)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.8g}" if isinstance(value, float) else str(value)
