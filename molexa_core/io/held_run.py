"""A run in memory, read like one in files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from molexa_core.base.tables import Hits
from molexa_core.io.stored_run import StoredRun


class HeldRun(StoredRun):
    """Hits in memory as a run.

    Args:
        chunks: consecutive shots; read as often as wanted.
        metadata: as a virtual run stores it.
    """

    def __init__(self, chunks: Iterable[Hits], metadata: dict[str, Any] | None = None) -> None:
        self._chunks, self._metadata = list(chunks), metadata or {}
        self.paths, self.layout, self.choice = (), "memory", "hits in memory"
        self.n_shots = sum(chunk.n_shots for chunk in self._chunks)

    def __iter__(self) -> Iterator[Hits]:
        yield from self._chunks

    def metadata(self) -> dict[str, Any]:
        """What a virtual run says of itself; may be empty."""
        return self._metadata
