"""Inspect ROOT files that contain only histograms."""

from __future__ import annotations

from molexa_core.io.candidate import Candidate
from molexa_core.io.root.histograms import describe_result, read_all_histograms
from molexa_core.pipeline.runs.inspection import Inspection


def inspect_result(found: Inspection, file: Candidate, *, verify: bool) -> None:
    """Fill in what a ROOT file of histograms holds.

    Raises:
        InputFileError: the file is damaged.
    """
    described = describe_result(file)
    text = described.pop("configuration")
    found.details = described
    found.rows += [
        ("histograms", described["histograms"], ""),
        ("in one dimension", described["one_dimension"], ""),
        ("in two dimensions", described["two_dimensions"], ""),
        ("folders", " ".join(described["folders"]), ""),
        ("configuration of LMF2Root", "none" if text is None else len(text), "characters"),
    ]
    if text is not None:
        found.texts["config_info"] = text
    if verify:
        found.faults = read_all_histograms(file)
