"""Coincidence search on a graphics card, with the results of `direct.search_few`.

One thread works off one shot: candidates in the windows, momenta, all combinations, sums, gate and
displaced boxes, histograms of the sums. Shots in which candidates compete are settled by a second
kernel. Coincidences are staged in any order, then counted shot by shot, and written in the order of
the shots by a third kernel. Shots with more combinations or hits than the kernels take are left to
the compiled loops of the processor.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from molexa_core.base.cuda.compiler import EXACT
from molexa_core.base.cuda.graphics_card import Memory, Processor, Program
from molexa_core.base.tables import FloatArray, IntArray
from molexa_core.reduction.combinations.direct import FEW
from molexa_core.reduction.combinations.shot import (
    COLLECT,
    COMBINATIONS,
    EVERY,
    FOUND,
    LEFT,
    LOG_ODDS,
    MAX_MOMENTUM,
    MOST,
    OVERLAP,
    REACH,
    SHOTS,
    SLACK,
    WORK,
)
from molexa_core.reduction.gpu.search_kernel import (
    MOST_IONS,
    NAMES,
    SEGMENT,
    THREADS,
    Scan,
    defines,
    launch_type,
    source,
)
from molexa_core.reduction.momentum import NODE_SINE

_STAGED, _LEFT, _CONTESTED, _CURSORS = 0, 1, 2, 4
_SHARE: Final = 4
"""Shots for one coincidence, at first; more room is made where there are more."""
_LEAST_ROOM: Final = 4096


@dataclass(frozen=True)
class Task:
    """What is searched for: arrays and numbers as `shot.Sought` holds them.

    Attributes:
        kinds: (kinds, 2) windows, ns.
        flights: (kinds, numbers) rows of `momentum.flight_row`.
        wanted: (kinds) how many of each.
        kind_of: (ions) kind of each ion.
        columns: (ions) place of the ion in the search for each ion of the channel.
        limits: see `shot.MAX_MOMENTUM` and following.
        asked: see `shot.BEST` and following.
        weigh: whether probabilities are asked for.
        gate: (4, 3) see `shot.CENTRE` and following.
        shifts: (boxes, 3) displacements of the boxes.
        bins: of the histograms of the sums.
    """

    kinds: FloatArray
    flights: FloatArray
    wanted: IntArray
    kind_of: IntArray
    columns: IntArray
    limits: FloatArray
    asked: int
    weigh: bool
    gate: FloatArray
    shifts: FloatArray
    bins: int

    @property
    def suitable(self) -> bool:
        """Whether the kernels know how to do it."""
        few = min(self.limits[MOST], self.limits[WORK]) >= FEW
        return bool(self.asked != COLLECT and few and len(self.kind_of) <= MOST_IONS)


@dataclass(frozen=True)
class HitsOnDevice:
    """Calibrated hits in the memory of a card.

    Attributes:
        x: (hits) float64, mm.
        y: (hits) float64, mm.
        t: (hits) float64, ns.
        offsets: (shots + 1) int64.
        shots: number of shots.
    """

    x: Memory
    y: Memory
    t: Memory
    offsets: Memory
    shots: int


@dataclass(frozen=True)
class DeviceFound:
    """Coincidences in the memory of a card, in the order of the shots, and what was counted.

    Attributes:
        number: of coincidences.
        table: (number, ions + 3) float64: shot, hits, chi-square, probability.
        momenta: (number, ions, 3) float64 in a.u., ions in the order of the channel.
        sums: (3, bins) histograms of the momentum sums.
        elsewhere: (boxes) coincidences in the gate and in the boxes beside it.
        combinations: of hits, of the shots that are not left.
        left: (shots) those that are left to the processor, ascending.
    """

    number: int
    table: Memory
    momenta: Memory
    sums: IntArray
    elsewhere: IntArray
    combinations: int
    left: IntArray


class DeviceSearch:
    """Searches shots on a card; memory is kept from one call to the next.

    Args:
        processor: the card.
    """

    def __init__(self, processor: Processor) -> None:
        self._processor = processor
        self._kept: dict[str, Memory] = {}
        self._programs: dict[tuple[str, ...], Program] = {}

    @property
    def programs(self) -> tuple[Program, ...]:
        """The kernels that were compiled so far."""
        return tuple(self._programs.values())

    def hits(self, offsets: IntArray, x: FloatArray, y: FloatArray, t: FloatArray) -> HitsOnDevice:
        """Copy hits to the card; they stay until the next ones are copied.

        Args:
            offsets: (shots + 1) first hit of each shot.
            x: (hits) mm.
            y: (hits) mm.
            t: (hits) ns.
        """
        arrays = {"x": x, "y": y, "t": t, "offsets": offsets}
        types = {"offsets": np.int64}
        for name, array in arrays.items():
            flat = np.ascontiguousarray(array, types.get(name, np.float64))
            self._memory(name, flat.nbytes).write(flat)
        kept = self._kept
        return HitsOnDevice(kept["x"], kept["y"], kept["t"], kept["offsets"], len(offsets) - 1)

    def find(self, hits: HitsOnDevice, task: Task) -> DeviceFound:
        """The coincidences, in the memory of the card until the next call.

        Args:
            hits: on the card.
            task: what is searched for; it must be `suitable`.
        """
        ions, boxes, shots = len(task.kind_of), len(task.shifts), hits.shots
        options = defines(ions, len(task.kinds), boxes, task.bins)
        program = self._programs.get(options)
        if program is None:
            title = "the kernel of the coincidence search"
            program = self._processor.program(source(), title, (*options, *EXACT), NAMES, THREADS)
            self._programs[options] = program
        argument = self._argument(hits, task)
        state = np.zeros(_words(task), np.uint64)
        while True:
            room = argument.room
            self._kept["state"].zero(state.nbytes)
            self._kept["counts"].zero(4 * shots)
            program.start("search", shots, argument)
            if task.asked != EVERY:
                program.start("settle", shots, argument)
            self._kept["state"].read(state)
            cursors = state[-_CURSORS // 2 :].view(np.uint32)
            number = int(cursors[_STAGED])
            if number <= room:
                break
            self._make_room(argument, number, ions)
        self._number_shots(program, shots)
        self._point(argument, "table", 8 * number * (ions + 3))
        self._point(argument, "momenta", 24 * number * ions)
        program.start("place", number, argument)
        left = np.empty(int(cursors[_LEFT]), np.int32)
        self._kept["left"].read(left)
        n_sums = 3 * task.bins
        return DeviceFound(
            number,
            self._kept["table"],
            self._kept["momenta"],
            state[:n_sums].astype(np.int64).reshape(3, task.bins),
            state[n_sums : n_sums + boxes].astype(np.int64),
            int(state[n_sums + boxes]),
            np.sort(left).astype(np.int64),
        )

    def search_few(
        self,
        hits: HitsOnDevice,
        task: Task,
        histograms: IntArray,
        elsewhere: IntArray,
        counters: IntArray,
        left: IntArray,
    ) -> FloatArray:
        """What `direct.search_few` finds and counts in all shots.

        Args:
            hits: on the card.
            task: what is searched for.
            histograms: (3, bins) of momentum sums, added to.
            elsewhere: (boxes) added to.
            counters: see `shot.SHOTS` and following; added to.
            left: (shots) filled with the shots that are left.

        Returns:
            (found, ions + 3) shot, hits, chi-square and probability of each coincidence.
        """
        found = self.find(hits, task)
        table = np.empty((found.number, len(task.kind_of) + 3))
        found.table.read(table)
        histograms += found.sums
        elsewhere += found.elsewhere
        left[: len(found.left)] = found.left
        counters[LEFT] += len(found.left)
        counters[SHOTS] += hits.shots - len(found.left)
        counters[COMBINATIONS] += found.combinations
        counters[FOUND] += found.number
        return table

    def _argument(self, hits: HitsOnDevice, task: Task) -> Any:
        ions, kinds, boxes = len(task.kind_of), len(task.kinds), len(task.shifts)
        argument: Any = launch_type(ions, kinds, boxes)()
        for name in ("x", "y", "t", "offsets"):
            setattr(argument, name, getattr(hits, name).address)
        flights = np.ascontiguousarray(task.flights)
        self._memory("flights", flights.nbytes).write(flights)
        argument.flights = self._kept["flights"].address
        state = self._memory("state", 8 * _words(task)).address
        argument.sums = state
        argument.elsewhere = state + 8 * 3 * task.bins
        argument.totals = argument.elsewhere + 8 * boxes
        argument.cursors = argument.totals + 16
        shots = hits.shots
        for name in ("counts", "left", "contested", "base"):
            self._point(argument, name, 4 * shots)
        self._make_room(argument, max(_LEAST_ROOM, shots // _SHARE), ions)
        argument.shots, argument.row_length = shots, flights.shape[1]
        near = task.gate[REACH] * (1.0 + SLACK) + SLACK
        if task.asked == EVERY:
            near = np.full(3, np.inf)
        for name, values in (
            ("windows", task.kinds),
            ("gate", task.gate),
            ("near", near),
            ("shifts", task.shifts),
            ("kind_of", task.kind_of),
            ("wanted", task.wanted),
            ("space", _space(task.kind_of)),
            ("columns", task.columns),
        ):
            getattr(argument, name)[:] = np.ravel(values).tolist()
        argument.max_momentum = task.limits[MAX_MOMENTUM]
        argument.log_odds = task.limits[LOG_ODDS]
        argument.few, argument.sine = FEW, NODE_SINE
        argument.infinity, argument.nan = np.inf, np.nan
        argument.overlap = int(task.limits[OVERLAP] != 0.0)
        argument.asked, argument.weigh, argument.boxes = task.asked, int(task.weigh), boxes
        return argument

    def _make_room(self, argument: Any, room: int, ions: int) -> None:
        """Memory for so many staged coincidences."""
        for name, size in (("shot", 4), ("rank", 4), ("rows", 4 * ions), ("chi", 8)):
            self._point(argument, name, size * room)
        self._point(argument, "probability", 8 * room)
        argument.room = room

    def _number_shots(self, program: Program, shots: int) -> None:
        """Fill `base` with the sum of the counts of the shots before each."""
        sizes = [shots]
        while sizes[-1] > SEGMENT:
            sizes.append(-(-sizes[-1] // SEGMENT))
        values = [self._kept["counts"].address]
        bases = [self._kept["base"].address]
        for level, size in enumerate(sizes[1:], 1):
            values.append(self._memory(f"sums {level}", 4 * size).address)
            bases.append(self._memory(f"before {level}", 4 * size).address)
            below = sizes[level - 1]
            program.start("sum", size, Scan(values[level - 1], values[level], None, None, below))
        for level in range(len(sizes) - 1, -1, -1):
            start = bases[level + 1] if level + 1 < len(sizes) else None
            scan = Scan(values[level], None, bases[level], start, sizes[level])
            program.start("spread", -(-sizes[level] // SEGMENT), scan)

    def _point(self, argument: ctypes.Structure, name: str, size: int) -> None:
        setattr(argument, name, self._memory(name, size).address)

    def _memory(self, name: str, size: int) -> Memory:
        """Memory of this name with room for so many bytes."""
        kept = self._kept.get(name)
        if kept is None or kept.size < size:
            self._kept.pop(name, None)
            del kept  # given back before the larger one is taken
            kept = self._kept[name] = self._processor.memory(size)
        return kept


def _words(task: Task) -> int:
    """Length of the counts on the card: histograms, boxes, two totals, cursors."""
    return 3 * task.bins + len(task.shifts) + 2 + _CURSORS // 2


def _space(kind_of: NDArray[np.int64]) -> list[int]:
    """How many hits must be left for like ions from each column on: `halves.room_for`."""
    kinds = kind_of.tolist()
    return [sum(other == kind for other in kinds[place:]) for place, kind in enumerate(kinds)]
