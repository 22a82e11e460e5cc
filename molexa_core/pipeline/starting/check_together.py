"""Do setup, channel and run fit together? What fits, what is missing, what looks wrong."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

import numpy as np

from molexa_core.base.errors import MolexaError, UsageError, listing
from molexa_core.base.matter.ions import parse_ion
from molexa_core.base.progress import SILENT, Progress
from molexa_core.base.settings import Channel, Setup, load_channel, load_project, load_setup
from molexa_core.base.tables import Hits
from molexa_core.base.units import ATOMIC_VELOCITY_MM_NS
from molexa_core.detector.health import HitHealth
from molexa_core.pipeline.chain.channel_limits import beyond_network
from molexa_core.pipeline.runs.open_run import OpenRun, open_run
from molexa_core.reduction.coincidences import Search
from molexa_core.reduction.laboratory import calibrate
from molexa_core.reduction.suspected_units import setup_doubts

State = Literal["fits", "missing", "doubtful", "wrong"]
_SHOTS: Final = 100_000
"""Shots from the beginning of a run that are looked at."""
_SHARE: Final = 0.02
"""Least share of the hits on the detector and in no window that is worth a word."""


@dataclass(frozen=True)
class Found:
    """One thing that was looked at.

    Attributes:
        of: what.
        state: `fits`, `missing` (needed later), `doubtful`, or `wrong`.
        words: a sentence.
    """

    of: str
    state: State
    words: str


@dataclass
class CheckedTogether:
    """Everything that was looked at.

    Attributes:
        found: in order.
    """

    found: list[Found] = field(default_factory=list)

    @property
    def wrong(self) -> bool:
        """Whether the next command would fail."""
        return any(item.state == "wrong" for item in self.found)

    def add(self, of: str, state: State, words: str) -> None:
        """Add one thing."""
        self.found.append(Found(of, state, words))


def check_together(
    run: Sequence[Path | str] = (),
    *,
    setup: str | None = None,
    channel: str | None = None,
    progress: Progress = SILENT,
) -> CheckedTogether:
    """Read setup, channel and run together and say what fits, what is missing, what looks wrong.

    Args:
        run: files of the run; none leaves it out.
        setup: setup file; that of `molexa.yaml`, or of the run, if not given.
        channel: name or file of the channel; that of `molexa.yaml` if not given.
        progress: receives a notice on format and layout.

    Raises:
        UsageError: nothing was named, and there is no `molexa.yaml`.
    """
    project = load_project()
    setup, channel = setup or project.setup, channel or project.channel
    if not run and setup is None and channel is None:
        raise UsageError(
            "nothing to check", do="Name a run, `setup=` or `channel=`, or make molexa.yaml."
        )
    checked = CheckedTogether()
    known_setup = None if setup is None else _setup(setup, checked)
    known_channel = None if channel is None else _channel(channel, checked)
    opened = None
    if run and (known_setup is not None or setup is None):
        opened = _run(run, known_setup, checked, progress)
    if opened is not None and known_setup is None:
        known_setup = opened.setup
        checked.add("setup", "fits", "taken from the run, which holds the one it was made with")
    if known_channel is None and channel is None:
        checked.add("channel", "missing", "none named: molexa new channel MOLECULE writes one")
    if setup is None and known_setup is None and not run:
        checked.add("setup", "missing", "none named: molexa new setup RUN writes one")
    search = None
    if known_setup is not None and known_channel is not None:
        search = _both(known_channel, known_setup, checked)
    if opened is not None and known_setup is not None:
        _hits(opened, known_setup, search, checked)
    return checked


def _setup(name: str, checked: CheckedTogether) -> Setup | None:
    try:
        setup = load_setup(name)
    except MolexaError as error:
        checked.add("setup", "wrong", str(error))
        return None
    doubts = setup_doubts(setup)
    for doubt in doubts:
        checked.add("setup", "doubtful", doubt)
    if not doubts:
        regions = setup.spectrometer.regions
        fields = listing([f"{r.length_mm:g} mm at {r.field_v_per_cm:g} V/cm" for r in regions])
        checked.add("setup", "fits", f"{name}: {fields}; detector {setup.detector.radius_mm:g} mm")
    if setup.explosion is None:
        checked.add(
            "explosion",
            "missing",
            "nothing is said about what exploded the molecules, so that errors will be wide: add "
            "`explosion` to the setup",
        )
    return setup


def _channel(name: str, checked: CheckedTogether) -> Channel | None:
    try:
        channel = load_channel(name)
    except MolexaError as error:
        checked.add("channel", "wrong", str(error))
        return None
    ions = listing([str(ion) for ion in channel.all_ions], limit=20)
    checked.add("channel", "fits", f"{channel.name}: {ions}")
    for limit in beyond_network(channel):
        checked.add("channel", "doubtful", f"molexa reconstruct cannot take these ions: {limit}")
    return channel


def _run(
    files: Sequence[Path | str], setup: Setup | None, checked: CheckedTogether, progress: Progress
) -> OpenRun | None:
    try:
        run = open_run(files, setup, progress=progress)
    except MolexaError as error:
        checked.add("run", "wrong", str(error))
        return None
    shots = "" if run.n_shots is None else f", {run.n_shots} shots"
    checked.add("run", "fits", f"{run.choice}{shots}")
    return run


def _both(channel: Channel, setup: Setup, checked: CheckedTogether) -> Search | None:
    """Do the ions reach the detector, and are their windows apart?"""
    try:
        search = Search(channel, setup)
    except MolexaError as error:
        checked.add("channel in setup", "wrong", str(error))
        return None
    for words in _overlaps(search):
        checked.add("windows", "doubtful", words)
    for entry in channel.ions:
        if entry.ion not in search.windows:
            continue
        last = search.windows[entry.ion][1]
        reach = (
            channel.gates.max_momentum / parse_ion(entry.ion).mass * ATOMIC_VELOCITY_MM_NS * last
        )
        if reach > setup.detector.radius_mm:
            checked.add(
                "acceptance",
                "doubtful",
                f"{entry.ion} of {channel.gates.max_momentum:g} a.u. across the field lands "
                f"{reach:.0f} mm from the centre, and the detector has {setup.detector.radius_mm:g}"
                " mm: fast ions of some directions are lost",
            )
    return search


def _overlaps(search: Search) -> Iterator[str]:
    kinds = list(search.windows.items())
    for number, (one, (first, last)) in enumerate(kinds):
        for other, (begin, end) in kinds[number + 1 :]:
            low, high = max(first, begin), min(last, end)
            if low < high:
                yield (
                    f"{one} and {other} share {low:.0f} to {high:.0f} ns: a hit there can be "
                    "either, and the momentum sum decides; a lower gates -> max_momentum or "
                    "window_ns keep them apart"
                )


def _hits(run: OpenRun, setup: Setup, search: Search | None, checked: CheckedTogether) -> None:
    """Where do the hits of the first shots lie?"""
    health = HitHealth(setup.detector)
    inside = {} if search is None else dict.fromkeys(search.windows, 0)
    shots = hits = kept = 0
    try:
        for chunk in run:
            health.add(chunk)
            good, _ = calibrate(chunk, setup)
            shots, hits, kept = shots + chunk.n_shots, hits + chunk.n_hits, kept + good.n_hits
            _count(good, search, inside)
            if shots >= _SHOTS:
                break
    except MolexaError as error:
        checked.add("run", "wrong", str(error))
        return
    if not hits:
        checked.add("hits", "wrong", f"none in the first {shots} shots")
        return
    share = kept / hits
    checked.add(
        "hits",
        "fits" if share > 1 - _SHARE else "doubtful" if share > 0.5 else "wrong",
        f"{hits} in the first {shots} shots ({hits / max(shots, 1):.2f} per shot), "
        f"{100 * share:.1f} % of them on the detector after the light pulse",
    )
    for name, count in inside.items():
        first, last = (search.windows if search is not None else {})[name]
        checked.add(
            f"window of {name}",
            "fits" if count else "wrong",
            f"{first:.0f} to {last:.0f} ns: {count} hits, {100 * count / max(kept, 1):.1f} %",
        )
    for warning in (*run.warnings, *health.warnings()):
        checked.add("hits", "doubtful", warning)


def _count(hits: Hits, search: Search | None, inside: dict[str, int]) -> None:
    for name, (first, last) in ({} if search is None else search.windows).items():
        inside[name] += int(np.count_nonzero((hits.t_ns >= first) & (hits.t_ns <= last)))
