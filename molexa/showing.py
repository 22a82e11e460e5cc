"""Shows results: as text in a terminal, as a table and a picture in a notebook, as figures."""

from __future__ import annotations

from html import escape
from typing import Any

from molexa.summaries import safely
from molexa_core.base.errors import MolexaError


def text(result: Any) -> str:
    """A short table for a terminal."""
    return safely(result).text()


def html(result: Any) -> str:
    """A table and a picture side by side for a notebook."""
    from molexa.figures import picture  # noqa: PLC0415

    try:
        beside = picture(result)
    except MolexaError as error:  # the numbers are shown in any case
        beside = f"<div>no picture: {escape(error.what)}</div>"
    return (
        '<div style="display:flex;flex-wrap:wrap;gap:1.5em;align-items:flex-start">'
        f"<div>{safely(result).html()}</div><div>{beside}</div></div>"
    )


def plot(result: Any, *what: str, **options: Any) -> Any:
    """Draw a figure; the axes of matplotlib."""
    from molexa.figures import plot as drawn  # noqa: PLC0415

    return drawn(result, *what, **options)
