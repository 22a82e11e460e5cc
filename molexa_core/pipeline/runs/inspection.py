"""The result of an inspection of a file, as plain tables."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from molexa_core.base.shown import Shown
from molexa_core.base.spectrum import Spectrum
from molexa_core.io.formats import words_of
from molexa_core.io.stored_run import Fact

Row = Fact


@dataclass(repr=False)
class Inspection(Shown):
    """The result of an inspection.

    Attributes:
        path: the file.
        format: its name in `io.formats`.
        rows: quantity, value and unit, for people.
        tables: further tables by title: header and rows.
        texts: embedded texts by name, in full.
        spectra: histograms by name.
        details: all other information, as plain values.
        verified: whether the whole file was read.
        faults: faults with their position in the file.
        remarks: notes for the user.
        warnings: reasons why results from this file may be wrong.
    """

    path: Path
    format: str
    rows: list[Row] = field(default_factory=list)
    tables: dict[str, tuple[list[str], list[list[Any]]]] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    spectra: dict[str, Spectrum] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)
    verified: bool = False
    faults: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """The whole inspection as plain values."""
        tables = {
            title: [dict(zip(header, row, strict=True)) for row in rows]
            for title, (header, rows) in self.tables.items()
        }
        spectra = {
            name: {
                "counts": spectrum.counts.tolist(),
                "edges": [edges.tolist() for edges in spectrum.edges],
                "labels": list(spectrum.labels),
                "units": list(spectrum.units),
            }
            for name, spectrum in self.spectra.items()
        }
        return {
            "file": str(self.path),
            "format": self.format,
            "name": words_of(self.format),
            "quantities": {name: {"value": value, "unit": unit} for name, value, unit in self.rows},
            "tables": tables,
            "texts": self.texts,
            "spectra": spectra,
            "details": self.details,
            "verified": self.verified,
            "faults": self.faults,
            "remarks": self.remarks,
            "warnings": self.warnings,
        }
