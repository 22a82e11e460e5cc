"""What a result says of itself in a few lines: a title, a short table, warnings."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, Final

import numpy as np

from molexa.by_class import ByClass
from molexa_core.base.errors import MolexaError
from molexa_core.base.tables import ion_labels
from molexa_core.base.units import BOHR_ANGSTROM, HARTREE_EV

Row = tuple[str, ...]
_MOST_ROWS: Final = 16
_NUMBER: Final = re.compile(r"[-+]?\.?\d|none|nan|inf|$")


@dataclass(frozen=True)
class Summary:
    """A result in short.

    Attributes:
        title: what it is, in a line.
        header: of the table; empty where it has none.
        rows: of the table; the first column is text, the others are numbers.
        notes: sentences below it.
        warnings: reasons why it may be wrong.
    """

    title: str
    header: Row = ()
    rows: Sequence[Row] = ()
    notes: Sequence[str] = ()
    warnings: Sequence[str] = ()

    def text(self) -> str:
        """For a terminal."""
        lines = [self.title]
        shown = [tuple(self.header), *self.rows[:_MOST_ROWS]] if self.header else []
        shown += [] if self.header else list(self.rows[:_MOST_ROWS])
        if shown:
            numeric = {
                column
                for column in range(1, len(shown[0]))
                if all(_NUMBER.match(row[column]) for row in self.rows[:_MOST_ROWS])
            }
            widths = [max(len(row[column]) for row in shown) for column in range(len(shown[0]))]
            for row in shown:
                cells = [
                    cell.rjust(width) if column in numeric else cell.ljust(width)
                    for column, (cell, width) in enumerate(zip(row, widths, strict=True))
                ]
                lines.append(f"  {'  '.join(cells)}".rstrip())
        if len(self.rows) > _MOST_ROWS:
            lines.append(f"  ... {len(self.rows) - _MOST_ROWS} more")
        lines += [*self.notes, *(f"warning: {text}" for text in self.warnings)]
        return "\n".join(lines)

    def html(self) -> str:
        """For a notebook."""
        parts = [f"<div><b>{escape(self.title)}</b></div>"]
        if self.rows:
            head = "".join(f"<th>{escape(cell)}</th>" for cell in self.header)
            body = "".join(
                f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>"
                for row in self.rows[:_MOST_ROWS]
            )
            parts.append(f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>")
        if len(self.rows) > _MOST_ROWS:
            parts.append(f"<div>… {len(self.rows) - _MOST_ROWS} more</div>")
        parts += [f"<div>{escape(note)}</div>" for note in self.notes]
        parts += [f"<div><b>Warning:</b> {escape(text)}</div>" for text in self.warnings]
        return "".join(parts)


def _coincidences(table: Any) -> Summary:
    from molexa_core.frame.maps import kinetic_energy_release  # noqa: PLC0415
    from molexa_core.pipeline.chain.channel_limits import inherited  # noqa: PLC0415

    ions = " ".join(str(ion) for ion in table.ions)
    count = float(table.weight.sum())
    frame = "frame" in table.meta
    title = f"{_count(count)} coincidences of {ions}"
    title += ", in the molecular frame" if frame else ", in the laboratory frame"
    rows = []
    size = np.linalg.norm(table.momentum, axis=2)
    energy = table.kinetic_energy() * HARTREE_EV
    for at, label in enumerate(ion_labels(table.ions)):
        if not len(table):
            rows.append((label, "", "", ""))
            continue
        rows.append(
            (
                label,
                f"{np.average(size[:, at], weights=table.weight):.2f}",
                f"{np.average(energy[:, at], weights=table.weight):.3f}",
                f"{np.median(energy[:, at]):.3f}",
            )
        )
    notes = []
    if len(table):
        mean = kinetic_energy_release(table).marks["mean"]
        notes.append(f"mean kinetic energy release {mean:.2f} eV")
    stored = table.meta.get("summary")
    false = stored.get("false") if isinstance(stored, Mapping) else None
    whole = isinstance(stored, Mapping) and stored.get("coincidences") == round(count)
    if whole and isinstance(false, Mapping) and isinstance(false.get("true"), int | float):
        notes.append(f"true coincidences: {false['true']:.0f} ± {false['true_error']:.0f}")
    if table.tags:
        notes.append(f"tags: {', '.join(table.tags)}")
    header = ("ion", "mean |p| (a.u.)", "mean energy (eV)", "median energy (eV)")
    return Summary(title, header, rows, notes, inherited(table.meta))


def _count(value: float) -> str:
    return f"{value:,.0f}".replace(",", "\u202f") if value >= 10_000 else f"{value:.0f}"


def _hits(hits: Any) -> Summary:
    what = "hits" if hasattr(hits, "x_mm") else "signal edges"
    n = len(hits.t_ns)
    rows = [("shots", str(hits.n_shots)), (what, str(n))]
    if hits.n_shots:
        rows.append((f"{what} per shot", f"{n / hits.n_shots:.3g}"))
    if n:
        rows.append(("times", f"{np.nanmin(hits.t_ns):.1f} to {np.nanmax(hits.t_ns):.1f} ns"))
    if hits.tags:
        rows.append(("tags", ", ".join(hits.tags)))
    return Summary(f"{what[0].upper()}{what[1:]} of consecutive shots", (), rows)


def _open_run(run: Any) -> Summary:
    files = ", ".join(path.name for path in run.paths[:3])
    more = f" and {len(run.paths) - 3} more" if len(run.paths) > 3 else ""
    rows = [("layout", str(run.layout)), ("read as", str(run.choice))]
    if run.n_shots is not None:
        rows.append(("shots", str(run.n_shots)))
    return Summary(f"Run {files}{more}", (), rows, run.remarks, run.warnings)


def _mock_run(run: Any) -> Summary:
    rows = [(name, str(count)) for name, count in run.counts.items()]
    return Summary(f"Virtual run of {run.counts['shots']} shots", (), rows)


def _geometry(geometry: Any) -> Summary:
    return Summary(f"Structure of {_formula(geometry)}", *_atoms(geometry), _bond_lines(geometry))


def _formula(geometry: Any) -> str:
    from molexa_core.base.matter.elements import sum_formula  # noqa: PLC0415

    return sum_formula(geometry.names)


def _atoms(geometry: Any) -> tuple[Row, list[Row]]:
    """The table of places in Å."""
    rows = []
    for number, name in enumerate(geometry.names):
        cells = [f"{value:.3f}" for value in geometry.positions[number] * BOHR_ANGSTROM]
        if geometry.uncertainty is not None:
            errors = geometry.uncertainty[number] * BOHR_ANGSTROM
            cells = [f"{cell} ± {error:.3f}" for cell, error in zip(cells, errors, strict=True)]
        rows.append((f"{name}{number + 1}", *cells))
    return ("atom", "x (Å)", "y (Å)", "z (Å)"), rows


def _bond_lines(geometry: Any) -> list[str]:
    """The lengths of the bonds as a sentence."""
    from molexa_core.geometry.bonds import bonds  # noqa: PLC0415

    lengths = []
    for i, j in bonds(geometry):
        length = float(np.linalg.norm(geometry.positions[i] - geometry.positions[j]))
        name = f"{geometry.names[i]}{i + 1}-{geometry.names[j]}{j + 1}"
        lengths.append(f"{name} {length * BOHR_ANGSTROM:.3f}")
    return [f"bonds (Å): {', '.join(lengths)}"] if lengths else []


def _record(record: Any) -> Summary:
    geometry = record.geometry()
    rows = list(_measured(record))
    header: Row = ("between", "value", "± (68 %)", "unit")
    notes = []
    if not rows:
        header, rows = _atoms(geometry)
        notes += _bond_lines(geometry)
    if record.uncertainty_reason:
        notes.append(record.uncertainty_reason)
    if "statement" in record.explosion:
        notes.append(f"assumed explosion: {record.explosion['statement']}")
    if "geometry_prior" in record.explosion:
        notes.append(f"expected of the geometry: {record.explosion['geometry_prior']}")
    if "residual" in record.closure:
        missed = 100 * record.closure["residual"]
        notes.append(f"its explosion misses the momenta by {missed:.2g} %")
    if record.alternatives:
        many = len(record.alternatives)
        notes.append(f"{many} other structure{'s' * (many > 1)} with the same momenta")
    title = f"Reconstruction of {_formula(geometry)}"
    return Summary(title, header, rows, notes, record.warnings)


def _measured(record: Any) -> Iterator[Row]:
    """Lengths of bonds in Å and angles between them in degrees, with their half-widths."""
    from itertools import combinations  # noqa: PLC0415

    from molexa_core.geometry.bonds import bonds  # noqa: PLC0415

    count = len(record.symbols)
    near = {frozenset(pair) for pair in bonds(record.geometry())}
    for one, pair in zip(record.distances, combinations(range(count), 2), strict=False):
        if frozenset(pair) in near or not near:
            yield _interval(one, BOHR_ANGSTROM, "Å", 3)
    triplets = [
        (i, vertex, j)
        for vertex in range(count)
        for i, j in combinations([other for other in range(count) if other != vertex], 2)
    ]
    for one, (i, vertex, j) in zip(record.angles, triplets, strict=False):
        if {frozenset((i, vertex)), frozenset((vertex, j))} <= near or not near:
            yield _interval(one, 1.0, "°", 1)


def _interval(one: Mapping[str, Any], factor: float, unit: str, digits: int) -> Row:
    parts = one.get("region") or ()
    half = one.get("half_width")
    error = "" if half is None else f"{factor * half:.{digits}f}"
    if len(parts) > 1:  # several structures: half of one interval means nothing
        error = " or ".join(
            f"{factor * low:.{digits}f}-{factor * high:.{digits}f}" for low, high in parts
        )
    return (str(one["of"]), f"{factor * one['median']:.{digits}f}", error, unit)


def _explosion(found: Any) -> Summary:
    labels = ion_labels(found.ions)
    rows = [
        (label, *(f"{value:.2f}" for value in p), f"{energy:.3f}")
        for label, p, energy in zip(labels, found.momentum, found.energy_ev, strict=True)
    ]
    notes = [
        f"kinetic energy release {found.ker_ev:.3f} eV",
        f"Coulomb energy of the final charges {found.coulomb_ev:.3f} eV",
    ]
    header = ("ion", "px (a.u.)", "py (a.u.)", "pz (a.u.)", "energy (eV)")
    return Summary("Simulated Coulomb explosion", header, rows, notes)


def _outcomes(found: Any) -> Summary:
    total = max(found.trajectories, 1)
    rows = [
        (
            " ".join(found.names(row)),
            str(int(found.counts[row])),
            f"{100 * found.counts[row] / total:.2f}",
            f"{found.release[row] * HARTREE_EV:.2f}",
        )
        for row in range(min(len(found), 10))
    ]
    more = found.occurred - len(rows)
    notes = [f"{found.photons:.2f} photons absorbed on average"]
    notes += [f"{more} more combinations occurred"] if more > 0 else []
    title = f"{found.trajectories} explosions of {_formula(found.geometry)} in an X-ray pulse"
    header = ("ions", "explosions", "share (%)", "mean energy release (eV)")
    return Summary(title, header, rows, notes, found.geometry.warnings)


def _spectrum(spectrum: Any) -> Summary:
    rows = [
        (
            label,
            f"{len(edges) - 1} bins",
            f"{edges[0]:.6g} to {edges[-1]:.6g} {unit}".rstrip(),
        )
        for label, edges, unit in zip(spectrum.labels, spectrum.edges, spectrum.units, strict=True)
    ]
    notes = [f"{spectrum.total:.6g} counts, {spectrum.outside:.6g} of them outside"]
    notes += [
        f"{name}: {value:.5g} {spectrum.units[0]}".rstrip()
        for name, value in list(spectrum.marks.items())[:8]
    ]
    return Summary("Spectrum" if spectrum.counts.ndim == 1 else "Map", (), rows, notes)


def _inspection(found: Any) -> Summary:
    rows = [
        (name, f"{value:.5g}" if isinstance(value, float) else str(value), unit)
        for name, value, unit in found.rows
    ]
    notes = [*found.remarks, *(f"fault: {fault}" for fault in found.faults)]
    return Summary(f"{found.path}", ("quantity", "value", "unit"), rows, notes, found.warnings)


def _score(found: Any) -> Summary:
    errors = found.errors
    lengths = (
        ("mean absolute error", errors.mae),
        ("RMSD", errors.rmsd),
        ("mean distance error", errors.mean_distance_error),
        ("largest distance error", errors.max_distance_error),
    )
    rows = [(n, f"{v * BOHR_ANGSTROM:.4f}", "Å") for n, v in lengths if v is not None]
    angles = (
        ("mean angle error", errors.mean_angle_error),
        ("largest angle error", errors.max_angle_error),
    )
    rows += [(n, f"{v:.2f}", "°") for n, v in angles if v is not None]
    notes = []
    if found.ratio is not None:
        notes.append(f"rms error of the distances over their rms ±: {found.ratio:.2f}")
    if found.superposition.mirrored:
        notes.append("the known structure was mirrored")
    title = "Difference from the known structure, superposed"
    return Summary(title, ("error", "value", "unit"), rows, notes)


def _molecule(molecule: Any) -> Summary:
    header, rows = _atoms(molecule.geometry)
    notes = _bond_lines(molecule.geometry)
    return Summary(f"{molecule.name} ({molecule.formula})", header, rows, notes)


def _single_events(values: Mapping[str, Any], warnings: Sequence[str]) -> Summary:
    rows = []
    bonded = [one for one in values.get("distances_bohr", ()) if one.get("bond")]
    rows += [
        _mean_row(one, BOHR_ANGSTROM, "Å", 4) for one in bonded or values.get("distances_bohr", ())
    ]
    pairs = {frozenset(one["atoms"]) for one in bonded}
    for one in values.get("angles_degree", ()):
        i, vertex, j = one["atoms"]
        if {frozenset((i, vertex)), frozenset((vertex, j))} <= pairs:
            rows.append(_mean_row(one, 1.0, "°", 2))
    header = ("between", "mean", "± statistical", "± systematic", "sd of molecules", "unit")
    notes = [f"explosion: {values['explosion']}"] if "explosion" in values else []
    return Summary(f"Structures of {values.get('events')} events", header, rows, notes, warnings)


def _mean_row(one: Mapping[str, Any], factor: float, unit: str, digits: int) -> Row:
    def text(name: str) -> str:
        value = one.get(name)
        return "none" if value is None else f"{factor * value:.{digits}f}"

    names = ("mean", "error_of_mean", "systematic", "standard_deviation")
    return (str(one["of"]), *(text(name) for name in names), unit)


def _events_answer(answer: Any) -> Summary:
    return _single_events(answer.found.to_dict(), answer.record.warnings)


def _structures_file(held: Any) -> Summary:
    return _single_events(held.summary, held.warnings)


def _side_by_side(found: Any) -> Summary:
    rows = []
    chosen = found.rows
    if len(chosen) > _MOST_ROWS:
        chosen = [one for one in chosen if one.bonded] or chosen
    for one in chosen:
        factor, unit, digits = (BOHR_ANGSTROM, "Å", 3) if one.unit == "bohr" else (1.0, "°", 1)
        cells = [
            _with_error(factor, digits, value, error)
            for value, error in (
                (one.first, one.first_error),
                (one.second, one.second_error),
                (one.difference, one.difference_error),
            )
        ]
        rows.append((one.of, *cells, "" if one.pull is None else f"{one.pull:+.1f}", unit))
    title = "Two structures side by side"
    return Summary(title, ("", "first", "second", "difference", "pull", "unit"), rows)


def _with_error(factor: float, digits: int, value: float, error: float | None) -> str:
    text = f"{factor * value:.{digits}f}"
    return text if error is None else f"{text} ± {factor * error:.{digits}f}"


def _compared_spectra(found: Any) -> Summary:
    rows = [
        ("factor of the second", f"{found.scale:.4g} ± {found.scale_error:.2g}"),
        ("chi-square", f"{found.chi_square:.1f} for {found.degrees} degrees of freedom"),
    ]
    if found.p_value is not None:
        rows.append(("p-value of alike shapes", f"{found.p_value:.2g}"))
    labels = ", ".join(found.first.labels)
    return Summary(f"Two spectra side by side: {labels}", (), rows)


def _covariances(found: Any) -> Summary:
    rows = [
        (
            one.label,
            _significant(one.value, one.error),
            "" if one.exponent is None else f"{one.exponent:.2f}",
        )
        for one in found.rows
    ]
    notes = [f"{found.shots} shots"]
    if found.control:
        notes.append(f"the effect of {found.control} is taken off")
    header = ("ions", "cumulant per shot", "rise with rate")
    return Summary(f"Covariances of {' '.join(found.ions)}", header, rows, notes, found.warnings)


def _significant(value: float, error: float | None) -> str:
    from molexa_core.base.intervals import plus_minus  # noqa: PLC0415

    return str(plus_minus(value, error))


def _movie(found: Any) -> Summary:
    shown = found.shown()[0][:4]
    names = ["-".join(found.names[atom] for atom in found.pairs[n]) for n in shown]
    rows = [
        (
            f"{frame.at:g} {found.unit}".rstrip(),
            *(f"{frame.distances[n].value * BOHR_ANGSTROM:.3f}" for n in shown),
        )
        for frame in found.frames
    ]
    header = ("frame", *(f"{name} (Å)" for name in names))
    return Summary(f"{len(found.frames)} structures in a row", header, rows)


def _plan(plan: Any) -> Summary:
    rows = [(", ".join(step.makes), step.line, step.why) for step in plan.steps]
    notes = [f"up to date: {', '.join(plan.current)}"] if plan.current else []
    header = ("result", "made by", "because") if rows else ()
    return Summary("Results that were missing or outdated", header, rows, notes, plan.remarks)


def _series(found: Any) -> Summary:
    values = found.values
    first = values["bins"][0]["quantities"] if values["bins"] else []
    bonded = [n for n, one in enumerate(first) if one.get("bond")]
    chosen = (bonded or list(range(len(first))))[:3]
    rows = []
    for one in values["bins"]:
        cells = [f"{one['signal']:.1f} ± {one['signal_error']:.1f}"]
        if one["ker_ev"] is not None:
            cells.append(f"{one['ker_ev']:.2f} ± {one['ker_error_ev']:.2f}")
        else:
            cells.append("none")
        cells += [_of_series(one["quantities"][n]) for n in chosen]
        rows.append((f"{one['value']:g}", *cells))
    unit = f" ({values['unit']})" if values.get("unit") else ""
    header = (f"{values['by']}{unit}", "signal", "KER (eV)", *(first[n]["of"] for n in chosen))
    warnings = [str(text) for text in values.get("warnings", ())]
    return Summary(f"Series over {values['by']}", header, rows, (), warnings)


def _of_series(one: Mapping[str, Any]) -> str:
    from molexa_core.io.results.series_file import UNITS  # noqa: PLC0415

    if one["mean"] is None:
        return "none"
    unit, factor = UNITS.get(one["kind"], (one["kind"], 1.0))
    short = {"angstrom": "Å", "degrees": "°"}.get(str(unit), str(unit))
    digits = 3 if short == "Å" else 1
    error = np.hypot(one["statistical"] or 0.0, one["systematic"] or 0.0)
    return f"{factor * one['mean']:.{digits}f} ± {factor * error:.{digits}f} {short}"


summary_of: Final = ByClass[Summary](
    lambda result: Summary(type(result).__name__),
    {
        "molexa_core.base.tables": lambda of: {
            of.Coincidences: _coincidences,
            of.OfShots: _hits,
            of.Geometry: _geometry,
        },
        "molexa_core.base.spectrum": lambda of: {of.Spectrum: _spectrum},
        "molexa_core.base.charge_combinations": lambda of: {of.Outcomes: _outcomes},
        "molexa_core.geometry.side_by_side": lambda of: {of.SideBySide: _side_by_side},
        "molexa_core.io.results.geometry_json": lambda of: {of.ReconstructionRecord: _record},
        "molexa_core.io.results.structures": lambda of: {of.StructuresFile: _structures_file},
        "molexa_core.observables.comparison": lambda of: {of.SpectrumComparison: _compared_spectra},
        "molexa_core.physics.molecules.library": lambda of: {of.Molecule: _molecule},
        "molexa_core.pipeline.chain.covariance_maps": lambda of: {of.Covariances: _covariances},
        "molexa_core.pipeline.chain.movie": lambda of: {of.Movie: _movie},
        "molexa_core.pipeline.chain.score": lambda of: {of.Score: _score},
        "molexa_core.pipeline.chain.update": lambda of: {of.Plan: _plan},
        "molexa_core.pipeline.explosions.simulate": lambda of: {of.Explosion: _explosion},
        "molexa_core.pipeline.reconstruction.events_answer": lambda of: {
            of.EventsAnswer: _events_answer
        },
        "molexa_core.pipeline.runs.inspection": lambda of: {of.Inspection: _inspection},
        "molexa_core.pipeline.runs.mock_run": lambda of: {of.MockRun: _mock_run},
        "molexa_core.pipeline.runs.open_run": lambda of: {of.OpenRun: _open_run},
        "molexa.comparisons": lambda of: {of.Series: _series},
    },
)
"""The summary of a result of any kind that shows itself."""


def safely(result: Any) -> Summary:
    """The summary; the name of the class and the reason if the result has a fault."""
    try:
        return summary_of(result)
    except MolexaError as error:
        return Summary(type(result).__name__, notes=(error.what,))
