"""Alignment: rotation of every coincidence into the molecular frame.

Three conventions of the paper, all of them settings of `base.settings.Frame`:

* main text, "Training": x is the heaviest ion, the ion most orthogonal to it (least |cosine|)
  lies in the first quadrant of the x-y plane;
* Methods, water and CF4: x is the reference ion, the second one lies in the x-z plane;
* Methods, ethanol: as before, x-y plane, and the second is the C+ more orthogonal to x.

Like ions are told apart by rules that do not depend on the order in which they were stored:

* Like ions that are equivalent by symmetry cannot be told apart. Every event enters with every
  choice of reference and second among them, at equal weight (1 / number of choices). Choosing one,
  say the fastest, would bias its mean upwards.
* Like ions that differ (`like: distinct`): the second is the one most orthogonal to the reference.
* The remaining like ions are matched, one to one in every event, to self-consistent lobes
  (`matching`).

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
from molexa_core.frame.axes import without_recoil
from molexa_core.frame.completeness import sum_doubt
from molexa_core.frame.matching import assign_to, find_lobes
from molexa_core.frame.turning import LEAST_SINE, Flag, Turned, column_orders, flags, pairs, turn

__all__ = ["Aligned", "Aligner", "Flag", "MemoryStore", "Store", "align_events", "heaviest_frame"]

NEARLY_COLLINEAR_DEG: Final = 5.0
NEARLY_AT_REST: Final = 0.05
KEPT_BYTES: Final = 64 * 2**20
"""Memory, in bytes, for rotated events that the second pass uses again."""

REFERENCE: Final = "reference"
SECOND: Final = "second"
OTHER: Final = "other"
ONLY: Final = "only one of its kind"
"""Roles of ions besides `lobe 1`, `lobe 2`, ..."""


class AlignSummary(TypedDict):
    """Numbers of an alignment: of events, rows and choices, and how good the frame is."""

    events: int
    aligned: int
    flagged: dict[str, int]
    zero_weight: int
    assignments_per_event: int
    rows: int
    recoil: Literal["remove", "keep"]
    median_angle_deg: float | None
    discarded_perpendicular_rms: float | None
    rule: str
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
    """

    table: Coincidences
    flag: NDArray[np.int8]
    roles: tuple[str, ...]
    summary: AlignSummary
    warnings: tuple[str, ...]


def heaviest_frame(ions: tuple[Ion, ...]) -> Frame:
    """The convention of the main text: the heaviest ion is x, the most orthogonal one fixes y."""
    return Frame(reference=str(max(ions, key=lambda ion: ion.mass)))


def align_events(
    table: Coincidences,
    frame: Frame,
    *,
    recoil: Literal["remove", "keep"] = "remove",
    least_sine: float = LEAST_SINE,
    partial: bool = False,
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

    Returns:
        The rows in the molecular frame, in the order of the input events.

    Raises:
        UnknownIonError: the table has no such ion.
        UsageError: fewer than two ions, or an impossible choice of ions.
        NoEventsError: no input event, or none with a molecular frame.
    """
    aligner = Aligner(table.ions, frame, recoil=recoil, least_sine=least_sine, partial=partial)
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
        store: creates a store for the momenta of like ions.

    Attributes:
        roles: role of each ion of the table.
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
    ) -> None:
        self._names = _checked(ions, frame, partial=partial)
        self._partial, self._axis_only = partial, len(ions) == 2 and not partial
        self._mass = np.array([ion.mass for ion in ions])
        self._frame, self._recoil, self._least_sine = frame, recoil, least_sine
        self._orders = column_orders(self._names, frame)
        self.roles, self._groups = _roles(self._names, frame)
        if partial:  # which of the like ions were detected is found from all events together
            self.roles = tuple(OTHER if role.startswith("lobe") else role for role in self.roles)
            self._groups = []
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
        idle, left_out, n_rows, choices = 0, 0.0, 0, 1
        self._kept.clear()
        room = KEPT_BYTES
        doubt: str | None = None
        at = self._names.index(self._frame.reference)
        for table in blocks:
            if not seen and self._recoil == "remove":
                doubt = sum_doubt(table)
            turned = self._turned(table)
            room -= turned.bytes
            if room >= 0:
                self._kept.append(turned)
            seen.append(turned.flag)
            idle += int(((turned.flag == Flag.GOOD) & (table.weight <= 0)).sum())
            sines.append(turned.sine.reshape(-1, 1))
            size = np.square(turned.momentum).sum(axis=2)
            sizes.append(np.sqrt(size[:, [at]]))
            means.append(size[:: turned.choices].mean(axis=1))  # the same for every choice
            left_out += turned.left_out
            n_rows += len(turned.rows)
            choices = turned.choices
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
        self.summary = {
            "events": len(self.flag),
            "aligned": n_rows // choices,
            "flagged": {item.name.lower(): int((self.flag == item).sum()) for item in Flag if item},
            "zero_weight": idle,
            "assignments_per_event": choices,
            "rows": n_rows,
            "recoil": self._recoil,
            "median_angle_deg": _median_angle(_median(sines)),
            "discarded_perpendicular_rms": float(np.sqrt(left_out / (2 * n_rows)))
            if self._axis_only
            else None,
            "rule": _rule(self._frame, self.roles, choices),
        }
        typical = float(np.sqrt(np.median(np.concatenate(means))))
        at_reference = _median(sizes)
        self.warnings = _warnings(at_reference, typical, self._frame, self.summary)
        self.warnings += () if doubt is None else (doubt,)
        self._lobes = [
            find_lobes(_Blocks(store, len(columns), self._axes))
            for columns, store in zip(self._groups, self._stores, strict=True)
        ]

    def blocks(self, blocks: Iterable[Coincidences]) -> Iterator[Coincidences]:
        """Second pass: the same blocks in the molecular frame; `meta` is that of the input."""
        for table in blocks:
            yield self._in_frame(table, self._kept.popleft() if self._kept else self._turned(table))

    def false_blocks(self, blocks: Iterable[Coincidences]) -> Iterator[Coincidences]:
        """False coincidences in the same frame, their like ions matched to the same lobes."""
        for table in blocks:
            yield self._in_frame(table, self._turned(table))

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
            "frame": self._frame.model_dump(),
            "roles": list(self.roles),
            "align": self.summary,
            WARNINGS: list(dict.fromkeys([*before.get(WARNINGS, ()), *self.warnings])),
        }

    def _turned(self, table: Coincidences) -> Turned:
        momentum = table.momentum
        if self._recoil == "remove":
            momentum = without_recoil(momentum, self._mass)
        reference, second = pairs(momentum, self._names, self._frame)
        flag, sine = flags(momentum, reference, second, self._least_sine, axis_only=self._axis_only)
        counts = table.weight > 0 if table.source is None else table.weight != 0
        good = np.flatnonzero((flag == Flag.GOOD) & counts)
        choices = reference.shape[1]
        rows = np.repeat(good, choices)
        reference, second = reference[good].ravel(), second[good].ravel()
        turned, left_out, axes = turn(
            momentum[rows], reference, second, self._frame, axis_only=self._axis_only
        )
        order = self._orders[reference, second]
        turned = np.take_along_axis(turned, order[:, :, None], axis=1)
        weight = table.weight[rows] / choices
        axes = axes if self._partial else None
        return Turned(flag, sine[good], rows, turned, order, weight, choices, left_out, axes)


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


def _rule(frame: Frame, roles: tuple[str, ...], choices: int) -> str:
    """The rule by which like ions were told apart, in words."""
    parts = []
    if choices > 1:
        parts.append(f"all {choices} equivalent choices of reference and second, equal weight")
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
