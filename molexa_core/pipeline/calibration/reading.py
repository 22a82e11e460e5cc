"""References from files: `n2.csv=N2`, `water.events.h5=water`, `ocs30.csv=OCS@duration_fs=30`."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

from molexa_core.base.errors import ColumnError, InputFileError, UsageError, about_file, listing
from molexa_core.base.fields import ION, WARNINGS
from molexa_core.base.matter.ions import Ion, parse_ion
from molexa_core.base.numbers import read_number
from molexa_core.base.progress import Progress
from molexa_core.base.settings import Frame, parse_settings
from molexa_core.base.storage.files import require_file
from molexa_core.base.storage.outputs import FileKind
from molexa_core.base.storage.provenance import Provenance
from molexa_core.base.tables import Coincidences
from molexa_core.frame.align import heaviest_frame
from molexa_core.io.results.channel_csv import read_channel_csv
from molexa_core.io.results.events import read_events
from molexa_core.io.results.kinds import kind_of_result
from molexa_core.io.xyz import read_xyz
from molexa_core.physics.molecules.library import Molecule, molecule
from molexa_core.physics.virtual.experiment import target_of_ions
from molexa_core.physics.virtual.sources import Target
from molexa_core.pipeline.calibration.aligned_means import observe
from molexa_core.pipeline.calibration.pairs import Observed, Pairs
from molexa_core.pipeline.calibration.references import Reference, YieldReference
from molexa_core.pipeline.chain.channel_limits import channel_of_record, require_complete
from molexa_core.pipeline.chain.pick import channel_of
from molexa_core.pipeline.chain.stale import require_fresh
from molexa_core.pipeline.reconstruction.momenta_input import read_columns

FORM: Final = "FILE=MOLECULE, such as n2.csv=N2, or FILE=MOLECULE@duration_fs=30"
NO_ERRORS: Final = 0.01
"""Relative error of momenta that are given without one."""
ALIKE_BOHR: Final = 0.02
"""Like atoms whose distances to the others differ by less than this are equivalent."""
EFFICIENCY_ERROR: Final = 0.05
"""Relative error of a ratio of detection efficiencies, where it is not given."""
_YIELD_COLUMNS: Final = ("ions", "count", "efficiency", "efficiency_err")


@dataclass(frozen=True)
class Named:
    """A reference as the user names it.

    Attributes:
        path: the file.
        molecule: name of a shipped molecule, formula, or XYZ file.
        conditions: numbers of the told block under which it was measured, where they differ from
            those of the experiment.
    """

    path: Path
    molecule: str
    conditions: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, text: str) -> Named:
        """From `FILE=MOLECULE` or `FILE=MOLECULE@NAME=VALUE,NAME=VALUE`.

        Raises:
            UsageError: the text has another form.
        """
        name, equals, rest = text.partition("=")
        known, at, conditions = rest.partition("@")
        if not (name and equals and known) or (at and not conditions):
            raise UsageError(f"{text!r} is no reference", do=f"Write {FORM}.")
        found: dict[str, float] = {}
        for part in conditions.split(",") if conditions else ():
            key, _, value = part.partition("=")
            number = read_number(value.strip())
            if not key.strip() or not (math.isfinite(number) and number > 0):
                raise UsageError(
                    f"{part!r} is no condition of the reference {name}",
                    do="Write a name and a positive number, such as duration_fs=30.",
                )
            found[key.strip()] = number
        return cls(Path(name), known.strip(), found)


def molecule_of(name: str, progress: Progress) -> Molecule:
    """A shipped molecule by name or formula, or the first structure of an XYZ file.

    Raises:
        InputFileError: there is no such molecule, or the file is none.
    """
    if not name.lower().endswith(".xyz"):
        return molecule(name)
    geometry = read_xyz(name, progress)[0]
    progress.say(
        f"{name}: no vibrations are known; its atoms vibrate like springs of a usual strength"
    )
    return Molecule(Path(name).stem, geometry)


def read_reference(named: Named, condition: int, progress: Progress) -> Reference:
    """The measured channel of a reference, from coincidences or mean momenta.

    Args:
        named: file and molecule.
        condition: number of its condition.
        progress: receives remarks and warnings.

    Raises:
        InputFileError: the file is none of these, or its ions are not those of the molecule.
        NoEventsError: too few coincidences.
    """
    path = require_file(named.path)
    kind = kind_of_result(path)
    known = molecule_of(named.molecule, progress)
    if kind in {FileKind.EVENTS, FileKind.ALIGNED}:
        table = _events(path, progress)
        ions, frame = table.ions, None
        target = _target(ions, known, path)
        with about_file(path):
            observed = observe(table, target)
    else:
        ions, observed, frame = _of_means(path, progress)
        target = _target(ions, known, path)
    return Reference(path.name, known.name, ions, target, observed, frame, condition)


def _target(ions: tuple[Ion, ...], known: Molecule, path: Path) -> Target:
    with about_file(path):
        target = target_of_ions(ions, known, where=known.name)
    _require_unambiguous(target, known, path)
    return target


def _events(path: Path, progress: Progress) -> Coincidences:
    table, record = read_events(path)
    require_complete(channel_of(table.meta), path)
    for warning in require_fresh(path, record):
        progress.warn(warning)
    return table


def _of_means(path: Path, progress: Progress) -> tuple[tuple[Ion, ...], Observed, Frame]:
    table, record = read_channel_csv(path, progress)
    require_complete(channel_of_record(record), path, ions=table[ION].tolist())
    for warning in [*table.attrs.get(WARNINGS, ()), *require_fresh(path, record)]:
        progress.warn(f"{path.name}: {warning}")
    with about_file(path):
        listed, momenta, errors = read_columns(table)
    ions = tuple(listed)
    if len(ions) < 2:
        raise InputFileError("one ion alone is no reference", where=path, do="Give all ions.")
    if errors is None:
        progress.warn(
            f"{path.name}: the momenta have no errors; {100 * NO_ERRORS:g} % of each is assumed"
        )
        size = np.linalg.norm(momenta, axis=1)
        errors = np.repeat(NO_ERRORS * np.maximum(size, size.max() / 3.0)[:, None], 3, axis=1)
    counts = table["count"].to_numpy() if "count" in table else np.zeros(1)
    events = float(counts[0]) if np.isfinite(counts[0]) else 0.0
    frame = _frame_of(record, ions)
    if frame is None:
        frame = heaviest_frame(ions)
        progress.say(
            f"{path.name}: how its momenta were aligned is not recorded; {frame.reference} along "
            "x and the ion with the largest mean momentum across it in the x-y plane is assumed"
        )
    return ions, Pairs(ions).of_means(momenta, errors, events), frame


def _frame_of(record: Provenance | None, ions: Sequence[Ion]) -> Frame | None:
    """The frame in which momenta were averaged, if the record of the file tells."""
    if record is None:
        return None
    names = {str(ion) for ion in ions}
    for step in (record.own_record(), *reversed(record.history)):
        settings = step.get("settings")
        block = settings.get("frame") if isinstance(settings, Mapping) else None
        if isinstance(block, Mapping):
            frame = parse_settings(Frame, dict(block), where="provenance")
            if {frame.reference, frame.second or frame.reference} <= names:
                return frame
    return None


def _require_unambiguous(target: Target, known: Molecule, where: Path) -> None:
    """Check that like atoms of different charges are equivalent: which has which is not measured.

    Raises:
        InputFileError: they are not.
    """
    names = [ion.element.symbol for ion in target.ions]
    apart = np.linalg.norm(target.positions[:, None] - target.positions[None, :], axis=2)
    for i, one in enumerate(target.ions):
        for j, other in enumerate(target.ions[:i]):
            if names[i] != names[j] or one.charge == other.charge:
                continue
            for symbol in set(names):
                rows = [k for k, name in enumerate(names) if name == symbol]
                if np.abs(np.sort(apart[i, rows]) - np.sort(apart[j, rows])).max() > ALIKE_BOHR:
                    raise InputFileError(
                        f"the {names[i]} of {known.name} differ, and which of them is {one} and "
                        f"which {other} is not measured",
                        where=where,
                        do="Use a channel in which like atoms have like charges.",
                    )


def read_yields(named: Named, condition: int, progress: Progress) -> YieldReference:
    """How often a molecule ended in several combinations of charges, from a CSV table.

    Columns: `ions` (`O2+ H+ H+`), `count`, and, where not all are detected alike, `efficiency` and
    `efficiency_err`: the product of the detection efficiencies of the ions of the combination, up
    to a common factor, and its error. Without an error, `EFFICIENCY_ERROR` of it is assumed.

    Args:
        named: file and molecule.
        condition: number of its condition.
        progress: receives remarks.

    Raises:
        InputFileError: the file cannot be read, or its ions are not those of the molecule.
    """
    path = require_file(named.path)
    known = molecule_of(named.molecule, progress)
    rows = _yield_rows(path)
    targets, logarithms, variances = [], [], []
    for line, row in rows:
        where = f"{path}, line {line}"
        ions = tuple(parse_ion(text) for text in row["ions"].split())
        with about_file(where):
            target = target_of_ions(ions, known, where=known.name)
        count = _positive(row, "count", where)
        efficiency = _positive(row, "efficiency", where) if row.get("efficiency") else 1.0
        stated = row.get("efficiency_err")
        relative = (
            _positive(row, "efficiency_err", where) / efficiency if stated else EFFICIENCY_ERROR
        )
        targets.append(target)
        logarithms.append(math.log(count / efficiency))
        variances.append(1.0 / count + relative**2)
    order = np.argsort(-np.array(logarithms), kind="stable")
    first, *others = order.tolist()
    names = [" ".join(str(ion) for ion in targets[k].ions) for k in range(len(targets))]
    values = np.array([logarithms[k] - logarithms[first] for k in others])
    covariance = np.diag([variances[k] for k in others]) + variances[first]
    observed = Observed(tuple(f"{names[k]} : {names[first]}" for k in others), values, covariance)
    sorted_targets = tuple(targets[k] for k in order)
    return YieldReference(path.name, known.name, sorted_targets, observed, condition)


def _yield_rows(path: Path) -> list[tuple[int, dict[str, str]]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputFileError("this is not a text file", where=path) from error
    lines = [
        (number, line)
        for number, line in enumerate(text.splitlines(), start=1)
        if line.strip() and not line.startswith("#")
    ]
    if len(lines) < 3:
        raise InputFileError(
            "fewer than two combinations of charges",
            where=path,
            do="Write a header ions,count and one line per combination.",
        )
    header = [name.strip() for name in next(csv.reader([lines[0][1]]))]
    missing = [name for name in _YIELD_COLUMNS[:2] if name not in header]
    strange = [name for name in header if name not in _YIELD_COLUMNS]
    if missing or strange:
        raise ColumnError(
            f"column {listing(missing)} is missing"
            if missing
            else f"unknown column {listing(strange)}",
            where=path,
            do=f"The columns are {listing(_YIELD_COLUMNS)}; the last two may be left out.",
        )
    found = []
    for number, line in lines[1:]:
        cells = [cell.strip() for cell in next(csv.reader([line]))]
        if len(cells) != len(header):
            raise ColumnError(
                f"{len(cells)} values for {len(header)} columns", where=f"{path}, line {number}"
            )
        found.append((number, dict(zip(header, cells, strict=True))))
    return found


def _positive(row: Mapping[str, str], name: str, where: str) -> float:
    value = read_number(row[name])
    if not (math.isfinite(value) and value > 0):
        raise ColumnError(
            f"{row[name]!r} in column {name} is no positive number",
            where=where,
            do="Leave out combinations that were not seen.",
        )
    return value
