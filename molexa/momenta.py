"""Mean momenta: a table of pandas that draws itself as arrows."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from typing import Any

import pandas as pd
from pandas.plotting import PlotAccessor

from molexa_core.base.fields import ION, MOMENTUM, WARNINGS
from molexa_core.base.matter.ions import parse_ions
from molexa_core.base.tables import ion_labels


def is_momenta(table: pd.DataFrame) -> bool:
    """Whether a table holds a momentum of every ion."""
    return {ION, *MOMENTUM} <= set(table.columns)


def labels_of(table: pd.DataFrame) -> list[str]:
    """A name for every ion of a table of momenta, like ions numbered."""
    return ion_labels(parse_ions(",".join(str(ion) for ion in table[ION])))


class _Plot(PlotAccessor):
    """`.plot()` draws the momenta; with arguments or as `.plot.scatter` it is that of pandas."""

    def __init__(self, table: pd.DataFrame) -> None:
        super().__init__(table)
        self._table = table

    def __call__(self, *args: Any, **options: Any) -> Any:
        of_pandas = bool(args) or "kind" in options or "x" in options or "y" in options
        if of_pandas or not is_momenta(self._table):
            return super().__call__(*args, **options)
        from molexa.figures import plot  # noqa: PLC0415

        return plot(self._table, **options)


class MeanMomenta(pd.DataFrame):
    """Mean momenta, one row per ion: `ion`, `px`, `py`, `pz` in a.u., their errors, `count`.

    A table of pandas in every respect; `.plot()` draws an arrow for every ion, and in a notebook
    the picture stands beside the table.
    """

    @classmethod
    def of(cls, table: pd.DataFrame) -> MeanMomenta:
        """The same table, with what it says of the explosion and its warnings in `attrs`."""
        found = cls(table)
        found.attrs = dict(table.attrs)
        return found

    @property
    def _constructor(self) -> Callable[..., MeanMomenta]:
        return MeanMomenta

    @property
    def plot(self) -> Any:
        """Draw the momenta; as `.plot.scatter` and with arguments of pandas that of pandas."""
        return _Plot(self)

    def __repr__(self) -> str:
        warnings = "".join(f"\nwarning: {text}" for text in self.attrs.get(WARNINGS, ()))
        return f"{super().__repr__()}{warnings if is_momenta(self) else ''}"

    def _repr_html_(self) -> str | None:
        table: Any = super()
        shown: str | None = table._repr_html_()  # what notebooks call
        if shown is None or not is_momenta(self) or not len(self):
            return shown
        from molexa.figures import picture  # noqa: PLC0415

        told = [escape(str(text)) for text in self.attrs.get(WARNINGS, ())]
        warnings = "".join(f"<div><b>Warning:</b> {text}</div>" for text in told)
        return (
            '<div style="display:flex;flex-wrap:wrap;gap:1.5em;align-items:flex-start">'
            f"<div>{shown}{warnings}</div><div>{picture(self)}</div></div>"
        )
