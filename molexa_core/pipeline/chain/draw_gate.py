"""Gates by hand: the map of two observables, and regions drawn in it or given by numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from molexa_core.base.errors import InputFileError, NoEventsError, UsageError, listing
from molexa_core.base.options.gate_options import EVERYTHING, REGIONS_FILE, Selection
from molexa_core.base.progress import SILENT, Progress
from molexa_core.base.settings import Region, load_channel, load_regions, parse_settings
from molexa_core.base.settings.region import RegionsFile
from molexa_core.base.spectrum import Spectrum
from molexa_core.base.storage.files import UNWRITABLE, atomic_path
from molexa_core.base.storage.outputs import FileKind
from molexa_core.base.storage.provenance import Provenance, the_command
from molexa_core.base.tables import Coincidences, FloatArray
from molexa_core.io.results.events import read_events
from molexa_core.io.results.regions_file import block_of, write_channel, write_regions
from molexa_core.observables.expression import inside, parse_number
from molexa_core.pipeline.chain.pick import channel_of
from molexa_core.pipeline.chain.selected import gating_of
from molexa_core.pipeline.output_guard import require_outputs, settings_inputs
from molexa_core.report.gate_page import gate_page

BINS: Final = 160
MOST_BINS: Final = 400
_FEWEST_CORNERS: Final = 3
SHARE: Final = 0.002
"""Share of the rows that may lie beyond either end of an axis."""
Range = tuple[float, float]


@dataclass(frozen=True)
class Drawn:
    """A region with the rows that lie in it.

    Attributes:
        name: of the region.
        region: axes and form.
        inside: rows in it.
        rows: all rows.
        block: its YAML block.
        file: the file it was written to.
    """

    name: str
    region: Region
    inside: int
    rows: int
    block: str
    file: Path


class GateMap:
    """Coincidences in two observables, to draw regions in.

    Args:
        path: events or aligned events.
        x: observable along x, such as `tof(O+)`.
        y: observable along y.
        out: the file that regions are written to: `regions.yaml` in the working folder if not
            given, or a copy of the channel if `channel` is.
        channel: name or file of a channel; a copy with the region, which its gates use, is written.
        selection: the coincidences to show.
        bins: bins along each axis.
        x_range, y_range: ends of the axes; found from the data if not given.
        progress: receives remarks.

    Raises:
        InputFileError: the file cannot be read.
        UsageError: an observable or a condition that does not fit the events.
        NoEventsError: no coincidence is left.
        OutputError: regions cannot be written there.
    """

    def __init__(
        self,
        path: Path | str,
        x: str,
        y: str,
        *,
        out: Path | str | None = None,
        channel: str | None = None,
        selection: Selection = EVERYTHING,
        bins: int = BINS,
        x_range: Range | None = None,
        y_range: Range | None = None,
        progress: Progress = SILENT,
    ) -> None:
        if not 2 <= bins <= MOST_BINS:
            raise UsageError(f"{bins} bins", setting="bins", do=f"Choose 2 to {MOST_BINS}.")
        self.path = Path(path)
        self._command = the_command()  # regions are written from another thread
        self._axes = (parse_number(x), parse_number(y))
        self._channel = None if channel is None else load_channel(channel)
        if self._channel is not None and out is None:
            raise UsageError(
                "a channel is never overwritten", setting="channel",
                do="Name the file for the copy with `out=`.",
            )  # fmt: skip
        self.out = Path(REGIONS_FILE if out is None else out)
        kind = FileKind.REGIONS if self._channel is None else FileKind.CHANNEL
        read = [self.path, selection.regions, *settings_inputs(channel=channel)]
        require_outputs((self.out, kind), inputs=read)
        table, _ = read_events(path)
        gating = gating_of(selection, "gate", channel=self._channel or channel_of(table.meta))
        self.table = gating.select(table)
        gating.finish()
        self.gates = gating.sentences()
        for sentence in self.gates:
            progress.say(sentence)
        self.spectrum = _histogram(self.table, self._axes, bins, (x_range, y_range))

    @property
    def free_name(self) -> str:
        """A name that no region in the file has."""
        taken = self._regions()
        number = next(n for n in range(1, len(taken) + 2) if f"region{n}" not in taken)
        return f"region{number}"

    def page(self, *, saves_to: str | None = None) -> str:
        """The page on which a region is drawn.

        Args:
            saves_to: where it sends a region; None for a page that only shows the block.
        """
        return gate_page(
            self.spectrum,
            file=self.path.name,
            name=self.free_name,
            target=self.out.name,
            gates=self.gates,
            saves_to=saves_to,
        )

    def write_page(self, path: Path | str) -> None:
        """Write a page that only shows the block.

        Raises:
            UsageError, OutputError: it cannot be written there.
        """
        require_outputs((path, FileKind.GATE_PAGE), inputs=[self.path])
        with atomic_path(path) as temporary:
            temporary.write_text(self.page(), encoding="utf-8", errors=UNWRITABLE)

    def write(self, name: str, form: Mapping[str, Any]) -> Drawn:
        """Write a region to the file, beside those that are there.

        Args:
            name: of the region.
            form: `polygon`, `box` or `ellipse` with its numbers, as in the channel YAML.

        Raises:
            SettingsError: an impossible name or region.
            UsageError: the file has a region of this name.
            NoEventsError: the region lies outside the data.
            OutputError: the file cannot be written.
        """
        x, y = (axis.text for axis in self._axes)
        block = {"regions": {name: {"x": x, "y": y, **form}}}
        region = parse_settings(RegionsFile, block, where="the region").regions[name]
        known = self._regions()
        if name in known:
            raise UsageError(
                f"{self.out} has a region {name!r} already", setting="name", do="Choose another."
            )
        rows = int(inside(region, self.table).sum())
        if not rows:
            spans = listing(
                f"{axis.text} {values.min():.4g} to {values.max():.4g}"
                for axis, values in zip(self._axes, self._values(), strict=True)
            )
            raise NoEventsError(
                f"the region {name!r} holds none of {len(self.table)} coincidences, which have "
                f"{spans}",
                do="Draw it where the data are.",
            )
        record = Provenance.of(
            self._command,
            inputs=[self.path],
            settings={"region": name, "inside": rows, "rows": len(self.table)},
        )  # without the history of the events: this is a text for people, and names their digest
        regions = {**known, name: region}
        if self._channel is None:
            write_regions(self.out, regions, record)
        else:
            use = (*self._channel.gates.use, name)
            gates = self._channel.gates.model_copy(update={"use": use})
            copy = self._channel.model_copy(update={"regions": regions, "gates": gates})
            write_channel(self.out, copy, record)
            self._channel = copy
        return Drawn(name, region, rows, len(self.table), block_of(name, region), self.out)

    def _values(self) -> list[FloatArray]:
        """The values along both axes that are numbers."""
        columns = [axis.values(self.table) for axis in self._axes]
        return [column[np.isfinite(column)] for column in columns]

    def _regions(self) -> dict[str, Region]:
        """The regions that are in the file."""
        if self._channel is not None:
            return dict(self._channel.regions)
        return load_regions(self.out) if self.out.is_file() else {}


def form_of(*, polygon: str | None, box: str | None, ellipse: str | None) -> dict[str, Any] | None:
    """The form of a region from numbers as they are typed; None if nothing is given.

    Args:
        polygon: `x,y x,y x,y ...`
        box: `x0,y0 x1,y1`, two opposite corners.
        ellipse: `x,y a,b` or `x,y a,b angle`: centre, half axes, degrees.

    Raises:
        UsageError: several forms, or numbers that cannot be read.
    """
    given = {name: text for name, text in (("polygon", polygon), ("box", box)) if text is not None}
    given |= {} if ellipse is None else {"ellipse": ellipse}
    if len(given) > 1:
        raise UsageError(f"a region has one form, not {listing(given)}", do="Give one of them.")
    if not given:
        return None
    ((name, text),) = given.items()
    examples = {
        "polygon": "'1,1 2,1 2,3' (three corners or more)",
        "box": "'1,1 2,3' (two opposite corners)",
        "ellipse": "'1,1 0.5,0.3 20' (centre, half axes, angle in degrees)",
    }
    try:
        points = [tuple(float(part) for part in word.split(",")) for word in text.split()]
        if name == "polygon":
            if len(points) < _FEWEST_CORNERS:
                raise IndexError
            return {name: [_pair(point) for point in points]}
        if name == "box":
            (x0, y0), (x1, y1) = (_pair(point) for point in points)
            return {name: {"x": sorted([x0, x1]), "y": sorted([y0, y1])}}
        centre, axes, *rest = points
        if min(axes) <= 0.0:
            raise ValueError
        angle = {"angle_deg": rest[0][0]} if rest else {}
        return {name: {"centre": _pair(centre), "half_axes": _pair(axes), **angle}}
    except (ValueError, IndexError) as error:
        raise UsageError(
            f"{text!r} cannot be read", setting=name, do=f"Write it like {examples[name]}."
        ) from error


def _pair(point: Sequence[float]) -> list[float]:
    x, y = point
    return [x, y]


def _histogram(
    table: Coincidences,
    axes: Sequence[Any],
    bins: int,
    ranges: tuple[Range | None, Range | None],
) -> Spectrum:
    values = [axis.values(table) for axis in axes]
    good = np.isfinite(values[0]) & np.isfinite(values[1])
    if not good.any():
        raise InputFileError(
            f"{axes[0].text} and {axes[1].text} are not numbers in any coincidence",
            do="Choose other observables.",
        )
    edges = [
        np.linspace(*_ends(column[good], given), bins + 1)
        for column, given in zip(values, ranges, strict=True)
    ]
    counts = np.histogram2d(values[0][good], values[1][good], edges)[0]
    return Spectrum(
        counts.astype(np.int64),
        tuple(edges),
        tuple(axis.text for axis in axes),
        tuple(axis.unit for axis in axes),
        outside=float(len(table) - counts.sum()),
    )


def _ends(values: FloatArray, given: Range | None) -> Range:
    if given is not None:
        if not given[0] < given[1]:
            raise UsageError(f"the range {given[0]:g} to {given[1]:g} is empty")
        return given
    low, high = (float(end) for end in np.quantile(values, (SHARE, 1.0 - SHARE)))
    margin = 0.06 * (high - low) or max(abs(high), 1.0) * 0.05
    return low - margin, high + margin
