"""ROOT files of histograms, as written by LMF2Root with its results."""

from __future__ import annotations

from typing import Any, Final

from molexa_core.base.errors import InputFileError
from molexa_core.io.candidate import Candidate
from molexa_core.io.root.file import open_root, reading

_CONFIGURATION: Final = "config_info"
"""Name of the text in which LMF2Root stores its configuration."""
_TEXT_LIMIT: Final = 16 * 2**20


def histograms_in(file: Any) -> dict[str, str]:
    """The histograms of an open file: class by name."""
    classes = file.classnames(recursive=True, cycle=False)
    return {name: kind for name, kind in classes.items() if kind.startswith(("TH1", "TH2", "TH3"))}


def describe_result(candidate: Candidate) -> dict[str, Any]:
    """Contents of a ROOT file of histograms: their number, folders, the configuration text.

    Raises:
        InputFileError: the file is damaged.
    """
    file = candidate.opened(open_root)
    with reading(candidate.path):
        histograms = histograms_in(file)
        folders = sorted({name.split("/")[0] for name in histograms if "/" in name})
        text = None
        key = file.key(_CONFIGURATION) if _CONFIGURATION in file.keys(cycle=False) else None
        if key is not None and key.data_uncompressed_bytes <= _TEXT_LIMIT:
            stored = file[_CONFIGURATION]
            text = str(stored.all_members.get("fTitle", stored))
    return {
        "histograms": len(histograms),
        "one_dimension": sum(kind.startswith("TH1") for kind in histograms.values()),
        "two_dimensions": sum(kind.startswith("TH2") for kind in histograms.values()),
        "folders": folders,
        "configuration": text,
    }


def read_all_histograms(candidate: Candidate) -> list[str]:
    """Read every histogram of a ROOT file; the faults found, with their place."""
    faults = []
    file = candidate.opened(open_root)
    for name in histograms_in(file):
        try:
            with reading(candidate.path):
                file[name].values()
        except InputFileError as error:
            faults.append(f"{name}: {error.what}")
    return faults
