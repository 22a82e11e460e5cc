"""Results as tables of pandas, in any units, and back, without loss."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from molexa.by_class import ByClass
from molexa.units import Units, chosen_units, convert_units, quantity_of
from molexa_core.base.errors import ColumnError, UsageError, listing
from molexa_core.base.fields import EVENT_ID, EVENT_WEIGHT, ION, MOMENTUM, MOMENTUM_ERROR
from molexa_core.base.matter.ions import parse_ion
from molexa_core.base.tables import Coincidences, DetectorValues, Geometry, Hits, ion_labels

if TYPE_CHECKING:
    import pandas as pd

_IONS: Final = "ions"
_META: Final = "meta"
_FALSE: Final = "false"
_SHOTS: Final = "shots"
_SOURCE: Final = "source"
_DETECTOR: Final = ("tof_ns", "x_mm", "y_mm")
_ATOM, _SHOT, _CHARGE = "atom", "shot", "charge"
_PLACE: Final = ("x", "y", "z")
_UNITS: Final = {
    **dict.fromkeys((*MOMENTUM, *MOMENTUM_ERROR), "a.u."),
    **{name: name.rpartition("_")[2] for name in (*_DETECTOR, "t_ns")},
}
"""The unit of each column in which it is without another being asked for."""
_BARE: Final = {name: name.removesuffix("_ns").removesuffix("_mm") for name in _UNITS}
_COLUMN: Final = re.compile(r"(?P<of>.*\.)?(?P<name>[^.]+?)(?: \((?P<unit>[^()]+)\))?")


def to_pandas(result: Any, units: Units = None) -> pd.DataFrame:
    """A result as a table, in the units that are asked for.

    Coincidences have a row each: `event_id`, momenta `O+.px` ... in a.u., weight, tags, hits
    `O+.tof_ns` ...; hits a row each: `shot`, `x_mm`, `y_mm`, `t_ns`; mean momenta a row for each
    ion; a structure a row for each atom, `x (bohr)` .... Where a unit is asked for, the name of the
    column says it: `O+.px (kg m/s)`, `O+.tof (s)`. Tags keep their units.

    What has no place in a column is in `attrs`, so that `from_pandas` gives back the same.

    Args:
        result: coincidences, hits, mean momenta, a structure, structures of single events, a
            spectrum, a comparison of two, or simulated explosions.
        units: one or several, such as `angstrom` or `["kg m/s", "angstrom"]`; `SI` for all of SI.

    Raises:
        UsageError: an unknown unit, or a result that is no table.

    Example:
        >>> table = to_pandas(Geometry(("H",), np.ones((1, 3))), "angstrom")
        >>> round(float(table.loc[0, "x (angstrom)"]), 3)
        0.529
    """
    import pandas as pd  # noqa: PLC0415

    wanted = chosen_units(units)
    frame = result.copy() if isinstance(result, pd.DataFrame) else _table_of(result)
    names: dict[str, str] = {}
    for name in map(str, frame.columns):
        of, bare, unit, _ = _parts(frame, name)
        if unit is None or (to := wanted.get(quantity_of(unit), unit)) == unit:
            continue
        frame[name] = convert_units(frame[name], unit, to)
        names[name] = f"{of}{bare} ({to})"
    return frame.rename(columns=names)


def from_pandas(frame: pd.DataFrame) -> Any:
    """A result from its table, in whatever units its columns are.

    Args:
        frame: from `to_pandas`, or made by hand. Coincidences: `O+.px`, `O+.py`, `O+.pz` ... in
            a.u., or `O+.px (kg m/s)` ...; like ions are `H+`, `H+#2`; columns without a dot are
            values per coincidence, except `event_id` and `weight`, which may be missing. Mean
            momenta have a column `ion`, structures `atom`, hits `shot`.

    Returns:
        Coincidences, hits, mean momenta or a geometry.

    Raises:
        ColumnError: a column is missing.
        UsageError: an unknown unit.
    """
    table = _in_own_units(frame)
    if _ATOM in table:
        return _geometry(table)
    if _SHOT in table and "t_ns" in table:
        return _hits(table)
    if ION in table:
        from molexa.momenta import MeanMomenta  # noqa: PLC0415

        return MeanMomenta.of(table)
    return _coincidences(table)


def _parts(frame: pd.DataFrame, name: str) -> tuple[str, str, str | None, str]:
    """Of a column: what it is of, its bare name, its unit, and its name without asking for one."""
    match = _COLUMN.fullmatch(name)
    if match is None:
        return "", name, None, name
    of, bare, unit = match["of"] or "", match["name"], match["unit"]
    if _ATOM in frame:
        own = f"{bare} (bohr)"
        return of, bare, unit if bare.removesuffix(" ±") in _PLACE else None, own
    own = next((known for known, short in _BARE.items() if bare in {known, short}), "")
    if not own or (unit is None and bare != own):
        return of, bare, None, name
    return of, _BARE[own], unit or _UNITS[own], f"{of}{own}"


def _in_own_units(frame: pd.DataFrame) -> pd.DataFrame:
    """The table in the units that columns have without another being asked for."""
    table, names = frame.copy(), {}
    for name in map(str, frame.columns):
        _, _, unit, own = _parts(frame, name)
        if unit is None or name == own:
            continue
        table[name] = convert_units(frame[name], unit, "bohr" if _ATOM in frame else _own(own))
        names[name] = own
    return table.rename(columns=names)


def _own(column: str) -> str:
    return _UNITS[column.rpartition(".")[2]]


def _of_coincidences(events: Coincidences) -> pd.DataFrame:
    frame = events.to_pandas()
    if events.source is not None:
        for at, label in enumerate(ion_labels(events.ions)):
            frame[f"{label}.{_SOURCE}"] = events.source[:, at]
    frame.attrs[_IONS] = [str(ion) for ion in events.ions]
    frame.attrs[_META] = json.dumps(dict(events.meta), default=str)
    if events.false is not None:
        frame.attrs[_FALSE] = _of_coincidences(events.false)
    return frame


def _of_hits(hits: Hits) -> pd.DataFrame:
    import pandas as pd  # noqa: PLC0415

    frame = pd.DataFrame({_SHOT: hits.shot, **{name: getattr(hits, name) for name in hits.VALUES}})
    tags = {name: np.asarray(column).tolist() for name, column in hits.tags.items()}
    frame.attrs[_SHOTS] = {"first": hits.first_shot, "number": hits.n_shots, "tags": tags}
    return frame


def _of_structure(structure: Any) -> pd.DataFrame:
    import pandas as pd  # noqa: PLC0415

    from molexa_core.pipeline.given.given_structure import structure_of  # noqa: PLC0415

    geometry = structure_of(structure)[0]
    columns: dict[str, Any] = {_ATOM: list(geometry.names)}
    if geometry.charges is not None:
        columns[_CHARGE] = list(geometry.charges)
    columns |= {f"{name} (bohr)": geometry.positions[:, at] for at, name in enumerate(_PLACE)}
    if geometry.uncertainty is not None:
        errors = geometry.uncertainty
        columns |= {f"{name} ± (bohr)": errors[:, at] for at, name in enumerate(_PLACE)}
    return pd.DataFrame(columns)


def _of_spectrum(spectrum: Any) -> pd.DataFrame:
    from molexa_core.pipeline.chain.plot import numbers_of  # noqa: PLC0415

    return numbers_of(spectrum)


def _of_comparison(found: Any) -> pd.DataFrame:
    import pandas as pd  # noqa: PLC0415

    header, rows = found.rows()
    return pd.DataFrame(rows, columns=list(header))


def _of_structures(file: Any) -> pd.DataFrame:
    """A row for each event: the places of its atoms, `S1.x (bohr)`, and its weight."""
    import pandas as pd  # noqa: PLC0415

    held = file.structures
    columns: dict[str, Any] = {EVENT_ID: held.event_id, EVENT_WEIGHT: held.weight}
    for at, ion in enumerate(held.ions):
        for axis, name in enumerate(_PLACE):
            column = f"{ion.element.symbol}{at + 1}.{name} (bohr)"
            columns[column] = held.positions[:, at, axis]
    return pd.DataFrame(columns)


def _of_outcomes(found: Any) -> pd.DataFrame:
    """A row for each combination of charges: ions, count, share, energy in eV, its spread."""
    import pandas as pd  # noqa: PLC0415

    from molexa_core.pipeline.explosions.simulate_mcmd import summary  # noqa: PLC0415

    rows = [
        {"ions": " ".join(row["ions"])}
        | {name: row[name] for name in ("count", "share", "ker_ev", "ker_spread_ev")}
        for row in summary(found)["combinations"]
    ]
    return pd.DataFrame(rows)


def _no_table(result: Any) -> pd.DataFrame:
    raise UsageError(
        f"no result that is a table: {type(result).__name__}",
        do="Give coincidences, hits, mean momenta, structures, or a spectrum.",
    )


_table_of: Final = ByClass["pd.DataFrame"](
    _no_table,
    {
        "molexa_core.base.tables": lambda of: {
            of.Coincidences: _of_coincidences,
            of.Hits: _of_hits,
            of.Geometry: _of_structure,
        },
        "molexa_core.base.charge_combinations": lambda of: {of.Outcomes: _of_outcomes},
        "molexa_core.base.spectrum": lambda of: {of.Spectrum: _of_spectrum},
        "molexa_core.io.results.geometry_json": lambda of: {of.ReconstructionRecord: _of_structure},
        "molexa_core.io.results.structures": lambda of: {of.StructuresFile: _of_structures},
        "molexa_core.observables.comparison": lambda of: {of.SpectrumComparison: _of_comparison},
        "molexa_core.physics.molecules.library": lambda of: {of.Molecule: _of_structure},
        "molexa_core.pipeline.reconstruction.events_answer": lambda of: {
            of.EventsAnswer: _of_structure
        },
        "molexa_core.pipeline.explosions.simulate": lambda of: {
            of.Explosion: lambda found: found.table.copy()
        },
        "molexa.comparisons": lambda of: {of.Series: lambda found: found.to_pandas()},
    },
)
"""The table of a result in its own units."""


def _geometry(table: pd.DataFrame) -> Geometry:
    places, errors = ([f"{name}{more} (bohr)" for name in _PLACE] for more in ("", " ±"))
    _require(table, places)
    found = Geometry.of_atoms([str(name) for name in table[_ATOM]], table[places].to_numpy(float))
    more: dict[str, Any] = {}
    if _CHARGE in table:
        more["charges"] = tuple(int(one) for one in table[_CHARGE])
    if set(errors) <= set(table):
        more["uncertainty"] = table[errors].to_numpy(float)
    return Geometry(found.symbols, found.positions, isotopes=found.isotopes, **more)


def _hits(table: pd.DataFrame) -> Hits:
    _require(table, [name for name in Hits.VALUES if name != "method"])
    shot = table[_SHOT].to_numpy(np.int64)
    told = table.attrs.get(_SHOTS) or {}
    first = int(told.get("first", shot.min(initial=0)))
    number = int(told.get("number", shot.max(initial=first - 1) - first + 1))
    if len(shot) and (np.any(np.diff(shot) < 0) or not first <= shot[-1] < first + number):
        raise ColumnError("the hits are not in the order of their shots", do="Sort them by shot.")
    method = table["method"] if "method" in table else np.zeros(len(table))
    return Hits(
        first,
        np.searchsorted(shot, np.arange(first, first + number + 1)),
        **{name: table[name].to_numpy(np.float64) for name in ("x_mm", "y_mm", "t_ns")},
        method=np.asarray(method, np.int16),
        tags={name: np.array(column) for name, column in told.get("tags", {}).items()},
    )


def _coincidences(table: pd.DataFrame) -> Coincidences:
    labels = list(
        dict.fromkeys(str(name).rpartition(".")[0] for name in table if str(name).endswith(".px"))
    )
    wanted = [f"{label}.{axis}" for label in labels for axis in MOMENTUM]
    _require(table, wanted or ["columns such as O+.px, O+.py, O+.pz"])
    n = len(table)
    momentum = table[wanted].to_numpy(np.float64)
    detector = {
        name: np.stack([table[f"{label}.{name}"].to_numpy(float) for label in labels], axis=1)
        for name in _DETECTOR
        if all(f"{label}.{name}" in table for label in labels)
    }
    tags = {
        str(name): table[name].to_numpy()
        for name in table
        if "." not in str(name) and name not in {EVENT_ID, EVENT_WEIGHT}
    }
    sources = [f"{label}.{_SOURCE}" for label in labels]
    meta = json.loads(table.attrs.get(_META, "{}"))
    false = table.attrs.get(_FALSE)
    given: Mapping[str, Any] = {} if false is None else {"false": _coincidences(false)}
    return Coincidences(
        ions=tuple(parse_ion(label.partition("#")[0]) for label in labels),
        event_id=table[EVENT_ID].to_numpy(np.int64) if EVENT_ID in table else np.arange(n),
        momentum=momentum.reshape(n, len(labels), 3),
        weight=table[EVENT_WEIGHT].to_numpy(float) if EVENT_WEIGHT in table else np.ones(n),
        tags=tags,
        meta=meta,
        detector=DetectorValues(**detector) if len(detector) == len(_DETECTOR) else None,
        source=table[sources].to_numpy(np.int64) if set(sources) <= set(table) else None,
        **given,
    )


def _require(table: pd.DataFrame, names: list[str]) -> None:
    """Refuse a table without some columns.

    Raises:
        ColumnError: names them.
    """
    if missing := [name for name in names if name not in table]:
        raise ColumnError(
            f"the table lacks {listing(missing)}",
            do="Name the columns so, or with a unit such as O+.px (kg m/s).",
        )
