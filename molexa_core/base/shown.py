"""Results that show themselves: a short table in a terminal, a picture in a notebook, figures.

The tables that pass between stages know neither figures nor pages. What shows them is told once
from above, by `import molexa`: its module is loaded when something is shown for the first time.
Methods rather than formatters registered in IPython, because `.plot()` must be on the object
wherever it comes from (a verb, a file, `select`, an attribute of another result), in scripts and
editors too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, is_dataclass
from typing import Any, Protocol

from molexa_core.base.errors import UsageError


class Shower(Protocol):
    """What shows results."""

    def text(self, result: Any) -> str:
        """A short table for a terminal."""

    def html(self, result: Any) -> str:
        """A table and a picture for a notebook, complete in itself."""

    def plot(self, result: Any, *what: str, **options: Any) -> Any:
        """Draw a figure; the axes of matplotlib."""


_told: list[Callable[[], Shower]] = []


def shown_by(loader: Callable[[], Shower]) -> None:
    """Say what shows results.

    Args:
        loader: gives it; called when something is shown.
    """
    _told[:] = [loader]


class Shown:
    """A result that shows itself."""

    def __repr__(self) -> str:
        if _told:
            return _told[-1]().text(self)
        this: Any = self
        values = (
            [f"{one.name}={getattr(this, one.name)!r}" for one in fields(this)]
            if is_dataclass(this)
            else []
        )
        return f"{type(self).__qualname__}({', '.join(values)})"

    def _repr_html_(self) -> str | None:
        return _told[-1]().html(self) if _told else None

    def plot(self, *what: str, **options: Any) -> Any:
        """Draw this result; see `molexa.plot`.

        Args:
            what: name of a figure, or one or two observables; the usual figure if not given.
            options: as those of `molexa.plot`.

        Returns:
            The axes of matplotlib, to be styled further; an array of them for several panels.

        Raises:
            UsageError: no such figure, or nothing that draws was imported.
        """
        if not _told:
            raise UsageError("nothing that draws is loaded", do="Write `import molexa` first.")
        return _told[-1]().plot(self, *what, **options)
