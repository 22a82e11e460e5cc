"""Selections and summaries of coincidences: gates, spectra, joined runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from molexa.chain import Conditions, events_of, listed
from molexa.files import read
from molexa_core.base.options.gate_options import Selection
from molexa_core.base.progress import SILENT
from molexa_core.base.storage.provenance import Provenance
from molexa_core.base.tables import Coincidences

if TYPE_CHECKING:
    from molexa_core.base.spectrum import Spectrum
    from molexa_core.pipeline.given.given_events import Events

Range = tuple[float, float] | None


def gate(
    events: Events,
    where: Conditions = None,
    *,
    regions: Conditions = None,
    file: str | Path | None = None,
) -> Coincidences:
    """The coincidences that fulfil conditions.

    Args:
        events: coincidences or their file.
        where: condition on every coincidence, such as `ker in 20..26`, or several.
        regions: names of regions in which it must lie, of `molexa gate` or of the channel.
        file: with the regions; those of the channel and of `regions.yaml` if not given.

    Returns:
        These coincidences; what each gate let pass is in their `meta`.

    Raises:
        UsageError: a condition that cannot be read or does not fit the events.
        NoEventsError: none is left.
    """
    from molexa_core.pipeline.chain.pick import channel_of as channel_in  # noqa: PLC0415
    from molexa_core.pipeline.chain.selected import gating_of, select  # noqa: PLC0415

    table = events_of(events)
    named = None if file is None else Path(file)
    selection = Selection(where=listed(where), gate=listed(regions), regions=named)
    gates = gating_of(selection, "gate", channel=channel_in(table.meta))
    return select(table, gates, SILENT)


def spectrum(
    events: Events,
    x: str,
    y: str | None = None,
    *,
    bins: int = 100,
    x_range: Range = None,
    y_range: Range = None,
    where: Conditions = None,
) -> Spectrum:
    """The spectrum of an observable, or the map of two, false coincidences subtracted.

    Args:
        events: coincidences or their file.
        x: observable or formula, such as `ker` or `tof(O+) + tof(C+)`.
        y: a second one, for a map.
        bins: along each axis.
        x_range: ends of the axis of `x`; found from the data if not given.
        y_range: ends of the axis of `y`.
        where: condition on every coincidence.

    Returns:
        Counts with standard errors; `.plot()` draws them.

    Raises:
        UsageError: an observable, bins or ranges that cannot be.
        NoEventsError: nothing is left.
    """
    from molexa_core.observables.observable_histograms import spectrum_of  # noqa: PLC0415

    table = events_of(events) if where is None else gate(events, where)
    axes = [x] if y is None else [x, y]
    return spectrum_of(table, axes, bins=bins, limits=(x_range, y_range))


def join(
    several: Sequence[Events], *, out: str | Path | None = None, common_tags: bool = False
) -> Coincidences:
    """The coincidences of several runs of one channel and one setup as one.

    Args:
        several: coincidences or their files, in order.
        out: events file to write.
        common_tags: whether tags that some runs lack are left out; they are an error otherwise.

    Returns:
        All of them, numbered anew, with the tag `run`.

    Raises:
        UsageError, InputFileError: as `molexa join`.
    """
    from molexa_core.io.results.events import write_events  # noqa: PLC0415
    from molexa_core.pipeline.chain.join import join_files  # noqa: PLC0415

    with TemporaryDirectory(prefix="molexa-") as folder:
        paths = []
        for number, one in enumerate(several):
            path = Path(folder) / f"run{number}.events.h5"
            if isinstance(one, Coincidences):
                write_events(path, one, Provenance.of(), spectra=one.spectra)
                paths.append(path)
            else:
                paths.append(Path(one))
        target = Path(folder) / "joined.events.h5" if out is None else Path(out)
        join_files(paths, target, common_tags=common_tags)
        joined: Coincidences = read(target)
        return joined
