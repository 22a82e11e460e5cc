"""Why a unit failed, as it is told between processes and in files."""

from __future__ import annotations

import traceback
from dataclasses import asdict, dataclass
from typing import Any

from molexa_core.base import errors
from molexa_core.base.errors import MolexaError, WorkError


@dataclass(frozen=True)
class Failure:
    """Why a unit has no result.

    Attributes:
        kind: name of the error.
        what, where, do: of the error, see `MolexaError`.
        trace: where in the program, for errors that are not the user's.
    """

    kind: str
    what: str
    where: str | None = None
    do: str | None = None
    trace: str = ""

    @classmethod
    def of(cls, error: BaseException) -> Failure:
        """What to keep of an error."""
        if isinstance(error, MolexaError):
            return cls(type(error).__name__, error.what, error.where, error.do)
        text = " ".join(str(error).split())
        trace = "".join(traceback.format_exception(error))
        return cls(type(error).__name__, text or type(error).__name__, trace=trace)

    @property
    def is_of_disk(self) -> bool:
        """Whether a file could not be written: further units would not fare better."""
        return self.kind == errors.OutputError.__name__

    def sentence(self) -> str:
        """The reason in one line."""
        own = isinstance(getattr(errors, self.kind, None), type)
        what = self.what if own else f"{self.kind}: {self.what}"
        return f"{self.where}: {what}" if self.where else what

    def error(self, label: str) -> MolexaError:
        """The error to raise for a unit."""
        kind = getattr(errors, self.kind, None)
        if isinstance(kind, type) and issubclass(kind, MolexaError):
            return kind(self.what, where=self.where, do=self.do)
        trace = f"\n{self.trace.rstrip()}" if self.trace else ""
        return WorkError(f"{label}: {self.sentence()}{trace}", do=self.do)

    def as_values(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)
