"""Two results side by side: structures, or the events of two runs or two gates.

Differences are second less first, with the error of independent results. Two gates on one file
share coincidences, and two reconstructions under one assumed explosion share its error: such
differences are more certain than that.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np

from molexa_core.base.errors import NoEventsError, UsageError, listing
from molexa_core.base.fields import MOMENTUM, MOMENTUM_ERROR
from molexa_core.base.options.compare_options import AS_FIRST, SecondGate
from molexa_core.base.options.gate_options import EVERYTHING, Selection
from molexa_core.base.progress import SILENT, Progress
from molexa_core.base.storage.outputs import FileKind
from molexa_core.base.subtraction import shots_of
from molexa_core.base.tables import Coincidences, ion_labels
from molexa_core.base.units import BOHR_ANGSTROM
from molexa_core.geometry.side_by_side import BesideRow, side_by_side
from molexa_core.io.results.events import read_events
from molexa_core.io.results.geometry_json import ReconstructionRecord, read_geometry_json
from molexa_core.io.results.kinds import kind_of_result
from molexa_core.observables.event_numbers import Value, mean_of, number_of
from molexa_core.pipeline.chain.centroid import centroid
from molexa_core.pipeline.chain.pick import channel_of
from molexa_core.pipeline.chain.score import structure_in
from molexa_core.pipeline.chain.selected import gating_of, select

What = Literal["structures", "events"]
_OF_STRUCTURES: Final = ("distance", "angle", "dihedral")
_ROUNDING: Final = 1e-6
MOST_ATOMS: Final = 4
"""Larger molecules are compared along their bonds alone."""


@dataclass(frozen=True)
class Beside:
    """One quantity of two results.

    Attributes:
        kind: `distance`, `angle`, `dihedral`, `number`, `energy` or `momentum`.
        of: name of the quantity.
        unit: Å, degree, eV, a.u., per cent; empty for numbers.
        first, second: values.
        first_error, second_error: standard errors, or half-widths of 68 %; None where unknown.
        difference: second less first; of dihedrals the shorter way round.
    """

    kind: str
    of: str
    unit: str
    first: float
    first_error: float | None
    second: float
    second_error: float | None
    difference: float

    @property
    def difference_error(self) -> float | None:
        """Of independent results; a structure without error bars counts as exact."""
        errors = [one for one in (self.first_error, self.second_error) if one is not None]
        if not errors or (len(errors) == 1 and self.kind not in _OF_STRUCTURES):
            return None
        return math.hypot(*errors)

    @property
    def pull(self) -> float | None:
        """The difference over its error."""
        error = self.difference_error
        return self.difference / error if error else None

    @property
    def ratio(self) -> float | None:
        """Second over first; None of angles, and where the first is zero."""
        if self.kind in {"angle", "dihedral", "momentum"} or self.first == 0.0:
            return None
        return self.second / self.first

    @property
    def ratio_error(self) -> float | None:
        """Of independent results."""
        if self.ratio is None or self.first_error is None or self.second_error is None:
            return None
        return math.hypot(self.second_error, self.ratio * self.first_error) / abs(self.first)

    def to_dict(self) -> dict[str, Any]:
        """Plain values by name."""
        names = ("difference_error", "ratio", "ratio_error", "pull")
        return asdict(self) | {name: getattr(self, name) for name in names}


@dataclass(frozen=True)
class Compared:
    """Two results side by side.

    Attributes:
        what: `structures` or `events`.
        first, second: their names.
        rows: quantities that both have.
        notes: sentences on what the comparison contains.
    """

    what: What
    first: str
    second: str
    rows: tuple[Beside, ...]
    notes: tuple[str, ...] = field(default=())

    def to_dict(self) -> dict[str, Any]:
        """Plain values by name."""
        return {
            "what": self.what,
            "first": self.first,
            "second": self.second,
            "rows": [row.to_dict() for row in self.rows],
            "notes": list(self.notes),
        }


def compare_files(
    first: Path | str,
    second: Path | str | None = None,
    *,
    selection: Selection = EVERYTHING,
    second_gate: SecondGate = AS_FIRST,
    allow_mirror: bool = False,
    progress: Progress = SILENT,
) -> Compared:
    """Compare two structures, two runs, or two gates on one run.

    Args:
        first: events, aligned events, `geom.json`, an XYZ file, or a shipped molecule.
        second: another of the same kind; the same events in another gate if not given.
        selection: coincidences of events.
        second_gate: conditions on those of the second.
        allow_mirror: whether a structure may be matched as its mirror image.
        progress: receives remarks.

    Raises:
        UsageError: the results are of different kinds, atoms or ions; one structure alone.
        InputFileError: a file cannot be read.
        NoEventsError: a gate leaves no coincidence.
    """
    of_events = _holds_events(first)
    if second is None:
        if not of_events or not second_gate.second_where:
            raise UsageError(
                "there is nothing to compare with",
                do="Name a second result, or a gate on the same events with `second_where=`.",
            )
        second = first
    if _holds_events(second) != of_events:
        raise UsageError(
            "events cannot be compared with a structure",
            do="Name two events files, or two structures.",
        )
    if of_events:
        return _events(first, second, selection, second_gate, progress)
    if not selection.is_empty or second_gate.second_where:
        raise UsageError("a structure has no coincidences to gate", do="Leave out the conditions.")
    return _structures(first, second, progress, allow_mirror=allow_mirror)


def _holds_events(path: Path | str) -> bool:
    path = Path(path)
    if not path.is_file():
        return False
    return kind_of_result(path) in {FileKind.EVENTS, FileKind.ALIGNED}


# structures --------------------------------------------------------------------------------------


def _structures(
    first: Path | str, second: Path | str, progress: Progress, *, allow_mirror: bool
) -> Compared:
    records = [_record(path) for path in (first, second)]
    one, other = (
        structure_in(path, progress) if record is None else record.geometry()
        for path, record in zip((first, second), records, strict=True)
    )
    errors = [None if record is None else record.half_widths() for record in records]
    values = [None if record is None else record.values() for record in records]
    found = side_by_side(
        one,
        other,
        first_errors=errors[0],
        second_errors=errors[1],
        first_values=values[0],
        second_values=values[1],
        allow_mirror=allow_mirror,
    )
    rows = [row for row in found.rows if row.bonded or len(one) <= MOST_ATOMS] or list(found.rows)
    notes = []
    without = [
        name
        for name, error in (
            ("first", rows[0].first_error if rows else None),
            ("second", rows[0].second_error if rows else None),
        )
        if error is None
    ]
    if len(without) == 2:
        notes.append("neither structure has error bars: there are no pulls")
    elif without:
        notes.append(f"the {without[0]} structure has no error bars and counts as exact")
    elif all(record is not None for record in records):
        notes.append(
            "errors of differences are those of independent results; two reconstructions under one "
            "assumed explosion differ less"
        )
    if found.superposition.mirrored:
        notes.append("the second structure was mirrored")
    return Compared("structures", str(first), str(second), tuple(map(_length, rows)), tuple(notes))


def _record(path: Path | str) -> ReconstructionRecord | None:
    if Path(path).suffix != ".json":
        return None
    return read_geometry_json(path)[0]


def _length(row: BesideRow) -> Beside:
    factor = BOHR_ANGSTROM if row.kind == "distance" else 1.0

    def error(value: float | None) -> float | None:
        return None if value is None else factor * value

    return Beside(
        kind=row.kind,
        of=row.of,
        unit="Å" if row.kind == "distance" else "degree",
        first=factor * row.first,
        first_error=error(row.first_error),
        second=factor * row.second,
        second_error=error(row.second_error),
        difference=factor * row.difference,
    )


# events ------------------------------------------------------------------------------------------


def _events(
    first: Path | str,
    second: Path | str,
    selection: Selection,
    second_gate: SecondGate,
    progress: Progress,
) -> Compared:
    tables, names, notes = [], [], []
    for path, chosen in ((first, selection), (second, second_gate.of(selection))):
        table = read_events(path)[0]
        gates = gating_of(chosen, "compare", channel=channel_of(table.meta))
        tables.append(select(table, gates, progress))
        said = gates.sentences()
        names.append(f"{path} ({'; '.join(said)})" if said else str(path))
    one, other = tables
    if list(one.ions) != list(other.ions):
        raise UsageError(
            f"the events are of different ions: {listing(map(str, one.ions))}, and "
            f"{listing(map(str, other.ions))}",
            do="Name events of one channel.",
        )
    rows = [_row("number", "coincidences", "", number_of(one), number_of(other))]
    shots = [shots_of(table.meta) for table in tables]
    rates = [_scaled(number_of(t), 1000.0 / n) for t, n in zip(tables, shots, strict=True) if n]
    if len(rates) == len(tables):
        rows.append(_row("number", "coincidences per 1000 shots", "", *rates))
    labels = ion_labels(one.ions)
    wanted = [("kinetic energy release", "ker")]
    wanted += [(f"energy of {label}", f"energy({label})") for label in labels]
    for of, text in wanted:
        found = [_mean(table, text) for table in tables]
        rows.append(_row("energy", of, "eV", *found))
    if all(_in_a_frame(table) for table in tables):
        rows += _momenta(tables)
    if Path(first).exists() and Path(second).exists() and Path(first).samefile(second):
        shared = len(np.intersect1d(one.event_id, other.event_id))
        notes.append(
            f"both are of one file and share {shared} coincidences: differences scatter less than "
            "their errors say"
            if shared
            else "both are of one file and share no coincidence"
        )
    return Compared("events", names[0], names[1], tuple(rows), tuple(notes))


def _in_a_frame(table: Coincidences) -> bool:
    return "align" in table.meta


def _scaled(value: Value, factor: float) -> Value:
    return factor * value[0], None if value[1] is None else factor * value[1]


def _mean(table: Coincidences, text: str) -> Value:
    found = mean_of(table, text)
    if found is None:
        raise NoEventsError("no coincidence is left", do="Widen the gate.")
    return found


def _momenta(tables: Sequence[Coincidences]) -> list[Beside]:
    """Mean momenta in the molecular frame."""
    means = [centroid(table) for table in tables]
    labels = ion_labels(tables[0].ions)
    if any(len(mean) != len(labels) for mean in means):
        return []  # of a partial channel
    rows = []
    for number, label in enumerate(labels):
        for axis, error in zip(MOMENTUM, MOMENTUM_ERROR, strict=True):
            values = [
                (float(mean[axis].iloc[number]), float(mean[error].iloc[number])) for mean in means
            ]
            # Zero by the choice of the frame, up to rounding.
            if any(width > _ROUNDING for _, width in values):
                rows.append(_row("momentum", f"{axis} of {label}", "a.u.", *values))
    return rows


def _row(kind: str, of: str, unit: str, first: Value, second: Value) -> Beside:
    return Beside(kind, of, unit, *first, *second, second[0] - first[0])
