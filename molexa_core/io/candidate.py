"""A file during format recognition, opened once for the tests of all formats."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Protocol, Self, TypeVar

from molexa_core.base.errors import InputFileError
from molexa_core.base.settings.columns import Columns, EdgeColumns, Facility
from molexa_core.base.storage.files import require_file

HEAD_BYTES: Final = 512
T = TypeVar("T")


@dataclass(frozen=True)
class HowToRead:
    """The blocks of a setup that describe how to read a run.

    Attributes:
        columns: columns of tables of hits that no preset reads.
        edge_columns: likewise, of tables of edges.
        facility: what to take from files of European XFEL and FLASH.
    """

    columns: Columns | None = None
    edge_columns: EdgeColumns | None = None
    facility: Facility | None = None


class _Closable(Protocol):
    def close(self) -> None: ...


O = TypeVar("O", bound=_Closable)  # noqa: E741


@dataclass
class Candidate:
    """A file with its first bytes and the readers opened for it.

    As a context it closes what was opened, unless `keep` was called.

    Attributes:
        path: the file.
        how: what the setup says about reading it.
        head: its first bytes.
        nearly: why it is not of a format although it looks like it.
    """

    path: Path
    how: HowToRead = field(default_factory=HowToRead)
    head: bytes = b""
    nearly: InputFileError | None = None
    _opened: dict[Callable[..., Any], _Closable] = field(default_factory=dict)
    _known: dict[Callable[..., Any], Any] = field(default_factory=dict)

    @classmethod
    def of(cls, path: Path | str, how: HowToRead | None = None) -> Candidate:
        """The file with its first bytes.

        Raises:
            InputFileError: it is missing or empty.
        """
        path = require_file(path)
        with path.open("rb") as stream:
            head = stream.read(HEAD_BYTES)
        if not head:
            raise InputFileError("the file is empty", where=path, do="Copy it again.")
        return cls(path, how or HowToRead(), head)

    def opened(self, opener: Callable[[Path], O]) -> O:
        """What this function opens; the second time what it opened the first time."""
        if opener not in self._opened:
            self._opened[opener] = opener(self.path)
        found: O = self._opened[opener]  # type: ignore[assignment]
        return found

    def once(self, work: Callable[[Candidate], T]) -> T:
        """What this function finds in the file; it is called only once."""
        if work not in self._known:
            self._known[work] = work(self)
        found: T = self._known[work]
        return found

    def keep(self) -> None:
        """Leave open what was opened: a run reads from it."""
        self._opened.clear()

    def close(self) -> None:
        """Close what was opened."""
        while self._opened:
            self._opened.popitem()[1].close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
