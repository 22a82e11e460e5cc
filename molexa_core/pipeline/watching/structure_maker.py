"""The structure while it converges: a second process aligns, averages and reconstructs.

The process that reads the data never waits for it. It is started when the first structure is
wanted, and it ends with the program.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, Final

from molexa_core.base.errors import MolexaError
from molexa_core.base.options.reconstruct_options import ReconstructOptions
from molexa_core.base.tables import Coincidences
from molexa_core.base.units import BOHR_ANGSTROM
from molexa_core.base.unused_memory import give_back, keep_no_large_blocks
from molexa_core.pipeline.chain.align import align
from molexa_core.pipeline.chain.centroid import centroid
from molexa_core.pipeline.chain.channel_limits import beyond_network

FIRST: Final = 500
"""Coincidences from which the first structure is made."""
GROWTH: Final = 1.3
"""A further one is made when there are this many times as many."""
SEARCH: Final = 8
"""Further starts of the search for structures; a reconstruction from a file takes more."""


@dataclass(frozen=True)
class Wanted:
    """Coincidences of which the structure is asked for.

    Attributes:
        table: a sample of the coincidences, with channel and setup.
        found: coincidences in all.
    """

    table: Coincidences
    found: int


class StructureMaker:
    """Makes structures in a second process.

    Attributes:
        newest: the last structure as plain values; None before the first.
        trouble: why there is none, or why the last was not made; empty otherwise.
        busy: whether one is being made.
    """

    def __init__(self) -> None:
        self.newest: dict[str, Any] | None = None
        self.trouble = ""
        self.busy = False
        self._asked = 0
        self._process: BaseProcess | None = None
        self._link: Connection | None = None

    def wants(self, found: int) -> bool:
        """Whether a structure of so many coincidences is to be made now."""
        return not self.busy and found >= max(FIRST, GROWTH * self._asked)

    def warm_up(self) -> None:
        """Start the process, which loads the network while data come."""
        if self._process is not None and self._process.is_alive():
            return
        context = get_context("spawn")
        self._link, other = context.Pipe()
        self._process = context.Process(target=_serve, args=(other,), daemon=True)
        self._process.start()
        other.close()

    def ask(self, wanted: Wanted) -> None:
        """Ask for a structure; `collect` has it later."""
        self.warm_up()
        self._asked, self.busy = wanted.found, True
        table = wanted.table
        if self._link is not None:
            ions = [str(ion) for ion in table.ions]
            self._link.send((ions, table.momentum, dict(table.meta), wanted.found))

    def collect(self) -> bool:
        """Take what is finished; whether there is something new."""
        if not self.busy or self._link is None or self._process is None:
            return False
        try:
            if not self._link.poll():
                return False
            answer = self._link.recv()
        except (EOFError, OSError):
            answer = {"trouble": "the process that makes structures has ended; it is started again"}
            self._process = None
        self.busy = False
        self.trouble = answer.pop("trouble", "")
        if not self.trouble:
            self.newest = answer
        return True

    def close(self) -> None:
        """End the process."""
        if self._link is not None:
            with suppress(OSError):
                self._link.close()
        if self._process is not None:
            self._process.terminate()
            self._process.join(5.0)


def structure_of(table: Coincidences, found: int) -> dict[str, Any]:
    """The structure that coincidences lead to, as plain values in angstrom.

    Args:
        table: coincidences in the laboratory, with channel and setup.
        found: how many there are in all, of which these are a sample.

    Returns:
        `atoms`, `positions`, `uncertainty` (or None), `distances` (name, value, half width),
        `angles`, `closure`, `of` (coincidences), `warnings`; or `trouble` alone.
    """
    from molexa_core.pipeline.reconstruction.reconstruct import reconstruct  # noqa: PLC0415

    aligned = align(table)
    rows = centroid(aligned.table)
    record = reconstruct(rows, options=ReconstructOptions(search=SEARCH))
    uncertainty = record.uncertainty_bohr
    return {
        "atoms": list(record.symbols),
        "positions": (record.positions_bohr * BOHR_ANGSTROM).tolist(),
        "uncertainty": None if uncertainty is None else (uncertainty * BOHR_ANGSTROM).tolist(),
        "distances": [_of(one, BOHR_ANGSTROM) for one in record.distances],
        "angles": [_of(one, 1.0) for one in record.angles],
        "closure": dict(record.closure),
        "of": found,
        "sample": len(table),
        "warnings": list(record.warnings),
        "reason": record.uncertainty_reason,
    }


def _of(one: Any, factor: float) -> dict[str, Any]:
    half = one.get("half_width")
    return {
        "name": str(one["of"]),
        "value": factor * float(one["median"]),
        "half_width": None if half is None else factor * float(half),
    }


def _serve(link: Connection) -> None:
    """Answer until the other side is gone."""
    import signal  # noqa: PLC0415

    from molexa_core.network.weights import default_weights, load_network  # noqa: PLC0415

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that reads
    keep_no_large_blocks()
    with suppress(MolexaError):
        load_network(default_weights(), "cpu")
    while True:
        try:
            ions, momentum, meta, found = link.recv()
        except (EOFError, OSError):
            return
        table = Coincidences.of(ions, momentum, meta=meta)
        try:
            answer = structure_of(table, found)
        except MolexaError as error:
            answer = {"trouble": error.what}
        with suppress(OSError):
            link.send(answer)
        del ions, momentum, meta, table
        give_back()  # what one structure took, before the next is asked for hours later


def not_reconstructed(channel: Any) -> str:
    """Why the network cannot take the ions of a channel; empty where it can."""
    return "; ".join(beyond_network(channel))
