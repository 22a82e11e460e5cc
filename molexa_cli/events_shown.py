"""What `molexa reconstruct` prints of single events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from molexa_cli.alternatives_shown import alternatives_table
from molexa_cli.console import remark, table, warn, write, write_json

if TYPE_CHECKING:
    from molexa_core.pipeline.reconstruction.events_answer import EventsAnswer

MOST_ROWS = 24


def holds_events(source: Path) -> bool:
    """Whether a file is one of events or aligned events, by its content."""
    if source.suffix not in {".h5", ".hdf5"} or not source.is_file():
        return False
    from molexa_core.base.storage.outputs import FileKind
    from molexa_core.io.results.kinds import kind_of_result

    return kind_of_result(source) in {FileKind.EVENTS, FileKind.ALIGNED}


def show_events(answer: EventsAnswer, *, json: bool) -> None:
    """Print means and distributions, from events and from mean momenta."""
    from molexa_core.base.units import BOHR_ANGSTROM

    found = answer.found
    for warning in found.warnings:
        warn(warning)
    if json:
        write_json(answer.to_dict())
        return
    for sentence in summary_lines(found.to_dict()):
        write(sentence)
    write(lengths_table(found.distances, answer.from_centroids))
    if found.angles:
        write(angles_table(found.angles, found.distances))
    if found.dihedrals:
        write(dihedrals_table(found.dihedrals))
    if answer.record.alternatives:
        write(alternatives_table(answer.record))
    remark(
        "± statistical: of the mean, from the number of events; ± systematic: common to all "
        "events, from what is not known about the explosion; sd: of single molecules, resolution "
        "taken out"
    )
    if "reason" in answer.from_centroids:
        remark(f"from mean momenta: none ({answer.from_centroids['reason']})")
    elif answer.from_centroids.get("energy_kept") is not None:
        remark(
            "kinetic energy release of the mean momenta over the mean one: "
            f"{answer.from_centroids['energy_kept']:.3f}"
        )
    if answer.record.errors is not None:
        errors = answer.record.errors
        write(
            "against the known structure: mean absolute error "
            f"{errors['mae'] * BOHR_ANGSTROM:.3f} Å, mean distance error "
            f"{errors['mean_distance_error'] * BOHR_ANGSTROM:.3f} Å"
        )
    files = [answer.geometry, answer.structures]
    remark(f"written to {' and '.join(str(file) for file in files if file is not None)}")


def summary_lines(values: Mapping[str, Any]) -> list[str]:
    """Sentences on events, explosion and resolution."""
    left = values["left_out"]
    reasons = {
        "unusable": "unusable momenta",
        "unexplained": "explained by no structure",
        "unlike": "unlike the others",
    }
    parts = [f"{left[name]} {text}" for name, text in reasons.items() if left.get(name)]
    out = f"; left out: {', '.join(parts)}" if parts else ""
    return [
        f"{values['events']} structures of single events{out}",
        f"explosion: {values['explosion']}",
        values["resolution"] or "resolution of single events: not known, nothing taken out",
    ]


def lengths_table(rows: Sequence[Mapping[str, Any]], beside: Mapping[str, Any]) -> str:
    """Distances of bonds, then of other pairs, in angstrom."""
    from molexa_core.base.units import BOHR_ANGSTROM

    others = {row["of"]: row for row in beside.get("distances_bohr", ())}

    def text(value: float | None, digits: int = 4) -> str:
        return "" if value is None else f"{value * BOHR_ANGSTROM:.{digits}f}"

    cells = []
    chosen = sorted(rows, key=lambda row: not row["bond"])[:MOST_ROWS]
    for row in chosen:
        other = others.get(row["of"], {})
        difference = other.get("difference")
        cells.append(
            [
                row["of"],
                "bond" if row["bond"] else "",
                text(row["mean"]),
                text(row["error_of_mean"]),
                text(row["systematic"]) or "none",
                text(row["standard_deviation"], 3),
                text(other.get("from_centroids")),
                text(other.get("uncertainty")),
                "" if difference is None else f"{difference * BOHR_ANGSTROM:+.4f}",
            ]
        )
    header = ["distance / Å", "", "mean", "± statistical", "± systematic", "sd"]
    header += ["from mean momenta", "±", "difference"]
    more = f" (the first {MOST_ROWS} of {len(rows)})" if len(rows) > MOST_ROWS else ""
    return table(header, cells, title=f"distances, averaged over the events{more}")


def angles_table(rows: Sequence[Mapping[str, Any]], distances: Sequence[Mapping[str, Any]]) -> str:
    """Angles between bonds, or all of them where there are none, in degrees."""
    bonds = {frozenset(row["atoms"]) for row in distances if row["bond"]}

    def between(row: Mapping[str, Any]) -> bool:
        i, vertex, j = row["atoms"]
        return frozenset((i, vertex)) in bonds and frozenset((vertex, j)) in bonds

    chosen = [row for row in rows if between(row)] or list(rows)
    return _in_degrees(chosen, "angle", "angles between bonds, averaged over the events")


def dihedrals_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Dihedrals of the bonds, in degrees."""
    return _in_degrees(rows, "dihedral", "dihedrals of the bonds, averaged over the events")


def _in_degrees(rows: Sequence[Mapping[str, Any]], what: str, title: str) -> str:
    cells = [
        [
            row["of"],
            f"{row['mean']:.2f}",
            f"{row['error_of_mean']:.2f}",
            "none" if row["systematic"] is None else f"{row['systematic']:.2f}",
            f"{row['standard_deviation']:.1f}",
            f"{row['quantile_16']:.1f}",
            f"{row['median']:.1f}",
            f"{row['quantile_84']:.1f}",
        ]
        for row in rows[:MOST_ROWS]
    ]
    header = [f"{what} / degree", "mean", "± statistical", "± systematic", "sd"]
    header += ["16 %", "median", "84 %"]
    more = f" (the first {MOST_ROWS} of {len(rows)})" if len(rows) > MOST_ROWS else ""
    return table(header, cells, title=f"{title}{more}")
