"""Alignment: rotation of every coincidence into the molecular frame.

Three conventions of the paper, all of them settings of `base.settings.Frame`:

* main text, "Training": x is the heaviest ion, the ion most orthogonal to it (least |cosine|)
  lies in the first quadrant of the x-y plane;
* Methods, water and CF4: x is the reference ion, the second one lies in the x-z plane;
* Methods, ethanol: as before, x-y plane, and the second is the C+ more orthogonal to x.

Reference and second are the same two atoms in every event. Which of several like ions has which
role is found from all events together (`like_ions`): every event enters with each assignment at its
probability, those that are equivalent by symmetry at equal weight. Choosing one, say the fastest,
would bias its mean upwards, and a second ion that changes from event to event turns the frame.

Frames event by event, as in the paper, remain by `like`:

* `equivalent`: like ions cannot be told apart; every event enters with every choice of reference
  and second among them, at equal weight (1 / number of choices);
* `distinct`: the second is the one most orthogonal to the reference in each event;
* in both, a second that is not given is the most orthogonal ion of each event, and the remaining
  like ions are matched, one to one in every event, to self-consistent lobes (`matching`).

A momentum of zero has no direction and a collinear pair no plane: such an event is flagged,
counted and left out. Two ions define x only. The perpendicular part of their momenta is dropped
(y = z = 0); without recoil it is exactly zero, otherwise its size is in the summary.

A frame fixed event by event shifts the mean momenta in second order of (width / length) of the
momenta that define it: for an isotropic spread s of each component the mean momentum p of the
reference is too long by s^2 / p.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, NotRequired, Protocol, TypedDict

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from molexa_core.base.errors import NoEventsError, UnknownIonError, UsageError, listing
from molexa_core.base.fields import TAG_TURN, WARNINGS
from molexa_core.base.matter.ions import Ion
from molexa_core.base.settings import Frame
from molexa_core.base.tables import Coincidences, FloatArray
from molexa_core.frame.axes import rows_of_axes, sine_between, without_recoil
from molexa_core.frame.completeness import sum_doubt
from molexa_core.frame.like_ions import SAMPLE, Decided, Roles, find_roles, spread_ranks
from molexa_core.frame.matching import assign_to, find_lobes, rows_of
from molexa_core.frame.role_columns import (
    MOST_IONS,
    ONLY,
    OTHER,
    REFERENCE,
    SECOND,
    RoleColumns,
    columns_of,
    held_reference,
)
from molexa_core.frame.turning import (
    LEAST_FRACTION,
    LEAST_SINE,
    Flag,
    Turned,
    column_orders,
    flags,
    pairs,
    turn,
)

__all__ = ["Aligned", "Aligner", "Flag", "MemoryStore", "Store", "align_events", "heaviest_frame"]

NEARLY_COLLINEAR_DEG: Final = 5.0
NEARLY_AT_REST: Final = 0.05
KEPT_BYTES: Final = 64 * 2**20
"""Memory, in bytes, for rotated events that the second pass uses again."""


class AlignSummary(TypedDict):
    """Numbers of an alignment: of events, rows and choices, and how good the frame is."""

    events: int
    aligned: int
    flagged: dict[str, int]
    zero_weight: int
    assignments_per_event: float
    rows: int
    recoil: Literal["remove", "keep"]
    median_angle_deg: float | None
    discarded_perpendicular_rms: float | None
    rule: str
    second: NotRequired[str]
    assignment: NotRequired[dict[str, float]]
    frame_quality: NotRequired[dict[str, float]]


@dataclass(frozen=True)
class Aligned:
    """Momenta in the molecular frame.

    Attributes:
        table: one row per event and assignment; `weight` shared among the rows of an event. Its
            meta has `frame`, `roles` and `align` (the summary).
        flag: (events) `Flag` of every input event, in the order of the input.
        roles: role of each ion of the table: `reference`, `second`, `lobe 1`, ...
        summary: counts and other numbers for the user, plain values.
        warnings: reasons why the result may be poor.
        found: roles of like ions from all events together; None where event by event.
    """

    table: Coincidences
    flag: NDArray[np.int8]
    roles: tuple[str, ...]
    summary: AlignSummary
    warnings: tuple[str, ...]
    found: Roles | None = None


def heaviest_frame(ions: tuple[Ion, ...]) -> Frame:
    """The heaviest ion is x, the one with the largest mean momentum across it fixes y."""
    return Frame(reference=str(max(ions, key=lambda ion: ion.mass)))


def align_events(
    table: Coincidences,
    frame: Frame,
    *,
    recoil: Literal["remove", "keep"] = "remove",
    least_sine: float = LEAST_SINE,
    partial: bool = False,
    known: Roles | None = None,
    any_reference: bool = False,
) -> Aligned:
    """Rotate every event into the molecular frame.

    Args:
        table: momenta in the laboratory frame.
        frame: reference, second, plane, and whether like ions are equivalent.
        recoil: `remove` goes to the centre-of-mass frame first (`axes.without_recoil`); `keep`
            leaves the momenta unchanged, as needed for partial coincidences.
        least_sine: pairs with a smaller sine of the angle between them count as collinear.
        partial: whether ions of the molecule are missing in the rows. Two ions then define a plane,
            and every row keeps its rotation (`TAG_TURN`), from which the rows of a shot are put
            together again.
        known: roles of like ions, found before; found from the events if None.
        any_reference: whether the reference of `frame` gives way to the heaviest ion whose
            direction the events hold (`role_columns.held_reference`).

    Returns:
        The rows in the molecular frame, in the order of the input events.

    Raises:
        UnknownIonError: the table has no such ion.
        UsageError: fewer than two ions, or an impossible choice of ions.
        NoEventsError: no input event, or none with a molecular frame.
    """
    aligner = Aligner(
        table.ions,
        frame,
        recoil=recoil,
        least_sine=least_sine,
        partial=partial,
        known=known,
        any_reference=any_reference,
    )
    aligner.look([table])
    (aligned,) = aligner.blocks([table])
    if table.false is not None:
        (false,) = aligner.false_blocks([table.false])
        aligned = replace(aligned, false=false)
    return Aligned(
        table=replace(aligned, meta=aligner.meta(table.meta)),
        flag=aligner.flag,
        roles=aligner.roles,
        summary=aligner.summary,
        warnings=aligner.warnings,
        found=aligner.found,
    )


class Store(Protocol):
    """Storage for blocks of rows, which can be read back in the same blocks any number of times."""

    def append(self, rows: FloatArray) -> None:
        """Store a block; all blocks have the same number of columns."""
        ...

    def __iter__(self) -> Iterator[FloatArray]: ...


class MemoryStore(list[FloatArray]):
    """A store in memory."""


class Aligner:
    """Alignment of events in blocks: first `look` at all events, then `blocks` rotates them.

    Keeps a few numbers per event in memory, and the rotated momenta of the first events up to
    `KEPT_BYTES`; momenta needed more than twice go into the stores.

    Args:
        ions: the ion of each column.
        frame: reference, second, plane, and whether like ions are equivalent.
        recoil: as in `align_events`.
        least_sine: as in `align_events`.
        partial: as in `align_events`.
        store: creates a store for momenta.
        known: as in `align_events`.
        any_reference: as in `align_events`.

    Attributes:
        frame: the frame, after `look` with the reference in use.
        roles: role of each ion of the table, after `look`.
        found: how like ions got their roles, after `look`; None where event by event.
        flag: (events) as in `Aligned`, after `look`.
        summary: as in `Aligned`, after `look`.
        warnings: as in `Aligned`, after `look`.

    Raises:
        UnknownIonError, UsageError: as `align_events`.
    """

    def __init__(
        self,
        ions: tuple[Ion, ...],
        frame: Frame,
        *,
        recoil: Literal["remove", "keep"] = "remove",
        least_sine: float = LEAST_SINE,
        partial: bool = False,
        store: Callable[[], Store] = MemoryStore,
        known: Roles | None = None,
        any_reference: bool = False,
    ) -> None:
        self._names = _checked(ions, frame, partial=partial)
        self._partial, self._axis_only = partial, len(ions) == 2 and not partial
        self._mass = np.array([ion.mass for ion in ions])
        self.frame, self._recoil, self._least_sine = frame, recoil, least_sine
        self._orders = column_orders(self._names, frame)
        self.roles, self._groups = _roles(self._names, frame)
        if partial:  # which of the like ions were detected is found from all events together
            self.roles = tuple(OTHER if role.startswith("lobe") else role for role in self.roles)
            self._groups = []
        self._measured = frame.like == "measured" and not partial and 2 < len(ions) <= MOST_IONS
        if self._measured:
            self._groups = []
        self.found, self._any_reference = known, any_reference
        self._doubt: str | None = None
        self._columns: RoleColumns | None = None
        self._store = store
        self._stores = [store() for _ in self._groups]
        self._kept: deque[Turned] = deque()
        self._lobes: list[FloatArray] = []
        # Lobes are ordered by azimuth around x from the half-plane of the second.
        self._axes = [0, 1, 2] if frame.plane == "xy" else [0, 2, 1]
        self.flag: NDArray[np.int8] = np.empty(0, np.int8)
        self.summary: AlignSummary
        self.warnings: tuple[str, ...] = ()

    def look(self, blocks: Iterable[Coincidences]) -> None:
        """First pass: find flags, lobes and the numbers of the summary.

        Raises:
            NoEventsError: no input event, or none with a molecular frame.
        """
        seen: list[NDArray[np.int8]] = []
        means: list[FloatArray] = []
        sines, sizes = self._store(), self._store()
        idle, left_out, n_rows, aligned = 0, 0.0, 0, 0
        self._kept.clear()
        room = KEPT_BYTES
        decided: Decided | None = None
        every = (self._turned(*self._given(table)) for table in self._watched(blocks))
        if self._measured:
            store = self._store()
            for table in self._watched(blocks):
                momentum, weight, counts = self._given(table)
                flat = momentum.reshape(len(momentum), 3 * len(self._names))
                store.append(np.column_stack([flat, weight, counts]))
            decided = self._find(store)
            every = (self._turned(*self._read(rows)) for rows in store)
        at = self._names.index(self.frame.reference)
        for turned in every:
            room -= turned.bytes
            if room >= 0:
                self._kept.append(turned)
            seen.append(turned.flag)
            sines.append(turned.sine.reshape(-1, 1))
            size = np.square(turned.momentum).sum(axis=2)
            sizes.append(np.sqrt(size[:, [at]]))
            first = np.flatnonzero(np.diff(turned.rows, prepend=-1))
            means.append(size[first].mean(axis=1))  # the same for every choice
            idle += turned.idle
            left_out += turned.left_out
            n_rows += len(turned.rows)
            aligned += len(first)
            for columns, store in zip(self._groups, self._stores, strict=True):
                block = turned.momentum[:, columns].reshape(len(turned.rows), 3 * len(columns))
                store.append(np.column_stack([block, turned.weight]))
        self.flag = np.concatenate(seen) if seen else self.flag
        if not len(self.flag):
            raise NoEventsError("no events to align", do="Look at the gates of molexa reduce.")
        if not n_rows:
            raise NoEventsError(
                f"none of {len(self.flag)} events has a molecular frame ({_reasons(self.flag)})",
                do="Choose other ions with `reference=` and `second=`.",
            )
        choices = n_rows / aligned
        self.summary = {
            "events": len(self.flag),
            "aligned": aligned,
            "flagged": {item.name.lower(): int((self.flag == item).sum()) for item in Flag if item},
            "zero_weight": idle,
            "assignments_per_event": int(choices) if choices == int(choices) else choices,
            "rows": n_rows,
            "recoil": self._recoil,
            "median_angle_deg": _median_angle(_median(sines)),
            "discarded_perpendicular_rms": float(np.sqrt(left_out / (2 * n_rows)))
            if self._axis_only
            else None,
            "rule": _rule(self.frame, self.roles, choices)
            if self._columns is None
            else self._columns.rule,
        }
        typical = float(np.sqrt(np.median(np.concatenate(means))))
        at_reference = _median(sizes)
        self.warnings = _warnings(at_reference, typical, self.frame, self.summary)
        self.warnings += () if self._doubt is None else (self._doubt,)
        if self._columns is not None and decided is not None:
            self.summary["second"] = self._names[self._columns.second]
            if len(set(self._names)) < len(self._names):
                self.summary["assignment"] = decided.to_dict()
            self.warnings += decided.warnings
        self._lobes = [
            find_lobes(_Blocks(store, len(columns), self._axes))
            for columns, store in zip(self._groups, self._stores, strict=True)
        ]

    def _watched(self, blocks: Iterable[Coincidences]) -> Iterator[Coincidences]:
        """The blocks; of the first one it is seen whether the momenta cancel."""
        for number, table in enumerate(blocks):
            if number == 0 and self._recoil == "remove":
                self._doubt = sum_doubt(table)
            yield table

    def _given(self, table: Coincidences) -> tuple[FloatArray, FloatArray, NDArray[np.bool_]]:
        """Momenta without recoil, weights, and whether an event counts."""
        momentum = table.momentum
        if self._recoil == "remove":
            momentum = without_recoil(momentum, self._mass)
        counts = table.weight > 0 if table.source is None else table.weight != 0
        return momentum, table.weight, counts

    def _read(self, rows: FloatArray) -> tuple[FloatArray, FloatArray, NDArray[np.bool_]]:
        """The same from a store."""
        momentum = rows[:, :-2].reshape(len(rows), len(self._names), 3)
        return momentum, rows[:, -2], rows[:, -1] > 0.0

    def _find(self, store: Store) -> Decided | None:
        """Find the roles of like ions from all events together."""
        energies = []
        for rows in store:
            momentum, weight, counts = self._read(rows)
            energy = np.square(momentum).sum(axis=(1, 2))
            usable = counts & (weight > 0.0) & np.isfinite(energy) & (energy > 0.0)
            energies.append(np.where(usable, energy, np.nan))
        energy = np.concatenate(energies) if energies else np.empty(0)
        ranked = np.argsort(energy, kind="stable")[: int(np.isfinite(energy).sum())]
        if not len(ranked):
            return None
        chosen = ranked[spread_ranks(len(ranked), SAMPLE)]
        pairs_of = ((self._read(rows)[0], rows[:, -2]) for rows in store)
        momentum, weight = rows_of(pairs_of, chosen)
        found = self.found
        if found is None:
            found = find_roles(momentum, weight, self._names)
        self.found = found
        if self._any_reference:
            name = held_reference(found, self._names, self._mass)
            self.frame = self.frame.model_copy(update={"reference": name})
        self._columns = columns_of(found, self._names, self.frame)
        self.roles = self._columns.roles
        return found.decided(found.choices(momentum), weight)

    def blocks(self, blocks: Iterable[Coincidences]) -> Iterator[Coincidences]:
        """Second pass: the same blocks in the molecular frame; `meta` is that of the input."""
        for table in blocks:
            kept = self._kept.popleft() if self._kept else self._turned(*self._given(table))
            yield self._in_frame(table, kept)

    def false_blocks(self, blocks: Iterable[Coincidences]) -> Iterator[Coincidences]:
        """False coincidences in the same frame, their like ions matched to the same lobes."""
        for table in blocks:
            yield self._in_frame(table, self._turned(*self._given(table)))

    def _in_frame(self, table: Coincidences, turned: Turned) -> Coincidences:
        for columns, lobes in zip(self._groups, self._lobes, strict=True):
            block = turned.momentum[:, columns]
            assignment = assign_to(block[:, :, self._axes], lobes)
            turned.momentum[:, columns] = np.take_along_axis(block, assignment[:, :, None], axis=1)
            turned.order[:, columns] = np.take_along_axis(
                turned.order[:, columns], assignment, axis=1
            )
        selected = table.select(turned.rows)
        detector = selected.detector and selected.detector.reordered(turned.order)
        tags = selected.tags
        if self._partial and turned.axes is not None:
            vectors = Rotation.from_matrix(turned.axes).as_rotvec()
            tags = {**tags, **dict(zip(TAG_TURN, vectors.T, strict=True))}
        return replace(
            selected,
            momentum=turned.momentum,
            weight=turned.weight,
            tags=tags,
            detector=detector,
        )

    def meta(self, before: Mapping[str, Any]) -> dict[str, Any]:
        """`meta` of the events with frame, roles, summary and warnings added."""
        return {
            **before,
            "frame": self.frame.model_dump(),
            "roles": list(self.roles),
            "align": self.summary,
            WARNINGS: list(dict.fromkeys([*before.get(WARNINGS, ()), *self.warnings])),
        }

    def _turned(
        self, momentum: FloatArray, weight: FloatArray, counts: NDArray[np.bool_]
    ) -> Turned:
        if self._measured:
            return self._in_roles(momentum, weight, counts)
        reference, second = pairs(momentum, self._names, self.frame)
        flag, sine = flags(momentum, reference, second, self._least_sine, axis_only=self._axis_only)
        good = np.flatnonzero((flag == Flag.GOOD) & counts)
        choices = reference.shape[1]
        rows = np.repeat(good, choices)
        reference, second = reference[good].ravel(), second[good].ravel()
        turned, left_out, axes = turn(
            momentum[rows], reference, second, self.frame, axis_only=self._axis_only
        )
        order = self._orders[reference, second]
        turned = np.take_along_axis(turned, order[:, :, None], axis=1)
        idle = int(((flag == Flag.GOOD) & (weight <= 0)).sum())
        axes = axes if self._partial else None
        share = weight[rows] / choices
        return Turned(flag, sine[good].ravel(), rows, turned, order, share, idle, left_out, axes)

    def _in_roles(
        self, momentum: FloatArray, weight: FloatArray, counts: NDArray[np.bool_]
    ) -> Turned:
        """Rows of events with the roles that were found; none where none were."""
        finite = np.isfinite(momentum).all(axis=(1, 2))
        n = len(self._names)
        rows, order, share = np.empty(0, np.int64), np.empty((0, n), np.int64), np.empty(0)
        reference, second = 0, 1
        if self.found is not None and self._columns is not None:
            reference, second = self._columns.reference, self._columns.second
            numbers = np.flatnonzero(finite)
            found = self.found.choices(momentum[numbers])
            rows, share = numbers[found.event], found.share
            order = found.order[:, self._columns.order]
        turned = np.take_along_axis(momentum[rows], order[:, :, None], axis=1)
        size = np.linalg.norm(turned, axis=2)
        least = LEAST_FRACTION * size.max(axis=1, initial=0.0)
        resting = (size[:, reference] <= least) | (size[:, second] <= least)
        sine = sine_between(turned[:, reference], turned[:, second])
        # An event goes as a whole: leaving out single assignments would favour the others.
        flag = np.zeros(len(momentum), dtype=np.int8)
        flag[finite & (np.bincount(rows, minlength=len(momentum)) == 0)] = Flag.ZERO_MOMENTUM
        flag[rows[sine < self._least_sine]] = Flag.COLLINEAR
        flag[rows[resting]] = Flag.ZERO_MOMENTUM
        flag[~finite] = Flag.NOT_A_NUMBER
        idle = int(((flag == Flag.GOOD) & (weight <= 0)).sum())
        kept = np.flatnonzero((flag[rows] == Flag.GOOD) & counts[rows])
        rows, order, turned = rows[kept], order[kept], turned[kept]
        axes = rows_of_axes(turned[:, reference], turned[:, second], self.frame.plane)
        turned = np.matmul(turned, axes.transpose(0, 2, 1))
        # These components are zero up to rounding; set them to zero exactly.
        turned[:, reference, 1:] = 0.0
        turned[:, second, 2 if self.frame.plane == "xy" else 1] = 0.0
        return Turned(flag, sine[kept], rows, turned, order, weight[rows] * share[kept], idle, 0.0)


@dataclass(frozen=True)
class _Blocks:
    """The momenta of like ions and the weights in a store."""

    store: Store
    ions: int
    axes: list[int]

    def __iter__(self) -> Iterator[tuple[FloatArray, FloatArray]]:
        for block in self.store:
            momentum = block[:, :-1].reshape(len(block), self.ions, 3)
            yield momentum[:, :, self.axes], block[:, -1]


def _checked(ions: tuple[Ion, ...], frame: Frame, *, partial: bool) -> list[str]:
    """The names of the ions, after a check that the frame can be defined with them."""
    names = [str(ion) for ion in ions]
    if len(ions) < 2:
        raise UsageError("one ion alone has no molecular frame", do="Use a channel with more ions.")
    for role in (frame.reference, frame.second):
        if role is not None and role not in names:
            raise UnknownIonError(
                f"{role} is not among the ions of the events",
                do=f"There are: {listing(sorted(set(names)))}.",
            )
    if len(ions) == 2 and frame.second is not None and not partial:
        raise UsageError("two ions define an axis and no plane", do="Leave out the second ion.")
    if frame.second == frame.reference and names.count(frame.reference) == 1:
        raise UsageError(
            f"the only {frame.second} is the reference and cannot be the second ion too",
            do="Choose another ion with `second=`.",
        )
    if frame.like == "distinct" and names.count(frame.reference) > 1:
        raise UsageError(
            f"{names.count(frame.reference)} {frame.reference} that differ: none of them can be "
            "singled out as x",
            do="Choose a reference that is there once, or `like='equivalent'`.",
        )
    return names


def _roles(names: list[str], frame: Frame) -> tuple[tuple[str, ...], list[list[int]]]:
    """The role of every column, and the columns of like ions that the frame does not tell apart."""
    groups = []
    roles = [""] * len(names)
    roles[names.index(frame.reference)] = REFERENCE
    if frame.second is not None:
        roles[next(i for i, n in enumerate(names) if n == frame.second and not roles[i])] = SECOND
    for kind in dict.fromkeys(names):
        columns = [i for i, name in enumerate(names) if name == kind and not roles[i]]
        if len(columns) == 1:
            roles[columns[0]] = ONLY if names.count(kind) == 1 else OTHER
            continue
        if columns:
            groups.append(columns)
        for number, column in enumerate(columns, start=1):
            roles[column] = f"lobe {number}"
    return tuple(roles), groups


def _median(store: Store) -> float:
    return float(np.median(np.concatenate(list(store)), overwrite_input=True))


def _median_angle(sine: float) -> float | None:
    angle = float(np.degrees(np.arcsin(np.clip(sine, 0.0, 1.0))))
    return None if np.isnan(angle) else angle


def _reasons(flag: NDArray[np.int8]) -> str:
    counts = Counter(flag.tolist())
    texts = {
        Flag.GOOD: "without weight",
        Flag.NOT_A_NUMBER: "with a momentum that is not a number",
        Flag.ZERO_MOMENTUM: "with a zero momentum",
        Flag.COLLINEAR: "collinear",
    }
    return listing(f"{counts[item]} {text}" for item, text in texts.items() if counts[item])


def _rule(frame: Frame, roles: tuple[str, ...], choices: float) -> str:
    """The rule by which like ions were told apart, in words."""
    parts = []
    if choices > 1:
        parts.append(f"all {choices:.0f} equivalent choices of reference and second, equal weight")
    if frame.second is None and len(roles) > 2:
        parts.append("second: the ion most orthogonal to the reference in each event")
    elif frame.like == "distinct" and frame.second is not None:
        parts.append(f"second: the {frame.second} most orthogonal to the reference in each event")
    if any(role.startswith("lobe") for role in roles):
        parts.append("other like ions matched one to one to self-consistent lobes")
    return "; ".join(parts) or "every ion is the only one of its kind in its role"


def _warnings(
    at_reference: float, typical: float, frame: Frame, summary: AlignSummary
) -> tuple[str, ...]:
    warnings = []
    if at_reference < NEARLY_AT_REST * typical:
        warnings.append(
            f"The reference {frame.reference} is nearly at rest (median {at_reference:.3g} a.u., "
            f"typical {typical:.3g} a.u.): its direction is mostly noise."
        )
    angle = summary["median_angle_deg"]
    if angle is not None and angle < NEARLY_COLLINEAR_DEG:
        warnings.append(
            f"Reference and second are nearly collinear (median {angle:.2g} degrees): the plane "
            "is mostly noise."
        )
    flagged = sum(summary["flagged"].values())
    if flagged:
        warnings.append(
            f"{flagged} of {summary['events']} events have no molecular frame (zero or collinear "
            "momenta) and were left out."
        )
    return tuple(warnings)
