"""Formats of runs, as options name them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    RunFormat = str
    """The names of all formats that are written."""


def __getattr__(name: str) -> Any:
    # The table of formats is read when a command is registered, and is light to load.
    from molexa_core.io.formats import writer_names

    if name == "RunFormat":
        return Literal[writer_names()]
    raise AttributeError(name)


def formats_in_words() -> str:
    """All formats that are written, for the help of an option."""
    from molexa_core.io.formats import writers_in_words

    return writers_in_words()
