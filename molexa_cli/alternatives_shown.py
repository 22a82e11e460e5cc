"""Other structures with the same momenta, as `molexa reconstruct` prints them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from molexa_cli.console import table

if TYPE_CHECKING:
    from molexa_core.io.results.geometry_json import ReconstructionRecord


def alternatives_table(record: ReconstructionRecord, most: int = 8) -> str:
    """How far they are from the answer, how often they were found, what chemistry objects to."""
    from molexa_core.base.units import BOHR_ANGSTROM

    by_evidence = "evidence_share" in record.alternatives[0]
    share = "evidence_share" if by_evidence else "share_of_samples"
    rows = [
        [
            str(number),
            f"{one['distance_from_answer_bohr'] * BOHR_ANGSTROM:8.3f}",
            f"{100 * one['residual']:.2g}",
            f"{100 * one[share]:.0f}",
            _first_of(one["objections"]),
        ]
        for number, one in enumerate(record.alternatives[:most], start=1)
    ]
    rest = len(record.alternatives) - most
    more = f" (the first {most} of {len(record.alternatives)})" if rest > 0 else ""
    of_what = "evidence / %" if by_evidence else "samples / %"
    header = ["other", "mean distance / Å", "closure / %", of_what, "objections"]
    title = f"other structures with the same momenta{more}"
    if by_evidence:
        title += f"; the answer has {100 * record.closure['evidence_share']:.0f} % of the evidence"
    return table(header, rows, title=title)


def _first_of(objections: list[str]) -> str:
    if not objections:
        return "none"
    more = len(objections) - 1
    return f"{objections[0]} (+{more})" if more else objections[0]
