"""The sorter, which turns signal edges into hits, and its statistics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from molexa_core.base.settings.anode import SIGNALS, Anode
from molexa_core.base.tables import Edges, Hits, IntArray, offsets_of
from molexa_core.detector import shots
from molexa_core.detector.anode_arrays import model_of
from molexa_core.detector.methods import LAST_CHECKED_METHOD, N_METHODS, SAFE_METHOD

MOST_CHANNELS: Final = 256


@dataclass
class SortCounts:
    """Statistics of a sorter.

    Attributes:
        kind: kind of the anode.
        shots: shots sorted.
        no_trigger: shots with signals but without one of the light pulse; they give no hits.
        limited_shots: shots with so many edges that not all candidates were formed.
        clusters: groups of competing candidates that were solved together.
        cut_clusters: clusters in which the search was stopped at its limit.
        edges: (7) edges of each signal.
        used: (7) edges of each signal that are part of a hit.
        other_edges: edges on channels that are not connected to a signal of the anode.
        methods: (18) hits by method number.
    """

    kind: str = "hexanode"
    shots: int = 0
    no_trigger: int = 0
    limited_shots: int = 0
    clusters: int = 0
    cut_clusters: int = 0
    edges: IntArray = field(default_factory=lambda: np.zeros(7, np.int64))
    used: IntArray = field(default_factory=lambda: np.zeros(7, np.int64))
    other_edges: int = 0
    methods: IntArray = field(default_factory=lambda: np.zeros(N_METHODS, np.int64))

    @property
    def hits(self) -> int:
        """Number of hits."""
        return int(self.methods.sum())

    @property
    def signals(self) -> tuple[str, ...]:
        """Names of the signals of the anode."""
        return SIGNALS if self.kind == "hexanode" else (*SIGNALS[:4], SIGNALS[6])

    def add(self, other: SortCounts) -> None:
        """Add the counts of other shots."""
        self.shots += other.shots
        self.no_trigger += other.no_trigger
        self.limited_shots += other.limited_shots
        self.clusters += other.clusters
        self.cut_clusters += other.cut_clusters
        self.edges = self.edges + other.edges
        self.used = self.used + other.used
        self.other_edges += other.other_edges
        self.methods = self.methods + other.methods

    def as_values(self) -> dict[str, Any]:
        """The counts themselves as plain values."""
        return {
            one.name: value.tolist() if isinstance(value, np.ndarray) else value
            for one in fields(self)
            for value in [getattr(self, one.name)]
        }

    @classmethod
    def of_values(cls, values: Mapping[str, Any]) -> SortCounts:
        """The counts that `as_values` gave."""
        known: dict[str, Any] = {
            name: np.array(value, np.int64) if isinstance(value, list) else value
            for name, value in values.items()
        }
        return cls(**known)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for a summary."""
        hits = max(self.hits, 1)
        signals = {
            name: {
                "edges": int(self.edges[s]),
                "unused": int(self.edges[s] - self.used[s]),
                "missing_fraction": float(1.0 - self.used[s] / hits),
            }
            for s, name in enumerate(SIGNALS)
            if name in self.signals
        }
        return {
            "kind": self.kind,
            "shots": self.shots,
            "hits": self.hits,
            "methods": {str(k): int(n) for k, n in enumerate(self.methods) if n},
            "signals": signals,
            "safe_hits": int(self.methods[: SAFE_METHOD + 1].sum()),
            "unchecked_hits": int(self.methods[LAST_CHECKED_METHOD + 1 :].sum()),
            "shots_without_trigger": self.no_trigger,
            "shots_over_limit": self.limited_shots,
            "clusters": self.clusters,
            "clusters_over_limit": self.cut_clusters,
            "edges_of_other_channels": self.other_edges,
        }


class Sorter:
    """Sorts edges into hits, chunk by chunk.

    Every shot is sorted independently: the hits do not depend on the division into chunks.

    Args:
        anode: settings of the anode.

    Attributes:
        counts: statistics so far.

    Example:
        >>> sorter = Sorter(setup.anode)  # doctest: +SKIP
        >>> hits = [sorter.sort(edges) for edges in run]  # doctest: +SKIP
    """

    def __init__(self, anode: Anode) -> None:
        self._anode = anode
        self._model = model_of(anode)
        self._signal = np.full(MOST_CHANNELS, -1, np.int64)
        for signal, channel in enumerate(anode.signal_channels):
            if channel >= 0:
                self._signal[channel] = signal
        trigger = anode.channels.trigger
        self._trigger = -1 if trigger is None else trigger
        self.counts = SortCounts(kind=anode.kind)

    def sort(self, edges: Edges) -> Hits:
        """The hits of a chunk of shots, ordered by time within each shot.

        Args:
            edges: in any order within a shot.
        """
        room = edges.n_edges // 3 + 1
        n_hits = np.zeros(edges.n_shots, np.int64)
        x, y, t = np.empty(room), np.empty(room), np.empty(room)
        method = np.empty(room, np.int16)
        state = np.zeros(shots.N_COUNTS, np.int64)
        total = shots.sort_shots(
            self._model, self._signal, self._trigger, edges.offsets, edges.channel, edges.t_ns,
            n_hits, x, y, t, method, state, self.counts.used, self.counts.edges,
        )  # fmt: skip
        self._count(state, method[:total])
        return Hits(
            first_shot=edges.first_shot,
            offsets=offsets_of(n_hits),
            x_mm=x[:total].copy(),
            y_mm=y[:total].copy(),
            t_ns=t[:total].copy(),
            method=method[:total].copy(),
            tags=edges.tags,
        )

    def _count(self, state: IntArray, method: NDArray[np.int16]) -> None:
        counts = self.counts
        counts.shots += int(state[shots.SHOTS])
        counts.no_trigger += int(state[shots.NO_TRIGGER])
        counts.limited_shots += int(state[shots.LIMITED_SHOTS])
        counts.clusters += int(state[shots.CLUSTERS])
        counts.cut_clusters += int(state[shots.CUT_CLUSTERS])
        counts.other_edges += int(state[shots.OTHER])
        counts.methods += np.bincount(method, minlength=N_METHODS)
