"""Several results side by side: pairs, series over a tag, movies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from molexa.chain import Conditions, listed
from molexa.files import read
from molexa_core.base.errors import UsageError
from molexa_core.base.options.gate_options import Selection, SeriesOptions
from molexa_core.base.settings import Explosion
from molexa_core.base.shown import Shown
from molexa_core.base.spectrum import Spectrum
from molexa_core.base.tables import Coincidences
from molexa_core.io.results.geometry_json import ReconstructionRecord

if TYPE_CHECKING:
    import pandas as pd

    from molexa_core.geometry.side_by_side import SideBySide
    from molexa_core.observables.comparison import SpectrumComparison
    from molexa_core.pipeline.chain.movie import Movie
    from molexa_core.pipeline.given.given_events import Events
    from molexa_core.pipeline.given.given_structure import Structure


@dataclass(frozen=True, repr=False)
class Series(Shown):
    """Results for each value of a tag, such as the delay.

    Attributes:
        values: as in `series.json`: `by`, `unit`, and `bins`, each with its `quantities`.
        files: that were written.
    """

    values: Mapping[str, Any]
    files: Mapping[str, str] = field(default_factory=dict)

    def to_pandas(self) -> pd.DataFrame:
        """A row for each bin: its value, events, signal, energy, and every quantity with errors.

        Lengths in Å, angles in degrees, momenta in a.u., energies in eV.
        """
        import pandas as pd  # noqa: PLC0415

        from molexa_core.io.results.series_file import UNITS  # noqa: PLC0415

        rows = []
        for one in self.values["bins"]:
            row = {self.values["by"]: one["value"], "events": one["events"]}
            row |= {"signal": one["signal"], "signal_error": one["signal_error"]}
            row |= {"ker_ev": one["ker_ev"], "ker_error_ev": one["ker_error_ev"]}
            for item in one["quantities"]:
                factor = UNITS.get(item["kind"], ("", 1.0))[1]
                for name, key in (("", "mean"), (" ±", "statistical"), (" ± sys", "systematic")):
                    value = item[key]
                    row[f"{item['of']}{name}"] = None if value is None else factor * value
            rows.append(row)
        return pd.DataFrame(rows)


def series(
    events: Events,
    by: str,
    *,
    bins: str | None = None,
    background: Conditions = None,
    where: Conditions = None,
    of: str = "structure",
    explosion: Explosion | str | Path | None = None,
    out: str | Path | None = None,
    **options: Any,
) -> Series:
    """Structures, or mean momenta, one by one for the values of a tag.

    Args:
        events: coincidences or their file, which also holds the tags of all shots; aligned ones
            for momenta.
        by: the tag or a number, such as `delay_fs`.
        bins: a number of them (`20`), edges (`0,50,200`) or `start:stop:width`; every value for
            itself if not given.
        background: condition of the static background that is subtracted, such as
            `pump_laser == 0`.
        where: condition on every coincidence.
        of: `structure` or `momenta`.
        explosion: for structures, as for `reconstruct`.
        out: JSON file to write, with a table beside it.
        options: for structures, as for `reconstruct`.

    Raises:
        MolexaError: as `molexa reconstruct --by` and `molexa centroid --by`.
    """
    told = SeriesOptions(by=by, bins=bins, background=listed(background))
    selection = Selection(where=listed(where))
    if of == "momenta":
        from molexa_core.pipeline.chain.momentum_series import momentum_series  # noqa: PLC0415

        if options or explosion is not None:
            raise UsageError("mean momenta need no explosion and no options of structures")
        values = momentum_series(events, told, selection=selection, out=out)
    elif of == "structure":
        from molexa_core.base.options.reconstruct_options import (  # noqa: PLC0415
            ReconstructOptions,
        )
        from molexa_core.pipeline.reconstruction.structure_series import (  # noqa: PLC0415
            structure_series,
        )

        values = structure_series(
            events,
            told,
            structure=ReconstructOptions(**options),
            explosion=explosion,
            selection=selection,
            out=out,
        )
    else:
        raise UsageError(f"a series of {of!r}", setting="of", do="Write structure or momenta.")
    return Series(values, values["files"])


def compare(
    first: Structure | Spectrum | Coincidences,
    second: Structure | Spectrum | Coincidences,
    x: str | None = None,
    *,
    bins: int = 60,
    scale: float | None = None,
    allow_mirror: bool = False,
) -> SideBySide | SpectrumComparison:
    """Two structures, two spectra, or an observable of two runs side by side.

    Args:
        first: a structure, a spectrum, coincidences, or their file.
        second: another of the same kind.
        x: for coincidences the observable that is compared, such as `ker`.
        bins: for coincidences.
        scale: factor of the second spectrum; found from the sums, so that shapes are compared, if
            not given.
        allow_mirror: whether a mirror image counts as the same structure.

    Returns:
        Differences with errors and pulls; of spectra also the ratio and a test of the shape.

    Raises:
        UsageError: they are not of one kind, or do not fit each other.
    """
    one, two = (_opened(value) for value in (first, second))
    if isinstance(one, Coincidences) and isinstance(two, Coincidences):
        one, two = _histograms(one, two, x or "ker", bins)
    if isinstance(one, Spectrum) and isinstance(two, Spectrum):
        from molexa_core.observables.comparison import compare_spectra  # noqa: PLC0415

        return compare_spectra(one, two, scale=scale)
    if isinstance(one, Spectrum | Coincidences) or isinstance(two, Spectrum | Coincidences):
        raise UsageError(
            f"{type(one).__name__} and {type(two).__name__} cannot be compared",
            do="Give two structures, two spectra, or two runs.",
        )
    from molexa_core.geometry.side_by_side import side_by_side  # noqa: PLC0415
    from molexa_core.pipeline.given.given_structure import structure_of  # noqa: PLC0415

    records = [getattr(side, "record", side) for side in (one, two)]
    told = [record if isinstance(record, ReconstructionRecord) else None for record in records]
    errors = [None if record is None else record.half_widths() for record in told]
    values = [None if record is None else record.values() for record in told]
    return side_by_side(
        structure_of(one)[0],
        structure_of(two)[0],
        first_errors=errors[0],
        second_errors=errors[1],
        first_values=values[0],
        second_values=values[1],
        allow_mirror=allow_mirror,
    )


def _opened(value: Any) -> Any:
    is_file = isinstance(value, str | Path) and Path(value).is_file()
    return read(value) if is_file else value


def _histograms(
    one: Coincidences, two: Coincidences, x: str, bins: int
) -> tuple[Spectrum, Spectrum]:
    """The histograms of an observable of both, over the same bins."""
    from molexa_core.observables.observable_histograms import spectrum_of  # noqa: PLC0415

    ends = [spectrum_of(table, [x], bins=bins).edges[0] for table in (one, two)]
    limits = (min(float(e[0]) for e in ends), max(float(e[-1]) for e in ends))
    first, second = (spectrum_of(table, [x], bins=bins, limits=[limits]) for table in (one, two))
    return first, second


def movie(
    structures: Sequence[Structure] | str | Path,
    *,
    at: Sequence[float] | None = None,
    unit: str = "fs",
    out: str | Path | None = None,
    allow_mirror: bool = False,
) -> Movie:
    """Structures of one molecule in a row, atoms followed from frame to frame.

    Args:
        structures: reconstructions, geometries or their files; or an XYZ file of several.
        at: delays; frames are numbered if not given.
        unit: of the delays.
        out: XYZ file to write, with a figure and a page with a viewer beside it; for files only.
        allow_mirror: whether a frame may be mirrored onto the one before.

    Raises:
        MolexaError: as `pipeline.chain.movie.movie_of`.
    """
    from molexa_core.pipeline.chain.movie import movie_files, movie_of  # noqa: PLC0415
    from molexa_core.pipeline.given.given_structure import structure_of  # noqa: PLC0415

    single = isinstance(structures, str | Path)
    several: list[Any] = [structures] if single else list(structures)  # type: ignore[arg-type]
    if all(isinstance(one, str | Path) for one in several) and (out is not None or single):
        if out is None:
            from molexa_core.io.xyz import read_xyz  # noqa: PLC0415

            frames = [frame for one in several for frame in read_xyz(Path(one))]
            return movie_of(frames, at=at, unit=unit, allow_mirror=allow_mirror)
        return movie_files(several, out, at=at, unit=unit, allow_mirror=allow_mirror)
    if out is not None:
        raise UsageError("a movie is written from files", do="Name the files of the structures.")
    opened = [_opened(one) for one in several]
    records = [one if isinstance(one, ReconstructionRecord) else None for one in opened]
    return movie_of(
        [structure_of(one)[0] for one in opened],
        at=at,
        unit=unit,
        records=records,
        allow_mirror=allow_mirror,
    )
